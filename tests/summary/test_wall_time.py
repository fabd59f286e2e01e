"""How long a plan takes by the clock on the wall: measured paces, what every run takes besides, workers side by side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stages.summary.wall_time import (
    COMPILED_START_SECONDS,
    START_SECONDS,
    UNSEEN_SECONDS,
    RunTimes,
    describe,
    wall_time,
)


def plan(clock: str = "rated", runs: int = 12, hosts: tuple[str, ...] = ("a", "b")) -> Any:
    """A plan of two rungs: 12 runs and 4 of the floor of 60 s, then 4 runs of 600 s."""
    rungs = {
        "rung1": SimpleNamespace(runs=runs, floor_runs=4, budget_seconds=60.0),
        "rung2": SimpleNamespace(runs=4, floor_runs=0, budget_seconds=600.0),
    }
    return SimpleNamespace(clock=clock, rungs=rungs, totals=SimpleNamespace(hosts=dict.fromkeys(hosts, 0)))


def test_without_a_measured_run_each_takes_its_budget_and_an_assumed_start():
    times = wall_time(plan(), [])
    each = 8 * (60 + START_SECONDS) + 2 * (600 + START_SECONDS)
    assert (times.bound, times.workers) == ("at most", 1)
    assert {host: (time.seconds, time.pace, time.measured) for host, time in times.hosts.items()} == {
        "a": (each, 1.0, 0),
        "b": (each, 1.0, 0),
    }
    assert times.side_by_side == each
    assert times.one_after_another == 2 * each


def test_what_was_measured_on_a_host_counts_there_and_rungs_wait_for_the_slower_host():
    runs = [
        RunTimes("a", 60.0, 30.0, 31.0),
        RunTimes("a", 60.0, 60.0, 64.0),
        RunTimes("a", 60.0, 240.0, 249.0),  # the median is not moved by one that stood still
        RunTimes("elsewhere", 60.0, 600.0, 900.0),
    ]
    times = wall_time(plan(), runs)
    a, b = times.hosts["a"], times.hosts["b"]
    assert (a.pace, a.start_seconds, a.measured) == (1.0, 4.0 + UNSEEN_SECONDS, 3)
    assert (b.pace, b.start_seconds, b.measured) == (1.0, START_SECONDS, 0)
    faster = wall_time(plan(), [RunTimes("a", 60.0, 30.0, 29.0)])
    assert (faster.hosts["a"].pace, faster.hosts["a"].start_seconds) == (0.5, UNSEEN_SECONDS)
    assert faster.hosts["a"].seconds == 8 * (30 + 1) + 2 * (300 + 1)
    assert faster.side_by_side == faster.hosts["b"].seconds
    assert faster.one_after_another == faster.hosts["a"].seconds + faster.hosts["b"].seconds


def test_a_host_that_compiles_is_assumed_to_start_later_until_its_runs_were_measured():
    times = wall_time(plan(hosts=("a", "b", "c")), [RunTimes("c", 60.0, 60.0, 65.0)], compiled={"b", "c"}).hosts
    assert [times[host].start_seconds for host in "abc"] == [START_SECONDS, COMPILED_START_SECONDS, 6.0]


def test_on_the_wall_clock_a_budget_is_the_time_that_it_takes():
    times = wall_time(plan("wall"), [RunTimes("a", 60.0, 30.0, 33.0)])
    assert (times.hosts["a"].pace, times.hosts["a"].start_seconds) == (1.0, 4.0)


@pytest.mark.parametrize(("workers", "first", "second"), [(1, 8, 2), (2, 4, 1), (3, 3, 1), (8, 1, 1), (99, 1, 1)])
def test_so_many_workers_a_host_run_side_by_side_and_the_last_one_is_waited_for(workers, first, second):
    times = wall_time(plan(), [], workers)
    assert times.workers == workers
    assert times.hosts["a"].seconds == first * (60 + START_SECONDS) + second * (600 + START_SECONDS)


def test_what_is_assumed_and_what_was_measured_is_told_for_each_host():
    times = wall_time(plan(), [RunTimes("a", 60.0, 75.0, 77.25), RunTimes("a", 60.0, 75.0, 77.25)])
    assert describe(times.hosts) == [
        "a: a run takes 1.25 s for a second of budget and 3.25 s more (the median of 2 runs here)",
        "b: a run takes its budget and 2.5 s more (assumed: no run was measured here)",
    ]


def test_times_are_written_to_the_millisecond():
    times = wall_time(plan(hosts=("a",)), [RunTimes("a", 60.0, 40.00041, 41.23456)])
    host = times.hosts["a"]
    assert (host.pace, host.start_seconds) == (0.667, 2.234)
    assert host.seconds == times.side_by_side == times.one_after_another == 2284.706
