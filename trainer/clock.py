"""Clocks: what share of the budget has passed, and when training ends.

- `RatedClock`: a number of steps fixed beforehand; two machines agree.
- `WallClock`: measured seconds of steps, start-up, the first 10 steps (compilation) and evaluation left out. The
  schedule sees its progress in ticks of 1/4096, and the first step of every tick is kept.
- `ReplayClock`: those kept steps, so a run on the wall clock can be repeated step for step.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from trainer.errors import TrainerError

TICKS = 4096
FREE_STEPS = 10
MAX_DELTA_BYTES = 16 * TICKS


class Clock(Protocol):
    """What the loop asks. A step is numbered from 0; `ended` is asked before it, `stepped` told after it.

    `steps` is how many there will be, None where only the end will tell.
    """

    @property
    def steps(self) -> int | None: ...
    def ended(self, step: int) -> bool: ...
    def progress(self, step: int) -> float: ...
    def stepped(self, step: int, seconds: float) -> None: ...
    def elapsed(self, step: int) -> float: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...
    def kept(self, steps: int) -> dict[str, Any] | None: ...


class RatedClock:
    """A run of `steps` steps, each `seconds_per_step` rated seconds."""

    def __init__(self, steps: int, seconds_per_step: float) -> None:
        self.steps = steps
        self._each = seconds_per_step

    def ended(self, step: int) -> bool:
        """Whether the run is over before step number `step`."""
        return step >= self.steps

    def progress(self, step: int) -> float:
        """Share of the budget that has passed before step number `step`, from 0 to 1."""
        return min(step / self.steps, 1.0)

    def stepped(self, step: int, seconds: float) -> None:
        """Rated time does not depend on how long a step took."""

    def elapsed(self, step: int) -> float:
        """Rated seconds of `step` steps."""
        return step * self._each

    def state(self) -> dict[str, Any]:
        """Nothing to keep: the step number says it all."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""

    def kept(self, steps: int) -> dict[str, Any] | None:
        """Nothing that a repetition would need."""
        return None


class WallClock:
    """A run that stops when `budget` seconds have passed in steps, the first `FREE_STEPS` not counted."""

    steps = None

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._passed = 0.0
        self._counted = 0
        self._grace, self._pace = 0, 0.0
        self._firsts: list[int] = []  # the first step that saw tick 1, 2, ...

    def ended(self, step: int) -> bool:
        """Whether the run is over before step number `step`."""
        return step > FREE_STEPS and self._passed >= self._budget

    def progress(self, step: int) -> float:
        """Share of the budget that has passed, in whole ticks."""
        return len(self._firsts) / TICKS

    def stepped(self, step: int, seconds: float) -> None:
        """Counts a step that took `seconds`."""
        forgiven = self._grace > 0  # a resumed process compiles again: its first steps count at the pace known before
        self._grace -= forgiven
        if step < FREE_STEPS:
            return
        if forgiven:
            seconds = min(seconds, self._pace)
        self._passed += seconds
        self._counted += 1
        tick = min(int(self._passed / self._budget * TICKS), TICKS - 1)
        self._firsts.extend([step + 1] * (tick - len(self._firsts)))

    def elapsed(self, step: int) -> float:
        """Seconds counted so far."""
        return self._passed

    def state(self) -> dict[str, Any]:
        """What a resumed run needs to go on where the budget was."""
        return {"passed": self._passed, "counted": self._counted, "firsts": _pack(self._firsts)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes all of `state` back, or raises and takes nothing."""
        passed, counted, firsts = float(state["passed"]), int(state["counted"]), _unpack(state["firsts"])
        self._passed, self._counted, self._firsts = passed, counted, firsts
        self._grace, self._pace = FREE_STEPS, passed / counted if counted else 0.0

    def kept(self, steps: int) -> dict[str, Any] | None:
        """The progress of a run of `steps` steps, one that broke included: a few kB however long the run was."""
        return {"ticks": TICKS, "steps": steps, "data": _pack(self._firsts)}


class ReplayClock:
    """Repeats the progress that a run on the wall clock kept."""

    def __init__(self, kept: Mapping[str, Any], budget: float) -> None:
        ticks, steps, data = kept.get("ticks"), kept.get("steps"), kept.get("data")
        if ticks != TICKS:
            raise TrainerError(f"progress.ticks is {ticks!r}, expected {TICKS}: replay with the runner that wrote it")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise TrainerError(f"progress.steps is {steps!r}, expected a positive whole number")
        if not isinstance(data, str):
            raise TrainerError(f"progress.data is {type(data).__name__}, expected text")
        self._kept = {"ticks": TICKS, "steps": steps, "data": data}
        self.steps = steps
        self._firsts = _unpack(data)
        self._budget = budget

    def ended(self, step: int) -> bool:
        """Whether the recorded run was over before step number `step`."""
        return step >= self.steps

    def progress(self, step: int) -> float:
        """The share of the budget that step number `step` saw when it was recorded."""
        return bisect_right(self._firsts, step) / TICKS

    def stepped(self, step: int, seconds: float) -> None:
        """A repetition measures nothing."""

    def elapsed(self, step: int) -> float:
        """The recorded seconds, to a tick."""
        return self._budget if step >= self.steps else self.progress(step) * self._budget

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to restore."""

    def kept(self, steps: int) -> dict[str, Any] | None:
        """What the recorded run kept, unchanged."""
        return self._kept


def _pack(firsts: Sequence[int]) -> str:
    """Ascending whole numbers as base64 of deflated differences, seven bits a byte, low bits first."""
    data, before = bytearray(), 0
    for first in firsts:
        delta, before = first - before, first
        while delta > 0x7F:
            data.append(delta & 0x7F | 0x80)
            delta >>= 7
        data.append(delta)
    return base64.b64encode(zlib.compress(bytes(data), 9)).decode("ascii")


def _unpack(text: str) -> list[int]:
    """The numbers that `_pack` packed; `TrainerError` for anything else."""
    try:
        inflate = zlib.decompressobj()
        data = inflate.decompress(base64.b64decode(text, validate=True), MAX_DELTA_BYTES)
        whole = inflate.eof
    except (binascii.Error, ValueError, zlib.error) as error:
        raise TrainerError(f"progress.data cannot be read ({error}): take it unchanged from the record") from None
    firsts: list[int] = []
    value = delta = shift = 0
    for byte in data:
        delta |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            value += delta
            firsts.append(value)
            delta = shift = 0
    if not whole or shift or len(firsts) >= TICKS:
        raise TrainerError("progress.data is cut off or too long: take it unchanged from the record")
    return firsts
