"""The history of a study as git holds it: the locks and the evidence of every commit that changed them.

    History.states              each such commit by its id, parents first
    History.locks               every lock that ever stood here

What counts is ancestry, which nobody can date back: a commit holds the digest of its parents. Dates are not looked at.
A workspace with changes counts as one more commit. `stages.repo.history_reader` reads one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from stages.domain import names
from stages.repo.past_files import Commitment, EvidenceLine, PastLock, parse_evidence_line

WORKSPACE = "the workspace"
RUNS, DECISIONS, HINDSIGHT = (f"{names.LEDGER.as_posix()}/{name}.jsonl" for name in ("runs", "decisions", "hindsight"))
Item = TypeVar("Item")


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
            yield path, _new(lines, (parent.ledgers.get(path, frozenset()) for parent in self.parents(state)))

    def new_lines(self, state: HistoryState) -> frozenset[bytes]:
        """The lines of a state that none of the states right before it holds."""
        return _new(state.lines, (parent.lines for parent in self.parents(state)))

    def new_commitments(self, state: HistoryState) -> list[Commitment]:
        """The commitments of a state's evidence that none of the states right before it has, sorted."""
        return sorted(_new(state.commitments, (parent.commitments for parent in self.parents(state))))

    @cached_property
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


def _new(values: frozenset[Item], before: Iterable[frozenset[Item]]) -> frozenset[Item]:
    """The values that none of the sets before has; quick where one of them is the same set, as in most commits."""
    sets = list(before)
    return frozenset() if any(each is values for each in sets) else values.difference(*sets)
