"""The live view of `promotion dispatch`: what runs where, how far, what is left. Plain lines without a terminal."""

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

from stages.domain.formatting import elapsed
from stages.hosts.machine import count
from stages.hosts.worklist import Run


@dataclass
class _Running:
    """A run on a worker. `first` and `last` are (when it was heard, seconds of its budget), once the clock has run.

    Between the two lies training alone, so their rate leaves out start-up and compilation, which no budget counts.
    """

    worker: str
    began: float
    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None

    def hear(self, seconds: float) -> None:
        """Take in how much of the budget is used up; less than before means that a resumed run goes on from there."""
        if seconds in (0, self.seconds):
            return
        began = None if seconds < self.seconds else self.first
        self.last = time.monotonic(), seconds
        self.first = began or self.last

    @property
    def seconds(self) -> float:
        """How much of the budget is used up."""
        return self.last[1] if self.last else 0.0

    def left(self, budget: float) -> float | None:
        """Seconds until the budget is used up, or None while there is no rate to tell it from."""
        if self.first is None or self.last is None or self.last[1] <= self.first[1]:
            return None
        each = (self.last[0] - self.first[0]) / (self.last[1] - self.first[1])
        return max(0.0, (budget - self.last[1]) * each - (time.monotonic() - self.last[0]))


class View:
    """What `Dispatcher` tells people. `heard` is called from another thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._rung, self._budget, self._done, self._waiting = "", 1.0, 0, set[str]()
        self._running: dict[str, _Running] = {}
        self._live = Live(console=console, transient=True, refresh_per_second=2, get_renderable=self._table)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(f"dispatch: {text}", markup=False, highlight=False, soft_wrap=True)

    def rung(self, name: str, budget: float, done: int, waiting: Sequence[Run]) -> None:
        """A rung begins, with so many runs done before and these to train."""
        with self._lock:
            self._rung, self._budget, self._done = name, budget, done
            self._waiting = {run.id for run in waiting}
            self._running.clear()
        self.say(f"{name}: {count(len(waiting), 'run')} to train, {done} done before")

    def heard(self, event: tuple[float, Any]) -> None:
        """A worker tells of a run: where it is, and the seconds of the budget's clock that are used up."""
        told = event[1]
        with self._lock:
            if told["run"] not in self._waiting:
                return
            now = self._running.get(told["run"])
            if now is None or now.worker != told["worker"]:
                again = "" if now is None else " again, after its worker died"
                self._running[told["run"]] = _Running(told["worker"], time.monotonic())
            else:
                again = None
            self._running[told["run"]].hear(told["seconds"])
        if again is not None:
            self.say(f"{told['run']}: started{again}")

    def ended(self, run: str, how: str) -> None:
        """A run came back."""
        with self._lock:
            self._waiting.discard(run)
            self._running.pop(run, None)
            self._done += 1
            left = len(self._waiting)
        self.say(f"{run}: {how}; {left} left at {self._rung}")

    def _table(self) -> Group:
        with self._lock:
            running = sorted(self._running.items())
            head = (
                f"{self._rung}: {self._done} done, {len(running)} running, {len(self._waiting) - len(running)} queued"
            )
        table = Table(box=None, padding=(0, 1), show_header=False)
        for run, now in running:
            share = min(now.seconds / self._budget, 1.0)
            left = now.left(self._budget)
            told = elapsed(time.monotonic() - now.began) if left is None else f"{elapsed(left)} left"
            table.add_row(run, ProgressBar(total=1.0, completed=share, width=20), f"{share:.0%}", told, now.worker)
        return Group(Text(head), table)
