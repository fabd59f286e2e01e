"""Checks V17 and V19: the dvc.lock files, and what they noted that every stage ran, read, wrote and was told.

Made by `promotion verify`; the whole sequence stands in `stages/verify/sequence.py`.

Check V18: the digests, sizes and counts in the dvc.lock files are those of the bytes in git, both ways.

Made by `promotion verify`; the whole sequence stands in `stages/verify/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.domain import names, promotions, yamlio
from stages.domain.contract import ClosedContract, from_lock
from stages.domain.diff import ABSENT, differences
from stages.domain.files import md5_bytes
from stages.domain.study import Study
from stages.dvcfiles import lockfile
from stages.dvcfiles.lockfile import Item, Stage
from stages.dvcfiles.pipeline import COMMANDS, Planned, expected_stages, folder_md5
from stages.repo import git
from stages.repo.tree import Tree, WorkTree, contents
from stages.rungs import rung_yaml
from stages.verify.check import Case, CheckFailed, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.ledger import Ledger, Run
from stages.verify.locks import DECISIONS, PARAMS, RUNS, Locks, Params

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
            noted.locks[found] = lockfile.parse(lock, found)
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


#: Code that stages ran with. It is no evidence: what it made is made again by the code that is here.
CODE = ("stages/", "report")
LOCKS, TRAINER = names.LOCKS.as_posix(), names.TRAINER.as_posix()


class DigestDiffers(CheckFailed):
    """V18: a digest in a dvc.lock is not that of the bytes in git, or one file has two digests."""


@dataclass(frozen=True)
class Content:
    """What DVC notes of bytes that git holds or that can be made again; `says` is what says so."""

    md5: str
    size: int
    nfiles: int | None
    says: str


def _file(data: bytes, says: str) -> Content:
    return Content(md5_bytes(data), len(data), None, says)


def _folder(inside: Iterable[tuple[str, Content]], says: str) -> Content:
    """A folder, from the paths inside it."""
    held = dict(inside)
    md5 = folder_md5((path, one.md5) for path, one in held.items())
    return Content(md5, sum(one.size for one in held.values()), len(held), says)


def known_contents(case: Case) -> dict[str, Content]:
    """By path, everything that DVC digested and that git can say the digest of."""
    ledger, known, made, study = case.get(Ledger), case.get(Locks), case.get(Recomputed), case.get(Study)
    records = {
        names.record_path(run.record.id).as_posix(): Content(run.record.md5, len(run.data), None, RUNS)
        for run in ledger.runs
    }
    gates: dict[str, Content] = {}
    for gate, held in made.tickets.items():
        gates[f"artifacts/gates/{gate}/decision.json"] = _file(ledger.decisions[gate][2], DECISIONS)
        told = "the decision made again"
        gates[f"artifacts/gates/{gate}/promotions.yaml"] = _file(promotions.dumps(held), told)
    found = records | gates
    for rung in study.rungs:
        lock = known.of(rung)
        contract = from_lock(lock) if lock else ClosedContract(rung)
        found[f"artifacts/protocol/{rung}.json"] = _file(contract.to_bytes(), f"locks/{names.gate_of(rung)}.yaml")
    folders = {f"artifacts/records/{rung}": records for rung in ledger.by_rung}
    if set(made.decisions) == set(study.gates):
        folders |= {"artifacts/records": records, "artifacts/gates": gates}
    for folder, files in folders.items():
        inside = (
            (path.removeprefix(f"{folder}/"), one) for path, one in files.items() if path.startswith(f"{folder}/")
        )
        found[folder] = _folder(inside, RUNS if "records" in folder else DECISIONS)
    written = {path: _file(case.tree.read(path) or b"", path) for path in case.tree.paths("ledger")}
    found |= written
    found["ledger"] = _folder(((path.removeprefix("ledger/"), one) for path, one in written.items()), "ledger")
    if runner := content_of(case.tree, TRAINER, ignored(case.tree)):
        found[TRAINER] = runner
    return found


def digests(case: Case) -> Iterator[Problem]:
    """V18: digests, sizes and counts in dvc.lock are those of the bytes in git, both ways, and no file has two."""
    noted, ledger = case.get(Noted), case.get(Ledger)
    look = _Look(case)
    written: set[str] = set()
    for path, name, stage in noted.stages():
        written.update(stage.outs)
        for kind, items in (("deps", stage.deps), ("outs", stage.outs)):
            for item in items.values():
                yield from look.at(path, f"/stages/{name}/{kind}/{item.at}", item)
    for run in ledger.runs:
        file = names.record_path(run.record.id).as_posix()
        if file not in written:
            meaning = "a record that DVC never saw any run write"
            yield run.problem("", "a run that no dvc.lock has", f"an out {file} in a dvc.lock", meaning)
    for gate, (line, _, _) in ledger.decisions.items():
        if f"artifacts/gates/{gate}/decision.json" not in written:
            lock = f"stages/{names.rung_of(gate)}/dvc.lock"
            yield Problem(DECISIONS, gate, f"the stage gate in {lock}", "DVC never saw that gate decide", line=line)
    for path, stages in sorted(changed_code(case, noted).items()):
        told = stages[0] if len(stages) == 1 else f"{len(stages)} stages"
        case.note(f"{path} changed since {told} ran; `dvc repro` brings the locks up to date")


class _Look:
    """Holds what a dvc.lock noted of a path against git, and against what other stages noted of it."""

    def __init__(self, case: Case) -> None:
        self._known = known_contents(case)
        self._runs = {names.record_path(run.record.id).as_posix(): run for run in case.get(Ledger).runs}
        self._first: dict[str, tuple[Item, str]] = {}
        self._case = case

    def at(self, path: str, at: str, item: Item) -> Iterator[Problem]:
        """The problems of one item of a dvc.lock."""
        if item.md5 is None:
            yield Problem(path, f"no digest of {item.path}", "its md5", "nothing says what it was", pointer=at)
        elif item.path == LOCKS:
            yield from self._locks(path, at, item)
        elif item.path in self._known:
            yield from self._held(path, at, item, self._known[item.path])
        elif item.path.startswith("artifacts/records/") and not item.md5.endswith(".dir"):
            meaning = "a run that was left out of the ledger"
            yield Problem(path, f"the record {item.path}", f"its line in {RUNS}", meaning, pointer=at)
        elif item.path.startswith("artifacts/gates/gate"):
            meaning = "a decision that was left out of the ledger"
            yield Problem(path, f"the decision {item.path}", f"its line in {DECISIONS}", meaning, pointer=at)
        elif not item.path.startswith(CODE):
            first, where = self._first.setdefault(item.path, (item, f"{path}, {at}"))
            yield from _differs(path, at, item, first.md5, first.size, first.nfiles, f", as in {where}")

    def _held(self, path: str, at: str, item: Item, known: Content) -> Iterator[Problem]:
        if item.md5 == known.md5:
            yield from _differs(path, at, item, known.md5, known.size, known.nfiles, f", by {known.says}")
        elif (run := self._runs.get(item.path)) is not None:
            yield _another(run, f"{path}, {at}", str(item.md5))
        elif known.says == item.path:
            expected = f"{item.md5}, as in {path}, {at}/md5"
            yield Problem(item.path, f"MD5 {known.md5}", expected, "it was changed after its stage wrote it")
        else:
            meaning = f"{item.path} is not what {known.says} says"
            yield Problem(path, str(item.md5), known.md5, meaning, pointer=f"{at}/md5")

    def _locks(self, path: str, at: str, item: Item) -> Iterator[Problem]:
        """The rules that a stage ran on are those that are here, or that some commit before held."""
        if item.md5 in self._rules:
            return
        if self._case.git is None or self._case.git.shallow:
            self._case.note(f"{path}, {at}: no telling whether a commit before held these locks")
            return
        expected = "the digest of locks/ here or in a commit before"
        yield Problem(path, str(item.md5), expected, "its stage ran on rules that nobody froze", pointer=f"{at}/md5")

    @cached_property
    def _rules(self) -> set[str]:
        """The digests that locks/ has here and had in every commit before."""
        case, patterns = self._case, ignored(self._case.tree)
        here = content_of(case.tree, LOCKS, patterns)
        found = {here.md5} if here else set()
        head = case.git and (case.commit or case.git.head)
        if case.git is not None and head:
            tops = {case.git.entry(commit, LOCKS) for commit in case.git.ancestry(head)}
            for top in tops:
                if top and top.mode == git.FOLDER:
                    inside = ((name, case.git.blob(one.oid)) for name, one in case.git.inside(top.oid).items())
                    found.add(_folder(_kept(inside, patterns), LOCKS).md5)
        return found


def _another(run: Run, where: str, noted: str) -> Problem:
    expected = f"{noted}, as in {where}/md5"
    return run.problem("", f"MD5 {run.record.md5}", expected, "this line is not the record that DVC saw the run write")


def _differs(
    path: str, at: str, item: Item, md5: str | None, size: int | None, nfiles: int | None, why: str
) -> Iterator[Problem]:
    for key, found, expected in (
        ("md5", item.md5, md5),
        ("size", item.size, size),
        ("nfiles", item.nfiles, nfiles),
    ):
        if found != expected:
            yield Problem(
                path, str(found), f"{expected}{why}", f"{item.path} is noted otherwise", pointer=f"{at}/{key}"
            )
            return


def changed_code(case: Case, noted: Noted) -> dict[str, list[str]]:
    """The code that is not the one that stages ran with: path -> the stages, from the digests in dvc.lock."""
    patterns = ignored(case.tree)
    here: dict[str, Content | None] = {}
    changed: dict[str, list[str]] = {}
    for _, name, stage in noted.stages():
        for item in stage.deps.values():
            if item.path.startswith(CODE):
                if item.path not in here:
                    here[item.path] = content_of(case.tree, item.path, patterns)
                found = here[item.path]
                if found is None or found.md5 != item.md5:
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
            own = content_of(case.tree, path, patterns)
            ran = own is not None and path in noted.deps and noted.deps[path].md5 == own.md5
            if ran and own != content_of(installed, path, patterns):
                return path
    return ""


def ignored(tree: Tree) -> list[str]:
    """The patterns of .dvcignore, which are plain names here: what DVC leaves out of a folder's digest."""
    lines = (tree.read(".dvcignore") or b"").decode("utf-8", "replace").splitlines()
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def content_of(tree: Tree, path: str, patterns: list[str]) -> Content | None:
    """What DVC would note of a file or folder of a tree; None where there is none."""
    data = tree.read(path) if tree.mode(path) else None
    if data is not None:
        return _file(data, path)
    inside = dict(_kept(contents(tree, path), patterns))
    return _folder(inside.items(), path) if inside else None


def _kept(inside: Iterable[tuple[str, bytes]], patterns: list[str]) -> Iterator[tuple[str, Content]]:
    for name, data in inside:
        if not any(fnmatch(part, pattern) for part in name.split("/") for pattern in patterns):
            yield name, _file(data, name)
