"""Documents, one after the other, from a package, from text files or from Parquet shards.

    python -m stages.corpus

Everything streams: no more than one document, or one batch of Parquet rows, is in memory. Documents without
anything but white space are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.corpora.inputs import CorpusError
from stages.domain.canonical import NotCanonical, loads
from stages.domain.corpus import PackageSource, ParquetSource, TextSource, TokenSource

MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
PARQUET_ROWS = 256  # a batch; at the limit above still within reach of a small machine for real text


def documents(source: TokenSource, paths: list[Path]) -> Iterator[str]:
    """The documents of `source` in reading order. `paths`: its files, from `stages.corpora.inputs`."""
    if isinstance(source, PackageSource):
        found = _package(source, paths[0])
    elif isinstance(source, TextSource):
        found = _text(source, paths)
    else:
        found = _parquet(source, paths)
    return (text for text in found if text and not text.isspace())


def _decode(data: bytes, name: str, offset: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{name}: byte {offset + error.start}: 0x{data[error.start]:02x} is not UTF-8; "
            "convert the file to UTF-8 and pin its new sha256"
        ) from None


def _too_long(name: str, place: str) -> CorpusError:
    return CorpusError(
        f"{name}: {place}: a document of more than {MAX_DOCUMENT_BYTES} bytes; split it into smaller ones"
    )


def _lines(path: Path, name: str) -> Iterator[tuple[int, int, bytes]]:
    """Number from 1, offset and bytes of every line; never more than one document's worth in memory."""
    offset = 0
    with path.open("rb") as file:
        number = 1
        while line := file.readline(MAX_DOCUMENT_BYTES + 1):
            if len(line) > MAX_DOCUMENT_BYTES:
                raise _too_long(name, f"line {number}")
            yield number, offset, line
            offset += len(line)
            number += 1


def _package(source: PackageSource, path: Path) -> Iterator[str]:
    name = f"{source.package}=={source.version}: {source.file}"
    current: object = None
    texts: list[str] = []
    size = 0
    for number, _, line in _lines(path, name):
        record = _record(line, f"{name}: line {number}", source)
        belongs = [record[key] for key in source.document] if source.document else number
        if belongs != current:
            yield "\n".join(texts)
            current, texts, size = belongs, [], 0
        texts.append(record[source.text])
        size += len(line)
        if size > MAX_DOCUMENT_BYTES:
            raise _too_long(name, f"line {number}")
    yield "\n".join(texts)


def _record(line: bytes, place: str, source: PackageSource) -> dict[str, Any]:
    try:
        record = loads(line)
    except NotCanonical as error:
        raise CorpusError(f"{place}: {error}; expected one JSON object a line") from None
    if not isinstance(record, dict):
        raise CorpusError(f"{place}: found a JSON {type(record).__name__}, expected an object")
    for key in (source.text, *source.document):
        if key not in record:
            raise CorpusError(
                f"{place}: no key {key!r}; found {', '.join(sorted(record))} "
                "(params.yaml: data.source.text and data.source.document)"
            )
    if not isinstance(record[source.text], str):
        found = type(record[source.text]).__name__
        raise CorpusError(f"{place}: {source.text!r} is a {found}, expected text")
    return record


def _text(source: TextSource, paths: list[Path]) -> Iterator[str]:
    """Line ends are read as LF, so that a checkout with CRLF gives the same documents."""
    for file, path in zip(source.files, paths, strict=True):
        parts: list[str] = []
        size = 0
        for number, offset, line in _lines(path, file.path):
            text = _decode(line, file.path, offset).replace("\r\n", "\n")
            if number == 1:
                text = text.removeprefix("\ufeff")  # a byte-order mark, which some editors write, is no text
            if source.separator == "blank-line" and text.isspace():
                yield "".join(parts).removesuffix("\n")
                parts, size = [], 0
                continue
            parts.append(text)
            size += len(line)
            if size > MAX_DOCUMENT_BYTES:
                raise _too_long(file.path, f"line {number}")
        yield "".join(parts).removesuffix("\n")


def _parquet(source: ParquetSource, paths: list[Path]) -> Iterator[str]:
    for file, path in zip(source.files, paths, strict=True):
        try:
            with pq.ParquetFile(path) as shard:
                _check_column(shard.schema_arrow, source.column, file.path)
                yield from _rows(shard, source.column, file.path)
        except (pa.ArrowException, OSError) as error:  # a page that does not unpack is an OSError to Arrow
            reason = str(error).splitlines()[0]
            raise CorpusError(f"{file.path}: not a readable Parquet file: {reason}; fetch it again") from None


def _check_column(schema: pa.Schema, column: str, name: str) -> None:
    place = f"{name}: column {column!r}"
    times = schema.names.count(column)
    if times != 1:
        raise CorpusError(
            f"{place}: found {times} times, expected once; the columns are {', '.join(schema.names)} "
            "(params.yaml: data.source.column)"
        )
    kind = schema.field(column).type
    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(of(held) for of in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        raise CorpusError(
            f"{place}: its type is {kind}, expected string; "
            "name the column that holds the text (params.yaml: data.source.column)"
        )


def _rows(shard: pq.ParquetFile, column: str, name: str) -> Iterator[str]:
    row = 0
    for group in range(shard.num_row_groups):
        for batch in shard.iter_batches(batch_size=PARQUET_ROWS, row_groups=[group], columns=[column]):
            # As bytes: Parquet does not promise that its strings are UTF-8.
            for value in _bytes(batch.column(0)):
                data = value or b""
                if len(data) > MAX_DOCUMENT_BYTES:
                    raise _too_long(name, f"row {row}")
                yield _decode(data, f"{name}: column {column!r}, row {row}", 0)
                row += 1


def _bytes(column: pa.Array) -> list[bytes | None]:
    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if pa.types.is_string_view(plain.type):
        plain = plain.cast(pa.large_string())
    return list(plain.cast(pa.large_binary()).to_pylist())
