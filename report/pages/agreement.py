"""Agreement of the host blocks: host against host, ranks, tau-b with its interval, inversions, decisions alone.

python -m report && python -m webbrowser site/agreement.html

The figures of agreement at one rung: host block against host block, and ranks that slope from one to the other.

python -m report && python -m webbrowser site/agreement.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import figures, host_agreement, machines, promotion_paths
from report.figures import Figure
from report.host_agreement import SOURCE, Pair
from report.load import Audit
from report.page import Page, config_page
from report.pages.overview import alone_page
from report.path_figure import stars
from report.promotion_paths import Path
from report.tables import Cell, Column, Row, Table, rows
from stages.domain import formatting, names

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
    paths, best = promotion_paths.ladder(audit), stars(audit)
    points = [
        (paths[name], means[pair.first], means[pair.second])
        for name, means in told["means"].items()
        if means[pair.first] is not None and means[pair.second] is not None
    ]
    drawn = _named_last(points, best)
    looks = [figures.look(path, best) for (path, _, _), _ in drawn]
    values = [value for _, x, y in points for value in (x, y)] or [0.0, 1.0]
    low, high = min(values), max(values)
    tau = "not defined" if pair.tau_b is None else formatting.number(pair.tau_b, 2)
    return Figure(
        f"figure.scatter.{rung}.{pair.first}.{pair.second}",
        f"{formatting.rung_title(rung)}: {pair.second} against {pair.first}",
        "Each mark is a candidate's mean val_bpb on the two host blocks; on the diagonal they are equal. "
        "Sizes differ so that no named mark hides another. "
        f"τ-b {tau} over {formatting.count(len(points), 'candidate')}.",
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
                "text": [formatting.html_text(path.config) for (path, _, _), _ in drawn],
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
    hosts, paths, best = host_agreement.hosts(audit, told), promotion_paths.ladder(audit), stars(audit)
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
    inverted = formatting.count(sum(pair.discordant for pair in pairs), "pair")
    room = figures.room(path.config for path in drawn)
    return Figure(
        f"figure.slopes.{rung}",
        f"{formatting.rung_title(rung)}: ranks on each host block",
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
        "text": [formatting.html_text(path.config)] * len(ranks),
        "hovertemplate": "%{text}: rank %{y}<extra></extra>",
        "showlegend": False,
    }


#: With fewer candidates the summary gives no interval: `stages.summary.pairs.FEWEST`, which would import scipy here.
FEWEST = 5
#: Pairs of candidates that a sentence names; the table has them all.
MOST_NAMED = 3


def pages(audit: Audit) -> Iterator[Page]:
    """The one page, a section a rung."""
    found = [_section(audit, rung, told) for rung, told in host_agreement.rungs(audit)]
    made = [pairs_table(audit), *(table for one in found for table in one["tables"])]
    context = {
        "sections": found,
        "figures": [figure for one in found for figure in one["figures"]],
        "level": audit.agreement["level"],
        "one_host": len(audit.study.hosts) == 1,
        "plainly": machines.plainly(audit),
    }
    yield Page("agreement.html", "agreement.html", "Agreement of the host blocks", context, made)


def _section(audit: Audit, rung: str, told: dict[str, Any]) -> dict[str, Any]:
    pairs = host_agreement.pairs(audit, told)
    tables = [means_table(audit, rung, told)]
    if any(pair.inversions for pair in pairs):
        tables.append(inversions_table(audit, rung, pairs))
    figures = [scatter(audit, rung, told, pair) for pair in pairs]
    if len(told["hosts"]) > 1 and len(told["means"]) > 1:
        figures.append(slopes(audit, rung, told, pairs))
    return {
        "rung": rung,
        "gate": names.gate_of(rung),
        "pairs": [(pair, _said(pair)) for pair in pairs],
        "alone": _alone(audit, rung, told),
        "alone_page": alone_page(rung),
        "tables": tables,
        "figures": figures,
    }


def _said(pair: Pair) -> str:
    """How two host blocks order the candidates, in one sentence."""
    if not pair.discordant:
        return f"{pair.first} and {pair.second} order all candidates alike."
    few, _ = formatting.first_few(pair.inversions, MOST_NAMED)
    named, more = "; ".join(f"{a} and {b}" for a, b in few), pair.discordant - len(few)
    pairs = formatting.count(pair.discordant, "pair")
    which = f": {named}" + (f"; and {formatting.plain(more)} more" if more > 0 else "")
    return f"{pair.first} and {pair.second} order {pairs} of candidates differently{which}."


def _alone(audit: Audit, rung: str, told: dict[str, Any]) -> str:
    """What each host block alone would have decided, in one sentence; empty where there is nothing to say."""
    same = host_agreement.same_alone(audit, rung, told)
    if same is None or len(same) < 2:
        return ""
    differ = [host for host, alike in same.items() if not alike]
    if not differ:
        return f"{'Both' if len(same) == 2 else f'All {len(same)}'} alone would have decided the same."
    return f"{formatting.listed(differ)} alone would have decided otherwise."


def pairs_table(audit: Audit) -> Table:
    """One line a pair of host blocks and rung: tau-b, its interval, leaders, decisions alone."""
    made = []
    for rung, told in host_agreement.rungs(audit):
        same = host_agreement.same_alone(audit, rung, told)
        for pair in host_agreement.pairs(audit, told):
            low, high = pair.interval or (None, None)
            many = sum(same.values()) if same is not None else None
            made.append(
                (
                    f"tau.{rung}.{pair.first}.{pair.second}",
                    {
                        "rung": Cell(rung, formatting.rung_title(rung), f"agreement.html#{rung}"),
                        "hosts": Cell(f"{pair.first}, {pair.second}", mark="name"),
                        "tau_b": pair.tau_b,
                        "interval": Cell(None, _span(low, high)),
                        "interval_low": low,
                        "interval_high": high,
                        "inversions": pair.discordant,
                        "alone": Cell(
                            many, formatting.DASH if same is None else f"{many} of {len(same)}", alone_page(rung)
                        ),
                        "leader_first": _config(told["leaders"].get(pair.first)),
                        "leader_second": _config(told["leaders"].get(pair.second)),
                        "candidates": pair.candidates,
                        "jaccard": told["overlap"]["jaccard"],
                    },
                )
            )
    blocks = list(audit.study.hosts)
    one_pair = len(blocks) == 2
    first, second = blocks if one_pair else ("the first", "the second")
    level = f"{formatting.plain(audit.agreement['level'] * 100)} % interval"
    return Table(
        id="pairs",
        title=f"Agreement of {' and '.join(blocks) if one_pair else 'the host blocks'}, rung by rung",
        columns=[
            Column("rung", "Rung"),
            Column("hosts", "Host blocks", hidden=one_pair),
            Column("alone", "Same decision alone", "number", "host blocks that alone would have decided the same"),
            Column("tau_b", "Kendall's τ-b", "number", "1: the same order; 0: unrelated; −1: reversed", digits=3),
            Column("interval", level, "number", f"none with fewer than {FEWEST} candidates", page_only=True),
            Column("interval_low", f"{level}, low", "number", hidden=True),
            Column("interval_high", f"{level}, high", "number", hidden=True),
            Column("inversions", "Inversions", "count", "pairs of candidates that the two blocks order differently"),
            Column("leader_first", f"Leader on {first}"),
            Column("leader_second", f"Leader on {second}"),
            Column("candidates", "Candidates", "count"),
            Column(
                "jaccard",
                "Overlap",
                "number",
                "of those that any block alone would have promoted, the share that all would have",
                digits=2,
            ),
        ],
        rows=rows(made),
        source=SOURCE,
        clock=audit.clock,
        tools=False,
        empty="No rung has evidence yet.",
    )


def _span(low: float | None, high: float | None) -> str:
    return formatting.DASH if low is None else f"{formatting.number(low, 2)} to {formatting.number(high, 2)}"


def _config(name: str | None) -> Cell:
    return Cell(name, href=config_page(name) if name else "")


def means_table(audit: Audit, rung: str, told: dict[str, Any]) -> Table:
    """Mean val_bpb and rank of every candidate on every host block."""
    hosts = host_agreement.hosts(audit, told)
    made = []
    for name in sorted(told["means"], key=lambda name: tuple(told["ranks"][name][host] or 10**9 for host in hosts)):
        cells: dict[str, Any] = {"config": Cell(name, href=config_page(name))}
        for host in hosts:
            cells[f"{host}_mean"], cells[f"{host}_rank"] = told["means"][name][host], told["ranks"][name][host]
        ranks = [told["ranks"][name][host] for host in hosts]
        cells["moves"] = max(ranks) - min(ranks) if None not in ranks else None
        made.append(Row(f"{rung}.{name}", cells))
    columns = [Column("config", "Candidate")]
    for host in hosts:
        columns += [
            Column(f"{host}_rank", "Rank", "count", group=host),
            Column(f"{host}_mean", "Mean", "mean", group=host),
        ]
    columns.append(Column("moves", "Ranks apart", "count"))
    title = f"Mean val_bpb and rank on each host block, {formatting.rung_title(rung).lower()}"
    return Table(f"means-{rung}", title, columns, made, SOURCE, audit.clock)


def inversions_table(audit: Audit, rung: str, pairs: list[Pair]) -> Table:
    """The pairs of candidates that two host blocks order differently, those with the widest gaps first."""
    made, listed = [], 0
    for pair in pairs:
        listed += len(pair.inversions)
        for one, other in pair.inversions:
            cells = {
                "first": Cell(pair.first, mark="name"),
                "second": Cell(pair.second, mark="name"),
                "better_first": _config(one),
                "better_second": _config(other),
            }
            made.append((f"inversion.{rung}.{pair.first}.{pair.second}.{one}.{other}", cells))
    total = sum(pair.discordant for pair in pairs)
    return Table(
        id=f"inversions-{rung}",
        title=f"Inversions, {formatting.rung_title(rung).lower()}",
        columns=[
            Column("first", "First block"),
            Column("better_first", "Better there"),
            Column("second", "Second block"),
            Column("better_second", "Better there"),
        ],
        rows=rows(made),
        source=SOURCE,
        clock=audit.clock,
        note=f"The {listed} with the widest gaps of {formatting.plain(total)}." if listed < total else "",
    )
