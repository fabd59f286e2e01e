"""Lines are read one by one, no longer than a document, and no more of them than a file's size can hold."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from stages.corpora import streams
from stages.corpora.inputs import CorpusError, InputFile
from stages.corpora.streams import Line, budget, decode, read_lines


def file_of(folder: Path, data: bytes, name: str = "a.txt") -> InputFile:
    path = folder / name
    path.write_bytes(data)
    return InputFile(path, name)


def test_lines_have_their_number_and_the_offset_of_their_first_byte(tmp_path: Path) -> None:
    assert list(read_lines(file_of(tmp_path, b"ab\n\r\nc"))) == [
        Line(1, 0, b"ab\n"),
        Line(2, 3, b"\r\n"),
        Line(3, 5, b"c"),
    ]


def test_of_empty_lines_that_follow_each_other_the_first_alone_may_be_given(tmp_path: Path) -> None:
    file = file_of(tmp_path, b"\n\n\na\na\n\r\n\r\n\n")
    assert [(line.number, line.data) for line in read_lines(file, merge_empty=True)] == [
        *[(1, b"\n"), (4, b"a\n"), (5, b"a\n"), (6, b"\r\n"), (8, b"\n")]
    ]
    assert len(list(read_lines(file))) == 8


def test_a_line_may_be_as_long_as_a_document_and_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 10)
    assert [line.data for line in read_lines(file_of(tmp_path, b"\n123456789\n"))] == [b"\n", b"123456789\n"]
    with pytest.raises(CorpusError) as error:
        list(read_lines(file_of(tmp_path, b"\n1234567890\n")))
    assert str(error.value) == "a.txt: line 2: a document of more than 10 bytes; split it into smaller ones"


def test_a_file_may_unpack_to_its_budget_and_to_no_byte_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"0123456789abcde\n" * 40_000
    file = file_of(tmp_path, gzip.compress(text, mtime=0), "a.gz")
    packed = file.path.stat().st_size
    assert packed * 200 < len(text)
    monkeypatch.setattr(streams, "FREE_BYTES", len(text) - packed * 200)
    assert budget(file) == len(text)
    assert sum(len(line.data) for line in read_lines(file)) == len(text)
    monkeypatch.setattr(streams, "FREE_BYTES", len(text) - packed * 200 - 1)
    with pytest.raises(CorpusError) as error:
        list(read_lines(file))
    assert str(error.value) == (
        "a.gz: unpacks to more than 200 times its size, which text does not; is it the right file?"
    )


def test_a_byte_that_is_no_utf8_is_counted_from_where_the_data_stands_in_the_file() -> None:
    assert decode("ä".encode(), "a.txt", 7) == "ä"
    with pytest.raises(CorpusError) as error:
        decode(b"ab\xff\xfe\xfd", "a.txt", 7)
    assert str(error.value).startswith("a.txt: byte 9: 0xff is not UTF-8")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as error:
        list(read_lines(file_of(tmp_path, b"no gzip", "a.gz")))
    assert str(error.value).startswith("a.gz: cannot be read: ")
    assert str(error.value).endswith("; fetch the file again")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError("bad\nblock"), "bad"),
        (OSError(), "no reason given"),
    ],
)
def test_the_reason_of_a_failed_reading_is_one_line(tmp_path: Path, error: OSError, reason: str) -> None:
    with pytest.raises(CorpusError) as raised, streams.reading(file_of(tmp_path, b"")):
        raise error
    assert str(raised.value) == f"a.txt: cannot be read: {reason}; fetch the file again"


def test_what_a_file_may_unpack_to_grows_with_its_size(tmp_path: Path) -> None:
    assert budget(file_of(tmp_path, b"")) == 16 << 20
    assert budget(file_of(tmp_path, b"12345")) == (16 << 20) + 5 * 200
