"""dvc.lock without DVC: parsed, with the digests that DVC recorded, or as text whose stages can be put in order.

    parse(data, "dvc.lock")      what each stage ran, read, was given and wrote
    read(Path("dvc.lock"))       the text of each stage as DVC wrote it

DVC writes locks in one plain form, which `_plain` reads far faster than a YAML parser could: those of 20,000 runs have
600,000 lines. It gives up on every line that could mean anything else in YAML, and the YAML parser, with its limits,
then reads the whole file. A test holds both equal on whatever the fast one accepts. The stages of a lock say much
alike, such as what they depend on: that is read once and is one object in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.domain import files, yamlio
from stages.domain.conflicts import find_conflict, refuse_conflicts
from stages.domain.errors import Invalid

MAX_BYTES = 256 << 20
#: In another form than that which DVC writes, a file takes a YAML parser and far more memory than it has bytes.
MAX_OTHER_FORM = 8 << 20
MAX_NODES = 20_000_000
SCHEMA = "2.0"


class BadLock(Invalid):
    """A dvc.lock that DVC did not write."""


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A dependency or an output: its path and what DVC recorded of it; `at` is its place in the list.

    A folder's digest ends in `.dir`, and only a folder has a number of files.
    """

    path: str
    md5: str | None
    size: int | None
    nfiles: int | None
    at: int


@dataclass(frozen=True, slots=True)
class LockedStage:
    """One stage of a dvc.lock. `deps` and `outs` are by path, `params` by file and key."""

    cmd: str
    deps: dict[str, LockedFile]
    outs: dict[str, LockedFile]
    params: dict[str, dict[str, object]]


def parse(data: bytes, where: str, most: int | None = None) -> dict[str, LockedStage]:
    """The stages of a dvc.lock by name; `BadLock` or `BadYaml` names the place in `where` that is wrong.

    In another form than DVC's own it may have `most` bytes, if that is given.
    """
    if len(data) > MAX_BYTES:
        raise BadLock.at(where, f"{len(data)} bytes, expected at most {MAX_BYTES}")
    value = _plain(data) if find_conflict(data) is None else None
    if value is None:
        most = MAX_OTHER_FORM if most is None else most
        value = yamlio.loads(data, where, max_bytes=most, max_nodes=MAX_NODES, aliases=False)
    if value.get("schema") != SCHEMA:
        raise BadLock.at(where, f"found {value.get('schema')!r}, expected {SCHEMA!r}", "schema")
    if unknown := sorted(set(value) - {"schema", "stages"}):
        raise BadLock.at(where, "no such key, expected schema and stages", unknown[0])
    stages = value.get("stages") or {}
    if not isinstance(stages, dict):
        raise BadLock.at(where, f"found {type(stages).__name__}, expected a mapping", "stages")
    known: dict[int, dict[str, LockedFile]] = {}
    return {name: _stage(stage, where, f"stages.{name}", known) for name, stage in stages.items()}


def _stage(value: Any, where: str, at: str, known: dict[int, dict[str, LockedFile]]) -> LockedStage:
    """`known`: the files of every list that was read already, by the identity of the list."""
    if not isinstance(value, dict) or not isinstance(value.get("cmd"), str):
        raise BadLock.at(where, "expected a mapping with a `cmd`", at)
    if not value.keys() <= _STAGE_KEYS:
        unknown = min(value.keys() - _STAGE_KEYS)
        raise BadLock.at(where, "no such key, expected cmd, deps, params, outs", f"{at}.{unknown}")
    params = value.get("params", {})
    if not isinstance(params, dict) or not all(isinstance(keys, dict) for keys in params.values()):
        raise BadLock.at(where, "expected keys by file", f"{at}.params")
    for kind in ("deps", "outs"):
        if id(value.get(kind)) not in known:
            known[id(value.get(kind))] = _items(value.get(kind), where, f"{at}.{kind}")
    return LockedStage(value["cmd"], known[id(value.get("deps"))], known[id(value.get("outs"))], params)


def _items(value: Any, where: str, at: str) -> dict[str, LockedFile]:
    if value is None:
        return {}
    if not isinstance(value, list):
        raise BadLock.at(where, f"found {type(value).__name__}, expected a list", at)
    files: dict[str, LockedFile] = {}
    for number, item in enumerate(value):
        path = item.get("path") if isinstance(item, dict) else None
        if not isinstance(path, str) or path in files:
            raise BadLock.at(where, f"found {path!r}, expected a path, once", f"{at}.{number}.path")
        if not item.keys() <= _KEYS.keys():
            unknown = min(item.keys() - _KEYS.keys())
            raise BadLock.at(where, f"no such key, expected {', '.join(_KEYS)}", f"{at}.{number}.{unknown}")
        for key, (valid, expected) in _VALUES.items():
            if (field := item.get(key)) is not None and not valid(field):
                raise BadLock.at(where, f"found {field!r}, expected {expected}", f"{at}.{number}.{key}")
        files[path] = LockedFile(path, item.get("md5"), item.get("size"), item.get("nfiles"), number)
    return files


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_STAGE_KEYS = frozenset({"cmd", "deps", "outs", "params"})
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
#: What DVC records of a file or folder; `isexec` of an executable file alone.
_KEYS = dict.fromkeys(("path", "hash", "md5", "size", "nfiles", "isexec"))
_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "hash": (lambda value: value == "md5", "'md5'"),
    "md5": (lambda value: isinstance(value, str) and _MD5.fullmatch(value) is not None, "32 hexadecimal digits"),
    "size": (_count, "a number of bytes"),
    "nfiles": (_count, "a number of files"),
}
_LINE = re.compile(r"( *)(- )?(?:([A-Za-z_][\w@./-]*):(?: |(?=\n)))?(.*)\n", re.ASCII)
#: What stands under a key of a stage.
_SECTION = re.compile(r"(?:    (?: |- ).*\n)*")
_SECTION_INDENT = 4
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]+(?:e[-+][0-9]{2,3})?|e[-+][0-9]{2,3})")
#: Text that no YAML schema reads as anything else: it starts with a letter or '/', and has no sign of YAML's.
_TEXT = re.compile(r"[A-Za-z/][\w./@=+-]*(?: [\w./@=+-]+)*", re.ASCII)
#: A digest may start with a digit, but one such as 0b01..., 1234... or 12e34... would be a number in YAML.
_DIGEST = re.compile(r"(?![0-9]+(?:e[0-9]+)?$|0b[01]+$)[0-9a-f]{32}(?:\.dir)?")
_QUOTED = re.compile(r"'([ -&(-~]*)'")
_WORDS = {"true": True, "false": False, "null": None}
_AMBIGUOUS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"})
_EMPTY: dict[str, Callable[[], object]] = {"{}": dict, "[]": list}


class _NotPlain(Exception):
    """A line that only a YAML parser may read."""


def _scalar(text: str) -> object:
    if _TEXT.fullmatch(text) and text.lower() not in _AMBIGUOUS:
        return text
    if _DIGEST.fullmatch(text):
        return text
    if _INT.fullmatch(text):
        return int(text)
    if text in _WORDS:
        return _WORDS[text]
    if _FLOAT.fullmatch(text):
        return float(text)
    if quoted := _QUOTED.fullmatch(text):
        return quoted[1]
    if text in _EMPTY:
        return _EMPTY[text]()
    raise _NotPlain


class _Lines:
    """The lines as (indent, starts an item, key, rest), one at a time."""

    def __init__(self, text: str) -> None:
        if text and not text.endswith("\n"):
            raise _NotPlain
        self._text, self._end = text, 0
        # One at a time: as a list, lines of a byte take sixty times as much memory as the file.
        self._lines = _LINE.finditer(text)
        self._sections: dict[str, object] = {}
        self.indent, self.item, self.key, self.rest = -1, False, "", ""
        self.next()

    def next(self) -> None:
        match = next(self._lines, None)
        if match is None:
            self.indent = -1
            return
        indent, item, key, self.rest = match.groups()
        if key is None and not self.rest:
            raise _NotPlain
        self.indent, self.item, self.key, self._end = len(indent), item is not None, key or "", match.end()

    def section(self) -> object:
        """What stands under the key of a stage that is read: the same object wherever the same lines stand."""
        section = _SECTION.match(self._text, self._end)
        assert section is not None
        if section[0] in self._sections:
            self._lines = _LINE.finditer(self._text, section.end())
            self.next()
        else:
            self.next()
            self._sections[section[0]] = _block(self, _SECTION_INDENT)
        return self._sections[section[0]]

    def inside_item(self) -> None:
        """Go on to what stands after `- `, as if it stood on a line of its own."""
        self.indent, self.item = self.indent + 2, False


def _mapping(lines: _Lines, indent: int) -> dict[str, object]:
    mapping: dict[str, object] = {}
    while lines.indent == indent and not lines.item:
        key = lines.key
        if not key or key in mapping or key.lower() in _AMBIGUOUS:
            raise _NotPlain
        if lines.rest:
            mapping[key] = _scalar(_folded(lines, indent))
        elif indent == _SECTION_INDENT:
            mapping[key] = lines.section()
        else:
            lines.next()
            mapping[key] = _block(lines, indent)
    return mapping


def _folded(lines: _Lines, indent: int) -> str:
    """A value with the lines that it goes on in: a long command is folded at 80 columns."""
    text = lines.rest
    lines.next()
    while lines.indent > indent and not lines.item and not lines.key:
        text += f" {lines.rest}"
        lines.next()
    return text


def _block(lines: _Lines, above: int) -> object:
    if lines.item and lines.indent >= above:
        return _sequence(lines, lines.indent)
    if lines.indent <= above:
        raise _NotPlain
    return _mapping(lines, lines.indent)


def _sequence(lines: _Lines, indent: int) -> list[object]:
    items: list[object] = []
    while lines.indent == indent and lines.item:
        if lines.key:
            lines.inside_item()
            items.append(_mapping(lines, indent + 2))
        else:
            items.append(_scalar(lines.rest))
            lines.next()
    return items


def _plain(data: bytes) -> dict[str, object] | None:
    """The content of a lock in DVC's own plain form, or None where any line has another."""
    try:
        lines = _Lines(data.decode("ascii"))
        value = _mapping(lines, 0)
        return value if lines.indent == -1 else None
    except (_NotPlain, UnicodeDecodeError, RecursionError):
        return None


_STAGE = re.compile(r"^  ([a-z]\S*):\n", re.MULTILINE)


def read(path: Path) -> tuple[str, dict[str, str]]:
    """What stands before the stages, and the text of each stage by name, in their order; nothing where no file is."""
    refuse_conflicts([path])
    return split(path.read_text(encoding="utf-8")) if path.is_file() else ("", {})


def split(text: str) -> tuple[str, dict[str, str]]:
    """The same of the text of a lock."""
    head, *parts = _STAGE.split(text)
    return head, dict(zip(parts[::2], parts[1::2], strict=True))


def write(path: Path, head: str, stages: dict[str, str]) -> None:
    """Write these stages in their order; a lock without any is no file."""
    if stages:
        body = "".join(f"  {name}:\n{text}" for name, text in stages.items())
        files.write_whole(path, (head + body).encode("utf-8"))
    else:
        refuse_conflicts([path])
        path.unlink(missing_ok=True)


def put_in_order(path: Path, names: Iterable[str]) -> None:
    """List the stages as `names` has them, others behind; a lock that does already is not written."""
    head, stages = read(path)
    known = [name for name in names if name in stages]
    order = [*known, *(name for name in stages if name not in known)]
    if order != list(stages):
        write(path, head, {name: stages[name] for name in order})
