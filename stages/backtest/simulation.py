"""Simulates ladders from a fitted model: the cost of each design and how often it drops the best configuration.

    outcomes = simulate(model, designs, configs=100_000, ladders=1_000, seed=1)

All designs share the same true curves; seeds are independent between designs. Rules are evaluated by the engine of the
backtest, in whole millionths. The figures are simulation: they hold for a population like the recorded one, as far as
the model describes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

import numpy as np

from stages.backtest import engine
from stages.backtest.curves import SCALE
from stages.backtest.mapping import Ruleset
from stages.backtest.model import Model
from stages.domain import names
from stages.domain.rules import Rule, TopK, WithinGap

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

#: True values of a batch (ladder x configuration x host): a batch of one ladder where a ladder has more.
BATCH_VALUES = 200_000
TOP = 3
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Design:
    """A ladder to be tried. `gates` has one entry a rung; the last gate chooses the leader, whatever it promotes."""

    name: str
    budgets: tuple[float, ...]
    seeds: tuple[int, ...]
    gates: tuple[Mapping[str, Rule], ...]
    roles: tuple[str, ...] = ()
    floors: tuple[int, ...] = ()


@dataclass
class LadderOutcomes:
    """Counts over ladders. `dropped[r]`: the best was dropped at gate r+1; the last entry: run, but not chosen."""

    ladders: int
    dropped: Ints
    top_lost: int = 0
    nobody: int = 0
    finalists: int = 0
    regret: float = 0.0
    regret_squared: float = 0.0
    cost: float = 0.0
    entered: Floats = field(default_factory=lambda: np.zeros(0))

    def add(self, other: LadderOutcomes) -> None:
        """Add the counts of another batch."""
        for count in fields(self):
            setattr(self, count.name, getattr(self, count.name) + getattr(other, count.name))

    @property
    def kept(self) -> float:
        """Share of ladders in which the best reaches the last rung."""
        return 1 - float(self.dropped[:-1].sum()) / self.ladders

    @property
    def chosen(self) -> float:
        """Share of ladders in which the best is chosen."""
        return 1 - float(self.dropped.sum()) / self.ladders


def halving_design(
    model: Model,
    budgets: Sequence[float],
    configs: int,
    eta: float,
    seeds: Sequence[int],
    errors: float,
    name: str = "",
) -> Design:
    """The best 1/eta of each rung go on, and every candidate within `errors` standard errors of the leader."""
    hosts = max(1, len(model.hosts))
    noise = model.noise(np.array(budgets))
    gates: list[Mapping[str, Rule]] = []
    for rung in range(len(budgets) - 1):
        keep = max(1, round(configs / eta ** (rung + 1)))
        # `model_construct`: the bound on k is for params.yaml, and a simulation may keep more
        rules: dict[str, Rule] = {"R1": TopK.model_construct(kind="top_k", k=keep, by="mean")}
        if errors:
            gap = float(round(errors * noise[rung] * np.sqrt(2 / (hosts * seeds[rung])), 6)) or 1e-6
            rules["R2"] = WithinGap.model_construct(kind="within_gap", gap=gap, of="best", by="mean")
        gates.append(rules)
    return Design(name or f"eta {eta:g}", tuple(budgets), tuple(seeds), (*gates, {}))


def scaled_rules(rules: Ruleset, budgets: Sequence[float], study_configs: int, configs: int) -> Design:
    """The rules of a study for so many configurations: every k in proportion, thresholds as they are."""
    gates = []
    for rung in rules.rungs:
        kept = dict(rules.gates[names.gate_of(rung)])
        for rule_id, rule in kept.items():
            if isinstance(rule, TopK):
                kept[rule_id] = rule.model_copy(update={"k": max(1, round(rule.k * configs / study_configs))})
        gates.append(kept)
    sizes = rules.sizes.values()
    seeds, floors = tuple(size.seeds for size in sizes), tuple(size.floor_seeds for size in sizes)
    return Design(rules.name, tuple(budgets), seeds, tuple(gates), tuple(sorted(rules.roles)), floors)


class _Truth:
    """The true values of a batch: ladder x configuration x host x budget, and who is best at the last one."""

    def __init__(self, model: Model, budgets: Floats, ladders: int, configs: int, generator: Generator) -> None:
        spread = model.spread(budgets)
        root = np.linalg.cholesky(model.correlation(budgets) + 1e-12 * np.eye(len(budgets))).T * spread
        hosts = max(1, len(model.hosts))
        shared = generator.standard_normal((ladders, configs, 1, len(budgets))) @ root
        if model.host_part:
            own = generator.standard_normal((ladders, configs, hosts, len(budgets))) @ root
            values = shared + model.host_part * own
        else:
            values = np.broadcast_to(shared, (ladders, configs, hosts, len(budgets)))
        added = model.host_means(budgets) if len(model.hosts) > 1 else np.zeros((hosts, len(budgets)))
        self.values = values + (model.mean(budgets) + added)[None, None]
        self.final = self.values[..., -1].mean(axis=2)
        self.best = self.final.argmin(axis=1)
        self.top = np.argpartition(self.final, min(TOP, configs) - 1, axis=1)[:, :TOP]


def _climb(design: Design, model: Model, truth: _Truth, generator: Generator) -> LadderOutcomes:
    ladders, configs, hosts, _ = truth.values.shape
    rows = np.arange(ladders)
    budgets = np.array(design.budgets)
    noise = model.noise(budgets)
    columns = np.arange(configs)  # the configurations that the arrays hold: all, or the candidates of a single ladder
    candidates = np.ones((ladders, configs), dtype=np.bool_)
    dropped = np.zeros(len(budgets), dtype=np.int64)
    alive = np.ones(ladders, dtype=np.bool_)
    places = {role: n if n < configs else -1 for n, role in enumerate(design.roles)}
    cost, entered = np.zeros(ladders), np.zeros(len(budgets))
    pick = np.full(ladders, -1, dtype=np.int64)
    for rung, budget in enumerate(budgets.tolist()):
        seeds, floors = design.seeds[rung], design.floors[rung] if design.floors else 0
        many = candidates.sum(axis=1)
        entered[rung] = float(many.sum())
        cost += budget * hosts * (many * seeds + (many > 0) * floors)
        values = truth.values[..., rung]
        values = values[:, columns] if len(columns) < configs else values
        drawn = values[..., None] + noise[rung] * generator.standard_normal((*values.shape, seeds))
        scores = np.rint(drawn * SCALE).astype(np.int64)
        roles = {role: _place(columns, place) for role, place in places.items()}
        floor = _floor(truth, places, rung, floors, float(noise[rung]), generator)
        cells = engine.Cells(scores, candidates, roles, None, floor)
        skip = engine.left_out(design.gates[rung], hosts, floor is not None)
        outcome = engine.decide_gate(design.gates[rung], cells, skip)
        if rung == len(budgets) - 1:
            leaders = np.where(outcome.blocked, -1, engine.leader(cells))
            pick = np.where(leaders >= 0, columns[leaders], -1)
            dropped[rung] = int((alive & (pick != truth.best)).sum())
            break
        candidates = outcome.promoted
        goes_on = _holds(columns, candidates, truth.best)
        dropped[rung] = int((alive & ~goes_on).sum())
        alive &= goes_on
        if ladders == 1 and candidates.any():  # of nobody there are no arrays
            columns, candidates = columns[candidates[0]], candidates[:, candidates[0]]
    regret = truth.final[rows, pick] - truth.final[rows, truth.best]
    regret = np.where(pick >= 0, regret, 0.0)
    top_kept = np.all([_holds(columns, candidates, truth.top[:, n]) for n in range(truth.top.shape[1])], axis=0)
    return LadderOutcomes(
        ladders, dropped, int((~top_kept).sum()), int((pick < 0).sum()), int(candidates.sum()), float(regret.sum()),
        float((regret**2).sum()), float(cost.sum()), entered,
    )  # fmt: skip


def _place(columns: Ints, config: int) -> int:
    at = int(np.searchsorted(columns, config))
    return at if config >= 0 and at < len(columns) and columns[at] == config else -1


def _holds(columns: Ints, candidates: NDArray[np.bool_], configs: Ints) -> NDArray[np.bool_]:
    """ladder: whether this configuration is among the candidates."""
    if len(candidates) == 1:
        place = _place(columns, int(configs[0]))
        return np.array([place >= 0 and bool(candidates[0, place])])
    return np.asarray(candidates[np.arange(len(candidates)), configs])


def _floor(
    truth: _Truth, places: dict[str, int], rung: int, runs: int, noise: float, generator: Generator
) -> Ints | None:
    place = places.get("reference", -1)
    if runs < 2 or place < 0:
        return None
    values = truth.values[:, place, :, rung]
    return np.rint((values[..., None] + noise * generator.standard_normal((*values.shape, runs))) * SCALE).astype(
        np.int64
    )


def simulate(
    model: Model,
    designs: Sequence[Design],
    configs: int,
    ladders: int,
    seed: int,
    workers: int = 2,
    progress: Progress = lambda done, of: None,
) -> list[LadderOutcomes]:
    """The outcome of each design over so many ladders. Designs share budgets and meet the same true curves."""
    hosts = max(1, len(model.hosts))
    size = max(1, min(ladders, BATCH_VALUES // (configs * hosts)))
    sizes = [min(size, ladders - start) for start in range(0, ladders, size)]
    seeds = np.random.SeedSequence([seed, configs]).spawn(len(sizes))
    totals = [
        LadderOutcomes(0, np.zeros(len(d.budgets), dtype=np.int64), entered=np.zeros(len(d.budgets))) for d in designs
    ]

    def batch(many: int, root: np.random.SeedSequence) -> list[LadderOutcomes]:
        children = [np.random.default_rng(child) for child in root.spawn(1 + len(designs))]
        truths: dict[tuple[float, ...], _Truth] = {}
        outcomes = []
        for design, generator in zip(designs, children[1:], strict=True):
            if design.budgets not in truths:
                truths[design.budgets] = _Truth(model, np.array(design.budgets), many, configs, children[0])
            outcomes.append(_climb(design, model, truths[design.budgets], generator))
        return outcomes

    done = 0
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for start in range(0, len(sizes), 2 * workers):
            chosen = slice(start, start + 2 * workers)
            futures = [pool.submit(batch, many, root) for many, root in zip(sizes[chosen], seeds[chosen], strict=True)]
            for many, future in zip(sizes[chosen], futures, strict=True):
                for total, outcome in zip(totals, future.result(), strict=True):
                    total.add(outcome)
                done += many
                progress(done, ladders)
    return totals
