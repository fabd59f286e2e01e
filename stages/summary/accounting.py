"""Device-hours: what the ladder was planned to cost, what was executed, and what was never run.

A run counts its whole budget, on the study's clock, whether or not it used it up: hours on the rated clock are rated
hours. The counterfactuals multiply budgets; nothing of them ran, so they are accounting and say nothing about which
configuration would have won.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from stages.domain.evidence import as_number
from stages.domain.formatting import spell
from stages.domain.names import ClockKind
from stages.domain.schema import Recorded, RecordedFile, RungName
from stages.summary.ladder import Ladder, LadderRung

SCHEMA: Literal[1] = 1
UNRUN = "Accounting of unrun work: no evidence that a configuration that was stopped could not have won."
Count = Annotated[int, Field(ge=0)]
Hours = Annotated[float, Field(ge=0)]


class RungCost(Recorded):
    """What one rung cost, in runs and device-hours. None: not known yet."""

    budget_seconds: Annotated[float, Field(gt=0)]
    cells: Count
    configs: Count
    candidates: Count | None
    executed_runs: Count
    stopped_runs: Count
    missing_runs: Count | None
    floor_runs: Count
    planned_hours: Hours | None
    executed_hours: Hours
    floor_hours: Hours
    unscreened_hours: Hours


class Counterfactual(Recorded):
    """The cost of unrun work: had all candidates of a rung gone straight to the last one."""

    from_rung: RungName
    candidates: Count
    hours: Hours
    text: str


class Totals(Recorded):
    """Device-hours over the rungs; None while one of them is not known."""

    executed_hours: Hours | None
    floor_hours: Hours | None
    planned_hours: Hours | None
    screening_hours: Hours | None
    last_rung_hours: Hours | None


class Accounting(RecordedFile):
    """artifacts/summary/accounting.json."""

    clock: ClockKind | None
    unit: Literal["device-hours"]
    rungs: dict[RungName, RungCost]
    totals: Totals
    counterfactuals: list[Counterfactual]


def hours(runs: int, budget_seconds: float) -> Fraction:
    """Device-hours of so many runs, exactly: each counts its whole budget."""
    return runs * Fraction(repr(float(budget_seconds))) / 3600


def counterfactual(source: str, candidates: int, cells: int, target: str, budget_seconds: float) -> Counterfactual:
    """The cost, had all `candidates` of rung `source` gone straight to the last rung, `target`."""
    total = hours(candidates * cells, budget_seconds)
    text = (
        f"All {candidates} candidates of {source} at {target}: {candidates} × {cells} cells × "
        f"{spell(hours(1, budget_seconds))} h = {spell(total)} device-hours. {UNRUN}"
    )
    return Counterfactual(from_rung=source, candidates=candidates, hours=as_number(total), text=text)


def _count_executed(rung: LadderRung, purpose: str) -> int:
    return sum(run.executed and run.purpose == purpose for run in rung.records)


def _count_declared(rung: LadderRung) -> int | None:
    """Runs that the study asks for: every candidate in every cell."""
    return None if rung.candidates is None else len(rung.candidates) * rung.cells


def _executed(rung: LadderRung) -> Fraction:
    return hours(_count_executed(rung, "candidate"), rung.frozen.budget_seconds)


def _floor(rung: LadderRung) -> Fraction:
    return hours(_count_executed(rung, "floor"), rung.frozen.budget_seconds)


def _planned(rung: LadderRung) -> Fraction | None:
    declared = _count_declared(rung)
    return None if declared is None else hours(declared, rung.frozen.budget_seconds)


def _price_rung(rung: LadderRung, configs: int) -> RungCost:
    declared, evidence = _count_declared(rung), rung.evidence
    return RungCost(
        budget_seconds=rung.frozen.budget_seconds,
        cells=rung.cells,
        configs=configs,
        candidates=None if rung.candidates is None else len(rung.candidates),
        executed_runs=_count_executed(rung, "candidate"),
        stopped_runs=sum(run.status == "stopped" for run in rung.records),
        missing_runs=None if evidence is None or declared is None else declared - len(evidence.runs),
        floor_runs=_count_executed(rung, "floor"),
        planned_hours=as_number(_planned(rung)),
        executed_hours=as_number(_executed(rung)),
        floor_hours=as_number(_floor(rung)),
        unscreened_hours=as_number(hours(configs * rung.cells, rung.frozen.budget_seconds)),
    )


def _total(parts: Iterable[Fraction | None]) -> float | None:
    """The sum over rungs, or None while one of them is not known."""
    total = Fraction(0)
    for part in parts:
        if part is None:
            return None
        total += part
    return as_number(total)


def _list_counterfactuals(ladder: Ladder) -> list[Counterfactual]:
    last = ladder.last
    if last is None:
        return []
    seconds = last.frozen.budget_seconds
    return [
        counterfactual(rung.name, len(rung.candidates), last.cells, last.name, seconds)
        for rung in ladder.rungs[:-1]
        if rung.candidates is not None
    ]


def accounting(ladder: Ladder) -> Accounting:
    """The content of artifacts/summary/accounting.json."""
    rungs = ladder.rungs
    last = [rung for rung in rungs if rung.frozen.last]
    return Accounting(
        schema_=SCHEMA,
        clock=ladder.clock,
        unit="device-hours",
        rungs={rung.name: _price_rung(rung, len(ladder.configs)) for rung in rungs},
        totals=Totals(
            executed_hours=_total(map(_executed, rungs)),
            floor_hours=_total(map(_floor, rungs)),
            planned_hours=_total(map(_planned, rungs)),
            screening_hours=_total(_executed(rung) for rung in rungs if rung not in last),
            last_rung_hours=_total(map(_executed, last)) if last else None,
        ),
        counterfactuals=_list_counterfactuals(ladder),
    )
