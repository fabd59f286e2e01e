"""What checkpoints may cost, and that a run which has ended is kept until its result stands elsewhere."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainer import keeper
from trainer.checkpoint import Checkpoints
from trainer.clock import RatedClock
from trainer.keeper import BYTES_PER_SECOND, SHARE, SYNC_SECONDS, Keeper
from trainer.tally import Tally

BYTES = 4_000_000


class Run:
    """A run whose steps take a second and whose checkpoints take `cost` seconds, in a time of its own."""

    def __init__(self, cost: float, every: float) -> None:
        self.at, self.cost, self.tally, self.saved = 0.0, cost, Tally(), 0
        store: Any = SimpleNamespace(save=self.save)
        self.keeper = Keeper(store, every, lambda: self.at, lambda text: None, 0)
        self.session: Any = SimpleNamespace(state=lambda: {"w": torch.empty(BYTES // 4)})

    def save(self, *_: object) -> None:
        self.at += self.cost
        self.saved += 1

    def train(self, steps: int) -> Run:
        for _ in range(steps):
            self.at += 1.0
            self.tally.stepped(1.0, 1.0)
            self.keeper.save_when_due(self.tally, self.session, RatedClock(steps, 1.0))
        return self

    def end(self) -> Run:
        self.keeper.save_when_due(self.tally, self.session, RatedClock(1, 1.0), last=True)
        return self

    @property
    def share(self) -> float:
        return self.tally.checkpoint_seconds / self.tally.train_seconds


EXPECTED = SYNC_SECONDS + BYTES / BYTES_PER_SECOND


@pytest.mark.parametrize("steps", [1, 59, 61, 120, 300, 5000])
@pytest.mark.parametrize("slower", [0.1, 1.0, 30.0, 100.0])
def test_checkpoints_take_two_percent_of_training_at_most(
    steps: int, slower: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "SYNC_SECONDS", SYNC_SECONDS * slower)
    monkeypatch.setattr(keeper, "BYTES_PER_SECOND", BYTES_PER_SECOND / slower)
    run = Run(cost=EXPECTED * slower, every=60.0)
    for _ in range(steps):
        assert run.train(1).share <= 1 / SHARE
    assert run.end().share <= 1 / SHARE
    assert run.saved == run.tally.checkpoints
    assert (run.saved > 0) is (steps >= max(60.0, SHARE * run.cost))


def test_a_first_checkpoint_that_took_longer_than_its_size_told_is_made_good_before_the_next() -> None:
    run = Run(cost=6.0, every=60.0)
    assert run.train(60).saved == 1  # 10 %
    assert (
        run.train(2 * 6 * SHARE + 6 * SHARE - 61).saved == 1
    )  # a second one, and the one at the end, would be too much
    assert run.train(1).saved == 2
    assert run.share <= 1 / SHARE


def test_a_long_run_is_saved_every_minute_and_when_it_ends() -> None:
    run = Run(cost=EXPECTED, every=60.0).train(630)
    assert run.saved == 10
    assert run.end().saved == 11


def test_the_checkpoint_at_the_end_needs_room_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then there must be room for that one as well."""
    monkeypatch.setattr(keeper, "SYNC_SECONDS", 2.0 - BYTES / BYTES_PER_SECOND)
    run = Run(cost=2.0, every=60.0).train(int(3 * SHARE))
    assert run.saved == 0
    assert run.end().saved == 1
    assert Run(cost=2.0, every=60.0).train(int(2 * SHARE) - 1).end().saved == 0


def test_a_run_of_less_than_a_minute_is_never_saved() -> None:
    assert Run(cost=EXPECTED, every=60.0).train(59).end().saved == 0


def test_a_run_that_goes_on_from_its_last_step_is_not_saved_again(tmp_path: Path) -> None:
    run = Run(cost=0.0, every=0.0)
    run.tally = Tally(step=7, passed=100.0)
    run.keeper = Keeper(Checkpoints(tmp_path, "a" * 64), 0.0, lambda: run.at, print, 7)
    run.keeper.save_when_due(run.tally, run.session, RatedClock(7, 1.0), last=True)
    assert not list(tmp_path.iterdir())
