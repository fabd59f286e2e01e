"""The pages: one module a kind, each with a function `pages(view)` that yields what the builder writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from report.load import LedgerRun
from report.page import Page
from report.pages import (
    agreement,
    confidence,
    configuration,
    cost,
    effects,
    gate,
    hindsight,
    method,
    overview,
    runs,
    stability,
    verify,
)
from report.views import StudyView

KINDS = (
    *(overview, gate, configuration, runs, agreement, stability),
    *(effects, confidence, hindsight, cost, method, verify),
)


def main_pages(view: StudyView) -> Iterator[Page]:
    """Every page of the site but those of single runs, one at a time."""
    for kind in KINDS:
        yield from kind.pages(view)


def run_pages(view: StudyView, executed: Sequence[LedgerRun]) -> Iterator[Page]:
    """The page of each of these runs, one at a time."""
    return runs.pages_of_runs(view, executed)


def count_pages(view: StudyView) -> int:
    """How many pages there are of both."""
    rungs, configs = len(view.gates), len(view.study.configs)
    return rungs * 2 + configs + len(view.executed) + 10 + bool(view.study.factors)
