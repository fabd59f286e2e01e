"""What is on a leash is the same command, and ends when the one that started it does.

One process at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.hosts import processes
from stages.hosts.processes import Busy, alone
from tests.support.repo import PROJECT

#: A process on a leash, through another module or of itself; either tells its id and then has a minute to live.
MINUTE = "import os, time; print('up', os.getpid(), flush=True); time.sleep(60)"
HEEDS = f"from stages.hosts import leash; leash.heed(); {MINUTE}"
HOLDS = "import sys, time; from stages.hosts import leash; leash.start(sys.argv[1:], 1); time.sleep(60)"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a module `job` can be written that every process here can import."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), str(tmp_path)]))
    monkeypatch.delenv(processes.VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def holder(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process that holds the leash of `python WORDS`; whatever lives when the test ends is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def hold(*words: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
        command = [sys.executable, "-c", HOLDS, *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        word, pid = process.stdout.readline().split()
        assert word == b"up"
        return process, psutil.Process(int(pid))

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def ends(process: psutil.Process) -> bool:
    """Wait until a process that is not ours is gone."""
    end = time.monotonic() + 20
    while processes.lives(process):
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("status", [0, 3])
def test_it_is_the_same_command_with_the_same_exit_status(place, status):
    code = f"import sys; print(__name__, *sys.argv[1:]); sys.exit({status})"
    (place / "job.py").write_text(code, encoding="utf-8")
    words = ["-m", "stages.hosts.processes", "-m", "job", "one", "two"]
    with (place / "log").open("wb") as log, processes.start(words, log.fileno()) as child:
        assert child.wait(20) == status
    assert (place / "log").read_text(encoding="utf-8").split() == ["__main__", "one", "two"]


def test_it_shares_no_standard_input_with_its_holder(place):
    """What two processes share, a read that waits in one of them holds up in the other, on Windows."""
    code = "from stages.hosts import leash; leash.start(['-c', 'import os; print(os.read(0, 1))'], 1).wait()"
    done = subprocess.run([sys.executable, "-c", code], input=b"for the holder alone", capture_output=True, timeout=20)
    assert done.stdout.strip() == b"b''"


def test_it_ends_when_its_holder_is_killed_and_nobody_has_reaped_it_yet(place, holder):
    (place / "job.py").write_text(MINUTE, encoding="utf-8")
    process, child = holder("-m", "stages.hosts.processes", "-m", "job")
    assert processes.lives(child)
    process.kill()
    assert ends(child)


def test_a_grandchild_that_heeds_the_leash_ends_as_well(place, holder):
    """As a run does that DVC starts: it inherits the variable, and nobody else passes anything on."""
    between = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {HEEDS!r}]))"
    process, grandchild = holder("-c", between)
    process.kill()
    assert ends(grandchild)


def test_it_says_why_it_ended(place):
    (place / "job.py").write_text(HEEDS, encoding="utf-8")
    here = psutil.Process()
    nobody = os.environ | {processes.VARIABLE: f"{here.pid}:{here.create_time() - 3600:.3f}"}
    command = [sys.executable, "-m", "job"]
    done = subprocess.run(command, env=nobody, capture_output=True, encoding="utf-8", timeout=20)
    assert done.returncode == processes.ORPHANED
    assert "ended with the process that started it" in done.stderr


def test_another_process_that_has_the_holders_id_by_now_is_not_the_holder():
    here = psutil.Process()
    assert processes._holder(f"{here.pid}:{here.create_time() + 1:.3f}") == here  # Linux reckons it from a clock
    assert processes._holder(f"{here.pid}:{here.create_time() - 3600:.3f}") is None


def test_nobody_heeds_a_leash_that_is_not_there(place):
    code = "from stages.hosts import leash; import threading; leash.heed(); print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True)
    assert done.stdout.split() == [b"1"]


HOLD = "from stages.hosts.processes import alone\nwith alone('a/b', 'x'): print('held', flush=True); sys.stdin.read()"


def lock_holder(folder) -> subprocess.Popen[bytes]:
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {HOLD}"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline().strip() == b"held"
    return child


def test_a_second_process_is_told_who_is_at_it_and_a_dead_one_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    child = lock_holder(tmp_path)
    told = r"scratch/locks/a\.b\.lock: held by another process of this clone: it is trained"
    with pytest.raises(Busy, match=told), alone("a/b", "it is trained"):
        pytest.fail("two at a time")
    with alone("a/c", "another thing"):
        pass
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with alone("a/b", "it is trained", wait=5):
        pass
