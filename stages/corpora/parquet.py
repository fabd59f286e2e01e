"""Documents out of Parquet shards, one a row, with bounded memory.

    python -m stages.corpus

A Parquet file can repeat one value, or none, millions of times in a few bytes. So rows are read a few at a time, and a
file that gives much more than its size is refused: by its own figures before a row is read, and then by what it gives.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.corpora import streams
from stages.corpora.fields import text_at
from stages.corpora.inputs import CorpusError, InputFile
from stages.corpora.parquet_pages import BadPages, read_pages

BATCH_ROWS = 4  # a document may have 64 MiB, and each row of a batch may repeat one; larger batches are hardly faster
FREE_VALUES = 1_000_000  # empty values cost a file next to nothing; so many may stand in one of any size


def read_rows(file: InputFile, column: str) -> Iterator[str]:
    """The text of every row; '' where there is none. `column`: the name of a column, nested ones joined by dots."""
    try:
        with pq.ParquetFile(file.path) as shard:
            name, rest = _split(shard.schema_arrow, column, file.name)
            leaf = _leaf(shard.schema_arrow.field(name).type, name, rest)
            _check_claims(shard.metadata, leaf, file)
            yield from _rows(shard, leaf, rest, f"{file.name}: column {column!r}", file)
    except (BadPages, pa.ArrowException, OSError) as error:  # a page that does not unpack is an OSError to Arrow
        reason = str(error).split("\n")[0] or "no reason given"
        raise CorpusError(f"{file.name}: not a readable Parquet file: {reason}; fetch it again") from None


def _split(schema: pa.Schema, column: str, file: str) -> tuple[str, str]:
    """The column of the file that `column` names, and the keys below it; refused where it can hold no text."""
    name = column if column in schema.names else column.partition(".")[0]
    place = f"{file}: column {column!r}"
    times = schema.names.count(name)
    if times != 1:
        raise CorpusError(
            f"{place}: found {times} times, expected once; the columns are {', '.join(schema.names[:100])} "
            "(params.yaml: data.source.column)"
        )
    rest = column[len(name) + 1 :]
    kind = _type_below(schema.field(name).type, rest)
    if kind is None or not _holds_text(kind):
        described = str(schema.field(name).type)[:500]
        raise CorpusError(
            f"{place}: its type is {described}, expected string; "
            "name the column that holds the text (params.yaml: data.source.column)"
        )
    return name, rest


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _type_below(kind: pa.DataType, keys: str) -> pa.DataType | None:
    """The type of what `keys` lead to, through lists and structs; None where they lead nowhere."""
    while _is_list(kind) or pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not keys:
        return kind
    if not pa.types.is_struct(kind):
        return None
    key, _, below = (keys, "", "") if kind.get_field_index(keys) >= 0 else keys.partition(".")
    at = kind.get_field_index(key)
    return None if at < 0 else _type_below(kind.field(at).type, below)


def _holds_text(kind: pa.DataType) -> bool:
    types = pa.types
    strings = (types.is_string, types.is_large_string, types.is_string_view)
    binaries = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return any(matches(kind) for matches in (*strings, *binaries))


def _leaf(kind: pa.DataType, name: str, keys: str) -> str:
    """The dotted path that Parquet reads no more than it must for: below structs, not into lists."""
    while keys and pa.types.is_struct(kind):
        key, _, below = (keys, "", "") if kind.get_field_index(keys) >= 0 else keys.partition(".")
        name, keys, kind = f"{name}.{key}", below, kind.field(kind.get_field_index(key)).type
    return name


def _check_claims(metadata: pq.FileMetaData, leaf: str, file: InputFile) -> None:
    """Refuse a file whose own figures ask for much more than its size: those of its footer, and those of its pages."""
    values = size = 0
    most_values = FREE_VALUES + streams.MAX_RATIO * file.path.stat().st_size
    with file.path.open("rb") as stream:
        for group in range(metadata.num_row_groups):
            group_metadata = metadata.row_group(group)
            for at in range(group_metadata.num_columns):
                chunk = group_metadata.column(at)
                if f"{chunk.path_in_schema}.".startswith(f"{leaf}."):
                    for page in read_pages(stream, chunk):
                        values += page.values
                        size += page.unpacked
                        if values > most_values or size > streams.budget(file):
                            raise streams.too_large(file)
    if metadata.num_rows > most_values:
        raise streams.too_large(file)


def _rows(shard: pq.ParquetFile, leaf: str, rest: str, where: str, file: InputFile) -> Iterator[str]:
    row = given = 0
    budget = streams.budget(file)
    for group in range(shard.num_row_groups):
        for batch in shard.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], columns=[leaf]):
            given += batch.nbytes
            if given > budget:
                raise streams.too_large(file)
            for scalar in batch.column(0):
                place = f"{where}, row {row}"
                text = text_at(_value(scalar, place), rest, place)
                if len(text.encode("utf-8")) > streams.MAX_DOCUMENT_BYTES:
                    raise streams.too_long(file.name, f"row {row}")
                yield text
                row += 1


def _value(scalar: pa.Scalar, place: str) -> Any:
    """A row's value in Python. Parquet does not promise that its strings are UTF-8."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{place}: byte {error.start}: 0x{error.object[error.start]:02x} is not UTF-8; "
            "convert the file to UTF-8 and pin its new sha256"
        ) from None
