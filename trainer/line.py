"""The progress line of `python -m trainer`: share of the budget, step, speed, loss, time left.

python -m trainer --spec spec.json --corpus artifacts/corpus
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from trainer.outcome import Progress, Row

PLAIN_SECONDS = 30.0


class ProgressLine:
    """An observer on standard error: one line drawn over and over on a terminal, else a plain one now and then."""

    def __init__(self, console: Console | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(stderr=True)
        self._now, self._told = now, now()
        columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[said]}"))
        drawn = self._console.is_terminal
        self._bar = Bar(*columns, console=self._console, auto_refresh=False, transient=True, disable=not drawn)
        self._task = self._bar.add_task("train", total=1.0, said="")

    def __enter__(self) -> ProgressLine:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def progress(self, now: Progress) -> None:
        """Draws the line anew, or prints it where half a minute has passed."""
        if not self._bar.disable:
            self._bar.update(self._task, completed=now.share, said=_said(now))
            self._bar.refresh()
        elif self._now() - self._told >= PLAIN_SECONDS:
            self._told = self._now()
            self._print(f"{now.share:.1%}  {_said(now)}")

    def row(self, row: Row) -> None:
        """The line shows no curve."""

    def warning(self, text: str) -> None:
        """Prints the warning above the line."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _said(now: Progress) -> str:
    at = f"{now.step}/{now.steps}" if now.steps else str(now.step)
    left = "-" if now.eta is None else f"{now.eta:.0f} s"
    return f"step {at}  {now.tokens_per_second:,.0f} tok/s  loss {now.train_loss:.3f}  {left} left"
