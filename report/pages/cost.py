"""Cost: device-hours by rung, executed and planned, and the accounting of work that was never run.

python -m report && python -m webbrowser site/cost.html

The figure of cost: device-hours as bars, one for what was executed and a hatched one for each thing that was not.

python -m report && python -m webbrowser site/cost.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import cost
from report.cost import SOURCE, UNRUN
from report.figures import Figure
from report.load import Audit
from report.page import Page, gate_page
from report.tables import Cell, Column, Table, rows
from stages.domain import formatting, names

#: How dark a rung is, from the first to the last.
SHADES = (0.38, 0.5, 0.62, 0.8, 1.0)


def _shade(place: int, many: int) -> float:
    return SHADES[round(place / max(1, many - 1) * (len(SHADES) - 1))]


def _bar(y: str, name: str, hours: float, scale: float, **marker: Any) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "x": [hours * scale],
        "y": [y],
        "marker": {"line": {"color": "@bg", "width": 1}, **marker},
        "hovertemplate": f"{name}: {formatting.device_time(hours)}<extra></extra>",
        "showlegend": False,
    }


def _rung(y: str, rung: str, hours: float, scale: float, shade: float) -> dict[str, Any]:
    name = formatting.rung_title(rung)
    return {
        **_bar(y, f"{name}, {y}", hours, scale, color="@c1", opacity=shade),
        "text": [name],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": "@ink" if shade < 0.7 else "@bg"},
    }


def _hatched(y: str, name: str, hours: float, scale: float) -> dict[str, Any]:
    pattern = {"shape": "/", "fgcolor": "@c0", "bgcolor": "@bg", "size": 7}
    return _bar(y, name, hours, scale, color="@bg", pattern=pattern, line={"color": "@c0", "width": 1})


def _stacked(y: str, found: list[tuple[str, dict[str, Any]]], key: str, scale: float) -> list[dict[str, Any]]:
    return [
        _rung(y, rung, one[key], scale, _shade(place, len(found)))
        for place, (rung, one) in enumerate(found)
        if one[key]
    ]


def cost_figure(audit: Audit) -> Figure:
    """Bars in the unit that the text speaks in, with their sums at their ends."""
    found, unrun = cost.rungs(audit), audit.accounting["counterfactuals"]
    executed = sum(cost.hours(one) for _, one in found)
    planned = sum(one["planned_hours"] or 0.0 for _, one in found)
    floor = cost.floor_hours(audit)
    scale, unit = formatting.time_unit(max([executed, planned, *(one["hours"] for one in unrun)]))
    sums = {"executed": executed}
    data = _stacked("executed", found, "executed_hours", scale)
    if floor:
        text = {"text": ["A/A"], "textposition": "inside", "textangle": 0, "insidetextfont": {"color": "@bg"}}
        data.append({**_bar("executed", "A/A floor", floor, scale, color="@c0"), **text})
    if abs(planned - (executed - floor)) > 1e-9:
        sums["planned"] = planned
        data += _stacked("planned", found, "planned_hours", scale)
    for one in unrun:
        who = "the one" if one["candidates"] == 1 else f"all {one['candidates']}"
        y = f"{who} of {formatting.rung_title(one['from_rung']).lower()}<br>at the last"
        sums[y] = one["hours"]
        data.append(_hatched(y, f"{formatting.rung_title(one['from_rung'])}, unrun", one["hours"], scale))
    bars = list(sums)
    return Figure(
        "figure.cost",
        "Device time",
        "Executed device time by rung, from the first (light) to the last (dark)"
        f"{', and the A/A floor in grey' if floor else ''}: {formatting.device_time(executed)} in all. "
        "Hatched: accounting of unrun work at the last rung, no evidence.",
        "rungs",
        data,
        {
            "barmode": "stack",
            "bargap": 0.35,
            "uniformtext": {"mode": "hide", "minsize": 10},
            "xaxis": {"title": {"text": f"device time, {unit} ({audit.clock})"}, "rangemode": "tozero"},
            "yaxis": {"categoryorder": "array", "categoryarray": bars[::-1], "showgrid": False},
            "annotations": [_sum(y, hours, scale) for y, hours in sums.items()],
            "margin": {"l": 116, "r": 76, "t": 12, "b": 58},
        },
        {"margin": {"l": 92, "r": 60, "t": 8, "b": 54}, "font.size": 10},
        110 + 46 * len(bars),
    )


def _sum(y: str, hours: float, scale: float) -> dict[str, Any]:
    return {
        "x": hours * scale,
        "y": y,
        "text": formatting.device_time(hours),
        "showarrow": False,
        "xanchor": "left",
        "xshift": 6,
        "font": {"color": "@ink"},
    }


HOURS = ("executed_hours", "floor_hours", "planned_hours", "unscreened_hours")
#: It is no sum of unrun work: what was executed is a part of it.
_UNSCREENED = (
    "what running all configurations in all cells would cost, the executed runs among them: accounting, no evidence"
)
RUNS = ("executed_runs", "floor_runs", "missing_runs", "stopped_runs")


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    found = cost.rungs(audit)
    last = next((cost.hours(one) for rung, one in found if rung == audit.study.last_rung), None)
    total = cost.total_hours(audit)
    context = {
        "total": total,
        "floor": cost.floor_hours(audit),
        "last": last,
        "screening": total - last if total is not None and last is not None else None,
        "unpriced": cost.unpriced(audit),
        "figures": [cost_figure(audit)] if found else [],
        "unrun": UNRUN,
    }
    yield Page("cost.html", "cost.html", "Cost", context, [rungs_table(audit), gates_table(audit), unrun_table(audit)])


def _rung_cells(audit: Audit, rung: str, one: dict[str, Any]) -> dict[str, Any]:
    budget = audit.study.rungs[rung].budget_seconds
    return {
        "rung": Cell(rung, formatting.rung_title(rung), gate_page(names.gate_of(rung))),
        "budget": Cell(budget, formatting.seconds(budget)),
        "total_hours": cost.hours(one) if one else None,
        **{key: one.get(key) for key in (*HOURS, *RUNS, "candidates", "cells")},
    }


def _sums(audit: Audit) -> dict[str, Any]:
    """The line of sums: a sum of which a part is not known is not known."""
    found = [one for _, one in cost.rungs(audit)]
    sums: dict[str, Any] = {"rung": Cell(None, "All rungs"), "total_hours": cost.total_hours(audit)}
    for key in (*HOURS, *RUNS):
        parts = [one[key] for one in found]
        sums[key] = None if None in parts or cost.unpriced(audit) else sum(parts)
    return sums


def rungs_table(audit: Audit) -> Table:
    """Device-hours of every rung; one whose gate is not frozen has no price yet."""
    known = dict(cost.rungs(audit))
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
    found = cost.rungs(audit)
    made = []
    for place, (rung, one) in enumerate(found):
        gate = names.gate_of(rung)
        decision = audit.decisions.get(gate)
        after = found[place + 1][1] if place + 1 < len(found) else None
        stopped = len(decision.value["stopped"]) if decision and after else None
        saved = stopped * after["cells"] * after["budget_seconds"] / 3600 if stopped is not None and after else None
        cells = {
            "gate": Cell(gate, formatting.gate_title(gate), gate_page(gate)),
            "evidence_hours": cost.hours(one),
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
        many, rung = one["candidates"], formatting.rung_title(one["from_rung"]).lower()
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
