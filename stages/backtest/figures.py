"""Turns the counts of a replay into the result of a backtest, with the assumptions that it rests on.

result = summarise(curves, curve_map, rules, pools, tally, options)
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from stages.backtest.backtest_result import (
    Backtest,
    File,
    Final,
    GateFigures,
    MethodFigures,
    Regret,
    RuleFigures,
    RungFigures,
    Source,
    Standing,
)
from stages.backtest.curves import FINISHED, SCALE, Curves
from stages.backtest.mapping import FINAL, CurveMap, Ruleset
from stages.backtest.pools import Pool, Pools
from stages.backtest.replay import GateCount, MethodCount, ReplayTally
from stages.domain import names
from stages.domain import rules as r
from stages.domain.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

REDRAWS = 20_000
DIGITS = 6
PREFIX = (
    "Budgets are prefixes of one long run: a value at a small budget comes from a run whose schedule was set for a "
    "longer one, not from a separate short run as in the protocol."
)
TITLES = {
    "rules": "the frozen rules",
    "random, matched": "random choice, straight to the last rung, at the rules' cost",
    "greedy 1": "greedy: the first rung's leader, straight to the last",
    "greedy n, matched": "greedy: as many of the first rung's leaders as the rules' cost buys",
    "halving 2": "successive halving, eta 2, from all",
    "halving 2, matched": "successive halving, eta 2, from {start}, at most the rules' mean cost",
    "halving 3": "successive halving, eta 3, from all",
    "halving 3, matched": "successive halving, eta 3, from {start}, at most the rules' mean cost",
    "full": "full continuation: everything at the last rung",
}


@dataclass(frozen=True)
class BacktestOptions:
    """What the command was asked for, and the digests of the two files beside the curves."""

    ladders: int
    seed: int
    continued: bool
    map_name: str
    map_sha256: str
    rules_name: str
    rules_sha256: str


def _share(count: float, of: float) -> float:
    return round(count / of, 9)


def _error(share: float, of: float) -> float:
    """Standard error of a share, from the number of ladders: what more ladders would still change."""
    return round(sqrt(share * (1 - share) / of), 9)


def final_text(curve_map: CurveMap) -> str:
    """What finally counts, as a sentence."""
    final = curve_map.final
    if final.kind == "at_budget":
        return f"the value at {final.budget:g} {curve_map.budget.unit}"
    if final.kind == "last_budget":
        return "the value at the last budget"
    unreached = "left out" if final.unreached == "omit" else "counted at the end of their curve"
    return (
        f"the first {curve_map.budget.unit} at which a run reaches {final.value:g} {curve_map.value.unit}, "
        f"interpolated; runs that never do are {unreached}"
    )


def final_unit(curve_map: CurveMap) -> str:
    """The unit of the final value, of regret too."""
    return curve_map.budget.unit if curve_map.final.kind == "first_reach" else curve_map.value.unit


def _statements(
    curves: Curves, curve_map: CurveMap, rules: Ruleset, pools: Pools, options: BacktestOptions
) -> list[str]:
    lines = [PREFIX] if curve_map.budget.prefix else []
    if options.continued:
        lines.append("One run is followed through all its budgets, and only the increments of its budget are paid.")
    else:
        lines.append(
            "Seeds are drawn anew at every rung, with replacement from the recorded runs of a configuration, and every "
            "run is paid from its start."
        )
    if curves.hosts_note:
        lines.append(curves.hosts_note[0].upper() + curves.hosts_note[1:] + ".")
    if len(curves.hosts) == 1 and rules.hosts > 1:
        lines.append(f"The rules' {rules.hosts} hosts are drawn as that many times the seeds of one block.")
    if len(curves.hosts) > 1 and rules.hosts > 1 and len(curves.hosts) != rules.hosts:
        lines.append(f"The rules are of {rules.hosts} hosts; they judge the {len(curves.hosts)} of the curves.")
    if pools.unreached:
        verb = (
            "left out"
            if getattr(curve_map.final, "unreached", "omit") == "omit"
            else "counted at the end of their curve"
        )
        flattery = ", which flatters their configurations" if verb == "left out" else ""
        lines.append(f"{pools.unreached} of {len(curves.runs)} runs have no final value and were {verb}{flattery}.")
    if not curves.has_status:
        lines.append("The curves declare no status: what crashed is not in them, so no run diverges or fails here.")
    if not curves.has_cost:
        unit = curve_map.budget.unit
        lines.append(f"The map names no cost column: one {unit} costs the same for every configuration and host.")
    for name, reason in curve_map.exclude.items():
        lines.append(f"Left out: {name}: {reason}.")
    lines.append(
        f"Shares are over resampled seeds of these {len(curves.configs)} configurations; of others they say nothing."
    )
    return lines


def _native(millionths: float, curves: Curves, curve_map: CurveMap) -> float:
    sign = 1 if curve_map.final.kind == "first_reach" else curves.sign
    return round(sign * millionths / SCALE, DIGITS) + 0.0


def _truth(curves: Curves, curve_map: CurveMap, pools: Pools) -> list[Standing]:
    order = np.argsort(pools.truth, kind="stable")
    sure = sureness(pools)
    return [
        Standing(
            config=pools.configs[n],
            rank=rank,
            final=_native(float(pools.truth[n]), curves, curve_map),
            seed_sd=round(float(pools.final[n].std(ddof=1)) / SCALE, DIGITS),
            runs=len(pools.final[n]),
            first_in_redraws=round(float(sure[n]), DIGITS),
        )
        for rank, n in enumerate(order.tolist(), start=1)
    ]


def sureness(pools: Pools, redraws: int = REDRAWS) -> NDArray[np.float64]:
    """For each configuration, the share of redraws of all its runs in which it has the best mean final value."""
    generator = np.random.default_rng(0)
    order = np.argsort(pools.truth, kind="stable")[:64]  # nobody behind the first 64 comes first
    means = np.full((redraws, len(order)), np.inf)
    for column, n in enumerate(order.tolist()):
        values = pools.final[n]
        means[:, column] = values[generator.integers(0, len(values), size=(redraws, len(values)))].mean(axis=1)
    shares = np.zeros(len(pools.configs))
    shares[order] = np.bincount(means.argmin(axis=1), minlength=len(order)) / redraws
    return shares


def pool_means(pool: Pool) -> NDArray[np.float64]:
    """Mean over all finished runs of each configuration, in millionths; NaN where there is none."""
    finished = pool.state == FINISHED
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(finished, pool.values, 0).sum(axis=(1, 2)) / finished.sum(axis=(1, 2)))


def decision_accuracy(small: NDArray[np.float64], final: NDArray[np.float64]) -> float | None:
    """Share of pairs that `small` orders as `final` does (Magnusson et al., DataDecide, arXiv:2504.11393).

    Pairs that are equal in the end do not count; a tie at the small budget is no right answer.
    """
    first, second = np.triu_indices(len(final), 1)
    ends = np.sign(final[first] - final[second])
    counted = ends != 0
    right = np.sign(small[first] - small[second]) == ends
    return _share(float((right & counted).sum()), float(counted.sum())) if counted.any() else None


def seed_sd(pool: Pool) -> float | None:
    """Median over configurations of the standard deviation over their finished runs, in millionths."""
    spreads = []
    for values, state in zip(pool.values, pool.state, strict=True):
        finished = values[state == FINISHED]
        if len(finished) > 1:
            spreads.append(float(finished.std(ddof=1)))
    return float(np.median(spreads)) if spreads else None


def _rungs(curve_map: CurveMap, pools: Pools, tally: ReplayTally) -> list[RungFigures]:
    from scipy.stats import kendalltau

    rows = []
    for rung, pool in pools.rungs.items():
        budget, small = curve_map.rungs[rung], pool_means(pool)
        known = ~np.isnan(small)
        tau = float(kendalltau(small[known], pools.truth[known]).statistic)
        spread = seed_sd(pool)
        rows.append(
            RungFigures(
                rung=rung,
                budget=budget,
                unit=final_unit(curve_map) if budget == FINAL else curve_map.value.unit,
                runs_each=pool.seeds * len(pools.hosts),
                seed_sd=round(spread / SCALE, DIGITS) if spread is not None else None,
                tau_b=round(tau, DIGITS) if np.isfinite(tau) else None,
                accuracy_all_runs=decision_accuracy(small, pools.truth),
                accuracy=round(tally.pairs[rung] / tally.pair_ladders, DIGITS) if tally.pair_ladders else None,
            )
        )
    return rows


def _rule(rule_id: str, rule: r.Rule, count: GateCount, left_out: dict[str, str], ladders: int) -> RuleFigures:
    counted = count.rules.get(rule_id)
    return RuleFigures(
        id=rule_id,
        kind=rule.kind,
        effect=r.EFFECTS[rule.kind],
        text=r.say(rule),
        evaluated=counted is not None,
        why_not=left_out.get(rule_id, ""),
        holds=round(counted.holds / ladders, DIGITS) if counted else None,
        fails=round(counted.fails / ladders, DIGITS) if counted else None,
        unknown=round(counted.unknown / ladders, DIGITS) if counted else None,
    )


def _gates(rules: Ruleset, tally: ReplayTally, full_cost: float) -> list[GateFigures]:
    rows, ladders = [], tally.ladders
    for gate, count in tally.gates.items():
        dropped = _share(count.best_dropped, ladders)
        rows.append(
            GateFigures(
                gate=gate,
                rung=names.rung_of(gate),
                last=names.rung_of(gate) == rules.rungs[-1],
                candidates=round(count.candidates / ladders, DIGITS),
                promoted=round(count.promoted / ladders, DIGITS),
                blocked=_share(count.blocked, ladders),
                best_reached=_share(count.best_here, ladders),
                best_dropped=dropped,
                best_dropped_error=_error(dropped, ladders),
                top3_dropped=_share(count.top_dropped, ladders),
                cost_share=_share(count.cost, full_cost),
                rules=[
                    _rule(rule_id, rule, count, tally.left_out[gate], ladders)
                    for rule_id, rule in r.in_order(rules.gates[gate])
                ],
            )
        )
    return rows


def regret(count: MethodCount, truth: NDArray[np.float64]) -> Regret:
    """The regret of a method's picks; `truth` is in millionths, lower is better."""
    picks, gaps = count.picks[:-1], (truth - truth.min()) / SCALE
    chosen = int(picks.sum())
    if not chosen:
        return Regret(mean=None, error=None, p90=None, largest=None)
    mean = float((picks * gaps).sum() / chosen)
    variance = float((picks * (gaps - mean) ** 2).sum() / chosen)
    order = np.argsort(gaps, kind="stable")
    reached = np.cumsum(picks[order]) >= 0.9 * chosen
    figures = {
        "mean": mean,
        "error": sqrt(variance / chosen),
        "p90": float(gaps[order][reached.argmax()]),
        "largest": float(gaps[picks > 0].max()),
    }
    return Regret(**{key: round(value, DIGITS) for key, value in figures.items()})


def _methods(pools: Pools, tally: ReplayTally) -> list[MethodFigures]:
    best = int(np.argsort(pools.truth, kind="stable")[0])
    full = tally.methods["full"].cost
    rows = []
    for name, count in tally.methods.items():
        if tally.starts.get(name) == len(pools.configs):
            continue  # starting from all configurations costs no more than the rules: the row before says it
        picked = _share(int(count.picks[best]), tally.ladders)
        rows.append(
            MethodFigures(
                method=name,
                title=TITLES[name].format(start=tally.starts.get(name)),
                best_picked=picked,
                best_picked_error=_error(picked, tally.ladders),
                best_lost=_share(count.best_lost, tally.ladders),
                top3_lost=_share(count.top_lost, tally.ladders),
                nobody=_share(int(count.picks[-1]), tally.ladders),
                regret=regret(count, pools.truth),
                finalists=round(count.finalists / tally.ladders, DIGITS),
                cost=round(count.cost / tally.ladders, DIGITS),
                cost_share=_share(count.cost, full),
            )
        )
    return rows


def summarise(
    curves: Curves, curve_map: CurveMap, rules: Ruleset, pools: Pools, tally: ReplayTally, options: BacktestOptions
) -> Backtest:
    """The result. Holds no clock and no machine: the same inputs give the same bytes."""
    source = Source(
        name=curves.path.rpartition("/")[2],
        sha256=curves.sha256,
        source=curve_map.source,
        configs=len(curves.configs),
        runs=len(curves.runs),
        hosts=[host for host in curves.hosts if host],
        agreement=curves.hosts_note or "evaluable",
        unit=curve_map.value.unit,
        direction=curve_map.value.direction,
        budget_unit=curve_map.budget.unit,
        prefix=curve_map.budget.prefix,
    )
    return Backtest.model_validate(
        {
            "schema": 1,
            "kind": "backtest",
            "curves": source,
            "map": File(name=options.map_name, sha256=options.map_sha256),
            "rules": File(name=options.rules_name, sha256=options.rules_sha256),
            "rules_unit": rules.unit,
            "ladders": tally.ladders,
            "seed": options.seed,
            "resampling": "continued" if options.continued else "fresh",
            "final": Final(text=final_text(curve_map), unit=final_unit(curve_map)),
            "cost_unit": "device-seconds" if curves.has_cost else curve_map.budget.unit,
            "statements": _statements(curves, curve_map, rules, pools, options),
            "truth": _truth(curves, curve_map, pools),
            "rungs": _rungs(curve_map, pools, tally),
            "gates": _gates(rules, tally, tally.methods["full"].cost),
            "methods": _methods(pools, tally),
        }
    )


def check_rules(rules: Ruleset, curves: Curves, continued: bool, rules_path: str) -> None:
    """Refuse rules whose answer these curves would only pretend to give."""
    for gate, kept in rules.gates.items():
        for rule_id, rule in kept.items():
            place = f"gates.{gate}.{rule_id}"
            if curves.hosts_note and getattr(rule, "by", "mean") != "mean":
                by = getattr(rule, "by", "")
                raise Invalid.at(
                    rules_path, f"{rule.kind} by {by} is not evaluable: {curves.hosts_note}; use `by: mean`", place
                )
            if continued and rule.kind == "fresh_seeds":
                raise Invalid.at(
                    rules_path,
                    "fresh_seeds never holds where a run is followed through its budgets; drop --continued or the rule",
                    place,
                )
