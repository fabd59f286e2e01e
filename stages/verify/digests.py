"""Check V18: the digests, sizes and counts in the dvc.lock files are those of the bytes in git, both ways.

What git does not hold (records, tickets, contracts, folders of them) is made again from ledger, locks and decisions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from stages.domain import names, promotions
from stages.domain.contract import ClosedContract, from_lock
from stages.domain.files import md5_bytes
from stages.domain.study import Study
from stages.dvcfiles.cache import folder_md5
from stages.dvcfiles.lockfile import LockedFile
from stages.repo.objects import FOLDER
from stages.repo.tree import Tree, WorkTree, contents
from stages.verify.check import Case, Problem
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import DvcLocks
from stages.verify.ledger import Ledger
from stages.verify.locks import DECISIONS, RUNS, Locks

#: Code that stages ran with. It is no evidence: what it made is made again by the code that is here.
CODE = ("stages/", "report")
LOCKS, TRAINER = names.LOCKS.as_posix(), names.TRAINER.as_posix()


@dataclass(frozen=True)
class Content:
    """What DVC records of bytes that git holds or that can be made again; `source` is what says so."""

    md5: str
    size: int
    nfiles: int | None
    source: str


def digest_bytes(data: bytes, source: str) -> Content:
    """What DVC records of a file with these bytes."""
    return Content(md5_bytes(data), len(data), None, source)


def digest_folder(inside: Iterable[tuple[str, Content]], source: str) -> Content:
    """What DVC records of a folder, from the paths inside it."""
    files = dict(inside)
    md5 = folder_md5((path, content.md5) for path, content in files.items())
    return Content(md5, sum(content.size for content in files.values()), len(files), source)


def digest_path(tree: Tree, path: str, patterns: list[str]) -> Content | None:
    """What DVC would record of a file or folder of a tree; None where there is none."""
    data = tree.read(path) if tree.mode(path) else None
    if data is not None:
        return digest_bytes(data, path)
    inside = dict(_not_ignored(contents(tree, path), patterns))
    return digest_folder(inside.items(), path) if inside else None


def ignored_patterns(tree: Tree) -> list[str]:
    """The patterns of .dvcignore, which are plain names: what DVC leaves out of a folder's digest."""
    lines = (tree.read(".dvcignore") or b"").decode("utf-8", "replace").splitlines()
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def _not_ignored(inside: Iterable[tuple[str, bytes]], patterns: list[str]) -> Iterator[tuple[str, Content]]:
    for name, data in inside:
        if not any(fnmatch(part, pattern) for part in name.split("/") for pattern in patterns):
            yield name, digest_bytes(data, name)


def known_contents(case: Case) -> dict[str, Content]:
    """By path, everything that DVC digested and that git can say the digest of."""
    records = {
        names.record_path(run.record.id).as_posix(): Content(run.record.md5, len(run.data), None, RUNS)
        for run in case.get(Ledger).runs
    }
    gates = _gate_contents(case)
    known = records | gates
    for rung in case.get(Study).rungs:
        lock = case.get(Locks).of(rung)
        contract = from_lock(lock) if lock else ClosedContract(rung)
        known[f"artifacts/protocol/{rung}.json"] = digest_bytes(
            contract.to_bytes(), f"locks/{names.gate_of(rung)}.yaml"
        )
    folders = {f"artifacts/records/{rung}": records for rung in case.get(Ledger).by_rung}
    if set(case.get(Recomputed).decisions) == set(case.get(Study).gates):
        folders |= {"artifacts/records": records, "artifacts/gates": gates}
    for folder, files in folders.items():
        known[folder] = digest_folder(_inside(folder, files), RUNS if "records" in folder else DECISIONS)
    written = {path: digest_bytes(case.tree.read(path) or b"", path) for path in case.tree.paths("ledger")}
    known |= written
    known["ledger"] = digest_folder(_inside("ledger", written), "ledger")
    if runner := digest_path(case.tree, TRAINER, ignored_patterns(case.tree)):
        known[TRAINER] = runner
    return known


def _gate_contents(case: Case) -> dict[str, Content]:
    """The decision and the tickets of every gate that decided."""
    gates = {}
    for gate, tickets in case.get(Recomputed).tickets.items():
        decision = case.get(Ledger).decisions[gate]
        gates[f"artifacts/gates/{gate}/decision.json"] = digest_bytes(decision.data, DECISIONS)
        source = "the decision made again"
        gates[f"artifacts/gates/{gate}/promotions.yaml"] = digest_bytes(promotions.dumps(tickets), source)
    return gates


def _inside(folder: str, files: dict[str, Content]) -> Iterator[tuple[str, Content]]:
    for path, content in files.items():
        if path.startswith(f"{folder}/"):
            yield path.removeprefix(f"{folder}/"), content


def check_digests(case: Case) -> Iterator[Problem]:
    """Digests, sizes and counts in dvc.lock are those of the bytes in git, both ways, and no file has two.

    Stages ran on locks that some commit holds.
    """
    locks, ledger = case.get(DvcLocks), case.get(Ledger)
    comparison = _DigestComparison(case)
    written: set[str] = set()
    for path, name, stage in locks.stages():
        written.update(stage.outs)
        for kind, files in (("deps", stage.deps), ("outs", stage.outs)):
            for file in files.values():
                yield from comparison.compare(path, f"/stages/{name}/{kind}/{file.at}", file)
    for run in ledger.runs:
        record = names.record_path(run.record.id).as_posix()
        if record not in written:
            meaning = "a record that DVC never saw any run write"
            yield run.problem("", "a run that no dvc.lock has", f"an out {record} in a dvc.lock", meaning)
    for gate, decision in ledger.decisions.items():
        if f"artifacts/gates/{gate}/decision.json" not in written:
            expected = f"the stage gate in stages/{names.rung_of(gate)}/dvc.lock"
            yield Problem(DECISIONS, gate, expected, "DVC never saw that gate decide", line=decision.line)
    for path, stages in sorted(changed_code(case).items()):
        ran = stages[0] if len(stages) == 1 else f"{len(stages)} stages"
        case.note(f"{path} changed since {ran} ran; `dvc repro` brings the locks up to date")


class _DigestComparison:
    """Compares what a dvc.lock recorded of a path with git, and with what other stages recorded of it."""

    def __init__(self, case: Case) -> None:
        self._known = known_contents(case)
        self._runs = {names.record_path(run.record.id).as_posix(): run for run in case.get(Ledger).runs}
        self._first: dict[str, tuple[LockedFile, str]] = {}
        self._case = case

    def compare(self, path: str, at: str, file: LockedFile) -> Iterator[Problem]:
        """The problems of one dependency or output of a dvc.lock."""
        if file.md5 is None:
            yield Problem(path, f"no digest of {file.path}", "its md5", "nothing says what it was", pointer=at)
        elif file.path == LOCKS:
            yield from self._compare_locks(path, at, file)
        elif file.path in self._known:
            yield from self._compare_known(path, at, file, self._known[file.path])
        elif file.path.startswith("artifacts/records/") and not file.md5.endswith(".dir"):
            meaning = "a run that was left out of the ledger"
            yield Problem(path, f"the record {file.path}", f"its line in {RUNS}", meaning, pointer=at)
        elif file.path.startswith("artifacts/gates/gate"):
            meaning = "a decision that was left out of the ledger"
            yield Problem(path, f"the decision {file.path}", f"its line in {DECISIONS}", meaning, pointer=at)
        elif not file.path.startswith(CODE):
            first, where = self._first.setdefault(file.path, (file, f"{path}, {at}"))
            yield from _different(path, at, file, (first.md5, first.size, first.nfiles), f", as in {where}")

    def _compare_known(self, path: str, at: str, file: LockedFile, known: Content) -> Iterator[Problem]:
        if file.md5 == known.md5:
            yield from _different(path, at, file, (known.md5, known.size, known.nfiles), f", by {known.source}")
        elif (run := self._runs.get(file.path)) is not None:
            expected = f"{file.md5}, as in {path}, {at}/md5"
            meaning = "this line is not the record that DVC saw the run write"
            yield run.problem("", f"MD5 {run.record.md5}", expected, meaning)
        elif known.source == file.path:
            expected = f"{file.md5}, as in {path}, {at}/md5"
            yield Problem(file.path, f"MD5 {known.md5}", expected, "it was changed after its stage wrote it")
        else:
            meaning = f"{file.path} is not what {known.source} says"
            yield Problem(path, str(file.md5), known.md5, meaning, pointer=f"{at}/md5")

    def _compare_locks(self, path: str, at: str, file: LockedFile) -> Iterator[Problem]:
        """The rules that a stage ran on are those of this tree, or of a commit before it."""
        if file.md5 in self._lock_digests:
            return
        if self._case.git is None or self._case.git.shallow:
            self._case.note(f"{path}, {at}: nothing here says whether a commit before had these locks")
            return
        expected = "the digest of locks/ here or in a commit before"
        yield Problem(path, str(file.md5), expected, "its stage ran on rules that nobody froze", pointer=f"{at}/md5")

    @cached_property
    def _lock_digests(self) -> set[str]:
        """The digests that locks/ has here and had in every commit before."""
        case, patterns = self._case, ignored_patterns(self._case.tree)
        present = digest_path(case.tree, LOCKS, patterns)
        digests = {present.md5} if present else set()
        head = case.git and (case.commit or case.git.head)
        if case.git is not None and head:
            for folder in {case.git.entry(commit, LOCKS) for commit in case.git.ancestry(head)}:
                if folder and folder.mode == FOLDER:
                    files = ((name, case.git.blob(file.oid)) for name, file in case.git.inside(folder.oid).items())
                    digests.add(digest_folder(_not_ignored(files, patterns), LOCKS).md5)
        return digests


def _different(
    path: str, at: str, file: LockedFile, expected: tuple[str | None, int | None, int | None], source: str
) -> Iterator[Problem]:
    """The first of md5, size and number of files in which a recorded file is not as expected."""
    for key, value, should in zip(("md5", "size", "nfiles"), (file.md5, file.size, file.nfiles), expected, strict=True):
        if value != should:
            meaning = f"{file.path} is recorded otherwise"
            yield Problem(path, str(value), f"{should}{source}", meaning, pointer=f"{at}/{key}")
            return


def changed_code(case: Case) -> dict[str, list[str]]:
    """The code that is not the one that stages ran with: path -> the stages, from the digests in dvc.lock."""
    patterns = ignored_patterns(case.tree)
    present: dict[str, Content | None] = {}
    changed: dict[str, list[str]] = {}
    for _, name, stage in case.get(DvcLocks).stages():
        for file in stage.deps.values():
            if file.path.startswith(CODE):
                if file.path not in present:
                    present[file.path] = digest_path(case.tree, file.path, patterns)
                content = present[file.path]
                if content is None or content.md5 != file.md5:
                    changed.setdefault(file.path, []).append(name)
    return changed


def other_code(case: Case, stage: str, paths: tuple[str, ...]) -> str:
    """The first of `paths` with which `stage` ran as this tree has it, and which is another one where this program is.

    Then a difference may be the code's and not the evidence's. Empty if there is none.
    """
    patterns = ignored_patterns(case.tree)
    installed = WorkTree(installed_root())
    for _, name, recorded in case.get(DvcLocks).stages():
        for path in paths if name == stage else ():
            own = digest_path(case.tree, path, patterns)
            ran = own is not None and path in recorded.deps and recorded.deps[path].md5 == own.md5
            if ran and own != digest_path(installed, path, patterns):
                return path
    return ""


def installed_root() -> Path:
    """The folder from which this program was imported."""
    import stages

    return Path(next(iter(stages.__path__))).parent
