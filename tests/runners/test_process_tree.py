"""A trainer's processes: none of them outlives the process that watches it, however that one ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import psutil
import pytest

from stages.domain.errors import Refused
from stages.runners import process_tree
from stages.runners.process_tree import find_process, identify, is_alive, refuse_running, run_limited
from tests.support.repo import PROJECT

WATCHER = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from stages.runners.process_tree import find_process, identify, is_alive, refuse_running, run_limited
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


class FakeProcess:
    """A process whose answers are given; `error` is raised instead of its status."""

    def __init__(self, status: str = psutil.STATUS_RUNNING, error: Exception | None = None, running: bool = True):
        self.pid, self._status, self._error, self._running = 7, status, error, running

    def is_running(self) -> bool:
        return self._running

    def status(self) -> str:
        if self._error:
            raise self._error
        return self._status

    def create_time(self) -> float:
        return 1000.0


@pytest.mark.parametrize(
    ("process", "alive"),
    [
        (FakeProcess(), True),
        (FakeProcess(psutil.STATUS_ZOMBIE), False),
        (FakeProcess(running=False), False),
        (FakeProcess(error=psutil.NoSuchProcess(7)), False),
        (FakeProcess(error=psutil.AccessDenied(7)), True),
    ],
)
def test_a_process_that_is_another_users_is_there_and_one_that_is_not_reaped_is_not(
    process: FakeProcess, alive: bool
) -> None:
    assert is_alive(process) is alive  # type: ignore[arg-type]


def test_a_process_is_known_by_its_id_and_the_minute_of_its_creation(monkeypatch: pytest.MonkeyPatch) -> None:
    process: Any = FakeProcess()
    assert identify(process) == "7:1000.000"
    monkeypatch.setattr(psutil, "Process", lambda pid: process if pid == 7 else pytest.fail("another process"))
    for created, same in (("1000.0", True), ("1059.9", True), ("940.1", True), ("1060.0", False), ("940.0", False)):
        assert (find_process(f"7:{created}") is process) is same

    def gone(pid: int) -> None:
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(psutil, "Process", gone)
    assert find_process("7:1000.0") is None


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"program": null}', '{"program": 7}', "7"])
def test_a_state_that_names_no_program_refuses_nothing(tmp_path: Path, text: str | None) -> None:
    state = tmp_path / "state.json"
    if text is not None:
        state.write_text(text, encoding="utf-8")
    refuse_running(state)


def test_the_refusal_of_a_second_start_names_file_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("state.json").write_text(f'{{"program": "{identify(psutil.Process())}"}}', encoding="utf-8")
    with pytest.raises(Refused) as refused:
        run_limited(["x"], {}, 1.0, Path("state.json"), lambda data: None)
    assert str(refused.value) == (
        f"state.json: the trainer of an earlier start still runs as process {os.getpid()}; "
        "wait until it has ended, or end it"
    )


def test_a_program_that_cannot_be_started_is_named_and_leaves_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[str] = []
    monkeypatch.setattr(process_tree, "_start_guard", lambda state: SimpleNamespace(wait=lambda: waited.append("end")))

    def refuse(*words: object, **options: object) -> None:
        raise OSError(8, "Exec format error")

    state = tmp_path / "state.json"
    with pytest.raises(Refused, match=r"^runner\.command: found no program 'no-such-program' on the path; "):
        run_limited(["no-such-program"], {"PATH": ""}, 1.0, state, lambda data: None)
    monkeypatch.setattr(process_tree.subprocess, "Popen", refuse)
    with pytest.raises(Refused) as refused:
        run_limited([sys.executable], os.environ, 1.0, state, lambda data: None)
    assert str(refused.value) == f"runner.command: {sys.executable}: could not be started: Exec format error"
    assert waited == ["end"]
    assert not state.exists()


def test_what_a_program_prints_its_status_and_its_time_are_told(tmp_path: Path) -> None:
    state, seen = tmp_path / "place" / "state.json", []
    code = "import os, sys; print(os.getcwd()); print('later', file=sys.stderr); sys.exit(3)"
    ending = run_limited([sys.executable, "-c", code], os.environ, 600.0, state, seen.append, folder=tmp_path)
    assert (ending.exit_status, ending.timed_out) == (3, False)
    assert 0 < ending.seconds < 600
    assert sorted(b"".join(seen).decode().split()) == sorted(["later", str(tmp_path.resolve())])
    assert not state.exists()


class Tree:
    """In the place of a process tree: what was ended."""

    ended: ClassVar[list[object]] = []

    def __init__(self, root: object) -> None:
        self.root = root

    def end(self) -> None:
        self.ended.append(self.root)


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state, and processes that are known by their names: `dead` and `zombie` do not run, `live` and `program` do."""
    monkeypatch.setattr(process_tree, "find_process", lambda name: None if name == "dead" else name)
    monkeypatch.setattr(process_tree, "is_alive", lambda process: process != "zombie")
    monkeypatch.setattr(process_tree, "ProcessTree", Tree)
    monkeypatch.setattr(Tree, "ended", [])
    state = tmp_path / "state.json"
    state.write_text('{"program": "program"}', encoding="utf-8")
    return state


@pytest.mark.parametrize("watcher", ["dead", "zombie"])
def test_the_guard_ends_a_program_whose_watcher_has_died(guarded: Path, watcher: str) -> None:
    process_tree.guard(watcher, guarded)
    assert Tree.ended == ["program"]
    assert not guarded.exists()


@pytest.mark.parametrize("text", ['{"program": null}', '{"program": "dead"}'])
def test_the_guard_ends_nothing_where_no_program_runs(guarded: Path, text: str) -> None:
    guarded.write_text(text, encoding="utf-8")
    process_tree.guard("dead", guarded)
    assert Tree.ended == []
    assert not guarded.exists()


def test_the_guard_waits_while_the_watcher_lives_and_ends_with_the_state(
    guarded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            guarded.unlink()

    monkeypatch.setattr(process_tree, "time", SimpleNamespace(sleep=sleep))
    process_tree.guard("live", guarded)
    assert waited == [process_tree.POLL_SECONDS * 2] * 3
    assert Tree.ended == []


@pytest.mark.parametrize(
    ("begin", "end", "looks"), [(100.0, 101.5, [100.0, 100.5, 101.0]), (0.5, 1.0, [0.5]), (0.25, 1.0, [0.5])]
)
def test_a_wait_ends_at_its_limit_and_looks_for_children_twice_a_second(
    monkeypatch: pytest.MonkeyPatch, begin: float, end: float, looks: list[float]
) -> None:
    now, looked = [begin], list[float]()

    def sleep(seconds: float) -> None:
        assert seconds == process_tree.POLL_SECONDS
        now[0] += 0.25

    monkeypatch.setattr(process_tree, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    tree: Any = SimpleNamespace(look=lambda: looked.append(now[0]))
    child: Any = SimpleNamespace(poll=lambda: None)
    assert process_tree._wait(child, tree, end) is True
    assert now == [end]
    assert looked == looks
    child = SimpleNamespace(poll=iter([None, None, 0]).__next__)
    assert process_tree._wait(child, tree, 200.0) is False
    assert now == [end + 0.5]


class Member:
    """A process of a tree that ends when it is killed, or terminated where it is mild."""

    def __init__(self, pid: int, mild: bool, children: tuple[Member, ...] = ()) -> None:
        self.pid, self.mild, self.below, self.heard, self.lives = pid, mild, children, [], True

    def children(self, recursive: bool) -> list[Member]:
        assert recursive
        return [entry for child in self.below for entry in (child, *child.children(recursive=True))]


def test_all_of_a_tree_are_asked_to_end_and_those_that_stay_are_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    grandchild, child = Member(3, mild=False), Member(2, mild=True)
    child.below = (grandchild,)
    root: Any = Member(1, mild=True, children=(child,))
    now, groups = [100.0], []

    def act(name: str) -> Any:
        def call(process: Member) -> None:
            process.heard.append((name, now[0]))
            process.lives = process.lives and name == "terminate" and not process.mild

        return call

    def sleep(seconds: float) -> None:
        now[0] += 0.5

    monkeypatch.setattr(process_tree, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(process_tree, "is_alive", lambda process: process.lives)
    monkeypatch.setattr(psutil.Process, "terminate", act("terminate"))
    monkeypatch.setattr(psutil.Process, "kill", act("kill"))
    monkeypatch.setattr(os, "killpg", lambda pid, number: groups.append((pid, number)), raising=False)
    tree = process_tree.ProcessTree(root)
    tree.end(grace=2.0)
    assert [member.heard for member in (root, child, grandchild)] == [
        [("terminate", 100.0)],
        [("terminate", 100.0)],
        [("terminate", 100.0), ("kill", 102.0)],
    ]
    kill = getattr(signal, "SIGKILL", signal.SIGTERM)
    assert groups == [(1, signal.SIGTERM), (1, kill)]
    assert tree.alive() == []
    now[0] = 200.0
    tree.end(grace=2.0)
    assert now == [200.0]


def test_a_state_that_is_gone_already_and_a_folder_that_is_new_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "a" / "b" / "state.json"
    jobs: list[str] = []
    monkeypatch.setattr(process_tree, "_start_guard", lambda path: SimpleNamespace(wait=lambda: jobs.append("guard")))
    monkeypatch.setattr(process_tree, "open_job", lambda pid: SimpleNamespace(end=lambda: jobs.append("job")))
    code = f"import pathlib; pathlib.Path({str(state)!r}).unlink(missing_ok=True); print(1)"

    def receive(data: bytes) -> None:
        state.unlink(missing_ok=True)

    ending = run_limited([sys.executable, "-c", code], os.environ, 600.0, state, receive)
    assert ending.exit_status == 0
    assert jobs == ["job", "guard"]
    assert not state.exists()


@pytest.mark.skipif(os.name != "posix", reason="sessions are those of POSIX")
def test_a_program_and_its_guard_lead_sessions_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what ends the terminal's programs does not end the guard, and the program's group can be ended alone."""
    started: list[tuple[list[str], dict[str, Any]]] = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        process_tree.subprocess,
        "Popen",
        lambda words, **options: started.append((words, options)) or popen(words, **options),
    )
    seen: list[bytes] = []
    state = tmp_path / "state.json"
    code = "import os; print(os.getsid(0) == os.getpid(), repr(os.read(0, 1)))"
    run_limited([sys.executable, "-c", code], os.environ, 600.0, state, seen.append)
    assert b"".join(seen) == b"True b''\n"
    (guard, options), _ = started
    assert guard[1:] == ["-m", "stages.runners.process_tree", identify(psutil.Process()), str(state)]
    nothing = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    assert options == {**nothing, "start_new_session": True}


def test_a_child_that_is_started_while_the_others_end_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    late, root = Member(2, mild=False), Member(1, mild=False)
    now = [100.0]

    def sleep(seconds: float) -> None:
        assert seconds == process_tree.POLL_SECONDS
        now[0] += 1.0
        root.below = (late,)

    def kill(process: Member) -> None:
        process.lives = False

    monkeypatch.setattr(process_tree, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(process_tree, "is_alive", lambda process: process.lives)
    monkeypatch.setattr(psutil.Process, "terminate", lambda process: None)
    monkeypatch.setattr(psutil.Process, "kill", kill)
    monkeypatch.setattr(os, "killpg", lambda pid, number: None, raising=False)
    tree: Any = process_tree.ProcessTree(root)  # type: ignore[arg-type]
    tree.end(grace=1.0)
    assert (root.lives, late.lives) == (False, False)


@pytest.mark.parametrize("error", [ProcessLookupError(3, "No such process"), PermissionError(1, "Not permitted")])
def test_a_group_that_is_gone_and_processes_that_may_not_be_ended_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    tried: list[int] = []

    def signal_group(pid: int, number: int) -> None:
        raise error

    def refuse(process: Member) -> None:
        tried.append(process.pid)
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(process_tree, "is_alive", lambda process: True)
    monkeypatch.setattr(psutil.Process, "terminate", refuse)
    monkeypatch.setattr(psutil.Process, "kill", refuse)
    monkeypatch.setattr(os, "killpg", signal_group, raising=False)
    root: Any = Member(1, mild=False, children=(Member(2, mild=False),))
    process_tree.ProcessTree(root).end(grace=0.0)
    assert tried == [1, 2, 1, 2]


def test_without_a_grace_of_its_own_a_run_has_that_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graces: list[float] = []
    end = process_tree.ProcessTree.end
    monkeypatch.setattr(process_tree.ProcessTree, "end", lambda self, grace: graces.append(grace) or end(self, grace))
    monkeypatch.setattr(process_tree, "_start_guard", lambda path: SimpleNamespace(wait=lambda: None))
    for grace in (None, 0.5, 0.0):
        run_limited([sys.executable, "-c", ""], os.environ, 600.0, tmp_path / "state.json", lambda data: None, grace)
    assert graces == [process_tree.GRACE_SECONDS, 0.5, 0.0]
