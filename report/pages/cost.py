"""Cost: device-hours by rung, executed and planned, and the accounting of work that was never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report.cost import SOURCE, UNRUN, StudyCost, candidates_text, total_hours
from report.figures import Figure, FigureSpec
from report.gates import GateView
from report.page import Page, link_gate, link_rung
from report.prose import Prose, term
from report.tables import Cell, Column, Kind, Table
from report.views import StudyView
from stages.domain import formatting, names
from stages.summary.accounting import Counterfactual

#: How dark a rung is, from the first to the last.
SHADES = (0.38, 0.5, 0.62, 0.8, 1.0)
#: It is no sum of unrun work: what was executed is a part of it.
_UNSCREENED = (
    "what running all configurations in all cells would cost, the executed runs among them: accounting, no evidence"
)
#: Keys of the accounting that have a sum.
_SUMMED = (
    *("executed_hours", "floor_hours", "planned_hours", "unscreened_hours"),
    *("executed_runs", "floor_runs", "missing_runs", "stopped_runs"),
)

RUNGS = Table(
    "rungs",
    "Device time by rung",
    SOURCE,
    note="The files hold device-hours. A run counts its whole budget; start-up and evaluation are not budget.",
    tools=False,
)
DECISIONS = Table(
    "decisions",
    "What each decision cost, and what it left unrun at the next rung",
    f"{SOURCE}, ledger/decisions.jsonl",
    note=UNRUN,
    tools=False,
    empty="No rung is frozen yet.",
)
UNRUN_WORK = Table(
    "unrun",
    "Unrun work, by accounting alone",
    SOURCE,
    note=UNRUN,
    tools=False,
    empty="It takes a frozen last rung, and one before it.",
)


def pages(view: StudyView) -> Iterator[Page]:
    """The one page."""
    cost, gates = view.cost, list(view.gates.values())
    context: dict[str, object] = {
        "lead": lead(cost, rated=view.study.clock.kind == "rated"),
        "figures": [cost_figure(cost, view.clock)] if cost.rungs else [],
        "unrun": UNRUN,
    }
    tables = [
        rungs_table(cost, gates),
        decisions_table(cost, view.gates),
        unrun_table(cost),
    ]
    yield Page("cost.html", "cost.html", "Cost", context, tables)


def lead(cost: StudyCost, rated: bool) -> Prose:
    """What was executed, on the way up and at the last rung."""
    hours = formatting.device_time
    clock = (
        " On the rated clock a device-hour is what the host block's declared speed makes of the work, not what a wall "
        "clock measured."
    )
    note = [clock] if rated else []
    if cost.total is None:
        return [f"The cost in all is not known: {cost.unpriced_text}", *note]
    text: Prose = [f"{hours(cost.total)} of device time was used"]
    if cost.floor:
        text += [f", of which {hours(cost.floor)} measured the ", term("floor", "A/A floor")]
    if cost.last is not None:
        before = f": {hours(cost.total - cost.last)} up to the last "
        text += [before, term("rung", "rung"), f" and {hours(cost.last)} at it"]
    return [*text, ".", *note]


def cost_figure(cost: StudyCost, clock: str) -> Figure:
    """Bars in the unit that the text speaks in, with their sums at their ends."""
    planned = sum(rung.planned_hours or 0.0 for rung in cost.rungs.values())
    scale, unit = formatting.time_unit(max([cost.executed, planned, *(case.hours for case in cost.counterfactuals)]))
    bars = {"executed": cost.executed}
    data = _stacked("executed", cost, "executed_hours", scale)
    if cost.floor:
        text = {"text": ["A/A"], "textposition": "inside", "textangle": 0, "insidetextfont": {"color": "@bg"}}
        data.append({**_bar("executed", "A/A floor", cost.floor, scale, color="@c0"), **text})
    if abs(planned - (cost.executed - cost.floor)) > 1e-9:
        bars["planned"] = planned
        data += _stacked("planned", cost, "planned_hours", scale)
    for case in cost.counterfactuals:
        title = formatting.rung_title(case.from_rung)
        who = "the one" if case.candidates == 1 else f"all {case.candidates}"
        label = f"{who} of {title.lower()}<br>at the last"
        bars[label] = case.hours
        data.append(_hatched(label, f"{title}, unrun", case.hours, scale))
    return Figure(
        "figure.cost",
        "Device time",
        "Executed device time by rung, from the first (faint) to the last (strong)"
        f"{', and the A/A floor in grey' if cost.floor else ''}: {formatting.device_time(cost.executed)} in all. "
        "Hatched: accounting of unrun work at the last rung, no evidence.",
        "rungs",
        data,
        {
            "barmode": "stack",
            "bargap": 0.35,
            "uniformtext": {"mode": "hide", "minsize": 10},
            "xaxis": {"title": {"text": f"device time, {unit} ({clock})"}, "rangemode": "tozero"},
            "yaxis": {"categoryorder": "array", "categoryarray": list(bars)[::-1], "showgrid": False},
            "annotations": [_sum(label, hours, scale) for label, hours in bars.items()],
            "margin": {"l": 116, "r": 76, "t": 12, "b": 58},
        },
        {"margin": {"l": 92, "r": 60, "t": 8, "b": 54}, "font.size": 10},
        110 + 46 * len(bars),
    )


def _stacked(label: str, cost: StudyCost, key: str, scale: float) -> list[FigureSpec]:
    """The rungs of one bar, each darker than the one before."""
    bars = []
    for place, (rung, parts) in enumerate(cost.rungs.items()):
        if hours := getattr(parts, key):
            shade = SHADES[round(place / max(1, len(cost.rungs) - 1) * (len(SHADES) - 1))]
            bars.append(_rung_bar(label, formatting.rung_title(rung), hours, scale, shade))
    return bars


def _rung_bar(label: str, name: str, hours: float, scale: float, shade: float) -> FigureSpec:
    return {
        **_bar(label, f"{name}, {label}", hours, scale, color="@c1", opacity=shade),
        "text": [name],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": "@ink" if shade < 0.7 else "@bg"},
    }


def _hatched(label: str, name: str, hours: float, scale: float) -> FigureSpec:
    pattern = {"shape": "/", "fgcolor": "@c0", "bgcolor": "@bg", "size": 7}
    return _bar(label, name, hours, scale, color="@bg", pattern=pattern, line={"color": "@c0", "width": 1})


def _bar(label: str, name: str, hours: float, scale: float, **marker: Any) -> FigureSpec:
    return {
        "type": "bar",
        "orientation": "h",
        "x": [hours * scale],
        "y": [label],
        "marker": {"line": {"color": "@bg", "width": 1}, **marker},
        "hovertemplate": f"{name}: {formatting.device_time(hours)}<extra></extra>",
        "showlegend": False,
    }


def _sum(label: str, hours: float, scale: float) -> FigureSpec:
    return {
        "x": hours * scale,
        "y": label,
        "text": formatting.device_time(hours),
        "showarrow": False,
        "xanchor": "left",
        "xshift": 6,
        "font": {"color": "@ink"},
    }


def rungs_table(cost: StudyCost, gates: list[GateView]) -> Table:
    """Device-hours of every rung; one whose gate is not frozen has no price yet."""

    def priced(key: str, label: str, kind: Kind, hint: str = "") -> Column:
        return Column(key, label, kind, hint, get=lambda gate: getattr(cost.rungs.get(gate.rung), key, None))

    columns = [
        Column("rung", "Rung", get=lambda gate: link_rung(gate.rung)),
        Column("total_hours", "In all", "hours", "executed runs and A/A floor", get=lambda gate: _total(cost, gate)),
        priced("executed_hours", "Executed", "hours"),
        priced("floor_hours", "A/A floor", "hours"),
        priced("planned_hours", "Planned", "hours", "candidates × cells × budget"),
        priced("unscreened_hours", "Without gates", "hours", _UNSCREENED),
        Column("budget", "Budget", get=lambda gate: Cell(gate.budget, formatting.seconds(gate.budget))),
        priced("candidates", "Candidates", "count"),
        priced("cells", "Cells", "count"),
        priced("executed_runs", "Runs", "count"),
        priced("floor_runs", "A/A runs", "count"),
        priced("missing_runs", "Missing", "count"),
        priced("stopped_runs", "Stopped", "count"),
    ]
    return RUNGS.fill(
        columns,
        gates,
        lambda gate: gate.rung,
        foot={"rung": Cell(None, "All rungs"), "total_hours": cost.total, **_sums(cost)},
    )


def _total(cost: StudyCost, gate: GateView) -> float | None:
    parts = cost.rungs.get(gate.rung)
    return total_hours(parts) if parts else None


def _sums(cost: StudyCost) -> dict[str, object]:
    """The line of sums: a sum of which a part is not known is not known."""
    parts = {key: [getattr(rung, key) for rung in cost.rungs.values()] for key in _SUMMED}
    return {key: None if None in values or cost.unpriced else sum(values) for key, values in parts.items()}


def decisions_table(cost: StudyCost, gates: dict[str, GateView]) -> Table:
    """What each decision cost: the evidence that it stands on, and the runs of the next rung that it saved."""
    rungs = list(cost.rungs.items())
    after = dict(zip(cost.rungs, [parts for _, parts in rungs[1:]], strict=False))

    def stopped(rung: str) -> int | None:
        decision = gates[names.gate_of(rung)].decision
        return len(decision.stopped) if decision and rung in after else None

    def saved(rung: str) -> float | None:
        many = stopped(rung)
        return None if many is None else many * after[rung].cells * after[rung].budget_seconds / 3600

    columns = [
        Column("gate", "Gate", get=lambda row: link_gate(names.gate_of(row[0]))),
        Column(
            "evidence_hours",
            "Its evidence",
            "hours",
            "executed runs and A/A floor of its rung",
            get=lambda row: total_hours(row[1]),
        ),
        Column("stopped", "Configurations stopped", "count", get=lambda row: stopped(row[0])),
        Column("not_run_hours", "Unrun at the next rung", "hours", get=lambda row: saved(row[0])),
    ]
    return DECISIONS.fill(columns, rungs, lambda row: f"cost.{names.gate_of(row[0])}")


def unrun_table(cost: StudyCost) -> Table:
    """The counterfactuals."""
    columns = [
        Column("what", "Had gone on", get=_unrun_text),
        Column("hours", "Last rung", "hours"),
        Column("candidates", "Candidates", "count"),
    ]
    return UNRUN_WORK.fill(columns, cost.counterfactuals, lambda case: f"unrun.{case.from_rung}")


def _unrun_text(case: Counterfactual) -> str:
    who = formatting.capital(candidates_text(case))
    return f"{who} of {formatting.rung_title(case.from_rung).lower()} at the last rung"
