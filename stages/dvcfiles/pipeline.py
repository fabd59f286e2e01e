"""What DVC should record in its locks. Never imports DVC.

    fill_templates(templates, runs)      a stage for each of the runs, by its name, and those that are no templates
    root_stages(dvc_yaml, where)         the stages of the hand-written dvc.yaml at the root

The dvc.yaml files of a rung are generated (`stages/rungs.py`): their templates are filled in for each run that the
study declares. The root's dvc.yaml holds no templates, so its stages are read as plain data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from stages.domain.errors import Invalid
from stages.domain.names import PARAMS
from stages.domain.runs import Run

#: What the stages at the root run. A team may add stages of its own; these are the study's.
COMMANDS = {
    "corpus": "python -m stages.corpus",
    "protocol": "python -m stages.protocol",
    "ledger": "python -m stages.ledger",
    "confidence": "python -m stages.confidence",
    "winner": "python -m stages.winner",
    "site": "python -m report",
}
#: Stages that studies of earlier versions do not have. A dvc.yaml may be without one, and a dvc.lock until it has run.
OPTIONAL = frozenset({"confidence"})
_EVERYTHING = ("study", "runner", "clock", "hosts", "configs", "roles", "rungs", "gates")
#: What stages at the root depend on, whatever the version: their own code, what decides, and what they show of it.
NEEDED_DEPS = {
    "corpus": ("stages/corpus.py",),
    "protocol": ("artifacts/corpus/manifest.json", "locks", "stages/protocol.py", "trainer"),
    "ledger": ("artifacts/gates", "artifacts/protocol", "artifacts/records", "locks", "stages/ledger.py"),
    "confidence": ("ledger/decisions.jsonl", "ledger/runs.jsonl", "locks", "stages/confidence"),
    "winner": ("artifacts/traces", "ledger/runs.jsonl", "stages/winner.py"),
    "site": ("artifacts/traces", "ledger", "locks", "report"),
}
#: What of params.yaml they are given.
NEEDED_PARAMS = {"corpus": ("data",), "protocol": _EVERYTHING, "ledger": ("study",)}
#: What they make.
NEEDED_OUTS = {
    "corpus": ("artifacts/corpus",),
    "protocol": ("artifacts/protocol",),
    "ledger": ("artifacts/summary", "ledger/decisions.jsonl", "ledger/metrics.json", "ledger/runs.jsonl"),
    "confidence": ("artifacts/confidence/confidence.json",),
    "winner": ("artifacts/winner",),
    "site": ("site",),
}
#: What a stage of the study may say. `wdir`, `matrix` or `foreach` would give the same paths another meaning.
_KEYS = frozenset(
    ("desc", "cmd", "deps", "params", "outs", "metrics", "plots", "meta", "frozen", "always_changed", "wdir", "matrix")
)
#: `frozen` and `always_changed` let DVC pass over what a stage reads.
_NOT_AT_ROOT = frozenset(("wdir", "matrix", "frozen", "always_changed"))
#: What the matrix of a rung's stage runs over.
_AXES = frozenset(("config", "host", "seed"))


class BadPipeline(Invalid):
    """A dvc.yaml that is none, or says what no stage of a study says."""


@dataclass(frozen=True)
class PlannedStage:
    """A stage as dvc.yaml has it: `params` is by file, a tuple of keys."""

    cmd: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    params: dict[str, tuple[str, ...]]

    def filled(self, values: Mapping[str, str]) -> PlannedStage:
        """The stage with each variable, such as `${item.seed}`, replaced by its value."""

        def fill(text: str) -> str:
            for variable, value in values.items() if "${" in text else ():
                text = text.replace(variable, value)
            return text

        params = {fill(file): tuple(map(fill, keys)) for file, keys in self.params.items()}
        return PlannedStage(fill(self.cmd), tuple(map(fill, self.deps)), tuple(map(fill, self.outs)), params)


def parse_templates(value: Mapping[str, object], where: str) -> dict[str, PlannedStage]:
    """The stages of a generated dvc.yaml with their variables, or `BadPipeline` where one has another shape."""
    return {name: _stage(stage, where, name) for name, stage in _stages(value, where).items()}


@dataclass(frozen=True)
class FilledTemplates(Mapping[str, PlannedStage]):
    """The stages of a generated dvc.yaml by name, each made when it is asked for: ten thousand take much memory."""

    templates: Mapping[str, PlannedStage]
    runs: Mapping[str, Run]

    def __getitem__(self, name: str) -> PlannedStage:
        if name in self.runs:
            return self.templates[name.partition("@")[0]].filled(_variables(self.runs[name]))
        return self._others[name]

    def __contains__(self, name: object) -> bool:
        return name in self.runs or name in self._others

    def __iter__(self) -> Iterator[str]:
        return chain(self.runs, self._others)

    def __len__(self) -> int:
        return len(self.runs) + len(self._others)

    @property
    def _others(self) -> dict[str, PlannedStage]:
        return {name: template for name, template in self.templates.items() if name not in ("run", "floor")}


def fill_templates(templates: Mapping[str, PlannedStage], runs: Mapping[str, Run]) -> Mapping[str, PlannedStage]:
    """Every stage of a generated dvc.yaml by the name that DVC gives it: its runs, then its gate or summary."""
    return FilledTemplates(templates, runs)


def _variables(run: Run) -> dict[str, str]:
    """What variables of a generated dvc.yaml stand for in the stage of a run; the second is of the earliest commits."""
    config = run.config
    hosts_and_seeds = {"${item.host}": run.host, "${item.seed}": str(run.seed)}
    return {"${item.config}": config, "${roles.reference}": config, **hosts_and_seeds}


def root_stages(value: Mapping[str, object], where: str) -> dict[str, PlannedStage]:
    """The study's own stages in the dvc.yaml of the root, by name. Stages that a team added are left out."""
    stages = {name: stage for name, stage in _stages(value, where).items() if name in COMMANDS}
    for name, stage in stages.items():
        if isinstance(stage, dict) and (extra := sorted(_NOT_AT_ROOT & stage.keys())):
            raise BadPipeline.at(where, "no such key in a stage at the root", f"stages.{name}.{extra[0]}")
    return {name: _stage(stage, where, name) for name, stage in stages.items()}


def added_stages(value: Mapping[str, object], where: str) -> list[str]:
    """The names of the stages that a team added to the dvc.yaml of the root."""
    return sorted(_stages(value, where).keys() - COMMANDS.keys())


def _stages(value: Mapping[str, object], where: str) -> dict[str, object]:
    stages = value.get("stages")
    if not isinstance(stages, dict):
        raise BadPipeline.at(where, f"found {type(stages).__name__}, expected a mapping", "stages")
    return stages


def _stage(value: object, where: str, name: str) -> PlannedStage:
    at = f"stages.{name}"
    if not isinstance(value, dict) or not isinstance(value.get("cmd"), str):
        raise BadPipeline.at(where, "expected a mapping with a `cmd` of one line", at)
    if extra := sorted(map(str, value.keys() - _KEYS)):
        raise BadPipeline.at(where, "no such key in a stage of the study", f"{at}.{extra[0]}")
    matrix = value.get("matrix", {})
    if not isinstance(matrix, dict) or matrix.keys() - _AXES or not all(map(_is_axis, matrix.values())):
        raise BadPipeline.at(where, "expected names and numbers by config, host and seed", f"{at}.matrix")
    deps = tuple(_paths(value, "deps", where, at))
    outs = tuple(path for kind in ("outs", "metrics", "plots") for path in _paths(value, kind, where, at))
    params: dict[str, tuple[str, ...]] = {}
    for file, key in _parameters(value, where, at):
        params[file] = (*params.get(file, ()), key)
    return PlannedStage(value["cmd"], deps, outs, params)


def _is_axis(axis: object) -> bool:
    """Whether it is a list of plain values, or a variable as earlier versions wrote it."""
    if isinstance(axis, list):
        return all(isinstance(value, (str, int)) for value in axis)
    return isinstance(axis, str) and axis.startswith("${")


def _list(stage: dict[str, object], key: str, where: str, at: str) -> list[object]:
    value = stage.get(key) or []
    if not isinstance(value, list):
        raise BadPipeline.at(where, f"found {value!r:.80}, expected a list", f"{at}.{key}")
    return value


def _paths(stage: dict[str, object], key: str, where: str, at: str) -> Iterator[str]:
    """The paths of a list of them; one with options is a mapping with one key."""
    for number, item in enumerate(_list(stage, key, where, at)):
        path = next(iter(item)) if isinstance(item, dict) and len(item) == 1 else item
        if not isinstance(path, str):
            raise BadPipeline.at(where, f"found {item!r:.80}, expected a path", f"{at}.{key}.{number}")
        yield path


def _parameters(stage: dict[str, object], where: str, at: str) -> Iterator[tuple[str, str]]:
    """(file, key) of every parameter; one without a file is a key of params.yaml."""
    for number, item in enumerate(_list(stage, "params", where, at)):
        for file, keys in (item if isinstance(item, dict) else {PARAMS.as_posix(): [item]}).items():
            if not isinstance(file, str) or not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                message = f"found {item!r:.80}, expected a key, or keys by file"
                raise BadPipeline.at(where, message, f"{at}.params.{number}")
            yield from ((file, str(key)) for key in keys)
