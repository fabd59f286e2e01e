"""Recorded scores as means by configuration, host and budget: the data to which the model of curves is fitted.

    table = from_ledger(Path("ledger/runs.jsonl"))
    table = from_curves(curves, curve_map)

Seed noise is the variance within configuration, host and budget; it includes the A/A runs of the reference.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.backtest.curves import FINISHED, SCALE, Curves
from stages.backtest.mapping import CurveMap
from stages.domain.errors import Invalid
from stages.domain.records import Record, parse_ledger

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_BYTES = 1 << 30
#: Entries of all covariance matrices together.
MAX_ENTRIES = 20_000_000


@dataclass(frozen=True)
class Samples:
    """Cell means. Arrays are configuration x host x budget; a cell without a run is NaN with count 0.

    `within` is the pooled sum of squares of runs about their cell's mean, by budget; `freedom` its degrees of freedom.
    `run_correlation` is that of one run's noise between budgets: the identity where every budget has runs of its own.
    """

    name: str
    configs: tuple[str, ...]
    hosts: tuple[str, ...]
    budgets: tuple[float, ...]
    means: Floats
    counts: Floats
    within: Floats
    freedom: Floats
    run_correlation: Floats
    unit: str
    prefix: bool

    def only(self, places: NDArray[np.int64]) -> Samples:
        """The same of some configurations; the noise stays that of all."""
        kept = tuple(self.configs[n] for n in places.tolist())
        return Samples(
            self.name, kept, self.hosts, self.budgets, self.means[places], self.counts[places], self.within,
            self.freedom, self.run_correlation, self.unit, self.prefix,
        )  # fmt: skip


Cell = tuple[str, str, float]


def from_ledger(path: Path) -> Samples:
    """The finished runs of a ledger. Raises `Invalid` where it is none, or where no noise was measured."""
    if not path.is_file():
        raise Invalid(f"{path.as_posix()} is missing; name a ledger, such as ledger/runs.jsonl")
    if path.stat().st_size > MAX_BYTES:
        raise Invalid.at(path.as_posix(), f"{path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    records = [record for record, _ in parse_ledger(path.read_bytes(), path.as_posix())]
    cells: dict[Cell, list[float]] = defaultdict(list)
    floor: dict[Cell, list[float]] = defaultdict(list)
    for record in records:
        if record.val_bpb is not None:
            into = floor if record.purpose == "floor" else cells
            into[_cell(record)].append(float(record.val_bpb))
    return _samples(path.as_posix(), cells, floor, np.array([]), "bits per byte", False)


def _cell(record: Record) -> Cell:
    return record.config, record.host, float(record.budget.seconds)


def from_curves(curves: Curves, curve_map: CurveMap) -> Samples:
    """Curves at the budgets that their map names as rungs; values in their unit, lower is better."""
    budgets = [float(budget) for budget in curve_map.rungs.values() if budget != "final"]
    cells: dict[Cell, list[float]] = defaultdict(list)
    noise: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for run in curves.runs:
        host = run.host if len(curves.hosts) > 1 else ""
        points = [run.points.get(budget) for budget in budgets]
        for budget, point in zip(budgets, points, strict=True):
            if point is not None and point.value is not None and point.state == FINISHED:
                cells[run.config, host, budget].append(point.value / SCALE)
        values = [point.value / SCALE for point in points if point is not None and point.value is not None]
        if len(values) == len(budgets):
            noise[run.config, host].append(values)
    correlation = _correlation(list(noise.values())) if curve_map.budget.prefix else np.array([])
    return _samples(curves.path, cells, {}, correlation, curve_map.value.unit, curve_map.budget.prefix)


def _correlation(groups: list[list[list[float]]]) -> Floats:
    """Correlation between budgets of a run's deviation from its configuration's mean."""
    parts = [np.array(group) - np.mean(group, axis=0) for group in groups if len(group) > 1]
    if not parts:
        return np.array([])
    deviations = np.concatenate(parts)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nan_to_num(np.corrcoef(deviations, rowvar=False), nan=0.0))


def _samples(
    name: str,
    cells: dict[Cell, list[float]],
    floor: dict[Cell, list[float]],
    correlation: Floats,
    unit: str,
    prefix: bool,
) -> Samples:
    configs = tuple(sorted({config for config, _, _ in cells}))
    hosts = tuple(sorted({host for _, host, _ in cells}))
    budgets = tuple(sorted({budget for _, _, budget in cells}))
    if len(configs) < 4 or len(budgets) < 2:
        size = f"{len(configs)} configurations at {len(budgets)} budgets"
        raise Invalid.at(name, f"found {size}, expected at least 4 at 2 or more: a model of curves needs that many")
    if len(configs) * (len(hosts) * len(budgets)) ** 2 > MAX_ENTRIES:
        size = f"{len(configs)} configurations, {len(hosts)} hosts, {len(budgets)} budgets"
        raise Invalid.at(name, f"found {size}, expected fewer: a model of so many takes too much memory")
    means = np.full((len(configs), len(hosts), len(budgets)), np.nan)
    counts = np.zeros(means.shape)
    within, freedom = np.zeros(len(budgets)), np.zeros(len(budgets))
    for n, config in enumerate(configs):
        for h, host in enumerate(hosts):
            for b, budget in enumerate(budgets):
                for values in (cells.get((config, host, budget), []), floor.get((config, host, budget), [])):
                    if len(values) > 1:
                        within[b] += float(np.var(values) * len(values))
                        freedom[b] += len(values) - 1
                if values := cells.get((config, host, budget), []):
                    means[n, h, b], counts[n, h, b] = float(np.mean(values)), len(values)
    if not freedom.any():
        raise Invalid.at(
            name,
            "no noise was measured: no configuration has two runs on one host at one budget; add seeds or A/A runs",
        )
    identity = np.eye(len(budgets))
    return Samples(
        name, configs, hosts, budgets, means, counts, within, freedom, correlation if correlation.size else identity,
        unit, prefix,
    )  # fmt: skip
