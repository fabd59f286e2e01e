"""What a record says that its run was given and what came of it, each changed alone and told in its words."""

from __future__ import annotations

from typing import Any

from stages.domain import canonical
from stages.domain.study import Study
from stages.verify import facts
from stages.verify.check import Case, Problem
from stages.verify.facts import ExpectedSpec, Specifications
from stages.verify.ledger import Ledger
from tests.verify.cases import alter, change_runs, told

RUNS, DECISIONS = "ledger/runs.jsonl", "ledger/decisions.jsonl"


# V13, V14


def outcome(case: Case, ledger: Ledger, *more: object) -> tuple[list[Problem], list[str]]:
    altered = alter(case, ledger, *more)
    return list(facts.check_facts_of_record(altered)), altered.notes


def test_a_status_says_whether_there_is_a_reason_and_an_outcome(judged):
    expected = {
        "a reason in a finished run": (
            {"reason": "why"},
            [("/reason", "why", "null", "its status is finished")],
        ),
        "no reason in one that broke": (
            {"status": "diverged"},
            [("/reason", "None", "why it did not finish", "its status is diverged")],
        ),
        "no outcome of one that broke": (
            {"status": "diverged", "reason": "why", "facts": None},
            [("/facts", "null", "what came of it", "its status is diverged")],
        ),
        "an outcome of one that failed": (
            {"status": "failed", "reason": "why"},
            [("/facts", "facts", "null", "its status is failed")],
        ),
        "a failed one": ({"status": "failed", "reason": "why", "facts": None}, []),
    }
    for change, parts in expected.values():
        ledger = change_runs(judged, lambda run, change=change: run.update(change), at=4)
        problems, _ = outcome(judged, ledger)
        of_status = [
            problem for problem in problems if problem.meaning.endswith(f"its status is {ledger.runs[4].record.status}")
        ]
        assert of_status == [told(judged, 5, *part) for part in parts]


def test_two_runs_that_end_alike_are_one_unless_seed_and_numerics_are(judged):
    """Run 1 is that of cpu-bf16; others are given its outcome."""
    first = canonical.loads(judged.get(Ledger).runs[0].data)["facts"]
    name = judged.get(Ledger).runs[0].record.id

    def copied(at: int) -> list[Problem]:
        altered = alter(judged, change_runs(judged, lambda run: run.update(facts=first), at=at))
        check = facts.runner_of(judged.get(Study).runner).make_facts_check(judged.get(Study))
        return list(facts._compare_endings(altered, judged.get(Study), check))

    assert copied(6) == [
        told(
            judged, 7, "/facts", f"those of {name}", "its own",
            "one run stands there under two seeds: one of them is a copy, or the trainer ignores its seed",
        )
    ]  # fmt: skip
    assert copied(1) == [
        told(
            judged, 2, "/facts", f"those of {name}", "its own",
            "one run stands there under two hosts: cpu-fp32 computes in fp32, cpu-bf16 in bf16",
        )
    ]  # fmt: skip
    case = alter(judged, change_runs(judged, lambda run: run.update(facts=first), at=2))
    check = facts.runner_of(judged.get(Study).runner).make_facts_check(judged.get(Study))
    assert list(facts._compare_endings(case, judged.get(Study), check)) == []
    third = judged.get(Ledger).runs[2].record.id
    assert case.notes == [
        f"one pair of runs of one seed ends alike, such as {name} and {third}: "
        "honest where the machines compute alike, or one is a copy"
    ]
    ledger = change_runs(case, lambda run: run.update(facts=first), at=4)
    case = alter(judged, ledger)
    list(facts._compare_endings(case, judged.get(Study), check))
    assert case.notes == [
        f"2 pairs of runs of one seed end alike, such as {name} and {third}: "
        "honest where the machines compute alike, or one is a copy"
    ]


def test_why_one_of_two_runs_must_be_a_copy(judged):
    run, other = (judged.get(Ledger).runs[at].record for at in (0, 2))
    study = judged.get(Study)

    def why(**changes: Any) -> str:
        return facts._why_a_copy(run.model_copy(update={"facts": other.facts} | changes), other, study)

    seeds = "one run stands there under two seeds: one of them is a copy, or the trainer ignores its seed"
    assert why() == ""
    assert why(seed=7) == why(rung="rung2") == seeds
    assert why(facts={"model": 1}) == "one run stands there under two configurations: d2-c001 builds another model"
    assert why(facts=None).endswith("d2-c001 builds another model")
    assert why(host="other") == "one run stands there under two hosts: other computes in , cpu-bf16 in bf16"


def test_a_run_was_given_what_the_study_says(judged):
    def given(change: dict[str, Any], at: int = 3, whole: bool = True) -> list[Problem]:
        ledger = change_runs(judged, lambda run: run["spec"]["config"].update(change), at=at)
        expected = judged.get(Specifications).by_cell[ledger.runs[at].cell]
        first: dict[str, tuple[Any, str]] = {}
        value = expected.value if whole else {**expected.value, "config": {"depth": expected.value["config"]["depth"]}}
        spec = ExpectedSpec(value, whole)
        pairs = [problem for run in ledger.runs[:6] if run.cell == ledger.runs[at].cell or not whole
                 for problem in facts._compare_spec(run, spec, first)]  # fmt: skip
        return pairs if whole else [problem for problem in pairs if problem.line == at + 1]

    assert given({}) == []
    before = judged.get(Ledger).runs[3].record.spec["config"]["matrix_lr"]
    meaning = "it was given something else than the study says"
    assert given({"matrix_lr": 9.5}) == [told(judged, 4, "/spec/config/matrix_lr", "9.5", str(before), meaning)]
    # what the study leaves open is that of the first record that says it
    first = judged.get(Ledger).runs[0].record.id
    problems = given({"weight_decay": 0.75}, whole=False)
    decay = judged.get(Ledger).runs[0].record.spec["config"]["weight_decay"]
    assert told(judged, 4, "/spec/config/weight_decay", "0.75", f"{decay!r}, as in {first}", meaning) in problems
    assert not [problem for problem in problems if problem.pointer == "/spec/config/matrix_lr"]


def test_a_run_that_nobody_declared_is_left_to_the_check_that_reports_it(judged):
    for change in ({"config": "d9"}, {"host": "h9"}):
        ledger = change_runs(judged, lambda run, change=change: run.update(change), at=0)
        altered = alter(judged, ledger, without=(Specifications,))
        assert list(facts.check_input_of_record(altered)) == []
        assert list(facts.check_facts_of_record(altered)) == []
    assert altered.notes == []


def test_where_another_runner_is_installed_its_defaults_are_compared_between_records(judged, monkeypatch):
    from stages.runners.builtin import BuiltinRunner

    monkeypatch.setattr(BuiltinRunner, "is_installed", lambda self, digest: False)
    altered = alter(judged, without=(Specifications,))
    assert list(facts.check_input_of_record(altered)) == []
    assert altered.notes == [
        "the runner installed here is not the frozen one, so its defaults were compared between records only; "
        "install this commit to compare them with the runner's own"
    ]
    ledger = change_runs(judged, lambda run: run["spec"]["config"].update(weight_decay=0.75), at=7)
    altered = alter(judged, ledger, without=(Specifications,))
    (problem,) = facts.check_input_of_record(altered)
    first = judged.get(Ledger).runs[0].record
    assert problem == told(
        judged, 8, "/spec/config/weight_decay", "0.75",
        f"{first.spec['config']['weight_decay']!r}, as in {first.id}",
        "it was given something else than the study says",
    )  # fmt: skip


def test_what_a_runner_notes_of_the_facts_is_noted(judged, monkeypatch):
    class Check:
        def mismatches(self, *_: Any) -> list[Any]:
            return []

        def make_fingerprint(self, _: Any) -> tuple[object, ...]:
            return ()

        def notes(self) -> list[str]:
            return ["one", "two"]

    runner = type("Runner", (), {"make_facts_check": lambda *_: Check()})()
    monkeypatch.setattr(facts, "runner_of", lambda _: runner)
    assert outcome(judged, judged.get(Ledger)) == ([], ["one", "two"])
