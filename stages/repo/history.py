"""The history of a study as git holds it: the locks and the evidence of every commit that changed them.

    case.past                  what an audit asks

What counts is ancestry, which nobody can date back: a commit holds the digest of its parents. Dates are not looked at.
A workspace with changes counts as one more commit.

What single files of a past commit testify: which rule was frozen, and evidence of what.

A past commit may be broken, or of another form of this program, so nothing here insists on today's schema: a lock is
whatever states the digest of its own content, and evidence is whatever is not plainly the record of something that was
never trained. What nobody can read counts as evidence of anything.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.domain import canonical, names, yamlio
from stages.domain.errors import Invalid
from stages.domain.records import EXECUTED, Record
from stages.dvcfiles import lockfile
from stages.repo.git import FOLDER, REPOSITORY, Entry, Git, object_id, open_git
from stages.repo.tree import Tree

_RUNG_NAME = re.compile(r"rung[1-9][0-9]?")
_GATE = re.compile(r"gate[1-9][0-9]?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

#: (rung, digest of the lock): evidence of a rung, made under a lock. Empty where the evidence does not say.
Made = tuple[str, str]
UNKNOWN: Made = ("", "")


@dataclass(frozen=True)
class Past:
    """A lock as some commit held it. Its digest is that of what it froze; more is not known of it."""

    gate: str
    digest: str
    frozen: dict[str, Any]

    @property
    def study(self) -> str:
        """The study that froze it."""
        return str(self.frozen.get("study", ""))


@dataclass(frozen=True)
class Line:
    """A line of runs.jsonl that is evidence. `run` is empty where it names none; a `failed` one may be repeated."""

    made: Made
    run: str = ""
    failed: bool = False


def past_lock(data: bytes, gate: str) -> Past | None:
    """The lock in a file of any form of this program, or None where its digest is not that of its content."""
    try:
        value = yamlio.loads(data, gate)
        frozen, digest = value.get("frozen"), value.get("digest")
        if isinstance(frozen, dict) and canonical.sha256(frozen) == digest:
            return Past(gate, str(digest), frozen)
    except (yamlio.BadYaml, canonical.NotCanonical):
        pass
    return None


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def line_of(data: bytes) -> Line | None:
    """A line of runs.jsonl as evidence; None for an empty one and for a record of a run that was never trained."""
    if not data:
        return None
    try:
        value = canonical.loads(data)
    except canonical.NotCanonical:
        return Line(UNKNOWN)
    if not isinstance(value, dict):
        return Line(UNKNOWN)
    status = value.get("status")
    if status in ("stopped", "unrun") and value.get("facts") is None and value.get("spec") is None:
        return None
    made = (_text(value.get("rung"), _RUNG_NAME), _text(value.get("lock"), _SHA256))
    if not isinstance(status, str) or status not in EXECUTED or not all(made):
        return Line((made[0], ""))
    told = [value.get(key) for key in ("config", "host", "seed", "purpose")]
    return Line(made, names.run_id(made[0], *map(str, told)), status == "failed")  # type: ignore[arg-type]


def line_of_record(record: Record) -> Line | None:
    """The same, of a record that was read already."""
    return Line((record.rung, record.lock), record.id, record.status == "failed") if record.executed else None


def decision_of(data: bytes) -> Made | None:
    """A line of decisions.jsonl as evidence; None for one of a gate that saw no run, since one before it is blocked."""
    try:
        value = canonical.loads(data) if data else None
    except canonical.NotCanonical:
        return UNKNOWN
    if value is None or (isinstance(value, dict) and value.get("evidence") == {}):
        return None
    gate = _text(value.get("gate"), _GATE) if isinstance(value, dict) else ""
    return (names.rung_of(gate), _text(value.get("lock"), _SHA256)) if gate else UNKNOWN


def trained(data: bytes, where: str) -> bool:
    """Whether a rung's dvc.lock speaks of a run that was trained. Yes, if nobody can read it."""
    try:
        stages = lockfile.parse(data, where)
    except Invalid:
        return True
    return any(_had_ticket(stage) for name, stage in stages.items() if name != "gate")


def _had_ticket(stage: lockfile.LockedStage) -> bool:
    held = [
        value for file, told in stage.params.items() if file.endswith("/promotions.yaml") for value in told.values()
    ]
    return not held or any(value is not False for value in held)


WORKSPACE = "the workspace"
RUNS, DECISIONS = (f"{names.LEDGER.as_posix()}/{name}.jsonl" for name in ("runs", "decisions"))
_LOCK = re.compile(r"locks/(gate[1-9][0-9]?)\.yaml")
_NOTED = re.compile(r"stages/(rung[1-9][0-9]?)/dvc\.lock")
_RUNG = re.compile(r"rung[1-9][0-9]?")


@dataclass(frozen=True)
class State:
    """What a commit holds. `held` is git's id of each file that matters here, `ever` every lock up to this commit."""

    commit: str
    parents: tuple[str, ...]
    held: dict[str, str]
    locks: dict[str, Past]
    made: frozenset[Made]
    lines: frozenset[bytes]
    ever: frozenset[tuple[str, str]]

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.commit if self.commit == WORKSPACE else f"commit {self.commit[:12]}"


@dataclass
class Chronicle:
    """The states in which locks or evidence changed, parents first; `tips` are those that the last commit stands on."""

    states: dict[str, State] = field(default_factory=dict)
    tips: tuple[str, ...] = ()
    #: The commit at which a shallow clone hides what came before it, if evidence stands there already.
    cut: str | None = None
    known: dict[bytes, Line | None] = field(default_factory=dict)

    def line(self, data: bytes) -> Line | None:
        """A line of runs.jsonl as evidence; each is read once, however many commits hold it."""
        if data not in self.known:
            self.known[data] = line_of(data)
        return self.known[data]

    def before(self, state: State) -> list[State]:
        """The states right before one."""
        return [self.states[parent] for parent in state.parents]

    def precedes(self, one: State, other: State) -> bool:
        """Whether one state is an ancestor of another."""
        stack = list(other.parents)
        while stack:
            commit = stack.pop()
            if commit == one.commit:
                return True
            stack.extend(self.states[commit].parents)
        return False

    def new_lines(self, state: State) -> frozenset[bytes]:
        """The lines of a state that none of the states right before it holds."""
        return state.lines.difference(*(parent.lines for parent in self.before(state)))

    @property
    def locks(self) -> dict[tuple[str, str], Past]:
        """Every lock that ever stood here, by gate and digest, the earliest first."""
        return {(gate, lock.digest): lock for state in self.states.values() for gate, lock in state.locks.items()}

    def judged(self) -> list[Past]:
        """The locks under which evidence ever stood, the earliest first."""
        locks = self.locks
        found: dict[tuple[str, str], Past] = {}
        for state in self.states.values():
            for rung, digest in sorted(state.made.difference(*(parent.made for parent in self.before(state)))):
                gate = names.gate_of(rung) if rung else ""
                rules = [locks.get((gate, digest))] if digest else self._standing(gate, state)
                found |= {(lock.gate, lock.digest): lock for lock in rules if lock}
        return list(found.values())

    def judged_of(self, study: str) -> dict[str, list[Past]]:
        """The same of one study, by gate."""
        found: dict[str, list[Past]] = {}
        for lock in self.judged():
            if lock.study == study:
                found.setdefault(lock.gate, []).append(lock)
        return found

    def _standing(self, gate: str, state: State) -> list[Past | None]:
        """The rules of evidence that names none, such as that of a dvc.lock alone: those that stood right before it."""
        before = [parent.locks.get(gate) for parent in self.before(state)]
        return before if any(before) else [state.locks.get(gate)]


class _Reader:
    """Reads commits into states: each content once, and nothing of a commit that changed nothing."""

    def __init__(self, git: Git, found: Chronicle) -> None:
        self._git, self._found = git, found
        self._here: dict[str, bytes] = {}
        self._folders: dict[tuple[Entry | None, ...], dict[str, str]] = {}
        self._locks: dict[tuple[str, str], Past | None] = {}
        self._lines: dict[str, frozenset[bytes]] = {}
        self._made: dict[str, frozenset[Made]] = {}

    def held(self, commit: str) -> dict[str, str]:
        """The ids of the files that matter, by path: locks, both ledgers, the dvc.lock of every rung."""
        tops = tuple(self._git.entry(commit, name) for name in ("locks", "ledger", "stages"))
        if tops not in self._folders:
            self._folders[tops] = dict(self._files(tops))
        return self._folders[tops]

    def _files(self, tops: tuple[Entry | None, ...]) -> Iterator[tuple[str, str]]:
        locks, ledger, stages = map(self._inside, tops)
        found = {f"locks/{name}": entry for name, entry in locks.items()}
        found |= {f"ledger/{name}": entry for name, entry in ledger.items()}
        for rung, folder in stages.items():
            if _RUNG.fullmatch(rung):
                found |= {f"stages/{rung}/{name}": entry for name, entry in self._inside(folder).items()}
        for path, entry in found.items():
            if _matters(path) and entry.mode not in (FOLDER, REPOSITORY):
                yield path, entry.oid

    def _inside(self, entry: Entry | None) -> dict[str, Entry]:
        return self._git.folder(entry.oid) if entry and entry.mode == FOLDER else {}

    def workspace(self, tree: Tree) -> dict[str, str]:
        """The same of files that no commit holds yet."""
        found = {}
        for path in (one for folder in ("locks", "ledger", "stages") for one in tree.paths(folder) if _matters(one)):
            with contextlib.suppress(Invalid):  # V01 tells what is no file
                data = tree.read(path)
                if data is not None:
                    found[path] = object_id("blob", data, self._git.head or "")
                    self._here[found[path]] = data
        return found

    def state(self, commit: str, parents: tuple[str, ...], held: dict[str, str]) -> None:
        """Read a commit and add it to the chronicle."""
        locks = {}
        for path, oid in held.items():
            if (name := _LOCK.fullmatch(path)) and (lock := self._lock(oid, name[1])):
                locks[lock.gate] = lock
        lines = self._runs(held[RUNS]) if RUNS in held else frozenset()
        made = self._evidence(held.get(RUNS, ""), lines) | self._decisions(held.get(DECISIONS, ""))
        for path, oid in held.items():
            noted = _NOTED.fullmatch(path)
            if noted and noted[1] not in {rung for rung, _ in made} and trained(self._load(oid), path):
                made |= {(noted[1], "")}
        ever = frozenset((gate, lock.digest) for gate, lock in locks.items())
        ever = ever.union(*(self._found.states[parent].ever for parent in parents))
        self._found.states[commit] = State(commit, parents, held, locks, made, lines, ever)

    def _load(self, oid: str) -> bytes:
        return self._here[oid] if oid in self._here else self._git.blob(oid)

    def _lock(self, oid: str, gate: str) -> Past | None:
        if (oid, gate) not in self._locks:
            self._locks[oid, gate] = past_lock(self._load(oid), gate)
        return self._locks[oid, gate]

    def _runs(self, oid: str) -> frozenset[bytes]:
        if oid not in self._lines:
            self._lines[oid] = frozenset(self._load(oid).split(b"\n"))
        return self._lines[oid]

    def _evidence(self, oid: str, lines: frozenset[bytes]) -> frozenset[Made]:
        if oid not in self._made:
            read = (self._found.line(line) for line in lines)
            self._made[oid] = frozenset(line.made for line in read if line)
        return self._made[oid]

    def _decisions(self, oid: str) -> frozenset[Made]:
        lines = self._load(oid).split(b"\n") if oid else []
        return frozenset(made for line in lines if (made := decision_of(line)))


def _matters(path: str) -> bool:
    return path in (RUNS, DECISIONS) or _LOCK.fullmatch(path) is not None or _NOTED.fullmatch(path) is not None


def chronicle(git: Git, commit: str | None, tree: Tree | None, known: dict[bytes, Line | None]) -> Chronicle:
    """The history up to a commit (None: there is none yet), and of a workspace on top of it where `tree` is one."""
    found = Chronicle(known=known)
    reader = _Reader(git, found)
    near: dict[str, tuple[str, ...]] = {}
    held: dict[str, dict[str, str]] = {}
    for one, content in (git.ancestry(commit) if commit else {}).items():
        parents = [parent for parent in content.parents if parent in near]
        held[one] = reader.held(one)
        below = tuple(dict.fromkeys(state for parent in parents for state in near[parent]))
        if all(held[one] == held[parent] for parent in parents) if parents else not held[one]:
            near[one] = below
            continue
        reader.state(one, below, held[one])
        near[one] = (one,)
    found.tips = near.get(commit or "", ())
    for one in git.shallow & near.keys():
        if any(found.states[state].made for state in near[one]):
            found.cut = one
    if tree is not None and (here := reader.workspace(tree)) != held.get(commit or "", {}):
        reader.state(WORKSPACE, found.tips, here)
        found.tips = (WORKSPACE,)
    return found


def past_here() -> Chronicle:
    """The history up to HEAD; an empty one outside git."""
    git = open_git(Path())
    if git is None:
        return Chronicle()
    try:
        return chronicle(git, git.head, None, {})
    finally:
        git.close()
