"""Removes what a killed process leaves half-written, so that the next one can start.

    promotion heal

DVC writes a dvc.lock and its own `.dvc/tmp/rwlock` in place. Killed meanwhile, it leaves half a file or an empty one,
and every later `dvc repro` refuses to start, before any code of this project runs. Everything that a dvc.lock says can
be had again from the workspace and the run cache. Our own files appear whole, but what was being written stays behind
as `.NAME.PID.part`. Nothing is removed while a DVC is at work in this folder. Tried with DVC 3.67.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from stages.domain import names
from stages.domain.files import is_abandoned

#: Where DVC notes which process reads and writes what, as JSON.
RWLOCK = Path(".dvc/tmp/rwlock")
#: How long a process whose parent was killed may take to end.
DYING_SECONDS = 5.0
#: Where this project writes files.
FOLDERS = (Path("artifacts"), names.LEDGER, names.LOCKS, names.SCRATCH, Path("stages"))
#: Stages of this project: every one has outputs, so a dvc.lock that ends in one without them is cut off.
_OWN_STAGE = re.compile(r"(run|floor)@.*|gate|corpus|protocol|ledger|winner|site")
_STAGE = re.compile(r"^  ([^\s'\"][^\n]*|'[^'\n]*'|\"[^\"\n]*\"):\n", re.MULTILINE)


def heal(wait: float = 0.0) -> list[Path]:
    """Remove what killed processes left in this folder; the paths of what was broken.

    A process that is named in the rwlock and still running is waited for up to `wait` seconds; then, and while any DVC
    is at work here, nothing of DVC's is removed.
    """
    return [*remove_broken_files(wait), *remove_partial_files()]


def remove_broken_files(wait: float = 0.0) -> list[Path]:
    """Remove dvc.lock files and an rwlock that are cut off, and an rwlock of dead processes; the paths cut off."""
    locks = [Path("dvc.lock"), *sorted(names.LADDER.glob("**/dvc.lock"))]
    broken = [path for path in locks if path.is_file() and not _is_whole_lock(path)]
    broken += [RWLOCK] if RWLOCK.is_file() and _read_rwlock() is None else []
    if broken and _is_dvc_running(wait):
        return []
    for path in broken:
        path.unlink(missing_ok=True)
    _remove_rwlock_of_dead(wait)
    return broken


def remove_partial_files() -> list[Path]:
    """Remove the `.part` files and folders of processes that have ended; their paths."""
    abandoned = []
    for folder, folders, files in (entry for top in FOLDERS for entry in os.walk(top)):
        for name in (*folders, *files):
            path = Path(folder) / name
            if name.endswith(".part") and is_abandoned(path):
                shutil.rmtree(path) if name in folders else path.unlink(missing_ok=True)
                abandoned.append(path)
        folders[:] = [name for name in folders if not name.endswith(".part")]
    return sorted(abandoned)


def _read_rwlock() -> str | None:
    """The text of DVC's rwlock; None where it is cut off."""
    try:
        text = RWLOCK.read_text(encoding="utf-8")
        return text if isinstance(json.loads(text), dict) else None
    except (ValueError, RecursionError):
        return None
    except FileNotFoundError:
        return "{}"


def _remove_rwlock_of_dead(wait: float) -> None:
    """Remove DVC's rwlock once every process that it names has ended; one under the watchdog may still be ending.

    DVC does so itself, but takes a process that is dead and not yet reaped for a living one and refuses to run. Where
    one lives on, the file stays, and DVC says which process it waits for.
    """
    holders = {int(pid) for pid in re.findall(r'"pid": (\d{1,9})', _read_rwlock() or "")}
    if holders and _wait_until(lambda: not any(_is_pid_alive(pid) for pid in holders), wait):
        RWLOCK.unlink(missing_ok=True)


def _is_dvc_running(wait: float) -> bool:
    return not _wait_until(lambda: next(_find_dvc_processes(), None) is None, wait)


def _wait_until(condition: Callable[[], bool], wait: float) -> bool:
    end = time.monotonic() + wait
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


def _find_dvc_processes() -> Iterator[int]:
    """The ids of processes that run DVC in this folder, or may: of one that is not ours the folder is unknown."""
    import psutil

    from stages.runners.process_tree import is_alive

    root = Path.cwd().resolve()
    for process in psutil.process_iter():
        try:
            if not is_dvc_command(process.cmdline()) or not is_alive(process):
                continue
            if Path(process.cwd()).resolve().is_relative_to(root):
                yield process.pid
        except psutil.AccessDenied:
            yield process.pid
        except (psutil.NoSuchProcess, OSError):
            continue


def is_dvc_command(command: list[str]) -> bool:
    """Whether a command line is that of DVC: the program, or `python -m dvc`, by whatever started it."""
    programs = (Path(word).name.lower().removesuffix(".exe") for word in command[:2])
    modules = (after for before, after in pairwise(command) if before == "-m")
    return "dvc" in programs or "dvc" in modules


def _is_pid_alive(pid: int) -> bool:
    import psutil

    from stages.runners.process_tree import is_alive

    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _is_whole_lock(path: Path) -> bool:
    """Whether a dvc.lock ends behind a whole stage. What stands before its end is DVC's matter, or a merge's."""
    text = path.read_bytes().decode("utf-8", errors="replace").replace("\r\n", "\n")
    stages = list(_STAGE.finditer(text))
    if not text.endswith("\n") or not stages:
        return False
    last = stages[-1]
    if not _OWN_STAGE.fullmatch(last[1].strip("'\"")):
        return True
    _, _, outs = text[last.end() :].partition("    outs:\n")
    items = re.split(r"^    - ", outs, flags=re.MULTILINE)[1:]
    return bool(items) and all(re.search(r"^ *md5: [0-9a-f]{32}(\.dir)?$", item, re.MULTILINE) for item in items)
