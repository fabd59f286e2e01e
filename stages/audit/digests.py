"""Checks V16 to V18: the dvc.lock files, the digests in them, and the parameters and tickets that they noted.

Made by `promotion verify`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from stages.audit import dvclock
from stages.audit.decisions import Recomputed
from stages.audit.dvclock import Item, Stage
from stages.audit.evidence import Ledger
from stages.audit.inputs import ABSENT, differences
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.pipeline import Planned, expected_stages, folder_md5
from stages.audit.rules import DECISIONS, PARAMS, RUNS, Locks, Params
from stages.audit.tree import Tree, WorkTree, contents
from stages.domain import canonical, names, tickets, yamlio
from stages.domain.files import md5_bytes
from stages.domain.study import Study
from stages.protocol import closed, door

CODE = ("stages/", "trainer", "report", "locks")


class DvcLockBroken(CheckFailed):
    """V16: a dvc.lock is missing, unreadable, or holds stages that dvc.yaml does not have."""


class DigestDiffers(CheckFailed):
    """V17: a digest in a dvc.lock is not that of the bytes in git, or one file has two digests."""


class ParameterDiffers(CheckFailed):
    """V18: a stage ran another command, with other parameters, or on another ticket than the study says."""


@dataclass(frozen=True)
class Noted:
    """What the dvc.lock files say: stages by name, by the path of the lock."""

    locks: dict[str, dict[str, Stage]]
    planned: dict[str, dict[str, Planned]]

    def stages(self) -> Iterator[tuple[str, str, Stage]]:
        """(lock, name, stage) for all of them."""
        for path, stages in self.locks.items():
            for name, stage in stages.items():
                yield path, name, stage


def _pipelines(study: Study) -> list[str]:
    return ["dvc", *(f"stages/{rung}/dvc" for rung in study.rungs)]


def dvc_locks(case: Case) -> Iterator[Problem]:
    """V16: every dvc.lock can be read and holds only stages of its dvc.yaml; every rung with evidence has one."""
    study, params = case.get(Study), case.get(Params)
    found, planned = {}, {}
    for stem in _pipelines(study):
        pipeline, lock = case.tree.read(f"{stem}.yaml"), case.tree.read(f"{stem}.lock")
        if lock is None:
            continue
        if pipeline is None:
            yield Problem(f"{stem}.yaml", "no file", f"the pipeline of {stem}.lock", "nobody knows what was run")
            continue
        where = f"{stem}.yaml"
        planned[f"{stem}.lock"] = expected_stages(yamlio.loads(pipeline, where), params.value, where)
        found[f"{stem}.lock"] = dvclock.parse(lock, f"{stem}.lock")
    evidence = case.get(Ledger).by_rung if case.knows(Ledger) else {}
    if not found and not evidence:
        raise Skip("DVC has noted nothing yet", "dvc repro", applies=False)
    case.learn(Noted(found, planned))
    for rung in evidence:
        if f"stages/{rung}/dvc.lock" not in found:
            yield Problem(
                f"stages/{rung}/dvc.lock", "no file", f"what DVC noted of {rung}", "its evidence has no second witness"
            )
    for path, stages in found.items():
        for name in sorted(set(stages) - set(planned[path])):
            yield Problem(path, name, "a stage of its dvc.yaml", "a run from nowhere", pointer=f"/stages/{name}")


@dataclass(frozen=True)
class Known:
    """Paths whose bytes can be made from git alone: path -> (MD5, what says so)."""

    md5: dict[str, tuple[str, str]]


def known_digests(case: Case) -> Known:
    """Everything that DVC digested and that git can say the digest of."""
    ledger, known, made, study = case.get(Ledger), case.get(Locks), case.get(Recomputed), case.get(Study)
    found: dict[str, tuple[str, str]] = {}
    records = {names.record_path(run.record.id).as_posix(): (run.record.md5, RUNS) for run in ledger.runs}
    found |= records
    for rung in study.rungs:
        lock = known.of(rung)
        data = canonical.dumps(door(rung, lock) if lock else closed(rung))
        found[f"artifacts/protocol/{rung}.json"] = (md5_bytes(data), f"locks/{names.gate_of(rung)}.yaml")
    gates: dict[str, tuple[str, str]] = {}
    for gate, held in made.tickets.items():
        recorded = ledger.decisions[gate][2]
        gates[f"artifacts/gates/{gate}/decision.json"] = (md5_bytes(recorded), DECISIONS)
        told = "the decision made again"
        gates[f"artifacts/gates/{gate}/promotions.yaml"] = (md5_bytes(tickets.dumps(held)), told)
    found |= gates
    folders = {f"artifacts/records/{rung}": records for rung in ledger.by_rung}
    if set(made.decisions) == set(study.gates):
        folders |= {"artifacts/records": records, "artifacts/gates": gates}
    for folder, files in folders.items():
        inside = [(path.removeprefix(f"{folder}/"), one[0]) for path, one in files.items() if _in(path, folder)]
        found[folder] = (folder_md5(inside), RUNS if "records" in folder else DECISIONS)
    written = {path: (md5_bytes(case.tree.read(path) or b""), path) for path in case.tree.paths("ledger")}
    found |= written
    found["ledger"] = (folder_md5((path.removeprefix("ledger/"), one[0]) for path, one in written.items()), "ledger/")
    return Known(found)


def _in(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def digests(case: Case) -> Iterator[Problem]:
    """V17: the digests in dvc.lock are those of the bytes in git, both ways, and no file has two of them."""
    noted, ledger = case.get(Noted), case.get(Ledger)
    known = known_digests(case).md5
    first: dict[str, tuple[str, str]] = {}
    written: set[str] = set()
    for path, name, stage in noted.stages():
        written.update(stage.outs)
        for kind, items in (("deps", stage.deps), ("outs", stage.outs)):
            for item in items.values():
                yield from _digest(path, f"/stages/{name}/{kind}", item, known, first)
    for run in ledger.runs:
        file = names.record_path(run.record.id).as_posix()
        if file not in written:
            meaning = "a record that DVC never saw any run write"
            yield run.problem("", "a run that no dvc.lock has", f"an out {file} in a dvc.lock", meaning)
    for gate, (line, _, _) in ledger.decisions.items():
        if f"artifacts/gates/{gate}/decision.json" not in written:
            lock = f"stages/{names.rung_of(gate)}/dvc.lock"
            yield Problem(DECISIONS, gate, f"the stage gate in {lock}", "DVC never saw that gate decide", line=line)
    _stale(case, noted)


def _digest(
    path: str, pointer: str, item: Item, known: Mapping[str, tuple[str, str]], first: dict[str, tuple[str, str]]
) -> Iterator[Problem]:
    at = f"{pointer}/{item.path.replace('/', '~1')}/md5"
    if item.path in known:
        md5, says = known[item.path]
        if item.md5 != md5:
            meaning = f"{item.path} is not what {says} says"
            yield Problem(path, str(item.md5), md5, meaning, pointer=at)
    elif item.path.startswith("artifacts/records/") and not str(item.md5).endswith(".dir"):
        meaning = "a run that was left out of the ledger"
        yield Problem(path, f"the record {item.path}", f"its line in {RUNS}", meaning, pointer=at)
    elif item.path.startswith("artifacts/gates/gate"):
        meaning = "a decision that was left out of the ledger"
        yield Problem(path, f"the decision {item.path}", f"its line in {DECISIONS}", meaning, pointer=at)
    elif not item.path.startswith(CODE):
        md5, elsewhere = first.setdefault(item.path, (str(item.md5), path + at))
        if item.md5 != md5:
            yield Problem(path, str(item.md5), f"{md5}, as in {elsewhere}", "one file has two digests", pointer=at)


def changed_code(case: Case, noted: Noted) -> dict[str, list[str]]:
    """The code that is not the one that stages ran with: path -> the stages, from the digests in dvc.lock."""
    patterns = ignored(case.tree)
    here: dict[str, str | None] = {}
    changed: dict[str, list[str]] = {}
    for _, name, stage in noted.stages():
        for item in stage.deps.values():
            if item.path.startswith(CODE):
                if item.path not in here:
                    here[item.path] = digest_of_path(case.tree, item.path, patterns)
                if here[item.path] != item.md5:
                    changed.setdefault(item.path, []).append(name)
    return changed


def other_code(case: Case, stage: str, paths: tuple[str, ...]) -> str:
    """The first of `paths` with which `stage` ran as this tree has it, and which is another one where this program is.

    Then a difference may be the code's and not the evidence's. Empty if there is none.
    """
    import stages

    installed, patterns = WorkTree(Path(next(iter(stages.__path__))).parent), ignored(case.tree)
    for _, name, noted in case.get(Noted).stages():
        for path in paths if name == stage else ():
            own = digest_of_path(case.tree, path, patterns)
            if path in noted.deps and noted.deps[path].md5 == own != digest_of_path(installed, path, patterns):
                return path
    return ""


def _stale(case: Case, noted: Noted) -> None:
    """Code that changed since a stage ran is no failure while decisions recompute, but a reader should know."""
    for path, stages in sorted(changed_code(case, noted).items()):
        told = stages[0] if len(stages) == 1 else f"{len(stages)} stages"
        case.note(f"{path} changed since {told} ran; `dvc repro` brings the locks up to date")


def ignored(tree: Tree) -> list[str]:
    """The patterns of .dvcignore, which are plain names here: what DVC leaves out of a folder's digest."""
    lines = (tree.read(".dvcignore") or b"").decode("utf-8", "replace").splitlines()
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def digest_of_path(tree: Tree, path: str, patterns: list[str]) -> str | None:
    """The digest that DVC would give a file or folder of a tree; None where there is none."""
    data = tree.read(path) if tree.mode(path) else None
    if data is not None:
        return md5_bytes(data)
    inside = [
        (name, md5_bytes(data))
        for name, data in contents(tree, path)
        if not any(fnmatch(part, pattern) for part in name.split("/") for pattern in patterns)
    ]
    return folder_md5(inside) if inside else None


def parameters(case: Case) -> Iterator[Problem]:
    """V18: what every stage ran, read, wrote and was told is what dvc.yaml, params.yaml and the tickets say."""
    noted, params, made = case.get(Noted), case.get(Params), case.get(Recomputed)
    told: dict[str, Mapping[str, Any]] = {PARAMS: params.value}
    for gate, held in made.tickets.items():
        values = {name: ticket if ticket == "what-if" else ticket == "true" for name, ticket in held.items()}
        told[f"artifacts/gates/{gate}/promotions.yaml"] = values
    for path, name, stage in noted.stages():
        plan = noted.planned[path].get(name)
        if plan is not None:
            yield from _stage(path, name, stage, plan, told)


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
