"""What a verification comes to: which results stand in the way of the verdict."""

from __future__ import annotations

import pytest

from stages.verify import SEQUENCE, Problem
from stages.verify.result import CheckResult, Report, Status


@pytest.mark.parametrize(
    ("status", "applies", "required", "refused"),
    [
        ("failed", True, False, True),
        ("failed", False, False, True),
        ("passed", True, True, False),
        ("skipped", True, False, False),
        ("skipped", True, True, True),
        ("skipped", False, True, False),  # where there is nothing to check, nothing was left out
    ],
)
def test_a_failure_and_a_required_check_that_was_skipped_are_in_the_way(
    status: Status, applies: bool, required: bool, refused: bool
) -> None:
    check = SEQUENCE[0]
    result = CheckResult(check, status, applies=applies)
    names = frozenset({check.id}) if required else frozenset()
    report = Report("the workspace", None, "git", (result,), names)
    assert report.refused(result) == refused


def result(name: str, status: Status, **fields: object) -> CheckResult:
    return CheckResult(next(check for check in SEQUENCE if check.name == name), status, **fields)  # type: ignore[arg-type]


def report(*results: CheckResult, required: tuple[str, ...] = ()) -> Report:
    return Report("the workspace", None, "git", results, frozenset(required))


DECIDED = result("decisions", "passed")
FAILED = result("digests", "failed")
SKIPPED = result("site", "skipped", reason="x", enable="y")
MISSED = result("decisions", "skipped")


@pytest.mark.parametrize(
    ("results", "required", "verdict", "text", "counts", "failure", "skipped"),
    [
        ([DECIDED], (), "verified", "verified", "1 passed", "", []),
        ([DECIDED, SKIPPED], (), "verified", "verified", "1 passed, 1 skipped", "", ["V29"]),
        (
            [DECIDED, SKIPPED, FAILED],
            (),
            "failed",
            "failed at V18 digests",
            "1 passed, 1 failed, 1 skipped",
            "V18 digests",
            ["V29"],
        ),
        ([FAILED, MISSED], (), "failed", "failed at V18 digests", "1 failed, 1 skipped", "V18 digests", ["V15"]),
        ([SKIPPED, DECIDED], ("V29",), "failed", "failed at V29 site", "1 passed, 1 skipped", "V29 site", ["V29"]),
        ([SKIPPED], (), "undecided", "nothing decided yet", "1 skipped", "", ["V29"]),
        ([MISSED], (), "undecided", "no decision recomputed", "1 skipped", "", ["V15"]),
        (
            [result("decisions", "skipped", applies=False)],
            (),
            "undecided",
            "nothing decided yet",
            "1 skipped",
            "",
            ["V15"],
        ),
        ([result("study", "passed")], (), "undecided", "nothing decided yet", "1 passed", "", []),
    ],
)
def test_a_verdict_follows_from_the_results(results, required, verdict, text, counts, failure, skipped) -> None:
    made = report(*results, required=required)
    assert (made.verdict, made.verdict_text, made.first_failure(), made.skipped()) == (verdict, text, failure, skipped)
    assert made.exit_status == (1 if verdict == "failed" else 0)
    assert made.summary() == f"the workspace: {text} ({counts}; depth git)"


def test_a_report_is_one_json_value() -> None:
    problem = Problem("a", "b", "c", "d", 3, "/e")
    results = [result("digests", "failed", problems=(problem,), notes=("n",), more=2), SKIPPED, DECIDED]
    made = Report("commit 1", "1" * 40, "artifacts", tuple(results), frozenset({"V24", "V08"}))
    value = {"file": "a", "found": "b", "expected": "c", "meaning": "d", "line": 3, "pointer": "/e"}
    checks = {each.check.name: each.check for each in results}

    def told(name: str, status: str, depth: str = "git", **fields: object) -> dict[str, object]:
        check = checks[name]
        empty = {"reason": None, "enable": None, "applies": True, "notes": [], "problems": [], "more_problems": 0}
        head = {"id": check.id, "name": name, "title": check.title, "depth": depth, "status": status}
        return {**head, **empty, **fields}

    assert made.to_json() == {
        "schema": 1,
        "target": "commit 1",
        "commit": "1" * 40,
        "depth": "artifacts",
        "verdict": "failed",
        "counts": {"passed": 1, "failed": 1, "skipped": 1},
        "required": ["V08", "V24"],
        "checks": [
            told("digests", "failed", problems=[value], notes=["n"], more_problems=2),
            told("site", "skipped", "artifacts", reason="x", enable="y"),
            told("decisions", "passed"),
        ],
    }
