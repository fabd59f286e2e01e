"""Checks V19 and V20: in git, the rule came before its evidence, and did not change afterwards without an amendment.

What counts is ancestry, which nobody can date back: a commit holds the digest of its parents. Dates are not looked at.
Of every commit that touched locks/ or the ledger, the states before and after are compared; a workspace with changes
counts as one more commit. A shallow clone is told how much deeper it must be.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stages.audit.evidence import Ledger
from stages.audit.git import Git
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.rules import RUNS, Locks
from stages.domain import locks, names
from stages.domain.locks import Lock, LockRefused
from stages.domain.records import EXECUTED

WORKSPACE = "the workspace"
#: (rung, digest of the lock): evidence of a rung that was made under a lock.
Made = tuple[str, str]


class EvidenceFirst(CheckFailed):
    """V19: evidence stands in history before, or together with, the lock that judges it."""


class RuleMoved(CheckFailed):
    """V20: a lock changed or went away after evidence under it existed, and no amendment says so."""


@dataclass
class State:
    """What a commit holds: readable locks by gate, and under which locks its ledger has executed runs."""

    commit: str
    parents: list[str]
    locks: dict[str, Lock]
    made: frozenset[Made]
    #: Everything that this commit or any before it held.
    frozen_ever: set[tuple[str, str]] = field(default_factory=set)
    made_ever: set[Made] = field(default_factory=set)

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.commit if self.commit == WORKSPACE else f"commit {self.commit[:12]}"


@dataclass(frozen=True)
class Chronicle:
    """The states in which locks or ledger changed, parents first."""

    states: dict[str, State]
    #: The commit at which a shallow clone hides what came before, if that matters.
    cut: str | None

    def studies(self) -> dict[str, str]:
        """The study of every lock that ever stood in history, by its digest."""
        held = (lock for state in self.states.values() for lock in state.locks.values())
        return {lock.digest: lock.frozen.study for lock in held}

    def before(self, state: State) -> list[State]:
        """The states right before one."""
        return [self.states[parent] for parent in state.parents if parent in self.states]


class Reader:
    """Reads locks and ledgers of many commits, each content once, each ledger line once."""

    def __init__(self, git: Git, gates: list[str]) -> None:
        self._git, self._gates = git, gates
        self._locks: dict[str, Lock | None] = {}
        self._made: dict[str, frozenset[Made]] = {}
        self._lines: dict[bytes, Made | None] = {}

    def states(self, commits: list[str]) -> dict[str, tuple[dict[str, Lock], frozenset[Made]]]:
        """Locks by gate and made evidence, by commit."""
        prefix = self._git.prefix
        paths = [f"{prefix}locks/{gate}.yaml" for gate in self._gates] + [f"{prefix}{RUNS}"]
        oids = self._git.lookup([f"{commit}:{path}" for commit in commits for path in paths])
        found = {}
        for at, commit in enumerate(commits):
            row = oids[at * len(paths) : (at + 1) * len(paths)]
            held = {gate: self._lock(oid, gate) for gate, oid in zip(self._gates, row, strict=False) if oid}
            ledger = row[-1]
            found[commit] = (
                {gate: lock for gate, lock in held.items() if lock},
                self._evidence(ledger) if ledger else frozenset(),
            )
        return found

    def _lock(self, oid: str, gate: str) -> Lock | None:
        if oid not in self._locks:
            try:
                self._locks[oid] = locks.loads(self._git.blob(oid), f"locks/{gate}.yaml")
            except LockRefused:
                self._locks[oid] = None  # an older commit may be broken; what stands here now, V03 reads
        return self._locks[oid]

    def _evidence(self, oid: str) -> frozenset[Made]:
        if oid not in self._made:
            lines = self._git.blob(oid).split(b"\n")
            self._made[oid] = frozenset(made for line in lines if (made := self._line(line)))
        return self._made[oid]

    def _line(self, line: bytes) -> Made | None:
        if line not in self._lines:
            self._lines[line] = _made(line)
        return self._lines[line]


def _made(line: bytes) -> Made | None:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("status") not in EXECUTED:
        return None
    rung, lock = value.get("rung"), value.get("lock")
    return (rung, lock) if isinstance(rung, str) and isinstance(lock, str) else None


def chronicle(git: Git, commit: str, gates: list[str]) -> Chronicle:
    """The history of locks and ledger up to a commit."""
    log = git.log(commit, [":(literal)locks", f":(literal){RUNS}"])
    read = Reader(git, gates).states([one for one, _ in log])
    states: dict[str, State] = {}
    for one, parents in log:
        held, made = read[one]
        _add(states, State(one, parents, held, made))
    return Chronicle(states, _cut(git, states))


def _add(states: dict[str, State], state: State) -> None:
    for parent in state.parents:
        if parent in states:
            state.frozen_ever |= states[parent].frozen_ever
            state.made_ever |= states[parent].made_ever
    state.frozen_ever |= {(gate, lock.digest) for gate, lock in state.locks.items()}
    state.made_ever |= state.made
    states[state.commit] = state


def _cut(git: Git, states: dict[str, State]) -> str | None:
    for commit in git.shallow:
        state = states.get(commit)
        if state and state.made:
            return commit
    return None


def _chronicle_of(case: Case) -> Chronicle:
    if case.knows(Chronicle):
        return case.get(Chronicle)
    if case.git is None:
        raise Skip("this is not a git repository, so nothing says what came first", "git clone")
    known, ledger = case.get(Locks), case.get(Ledger)
    head = case.commit
    if head is None:
        done = case.git.run("rev-parse", "--verify", "--quiet", "HEAD")
        head = done.stdout.decode("ascii").strip() or None
    gates = [f"gate{number}" for number in range(1, 13)]
    found = chronicle(case.git, head, gates) if head else Chronicle({}, None)
    if case.commit is None:
        made = frozenset((run.record.rung, run.record.lock) for run in ledger.runs if run.record.executed)
        last = next(reversed(found.states), None)
        now = State(WORKSPACE, _tips(found), dict(known.by_gate), made)
        if last is None or any(_differs(now, found.states[tip]) for tip in now.parents):
            _add(found.states, now)
    case.learn(found)
    return found


def _tips(found: Chronicle) -> list[str]:
    parents = {parent for state in found.states.values() for parent in state.parents}
    return [commit for commit in found.states if commit not in parents]


def _differs(one: State, two: State) -> bool:
    return one.made != two.made or {g: x.digest for g, x in one.locks.items()} != {
        g: x.digest for g, x in two.locks.items()
    }


def rule_first(case: Case) -> Iterator[Problem]:
    """V19: whenever evidence under a lock first stands in history, an ancestor of that commit held this lock."""
    found = _chronicle_of(case)
    if found.cut:
        raise Skip(
            f"a shallow clone: its oldest commit {found.cut[:12]} already holds evidence, and the lock may lie deeper",
            "git fetch --unshallow",
        )
    for state in found.states.values():
        parents = found.before(state)
        earlier = {one for parent in parents for one in parent.frozen_ever}
        known = {one for parent in parents for one in parent.made}
        for rung, lock in sorted(state.made - known):
            gate = names.gate_of(rung)
            if (gate, lock) in earlier:
                continue
            together = (gate, lock) in state.frozen_ever
            how = "together with" if together else "without"
            yield Problem(
                f"locks/{gate}.yaml" if together else RUNS,
                f"{state.title} brings evidence of {rung} {how} lock {lock[:12]}",
                "the lock in an ancestor of that commit",
                f"nothing shows that the rule of {gate} was fixed before its evidence was seen",
            )


def rule_stayed(case: Case) -> Iterator[Problem]:
    """V20: once evidence under a lock stands in history, the lock changes only by an amendment that names it."""
    found = _chronicle_of(case)
    studies = found.studies()
    for state in found.states.values():
        for parent in found.before(state):
            judged = {(rung, studies.get(lock)) for rung, lock in parent.made_ever}
            for gate, old in parent.locks.items():
                if (names.rung_of(gate), old.frozen.study) in judged:
                    yield from _change(state, gate, old, state.locks.get(gate), case)
    if not found.cut:
        yield from _invented(case, found)
    elif not any(True for _ in _amendments(case)):
        case.note(f"only looked back to commit {found.cut[:12]}: the clone is shallow")


def _change(state: State, gate: str, old: Lock, new: Lock | None, case: Case) -> Iterator[Problem]:
    path = f"locks/{gate}.yaml"
    if new is None:
        found = f"{state.title} takes lock {old.digest[:12]} away or breaks it"
        yield Problem(path, found, "the lock that its evidence names", "evidence was made under a rule that is gone")
    elif new.digest == old.digest:
        return
    elif new.frozen.study != old.frozen.study:
        case.note(f"{gate} is of another study ({old.frozen.study}) before {state.title}")
    elif new.frozen.amendments[: len(old.frozen.amendments)] != old.frozen.amendments:
        meaning = "an amendment stays for ever"
        yield Problem(
            path, f"{state.title} drops an amendment", "all earlier ones", meaning, pointer="/frozen/amendments"
        )
    elif old.digest not in {one.replaces for one in new.frozen.amendments}:
        change = ", ".join(list(locks.difference(old.frozen, new.frozen))[:4])
        yield Problem(
            path,
            f"{state.title} changes {change or 'the amendments'}",
            f"an amendment that replaces {old.digest[:12]}",
            f"the rule of {gate} was changed after its evidence was seen, and nobody says so",
            pointer="/frozen/amendments",
        )


def _amendments(case: Case) -> Iterator[tuple[str, int, str]]:
    for gate, lock in case.get(Locks).by_gate.items():
        for at, amendment in enumerate(lock.frozen.amendments):
            yield gate, at, amendment.replaces


def _invented(case: Case, found: Chronicle) -> Iterator[Problem]:
    ever = {one for state in found.states.values() for one in state.frozen_ever}
    for gate, at, replaces in _amendments(case):
        if (gate, replaces) not in ever:
            meaning = "the amendment speaks of a lock that never stood in history"
            pointer = f"/frozen/amendments/{at}/replaces"
            yield Problem(f"locks/{gate}.yaml", replaces, "a lock of the history", meaning, pointer=pointer)
