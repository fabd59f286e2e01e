"""How long a planned study takes by the clock on the wall, at most: budgets, and what every run takes besides.

A run takes its budget times the `pace` of its host (training seconds per second of budget; 1 on the wall clock) and
`start_seconds` more, to which its first steps belong, because they compile. Both are measured where telemetry of the
study's own runs is here, else assumed. Rungs follow one another, because a gate waits for all runs of its rung; inside
one, so many workers a host run side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from stages.domain.names import ClockKind
from stages.domain.schema import Recorded
from stages.summary.plan import Plan

#: What a run takes beside its training where none was measured: a run of the default study on two idle cores
#: (docs/log.md). It holds the start of Python and of the runner, the evaluation, and DVC's work of a stage.
START_SECONDS = 2.5
#: The same where the host compiles: a model of depth 8 of the paper study on an H100 (docs/log.md).
COMPILED_START_SECONDS = 45.0
#: What the telemetry of a run does not see: Python before and after it, and DVC's work of a stage.
UNSEEN_SECONDS = 1.0


@dataclass(frozen=True)
class RunTimes:
    """What the telemetry of one finished run says, in seconds: its budget, its training without the first steps, which
    may compile, and its process in all."""

    host: str
    budget: float
    training: float
    process: float


class HostTime(Recorded):
    """The wall time of one host's runs, and what a run takes there; `measured` from so many runs, 0: assumed."""

    seconds: float
    pace: float
    start_seconds: float
    measured: int


class WallTime(Recorded):
    """The wall time of a study at most, with so many workers a host.

    `side_by_side`: every host on a machine of its own; `one_after_another`: one machine for all of them.
    """

    bound: Literal["at most"]
    workers: int
    hosts: dict[str, HostTime]
    side_by_side: float
    one_after_another: float


def wall_time(plan: Plan, runs: Iterable[RunTimes], workers: int = 1, compiled: Collection[str] = ()) -> WallTime:
    """The wall time of a plan, by what these runs of it took; the hosts of `compiled` compile their models."""
    by_host: dict[str, list[RunTimes]] = {host: [] for host in plan.totals.hosts}
    for run in runs:
        if run.host in by_host:
            by_host[run.host].append(run)
    paces = {host: _pace(known, plan.clock, host in compiled) for host, known in by_host.items()}
    rungs = [
        {
            host: -(-(rung.runs + rung.floor_runs) // len(paces) // workers) * (rung.budget_seconds * pace + start)
            for host, (pace, start) in paces.items()
        }
        for rung in plan.rungs.values()
    ]
    return WallTime(
        bound="at most",
        workers=workers,
        hosts={
            host: HostTime(
                seconds=_rounded(sum(rung[host] for rung in rungs)),
                pace=_rounded(pace),
                start_seconds=_rounded(start),
                measured=len(by_host[host]),
            )
            for host, (pace, start) in paces.items()
        },
        side_by_side=_rounded(sum(max(rung.values()) for rung in rungs)),
        one_after_another=_rounded(sum(sum(rung.values()) for rung in rungs)),
    )


def _pace(runs: list[RunTimes], clock: ClockKind, compiles: bool) -> tuple[float, float]:
    """(training seconds per second of budget, seconds besides) of a host: medians, else what is assumed."""
    if not runs:
        return 1.0, COMPILED_START_SECONDS if compiles else START_SECONDS
    pace = 1.0 if clock == "wall" else median(run.training / run.budget for run in runs)
    return pace, median(max(run.process - run.training, 0.0) for run in runs) + UNSEEN_SECONDS


def _rounded(value: float) -> float:
    return round(float(value), 3)


def describe(times: Mapping[str, HostTime]) -> list[str]:
    """What is assumed of a run's time and what was measured, a sentence for each host."""
    lines = []
    for host, time in times.items():
        source = f"the median of {time.measured} runs here" if time.measured else "assumed: no run was measured here"
        pace = f"{time.pace:.3g} s for a second of budget and " if time.pace != 1 else "its budget and "
        lines.append(f"{host}: a run takes {pace}{time.start_seconds:.3g} s more ({source})")
    return lines
