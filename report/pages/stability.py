"""Stability: ranks from rung to rung, what became of early leaders, how much being picked as best flatters a number.

python -m report && python -m webbrowser site/stability.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import ladder, words
from report.load import Audit
from report.page import Page, config_page, gate_page
from report.pages.overview import path_figure
from report.tables import Cell, Column, Table, rows

SOURCE = "artifacts/summary/stability.json"


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    told = audit.stability or {}
    paths, first = list(ladder.ladder(audit).values()), ladder.winner(audit)
    made = [steps_table(audit, told), fates_table(audit, told), optimism_table(audit, told), ranks_table(audit, told)]
    context = {
        "told": told,
        "early": early(audit, told, first),
        "figures": [path_figure(audit, paths, first, "ranks")],
    }
    yield Page("stability.html", "stability.html", "Stability", context, made)


def early(audit: Audit, told: dict[str, Any], first: str | None) -> str:
    """What became of the first rung's leader, in one sentence."""
    fates = told.get("leader_fate", [])
    if not fates:
        return "No rung has a leader yet."
    one = fates[0]
    name, rung = one["config"], words.rung_title(one["rung"]).lower()
    if name == first:
        return f"{name} led {rung} and won: the cheapest rung would have picked the same."
    if one["stopped_at"]:
        rank = f" at rank {one['last_rank']}" if one["last_rank"] else ""
        fate = f"it was stopped by {words.gate_title(one['stopped_at']).lower()}{rank}"
    else:
        fate = f"it came to {words.rung_title(one['last_rung']).lower()}, at rank {one['last_rank']}"
    won = (
        f" The winner, {first}, was rank {told['winner']['ranks'].get(one['rung'], '–')} there."
        if told.get("winner")
        else ""
    )
    return f"{name} led {rung} and did not win: {fate}.{won}"


def _config(name: str | None) -> Cell:
    return Cell(name, href=config_page(name) if name else "")


def _rung(rung: str) -> Cell:
    return Cell(rung, words.rung_title(rung), gate_page("gate" + rung.removeprefix("rung")))


def steps_table(audit: Audit, told: dict[str, Any]) -> Table:
    """Agreement of neighbouring rungs."""
    made = [
        (
            f"step-{one['from']}",
            {
                "from": _rung(one["from"]),
                "to": _rung(one["to"]),
                "candidates": one["candidates"],
                "tau_b": Cell(one["tau_b"], words.number(one["tau_b"], 3)),
                "leader_from": _config(one["leader_from"]),
                "leader_to": _config(one["leader_to"]),
            },
        )
        for one in told.get("steps", [])
    ]
    columns = [
        Column("from", "From"),
        Column("to", "To"),
        Column("candidates", "In both", "count"),
        Column("tau_b", "Kendall's τ-b", "number"),
        Column("leader_from", "Leader before"),
        Column("leader_to", "Leader after"),
    ]
    return Table("steps", "Order from rung to rung", columns, rows(made), SOURCE, audit.clock, tools=False)


def fates_table(audit: Audit, told: dict[str, Any]) -> Table:
    """What became of the leader of every rung."""
    made = [
        (
            f"fate-{one['rung']}",
            {
                "rung": _rung(one["rung"]),
                "config": _config(one["config"]),
                "last_rung": _rung(one["last_rung"]),
                "last_rank": one["last_rank"],
                "stopped_at": Cell(
                    one["stopped_at"],
                    words.gate_title(one["stopped_at"]) if one["stopped_at"] else words.DASH,
                    gate_page(one["stopped_at"]) + f"#{one['config']}" if one["stopped_at"] else "",
                ),
            },
        )
        for one in told.get("leader_fate", [])
    ]
    columns = [
        Column("rung", "Leader of"),
        Column("config", "Configuration"),
        Column("last_rung", "Last judged at"),
        Column("last_rank", "Rank there", "count"),
        Column("stopped_at", "Stopped by"),
    ]
    return Table("fates", "What became of every rung's leader", columns, rows(made), SOURCE, audit.clock, tools=False)


def optimism_table(audit: Audit, told: dict[str, Any]) -> Table:
    """The leader of a rung, measured again with fresh seeds."""
    made = [
        (
            f"optimism-{one['rung']}",
            {
                "rung": _rung(one["rung"]),
                "config": _config(one["config"]),
                "mean": one["mean"],
                "lead": one.get("lead"),
                "next_mean": one["next_mean"],
                "next_rank": one.get("next_rank"),
                "next_lead": one.get("next_lead"),
                "regret": one["regret"],
            },
        )
        for one in told.get("optimism", [])
    ]
    columns = [
        Column("rung", "Leader of"),
        Column("config", "Configuration"),
        Column("mean", "Mean there", "mean"),
        Column("lead", "Lead there", "signed", "Ahead of the best other candidate that both rungs have"),
        Column("next_mean", "Mean at the next", "mean"),
        Column("next_rank", "Rank at the next", "count"),
        Column("next_lead", "Lead at the next", "signed", "Negative: behind"),
        Column("regret", "Behind the next leader", "signed"),
    ]
    title = "The winner's curse: a lead, and what was left of it with fresh seeds"
    return Table("optimism", title, columns, rows(made), SOURCE, audit.clock, tools=False)


def ranks_table(audit: Audit, told: dict[str, Any]) -> Table:
    """Ranks of every configuration at every rung where it was judged."""
    made = []
    for path in ladder.ladder(audit).values():
        cells: dict[str, Any] = {"config": _config(path.config)}
        cells |= {step.rung: step.rank for step in path.steps}
        made.append((f"ranks-{path.config}", cells))
    columns = [Column("config", "Configuration")]
    columns += [Column(rung, words.rung_title(rung), "count") for rung in audit.study.rungs]
    title = "Rank by mean val_bpb at every rung"
    return Table("ranks", title, columns, rows(made), "ledger/decisions.jsonl", audit.clock)
