"""Speed without compilation, counts over all processes, and a tally that comes back as it was."""

from __future__ import annotations

import json

import pytest

from trainer.clock import FREE_STEPS
from trainer.outcome import Row
from trainer.tally import Tally


def steps(tally: Tally, *seconds: float) -> Tally:
    for each in seconds:
        tally.stepped(2.0, each)
    return tally


def test_the_speed_is_that_of_the_steps_after_the_compiled_ones() -> None:
    tally = steps(Tally(), 60.0, *[0.1] * (FREE_STEPS - 1), *[0.5] * 8)
    assert tally.steps_per_second() == pytest.approx(2.0)
    assert tally.seconds_per_step == pytest.approx(0.5)
    assert tally.first_seconds == pytest.approx(60.9)
    assert tally.train_seconds == pytest.approx(64.9)


def test_a_run_that_is_over_before_that_has_the_speed_of_all_its_steps_and_no_pace() -> None:
    tally = steps(Tally(), 0.5, 0.25, 0.25)
    assert tally.steps_per_second() == pytest.approx(3.0)
    assert tally.seconds_per_step is None
    assert Tally().steps_per_second() == 0.0


def test_a_process_that_goes_on_compiles_again_and_that_is_left_out_too() -> None:
    tally = steps(Tally(), 60.0, *[0.5] * (FREE_STEPS + 3))
    again = Tally.from_json(tally.step, tally.to_json("one", 0.0))
    steps(again, 60.0, *[0.5] * (FREE_STEPS + 3))
    assert again.steps_per_second() == pytest.approx(2.0)
    assert again.first_seconds == pytest.approx(2 * (60 + 0.5 * 9))


def test_a_tally_comes_back_as_it_was_with_the_checkpoint_that_holds_it_counted() -> None:
    tally = steps(Tally(checkpoints=2, checkpoint_seconds=1.5), *[0.1] * 15)
    tally.curve.append(Row(15, 150, 0.1, 1 / 3, 0.7))
    plain = json.loads(json.dumps(tally.to_json("one", 0.25)))
    again = Tally.from_json(15, plain)
    assert (again.checkpoints, again.checkpoint_seconds) == (3, 1.75)
    assert again.segments == [{"from_step": 0, "to_step": 15, "hostname": "one"}]
    for name in ("step", "smooth", "curve", "counted", "passed", "first_seconds", "train_loss"):
        assert getattr(again, name) == getattr(tally, name), name
    steps(again, 0.1)
    assert again.segments_now("two")[1] == {"from_step": 15, "to_step": 16, "hostname": "two"}
