"""The history of a study as git holds it: the locks and the evidence of every commit that changed them.

    read_history(git, git.head, None, {})
    history_at_head()

What counts is ancestry, which nobody can date back: a commit holds the digest of its parents. Dates are not looked at.
A workspace with changes counts as one more commit.

A past commit may be broken, or of another version of this program, so nothing here insists on today's schemas: a lock
is whatever states the digest of its own content, and evidence is whatever is not plainly the record of something that
was never trained. What nobody can read may be evidence of anything.
"""

from __future__ import annotations

import contextlib
import io
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.domain import canonical, names, yamlio
from stages.domain.canonical import JsonObject
from stages.domain.conflicts import is_marker
from stages.domain.errors import Invalid, Unreadable
from stages.domain.records import EXECUTED, Record, parse_hindsight, parse_ledger
from stages.dvcfiles import lockfile
from stages.repo.git import Git, object_id, open_git
from stages.repo.objects import FOLDER, REPOSITORY, Entry
from stages.repo.tree import Tree

WORKSPACE = "the workspace"
RUNS, DECISIONS, HINDSIGHT = (f"{names.LEDGER.as_posix()}/{name}.jsonl" for name in ("runs", "decisions", "hindsight"))
#: Where a ledger of another folder stands, such as that of a study before it was moved.
_ELSEWHERE = tuple(f"**/{path}" for path in (RUNS, HINDSIGHT))
#: Why a run was never trained, as any version of this program says it.
_UNTRAINED = re.compile(
    r"gate[1-9][0-9]? did not promote it|it ran at rung[1-9][0-9]? itself"
    r"|only an exploratory (?:gate[1-9][0-9]? promotes it|study asks for it: .*)"
)
#: A number with decimals, as a score is.
DECIMALS = re.compile(r"\d[.,]\d")
_RUNG = re.compile(r"rung[1-9][0-9]?")
_GATE = re.compile(r"gate[1-9][0-9]?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOCK_PATH = re.compile(r"locks/(gate[1-9][0-9]?)\.yaml")
#: Those of a rung; in the earlier layout each rung had one, outside of stages/ladder/.
_DVC_LOCK_PATH = re.compile(r"stages/(?:ladder/)?(rung[1-9][0-9]?)/(?:[a-z0-9][a-z0-9_-]*/)?dvc\.lock")

#: What evidence commits to: (rung, digest of the lock that judges it). Empty where the evidence does not say.
Commitment = tuple[str, str]
UNKNOWN: Commitment = ("", "")


# What single files of a commit hold


@dataclass(frozen=True)
class PastLock:
    """A lock as some commit held it. Its digest is that of what it froze; more is not known of it."""

    gate: str
    digest: str
    #: JSON that any version of this program may have written.
    frozen: JsonObject

    @property
    def study(self) -> str:
        """The study that froze it."""
        return str(self.frozen.get("study", ""))


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """A line of runs.jsonl that is evidence. `run` is empty where it names none; a `failed` one may be repeated.

    One that is called failed and holds facts all the same is what a run reported: it may not.
    """

    commitment: Commitment
    run: str = ""
    failed: bool = False


def parse_past_lock(data: bytes, gate: str) -> PastLock | None:
    """The lock in a file of any version of this program, or None where its digest is not that of its content."""
    try:
        value = yamlio.loads(data, gate)
        frozen, digest = value.get("frozen"), value.get("digest")
        if isinstance(frozen, dict) and canonical.sha256(frozen) == digest:
            return PastLock(gate, str(digest), frozen)
    except (yamlio.BadYaml, canonical.NotCanonical):
        pass
    return None


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def parse_evidence_line(data: bytes) -> EvidenceLine | None:
    """A line of runs.jsonl as evidence; None for an empty one and for a record of a run that was never trained."""
    if not data.rstrip(b"\n"):
        return None
    try:
        value: Any = canonical.loads(data)
    except canonical.NotCanonical:
        return EvidenceLine(UNKNOWN)
    if not isinstance(value, dict):
        return EvidenceLine(UNKNOWN)
    status = value.get("status")
    if status in ("stopped", "unrun") and value.get("facts") is None and value.get("spec") is None:
        return None
    rung, lock = _matching(value.get("rung"), _RUNG), _matching(value.get("lock"), _SHA256)
    if not isinstance(status, str) or status not in EXECUTED or not rung or not lock:
        return EvidenceLine((rung, ""))
    config, host, seed, purpose = (str(value.get(key)) for key in ("config", "host", "seed", "purpose"))
    run = names.run_id(rung, config, host, seed, purpose)  # type: ignore[arg-type]  # a seed that may be no number
    return EvidenceLine((rung, lock), run, status == "failed" and value.get("facts") is None)


def find_record_problem(line: bytes, *, hindsight: bool) -> str:
    """What keeps a line of a past ledger from being a record as this program writes it; empty where nothing does.

    What was reported stays, so no line may be one that nobody can compare. A line that git leaves in a merge conflict
    reports nothing, nor does an empty one.
    """
    if not line.strip() or (is_marker(line) and not DECIMALS.search(line.decode("utf-8", "replace"))):
        return ""
    try:
        ((record, _),) = parse_hindsight(line, "it") if hindsight else parse_ledger(line, "it")
    except Invalid as error:
        return str(error).removeprefix("it, line 1: ")
    if not record.executed and record.environment is not None:
        return f"environment: {record.environment!r} of a run that was never trained"
    reason = record.reason or ""
    known = record.executed or (_UNTRAINED.fullmatch(reason) and not DECIMALS.search(reason))
    return "" if known else f"reason: {reason!r} of a run that was never trained"


def evidence_of_record(record: Record) -> EvidenceLine | None:
    """The same, of a record that was read already."""
    failed = record.status == "failed" and record.facts is None
    return EvidenceLine((record.rung, record.lock), record.id, failed) if record.executed else None


def parse_decision_commitment(data: bytes) -> Commitment | None:
    """What a line of decisions.jsonl commits to; None for a gate that saw no run, since one before it is blocked."""
    try:
        value: Any = canonical.loads(data) if data else None
    except canonical.NotCanonical:
        return UNKNOWN
    if value is None or (isinstance(value, dict) and value.get("evidence") == {}):
        return None
    gate = _matching(value.get("gate"), _GATE) if isinstance(value, dict) else ""
    return (names.rung_of(gate), _matching(value.get("lock"), _SHA256)) if gate else UNKNOWN


def holds_trained_run(data: bytes, where: str) -> bool:
    """Whether a dvc.lock of a rung speaks of a run that was trained. Yes, if nobody can read it."""
    try:
        stages = lockfile.parse(data, where)
    except Invalid:
        return True
    return any(_had_ticket(stage) for name, stage in stages.items() if name != "gate")


def _had_ticket(stage: lockfile.LockedStage) -> bool:
    tickets = [
        ticket
        for file, values in stage.params.items()
        if file.endswith(("/promotions.json", "/promotions.yaml"))  # the latter in the earlier layout
        for ticket in values.values()
    ]
    return not tickets or any(ticket is not False for ticket in tickets)


# The states that commits leave them in


@dataclass(frozen=True)
class HistoryState:
    """A commit that changed locks or evidence, and what it holds.

    `parents`: the states right before it. `oids`: git's id of each file that matters, by path. `lines`: those of
    runs.jsonl, each with its end. `locks_so_far`: (gate, digest) of every lock that this commit or an ancestor held.
    `ledgers`: the lines of hindsight.jsonl and of the ledgers in other folders of the repository, by path.
    """

    commit: str
    parents: tuple[str, ...]
    oids: dict[str, str]
    locks: dict[str, PastLock]
    commitments: frozenset[Commitment]
    lines: frozenset[bytes]
    locks_so_far: frozenset[tuple[str, str]]
    ledgers: dict[str, frozenset[bytes]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.commit if self.commit == WORKSPACE else f"commit {self.commit[:12]}"


@dataclass
class History:
    """The states of a history, parents first.

    `tips` are those that the last commit stands on. `cut` is a commit at which a shallow clone hides what came before
    it, one where evidence stands already if there is any; `cut_after_evidence` says whether it is such a one.
    """

    states: dict[str, HistoryState] = field(default_factory=dict)
    tips: tuple[str, ...] = ()
    cut: str | None = None
    cut_after_evidence: bool = False
    parsed_lines: dict[bytes, EvidenceLine | None] = field(default_factory=dict)
    #: The ledgers of other folders beside which locks/ or params.yaml ever stood: those of a study.
    studies_elsewhere: set[str] = field(default_factory=set)

    def line(self, data: bytes) -> EvidenceLine | None:
        """A line of runs.jsonl as evidence; each is parsed once, however many commits hold it."""
        if data not in self.parsed_lines:
            self.parsed_lines[data] = parse_evidence_line(data)
        return self.parsed_lines[data]

    def parents(self, state: HistoryState) -> list[HistoryState]:
        """The states right before one."""
        return [self.states[parent] for parent in state.parents]

    def precedes(self, state: HistoryState, other: HistoryState) -> bool:
        """Whether one state is an ancestor of another."""
        stack, seen = list(other.parents), set[str]()
        while stack:
            commit = stack.pop()
            if commit == state.commit:
                return True
            if commit not in seen:  # merges reach a commit by many ways
                seen.add(commit)
                stack.extend(self.states[commit].parents)
        return False

    @cached_property
    def states_of_lines(self) -> dict[bytes, list[HistoryState]]:
        """The states that brought a line of this study's ledgers, by the line."""
        states: dict[bytes, list[HistoryState]] = {}
        for state in self.states.values():
            for path, lines in self.new_ledger_lines(state):
                for line in lines if path in (RUNS, HINDSIGHT) else ():
                    states.setdefault(line, []).append(state)
        return states

    def new_ledger_lines(self, state: HistoryState) -> Iterator[tuple[str, frozenset[bytes]]]:
        """The lines of each ledger of a state, by its path, that it has in none of the states right before it."""
        yield RUNS, self.new_lines(state)
        for path, lines in state.ledgers.items():
            before = (parent.ledgers.get(path, frozenset()) for parent in self.parents(state))
            yield path, lines.difference(*before)

    def new_lines(self, state: HistoryState) -> frozenset[bytes]:
        """The lines of a state that none of the states right before it holds."""
        return state.lines.difference(*(parent.lines for parent in self.parents(state)))

    def new_commitments(self, state: HistoryState) -> list[Commitment]:
        """The commitments of a state's evidence that none of the states right before it has, sorted."""
        return sorted(state.commitments.difference(*(parent.commitments for parent in self.parents(state))))

    @property
    def locks(self) -> dict[tuple[str, str], PastLock]:
        """Every lock that ever stood here, by gate and digest, the earliest first."""
        return {(gate, lock.digest): lock for state in self.states.values() for gate, lock in state.locks.items()}

    def locks_with_evidence(self) -> list[PastLock]:
        """The locks under which evidence ever stood, the earliest first."""
        locks = self.locks
        judged: dict[tuple[str, str], PastLock] = {}
        for state in self.states.values():
            for rung, digest in self.new_commitments(state):
                gate = names.gate_of(rung) if rung else ""
                rules = [locks.get((gate, digest))] if digest else self._standing_locks(gate, state)
                judged |= {(lock.gate, lock.digest): lock for lock in rules if lock}
        return list(judged.values())

    def locks_with_evidence_of(self, study: str) -> dict[str, list[PastLock]]:
        """The same of one study, by gate."""
        by_gate: dict[str, list[PastLock]] = {}
        for lock in self.locks_with_evidence():
            if lock.study == study:
                by_gate.setdefault(lock.gate, []).append(lock)
        return by_gate

    def _standing_locks(self, gate: str, state: HistoryState) -> list[PastLock | None]:
        """The rules of evidence that names none, such as that of a dvc.lock alone: those that stood right before it."""
        before = [parent.locks.get(gate) for parent in self.parents(state)]
        return before if any(before) else [state.locks.get(gate)]


class _Reader:
    """Reads commits into states: each content once, and nothing of a commit that changed nothing."""

    def __init__(self, git: Git, history: History) -> None:
        self._git, self._history = git, history
        self._workspace: dict[str, bytes] = {}
        #: By its path from the root of the study, that from the top of the repository.
        self._elsewhere: dict[str, str] = {}
        self._folders: dict[tuple[Entry | None, ...], dict[str, str]] = {}
        self._ladders: dict[str, dict[str, Entry]] = {}
        self._trained: dict[str, bool] = {}
        self._locks: dict[tuple[str, str], PastLock | None] = {}
        self._lines: dict[str, frozenset[bytes]] = {}
        #: Most lines stand in many commits, and are kept once.
        self._same = {line: line for line in history.parsed_lines}
        self._commitments: dict[str, frozenset[Commitment]] = {}

    def find_elsewhere(self, commit: str) -> bool:
        """Find the ledgers of other folders up to a commit, which `commit_oids` then names; whether git could read all.

        Their paths begin with `../` where they lie outside of the root of the study.
        """
        paths = self._git.paths_ever(commit, *_ELSEWHERE)
        own = {f"{self._git.prefix}{path}" for path in (RUNS, HINDSIGHT)}
        start = f"/{self._git.prefix}"
        self._elsewhere = {posixpath.relpath(f"/{path}", start): path for path in paths or () if path not in own}
        return paths is not None

    def elsewhere_oids(self, commit: str) -> dict[str, str]:
        """The ids of the ledgers of other folders in a commit, by path."""
        oids = {}
        for path, place in self._elsewhere.items():
            entry = self._git.top_entry(commit, place)
            if entry is None or entry.mode in (FOLDER, REPOSITORY):
                continue
            folder = place.rpartition("ledger/")[0]
            beside = (self._git.top_entry(commit, f"{folder}{name}") for name in ("locks", names.PARAMS.as_posix()))
            if any(beside):
                self._history.studies_elsewhere.add(path)
            oids[path] = entry.oid
        return oids

    def commit_oids(self, commit: str) -> dict[str, str]:
        """The ids of the files that matter, by path: locks, all ledgers, the dvc.lock of every rung."""
        return self._own_oids(commit) | self.elsewhere_oids(commit) if self._elsewhere else self._own_oids(commit)

    def _own_oids(self, commit: str) -> dict[str, str]:
        tops = tuple(self._git.entry(commit, name) for name in ("locks", "ledger", "stages"))
        if tops not in self._folders:
            self._folders[tops] = dict(self._files(tops))
        return self._folders[tops]

    def _files(self, tops: tuple[Entry | None, ...]) -> Iterator[tuple[str, str]]:
        locks, ledger, stages = map(self._inside, tops)
        files = {f"locks/{name}": entry for name, entry in locks.items()}
        files |= {f"ledger/{name}": entry for name, entry in ledger.items()}
        for name, folder in stages.items():
            if _RUNG.fullmatch(name):
                files |= {f"stages/{name}/{file}": entry for file, entry in self._inside(folder).items()}
            elif name == names.LADDER.name:
                files |= self._ladder_files(folder)
        for path, entry in files.items():
            if _matters(path) and entry.mode not in (FOLDER, REPOSITORY):
                yield path, entry.oid

    def _ladder_files(self, ladder: Entry) -> dict[str, Entry]:
        """The files of stages/ladder/, two folders deep."""
        if ladder.oid not in self._ladders:
            files: dict[str, Entry] = {}
            for rung, folder in self._inside(ladder).items():
                for name, entry in self._inside(folder).items():
                    place = f"{names.LADDER.as_posix()}/{rung}/{name}"
                    files[place] = entry
                    files |= {f"{place}/{file}": each for file, each in self._inside(entry).items()}
            self._ladders[ladder.oid] = files
        return self._ladders[ladder.oid]

    def _inside(self, entry: Entry | None) -> dict[str, Entry]:
        return self._git.folder(entry.oid) if entry and entry.mode == FOLDER else {}

    def workspace_oids(self, tree: Tree) -> dict[str, str]:
        """The same of files that no commit holds yet."""
        oids = {}
        for path in (path for folder in ("locks", "ledger", "stages") for path in tree.paths(folder) if _matters(path)):
            with contextlib.suppress(Invalid):  # V01 reports what is no file
                data = tree.read(path)
                if data is not None:
                    oids[path] = object_id("blob", data, self._git.head or "")
                    self._workspace[oids[path]] = data
        return oids

    def add_state(self, commit: str, parents: tuple[str, ...], oids: dict[str, str]) -> None:
        """Read a commit and add it to the history."""
        locks = {}
        for path, oid in oids.items():
            if (name := _LOCK_PATH.fullmatch(path)) and (lock := self._lock(oid, name[1])):
                locks[lock.gate] = lock
        lines = self._run_lines(oids[RUNS]) if RUNS in oids else frozenset()
        commitments = self._evidence(oids.get(RUNS, ""), lines) | self._decided(oids.get(DECISIONS, ""))
        for path, oid in oids.items():
            name = _DVC_LOCK_PATH.fullmatch(path)
            if name and name[1] not in {rung for rung, _ in commitments} and self._holds_trained_run(oid, path):
                commitments |= {(name[1], "")}
        before = (self._history.states[parent].locks_so_far for parent in parents)
        locks_so_far = frozenset((gate, lock.digest) for gate, lock in locks.items()).union(*before)
        ledgers = {path: self._ledger_lines(path, oids[path]) for path in (HINDSIGHT, *self._elsewhere) if path in oids}
        state = HistoryState(commit, parents, oids, locks, commitments, lines, locks_so_far, ledgers)
        self._history.states[commit] = state

    def _holds_trained_run(self, oid: str, path: str) -> bool:
        if oid not in self._trained:
            self._trained[oid] = holds_trained_run(self._load(oid), path)
        return self._trained[oid]

    def _load(self, oid: str) -> bytes:
        return self._workspace[oid] if oid in self._workspace else self._git.blob(oid)

    def _lock(self, oid: str, gate: str) -> PastLock | None:
        if (oid, gate) not in self._locks:
            self._locks[oid, gate] = parse_past_lock(self._load(oid), gate)
        return self._locks[oid, gate]

    def _run_lines(self, oid: str) -> frozenset[bytes]:
        if oid not in self._lines:
            lines = (line if line.endswith(b"\n") else line + b"\n" for line in io.BytesIO(self._load(oid)))
            self._lines[oid] = frozenset(self._same.setdefault(line, line) for line in lines)
        return self._lines[oid]

    def _ledger_lines(self, path: str, oid: str) -> frozenset[bytes]:
        """The lines of a ledger; of one that is too large none, if it is in a folder of something else than a study."""
        try:
            return self._run_lines(oid)
        except Unreadable:
            if path == HINDSIGHT or path in self._history.studies_elsewhere:
                raise
            return frozenset()

    def _evidence(self, oid: str, lines: Iterable[bytes]) -> frozenset[Commitment]:
        if oid not in self._commitments:
            parsed = (self._history.line(line) for line in lines)
            self._commitments[oid] = frozenset(line.commitment for line in parsed if line)
        return self._commitments[oid]

    def _decided(self, oid: str) -> frozenset[Commitment]:
        lines = io.BytesIO(self._load(oid)) if oid else ()
        decided = (parse_decision_commitment(line.rstrip(b"\n")) for line in lines)
        return frozenset(commitment for commitment in decided if commitment)


def _matters(path: str) -> bool:
    return path in (RUNS, DECISIONS, HINDSIGHT) or bool(_LOCK_PATH.fullmatch(path) or _DVC_LOCK_PATH.fullmatch(path))


def read_history(
    git: Git, commit: str | None, workspace: Tree | None, parsed_lines: dict[bytes, EvidenceLine | None]
) -> History:
    """The history up to a commit (None: there is none yet), and of a workspace on top of it where one is given.

    `parsed_lines` are lines of runs.jsonl that were parsed already.
    """
    history = History(parsed_lines=parsed_lines)
    reader = _Reader(git, history)
    nearest: dict[str, tuple[str, ...]] = {}  # by commit, the states that it stands on
    oids: dict[str, dict[str, str]] = {}
    all_read = reader.find_elsewhere(commit) if commit else True
    for oid, content in (git.ancestry(commit) if commit else {}).items():
        parents = [parent for parent in content.parents if parent in nearest]
        oids[oid] = reader.commit_oids(oid)
        below = tuple(dict.fromkeys(state for parent in parents for state in nearest[parent]))
        if all(oids[oid] == oids[parent] for parent in parents) if parents else not oids[oid]:
            nearest[oid] = below
            continue
        reader.add_state(oid, below, oids[oid])
        nearest[oid] = (oid,)
    if not all_read:
        raise git.absent("a folder of the history")
    history.tips = nearest.get(commit or "", ())
    for oid in sorted(git.shallow & nearest.keys()):
        evidence = any(history.states[state].commitments for state in nearest[oid])
        if git.commit(oid).parents and (history.cut is None or evidence):
            history.cut, history.cut_after_evidence = oid, evidence
    if workspace is not None:
        present = reader.workspace_oids(workspace) | (reader.elsewhere_oids(commit) if commit else {})
        if present != oids.get(commit or "", {}):
            reader.add_state(WORKSPACE, history.tips, present)
            history.tips = (WORKSPACE,)
    return history


def history_at_head() -> History:
    """The history up to HEAD of the repository around the current folder; an empty one outside git."""
    git = open_git(Path(), required=True)
    if git is None:
        return History()
    try:
        return read_history(git, git.head, None, {})
    finally:
        git.close()
