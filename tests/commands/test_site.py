"""`promotion site` is the generator's command, in this interpreter."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from stages.cli import build_parser
from stages.commands import site
from stages.domain.errors import Refused


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ([], ["report"]),
        (["--publish", "out"], ["report", "--publish=out"]),
        (["--single-file", "a.html"], ["report", "--single-file=a.html"]),
        (["--compare", "HEAD~1"], ["report.compare", "--", "HEAD~1"]),
        (["--compare", "a", "b", "--html", "c.html"], ["report.compare", "--html", "c.html", "--", "a", "b"]),
    ],
)
def test_the_generator_is_asked_in_its_own_words(words: list[str], command: list[str]) -> None:
    assert site.command(build_parser("site").parse_args(["site", *words])) == command


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--html", "a.html"], "--html goes with --compare; the site itself is always written to site/"),
        (["--html", "a.html", "--publish", "b"], "--html goes with --compare; the site itself is always written to site/"),
        (["--compare", "a", "b", "c"], "--compare: found 3 commits, expected one or two"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(Refused) as refusal:
        site.command(build_parser("site").parse_args(["site", *words]))
    assert str(refusal.value) == told


@pytest.mark.parametrize("status", [0, 2])
def test_its_exit_status_is_passed_on(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    asked: list[Any] = []

    def run(command: list[str], check: bool) -> Any:
        asked.append((command, check))
        return SimpleNamespace(returncode=status)

    monkeypatch.setattr(subprocess, "run", run)
    assert site.run(build_parser("site").parse_args(["site"])) == status
    assert asked == [([sys.executable, "-m", "report"], False)]
