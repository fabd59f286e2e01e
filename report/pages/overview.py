"""The overview: question, verdict, promotion path, cost and agreement at a glance. A team lead reads this page alone.

python -m report && python -m webbrowser site/index.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import cost, host_agreement, machines, path_figure, promotion_paths
from report.load import Audit
from report.page import Page
from report.tables import Cell, Column, Row, Table
from report.verdict import verdict
from stages.domain import formatting, names

#: Rows of the matrix on this page; the whole of it stands on the page of configurations.
MOST_ROWS = 60


def pages(audit: Audit) -> Iterator[Page]:
    """The one overview."""
    everybody = list(promotion_paths.ladder(audit).values())
    yield Page(
        path="index.html",
        template="overview.html",
        title="Overview",
        context={
            "verdict": verdict(audit),
            "counts": promotion_paths.counts(audit),
            "more": max(0, len(everybody) - MOST_ROWS),
            "figures": [path_figure.path_figure(audit, everybody, "paths")],
            "states": _states(everybody),
            "cost": _cost(audit),
            "facts": _facts(audit),
            "plainly": machines.plainly(audit),
            "one_host": len(audit.study.hosts) == 1,
        },
        tables=[path_figure.path_table(audit, everybody[:MOST_ROWS], "paths"), agreement_table(audit)],
    )


def _states(everybody: list[promotion_paths.Path]) -> list[str]:
    """The states that occur, in the order of the legend."""
    seen = {step.state for path in everybody for step in path.steps}
    return [state for state in formatting.STATES if state in seen and state != "absent"]


def _cost(audit: Audit) -> dict[str, Any]:
    """Hours by rung, in all, of the A/A floor, and what the widest counterfactual would have added."""
    found = cost.rungs(audit)
    total, widest = cost.total_hours(audit), cost.widest(audit)
    last = next((cost.hours(one) for rung, one in found if rung == audit.study.last_rung), None)
    return {
        "rungs": [(rung, cost.hours(one)) for rung, one in found],
        "total": total,
        "floor": cost.floor_hours(audit),
        "last": last,
        "widest": widest,
        "rest": widest["hours"] - last if widest and last is not None and widest["hours"] > last else 0.0,
        "unpriced": cost.unpriced(audit),
        "source": cost.SOURCE,
    }


def _facts(audit: Audit) -> dict[str, Any]:
    amended = sum(len(one.lock.frozen.amendments) for one in audit.locks.values())
    return {
        "configs": len(audit.study.configs),
        "hosts": len(audit.study.hosts),
        "runs": len(audit.executed),
        "frozen": len(audit.locks),
        "gates": len(audit.study.gates),
        "decided": sum(1 for one in audit.decisions.values() if one.value["outcome"] == "decided"),
        "amended": amended,
        "missing": sum(len(promotion_paths.missing_runs(audit, rung)) for rung in audit.study.rungs),
    }


def agreement_table(audit: Audit) -> Table:
    """For each decided rung: tau of the hosts, their leaders, and whether each alone would have decided the same."""
    return Table(
        id="agreement-glance",
        title="Do the host blocks tell one story?",
        columns=[
            Column("rung", "Rung"),
            Column("tau_b", "τ-b", "number", "Kendall's tau-b; the smallest where there are several pairs", digits=2),
            Column("leaders", "Leader on each block"),
            Column("alone", "Same decision alone", "number", "host blocks that alone would have decided the same"),
        ],
        rows=[_agreement_row(audit, rung, told) for rung, told in host_agreement.rungs(audit)],
        source=host_agreement.SOURCE,
        clock=audit.clock,
        tools=False,
        empty="No rung has evidence yet.",
    )


def _agreement_row(audit: Audit, rung: str, told: dict[str, Any]) -> Row:
    same = host_agreement.same_alone(audit, rung, told)
    taus = [pair["tau_b"] for pair in told["pairs"] if pair["tau_b"] is not None]
    leaders = list(
        dict.fromkeys(one for host in host_agreement.hosts(audit, told) if (one := told["leaders"].get(host)))
    )
    many = sum(same.values()) if same is not None else None
    sign = "✓ " if len(leaders) == 1 else "✕ "
    return Row(
        f"agreement.{rung}",
        {
            "rung": Cell(rung, formatting.rung_title(rung), f"agreement.html#{rung}"),
            "tau_b": min(taus, default=None),
            "leaders": Cell(", ".join(leaders), sign + formatting.listed(leaders) if leaders else formatting.DASH),
            "alone": Cell(many, formatting.DASH if same is None else f"{many} of {len(same)}", alone_page(rung)),
        },
    )


def alone_page(rung: str) -> str:
    """Where a gate's page tells what each host block alone would have decided."""
    return f"gates/{names.gate_of(rung)}.html#Hosts"
