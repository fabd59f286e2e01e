"""The pages: one module a kind, each with a function `pages(view)` that yields what the builder writes."""

from __future__ import annotations

from collections.abc import Iterator

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


def all_pages(view: StudyView) -> Iterator[Page]:
    """Every page of the site, one at a time."""
    for kind in KINDS:
        yield from kind.pages(view)


def count_pages(view: StudyView) -> int:
    """How many pages `all_pages` yields."""
    rungs, configs = len(view.gates), len(view.study.configs)
    return rungs * 2 + configs + len(view.executed) + 10 + bool(view.study.factors)
