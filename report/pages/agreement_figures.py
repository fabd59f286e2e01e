"""The figures of agreement at one rung: host block against host block, and ranks that slope from one to the other.

python -m report && python -m webbrowser site/agreement.html
"""

from __future__ import annotations

from typing import Any

from report import agreeing, figures, ladder, words
from report.agreeing import Pair
from report.figures import Figure
from report.ladder import Path
from report.load import Audit
from report.paths import stars

HEIGHT = 360
#: Pixels of the plotted area that a figure of `HEIGHT` has, and those that a line of text takes.
PLOTTED, LINE = 290, 15


def _spread(values: list[float]) -> list[float]:
    """How many pixels to shift labels upwards, given their heights in pixels, so that no two lie on each other."""
    shifts = [0.0] * len(values)
    top = float("-inf")
    for place in sorted(range(len(values)), key=lambda n: (values[n], n)):
        wanted = max(values[place], top + LINE)
        shifts[place] = round(wanted - values[place], 1)
        top = wanted
    return shifts


def _notes(
    points: list[tuple[Path, float, float]], ends: tuple[float, float], best: figures.Stars
) -> list[dict[str, Any]]:
    """Names of the marked points: to the left of a point in the right half, shifted apart where they would overlap."""
    low, high = ends
    size = (high - low) or 1.0
    names = figures.labels(path.config for path, _, _ in points)
    made = []
    for side in ("left", "right"):
        here = [one for one in points if (one[1] > low + size / 2) is (side == "left")]
        shifts = _spread([(y - low) / size * PLOTTED for _, _, y in here])
        for (path, x, y), shift in zip(here, shifts, strict=True):
            text, colour = names[path.config], figures.look(path, best).colour
            made.append(figures.note(x, y, text, side, colour, bgcolor="rgba(0,0,0,0)", yshift=shift))
    return made


def scatter(audit: Audit, rung: str, told: dict[str, Any], pair: Pair) -> Figure:
    """Mean val_bpb of every candidate on two host blocks."""
    paths, best = ladder.ladder(audit), stars(audit)
    points = [
        (paths[name], means[pair.first], means[pair.second])
        for name, means in told["means"].items()
        if means[pair.first] is not None and means[pair.second] is not None
    ]
    looks = [figures.look(path, best) for path, _, _ in points]
    values = [value for _, x, y in points for value in (x, y)] or [0.0, 1.0]
    low, high = min(values), max(values)
    marked = [one for one in points if figures.named(one[0], best)]
    tau = "not defined" if pair.tau_b is None else words.number(pair.tau_b, 2)
    return Figure(
        f"figure.scatter.{rung}.{pair.first}.{pair.second}",
        f"{words.rung_title(rung)}: {pair.second} against {pair.first}",
        "Each mark is a candidate's mean val_bpb on the two host blocks; on the diagonal they are equal. "
        f"τ-b {tau} over {words.count(len(points), 'candidate')}.",
        f"means-{rung}",
        [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [low, high],
                "y": [low, high],
                "line": {"color": "@c0", "width": 1, "dash": "dot"},
                "hoverinfo": "skip",
                "showlegend": False,
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x for _, x, _ in points],
                "y": [y for _, _, y in points],
                "text": [words.html_text(path.config) for path, _, _ in points],
                "marker": {
                    "color": [one.colour for one in looks],
                    "symbol": [one.symbol for one in looks],
                    "size": [11 if one.marked else 8 for one in looks],
                    "line": {"width": 0},
                    "opacity": 1,
                },
                "hovertemplate": "%{text}<br>%{x:.6f} · %{y:.6f}<extra></extra>",
                "showlegend": False,
            },
        ],
        {
            "xaxis": {"title": {"text": f"mean val_bpb on {pair.first}"}, "nticks": 6},
            "yaxis": {"title": {"text": f"mean val_bpb on {pair.second}"}, "nticks": 6},
            "annotations": _notes(marked, (low, high), best),
            "margin": {"l": 66, "r": 16, "t": 16, "b": 58},
        },
        {"margin": {"l": 56, "r": 12, "t": 12, "b": 56}},
        HEIGHT,
    )


def slopes(audit: Audit, rung: str, told: dict[str, Any], pairs: list[Pair]) -> Figure:
    """Ranks on each host block; the best of a large rung, and those with a name."""
    hosts, paths, best = agreeing.hosts(audit, told), ladder.ladder(audit), stars(audit)
    ranks = {name: [told["ranks"][name][host] for host in hosts] for name in told["ranks"]}
    ranked = sorted(
        (name for name, mine in ranks.items() if None not in mine), key=lambda name: (min(ranks[name]), name)
    )
    drawn = figures.chosen([paths[name] for name in ranked], best)
    names = figures.labels(path.config for path in drawn)
    notes = [
        figures.note(
            len(hosts) - 1, ranks[path.config][-1], names[path.config], "right", figures.look(path, best).colour
        )
        for path in drawn
        if len(drawn) <= figures.MOST_NAMES or figures.named(path, best)
    ]
    lowest = max((max(ranks[path.config]) for path in drawn), default=1)
    inverted = words.count(sum(pair.discordant for pair in pairs), "pair")
    room = figures.room(path.config for path in drawn)
    return Figure(
        f"figure.slopes.{rung}",
        f"{words.rung_title(rung)}: ranks on each host block",
        f"A line that slopes changes rank; {inverted} of candidates change order."
        + figures.drawn_of(len(drawn), len(ranked), lowest),
        f"means-{rung}",
        [_slope(path, ranks[path.config], best) for path in drawn],
        {
            "xaxis": {
                "tickvals": list(range(len(hosts))),
                "ticktext": hosts,
                "range": [-0.06, len(hosts) - 0.94],
                "side": "top",
                "tickangle": 0,
            },
            "yaxis": {**figures.rank_axis(lowest), "title": {"text": "rank"}},
            "annotations": figures.on_axis(notes, lowest),
            "margin": {"l": 52, "r": room, "t": 36, "b": 16},
        },
        {"yaxis.title.text": "", "margin": {"l": 32, "r": room, "t": 36, "b": 12}},
        HEIGHT,
    )


def _slope(path: Path, ranks: list[int], best: figures.Stars) -> dict[str, Any]:
    style = figures.look(path, best)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": list(range(len(ranks))),
        "y": ranks,
        "line": {"color": style.colour, "width": style.width, "dash": style.dash},
        "marker": {"color": style.colour, "symbol": style.symbol, "size": 8},
        "text": [words.html_text(path.config)] * len(ranks),
        "hovertemplate": "%{text}: rank %{y}<extra></extra>",
        "showlegend": False,
    }
