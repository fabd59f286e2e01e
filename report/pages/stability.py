"""Stability: ranks from rung to rung, what became of early leaders, how much being picked as best flatters a number.

python -m report && python -m webbrowser site/stability.html
"""

from __future__ import annotations

from collections.abc import Iterator
from math import erf, exp, pi, sqrt
from typing import Any

from report import promotion_paths
from report.load import Audit
from report.page import Page, config_page, gate_page
from report.path_figure import path_figure
from report.tables import Cell, Column, Table, rows
from report.verdict import early_leader, lead
from stages.domain import formatting, names

#: Where every number comes from, whether the file lay there or was made from the ledger.
SOURCE = "locks/ and ledger/, as in artifacts/summary/stability.json"


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    told = audit.stability
    paths = list(promotion_paths.ladder(audit).values())
    made = [steps_table(audit, told), fates_table(audit, told), optimism_table(audit, told), ranks_table(audit)]
    many = len(audit.study.configs)
    context = {
        "early": early_leader(audit, lead(audit)),
        "figures": [path_figure(audit, paths, "ranks")],
        "many": many,
        "flattery": formatting.number(best_of(many), 2) if many > 1 else None,
    }
    yield Page("stability.html", "stability.html", "Stability", context, made)


def best_of(many: int) -> float:
    """How many standard deviations the best of so many equal configurations looks better than it is, on average.

    The expected maximum of `many` standard normal draws: the integral of x · n · φ(x) · Φ(x)^(n-1), by Simpson's rule
    over ±9 standard deviations. 12 draws give 1.63.
    """
    steps, reach = 1800, 9.0
    width = 2 * reach / steps
    total = 0.0
    for place in range(steps + 1):
        x = -reach + place * width
        below = (1 + erf(x / sqrt(2))) / 2
        weight = 1 if place in (0, steps) else 4 if place % 2 else 2
        total += weight * x * many * exp(-x * x / 2) / sqrt(2 * pi) * below ** (many - 1)
    return total * width / 3


def _config(name: str | None) -> Cell:
    return Cell(name, href=config_page(name) if name else "")


def _rung(rung: str) -> Cell:
    return Cell(rung, formatting.rung_title(rung), gate_page(names.gate_of(rung)))


def steps_table(audit: Audit, told: dict[str, Any]) -> Table:
    """Agreement of neighbouring rungs."""
    made = [
        (
            f"step.{one['from']}",
            {
                "from": _rung(one["from"]),
                "to": _rung(one["to"]),
                "tau_b": one["tau_b"],
                "candidates": one["candidates"],
                "leader_from": _config(one["leader_from"]),
                "leader_to": _config(one["leader_to"]),
            },
        )
        for one in told["steps"]
    ]
    columns = [
        Column("from", "From"),
        Column("to", "To"),
        Column(
            "tau_b", "Kendall's τ-b", "number", "between the means of the candidates that both rungs have", digits=3
        ),
        Column("candidates", "In both", "count"),
        Column("leader_from", "Leader before"),
        Column("leader_to", "Leader after"),
    ]
    return _table("steps", "Order from rung to rung", columns, made, audit, "It takes two judged rungs.")


def fates_table(audit: Audit, told: dict[str, Any]) -> Table:
    """What became of the leader of every rung."""
    made = [
        (
            f"fate.{one['rung']}",
            {
                "rung": _rung(one["rung"]),
                "config": _config(one["config"]),
                "stopped_at": Cell(
                    one["stopped_at"],
                    formatting.gate_title(one["stopped_at"]) if one["stopped_at"] else formatting.DASH,
                    gate_page(one["stopped_at"]) + f"#{one['config']}" if one["stopped_at"] else "",
                ),
                "last_rung": _rung(one["last_rung"]),
                "last_rank": one["last_rank"],
            },
        )
        for one in told["leader_fate"]
    ]
    columns = [
        Column("rung", "Leader of"),
        Column("config", "Configuration"),
        Column("stopped_at", "Stopped by"),
        Column("last_rung", "Last judged at"),
        Column("last_rank", "Rank there", "count"),
    ]
    return _table("fates", "What became of every rung's leader", columns, made, audit, "No rung has a leader yet.")


def optimism_table(audit: Audit, told: dict[str, Any]) -> Table:
    """The leader of a rung, measured again with fresh seeds."""
    keys = ("mean", "lead", "next_mean", "next_rank", "next_lead", "regret")
    made = [
        (
            f"optimism.{one['rung']}",
            {"rung": _rung(one["rung"]), "config": _config(one["config"]), **{key: one[key] for key in keys}},
        )
        for one in told["optimism"]
    ]
    columns = [
        Column("rung", "Leader of"),
        Column("config", "Configuration"),
        Column("lead", "Lead there", "signed", "ahead of the best other candidate that both rungs have"),
        Column("next_lead", "Lead at the next", "signed", "with fresh seeds; negative: behind"),
        Column("next_rank", "Rank at the next", "count"),
        Column("regret", "Behind the next leader", "signed"),
        Column("mean", "Mean there", "mean"),
        Column("next_mean", "Mean at the next", "mean"),
    ]
    title = "The winner's curse: a lead, and what was left of it with fresh seeds"
    return _table("optimism", title, columns, made, audit, "It takes two judged rungs.")


def ranks_table(audit: Audit) -> Table:
    """Ranks of every configuration at every rung where it was judged."""
    made = []
    for path in promotion_paths.ladder(audit).values():
        cells: dict[str, Any] = {"config": _config(path.config)}
        cells |= {step.rung: step.rank for step in path.steps}
        made.append((f"ranks.{path.config}", cells))
    columns = [Column("config", "Configuration")]
    columns += [Column(rung, formatting.rung_title(rung), "count") for rung in audit.study.rungs]
    title = "Rank by mean val_bpb at every rung"
    return Table("ranks", title, columns, rows(made), "ledger/decisions.jsonl", audit.clock)


def _table(
    id_: str, title: str, columns: list[Column], made: list[tuple[str, dict[str, Any]]], audit: Audit, empty: str
) -> Table:
    return Table(id_, title, columns, rows(made), SOURCE, audit.clock, tools=False, empty=empty)
