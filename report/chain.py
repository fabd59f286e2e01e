"""What holds a gate's decision: lock, records, decision, each naming the one before; and where that breaks.

Counted from the files that the site is made of, without git: that the lock also came first is checked by
`promotion verify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from report.gates import GateView
from stages.domain import formatting, locks
from stages.domain.contract import from_lock
from stages.domain.decision import decide
from stages.domain.evidence import gather

LockState = Literal["frozen", "amended", "what-if", "not frozen"]
#: Differences between params.yaml and a lock that a sentence names; the count is of all.
MOST_NAMED = 2


@dataclass(frozen=True)
class Chain:
    """The chain of one gate. Digests are SHA-256 in hex, None where there is nothing to name."""

    gate: str
    state: LockState
    digest: str | None
    previous: str | None
    amendments: int
    #: Executed records of the rung, and how many of them name this lock.
    records: int
    committed: int
    #: Records that the decision names by md5, and how many of these stand in the ledger as it names them.
    named: int
    same: int
    decision_lock: str | None
    #: What params.yaml says otherwise than the lock, by dotted path: what was frozen, and what is there now.
    changed: Mapping[str, Mapping[str, object]]
    #: What is wrong, each a sentence without its full stop.
    faults: tuple[str, ...] = ()

    @property
    def decided(self) -> bool:
        """Whether there is a decision."""
        return self.decision_lock is not None

    @property
    def moved(self) -> str:
        """Where params.yaml has moved on from the lock that decided, in words; empty where it has not.

        No fault of the chain: lock, records and decision stand as they were. In a what-if params.yaml itself decided.
        """
        return self.changes if self.state != "what-if" else ""

    @property
    def changes(self) -> str:
        """The first differences between lock and params.yaml in words, and how many more there are."""
        first = list(self.changed.items())[:MOST_NAMED]
        named = [f"{path} (frozen {_text(both, 'was')}, now {_text(both, 'is')})" for path, both in first]
        more = len(self.changed) - len(named)
        return ", ".join(named) + (f" and {more} more" if more > 0 else "")

    @property
    def proven(self) -> bool:
        """Whether frozen rules decided on the very records that the ledger holds."""
        return self.decided and self.state in ("frozen", "amended") and not self.faults

    @property
    def standing(self) -> str:
        """One sentence on the rules: when and how they came to bind, as far as these files say."""
        where = f"locks/{self.gate}.yaml"
        if self.state == "what-if":
            rules = f" They differ from the lock in {self.changes}." if self.changed else ""
            return f"A what-if: the rules of params.yaml decided here, and they are not frozen.{rules}"
        if self.state == "not frozen":
            return "Not frozen: these are the rules of params.yaml as they stand now, and they may still change."
        moved = f" params.yaml has moved on from it since: {self.moved}." if self.moved else ""
        if self.state == "amended":
            times = formatting.count(self.amendments, "time")
            after = f"Amended {times} after evidence of this rung existed; each change and its reason stand in {where}."
            return after + moved
        named = ", whose digest every record of this rung names" if 0 < self.records == self.committed else ""
        return f"Frozen in {where}{named}.{moved}"


def _text(difference: Mapping[str, object], side: str) -> str:
    return formatting.value_text(difference.get(side))


def trace_chain(gate: GateView) -> Chain:
    """The chain of a gate with its faults, the worst first."""
    decision, lock = gate.decision, gate.lock
    evidence = decision.evidence if decision else {}
    chain = Chain(
        gate=gate.name,
        state=_state(gate),
        digest=lock.digest if lock else None,
        previous=lock.frozen.previous if lock else None,
        amendments=len(lock.frozen.amendments) if lock else 0,
        records=len(gate.executed),
        committed=sum(1 for run in gate.executed if lock and run.record.lock == lock.digest),
        named=len(evidence),
        same=sum(1 for run, md5 in evidence.items() if run in gate.ledger and gate.ledger[run].line.md5 == md5),
        decision_lock=decision.lock if decision else None,
        changed=_changes_since_lock(gate),
    )
    return replace(chain, faults=tuple(_faults(gate, chain)))


def supported(gates: Iterable[GateView], chains: Iterable[Chain]) -> bool:
    """Whether every gate is decided by a chain that holds, on evidence of which nothing is missing."""
    whole = all(not gate.missing for gate in gates)
    return whole and all(chain.digest and chain.decided and not chain.faults for chain in chains)


def _state(gate: GateView) -> LockState:
    if gate.what_if:
        return "what-if"
    if gate.lock is None:
        return "not frozen"
    return "amended" if gate.lock.frozen.amendments else "frozen"


def _changes_since_lock(gate: GateView) -> Mapping[str, Mapping[str, object]]:
    if gate.lock is None:
        return {}
    frozen = gate.lock.frozen
    now = locks.frozen_of(gate.study, gate.name, runner=frozen.runner, corpus=frozen.corpus, previous=frozen.previous)
    return locks.difference(frozen, now)


def _faults(gate: GateView, chain: Chain) -> list[str]:
    faults = []
    if chain.same < chain.named:
        named, same = formatting.count(chain.named, "record"), formatting.plain(chain.same)
        faults.append(f"of {named} that its decision names by md5, the ledger holds {same} unchanged")
    if gate.lock is None:
        return [*faults, *(["it has decided, and its lock is missing"] if gate.decision else [])]
    if chain.committed < chain.records:
        others = chain.records - chain.committed
        verb = "names" if others == 1 else "name"
        of = f"{formatting.plain(others)} of {formatting.count(chain.records, 'record')}"
        faults.append(f"{of} {verb} another lock")
    if gate.decision and chain.decision_lock != chain.digest:
        faults.append("its decision names another lock")
    if _names_another_lock_before(gate):
        faults.append("its lock names another lock before it than the one that lies there")
    if gate.decision and not faults and not gate.what_if and _judged_otherwise(gate):
        faults.append("judged again by its lock, the records of the ledger give another decision")
    return faults


def _names_another_lock_before(gate: GateView) -> bool:
    assert gate.lock is not None
    if gate.before is None:
        return gate.lock.frozen.previous is not None
    return gate.before.lock is not None and gate.lock.frozen.previous != gate.before.lock.digest


def _judged_otherwise(gate: GateView) -> bool:
    """Whether the same rules over the same records come to another decision than the one that is recorded."""
    assert gate.lock is not None and gate.entry is not None
    candidates = gate.entry.decision.candidates
    if gate.before is None:
        candidates = sorted(gate.lock.frozen.configs or gate.study.configs)
    elif gate.before.decision and not gate.before.what_if:
        candidates = gate.before.decision.promoted
    records = [run.record for run in gate.runs]
    return decide(gather(from_lock(gate.lock), candidates, records)).to_bytes() != gate.entry.line.raw
