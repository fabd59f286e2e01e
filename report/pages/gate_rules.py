"""The tables of rules on a gate's page: the rules, rules by candidates, and every finding with its margin.

python -m report && python -m webbrowser site/gates/gate3.html#Rules
"""

from __future__ import annotations

from typing import Any

from report.load import Audit, Decision
from report.page import config_page, gate_page
from report.tables import Cell, Column, Row, Table, holds
from stages.domain import formatting
from stages.domain import rules as r
from stages.domain.judge import EVERYONE

#: What the observed value of a kind counts; the others are val_bpb.
COUNTS = frozenset(
    {
        "complete_cells",
        "fixed_runner",
        "fixed_data",
        "fresh_seeds",
        "fixed_environment",
        "diverged",
        "failed",
        "first_in_all_cells",
    }
)
EFFECTS = {
    "require": "must hold, or the gate is blocked",
    "promote": "promotes whom it holds for",
    "stop": "stops whom it holds for",
    "verdict": "a final statement",
}
#: The same over the columns of the matrix.
GROUPS = {"require": "must hold", "promote": "promote if met", "stop": "stop if met", "verdict": "verdicts"}
#: Names the whole gate where a rule speaks of no candidate; no configuration can be called so.
WHOLE = "Gate"


def _value(kind: str, value: float | None, signed: bool = False) -> Cell:
    """A number of a finding in the unit of its rule: a count, a tau, or val_bpb."""
    if value is None:
        return Cell(None)
    if kind in COUNTS:
        return Cell(
            value, f"{value:+g}".replace("-", formatting.MINUS) if signed and value else formatting.plain(value)
        )
    return Cell(value, formatting.signed(value) if signed else formatting.bpb(value))


def _margins(told: dict[str, Any]) -> list[tuple[float, str]]:
    """Sizes of the margins that are no mere count, with whom they belong to."""
    if told["kind"] in COUNTS:
        return []
    who = {EVERYONE: "whole gate"}
    return [
        (abs(one["margin"]), who.get(one["candidate"], one["candidate"]))
        for one in told["results"]
        if one["margin"] is not None
    ]


def rules_table(audit: Audit, gate: str, decision: Decision) -> Table:
    """The rules in their order: sentence, effect, how often each holds, and its closest call."""
    made = []
    for told in decision.value["rules"]:
        results = told["results"]
        closest = min(_margins(told), default=None)
        made.append(
            Row(
                told["id"],
                {
                    "rule": Cell(told["id"], href=f"{gate_page(gate)}#{told['id']}"),
                    "text": formatting.typeset(told["text"]),
                    "effect": Cell(told["effect"], EFFECTS[told["effect"]]),
                    "kind": told["kind"],
                    "holds": sum(1 for one in results if one["holds"] is True),
                    "fails": sum(1 for one in results if one["holds"] is False),
                    "unknown": Cell(
                        sum(1 for one in results if one["holds"] is None),
                        mark="bad" if any(one["holds"] is None for one in results) else "",
                    ),
                    "closest": Cell(
                        closest[0] if closest else None,
                        f"{_value(told['kind'], closest[0]).text} ({closest[1]})" if closest else None,
                    ),
                },
            )
        )
    return Table(
        id="rules-summary",
        title="The rules, in order",
        columns=[
            Column("rule", "Rule"),
            Column("text", "Says"),
            Column("effect", "Effect"),
            Column("kind", "Kind", hidden=True),
            Column("holds", "Holds", "count"),
            Column("fails", "Does not", "count"),
            Column("unknown", "Not evaluable", "count"),
            Column("closest", "Closest call", "number", "the smallest margin of any candidate, either way"),
        ],
        rows=made,
        source=decision.source,
        clock=audit.clock,
        tools=False,
    )


def verdict_tables(audit: Audit, gate: str, decision: Decision) -> list[Table]:
    """What the final rules say, each with its margin; no table where a gate has no such rule."""
    made = []
    for told in decision.value["rules"]:
        for one in told["results"] if told["effect"] == "verdict" else []:
            made.append(
                Row(
                    f"verdict.{told['id']}",
                    {
                        "rule": Cell(told["id"], href=f"{gate_page(gate)}#{told['id']}"),
                        "text": formatting.typeset(told["text"]),
                        "holds": holds(one["holds"], "verdict"),
                        "candidate": Cell(one["candidate"], href=config_page(one["candidate"])),
                        "observed": _value(told["kind"], one["observed"]),
                        "threshold": _value(told["kind"], one["threshold"]),
                        "margin": _value(told["kind"], one["margin"], signed=True),
                        "note": formatting.typeset(one["note"]),
                    },
                )
            )
    columns = [
        Column("rule", "Rule"),
        Column("holds", "Outcome", "holds"),
        Column("text", "Says"),
        Column("candidate", "Of"),
        Column("observed", "Observed", "number"),
        Column("threshold", "Threshold", "number"),
        Column("margin", "Margin", "number"),
        Column("note", "Note"),
    ]
    title, source = "The final verdicts", decision.source
    return [Table("verdicts", title, columns, made, source, audit.clock, tools=False)] if made else []


def matrix_table(audit: Audit, gate: str, decision: Decision) -> Table:
    """Candidates by rules: whether each holds, and by what margin."""
    told_rules = decision.value["rules"]
    by: dict[str, dict[str, dict[str, Any]]] = {}
    for told in told_rules:
        for one in told["results"]:
            by.setdefault(one["candidate"], {})[told["id"]] = one
    ranking = [one["config"] for one in decision.value["ranking"]]
    candidates = ranking + [one for one in decision.value["candidates"] if one not in ranking]
    others = sorted(set(by) - set(candidates) - {EVERYONE})  # a role that a verdict speaks of and was stopped before
    made = []
    for config in [*candidates, *others, *([EVERYONE] if EVERYONE in by else [])]:
        cells: dict[str, Any] = {
            "config": Cell("whole gate") if config == EVERYONE else Cell(config, href=config_page(config))
        }
        for told in told_rules:
            if one := by.get(config, {}).get(told["id"]):
                cells |= {told["id"]: _mark(gate, told, one), f"{told['id']}_margin": one["margin"]}
        made.append(Row(f"matrix.{_anchor(config)}", cells))
    columns = [Column("config", "Candidate")]
    for told in told_rules:
        columns.append(Column(told["id"], told["id"], "holds", group=GROUPS[told["effect"]]))
        columns.append(Column(f"{told['id']}_margin", f"{told['id']} margin", "number", hidden=True))
    return Table(
        id="matrix",
        title="Every rule against every candidate: holds or not, and its signed margin",
        columns=columns,
        rows=made,
        source=decision.source,
        clock=audit.clock,
        note="A positive margin is the distance by which a rule holds. – : the rule does not speak of this candidate.",
    )


def _anchor(candidate: str) -> str:
    return WHOLE if candidate == EVERYONE else candidate


def _mark(gate: str, told: dict[str, Any], one: dict[str, Any]) -> Cell:
    """A cell of the matrix. A stop rule that does not hold is no failure: the candidate is clear of it."""
    kind, held = told["kind"], one["holds"]
    clear = told["effect"] == "stop" and held is False
    margin = _value(kind, one["margin"], signed=True).text if one["margin"] is not None else ""
    if kind in COUNTS and (not one["margin"] or clear):
        margin = ""  # no broken run is no distance from anything
    order = one["margin"] if one["margin"] is not None else None if held is None else float(held)
    return Cell(
        held,
        "clear" if clear else formatting.HOLDS[held][0],
        f"{gate_page(gate)}#{told['id']}.{_anchor(one['candidate'])}",
        holds(held, told["effect"]).mark,
        formatting.typeset(one["note"]) or formatting.HOLDS[held][1],
        margin or "",
        sort=order,
    )


def findings_table(audit: Audit, gate: str, decision: Decision) -> Table:
    """Every finding on a line of its own."""
    made = []
    for told in decision.value["rules"]:
        seen: dict[str, int] = {}
        for one in told["results"]:
            seen[one["candidate"]] = n = seen.get(one["candidate"], 0) + 1
            made.append(
                Row(
                    f"{told['id']}.{_anchor(one['candidate'])}" + (f".{n}" if n > 1 else ""),
                    {
                        "rule": Cell(told["id"], href=f"{gate_page(gate)}#{told['id']}"),
                        "candidate": Cell(
                            one["candidate"], "whole gate" if one["candidate"] == EVERYONE else one["candidate"]
                        ),
                        "observed": _value(told["kind"], one["observed"]),
                        "threshold": _value(told["kind"], one["threshold"]),
                        "margin": _value(told["kind"], one["margin"], signed=True),
                        "holds": holds(one["holds"], told["effect"]),
                        "note": one["note"],
                    },
                )
            )
    return Table(
        id="findings",
        title="Every finding: rule, candidate, observed value, threshold, signed margin",
        columns=[
            Column("rule", "Rule"),
            Column("candidate", "Candidate"),
            Column("holds", "Outcome", "holds"),
            Column("margin", "Margin", "number"),
            Column("observed", "Observed", "number"),
            Column("threshold", "Threshold", "number"),
            Column("note", "Note"),
        ],
        rows=made,
        source=decision.source,
        clock=audit.clock,
    )


def _effect(rule: r.Rule) -> Cell:
    effect = r.EFFECTS[rule.kind]
    return Cell(effect, EFFECTS[effect])


def planned_table(audit: Audit, gate: str) -> Table:
    """The rules of a gate that has judged nobody."""
    frozen = gate in audit.locks
    rules = audit.locks[gate].lock.frozen.rules if frozen else audit.study.gates[gate]
    made = [
        Row(rule_id, {"rule": rule_id, "text": formatting.typeset(r.say(rule)), "effect": _effect(rule)})
        for rule_id, rule in r.in_order(dict(rules))
    ]
    source = f"locks/{gate}.yaml" if frozen else f"params.yaml, gates.{gate}: not frozen"
    columns = [Column("rule", "Rule"), Column("text", "Says"), Column("effect", "Effect")]
    return Table("rules-summary", "The rules, in order", columns, made, source, audit.clock, tools=False)
