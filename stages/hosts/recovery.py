"""Removes what a killed process leaves half-written, so that the next one can start.

DVC writes a dvc.lock and its own `.dvc/tmp/rwlock` in place. Killed meanwhile, it leaves half a file or an empty one,
and every later `dvc repro` refuses to start. Everything that a dvc.lock says can be had again from the workspace
and the run cache. Tried with DVC 3.67.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from stages.domain import yamlio

MAX_LOCK = 256 << 20
#: Where DVC notes which process reads and writes what.
RWLOCK = Path(".dvc/tmp/rwlock")
#: How long a process whose parent was killed may take to end.
DYING_SECONDS = 5.0


def remove_broken_files() -> list[Path]:
    """Remove dvc.lock files and an rwlock that are not whole, and an rwlock of dead processes; the broken paths."""
    broken = []
    for path in (Path("dvc.lock"), *sorted(Path("stages").glob("rung[0-9]*/dvc.lock")), RWLOCK):
        if path.is_file() and not _is_whole(path):
            path.unlink()
            broken.append(path)
    _remove_rwlock_of_dead()
    return broken


def _remove_rwlock_of_dead() -> None:
    """Remove DVC's rwlock once every process that it names has ended; one under the watchdog may still be ending.

    DVC does so itself, but takes a process that is dead and not yet reaped for a living one and refuses to run. Where
    one lives on, the file stays, and DVC says which process it waits for.
    """
    if not RWLOCK.is_file():
        return
    holders = {int(pid) for pid in re.findall(r'"pid": (\d{1,9})', RWLOCK.read_text(encoding="utf-8"))}
    end = time.monotonic() + DYING_SECONDS
    while any(_is_pid_alive(pid) for pid in holders):
        if time.monotonic() > end:
            return
        time.sleep(0.1)
    RWLOCK.unlink()


def _is_pid_alive(pid: int) -> bool:
    import psutil

    from stages.runners.process_tree import is_alive

    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _is_whole(path: Path) -> bool:
    """Whether a file that DVC wrote can be read and, if it is a dvc.lock, ends behind a whole stage."""
    data = path.read_bytes()
    try:
        value = yamlio.loads(data, path.as_posix(), max_bytes=MAX_LOCK, max_nodes=MAX_LOCK)
    except yamlio.BadYaml:
        return False
    if path.suffix != ".lock":
        return True
    stages = value.get("stages")
    return data.endswith(b"\n") and isinstance(stages, dict) and all(_has_outputs(stage) for stage in stages.values())


def _has_outputs(stage: object) -> bool:
    outs = stage.get("outs") if isinstance(stage, dict) else None
    return isinstance(outs, list) and bool(outs) and all(isinstance(out, dict) and "md5" in out for out in outs)
