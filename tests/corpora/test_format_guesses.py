"""What the bytes of a file speak for, at the limit of each guess, and what is said of each kind whole."""

from __future__ import annotations

import pytest

from stages.corpora.formats import (
    _guess,
    foreign_json_lines,
    foreign_parquet,
    foreign_text,
    guess_encoding,
    placeholder,
)

CONVERT = "convert the file to UTF-8 and pin its new sha256"
UTF32 = f"it looks like UTF-32 without a byte-order mark; {CONVERT}"
UTF16 = "it looks like UTF-16{0} without a byte-order mark; " + CONVERT + " (iconv -f UTF-16{0} -t UTF-8)"
BINARY = "it looks like binary data; give text"


def with_nuls(*counts: int) -> bytes:
    """A hundred bytes with so many NULs at the places that leave 0, 1, 2 and 3 when divided by four."""
    data = bytearray(b"x" * 100)
    for offset, count in enumerate(counts):
        for n in range(count):
            data[4 * n + offset] = 0
    return bytes(data)


@pytest.mark.parametrize(
    ("counts", "guess"),
    [
        ((0, 16, 16, 0), UTF32),
        ((25, 16, 20, 0), UTF32),
        ((0, 15, 16, 0), BINARY),
        ((0, 16, 15, 0), BINARY),
        ((15, 15, 15, 15), BINARY),
        ((0, 3, 0, 3), UTF16.format("LE")),
        ((0, 5, 0, 1), UTF16.format("LE")),
        ((3, 0, 3, 0), UTF16.format("BE")),
        ((1, 0, 5, 0), UTF16.format("BE")),
        ((5, 0, 0, 0), BINARY),
        ((0, 2, 0, 3), BINARY),
        ((1, 4, 1, 4), BINARY),
        ((1, 4, 1, 5), UTF16.format("LE")),
        ((5, 1, 4, 1), UTF16.format("BE")),
        ((4, 1, 4, 1), BINARY),
    ],
)
def test_nuls_speak_for_an_encoding_by_their_places(counts: tuple[int, ...], guess: str) -> None:
    assert _guess(with_nuls(*counts)) == guess


def looks_like(what: str) -> str:
    return f" (it looks like {what} in Windows-1252: iconv -f WINDOWS-1252 -t UTF-8)"


@pytest.mark.parametrize(
    ("line", "at", "hint"),
    [
        (b"a\xe9b", 1, looks_like("é")),
        (b"a\xc0b", 1, looks_like("À")),
        (b"a\xffb", 1, looks_like("ÿ")),
        (b"a\xbfb", 1, ""),
        (b"a\xd7b", 1, ""),
        (b"a\xf7b", 1, ""),
        (b"ab\xe9c ", 2, looks_like("é")),
        (b"a\xe9", 1, ""),
        (b"\xe9b", 0, ""),
        (b"a\xe9 b", 1, ""),
        (b"1\xe9b", 1, ""),
        (b"a\xe9\xe9", 1, ""),
        (b"\xe9\xe9a", 1, ""),
        (b"\x93b", 0, looks_like("a quotation mark or dash")),
        (b"b\x94", 1, looks_like("a quotation mark or dash")),
        (b" \x96 ", 1, looks_like("a quotation mark or dash")),
        (b" \x85\x80", 1, ""),
        (b"\x80\x85 ", 1, ""),
        (b"a\x90b", 1, ""),
        (b"a\x95b", 1, ""),
    ],
)
def test_a_byte_speaks_for_windows_1252_by_its_neighbours(line: bytes, at: int, hint: str) -> None:
    assert guess_encoding(line, at) == hint


UNPACK = "unpack it and give the text"


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b"", None),
        (b"text", None),
        (b"text\r", None),
        (b"te\rxt\n", None),
        (b"\rtext", "byte 0: line ends are CR alone, as on old Macs, expected LF or CRLF; "
                    "convert them (tr '\\r' '\\n') and pin the new sha256"),
        (b"te\rx", "byte 2: line ends are CR alone, as on old Macs, expected LF or CRLF; "
                   "convert them (tr '\\r' '\\n') and pin the new sha256"),
        (b"x" * 21 + b"\0", f"byte 21 is NUL, which no text holds: {BINARY}"),
        (b"PK\x03\x04", f"a ZIP archive (as .docx, .epub and .npz are), expected UTF-8 text; {UNPACK}"),
        (b"BZh11AY&SY", f"bzip2 data, expected UTF-8 text; {UNPACK}"),
        (b"BZh01AY&SY", None),
        (b"x" * 257 + b"ustar", f"a tar archive, expected UTF-8 text; {UNPACK}"),
        (b"x" * 256 + b"ustar", None),
        (b"x" * 258 + b"ustar", None),
        (b"\x80\x04\x95", "a Python pickle, which is never opened, expected UTF-8 text; write its texts as JSON Lines"),
    ],
)  # fmt: skip
def test_what_is_no_text_is_named_with_its_remedy(head: bytes, problem: str | None) -> None:
    assert foreign_text(head) == problem
    if problem is not None:
        assert foreign_json_lines(head) == problem


@pytest.mark.parametrize(
    ("head", "tail", "problem"),
    [
        (b"PAR1....", b"PAR1", None),
        (b"PAR1....", b"PARE", "a Parquet file without its end, so it was cut off, expected a whole one; fetch it again"),
        (b"PARE....", b"PARE", "an encrypted Parquet file, expected one that can be read; decrypt it"),
        (b"", b"", "an empty file, expected a Parquet file; fetch it again"),
        (b" \n<html>", b"", "a page of a web site (an error or a login?), expected a Parquet file; fetch the file itself"),
        (b"\x1f\x8b", b"", "gzip data, expected a Parquet file; unpack or convert it"),
        (b' {"a"', b"", "JSON, expected a Parquet file; read it with data.source.kind: jsonl"),
        (b"[", b"", "JSON, expected a Parquet file; read it with data.source.kind: jsonl"),
        (b"[\0", b"", None),
        (b"text", b"", None),
    ],
)  # fmt: skip
def test_what_is_no_parquet_is_named_with_its_remedy(head: bytes, tail: bytes, problem: str | None) -> None:
    assert foreign_parquet(head, tail) == problem


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        (b'{"a": [1]}', None),
        (b"\xef\xbb\xbf{", None),
        (b"\xef\xbb\xbf\n[", "a JSON array, expected one JSON object a line; convert it: jq -c '.[]'"),
        (b"<HTML", "a page of a web site (an error or a login?), expected one JSON object a line; fetch the file itself"),
    ],
)  # fmt: skip
def test_what_is_no_json_lines_is_named_with_its_remedy(head: bytes, problem: str | None) -> None:
    assert foreign_json_lines(head) == problem


LFS = b"version https://git-lfs.github.com/spec/v1\n"


@pytest.mark.parametrize(
    ("head", "name", "problem"),
    [
        (b"text", "a.txt", None),
        (LFS, "a b.txt", 'a Git LFS pointer, not the file itself; run: git lfs pull --include "a b.txt"'),
        (b" " + LFS, "a.txt", None),
        (b"../.git/annex/objects/x", "a.txt", 'a git-annex pointer, not the file itself; run: git annex get "a.txt"'),
        (b"x/annex/objects/x", "a.txt", None),
        (b"md5: x\nouts:\n", "a.txt.dvc", "a DVC pointer, not the file itself; run: dvc pull a.txt.dvc, "
                                          "and name a.txt instead"),
        (b"outs:\n", "a.txt", None),
        (b"x outs:\n", "a.dvc", None),
    ],
)  # fmt: skip
def test_a_placeholder_is_told_from_content(head: bytes, name: str, problem: str | None) -> None:
    assert placeholder(head, name) == problem
