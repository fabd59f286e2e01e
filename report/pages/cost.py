"""Cost: device-hours by rung, executed and planned, and the accounting of work that was never run.

python -m report && python -m webbrowser site/cost.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import words
from report.figures import Figure
from report.load import Audit
from report.page import Page, gate_page
from report.tables import Cell, Column, Table, rows

SOURCE = "artifacts/summary/accounting.json"
UNRUN = "Accounting of unrun work. It is no evidence that a configuration that was stopped could not have won."
SHADES = (0.38, 0.5, 0.62, 0.8, 1.0)


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    told = audit.accounting or {"rungs": {}, "totals": {}, "counterfactuals": []}
    made = [rungs_table(audit, told), gates_table(audit, told), unrun_table(audit, told)]
    drawn = [_figure(told)] if told["rungs"] else []
    yield Page("cost.html", "cost.html", "Cost", {"told": told, "figures": drawn, "unrun": UNRUN}, made)


def rungs_table(audit: Audit, told: dict[str, Any]) -> Table:
    """Device-hours of every rung."""
    made: list[tuple[str, dict[str, Any]]] = []
    for rung, one in told["rungs"].items():
        made.append(
            (
                rung,
                {
                    "rung": Cell(rung, words.rung_title(rung), gate_page("gate" + rung.removeprefix("rung"))),
                    "budget": Cell(one["budget_seconds"], words.seconds(one["budget_seconds"])),
                    **{
                        key: one[key]
                        for key in ("candidates", "cells", "executed_runs", "missing_runs", "stopped_runs")
                    },
                    **{f"{key}_hours": one[f"{key}_hours"] for key in ("executed", "planned", "floor", "unscreened")},
                },
            )
        )
    return Table(
        id="rungs",
        title="Device-hours by rung",
        columns=[
            Column("rung", "Rung"),
            Column("budget", "Budget"),
            Column("candidates", "Candidates", "count"),
            Column("cells", "Cells", "count"),
            Column("executed_runs", "Runs", "count"),
            Column("missing_runs", "Missing", "count"),
            Column("stopped_runs", "Stopped", "count"),
            Column("executed_hours", "Executed", "hours"),
            Column("planned_hours", "Planned", "hours", "candidates × cells × budget"),
            Column("floor_hours", "A/A floor", "hours"),
            Column("unscreened_hours", "Without gates", "hours", "All configurations × cells × budget: unrun work"),
        ],
        rows=rows(made),
        source=SOURCE,
        clock=audit.clock,
        note="The files hold device-hours. A run counts its whole budget; start-up and evaluation are not budget.",
        tools=False,
    )


def gates_table(audit: Audit, told: dict[str, Any]) -> Table:
    """What each decision cost: the evidence that it stands on, and the runs of the next rung that it saved."""
    made = []
    order = list(told["rungs"])
    for n, (rung, one) in enumerate(told["rungs"].items()):
        gate = "gate" + rung.removeprefix("rung")
        decision = audit.decisions.get(gate)
        after = told["rungs"][order[n + 1]] if n + 1 < len(order) else None
        stopped = len(decision.value["stopped"]) if decision and after else None
        saved = stopped * after["cells"] * after["budget_seconds"] / 3600 if stopped is not None and after else None
        spent = one["executed_hours"] + one["floor_hours"] if one["executed_hours"] is not None else None
        made.append(
            (
                f"cost-{gate}",
                {
                    "gate": Cell(gate, words.gate_title(gate), gate_page(gate)),
                    "evidence_hours": spent,
                    "stopped": stopped,
                    "not_run_hours": saved,
                },
            )
        )
    return Table(
        id="decisions",
        title="What each decision cost, and what it left unrun at the next rung",
        columns=[
            Column("gate", "Gate"),
            Column("evidence_hours", "Its evidence", "hours", "Executed runs and A/A floor of its rung"),
            Column("stopped", "Configurations stopped", "count"),
            Column("not_run_hours", "Unrun at the next rung", "hours", UNRUN),
        ],
        rows=rows(made),
        source=f"{SOURCE}, ledger/decisions.jsonl",
        clock=audit.clock,
        tools=False,
    )


def unrun_table(audit: Audit, told: dict[str, Any]) -> Table:
    """The counterfactuals."""
    made = []
    for one in told["counterfactuals"]:
        many, rung = one["candidates"], words.rung_title(one["from_rung"]).lower()
        what = f"All {many} candidates of {rung} at the last rung"
        made.append((f"unrun-{one['from_rung']}", {"what": what, "candidates": many, "hours": one["hours"]}))
    columns = [
        Column("what", "Had gone on"),
        Column("candidates", "Candidates", "count"),
        Column("hours", "Last rung", "hours"),
    ]
    return Table(
        "unrun", "Unrun work, by accounting alone", columns, rows(made), SOURCE, audit.clock, UNRUN, tools=False
    )


def _bar(name: str, y: str, hours: float, colour: str, opacity: float, hatched: bool = False) -> dict[str, Any]:
    marker: dict[str, Any] = {"color": colour, "opacity": opacity, "line": {"color": "@bg", "width": 1}}
    if hatched:
        marker |= {
            "pattern": {"shape": "/", "fgcolor": "@c0", "bgcolor": "@bg", "size": 7},
            "line": {"color": "@c0", "width": 1},
        }
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [hours],
        "y": [y],
        "marker": marker,
        "hovertemplate": f"{name}: {words.device_time(hours)}<extra></extra>",
        "showlegend": False,
    }


def _figure(told: dict[str, Any]) -> Figure:
    data = []
    for n, (rung, one) in enumerate(told["rungs"].items()):
        shade = SHADES[min(n, len(SHADES) - 1)]
        for key, label in (("planned_hours", "planned"), ("executed_hours", "executed")):
            if one[key]:
                data.append(_bar(f"{words.rung_title(rung)}, {label}", label, one[key], "@c1", shade))
    screening = told["totals"].get("screening_hours") or 0.0
    bars = ["executed", "planned"]
    for one in told["counterfactuals"]:
        y = f"unrun: all {one['candidates']} of<br>{words.rung_title(one['from_rung']).lower()} at the last"
        if y not in bars:
            bars.append(y)
            data.append(
                _bar(
                    f"{words.rung_title(one['from_rung'])}: {one['candidates']} at the last rung",
                    y,
                    one["hours"],
                    "@bg",
                    1.0,
                    True,
                )
            )
    unit = "device-hours"
    return Figure(
        "cost-bars",
        "Device-hours",
        "Bars of device-hours: executed and planned, shaded from the first rung (light) to the last (dark), screening "
        f"{words.device_time(screening)} in all; hatched: accounting of unrun work at the last rung, no evidence.",
        "rungs",
        data,
        {
            "barmode": "stack",
            "bargap": 0.35,
            "xaxis": {"title": {"text": unit}, "rangemode": "tozero"},
            "yaxis": {"categoryorder": "array", "categoryarray": bars[::-1], "showgrid": False},
            "margin": {"l": 132, "r": 16, "t": 12, "b": 48},
        },
        {"margin": {"l": 104, "r": 12, "t": 8, "b": 44}, "font.size": 10},
        120 + 44 * len(bars),
    )
