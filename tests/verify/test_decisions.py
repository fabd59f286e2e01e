"""Decisions and tickets, each changed alone: the whole of what is said of each change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.decision import Decision
from stages.domain.study import Study
from stages.verify import decisions
from stages.verify.check import Case, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.ledger import DecisionLine, Ledger, RecordLine
from stages.verify.locks import Locks
from stages.verify.pending import EvidenceRules
from tests.verify.cases import alter, change_runs, told

RUNS, DECISIONS = "ledger/runs.jsonl", "ledger/decisions.jsonl"


# V15


def decided(case: Case, ledger: Ledger) -> tuple[list[Problem], list[str]]:
    altered = alter(case, ledger, without=(Recomputed,))
    return list(decisions.check_decisions(altered)), altered.notes


def with_decision(case: Case, gate: str, **changes: Any) -> Ledger:
    ledger = case.get(Ledger)
    line = ledger.decisions[gate]
    value = {**line.value, **changes}
    return Ledger(ledger.runs, {**ledger.decisions, gate: DecisionLine(line.line, value, canonical.dumps(value))})


def test_a_decision_that_promotes_others_names_both_lists(judged):
    promoted = judged.get(Ledger).decisions["gate4"].value["promoted"]
    assert promoted == ["d2-c001", "d3-c002"]
    problems, notes = decided(judged, with_decision(judged, "gate4", promoted=["d1-c000"]))
    meaning = "gate4 promoted d1-c000; its frozen rules promote d2-c001, d3-c002"
    expected = Problem(DECISIONS, "['d1-c000']", "['d2-c001', 'd3-c002']", meaning, line=4, pointer="/promoted")
    assert problems == [expected]
    assert notes == []
    for nobody in ([], None, "d1-c000"):
        problems, _ = decided(judged, with_decision(judged, "gate4", promoted=nobody))
        assert problems[0].meaning == "gate4 promoted nobody; its frozen rules promote d2-c001, d3-c002"


def test_a_decision_that_says_otherwise_what_it_saw_is_told_in_at_most_five_places(judged):
    problems, _ = decided(judged, with_decision(judged, "gate2", outcome="x" * 300, **dict.fromkeys("abcdef", 1)))
    meaning = "gate2 lets the same configurations through, but what it says of them was not what it saw"
    assert [problem.pointer for problem in problems] == ["/a", "/b", "/c", "/d", "/e"]
    assert {(problem.file, problem.line, problem.meaning) for problem in problems} == {(DECISIONS, 2, meaning)}
    problems, _ = decided(judged, with_decision(judged, "gate2", outcome="x" * 300))
    assert problems == [Problem(DECISIONS, repr("x" * 300)[:200], "'decided'", meaning, line=2, pointer="/outcome")]


def test_decisions_that_are_missing_are_noted_and_none_is_nothing_to_check(judged):
    ledger = judged.get(Ledger)
    some = {gate: line for gate, line in ledger.decisions.items() if gate not in ("gate4", "gate5")}
    assert decided(judged, Ledger(ledger.runs, some)) == ([], ["not decided yet: gate4, gate5"])
    with pytest.raises(Skip) as skip:
        decided(judged, Ledger(ledger.runs, {}))
    assert (skip.value.reason, skip.value.enable, skip.value.applies) == (
        "no gate has decided yet",
        "dvc repro",
        False,
    )


def test_a_decision_of_a_gate_without_a_lock_is_none(judged):
    known = Locks({gate: lock for gate, lock in judged.get(Locks).by_gate.items() if gate != "gate5"})
    altered = alter(judged, replace(judged.get(EvidenceRules), locks=known), without=(Recomputed,))
    assert list(decisions.check_decisions(altered)) == [
        Problem(DECISIONS, "a decision of gate5", "none", "gate5 is not frozen or not declared", line=5)
    ]
    assert list(altered.get(Recomputed).decisions) == ["gate1", "gate2", "gate3", "gate4"]


def test_a_gate_that_blocks_is_noted_with_the_rules_that_block_it(judged):
    blocked = change_runs(judged, lambda run: run.update(status="unrun", facts=None, spec=None), at=24)
    recomputed = decisions.recompute(judged.get(Study), judged.get(Locks), blocked)
    decision = recomputed.decisions["gate4"]
    assert isinstance(decision, Decision) and decision.blocked
    line = DecisionLine(4, decision.to_json(), decision.to_bytes())
    after = recomputed.decisions["gate5"]
    more = {"gate4": line, "gate5": DecisionLine(5, after.to_json(), after.to_bytes())}
    problems, notes = decided(judged, Ledger(blocked.runs, {**blocked.decisions, **more}))
    assert problems == []
    assert notes[0] == f"gate4 is blocked by {', '.join(decision.blocked_by)} and promotes nobody"


# V16


def tickets(case: Case, ledger: Ledger, *more: object) -> list[Problem]:
    return list(decisions.check_tickets(alter(case, ledger, *more)))


def test_a_run_is_trained_if_and_only_if_it_had_a_ticket(judged):
    stop = {"status": "stopped", "spec": None, "facts": None, "reason": "x"}
    assert tickets(judged, judged.get(Ledger)) == []
    assert tickets(judged, change_runs(judged, lambda run: run.update(stop), at=0)) == [
        told(judged, 1, "/status", "stopped", "a run",
             "everybody runs at the first rung, so it was hidden from its gate")
    ]  # fmt: skip
    assert tickets(judged, change_runs(judged, lambda run: run.update(stop), at=6)) == [
        told(judged, 7, "/status", "stopped", "a run", "gate1 let it through, so it was hidden from its gate")
    ]
    assert tickets(judged, change_runs(judged, lambda run: run.update(stop), at=18)) == [
        told(judged, 19, "/status", "stopped", "a run", "gate2 let it through, so it was hidden from its gate")
    ]
    like = canonical.loads(judged.get(Ledger).runs[32].data)
    trained = {key: like[key] for key in ("status", "spec", "facts", "reason")}
    assert tickets(judged, change_runs(judged, lambda run: run.update(trained), at=30)) == [
        told(judged, 31, "/status", "finished", "stopped", "gate4 did not let it through: it had no ticket")
    ]
    assert tickets(judged, change_runs(judged, lambda run: run.update(reason="it looked bad"), at=31)) == [
        told(judged, 32, "/reason", "it looked bad", "gate4 did not promote it",
             "a stopped run is written in one way only")
    ]  # fmt: skip


def test_a_run_before_its_gate_decided_is_told_and_a_run_without_a_ticket_file_had_none(judged):
    recomputed = judged.get(Recomputed)
    some = {gate: held for gate, held in recomputed.tickets.items() if gate != "gate1"}
    problems = tickets(judged, judged.get(Ledger), replace(recomputed, tickets=some))
    assert problems == [
        told(judged, line, "/status", "finished", "no run", "gate1 has not decided yet") for line in range(7, 13)
    ]
    some = {**recomputed.tickets, "gate1": {"d1-c000": "true", "d2-c001": "true"}}
    problems = tickets(judged, judged.get(Ledger), replace(recomputed, tickets=some))
    assert [(problem.line, problem.expected) for problem in problems] == [(11, "stopped"), (12, "stopped")]


def test_a_stopped_run_of_a_rung_without_a_lock_is_compared_with_no_record(judged):
    known = Locks({gate: lock for gate, lock in judged.get(Locks).by_gate.items() if gate != "gate5"})
    ledger = change_runs(judged, lambda run: run.update(reason="it looked bad"), at=31)
    assert tickets(judged, ledger, replace(judged.get(EvidenceRules), locks=known)) == []
    assert isinstance(ledger.runs[31], RecordLine)
