"""Documents from packages, text files and Parquet shards; every malformed input has its message."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.corpora import sources
from stages.corpora.inputs import CorpusError, input_files
from stages.corpora.sources import documents
from stages.domain.corpus import Data, PackageSource, ParquetSource

TextData = Callable[..., Data]


def read(data: Data, root: Path) -> list[str]:
    return list(documents(data.source, input_files(data.source, root)))


def failure(function: Callable[[], object]) -> str:
    with pytest.raises(CorpusError) as error:
        function()
    return str(error.value)


# --- package ---------------------------------------------------------------------------------------------

PACKAGE = PackageSource(
    kind="package", package="p", version="1", file="f.jsonl", sha256="0" * 64, document=["book", "chapter"]
)


def from_lines(tmp_path: Path, *lines: Any) -> list[str]:
    path = tmp_path / "f.jsonl"
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8", newline="\n")
    return list(documents(PACKAGE, [path]))


def verse(book: str, chapter: int, text: Any) -> dict[str, Any]:
    return {"book": book, "chapter": chapter, "text": text}


def test_neighbouring_lines_of_one_chapter_are_one_document(tmp_path: Path) -> None:
    lines = [verse("A", 1, "one"), verse("A", 1, "two"), verse("A", 2, "three"), verse("B", 2, "four")]
    assert from_lines(tmp_path, *lines) == ["one\ntwo", "three", "four"]


def test_without_document_keys_every_line_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"text":"one"}\n{"text":"one"}\n{"text":" "}', encoding="utf-8")
    source = PACKAGE.model_copy(update={"document": []})
    assert list(documents(source, [path])) == ["one", "one"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "not JSON at line 2, column 1: Expecting property name enclosed in double quotes; "
              "expected one JSON object a line"),
        ('{"text":"\\ud800"}', "a string holds a lone surrogate, which UTF-8 cannot say; "
                               "expected one JSON object a line"),
        ("[]", "found a JSON list, expected an object"),
        ({"book": "A", "text": "x"}, "no key 'chapter'; found book, text "
                                     "(params.yaml: data.source.text and data.source.document)"),
        (verse("A", 1, 7), "'text' is a int, expected text"),
    ],
)  # fmt: skip
def test_a_malformed_line_of_the_package_is_named(tmp_path: Path, line: Any, expected: str) -> None:
    assert failure(lambda: from_lines(tmp_path, verse("A", 1, "x"), line)) == (f"p==1: f.jsonl: line 2: {expected}")


# --- text ------------------------------------------------------------------------------------------------


def test_documents_end_at_blank_lines_and_at_the_end_of_a_file(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(b"one\ntwo\n\n \t\n\nthree", b"four\n")
    assert read(data, tmp_path) == ["one\ntwo", "three", "four"]


def test_a_whole_file_can_be_one_document(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(b"one\n\ntwo\n", b"  \n", b"three", separator="end-of-file")
    assert read(data, tmp_path) == ["one\n\ntwo", "three"]


def test_windows_line_ends_give_the_same_documents(text_data: TextData, tmp_path: Path) -> None:
    unix = read(text_data(b"one\ntwo\n\nthree\n"), tmp_path)
    assert read(text_data(b"one\r\ntwo\r\n\r\nthree\r\n"), tmp_path) == unix


def test_a_byte_order_mark_is_no_text_but_the_same_character_inside_is(text_data: TextData, tmp_path: Path) -> None:
    data = text_data("\ufeffone\ufeff\n\n\ufefftwo\n".encode())
    assert read(data, tmp_path) == ["one\ufeff", "\ufefftwo"]


CHARACTERS = st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\ufeff")


@given(st.lists(st.text(CHARACTERS, min_size=1).filter(str.strip)))
def test_documents_survive_being_joined_by_blank_lines(tmp_path_factory: Any, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("joined") / "text.txt"
    path.write_bytes("\n\n".join(texts).encode())
    source = {"kind": "text", "separator": "blank-line", "files": [{"path": "text.txt"}]}
    data = Data.model_validate({"source": source, "vocab_size": 300})
    assert list(documents(data.source, [path])) == texts


def test_a_byte_that_is_not_utf8_is_named_by_file_and_offset(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(b"fine", "good Grüße\n".encode() + b"bad \xff\n")
    assert failure(lambda: read(data, tmp_path)) == (
        "text1.txt: byte 17: 0xff is not UTF-8; convert the file to UTF-8 and pin its new sha256"
    )


@pytest.mark.parametrize(("text", "line"), [(b"x" * 200, 1), (b"xxxxxxxx\n" * 20, 12)])
def test_an_endless_document_is_refused(
    text_data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, line: int
) -> None:
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 100)
    assert failure(lambda: read(text_data(text), tmp_path)) == (
        f"text0.txt: line {line}: a document of more than 100 bytes; split it into smaller ones"
    )


# --- parquet ---------------------------------------------------------------------------------------------


def shard(tmp_path: Path, column: Any, name: str = "text", rows: int = 2) -> Callable[[], list[str]]:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({name: column, "url": ["u"] * len(column)}), path, row_group_size=rows)
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}])
    return lambda: list(documents(source, [path]))


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_rows_of_all_row_groups_are_documents_in_order(tmp_path: Path, kind: pa.DataType) -> None:
    texts = [f"Grüße {number}" for number in range(7)]
    assert shard(tmp_path, pa.array(texts).cast(kind))() == texts


def test_rows_without_text_are_left_out(tmp_path: Path) -> None:
    assert shard(tmp_path, pa.array(["one", None, "", " \n", "two"]))() == ["one", "two"]


def test_a_missing_column_is_named_beside_those_there_are(tmp_path: Path) -> None:
    assert failure(shard(tmp_path, pa.array(["x"]), name="content")) == (
        "s.parquet: column 'text': found 0 times, expected once; the columns are content, url "
        "(params.yaml: data.source.column)"
    )


def test_a_column_of_another_type_is_named(tmp_path: Path) -> None:
    assert failure(shard(tmp_path, pa.array([1, 2]))) == (
        "s.parquet: column 'text': its type is int64, expected string; "
        "name the column that holds the text (params.yaml: data.source.column)"
    )


def test_a_string_that_is_not_utf8_is_named_by_row(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"two", b"th\xffee"], pa.binary()).view(pa.string())
    assert failure(shard(tmp_path, texts)) == (
        "s.parquet: column 'text', row 2: byte 2: 0xff is not UTF-8; convert the file to UTF-8 and pin its new sha256"
    )


def test_a_row_that_is_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 100)
    assert failure(shard(tmp_path, pa.array(["x", "y" * 101]))) == (
        "s.parquet: row 1: a document of more than 100 bytes; split it into smaller ones"
    )


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    path.write_bytes(b"not a shard at all")
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}])
    message = failure(lambda: list(documents(source, [path])))
    assert message.startswith("s.parquet: not a readable Parquet file: ")
    assert message.endswith("; fetch it again")


def test_a_page_that_does_not_unpack_is_named(tmp_path: Path) -> None:
    read_shard = shard(tmp_path, pa.array([f"some text that packs well {number}" for number in range(4000)]), rows=4000)
    path = tmp_path / "s.parquet"
    data = bytearray(path.read_bytes())
    data[100:500] = bytes(400)
    path.write_bytes(bytes(data))
    assert failure(read_shard).startswith("s.parquet: not a readable Parquet file: ")
