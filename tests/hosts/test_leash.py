"""What is on a leash is the same command, and ends when the one that started it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.hosts import leash
from tests.support.repo import PROJECT


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts `python WORDS` on a leash, with the code given as the module `job`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), str(tmp_path)]))

    def start(code: str, *words: str) -> tuple[subprocess.Popen[bytes], Path]:
        (tmp_path / "job.py").write_text(code, encoding="utf-8")
        with (tmp_path / "log").open("wb") as log:
            return leash.start([*words, "-m", "job", "one", "two"], log.fileno()), tmp_path / "log"

    return start


def comes(text: str, log: Path, child: subprocess.Popen[bytes]) -> bool:
    """Wait until the child has printed `text`."""
    while text.encode() not in log.read_bytes():
        assert child.poll() is None, log.read_text(encoding="utf-8")
    return True


@pytest.mark.parametrize("status", [0, 3])
def test_it_is_the_same_command_with_the_same_exit_status(start, status):
    code = f"import sys; print(__name__, *sys.argv[1:]); sys.exit({status})"
    child, log = start(code, "-m", "stages.hosts.leash")
    with child:
        assert child.wait(20) == status
    assert log.read_text(encoding="utf-8").split() == ["__main__", "one", "two"]


def test_it_ends_when_its_parent_is_gone(start):
    child, log = start("import time; print('up', flush=True); time.sleep(60)", "-m", "stages.hosts.leash")
    assert comes("up", log, child)
    child.stdin.close()  # what the system does when the parent dies
    assert child.wait(10) == leash.ORPHANED


def test_a_grandchild_that_heeds_the_leash_ends_as_well(start):
    """As a run does that DVC starts: it inherits the pipe and the variable, and nobody else passes anything on."""
    inner = "import os, time; from stages.hosts import leash; leash.heed(); print('in', flush=True); time.sleep(60)"
    code = f"import subprocess, sys; print('ended', subprocess.call([sys.executable, '-c', {inner!r}]), flush=True)"
    child, log = start(code)
    assert comes("in", log, child)
    child.stdin.close()
    assert child.wait(10) == 0
    assert f"ended {leash.ORPHANED}" in log.read_text(encoding="utf-8")


def test_nobody_heeds_a_leash_that_is_not_there(monkeypatch):
    monkeypatch.delenv(leash.VARIABLE, raising=False)
    code = "from stages.hosts import leash; import threading; leash.heed(); print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, stdin=subprocess.DEVNULL, capture_output=True)
    assert done.stdout.split() == [b"1"]
