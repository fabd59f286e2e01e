"""The evidence of a gate: every cell of every candidate, with the rules that the numbers met.

The last gate promotes no candidate. There the verdicts stand beside the numbers, and each cell shows its gap to the
role that the verdicts compare with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache

from report.gates import GateView
from report.load import LedgerRun
from report.page import link_config, run_page
from report.pages.gate_outcome import rules_cell
from report.promotion_paths import PathStep
from report.tables import Cell, Column, Table
from stages.domain import evidence, formatting
from stages.domain.rules import MeanGap, NearEquivalent


@dataclass(frozen=True)
class BaseRole:
    """What the verdicts compare with: its role, its name, its score in each cell, and the rules that compare."""

    role: str
    config: str
    scores: dict[evidence.Cell, Decimal]
    rules: tuple[str, ...]

    @property
    def note(self) -> str:
        """What the small numbers are, in one sentence."""
        verb = "judges" if len(self.rules) == 1 else "judge"
        return (
            f"In small type: the gap to {self.config}, the {self.role}, in the same cell, and its mean, which "
            f"{formatting.listed(list(self.rules))} {verb}."
        )


def evidence_table(gate: GateView, steps: Mapping[str, PathStep]) -> Table:
    """Every cell of every candidate, best first; `steps` go by candidate."""
    final = gate.decision is not None and gate.final
    base = _base(gate) if final else None
    places = {row.config: place for place, row in enumerate(gate.ranking)}
    empty = f"None: {gate.why_empty}." if gate.why_empty else "Not known before the gate before has decided."
    return Table(
        "evidence",
        f"val_bpb of every candidate in every cell of {gate.rung_title.lower()}",
        "ledger/runs.jsonl; each number links to its run, with line and digests",
        note=base.note if base else "",
        empty=empty,
    ).fill(
        _columns(gate, steps, final, base),
        sorted(gate.candidates or [], key=lambda config: (places.get(config, 10**9), config)),
        str,
    )


def run_score(run: LedgerRun) -> Cell:
    """The score of an executed run, linked to its page; or in words why there is none."""
    page, value = run_page(run.record.id), run.record.val_bpb
    if value is None:
        return Cell(None, run.record.status, page, "bad", run.record.reason or "")
    return Cell(float(value), None, page)


def _base(gate: GateView) -> BaseRole | None:
    """What the last gate's verdicts compare with; where they name several, the one that the first of them names."""
    to = {name: rule.to for name, rule in gate.rules.items() if isinstance(rule, NearEquivalent | MeanGap)}
    role = next(iter(to.values()), None)
    config = gate.roles.get(role) if role else None
    if role is None or config is None:
        return None
    return BaseRole(role, config, _scores(gate, config), tuple(rule for rule, other in to.items() if other == role))


def _scores(gate: GateView, config: str) -> dict[evidence.Cell, Decimal]:
    """The scores of a candidate by cell; a cell without one is absent."""
    runs = {cell: gate.run(config, cell) for cell in gate.cells}
    return {cell: run.record.val_bpb for cell, run in runs.items() if run and run.record.val_bpb is not None}


def _columns(gate: GateView, steps: Mapping[str, PathStep], final: bool, base: BaseRole | None) -> list[Column]:
    standing = {row.config: row for row in gate.ranking}
    gaps = cache(lambda config: _gaps(gate, base, config))

    def with_gap(key: str, content: Cell, config: str) -> Cell:
        gap = gaps(config).get(key)
        return content if gap is None else replace(content, small=formatting.signed(gap))

    def of_cell(cell: evidence.Cell) -> Column:
        key = _key(cell)
        return Column(
            key, _title(cell), "bpb", get=lambda name: with_gap(key, _score(gate, steps[name], name, cell), name)
        )

    def gap_column(key: str, title: str, role: str) -> Column:
        label = f"Gap to the {role}, {title}"
        return Column(f"{key}_gap", label, "signed", hidden=True, get=lambda name: gaps(name).get(key))

    def mean(config: str) -> float | None:
        return standing[config].mean if config in standing else None

    by = Column("decided_by", "Decided by", hidden=not gate.decision, get=lambda name: rules_cell(gate, steps[name]))
    columns = [
        Column("config", "Candidate", get=link_config),
        Column("verdicts", "Verdicts", get=lambda name: _verdicts(gate, name)) if final else by,
        Column("mean", "Mean", "mean", get=lambda name: with_gap("mean", Cell(mean(name)), name)),
        Column("worst_host", "Worst host", "mean", get=lambda name: getattr(standing.get(name), "worst_host", None)),
        *map(of_cell, gate.cells),
    ]
    if base:
        titles = {"mean": "mean", **{_key(cell): _title(cell) for cell in gate.cells}}
        columns += [gap_column(key, title, base.role) for key, title in titles.items()]
    return columns


def _key(cell: evidence.Cell) -> str:
    return f"{cell[0]}_{cell[1]}"


def _title(cell: evidence.Cell) -> str:
    return f"{cell[0]} · {cell[1]}"


def _gaps(gate: GateView, base: BaseRole | None, config: str) -> dict[str, float]:
    """The gaps of a candidate to the base by column, exact; their mean only where no cell lacks one."""
    if base is None or config == base.config:
        return {}
    scores = _scores(gate, config)
    gaps = {cell: score - base.scores[cell] for cell, score in scores.items() if cell in base.scores}
    columns = {_key(cell): float(gap) for cell, gap in gaps.items()}
    if gaps and len(gaps) == len(gate.cells):
        columns["mean"] = round(float(sum(gaps.values()) / len(gaps)), 9)
    return columns


def _score(gate: GateView, step: PathStep, config: str, cell: evidence.Cell) -> Cell:
    """The score of a candidate in a cell, linked; or in words why there is none."""
    if step.state == "unrun":
        return Cell(None, "not run")
    run = gate.run(config, cell)
    return run_score(run) if run and run.record.executed else Cell(None, "missing", mark="bad")


def _verdicts(gate: GateView, config: str) -> Cell:
    """What the verdicts say of a candidate; the link leads to the first of them."""
    verdicts = [
        (outcome.id, *formatting.HOLDS[finding.holds])
        for outcome in (gate.decision.rules if gate.decision else [])
        for finding in outcome.results
        if outcome.effect == "verdict" and finding.candidate == config
    ]
    if not verdicts:
        return Cell()
    return Cell(
        "; ".join(f"{rule} {words}" for rule, _, words, _ in verdicts),
        " ".join(f"{glyph} {rule}" for rule, glyph, _, _ in verdicts),
        f"{gate.page}#{verdicts[0][0]}",
        f"holds-{verdicts[0][3]}" if len(verdicts) == 1 else "",
    )
