"""What each record says of rule, runner, corpus and machine: each other value is told with its place and both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stages.domain.files import tree_digest
from stages.domain.rules import FixedEnvironment
from stages.domain.study import Study
from stages.runners import candidates
from stages.verify import records
from stages.verify.check import Case, Problem, Skip
from stages.verify.ledger import DecisionLine, Ledger
from stages.verify.locks import Locks
from stages.verify.pending import EvidenceRules
from tests.verify.cases import alter, change_lock, change_runs

RUNS = "ledger/runs.jsonl"


def with_locks(case: Case, known: Locks, *values: object) -> Case:
    """The case with other locks, which judge its evidence too."""
    rules = replace(case.get(EvidenceRules), locks=known)
    return alter(case, known, rules, *values)


def without(case: Case, gate: str) -> Locks:
    return Locks({name: lock for name, lock in case.get(Locks).by_gate.items() if name != gate})


def test_the_untouched_records_have_no_problem(judged):
    for check in (
        records.check_rule_of_record,
        records.check_one_runner,
        records.check_one_corpus,
        records.check_one_environment,
    ):
        case = alter(judged)
        assert (list(check(case)), case.notes) == ([], []), check


# V09


def test_evidence_without_a_lock_is_told_once_a_rung_and_for_the_decision(judged):
    lock = judged.get(Locks).by_gate["gate2"].digest
    assert list(records.check_rule_of_record(with_locks(judged, without(judged, "gate2")))) == [
        Problem(
            RUNS,
            lock,
            "a lock that exists",
            "rung2/d1-c000/cpu-bf16/2000: evidence without a rule",
            line=7,
            pointer="/lock",
        ),
        Problem(
            "ledger/decisions.jsonl",
            lock,
            "a lock that exists",
            "gate2 decided by another rule than the frozen one",
            line=2,
            pointer="/lock",
        ),
    ]


def test_a_record_under_another_lock_and_another_budget_says_which(judged):
    expected = judged.get(Locks).by_gate["gate1"].digest
    ledger = change_runs(judged, lambda run: run.update(lock="0" * 64), at=1)
    run = "rung1/d1-c000/cpu-fp32/1000"
    assert list(records.check_rule_of_record(alter(judged, ledger))) == [
        Problem(
            RUNS,
            "0" * 64,
            expected,
            f"{run}: it was made under another rule than locks/gate1.yaml",
            line=2,
            pointer="/lock",
        )
    ]
    for budget, reported in (({"clock": "wall", "seconds": 2.0}, "2 s, wall"), ({"seconds": 2.5}, "2.5 s, rated")):
        ledger = change_runs(judged, lambda run, budget=budget: run["budget"].update(budget), at=1)
        meaning = f"{run}: it had another budget than its rivals"
        assert list(records.check_rule_of_record(alter(judged, ledger))) == [
            Problem(RUNS, reported, "2 s, rated", meaning, line=2, pointer="/budget")
        ]


def test_a_decision_that_names_another_lock_says_both(judged):
    ledger = judged.get(Ledger)
    line = ledger.decisions["gate3"]
    decisions = {**ledger.decisions, "gate3": DecisionLine(line.line, {**line.value, "lock": None}, line.data)}
    assert list(records.check_rule_of_record(alter(judged, Ledger(ledger.runs, decisions)))) == [
        Problem(
            "ledger/decisions.jsonl",
            "None",
            judged.get(Locks).by_gate["gate3"].digest,
            "gate3 decided by another rule than the frozen one",
            line=3,
            pointer="/lock",
        )
    ]


# V10


def test_a_lock_with_another_runner_and_a_record_of_another_are_told(judged):
    here = tree_digest(judged.root / "trainer")
    known = change_lock(judged, "gate4", runner="a" * 64)
    problems = list(records.check_one_runner(with_locks(judged, known)))
    runs = [run for run in judged.get(Ledger).runs if run.record.rung == "rung4"]
    assert problems == [
        Problem(
            "locks/gate4.yaml",
            "a" * 64,
            f"{here}, the digest of trainer/ at this commit",
            "the code here is not the code that was frozen",
            pointer="/frozen/runner",
        ),
        *(
            Problem(RUNS, here, "a" * 64, f"{run.record.id}: another runner made it", line=run.line, pointer="/runner")
            for run in runs
        ),
    ]


def test_records_of_a_rung_without_a_lock_are_compared_with_none(judged):
    ledger = change_runs(judged, lambda run: run.update(runner="a" * 64, corpus="b" * 64), at=6)
    case = with_locks(judged, without(judged, "gate2"), ledger)
    assert list(records.check_one_runner(case)) == []
    assert list(records.check_one_corpus(case)) == []
    assert list(records.check_one_environment(case)) == []
    assert [problem.line for problem in records.check_one_runner(alter(judged, ledger))] == [7]


def test_without_a_ledger_the_locks_alone_are_compared(judged):
    known = change_lock(judged, "gate4", runner="a" * 64, corpus="b" * 64)
    case = alter(judged, known, without=(Ledger,))
    assert [problem.file for problem in records.check_one_runner(case)] == ["locks/gate4.yaml"]
    assert [problem.file for problem in records.check_one_corpus(case)] == ["locks/gate4.yaml"]


def candidate_settings() -> dict[str, Any]:
    return {
        "kind": "command",
        "command": ["python", "train.py"],
        "score": {"name": "val_loss", "line": "val_loss: {score}"},
        "candidate": {"file": "train.py"},
    }


def test_candidates_that_git_no_longer_holds_are_told_by_configuration(judged, monkeypatch):
    asked: list[Any] = []

    def find(git: Any, settings: Any, knobs: Any) -> tuple[str, str] | None:
        asked.append((git, settings.candidate.path, knobs))
        return ("no such file", "the frozen one") if len(asked) == 2 else None

    monkeypatch.setattr(candidates, "find_candidate_mismatch", find)
    frozen = judged.get(Locks).by_gate["gate1"].frozen
    monkeypatch.setattr(records, "parse", lambda *_: type("S", (), {"candidate": type("C", (), {"path": "train.py"})}))
    changed = frozen.model_copy(update={"settings": candidate_settings()})
    assert list(records._compare_candidates(judged, "gate1", changed)) == [
        Problem(
            "locks/gate1.yaml",
            "no such file",
            "the frozen one",
            "nobody can see what was trained; fetch the branch that holds it",
            pointer="/frozen/configs/d2-c001",
        )
    ]
    assert asked == [(judged.git, "train.py", knobs) for knobs in (frozen.configs or {}).values()]
    alone = alter(judged, git=None)
    assert list(records._compare_candidates(alone, "gate1", changed)) == []
    assert alone.notes == ["without git nobody can see which files the configurations are"]
    assert list(records._compare_candidates(judged, "gate2", changed.model_copy(update={"configs": None}))) == []


# V11


def test_a_lock_with_another_corpus_names_the_first_and_its_records(judged):
    known = change_lock(judged, "gate2", corpus="b" * 64)
    first = judged.get(Locks).by_gate["gate1"].frozen.corpus
    runs = [run for run in judged.get(Ledger).runs if run.record.rung == "rung2"]
    meaning = "it was trained or scored on another text"
    assert list(records.check_one_corpus(with_locks(judged, known))) == [
        Problem(
            "locks/gate2.yaml",
            "b" * 64,
            f"{first}, that of gate1",
            "two gates look at different texts",
            pointer="/frozen/corpus",
        ),
        *(
            Problem(RUNS, first, "b" * 64, f"{run.record.id}: {meaning}", line=run.line, pointer="/corpus")
            for run in runs
        ),
    ]


def test_another_text_in_params_yaml_is_told_with_the_commit_that_froze_the_first(judged):
    study = judged.get(Study)
    data = study.data.model_copy(update={"vocab_size": 999, "min_split_tokens": 77})
    commit = judged.git.ask("rev-list", "--max-parents=0", "HEAD").strip()
    case = alter(judged, study.model_copy(update={"data": data}), files={"params.yaml": b"another text"})
    assert list(records.check_one_corpus(case)) == [
        Problem(
            "params.yaml",
            "999",
            f"512, as in commit {commit[:12]}",
            "gate 1 was frozen on the corpus of that time, and params.yaml says that it is another text",
            pointer="/data/vocab_size",
        )
    ]
    with pytest.raises(Skip, match="nothing says what came first"):
        list(records.check_one_corpus(alter(case, git=None)))
    assert list(records.check_one_corpus(alter(judged, without=(Study,)))) == []


# V12


def reporting(case: Case, *keys: str, fixed: bool = False) -> Locks:
    """The locks where the host blocks of rung 1 ask for facts about the machine, one block unlike the other."""
    frozen = case.get(Locks).by_gate["gate1"].frozen
    hosts = {name: host.model_copy(update={"report": list(keys)}) for name, host in frozen.hosts.items()}
    rules = {**frozen.rules, "R9": FixedEnvironment(kind="fixed_environment")} if fixed else frozen.rules
    return change_lock(case, "gate1", hosts=hosts, rules=rules)


def environment(case: Case, *values: dict[str, str] | None) -> Ledger:
    """The runs of rung 1 with these environments in their order."""
    ledger = case.get(Ledger)
    for at, value in enumerate(values):
        ledger = change_runs(alter(case, ledger), lambda run, value=value: run.update(environment=value), at=at)
    return ledger


def test_what_a_record_reports_of_its_machine_is_what_its_block_asks_for(judged):
    here, meaning = {"torch": "2", "os": "x"}, "the block's machine cannot be compared"
    known = reporting(judged, "torch", "os")
    ledger = environment(judged, here, here, None, {"torch": "2"}, here, here)
    assert list(records.check_one_environment(with_locks(judged, known, ledger))) == [
        Problem(
            RUNS,
            "None",
            "['os', 'torch']",
            f"rung1/d2-c001/cpu-bf16/1000: {meaning}",
            line=3,
            pointer="/environment",
        ),
        Problem(
            RUNS,
            "{'torch': '2'}",
            "['os', 'torch']",
            f"rung1/d2-c001/cpu-fp32/1000: {meaning}",
            line=4,
            pointer="/environment",
        ),
    ]
    ledger = environment(judged, here)
    assert list(records.check_one_environment(alter(judged, ledger))) == [
        Problem(
            RUNS, f"{dict(sorted(here.items()))}", "None", f"rung1/d1-c000/cpu-bf16/1000: {meaning}", line=1,
            pointer="/environment",
        )
    ]  # fmt: skip


def test_a_run_that_was_not_executed_reports_nothing_of_a_machine(judged):
    frozen = judged.get(Locks).by_gate["gate5"].frozen
    hosts = {name: host.model_copy(update={"report": ["torch"]}) for name, host in frozen.hosts.items()}
    ledger = change_runs(
        judged, lambda run: run.update(environment={"torch": "2"} if run["spec"] else run["environment"])
    )
    case = with_locks(judged, change_lock(judged, "gate5", hosts=hosts), ledger)
    assert [problem.line for problem in records.check_one_environment(case) if problem.line >= 31] == []
    stopped = change_runs(judged, lambda run: run.update(environment={"torch": "2"}), at=30)
    case = with_locks(judged, change_lock(judged, "gate5", hosts=hosts), stopped)
    reported = [(problem.line, problem.found, problem.expected) for problem in records.check_one_environment(case)]
    assert reported[0] == (31, "{'torch': '2'}", "['torch']")


@pytest.mark.parametrize("fixed", [True, False])
def test_a_machine_that_changes_inside_its_block_fails_where_a_rule_forbids_it_and_is_noted_where_none_does(
    fixed, judged
):
    one, two = {"torch": "1"}, {"torch": "2"}
    # cpu-bf16 and cpu-fp32 take turns: each block is compared with its own first run
    ledger = environment(judged, one, two, one, two, two, two)
    case = with_locks(judged, reporting(judged, "torch", fixed=fixed), ledger)
    problems = list(records.check_one_environment(case))
    run = "rung1/d3-c002/cpu-bf16/1000"
    if fixed:
        meaning = f"{run}: the machine changed inside its block"
        assert problems == [Problem(RUNS, "{'torch': '2'}", "{'torch': '1'}", meaning, line=5, pointer="/environment")]
        assert case.notes == []
    else:
        assert problems == []
        assert case.notes == [f"{run} ran in another environment than the first of its block: {two}"]


def test_a_record_on_a_host_that_its_lock_does_not_have_reports_nothing(judged):
    frozen = judged.get(Locks).by_gate["gate1"].frozen
    case = with_locks(judged, change_lock(judged, "gate1", hosts={"cpu-fp32": frozen.hosts["cpu-fp32"]}))
    assert list(records.check_one_environment(case)) == []
