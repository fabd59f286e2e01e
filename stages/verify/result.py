"""What a verification comes to: the verdict, the exit status, and the one JSON value that every format is made of.

The value is described by docs/schemas/verify.json. It holds no time and no machine: the same commit, the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from stages.verify.check import Check, Depth, Problem

SCHEMA = 1
Status = Literal["passed", "failed", "skipped"]
Verdict = Literal["verified", "undecided", "failed"]


@dataclass(frozen=True)
class CheckResult:
    """What came of a check. `more` is how many problems are left out."""

    check: Check
    status: Status
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    enable: str = ""
    applies: bool = True
    more: int = 0

    def to_json(self) -> dict[str, object]:
        """The result as a JSON value."""
        return {
            "id": self.check.id,
            "name": self.check.name,
            "title": self.check.title,
            "depth": self.check.depth,
            "status": self.status,
            "reason": self.reason or None,
            "enable": self.enable or None,
            "applies": self.applies,
            "notes": list(self.notes),
            "problems": [asdict(problem) for problem in self.problems],
            "more_problems": self.more,
        }


@dataclass(frozen=True)
class Report:
    """The verification of one tree. `required` are checks that may not be skipped where there is something to check."""

    target: str
    commit: str | None
    depth: Depth
    results: tuple[CheckResult, ...]
    required: frozenset[str] = frozenset()

    def refused(self, result: CheckResult) -> bool:
        """Whether this result stands in the way of the verdict `verified`."""
        skipped = result.status == "skipped" and result.applies
        return result.status == "failed" or (skipped and result.check.id in self.required)

    @property
    def verdict(self) -> Verdict:
        """`verified`: nothing failed, nothing that was required was skipped, and decisions were there to recompute."""
        if any(self.refused(result) for result in self.results):
            return "failed"
        decided = any(result.check.name == "decisions" and result.status == "passed" for result in self.results)
        return "verified" if decided else "undecided"

    @property
    def verdict_text(self) -> str:
        """The verdict in words: `verified`, `nothing decided yet` or `failed at V18 digests`."""
        if self.verdict == "failed":
            return f"failed at {self.first_failure()}"
        if self.verdict == "verified":
            return "verified"
        decided = any(result.check.name == "decisions" and result.applies for result in self.results)
        return "no decision recomputed" if decided else "nothing decided yet"

    @property
    def exit_status(self) -> int:
        """0 unless a check failed, or was required and skipped: then 1."""
        return 1 if self.verdict == "failed" else 0

    def count(self, status: Status) -> int:
        """How many checks ended so."""
        return sum(1 for result in self.results if result.status == status)

    def first_failure(self) -> str:
        """The first check that stands in the way, as `V18 digests`; empty if none does."""
        return next((str(result.check) for result in self.results if self.refused(result)), "")

    def skipped(self) -> list[str]:
        """The ids of the checks that were skipped."""
        return [result.check.id for result in self.results if result.status == "skipped"]

    def summary(self) -> str:
        """`the workspace: verified (23 passed, 7 skipped; depth git)`."""
        statuses: tuple[Status, ...] = ("passed", "failed", "skipped")
        counts = [f"{self.count(status)} {status}" for status in statuses if self.count(status)]
        return f"{self.target}: {self.verdict_text} ({', '.join(counts)}; depth {self.depth})"

    def to_json(self) -> dict[str, object]:
        """The report as one JSON value."""
        return {
            "schema": SCHEMA,
            "target": self.target,
            "commit": self.commit,
            "depth": self.depth,
            "verdict": self.verdict,
            "counts": {status: self.count(status) for status in ("passed", "failed", "skipped")},
            "required": sorted(self.required),
            "checks": [result.to_json() for result in self.results],
        }
