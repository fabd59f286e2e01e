"""What a study can cost at most, before anything runs: a bound on every rung's candidates, from the rules alone.

Rules that promote a number of configurations bound it; `within_gap` can let everybody through. What a gate will really
do is not known beforehand, so every figure says "at most". Each run counts its whole budget on the study's clock.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from stages.domain import names
from stages.domain.evidence import as_number
from stages.domain.rules import Gate, KeepRole, TopK, WithinGap
from stages.domain.study import Study
from stages.summary.accounting import counterfactual, hours

SCHEMA = 1


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
    found: dict[str, int] = {}
    most = len(study.configs)
    for rung in study.rungs:
        found[rung] = most
        most = most_promoted(study.gates[names.gate_of(rung)], most, len(study.hosts), study.roles)
    return found


def _rung(study: Study, rung: str, candidates: int) -> dict[str, Any]:
    here = study.rungs[rung]
    seconds, seeds, floor = here.budget_seconds, len(here.seeds), len(here.floor_seeds)
    cells = len(study.hosts) * seeds
    each = as_number(hours(candidates * seeds + floor, seconds))
    return {
        "budget_seconds": seconds,
        "cells": cells,
        "candidates": candidates,
        "runs": candidates * cells,
        "floor_runs": len(study.hosts) * floor,
        "hours": as_number(hours(candidates * cells, seconds)),
        "floor_hours": as_number(hours(len(study.hosts) * floor, seconds)),
        "hosts": dict.fromkeys(study.hosts, each),
    }


def _totals(study: Study, most: dict[str, int]) -> dict[str, Any]:
    runs, floor, last = Fraction(0), Fraction(0), Fraction(0)
    per_host = Fraction(0)
    for rung, candidates in most.items():
        here = study.rungs[rung]
        last = hours(candidates * len(study.cells(rung)), here.budget_seconds)
        runs += last
        floor += hours(len(study.hosts) * len(here.floor_seeds), here.budget_seconds)
        per_host += hours(candidates * len(here.seeds) + len(here.floor_seeds), here.budget_seconds)
    return {
        "runs": sum(candidates * len(study.cells(rung)) for rung, candidates in most.items()),
        "floor_runs": sum(len(study.hosts) * len(rung.floor_seeds) for rung in study.rungs.values()),
        "hours": as_number(runs),
        "floor_hours": as_number(floor),
        "screening_hours": as_number(runs - last),
        "last_rung_hours": as_number(last),
        "hosts": dict.fromkeys(study.hosts, as_number(per_host)),
    }


def plan(study: Study) -> dict[str, Any]:
    """Runs and device-hours by rung and host, in total, and had earlier candidates gone straight to the last rung.

    Every count and every hour is an upper bound; `hosts` counts candidates' runs and A/A runs together.
    """
    most = most_candidates(study)
    last = study.last_rung
    cells, seconds = len(study.cells(last)), study.rungs[last].budget_seconds
    return {
        "schema": SCHEMA,
        "study": study.study.name,
        "clock": study.clock.kind,
        "unit": "device-hours",
        "bound": "at most",
        "rungs": {rung: _rung(study, rung, candidates) for rung, candidates in most.items()},
        "totals": _totals(study, most),
        "counterfactuals": [counterfactual(rung, most[rung], cells, last, seconds) for rung in most if rung != last],
    }
