"""Figures as Plotly specifications: plain JSON, colours as names that the page resolves for light, dark and print.

    python -m pytest tests/site/test_figures.py

A colour is written `@name` and stands for the CSS variable `--name`; `narrow` is merged into the layout on a phone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log10
from typing import Any

from report import words
from report.ladder import Path, Step

ROLE_LOOK = {
    "reference": ("@c1", "solid", "circle"),
    "comparator": ("@c2", "dash", "square"),
    "sentinel": ("@c3", "dot", "diamond"),
}
OTHER_ROLE = ("@c4", "dashdot", "triangle-up")
PLAIN = ("@c0", "solid", "circle")
#: More lines than this and a bump chart says nothing; the best are drawn and the caption says so.
MOST_LINES = 40
#: More names than this would cover each other.
MOST_NAMES = 20
#: More ranks than this are drawn on a logarithmic axis.
LINEAR_RANKS = 40


@dataclass(frozen=True)
class Figure:
    """One figure: `id` is fixed, `alt` says in words what it shows, and `table` names the table with its numbers."""

    id: str
    title: str
    alt: str
    table: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    narrow: dict[str, Any] = field(default_factory=dict)
    height: int = 420

    @property
    def spec(self) -> dict[str, Any]:
        """What the page hands to Plotly."""
        return {"data": self.data, "layout": {**self.layout, "height": self.height}, "narrow": self.narrow}


@dataclass(frozen=True)
class Stars:
    """The two that a reader looks for: the winner, and the leader of the first rung."""

    winner: str | None
    early: str | None


def look(path: Path, stars: Stars) -> tuple[str, str, str, float]:
    """Colour, dash, symbol and width of a configuration's line."""
    role = path.roles[0] if path.roles else ""
    if path.config == stars.winner:
        return ("@c1", "solid", "circle", 4)
    if role in ROLE_LOOK:
        return *ROLE_LOOK[role], 2.5
    if role or path.config == stars.early:
        return *OTHER_ROLE, 2.5
    return *PLAIN, 1.5


def _text(step: Step, path: Path) -> str:
    state = words.STATES[step.state][1]
    by = f" by {', '.join(step.by)}" if step.by else ""
    mean = f"<br>mean val_bpb {words.bpb(step.mean)}" if step.mean is not None else ""
    return f"{words.html_text(path.config)}<br>{words.rung_title(step.rung)}: {state}{by}{mean}"


def bump(id_: str, title: str, alt: str, table: str, paths: list[Path], axis: list[str], stars: Stars) -> Figure:
    """Ranks from rung to rung, rank 1 on top; a line ends where its configuration was stopped."""
    drawn = chosen(paths, stars)
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    crowded = len(drawn) > MOST_NAMES
    for path in sorted(drawn, key=lambda one: (one.config == stars.winner, one.config == stars.early, bool(one.roles))):
        steps = [(n, step) for n, step in enumerate(path.steps) if step.rank is not None]
        if not steps:
            continue
        colour, dash, symbol, width = look(path, stars)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [n for n, _ in steps],
                "y": [step.rank for _, step in steps],
                "line": {"color": colour, "width": width, "dash": dash},
                "marker": {
                    "color": colour,
                    "size": [9 if step.state not in ("stopped", "blocked") else 10 for _, step in steps],
                    "symbol": ["x" if step.state == "stopped" else symbol for _, step in steps],
                },
                "text": [_text(step, path) for _, step in steps],
                "hovertemplate": "%{text}<br>rank %{y}<extra></extra>",
                "showlegend": False,
            }
        )
        if not crowded or path.roles or path.config in (stars.winner, stars.early) or steps[-1][0] >= len(axis) - 2:
            notes += _labels(path, steps, stars, colour)
    ranks = max((step.rank or 0 for path in drawn for step in path.steps), default=1)
    name = 14 + 7 * max((len(path.config) for path in drawn), default=1)
    notes = on_axis(notes, ranks)
    layout = {
        "xaxis": {
            "tickvals": list(range(len(axis))),
            "ticktext": axis,
            "range": [-0.08, len(axis) - 0.92],
            "showgrid": True,
            "side": "top",
        },
        "yaxis": {**rank_axis(ranks), "ticklabelstandoff": name},
        "annotations": notes,
        "margin": {"l": name + 36, "r": name + 44, "t": 56, "b": 12},
    }
    narrow = {
        "margin": {"l": 26, "r": min(name + 12, 140), "t": 56, "b": 8},
        "yaxis.ticklabelstandoff": 0,
        "font.size": 10,
        "annotations": [one for one in notes if one["xanchor"] == "left" and one["text"].startswith("<b>")],
    }
    return Figure(id_, title, alt, table, data, layout, narrow, max(300, min(780, 110 + 30 * ranks)))


def chosen(paths: list[Path], stars: Stars) -> list[Path]:
    """The paths that a figure draws: all of a small study; else those that came furthest, and those with a name."""
    named = [path for path in paths[MOST_LINES:] if path.roles or path.config in (stars.winner, stars.early)]
    return paths[:MOST_LINES] + named


def rank_axis(ranks: int) -> dict[str, Any]:
    """An axis of ranks, 1 on top; logarithmic where there are many, so that the top is seen."""
    if ranks > LINEAR_RANKS:
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if tick <= ranks]
        return {"type": "log", "range": [log10(ranks * 1.15), log10(0.85)], "tickvals": ticks, "showgrid": False}
    step = 1 if ranks <= 15 else 5
    ticks = sorted({1, *range(step, ranks + 1, step)})
    return {"range": [ranks + 0.6, 0.4], "tickvals": ticks, "showgrid": False}


def on_axis(notes: list[dict[str, Any]], ranks: int) -> list[dict[str, Any]]:
    """Labels at ranks, as the axis of so many ranks wants them: Plotly takes the logarithm on a logarithmic one."""
    return [{**one, "y": log10(one["y"])} for one in notes] if ranks > LINEAR_RANKS else notes


def _labels(path: Path, steps: list[tuple[int, Step]], stars: Stars, colour: str) -> list[dict[str, Any]]:
    """A name at both ends of a line; at the end also the rule that stopped it. Masked, so that no line crosses them."""
    name = words.html_text(path.config)
    shown = f"<b>{name}</b>" if path.roles or path.config in (stars.winner, stars.early) else name
    end = steps[-1][1]
    fate = f" ✕ {end.decisive}" if end.decisive else " ★" if path.config == stars.winner else ""
    look_ = {
        "showarrow": False,
        "bgcolor": "@bg",
        "borderpad": 1,
        "font": {"color": "@muted" if colour == PLAIN[0] else colour, "size": 11},
    }
    left = {"x": steps[0][0], "y": steps[0][1].rank, "text": shown, "xanchor": "right", "xshift": -9, **look_}
    right = {"x": steps[-1][0], "y": end.rank, "text": shown + fate, "xanchor": "left", "xshift": 9, **look_}
    return [left, right] if steps[0][0] == 0 and len(steps) > 1 else [right]


def curve(points: list[tuple[float, float | None]], clock: str, x_label: str) -> Figure:
    """Training loss of one run over its budget."""
    return Figure(
        "curve",
        "Training loss",
        f"Line of the training loss over {x_label.lower()}; the table below holds the same points.",
        "curve",
        [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [x for x, _ in points],
                "y": [y for _, y in points],
                "line": {"color": "@c1", "width": 2},
                "hovertemplate": "%{x}: %{y:.4f}<extra></extra>",
                "showlegend": False,
            }
        ],
        {
            "xaxis": {"title": {"text": f"{x_label} ({clock})"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "nats per token"}},
            "margin": {"l": 60, "r": 16, "t": 16, "b": 48},
        },
        {"margin": {"l": 48, "r": 8, "t": 8, "b": 44}},
        300,
    )
