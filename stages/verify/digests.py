"""Check V18: the digests, sizes and counts in the dvc.lock files are those of the bytes in git.

Files that are not in git (records, tickets, contracts, their folders) are made again from ledger, locks and decisions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from stages.domain import names
from stages.domain.contract import ClosedContract, from_lock
from stages.domain.runs import runs_of
from stages.domain.study import Study
from stages.dvcfiles.lockfile import LockedFile
from stages.repo.history import WORKSPACE
from stages.repo.objects import GitAbsent
from stages.repo.tree import CommitTree, WorkTree
from stages.verify.check import Case, Problem
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import DvcLocks
from stages.verify.folders import (
    LOCKS,
    Content,
    digest_bytes,
    digest_file,
    digest_folder,
    digest_path,
    ignored_patterns,
    lock_folders,
)
from stages.verify.layout import read_layout
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import DECISIONS, HINDSIGHT, RUNS
from stages.verify.pending import EvidenceRules, evidence_locks, evidence_study, pending_gates

#: Code that stages ran with. It is no evidence: what it made is made again by the code that is here.
CODE = ("stages/", "report")
TRAINER = names.TRAINER.as_posix()
#: Folders of records: of the rungs, and of hindsight.
_RECORDS = (f"{names.RECORDS.as_posix()}/", f"{names.HINDSIGHT.as_posix()}/records/")


def known_contents(case: Case) -> dict[str, Content]:
    """By path, everything that DVC digested and that git can say the digest of."""
    records = {
        run.path: Content(run.record.md5, len(run.data), None, run.file)
        for run in (*case.get(Ledger).runs, *case.get(Ledger).hindsight)
    }
    gates = _gate_contents(case)
    known = records | gates
    study = evidence_study(case)
    for rung in study.rungs:
        lock = evidence_locks(case).of(rung)
        contract = from_lock(lock) if lock else ClosedContract(rung)
        known[f"artifacts/protocol/{rung}.json"] = digest_bytes(
            contract.to_bytes(), f"locks/{names.gate_of(rung)}.yaml"
        )
    folders = {f"artifacts/records/{rung}": records for rung in case.get(Ledger).by_rung}
    if set(case.get(Recomputed).decisions) == set(study.gates):
        folders |= {"artifacts/records": records, "artifacts/gates": gates}
    if case.get(Ledger).hindsight:
        folders[_RECORDS[1].rstrip("/")] = records
    sources = {"artifacts/gates": DECISIONS, _RECORDS[1].rstrip("/"): HINDSIGHT}
    for folder, files in folders.items():
        known[folder] = digest_folder(_inside(folder, files), sources.get(folder, RUNS))
    written = {path: content for path in case.tree.paths("ledger") if (content := digest_file(case.tree, path))}
    known |= written
    known["ledger"] = digest_folder(_inside("ledger", written), "ledger")
    if runner := digest_path(case.tree, TRAINER, ignored_patterns(case.tree)):
        known[TRAINER] = runner
    return known


def _gate_contents(case: Case) -> dict[str, Content]:
    """The decision and the tickets of every gate that decided."""
    gates = {}
    layout = read_layout(case)
    for gate, tickets in case.get(Recomputed).tickets.items():
        decision = case.get(Ledger).decisions[gate]
        gates[f"artifacts/gates/{gate}/decision.json"] = digest_bytes(decision.data, DECISIONS)
        source = "the decision made again"
        gates[layout.tickets_path(gate)] = digest_bytes(layout.dump_tickets(tickets), source)
    return gates


def _inside(folder: str, files: dict[str, Content]) -> Iterator[tuple[str, Content]]:
    for path, content in files.items():
        if path.startswith(f"{folder}/"):
            yield path.removeprefix(f"{folder}/"), content


def check_digests(case: Case) -> Iterator[Problem]:
    """Digests, sizes and counts in dvc.lock are those of the bytes in git, and no file has two digests.

    Every record and decision has its entry in a dvc.lock, and stages ran on locks that are in a commit.
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
        if run.path not in written and not _was_dropped(case, run):
            meaning = "a record that DVC never saw any run write"
            yield run.problem("", "a run that no dvc.lock has", f"an out {run.path} in a dvc.lock", meaning)
    for gate, decision in ledger.decisions.items():
        if f"artifacts/gates/{gate}/decision.json" not in written:
            expected = f"the stage gate in the dvc.lock of {names.rung_of(gate)}"
            yield Problem(DECISIONS, gate, expected, "DVC never saw that gate decide", line=decision.line)
    for path, stages in sorted(changed_code(case).items()):
        ran = stages[0] if len(stages) == 1 else f"{len(stages)} stages"
        case.note(f"{path} changed since {ran} ran; `dvc repro` brings the locks up to date")


def _was_dropped(case: Case, run: RecordLine) -> bool:
    """Whether `promotion freeze` took this run out of dvc.lock: an amendment that is pending no longer asks for it.

    Only a record that a commit before holds as it is here: then DVC saw it there.
    """
    if pending_gates(case).get(names.gate_of(run.record.rung)) != "amended" or case.git is None:
        return False
    asked = any(asked.id == run.record.id for asked in runs_of(case.get(Study), run.record.rung))
    past = (state for state in case.history.states.values() if state.commit not in (WORKSPACE, case.commit))
    return not asked and any(run.data in state.lines for state in past)


class _DigestComparison:
    """Compares what a dvc.lock recorded of a path with git, and with what other stages recorded of it."""

    def __init__(self, case: Case) -> None:
        self._known = known_contents(case)
        lines = (*case.get(Ledger).runs, *case.get(Ledger).hindsight)
        self._runs = {run.path: run for run in lines}
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
        elif file.path.startswith(_RECORDS) and not file.md5.endswith(".dir"):
            meaning = "a run that was left out of the ledger"
            ledger = RUNS if file.path.startswith(_RECORDS[0]) else HINDSIGHT
            yield Problem(path, f"the record {file.path}", f"its line in {ledger}", meaning, pointer=at)
        elif file.path.startswith("artifacts/gates/gate"):
            meaning = "a decision that was left out of the ledger"
            yield Problem(path, f"the decision {file.path}", f"its line in {DECISIONS}", meaning, pointer=at)
        elif not file.path.startswith(CODE):
            first, where = self._first.setdefault(file.path, (file, f"{path}, {at}"))
            yield from _different(path, at, file, (first.md5, first.size, first.nfiles), f", as in {where}")

    def _compare_known(self, path: str, at: str, file: LockedFile, known: Content) -> Iterator[Problem]:
        if file.path == TRAINER and file.md5 == self._runner_of_then:
            return
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
        past = {self._locks_here} if file.md5 == self._locks_here else self._past_locks
        if past is not None and file.md5 in past:
            return
        if past is None or self._case.git is None or self._case.git.shallow:
            self._case.note(f"{path}, {at}: nothing here says whether a commit before had these locks")
            return
        expected = "the digest of locks/ here or in a commit before"
        yield Problem(path, str(file.md5), expected, "its stage ran on rules that nobody froze", pointer=f"{at}/md5")

    @cached_property
    def _runner_of_then(self) -> str | None:
        """The digest of the runner that made the evidence here, where an amendment that is pending froze another."""
        case = self._case
        rules = case.get(EvidenceRules) if case.knows(EvidenceRules) else None
        if case.git is None or rules is None or rules.commit is None or rules.pending.get("gate1") != "amended":
            return None
        then = CommitTree(case.git, rules.commit)
        content = digest_path(then, TRAINER, ignored_patterns(then))
        return content.md5 if content else None

    @cached_property
    def _locks_here(self) -> str | None:
        """The digest that locks/ has here."""
        present = digest_path(self._case.tree, LOCKS, ignored_patterns(self._case.tree))
        return present.md5 if present else None

    @cached_property
    def _past_locks(self) -> set[str | None] | None:
        """The digests that locks/ had in the commits before; None where they are not all here."""
        case, patterns = self._case, ignored_patterns(self._case.tree)
        head = case.git and (case.commit or case.git.head)
        if case.git is None or not head:
            return set()
        try:
            return {folder.digest(patterns).md5 for _, folder in lock_folders(case.git, head)}
        except GitAbsent:
            if not case.git.partial:
                raise
            return None


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
