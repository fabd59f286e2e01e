"""What a verification comes to: which results stand in the way of the verdict."""

from __future__ import annotations

import pytest

from stages.verify import SEQUENCE
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
