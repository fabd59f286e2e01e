"""A child under the watchdog is the same command and ends when its parent does; a lock has one holder at a time."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock, Timeout

from stages.domain.errors import Refused
from stages.hosts import processes
from stages.hosts.processes import LockHeld, hold_lock
from tests.support.repo import PROJECT

#: A child under the watchdog, through another module or by its own call; either prints its id and lives a minute.
MINUTE = "import os, time; print('up', os.getpid(), flush=True); time.sleep(60)"
WATCHES = f"from stages.hosts import processes; processes.watch_parent(); {MINUTE}"
STARTS = "import sys, time; from stages.hosts import processes; processes.start_child(sys.argv[1:], 1); time.sleep(60)"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a module `job` can be written that every process here can import."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), str(tmp_path)]))
    monkeypatch.delenv(processes.VARIABLE, raising=False)
    return tmp_path


@pytest.fixture
def start_parent(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a process that starts `python WORDS` under the watchdog; whatever lives when the test ends is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
        command = [sys.executable, "-c", STARTS, *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        word, pid = process.stdout.readline().split()
        assert word == b"up"
        return process, psutil.Process(int(pid))

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ends(process: psutil.Process) -> bool:
    """Wait until a process that is not ours is gone."""
    end = time.monotonic() + 20
    while processes.is_alive(process):
        assert time.monotonic() < end, "it lives on"
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("status", [0, 3])
def test_it_is_the_same_command_with_the_same_exit_status(place, status):
    code = f"import sys; print(__name__, *sys.argv[1:]); sys.exit({status})"
    (place / "job.py").write_text(code, encoding="utf-8")
    words = ["-m", "stages.hosts.processes", "-m", "job", "one", "two"]
    with (place / "log").open("wb") as log, processes.start_child(words, log.fileno()) as child:
        assert child.wait(20) == status
    assert (place / "log").read_text(encoding="utf-8").split() == ["__main__", "one", "two"]


def test_it_shares_no_standard_input_with_its_parent(place):
    """What two processes share, a read that waits in one of them holds up in the other, on Windows."""
    code = (
        "from stages.hosts import processes; processes.start_child(['-c', 'import os; print(os.read(0, 1))'], 1).wait()"
    )
    done = subprocess.run([sys.executable, "-c", code], input=b"for the parent alone", capture_output=True, timeout=20)
    assert done.stdout.strip() == b"b''"


def test_it_ends_when_its_parent_is_killed_and_nobody_has_reaped_it_yet(place, start_parent):
    (place / "job.py").write_text(MINUTE, encoding="utf-8")
    process, child = start_parent("-m", "stages.hosts.processes", "-m", "job")
    assert processes.is_alive(child)
    process.kill()
    assert ends(child)


def test_a_grandchild_that_watches_the_parent_ends_as_well(place, start_parent):
    """As a run does that DVC starts: it inherits the variable, and nobody else passes anything on."""
    between = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {WATCHES!r}]))"
    process, grandchild = start_parent("-c", between)
    process.kill()
    assert ends(grandchild)


def test_it_says_why_it_ended(place):
    (place / "job.py").write_text(WATCHES, encoding="utf-8")
    here = psutil.Process()
    nobody = os.environ | {processes.VARIABLE: f"{here.pid}:{here.create_time() - 3600:.3f}"}
    command = [sys.executable, "-m", "job"]
    done = subprocess.run(command, env=nobody, capture_output=True, encoding="utf-8", timeout=20)
    assert done.returncode == processes.ORPHANED
    assert "ended with the process that started it" in done.stderr


def test_another_process_that_has_the_parents_id_by_now_is_not_the_parent():
    here = psutil.Process()
    assert processes.find_process(f"{here.pid}:{here.create_time() + 1:.3f}") == here  # Linux reckons it from a clock
    assert processes.find_process(f"{here.pid}:{here.create_time() - 3600:.3f}") is None


def test_without_a_parent_nothing_is_watched(place):
    code = "from stages.hosts import processes; import threading; processes.watch_parent(); print(threading.active_count())"
    done = subprocess.run([sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True)
    assert done.stdout.split() == [b"1"]


HOLD_LOCK = "from stages.hosts.processes import hold_lock\nwith hold_lock('a/b', 'x'): print('held', flush=True); sys.stdin.read()"


def lock_holder(folder) -> subprocess.Popen[bytes]:
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {HOLD_LOCK}"
    child = subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout.readline().strip() == b"held"
    return child


def test_a_second_process_is_told_who_is_at_it_and_a_dead_one_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    child = lock_holder(tmp_path)
    message = r"scratch/locks/a\.b\.lock: held by another process of this clone: it is trained"
    with pytest.raises(LockHeld, match=message), hold_lock("a/b", "it is trained"):
        pytest.fail("two at a time")
    with hold_lock("a/c", "another thing"):
        pass
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with hold_lock("a/b", "it is trained", wait=5):
        pass


def test_a_folder_without_locks_is_told_with_what_helps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refuse(lock: FileLock, timeout: float) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    message = r"scratch/locks/work.lock: could not be locked: .*No locks available; make scratch/ a link"
    with pytest.raises(Refused, match=message), hold_lock("work", "it works"):
        raise AssertionError("held without a lock")


@pytest.mark.parametrize(("looks", "sleeps"), [([True, True, False], 2), ([False], 0)])
def test_the_watchdog_looks_twice_a_second_and_ends_the_process_at_last(monkeypatch, looks, sleeps):
    flushed: list[str] = []

    class Output(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    monkeypatch.setattr(sys, "stderr", Output())
    slept, ended, left = list[float](), list[int](), list(looks)
    monkeypatch.setattr(processes, "is_alive", lambda process: left.pop(0))
    monkeypatch.setattr(processes, "time", types.SimpleNamespace(sleep=slept.append))
    monkeypatch.setattr(processes, "os", types.SimpleNamespace(_exit=ended.append))
    processes._exit_after(psutil.Process())
    assert (slept, ended, left) == ([0.5] * sleeps, [75], [])
    assert flushed == ["ended with the process that started it; what was finished is kept\n"]


def test_who_has_no_parent_any_more_ends_at_once_even_where_nothing_can_be_printed(monkeypatch):
    ended: list[int] = []
    monkeypatch.setattr(processes, "is_alive", lambda process: pytest.fail("nobody is there to look at"))
    monkeypatch.setattr(processes, "os", types.SimpleNamespace(_exit=ended.append))
    monkeypatch.setattr(sys, "stderr", None)  # print() then does nothing
    processes._exit_after(None)
    monkeypatch.setattr(sys, "stderr", types.SimpleNamespace(write=lambda text: 1 / 0))
    with pytest.raises(ZeroDivisionError):
        processes._exit_after(None)
    assert ended == [processes.ORPHANED] * 2


def test_a_process_watches_the_parent_that_is_named_in_its_environment(monkeypatch):
    threads: list[dict] = []

    class Thread:
        def __init__(self, **options: object) -> None:
            threads.append(options)

        def start(self) -> None:
            threads.append({"started": True})

    monkeypatch.setattr(processes, "threading", types.SimpleNamespace(Thread=Thread))
    monkeypatch.delenv(processes.VARIABLE, raising=False)
    processes.watch_parent()
    assert threads == []
    here = psutil.Process()
    monkeypatch.setenv(processes.VARIABLE, processes.identify(here))
    processes.watch_parent()
    assert threads == [{"target": processes._exit_after, "args": (here,), "daemon": True}, {"started": True}]


@pytest.mark.parametrize(
    ("options", "streams"),
    [
        ({}, (subprocess.DEVNULL, None, None)),
        ({"output": 7}, (subprocess.DEVNULL, 7, 7)),
        ({"pipe": True}, (subprocess.PIPE, subprocess.PIPE, None)),
        ({"environment": {"A": "changed", "B": "new"}}, (subprocess.DEVNULL, None, None)),
    ],
)
def test_a_child_has_the_environment_of_its_parent_and_what_is_added(monkeypatch, options, streams):
    started: list[tuple] = []
    monkeypatch.setattr(processes.subprocess, "Popen", lambda words, **rest: started.append((words, rest)) or "child")
    monkeypatch.setenv("A", "kept")
    assert processes.start_child(["-m", "job"], **options) == "child"
    ((words, rest),) = started
    assert words == [sys.executable, "-m", "job"]
    assert tuple(rest[name] for name in ("stdin", "stdout", "stderr")) == streams
    identity = processes.identify(psutil.Process())
    added = {"A": "kept", **options.get("environment", {}), processes.VARIABLE: identity}
    assert rest["env"] == {**os.environ, **added}


def test_a_lock_is_let_go_and_may_be_taken_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with hold_lock("a/b", "it is trained"):
            assert [path.as_posix() for path in Path("scratch").rglob("*.lock")] == ["scratch/locks/a.b.lock"]
    with pytest.raises(ZeroDivisionError), hold_lock("a/b", "it is trained"):
        raise ZeroDivisionError
    with hold_lock("a/b", "it is trained"):
        pass


@pytest.mark.parametrize("wait", [0.0, 2.5, -1.0])
def test_a_lock_is_waited_for_as_long_as_is_said(tmp_path, monkeypatch, wait):
    monkeypatch.chdir(tmp_path)
    waits: list[float] = []

    def acquire(lock: FileLock, timeout: float) -> None:
        waits.append(timeout)
        raise Timeout(lock.lock_file)

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.raises(LockHeld) as refused, hold_lock("a/b", "it is trained", wait):
        pytest.fail("two at a time")
    assert waits == [wait]
    assert str(refused.value) == (
        "scratch/locks/a.b.lock: held by another process of this clone: it is trained; "
        "wait for it, or end it and start again: nothing is lost"
    )


def test_the_module_becomes_the_program_and_its_parent_is_watched(place, monkeypatch):
    code = "import sys; print(sys.modules['__main__'].__dict__ is globals(), sys.argv)"
    (place / "job.py").write_text(code, encoding="utf-8")
    watched: list[bool] = []
    monkeypatch.setattr(processes, "watch_parent", lambda: watched.append(True))
    monkeypatch.setattr(sys, "argv", ["processes.py", "-m", "job", "one"])
    monkeypatch.syspath_prepend(place)
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    processes.main()
    assert watched == [True]
    assert output.getvalue() == f"True {[str(place / 'job.py'), 'one']}\n"


@pytest.mark.parametrize(
    ("module", "returns"),
    [
        ("stages.run", False),
        ("report", False),
        ("trainer.x", False),
        ("dvc", False),
        ("dvc.x", False),
        ("distributed.y", True),
    ],
)
def test_only_a_foreign_program_finds_the_project_in_the_working_folder(monkeypatch, module, returns):
    calls = []
    monkeypatch.setattr(sys, "argv", ["x", "-m", module, "word"])
    monkeypatch.setattr(processes, "watch_parent", lambda: calls.append("watch"))
    monkeypatch.setattr(processes, "return_to_working_folder", lambda: calls.append("return"))
    monkeypatch.setattr(processes.runpy, "run_module", lambda name, **how: calls.append((name, how, list(sys.argv))))
    processes.main()
    run = (module, {"run_name": "__main__", "alter_sys": True}, [module, "word"])
    assert calls == ["watch", *(["return"] if returns else []), run]
