"""The decided gates of a study as this library takes them, and what a decision comes to: its fates.

`decided_gates` arranges locks, records and decisions; a gate is in the list once it has judged somebody. `Fates` is the
part of a decision that could have been otherwise, so two decisions are compared by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from stages.confidence.results import Change
from stages.domain import names
from stages.domain.contract import from_lock
from stages.domain.decision import Decision, decide
from stages.domain.evidence import Evidence, gather
from stages.domain.locks import Frozen, Lock
from stages.domain.records import Record
from stages.domain.rules import Rule

GOES_ON, STOPPED = "goes on", "stopped"
_ANSWERS = {True: "holds", False: "fails", None: "cannot be evaluated"}


@dataclass(frozen=True)
class Fates:
    """What a gate decided: its outcome, who goes on, its verdicts by rule, and who has the lowest mean."""

    outcome: str
    blocked_by: tuple[str, ...]
    candidates: tuple[str, ...]
    promoted: frozenset[str]
    verdicts: Mapping[str, bool | None]
    leader: str | None

    def changes(self, now: Fates, leader: bool = True) -> tuple[Change, ...]:
        """What is different in `now`. Candidates that one of them does not have are left out."""
        changes: list[Change] = []
        if self.outcome != now.outcome:
            changes.append(Change("outcome", "gate", self.outcome_word, now.outcome_word))
        for name in (name for name in self.candidates if name in now.candidates):
            if (name in self.promoted) != (name in now.promoted):
                changes.append(Change("candidate", name, self.word(name), now.word(name)))
        for rule_id, answer in self.verdicts.items():
            if rule_id in now.verdicts and answer is not now.verdicts[rule_id]:
                changes.append(Change("verdict", rule_id, _ANSWERS[answer], _ANSWERS[now.verdicts[rule_id]]))
        if leader and self.leader != now.leader:
            changes.append(Change("leader", "lowest mean", self.leader or "nobody", now.leader or "nobody"))
        return tuple(changes)

    @property
    def outcome_word(self) -> str:
        """The outcome in words: decided, or blocked and by which rules."""
        return f"blocked by {', '.join(self.blocked_by)}" if self.blocked_by else self.outcome

    def word(self, config: str) -> str:
        """The fate of a candidate in words."""
        return GOES_ON if config in self.promoted else STOPPED


def fates_of(evidence: Evidence) -> Fates:
    """What the frozen rules make of `evidence`."""
    decision = decide(evidence)
    return Fates(
        outcome=decision.outcome,
        blocked_by=tuple(decision.blocked_by),
        candidates=evidence.candidates,
        promoted=frozenset(decision.promoted),
        verdicts=dict(decision.verdicts),
        leader=decision.ranking[0].config if decision.ranking else None,
    )


@dataclass(frozen=True)
class RuledEvidence(Evidence):
    """Evidence that is judged by `in_force`, in place of the rules of its contract."""

    in_force: Mapping[str, Rule] = field(default_factory=dict)

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """The rules in force."""
        return dict(self.in_force)


def with_rules(evidence: Evidence, rules: Mapping[str, Rule]) -> RuledEvidence:
    """The same evidence under other rules."""
    return RuledEvidence(evidence.contract, evidence.candidates, evidence.runs, evidence.floor, rules)


@dataclass(frozen=True)
class DecidedGate:
    """One gate that has decided, with the evidence of its rung and its fates."""

    lock: Lock
    records: tuple[Record, ...]
    evidence: Evidence
    fates: Fates

    @property
    def name(self) -> str:
        """gate1, gate2, ..."""
        return self.lock.frozen.gate

    @property
    def frozen(self) -> Frozen:
        """What the lock froze."""
        return self.lock.frozen


def by_rung(records: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """The records of every rung."""
    rungs: dict[str, list[Record]] = {}
    for record in records:
        rungs.setdefault(record.rung, []).append(record)
    return {rung: tuple(runs) for rung, runs in rungs.items()}


def in_order(locks: Mapping[str, Lock]) -> list[Lock]:
    """The locks from gate1 on, up to the first that is missing."""
    ordered: list[Lock] = []
    while (lock := locks.get(f"gate{len(ordered) + 1}")) is not None:
        ordered.append(lock)
    return ordered


def decided_gates(
    locks: Mapping[str, Lock], records: Iterable[Record], decisions: Mapping[str, Decision]
) -> list[DecidedGate]:
    """The gates that have judged somebody, in order. Fates are of the frozen rules, whatever mode a decision has."""
    rungs = by_rung(records)
    gates: list[DecidedGate] = []
    for lock in in_order(locks):
        decision = decisions.get(lock.frozen.gate)
        if decision is None or not decision.candidates:
            break
        runs = rungs.get(names.rung_of(lock.frozen.gate), ())
        evidence = gather(from_lock(lock), decision.candidates, runs)
        gates.append(DecidedGate(lock, runs, evidence, fates_of(evidence)))
    return gates
