"""Clocks: when a run ends, what share of its budget has passed, and a replay that sees the same."""

from __future__ import annotations

import base64
import zlib
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.clock import FREE_STEPS, TICKS, RatedClock, ReplayClock, WallClock, _pack, _unpack
from trainer.errors import TrainerError


def test_a_rated_clock_ends_after_its_steps() -> None:
    clock = RatedClock(4, 0.25)
    assert [clock.progress(step) for step in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert [clock.ended(step) for step in (3, 4)] == [False, True]
    assert clock.elapsed(3) == 0.75


def test_the_first_ten_steps_cost_nothing_on_the_wall_clock() -> None:
    clock = WallClock(1.0)
    for step in range(FREE_STEPS):
        clock.stepped(step, 100.0)
    assert clock.progress(FREE_STEPS) == 0.0
    assert not clock.ended(FREE_STEPS)


def run(budget: float, seconds: list[float]) -> tuple[WallClock, list[float], int]:
    clock, seen, step = WallClock(budget), [], 0
    while not clock.ended(step):
        seen.append(clock.progress(step))
        clock.stepped(step, seconds[step % len(seconds)])
        step += 1
    return clock, seen, step


@given(st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=30), st.floats(0.05, 3.0))
def test_a_replay_sees_the_progress_that_the_run_saw(seconds: list[float], budget: float) -> None:
    clock, seen, steps = run(budget, seconds)
    kept = clock.kept(steps)
    assert kept is not None
    replay = ReplayClock(kept, budget)
    assert [replay.progress(step) for step in range(steps)] == seen
    assert [replay.ended(step) for step in range(steps + 1)] == [False] * steps + [True]
    assert replay.kept(steps) == kept
    assert all(progress * TICKS == int(progress * TICKS) and progress < 1 for progress in seen)


def test_a_run_of_half_a_million_steps_keeps_a_few_kilobytes() -> None:
    draw = [0.08 + 0.01 * ((n * 7919) % 13) / 13 for n in range(1000)]
    clock, _, steps = run(43_200.0, draw)
    kept = clock.kept(steps)
    assert kept is not None
    assert steps > 400_000
    assert len(kept["data"]) < 8_000


def test_a_restored_clock_goes_on_where_the_budget_was_and_forgives_a_second_compilation() -> None:
    clock = WallClock(100.0)
    for step in range(FREE_STEPS + 20):
        clock.stepped(step, 1.0)
    other = WallClock(100.0)
    other.restore(clock.state())
    assert other.elapsed(0) == 20.0
    other.stepped(FREE_STEPS + 20, 50.0)  # the first step of the new process compiles
    assert other.elapsed(0) == 21.0
    for step in range(FREE_STEPS):
        other.stepped(step + FREE_STEPS + 21, 1.0)
    other.stepped(99, 3.0)
    assert other.elapsed(0) == 34.0


@pytest.mark.parametrize("steps", [3, FREE_STEPS])
def test_a_run_that_goes_on_before_anything_was_counted_compiles_again_for_nothing(steps: int) -> None:
    clock, other = WallClock(100.0), WallClock(100.0)
    for step in range(steps):
        clock.stepped(step, 9.0)
    other.restore(clock.state())
    other.stepped(steps, 50.0)
    for step in range(steps + 1, steps + FREE_STEPS):
        other.stepped(step, 1.0)
    assert other.elapsed(0) == 0.0
    other.stepped(steps + FREE_STEPS, 1.0)
    assert other.elapsed(0) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ticks": 100}, "progress.ticks is 100, expected 4096"),
        ({"steps": 0}, "progress.steps is 0, expected a positive whole number"),
        ({"steps": True}, "progress.steps is True"),
        ({"data": None}, "progress.data is NoneType, expected text"),
        ({"data": "!"}, "progress.data cannot be read"),
        ({"data": base64.b64encode(b"xxx").decode()}, "progress.data cannot be read"),
        ({"data": base64.b64encode(zlib.compress(b"\x80")).decode()}, "progress.data is cut off or too long"),
        ({"data": base64.b64encode(zlib.compress(b"\0" * 10**7)).decode()}, "progress.data is cut off or too long"),
    ],
)
def test_a_damaged_progress_is_refused(change: dict[str, Any], message: str) -> None:
    clock, _, steps = run(1.0, [0.1])
    kept = clock.kept(steps)
    assert kept is not None
    with pytest.raises(TrainerError) as caught:
        ReplayClock({**kept, **change}, 1.0)
    assert str(caught.value).startswith(message)


@given(st.lists(st.integers(0, 2**40), max_size=50))
def test_ticks_that_any_number_of_steps_lie_between_are_kept(deltas: list[int]) -> None:
    firsts = list(accumulate(deltas))
    assert _unpack(_pack(firsts)) == firsts
