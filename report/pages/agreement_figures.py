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

#: A candidate with its means on two host blocks.
Point = tuple[Path, float, float]

HEIGHT = 360
#: Pixels of a plain mark, of the first named one, and how much smaller each named one is than the one before, which
#: therefore looks out from under it where two lie on each other.
PLAIN_SIZE, NAMED_SIZE, STEP = 8, 15, 3


def _named_last(points: list[Point], best: figures.Stars) -> list[tuple[Point, int]]:
    """The points in the order in which they are drawn, each with the size of its mark."""
    named = [one for one in points if figures.named(one[0], best)]
    plain = [(one, PLAIN_SIZE) for one in points if one not in named]
    return plain + [(one, max(PLAIN_SIZE - 1, NAMED_SIZE - STEP * n)) for n, one in enumerate(named)]


def _legend(points: list[Point], best: figures.Stars) -> tuple[tuple[str, str, str, str], ...]:
    """Whose the named marks are. Names inside the figure would lie on other marks; the slopes name the others."""
    found = []
    for path, _, _ in points:
        if figures.named(path, best):
            says = [path.config, *path.roles, *(["led the first rung"] if path.config == best.early else [])]
            style = figures.look(path, best)
            found.append((style.colour, "", style.symbol, " · ".join(says)))
    others = ((figures.PLAIN[0], "", figures.PLAIN[2], "other candidates"),) if len(found) < len(points) else ()
    return (*found, *others)


def scatter(audit: Audit, rung: str, told: dict[str, Any], pair: Pair) -> Figure:
    """Mean val_bpb of every candidate on two host blocks."""
    paths, best = ladder.ladder(audit), stars(audit)
    points = [
        (paths[name], means[pair.first], means[pair.second])
        for name, means in told["means"].items()
        if means[pair.first] is not None and means[pair.second] is not None
    ]
    drawn = _named_last(points, best)
    looks = [figures.look(path, best) for (path, _, _), _ in drawn]
    values = [value for _, x, y in points for value in (x, y)] or [0.0, 1.0]
    low, high = min(values), max(values)
    tau = "not defined" if pair.tau_b is None else words.number(pair.tau_b, 2)
    return Figure(
        f"figure.scatter.{rung}.{pair.first}.{pair.second}",
        f"{words.rung_title(rung)}: {pair.second} against {pair.first}",
        "Each mark is a candidate's mean val_bpb on the two host blocks; on the diagonal they are equal. "
        "Sizes differ so that no named mark hides another. "
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
                "x": [x for (_, x, _), _ in drawn],
                "y": [y for (_, _, y), _ in drawn],
                "text": [words.html_text(path.config) for (path, _, _), _ in drawn],
                "marker": {
                    "color": [one.colour for one in looks],
                    "symbol": [one.symbol for one in looks],
                    "size": [size for _, size in drawn],
                    "line": {"width": 1, "color": "@bg"},
                    "opacity": 1,
                },
                "hovertemplate": "%{text}<br>%{x:.6f} · %{y:.6f}<extra></extra>",
                "showlegend": False,
            },
        ],
        {
            "xaxis": {"title": {"text": f"mean val_bpb on {pair.first}"}, "nticks": 6},
            "yaxis": {"title": {"text": f"mean val_bpb on {pair.second}"}, "nticks": 6},
            "margin": {"l": 66, "r": 16, "t": 16, "b": 58},
        },
        {"margin": {"l": 56, "r": 12, "t": 12, "b": 56}},
        HEIGHT,
        legend=_legend(points, best),
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
