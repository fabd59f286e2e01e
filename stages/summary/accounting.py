"""Device-hours: what the ladder was planned to cost, what was executed, and what was never run.

A run counts its whole budget, on the study's clock, whether or not it used it up: hours on the rated clock are rated
hours. The counterfactuals multiply budgets; nothing of them ran, so they are accounting and say nothing about which
configuration would have won.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from stages.domain.evidence import as_number
from stages.domain.formatting import spell
from stages.summary.ladder import Ladder, Rung

SCHEMA = 1
UNRUN = "Accounting of unrun work: no evidence that a configuration that was stopped could not have won."


def hours(runs: int, budget_seconds: float) -> Fraction:
    """Device-hours of so many runs, exactly: each counts its whole budget."""
    return runs * Fraction(repr(float(budget_seconds))) / 3600


def counterfactual(source: str, candidates: int, cells: int, target: str, budget_seconds: float) -> dict[str, Any]:
    """The cost, had all `candidates` of rung `source` gone straight to the last rung, `target`."""
    total = hours(candidates * cells, budget_seconds)
    text = (
        f"All {candidates} candidates of {source} at {target}: {candidates} × {cells} cells × "
        f"{spell(hours(1, budget_seconds))} h = {spell(total)} device-hours. {UNRUN}"
    )
    return {"from_rung": source, "candidates": candidates, "hours": as_number(total), "text": text}


@dataclass(frozen=True)
class _Cost:
    """The runs of one rung, and their hours as exact numbers. None: not known yet."""

    rung: Rung
    configs: int

    def runs(self, purpose: str) -> int:
        return sum(run.executed and run.purpose == purpose for run in self.rung.records)

    @property
    def declared(self) -> int | None:
        """Runs that the study asks for: every candidate in every cell."""
        return None if self.rung.candidates is None else len(self.rung.candidates) * self.rung.cells

    def hours(self, runs: int | None) -> Fraction | None:
        return None if runs is None else hours(runs, self.rung.frozen.budget_seconds)

    @property
    def parts(self) -> dict[str, Fraction | None]:
        """The hours that `totals` adds up."""
        return {
            "planned_hours": self.hours(self.declared),
            "executed_hours": self.hours(self.runs("candidate")),
            "floor_hours": self.hours(self.runs("floor")),
        }

    def to_json(self) -> dict[str, Any]:
        rung, evidence = self.rung, self.rung.evidence
        return {
            "budget_seconds": rung.frozen.budget_seconds,
            "cells": rung.cells,
            "configs": self.configs,
            "candidates": None if rung.candidates is None else len(rung.candidates),
            "executed_runs": self.runs("candidate"),
            "stopped_runs": sum(run.status == "stopped" for run in rung.records),
            "missing_runs": None if evidence is None or self.declared is None else self.declared - len(evidence.runs),
            "floor_runs": self.runs("floor"),
            **{key: as_number(value) for key, value in self.parts.items()},
            "unscreened_hours": as_number(self.hours(self.configs * rung.cells)),
        }


def _total(costs: Iterable[_Cost], part: str) -> float | None:
    """The sum over rungs, or None while one of them is not known."""
    total = Fraction(0)
    for cost in costs:
        value = cost.parts[part]
        if value is None:
            return None
        total += value
    return as_number(total)


def _counterfactuals(ladder: Ladder) -> list[dict[str, Any]]:
    last = ladder.last
    if last is None:
        return []
    seconds = last.frozen.budget_seconds
    return [
        counterfactual(rung.name, len(rung.candidates), last.cells, last.name, seconds)
        for rung in ladder.rungs[:-1]
        if rung.candidates is not None
    ]


def accounting(ladder: Ladder) -> dict[str, Any]:
    """The content of artifacts/summary/accounting.json."""
    costs = [_Cost(rung, len(ladder.configs)) for rung in ladder.rungs]
    last = [cost for cost in costs if cost.rung.frozen.last]
    return {
        "schema": SCHEMA,
        "clock": ladder.clock,
        "unit": "device-hours",
        "rungs": {cost.rung.name: cost.to_json() for cost in costs},
        "totals": {
            **{part: _total(costs, part) for part in ("executed_hours", "floor_hours", "planned_hours")},
            "screening_hours": _total([cost for cost in costs if cost not in last], "executed_hours"),
            "last_rung_hours": _total(last, "executed_hours") if last else None,
        },
        "counterfactuals": _counterfactuals(ladder),
    }
