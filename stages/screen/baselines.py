"""What cheaper ways of choosing would have found on the runs of a screen: greedy choice, and random choice.

    choices = compare(means, cells, budgets)

Both are computed exactly from the recorded means; nothing is trained. Regret is the mean at the last budget of what a
way chooses, less that of the best configuration there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import comb


@dataclass(frozen=True)
class BaselineChoice:
    """One way of choosing: what it does, the device-seconds that it spends, what it picks (None: at random), regret."""

    name: str
    seconds: float
    config: str | None
    regret: float


def compare(
    means: Mapping[str, Mapping[str, float]], cells: Mapping[str, int], budgets: Mapping[str, float]
) -> list[BaselineChoice]:
    """Every way, the cheapest first. `means` by rung and configuration, all of them at every rung."""
    return sorted([*_greedy(means, cells, budgets), *_random(means, cells, budgets)], key=lambda choice: choice.seconds)


def _greedy(
    means: Mapping[str, Mapping[str, float]], cells: Mapping[str, int], budgets: Mapping[str, float]
) -> Iterator[BaselineChoice]:
    """The leader of each rung, from running everything there and nowhere else."""
    last = means[list(means)[-1]]
    best = min(last.values())
    for rung, by_config in means.items():
        leader = min(by_config, key=lambda name: (by_config[name], name))
        spent = len(by_config) * cells[rung] * budgets[rung]
        yield BaselineChoice(f"the leader of {rung}", spent, leader, last[leader] - best)


def _random(
    means: Mapping[str, Mapping[str, float]], cells: Mapping[str, int], budgets: Mapping[str, float]
) -> Iterator[BaselineChoice]:
    """The best of so many configurations at random, run at the last rung alone, for what each greedy choice costs."""
    rung = list(means)[-1]
    values = sorted(means[rung].values())
    price = cells[rung] * budgets[rung]
    sizes = {min(len(values), int(len(values) * cells[name] * budgets[name] / price)) for name in means}
    for size in sorted(size for size in sizes if 0 < size < len(values)):
        yield BaselineChoice(
            f"the best of {size} at random, at {rung} alone", size * price, None, expected_regret(values, size)
        )


def expected_regret(values: list[float], size: int) -> float:
    """The expected excess over the best of the best of `size` values drawn without replacement; `values` ascend."""
    ways = comb(len(values), size)
    mean = sum(value * comb(len(values) - 1 - n, size - 1) for n, value in enumerate(values)) / ways
    return mean - values[0]
