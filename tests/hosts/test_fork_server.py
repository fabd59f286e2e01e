"""A forked program is the program: its exit status, its output, its end with whoever asked for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stages.domain.command import CommandSettings
from stages.domain.study import load
from stages.hosts import fork_server, processes
from stages.hosts.fork_server import ForkedRun, ForkServer
from tests.support.repo import PROJECT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux alone")


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a module `job`; returns the words that run it, and its log."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT), str(tmp_path)]))
    monkeypatch.delenv(processes.VARIABLE, raising=False)

    def write(code: str) -> tuple[list[str], Path]:
        (tmp_path / "job.py").write_text(code, encoding="utf-8")
        return ["-m", "job", "word"], tmp_path / "job.log"

    return write


@pytest.mark.parametrize(
    ("ending", "status", "last"),
    [
        ("pass", 0, []),
        ("sys.exit(3)", 3, []),
        ("sys.exit(True)", 1, []),
        ("sys.exit()", 0, []),
        ("sys.exit(0)", 0, []),
        ("sys.exit('no such corpus')", 1, ["no such corpus"]),
        ("sys.exit('')", 1, [""]),
        ("sys.exit([])", 1, ["[]"]),
        ("1 / 0", 1, ["ZeroDivisionError: division by zero"]),
        ("os.kill(os.getpid(), 9)", -signal.SIGKILL, []),
    ],
)
def test_it_ends_as_the_program_does_with_its_status_and_its_message(job, ending, status, last):
    words, log = job(f"import os, sys; {ending}")
    with ForkServer() as server:
        assert server.start(words, log, load=False).wait() == status
    alone = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert alone.returncode == status
    for output in (log.read_bytes(), alone.stdout):
        assert output.decode().splitlines()[-1:] == last


def test_what_it_prints_and_how_it_failed_is_in_the_log_after_what_is_there(job):
    words, log = job("import sys; print(__name__, sys.argv[1:]); print('aside', file=sys.stderr); raise KeyError('k')")
    log.write_text("before\n", encoding="utf-8")
    with ForkServer() as server:
        server.start(words, log, load=False).wait()
    text = log.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert "__main__ ['word']" in text and "aside" in text and text.endswith("KeyError: 'k'\n")


def test_programs_share_the_server_and_nothing_else(job):
    code = "import json, os; assert not hasattr(json, 'mark'); json.mark = 1; print(os.getppid())"
    words, log = job(code)
    with ForkServer() as server:
        assert [server.start(words, log, load=False).wait() for _ in range(3)] == [0, 0, 0]
    assert len(set(log.read_text(encoding="utf-8").split())) == 1


def test_a_program_ends_with_the_server_and_is_not_taken_for_one_that_succeeded(job):
    code = "import os, time; from stages.hosts.processes import watch_parent; watch_parent(); "
    words, log = job(code + "print(os.getpid(), os.getppid(), flush=True); time.sleep(60)")
    with ForkServer() as server:
        run = server.start(words, log, load=False)
        end = time.monotonic() + 20
        while not (log.is_file() and log.read_text(encoding="utf-8").endswith("\n")):
            assert time.monotonic() < end
            time.sleep(0.02)
        child, parent = (psutil.Process(int(pid)) for pid in log.read_text(encoding="utf-8").split())
        parent.kill()
        assert run.wait() == processes.ORPHANED
        child.wait(20)
        # and the next one gets a server of its own
        assert server.start(*job("pass"), load=False).wait() == 0


@pytest.mark.parametrize(
    ("change", "served"),
    [({}, True), ({"device": "cuda"}, False), ({"compile": True}, False)],
)
def test_only_runs_on_the_cpu_without_the_compiler_are_forked(monkeypatch, change, served):
    monkeypatch.chdir(PROJECT)
    study = load()
    host = next(iter(study.hosts))
    blocks = {**study.hosts, host: study.hosts[host].model_copy(update=change)}
    assert fork_server.serves(study.model_copy(update={"hosts": blocks}), host) is served


def test_elsewhere_nothing_is_forked(monkeypatch):
    assert fork_server.can_fork() is True
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "platform", "darwin")
    study = load()
    assert not fork_server.serves(study, next(iter(study.hosts)))


def test_a_command_runs_as_a_process_of_its_own(monkeypatch):
    monkeypatch.chdir(PROJECT)
    study = load()
    settings = CommandSettings.model_construct()
    assert not fork_server.serves(study.model_copy(update={"runner": settings}), next(iter(study.hosts)))


def wait_for_line(log: Path) -> str:
    """What a program has printed, when it is a whole line."""
    end = time.monotonic() + 20
    while not (log.is_file() and log.read_text(encoding="utf-8").endswith("\n")):
        assert time.monotonic() < end, "nothing is printed"
        time.sleep(0.02)
    return log.read_text(encoding="utf-8")


def test_it_reads_nothing_and_has_no_pipe_to_the_server(job):
    code = (
        "import os, sys; print(repr(sys.stdin.read()), repr(os.read(0, 1))); "
        "print([(file.fileno(), file.buffer.raw.closefd) for file in (sys.stdin, sys.stdout)]); "
        "links = [os.readlink(entry.path) for entry in os.scandir('/proc/self/fd') if os.path.exists(entry.path)]; "
        "print([link for link in links if link.startswith('pipe:')])"
    )
    words, log = job(code)
    with ForkServer() as server:
        assert server.start(words, log, load=False).wait() == 0
    assert log.read_text(encoding="utf-8") == "'' b''\n[(0, False), (1, False)]\n[]\n"


def test_it_is_the_main_module_with_its_own_name_and_its_parent_is_who_asked(job):
    code = (
        "import os, sys; from stages.hosts.processes import VARIABLE; "
        "print(sys.modules['__main__'].__file__ == __file__ == sys.argv[0], sys.argv[1:]); "
        "print(os.environ[VARIABLE].split(':')[0])"
    )
    words, log = job(code)
    with ForkServer() as server:
        assert server.start(words, log, load=False).wait() == 0
        assert server._process is not None
        parent = server._process.pid
    assert log.read_text(encoding="utf-8") == f"True ['word']\n{parent}\n"


def test_a_new_log_is_a_file_for_everybody_whom_the_user_lets(job):
    words, log = job("pass")
    former = os.umask(0)
    try:
        with ForkServer() as server:
            server.start(words, log, load=False).wait()
    finally:
        os.umask(former)
    assert log.stat().st_mode & 0o7777 == 0o666


def test_what_it_prints_without_a_newline_is_not_lost(job):
    words, log = job("print('the end', end='')")
    with ForkServer() as server:
        server.start(words, log, load=False).wait()
    assert log.read_text(encoding="utf-8") == "the end"


def test_a_line_is_in_the_log_as_soon_as_it_is_printed(job):
    words, log = job("import os; print('a line'); os.kill(os.getpid(), 9)")
    with ForkServer() as server:
        assert server.start(words, log, load=False).wait() == -signal.SIGKILL
    assert log.read_text(encoding="utf-8") == "a line\n"


@pytest.mark.parametrize("load", [True, False])
def test_the_trainer_is_loaded_if_asked_for_and_what_that_prints_is_no_answer(job, monkeypatch, load):
    noisy = (
        "import sys; from stages.hosts import fork_server; from stages.runners.builtin import BuiltinRunner\n"
        "def load(self):\n    sys.loaded = True\n    print('77', flush=True)\n"
        "BuiltinRunner.load = load; fork_server._serve()"
    )
    start_child = processes.start_child
    monkeypatch.setattr(processes, "start_child", lambda words, pipe: start_child(["-c", noisy], pipe=pipe))
    words, log = job("import sys; print(hasattr(sys, 'loaded'))")
    with ForkServer() as server:
        assert [server.start(words, log, load=load).wait() for _ in range(2)] == [0, 0]
    assert log.read_text(encoding="utf-8") == f"{load}\n{load}\n"


@pytest.fixture
def lone_server() -> Iterator[ForkServer]:
    """A server of which a test may close the input."""
    server = ForkServer()
    yield server
    process = server._process
    assert process is not None and process.stdout is not None
    process.kill()
    process.wait()
    process.stdout.close()


def hang_up(server: ForkServer) -> int:
    """As the end of the process that asks does; the exit status of the server."""
    assert server._process is not None and server._process.stdin is not None
    server._process.stdin.close()
    return server._process.wait(20)


def test_server_and_program_end_when_nobody_listens_any_more(job, lone_server):
    words, log = job("import os, time; print(os.getpid()); time.sleep(60)")
    lone_server.start(words, log, load=False)
    child = psutil.Process(int(wait_for_line(log)))
    assert hang_up(lone_server) == processes.ORPHANED
    child.wait(20)


def test_an_idle_server_ends_well_when_nobody_can_ask_any_more(job, lone_server):
    lone_server.start(*job("pass"), load=False).wait()
    assert hang_up(lone_server) == 0


class Answers:
    """The server's output as a run sees it: what is there to be read, and how long anybody waited for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *lines: bytes | None) -> None:
        self.lines, self.waits, self.sleeps = list(lines), list[float](), list[float]()
        monkeypatch.setattr(fork_server, "select", types.SimpleNamespace(select=self.select))
        monkeypatch.setattr(fork_server, "time", types.SimpleNamespace(sleep=self.sleeps.append))

    def select(self, read: list, write: list, other: list, timeout: float) -> tuple[list, list, list]:
        assert (read, write, other) == ([self], [], [])
        self.waits.append(timeout)
        if self.lines[0] is None:
            self.lines.pop(0)
            return [], [], []
        return [self], [], []

    def readline(self) -> bytes:
        line = self.lines.pop(0)
        assert line is not None, "it would wait for the run"
        return line


@pytest.mark.parametrize(("line", "status"), [(b"0\n", 0), (b"-9\n", -9), (b"", processes.ORPHANED)])
def test_a_poll_does_not_wait_and_the_status_stays(monkeypatch, line, status):
    answers = Answers(monkeypatch, None, line)
    run = ForkedRun(types.SimpleNamespace(stdout=answers))
    assert [run.poll() for _ in range(3)] == [None, status, status]
    assert (answers.waits, answers.sleeps) == ([0, 0], [])


def test_who_waits_for_a_run_sleeps_between_two_looks(monkeypatch):
    answers = Answers(monkeypatch, None, None, b"3\n")
    assert ForkedRun(types.SimpleNamespace(stdout=answers)).wait() == 3
    assert answers.sleeps == [fork_server.POLL_SECONDS] * 2


def test_a_server_is_killed_and_waited_for_when_it_is_closed():
    calls: list[str] = []
    server = ForkServer()
    server.close()
    server._process = types.SimpleNamespace(
        kill=lambda: calls.append("kill"), communicate=lambda: calls.append("communicate")
    )
    with server as entered:
        assert entered is server
    assert calls == ["kill", "communicate"]
