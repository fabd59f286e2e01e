"""A gate: its rules, what each says of every candidate and by what margin, the evidence, the chain of digests.

python -m report && python -m webbrowser site/gates/gate3.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import ladder, words
from report.chain import chains, standing
from report.deciding import nearest_floor, what_if
from report.ladder import Step
from report.load import Audit, Run
from report.page import Page, config_page, gate_page, run_page, rung_page
from report.pages import gate_alone, gate_outcome, gate_proof, gate_rules
from report.tables import Cell, Column, Row, Table
from stages.domain import names
from stages.domain.decision import why_blocked


def pages(audit: Audit) -> Iterator[Page]:
    """One page a gate."""
    order = [names.gate_of(rung) for rung in audit.study.rungs]
    for place, gate in enumerate(order):
        beside = (order[place - 1] if place else None, order[place + 1] if place + 1 < len(order) else None)
        yield _page(audit, gate, names.rung_of(gate), beside)


def _tables(audit: Audit, gate: str, rung: str) -> list[Table]:
    decision, lock = audit.decisions.get(gate), audit.locks.get(gate)
    made = [evidence_table(audit, rung)]
    if decision is None or not decision.value["candidates"]:
        made.append(gate_rules.planned_table(audit, gate))
    else:
        made += [
            gate_outcome.outcome_table(audit, gate, rung, decision),
            gate_rules.rules_table(audit, gate, decision),
            *gate_rules.verdict_tables(audit, gate, decision),
            gate_rules.matrix_table(audit, gate, decision),
            gate_rules.findings_table(audit, gate, decision),
            *gate_alone.tables(audit, gate, rung, decision),
        ]
        if decision.value["floor"]:
            made.append(gate_proof.floor_table(audit, rung, decision))
        if (locked := gate_proof.locked_table(audit, rung, decision)) is not None:
            made.append(locked)
    if lock is not None and lock.lock.frozen.amendments:
        made.append(gate_proof.amendments_table(audit, gate))
    return made


def _page(audit: Audit, gate: str, rung: str, beside: tuple[str | None, str | None]) -> Page:
    decision, lock, chain = audit.decisions.get(gate), audit.locks.get(gate), chains(audit)[gate]
    value: dict[str, Any] = decision.value if decision else {}
    return Page(
        path=gate_page(gate),
        template="gate.html",
        title=words.gate_title(gate),
        context={
            "gate": gate,
            "rung": rung,
            "before": beside[0],
            "after": beside[1],
            "last": ladder.is_last(audit, rung),
            "decision": decision,
            "blocked": value.get("outcome") == "blocked",
            "why_blocked": [words.typeset(line) for line in why_blocked(value)] if value else [],
            "empty": ladder.why_empty(audit, rung),
            "lock": lock,
            "budget": audit.study.rungs[rung].budget_seconds,
            "cells": len(audit.study.cells(rung)),
            "rung_page": rung_page(rung),
            "chain": chain,
            "standing": standing(chain),
            "what_if": what_if(audit, gate),
            "frozen_promoted": value.get("frozen_promoted"),
            "floor": nearest_floor(audit, gate),
            "missing": ladder.missing_runs(audit, rung),
            "signature": (audit.root / f"{names.lock_path(gate).as_posix()}.sig").is_file(),
        },
        tables=_tables(audit, gate, rung),
    )


def evidence_table(audit: Audit, rung: str) -> Table:
    """Every cell of every candidate, with the rules that the numbers met."""
    decision = audit.decisions.get(names.gate_of(rung))
    cells, place = audit.study.cells(rung), list(audit.study.rungs).index(rung)
    columns = [
        Column("config", "Candidate"),
        Column("decided_by", "Decided by", hidden=decision is None or ladder.is_last(audit, rung)),
        Column("mean", "Mean", "mean"),
        Column("worst_host", "Worst host", "mean"),
    ]
    columns += [Column(f"{host}_{seed}", f"{host} · {seed}", "bpb") for host, seed in cells]
    standing_ = {one["config"]: one for one in decision.value["ranking"]} if decision else {}
    order = {name: n for n, name in enumerate(standing_)}
    made = []
    for config in sorted(ladder.candidates(audit, rung) or [], key=lambda one: (order.get(one, 10**9), one)):
        step = ladder.ladder(audit)[config].steps[place]
        row: dict[str, Any] = {
            "config": Cell(config, href=config_page(config)),
            "decided_by": gate_outcome.decided(audit, names.gate_of(rung), step),
        }
        for host, seed in cells:
            row[f"{host}_{seed}"] = score(audit, names.run_id(rung, config, host, seed), step)
        told = standing_.get(config, {})
        row |= {"mean": told.get("mean"), "worst_host": told.get("worst_host")}
        made.append(Row(config, row))
    return Table(
        id="evidence",
        title=f"val_bpb of every candidate in every cell of {words.rung_title(rung).lower()}",
        columns=columns,
        rows=made,
        source="ledger/runs.jsonl; each number links to its run, with line and digests",
        clock=audit.clock,
        empty=f"None: {why}."
        if (why := ladder.why_empty(audit, rung))
        else "Not known before the gate before has decided.",
    )


def score(audit: Audit, run: str, step: Step) -> Cell:
    """The score of a run, linked; or in words why there is none."""
    found: Run | None = audit.runs.get(run)
    if step.state == "unrun":
        return Cell(None, "not run")
    if found is None or not found.record.executed:
        return Cell(None, "missing", mark="bad")
    value = found.record.val_bpb
    if value is None:
        return Cell(None, found.record.status, run_page(run), "bad", found.record.reason or "")
    return Cell(float(value), None, run_page(run))
