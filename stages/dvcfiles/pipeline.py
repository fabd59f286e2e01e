"""What DVC should have noted in its locks, expanded from the dvc.yaml files of the tree under audit. Never imports DVC.

    expected_stages(dvc_yaml, params)      stage name -> what it runs, reads, is told and writes

Only what this project's own dvc.yaml files use is expanded: `${path.in.params}`, a matrix, and `${item.axis}`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
#: More stages than DVC itself could handle, and few enough to count.
MAX_STAGES = 200_000
#: What the stages at the root run. A team may add stages of its own; these are the study's.
COMMANDS = {
    "corpus": "python -m stages.corpus",
    "protocol": "python -m stages.protocol",
    "ledger": "python -m stages.ledger",
    "winner": "python -m stages.winner",
    "site": "python -m report",
}


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
        raise BadPipeline.at(where, f"found {type(stages).__name__}, expected a mapping", "stages")
    for name, stage in stages.items():
        at = f"stages.{name}"
        if not isinstance(stage, dict) or not isinstance(stage.get("cmd"), str):
            raise BadPipeline.at(where, "expected a mapping with a `cmd` of one line", at)
        plan = _Plan(stage, params, where, at)
        for item in plan.items():
            suffix = f"@{'-'.join(item.values())}" if item else ""
            found[f"{name}{suffix}"] = plan.of(item)
            if len(found) > MAX_STAGES:
                raise BadPipeline.at(where, f"more than {MAX_STAGES} stages", at)
    return found


class _Plan:
    """A stage's texts, with everything but `${item...}` filled in once."""

    def __init__(self, stage: dict[str, Any], params: Mapping[str, Any], where: str, at: str) -> None:
        self._params, self._where, self._at = params, where, at
        self._matrix = stage.get("matrix")
        self._cmd = self._fill(stage["cmd"])
        self._deps = [self._fill(one) for one in self._paths(stage, "deps")]
        self._outs = [self._fill(one) for kind in ("outs", "metrics", "plots") for one in self._paths(stage, kind)]
        self._keys = [(self._fill(file), self._fill(key)) for file, key in self._named(stage)]

    def _list(self, stage: dict[str, Any], key: str) -> list[Any]:
        value = stage.get(key) or []
        if not isinstance(value, list):
            raise BadPipeline.at(self._where, f"found {value!r:.80}, expected a list", f"{self._at}.{key}")
        return value

    def _paths(self, stage: dict[str, Any], key: str) -> Iterator[str]:
        """The paths of a list of them; one with options is a mapping with one key."""
        for number, one in enumerate(self._list(stage, key)):
            path = next(iter(one)) if isinstance(one, dict) and len(one) == 1 else one
            if not isinstance(path, str):
                raise BadPipeline.at(self._where, f"found {one!r:.80}, expected a path", f"{self._at}.{key}.{number}")
            yield path

    def _named(self, stage: dict[str, Any]) -> Iterator[tuple[str, str]]:
        """(file, key) of every parameter; one without a file is a key of params.yaml."""
        for number, one in enumerate(self._list(stage, "params")):
            for file, keys in (one if isinstance(one, dict) else {"params.yaml": [one]}).items():
                if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                    told = f"found {one!r:.80}, expected a key, or keys by file"
                    raise BadPipeline.at(self._where, told, f"{self._at}.params.{number}")
                yield from ((file, key) for key in keys)

    def items(self) -> Iterator[dict[str, str]]:
        """Every combination of the matrix; one that is empty where the stage has none."""
        if self._matrix is None:
            yield {}
            return
        at = f"{self._at}.matrix"
        if not isinstance(self._matrix, dict):
            raise BadPipeline.at(self._where, f"found {type(self._matrix).__name__}, expected a mapping", at)
        axes: list[list[str]] = []
        for axis, values in self._matrix.items():
            whole = _VARIABLE.fullmatch(values) if isinstance(values, str) else None
            listed = self._lookup(whole[1], f"{at}.{axis}") if whole else values
            if not isinstance(listed, list | dict):
                raise BadPipeline.at(self._where, f"found {listed!r:.80}, expected a list or a mapping", f"{at}.{axis}")
            axes.append([str(one) for one in listed])
        if math.prod(map(len, axes)) > MAX_STAGES:
            raise BadPipeline.at(self._where, f"more than {MAX_STAGES} stages", self._at)
        for combination in product(*axes):
            yield dict(zip(self._matrix, combination, strict=True))

    def _lookup(self, path: str, at: str) -> Any:
        value: Any = self._params
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise BadPipeline.at(self._where, f"${{{path}}} is not in params.yaml", at)
            value = value[part]
        return value

    def _fill(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            return match[0] if match[1].startswith("item.") else str(self._lookup(match[1], self._at))

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


def folder_md5(files: Iterable[tuple[str, str]]) -> str:
    """The digest that DVC gives a folder, from the relative paths and MD5 of its files."""
    listed = [{"md5": md5, "relpath": path} for path, md5 in sorted(files)]
    return md5_bytes(json.dumps(listed, sort_keys=True).encode("utf-8")) + ".dir"
