"""The progress line of `python -m trainer`: share of the budget, step, speed, loss, time left.

python -m trainer --spec spec.json --corpus artifacts/corpus
"""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from trainer.outcome import Progress, Row


class ProgressLine:
    """An observer that draws one line on standard error."""

    def __init__(self) -> None:
        text = "step {task.fields[at]}  {task.fields[speed]} tok/s  loss {task.fields[loss]}  {task.fields[eta]} left"
        columns = (BarColumn(), TaskProgressColumn(), TextColumn(text))
        self._bar = Bar(*columns, console=Console(stderr=True), auto_refresh=False, transient=True)
        self._task = self._bar.add_task("train", total=1.0, at="0", speed="-", loss="-", eta="-")

    def __enter__(self) -> ProgressLine:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def progress(self, now: Progress) -> None:
        """Draws the line anew."""
        at = f"{now.step}/{now.steps}" if now.steps else str(now.step)
        eta = "-" if now.eta is None else f"{now.eta:.0f} s"
        self._bar.update(
            self._task,
            completed=now.share,
            at=at,
            speed=f"{now.tokens_per_second:,.0f}",
            loss=f"{now.train_loss:.3f}",
            eta=eta,
        )
        self._bar.refresh()

    def row(self, row: Row) -> None:
        """The line shows no curve."""

    def warning(self, text: str) -> None:
        """Prints the warning above the line."""
        self._bar.console.print(f"warning: {text}", markup=False, highlight=False)
