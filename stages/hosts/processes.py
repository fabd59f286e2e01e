"""A leash: a process that ends when the one that started it does, however that one ended.

    python -m stages.hosts.processes -m dvc repro        DVC on a leash, and every run that it starts

The holder writes its process id and the time of its creation into a variable, which its children inherit, through DVC
and its shell as well; a thread of theirs looks twice a second whether that very process still lives. Nobody holds a
pipe: on Windows a thread that waits on standard input would keep every process that inherits it from starting. A run
must not outlive `promotion work` or a worker of `promotion dispatch`: it would train beside the run that is started in
its place. Files appear whole and checkpoints stay, so nothing is lost.

One process at a time: locks that the operating system lets go of when their holder dies, however it dies.

with alone("rung5/d8-ar48/linux-l40s/501", "it is being trained"): ...
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from filelock import FileLock, Timeout

from stages.domain import names
from stages.domain.errors import Refused

ORPHANED = 75
#: Who holds the leash, for all that it starts: process id, a colon, seconds since 1970 at its creation.
VARIABLE = "STAGED_PROMOTION_LEASH"
LOOK_SECONDS = 0.5
#: Linux reckons the time of creation from a clock that may be set meanwhile; a process id is not used again so soon.
CLOCK_SECONDS = 60.0


def lives(process: psutil.Process) -> bool:
    """Whether a process is at work; one that is dead and not yet reaped is not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # somebody else's, so it is there
        return True


def _holder(told: str) -> psutil.Process | None:
    """The process that `told`, the content of the variable, names; None if it is gone, whoever has its id now."""
    pid, _, created = told.partition(":")
    try:
        process = psutil.Process(int(pid))
        return process if abs(process.create_time() - float(created)) < CLOCK_SECONDS else None
    except psutil.NoSuchProcess:
        return None


def _watch(holder: psutil.Process | None) -> None:
    while holder is not None and lives(holder):
        time.sleep(LOOK_SECONDS)
    try:
        print("ended with the process that started it; what was finished is kept", file=sys.stderr, flush=True)
    finally:
        os._exit(ORPHANED)


def heed() -> None:
    """If this process is on a leash, end with its holder from now on."""
    if told := os.environ.get(VARIABLE):
        threading.Thread(target=_watch, args=(_holder(told),), daemon=True).start()


def start(
    words: list[str], output: int | None = None, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python WORDS` on a leash that this process holds, with these variables besides its own.

    `output` is where all that it prints goes, as `subprocess` takes it. It has nothing to read.
    """
    held = f"{os.getpid()}:{psutil.Process().create_time():.3f}"
    variables = os.environ | (environment or {}) | {VARIABLE: held}
    return subprocess.Popen(
        [sys.executable, *words], env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )


def main() -> None:
    """Heed the leash and become the module that is asked for, as `python -m` would."""
    heed()
    del sys.argv[0:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()


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
