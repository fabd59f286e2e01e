"""The live view of `promotion dispatch`: which run is on which worker, how far, what is left.

A terminal gets a table that is drawn anew, anything else plain lines.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stages.domain.formatting import count, elapsed
from stages.domain.runs import Run


@dataclass
class WorkerProgress:
    """A run on a worker. `first` and `last` are (time of the report, seconds of its budget), once the clock has run.

    Between the two lies training alone, so their rate leaves out start-up and compilation, which no budget counts.
    """

    worker: str
    began: float
    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None

    def update(self, seconds: float) -> None:
        """Take in how much of the budget is used up; less than before means that it resumed from a checkpoint."""
        if seconds in (0, self.seconds):
            return
        first = None if seconds < self.seconds else self.first
        self.last = time.monotonic(), seconds
        self.first = first or self.last

    @property
    def seconds(self) -> float:
        """How much of the budget is used up."""
        return self.last[1] if self.last else 0.0

    def estimate_left(self, budget: float) -> float | None:
        """Seconds until the budget is used up, or None before there is a rate to compute it from."""
        if self.first is None or self.last is None or self.last[1] <= self.first[1]:
            return None
        rate = (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])
        return max(0.0, (budget - self.last[1]) * rate - (time.monotonic() - self.last[0]))


class DispatchView:
    """What `Dispatcher` shows. `receive_progress` is called from another thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._rung, self._budget, self._done, self._waiting = "", 1.0, 0, set[str]()
        self._running: dict[str, WorkerProgress] = {}
        self._live = Live(console=console, transient=True, refresh_per_second=2, get_renderable=self._render)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Print one line that stays."""
        self._console.print(f"dispatch: {text}", soft_wrap=True)

    def start_rung(self, name: str, budget: float, done: int, waiting: Sequence[Run]) -> None:
        """Show that a rung begins, with so many runs done before and these to train."""
        with self._lock:
            self._rung, self._budget, self._done = name, budget, done
            self._waiting = {run.id for run in waiting}
            self._running.clear()
        self.say(f"{name}: {count(len(waiting), 'run')} to train, {done} done before")

    def receive_progress(self, event: tuple[float, Any]) -> None:
        """Take in a worker's event: its run, and the seconds of the budget's clock that are used up."""
        run, worker, seconds = (event[1][key] for key in ("run", "worker", "seconds"))
        with self._lock:
            if run not in self._waiting:
                return
            known = self._running.get(run)
            started = known is None or known.worker != worker
            if started:
                self._running[run] = WorkerProgress(worker, time.monotonic())
            self._running[run].update(seconds)
        if started:
            self.say(f"{run}: started" + (" again, after its worker died" if known else ""))

    def end_run(self, run: str, outcome: str) -> None:
        """Show that a run came back."""
        with self._lock:
            self._waiting.discard(run)
            self._running.pop(run, None)
            self._done += 1
            left = len(self._waiting)
        self.say(f"{run}: {outcome}; {left} left at {self._rung}")

    def _render(self) -> Group:
        with self._lock:
            running = sorted(self._running.items())
            head = (
                f"{self._rung}: {self._done} done, {len(running)} running, {len(self._waiting) - len(running)} queued"
            )
        table = Table(box=None, padding=(0, 1), show_header=False)
        for run, progress in running:
            share = min(progress.seconds / self._budget, 1.0)
            left = progress.estimate_left(self._budget)
            passed = elapsed(time.monotonic() - progress.began) if left is None else f"{elapsed(left)} left"
            bar = ProgressBar(total=1.0, completed=share, width=20)
            table.add_row(run, bar, f"{share:.0%}", passed, progress.worker)
        return Group(Text(head), table)
