"""The evidence of a gate: every cell of every candidate, with the rules that the numbers met.

    python -m report && python -m webbrowser site/gates/gate5.html#Evidence

The last gate decides nobody's way. There the verdicts stand beside the numbers, and each cell shows its gap to the role
that the verdicts compare with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from report import promotion_paths
from report.decisions import roles_of, rules_of
from report.load import Audit, Decision, Run
from report.page import config_page, gate_page, run_page
from report.pages import gate_outcome
from report.promotion_paths import Step
from report.tables import Cell, Column, Row, Table
from stages.domain import formatting, names

Where = tuple[str, int]


@dataclass(frozen=True)
class _Base:
    """Whom the verdicts compare with: its role, its name, its score in each cell, and the rules that compare."""

    role: str
    config: str
    scores: dict[Where, Decimal]
    rules: tuple[str, ...]

    @property
    def note(self) -> str:
        """What the small numbers are, in one sentence."""
        verb = "judges" if len(self.rules) == 1 else "judge"
        return (
            f"In small type: the gap to {self.config}, the {self.role}, in the same cell, and its mean, which "
            f"{formatting.listed(list(self.rules))} {verb}."
        )


def _scores(audit: Audit, rung: str, config: str) -> dict[Where, Decimal]:
    """The scores of a candidate by cell; a cell without one is absent."""
    runs = {
        (host, seed): audit.runs.get(names.run_id(rung, config, host, seed)) for host, seed in audit.study.cells(rung)
    }
    return {cell: run.record.val_bpb for cell, run in runs.items() if run and run.record.val_bpb is not None}


def _base(audit: Audit, rung: str) -> _Base | None:
    """Whom the last gate's verdicts compare with; where they name several, the one that the first of them names."""
    gate = names.gate_of(rung)
    to = {rule_id: rule["to"] for rule_id, rule in rules_of(audit, gate).items() if "to" in rule}
    role = next(iter(to.values()), None)
    config = roles_of(audit, gate).get(role) if role else None
    if role is None or config is None:
        return None
    return _Base(role, config, _scores(audit, rung, config), tuple(one for one, other in to.items() if other == role))


def _gaps(audit: Audit, rung: str, base: _Base, config: str) -> dict[str, float]:
    """The gaps of a candidate by column, exact; their mean only where no cell lacks one."""
    mine = _scores(audit, rung, config) if config != base.config else {}
    gaps = {cell: score - base.scores[cell] for cell, score in mine.items() if cell in base.scores}
    found = {_key(cell): float(gap) for cell, gap in gaps.items()}
    if gaps and len(gaps) == len(audit.study.cells(rung)):
        found["mean"] = round(float(sum(gaps.values()) / len(gaps)), 9)
    return found


def _verdicts(decision: Decision, gate: str, config: str) -> Cell:
    """What the verdicts say of a candidate; the link leads to the first of them."""
    found = [
        (told["id"], formatting.HOLDS[one["holds"]])
        for told in decision.value["rules"]
        for one in told["results"]
        if told["effect"] == "verdict" and one["candidate"] == config
    ]
    if not found:
        return Cell(None)
    return Cell(
        "; ".join(f"{rule} {says}" for rule, (_, says, _) in found),
        " ".join(f"{glyph} {rule}" for rule, (glyph, _, _) in found),
        f"{gate_page(gate)}#{found[0][0]}",
        f"holds-{found[0][1][2]}" if len(found) == 1 else "",
    )


def _key(cell: Where) -> str:
    return f"{cell[0]}_{cell[1]}"


def _columns(audit: Audit, rung: str, final: bool, base: _Base | None) -> list[Column]:
    decided = names.gate_of(rung) in audit.decisions
    by = Column("verdicts", "Verdicts") if final else Column("decided_by", "Decided by", hidden=not decided)
    made = [
        Column("config", "Candidate"),
        by,
        Column("mean", "Mean", "mean"),
        Column("worst_host", "Worst host", "mean"),
    ]
    cells = audit.study.cells(rung)
    made += [Column(_key(cell), f"{cell[0]} · {cell[1]}", "bpb") for cell in cells]
    if base:
        gaps = [("mean", "mean"), *((_key(cell), f"{cell[0]} · {cell[1]}") for cell in cells)]
        made += [Column(f"{key}_gap", f"Gap to the {base.role}, {label}", "signed", hidden=True) for key, label in gaps]
    return made


def _row(audit: Audit, rung: str, config: str, told: dict[str, Any], base: _Base | None) -> Row:
    step = promotion_paths.ladder(audit)[config].steps[list(audit.study.rungs).index(rung)]
    numbers: dict[str, Any] = {"mean": Cell(told.get("mean"))}
    for host, seed in audit.study.cells(rung):
        numbers[_key((host, seed))] = score(audit, names.run_id(rung, config, host, seed), step)
    for key, gap in (_gaps(audit, rung, base, config) if base else {}).items():
        numbers[key] = replace(numbers[key], small=formatting.signed(gap))
        numbers[f"{key}_gap"] = gap
    by = gate_outcome.decided(audit, names.gate_of(rung), step)
    return Row(
        config,
        {
            "config": Cell(config, href=config_page(config)),
            "decided_by": by,
            "worst_host": told.get("worst_host"),
            **numbers,
        },
    )


def evidence_table(audit: Audit, rung: str) -> Table:
    """Every cell of every candidate, best first."""
    gate = names.gate_of(rung)
    decision = audit.decisions.get(gate)
    final = decision is not None and promotion_paths.is_last(audit, rung)
    base = _base(audit, rung) if final else None
    standing = {one["config"]: one for one in decision.value["ranking"]} if decision else {}
    order = {name: n for n, name in enumerate(standing)}
    made = []
    for config in sorted(promotion_paths.candidates(audit, rung) or [], key=lambda one: (order.get(one, 10**9), one)):
        row = _row(audit, rung, config, standing.get(config, {}), base)
        if final and decision:
            row.cells["verdicts"] = _verdicts(decision, gate, config)
        made.append(row)
    return Table(
        id="evidence",
        title=f"val_bpb of every candidate in every cell of {formatting.rung_title(rung).lower()}",
        columns=_columns(audit, rung, final, base),
        rows=made,
        source="ledger/runs.jsonl; each number links to its run, with line and digests",
        clock=audit.clock,
        note=base.note if base else "",
        empty=f"None: {why}."
        if (why := promotion_paths.why_empty(audit, rung))
        else "Not known before the gate before has decided.",
    )


def score(audit: Audit, run: str, step: Step) -> Cell:
    """The score of a run, linked; or in words why there is none."""
    found: Run | None = audit.runs.get(run)
    if step.state == "unrun":
        return Cell(None, "not run")
    if found is None or not found.record.executed:
        return Cell(None, "missing", mark="bad")
    return run_score(found)


def run_score(run: Run) -> Cell:
    """The score of an executed run, linked to its page; or in words why there is none."""
    page, value = run_page(run.record.id), run.record.val_bpb
    if value is None:
        return Cell(None, run.record.status, page, "bad", run.record.reason or "")
    return Cell(float(value), None, page)
