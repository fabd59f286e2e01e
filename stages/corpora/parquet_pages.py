"""The pages of a Parquet file, by their own headers.

    for page in read_pages(file, chunk): ...

The footer of a file says how many values and bytes a column has, and Arrow makes room for what each page says instead.
A file of 500 bytes whose two disagree asks for gigabytes. So both are read before any row is. Source: parquet.thrift of
apache/parquet-format and thrift-compact-protocol.md of apache/thrift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow.parquet as pq

#: Thrift's compact types that a header has: truth values, a byte, whole numbers up to `_I64`, a double, text, a struct.
_TRUE, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 6, 7, 8, 12
MAX_DEPTH = 8
#: Fields of a page's header: sizes, and the header of its kind, whose first field is the number of values.
_UNPACKED, _PACKED, _DATA, _DICTIONARY, _DATA_2 = 2, 3, 5, 7, 8


class BadPages(ValueError):
    """Headers that are none, or that say otherwise than the footer."""


@dataclass(frozen=True)
class ParquetPage:
    """A page: its bytes unpacked, and its values, those of a dictionary not counted."""

    unpacked: int
    values: int


def read_pages(file: BinaryIO, chunk: pq.ColumnChunkMetaData) -> Iterator[ParquetPage]:
    """The pages of a column in a row group; `BadPages` where they do not fill what the footer says, byte by byte."""
    start = min(filter(None, (chunk.dictionary_page_offset, chunk.data_page_offset)), default=0)
    file.seek(start)
    while (at := file.tell()) < start + chunk.total_compressed_size:
        header = _struct(file, 0)
        sizes = header.get(_UNPACKED), header.get(_PACKED)
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise BadPages(f"no header of a page at byte {at}")
        kind = header.get(_DATA) or header.get(_DATA_2)
        values = kind.get(1) if isinstance(kind, dict) else 0
        if not isinstance(values, int) or values < 0:
            raise BadPages(f"no number of values in the page at byte {at}")
        yield ParquetPage(sizes[0], values)  # type: ignore[arg-type]  # checked above
        file.seek(sizes[1], 1)  # type: ignore[arg-type]
    if file.tell() != start + chunk.total_compressed_size:
        raise BadPages(f"pages that end at byte {file.tell()}, expected {start + chunk.total_compressed_size}")


def _byte(file: BinaryIO) -> int:
    data = file.read(1)
    if not data:
        raise BadPages("a header that is cut off")
    return data[0]


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = _byte(file)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise BadPages("a number of more than ten bytes")


def _number(file: BinaryIO) -> int:
    value = _varint(file)
    return (value >> 1) ^ -(value & 1)


def _struct(file: BinaryIO, depth: int) -> dict[int, Any]:
    """The fields of a struct by their ids; of texts and lists nothing is kept."""
    if depth > MAX_DEPTH:
        raise BadPages("a header nested too deeply")
    fields: dict[int, Any] = {}
    last = 0
    while (byte := _byte(file)) != 0:
        last = last + (byte >> 4) if byte >> 4 else _number(file)
        fields[last] = _value(file, byte & 0x0F, depth)
    return fields


def _value(file: BinaryIO, kind: int, depth: int) -> Any:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE
    if kind == _BYTE:
        return _byte(file)
    if _BYTE < kind <= _I64:
        return _number(file)
    if kind in (_DOUBLE, _BINARY):
        file.seek(8 if kind == _DOUBLE else _varint(file), 1)
        return None
    if kind == _STRUCT:
        return _struct(file, depth + 1)
    raise BadPages(f"the type {kind} in a header of a page, expected numbers, truth values, texts and structs")
