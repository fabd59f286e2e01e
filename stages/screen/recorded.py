"""A screen as it is recorded: factors and configurations from the lock of gate 1, scores from the ledger.

recorded = read_screen(locks, records)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from stages.domain.errors import Refused
from stages.domain.factors import Factors, Scalar
from stages.domain.locks import Lock
from stages.domain.records import Record
from stages.screen.baselines import BaselineChoice, compare
from stages.screen.effects import Observation, ScreenEffects, assess


@dataclass(frozen=True)
class Screen:
    """A frozen screen with its scores. `cells` are the host-seed cells by rung, `budgets` seconds by rung."""

    factors: Factors
    configs: Mapping[str, Mapping[str, Scalar]]
    cells: Mapping[str, tuple[tuple[str, int], ...]]
    budgets: Mapping[str, float]
    observations: tuple[Observation, ...]

    def effects(self) -> ScreenEffects:
        """Every effect at every budget; takes numpy and statsmodels."""
        return assess(self.factors, self.configs, self.cells, self.observations)

    def choices(self) -> list[BaselineChoice]:
        """What greedy and random choice would have found; empty where a score is missing."""
        scores: dict[tuple[str, str], list[float]] = {}
        for run in self.observations:
            scores.setdefault((run.rung, run.config), []).append(run.value)
        counts = {rung: len(cells) for rung, cells in self.cells.items()}
        if any(len(scores.get((rung, config), ())) != counts[rung] for rung in counts for config in self.configs):
            return []
        means = {rung: {config: sum(scores[rung, config]) / counts[rung] for config in self.configs} for rung in counts}
        return compare(means, counts, self.budgets)


def read_screen(locks: Mapping[str, Lock], records: Iterable[Record]) -> Screen:
    """The screen of these locks, by gate; `Refused` where gate 1 froze no factors."""
    first = locks.get("gate1")
    if first is None:
        raise Refused("locks/gate1.yaml is missing: no factors are frozen; `promotion freeze`")
    frozen = first.frozen
    if not frozen.factors or not frozen.configs:
        if origin := frozen.from_:
            raise Refused(
                f"locks/gate1.yaml: factors: missing, for this study goes on from {origin.gate} of {origin.study}; "
                f"`promotion study back {origin.study}` brings the study back in which the factors may be"
            )
        raise Refused(
            "locks/gate1.yaml: factors: missing, so this study is no screen; put `factors` into params.yaml, then "
            "`promotion screen design`"
        )
    cells = {
        lock.frozen.rung: tuple((host, seed) for host in lock.frozen.hosts for seed in lock.frozen.seeds)
        for lock in locks.values()
    }
    budgets = {lock.frozen.rung: lock.frozen.budget_seconds for lock in locks.values()}
    observations = tuple(
        Observation(record.rung, record.config, record.host, record.seed, float(record.val_bpb))
        for record in records
        if record.purpose == "candidate" and record.val_bpb is not None and record.config in frozen.configs
    )
    return Screen(frozen.factors, frozen.configs, cells, budgets, observations)
