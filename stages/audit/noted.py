"""Checks V17 and V19: the dvc.lock files, and what they noted that every stage ran, read, wrote and was told.

Made by `promotion verify`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.audit import dvclock
from stages.audit.decisions import Recomputed
from stages.audit.differences import ABSENT, differences
from stages.audit.dvclock import Stage
from stages.audit.ledger import Ledger
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.pipeline import COMMANDS, Planned, expected_stages
from stages.audit.rules import PARAMS, Params
from stages.domain import yamlio
from stages.domain.study import Study
from stages.rungs import rung_yaml

ROOT = "dvc.lock"


class DvcLockBroken(CheckFailed):
    """V17: a dvc.lock is missing, unreadable, of no rung, or lacks stages or holds some that dvc.yaml does not have."""


class ParameterDiffers(CheckFailed):
    """V19: a stage ran another command, with other parameters, or on another ticket than the study says."""


@dataclass(frozen=True)
class Noted:
    """What the dvc.lock files say: stages by name, by the path of the lock; and what the dvc.yaml files plan."""

    locks: dict[str, dict[str, Stage]]
    planned: dict[str, dict[str, Planned]]
    pipelines: dict[str, dict[str, Any]]

    def stages(self) -> Iterator[tuple[str, str, Stage]]:
        """(lock, name, stage) for all of them."""
        for path, stages in self.locks.items():
            for name, stage in stages.items():
                yield path, name, stage


def dvc_locks(case: Case) -> Iterator[Problem]:
    """V17: every dvc.lock can be read, is of the root or a rung, and holds the stages of its dvc.yaml that have run."""
    study, params = case.get(Study), case.get(Params)
    noted = Noted({}, {}, {})
    stems = [*(f"stages/{rung}/dvc" for rung in study.rungs), "dvc"]
    for stem in stems:
        pipeline, lock = case.tree.read(f"{stem}.yaml"), case.tree.read(f"{stem}.lock")
        where, found = f"{stem}.yaml", f"{stem}.lock"
        if pipeline is not None:
            noted.pipelines[found] = yamlio.loads(pipeline, where)
            noted.planned[found] = expected_stages(noted.pipelines[found], params.value, where)
        if lock is not None:
            noted.locks[found] = dvclock.parse(lock, found)
        if pipeline is None and lock is not None:
            yield Problem(where, "no file", f"the pipeline of {found}", "nobody knows what was run")
    evidence = case.get(Ledger).by_rung if case.knows(Ledger) else {}
    yield from _strangers(case, stems)
    if not noted.locks and not evidence:
        raise Skip("DVC has noted nothing yet", "dvc repro", applies=False)
    case.learn(noted)
    yield from _missing(case, noted, list(evidence))
    for path, stages in noted.locks.items():
        for name in sorted(set(stages) - noted.planned.get(path, {}).keys()):
            yield Problem(path, name, "a stage of its dvc.yaml", "a run from nowhere", pointer=f"/stages/{name}")


def _strangers(case: Case, stems: list[str]) -> Iterator[Problem]:
    for path in case.tree.paths("stages"):
        stem, _, kind = path.rpartition(".")
        if stem.endswith("/dvc") and kind in ("yaml", "lock") and stem not in stems:
            meaning = "evidence of a rung that the study does not have"
            yield Problem(path, "a file of no rung of params.yaml", "no such file", meaning)


def _missing(case: Case, noted: Noted, rungs: list[str]) -> Iterator[Problem]:
    """Every rung with evidence has a lock; the stages before the runs are noted, and after the last gate all are."""
    for rung in rungs:
        path = f"stages/{rung}/dvc.lock"
        if path not in noted.locks:
            yield Problem(path, "no file", f"what DVC noted of {rung}", "its evidence has no second witness")
    decided = case.get(Ledger).decisions.keys() if case.knows(Ledger) else set()
    over = set(case.get(Study).gates) <= decided
    needed = list(COMMANDS) if over else ["corpus", "protocol"] if rungs else []
    there = noted.locks.get(ROOT, {})
    for name in needed:
        if name not in there:
            meaning = "every gate has decided, and DVC never saw what follows" if over else "runs stand on it"
            found = "no such stage" if there else "no file"
            yield Problem(ROOT, found, f"stages.{name}, as `dvc repro` notes it", meaning, pointer=f"/stages/{name}")


def parameters(case: Case) -> Iterator[Problem]:
    """V19: what every stage ran, read, wrote and was told is what this project, params.yaml and the tickets say."""
    noted, params, made = case.get(Noted), case.get(Params), case.get(Recomputed)
    yield from _pipelines(case, noted)
    told: dict[str, Mapping[str, Any]] = {PARAMS: params.value}
    for gate, held in made.tickets.items():
        values = {name: ticket if ticket == "what-if" else ticket == "true" for name, ticket in held.items()}
        told[f"artifacts/gates/{gate}/promotions.yaml"] = values
    for path, name, stage in noted.stages():
        plan = noted.planned.get(path, {}).get(name)
        if plan is not None:
            yield from _stage(path, name, stage, plan, told)


def _pipelines(case: Case, noted: Noted) -> Iterator[Problem]:
    """The dvc.yaml of a rung is generated; of the one at the root, the commands of this project's stages are known."""
    for rung in case.get(Study).rungs:
        path = f"stages/{rung}/dvc.yaml"
        pipeline = noted.pipelines.get(f"stages/{rung}/dvc.lock")
        if pipeline is not None:
            written = yamlio.loads(rung_yaml(int(rung.removeprefix("rung"))).encode("utf-8"), path)
            for pointer, found, expected in differences(_working(pipeline), _working(written)):
                meaning = "its runs or its gate are not those of this project (`python -m stages.rungs` writes it)"
                yield Problem(path, repr(found)[:200], repr(expected)[:200], meaning, pointer=pointer)
    planned = noted.planned.get(ROOT, {})
    for name, cmd in COMMANDS.items() if planned else ():
        found_cmd = planned[name].cmd if name in planned else "no such stage"
        if found_cmd != cmd:
            pointer = f"/stages/{name}/cmd"
            yield Problem("dvc.yaml", found_cmd, cmd, "it makes what this project's stage should", pointer=pointer)
    if own := sorted(planned.keys() - COMMANDS.keys()):
        case.note(f"dvc.yaml has stages of its own, which nothing here looks at: {', '.join(own)}")


def _working(pipeline: dict[str, Any]) -> dict[str, Any]:
    """A dvc.yaml without its descriptions."""
    stages = pipeline.get("stages")
    kept = {
        name: {key: value for key, value in stage.items() if key != "desc"} if isinstance(stage, dict) else stage
        for name, stage in (stages if isinstance(stages, dict) else {}).items()
    }
    return {**pipeline, "stages": kept}


def _stage(
    path: str, name: str, stage: Stage, plan: Planned, told: Mapping[str, Mapping[str, Any]]
) -> Iterator[Problem]:
    at = f"/stages/{name}"
    if stage.cmd != plan.cmd:
        yield Problem(path, stage.cmd, plan.cmd, "something else was run", pointer=f"{at}/cmd")
    for kind, noted, planned in (("deps", stage.deps, plan.deps), ("outs", stage.outs, plan.outs)):
        if noted.keys() != set(planned):
            difference = sorted(noted.keys() ^ set(planned))[0]
            expected = f"the {kind} of its dvc.yaml"
            meaning = "DVC noted other files than the stage has"
            yield Problem(path, f"{difference} on one side", expected, meaning, pointer=f"{at}/{kind}")
    expected_params = {
        file: {key: _value(told[file], key) for key in keys} for file, keys in plan.params.items() if file in told
    }
    seen = {file: values for file, values in stage.params.items() if file in told or file not in plan.params}
    for pointer, was, should in differences(seen, expected_params, f"{at}/params"):
        ticket = "promotions.yaml" in pointer
        meaning = "it ran on a ticket that its gate did not give" if ticket else "it ran with another value"
        if should is ABSENT and not ticket:
            meaning = "a parameter that the stage does not have"
        yield Problem(path, repr(was)[:200], repr(should)[:200], meaning, pointer=pointer)


def _value(values: Mapping[str, Any], key: str) -> Any:
    value: Any = values
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value
