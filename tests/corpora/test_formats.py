"""What is no text, no JSON Lines or no Parquet is told as what it is, before its digest is offered to be pinned."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.corpora.inputs import CorpusError, input_files
from stages.corpora.sources import documents
from stages.domain.corpus import Data
from stages.domain.schema import parse

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123\n"
ANNEX = b"/annex/objects/SHA256E-s3--" + b"0" * 64 + b".txt\n"
DVC = b"outs:\n- md5: 0123\n  path: text.txt\n"
TEXT = "one line of text\nand another\n"


def archive(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as zipped:
            zipped.writestr("a.txt", TEXT)
    else:
        with tarfile.open(fileobj=out, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a.txt"))
    return out.getvalue()


def parquet_bytes() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["x"]}), out)
    return out.getvalue()


def refusal(root: Path, kind: str, name: str, content: bytes) -> str:
    """What the corpus stage says of a file without a digest; ends the test if it offers one to be pinned."""
    (root / name).write_bytes(content)
    source = {"kind": kind, "files": [{"path": name}]}
    data = parse(Data, {"source": source, "vocab_size": 300}, "params.yaml")
    with pytest.raises(CorpusError) as error:
        input_files(data.source, root)
    assert "sha256:" not in str(error.value).replace("oid sha256:", "")
    return str(error.value)


@pytest.mark.parametrize("kind", ["text", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.parquet", LFS, 'a.parquet: a Git LFS pointer, not the file itself; run: git lfs pull --include "a.parquet"'),
        ("a.jsonl.gz", LFS, 'a.jsonl.gz: a Git LFS pointer, not the file itself; '
                            'run: git lfs pull --include "a.jsonl.gz"'),
        ("a.txt", ANNEX, 'a.txt: a git-annex pointer, not the file itself; run: git annex get "a.txt"'),
        ("a.txt.dvc", DVC, "a.txt.dvc: a DVC pointer, not the file itself; run: dvc pull a.txt.dvc, "
                           "and name a.txt instead"),
    ],
)  # fmt: skip
def test_a_placeholder_is_named_with_the_command_that_brings_the_file(
    tmp_path: Path, kind: str, name: str, content: bytes, expected: str
) -> None:
    assert refusal(tmp_path, kind, name, content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TEXT.encode("utf-16"), "UTF-16 text, expected UTF-8 text"),
        (TEXT.encode("utf-16-le"), "byte 1 is NUL, which no text holds: it looks like UTF-16LE without"),
        (TEXT.encode("utf-16-be"), "byte 0 is NUL, which no text holds: it looks like UTF-16BE without"),
        (("Größe " * 9 + "文字\n").encode("utf-16-le"), "byte 1 is NUL, which no text holds: it looks like UTF-16LE"),
        (TEXT.encode("utf-32"), "UTF-32 text, expected UTF-8 text"),
        (TEXT.encode("utf-32-le"), "byte 1 is NUL, which no text holds: it looks like UTF-32 without"),
        (TEXT.encode("utf-32-be"), "byte 0 is NUL, which no text holds: it looks like UTF-32 without"),
        (b"text\n" * 9 + b"\0\n", "byte 45 is NUL, which no text holds: it looks like binary data"),
        (b"one\rtwo\rthree\r", "byte 3: line ends are CR alone, as on old Macs, expected LF or CRLF"),
        (gzip.compress(TEXT.encode(), mtime=0), "gzip data, expected UTF-8 text; give the file a name that ends in .gz"),
        (pa.compress(TEXT.encode(), "zstd", asbytes=True), "Zstandard data, expected UTF-8 text; give the file a name"),
        (bz2.compress(TEXT.encode()), "bzip2 data, expected UTF-8 text; unpack it"),
        (lzma.compress(TEXT.encode()), "xz data, expected UTF-8 text; unpack it"),
        (archive("zip"), "a ZIP archive (as .docx, .epub and .npz are), expected UTF-8 text; unpack it"),
        (archive("tar"), "a tar archive, expected UTF-8 text; unpack it"),
        (pickle.dumps([TEXT]), "a Python pickle, which is never opened, expected UTF-8 text"),
        (parquet_bytes(), "a Parquet file, expected UTF-8 text; read it with data.source.kind: parquet"),
        (b"%PDF-1.7\n", "a PDF, expected UTF-8 text"),
        (b"SQLite format 3\x00", "an SQLite database, expected UTF-8 text"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["text", "jsonl"])
def test_what_decodes_or_not_but_is_no_text_is_told_as_what_it_is(
    tmp_path: Path, kind: str, content: bytes, expected: str
) -> None:
    assert refusal(tmp_path, kind, "a.txt", content).startswith(f"a.txt: {expected}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "an empty file, expected a Parquet file; fetch it again"),
        (b"PARE" + parquet_bytes(), "an encrypted Parquet file, expected one that can be read; decrypt it"),
        (parquet_bytes()[:-3], "a Parquet file without its end, so it was cut off"),
        (b"<!DOCTYPE html><title>Sign in</title>", "a page of a web site (an error or a login?)"),
        (b'<?xml version="1.0"?><Error>AccessDenied</Error>', "a page of a web site (an error or a login?)"),
        (b'{"text": "x"}\n', "JSON, expected a Parquet file; read it with data.source.kind: jsonl"),
        (gzip.compress(parquet_bytes(), mtime=0), "gzip data, expected a Parquet file; unpack or convert it"),
        (archive("zip"), "a ZIP archive (as .docx, .epub and .npz are), expected a Parquet file"),
    ],
)  # fmt: skip
def test_what_is_no_parquet_is_told_as_what_it_is(tmp_path: Path, content: bytes, expected: str) -> None:
    assert refusal(tmp_path, "parquet", "a.parquet", content).startswith(f"a.parquet: {expected}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            json.dumps([{"text": "x"}]).encode(),
            "a JSON array, expected one JSON object a line; convert it: jq -c '.[]'",
        ),
        (b"\xef\xbb\xbf [\n", "a JSON array, expected one JSON object a line; convert it: jq -c '.[]'"),
        (b"<html>", "a page of a web site (an error or a login?), expected one JSON object a line"),
    ],
)
def test_what_is_no_json_lines_is_told_as_what_it_is(tmp_path: Path, content: bytes, expected: str) -> None:
    assert refusal(tmp_path, "jsonl", "a.jsonl", content).startswith(f"a.jsonl: {expected}")


@pytest.mark.parametrize(
    "content",
    [
        b"ORCHARDS are text\n",
        b"PAR1 is text\n",
        b"BZh, he said\n",
        b"one\rtwo\nthree\r\n",
        b"no line end at all",
        b"\x0c\n",
    ],
)
def test_text_that_only_resembles_something_else_is_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert refusal_of_pins(tmp_path, "text").startswith("params.yaml: data.source.files: a file has no sha256")


def refusal_of_pins(root: Path, kind: str) -> str:
    data = parse(Data, {"source": {"kind": kind, "files": [{"path": "a.txt"}]}, "vocab_size": 300}, "params.yaml")
    with pytest.raises(CorpusError) as error:
        input_files(data.source, root)
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("caf\u00e9s in Paris\n".encode("latin-1"),
         "byte 3: 0xe9 is not UTF-8 (it looks like é in Windows-1252: iconv -f WINDOWS-1252 -t UTF-8)"),
        ("it\u2019s\n".encode("cp1252"), "byte 2: 0x92 is not UTF-8 (it looks like a quotation mark or dash in"),
        ("文字化け\n".encode("shift-jis"), "byte 0: 0x95 is not UTF-8; convert"),
    ],
)  # fmt: skip
def test_a_byte_that_is_not_utf8_comes_with_a_guess_where_there_is_one(
    text_data: Callable[..., Data], tmp_path: Path, content: bytes, expected: str
) -> None:
    data = text_data(content)
    with pytest.raises(CorpusError) as error:
        list(documents(data.source, input_files(data.source, tmp_path)))
    assert str(error.value).startswith(f"text0.txt: {expected}")


def test_nul_far_into_a_text_is_named_by_its_byte(text_data: Callable[..., Data], tmp_path: Path) -> None:
    data: Any = text_data(b"text\n" * 20_000 + b"a\0b\n")
    with pytest.raises(CorpusError, match=r"^text0.txt: byte 100001 is NUL, which no text holds; is it binary data\?$"):
        list(documents(data.source, input_files(data.source, tmp_path)))
