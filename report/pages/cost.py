"""Cost: device-hours by rung, executed and planned, and the accounting of work that was never run.

python -m report && python -m webbrowser site/cost.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import spent, words
from report.load import Audit
from report.page import Page, gate_page
from report.pages.cost_figure import cost_figure
from report.spent import SOURCE, UNRUN
from report.tables import Cell, Column, Table, rows
from stages.domain import names

HOURS = ("executed_hours", "floor_hours", "planned_hours", "unscreened_hours")
#: It is no sum of unrun work: what was executed is a part of it.
_UNSCREENED = (
    "what running all configurations in all cells would cost, the executed runs among them: accounting, no evidence"
)
RUNS = ("executed_runs", "floor_runs", "missing_runs", "stopped_runs")


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    found = spent.rungs(audit)
    last = next((spent.hours(one) for rung, one in found if rung == audit.study.last_rung), None)
    total = spent.total_hours(audit)
    context = {
        "total": total,
        "floor": spent.floor_hours(audit),
        "last": last,
        "screening": total - last if total is not None and last is not None else None,
        "unpriced": spent.unpriced(audit),
        "figures": [cost_figure(audit)] if found else [],
        "unrun": UNRUN,
    }
    yield Page("cost.html", "cost.html", "Cost", context, [rungs_table(audit), gates_table(audit), unrun_table(audit)])


def _rung_cells(audit: Audit, rung: str, one: dict[str, Any]) -> dict[str, Any]:
    budget = audit.study.rungs[rung].budget_seconds
    return {
        "rung": Cell(rung, words.rung_title(rung), gate_page(names.gate_of(rung))),
        "budget": Cell(budget, words.seconds(budget)),
        "total_hours": spent.hours(one) if one else None,
        **{key: one.get(key) for key in (*HOURS, *RUNS, "candidates", "cells")},
    }


def _sums(audit: Audit) -> dict[str, Any]:
    """The line of sums: a sum of which a part is not known is not known."""
    found = [one for _, one in spent.rungs(audit)]
    sums: dict[str, Any] = {"rung": Cell(None, "All rungs"), "total_hours": spent.total_hours(audit)}
    for key in (*HOURS, *RUNS):
        parts = [one[key] for one in found]
        sums[key] = None if None in parts or spent.unpriced(audit) else sum(parts)
    return sums


def rungs_table(audit: Audit) -> Table:
    """Device-hours of every rung; one whose gate is not frozen has no price yet."""
    known = dict(spent.rungs(audit))
    return Table(
        id="rungs",
        title="Device-hours by rung",
        columns=[
            Column("rung", "Rung"),
            Column("total_hours", "In all", "hours", "executed runs and A/A floor"),
            Column("executed_hours", "Executed", "hours"),
            Column("floor_hours", "A/A floor", "hours"),
            Column("planned_hours", "Planned", "hours", "candidates × cells × budget"),
            Column("unscreened_hours", "Without gates", "hours", _UNSCREENED),
            Column("budget", "Budget"),
            Column("candidates", "Candidates", "count"),
            Column("cells", "Cells", "count"),
            Column("executed_runs", "Runs", "count"),
            Column("floor_runs", "A/A runs", "count"),
            Column("missing_runs", "Missing", "count"),
            Column("stopped_runs", "Stopped", "count"),
        ],
        rows=rows((rung, _rung_cells(audit, rung, known.get(rung, {}))) for rung in audit.study.rungs),
        source=SOURCE,
        clock=audit.clock,
        note="The files hold device-hours. A run counts its whole budget; start-up and evaluation are not budget.",
        tools=False,
        foot=_sums(audit),
    )


def gates_table(audit: Audit) -> Table:
    """What each decision cost: the evidence that it stands on, and the runs of the next rung that it saved."""
    found = spent.rungs(audit)
    made = []
    for place, (rung, one) in enumerate(found):
        gate = names.gate_of(rung)
        decision = audit.decisions.get(gate)
        after = found[place + 1][1] if place + 1 < len(found) else None
        stopped = len(decision.value["stopped"]) if decision and after else None
        saved = stopped * after["cells"] * after["budget_seconds"] / 3600 if stopped is not None and after else None
        cells = {
            "gate": Cell(gate, words.gate_title(gate), gate_page(gate)),
            "evidence_hours": spent.hours(one),
            "stopped": stopped,
            "not_run_hours": saved,
        }
        made.append((f"cost.{gate}", cells))
    return Table(
        id="decisions",
        title="What each decision cost, and what it left unrun at the next rung",
        columns=[
            Column("gate", "Gate"),
            Column("evidence_hours", "Its evidence", "hours", "executed runs and A/A floor of its rung"),
            Column("stopped", "Configurations stopped", "count"),
            Column("not_run_hours", "Unrun at the next rung", "hours"),
        ],
        rows=rows(made),
        source=f"{SOURCE}, ledger/decisions.jsonl",
        clock=audit.clock,
        note=UNRUN,
        tools=False,
        empty="No rung is frozen yet.",
    )


def unrun_table(audit: Audit) -> Table:
    """The counterfactuals."""
    made = []
    for one in audit.accounting["counterfactuals"]:
        many, rung = one["candidates"], words.rung_title(one["from_rung"]).lower()
        who = "The one candidate" if many == 1 else f"All {many} candidates"
        cells = {"what": f"{who} of {rung} at the last rung", "hours": one["hours"], "candidates": many}
        made.append((f"unrun.{one['from_rung']}", cells))
    columns = [
        Column("what", "Had gone on"),
        Column("hours", "Last rung", "hours"),
        Column("candidates", "Candidates", "count"),
    ]
    title, empty = "Unrun work, by accounting alone", "It takes a frozen last rung, and one before it."
    return Table("unrun", title, columns, rows(made), SOURCE, audit.clock, UNRUN, tools=False, empty=empty)
