"""What a study can cost at most, before anything runs: a bound on every rung's candidates, from the rules alone.

Rules that promote a number of configurations bound it; `within_gap` can let everybody through. What a gate will really
do is not known beforehand, so every figure says "at most". Each run counts its whole budget on the study's clock.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from stages.domain import names
from stages.domain.evidence import as_number
from stages.domain.names import ClockKind
from stages.domain.rules import Gate, KeepRole, TopK, WithinGap
from stages.domain.schema import Recorded, RecordedFile
from stages.domain.study import Study
from stages.summary.accounting import Counterfactual, counterfactual, hours

SCHEMA: Literal[1] = 1


class RungPlan(Recorded):
    """What one rung can cost at most. `hosts` has the device-hours of each host, A/A runs among them."""

    budget_seconds: float
    cells: int
    candidates: int
    runs: int
    floor_runs: int
    hours: float
    floor_hours: float
    hosts: dict[str, float]


class PlanTotals(Recorded):
    """What all rungs can cost at most together."""

    runs: int
    floor_runs: int
    hours: float
    floor_hours: float
    screening_hours: float
    last_rung_hours: float
    hosts: dict[str, float]


class Plan(RecordedFile):
    """The content of `promotion plan --json`."""

    study: str
    clock: ClockKind
    unit: Literal["device-hours"]
    bound: Literal["at most"]
    rungs: dict[str, RungPlan]
    totals: PlanTotals
    counterfactuals: list[Counterfactual]


def most_promoted(rules: Gate, candidates: int, hosts: int, roles: dict[str, str]) -> int:
    """How many of so many candidates a gate can let through at most."""
    kept: set[str] = set()
    most = 0
    for rule in rules.values():
        if isinstance(rule, WithinGap):
            return candidates
        if isinstance(rule, KeepRole):
            kept.add(roles[rule.role])
        elif isinstance(rule, TopK):
            most += rule.k * (hosts if rule.by == "each_host" else 1)
    return min(candidates, most + len(kept))


def most_candidates(study: Study) -> dict[str, int]:
    """The largest number of candidates that each rung can have."""
    bounds: dict[str, int] = {}
    most = len(study.configs)
    for rung in study.rungs:
        bounds[rung] = most
        most = most_promoted(study.gates[names.gate_of(rung)], most, len(study.hosts), study.roles)
    return bounds


def _plan_rung(study: Study, rung: str, candidates: int) -> RungPlan:
    planned = study.rungs[rung]
    seconds, seeds, floor = planned.budget_seconds, len(planned.seeds), len(planned.floor_seeds)
    cells = len(study.hosts) * seeds
    each = as_number(hours(candidates * seeds + floor, seconds))
    return RungPlan(
        budget_seconds=seconds,
        cells=cells,
        candidates=candidates,
        runs=candidates * cells,
        floor_runs=len(study.hosts) * floor,
        hours=as_number(hours(candidates * cells, seconds)),
        floor_hours=as_number(hours(len(study.hosts) * floor, seconds)),
        hosts=dict.fromkeys(study.hosts, each),
    )


def _add_up(study: Study, most: dict[str, int]) -> PlanTotals:
    runs, floor, last = Fraction(0), Fraction(0), Fraction(0)
    per_host = Fraction(0)
    for rung, candidates in most.items():
        planned = study.rungs[rung]
        last = hours(candidates * len(study.cells(rung)), planned.budget_seconds)
        runs += last
        floor += hours(len(study.hosts) * len(planned.floor_seeds), planned.budget_seconds)
        per_host += hours(candidates * len(planned.seeds) + len(planned.floor_seeds), planned.budget_seconds)
    return PlanTotals(
        runs=sum(candidates * len(study.cells(rung)) for rung, candidates in most.items()),
        floor_runs=sum(len(study.hosts) * len(rung.floor_seeds) for rung in study.rungs.values()),
        hours=as_number(runs),
        floor_hours=as_number(floor),
        screening_hours=as_number(runs - last),
        last_rung_hours=as_number(last),
        hosts=dict.fromkeys(study.hosts, as_number(per_host)),
    )


def plan(study: Study) -> Plan:
    """Runs and device-hours by rung and host, in total, and had earlier candidates gone straight to the last rung.

    Every count and every hour is an upper bound; `hosts` counts candidates' runs and A/A runs together.
    """
    most = most_candidates(study)
    last = study.last_rung
    cells, seconds = len(study.cells(last)), study.rungs[last].budget_seconds
    return Plan(
        schema_=SCHEMA,
        study=study.study.name,
        clock=study.clock.kind,
        unit="device-hours",
        bound="at most",
        rungs={rung: _plan_rung(study, rung, candidates) for rung, candidates in most.items()},
        totals=_add_up(study, most),
        counterfactuals=[counterfactual(rung, most[rung], cells, last, seconds) for rung in most if rung != last],
    )
