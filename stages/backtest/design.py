"""Searches for the cheapest ladder that keeps the best configuration with a given probability, by simulation.

    search(model, Wish(candidates=12, keep_best=0.95, hours=10.0, first=60.0, last=3600.0), seed=1)

Every design is screened on the same simulated curves. The cheapest that seem to reach the probability are simulated
again on new curves and accepted if the lower 95 % confidence bound reaches it, because the best of many on one sample
is biased upwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log, sqrt
from typing import TYPE_CHECKING

import numpy as np

from stages.backtest.model import Model
from stages.backtest.simulation import Design, LadderOutcomes, Progress, halving_design, simulate
from stages.domain.rules import WithinGap

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stages.domain.rules import Rule

SCREEN, CONFIRM = 2_000, 20_000
#: Values (ladder x configuration) of a screening at most.
SCREEN_VALUES = 60_000
LEVEL = 0.95
SHOWN = 3
MOST_CONFIRMED = 40
RUNGS = (1, 2, 3, 4, 5)
MOST_SEEDS = 4
#: Sizes of thresholds, in standard errors of a difference of two means; 0: none.
ERRORS = (0, 2)


@dataclass(frozen=True)
class Wish:
    """What is asked for. `first` and `last` bound the budgets in seconds, `hours` is of devices, all hosts together.

    `margin`, if any, must be supported by the noise and the seeds of the last rung.
    """

    candidates: int
    keep_best: float
    hours: float
    first: float
    last: float
    margin: float | None = None


@dataclass(frozen=True)
class Tried:
    """A design with what it did: shares of ladders, and the expected device-hours of one study."""

    design: Design
    hours: float
    kept: float
    low: float
    chosen: float
    regret: float
    entered: tuple[float, ...]
    ladders: int


@dataclass(frozen=True)
class SearchResult:
    """The cheapest designs that reach the probability, whatever they cost, and the best that the hours buy."""

    within: tuple[Tried, ...]
    cheapest: Tried | None
    best_affordable: Tried | None
    tried: int


def _rounded(budget: float) -> float:
    """Two significant digits: budgets are round numbers."""
    return float(f"{budget:.2g}")


def ladders(wish: Wish) -> Iterator[tuple[float, ...]]:
    """Budgets of every ladder that is tried: geometric from a first budget to the last."""
    seen: set[tuple[float, ...]] = set()
    for rungs in RUNGS:
        for share in (0.0, 0.25, 0.5):
            start = wish.first * (wish.last / wish.first) ** share
            steps = [_rounded(start * (wish.last / start) ** (n / (rungs - 1))) for n in range(rungs - 1)]
            budgets = (*steps, wish.last)
            if all(lower < upper for lower, upper in pairwise(budgets)) and budgets not in seen:
                seen.add(budgets)
                yield budgets


def _seeds(rungs: int) -> list[tuple[int, ...]]:
    """Seeds a host at each rung: one, two at the last or at the last two, two everywhere, four at the last."""
    single = [1] * rungs
    patterns = [
        single,
        [*single[:-1], 2],
        [*single[:-2], 2, 2],
        [2] * rungs,
        [*single[:-1], MOST_SEEDS],
        [*single[:-2], 2, MOST_SEEDS],
    ]
    return sorted({tuple(pattern[-rungs:]) for pattern in patterns})


def supports(model: Model, wish: Wish, seeds: int) -> bool:
    """Whether so many seeds a host at the last rung support the margin that was asked for."""
    if wish.margin is None:
        return True
    noise = float(model.noise(np.array([wish.last]))[0])
    supported = smallest_margin(noise, max(1, len(model.hosts)), seeds)
    return supported is not None and supported <= wish.margin


def _finalists(candidates: int) -> list[int]:
    """How many are let through to the last rung."""
    shares = [ceil(candidates * share) for share in (0.75, 0.5, 0.25, 0.125, 0.0625)]
    return sorted({k for k in (1, 2, 3, 4, 6, 9, *shares) if k < candidates})


def designs(model: Model, wish: Wish) -> list[Design]:
    """Every design that is tried."""
    ladder_designs = []
    for budgets in ladders(wish):
        rungs = len(budgets)
        finalists = _finalists(wish.candidates)
        for last in finalists if rungs > 1 else [wish.candidates]:
            eta = (wish.candidates / last) ** (1 / max(1, rungs - 1))
            for seeds in (pattern for pattern in _seeds(rungs) if supports(model, wish, pattern[-1])):
                for errors in ERRORS if rungs > 1 else (0,):
                    ladder_designs.append(halving_design(model, budgets, wish.candidates, eta, seeds, errors))
    return ladder_designs


def low_bound(successes: int, of: int) -> float:
    """The lower end of the one-sided Clopper-Pearson interval at `LEVEL`."""
    from scipy.stats import binomtest

    return float(binomtest(successes, of, alternative="greater").proportion_ci(LEVEL, "exact").low)


def _tried(design: Design, outcome: LadderOutcomes) -> Tried:
    kept = outcome.ladders - int(outcome.dropped[:-1].sum())
    return Tried(
        design, outcome.cost / outcome.ladders / 3600, outcome.kept, low_bound(kept, outcome.ladders), outcome.chosen,
        outcome.regret / outcome.ladders, tuple(float(n) / outcome.ladders for n in outcome.entered), outcome.ladders,
    )  # fmt: skip


def search(model: Model, wish: Wish, seed: int, progress: Progress = lambda done, of: None) -> SearchResult:
    """Screen every design, then confirm the cheapest on new curves."""
    tries = designs(model, wish)
    screen = max(400, min(SCREEN, SCREEN_VALUES // wish.candidates))
    screened: list[Tried] = []
    for start in range(0, len(tries), 24):
        batch = tries[start : start + 24]
        outcomes = simulate(model, batch, wish.candidates, screen, seed)
        screened += [_tried(design, outcome) for design, outcome in zip(batch, outcomes, strict=True)]
        progress(len(screened), len(tries))
    screened.sort(key=lambda tried: (tried.hours, -tried.kept))
    slack = 2 * sqrt(wish.keep_best * (1 - wish.keep_best) / screen)
    hopeful = [tried for tried in screened if tried.kept >= wish.keep_best - slack]
    within: list[Tried] = []
    cheapest: Tried | None = None
    for place, tried in enumerate(hopeful[:MOST_CONFIRMED]):
        if len(within) == SHOWN or (cheapest and tried.hours > wish.hours):
            break
        progress(len(tries) + place, len(tries) + MOST_CONFIRMED)
        if any(_alike(tried, other) for other in within):
            continue
        confirmed = confirm(model, tried.design, wish, seed)
        if confirmed.low < wish.keep_best:
            continue
        cheapest = cheapest or confirmed
        if confirmed.hours <= wish.hours:
            within.append(confirmed)
    affordable = [tried for tried in screened if tried.hours <= wish.hours]
    best = max(affordable, key=lambda tried: (tried.kept, -tried.hours), default=None)
    if best is not None and not within:
        best = confirm(model, best.design, wish, seed)
    return SearchResult(tuple(within), cheapest, best, len(tries))


def _alike(tried: Tried, other: Tried) -> bool:
    """Whether two designs differ only in a threshold that hardly ever promotes a candidate."""
    same = tried.design.budgets == other.design.budgets and tried.design.seeds == other.design.seeds
    return same and abs(tried.hours / other.hours - 1) < 0.01


def confirm(model: Model, design: Design, wish: Wish, seed: int) -> Tried:
    """A design on curves that did not choose it."""
    many = max(4_000, min(CONFIRM, CONFIRM * 12 // wish.candidates))
    (outcome,) = simulate(model, [design], wish.candidates, many, seed + 1_000_003)
    return _tried(design, outcome)


def assumed_model(noise: float, spread: float, agreement: float, first: float, last: float, hosts: int) -> Model:
    """A model from three numbers: seed deviation, deviation between configurations, correlation of the two budgets.

    Both deviations are the same at every budget, and hosts order configurations alike.
    """
    length = log(last / first) / -log(agreement)
    names = tuple(f"host{n}" for n in range(1, hosts + 1))
    return Model(last, 1.0, 0.5, 0.3, spread, 0.0, length, "exponential", 0.0, noise, 0.0, names, np.zeros((hosts, 2)))


def smallest_margin(noise: float, hosts: int, seeds: int) -> float | None:
    """The smallest margin that two one-sided tests (5 %) grant to two equal configurations in 80 % of studies.

    Paired differences over hosts x seeds cells, hosts as fixed blocks: cells less hosts degrees of freedom.
    """
    from scipy.stats import t

    cells, freedom = hosts * seeds, hosts * (seeds - 1)
    if freedom < 1:
        return None
    error = noise * sqrt(2 / cells)
    return float(error * (t.ppf(0.95, freedom) + t.ppf(0.9, freedom)))


def seeds_for(margin: float, noise: float, hosts: int) -> int | None:
    """The fewest seeds a host at which that margin is supported; None where 64 are not enough."""
    for seeds in range(2, 65):
        supported = smallest_margin(noise, hosts, seeds)
        if supported is not None and supported <= margin:
            return seeds
    return None


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(value: float) -> str:
    return f"{value:.10g}"


def to_yaml(tried: Tried, model: Model, wish: Wish, assumptions: Sequence[str]) -> str:
    """The design as the `rungs` and `gates` sections of a params.yaml, with comments."""
    design = tried.design
    kept, low, chosen = (_percent(share) for share in (tried.kept, tried.low, tried.chosen))
    lines = [
        "# Proposed by `promotion design`: a simulation, and no evidence.",
        f"# The best of {wish.candidates} candidates reaches the last rung in {kept} of {tried.ladders} ladders",
        f"# ({low} or more with 95 % confidence) and is chosen in {chosen}.",
        f"# Expected cost: {tried.hours:.3g} device-hours. It assumes:",
        *(f"#   {line}" for line in assumptions),
        "rungs:",
    ]
    for n, (budget, seeds) in enumerate(zip(design.budgets, design.seeds, strict=True), start=1):
        listed = ", ".join(str(100 * n + seed) for seed in range(1, seeds + 1))
        lines.append(f"  rung{n}: {{budget_seconds: {_number(budget)}, seeds: [{listed}], floor_seeds: []}}")
    lines += ["", "gates:"]
    for n, gate in enumerate(design.gates, start=1):
        lines += _gate(n, gate, tried, model, wish.margin if n == len(design.gates) else None)
    return "\n".join(lines) + "\n"


def _gate(n: int, gate: Mapping[str, Rule], tried: Tried, model: Model, margin: float | None) -> list[str]:
    design, last = tried.design, n == len(tried.design.gates)
    noise = float(model.noise(np.array([design.budgets[n - 1]]))[0])
    error = noise / sqrt(max(1, len(model.hosts)) * design.seeds[n - 1])
    what = "the verdicts" if last else f"about {tried.entered[n]:.3g} of {tried.entered[n - 1]:.3g} go on"
    lines = [
        f"  # {what[0].upper()}{what[1:]}; a mean of this rung has a standard error of {error:.2g}.",
        f"  gate{n}:",
    ]
    rules = ["{kind: complete_cells}", "{kind: fixed_runner}", "{kind: fixed_data}"]
    rules += ["{kind: fresh_seeds}"] if n > 1 else []
    rules += ["{kind: diverged}", "{kind: failed}"]
    for rule in gate.values():
        if isinstance(rule, WithinGap):
            rules.append(f"{{kind: within_gap, gap: {_number(rule.gap)}, of: best}}")
        else:
            rules.append(f"{{kind: top_k, k: {getattr(rule, 'k', 1)}, by: mean}}")
    if margin is not None:
        rules.append(f"{{kind: near_equivalent, role: comparator, to: reference, margin: {_number(margin)}}}")
    lines += [f"    R{place}: {rule}" for place, rule in enumerate(rules, start=1)]
    return lines
