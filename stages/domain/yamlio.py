"""Reading YAML that people write: safely, with a size limit, and with errors that name file, line and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from stages.domain.errors import Invalid

MAX_BYTES = 4 << 20
MAX_NODES = 500_000
MAX_DEPTH = 32


class BadYaml(Invalid):
    """A file that is not the YAML that is read here."""


def _bounded(value: Any, where: str, max_nodes: int) -> None:
    """Refuse what an alias bomb unfolds to, keys that are not text, and nesting no study needs."""
    left = max_nodes
    stack: list[tuple[Any, int]] = [(value, 0)]
    while stack:
        node, depth = stack.pop()
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise BadYaml.at(where, f"more than {max_nodes} values or {MAX_DEPTH} levels; is it an alias bomb?")
        if isinstance(node, dict):
            for key, item in node.items():
                if not isinstance(key, str):
                    raise BadYaml.at(where, f"key {key!r} is {type(key).__name__}, expected text")
                stack.append((item, depth + 1))
        elif isinstance(node, list):
            stack.extend((item, depth + 1) for item in node)
        elif not isinstance(node, str | int | float | bool | None):
            raise BadYaml.at(where, f"{node!r} is {type(node).__name__}, expected text, a number, true, false or null")


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


def loads(
    data: bytes, where: str, *, max_bytes: int = MAX_BYTES, max_nodes: int = MAX_NODES, aliases: bool = True
) -> dict[str, Any]:
    """The mapping that `data` says; `BadYaml` names `where`, line and column. Duplicate keys are refused."""
    if len(data) > max_bytes:
        raise BadYaml.at(where, f"{len(data)} bytes, expected at most {max_bytes}")
    try:
        text = data.decode("utf-8")
        _shallow(text, where, max_nodes, aliases)
        value = YAML(typ="safe").load(text)
    except BadYaml:
        raise
    except UnicodeDecodeError as error:
        raise BadYaml.at(where, f"not UTF-8 at byte {error.start}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context or "not YAML").split()[:24])
        raise BadYaml.at(f"{where}{place}", problem) from None
    except (
        YAMLError,
        ValueError,
        RecursionError,
        TypeError,
        OverflowError,
        AttributeError,
        IndexError,
    ) as error:
        problem = f"not YAML that is read here: {type(error).__name__}: {error}"
        raise BadYaml.at(where, problem[:400]) from None
    if not isinstance(value, dict):
        raise BadYaml.at(where, f"found {type(value).__name__}, expected a mapping")
    _bounded(value, where, max_nodes)
    return value


def read(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping in a file; a missing file is an error that ends in `remedy`."""
    if not path.is_file():
        raise BadYaml(f"{path.as_posix()} is missing; {remedy}")
    if path.stat().st_size > MAX_BYTES:
        raise BadYaml.at(path.as_posix(), f"{path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    return loads(path.read_bytes(), path.as_posix())
