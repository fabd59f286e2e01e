"""Agreement of the host blocks: host against host, ranks, tau-b with its interval, inversions, decisions alone.

python -m report && python -m webbrowser site/agreement.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import agreeing, machines, words
from report.agreeing import SOURCE, Pair
from report.load import Audit
from report.page import Page, config_page
from report.pages import agreement_figures
from report.pages.overview import alone_page
from report.tables import Cell, Column, Row, Table, rows
from stages.domain import names

#: With fewer candidates the summary gives no interval: `stages.summary.pairs.FEWEST`, which would import scipy here.
FEWEST = 5
#: Pairs of candidates that a sentence names; the table has them all.
MOST_NAMED = 3


def pages(audit: Audit) -> Iterator[Page]:
    """The one page, a section a rung."""
    found = [_section(audit, rung, told) for rung, told in agreeing.rungs(audit)]
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
    pairs = agreeing.pairs(audit, told)
    tables = [means_table(audit, rung, told)]
    if any(pair.inversions for pair in pairs):
        tables.append(inversions_table(audit, rung, pairs))
    figures = [agreement_figures.scatter(audit, rung, told, pair) for pair in pairs]
    if len(told["hosts"]) > 1 and len(told["means"]) > 1:
        figures.append(agreement_figures.slopes(audit, rung, told, pairs))
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
    few, _ = words.first_few(pair.inversions, MOST_NAMED)
    named, more = "; ".join(f"{a} and {b}" for a, b in few), pair.discordant - len(few)
    pairs = words.count(pair.discordant, "pair")
    which = f": {named}" + (f"; and {words.plain(more)} more" if more > 0 else "")
    return f"{pair.first} and {pair.second} order {pairs} of candidates differently{which}."


def _alone(audit: Audit, rung: str, told: dict[str, Any]) -> str:
    """What each host block alone would have decided, in one sentence; empty where there is nothing to say."""
    same = agreeing.same_alone(audit, rung, told)
    if same is None or len(same) < 2:
        return ""
    differ = [host for host, alike in same.items() if not alike]
    if not differ:
        return f"{'Both' if len(same) == 2 else f'All {len(same)}'} alone would have decided the same."
    return f"{words.listed(differ)} alone would have decided otherwise."


def pairs_table(audit: Audit) -> Table:
    """One line a pair of host blocks and rung: tau-b, its interval, leaders, decisions alone."""
    made = []
    for rung, told in agreeing.rungs(audit):
        same = agreeing.same_alone(audit, rung, told)
        for pair in agreeing.pairs(audit, told):
            low, high = pair.interval or (None, None)
            many = sum(same.values()) if same is not None else None
            made.append(
                (
                    f"tau.{rung}.{pair.first}.{pair.second}",
                    {
                        "rung": Cell(rung, words.rung_title(rung), f"agreement.html#{rung}"),
                        "hosts": Cell(f"{pair.first}, {pair.second}", mark="name"),
                        "tau_b": pair.tau_b,
                        "interval": Cell(None, _span(low, high)),
                        "interval_low": low,
                        "interval_high": high,
                        "inversions": pair.discordant,
                        "alone": Cell(many, words.DASH if same is None else f"{many} of {len(same)}", alone_page(rung)),
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
    level = f"{words.plain(audit.agreement['level'] * 100)} % interval"
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
    return words.DASH if low is None else f"{words.number(low, 2)} to {words.number(high, 2)}"


def _config(name: str | None) -> Cell:
    return Cell(name, href=config_page(name) if name else "")


def means_table(audit: Audit, rung: str, told: dict[str, Any]) -> Table:
    """Mean val_bpb and rank of every candidate on every host block."""
    hosts = agreeing.hosts(audit, told)
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
    title = f"Mean val_bpb and rank on each host block, {words.rung_title(rung).lower()}"
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
        title=f"Inversions, {words.rung_title(rung).lower()}",
        columns=[
            Column("first", "First block"),
            Column("better_first", "Better there"),
            Column("second", "Second block"),
            Column("better_second", "Better there"),
        ],
        rows=rows(made),
        source=SOURCE,
        clock=audit.clock,
        note=f"The {listed} with the widest gaps of {words.plain(total)}." if listed < total else "",
    )
