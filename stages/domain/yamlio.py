"""Reading YAML that people write: safely, with a size limit, and with errors that name file, line, column and key."""

from __future__ import annotations

import datetime
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from stages.domain.canonical import MAX_WHOLE
from stages.domain.conflicts import CONFLICT, find_conflict
from stages.domain.errors import Invalid, mistake

MAX_BYTES = 4 << 20
MAX_NODES = 300_000
MAX_DEPTH = 32

#: What the parser says -> what is wrong in our words, and the remedy.
_PROBLEMS = (
    ("found duplicate key", "this key stands twice in one mapping, expected once"),
    ("found a tab character", "a tab, expected spaces: YAML is indented with nothing else"),
    ("cannot start any token", "found {character}, which begins no value, expected text in quotes"),
    (
        "mapping values are not allowed",
        "found a second ':' or a line too deep; put text with ': ' in quotes",
    ),
    ("mapping keys are not allowed", "found '?' where a value begins, expected text in quotes"),
    ("did not find expected ',' or ']'", "the list that begins with '[' is not closed, or lacks a comma"),
    ("did not find expected ',' or '}'", "the mapping that begins with '{{' is not closed, or lacks a comma"),
    (
        "found undefined alias",
        "'*' begins an alias of nothing that is there; put such text in quotes",
    ),
    (
        "could not determine a constructor",
        "'!' begins a tag, and none is read here; put such text in quotes",
    ),
    ("found undefined tag handle", "'!' begins a tag, and none is read here; put such text in quotes"),
    ("found unexpected end of stream", "a quotation mark is opened and not closed"),
    ("found unknown escape character", "found a backslash in double quotes; put this text in single quotes"),
    ("did not find expected key", "this line fits none before it: look at its indentation, and at quotes inside text"),
    ("could not find expected ':'", "found a line without ':', expected `key: value`"),
    ("found another document", "found '---', which begins a second document; a study is one"),
)


class BadYaml(Invalid):
    """A file that is not the YAML that is read here."""


def _refuse(text: str, where: str, place: list[str], message: str) -> BadYaml:
    line = line_of(text, place)
    return BadYaml.at(f"{where}, line {line}" if line else where, message, ".".join(place))


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, datetime.date):
        return f"the date {value.isoformat()}"
    if isinstance(value, int) and abs(value) > MAX_WHOLE:  # Python writes no more than 4300 digits
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, int | float):
        return f"the number {value}"
    return {"bytes": "binary data", "set": "a set"}.get(type(value).__name__, type(value).__name__)


def _bounded(value: Any, text: str, where: str, max_nodes: int) -> None:
    """Refuse what an alias bomb unfolds to, keys that are not text, and nesting no study needs."""
    left = max_nodes
    stack: list[tuple[Any, list[str]]] = [(value, [])]
    while stack:
        node, place = stack.pop()
        left -= 1
        if left < 0 or len(place) > MAX_DEPTH:
            raise BadYaml.at(where, f"more than {max_nodes} values or {MAX_DEPTH} levels; is it an alias bomb?")
        if isinstance(node, dict):
            for key, item in node.items():
                if not isinstance(key, str):
                    message = f"found {_kind(key)} as a key, expected text: put it in quotes"
                    raise _refuse(
                        text,
                        where,
                        [*place, _kind(key) if isinstance(key, int) and abs(key) > MAX_WHOLE else str(key)],
                        message,
                    )
                stack.append((item, [*place, key]))
        elif isinstance(node, list):
            stack.extend((item, [*place, str(at)]) for at, item in enumerate(node))
        elif isinstance(node, int) and abs(node) > MAX_WHOLE:
            raise _refuse(text, where, place, f"found {_kind(node)}, expected at most {MAX_WHOLE:.0e}")
        elif not isinstance(node, str | int | float | bool | None):
            remedy = ": put it in quotes" if isinstance(node, datetime.date) else ""
            message = f"found {_kind(node)}, expected text, a number, true, false or null{remedy}"
            raise _refuse(text, where, place, message)


def _shallow(text: str, where: str, max_nodes: int, aliases: bool) -> None:
    """Refuse deep nesting and too many values before any tree is built: the C composer recurses, and would crash."""
    depth = nodes = 0
    for event in YAML(typ="safe").parse(text):
        if isinstance(event, AliasEvent) and not aliases:
            raise BadYaml.at(where, "found an alias, expected the value itself")
        if isinstance(event, NodeEvent):
            nodes += 1
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or nodes > max_nodes:
            raise BadYaml.at(where, f"more than {max_nodes} values or {MAX_DEPTH} levels; no study needs that")


def refuse_aliases(data: bytes, where: str) -> None:
    """Refuse a study with an alias: DVC copies it into dvc.lock, where `lockfile.parse` takes none."""
    for event in YAML(typ="safe").parse(data.decode("utf-8")):
        if isinstance(event, AliasEvent):
            place = f"{where}, line {event.start_mark.line + 1}"
            raise BadYaml.at(
                place, f"found the alias *{event.anchor}, expected the value itself: DVC would copy it into dvc.lock"
            )


def loads(
    data: bytes, where: str, *, max_bytes: int = MAX_BYTES, max_nodes: int = MAX_NODES, aliases: bool = True
) -> dict[str, Any]:
    """The mapping that `data` says; `BadYaml` names `where`, line and column. Duplicate keys are refused."""
    if len(data) > max_bytes:
        raise BadYaml.at(where, f"{len(data)} bytes, expected at most {max_bytes}")
    if line := find_conflict(data):
        raise BadYaml.at(f"{where}, line {line}", CONFLICT)
    try:
        text = data.decode("utf-8")
        _shallow(text, where, max_nodes, aliases)
        value = YAML(typ="safe").load(text)
    except BadYaml:
        raise
    except UnicodeDecodeError as error:
        raise BadYaml.at(where, f"not UTF-8 at byte {error.start}") from None
    except MarkedYAMLError as error:
        raise _syntax_error(error, text, where) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise BadYaml.at(f"{where}, line {line}", f"found the control character #x{error.character:04x}") from None
    except (
        YAMLError,
        ValueError,
        RecursionError,
        TypeError,
        OverflowError,
        AttributeError,
        IndexError,
    ) as error:
        message = f"not YAML that is read here: {type(error).__name__}: {error}"
        raise BadYaml.at(where, message[:400]) from None
    if not isinstance(value, dict):
        raise BadYaml.at(where, f"found {type(value).__name__}, expected a mapping")
    _bounded(value, text, where, max_nodes)
    return value


def _syntax_error(error: MarkedYAMLError, text: str, where: str) -> BadYaml:
    """The parser's complaint with its place, in our words where we have some."""
    said = " ".join(str(error.problem or error.context or "not YAML").split()[:24])
    mark = error.problem_mark
    opened = "not closed" in (message := next((ours for theirs, ours in _PROBLEMS if theirs in said), said))
    if opened and error.context_mark:  # where it was opened, not where the file or the next key betrays it
        mark = error.context_mark
    lines = text.split("\n")
    character = lines[mark.line][mark.column : mark.column + 1] if mark and mark.line < len(lines) else ""
    if "{character}" in message and character == "\t":
        message = dict(_PROBLEMS)["found a tab character"]
    if key := re.match(r'found duplicate key "(.{1,80}?)" with', said):
        message = message.replace("this key", f"key {key[1]!r}")
    place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return BadYaml.at(f"{where}{place}", message.replace("{character}", repr(character)).replace("{{", "{"))


def read_bytes(path: Path, remedy: str) -> bytes:
    """The bytes of a file that may have `MAX_BYTES`; a missing one is an error that ends in `remedy`."""
    if not path.exists():
        raise BadYaml(f"{path.as_posix()} is missing; {remedy}")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a device or a pipe might never end
        raise BadYaml.at(path.as_posix(), f"found what is no file, expected one; {remedy}")
    if status.st_size > MAX_BYTES:
        raise BadYaml.at(path.as_posix(), f"{status.st_size} bytes, expected at most {MAX_BYTES}")
    return path.read_bytes()


def read(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping in a file; a missing file is an error that ends in `remedy`."""
    return loads(read_bytes(path, remedy), path.as_posix())


def line_of(text: str, place: list[str]) -> int | None:
    """The line, from 1, of the value that the keys `place` lead to, or of the last of them that is there.

    None where not even the first is there, or where `text` is no YAML.
    """
    try:
        node: Node | None = YAML(typ="safe").compose(text)
    except (YAMLError, ValueError, RecursionError):
        return None
    line = None
    for key in place:
        mark, node = _child(node, key)
        if mark is None:
            break
        line = mark
    return line


def _child(node: Node | None, key: str) -> tuple[int | None, Node | None]:
    """The line of a key, or of an item of a list, and the value there."""
    if isinstance(node, MappingNode):
        for name, value in node.value:
            if name.value == key:
                return name.start_mark.line + 1, value
    if isinstance(node, SequenceNode) and key.isdecimal() and int(key) < len(node.value):
        item = node.value[int(key)]
        return item.start_mark.line + 1, item
    return None, None


_PLACE = re.compile(r"([\w-]+(?:\.[\w-]+)*)(?:: | )")


def with_lines(error: Invalid, data: bytes, where: str) -> Invalid:
    """The same mistakes of the value that `data` says, each with the line of the key that it names."""
    text = data.decode("utf-8", "replace")
    messages = str(error).split("\n")
    known = error.mistakes or tuple(mistake(where, "", message, "") for message in messages)
    if len(messages) != len(known):
        return error  # not a list of mistakes, one a line
    lines, mistakes = [], []
    for message, former in zip(messages, known, strict=True):
        rest = message.removeprefix(f"{where}: ")
        named = _PLACE.match(rest)
        line = line_of(text, named[1].split(".")) if named and rest != message else None
        lines.append(f"{where}, line {line}: {rest}" if line else message)
        mistakes.append(replace(former, line=line))
    return Invalid("\n".join(lines), *mistakes)
