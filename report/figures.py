"""Figures as Plotly specifications: plain JSON, colours as names that the page resolves for light, dark and print.

A colour is written `@name` and stands for the CSS variable `--name`; `narrow` is merged into the layout where the
figure is narrower than `below` pixels: on a phone, and on paper if it must.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import log10
from typing import Any

from report.promotion_paths import PromotionPath
from stages.domain import formatting

ROLE_LOOK = {
    "reference": ("@c1", "solid", "circle"),
    "comparator": ("@c2", "dash", "square"),
    "sentinel": ("@c3", "dot", "diamond"),
}
OTHER_ROLE = ("@c4", "longdash", "triangle-up")
EARLY = ("@c4", "dashdot", "triangle-down")
NO_ROLE = ("@ink", "solid", "circle")
PLAIN = ("@c0", "solid", "circle")
#: More lines than this and a bump chart says nothing; the best are drawn and the caption says so.
MOST_LINES = 40
#: More names than this would cover each other.
MOST_NAMES = 20
#: Characters of a name inside a figure. Longer ones lose their middle, so that no name takes the room of the lines.
MOST_LETTERS = 20
#: Pixels of a character of a label, at the size that figures use, in the widest of the fonts of the page.
LETTER = 7
#: Pixels from one label to the next below it.
LINE = 12
#: More ranks than this are drawn on a logarithmic axis.
LINEAR_RANKS = 40
PHONE = 560
#: A part of a Plotly specification: foreign JSON, as its documentation lists the keys.
FigureSpec = dict[str, Any]
#: What a line or mark means: (colour, dash, mark, words).
LegendEntry = tuple[str, str, str, str]


@dataclass(frozen=True)
class Figure:
    """One figure: `id` is fixed, `alt` says in words what it shows, and `table` names the table with its numbers."""

    id: str
    title: str
    alt: str
    table: str
    data: list[FigureSpec]
    layout: FigureSpec
    narrow: FigureSpec = field(default_factory=dict)
    height: int = 420
    below: int = PHONE
    legend: tuple[LegendEntry, ...] = ()

    @property
    def spec(self) -> FigureSpec:
        """What the page hands to Plotly."""
        layout = {**self.layout, "height": self.height}
        return {"data": self.data, "layout": layout, "narrow": self.narrow, "below": self.below}


@dataclass(frozen=True)
class Stars:
    """The two that a reader looks for: whoever is first at the last rung, and the leader of the first one."""

    first: str | None
    early: str | None


@dataclass(frozen=True)
class Look:
    """How a configuration is drawn. The first of the last rung keeps the look of its role, thicker, with a star."""

    colour: str
    dash: str
    symbol: str
    width: float

    @property
    def marked(self) -> bool:
        """Whether it stands out from the grey lines."""
        return self.colour != PLAIN[0]


def look_of(path: PromotionPath, stars: Stars) -> Look:
    """Colour, dash, mark and width of a configuration."""
    role = path.roles[0] if path.roles else ""
    if role:
        style = ROLE_LOOK.get(role, OTHER_ROLE)
    elif path.config == stars.first:
        style = NO_ROLE
    else:
        style = EARLY if path.config == stars.early else PLAIN
    width = 4 if path.config == stars.first else 2.5 if style != PLAIN else 1.5
    return Look(*style, width)


def is_named(path: PromotionPath, stars: Stars) -> bool:
    """Whether a figure names it whatever else it leaves out."""
    return bool(path.roles) or path.config in (stars.first, stars.early)


def choose_paths(paths: list[PromotionPath], stars: Stars) -> list[PromotionPath]:
    """The paths that a figure draws: all of a small study; else the first of the list, and those with a name."""
    return paths[:MOST_LINES] + [path for path in paths[MOST_LINES:] if is_named(path, stars)]


def left_out(drawn: int, of: int, ranks: int) -> str:
    """What a figure leaves out and how it bends its axis, as a sentence to add; empty where it does neither."""
    some = f"{drawn} of {of} drawn" if drawn < of else ""
    bent = "logarithmic axis" if ranks > LINEAR_RANKS else ""
    text = "; ".join(filter(None, (some, bent)))
    return f" {formatting.capital(text)}." if text else ""


def short_labels(names: Iterable[str], most: int = MOST_LETTERS) -> dict[str, str]:
    """Names as a figure shows them: short, different, escaped as Plotly's labels want it."""
    return {name: formatting.html_text(short) for name, short in formatting.short_names(names, most).items()}


def label_room(names: Iterable[str], most: int = MOST_LETTERS, letter: float = LETTER) -> int:
    """Pixels that the longest label of these names takes, cut to so many letters of this width."""
    return 14 + round(letter * max((min(len(name), most) for name in names), default=1))


def rank_axis(ranks: int) -> FigureSpec:
    """An axis of ranks, 1 on top; logarithmic where there are many, so that the top is seen."""
    if ranks > LINEAR_RANKS:
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if tick <= ranks]
        return {"type": "log", "range": [log10(ranks * 1.15), log10(0.85)], "tickvals": ticks, "showgrid": False}
    step = 1 if ranks <= 15 else 5
    ticks = sorted({1, *range(step, ranks + 1, step)})
    return {"range": [ranks + 0.6, 0.4], "tickvals": ticks, "showgrid": False}


def with_room(labels: list[FigureSpec], ranks: int, height: float) -> list[FigureSpec]:
    """The labels at ranks that do not lie on each other, earlier ones first; `height` is that of the axis in pixels."""
    low, high = rank_axis(ranks)["range"]
    kept: list[tuple[tuple[float, str], float, FigureSpec]] = []
    for label in labels:
        place = log10(label["y"]) if ranks > LINEAR_RANKS else label["y"]
        pixel, side = height * (place - high) / (low - high), (label["x"], label["xanchor"])
        if all(abs(pixel - other) >= LINE or side != beside for beside, other, _ in kept):
            kept.append((side, pixel, label))
    return [label for *_, label in kept]


def scale_labels(notes: list[FigureSpec], ranks: int) -> list[FigureSpec]:
    """Labels at ranks, as the axis of so many ranks wants them: Plotly takes the logarithm on a logarithmic one."""
    return [{**label, "y": log10(label["y"])} for label in notes] if ranks > LINEAR_RANKS else notes


def label_at(x: float, y: float, text: str, side: str, colour: str, **more: Any) -> FigureSpec:
    """A label to the left or right of a mark, on the ground of the page so that no line crosses it."""
    return {
        "x": x,
        "y": y,
        "text": text,
        "xanchor": "right" if side == "left" else "left",
        "xshift": -9 if side == "left" else 9,
        "showarrow": False,
        "bgcolor": "@bg",
        "borderpad": 1,
        "font": {"color": "@muted" if colour == PLAIN[0] else colour, "size": 11},
        **more,
    }


def scatter(mode: str, x: Sequence[object], y: Sequence[object], hover: str, **more: Any) -> FigureSpec:
    """Lines or marks (`mode`) with what is shown under the pointer, if anything; `more` as Plotly lists it."""
    shown = {"hovertemplate": f"{hover}<extra></extra>"} if hover else {"hoverinfo": "skip"}
    return {"type": "scatter", "showlegend": False, "mode": mode, "x": x, "y": y, **shown, **more}


def rank_line(look: Look, x: list[int], ranks: list[int], texts: list[str], hover: str, **marker: Any) -> FigureSpec:
    """A configuration's ranks as a line with marks."""
    line, mark = {"color": look.colour, "width": look.width, "dash": look.dash}, {"color": look.colour, **marker}
    return scatter("lines+markers", x, ranks, hover, line=line, marker=mark, text=texts)
