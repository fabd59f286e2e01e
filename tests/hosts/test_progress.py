"""The live view of a run: silent while short, honest about time left while long, gone when done."""

from __future__ import annotations

import csv
import io

import pytest

from stages.domain.formatting import elapsed
from stages.domain.names import LIVE
from stages.progress import Live, ProgressLine
from stages.runners.execution import SeenProgress
from trainer.outcome import Progress, Row

RUN = "rung3/d8/linux/301"


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(tmp_path, monkeypatch) -> Clock:
    monkeypatch.chdir(tmp_path)
    return Clock()


def point(step: int) -> Row:
    return Row(step, step * 10, step / 10, 5.0 - step / 100, 1.0)


def where(share: float) -> Progress:
    return Progress(round(share * 100), 100, share, 1234.5, 3.21, 100 * (1 - share))


def record(**facts: object) -> dict:
    return {"status": "finished", "reason": None, "spec": None, "facts": {"val_bpb": 1.25, "steps": 100, **facts}}


def curve() -> list[list[str]]:
    return list(csv.reader((LIVE / f"{RUN}.csv").read_text(encoding="utf-8").splitlines()))


def test_a_short_run_prints_one_line_and_writes_no_file(clock):
    out = io.StringIO()
    with Live(RUN, 2.0, "rated", out, now=clock) as live:
        for step in range(20):
            clock.at += 0.1
            live.row(point(step))
            live.progress(where(step / 20))
    live.done(record(), {})
    assert out.getvalue() == f"{RUN}: finished, val_bpb 1.250000, 100 steps, 2.0 s\n"
    assert not LIVE.exists()


def test_the_curve_can_be_followed_from_the_fourth_second_on(clock):
    with Live(RUN, 130.0, "wall", io.StringIO(), now=clock) as live:
        clock.at += 3.75
        live.row(point(1))
        assert not LIVE.exists()
        clock.at += 0.25
        live.row(point(2))
        assert [row[0] for row in curve()[1:]] == ["1", "2"]


def test_a_resumed_run_tells_the_time_of_all_its_processes(clock):
    out = io.StringIO()
    with Live(RUN, 130.0, "wall", out, now=clock) as live:
        clock.at += 72.0
    live.done(record(), {"resumed_at_step": 40, "train_seconds": 130.6})
    assert out.getvalue().endswith("100 steps, 2 min 11 s of training in all, resumed at step 40\n")


def test_a_long_run_without_a_terminal_tells_where_it_is_every_half_minute(clock):
    out = io.StringIO()
    with Live(RUN, 600.0, "wall", out, now=clock) as live:
        for second in range(100):
            clock.at += 1.0
            live.progress(where(second / 100))
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == (f"{RUN}: 29.0% of 10 min 0 s wall, step 29/100, loss 3.2100, 1,234 tokens/s, 1 min 11 s left")


def test_a_line_by_itself_keeps_no_curve(clock):
    out = io.StringIO()
    with ProgressLine("spec.json", 600.0, "wall", out, now=clock) as line:
        clock.at += 31.0
        line.row(point(1))
        line.progress(where(0.5))
    assert out.getvalue().startswith("spec.json: 50.0% of 10 min 0 s wall, step 50/100, ")
    assert not LIVE.exists()


def test_what_a_trainer_does_not_tell_is_left_out(clock):
    lines, bar = io.StringIO(), Terminal()
    for out in (lines, bar):
        with Live(RUN, 10.0, "given", out, now=clock) as live:
            clock.at += 40.0
            live.progress(SeenProgress(7, share=None, train_loss=None))
    assert lines.getvalue() == f"{RUN}: step 7\n"
    assert "step 7" in bar.getvalue()
    assert "%" not in bar.getvalue()


def test_a_terminal_gets_a_bar_with_the_time_left(clock):
    out = Terminal()
    with Live(RUN, 600.0, "wall", out, now=clock) as live:
        clock.at += 5.0
        live.progress(where(0.5))
        live.warning("a checkpoint could not be written")
    assert "50%" in out.getvalue()
    assert "50.0 s left" in out.getvalue()
    assert "warning: a checkpoint could not be written" in out.getvalue()


def test_the_live_curve_grows_while_the_run_goes_on_and_goes_when_it_ends(clock):
    with Live(RUN, 600.0, "wall", io.StringIO(), now=clock) as live:
        live.row(point(1))
        assert not LIVE.exists()
        clock.at += 5.0
        live.row(point(2))
        assert [row[0] for row in curve()] == ["step", "1", "2"]
        live.row(point(3))
        assert curve()[-1] == ["3", "30", "0.3", "4.97", "1.0"]
    live.done(record(), {})
    assert not (LIVE / f"{RUN}.csv").exists()


def test_a_resumed_run_goes_on_in_the_curve_of_the_killed_one(clock):
    with Live(RUN, 600.0, "wall", io.StringIO(), now=clock) as killed:
        clock.at += 5.0
        for step in (1, 2, 3, 4):
            killed.row(point(step))
    with (LIVE / f"{RUN}.csv").open("a", encoding="utf-8") as file:
        file.write("5,5")  # killed in the middle of a line
    with Live(RUN, 600.0, "wall", io.StringIO(), now=clock) as resumed:
        clock.at += 5.0
        resumed.row(point(3))  # the checkpoint lay before what the killed run had shown
    assert [row[0] for row in curve()] == ["step", "1", "2", "3"]


def test_a_live_curve_that_cannot_be_written_does_not_end_the_run(clock):
    LIVE.write_text("in the way", encoding="utf-8")
    out = io.StringIO()
    with Live(RUN, 600.0, "wall", out, now=clock) as live:
        clock.at += 5.0
        live.row(point(1))
    live.done(record(), {})
    assert "finished" in out.getvalue()


def test_a_run_that_broke_says_why(clock):
    out = io.StringIO()
    with Live(RUN, 2.0, "wall", out, now=clock) as live:
        clock.at += 1.0
    live.done({"status": "failed", "reason": "out of memory: 12 rows would fit", "spec": None, "facts": None}, {})
    assert out.getvalue() == f"{RUN}: failed, out of memory: 12 rows would fit, 1.0 s\n"


@pytest.mark.parametrize(
    ("seconds", "said"), [(3.21, "3.2 s"), (59.97, "1 min 0 s"), (75, "1 min 15 s"), (43200, "12 h 0 min")]
)
def test_durations_read_as_people_say_them(seconds, said):
    assert elapsed(seconds) == said


def test_the_bar_ends_with_the_run_and_what_comes_after_is_a_line(clock):
    out = Terminal()
    with Live(RUN, 600.0, "wall", out, now=clock) as live:
        clock.at += 5.0
        live.progress(where(0.5))
        bar = live._bar
        assert bar is not None and bar.live.is_started
        live.progress(where(0.75))
        assert live._bar is bar
        assert [(task.completed, task.total) for task in bar.tasks] == [(0.75, 1.0)]
    assert not bar.live.is_started
    before = out.getvalue()
    live.done(record(), {})
    assert out.getvalue().removeprefix(before) == f"{RUN}: finished, val_bpb 1.250000, 100 steps, 5.0 s\n"


def test_a_bar_without_a_known_end_has_no_total(clock):
    with Live(RUN, 10.0, "given", Terminal(), now=clock) as live:
        clock.at += 4.0
        live.progress(SeenProgress(7, share=None, train_loss=None))
        assert live._bar is not None
        assert [task.total for task in live._bar.tasks] == [None]


def test_a_warning_is_a_line_at_once_where_there_is_no_bar(clock):
    out = io.StringIO()
    with Live(RUN, 600.0, "wall", out, now=clock) as live:
        live.warning("a checkpoint could not be written")
    assert out.getvalue() == f"{RUN}: warning: a checkpoint could not be written\n"


def test_the_time_of_a_run_is_counted_from_where_its_context_begins(clock):
    out = io.StringIO()
    live = Live(RUN, 600.0, "wall", out, now=clock)
    clock.at += 50.0
    with live:
        clock.at += 3.0
        live.progress(where(0.5))
        clock.at += 26.9
        live.progress(where(0.5))
    live.done(record(), {})
    assert out.getvalue() == f"{RUN}: finished, val_bpb 1.250000, 100 steps, 29.9 s\n"


def test_a_score_of_a_command_has_its_name_and_facts_that_nobody_told_are_left_out(clock):
    out = io.StringIO()
    with Live(RUN, 2.0, "given", out, now=clock) as live:
        clock.at += 1.0
    spec = {"kind": "command", "score": {"name": "val_loss"}}
    live.done(
        {"status": "finished", "reason": None, "spec": spec, "facts": {"score": 0.5, "steps": None}},
        {"resumed_at_step": 0},
    )
    live.done({"status": "finished", "reason": None, "spec": None, "facts": {"steps": 0}}, {"resumed_at_step": None})
    assert out.getvalue() == f"{RUN}: finished, val_loss 0.500000, 1.0 s\n{RUN}: finished, 0 steps, 1.0 s\n"


def test_points_are_written_once(clock):
    with Live(RUN, 600.0, "wall", io.StringIO(), now=clock) as live:
        clock.at += 5.0
        for step in (1, 2, 3):
            live.row(point(step))
    assert (LIVE / f"{RUN}.csv").read_bytes() == (
        b"step,tokens,seconds,train_loss,lr_factor\n1,10,0.1,4.99,1.0\n2,20,0.2,4.98,1.0\n3,30,0.3,4.97,1.0\n"
    )


def test_what_of_a_killed_curve_is_no_whole_point_is_dropped(clock):
    path = LIVE / f"{RUN}.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"step,tokens\n1,1\n\xff,2\n1234567890123456,3\n5,later\n2,2\n4,whole\n3,cut")
    with Live(RUN, 600.0, "wall", io.StringIO(), now=clock) as live:
        clock.at += 5.0
        live.row(point(5))
    assert [row[0] for row in curve()] == ["step", "1", "2", "4", "5"]


def test_the_bar_moves_when_it_is_told_and_names_are_no_markup(clock):
    out = Terminal()
    with Live("[red]x[/red]", 600.0, "wall", out, now=clock) as live:
        clock.at += 3.9
        live.progress(where(0.25))
        assert live._bar is None
        clock.at += 0.1
        live.progress(where(0.5))
        assert live._bar is not None
        assert live._bar.live.auto_refresh is False
    assert "[red]x[/red]" in out.getvalue()


def test_the_bar_is_twenty_wide_leaves_nothing_behind_and_shows_text_as_text(clock):
    with Live(RUN, 600.0, "wall", Terminal(), now=clock) as live:
        clock.at += 4.0
        live.progress(where(0.5))
        bar = live._bar
        assert bar is not None
        assert (bar.live.transient, bar.live.auto_refresh) == (True, False)
        assert [column.bar_width for column in bar.columns if hasattr(column, "bar_width")] == [20]
        assert [column.markup for column in bar.columns if hasattr(column, "markup")][::2] == [False, False]


def test_a_line_is_on_its_way_at_once(clock):
    class Stream(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    out = Stream()
    with Live(RUN, 600.0, "wall", out, now=clock) as live:
        live.warning("first")
        assert out.flushed == 1
        clock.at += 29.9
        live.progress(where(0.5))
        assert out.flushed == 1
        clock.at += 0.1
        live.progress(where(0.5))
        assert out.flushed == 2
        clock.at += 29.9
        live.progress(where(0.5))
        assert out.flushed == 2, "half a minute since the last line, not since the start"


def test_what_is_known_of_a_run_stands_behind_its_step(clock):
    out = io.StringIO()
    shown = [
        Progress(3, 0, 0.25, None, 2.5, None), Progress(0, 10, 0.0, 0.0, 0.0, 0.0), Progress(3, 10, 1.0, 9999.5, None, 75),
    ]  # fmt: skip
    with Live(RUN, 10.0, "wall", out, now=clock) as live:
        for now in shown:
            clock.at += 30.0
            live.progress(now)
    assert out.getvalue().splitlines() == [
        f"{RUN}: 25.0% of 10.0 s wall, step 3, loss 2.5000",
        f"{RUN}: 0.0% of 10.0 s wall, step 0/10, loss 0.0000, 0 tokens/s, 0.0 s left",
        f"{RUN}: 100.0% of 10.0 s wall, step 3/10, 10,000 tokens/s, 1 min 15 s left",
    ]
