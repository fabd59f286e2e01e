"""What a file really is, by its first bytes: the placeholders, archives and encodings that people give for text.

python -m stages.corpus
"""

from __future__ import annotations

import re

HEAD_BYTES = 64 * 1024  # as much of a file as is looked at

_UNPACK = "unpack it and give the text"
_CONVERT = "convert the file to UTF-8 and pin its new sha256"
#: How a file begins -> what it is, and what to do about it.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "gzip data", "give the file a name that ends in .gz, or unpack it"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data", "give the file a name that ends in .zst, or unpack it"),
    (b"\xfd7zXZ\x00", "xz data", _UNPACK),
    (b"\x04\x22\x4d\x18", "LZ4 data", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"PK\x03\x04", "a ZIP archive (as .docx, .epub and .npz are)", _UNPACK),
    (b"PAR1\x15", "a Parquet file", "read it with data.source.kind: parquet"),
    (b"ARROW1\0\0", "an Arrow file", "write it as Parquet"),
    (b"Obj\x01", "an Avro file", "write it as Parquet or JSON Lines"),
    (b"%PDF-", "a PDF", "take the text out of it"),
    (b"{\\rtf", "a rich text file", "save it as plain text"),
    (b"\xd0\xcf\x11\xe0", "an old Office document", "save it as plain text"),
    (b"SQLite format 3\x00", "an SQLite database", "write its texts as JSON Lines"),
    (b"\x89HDF", "an HDF5 file", "write its texts as Parquet"),
    (b"\x93NUMPY", "a NumPy array", "write its texts as Parquet"),
    (b"\x89PNG", "a picture", "give text"),
    (b"\xff\xd8\xff", "a picture", "give text"),
    (b"GIF87a", "a picture", "give text"),
    (b"GIF89a", "a picture", "give text"),
    (b"\x7fELF", "a program", "give text"),
    (b"\xff\xfe\x00\x00", "UTF-32 text", _CONVERT),
    (b"\x00\x00\xfe\xff", "UTF-32 text", _CONVERT),
    (b"\xff\xfe", "UTF-16 text", _CONVERT),
    (b"\xfe\xff", "UTF-16 text", _CONVERT),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05](?:\x95|[}\](c])")
_PAGE = re.compile(rb"\s*<(?:!doctype html|html|\?xml)", re.IGNORECASE)
_LONE_CR = re.compile(rb"\r(?!\n)")


def placeholder(head: bytes, name: str) -> str | None:
    """What stands in for a file whose content lies elsewhere, and the command that brings it; None for content.

    `name`: the file's path in the repository.
    """
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return f'a Git LFS pointer, not the file itself; run: git lfs pull --include "{name}"'
    if re.match(rb"(?:\.\./)*(?:\.git)?/annex/objects/", head):
        return f'a git-annex pointer, not the file itself; run: git annex get "{name}"'
    if name.endswith(".dvc") and re.search(rb"^outs:", head, re.MULTILINE):
        return f"a DVC pointer, not the file itself; run: dvc pull {name}, and name {name.removesuffix('.dvc')} instead"
    return None


def foreign_text(head: bytes) -> str | None:
    """What a file is that was given as UTF-8 text, and the remedy; None where its beginning is text."""
    for magic, what, remedy in _MAGIC:
        if head.startswith(magic):
            return f"{what}, expected UTF-8 text; {remedy}"
    if re.match(rb"BZh[1-9]1AY&SY", head):
        return f"bzip2 data, expected UTF-8 text; {_UNPACK}"
    if head[257:262] == b"ustar":
        return f"a tar archive, expected UTF-8 text; {_UNPACK}"
    if _PICKLE.match(head):
        return "a Python pickle, which is never opened, expected UTF-8 text; write its texts as JSON Lines"
    if (at := head.find(b"\0")) >= 0:
        return f"byte {at} is NUL, which no text holds: {_guess(head)}"
    if b"\n" not in head and (ending := _LONE_CR.search(head, 0, len(head) - 1)):
        return (
            f"byte {ending.start()}: line ends are CR alone, as on old Macs, expected LF or CRLF; "
            "convert them (tr '\\r' '\\n') and pin the new sha256"
        )
    return None


def foreign_parquet(head: bytes, tail: bytes) -> str | None:
    """What a file is that was given as Parquet, and the remedy; None where it begins and ends as one.

    `tail`: its last four bytes. An encrypted file ends in PARE.
    """
    if head.startswith(b"PARE"):
        return "an encrypted Parquet file, expected one that can be read; decrypt it"
    if not head:
        return "an empty file, expected a Parquet file; fetch it again"
    if head.startswith(b"PAR1"):
        if tail == b"PAR1":
            return None
        return "a Parquet file without its end, so it was cut off, expected a whole one; fetch it again"
    if _PAGE.match(head):
        return "a page of a web site (an error or a login?), expected a Parquet file; fetch the file itself"
    for magic, what, _ in _MAGIC:
        if head.startswith(magic):
            return f"{what}, expected a Parquet file; unpack or convert it"
    if b"\0" not in head and head.lstrip().startswith((b"{", b"[")):
        return "JSON, expected a Parquet file; read it with data.source.kind: jsonl"
    return None


def foreign_json_lines(head: bytes) -> str | None:
    """What a file is that was given as JSON Lines, and the remedy; None where it may be some."""
    if problem := foreign_text(head):
        return problem
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return "a JSON array, expected one JSON object a line; convert it: jq -c '.[]'"
    if _PAGE.match(head):
        return "a page of a web site (an error or a login?), expected one JSON object a line; fetch the file itself"
    return None


def _guess(head: bytes) -> str:
    """The encoding that NULs in these places speak for."""
    nulls = [head[offset::4].count(0) for offset in range(4)]
    if min(nulls[1], nulls[2]) > 0.15 * len(head):  # of every four bytes two or three are NUL
        return f"it looks like UTF-32 without a byte-order mark; {_CONVERT}"
    even, odd = nulls[0] + nulls[2], nulls[1] + nulls[3]
    if max(even, odd) > 0.05 * len(head) and min(even, odd) * 4 < max(even, odd):
        order = "LE" if odd > even else "BE"
        return f"it looks like UTF-16{order} without a byte-order mark; {_CONVERT} (iconv -f UTF-16{order} -t UTF-8)"
    return "it looks like binary data; give text"


def guess_encoding(line: bytes, at: int) -> str:
    """A hint for the byte at `at`, which is not UTF-8, where its neighbours speak for a Western code page; else ''."""
    byte, around = line[at], line[max(0, at - 1) : at] + line[at + 1 : at + 2]
    letter = 0xC0 <= byte <= 0xFF and byte not in (0xD7, 0xF7) and len(around) == 2 and around.isalpha()
    quote = byte in (0x91, 0x92, 0x93, 0x94, 0x96, 0x97, 0x85)
    if (letter or quote) and all(other < 0x80 for other in around):
        what = chr(byte) if letter else "a quotation mark or dash"
        return f" (it looks like {what} in Windows-1252: iconv -f WINDOWS-1252 -t UTF-8)"
    return ""
