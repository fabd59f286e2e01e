"""The overview: question, verdict, promotion path, cost and agreement at a glance. A team lead reads this page alone.

python -m report && python -m webbrowser site/index.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import figures, ladder, words
from report.ladder import Path
from report.load import Audit
from report.page import Page, config_page, gate_page
from report.tables import Cell, Column, Row, Table
from report.verdict import verdict
from stages.domain import names

#: Rows of the matrix on this page; the whole of it stands on the page of configurations.
MOST_ROWS = 60


def pages(audit: Audit) -> Iterator[Page]:
    """The one overview."""
    paths = list(ladder.ladder(audit).values())
    first = ladder.winner(audit)
    yield Page(
        path="index.html",
        template="overview.html",
        title="Overview",
        context={
            "verdict": verdict(audit),
            "counts": ladder.counts(audit),
            "steps": _steps(audit),
            "more": max(0, len(paths) - MOST_ROWS),
            "figures": [path_figure(audit, paths, first, "paths")],
            "accounting": audit.accounting,
            "counterfactual": _unrun(audit),
            "facts": _facts(audit),
        },
        tables=[path_table(audit, paths[:MOST_ROWS], "paths"), agreement_table(audit)],
    )


def _steps(audit: Audit) -> list[dict[str, Any]]:
    """One column of the ladder for each rung: budget, cells, candidates, hours."""
    found = []
    told = (audit.accounting or {}).get("rungs", {})
    for rung, many in ladder.counts(audit):
        found.append(
            {
                "rung": rung,
                "gate": names.gate_of(rung),
                "candidates": many,
                "budget": audit.study.rungs[rung].budget_seconds,
                "cells": len(audit.study.cells(rung)),
                "hours": told.get(rung, {}).get("executed_hours"),
            }
        )
    return found


def _facts(audit: Audit) -> dict[str, Any]:
    amended = sum(len(one.lock.frozen.amendments) for one in audit.locks.values())
    return {
        "configs": len(audit.study.configs),
        "hosts": len(audit.study.hosts),
        "runs": len(audit.executed),
        "frozen": len(audit.locks),
        "gates": len(audit.study.gates),
        "decided": sum(1 for one in audit.decisions.values() if one.value["outcome"] == "decided"),
        "amended": amended,
        "missing": sum(len(ladder.missing_runs(audit, rung)) for rung in audit.study.rungs),
    }


def axis(audit: Audit) -> list[str]:
    """Labels of the rungs: number, budget, candidates."""
    found = []
    for rung, many in ladder.counts(audit):
        budget = words.seconds(audit.study.rungs[rung].budget_seconds)
        found.append(f"<b>{words.rung_title(rung)}</b><br>{budget}<br>{'–' if many is None else many}")
    return found


def path_figure(audit: Audit, paths: list[Path], first: str | None, table: str) -> figures.Figure:
    """The promotion path as ranks from rung to rung."""
    many = " → ".join("?" if one is None else str(one) for _, one in ladder.counts(audit))
    alt = (
        f"Candidates at each rung: {many}. Each line is a configuration's rank by mean val_bpb; it ends with ✕ and the "
        "rule where a gate stopped it."
    )
    if first:
        ranks = [str(step.rank) for step in ladder.ladder(audit)[first].steps if step.rank]
        alt += f" The winner, {first}, ranked {', '.join(ranks)}."
        lead = ladder.leader(audit, next(iter(audit.study.rungs)))
        if lead != first:
            alt += f" {lead} led the first rung."
    if len(paths) > figures.MOST_LINES:
        alt += f" The {figures.MOST_LINES} that came furthest are drawn, and those with a role."
    lead = ladder.leader(audit, next(iter(audit.study.rungs)))
    return figures.bump("promotion-path", "Promotion path", alt, table, paths, axis(audit), figures.Stars(first, lead))


def path_table(audit: Audit, paths: list[Path], id_: str) -> Table:
    """The matrix of configurations and rungs: what became of each, its rank and its mean."""
    columns = [Column("config", "Configuration"), Column("roles", "Role", hidden=True)]
    for rung in audit.study.rungs:
        budget = words.seconds(audit.study.rungs[rung].budget_seconds)
        columns.append(Column(rung, f"{words.rung_title(rung)} · {budget}"))
        for key, kind in (("rank", "count"), ("mean", "mean"), ("rules", "text")):
            columns.append(Column(f"{rung}_{key}", f"{rung} {key}", kind, hidden=True))  # type: ignore[arg-type]
    return Table(
        id=id_,
        title="What became of every configuration at every rung",
        columns=columns,
        rows=[_row(path) for path in paths],
        source="ledger/decisions.jsonl",
        clock=audit.clock,
        note="# is the rank by mean val_bpb among that rung's candidates; the mean stands below it.",
    )


def _row(path: Path) -> Row:
    cells: dict[str, Any] = {
        "config": Cell(path.config, href=config_page(path.config), tags=path.roles),
        "roles": ", ".join(path.roles),
    }
    for step in path.steps:
        glyph, text = words.STATES[step.state]
        short = {"kept": "kept", "absent": "", "waiting": "undecided"}.get(step.state, text)
        rank = f" #{step.rank}" if step.rank else ""
        rules = step.by or step.unmet
        mean = f"mean val_bpb {words.bpb(step.mean)}; " if step.mean is not None else ""
        cells[step.rung] = Cell(
            step.state,
            f"{glyph} {short}{rank}".strip(),
            gate_page(names.gate_of(step.rung)) + f"#{path.config}" if text and step.state != "absent" else "",
            f"state-{step.state}",
            f"{mean}{'by' if step.by else 'unmet'} {', '.join(rules)}" if rules else mean.removesuffix("; "),
            words.number(step.mean, 4) if step.mean is not None else "",
        )
        cells |= {f"{step.rung}_rank": step.rank, f"{step.rung}_mean": step.mean, f"{step.rung}_rules": " ".join(rules)}
    return Row(f"path-{path.config}", cells, mark="winner" if any(s.state == "winner" for s in path.steps) else "")


def agreement_table(audit: Audit) -> Table:
    """For each decided rung: tau of the hosts, their leaders, and whether each alone would have decided the same."""
    made = []
    for rung, told in (audit.agreement or {}).get("rungs", {}).items():
        decision = audit.decisions.get(names.gate_of(rung))
        promoted = decision.value["promoted"] if decision else []
        same = sum(1 for one in told["host_alone"].values() if one["promoted"] == promoted)
        taus = [pair["tau_b"] for pair in told["pairs"] if pair["tau_b"] is not None]
        leaders = sorted({one for one in told["leaders"].values() if one})
        made.append(
            Row(
                f"agreement-{rung}",
                {
                    "rung": Cell(rung, words.rung_title(rung), f"agreement.html#{rung}"),
                    "tau_b": Cell(min(taus, default=None), words.number(min(taus, default=None), 2)),
                    "leaders": Cell(", ".join(leaders), ("✓ " if len(leaders) == 1 else "✕ ") + words.listed(leaders)),
                    "alone": Cell(same, f"{same} of {len(told['host_alone'])}"),
                },
            )
        )
    return Table(
        id="agreement-glance",
        title="Do the host blocks tell one story?",
        columns=[
            Column("rung", "Rung"),
            Column(
                "tau_b",
                "τ-b",
                "number",
                "Kendall's tau-b between host blocks; the smallest where there are several pairs",
            ),
            Column("leaders", "Leader on each block"),
            Column("alone", "Alone the same", "number", "Host blocks that alone would have promoted the same"),
        ],
        rows=made,
        source="artifacts/summary/agreement.json",
        clock=audit.clock,
        tools=False,
    )


def _unrun(audit: Audit) -> dict[str, Any] | None:
    """The widest counterfactual: all candidates of the first rung, had they gone to the last."""
    told = (audit.accounting or {}).get("counterfactuals", [])
    return max(told, key=lambda one: float(one["hours"]), default=None)
