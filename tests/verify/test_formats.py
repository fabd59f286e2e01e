"""A report as a comment, as JUnit's XML and on a terminal: whole texts, and the limits of what each shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stages import terminal
from stages.verify import CommitStep, formats
from stages.verify.changes import ChangedDecision
from stages.verify.check import Check, Problem
from stages.verify.result import CheckResult, Report


def shows(case: Any) -> None:
    """It shows this."""


def problem(number: int) -> Problem:
    return Problem(f"f{number}", "x|y", "y", "it is <b>", line=number, pointer="/p")


ONE, TWO, THREE = (Check(f"V0{n}", name, "git", shows) for n, name in ((1, "one"), (2, "two"), (3, "three")))
PASSED = CheckResult(ONE, "passed", notes=("noted",))
FAILED = CheckResult(TWO, "failed", (problem(1),))
SKIPPED = CheckResult(THREE, "skipped", reason="no key", enable="make one", applies=True)
REPORT = Report("the workspace", None, "git", (PASSED, FAILED, SKIPPED), frozenset())
GOOD = Report("commit abc", "a" * 40, "git", (PASSED, SKIPPED), frozenset())


def test_a_comment_tells_the_verdict_what_failed_and_what_was_not_checked():
    row = r"| V02 | `f1, line 1, /p` | `x\x7cy` | `y` | `it is <b>` |"
    assert formats.markdown(REPORT, [], []) == "\n".join(
        [
            f"### {formats._VERDICT_SIGN['failed']} {REPORT.summary()}",
            "",
            "No decision changed.",
            "",
            "| check | where | found | expected | means |",
            "|---|---|---|---|---|",
            row,
            "",
            "Not checked, and not counted as passed: V03.",
            "",
        ]
    )
    whole = Report("x", None, "git", (PASSED,), frozenset())
    assert formats.markdown(whole, [], []) == (
        f"### {formats._VERDICT_SIGN[whole.verdict]} {whole.summary()}\n\nNo decision changed.\n"
    )


def test_a_comment_lists_so_many_problems_and_counts_the_rest():
    def lines(count: int) -> list[str]:
        result = replace(FAILED, problems=tuple(map(problem, range(count))))
        return formats.markdown(Report("x", None, "git", (result,), frozenset()), [], []).split("\n")

    most = formats.MOST_LISTED
    assert len([line for line in lines(most) if line.startswith("| V02")]) == most
    assert "more problems" not in "\n".join(lines(most))
    longer = lines(most + 2)
    assert len([line for line in longer if line.startswith("| V02")]) == most
    assert longer[-3:] == ["", "and 2 more problems.", ""]


def test_a_comment_tells_decisions_that_changed_and_commits_that_failed():
    changed = [ChangedDecision("gate1", None, None)]
    steps = [CommitStep("a" * 40, "A, today", ("x",), REPORT), CommitStep("b" * 40, "A, today", (), GOOD)]
    lines = formats.markdown(GOOD, changed, steps).split("\n")
    assert lines[2:8] == [
        "1 of 2 commits failed: aaaaaaaaaaaa. The last of them is shown here.",
        "",
        "| gate | before | now |",
        "|---|---|---|",
        "| `gate1` | `not decided` | `not decided` |",
        "",
    ]
    many = [replace(steps[0], commit=f"{n:040x}") for n in range(formats.MOST_LISTED + 1)]
    (line,) = (line for line in formats.markdown(GOOD, [], many).split("\n") if "commits failed" in line)
    assert line.count(",") == formats.MOST_LISTED - 1
    assert line.startswith(f"{formats.MOST_LISTED + 1} of {formats.MOST_LISTED + 1} commits failed: ")


def test_junit_has_a_case_for_each_check():
    assert formats.junit([REPORT]).decode() == (
        "<?xml version='1.0' encoding='utf-8'?>\n"
        '<testsuite name="promotion verify the workspace" errors="0" tests="3" failures="1" skipped="1">\n'
        '  <testcase classname="promotion.verify" name="V01 one">\n'
        "    <system-out>noted</system-out>\n"
        "  </testcase>\n"
        '  <testcase classname="promotion.verify" name="V02 two">\n'
        '    <failure message="f1, line 1, /p: found x|y, expected y; it is &lt;b&gt;">'
        "f1, line 1, /p: found x|y, expected y; it is &lt;b&gt;</failure>\n"
        "  </testcase>\n"
        '  <testcase classname="promotion.verify" name="V03 three">\n'
        '    <skipped message="no key; make one" />\n'
        "  </testcase>\n"
        "</testsuite>\n"
    )


def test_a_required_check_that_was_skipped_is_a_failure_in_junit():
    text = formats.junit([replace(GOOD, required=frozenset({"V03"}))]).decode()
    assert 'tests="2" failures="1" skipped="0"' in text
    assert '<failure message="no key; to enable: make one">no key; to enable: make one</failure>' in text
    assert formats.junit([GOOD, GOOD]).count(b"<testsuite name=") == 2
    assert b'<testsuites name="promotion verify">' in formats.junit([GOOD, GOOD])
    assert b"testsuites" not in formats.junit([GOOD])


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")

    def show(call: Any, *arguments: Any) -> list[str]:
        call(*arguments)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return show


def test_a_check_shows_so_many_notes_and_problems_and_counts_the_rest(printed):
    most = formats.MOST_SHOWN
    notes = tuple(f"n{n}" for n in range(most + 2))
    text = formats._check_text(replace(PASSED, notes=notes)).plain.split("\n")
    assert text == ["It shows this", *(f"  note: n{n}" for n in range(most)),
                    "  and 2 more notes (--json has them)"]  # fmt: skip
    text = formats._check_text(replace(PASSED, notes=notes[:most])).plain.split("\n")
    assert text == ["It shows this", *(f"  note: n{n}" for n in range(most))]
    assert formats._check_text(SKIPPED).plain == "no key; to enable: make one"

    def problems(count: int, more: int) -> list[str]:
        result = replace(FAILED, problems=tuple(map(problem, range(count))), more=more)
        return printed(formats._print_problems, result, terminal.console())

    first = ["", "V02 two: f0, line 0, /p", "  found     x|y", "  expected  y", "  means     it is <b>"]
    assert problems(1, 0) == first
    assert len(problems(most, 0)) == 5 * most
    assert problems(most + 1, 0)[5 * most :] == ["  and 1 more problems of V02 (--json has them)"]
    assert problems(most + 1, 3)[5 * most :] == ["  and 4 more problems of V02 (--json has them)"]
    assert problems(most, 1)[5 * most :] == ["  and 1 more problems of V02 (--json has them)"]


def test_a_report_tells_every_check_then_each_problem_then_the_verdict_and_what_was_not_checked(printed):
    lines = printed(formats.print_report, REPORT)
    assert lines[0] == "promotion verify: the workspace"
    assert [line.split() for line in lines[1:6]] == [
        ["check", "status", "what", "it", "shows"],
        ["V01", "one", "passed", "It", "shows", "this"],
        ["note:", "noted"],
        ["V02", "two", "failed", "It", "shows", "this"],
        ["V03", "three", "skipped", "no", "key;", "to", "enable:", "make", "one"],
    ]
    assert lines[6:] == ["", "V02 two: f1, line 1, /p", "  found     x|y", "  expected  y", "  means     it is <b>",
                         REPORT.summary(), "not checked, and not counted as passed: V03"]  # fmt: skip
    whole = Report("x", None, "git", (PASSED,), frozenset())
    assert printed(formats.print_report, whole)[-1] == whole.summary()


def test_a_history_has_a_line_for_each_commit(printed):
    steps = [CommitStep("a" * 40, "A, today", ("one", "two"), REPORT), CommitStep("b" * 40, "B, now", (), GOOD)]
    lines = printed(formats.print_history, steps)
    assert lines[0] == "what changed rules, evidence or decisions"
    assert [line.split() for line in lines[1:]] == [
        ["commit", "who", "what", "changed", "verdict"],
        ["aaaaaaaaaaaa", "A,", "today", "one", "failed:", "V02", "two"],
        ["two"],
        ["bbbbbbbbbbbb", "B,", "now", *f"{GOOD.verdict_text}, 1 skipped".split()],
    ]


def test_changed_decisions_are_a_table_or_none(printed):
    assert printed(formats.print_changed_decisions, [], "v1") == ["no decision changed since v1"]
    lines = printed(formats.print_changed_decisions, [ChangedDecision("gate1", None, None)], "v1")
    assert lines[0] == "decisions that changed since v1"
    assert [line.split() for line in lines[1:]] == [
        ["gate", "before", "now"],
        ["gate1", "not", "decided", "not", "decided"],
    ]


def test_a_table_begins_at_the_edge_and_keeps_its_order(printed):
    lines = printed(formats.print_report, REPORT)
    assert [line[:3] for line in lines[1:6]] == ["che", "V01", "   ", "V02", "V03"]
    assert lines[2].startswith("V01    one    passed   It shows this"), lines[2]


def test_junit_tells_every_problem_and_names_the_first_in_its_message():
    two = replace(FAILED, problems=(problem(1), problem(2)), notes=("a\x1b", "b"))
    text = formats.junit([replace(REPORT, target="x\x1by", results=(two,))]).decode()
    assert f'message="{str(problem(1)).replace("<", "&lt;").replace(">", "&gt;")}"' in text
    words = "\n".join(map(str, (problem(1), problem(2)))).replace("<", "&lt;").replace(">", "&gt;")
    assert f">{words}</failure>" in text
    assert "<system-out>a\\x1b\nb</system-out>" in text
    assert 'name="promotion verify x\\x1by"' in text


def test_a_comment_cuts_no_commit_that_failed_before_its_limit():
    steps = [CommitStep(f"{n:040x}"[::-1], "A", (), REPORT) for n in range(formats.MOST_LISTED)]
    (line,) = (line for line in formats.markdown(GOOD, [], steps).split("\n") if "commits failed" in line)
    assert line == (
        f"{len(steps)} of {len(steps)} commits failed: {', '.join(step.commit[:12] for step in steps)}. "
        "The last of them is shown here."
    )
    assert "commits failed" not in formats.markdown(GOOD, [], [replace(steps[0], report=GOOD)])
