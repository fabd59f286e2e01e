"""Processes of a trainer that is a program of its own: run under a time limit, ended with all that they started.

    ending = run_limited(["python", "nano/train.py"], environment, limit, state, receive)

The program gets a process group of its own: a session on POSIX, a job object on Windows. Its children are looked for
twice a second, so that those that leave the group are known too; none of them outlives the run. Ending one means: ask
all of them to terminate, wait GRACE_SECONDS, kill what is left. The verdict on the time limit is this module's own,
since an exit status that is read after the fact can look like success.

A second process, the guard, ends the program where the process that runs it is killed:

    python -m stages.runners.process_tree WATCHER STATE     (started by `run_limited`)

`state` names the program (process id and time of creation) as long as it runs; a second start refuses while it lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from stages.domain.errors import Refused
from stages.runners.job_object import open_job

LOOK_SECONDS = 0.5
POLL_SECONDS = 0.05
GRACE_SECONDS = 10.0
#: How long the end of the output may take to arrive once nothing is left that could write.
DRAIN_SECONDS = 10.0
CHUNK = 1 << 16
#: Linux computes the time of creation from a clock that may be set meanwhile; a process id is not used again so soon.
CLOCK_SECONDS = 60.0


def is_alive(process: psutil.Process) -> bool:
    """Whether a process is running; one that is dead and not yet reaped is not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's, so it is there
        return True


def identify(process: psutil.Process) -> str:
    """What tells a process from a later one with its id: the id, a colon, seconds since 1970 at its creation."""
    return f"{process.pid}:{process.create_time():.3f}"


def find_process(identity: str) -> psutil.Process | None:
    """The process with this identity; None if it has ended, whoever has its id now."""
    pid, _, created = identity.partition(":")
    try:
        process = psutil.Process(int(pid))
        return process if abs(process.create_time() - float(created)) < CLOCK_SECONDS else None
    except psutil.NoSuchProcess:
        return None


class ProcessTree:
    """A program and what it started, as far as it was seen."""

    def __init__(self, root: psutil.Process) -> None:
        self.root = root
        self._known: dict[int, psutil.Process] = {root.pid: root}

    def look(self) -> None:
        """Note the children that are there now, and theirs."""
        for process in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                self._known.update({child.pid: child for child in process.children(recursive=True)})

    def alive(self) -> list[psutil.Process]:
        """Those that run."""
        return [process for process in self._known.values() if is_alive(process)]

    def end(self, grace: float = GRACE_SECONDS) -> None:
        """End all of them: terminate, wait for `grace` seconds, kill. Whatever shares the program's group ends too."""
        self.look()
        self._signal(psutil.Process.terminate, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while self.alive() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            self.look()
        self._signal(psutil.Process.kill, getattr(signal, "SIGKILL", signal.SIGTERM))

    def _signal(self, act: Callable[[psutil.Process], None], number: int) -> None:
        signal_group = getattr(os, "killpg", None)  # Windows has none; there the tree is all that is known
        if signal_group is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                signal_group(self.root.pid, number)
        for process in self.alive():
            with contextlib.suppress(psutil.Error):
                act(process)


@dataclass(frozen=True)
class Ending:
    """How a program ended: its exit status (negative: a signal), unless its time was up; seconds on the wall clock."""

    exit_status: int
    timed_out: bool
    seconds: float


def run_limited(
    command: list[str],
    environment: Mapping[str, str],
    limit: float,
    state: Path,
    receive: Callable[[bytes], None],
    grace: float | None = None,
    folder: Path = Path(),
) -> Ending:
    """Run a program in `folder`; `receive` gets what it prints, standard error among it, as it comes.

    `limit` is in seconds of wall time; so is `grace`, from the request to end until the kill. `Refused` where the
    program cannot be started, or an earlier one still runs.
    """
    refuse_running(state)
    program = shutil.which(command[0], path=environment.get("PATH"))
    if program is None:
        raise Refused(f"runner.command: found no program {command[0]!r} on the path; install it, or write its path")
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(json.dumps({"program": None}), encoding="utf-8")
    guard = _start_guard(state)
    try:
        return _run(
            program, command, environment, limit, state, receive, GRACE_SECONDS if grace is None else grace, folder
        )
    finally:
        state.unlink(missing_ok=True)
        guard.wait()


def refuse_running(state: Path) -> None:
    """Refuse while the program that an earlier start left in `state` is alive."""
    identity = _read_state(state)
    process = find_process(identity) if identity else None
    if process is not None and is_alive(process):
        raise Refused(
            f"{state.as_posix()}: the trainer of an earlier start still runs as process {process.pid}; "
            "wait until it has ended, or end it"
        )


def _read_state(state: Path) -> str | None:
    try:
        identity = json.loads(state.read_text(encoding="utf-8"))["program"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return identity if isinstance(identity, str) else None


def _run(
    program: str,
    command: list[str],
    environment: Mapping[str, str],
    limit: float,
    state: Path,
    receive: Callable[[bytes], None],
    grace: float,
    folder: Path,
) -> Ending:
    began = time.monotonic()
    new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    try:
        child = subprocess.Popen(
            [str(Path(program).absolute()), *command[1:]],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
            creationflags=new_group,
        )
    except OSError as error:
        raise Refused(f"runner.command: {command[0]}: could not be started: {error.strerror or error}") from None
    job = open_job(child.pid)
    tree = ProcessTree(psutil.Process(child.pid))
    try:
        state.write_text(json.dumps({"program": identify(tree.root)}), encoding="utf-8")
        reader = _Reader(child, receive)
        timed_out = _wait(child, tree, began + limit)
    finally:
        tree.end(grace)
        if job is not None:
            job.end()
        status = child.wait()
    reader.finish()
    return Ending(status, timed_out, time.monotonic() - began)


def _wait(child: subprocess.Popen[bytes], tree: ProcessTree, deadline: float) -> bool:
    """Wait until the program has ended or its time is up; True for the latter."""
    looked = 0.0
    while child.poll() is None:
        now = time.monotonic()
        if now >= deadline:
            return True
        if now - looked >= LOOK_SECONDS:
            tree.look()
            looked = now
        time.sleep(POLL_SECONDS)
    return False


class _Reader:
    """A thread that reads what the program prints. An error of `receive` is raised by `finish`, not lost."""

    def __init__(self, child: subprocess.Popen[bytes], receive: Callable[[bytes], None]) -> None:
        assert child.stdout is not None
        self._pipe, self._receive = child.stdout, receive
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._pipe.fileno(), CHUNK):
                if self._error is None:
                    try:
                        self._receive(data)
                    except Exception as error:  # the program must not block on a full pipe
                        self._error = error
        except OSError:
            pass

    def finish(self) -> None:
        """Wait for the rest of the output."""
        self._thread.join(DRAIN_SECONDS)
        if not self._thread.is_alive():
            self._pipe.close()
        if self._error is not None:
            raise self._error


def _start_guard(state: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "stages.runners.process_tree", identify(psutil.Process()), str(state.absolute())]
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=os.name == "posix",
    )


def guard(watcher: str, state: Path) -> None:
    """Until the program is done: where the process that watches it has died, end the program's tree."""
    while state.is_file():
        process = find_process(watcher)
        if process is None or not is_alive(process):
            identity = _read_state(state)
            program = find_process(identity) if identity else None
            if program is not None:
                ProcessTree(program).end()
            state.unlink(missing_ok=True)
            return
        time.sleep(POLL_SECONDS * 2)


if __name__ == "__main__":
    guard(sys.argv[1], Path(sys.argv[2]))
