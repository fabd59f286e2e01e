"""A gate: its rules, what each says of every candidate and by what margin, the evidence, the chain of digests.

python -m report && python -m webbrowser site/gates/gate3.html

What each host block alone would have decided at a gate, by the same frozen rules.

python -m report && python -m webbrowser site/gates/gate3.html#Hosts

What surrounds a gate's decision: the noise floor, the locked split, the amendments of its lock.

python -m report && python -m webbrowser site/gates/gate3.html#Evidence
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import host_agreement, promotion_paths
from report.chain import chains, standing
from report.decisions import nearest_floor, what_if
from report.load import Audit, Decision
from report.page import Page, config_page, gate_page, rung_page
from report.pages import gate_evidence, gate_outcome, gate_rules
from report.pages.gate_evidence import run_score
from report.tables import Cell, Column, Table, holds, rows
from stages.domain import formatting, names
from stages.domain.decision import decision_from_json, why_blocked


def tables(audit: Audit, gate: str, rung: str, decision: Decision) -> list[Table]:
    """The one table; none in a what-if, whose rules the summary does not judge by, or with one host block."""
    told = dict(host_agreement.rungs(audit)).get(rung)
    same = host_agreement.same_alone(audit, rung, told) if told else None
    if told is None or same is None or len(same) < 2:
        return []
    last = promotion_paths.is_last(audit, rung)
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
            source=host_agreement.SOURCE,
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


def floor_table(audit: Audit, rung: str, decision: Decision) -> Table:
    """The A/A runs of the reference with the noise that they make: what a threshold must be larger than."""
    floor = decision.value["floor"]
    found = [run for run in audit.by_rung[rung] if run.record.purpose == "floor" and run.record.executed]
    made = []
    for host in sorted(floor, key=audit.host_order):
        cells = {"host": host, "runs": floor[host]["runs"], "sd": floor[host]["variance"] ** 0.5}
        scores = {f"seed_{run.record.seed}": run_score(run) for run in found if run.record.host == host}
        made.append((f"floor.{host}", {**cells, **scores}))
    seeds = sorted({run.record.seed for run in found})
    return Table(
        id="floor",
        title="A/A noise floor: the reference against itself, other seeds",
        columns=[
            Column("host", "Host block"),
            Column("runs", "Runs", "count"),
            Column(
                "sd",
                "Standard deviation of val_bpb",
                "bpb",
                "of the runs to the right, as of a sample (n − 1)",
            ),
            *(Column(f"seed_{seed}", f"Seed {seed}", "bpb") for seed in seeds),
        ],
        rows=rows(made),
        source=f"{decision.source}; ledger/runs.jsonl",
        clock=audit.clock,
        tools=False,
    )


def locked_table(audit: Audit, rung: str, decision: Decision) -> Table | None:
    """Means on the locked split beside those that the gates read; None where the rung was not scored on it."""
    cells = audit.study.cells(rung)
    found: list[tuple[str, float, float]] = []
    for one in decision.value["ranking"]:
        facts = [audit.runs[run].record.facts or {} for run in _ids(audit, rung, one["config"]) if run in audit.runs]
        scores = [fact["locked_bpb"] for fact in facts if fact.get("locked_bpb") is not None]
        if len(scores) == len(cells):
            found.append((one["config"], one["mean"], sum(scores) / len(scores)))
    if not found:
        return None
    ranks = {name: n for n, (name, _, _) in enumerate(sorted(found, key=lambda one: (one[2], one[0])), start=1)}
    made = []
    for n, (name, mean, locked) in enumerate(found, start=1):
        told = {"config": Cell(name, href=config_page(name)), "mean": mean, "rank": n, "locked": round(locked, 9)}
        made.append((f"locked.{name}", {**told, "locked_rank": ranks[name], "difference": round(locked - mean, 9)}))
    return Table(
        id="locked",
        title="The locked split: text that no gate ever read",
        columns=[
            Column("config", "Candidate"),
            Column("mean", "Mean val_bpb", "mean"),
            Column("rank", "Rank", "count"),
            Column("locked", "Mean locked_bpb", "mean"),
            Column("locked_rank", "Rank, locked", "count"),
            Column("difference", "Locked less val", "signed"),
        ],
        rows=rows(made),
        source="ledger/runs.jsonl",
        clock=audit.clock,
        tools=False,
    )


def _ids(audit: Audit, rung: str, config: str) -> list[str]:
    return [names.run_id(rung, config, host, seed) for host, seed in audit.study.cells(rung)]


def amendments_table(audit: Audit, gate: str) -> Table:
    """Every change of the lock after evidence of its rung existed."""
    made = []
    for n, one in enumerate(audit.locks[gate].lock.frozen.amendments, start=1):
        for where, both in sorted(one.changed.items()):
            made.append(
                (
                    f"amendment.{n}.{where}",
                    {
                        "number": n,
                        "reason": one.reason,
                        "what": where,
                        "was": str(both.get("was")),
                        "is": str(both.get("is")),
                        "replaces": one.replaces,
                    },
                )
            )
    return Table(
        id="amendments",
        title="Amendments: rules changed after evidence existed",
        columns=[
            Column("number", "No.", "count"),
            Column("reason", "Reason given"),
            Column("what", "What"),
            Column("was", "Was"),
            Column("is", "Is"),
            Column("replaces", "Replaces lock", "digest"),
        ],
        rows=rows(made),
        source=names.lock_path(gate).as_posix(),
        clock=audit.clock,
        tools=False,
    )


def pages(audit: Audit) -> Iterator[Page]:
    """One page a gate."""
    order = [names.gate_of(rung) for rung in audit.study.rungs]
    for place, gate in enumerate(order):
        beside = (order[place - 1] if place else None, order[place + 1] if place + 1 < len(order) else None)
        yield _page(audit, gate, names.rung_of(gate), beside)


def _tables(audit: Audit, gate: str, rung: str) -> list[Table]:
    decision, lock = audit.decisions.get(gate), audit.locks.get(gate)
    made = [gate_evidence.evidence_table(audit, rung)]
    if decision is None or not decision.value["candidates"]:
        made.append(gate_rules.planned_table(audit, gate))
    else:
        made += [
            gate_outcome.outcome_table(audit, gate, rung, decision),
            gate_rules.rules_table(audit, gate, decision),
            *gate_rules.verdict_tables(audit, gate, decision),
            gate_rules.matrix_table(audit, gate, decision),
            gate_rules.findings_table(audit, gate, decision),
            *tables(audit, gate, rung, decision),
        ]
        if decision.value["floor"]:
            made.append(floor_table(audit, rung, decision))
        if (locked := locked_table(audit, rung, decision)) is not None:
            made.append(locked)
    if lock is not None and lock.lock.frozen.amendments:
        made.append(amendments_table(audit, gate))
    return made


def _page(audit: Audit, gate: str, rung: str, beside: tuple[str | None, str | None]) -> Page:
    decision, lock, chain = audit.decisions.get(gate), audit.locks.get(gate), chains(audit)[gate]
    value: dict[str, Any] = decision.value if decision else {}
    return Page(
        path=gate_page(gate),
        template="gate.html",
        title=formatting.gate_title(gate),
        context={
            "gate": gate,
            "rung": rung,
            "before": beside[0],
            "after": beside[1],
            "last": promotion_paths.is_last(audit, rung),
            "decision": decision,
            "blocked": value.get("outcome") == "blocked",
            "why_blocked": [formatting.typeset(line) for line in why_blocked(decision_from_json(value, gate, ""))]
            if value
            else [],
            "empty": promotion_paths.why_empty(audit, rung),
            "lock": lock,
            "budget": audit.study.rungs[rung].budget_seconds,
            "cells": len(audit.study.cells(rung)),
            "rung_page": rung_page(rung),
            "chain": chain,
            "standing": standing(chain),
            "what_if": what_if(audit, gate),
            "frozen_promoted": value.get("frozen_promoted"),
            "floor": nearest_floor(audit, gate),
            "missing": promotion_paths.missing_runs(audit, rung),
            "signature": (audit.root / f"{names.lock_path(gate).as_posix()}.sig").is_file(),
        },
        tables=_tables(audit, gate, rung),
    )


def _why_blocked(value: dict[str, Any]) -> list[str]:
    return why_blocked(decision_from_json(value, "decision", "")) if value else []
