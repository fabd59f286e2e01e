"""The outcome of a gate: each candidate's, by which rules, and its distance from the opposite one."""

from __future__ import annotations

from functools import cache

from report.decisions import Flip
from report.gates import LUCK, GateView, NoiseScale
from report.page import link_config
from report.promotion_paths import PathStep
from report.tables import Cell, Column, Table, state
from stages.domain import formatting

_FLIP_HINT = {
    False: "change of its own val_bpb, in all its cells alike, that would change its outcome",
    True: "change of its own val_bpb, in all its cells alike, that would lose it the first place, or win it",
}


def rules_cell(gate: GateView, step: PathStep) -> Cell:
    """The rules that decided; the page adds a sign, and against which. The link leads to the first of them."""
    ids = step.by or step.unmet
    if not ids:
        return Cell(None, "")
    text = " ".join(ids)
    if step.state == "stopped":
        text = f"{text} not met" if not step.by else f"✕ {text}"
    elif step.state == "blocked":
        first = gate.decision.rule(ids[0]) if gate.decision else None
        text = f"{text} would have" if first and first.effect == "promote" else f"✕ {text} would have"
    against = f" against {' '.join(step.against)}" if step.against else ""
    return Cell(" ".join(step.by) or text, text + against, f"{gate.page}#{ids[0]}")


def outcome_table(gate: GateView, steps: dict[str, PathStep], noise: NoiseScale | None) -> Table:
    """Every candidate of a decided gate, best first; `steps` go by candidate. A blocked gate has no opposite one."""
    assert gate.entry is not None
    return Table("outcome", f"Outcome of {gate.title.lower()}", gate.entry.source).fill(
        _columns(gate, steps, noise),
        sorted(steps, key=lambda config: (steps[config].rank or 10**9, config)),
        lambda config: f"outcome.{config}",
    )


def _columns(gate: GateView, steps: dict[str, PathStep], noise: NoiseScale | None) -> list[Column]:
    columns = [
        Column("config", "Candidate", get=link_config),
        Column("outcome", "Outcome", "state", get=lambda config: state(steps[config].state)),
        Column("by", "Decided by", hidden=gate.final, get=lambda config: rules_cell(gate, steps[config])),
        Column("rank", "Rank", "count", get=lambda config: steps[config].rank),
        Column("against", "Against", hidden=True, get=lambda config: " ".join(steps[config].against) or None),
        Column("unmet", "Unmet promote rules", hidden=True, get=lambda config: " ".join(steps[config].unmet) or None),
        Column("mean", "Mean val_bpb", "mean", get=lambda config: steps[config].mean),
    ]
    return columns if gate.blocked else [*columns, *_merit_column(gate), *_flip_columns(gate, noise)]


def _merit_column(gate: GateView) -> list[Column]:
    """The outcome by the other rules of candidates that are kept for their role; no column where none is."""
    kept = {
        finding.candidate
        for rule in (gate.decision.rules if gate.decision else [])
        if rule.kind == "keep_role"
        for finding in rule.results
        if finding.holds
    }
    if not kept:
        return []
    hint = "its outcome by all rules but those that keep a role"
    return [
        Column(
            "merit", "Without the role rule", hint=hint, get=lambda name: _merit(gate, name) if name in kept else None
        )
    ]


def _merit(gate: GateView, config: str) -> Cell:
    flip = gate.flips.flip_on_merit(config)
    text = "▲ promoted" if flip.promoted else "✕ stopped"
    distance = formatting.signed(flip.shift) if flip.shift is not None else flip.note
    return Cell(
        "promoted" if flip.promoted else "stopped", text, small=" · ".join(filter(None, (flip.rule or "", distance)))
    )


def _flip_columns(gate: GateView, noise: NoiseScale | None) -> list[Column]:
    flip = cache(gate.flips.flip_first_place if gate.final else gate.flips.flip)
    title = "First place at" if gate.final else "Outcome changes at"
    columns = [
        Column("flips_at", title, "signed", _FLIP_HINT[gate.final], get=lambda config: _shift(flip(config))),
        Column("flips_by", "Through rule", hidden=gate.final, get=lambda config: flip(config).rule),
    ]
    if noise:
        columns.append(
            Column("in_noise", "Distance / noise", "number", get=lambda config: _in_noise(flip(config), noise))
        )
    return columns


def _shift(flip: Flip) -> Cell:
    return Cell(flip.shift, flip.note or None)


def _in_noise(flip: Flip, noise: NoiseScale) -> Cell:
    """A distance in standard deviations of the noise floor; under `LUCK` it is marked, by words too."""
    if flip.shift is None:
        return Cell()
    times = abs(flip.shift) / noise.deviation
    close = times < LUCK
    return Cell(round(times, 6), f"{'within noise: ' if close else ''}{times:.1f} ×", mark="bad" if close else "")
