"""A trainer's processes: none of them outlives the process that watches it, however that one ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.domain.errors import Refused
from stages.runners import process_tree
from stages.runners.process_tree import identify, is_alive, refuse_running, run_limited
from tests.support.repo import PROJECT

WATCHER = """
import os, sys
from pathlib import Path
from stages.runners.process_tree import run_limited
child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"
run_limited([sys.executable, "-c", child], os.environ, 600, Path("state.json"), lambda data: None)
"""


def wait_until(condition, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_a_trainer_and_its_children_end_when_their_watcher_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    watcher = subprocess.Popen([sys.executable, "-c", WATCHER], cwd=tmp_path, env=environment)
    try:
        known: list[psutil.Process] = []

        def started() -> bool:
            known[:] = psutil.Process(watcher.pid).children(recursive=True)
            return len(known) >= 3  # the guard, the trainer and its child

        assert wait_until(started)
        watcher.kill()
        watcher.wait()
        assert wait_until(lambda: not any(is_alive(process) for process in known))
        assert not (tmp_path / "state.json").exists()
    finally:
        watcher.kill()


def test_a_second_start_is_refused_while_the_first_trainer_lives(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(f'{{"program": "{identify(psutil.Process())}"}}', encoding="utf-8")
    with pytest.raises(Refused, match=f"still runs as process {os.getpid()}"):
        refuse_running(state)
    state.write_text(f'{{"program": "{os.getpid()}:5.0"}}', encoding="utf-8")  # another process had this id long ago
    refuse_running(state)


def test_an_error_while_reading_the_output_is_raised_and_the_trainer_is_not_blocked(tmp_path: Path) -> None:
    def receive(data: bytes) -> None:
        raise ValueError("unreadable")

    code = "print('x' * 10_000_000)"
    with pytest.raises(ValueError, match="unreadable"):
        run_limited([sys.executable, "-c", code], os.environ, 100, tmp_path / "state.json", receive)
    assert not (tmp_path / "state.json").exists()


def test_a_run_that_was_stopped_at_its_limit_never_looks_successful(tmp_path: Path) -> None:
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(600)"
    state = tmp_path / "state.json"
    ending = run_limited([sys.executable, "-c", code], os.environ, 1.0, state, lambda data: None, grace=5.0)
    assert ending.timed_out
    assert process_tree.GRACE_SECONDS > 0
