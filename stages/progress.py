"""The view of a run: time left in the terminal, and a curve that can be plotted while it grows.

    dvc plots show live

A terminal gets a progress bar, anything else a plain line now and then. Whatever lasts less than a few seconds gets
its one summary line only and no file: nothing here slows a run of a second. The live curve has the columns of
`curve.csv` and goes away when the run's trace has taken its place.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from stages.domain import names
from stages.domain.formatting import elapsed
from stages.domain.metric import metric_of
from stages.terminal import console, print_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from stages.runners import CurvePoint, RunProgress

HEADER = "step,tokens,seconds,train_loss,lr_factor\n"
_STEP = re.compile(r"[0-9]{1,15},")
QUIET_SECONDS = 4.0
PLAIN_SECONDS = 30.0


class ProgressLine:
    """An observer of one run (see `stages.runners.RunObserver`), and the context in which it trains.

    `run` is what the run is called, `seconds` its budget on `clock`, `stream` where people look. `now` is the source
    of time.
    """

    def __init__(
        self, run: str, seconds: float, clock: str, stream: TextIO, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.run, self._stream, self._now = run, stream, now
        self._budget = f"{elapsed(seconds)} {clock}"
        self._began = self._reported = now()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._began = self._reported = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def progress(self, now: RunProgress) -> None:
        """Shows where the run is, once it has gone on for long enough to be worth it."""
        at = self._now()
        if at - self._began < QUIET_SECONDS:
            return
        if self._stream.isatty():
            self._draw(now)
        elif at - self._reported >= PLAIN_SECONDS:
            self._reported = at
            share = "" if now.share is None else f"{now.share:.1%} of {self._budget}, "
            self._print(f"{share}{_describe(now)}")

    def row(self, row: CurvePoint) -> None:
        """The line shows no curve."""

    def warning(self, text: str) -> None:
        """Passes a warning on at once."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        if self._bar is not None and self._bar.live.is_started:
            print_line(self._bar.console, f"{self.run}: {text}")
        else:
            print(f"{self.run}: {text}", file=self._stream, flush=True)

    def _draw(self, now: RunProgress) -> None:
        if self._bar is None:
            self._bar = self._start_bar(None if now.share is None else 1.0)
        assert self._task is not None
        self._bar.update(self._task, completed=now.share, text=_describe(now))
        self._bar.refresh()

    def _start_bar(self, total: float | None) -> Bar:
        """The bar of this run; without a total it moves to and fro."""
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn
        from rich.progress import Progress as Bar  # 0.1 s that a short run need not spend

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        )
        bar = Bar(*columns, console=console(self._stream), auto_refresh=False, transient=True)
        self._task = bar.add_task(self.run, total=total, text="")
        bar.start()
        return bar


class Live(ProgressLine):
    """The progress line of a run of the study, whose id `run` is, and its live curve."""

    def __init__(
        self, run: str, seconds: float, clock: str, stream: TextIO, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(run, seconds, clock, stream, now)
        self._rows: list[CurvePoint] = []
        self._path = names.LIVE / f"{run}.csv"
        self._open = False

    def row(self, row: CurvePoint) -> None:
        """Keeps a point of the curve, and lets others follow once the run has gone on for long enough."""
        self._rows.append(row)
        if self._now() - self._began >= QUIET_SECONDS:
            with contextlib.suppress(OSError):  # a view that cannot be written must not end the run
                self._write()

    def done(self, record: dict[str, Any], telemetry: Mapping[str, Any]) -> None:
        """One line on how it ended; the trace now holds the curve, so the live one goes."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        facts = record["facts"] or {}
        parts = [record["status"]]
        score = metric_of(record["spec"] or {}).name
        value = facts.get("score", facts.get("val_bpb"))
        if value is not None:
            parts.append(f"{score} {value:.6f}")
        if facts.get("steps") is not None:
            parts.append(f"{facts['steps']} steps")
        if record["reason"]:
            parts.append(record["reason"])
        if telemetry.get("resumed_at_step"):
            trained = elapsed(telemetry["train_seconds"])
            parts.append(f"{trained} of training in all, resumed at step {telemetry['resumed_at_step']}")
        else:
            parts.append(elapsed(self._now() - self._began))
        self._print(", ".join(parts))

    def _write(self) -> None:
        """Appends the points that are not yet in the file. A resumed run goes on behind what the killed one wrote."""
        if not self._open:
            kept = _before(self._path, self._rows[0].step)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(HEADER + "".join(kept), encoding="utf-8", newline="\n")
            self._open = True
        with self._path.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(",".join(map(str, row)) + "\n" for row in self._rows)
        self._rows.clear()


def _before(path: Path, step: int) -> list[str]:
    """The whole lines of a live curve that lie before `step`."""
    if not path.is_file():
        return []
    lines = path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
    return [f"{line}\n" for line in lines if _STEP.match(line) and int(line.split(",")[0]) < step]


def _describe(now: RunProgress) -> str:
    parts = [f"step {now.step}/{now.steps}" if now.steps else f"step {now.step}"]
    if now.train_loss is not None:
        parts.append(f"loss {now.train_loss:.4f}")
    if now.tokens_per_second is not None:
        parts.append(f"{now.tokens_per_second:,.0f} tokens/s")
    if now.eta is not None:
        parts.append(f"{elapsed(now.eta)} left")
    return ", ".join(parts)
