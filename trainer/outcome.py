"""What a run hands back, and what it tells an observer while it runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from torch import Tensor

from trainer.whole import write_whole

Status = Literal["finished", "diverged", "failed"]


class Row(NamedTuple):
    """One point of the curve: after `step` steps and `tokens` tokens, at `seconds` of the budget's clock."""

    step: int
    tokens: int
    seconds: float
    train_loss: float
    lr_factor: float


class Progress(NamedTuple):
    """Where a run is. `share` of the budget is from 0 to 1, `steps` is None on the wall clock, `eta` in seconds."""

    step: int
    steps: int | None
    share: float
    tokens_per_second: float
    train_loss: float
    eta: float | None


class Observer(Protocol):
    """Hears of a run: progress a few times a second at most, and every row of the curve once."""

    def progress(self, now: Progress) -> None: ...
    def row(self, row: Row) -> None: ...
    def warning(self, text: str) -> None: ...


class Silent:
    """The observer that does nothing."""

    def progress(self, now: Progress) -> None:
        """Ignores it."""

    def row(self, row: Row) -> None:
        """Ignores it."""

    def warning(self, text: str) -> None:
        """Ignores it."""


def _nothing() -> None:
    """A run without checkpoints has none to remove."""


@dataclass(frozen=True)
class Outcome:
    """A run's end. `facts` repeat byte for byte on the same kind of machine; `telemetry` is all that does not.

    `clear` removes the run's checkpoints: to be called when what is wanted of the outcome is on the disk, and not
    before, or a process that dies in between has trained for nothing.
    """

    status: Status
    reason: str | None
    facts: dict[str, Any] | None
    curve: list[dict[str, Any]]
    telemetry: dict[str, Any]
    weights: Mapping[str, Tensor] | None = field(default=None, repr=False)
    clear: Callable[[], None] = field(default=_nothing, repr=False)

    def curve_csv(self) -> str:
        """The curve as CSV with a header and newline line ends."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, Row._fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.curve)
        return text.getvalue()

    def save_weights(self, path: Path) -> None:
        """Writes the weights as safetensors, whole or not at all; only where the spec said keep_weights. `OSError`."""
        from safetensors.torch import save_file

        if self.weights is None:
            raise ValueError("this run kept no weights: set keep_weights in its specification")
        weights = dict(self.weights)
        write_whole(path, lambda part: save_file(weights, part, metadata={"format": "staged-promotion"}))
