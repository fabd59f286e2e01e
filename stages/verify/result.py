"""What an audit comes to: the verdict, the exit status, and the one JSON value that every output format is made of.

The value is described by docs/schemas/verify.json. It holds no time and no machine: the same commit, the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stages.verify.check import Depth, Problem, Result

SCHEMA = 1
Verdict = Literal["verified", "undecided", "failed"]


@dataclass(frozen=True)
class Report:
    """One audit of one tree. `required` are checks that may not be skipped where there is something to check."""

    target: str
    commit: str | None
    depth: Depth
    results: tuple[Result, ...]
    required: frozenset[str] = frozenset()

    def refused(self, result: Result) -> bool:
        """Whether this result stands in the way of the verdict `verified`."""
        skipped = result.status == "skipped" and result.applies
        return result.status == "failed" or (skipped and result.check.id in self.required)

    @property
    def verdict(self) -> Verdict:
        """`verified`: nothing failed, nothing that was required was skipped, and decisions were there to recompute."""
        if any(self.refused(one) for one in self.results):
            return "failed"
        decided = any(one.check.name == "decisions" and one.status == "passed" for one in self.results)
        return "verified" if decided else "undecided"

    @property
    def told(self) -> str:
        """The verdict in words, where nothing failed."""
        if self.verdict == "verified":
            return "verified"
        here = any(one.check.name == "decisions" and one.applies for one in self.results)
        return "no decision recomputed" if here else "nothing decided yet"

    @property
    def exit_status(self) -> int:
        """0 unless a check failed, or was required and skipped: then 1."""
        return 1 if self.verdict == "failed" else 0

    def count(self, status: str) -> int:
        """How many checks ended so."""
        return sum(1 for one in self.results if one.status == status)

    def first_failure(self) -> str:
        """The first check that stands in the way, as `V17 digests`; empty if none does."""
        return next((f"{one.check.id} {one.check.name}" for one in self.results if self.refused(one)), "")

    def to_json(self) -> dict[str, Any]:
        """The report as one value."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "commit": self.commit,
            "depth": self.depth,
            "verdict": self.verdict,
            "counts": {status: self.count(status) for status in ("passed", "failed", "skipped")},
            "required": sorted(self.required),
            "checks": [_check(one) for one in self.results],
        }


def _check(result: Result) -> dict[str, Any]:
    return {
        "id": result.check.id,
        "name": result.check.name,
        "title": result.check.title,
        "depth": result.check.depth,
        "status": result.status,
        "reason": result.reason or None,
        "enable": result.enable or None,
        "applies": result.applies,
        "notes": list(result.notes),
        "problems": [_problem(one) for one in result.problems],
        "more_problems": result.more,
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "pointer": problem.pointer,
        "found": problem.found,
        "expected": problem.expected,
        "meaning": problem.meaning,
    }


def summary_line(report: Report) -> str:
    """`verified (23 passed, 7 skipped)`, `nothing decided yet (...)` or `failed at V18 digests (...)`."""
    counts = [f"{report.count(status)} {status}" for status in ("passed", "failed", "skipped") if report.count(status)]
    head = report.told if report.verdict != "failed" else f"failed at {report.first_failure()}"
    return f"{report.target}: {head} ({', '.join(counts)}; depth {report.depth})"
