"""The ladder as the summaries see it: for every frozen rung its lock, its records, its candidates and its decision.

Made from locks, records and decisions alone, which git holds: `promotion verify` builds the same ladder from a commit
as `python -m stages.ledger` does from the workspace. A rung whose gate is not frozen is absent; what is not known yet
is None and never a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from stages.domain.contract import from_lock
from stages.domain.decision import Decision
from stages.domain.evidence import Evidence, gather
from stages.domain.locks import Frozen, Lock
from stages.domain.names import ClockKind
from stages.domain.records import Record


@dataclass(frozen=True)
class LadderRung:
    """One frozen rung. `candidates` and `evidence` are None until the gate before has decided."""

    lock: Lock
    records: tuple[Record, ...]
    candidates: tuple[str, ...] | None
    evidence: Evidence | None
    decision: Decision | None

    @property
    def name(self) -> str:
        """rung1, rung2, ..."""
        return self.lock.frozen.rung

    @property
    def gate(self) -> str:
        """The gate that judges this rung."""
        return self.lock.frozen.gate

    @property
    def frozen(self) -> Frozen:
        """What the lock froze."""
        return self.lock.frozen

    @property
    def cells(self) -> int:
        """How many host-seed cells were declared."""
        return len(self.frozen.hosts) * len(self.frozen.seeds)

    @cached_property
    def ranking(self) -> list[str]:
        """Candidates with a full set of finished cells, best mean first, ties by name."""
        return self.evidence.ranking() if self.evidence else []

    @cached_property
    def rank(self) -> dict[str, int]:
        """The place in `ranking` by configuration, counted from 1."""
        return {name: place for place, name in enumerate(self.ranking, start=1)}

    @property
    def leader(self) -> str | None:
        """The configuration with the lowest mean, or None without a ranked one."""
        return self.ranking[0] if self.ranking else None


@dataclass(frozen=True)
class Ladder:
    """The frozen rungs in order. `mode` is study.mode, `configs` every configuration of the study."""

    mode: str
    configs: tuple[str, ...]
    rungs: tuple[LadderRung, ...]

    @property
    def clock(self) -> ClockKind | None:
        """wall or rated; None before anything is frozen."""
        return self.rungs[0].frozen.clock.kind if self.rungs else None

    @property
    def last(self) -> LadderRung | None:
        """The study's last rung, or None while its gate is not frozen."""
        return self.rungs[-1] if self.rungs and self.rungs[-1].frozen.last else None

    @property
    def winner(self) -> str | None:
        """The lowest mean at the last rung among its candidates, once its gate has decided and is not blocked."""
        last = self.last
        if last is None or last.decision is None or last.decision.blocked:
            return None
        return last.leader

    @property
    def why_no_winner(self) -> str | None:
        """One sentence on what is missing, or None where there is a winner."""
        if self.winner:
            return None
        last = self.last
        if last is None:
            return "The last gate is not frozen yet."
        if last.decision is None:
            return f"{last.gate} has not decided yet."
        if last.decision.blocked:
            return f"{last.gate} is blocked by {', '.join(last.decision.blocked_by)}."
        return f"No candidate of {last.name} finished in every cell."


def build(
    mode: str,
    configs: Sequence[str],
    locks: Mapping[str, Lock],
    records: Iterable[Record],
    decisions: Mapping[str, Decision],
) -> Ladder:
    """The ladder from `locks` and `decisions` by gate and the records in any order. Gates beyond a gap are absent."""
    by_rung: dict[str, list[Record]] = {}
    for record in records:
        by_rung.setdefault(record.rung, []).append(record)
    rungs: list[LadderRung] = []
    before: Decision | None = None
    while (lock := locks.get(f"gate{len(rungs) + 1}")) is not None:
        decision = decisions.get(lock.frozen.gate)
        candidates = _list_candidates(decision, before, configs if not rungs else None)
        known = tuple(by_rung.get(lock.frozen.rung, ()))
        evidence = None if candidates is None else gather(from_lock(lock), candidates, known)
        rungs.append(LadderRung(lock, known, candidates, evidence, decision))
        before = decision
    return Ladder(mode, tuple(sorted(configs)), tuple(rungs))


def _list_candidates(
    decision: Decision | None, before: Decision | None, everybody: Sequence[str] | None
) -> tuple[str, ...] | None:
    if decision is not None:
        return tuple(decision.candidates)
    if everybody is not None:
        return tuple(sorted(everybody))
    return None if before is None else tuple(before.promoted)
