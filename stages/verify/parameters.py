"""Check V19: what every stage ran, read, wrote and was given, as the dvc.yaml and dvc.lock files say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from stages.domain import names, yamlio
from stages.domain.diff import ABSENT, differences
from stages.domain.formatting import first_few
from stages.domain.study import Study
from stages.dvcfiles.lockfile import LockedStage
from stages.dvcfiles.pipeline import (
    COMMANDS,
    NEEDED_DEPS,
    NEEDED_OUTS,
    NEEDED_PARAMS,
    OPTIONAL,
    PlannedStage,
)
from stages.dvcfiles.root_pipeline import ROOT_JSON, RootDifference, compare_root, installed_bytes
from stages.earlier_layout import earlier_file
from stages.rungs import PipelineFile
from stages.verify.check import Case, Problem
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import LADDER_PATH, ROOT, ROOT_YAML, DvcLocks
from stages.verify.layout import read_layout
from stages.verify.locks import PARAMS, Params
from stages.verify.pending import EvidenceRules

#: What differs at the root is named, up to so many items. The project's own are fewer.
_MOST_NOTED = 200


def check_parameters(case: Case) -> Iterator[Problem]:
    """What every stage ran, read, wrote and was given agrees with this project, params.yaml and the tickets."""
    locks, params, layout = case.get(DvcLocks), case.get(Params).value, read_layout(case)
    yield from _compare_pipelines(case, locks)
    tickets = case.get(Recomputed).tickets
    rules = case.get(EvidenceRules) if case.knows(EvidenceRules) else None
    values = layout.parameters(rules.params if rules else params, tickets)
    values_today = layout.parameters(params, tickets) if rules and rules.pending else values
    for path, name, stage in locks.stages():
        planned = locks.planned.get(path, {}).get(name)
        if planned is None:
            continue
        problems = list(_compare_stage(path, name, stage, _without_unrun(planned, locks), values))
        if problems and rules and rules.pending:  # what ran since the rules are pending was given those of today
            today = _without_unrun(locks.renewed.get(path, {}).get(name, planned), locks)
            problems = list(_compare_stage(path, name, stage, today, values_today)) and problems
        yield from (problem for problem in problems if rules is None or not _is_undecided(problem, path, name, rules))


def _is_undecided(problem: Problem, path: str, name: str, rules: EvidenceRules) -> bool:
    """Whether a parameter is that of a gate or rung without evidence under any lock: it decides nothing."""
    head = f"/stages/{name}/params/{PARAMS}/"
    place = (problem.pointer or "").removeprefix(head).replace(".", "/") + "/"
    free = [f"{section}/{key}/" for gate in rules.undecided for section, key in _sections_of(gate)]
    return problem.pointer is not None and problem.pointer.startswith(head) and place.startswith(tuple(free))


def _sections_of(gate: str) -> tuple[tuple[str, str], ...]:
    return ("gates", gate), ("rungs", names.rung_of(gate))


def _without_unrun(planned: PlannedStage, locks: DvcLocks) -> PlannedStage:
    """A stage without the outputs and the code of optional stages that have not run, for which it could not wait."""
    root = locks.planned.get(ROOT, {})
    unrun = [name for name in OPTIONAL if name in root and name not in locks.recorded.get(ROOT, {})]
    absent = {path for name in unrun for path in (*root[name].outs, f"stages/{name}")}
    return replace(planned, deps=tuple(path for path in planned.deps if path not in absent))


def _compare_pipelines(case: Case, locks: DvcLocks) -> Iterator[Problem]:
    """The dvc.yaml of a rung is the generated one; of the one at the root, the commands of the stages are known."""
    stale: list[str] = []
    for file, value in locks.edited:
        earlier = "vars" in value and not file.folder.startswith(LADDER_PATH)
        text = _with_variables(case, file) if earlier else file.text
        generated = _comparable(yamlio.loads(text.encode("utf-8"), file.path))
        for pointer, actual, expected in differences(_comparable(value), generated):
            if "/matrix/" in pointer and not locks.recorded.get(file.lock):
                stale.append(file.path)  # a gate that is not frozen may change its seeds in params.yaml
                continue
            meaning = "its runs or its gate are not those of this project (`python -m stages.rungs` writes it)"
            yield Problem(file.path, repr(actual)[:200], repr(expected)[:200], meaning, pointer=pointer)
    for path in dict.fromkeys(stale):
        case.note(f"{path} lists other runs than params.yaml asks for now; `promotion freeze` writes it anew")
    planned = locks.planned.get(ROOT, {})
    for name, command in COMMANDS.items() if planned else ():
        if name in OPTIONAL and name not in planned:
            continue
        cmd = planned[name].cmd if name in planned else "no such stage"
        if cmd != command:
            meaning = "it makes what this project's stage should"
            yield Problem(ROOT_YAML, cmd, command, meaning, pointer=f"/stages/{name}/cmd")
        if name in planned:
            yield from _missing_from_stage(name, planned[name])
    yield from _compare_root(case, locks)
    if locks.added:
        case.note(f"dvc.yaml has stages of its own, which nothing here looks at: {', '.join(locks.added)}")


def _compare_root(case: Case, locks: DvcLocks) -> Iterator[Problem]:
    """Where the dvc.yaml of the root is not the project's own.

    That is a failure where the code of the tree expects the same dvc.yaml as this program. Another version may honestly
    have had another one: a note then names each difference, as it does for what a team added.
    """
    if not locks.root:
        return
    same = case.tree.read(ROOT_JSON) == installed_bytes()
    noted: list[str] = []
    for difference in compare_root(locks.root, frozenset(COMMANDS)):
        if _fails_anyway(difference, locks):
            continue
        if same and not difference.added and not _is_of_optional(difference, locks):
            meaning = "the pipeline is not that of this project (`git show` of its version has it)"
            pointer = difference.pointer
            yield Problem(ROOT_YAML, difference.actual, difference.expected, meaning, pointer=pointer)
        else:
            noted.append(str(difference))
    if noted:
        shown, more = first_few(noted, _MOST_NOTED)
        rest = f"; and {more} more" if more else ""
        case.note(f"{ROOT_YAML} is not that of this version: {'; '.join(shown)}{rest}")


def _is_of_optional(difference: RootDifference, locks: DvcLocks) -> bool:
    """Whether it follows from an optional stage that is not there at all: the stage, or what others read of it."""
    absent = [name for name in OPTIONAL if name not in locks.planned.get(ROOT, {})]
    items = {item for name in absent for item in (*NEEDED_OUTS[name], f"stages/{name}")}
    return difference.stage in absent or (difference.key == "deps" and difference.item in items)


def _fails_anyway(difference: RootDifference, locks: DvcLocks) -> bool:
    """Whether another problem says the same already."""
    name, needed = difference.stage, {"deps": NEEDED_DEPS, "params": NEEDED_PARAMS}
    if name and name not in locks.planned.get(ROOT, {}):
        return name not in OPTIONAL
    if difference.key in ("outs", "metrics"):
        absent = difference.item not in locks.planned[ROOT][name].outs
        return absent and difference.item in NEEDED_OUTS[name]
    absent = difference.actual.startswith(f"{difference.key} without ")
    return (absent and difference.item in needed.get(difference.key, {}).get(name, ())) or (
        bool(name) and not difference.key and difference.item == "cmd"
    )


def _with_variables(case: Case, file: PipelineFile) -> str:
    """The dvc.yaml of a rung as in the earliest commits."""
    study, rung = case.get(Study), file.folder.rpartition("/")[2]
    return earlier_file(study, rung, variables=True).text if rung in study.rungs else file.text


def _missing_from_stage(name: str, stage: PlannedStage) -> Iterator[Problem]:
    """What a stage at the root no longer reads, is given or makes."""
    sides = {
        "deps": (stage.deps, NEEDED_DEPS[name], "DVC would not notice when it changes"),
        "params": (stage.params.get(PARAMS, ()), NEEDED_PARAMS.get(name, ()), "DVC would not notice when it changes"),
        "outs": (stage.outs, NEEDED_OUTS[name], "nobody would hold what it makes against a digest"),
    }
    for kind, (present, needed, meaning) in sides.items():
        for item in sorted(set(needed) - set(present)):
            pointer = f"/stages/{name}/{kind}"
            yield Problem(ROOT_YAML, f"{kind} without {item}", item, meaning, pointer=pointer)


def _comparable(pipeline: dict[str, object]) -> dict[str, object]:
    """A dvc.yaml without what changes nothing: descriptions, and the order of configurations, hosts and seeds."""
    stages = pipeline.get("stages")
    kept = {
        name: {key: _sorted_axes(value) if key == "matrix" else value for key, value in stage.items() if key != "desc"}
        if isinstance(stage, dict)
        else stage
        for name, stage in (stages if isinstance(stages, dict) else {}).items()
    }
    return {**pipeline, "stages": kept}


def _sorted_axes(matrix: object) -> object:
    if not isinstance(matrix, dict):
        return matrix
    return {axis: sorted(values, key=str) if isinstance(values, list) else values for axis, values in matrix.items()}


def _compare_stage(
    path: str, name: str, stage: LockedStage, planned: PlannedStage, values: Mapping[str, Mapping[str, object]]
) -> Iterator[Problem]:
    """`values`: the parameters by file, of the files whose content is known."""
    at = f"/stages/{name}"
    if stage.cmd != planned.cmd:
        yield Problem(path, stage.cmd, planned.cmd, "something else was run", pointer=f"{at}/cmd")
    for kind, recorded, paths in (("deps", stage.deps, planned.deps), ("outs", stage.outs, planned.outs)):
        if recorded.keys() != set(paths):
            difference = min(recorded.keys() ^ set(paths))
            expected = f"the {kind} of its dvc.yaml"
            meaning = "DVC recorded other files than the stage has"
            yield Problem(path, f"{difference} on one side", expected, meaning, pointer=f"{at}/{kind}")
    expected_params = {
        file: {key: _value(values[file], key) for key in keys}
        for file, keys in planned.params.items()
        if file in values
    }
    params = {file: given for file, given in stage.params.items() if file in values or file not in planned.params}
    for pointer, was, should in differences(params, expected_params, f"{at}/params"):
        ticket = "promotions." in pointer
        meaning = "it ran on a ticket that its gate did not give" if ticket else "it ran with another value"
        if should is ABSENT and not ticket:
            meaning = "a parameter that the stage does not have"
        yield Problem(path, repr(was)[:200], repr(should)[:200], meaning, pointer=pointer)


def _value(values: Mapping[str, object], key: str) -> Any:
    """The value under a dotted key, or `ABSENT`."""
    value: object = values
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value
