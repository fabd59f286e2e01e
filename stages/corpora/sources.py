"""Documents, one after the other, from a package, from text files, from JSON Lines or from Parquet shards.

    python -m stages.corpus

Everything streams: no more than one document, or a few Parquet rows, is in memory. Documents without anything but
white space are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from stages.corpora import formats, streams
from stages.corpora.fields import text_at
from stages.corpora.inputs import CODECS, CorpusError, InputFile
from stages.corpora.parquet import read_rows
from stages.corpora.streams import Line, decode, read_lines, too_long
from stages.domain.canonical import NotCanonical, loads
from stages.domain.corpus import JsonLinesSource, PackageSource, Source, TextSource

MAX_STRUCTURE_BYTES = 1024 * 1024  # of a JSON line, outside its strings: each such byte can cost a hundred in memory
MAX_KEYS_SHOWN = 20
_BOM = "\ufeff"
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def documents(source: Source, files: list[InputFile]) -> Iterator[str]:
    """The documents of `source` in reading order. `files`: its files, from `stages.corpora.inputs`."""
    for file in files:
        for text in _read(source, file):
            if text and not text.isspace():
                yield text


def _read(source: Source, file: InputFile) -> Iterator[str]:
    if isinstance(source, PackageSource | JsonLinesSource):
        return _json_documents(source, file)
    if isinstance(source, TextSource):
        return _text_documents(source, file)
    return read_rows(file, source.column)


def _text_documents(source: TextSource, file: InputFile) -> Iterator[str]:
    """Line ends are read as LF, so that a checkout with CRLF gives the same documents."""
    parts: list[str] = []
    size = 0
    for line in read_lines(file, merge_empty=source.separator == "blank-line"):
        if line.number == 1:
            _refuse_foreign(file, formats.foreign_text(line.data))
        text = decode(line.data, file.name, line.offset).replace("\r\n", "\n")
        if line.number == 1:
            text = text.removeprefix(_BOM)  # a byte-order mark, which some editors write, is no text
        if source.separator == "blank-line" and text.isspace():
            if parts:
                yield "".join(parts).removesuffix("\n")
            parts, size = [], 0
            continue
        if "\0" in text:
            at = line.offset + line.data.index(b"\0")
            raise CorpusError(f"{file.name}: byte {at} is NUL, which no text holds; is it binary data?")
        parts.append(text)
        size += len(line.data)
        if size > streams.MAX_DOCUMENT_BYTES:
            raise too_long(file.name, f"line {line.number}")
    yield "".join(parts).removesuffix("\n")


def _refuse_foreign(file: InputFile, problem: str | None) -> None:
    """What a packed file holds shows only now; a plain one was looked at before its digest was."""
    if problem and file.path.suffix.lower() in CODECS:
        raise CorpusError(f"{file.name}: unpacked: {problem}")


def _json_documents(source: PackageSource | JsonLinesSource, file: InputFile) -> Iterator[str]:
    current: object = None
    texts: list[str] = []
    size = 0
    for line in read_lines(file, merge_empty=True):
        if line.number == 1:
            _refuse_foreign(file, formats.foreign_json_lines(line.data))
        if line.data.isspace():
            continue
        place = f"{file.name}: line {line.number}"
        record = _record(line, place)
        _require_keys(record, source, place)
        key = [record[name] for name in source.document] if source.document else line.number
        if key != current:
            yield "\n".join(texts)
            current, texts, size = key, [], 0
        texts.append(text_at(record, source.text, place))
        size += len(line.data)
        if size > streams.MAX_DOCUMENT_BYTES:
            raise too_long(file.name, f"line {line.number}")
    yield "\n".join(texts)


def _record(line: Line, place: str) -> dict[str, Any]:
    """The foreign JSON object on a line."""
    data = line.data.removeprefix(_BOM.encode()) if line.number == 1 else line.data
    if len(data) > MAX_STRUCTURE_BYTES and len(_JSON_STRING.sub(b"", data)) > MAX_STRUCTURE_BYTES:
        raise CorpusError(f"{place}: more than {MAX_STRUCTURE_BYTES} bytes of JSON outside its strings; is it text?")
    try:
        record = loads(data)
    except NotCanonical as error:
        raise CorpusError(f"{place}: {error}; expected one JSON object a line") from None
    if not isinstance(record, dict):
        raise CorpusError(f"{place}: found a JSON {type(record).__name__}, expected an object")
    return record


def _require_keys(record: dict[str, Any], source: PackageSource | JsonLinesSource, place: str) -> None:
    text = source.text if source.text in record else source.text.partition(".")[0]
    for key in (text, *source.document):
        if key not in record:
            known = sorted(record)
            more = ", ..." if len(known) > MAX_KEYS_SHOWN else ""
            raise CorpusError(
                f"{place}: no key {key!r}; found {', '.join(known[:MAX_KEYS_SHOWN])}{more} "
                "(params.yaml: data.source.text and data.source.document)"
            )
