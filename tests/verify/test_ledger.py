"""The ledger: each line, their order, and what is missing, each changed alone and told in its words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stages.domain.errors import Invalid
from stages.verify.check import Case, Problem, Skip
from stages.verify.ledger import DecisionLine, Ledger, check_ledger_lines, parse_decision_lines
from stages.verify.locks import Locks
from stages.verify.pending import EvidenceRules, check_ledger_complete
from tests.verify.cases import alter, change_runs, told

RUNS, DECISIONS = "ledger/runs.jsonl", "ledger/decisions.jsonl"


# V07


def lines(case: Case, **files: bytes | None) -> list[Problem]:
    return list(check_ledger_lines(alter(case, without=(Ledger,), files=files)))


def test_a_ledger_that_is_gone_while_something_speaks_of_it_is_told(judged):
    gone = Problem(RUNS, "no file", "the evidence", "decisions and dvc.lock speak of runs that are gone")
    assert lines(judged) == []
    assert lines(judged, **{RUNS: None}) == [gone]
    assert lines(judged, **{RUNS: None, DECISIONS: None}) == [gone]
    assert lines(judged, **{RUNS: None, "dvc.lock": None}) == [gone]
    with pytest.raises(Skip) as skip:
        lines(judged, **{RUNS: None, DECISIONS: None, "dvc.lock": None})
    assert (skip.value.reason, skip.value.enable, skip.value.applies) == (
        "there is no ledger yet",
        "dvc repro -s ledger",
        False,
    )


def test_decisions_that_are_gone_are_told_and_the_runs_are_learnt_all_the_same(judged):
    case = alter(judged, without=(Ledger,), files={DECISIONS: None})
    assert list(check_ledger_lines(case)) == [
        Problem(DECISIONS, "no file", "the decisions", "the evidence was judged, and nobody says how")
    ]
    assert (len(case.get(Ledger).runs), case.get(Ledger).decisions) == (36, {})
    assert set(case.lines) == {run.data for run in judged.get(Ledger).runs}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b'{"gate":"gate1"}\n{"gate"',
            "ledger/decisions.jsonl, line 2: the last line does not end; is the file whole?",
        ),
        (
            b'{"gate":"gate1"}\n{"gate":"gate1"}\n',
            "ledger/decisions.jsonl, line 2: gate: found 'gate1', expected 'gate2': decisions stand in their order",
        ),
        (b"[]\n", "ledger/decisions.jsonl, line 1: gate: found None, expected 'gate1': decisions stand in their order"),
    ],
)
def test_a_line_of_decisions_that_is_none_is_told_by_its_number(data, message):
    with pytest.raises(Invalid) as error:
        parse_decision_lines(data)
    assert str(error.value) == message


def test_lines_of_decisions_are_kept_by_gate_with_their_number_and_bytes():
    first, second = b'{"gate":"gate1"}\n', b'{"gate":"gate2","x":1}\n'
    assert parse_decision_lines(first + second) == {
        "gate1": DecisionLine(1, {"gate": "gate1"}, first),
        "gate2": DecisionLine(2, {"gate": "gate2", "x": 1}, second),
    }
    assert parse_decision_lines(b"") == {}


def test_a_long_value_is_cut_where_a_problem_shows_it(judged):
    run = judged.get(Ledger).runs[0]
    for length, shown in ((120, "x" * 120), (121, "x" * 117 + "...")):
        problem = run.problem("/a", "x" * length, ["x" * (length - 4)], "m")
        assert problem.found == shown
        assert len(problem.expected) == 120
    assert run.problem("/a", "x", 1, "m") == Problem(RUNS, "x", "1", f"{run.record.id}: m", line=1, pointer="/a")
    assert run.cell == ("rung1", "d1-c000", "cpu-bf16")
    assert run.path == "artifacts/records/rung1/d1-c000/cpu-bf16/1000.json"


# V08


def complete(case: Case, ledger: Ledger) -> tuple[list[Problem], list[str]]:
    altered = alter(case, ledger, without=(EvidenceRules,))
    return list(check_ledger_complete(altered)), altered.notes


def test_a_run_that_is_twice_moved_or_missing_is_told(judged):
    ledger = judged.get(Ledger)
    first, second, *rest = ledger.runs
    order = "each run once, sorted by rung, purpose, configuration, host, seed"
    assert complete(judged, ledger) == ([], [])
    twice = "a run that counts twice or was moved changes what a gate sees"
    problems, _ = complete(judged, Ledger((first, first, second, *rest), ledger.decisions))
    assert problems == [told(judged, 1, "", "the run a second time", order, twice)]
    problems, _ = complete(judged, Ledger((second, first, *rest), ledger.decisions))
    assert problems == [told(judged, 1, "", f"the run after {second.record.id}", order, "the ledger was edited")]
    missing = f"2 runs of rung1 are missing, such as {first.record.id}"
    problems, notes = complete(judged, Ledger(tuple(rest), ledger.decisions))
    assert problems == [
        Problem(RUNS, missing, "a line for every run of a rung that was judged", "the gate judged without seeing all")
    ]
    assert notes == []
    assert complete(judged, Ledger(tuple(rest), {})) == ([], [f"{missing}; gate1 has not decided"])


def test_a_run_that_nobody_declared_is_from_nowhere(judged):
    ledger = change_runs(judged, lambda run: run.update(seed=1), at=0)
    problems, _ = complete(judged, ledger)
    name = ledger.runs[0].record.id
    assert problems[0] == Problem(
        RUNS,
        "a run that params.yaml does not declare",
        "a declared cell",
        f"{name}: evidence from nowhere",
        line=1,
        pointer="",
    )
    assert [problem.meaning for problem in problems[1:]] == ["the gate judged without seeing all"]


def test_what_is_pending_is_noted_in_words(judged):
    rules = replace(judged.get(EvidenceRules), pending={"gate4": "frozen", "gate2": "amended"})
    assert list(rules.notes()) == [
        "gate4 is frozen; its evidence is not made yet: `dvc repro`",
        "gate2 was amended; the evidence here is that of the rule before: `dvc repro` makes it anew",
    ]
    assert rules.undecided == []
    assert replace(rules, locks=Locks({})).undecided == ["gate1", "gate2", "gate3", "gate4", "gate5"]
