"""What a run counts besides the model: steps, the smoothed loss, the curve, and seconds, over all its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainer.clock import FREE_STEPS
from trainer.outcome import Row

SMOOTHING = 0.95


@dataclass
class Tally:
    """The counts of a run. A process's first `FREE_STEPS` steps compile: their seconds are kept apart.

    `counted` steps took `passed` seconds, the others `first_seconds`; `here` is the steps of this process.
    """

    step: int = 0
    smooth: float = 0.0
    curve: list[Row] = field(default_factory=list)
    counted: int = 0
    passed: float = 0.0
    first_seconds: float = 0.0
    checkpoints: int = 0
    checkpoint_seconds: float = 0.0
    segments: list[dict[str, Any]] = field(default_factory=list)
    here: int = 0

    def stepped(self, loss: float, seconds: float) -> None:
        """Counts a step of `loss` nats a token that took `seconds`."""
        if self.here < FREE_STEPS:
            self.first_seconds += seconds
        else:
            self.passed += seconds
            self.counted += 1
        self.step += 1
        self.here += 1
        self.smooth = SMOOTHING * self.smooth + (1.0 - SMOOTHING) * loss

    @property
    def train_loss(self) -> float:
        """The exponentially smoothed loss, its start corrected; there is none before the first step."""
        return self.smooth / (1.0 - SMOOTHING**self.step)

    @property
    def train_seconds(self) -> float:
        """Seconds of all steps."""
        return self.first_seconds + self.passed

    @property
    def seconds_per_step(self) -> float | None:
        """The pace of the counted steps; None where there are none yet."""
        return self.passed / self.counted if self.counted else None

    def steps_per_second(self) -> float:
        """The speed of the counted steps, of all where none is counted, and 0 before the first step."""
        steps, seconds = (self.counted, self.passed) if self.counted else (self.step, self.train_seconds)
        return steps / seconds if seconds else 0.0

    def segments_now(self, hostname: str) -> list[dict[str, Any]]:
        """Where each process that worked on this run began and got to."""
        first = self.segments[-1]["to_step"] if self.segments else 0
        return [*self.segments, {"from_step": first, "to_step": self.step, "hostname": hostname}]

    def to_json(self, hostname: str, expected: float) -> dict[str, Any]:
        """Plain values for a checkpoint, itself counted as one that took the `expected` seconds."""
        return {
            "smooth": self.smooth.hex(),
            "curve": [[row.step, row.tokens, *(number.hex() for number in row[2:])] for row in self.curve],
            "counted": self.counted,
            "passed": self.passed,
            "first_seconds": self.first_seconds,
            "checkpoints": self.checkpoints + 1,
            "checkpoint_seconds": self.checkpoint_seconds + expected,
            "segments": self.segments_now(hostname),
        }

    @staticmethod
    def from_json(step: int, value: Mapping[str, Any]) -> Tally:
        """The counts of a checkpoint of `step`, for a process that goes on from there."""
        return Tally(
            step=step,
            smooth=float.fromhex(value["smooth"]),
            curve=[Row(int(row[0]), int(row[1]), *map(float.fromhex, row[2:])) for row in value["curve"]],
            counted=int(value["counted"]),
            passed=float(value["passed"]),
            first_seconds=float(value["first_seconds"]),
            checkpoints=int(value["checkpoints"]),
            checkpoint_seconds=float(value["checkpoint_seconds"]),
            segments=list(value["segments"]),
        )
