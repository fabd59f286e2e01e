"""Lines out of a file, plain or compressed, with bounded memory: no more than one document's worth is ever kept.

python -m stages.corpus
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, cast

import pyarrow as pa

from stages.corpora.formats import guess_encoding
from stages.corpora.inputs import CODECS, CorpusError, InputFile

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
#: Text shrinks to a tenth at best. What unpacks to more than this many times its size was made to fill memory or time.
MAX_RATIO = 200
#: A file of any size may unpack to so much.
FREE_BYTES = 16 * 1024 * 1024

_EMPTY_LINES = (b"\n", b"\r\n")


class Line(NamedTuple):
    """A line with its number from 1 and the offset of its first byte in the unpacked file."""

    number: int
    offset: int
    data: bytes


def decode(data: bytes, place: str, offset: int) -> str:
    """UTF-8 as text; `CorpusError` names `place` and the byte, counted from `offset`, that is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{place}: byte {offset + error.start}: 0x{data[error.start]:02x} is not UTF-8"
            f"{guess_encoding(data, error.start)}; convert the file to UTF-8 and pin its new sha256"
        ) from None


def too_long(name: str, place: str) -> CorpusError:
    """The refusal of a document that is larger than any is."""
    return CorpusError(
        f"{name}: {place}: a document of more than {MAX_DOCUMENT_BYTES} bytes; split it into smaller ones"
    )


def too_large(file: InputFile) -> CorpusError:
    """The refusal of a file that unpacks to much more than text can."""
    return CorpusError(
        f"{file.name}: unpacks to more than {MAX_RATIO} times its size, which text does not; is it the right file?"
    )


def budget(file: InputFile) -> int:
    """How many bytes of text a file may unpack to."""
    return FREE_BYTES + MAX_RATIO * file.path.stat().st_size


@contextmanager
def reading(file: InputFile) -> Iterator[None]:
    """A disk or a packed file that cannot be read is named."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).split("\n")[0] or "no reason given"
        raise CorpusError(f"{file.name}: cannot be read: {reason}; fetch the file again") from None


@contextmanager
def open_unpacked(file: InputFile) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked where its name ends in .gz or .zst."""
    codec = CODECS.get(file.path.suffix.lower())
    if codec is None:
        with file.path.open("rb") as plain:
            yield plain
    else:
        with pa.OSFile(str(file.path)) as packed, pa.CompressedInputStream(packed, codec) as unpacked:
            yield cast("BinaryIO", io.BufferedReader(unpacked, 1 << 20))


def read_lines(file: InputFile, *, merge_empty: bool = False) -> Iterator[Line]:
    """The lines of a file with their ends; `CorpusError` for one longer than a document, or an unpacking bomb.

    `merge_empty`: of empty lines that follow each other the first alone is given, so that millions cost little.
    """
    limit = budget(file)
    offset, number, previous = 0, 1, b""
    with reading(file), open_unpacked(file) as stream:
        while data := stream.readline(MAX_DOCUMENT_BYTES + 1):
            if len(data) > MAX_DOCUMENT_BYTES:
                raise too_long(file.name, f"line {number}")
            if data != previous or not merge_empty or data not in _EMPTY_LINES:
                yield Line(number, offset, data)
            previous = data
            offset += len(data)
            number += 1
            if offset > limit:
                raise too_large(file)
