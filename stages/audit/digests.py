"""Check V18: the digests, sizes and counts in the dvc.lock files are those of the bytes in git, both ways.

Made by `promotion verify`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from stages.audit import objects
from stages.audit.decisions import Recomputed
from stages.audit.dvclock import Item
from stages.audit.ledger import Ledger, Run
from stages.audit.model import Case, CheckFailed, Problem
from stages.audit.noted import Noted
from stages.audit.pipeline import folder_md5
from stages.audit.rules import DECISIONS, RUNS, Locks
from stages.audit.tree import Tree, WorkTree, contents
from stages.domain import canonical, names, tickets
from stages.domain.files import md5_bytes
from stages.domain.study import Study
from stages.protocol import closed, door

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
        gates[f"artifacts/gates/{gate}/promotions.yaml"] = _file(tickets.dumps(held), told)
    found = records | gates
    for rung in study.rungs:
        lock = known.of(rung)
        data = canonical.dumps(door(rung, lock) if lock else closed(rung))
        found[f"artifacts/protocol/{rung}.json"] = _file(data, f"locks/{names.gate_of(rung)}.yaml")
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
                if top and top.mode == objects.FOLDER:
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
