"""Documents from packages, text files and Parquet shards; every malformed input has its message."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.corpora import streams
from stages.corpora.inputs import CorpusError, InputFile, input_files
from stages.corpora.parquet_pages import BadPages, read_pages
from stages.corpora.sources import documents
from stages.domain.corpus import Data, PackageSource, ParquetSource
from stages.domain.schema import parse
from tests.corpora.texts import pin

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
    return list(documents(PACKAGE, [InputFile(path, "p==1: f.jsonl")]))


def verse(book: str, chapter: int, text: Any) -> dict[str, Any]:
    return {"book": book, "chapter": chapter, "text": text}


def test_neighbouring_lines_of_one_chapter_are_one_document(tmp_path: Path) -> None:
    lines = [verse("A", 1, "one"), verse("A", 1, "two"), verse("A", 2, "three"), verse("B", 2, "four")]
    assert from_lines(tmp_path, *lines) == ["one\ntwo", "three", "four"]


def test_without_document_keys_every_line_is_a_document(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text('{"text":"one"}\n{"text":"one"}\n{"text":" "}', encoding="utf-8")
    source = PACKAGE.model_copy(update={"document": []})
    assert list(documents(source, [InputFile(path, path.name)])) == ["one", "one"]


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
    assert list(documents(data.source, [InputFile(path, "text.txt")])) == texts


def test_a_byte_that_is_not_utf8_is_named_by_file_and_offset(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(b"fine", "good Grüße\n".encode() + b"bad \xff\n")
    assert failure(lambda: read(data, tmp_path)) == (
        "text1.txt: byte 17: 0xff is not UTF-8; convert the file to UTF-8 and pin its new sha256"
    )


@pytest.mark.parametrize(("text", "line"), [(b"x" * 200, 1), (b"xxxxxxxx\n" * 20, 12)])
def test_an_endless_document_is_refused(
    text_data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, line: int
) -> None:
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 100)
    assert failure(lambda: read(text_data(text), tmp_path)) == (
        f"text0.txt: line {line}: a document of more than 100 bytes; split it into smaller ones"
    )


# --- parquet ---------------------------------------------------------------------------------------------


def shard(tmp_path: Path, column: Any, name: str = "text", rows: int = 2) -> Callable[[], list[str]]:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({name: column, "url": ["u"] * len(column)}), path, row_group_size=rows)
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}])
    return lambda: list(documents(source, [InputFile(path, path.name)]))


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
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 100)
    assert failure(shard(tmp_path, pa.array(["x", "y" * 101]))) == (
        "s.parquet: row 1: a document of more than 100 bytes; split it into smaller ones"
    )


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    path.write_bytes(b"not a shard at all")
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}])
    message = failure(lambda: list(documents(source, [InputFile(path, path.name)])))
    assert message.startswith("s.parquet: not a readable Parquet file: ")
    assert message.endswith("; fetch it again")


def test_a_page_that_does_not_unpack_is_named(tmp_path: Path) -> None:
    read_shard = shard(tmp_path, pa.array([f"some text that packs well {number}" for number in range(4000)]), rows=4000)
    path = tmp_path / "s.parquet"
    data = bytearray(path.read_bytes())
    data[100:500] = bytes(400)
    path.write_bytes(bytes(data))
    assert failure(read_shard).startswith("s.parquet: not a readable Parquet file: ")


# --- packed files, JSON Lines ---------------------------------------------------------------------------


def packed(text: bytes, ending: str) -> bytes:
    """`text` as two members or frames, one behind the other, as `cat` and parallel packers make them."""
    half = len(text) // 2
    if ending == ".gz":
        return gzip.compress(text[:half], mtime=0) + gzip.compress(text[half:])
    if ending == ".zst":
        return bytes(pa.compress(text[:half], "zstd", asbytes=True) + pa.compress(text[half:], "zstd", asbytes=True))
    return text


def source_of(root: Path, kind: str, name: str, content: bytes, **rest: Any) -> Data:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content)
    source = {"kind": kind, "files": [pin(root / name, root)], **rest}
    return parse(Data, {"source": source, "vocab_size": 300}, "params.yaml")


@pytest.mark.parametrize("ending", ["", ".gz", ".zst", ".GZ"])
def test_packed_and_plain_files_give_the_same_documents(tmp_path: Path, ending: str) -> None:
    text = "one\ntwo\n\nGrüße\n".encode()
    assert read(source_of(tmp_path, "text", f"a.txt{ending}", packed(text, ending.lower())), tmp_path) == [
        "one\ntwo",
        "Grüße",
    ]
    lines = b'\xef\xbb\xbf{"text": "one\\n"}\n\n{"text": null}\r\n{"text": "two", "id": 7}'
    assert read(source_of(tmp_path, "jsonl", f"a.jsonl{ending}", packed(lines, ending.lower())), tmp_path) == [
        "one\n",
        "two",
    ]


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_packed_file_that_is_cut_off_or_no_such_file_is_named(tmp_path: Path, ending: str) -> None:
    whole = packed(b'{"text": "some text"}\n' * 1000, ending)
    for content in (whole[:-5], whole + b"more", b"no packed data at all"):
        data = source_of(tmp_path, "jsonl", f"a.jsonl{ending}", content)
        assert failure(lambda data=data: read(data, tmp_path)).startswith(f"a.jsonl{ending}: cannot be read: ")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("text", "text\n".encode("utf-16"), "UTF-16 text, expected UTF-8 text"),
        ("text", gzip.compress(b"twice", mtime=0), "gzip data, expected UTF-8 text"),
        ("jsonl", b'[{"text": "x"}]', "a JSON array, expected one JSON object a line"),
    ],
)
def test_what_is_packed_is_told_as_what_it_is(tmp_path: Path, kind: str, content: bytes, expected: str) -> None:
    data = source_of(tmp_path, kind, "a.gz", gzip.compress(content, mtime=0))
    assert failure(lambda: read(data, tmp_path)).startswith(f"a.gz: unpacked: {expected}")


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("line", [b"\n", b'{"text":"x"}\n'])
def test_what_unpacks_to_much_more_than_text_can_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, line: bytes
) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 1000)
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(streams, "MAX_RATIO", 20)
    data = source_of(tmp_path, "jsonl", f"a{ending}", packed(line * 400_000, ending))
    assert failure(lambda: read(data, tmp_path)) == (
        f"a{ending}: unpacks to more than 20 times its size, which text does not; is it the right file?"
    )


@pytest.mark.parametrize(
    ("field", "record", "expected"),
    [
        ("body", {"body": "x", "text": "y"}, "x"),
        ("document.body", {"document": {"body": "x"}}, "x"),
        ("document.body", {"document.body": "x", "document": {"body": "y"}}, "x"),
        ("messages.content", {"messages": [{"content": "a"}, {"content": None}, {"content": "b"}]}, "a\nb"),
        ("lines", {"lines": ["a", "b"]}, "a\nb"),
    ],
)
def test_the_text_may_stand_further_down_in_a_json_object(
    tmp_path: Path, field: str, record: Any, expected: str
) -> None:
    data = source_of(tmp_path, "jsonl", "a.jsonl", json.dumps(record).encode(), text=field)
    assert read(data, tmp_path) == [expected]


@pytest.mark.parametrize(
    ("field", "line", "expected"),
    [
        ("text", '{"body": "x"}', "no key 'text'; found body (params.yaml: data.source.text and data.source.document)"),
        ("a.b", '{"a": {"c": "x"}}', "no key 'b' on the way to 'a.b'; found c"),
        ("a.b", '{"a": "x"}', "'a.b' is a str, expected text"),
        ("a", '{"a": {"b": "x"}}', "'a' is a dict, expected text"),
        ("text", '"x"', "found a JSON str, expected an object"),
        ("text", '{"text": "x"} {"text": "y"}', "not JSON at line 1, column 15: Extra data; expected one JSON object a line"),
        ("text", '{"text": "\\ud800"}', "a string holds a lone surrogate, which UTF-8 cannot say; expected one JSON object a line"),
        ("text", '{"a": ' + "[" * 100_000, "nested too deeply; expected one JSON object a line"),
    ],
)  # fmt: skip
def test_a_malformed_json_line_is_named(tmp_path: Path, field: str, line: str, expected: str) -> None:
    data = source_of(tmp_path, "jsonl", "a.jsonl", b'{"text":"","a":null}\n' + line.encode(), text=field)
    assert failure(lambda: read(data, tmp_path)) == f"a.jsonl: line 2: {expected}"


@pytest.mark.parametrize(("keys", "ending"), [(20, "k18, k19"), (21, "k18, k19, ...")])
def test_of_many_keys_the_first_twenty_are_named(tmp_path: Path, keys: int, ending: str) -> None:
    record = json.dumps({f"k{number:02}": "" for number in range(keys)}).encode()
    message = failure(lambda: read(source_of(tmp_path, "jsonl", "a.jsonl", record), tmp_path))
    assert message == (
        f"a.jsonl: line 1: no key 'text'; found {', '.join(f'k{n:02}' for n in range(18))}, {ending} "
        "(params.yaml: data.source.text and data.source.document)"
    )


def test_json_of_a_thousand_times_its_size_in_memory_is_refused_unread(tmp_path: Path) -> None:
    data = source_of(tmp_path, "jsonl", "a.jsonl", b'{"text":"x","more":[' + b"{}," * 500_000 + b"{}]}\n")
    assert failure(lambda: read(data, tmp_path)) == (
        "a.jsonl: line 1: more than 1048576 bytes of JSON outside its strings; is it text?"
    )


def test_neighbouring_json_lines_that_agree_are_one_document(tmp_path: Path) -> None:
    lines = b'{"text":"a","d":1}\n{"text":"b","d":1}\n{"text":"c","d":2}\n'
    assert read(source_of(tmp_path, "jsonl", "a.jsonl", lines, document=["d"]), tmp_path) == ["a\nb", "c"]


# --- columns of Parquet ----------------------------------------------------------------------------------

TEXTS = ["one", "Grüße"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("text", pa.array(TEXTS).cast(pa.binary())),
        ("text", pa.array(TEXTS).cast(pa.large_binary())),
        ("text", pa.array(TEXTS).cast(pa.string_view())),
        ("text", pa.array(TEXTS).cast(pa.binary()).dictionary_encode()),
        ("document.text", pa.array([{"text": text, "id": 1} for text in TEXTS])),
        ("a.b.text", pa.array([{"b": {"text": text}, "id": 1} for text in TEXTS])),
        ("document.the.text", pa.array([{"the.text": text, "id": 1} for text in TEXTS])),
        ("document.text", pa.array([{"text": text.encode()} for text in TEXTS])),
        ("messages.content", pa.array([[{"role": "user", "content": text}] for text in TEXTS])),
        ("parts", pa.array([[text, None] for text in TEXTS])),
        ("dotted.name", pa.array(TEXTS)),
    ],
)
def test_binary_and_nested_columns_of_text_are_read(tmp_path: Path, column: str, values: Any) -> None:
    path = tmp_path / "s.parquet"
    name = column if column == "dotted.name" else column.partition(".")[0]
    pq.write_table(pa.table({name: values, "url": ["u", "u"]}), path)
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}], column=column)
    assert list(documents(source, [InputFile(path, path.name)])) == TEXTS


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("document.body", "its type is struct<text: string, id: int64>, expected string"),
        ("document.id", "its type is struct<text: string, id: int64>, expected string"),
        ("document", "its type is struct<text: string, id: int64>, expected string"),
        ("nothing.text", "found 0 times, expected once; the columns are document"),
    ],
)
def test_a_nested_column_without_text_is_named(tmp_path: Path, column: str, expected: str) -> None:
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"document": [{"text": "x", "id": 1}]}), path)
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}], column=column)
    message = failure(lambda: list(documents(source, [InputFile(path, path.name)])))
    assert message.startswith(f"s.parquet: column {column!r}: {expected}")


@pytest.mark.parametrize(("value", "byte"), [(b"x\0y", 1), ("text".encode("utf-16-le"), 1), (b"\0x", 0)])
def test_binary_data_in_a_binary_column_is_named_by_row(tmp_path: Path, value: bytes, byte: int) -> None:
    assert failure(shard(tmp_path, pa.array([b"fine", value], pa.binary()))) == (
        f"s.parquet: column 'text', row 1: byte {byte} is NUL, which no text holds; is it binary data?"
    )


@pytest.mark.parametrize(
    "values",
    [
        pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), pa.array(["x" * 100_000])),
        pa.nulls(3_000_000, pa.string()),
        pa.array([["x"] * 3_000_000]),
    ],
    ids=["one long value many times", "rows without text", "one row of many values"],
)
def test_a_small_parquet_file_that_asks_for_gigabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: Any
) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 200_000)
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 200_000)
    path = tmp_path / "s.parquet"
    pq.write_table(pa.table({"text": values}), path, compression="zstd")
    assert path.stat().st_size < 10_000
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}])
    assert failure(lambda: list(documents(source, [InputFile(path, path.name)]))) == (
        "s.parquet: unpacks to more than 200 times its size, which text does not; is it the right file?"
    )


def zigzag(number: int, width: int = 0) -> bytes:
    """A whole number as Thrift's compact protocol writes it, in so many bytes at least."""
    number, written = number << 1, []
    while number > 0x7F or len(written) + 1 < width:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def test_a_parquet_file_whose_footer_lies_about_its_pages_is_refused_unread(tmp_path: Path) -> None:
    """One row is a list of 20 million empty texts, and the footer says five: Arrow would make room for all of them."""
    nulls, path = 20_000_000, tmp_path / "s.parquet"
    texts = pa.ListArray.from_arrays(pa.array([0, nulls], pa.int32()), pa.nulls(nulls, pa.string()))
    pq.write_table(pa.table({"text": texts}), path, compression="zstd")
    data = path.read_bytes()
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    true, lie = zigzag(nulls), zigzag(5, len(zigzag(nulls)))
    assert data[end:].count(true) >= 1
    path.write_bytes(data[:end] + data[end:].replace(true, lie))
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).num_values == 5
    source = ParquetSource(kind="parquet", files=[{"path": "s.parquet"}])
    before = pa.default_memory_pool().max_memory()
    assert "unpacks to more than" in failure(lambda: list(documents(source, [InputFile(path, path.name)])))
    assert pa.default_memory_pool().max_memory() - before < 1 << 20


@pytest.mark.parametrize(
    "options",
    [{"data_page_version": "2.0"}, {"use_dictionary": False}, {"compression": "none"}, {"write_page_index": True}],
)
def test_the_pages_of_a_parquet_file_add_up_to_its_footer(tmp_path: Path, options: dict[str, Any]) -> None:
    path = tmp_path / "s.parquet"
    texts = [f"a text {n} " * (n % 50) for n in range(5000)]
    pq.write_table(pa.table({"text": texts}), path, data_page_size=1000, row_group_size=2000, **options)
    metadata = pq.ParquetFile(path).metadata
    with path.open("rb") as stream:
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(0)
            pages = list(read_pages(stream, chunk))
            assert sum(page.values for page in pages) == chunk.num_values > 0
            assert 0 < chunk.total_uncompressed_size - sum(page.unpacked for page in pages) < 4000 * len(pages)


@given(st.data())
def test_spoilt_headers_of_pages_are_an_error(data: st.DataObject) -> None:
    chunk = SimpleNamespace(dictionary_page_offset=None, data_page_offset=0, total_compressed_size=40)
    try:
        pages = list(read_pages(io.BytesIO(data.draw(st.binary(max_size=60))), chunk))
        assert all(page.unpacked >= 0 and page.values >= 0 for page in pages)
    except BadPages:
        pass
