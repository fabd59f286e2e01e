"""The figure of cost: device-hours as bars, one for what was executed and a hatched one for each thing that was not.

python -m report && python -m webbrowser site/cost.html
"""

from __future__ import annotations

from typing import Any

from report import spent, words
from report.figures import Figure
from report.load import Audit

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
        "hovertemplate": f"{name}: {words.device_time(hours)}<extra></extra>",
        "showlegend": False,
    }


def _rung(y: str, rung: str, hours: float, scale: float, shade: float) -> dict[str, Any]:
    name = words.rung_title(rung)
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
    found, unrun = spent.rungs(audit), audit.accounting["counterfactuals"]
    executed = sum(spent.hours(one) for _, one in found)
    planned = sum(one["planned_hours"] or 0.0 for _, one in found)
    floor = spent.floor_hours(audit)
    scale, unit = words.time_unit(max([executed, planned, *(one["hours"] for one in unrun)]))
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
        y = f"{who} of {words.rung_title(one['from_rung']).lower()}<br>at the last"
        sums[y] = one["hours"]
        data.append(_hatched(y, f"{words.rung_title(one['from_rung'])}, unrun", one["hours"], scale))
    bars = list(sums)
    return Figure(
        "figure.cost",
        "Device time",
        "Executed device time by rung, from the first (light) to the last (dark)"
        f"{', and the A/A floor in grey' if floor else ''}: {words.device_time(executed)} in all. "
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
        "text": words.device_time(hours),
        "showarrow": False,
        "xanchor": "left",
        "xshift": 6,
        "font": {"color": "@ink"},
    }
