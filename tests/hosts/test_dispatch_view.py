"""What `promotion dispatch` shows: which run is on which worker, how far it is, and what is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stages.domain.runs import runs_of
from stages.hosts import dispatch_view
from stages.hosts.dispatch_view import DispatchView, WorkerProgress


def view(terminal: bool) -> tuple[DispatchView, io.StringIO]:
    out = io.StringIO()
    return DispatchView(Console(file=out, force_terminal=terminal, width=120, no_color=True)), out


def told(run: str, worker: str, seconds: float) -> tuple[float, dict]:
    return (0.0, {"run": run, "worker": worker, "seconds": seconds})


def test_the_view_tells_starts_ends_and_what_is_left(judged):
    waiting = runs_of(judged, "rung1")[:2]
    shown, out = view(terminal=False)
    with shown:
        shown.start_rung("rung1", 2.0, 10, waiting)
        shown.receive_progress(told(waiting[0].id, "one", 0.0))
        shown.receive_progress(told(waiting[0].id, "one", 1.0))
        shown.receive_progress(told(waiting[0].id, "two", 0.0))
        shown.receive_progress(told("rung1/none/of/1", "two", 0.0))
        shown.end_run(waiting[0].id, "finished, val_bpb 1.25")
        shown.receive_progress(told(waiting[0].id, "one", 2.0))  # a late word of a run that is done
    assert out.getvalue().splitlines() == [
        "dispatch: rung1: 2 runs to train, 10 done before",
        f"dispatch: {waiting[0].id}: started",
        f"dispatch: {waiting[0].id}: started again, after its worker died",
        f"dispatch: {waiting[0].id}: finished, val_bpb 1.25; 1 left at rung1",
    ]


def test_a_terminal_sees_what_runs_where_and_how_far_it_is(judged):
    waiting = runs_of(judged, "rung1")[:3]
    shown, out = view(terminal=True)
    with shown:
        shown.start_rung("rung1", 2.0, 9, waiting)
        shown.receive_progress(told(waiting[0].id, "worker-one", 0.0))
        shown.receive_progress(told(waiting[0].id, "worker-one", 0.5))
    assert "rung1: 9 done, 1 running, 2 queued" in out.getvalue()
    assert "25%" in out.getvalue()
    assert "worker-one" in out.getvalue()


def test_the_time_left_is_told_from_training_alone_never_from_compilation(judged, monkeypatch):
    """Ten minutes of start and compilation, then a second of budget each two seconds."""
    now = [0.0]
    monkeypatch.setattr("stages.hosts.dispatch_view.time.monotonic", lambda: now[0])
    run = WorkerProgress("one", began=0.0)
    for at, seconds in ((2.0, 0.0), (600.0, 1.0), (602.0, 1.0)):
        now[0] = at
        run.update(seconds)
        assert run.estimate_left(10.0) is None, "one point has no rate"
    now[0] = 604.0
    run.update(3.0)
    assert run.estimate_left(10.0) == pytest.approx(14.0)
    now[0] = 606.0
    assert run.estimate_left(10.0) == pytest.approx(12.0)
    run.update(2.0)  # resumed from a checkpoint on another worker of the clone
    assert run.estimate_left(10.0) is None


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The clock."""
    now = [0.0]
    monkeypatch.setattr(dispatch_view.time, "monotonic", lambda: now[0])
    return now


def test_progress_is_the_first_and_the_last_report_since_the_clock_runs(now):
    run = WorkerProgress("one", began=0.0)
    assert (run.seconds, run.first, run.last) == (0.0, None, None)
    now[0] = 10.0
    run.update(0)
    assert (run.first, run.last) == (None, None)
    for at, seconds in ((20.0, 0.5), (30.0, 2.0), (40.0, 2.0)):
        now[0] = at
        run.update(seconds)
    assert (run.seconds, run.first, run.last) == (2.0, (20.0, 0.5), (30.0, 2.0))
    now[0] = 50.0
    run.update(1.0)
    assert (run.seconds, run.first, run.last) == (1.0, (50.0, 1.0), (50.0, 1.0)), "resumed from a checkpoint"
    assert run.estimate_left(10.0) is None


def test_the_time_left_is_never_less_than_none(now):
    run = WorkerProgress("one", began=0.0, first=(100.0, 1.0), last=(110.0, 6.0))
    now[0] = 111.0
    assert run.estimate_left(9.0) == (9.0 - 6.0) * (10.0 / 5.0) - 1.0
    now[0] = 200.0
    assert run.estimate_left(9.0) == 0.0


def render(shown: DispatchView) -> list[str]:
    """The lines of what a terminal would show now."""
    out = io.StringIO()
    Console(file=out, width=120, no_color=True).print(shown._render())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_table_has_a_line_for_each_run_with_its_share_and_its_time(judged, now):
    waiting = runs_of(judged, "rung1")[:4]
    shown, _ = view(terminal=False)
    shown.start_rung("rung1", 8.0, 9, waiting)
    now[0] = 10.0
    shown.receive_progress(told(waiting[1].id, "two", 0.0))
    shown.receive_progress(told(waiting[0].id, "one", 0.0))
    now[0] = 20.0
    shown.receive_progress(told(waiting[0].id, "one", 1.0))
    now[0] = 22.0
    shown.receive_progress(told(waiting[0].id, "one", 2.0))
    now[0] = 75.0
    shown.receive_progress(told(waiting[2].id, "three", 9.0))
    assert [run.id for run in waiting[:3]] == [
        f"rung1/d{n}/1000" for n in ("1-c000/cpu-fp32", "1-c000/cpu-bf16", "2-c001/cpu-fp32")
    ]
    assert render(shown) == [
        "rung1: 9 done, 3 running, 1 queued",
        " rung1/d1-c000/cpu-bf16/1000                        0%    1 min 5 s   two",
        " rung1/d1-c000/cpu-fp32/1000  ━━━━━                 25%   0.0 s left  one",
        " rung1/d2-c001/cpu-fp32/1000  ━━━━━━━━━━━━━━━━━━━━  100%  0.0 s       three",
    ]
    shown.end_run(waiting[2].id, "finished")
    assert render(shown)[0] == "rung1: 10 done, 2 running, 1 queued"
    shown.start_rung("rung2", 8.0, 0, waiting)
    assert render(shown)[0] == "rung2: 0 done, 0 running, 4 queued"


def test_before_the_first_rung_there_is_nothing_and_what_is_drawn_is_taken_away_again():
    shown, _ = view(terminal=True)
    assert render(shown)[0] == ": 0 done, 0 running, 0 queued"
    assert (shown._live.transient, shown._live.refresh_per_second) == (True, 2)


def test_nothing_is_drawn_where_nobody_looks(judged):
    shown, out = view(terminal=False)
    with shown as entered:
        assert entered is shown
        assert not shown._live.is_started
    assert out.getvalue() == ""
    shown, _ = view(terminal=True)
    with shown:
        assert shown._live.is_started
    assert not shown._live.is_started


def test_a_long_line_is_one_line():
    shown, out = view(terminal=False)
    shown.say("x" * 300)
    assert out.getvalue() == f"dispatch: {'x' * 300}\n"
