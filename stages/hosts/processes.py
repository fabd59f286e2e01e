"""Child processes that end with their parent, and locks that one process of a clone holds at a time.

    python -m stages.hosts.processes -m dvc repro        DVC under the watchdog, and every run that it starts

The parent process watchdog: the parent writes its process id and the time of its creation into an environment variable,
which its children inherit, through DVC and its shell as well. A thread of each child looks twice a second whether that
very process is still alive, and ends the child if not. No pipe is used: on Windows a thread that waits on standard
input would keep every process that inherits it from starting. A run must not outlive `promotion work` or a worker of
`promotion dispatch`, because it would train beside the run that is started in its place. Files appear whole and
checkpoints stay, so nothing is lost.

Locks are the operating system's: it releases them when their holder ends, however that happens.

    with hold_lock("rung5/d8-ar48/linux-l40s/501", "it is being trained"): ...
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
from stages.domain.import_path import OWN_PACKAGES, return_to_working_folder
from stages.runners.process_tree import find_process, identify, is_alive

#: Exit status of a process that ended because its parent did.
ORPHANED = 75
#: The parent of everything that it starts: process id, a colon, seconds since 1970 at its creation.
VARIABLE = "STAGED_PROMOTION_PARENT"
WATCH_SECONDS = 0.5
LOCKS = names.SCRATCH / "locks"


class LockHeld(Refused):
    """Another process of this clone holds the lock."""


def _exit_after(parent: psutil.Process | None) -> None:
    while parent is not None and is_alive(parent):
        time.sleep(WATCH_SECONDS)
    try:
        print("ended with the process that started it; what was finished is kept", file=sys.stderr, flush=True)
    finally:
        os._exit(ORPHANED)


def watch_parent() -> None:
    """If `start_child` started this process or one above it, end with that parent from now on."""
    if identity := os.environ.get(VARIABLE):
        threading.Thread(target=_exit_after, args=(find_process(identity),), daemon=True).start()


def start_child(
    arguments: list[str], output: int | None = None, environment: dict[str, str] | None = None, *, pipe: bool = False
) -> subprocess.Popen[bytes]:
    """Start `python ARGUMENTS` with this process as its watched parent and these variables besides its own.

    `output` is where standard output and error go, as `subprocess` takes it. Standard input is empty. With `pipe`
    standard input and output are pipes instead.
    """
    identity = identify(psutil.Process())
    variables = os.environ | (environment or {}) | {VARIABLE: identity}
    streams = (subprocess.PIPE, subprocess.PIPE) if pipe else (subprocess.DEVNULL, output)
    return subprocess.Popen(
        [sys.executable, *arguments], env=variables, stdin=streams[0], stdout=streams[1], stderr=output
    )


@contextmanager
def hold_lock(name: str, activity: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock called `name`; `LockHeld` with the holder's `activity` where it is held for over `wait` seconds.

    A negative `wait` waits for ever.
    """
    path = LOCKS / f"{name.replace('/', '.')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        raise LockHeld(
            f"{path.as_posix()}: held by another process of this clone: {activity}; "
            "wait for it, or end it and start again: nothing is lost"
        ) from None
    except (OSError, NotImplementedError) as error:  # ENOLCK: a network file system without its lock service
        raise Refused(
            f"{path.as_posix()}: could not be locked: {error}; make {names.SCRATCH.as_posix()}/ a link to a folder "
            "on a local disk (and let DVC do without such locks: `dvc config core.hardlink_lock true`)"
        ) from error
    try:
        yield
    finally:
        lock.release()


def main() -> None:
    """Watch the parent and become the module that is asked for, as `python -m` would."""
    watch_parent()
    del sys.argv[0:2]
    if sys.argv[0].partition(".")[0] not in OWN_PACKAGES | {"dvc"}:
        return_to_working_folder()  # the processes of a Dask worker find this project by sys.path alone
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
