"""A gate: its frozen rules, what each says of every candidate and by what margin, the evidence, the chain of digests.

python -m report && python -m webbrowser site/gates/gate3.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import ladder, words
from report.deciding import nearest_floor, roles_of, rules_of
from report.flip import flip_of, lead_of
from report.load import Audit, Decision, Run
from report.page import Page, config_page, gate_page, run_page, rung_page
from report.pages import gate_proof, gate_rules
from report.tables import Cell, Column, Row, Table, state
from stages.domain import names

#: Below so many standard deviations of the A/A floor, luck could have decided.
LUCK = 2.0


def pages(audit: Audit) -> Iterator[Page]:
    """One page a gate."""
    paths = ladder.ladder(audit)
    for rung in audit.study.rungs:
        yield _page(audit, names.gate_of(rung), rung, paths)


def _page(audit: Audit, gate: str, rung: str, paths: dict[str, ladder.Path]) -> Page:
    decision, lock = audit.decisions.get(gate), audit.locks.get(gate)
    made = [evidence_table(audit, rung, decision)]
    if decision is not None:
        made += [
            outcome_table(audit, gate, rung, decision, paths),
            gate_rules.rules_table(audit, gate, decision),
            *gate_rules.verdict_tables(audit, gate, decision),
            gate_rules.matrix_table(audit, gate, decision),
            gate_rules.findings_table(audit, gate, decision),
        ]
        if decision.value["floor"]:
            made.append(gate_proof.floor_table(audit, rung, decision))
        if (locked := gate_proof.locked_table(audit, rung, decision)) is not None:
            made.append(locked)
        if alone := gate_proof.alone(audit, rung):
            made.append(gate_proof.alone_table(audit, gate, decision, alone))
    else:
        made.append(gate_rules.planned_table(audit, gate))
    if lock is not None and lock.lock.frozen.amendments:
        made.append(gate_proof.amendments_table(audit, gate))
    return Page(
        path=gate_page(gate),
        template="gate.html",
        title=words.gate_title(gate),
        context={
            "gate": gate,
            "rung": rung,
            "last": rung == audit.study.last_rung and not (decision and decision.value["promoted"]),
            "decision": decision,
            "lock": lock,
            "budget": audit.study.rungs[rung].budget_seconds,
            "cells": len(audit.study.cells(rung)),
            "rung_page": rung_page(rung),
            "chain": gate_proof.chain(audit, gate, rung),
            "floor": nearest_floor(audit, gate),
            "missing": ladder.missing_runs(audit, rung),
            "signature": (audit.root / f"{names.lock_path(gate).as_posix()}.sig").is_file(),
        },
        tables=made,
    )


def _where(decision: Decision) -> str:
    return f"{decision.line} (md5 {decision.line.md5})"


def outcome_table(audit: Audit, gate: str, rung: str, decision: Decision, paths: dict[str, ladder.Path]) -> Table:
    """Every candidate: what became of it, by which rules, and how far it is from the other fate."""
    rules, roles, floor = rules_of(audit, gate), roles_of(audit, gate), nearest_floor(audit, gate)
    final = rung == audit.study.last_rung and not decision.value["promoted"]
    place = list(audit.study.rungs).index(rung)
    steps = {name: path.steps[place] for name, path in paths.items()}
    candidates = sorted(decision.value["candidates"], key=lambda one: (steps[one].rank or 10**9, one))
    made = []
    for config in candidates:
        step = steps[config]
        flip = lead_of(decision.value, config) if final else flip_of(decision.value, rules, roles, config)
        noise = abs(flip.shift) / floor[1] if floor and floor[1] and flip.shift is not None else None
        made.append(
            Row(
                f"outcome-{config}",
                {
                    "config": Cell(config, href=config_page(config)),
                    "outcome": state(step.state),
                    "rank": step.rank,
                    "mean": step.mean,
                    "by": _rules(gate, step.by),
                    "unmet": " ".join(step.unmet),
                    "flips_at": Cell(flip.shift, flip.note or None, note=flip.note),
                    "flips_by": flip.rule,
                    "in_noise": _noise(noise),
                },
            )
        )
    return Table(
        id="outcome",
        title=f"Outcome of {words.gate_title(gate).lower()}",
        columns=[
            Column("config", "Candidate"),
            Column("outcome", "Outcome", "state"),
            Column("rank", "Rank", "count"),
            Column("mean", "Mean val_bpb", "mean"),
            Column("by", "Decided by"),
            Column("unmet", "Unmet promote rules"),
            Column(
                "flips_at",
                "Flips at",
                "signed",
                "Change of its own val_bpb, in all cells alike, that would change its fate",
            ),
            Column("flips_by", "Through rule"),
            Column("in_noise", "In noise", "number", "The same distance in standard deviations of the A/A noise floor"),
        ],
        rows=made,
        source=_where(decision),
        clock=audit.clock,
    )


def _noise(times: float | None) -> Cell:
    """A distance in standard deviations of the noise floor; under `LUCK` it is marked, by words too."""
    if times is None:
        return Cell(None)
    close = times < LUCK
    return Cell(round(times, 6), f"{'within noise: ' if close else ''}{times:.1f} ×", mark="bad" if close else "")


def _rules(gate: str, ids: tuple[str, ...]) -> Cell:
    return Cell(" ".join(ids), href=f"{gate_page(gate)}#{ids[0]}" if ids else "")


def evidence_table(audit: Audit, rung: str, decision: Decision | None) -> Table:
    """Every cell of every candidate, with the rules that the numbers met."""
    cells = audit.study.cells(rung)
    columns = [Column("config", "Candidate"), Column("decided_by", "Decided by")]
    columns += [Column(f"{host}_{seed}", f"{host} · {seed}", "bpb") for host, seed in cells]
    columns += [Column("mean", "Mean", "mean"), Column("worst_host", "Worst host", "mean")]
    standing = {one["config"]: one for one in decision.value["ranking"]} if decision else {}
    who = sorted({config for config, _, _ in ladder.expected_cells(audit, rung)})
    order = {name: n for n, name in enumerate(standing)}
    made = []
    for config in sorted(who, key=lambda one: (order.get(one, 10**9), one)):
        row: dict[str, Any] = {
            "config": Cell(config, href=config_page(config)),
            "decided_by": _decided(config, decision),
        }
        for host, seed in cells:
            row[f"{host}_{seed}"] = score(audit, names.run_id(rung, config, host, seed))
        told = standing.get(config, {})
        row |= {"mean": told.get("mean"), "worst_host": told.get("worst_host")}
        made.append(Row(config, row))
    return Table(
        id="evidence",
        title=f"val_bpb of every candidate in every cell of {words.rung_title(rung).lower()}",
        columns=columns,
        rows=made,
        source="ledger/runs.jsonl; each number links to its run, with line and digests",
        clock=audit.clock,
    )


def _decided(config: str, decision: Decision | None) -> str:
    if decision is None:
        return ""
    value = decision.value
    if config in value["promoted_by"]:
        return " ".join(value["promoted_by"][config])
    told = value["stopped"].get(config, {})
    if told.get("by"):
        return "✕ " + " ".join(told["by"])
    return ("unmet " + " ".join(told["unmet"])) if told.get("unmet") else ""


def score(audit: Audit, run: str) -> Cell:
    """The score of a run, linked; or in words why there is none."""
    found: Run | None = audit.runs.get(run)
    if found is None or not found.record.executed:
        return Cell(None, "missing", mark="bad")
    value = found.record.val_bpb
    if value is None:
        return Cell(None, found.record.status, run_page(run), "bad", found.record.reason or "")
    return Cell(float(value), None, run_page(run))
