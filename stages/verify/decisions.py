"""Checks V15 and V16: every decision made again from the evidence, and every ticket compared with what was trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from stages.domain import canonical, decision
from stages.domain.contract import Contract, from_lock
from stages.domain.decision import Decision
from stages.domain.diff import differences
from stages.domain.evidence import gather
from stages.domain.locks import Lock
from stages.domain.promotions import Ticket
from stages.domain.study import Study
from stages.verify.check import Case, Problem, Skip
from stages.verify.ledger import DecisionLine, Ledger, RecordLine
from stages.verify.locks import DECISIONS, Locks
from stages.verify.pending import evidence_locks, evidence_study


@dataclass(frozen=True)
class Recomputed:
    """What the frozen rules make of the evidence in git: decisions and tickets by gate, as far as it goes."""

    decisions: dict[str, Decision]
    tickets: dict[str, dict[str, Ticket]]


def _judge(
    study: Study, lock: Lock, runs: list[RecordLine], entrants: dict[str, Ticket] | None
) -> tuple[Decision, dict[str, Ticket]]:
    """The decision of one gate and the tickets that it hands out. `entrants`: the tickets of the gate before."""
    contract = from_lock(lock)
    if entrants is None:
        entrants = dict.fromkeys(contract.entrants or sorted(study.configs), "true")
    candidates = [name for name, ticket in entrants.items() if ticket != "false"]
    recomputed = decision.decide(gather(contract, candidates, (run.record for run in runs)))
    return recomputed, decision.hand_out_tickets(recomputed, recomputed, sorted(entrants))


def recompute(study: Study, known: Locks, ledger: Ledger) -> Recomputed:
    """Judge gate after gate, each on the tickets that the one before really hands out, as far as gates have decided."""
    recomputed = Recomputed({}, {})
    tickets: dict[str, Ticket] | None = None
    for gate, lock in known.by_gate.items():
        if gate not in ledger.decisions or gate not in study.gates:
            break
        runs = ledger.by_rung.get(lock.frozen.rung, [])
        recomputed.decisions[gate], tickets = _judge(study, lock, runs, tickets)
        recomputed.tickets[gate] = tickets
    return recomputed


def check_decisions(case: Case) -> Iterator[Problem]:
    """Each decision, recomputed from the evidence, equals the recorded one byte for byte."""
    study, ledger = evidence_study(case), case.get(Ledger)
    recomputed = recompute(study, evidence_locks(case), ledger)
    case.learn(recomputed)
    for gate, recorded in ledger.decisions.items():
        expected = recomputed.decisions.get(gate)
        if expected is None:
            meaning = f"{gate} is not frozen or not declared"
            yield Problem(DECISIONS, f"a decision of {gate}", "none", meaning, line=recorded.line)
        elif expected.to_bytes() != recorded.data:
            yield from _compare_decision(gate, recorded, expected)
        elif expected.blocked:
            case.note(f"{gate} is blocked by {', '.join(expected.blocked_by)} and promotes nobody")
    if not ledger.decisions:
        raise Skip("no gate has decided yet", "dvc repro", applies=False)
    undecided = [gate for gate in study.gates if gate not in ledger.decisions]
    if undecided:
        case.note(f"not decided yet: {', '.join(undecided)}")


def _compare_decision(gate: str, recorded: DecisionLine, expected: Decision) -> Iterator[Problem]:
    promoted = recorded.value.get("promoted")
    meaning = (
        f"{gate} promoted {_listed(promoted)}; its frozen rules promote {_listed(expected.promoted)}"
        if promoted != expected.promoted
        else f"{gate} lets the same configurations through, but what it says of them was not what it saw"
    )
    for pointer, was, should in islice(differences(recorded.value, expected.to_json()), 5):
        yield Problem(DECISIONS, repr(was)[:200], repr(should)[:200], meaning, line=recorded.line, pointer=pointer)


def _listed(promoted: object) -> str:
    return ", ".join(map(str, promoted)) if isinstance(promoted, list) and promoted else "nobody"


def check_tickets(case: Case) -> Iterator[Problem]:
    """Every trained run had a ticket, every run with a ticket was trained, and the others are recorded as stopped."""
    known, recomputed = evidence_locks(case), case.get(Recomputed)
    for rung, runs in case.get(Ledger).by_rung.items():
        lock, number = known.of(rung), int(rung.removeprefix("rung"))
        before = f"gate{number - 1}"
        tickets = recomputed.tickets.get(before)
        contract = from_lock(lock) if lock else None
        for run in runs:
            if number == 1 or run.record.purpose == "floor":
                ticket: Ticket = "true"
            elif tickets is None:
                yield run.problem("/status", run.record.status, "no run", f"{before} has not decided yet")
                continue
            else:
                ticket = tickets.get(run.record.config, "false")
            yield from _compare_ticket(run, ticket, before, contract)


def _compare_ticket(run: RecordLine, ticket: Ticket, before: str, contract: Contract | None) -> Iterator[Problem]:
    record = run.record
    if ticket == "true":
        if not record.executed:
            meaning = f"{before} let it through" if record.rung != "rung1" else "everybody runs at the first rung"
            yield run.problem("/status", record.status, "a run", meaning + ", so it was hidden from its gate")
        return
    if record.executed:
        yield run.problem("/status", record.status, "stopped", f"{before} did not let it through: it had no ticket")
    elif contract is not None and run.data != _stopped_record(run, before, contract):
        expected = f"{before} did not promote it"
        yield run.problem("/reason", record.reason, expected, "a stopped run is written in one way only")


def _stopped_record(run: RecordLine, before: str, contract: Contract) -> bytes:
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
