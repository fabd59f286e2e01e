"""The headers of pages, byte by byte: what is no header, or says otherwise than the footer, is refused."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.corpora.parquet_pages import MAX_DEPTH, BadPages, ParquetPage, read_pages


def number(value: int) -> bytes:
    """A whole number as Thrift's compact protocol writes it."""
    value, data = value << 1 if value >= 0 else (-value << 1) - 1, bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def header(unpacked: int, packed: int, kind: int = 5, values: bytes = b"\x15" + number(3)) -> bytes:
    """A page's header: type 0, its sizes, and the struct of its kind whose first field is the number of values."""
    sizes = b"\x15" + number(0) + b"\x15" + number(unpacked) + b"\x15" + number(packed)
    return sizes + bytes([(kind - 3) << 4 | 12]) + values + b"\0" + b"\0"


def pages(data: bytes, size: int | None = None, before: int = 0) -> list[ParquetPage]:
    """The pages of a column whose chunk is so many bytes long."""
    length = len(data) if size is None else size
    chunk = SimpleNamespace(dictionary_page_offset=None, data_page_offset=before, total_compressed_size=length)
    return list(read_pages(io.BytesIO(b"x" * before + data), cast(Any, chunk)))


def refusal(data: bytes, size: int | None = None) -> str:
    with pytest.raises(BadPages) as error:
        pages(data, size)
    return str(error.value)


def test_pages_have_their_bytes_unpacked_and_their_values() -> None:
    data = header(300, 4) + b"1234" + header(1000, 2, 8) + b"12"
    assert pages(data) == [ParquetPage(300, 3), ParquetPage(1000, 3)]
    assert pages(data, before=4) == pages(data)


def test_the_values_of_a_dictionary_are_not_counted() -> None:
    assert pages(header(40, 0, 7)) == [ParquetPage(40, 0)]


def test_truth_values_bytes_doubles_and_texts_in_a_header_are_passed_over() -> None:
    more = b"\x11" + b"\x12" + b"\x13\x07" + b"\x17" + b"12345678" + b"\x18\x02ab"  # of the struct of a kind
    assert pages(header(9, 1, 5, b"\x15" + number(3) + more) + b"1") == [ParquetPage(9, 3)]


@pytest.mark.parametrize(
    ("data", "size", "words"),
    [
        (header(-1, 0), None, "no header of a page at byte 0"),
        (header(1, -1), None, "no header of a page at byte 0"),
        (header(1, 1) + b"1" + b"\0", None, f"no header of a page at byte {len(header(1, 1)) + 1}"),
        (header(1, 0, 5, b"\x15" + number(-1)), None, "no number of values in the page at byte 0"),
        (header(1, 0, 5, b"\x25" + number(3)), None, "no number of values in the page at byte 0"),
        (header(1, 9), None, f"pages that end at byte {len(header(1, 9)) + 9}, expected {len(header(1, 9))}"),
        (b"\x15", None, "a header that is cut off"),
        (b"\x15" + b"\x80" * 10 + b"\x01", None, "a number of more than ten bytes"),
        (b"\x19", None, "the type 9 in a header of a page, expected numbers, truth values, texts and structs"),
    ],
)
def test_what_is_no_header_is_refused(data: bytes, size: int | None, words: str) -> None:
    assert refusal(data, size) == words


def test_a_header_is_nested_so_deep_and_no_deeper() -> None:
    def nested(depth: int) -> bytes:
        return header(1, 0, 5, b"\x15" + number(3) + b"\x1c" * depth + b"\0" * depth)

    assert pages(nested(MAX_DEPTH - 1)) == [ParquetPage(1, 3)]
    assert refusal(nested(MAX_DEPTH)) == "a header nested too deeply"


def test_numbers_of_every_width_and_fields_with_ids_of_their_own_are_read() -> None:
    assert pages(header(64, 0)) == [ParquetPage(64, 3)]
    wide = b"\x14" + number(0) + b"\x16" + number(300) + b"\x15" + number(0) + b"\x2c\x16" + number(3) + b"\0\0"
    assert pages(wide) == [ParquetPage(300, 3)]
    spelled = (
        b"\x05" + number(2) + number(7) + b"\x15" + number(0) + b"\x0c" + number(8) + b"\x15" + number(4) + b"\0\0"
    )
    assert pages(spelled) == [ParquetPage(7, 4)]
    assert pages(b"\x25" + number(7) + b"\x15" + number(0) + b"\x25" + number(9) + b"\0") == [ParquetPage(7, 0)]


def test_a_column_begins_at_its_dictionary_where_it_has_one() -> None:
    data = header(40, 0, 7) + header(300, 2) + b"12"
    for dictionary, first in ((4, 4 + len(header(40, 0, 7))), (None, 4), (0, 4)):
        chunk = SimpleNamespace(
            dictionary_page_offset=dictionary, data_page_offset=first, total_compressed_size=len(data)
        )
        assert list(read_pages(io.BytesIO(b"PAR1" + data), cast(Any, chunk))) == [
            ParquetPage(40, 0),
            ParquetPage(300, 3),
        ]


def test_a_number_of_ten_bytes_is_read() -> None:
    assert refusal(b"\x25" + b"\x80" * 9 + b"\x01" + b"\0") == "no header of a page at byte 0"
