"""The recorded runs of each rung as arrays (configuration x host x run), and the final value of each configuration.

pools = arrange(curves, curve_map, rules)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.backtest.curves import ABSENT, FINISHED, LARGEST, SCALE, CurveRun, Curves, RecordedPoint
from stages.backtest.mapping import FINAL, CurveMap, FirstReach, Ruleset
from stages.domain.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

MAX_PROBLEMS = 20


@dataclass(frozen=True)
class Pool:
    """The runs of one rung. Arrays are configuration x host x run, padded with absent runs behind `count`.

    `values` are millionths in which lower is better, `cost` is in the unit of the budget or in device-seconds.
    """

    values: Ints
    state: NDArray[np.int8]
    cost: Floats
    count: Ints
    floor: int
    seeds: int


@dataclass(frozen=True)
class Pools:
    """Everything that is drawn from. `final` holds every run's final value in millionths, lower is better."""

    configs: tuple[str, ...]
    hosts: tuple[str, ...]
    rungs: dict[str, Pool]
    final: tuple[Ints, ...]
    #: Runs that never reached the final value, and were left out or counted at their end.
    unreached: int

    @property
    def truth(self) -> Floats:
        """The mean final value of each configuration over all its runs, in millionths, lower is better."""
        return np.array([values.mean() for values in self.final])


def final_value(run: CurveRun, curve_map: CurveMap, sign: int) -> int | None:
    """A run's final value in millionths, lower is better; None where it has none."""
    final = curve_map.final
    if final.kind == "at_budget":
        point = run.points.get(final.budget)
        return point.value if point else None
    if final.kind == "last_budget":
        return run.last.value
    reached = _first_reach(run, final, sign)
    if reached is None and final.unreached == "at_end" and run.last.state == FINISHED:
        reached = run.last.budget
    return None if reached is None else round(reached * SCALE)


def _first_reach(run: CurveRun, final: FirstReach, sign: int) -> float | None:
    target = sign * final.value * SCALE
    before: RecordedPoint | None = None
    for _, point in sorted(run.points.items()):
        if point.value is None:
            return None
        if point.value <= target:
            if before is None or before.value is None:
                return point.budget
            share = (before.value - target) / (before.value - point.value)
            return before.budget + share * (point.budget - before.budget)
        before = point
    return None


def arrange(curves: Curves, curve_map: CurveMap, rules: Ruleset, continued: bool = False) -> Pools:
    """The pools of every rung. `continued` keeps a run's place in all rungs, so that it can be followed through."""
    finals = {id(run): final_value(run, curve_map, curves.sign) for run in curves.runs}
    _check_final(curves, curve_map, finals)
    omitted = sum(1 for run in curves.runs if finals[id(run)] is None)
    if curve_map.final.kind == "first_reach" and curve_map.final.unreached == "at_end":
        omitted = sum(1 for run in curves.runs if _first_reach(run, curve_map.final, curves.sign) is None)
    eligible = [run for run in curves.runs if not continued or finals[id(run)] is not None]
    block = rules.hosts if len(curves.hosts) == 1 else 1
    rungs = {}
    for rung, budget in curve_map.rungs.items():
        points = _final_points(eligible, finals) if budget == FINAL else _points_at(eligible, float(budget))
        if budget != FINAL:
            _check_complete(curves, eligible, points, float(budget), curve_map.budget.prefix)
        size = rules.sizes[rung]
        seeds, floor = size.seeds * block, size.floor_seeds * block
        rungs[rung] = _pool(curves, points, seeds, floor, f"{rung} (budget {budget})")
    by_config: dict[str, list[int]] = defaultdict(list)
    for run in curves.runs:
        value = finals[id(run)]
        if value is not None:
            by_config[run.config].append(value)
    final = tuple(np.array(by_config[name], dtype=np.int64) for name in curves.configs)
    return Pools(curves.configs, curves.hosts, rungs, final, omitted)


def _check_final(curves: Curves, curve_map: CurveMap, finals: dict[int, int | None]) -> None:
    if curve_map.final.kind == "last_budget":
        ends = {run.last.budget: run for run in curves.runs}
        if len(ends) > 1:
            (early, first), (late, second) = sorted(ends.items())[:2]
            raise Invalid.at(
                f"{curves.path}, line {second.last.line}",
                f"{second.id} ends at {late:g} and {first.id} (line {first.last.line}) at {early:g}, expected one last "
                "budget; runs of unlike lengths do not rank by their last value: use at_budget or first_reach",
            )
    longest = max(curves.runs, key=lambda run: run.last.budget)
    if curve_map.final.kind == "first_reach" and longest.last.budget >= LARGEST:
        raise Invalid.at(
            f"{curves.path}, line {longest.last.line}",
            f"budget: found {longest.last.budget:g}, expected less than {LARGEST}, since the final value is a budget;"
            " give it in a larger unit",
        )
    by_config: dict[str, list[CurveRun]] = defaultdict(list)
    for run in curves.runs:
        by_config[run.config].append(run)
    lines = []
    for name in curves.configs:
        runs = by_config[name]
        known = [run for run in runs if finals[id(run)] is not None]
        if len(known) < 2:
            what = (
                f"{len(known)} of its {len(runs)} runs have a final value ({curve_map.final.kind}), expected at least 2"
            )
            lines.append(f"{curves.path}, line {runs[0].first_line}: {name}: {what}; leave it out with `exclude`")
    if lines:
        raise Invalid("\n".join(lines[:MAX_PROBLEMS]))


def _points_at(runs: Iterable[CurveRun], budget: float) -> list[tuple[CurveRun, RecordedPoint]]:
    return [(run, run.points[budget]) for run in runs if budget in run.points]


def _final_points(runs: Iterable[CurveRun], finals: dict[int, int | None]) -> list[tuple[CurveRun, RecordedPoint]]:
    """The whole run: its final value, at the cost of all of it."""
    points = []
    for run in runs:
        value = finals[id(run)]
        if value is not None:
            points.append((run, RecordedPoint(run.last.budget, value, FINISHED, run.last.cost, run.last.line)))
    return points


def _check_complete(
    curves: Curves, runs: list[CurveRun], points: list[tuple[CurveRun, RecordedPoint]], budget: float, prefix: bool
) -> None:
    """Seeds that are missing at a rung: a run without this row, or a seed that most other configurations have."""
    present = {id(run) for run, _ in points}
    lines = []
    for run in runs:
        if prefix and id(run) not in present:
            lines.append(
                f"{curves.path}, line {run.first_line}: {run.id} has no row at {budget:g}, expected one at the budget "
                "of each rung; choose another budget under `rungs`, or leave the configuration out with `exclude`"
            )
    lines += _missing_seeds(curves, [run for run, _ in points], budget)
    if lines:
        more = [f"{curves.path}: and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
        raise Invalid("\n".join([*lines[:MAX_PROBLEMS], *more]))


def _missing_seeds(curves: Curves, runs: list[CurveRun], budget: float) -> list[str]:
    """A seed that more than half of the configurations have, or a hole in a numbering that no other has."""
    seeds: dict[str, set[str]] = defaultdict(set)
    lines: dict[str, int] = {}
    for run in runs:
        seeds[run.config].add(run.seed)
        lines[run.config] = min(lines.get(run.config, run.first_line), run.first_line)
    everything = set().union(*seeds.values()) if seeds else set()
    whole = [name for name in seeds if seeds[name] == everything]
    holes = {name: _holes(seeds[name]) for name in seeds}
    messages = []
    for name in sorted(seeds):
        missing = sorted(everything - seeds[name], key=_by_number) if len(whole) * 2 > len(seeds) else []
        missing = missing or (holes[name] if sum(1 for other in holes.values() if other) == 1 else [])
        if missing:
            messages.append(
                f"{curves.path}, line {lines[name]}: {name} lacks seed {', '.join(missing[:5])} at {budget:g}, "
                "expected the seeds that the others have; a run that crashed belongs in the file with its status"
            )
    return messages


def _by_number(seed: str) -> tuple[int, str]:
    return (int(seed), "") if seed.isdecimal() and len(seed) < 19 else (-1, seed)


def _holes(seeds: set[str]) -> list[str]:
    if not seeds or not all(seed.isdecimal() for seed in seeds):
        return []
    numbers = {int(seed) for seed in seeds}
    if min(numbers) > 1 or max(numbers) > 10 * len(numbers) + 10:
        return []
    return [str(number) for number in range(min(numbers), max(numbers)) if number not in numbers]


def _pool(curves: Curves, points: list[tuple[CurveRun, RecordedPoint]], seeds: int, floor: int, what: str) -> Pool:
    places = {name: n for n, name in enumerate(curves.configs)}
    hosts = {name: n for n, name in enumerate(curves.hosts)}
    cells: dict[tuple[int, int], list[RecordedPoint]] = defaultdict(list)
    for run, point in points:
        cells[places[run.config], hosts[run.host] if len(hosts) > 1 else 0].append(point)
    count = np.zeros((len(places), len(hosts)), dtype=np.int64)
    for cell, rows in cells.items():
        count[cell] = len(rows)
    least = max(2, seeds)
    for name, host in np.argwhere(count < least).tolist():
        where = f" on {curves.hosts[host]}" if len(hosts) > 1 else ""
        raise Invalid.at(
            curves.path,
            f"{curves.configs[name]} has {count[name, host]} runs{where} at {what}, expected at least {least}: as many "
            "as the rung has seeds; lower the seeds of the rules, or leave the configuration out with `exclude`",
        )
    shape = (*count.shape, int(count.max()))
    values, cost = np.zeros(shape, dtype=np.int64), np.zeros(shape)
    state = np.full(shape, ABSENT, dtype=np.int8)
    for cell, rows in cells.items():
        values[cell][: len(rows)] = [point.value or 0 for point in rows]
        state[cell][: len(rows)] = [point.state for point in rows]
        cost[cell][: len(rows)] = [point.cost for point in rows]
    return Pool(values, state, cost, count, floor, seeds)
