"""What each host block alone would have decided at a gate, by the same frozen rules.

python -m report && python -m webbrowser site/gates/gate3.html#Hosts
"""

from __future__ import annotations

from typing import Any

from report import agreeing, ladder
from report.load import Audit, Decision
from report.page import config_page
from report.tables import Cell, Column, Table, holds, rows


def tables(audit: Audit, gate: str, rung: str, decision: Decision) -> list[Table]:
    """The one table; none in a what-if, whose rules the summary does not judge by, or with one host block."""
    told = dict(agreeing.rungs(audit)).get(rung)
    same = agreeing.same_alone(audit, rung, told) if told else None
    if told is None or same is None or len(same) < 2:
        return []
    last = ladder.is_last(audit, rung)
    made = []
    for host, alike in same.items():
        alone = told["host_alone"][host]
        cells: dict[str, Any] = {
            "host": host,
            "same": Cell(alike, "✓ the same" if alike else "✕ differs", mark="holds-yes" if alike else "holds-no"),
            "outcome": alone["outcome"],
        }
        cells |= _verdict_cells(alone, decision) if last else _promotion_cells(alone, decision)
        made.append((f"alone.{host}", cells))
    columns = [Column("host", "Host block"), Column("same", "Against the decision"), Column("outcome", "Outcome")]
    columns += _verdict_columns(decision) if last else _PROMOTION_COLUMNS
    return [
        Table(
            id="alone",
            title="Had each host block decided alone",
            columns=columns,
            rows=rows(made),
            source=agreeing.SOURCE,
            clock=audit.clock,
            note="Rules that compare host blocks are left out.",
            tools=False,
        )
    ]


_PROMOTION_COLUMNS = [
    Column("promoted", "Would promote"),
    Column("added", "Promoted only by it"),
    Column("dropped", "Not promoted by it"),
]


def _names(configs: set[str]) -> Cell:
    text = ", ".join(sorted(configs))
    return Cell(text or None, text or "nobody")


def _promotion_cells(alone: dict[str, Any], decision: Decision) -> dict[str, Any]:
    mine, promoted = set(alone["promoted"]), set(decision.value["promoted"])
    return {"promoted": _names(mine), "added": _names(mine - promoted), "dropped": _names(promoted - mine)}


def _verdict_columns(decision: Decision) -> list[Column]:
    told = {rule["id"]: rule["text"] for rule in decision.value["rules"]}
    return [
        Column("winner", "Winner"),
        *(Column(rule, rule, "holds", told.get(rule, "").rstrip(".")) for rule in decision.value["verdicts"]),
    ]


def _verdict_cells(alone: dict[str, Any], decision: Decision) -> dict[str, Any]:
    first = alone["first"]
    verdicts = {rule: holds(alone["verdicts"].get(rule), "verdict") for rule in decision.value["verdicts"]}
    return {"winner": Cell(first, href=config_page(first) if first else ""), **verdicts}
