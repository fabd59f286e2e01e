"""The outcome of a gate: what became of every candidate, by which rules, and how far it is from the other fate.

python -m report && python -m webbrowser site/gates/gate3.html#Decision
"""

from __future__ import annotations

from typing import Any

from report import promotion_paths
from report.decisions import Flip, flip_of, held_by, lead_of, merit_of, nearest_floor, roles_of, rules_of
from report.load import Audit, Decision
from report.page import config_page, gate_page
from report.promotion_paths import Step
from report.tables import Cell, Column, Row, Table, state
from report.verdict import LUCK
from stages.domain import formatting


def decided(audit: Audit, gate: str, step: Step) -> Cell:
    """The rules that decided; the page adds a sign, and against which. The link leads to the first of them."""
    ids = step.by or step.unmet
    if not ids:
        return Cell(None, "")
    text = " ".join(ids)
    if step.state == "stopped":
        text = f"{text} not met" if not step.by else f"✕ {text}"
    elif step.state == "blocked":
        text = f"{text} would have" if _promote(audit, gate, step) else f"✕ {text} would have"
    against = f" against {' '.join(step.against)}" if step.against else ""
    return Cell(" ".join(step.by) or text, text + against, f"{gate_page(gate)}#{ids[0]}")


def _promote(audit: Audit, gate: str, step: Step) -> bool:
    told = {rule["id"]: rule["effect"] for rule in audit.decisions[gate].value["rules"]}
    return bool(told[step.by[0]] == "promote")


def _noise(times: float | None) -> Cell:
    """A distance in standard deviations of the noise floor; under `LUCK` it is marked, by words too."""
    if times is None:
        return Cell(None)
    close = times < LUCK
    return Cell(round(times, 6), f"{'within noise: ' if close else ''}{times:.1f} ×", mark="bad" if close else "")


def _merit(decision: dict[str, Any], audit: Audit, gate: str, config: str) -> Cell:
    """What the other rules would have made of a candidate in a kept role."""
    flip = merit_of(decision, rules_of(audit, gate), roles_of(audit, gate), config)
    text = "▲ promoted" if flip.promoted else "✕ stopped"
    small = " · ".join(
        filter(None, (flip.rule or "", formatting.signed(flip.shift) if flip.shift is not None else flip.note))
    )
    return Cell("promoted" if flip.promoted else "stopped", text, small=small)


def _kept(decision: dict[str, Any]) -> set[str]:
    """Candidates that a rule keeps for their role."""
    kinds = {told["id"]: told["kind"] for told in decision["rules"]}
    held = held_by(decision)
    return {
        name for name, effects in held.items() if any(kinds[rule] == "keep_role" for rule in effects.get("promote", ()))
    }


def _flip_cells(flip: Flip, floor: tuple[str, float] | None) -> dict[str, Any]:
    noise = abs(flip.shift) / floor[1] if floor and flip.shift is not None else None
    return {
        "flips_at": Cell(flip.shift, flip.note or None),
        "flips_by": flip.rule,
        "in_noise": _noise(noise),
    }


def outcome_table(audit: Audit, gate: str, rung: str, decision: Decision) -> Table:
    """Every candidate, best first. A blocked gate has no other fate to be far from."""
    value, floor = decision.value, nearest_floor(audit, gate)
    final, blocked = promotion_paths.is_last(audit, rung), decision.value["outcome"] == "blocked"
    place, kept = list(audit.study.rungs).index(rung), _kept(value)
    steps = {name: promotion_paths.ladder(audit)[name].steps[place] for name in value["candidates"]}
    made = []
    for config in sorted(steps, key=lambda one: (steps[one].rank or 10**9, one)):
        step = steps[config]
        cells: dict[str, Any] = {
            "config": Cell(config, href=config_page(config)),
            "outcome": state(step.state),
            "rank": step.rank,
            "mean": step.mean,
            "by": decided(audit, gate, step),
            "against": " ".join(step.against) or None,
            "unmet": " ".join(step.unmet) or None,
        }
        if config in kept and not blocked:
            cells["merit"] = _merit(value, audit, gate, config)
        if not blocked:
            flip = flip_of(value, rules_of(audit, gate), roles_of(audit, gate), config)
            cells |= _flip_cells(lead_of(value, config) if final else flip, floor)
        made.append(Row(f"outcome.{config}", cells))
    return Table(
        id="outcome",
        title=f"Outcome of {formatting.gate_title(gate).lower()}",
        columns=_columns(final, blocked, bool(kept) and not blocked, floor is not None),
        rows=made,
        source=decision.source,
        clock=audit.clock,
    )


def _columns(final: bool, blocked: bool, kept: bool, floor: bool) -> list[Column]:
    columns = [
        Column("config", "Candidate"),
        Column("outcome", "Outcome", "state"),
        Column("by", "Decided by", hidden=final),
        Column("rank", "Rank", "count"),
        Column("against", "Against", hidden=True),
        Column("unmet", "Unmet promote rules", hidden=True),
        Column("mean", "Mean val_bpb", "mean"),
    ]
    if kept:
        columns.append(
            Column("merit", "On merit alone", hint="what the rules but those that keep a role would have made of it")
        )
    if not blocked:
        columns += [
            Column("flips_at", "First place at" if final else "Flips at", "signed", _FLIP_HINT[final]),
            Column("flips_by", "Through rule", hidden=final),
        ]
        if floor:
            columns.append(Column("in_noise", "Distance / noise", "number"))
    return columns


_FLIP_HINT = {
    False: "change of its own val_bpb, in all its cells alike, that would change its fate",
    True: "change of its own val_bpb, in all its cells alike, that would lose it the first place, or win it",
}
