"""The pages: one module a kind, each `pages(audit)` yielding what the builder writes.

python -m report
"""

from __future__ import annotations

from collections.abc import Iterator

from report.load import Audit
from report.page import Page
from report.pages import agreement, configuration, cost, gate, method, overview, runs, stability, verify

KINDS = (overview, gate, configuration, runs, agreement, stability, cost, method, verify)


def all_pages(audit: Audit) -> Iterator[Page]:
    """Every page of the site, one at a time."""
    for kind in KINDS:
        yield from kind.pages(audit)


def count_pages(audit: Audit) -> int:
    """How many pages `all_pages` yields."""
    rungs, configs = len(audit.study.rungs), len(audit.study.configs)
    return rungs * 2 + configs + len(audit.executed) + 8
