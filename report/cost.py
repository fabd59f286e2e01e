"""What the study cost, as several pages say it: executed runs and the A/A floor, always both.

python -m pytest tests/report/test_cost.py
"""

from __future__ import annotations

from typing import Any

from report.load import Audit

#: Where every number of cost comes from, whether the file lay there or was made from the ledger.
SOURCE = "locks/ and ledger/, as in artifacts/summary/accounting.json"
UNRUN = "Accounting of unrun work. It is no evidence that a configuration that was stopped could not have won."


def rungs(audit: Audit) -> list[tuple[str, dict[str, Any]]]:
    """(rung, its cost) for every frozen rung, in the order of the study."""
    told = audit.accounting["rungs"]
    return [(rung, told[rung]) for rung in audit.study.rungs if rung in told]


def hours(one: dict[str, Any]) -> float:
    """Device-hours of one rung: executed runs and A/A floor."""
    return float(one["executed_hours"] + one["floor_hours"])


def unpriced(audit: Audit) -> list[str]:
    """Rungs with executed runs that the accounting leaves out, since their lock is missing."""
    known = audit.accounting["rungs"]
    return [
        rung for rung in audit.study.rungs if rung not in known and any(r.record.executed for r in audit.by_rung[rung])
    ]


def total_hours(audit: Audit) -> float | None:
    """Device-hours of everything that was executed, A/A floor included; None where a part is not known."""
    found = rungs(audit)
    return sum(hours(one) for _, one in found) if found and not unpriced(audit) else None


def floor_hours(audit: Audit) -> float:
    """Device-hours of the A/A floor."""
    return float(sum(one["floor_hours"] for _, one in rungs(audit)))


def widest(audit: Audit) -> dict[str, Any] | None:
    """The widest counterfactual: all candidates of an early rung, had they gone straight to the last."""
    return max(audit.accounting["counterfactuals"], key=lambda one: float(one["hours"]), default=None)
