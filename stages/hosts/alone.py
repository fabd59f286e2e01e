"""One process at a time: locks that the operating system lets go of when their holder dies, however it dies.

with alone("rung5/d8-ar48/linux-l40s/501", "it is being trained"): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from stages.domain import names
from stages.domain.fail import Refused

LOCKS = names.SCRATCH / "locks"


class Busy(Refused):
    """Another process of this clone is at it."""


@contextmanager
def alone(what: str, doing: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock called `what`; `Busy`, saying what its holder is `doing`, where that lasts over `wait` seconds."""
    path = LOCKS / f"{what.replace('/', '.')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise Busy(
            f"{path.as_posix()}: held by another process of this clone: {doing}; "
            "wait for it, or end it and start again: nothing is lost"
        ) from None
    try:
        yield
    finally:
        lock.release()
