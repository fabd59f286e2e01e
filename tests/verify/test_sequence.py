"""The sequence itself: its order cannot be broken, its list is documented, a skipped check is no pass."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stages.domain.errors import Invalid
from stages.domain.study import Study
from stages.repo.tree import WorkTree
from stages.verify import sequence
from stages.verify.check import Case, CheckFailed, Options, OutOfOrder, Problem, Skip, in_order, perform, told
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks
from stages.verify.result import Report, summary_line
from stages.verify.sequence import SEQUENCE, audit
from tests.support.repo import PROJECT
from tests.verify.forger import Forger


def case(root: Path) -> Case:
    return Case(root, WorkTree(root), None, None, Options("git"))


def test_a_check_that_stands_before_what_it_needs_is_refused():
    late = [check for check in SEQUENCE if check.id in ("V03", "V04")]
    with pytest.raises(OutOfOrder, match="V01 needs Locks, which no earlier check gives"):
        in_order((replace(late[1], id="V01"), replace(late[0], id="V02", needs=())))


def test_ids_climb_without_gaps():
    with pytest.raises(OutOfOrder, match="V03 stands at place 1"):
        in_order((SEQUENCE[2],))


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


def test_every_check_has_an_exception_class_of_its_own_that_names_it():
    errors = [check.error for check in SEQUENCE]
    assert len(set(errors)) == len(SEQUENCE)
    for check in SEQUENCE:
        assert issubclass(check.error, CheckFailed)
        assert (check.error.__doc__ or "").startswith(f"{check.id}: ")
        assert (check.look.__doc__ or "").startswith(f"{check.id}: ")


def test_every_check_function_stands_once_in_the_sequence():
    functions = {check.look for check in SEQUENCE}
    assert len(functions) == len(SEQUENCE)
    modules = {inspect.getmodule(function) for function in functions}
    found = {
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.isfunction)
        if re.match(r"V\d\d: ", function.__doc__ or "")
    }
    assert found == functions


def test_the_docstring_and_the_documentation_list_the_sequence():
    listed = re.findall(r"^    (V\d\d)  ([a-z-]+)", sequence.__doc__ or "", re.M)
    assert listed == [(check.id, check.name) for check in SEQUENCE]
    text = (PROJECT / "docs" / "verification.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| (V\d\d) \| `([a-z-]+)` \| (git|artifacts|replay) \|", text, re.M)
    assert documented == [(check.id, check.name, check.depth) for check in SEQUENCE]


def test_what_builds_on_a_failed_check_is_skipped_and_says_so(clone: Forger):
    clone.write("params.yaml", b"study: 1\n")
    results = {result.check.id: result for result in clone.audit()}
    assert results["V02"].status == "failed"
    assert results["V05"].status == "skipped"
    assert results["V05"].reason == "V02 study failed, and this check builds on it"


def test_a_problem_found_before_a_check_gives_up_is_a_failure_and_not_skipped(tmp_path):
    def half(_: Case) -> Iterator[Problem]:
        yield Problem("x", "a", "b", "c")
        raise Skip("the rest is not here", "dvc pull")

    with pytest.raises(CheckFailed):
        perform(replace(SEQUENCE[0], look=half), case(tmp_path))


def test_an_empty_folder_passes_nothing_that_speaks_of_evidence(tmp_path):
    results = {result.check.id: result.status for result in audit(case(tmp_path))}
    assert results.pop("V01") == "passed"
    assert results.pop("V02") == "failed"
    assert set(results.values()) == {"skipped"}


def test_a_required_check_that_is_skipped_stands_in_the_way(clone: Forger):
    results = tuple(clone.audit())
    assert Report("x", None, "git", results).exit_status == 0
    refused = Report("x", None, "git", results, frozenset({"V24"}))
    assert (refused.exit_status, refused.verdict, refused.first_failure()) == (1, "failed", "V24 lock-signatures")


def test_what_a_parser_refuses_becomes_a_problem_with_file_line_and_place():
    error = Invalid.at("ledger/runs.jsonl, line 7", "found 'x', expected an int", "facts.steps")
    assert str(error) == "ledger/runs.jsonl, line 7: facts.steps: found 'x', expected an int"
    meaning = "nothing that builds on it can be believed"
    assert list(told(error)) == [Problem("ledger/runs.jsonl", "'x'", "an int", meaning, 7, "/facts/steps")]


def test_a_file_that_the_system_will_not_read_becomes_a_problem_and_no_traceback(tmp_path):
    def unreadable(_: Case) -> Iterator[Problem]:
        yield Problem("x", "a", "b", "c")
        (tmp_path / "none").read_bytes()

    with pytest.raises(CheckFailed) as caught:
        perform(replace(SEQUENCE[0], look=unreadable), case(tmp_path))
    assert [one.place for one in caught.value.problems] == ["x", "none"]


def test_a_library_that_is_missing_skips_the_check_and_no_decision_counts_as_recomputed(clone: Forger, monkeypatch):
    def without(_: Case) -> None:
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    changed = [replace(one, look=without) if one.name == "decisions" else one for one in SEQUENCE]
    monkeypatch.setattr(sequence, "SEQUENCE", tuple(changed))
    results = tuple(clone.audit())
    decided = next(one for one in results if one.check.name == "decisions")
    assert (decided.status, decided.reason) == ("skipped", "scipy is not installed")
    report = Report("x", None, "git", results)
    assert (report.verdict, report.exit_status) == ("undecided", 0)
    assert summary_line(report).startswith("x: no decision recomputed (")


def test_a_mistake_of_the_program_is_not_passed_off_as_one_of_the_study(tmp_path):
    def broken(_: Case) -> list[Problem]:
        return [Problem("", "", "", "", line=int("x"))]

    with pytest.raises(ValueError, match="invalid literal"):
        perform(replace(SEQUENCE[0], look=broken), case(tmp_path))


def test_a_study_is_learnt_even_from_an_exploratory_one_so_that_more_can_be_said(clone: Forger):
    clone.params(lambda value: value["study"].update(mode="exploratory"))
    one = clone.case(None)
    results = {result.check.id: result.status for result in audit(one)}
    assert results["V02"] == "failed"
    assert one.knows(Study)
