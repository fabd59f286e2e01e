"""Documents, lines of JSON, rows, files and splits of exactly the size that is allowed, and of one more."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.corpora import inputs, parquet, sources, streams
from stages.corpora.inputs import CorpusError, InputFile, input_files, pin_files
from stages.domain.corpus import Data, ParquetSource, TextSource
from stages.domain.files import sha256_bytes
from tests.corpora.test_sources import failure, read, source_of

TextData = Callable[..., Data]


@pytest.mark.parametrize("separator", ["blank-line", "end-of-file"])
def test_a_document_may_have_as_many_bytes_as_are_allowed(
    text_data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 20)
    whole = b"12345678\n" + b"1234567890\n"
    assert read(text_data(whole, separator=separator), tmp_path) == [whole.decode()[:-1]]
    message = "text0.txt: line 2: a document of more than 20 bytes; split it into smaller ones"
    data = text_data(b"1" + whole, separator=separator)
    assert failure(lambda: read(data, tmp_path)) == message


def test_each_document_of_a_text_is_measured_by_itself(
    text_data: TextData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 20)
    data = text_data(b"1234567890123456789\n\n" * 3)
    assert read(data, tmp_path) == ["1234567890123456789"] * 3


def test_a_document_of_json_lines_may_have_as_many_bytes_as_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b'{"d":1,"text":"a"}\n' * 2
    data = source_of(tmp_path, "jsonl", "a.jsonl", lines + b'{"d":2,"text":"b"}\n' * 2, document=["d"])
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", len(lines))
    assert read(data, tmp_path) == ["a\na", "b\nb"]
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", len(lines) - 1)
    assert failure(lambda: read(data, tmp_path)) == (
        f"a.jsonl: line 2: a document of more than {len(lines) - 1} bytes; split it into smaller ones"
    )


def test_json_may_have_as_much_outside_of_its_strings_as_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b'{"text":"' + b"x" * 500 + b'","n":1}'
    outside = len(b"{:,:1}")
    data = source_of(tmp_path, "jsonl", "a.jsonl", line)
    monkeypatch.setattr(sources, "MAX_STRUCTURE_BYTES", outside)
    assert read(data, tmp_path) == ["x" * 500]
    monkeypatch.setattr(sources, "MAX_STRUCTURE_BYTES", outside - 1)
    assert failure(lambda: read(data, tmp_path)) == (
        f"a.jsonl: line 1: more than {outside - 1} bytes of JSON outside its strings; is it text?"
    )


def test_a_byte_order_mark_begins_a_file_of_json_lines_and_no_other_line(tmp_path: Path) -> None:
    mark, line = b"\xef\xbb\xbf", b'{"text":"a"}\n'
    assert read(source_of(tmp_path, "jsonl", "a.jsonl", mark + line + line), tmp_path) == ["a", "a"]
    data = source_of(tmp_path, "jsonl", "a.jsonl", line + mark + line)
    assert failure(lambda: read(data, tmp_path)).startswith("a.jsonl: line 2: not JSON at line 1")


def test_neighbouring_documents_of_json_lines_agree_in_every_key(tmp_path: Path) -> None:
    lines = [{"a": 1, "b": 1, "text": "x"}, {"a": 1, "b": 2, "text": "y"}, {"a": 1, "b": 2, "text": "z"}]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    data = source_of(tmp_path, "jsonl", "a.jsonl", content, document=["a", "b"])
    assert read(data, tmp_path) == ["x", "y\nz"]


def test_blank_lines_of_json_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    data = source_of(tmp_path, "jsonl", "a.jsonl", b' \n\n\n{"text":"a"}\n{"b":1}\n')
    assert failure(lambda: read(data, tmp_path)).startswith("a.jsonl: line 5: no key 'text'; found b ")


def test_a_key_with_dots_may_be_the_key_itself_or_lead_further_down(tmp_path: Path) -> None:
    content = b'{"a.b":"x"}\n{"a":{"b":"y"}}\n{"c":1}\n'
    data = source_of(tmp_path, "jsonl", "a.jsonl", content, text="a.b")
    assert failure(lambda: read(data, tmp_path)).startswith("a.jsonl: line 3: no key 'a'; found c ")


def test_lines_of_a_text_with_nul_are_named_by_the_byte_in_the_file(text_data: TextData, tmp_path: Path) -> None:
    data = text_data(b"text\n" * 20_000 + b"a\0b\0\n", separator="end-of-file")
    assert failure(lambda: read(data, tmp_path)) == (
        "text0.txt: byte 100001 is NUL, which no text holds; is it binary data?"
    )


def test_blank_lines_are_text_where_a_whole_file_is_a_document(text_data: TextData, tmp_path: Path) -> None:
    assert read(text_data(b"\n\na\n\n\n", separator="end-of-file"), tmp_path) == ["\n\na\n\n"]
    assert read(text_data(b"\n\na\n \n\nb\n\n\n"), tmp_path) == ["a", "b"]


# --- Parquet ---------------------------------------------------------------------------------------------


def table(root: Path, columns: dict[str, Any], **options: Any) -> InputFile:
    pq.write_table(pa.table(columns), root / "s.parquet", **options)
    return InputFile(root / "s.parquet", "s.parquet")


def rows(file: InputFile, column: str = "text") -> list[str]:
    return list(parquet.read_rows(file, column))


def test_a_row_may_have_as_many_bytes_as_are_allowed_and_is_counted_over_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = table(tmp_path, {"text": ["a", "b", "c", "d", "e", "äääää"]}, row_group_size=5)
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 10)
    assert rows(file) == ["a", "b", "c", "d", "e", "äääää"]
    monkeypatch.setattr(streams, "MAX_DOCUMENT_BYTES", 9)
    assert failure(lambda: rows(file)) == (
        "s.parquet: row 5: a document of more than 9 bytes; split it into smaller ones"
    )


def test_a_nested_row_is_named_by_its_whole_column(tmp_path: Path) -> None:
    values = [{"b": [{"c": b"x"}]}] * 4 + [{"b": [{"c": b"x\0"}]}]
    file = table(tmp_path, {"a": pa.array(values)})
    assert failure(lambda: rows(file, "a.b.c")) == (
        "s.parquet: column 'a.b.c', row 4: byte 1 is NUL, which no text holds; is it binary data?"
    )


def test_columns_whose_names_begin_alike_are_not_the_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the pages of the column that is read count: the other one unpacks to more than a file may."""
    file = table(tmp_path, {"text": ["a"] * 1000, "text2": ["y" * 3000] * 1000}, compression="zstd")
    monkeypatch.setattr(streams, "FREE_BYTES", 100_000)
    monkeypatch.setattr(streams, "MAX_RATIO", 0)
    assert rows(file) == ["a"] * 1000


def test_a_file_may_hold_as_many_values_and_bytes_as_its_size_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = table(tmp_path, {"text": ["a"] * 1000}, compression="zstd", use_dictionary=False)
    with file.path.open("rb") as stream:
        (page,) = parquet.read_pages(stream, pq.ParquetFile(file.path).metadata.row_group(0).column(0))
    monkeypatch.setattr(streams, "MAX_RATIO", 0)
    monkeypatch.setattr(streams, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(parquet, "FREE_VALUES", 1000)
    assert len(rows(file)) == 1000
    monkeypatch.setattr(parquet, "FREE_VALUES", 999)
    assert "unpacks to more than 0 times its size" in failure(lambda: rows(file))
    monkeypatch.setattr(parquet, "FREE_VALUES", 1000)
    metadata, leaf = pq.ParquetFile(file.path).metadata, "text"
    monkeypatch.setattr(streams, "FREE_BYTES", page.unpacked)
    parquet._check_claims(metadata, leaf, file)
    monkeypatch.setattr(streams, "FREE_BYTES", page.unpacked - 1)
    with pytest.raises(CorpusError, match="unpacks to more than"):
        parquet._check_claims(metadata, leaf, file)
    monkeypatch.setattr(streams, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(parquet, "FREE_VALUES", 999)
    with pytest.raises(CorpusError, match="unpacks to more than"):  # by its rows, where no page of the column counts
        parquet._check_claims(metadata, "nothing", file)
    monkeypatch.setattr(parquet, "FREE_VALUES", 1000)
    parquet._check_claims(metadata, "nothing", file)


def test_what_rows_give_is_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = table(tmp_path, {"text": ["x" * 100] * 8})
    with pq.ParquetFile(file.path) as shard:
        sizes = [batch.nbytes for batch in shard.iter_batches(batch_size=4, columns=["text"])]
        monkeypatch.setattr(streams, "MAX_RATIO", 0)
        monkeypatch.setattr(streams, "FREE_BYTES", sum(sizes))
        assert list(parquet._rows(shard, "text", "", "s.parquet", file)) == ["x" * 100] * 8
        monkeypatch.setattr(streams, "FREE_BYTES", sum(sizes) - 1)
        with pytest.raises(CorpusError, match="unpacks to more than"):
            list(parquet._rows(shard, "text", "", "s.parquet", file))


def test_columns_of_one_name_and_more_than_a_hundred_are_told(tmp_path: Path) -> None:
    twice = pa.table([pa.array(["x"]), pa.array(["y"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "s.parquet")
    file = InputFile(tmp_path / "s.parquet", "s.parquet")
    assert failure(lambda: rows(file)).startswith("s.parquet: column 'text': found 2 times, expected once")
    names = [f"c{number:03}" for number in range(101)]
    assert failure(lambda: rows(table(tmp_path, {name: ["x"] for name in names}))) == (
        f"s.parquet: column 'text': found 0 times, expected once; the columns are {', '.join(names[:100])} "
        "(params.yaml: data.source.column)"
    )


def test_a_type_that_takes_a_page_to_write_is_cut(tmp_path: Path) -> None:
    wide = pa.array([{f"field{number:03}": 1 for number in range(60)}])
    file = table(tmp_path, {"text": wide})
    described = str(wide.type)[:500]
    assert failure(lambda: rows(file)) == (
        f"s.parquet: column 'text': its type is {described}, expected string; "
        "name the column that holds the text (params.yaml: data.source.column)"
    )


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("fixed", ["x\ny"]),
        ("large", ["x\ny"]),
        ("deep.a.b", ["x"]),
        ("dict", ["x"]),
        ("view", ["x"]),
    ],
)
def test_every_type_that_can_hold_text_is_read(tmp_path: Path, column: str, expected: list[str]) -> None:
    columns = {
        "fixed": pa.array([["x", "y"]], pa.list_(pa.string(), 2)),
        "large": pa.array([["x", "y"]], pa.large_list(pa.string())),
        "deep": pa.array([{"a": {"b": "x"}, "c": 1}]),
        "dict": pa.array([b"x"]).cast(pa.large_binary()).dictionary_encode(),
        "view": pa.array([b"x"]).cast(pa.binary_view()),
    }
    assert rows(table(tmp_path, columns), column) == expected


# --- input files -----------------------------------------------------------------------------------------


def test_as_many_files_as_are_allowed_may_lie_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a", "b"):
        (tmp_path / "data" / name).write_bytes(b"text")
    monkeypatch.setattr(inputs, "MAX_FILES", 2)
    (entry,) = pin_files(TextSource(kind="text", files=[{"path": "data"}]), tmp_path)
    listing = "".join(f"{sha256_bytes(b'text')}  data/{name}\n" for name in "ab").encode()
    assert (entry.path, entry.sha256) == ("data", sha256_bytes(listing))
    files = input_files(TextSource(kind="text", files=[entry]), tmp_path)
    assert files == [InputFile(tmp_path / "data" / name, f"data/{name}") for name in "ab"]


@pytest.mark.parametrize(
    ("path", "quoted"),
    [
        ("a/b_c-d.e f", "a/b_c-d.e f"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("-a", "'-a'"),
        ("a,b", "'a,b'"),
        ("it's", "'it''s'"),
        ("ä1", "ä1"),
    ],
)
def test_a_path_is_quoted_where_yaml_would_read_it_otherwise(path: str, quoted: str) -> None:
    assert inputs._quoted(path) == quoted


@pytest.mark.parametrize("ending", ["", ".gz", ".GZ", ".zst"])
def test_a_packed_file_is_looked_at_when_it_is_unpacked_and_a_plain_one_before(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a{ending}").write_bytes(b"\x1f\x8b")
    source = TextSource(kind="text", files=[{"path": f"a{ending}"}])
    if ending:
        assert [entry.path for entry in pin_files(source, tmp_path)] == [f"a{ending}"]
    else:
        assert failure(lambda: pin_files(source, tmp_path)).startswith("a: gzip data, expected UTF-8 text")


def test_a_short_parquet_file_is_looked_at_from_both_its_ends(tmp_path: Path) -> None:
    for content, problem in ((b"PAR1", None), (b"PA", None), (b"PAR1x", "a Parquet file without its end")):
        (tmp_path / "a").write_bytes(content)
        source = ParquetSource(kind="parquet", files=[{"path": "a"}])
        if problem is None:
            assert pin_files(source, tmp_path)[0].sha256 == sha256_bytes(content)
        else:
            assert failure(lambda: pin_files(source, tmp_path)).startswith(f"a: {problem}")  # noqa: B023


def test_one_digest_that_is_missing_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    digest = sha256_bytes(b"a")
    source = TextSource(kind="text", files=[{"path": "a", "sha256": digest}, {"path": "b"}])
    assert failure(lambda: input_files(source, tmp_path)).endswith(
        f"    files:\n    - {{path: a, sha256: {digest}}}\n    - {{path: b, sha256: {sha256_bytes(b'b')}}}"
    )


@pytest.mark.parametrize(("reason", "shown"), [("odd pages\nmore", "odd pages"), ("", "no reason given")])
def test_why_a_parquet_file_is_not_readable_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str, shown: str
) -> None:
    def refuse(*_: object) -> None:
        raise parquet.BadPages(reason)

    monkeypatch.setattr(parquet, "_check_claims", refuse)
    file = table(tmp_path, {"text": ["x"]})
    assert failure(lambda: rows(file)) == f"s.parquet: not a readable Parquet file: {shown}; fetch it again"
