"""The sequence itself: its order cannot be broken, its list is documented, a skipped check is no pass."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.domain.errors import Invalid, Refused
from stages.domain.study import Study
from stages.repo.tree import WorkTree
from stages.verify import SEQUENCE, Report, required_checks, sequence, verify, verify_history
from stages.verify.check import (
    Case,
    Check,
    CheckFailed,
    Options,
    OutOfOrder,
    Problem,
    Skip,
    check_order,
    perform,
    problems_of,
)
from stages.verify.documentation import PAGE, with_checks_table
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks
from stages.verify.result import CheckResult
from stages.verify.sequence import run_checks
from tests.support.repo import PROJECT
from tests.verify.forger import Forger


def case(root: Path) -> Case:
    return Case(root, WorkTree(root), None, None, Options("git"))


def test_a_check_that_stands_before_what_it_needs_is_refused():
    late = [check for check in SEQUENCE if check.id in ("V03", "V04")]
    with pytest.raises(OutOfOrder, match="V01 needs Locks, which no earlier check gives"):
        check_order((replace(late[1], id="V01"), replace(late[0], id="V02", needs=())))


def test_ids_climb_without_gaps():
    with pytest.raises(OutOfOrder, match="V03 stands at place 1"):
        check_order((SEQUENCE[2],))


@pytest.mark.parametrize("check", [one for one in SEQUENCE if one.needs], ids=lambda one: one.id)
def test_a_check_made_too_early_is_out_of_order(check, tmp_path):
    with pytest.raises(OutOfOrder):
        perform(check, case(tmp_path))


def test_a_fact_is_learnt_once(tmp_path):
    one = case(tmp_path)
    one.learn(Locks({}))
    with pytest.raises(OutOfOrder, match="learnt already"):
        one.learn(Locks({}))
    with pytest.raises(OutOfOrder, match="no check has learnt Ledger yet"):
        one.get(Ledger)


def test_a_failed_check_is_named_by_its_exception(tmp_path):
    with pytest.raises(CheckFailed) as caught:
        perform(SEQUENCE[1], _with_plain_files(tmp_path))
    assert caught.value.check is SEQUENCE[1]
    assert caught.value.problems == [Problem("params.yaml", "no file", "the study", "there is nothing to verify")]


def _with_plain_files(root: Path) -> Case:
    one = case(root)
    perform(SEQUENCE[0], one)
    return one


def test_every_check_function_is_named_after_its_check_and_stands_once_in_the_sequence():
    for check in SEQUENCE:
        assert check.function.__name__ == "check_" + check.name.replace("-", "_")
        assert check.title
    functions = {check.function for check in SEQUENCE}
    modules = {inspect.getmodule(function) for function in functions}
    defined = {
        function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("check_") and list(inspect.signature(function).parameters) == ["case"]
    }
    assert defined == functions


def test_the_documentation_lists_the_sequence():
    page = (PROJECT / PAGE).read_text(encoding="utf-8")
    assert page == with_checks_table(page), "python -m stages.verify.documentation writes it anew"


def test_other_packages_use_the_front_door_alone():
    """What stands in a module of stages/verify is its own affair."""
    inside = [PROJECT / "stages" / "verify", PROJECT / "tests" / "verify"]
    paths = [path for root in ("stages", "report", "bench", "tests") for path in (PROJECT / root).rglob("*.py")]
    private = re.compile(r"^\s*(?:from|import) stages\.verify\.", re.M)
    others = [path for path in paths if not any(path.is_relative_to(folder) for folder in inside)]
    assert [path for path in others if private.search(path.read_text(encoding="utf-8"))] == []


def test_a_study_is_verified_by_one_function(clone: Forger):
    head = clone.git("rev-parse", "HEAD")
    report = verify(clone.root, "HEAD", Options("git"))
    assert (report.verdict, report.exit_status, report.commit) == ("verified", 0, head)
    assert [result.check for result in report.results] == list(SEQUENCE)
    assert verify(clone.root, options=Options("git")).target == "the workspace"
    required = verify(clone.root, "HEAD", Options("git", required=required_checks("lock-signatures,V25")))
    assert (required.verdict, required.exit_status) == ("failed", 1)
    steps = verify_history(clone.root, Options("git"))
    assert [step.commit for step in steps][-1] == head
    assert steps[-1].report.results == report.results


def test_verification_imports_neither_a_framework_nor_statistics_nor_tables():
    code = (
        "import sys, stages.verify; print([name for name in ('torch', 'scipy', 'rich', 'dvc') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


def test_a_study_that_is_too_large_to_run_is_refused_before_its_runs_are_counted_one_by_one(clone: Forger):
    def grow(value: dict[str, Any]) -> None:
        knobs = next(iter(value["configs"].values()))
        value["configs"] |= {f"c{number}": knobs for number in range(9_000)}
        value["rungs"]["rung1"]["seeds"] = list(range(1_000, 1_060))

    clone.params(grow)
    results = {result.check.id: result for result in clone.verify()}
    assert results["V02"].problems[0].expected == "at most 200000"
    assert results["V08"].status == "skipped"


def test_what_builds_on_a_failed_check_is_skipped_and_says_so(clone: Forger):
    clone.write("params.yaml", b"study: 1\n")
    results = {result.check.id: result for result in clone.verify()}
    assert results["V02"].status == "failed"
    assert results["V05"].status == "skipped"
    assert results["V05"].reason == "V02 study failed, and this check builds on it"


def test_a_problem_found_before_a_check_gives_up_is_a_failure_and_not_skipped(tmp_path):
    def half(_: Case) -> Iterator[Problem]:
        yield Problem("x", "a", "b", "c")
        raise Skip("the rest is not here", "dvc pull")

    with pytest.raises(CheckFailed):
        perform(replace(SEQUENCE[0], function=half), case(tmp_path))


def test_an_empty_folder_passes_nothing_that_speaks_of_evidence(tmp_path):
    results = {result.check.id: result.status for result in run_checks(case(tmp_path))}
    assert results.pop("V01") == "passed"
    assert results.pop("V02") == "failed"
    assert set(results.values()) == {"skipped"}


def test_a_required_check_that_is_skipped_stands_in_the_way(clone: Forger):
    results = tuple(clone.verify())
    assert Report("x", None, "git", results).exit_status == 0
    refused = Report("x", None, "git", results, frozenset({"V24"}))
    assert (refused.exit_status, refused.verdict, refused.first_failure()) == (1, "failed", "V24 lock-signatures")


def test_what_a_parser_refuses_becomes_a_problem_with_file_line_and_place():
    error = Invalid.at("ledger/runs.jsonl, line 7", "found 'x', expected an int", "facts.steps")
    assert str(error) == "ledger/runs.jsonl, line 7: facts.steps: found 'x', expected an int"
    meaning = "nothing that builds on it can be believed"
    assert list(problems_of(error)) == [Problem("ledger/runs.jsonl", "'x'", "an int", meaning, 7, "/facts/steps")]


def test_a_file_that_the_system_will_not_read_becomes_a_problem_and_no_traceback(tmp_path):
    def unreadable(_: Case) -> Iterator[Problem]:
        yield Problem("x", "a", "b", "c")
        (tmp_path / "none").read_bytes()

    with pytest.raises(CheckFailed) as caught:
        perform(replace(SEQUENCE[0], function=unreadable), case(tmp_path))
    assert [one.place for one in caught.value.problems] == ["x", "none"]


def test_a_library_that_is_missing_skips_the_check_and_no_decision_counts_as_recomputed(clone: Forger, monkeypatch):
    def without(_: Case) -> None:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    changed = [replace(one, function=without) if one.name == "decisions" else one for one in SEQUENCE]
    monkeypatch.setattr(sequence, "SEQUENCE", tuple(changed))
    results = tuple(clone.verify())
    decided = next(one for one in results if one.check.name == "decisions")
    assert (decided.status, decided.reason) == ("skipped", "scipy is not installed")
    report = Report("x", None, "git", results)
    assert (report.verdict, report.exit_status) == ("undecided", 0)
    assert report.summary().startswith("x: no decision recomputed (")


def test_a_mistake_of_the_program_is_not_passed_off_as_one_of_the_study(tmp_path):
    def broken(_: Case) -> list[Problem]:
        return [Problem("", "", "", "", line=int("x"))]

    with pytest.raises(ValueError, match="invalid literal"):
        perform(replace(SEQUENCE[0], function=broken), case(tmp_path))


def test_a_study_is_learnt_even_from_an_exploratory_one_so_that_more_can_be_said(clone: Forger):
    clone.params(lambda value: value["study"].update(mode="exploratory"))
    with clone.case(None) as workspace:
        results = {result.check.id: result.status for result in run_checks(workspace)}
    assert results["V02"] == "failed"
    assert workspace.knows(Study)


def made(check: Check, case_: Case, *before: CheckResult) -> CheckResult:
    return sequence._result(check, case_, {result.check.id: result for result in before})


def check_of(function: Any, depth: Any = "git", needs: tuple[type, ...] = ()) -> Check:
    return Check("V99", "x", depth, function, needs)


def test_a_result_says_what_came_of_its_check(tmp_path):
    def noting(one: Case) -> None:
        one.note("seen")

    def skipping(one: Case) -> None:
        one.note("seen")
        raise Skip("why", "how", applies=False)

    for function, status, fields in (
        (noting, "passed", {"notes": ("seen",)}),
        (skipping, "skipped", {"notes": ("seen",), "reason": "why", "enable": "how", "applies": False}),
    ):
        check = check_of(function)
        assert made(check, case(tmp_path)) == CheckResult(check, status, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "shown", "more"), [(200, 200, 0), (201, 200, 1), (203, 200, 3)])
def test_so_many_problems_of_a_check_are_shown_and_the_rest_is_counted(count, shown, more, tmp_path):
    def failing(one: Case) -> list[Problem]:
        one.note("seen")
        return [Problem(str(number), "a", "b", "c") for number in range(count)]

    check = check_of(failing)
    problems = tuple(Problem(str(number), "a", "b", "c") for number in range(shown))
    assert made(check, case(tmp_path)) == CheckResult(check, "failed", problems, ("seen",), more=more)


@pytest.mark.parametrize(
    ("depth", "asked", "status"),
    [
        ("artifacts", "git", "skipped"),
        ("artifacts", "artifacts", "passed"),
        ("artifacts", "replay", "passed"),
        ("git", "git", "passed"),
        ("replay", "git", "passed"),
    ],
)
def test_a_check_of_artifacts_is_not_made_at_the_depth_git(depth, asked, status, tmp_path):
    check = check_of(lambda one: None, depth)
    deep = replace(case(tmp_path), options=Options(asked))
    expected = CheckResult(check, status)
    if status == "skipped":
        enable = "dvc repro && promotion verify"
        expected = CheckResult(check, status, reason="this is the depth `git`", enable=enable)
    assert made(check, deep) == expected


def test_a_check_that_needs_what_another_did_not_learn_is_skipped_like_it_or_because_of_it(tmp_path):
    check = check_of(lambda one: pytest.fail("it was made"), needs=(Study, Locks))
    giver = next(one for one in SEQUENCE if Study in one.gives)
    skipped = CheckResult(giver, "skipped", (), ("note",), "why", "how", applies=False)
    expected = CheckResult(check, "skipped", reason="why", enable="how", applies=False)
    assert made(check, case(tmp_path), skipped) == expected
    failed = CheckResult(giver, "failed", (Problem("a", "b", "c", "d"),))
    reason = "V02 study failed, and this check builds on it"
    enable = "mend V02, then promotion verify"
    assert made(check, case(tmp_path), failed) == CheckResult(check, "skipped", reason=reason, enable=enable)


def test_checks_are_required_by_id_by_name_or_all_of_them():
    assert required_checks("") == required_checks(" , ") == frozenset()
    assert required_checks("V24, SITE ,v01") == {"V24", "V29", "V01"}
    assert required_checks("all") == {check.id for check in SEQUENCE}
    with pytest.raises(Refused) as refused:
        required_checks("V24,zzz,V99")
    assert str(refused.value) == "--require v99: no such check; they are V01 to V32, or their names"
