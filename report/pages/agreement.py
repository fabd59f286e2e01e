"""Agreement of the host blocks: host against host, ranks, tau-b with its interval, inversions, decisions alone.

python -m report && python -m webbrowser site/agreement.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import figures, ladder, words
from report.figures import Figure
from report.load import Audit
from report.page import Page, config_page, gate_page
from report.tables import Cell, Column, Row, Table, rows
from stages.domain import names

SOURCE = "artifacts/summary/agreement.json"


def pages(audit: Audit) -> Iterator[Page]:
    """The one page, a section a rung."""
    told: dict[str, Any] = (audit.agreement or {}).get("rungs", {})
    sections, made = [], [pairs_table(audit, told)]
    drawn: list[Figure] = []
    for rung, one in told.items():
        means = means_table(audit, rung, one)
        made.append(means)
        found = [_scatter(audit, rung, one, pair) for pair in one["pairs"]]
        if len(one["hosts"]) > 1 and len(one["means"]) > 1:
            found.append(_slopes(audit, rung, one))
        drawn += found
        sections.append(
            {"rung": rung, "told": one, "table": means.id, "figures": found, "decision": _promoted(audit, rung)}
        )
    context = {"sections": sections, "figures": drawn, "level": (audit.agreement or {}).get("level", 0.95)}
    yield Page("agreement.html", "agreement.html", "Agreement of the host blocks", context, made)


def _promoted(audit: Audit, rung: str) -> list[str]:
    decision = audit.decisions.get(names.gate_of(rung))
    return list(decision.value["promoted"]) if decision else []


def _config(name: str | None) -> Cell:
    return Cell(name, href=config_page(name) if name else "")


def _stars(audit: Audit) -> figures.Stars:
    return figures.Stars(ladder.winner(audit), ladder.leader(audit, next(iter(audit.study.rungs))))


def pairs_table(audit: Audit, told: dict[str, Any]) -> Table:
    """One line a pair of host blocks and rung: tau-b, its interval, leaders, decisions alone."""
    made = []
    for rung, one in told.items():
        same = sum(1 for alone in one["host_alone"].values() if alone["promoted"] == _promoted(audit, rung))
        for pair in one["pairs"]:
            first, second = pair["hosts"]
            low, high = pair["interval"] or (None, None)
            made.append(
                (
                    f"tau-{rung}-{first}-{second}",
                    {
                        "rung": Cell(rung, words.rung_title(rung), f"agreement.html#{rung}"),
                        "hosts": f"{first}, {second}",
                        "candidates": pair["candidates"],
                        "tau_b": Cell(pair["tau_b"], words.number(pair["tau_b"], 3)),
                        "interval": Cell(
                            None if low is None else f"{low} to {high}",
                            words.DASH if low is None else f"{words.number(low, 2)} to {words.number(high, 2)}",
                        ),
                        "inversions": pair.get("discordant", len(pair["inversions"])),
                        "leader_first": _config(one["leaders"].get(first)),
                        "leader_second": _config(one["leaders"].get(second)),
                        "alone": Cell(
                            same, f"{same} of {len(one['host_alone'])}", f"{gate_page(names.gate_of(rung))}#hosts"
                        ),
                        "jaccard": Cell(one["overlap"]["jaccard"], words.number(one["overlap"]["jaccard"], 2)),
                    },
                )
            )
    return Table(
        id="pairs",
        title="Agreement of the host blocks, rung by rung",
        columns=[
            Column("rung", "Rung"),
            Column("hosts", "Host blocks"),
            Column("candidates", "Candidates", "count"),
            Column("tau_b", "Kendall's τ-b", "number", "1: the same order; 0: unrelated; −1: reversed"),
            Column("interval", "95 % interval", "number"),
            Column("inversions", "Inversions", "count", "Pairs of candidates that the two blocks order differently"),
            Column("leader_first", "Leader on the first"),
            Column("leader_second", "Leader on the second"),
            Column("alone", "Same decision alone", "number", "Host blocks that alone would have promoted the same"),
            Column("jaccard", "Overlap", "number", "Jaccard index of what each block alone would have promoted"),
        ],
        rows=rows(made),
        source=SOURCE,
        clock=audit.clock,
        tools=False,
    )


def means_table(audit: Audit, rung: str, one: dict[str, Any]) -> Table:
    """Mean val_bpb and rank of every candidate on every host block."""
    hosts = one["hosts"]
    made = []
    order = sorted(one["means"], key=lambda name: tuple(one["ranks"][name][host] or 10**9 for host in hosts))
    for name in order:
        cells: dict[str, Any] = {"config": Cell(name, href=config_page(name))}
        for host in hosts:
            cells[f"{host}_mean"], cells[f"{host}_rank"] = one["means"][name][host], one["ranks"][name][host]
        ranks = [one["ranks"][name][host] for host in hosts]
        cells["moves"] = max(ranks) - min(ranks) if None not in ranks else None
        made.append(Row(f"{rung}-{name}", cells))
    columns = [Column("config", "Candidate")]
    for host in hosts:
        columns += [Column(f"{host}_mean", f"Mean, {host}", "mean"), Column(f"{host}_rank", f"Rank, {host}", "count")]
    columns.append(Column("moves", "Ranks apart", "count"))
    title = f"Mean val_bpb and rank on each host block, {words.rung_title(rung).lower()}"
    return Table(f"means-{rung}", title, columns, made, SOURCE, audit.clock)


def _scatter(audit: Audit, rung: str, one: dict[str, Any], pair: dict[str, Any]) -> Figure:
    first, second = pair["hosts"]
    points = [
        (name, means[first], means[second])
        for name, means in one["means"].items()
        if means[first] is not None and means[second] is not None
    ]
    paths = ladder.ladder(audit)
    best = _stars(audit)
    looks = [figures.look(paths[name], best) for name, _, _ in points]
    values = [value for _, x, y in points for value in (x, y)] or [0.0]
    low, high = min(values), max(values)
    named = [points[n] for n, path in enumerate(points) if paths[path[0]].roles or path[0] in (best.winner, best.early)]
    notes = [
        {
            "x": x,
            "y": y,
            "text": words.html_text(name),
            "showarrow": False,
            "xanchor": "left",
            "xshift": 9,
            "font": {"color": figures.look(paths[name], best)[0], "size": 11},
        }
        for name, x, y in named
    ]
    tau = "not defined" if pair["tau_b"] is None else words.number(pair["tau_b"], 2)
    number = rung.removeprefix("rung")
    return Figure(
        f"scatter-{number}-{first}-{second}",
        f"{words.rung_title(rung)}: {second} against {first}",
        "Each mark is a candidate's mean val_bpb on the two host blocks; on the diagonal they are equal. "
        f"τ-b {tau} over {words.count(len(points), 'candidate')}.",
        f"means-{rung}",
        [
            {
                "type": "scatter",
                "mode": "lines",
                "x": [low, high],
                "y": [low, high],
                "line": {"color": "@grid", "width": 2},
                "hoverinfo": "skip",
                "showlegend": False,
            },
            {
                "type": "scatter",
                "mode": "markers",
                "x": [x for _, x, _ in points],
                "y": [y for _, _, y in points],
                "text": [words.html_text(name) for name, _, _ in points],
                "marker": {"color": [one[0] for one in looks], "symbol": [one[2] for one in looks], "size": 9},
                "hovertemplate": "%{text}<br>%{x:.6f} · %{y:.6f}<extra></extra>",
                "showlegend": False,
            },
        ],
        {
            "xaxis": {"title": {"text": f"mean val_bpb on {first}"}},
            "yaxis": {"title": {"text": f"mean val_bpb on {second}"}},
            "annotations": notes,
            "margin": {"l": 66, "r": 40, "t": 12, "b": 48},
        },
        {"margin": {"l": 52, "r": 24, "t": 8, "b": 44}},
        360,
    )


def _slopes(audit: Audit, rung: str, one: dict[str, Any]) -> Figure:
    hosts, paths, best = one["hosts"], ladder.ladder(audit), _stars(audit)
    data: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    shown = sorted(one["ranks"], key=lambda name: min(one["ranks"][name][host] or 10**9 for host in hosts))
    for name in shown[: figures.MOST_LINES]:
        ranks = [one["ranks"][name][host] for host in hosts]
        if None in ranks:
            continue
        colour, dash, symbol, width = figures.look(paths[name], best)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": list(range(len(hosts))),
                "y": ranks,
                "line": {"color": colour, "width": width, "dash": dash},
                "marker": {"color": colour, "symbol": symbol, "size": 8},
                "text": [words.html_text(name)] * len(hosts),
                "hovertemplate": "%{text}: rank %{y}<extra></extra>",
                "showlegend": False,
            }
        )
        if len(shown) <= figures.MOST_NAMES or paths[name].roles:
            notes.append(
                {
                    "x": len(hosts) - 1,
                    "y": ranks[-1],
                    "text": words.html_text(name),
                    "showarrow": False,
                    "xanchor": "left",
                    "xshift": 9,
                    "font": {"color": colour if paths[name].roles else "@muted", "size": 11},
                }
            )
    lowest = max((max(item["y"]) for item in data), default=1)
    notes = figures.on_axis(notes, lowest)
    inverted = sum(pair.get("discordant", len(pair["inversions"])) for pair in one["pairs"])
    return Figure(
        f"slopes-{rung.removeprefix('rung')}",
        f"{words.rung_title(rung)}: ranks on each host block",
        f"A line that slopes changes rank; {words.count(inverted, 'pair')} of candidates change order.",
        f"means-{rung}",
        data,
        {
            "xaxis": {
                "tickvals": list(range(len(hosts))),
                "ticktext": hosts,
                "range": [-0.15, len(hosts) - 0.6],
                "side": "top",
            },
            "yaxis": {**figures.rank_axis(lowest), "title": {"text": "rank"}},
            "annotations": notes,
            "margin": {"l": 48, "r": 40, "t": 36, "b": 12},
        },
        {"yaxis.title.text": "", "margin": {"l": 28, "r": 40, "t": 36, "b": 8}},
        360,
    )
