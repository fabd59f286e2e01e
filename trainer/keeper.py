"""When a run keeps its state: now and then while it trains, and once when training has ended, before it is scored.

All checkpoints of a run, the one at its end counted in beforehand, take one `SHARE`th of its training time at most.
What the first one will take is expected from its size; from then on, what the last one took.
"""

from __future__ import annotations

from collections.abc import Callable

from trainer.checkpoint import Checkpoints
from trainer.clock import Clock
from trainer.host import hostname
from trainer.session import Session
from trainer.tally import Tally

SHARE = 50  # one fiftieth: 2 %
# What is expected of a checkpoint before one was measured: the syncs of two files, and a slow disk.
SYNC_SECONDS, BYTES_PER_SECOND = 0.05, 100e6


class Keeper:
    """Saves a run to `store`, every `every` seconds at most; one that trains for less than that is never saved."""

    def __init__(
        self, store: Checkpoints, every: float, now: Callable[[], float], warn: Callable[[str], None], step: int
    ) -> None:
        """`step` is that of the checkpoint that was taken up, 0 where there was none."""
        self._store, self._every, self._now, self._warn = store, every, now, warn
        self._saved_at, self._saved_step = now(), step
        self._took: float | None = None

    def save_when_due(self, tally: Tally, session: Session, clock: Clock, *, last: bool = False) -> None:
        """Writes a checkpoint if one is due; `last` where training has ended. A full disk costs no more than it."""
        began = self._now()
        waited = tally.train_seconds if last else began - self._saved_at
        if waited < self._every or tally.step == self._saved_step:
            return
        expected = self._expected(session)
        to_come = 1 if last else 2
        if (tally.checkpoint_seconds + to_come * expected) * SHARE > tally.train_seconds:
            return
        try:
            rest = {"run": tally.to_json(hostname(), expected), "clock": clock.state()}
            self._store.save(tally.step, session.state(), rest)
            tally.checkpoints += 1
            self._saved_step = tally.step
        except OSError as error:
            self._warn(f"checkpoint at step {tally.step} not written ({error}); the run goes on without it")
        self._saved_at = self._now()
        self._took = self._saved_at - began
        tally.checkpoint_seconds += self._took

    def _expected(self, session: Session) -> float:
        if self._took is None:
            size = sum(value.nbytes for value in session.state().values())
            self._took = SYNC_SECONDS + size / BYTES_PER_SECOND
        return self._took
