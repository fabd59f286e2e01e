"""Replays the rules and every baseline on resampled ladders, in batches of bounded memory, and counts the outcomes.

    tally = replay(pools, rules, roles, ladders=1_000_000, seed=1)

Each batch has its own random generator, so the counts depend on the seed and not on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.backtest import baselines, engine
from stages.backtest.baselines import Choice
from stages.backtest.draws import Batch, Sampler
from stages.backtest.mapping import Ruleset
from stages.backtest.pools import Pools
from stages.domain import names

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Cells of a batch at its widest rung: some tens of megabytes with all that is made from them.
BATCH_CELLS = 400_000
#: Ladders in which pairs are compared, and pairs at most: enough for a standard error below a thousandth.
PAIR_LADDERS = 20_000
PAIRS = 2_000
PILOT = 4_096
TOP = 3
ETAS = (2, 3)
Progress = Callable[[int, int], None]


@dataclass
class RuleCount:
    """How often one rule answered what, over candidates and ladders."""

    holds: int = 0
    fails: int = 0
    unknown: int = 0


@dataclass
class GateCount:
    """What one gate did, summed over ladders.

    `best_dropped`: the best was a candidate (`best_here`) and did not go on; at the last gate, it was not chosen.
    `top_dropped`: at least one of the top three was dropped here; at the last gate, none of them was chosen.
    """

    blocked: int = 0
    candidates: int = 0
    promoted: int = 0
    best_here: int = 0
    best_dropped: int = 0
    top_dropped: int = 0
    cost: float = 0.0
    rules: dict[str, RuleCount] = field(default_factory=dict)


@dataclass
class MethodCount:
    """What one method chose: `picks` by configuration, the last entry for nobody."""

    picks: NDArray[np.int64]
    best_lost: int = 0
    top_lost: int = 0
    finalists: int = 0
    cost: float = 0.0
    cost_squared: float = 0.0


@dataclass
class ReplayTally:
    """Counts over all ladders."""

    ladders: int
    gates: dict[str, GateCount]
    methods: dict[str, MethodCount]
    pair_ladders: int
    #: rung -> share of pairs ordered as in the end, summed over `pair_ladders`.
    pairs: dict[str, float]
    starts: dict[str, int]
    left_out: dict[str, dict[str, str]]


def _merge(into: Any, other: Any) -> Any:
    """Add the counts of `other`."""
    if isinstance(into, dict):
        return {key: _merge(into[key], other[key]) for key in into}
    if isinstance(into, int | float | np.ndarray):
        return into + other
    for count in fields(into):
        if count.name not in ("starts", "left_out"):
            setattr(into, count.name, _merge(getattr(into, count.name), getattr(other, count.name)))
    return into


class _Replay:
    def __init__(self, pools: Pools, rules: Ruleset, roles: dict[str, str], continued: bool) -> None:
        places = {name: n for n, name in enumerate(pools.configs)}
        self.roles = {role: places.get(name, -1) for role, name in roles.items()}
        self.sampler = Sampler(pools, self.roles.get("reference", -1), continued)
        self.rules = rules
        self.fresh = not continued
        order = np.argsort(pools.truth, kind="stable")
        self.best, self.top = int(order[0]), order[: min(TOP, len(order))]
        self.left_out = {
            gate: engine.left_out(kept, len(pools.hosts), self._has_floor(pools, gate))
            for gate, kept in rules.gates.items()
        }
        self.pairs = self._pairs(pools.truth)
        self.starts: dict[str, int] = {}

    def _has_floor(self, pools: Pools, gate: str) -> bool:
        return pools.rungs[names.rung_of(gate)].floor >= 2 and self.roles.get("reference", -1) >= 0

    @staticmethod
    def _pairs(truth: Floats) -> NDArray[np.int64]:
        """Pairs (better, worse) by the final value; a seeded sample where there are more than `PAIRS`."""
        left, right = np.triu_indices(len(truth), 1)
        better = np.where(truth[left] < truth[right], left, right)
        worse = np.where(truth[left] < truth[right], right, left)
        differ = truth[left] != truth[right]
        pairs = np.stack([better[differ], worse[differ]])
        if pairs.shape[1] > PAIRS:
            kept = np.random.default_rng(0).choice(pairs.shape[1], PAIRS, replace=False)
            pairs = pairs[:, np.sort(kept)]
        return pairs

    def run_rules(self, batch: Batch, gates: dict[str, GateCount]) -> Choice:
        """The frozen rules from the first rung to the last."""
        ladders, configs = batch.ladders, len(self.sampler.pools.configs)
        candidates = np.ones((ladders, configs), dtype=np.bool_)
        spent = np.zeros(ladders)
        pick = np.full(ladders, -1, dtype=np.int64)
        before: str | None = None
        for rung, draw in batch.rungs.items():
            gate, last = names.gate_of(rung), rung == self.rules.rungs[-1]
            running = candidates.any(axis=1)
            cost = np.where(candidates, batch.step_cost(rung, before), 0.0).sum(axis=1) + running * draw.floor_cost
            spent += cost
            cells = draw.cells(candidates, self.roles, self.fresh)
            outcome = engine.decide_gate(self.rules.gates[gate], cells, self.left_out[gate])
            if last:
                leaders = engine.leader(cells)
                pick = np.where(outcome.blocked, -1, leaders)
                promoted = np.zeros_like(candidates)
                promoted[np.flatnonzero(pick >= 0), pick[pick >= 0]] = True
            else:
                promoted = outcome.promoted
            self._count_gate(gates[gate], candidates, promoted, outcome, float(cost.sum()), last)
            before = rung
            candidates = candidates if last else promoted
        return Choice(pick, candidates, spent)

    def _count_gate(
        self, count: GateCount, candidates: Any, promoted: Any, outcome: engine.GateOutcomes, cost: float, last: bool
    ) -> None:
        dropped = candidates & ~promoted
        count.blocked += int((outcome.blocked & candidates.any(axis=1)).sum())
        count.candidates += int(candidates.sum())
        count.promoted += int(promoted.sum())
        count.best_here += int(candidates[:, self.best].sum())
        count.best_dropped += int(dropped[:, self.best].sum())
        lost = ~promoted[:, self.top].any(axis=1) if last else dropped[:, self.top].any(axis=1)
        count.top_dropped += int(lost.sum())
        count.cost += cost
        for rule_id, answer in outcome.answers.items():
            rule = count.rules[rule_id]
            rule.holds += int((answer == engine.HOLDS).sum())
            rule.fails += int((answer == engine.FAILS).sum())
            rule.unknown += int((answer == engine.UNKNOWN).sum())

    def count_method(self, count: MethodCount, choice: Choice) -> None:
        """Add what a method chose."""
        configs = len(self.sampler.pools.configs)
        count.picks += np.bincount(np.where(choice.pick < 0, configs, choice.pick), minlength=configs + 1)
        count.best_lost += int((~choice.finalists[:, self.best]).sum())
        count.top_lost += int((~choice.finalists[:, self.top]).any(axis=1).sum())
        count.finalists += int(choice.finalists.sum())
        count.cost += float(choice.cost.sum())
        count.cost_squared += float((choice.cost**2).sum())

    def empty(self, ladders: int, pair_ladders: int) -> ReplayTally:
        """Counts of nothing yet."""
        gates = {
            gate: GateCount(rules={rule_id: RuleCount() for rule_id in kept if rule_id not in self.left_out[gate]})
            for gate, kept in self.rules.gates.items()
        }
        configs = len(self.sampler.pools.configs)
        methods = {name: MethodCount(np.zeros(configs + 1, dtype=np.int64)) for name in METHODS}
        return ReplayTally(
            ladders, gates, methods, pair_ladders, dict.fromkeys(self.rules.rungs, 0.0), self.starts, self.left_out
        )

    def batch(self, ladders: int, compare_pairs: bool, seed: np.random.SeedSequence) -> ReplayTally:
        """One batch, counted."""
        drawn, chance = (np.random.default_rng(child) for child in seed.spawn(2))
        batch = self.sampler.draw(ladders, drawn)
        tally = self.empty(ladders, ladders if compare_pairs else 0)
        rules = self.run_rules(batch, tally.gates)
        choices = {
            "rules": rules,
            "random, matched": baselines.random_choice(batch, rules.cost, chance),
            "greedy 1": baselines.greedy(batch),
            "greedy n, matched": baselines.greedy(batch, rules.cost),
            "full": baselines.full(batch),
        }
        for eta in ETAS:
            everybody = len(self.sampler.pools.configs)
            whole = baselines.halving(batch, eta, everybody, chance)
            start = self.starts[f"halving {eta}, matched"]
            matched = whole if start == everybody else baselines.halving(batch, eta, start, chance)
            choices |= {f"halving {eta}": whole, f"halving {eta}, matched": matched}
        for name, choice in choices.items():
            self.count_method(tally.methods[name], choice)
        if compare_pairs:
            self._compare_pairs(batch, tally)
        return tally

    def _compare_pairs(self, batch: Batch, tally: ReplayTally) -> None:
        better, worse = self.pairs
        everybody = np.ones((batch.ladders, len(self.sampler.pools.configs)), dtype=np.bool_)
        for rung, draw in batch.rungs.items():
            cells = draw.cells(everybody, self.roles, self.fresh)
            sums = np.where(cells.known, cells.sums, engine.LAST)
            right = (sums[:, better] < sums[:, worse]).mean(axis=1) if better.size else np.zeros(batch.ladders)
            tally.pairs[rung] += float(right.sum())

    def match_starts(self, seed: np.random.SeedSequence) -> None:
        """From how many configurations halving starts for the rules' mean cost, found on a pilot batch."""
        most = max(1, min(PILOT, BATCH_CELLS // self.sampler.widest))
        batch = self.sampler.draw(most, np.random.default_rng(seed))
        spent = float(self.run_rules(batch, self.empty(most, 0).gates).cost.mean())
        steps = [None, *self.rules.rungs[:-1]]
        costs = [float(batch.step_cost(rung, at).mean()) for rung, at in zip(self.rules.rungs, steps, strict=True)]
        configs = len(self.sampler.pools.configs)
        for eta in ETAS:
            self.starts[f"halving {eta}, matched"] = baselines.affordable_start(costs, eta, configs, spent)


#: The rules first, then what they are held against.
METHODS = (
    "rules",
    "random, matched",
    "greedy 1",
    "greedy n, matched",
    *(f"halving {eta}{matched}" for eta in ETAS for matched in ("", ", matched")),
    "full",
)


def replay(
    pools: Pools,
    rules: Ruleset,
    roles: dict[str, str],
    ladders: int,
    seed: int,
    continued: bool = False,
    workers: int = 2,
    progress: Progress = lambda done, of: None,
) -> ReplayTally:
    """Replay so many ladders. Memory is bounded by the batch, whatever the number of ladders."""
    task = _Replay(pools, rules, roles, continued)
    root = np.random.SeedSequence(seed)
    task.match_starts(root.spawn(1)[0])
    size = max(1, min(ladders, BATCH_CELLS // task.sampler.widest))
    sizes = [min(size, ladders - start) for start in range(0, ladders, size)]
    total = task.empty(0, 0)

    def batches() -> Iterator[tuple[int, bool, np.random.SeedSequence]]:
        done = 0
        for many in sizes:
            yield many, done < PAIR_LADDERS, root.spawn(1)[0]
            done += many

    waiting = batches()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        while True:
            some = [pool.submit(task.batch, *arguments) for arguments in islice(waiting, 4 * workers)]
            if not some:
                return total
            for future in some:
                _merge(total, future.result())
                progress(total.ladders, ladders)


__all__ = ["METHODS", "GateCount", "MethodCount", "ReplayTally", "RuleCount", "replay"]
