"""Baselines of a backtest: random choice, greedy choice, successive halving, and running everything.

Each baseline is a function of the batch on which the rules were replayed, so all methods see the same draws:

    random       configurations at random, straight to the last rung, as many as the rules' cost buys in this ladder
    greedy 1     the leader of the first rung, straight to the last
    greedy n     the leaders of the first rung, straight to the last, as many as the rules' cost buys
    halving      successive halving (Jamieson and Talwalkar, arXiv:1502.07943): the best 1/eta of each rung go on, on
                 the rules' own rungs and seeds; from all configurations, and from as many as the rules' mean cost buys
    full         every configuration to the last rung
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.backtest.draws import Batch
from stages.backtest.engine import LAST, among_best

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Choice:
    """What one method did in a batch. `pick` is -1 where it chose nobody; `finalists` were run at the last rung."""

    pick: Ints
    finalists: Bools
    cost: Floats


def pick_best(keys: Ints) -> Ints:
    """The first of each ladder; -1 where nobody has a value."""
    best = keys.argmin(axis=1)
    return np.where(keys[np.arange(len(keys)), best] < LAST, best, -1)


def _afford(order: Ints, cost: Floats, budget: Floats) -> Bools:
    """The first configurations in `order` whose costs together stay within the budget; the first one in any case."""
    ranked = order.argsort(axis=1, kind="stable")
    spent = np.take_along_axis(cost, ranked, axis=1).cumsum(axis=1)
    taken = spent <= budget[:, None]
    taken[:, 0] = True
    chosen = np.zeros(cost.shape, dtype=np.bool_)
    np.put_along_axis(chosen, ranked, taken, axis=1)
    return chosen


def _straight(batch: Batch, chosen: Bools, cost: Floats, spent: Floats | float = 0.0) -> Choice:
    """The chosen ones at the last rung."""
    last = list(batch.rungs.values())[-1]
    return Choice(pick_best(last.keys(chosen)), chosen, spent + np.where(chosen, cost, 0.0).sum(axis=1))


def random_choice(batch: Batch, budget: Floats, generator: Generator) -> Choice:
    """Configurations at random to the last rung, within the cost that the rules had in the same ladder."""
    cost = list(batch.rungs.values())[-1].cost
    order = generator.integers(0, 1 << 62, size=cost.shape, dtype=np.int64)
    return _straight(batch, _afford(order, cost, budget), cost)


def greedy(batch: Batch, budget: Floats | None = None) -> Choice:
    """The leaders of the first rung straight to the last: one, or as many as the budget buys after the first rung."""
    names = list(batch.rungs)
    first = batch.rungs[names[0]]
    everybody = np.ones(first.cost.shape, dtype=np.bool_)
    keys = first.keys(everybody)
    cost, spent = batch.step_cost(names[-1], names[0]), first.cost.sum(axis=1)
    chosen = among_best(keys, 1) if budget is None else _afford(keys, cost, budget - spent)
    if len(names) == 1:
        return Choice(pick_best(first.keys(chosen)), chosen, spent)
    return _straight(batch, chosen, cost, spent)


def full(batch: Batch) -> Choice:
    """Every configuration at the last rung."""
    last = list(batch.rungs.values())[-1]
    return _straight(batch, np.ones(last.cost.shape, dtype=np.bool_), last.cost)


def halving_sizes(start: int, eta: int, rungs: int) -> list[int]:
    """How many are run at each rung.

    >>> halving_sizes(12, 2, 5), halving_sizes(12, 3, 4)
    ([12, 6, 3, 1, 1], [12, 4, 1, 1])
    """
    return [max(1, start // eta**rung) for rung in range(rungs)]


def affordable_start(costs: Sequence[float], eta: int, configs: int, budget: float) -> int:
    """The largest number to start with whose expected cost is within the budget; `costs` is the mean of a rung."""
    for start in range(configs, 1, -1):
        sizes = halving_sizes(start, eta, len(costs))
        if sum(size * cost for size, cost in zip(sizes, costs, strict=True)) <= budget:
            return start
    return 1


def halving(batch: Batch, eta: int, start: int, generator: Generator) -> Choice:
    """Successive halving from `start` configurations, drawn at random where these are not all."""
    names = list(batch.rungs)
    shape = batch.rungs[names[0]].cost.shape
    alive = np.ones(shape, dtype=np.bool_)
    if start < shape[1]:
        alive = among_best(generator.integers(0, 1 << 62, size=shape, dtype=np.int64), start)
    sizes = halving_sizes(start, eta, len(names))
    spent = np.zeros(shape[0])
    before: str | None = None
    for place, rung in enumerate(names):
        spent += np.where(alive, batch.step_cost(rung, before), 0.0).sum(axis=1)
        if place < len(names) - 1:
            alive = among_best(batch.rungs[rung].keys(alive), sizes[place + 1])
        before = rung
    return Choice(pick_best(batch.rungs[names[-1]].keys(alive)), alive, spent)
