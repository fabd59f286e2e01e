"""What DVC should have noted in its locks, expanded from the dvc.yaml files of the tree under audit. Never imports DVC.

    expected_stages(dvc_yaml, params)      stage name -> what it runs, reads, is told and writes

Only what this project's own dvc.yaml files use is expanded: `${path.in.params}`, a matrix, and `${item.axis}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from stages.domain.files import md5_bytes
from stages.domain.schema import Invalid

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
MAX_STAGES = 2_000_000


class BadPipeline(Invalid):
    """A dvc.yaml that says something which is not expanded here."""


@dataclass(frozen=True)
class Planned:
    """A stage as dvc.yaml has it: `params` is by file, a tuple of keys."""

    cmd: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: dict[str, tuple[str, ...]]


def expected_stages(value: dict[str, Any], params: Mapping[str, Any], where: str) -> dict[str, Planned]:
    """Every stage that a dvc.yaml stands for, by the name that DVC gives it."""
    found: dict[str, Planned] = {}
    stages = value.get("stages")
    if not isinstance(stages, dict):
        raise BadPipeline(f"{where}: stages: found {type(stages).__name__}, expected a mapping")
    for name, stage in stages.items():
        if not isinstance(stage, dict) or not isinstance(stage.get("cmd"), str):
            raise BadPipeline(f"{where}: stages.{name}: expected a mapping with a `cmd` of one line")
        at = f"{where}: stages.{name}"
        plan = _Plan(stage, params, at)
        for item in _items(stage.get("matrix"), params, at):
            suffix = f"@{'-'.join(item.values())}" if item else ""
            found[f"{name}{suffix}"] = plan.of(item)
        if len(found) > MAX_STAGES:
            raise BadPipeline(f"{at}: more than {MAX_STAGES} stages")
    return found


def _items(matrix: Any, params: Mapping[str, Any], where: str) -> Iterator[dict[str, str]]:
    if matrix is None:
        yield {}
        return
    if not isinstance(matrix, dict):
        raise BadPipeline(f"{where}.matrix: found {type(matrix).__name__}, expected a mapping")
    axes: list[list[str]] = []
    for axis, values in matrix.items():
        if isinstance(values, str) and (whole := _VARIABLE.fullmatch(values)):
            values = _lookup(whole[1], params, f"{where}.matrix.{axis}")
        if not isinstance(values, list | dict):
            raise BadPipeline(f"{where}.matrix.{axis}: found {values!r}, expected a list or a mapping")
        axes.append([str(one) for one in values])
    for combination in product(*axes):
        yield dict(zip(matrix, combination, strict=True))


def _lookup(path: str, params: Mapping[str, Any], where: str) -> Any:
    value: Any = params
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise BadPipeline(f"{where}: ${{{path}}} is not in params.yaml")
        value = value[part]
    return value


class _Plan:
    """A stage's texts, with everything but `${item...}` filled in once."""

    def __init__(self, stage: dict[str, Any], params: Mapping[str, Any], where: str) -> None:
        self._params, self._where = params, where
        self._cmd = self._fill(stage["cmd"])
        self._deps = [self._fill(_path(one)) for one in stage.get("deps") or []]
        kinds = ("outs", "metrics", "plots")
        self._outs = [self._fill(_path(one)) for kind in kinds for one in stage.get(kind) or []]
        self._keys = [(self._fill(file), self._fill(key)) for file, key in _keys(stage.get("params") or [])]

    def _fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            return match[0] if match[1].startswith("item.") else str(_lookup(match[1], self._params, self._where))

        return _VARIABLE.sub(value, text)

    def of(self, item: dict[str, str]) -> Planned:
        """The stage for one combination of the matrix."""

        def fill(text: str) -> str:
            for axis, value in item.items():
                text = text.replace(f"${{item.{axis}}}", value)
            return text

        params: dict[str, tuple[str, ...]] = {}
        for file, key in self._keys:
            name = fill(file)
            params[name] = (*params.get(name, ()), fill(key))
        return Planned(fill(self._cmd), tuple(map(fill, self._deps)), tuple(map(fill, self._outs)), params)


def _path(entry: Any) -> str:
    return str(next(iter(entry))) if isinstance(entry, dict) and entry else str(entry)


def _keys(entries: list[Any]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        if isinstance(entry, dict):
            for file, keys in entry.items():
                yield from ((str(file), str(key)) for key in keys or [])
        else:
            yield "params.yaml", str(entry)


def folder_md5(files: Iterable[tuple[str, str]]) -> str:
    """The digest that DVC gives a folder, from the relative paths and MD5 of its files."""
    listed = [{"md5": md5, "relpath": path} for path, md5 in sorted(files)]
    return md5_bytes(json.dumps(listed, sort_keys=True).encode("utf-8")) + ".dir"
