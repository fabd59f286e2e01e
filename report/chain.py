"""What holds a gate's decision: lock, records, decision, each naming the one before; and where that breaks.

    python -m pytest tests/report/test_chain.py

Counted from the files that the site is made of, without git: that the lock also came first is `promotion verify`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from report import promotion_paths
from report.decisions import what_if
from report.load import Audit
from stages.domain import formatting, locks, names
from stages.domain.contract import from_lock
from stages.domain.decision import decide
from stages.domain.evidence import gather

State = Literal["frozen", "amended", "what-if", "not frozen"]
#: Differences between params.yaml and a lock that a sentence names; the count is of all.
MOST_NAMED = 2


@dataclass(frozen=True)
class Chain:
    """The chain of one gate. Digests are SHA-256 in hex, None where there is nothing to name."""

    gate: str
    state: State
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
    #: What params.yaml says otherwise than the lock, by dotted path.
    changed: dict[str, dict[str, Any]]
    #: What is wrong, each a sentence without its full stop.
    faults: tuple[str, ...]

    @property
    def decided(self) -> bool:
        """Whether there is a decision."""
        return self.decision_lock is not None

    @property
    def moved(self) -> str:
        """Where params.yaml has moved on from the lock that decided, in words; empty where it has not.

        No fault of the chain: lock, records and decision stand as they were. In a what-if params.yaml itself decided.
        """
        return _told(self.changed) if self.state != "what-if" else ""

    @property
    def proven(self) -> bool:
        """Whether frozen rules decided on the very records that the ledger holds."""
        return self.decided and self.state in ("frozen", "amended") and not self.faults


def _changed(audit: Audit, gate: str) -> dict[str, dict[str, Any]]:
    frozen = audit.locks[gate].lock.frozen
    now = locks.frozen_of(audit.study, gate, runner=frozen.runner, corpus=frozen.corpus, previous=frozen.previous)
    return locks.difference(frozen, now)


def _before(audit: Audit, gate: str) -> str | None:
    number = int(gate.removeprefix("gate"))
    return f"gate{number - 1}" if number > 1 else None


def _previous_fault(audit: Audit, gate: str) -> list[str]:
    before, named = _before(audit, gate), audit.locks[gate].lock.frozen.previous
    expected = audit.locks[before].lock.digest if before in audit.locks else None
    if (before is None or before in audit.locks) and named != expected:
        return ["its lock names another lock before it than the one that lies there"]
    return []


def _judged_otherwise(audit: Audit, gate: str) -> bool:
    """Whether the same rules over the same records come to another decision than the one that is recorded."""
    value, before = audit.decisions[gate].value, _before(audit, gate)
    frozen = audit.locks[gate].lock.frozen
    candidates = sorted(frozen.configs or audit.study.configs) if before is None else value["candidates"]
    if before in audit.decisions and not what_if(audit, before):
        candidates = audit.decisions[before].value["promoted"]
    records = [run.record for run in audit.by_rung[names.rung_of(gate)]]
    return decide(gather(from_lock(audit.locks[gate].lock), candidates, records)).to_json() != value


def _told(changed: dict[str, dict[str, Any]]) -> str:
    named = [
        f"{path} (frozen {both['was']!r}, now {both['is']!r})" for path, both in list(changed.items())[:MOST_NAMED]
    ]
    more = len(changed) - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _faults(audit: Audit, gate: str, found: dict[str, Any]) -> list[str]:
    """What is wrong with the chain of a gate, worst first."""
    decision = audit.decisions.get(gate)
    faults = []
    if found["same"] < found["named"]:
        of = formatting.count(found["named"], "record")
        faults.append(
            f"of {of} that its decision names by md5, the ledger holds {formatting.plain(found['same'])} unchanged"
        )
    if found["digest"] is None:
        return [*faults, *(["it has decided, and its lock is missing"] if decision else [])]
    if found["committed"] < found["records"]:
        bad = found["records"] - found["committed"]
        names_ = "names" if bad == 1 else "name"
        faults.append(
            f"{formatting.plain(bad)} of {formatting.count(found['records'], 'record')} {names_} another lock"
        )
    if decision and found["decision_lock"] != found["digest"]:
        faults.append("its decision names another lock")
    faults += _previous_fault(audit, gate)
    if decision and not faults and found["state"] != "what-if" and _judged_otherwise(audit, gate):
        faults.append("judged again by its lock, the records of the ledger give another decision")
    return faults


def _chain(audit: Audit, gate: str) -> Chain:
    decision, lock = audit.decisions.get(gate), audit.locks.get(gate)
    executed = [run for run in audit.by_rung[names.rung_of(gate)] if run.record.executed]
    named: dict[str, str] = decision.value["evidence"] if decision else {}
    digest = lock.lock.digest if lock else None
    amendments = len(lock.lock.frozen.amendments) if lock else 0
    state: State = "amended" if amendments else "frozen"
    found: dict[str, Any] = {
        "state": "what-if" if what_if(audit, gate) else "not frozen" if lock is None else state,
        "digest": digest,
        "previous": lock.lock.frozen.previous if lock else None,
        "amendments": amendments,
        "records": len(executed),
        "committed": sum(1 for run in executed if run.record.lock == digest),
        "named": len(named),
        "same": sum(1 for run, md5 in named.items() if run in audit.runs and audit.runs[run].line.md5 == md5),
        "decision_lock": decision.value["lock"] if decision else None,
        "changed": _changed(audit, gate) if lock else {},
    }
    return Chain(gate, **found, faults=tuple(_faults(audit, gate, found)))


@lru_cache(maxsize=1)
def chains(audit: Audit) -> dict[str, Chain]:
    """The chain of every gate, in the order of the study."""
    return {gate: _chain(audit, gate) for gate in map(names.gate_of, audit.study.rungs)}


def supported(audit: Audit) -> bool:
    """Whether every gate is decided by a chain that holds, on evidence of which nothing is missing."""
    whole = all(not promotion_paths.missing_runs(audit, rung) for rung in audit.study.rungs)
    return whole and all(one.digest and one.decided and not one.faults for one in chains(audit).values())


def standing(chain: Chain) -> str:
    """One sentence on the rules of a gate: when and how they came to bind, as far as these files say."""
    where = f"locks/{chain.gate}.yaml"
    if chain.state == "what-if":
        rules = f" They differ from the lock in {_told(chain.changed)}." if chain.changed else ""
        return f"A what-if: the rules of params.yaml decided here, and nobody froze them.{rules}"
    if chain.state == "not frozen":
        return "Not frozen: these are the rules of params.yaml as they stand now, and they may still change."
    moved = f" params.yaml has moved on from it since: {chain.moved}." if chain.moved else ""
    if chain.state == "amended":
        times = formatting.count(chain.amendments, "time")
        told = f"Amended {times} after evidence of this rung existed; each change and its reason stand in {where}."
        return told + moved
    named = ", whose digest every record of this rung names" if 0 < chain.records == chain.committed else ""
    return f"Frozen in {where}{named}.{moved}"
