"""The metric of a study: what its scores are called and counted in. Less is better, always.

The built-in runner measures val_bpb, validation bits per byte. A command's metric is what `runner.score` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BUILTIN_NAME = "val_bpb"


@dataclass(frozen=True)
class Metric:
    """A metric: its name as the study writes it, its unit (empty where nobody said), and what it is in a few words.

    Values closer than `resolution` are ties. Where it is None every difference counts.
    """

    name: str = BUILTIN_NAME
    unit: str = "bits per byte"
    meaning: str = "validation bits per byte"
    resolution: float | None = None

    def rename(self, text: str) -> str:
        """A text that speaks of val_bpb, with this metric's own name."""
        return text if self.name == BUILTIN_NAME else text.replace(BUILTIN_NAME, self.name)


def metric_of(settings: Mapping[str, Any]) -> Metric:
    """The metric of a study with this `runner` section."""
    score = settings.get("score")
    if settings.get("kind") != "command" or not isinstance(score, Mapping):
        return Metric()
    unit, resolution = str(score.get("unit", "")), score.get("resolution")
    meaning = f"what the trainer reports as its score{f', in {unit}' if unit else ''}"
    if isinstance(resolution, int | float):
        return Metric(
            str(score.get("name", BUILTIN_NAME)),
            unit,
            f"{meaning} (values closer than {resolution:g} are ties)",
            resolution,
        )
    return Metric(str(score.get("name", BUILTIN_NAME)), unit, meaning)
