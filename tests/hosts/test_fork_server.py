"""A forked program is the program: its exit status, its output, its end with whoever asked for it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from stages.domain.study import load
from stages.hosts import fork_server, processes
from stages.hosts.fork_server import ForkServer
from tests.support.repo import PROJECT

pytestmark = pytest.mark.skipif(not fork_server.can_fork(), reason="runs are forked on Linux alone")


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
    ("code", "status"),
    [
        ("pass", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('no')", 1),
        ("1 / 0", 1),
        ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL),
    ],
)
def test_its_exit_status_is_that_of_the_program(job, code, status):
    with ForkServer() as server:
        assert server.start(*job(code), load=False).wait() == status


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
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "platform", "darwin")
    study = load()
    assert not fork_server.serves(study, next(iter(study.hosts)))
