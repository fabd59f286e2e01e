"""A gate: its rules, what each says of every candidate and by what margin, the evidence, the chain of digests.

python -m report && python -m webbrowser site/gates/gate3.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import ladder, words
from report.chain import chains, standing
from report.deciding import nearest_floor, what_if
from report.load import Audit
from report.page import Page, gate_page, rung_page
from report.pages import gate_alone, gate_evidence, gate_outcome, gate_proof, gate_rules
from report.tables import Table
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
