"""Checks V15 and V16: every decision made again from the evidence, and every ticket held against it.

Made by `promotion verify`; the whole sequence stands in `stages/verify/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from stages.domain import canonical, decision, names, promotions
from stages.domain.contract import Contract, from_lock
from stages.domain.diff import differences
from stages.domain.evidence import gather
from stages.domain.locks import Lock
from stages.domain.study import Study
from stages.verify.check import Case, CheckFailed, Problem, Skip
from stages.verify.ledger import Ledger, Run
from stages.verify.locks import DECISIONS, Locks


class DecisionDiffers(CheckFailed):
    """V15: a recorded decision is not the one that the frozen rules make of the evidence."""


class WithoutTicket(CheckFailed):
    """V16: a run was trained that the gate before did not let through, or one that it let through was not."""


@dataclass(frozen=True)
class Recomputed:
    """What the frozen rules make of the evidence in git: decisions and tickets by gate, as far as it goes."""

    decisions: dict[str, decision.Decision]
    tickets: dict[str, dict[str, promotions.Ticket]]


def judge(
    study: Study, lock: Lock, runs: list[Run], held: dict[str, promotions.Ticket] | None
) -> tuple[decision.Decision, dict[str, promotions.Ticket]]:
    """The decision of one gate and the tickets that it hands out. `held` are those of the gate before."""
    contract = from_lock(lock)
    if held is None:
        held = dict.fromkeys(contract.entrants or sorted(study.configs), "true")
    who = [name for name, one in held.items() if one != "false"]
    evidence = gather(contract, who, (run.record for run in runs))
    made = decision.decide(evidence)
    return made, decision.hand_out_tickets(made, made, sorted(held))


def recompute(study: Study, known: Locks, ledger: Ledger) -> Recomputed:
    """Judge gate after gate, each on the tickets that the one before really hands out, as far as gates have decided."""
    found = Recomputed({}, {})
    held: dict[str, promotions.Ticket] | None = None
    for gate, lock in known.by_gate.items():
        if gate not in ledger.decisions or gate not in study.gates:
            break
        made, held = judge(study, lock, ledger.by_rung.get(lock.frozen.rung, []), held)
        found.decisions[gate], found.tickets[gate] = made, held
    return found


def decisions_recomputed(case: Case) -> Iterator[Problem]:
    """V15: each decision recomputed from the evidence equals the recorded one, byte for byte."""
    study, known, ledger = case.get(Study), case.get(Locks), case.get(Ledger)
    found = recompute(study, known, ledger)
    case.learn(found)
    for gate, (line, recorded, data) in ledger.decisions.items():
        made = found.decisions.get(gate)
        if made is None:
            yield Problem(
                DECISIONS, f"a decision of {gate}", "none", f"{gate} is not frozen or not declared", line=line
            )
        elif made.to_bytes() != data:
            yield from _differs(gate, line, recorded, made)
        elif made.blocked:
            case.note(f"{gate} is blocked by {', '.join(made.blocked_by)} and promotes nobody")
    if not ledger.decisions:
        raise Skip("no gate has decided yet", "dvc repro", applies=False)
    open_ = [gate for gate in study.gates if gate not in ledger.decisions]
    if open_:
        case.note(f"not decided yet: {', '.join(open_)}")


def _differs(gate: str, line: int, recorded: dict[str, Any], made: decision.Decision) -> Iterator[Problem]:
    wrong = recorded.get("promoted") != made.promoted
    meaning = (
        f"{gate} promoted {_list(recorded.get('promoted'))}; its frozen rules promote {_list(made.promoted)}"
        if wrong
        else f"{gate} lets the same configurations through, but what it says of them was not what it saw"
    )
    for pointer, was, should in islice(differences(recorded, made.to_json()), 5):
        yield Problem(DECISIONS, repr(was)[:200], repr(should)[:200], meaning, line=line, pointer=pointer)


def _list(promoted: Any) -> str:
    return ", ".join(map(str, promoted)) if isinstance(promoted, list) and promoted else "nobody"


def tickets_held(case: Case) -> Iterator[Problem]:
    """V16: what was trained had a ticket, what had one was trained, and the rest is recorded as stopped."""
    ledger, known, made = case.get(Ledger), case.get(Locks), case.get(Recomputed)
    for rung, runs in ledger.by_rung.items():
        lock, number = known.of(rung), int(rung.removeprefix("rung"))
        before = f"gate{number - 1}"
        held = made.tickets.get(before)
        contract = from_lock(lock) if lock else None
        for run in runs:
            if number == 1 or run.record.purpose == "floor":
                ticket: str = "true"
            elif held is None:
                yield run.problem("/status", run.record.status, "no run", f"{before} has not decided yet")
                continue
            else:
                ticket = held.get(run.record.config, "false")
            yield from _ticket(run, ticket, before, contract)


def _ticket(run: Run, ticket: str, before: str, contract: Contract | None) -> Iterator[Problem]:
    record = run.record
    if ticket == "true":
        if not record.executed:
            meaning = f"{before} let it through" if record.rung != "rung1" else "everybody runs at the first rung"
            yield run.problem("/status", record.status, "a run", meaning + ", so it was hidden from its gate")
        return
    if record.executed:
        yield run.problem("/status", record.status, "stopped", f"{before} did not let it through: it had no ticket")
    elif contract is not None and run.data != _stopped(run, before, contract):
        expected = f"{before} did not promote it"
        yield run.problem("/reason", record.reason, expected, "a stopped run is written in one way only")


def _stopped(run: Run, before: str, contract: Contract) -> bytes:
    record = run.record
    value = contract.make_record(
        config=record.config,
        host=record.host,
        seed=record.seed,
        purpose=record.purpose,
        status="stopped",
        reason=f"{before} did not promote it",
    )
    return canonical.dumps(value)


__all__ = [
    "DecisionDiffers",
    "Recomputed",
    "WithoutTicket",
    "decisions_recomputed",
    "judge",
    "names",
    "recompute",
    "tickets_held",
]
