"""Resamples seeds: the score and cost of every configuration at every rung, for a batch of ladders.

    batch = Sampler(pools).draw(ladders, generator)

Runs are drawn with replacement from those recorded for the configuration and host. Fresh draws are independent between
rungs, as seeds are in the protocol; continued draws follow one run through all its budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stages.backtest.curves import FINISHED
from stages.backtest.engine import Cells, ordered
from stages.backtest.pools import Pool, Pools

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class RungDraw:
    """One rung of a batch. scores and state are ladder x configuration x host x seed, cost ladder x configuration.
    `seed_cost` is `cost` before it is summed over hosts and seeds; `floor_cost` is ladder: the cost of the A/A runs.
    """

    scores: Ints
    state: NDArray[np.int8] | None
    cost: Floats
    seed_cost: Floats
    floor: Ints | None
    floor_cost: Floats

    def cells(self, candidates: Bools, roles: dict[str, int], fresh: bool) -> Cells:
        """The evidence of the gate that judges these candidates."""
        return Cells(self.scores, candidates, roles, self.state, self.floor, fresh)

    def keys(self, candidates: Bools) -> Ints:
        """Standing by mean, without ties; behind every value for what is no candidate or did not finish."""
        cells = Cells(self.scores, candidates, {}, self.state)
        return ordered(cells.sums, cells.known)


@dataclass(frozen=True)
class Batch:
    """All rungs of a batch of ladders."""

    rungs: dict[str, RungDraw]
    continued: bool

    @property
    def ladders(self) -> int:
        """How many ladders."""
        return len(next(iter(self.rungs.values())).cost)

    def step_cost(self, rung: str, before: str | None) -> Floats:
        """ladder x configuration: what this rung costs somebody who was last run at `before`."""
        draw = self.rungs[rung]
        if before is None or not self.continued:
            return draw.cost
        earlier = self.rungs[before].seed_cost
        kept = min(earlier.shape[3], draw.seed_cost.shape[3])
        return np.asarray(draw.cost - earlier[..., :kept].sum(axis=(2, 3)))


class Sampler:
    """Draws batches from pools. One instance may serve several threads: each draw has its own generator."""

    def __init__(self, pools: Pools, reference: int = -1, continued: bool = False) -> None:
        self.pools = pools
        self.continued = continued
        self._reference = reference
        self._finished = {
            rung: bool((pool.state == FINISHED).sum() == pool.count.sum()) for rung, pool in pools.rungs.items()
        }

    @property
    def widest(self) -> int:
        """Cells of one ladder at its widest rung: what a batch is measured by."""
        configs, hosts = len(self.pools.configs), len(self.pools.hosts)
        return configs * hosts * max(pool.seeds for pool in self.pools.rungs.values())

    def draw(self, ladders: int, generator: Generator) -> Batch:
        """A batch of so many ladders."""
        shared: Ints | None = None
        if self.continued:
            first = next(iter(self.pools.rungs.values()))
            seeds = max(pool.seeds for pool in self.pools.rungs.values())
            shared = _indices(first.count, ladders, seeds, generator)
        rungs = {rung: self._rung(rung, pool, ladders, generator, shared) for rung, pool in self.pools.rungs.items()}
        return Batch(rungs, self.continued)

    def _rung(self, rung: str, pool: Pool, ladders: int, generator: Generator, shared: Ints | None) -> RungDraw:
        index = _indices(pool.count, ladders, pool.seeds, generator) if shared is None else shared[..., : pool.seeds]
        configs, hosts, width = pool.values.shape
        flat = index + (np.arange(configs * hosts) * width).reshape(configs, hosts, 1)
        scores, seed_cost = pool.values.ravel()[flat], pool.cost.ravel()[flat]
        state = None if self._finished[rung] else pool.state.ravel()[flat]
        floor, floor_cost = None, np.zeros(ladders)
        if pool.floor and self._reference >= 0:
            count = pool.count[self._reference : self._reference + 1]
            places = _indices(count, ladders, pool.floor, generator)[:, 0] + (np.arange(hosts) * width)[:, None]
            floor = pool.values[self._reference].ravel()[places]
            floor_cost = pool.cost[self._reference].ravel()[places].sum(axis=(1, 2))
        cost = seed_cost[..., 0, 0] if hosts == pool.seeds == 1 else seed_cost.sum(axis=(2, 3))
        return RungDraw(scores, state, np.asarray(cost), seed_cost, floor, floor_cost)


def _indices(count: Ints, ladders: int, seeds: int, generator: Generator) -> Ints:
    """ladder x configuration x host x seed: a run of each cell, uniform to one part in 2^32."""
    bits = generator.integers(0, 1 << 32, size=(ladders, *count.shape, seeds), dtype=np.uint32)
    return np.asarray((bits.astype(np.int64) * count[None, :, :, None]) >> 32)


__all__ = ["Batch", "RungDraw", "Sampler"]
