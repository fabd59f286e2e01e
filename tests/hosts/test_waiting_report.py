"""Nobody waits in silence: who is missing is told, on change and now and then, and a worker that ended is shown."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.domain.runs import Run
from stages.hosts import dispatch
from stages.hosts.dispatch import StartedCluster, WaitingReport
from stages.hosts.workers import Slot, WorkerProcess

JOIN = "promotion dispatch --join tls://127.0.0.1:8786 --cluster /study/scratch/dispatch/cluster-1"
WAITING = [Run("rung1", name, host, 1, "candidate") for name, host in (("a", "fp32"), ("a", "bf16"), ("b", "bf16"))]
MISSING = f"rung1 waits for a worker of bf16 (2 runs): `{JOIN}` on such a machine"


class Scheduler:
    """Tells which hosts its workers offer."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = list(hosts)

    def scheduler_info(self) -> dict[str, object]:
        workers = {f"worker of {host}": {"resources": {host: 1}} for host in self.hosts}
        return {"workers": workers}


def ended(log: Path, status: int) -> WorkerProcess:
    """A worker of this machine for bf16 that has ended."""
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"])
    process.wait()
    return WorkerProcess(Slot(("bf16",)), process, log)


@pytest.fixture
def messages() -> list[str]:
    return []


def test_hosts_without_a_worker_are_named_with_their_runs_once_and_again_after_a_while(messages, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(dispatch, "time", SimpleNamespace(monotonic=lambda: now[0]))
    report = WaitingReport(StartedCluster(Scheduler("fp32"), [], JOIN), messages.append)
    assert report._reported_at == 0.0, "long ago"
    counts = []
    for at in (0.0, 2.0, 599.5, 600.0, 1199.5, 1200.0):
        now[0] = 1000.0 + at
        report.report("rung1", WAITING)
        counts.append(len(messages))
    assert counts == [1, 1, 1, 2, 2, 3]
    assert set(messages) == {MISSING}
    report.report("rung1", [])
    report.report("rung1", WAITING[1:2])
    assert messages[3:] == [f"rung1 waits for a worker of bf16 (1 run): `{JOIN}` on such a machine"]


def test_every_host_that_is_missing_is_named_in_the_order_of_the_runs(messages):
    report = WaitingReport(StartedCluster(Scheduler(), [], JOIN), messages.append)
    report.report("rung1", WAITING)
    assert messages == [f"rung1 waits for a worker of fp32 (1 run), bf16 (2 runs): `{JOIN}` on such a machine"]


def test_a_worker_that_comes_and_one_that_goes_are_a_change(messages):
    scheduler = Scheduler("fp32", "bf16")
    report = WaitingReport(StartedCluster(scheduler, [], JOIN), messages.append)
    report.report("rung1", WAITING)
    assert messages == []
    scheduler.hosts.remove("bf16")
    report.report("rung1", WAITING)
    scheduler.hosts.append("bf16")
    report.report("rung1", WAITING)
    scheduler.hosts.remove("bf16")
    report.report("rung1", WAITING)
    assert messages == [MISSING, MISSING]


def test_a_worker_of_this_machine_that_is_still_starting_counts_as_there(messages):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        worker = WorkerProcess(Slot(("bf16",)), process, Path("none"))
        report = WaitingReport(StartedCluster(Scheduler("fp32"), [worker], JOIN), messages.append)
        report.report("rung1", WAITING)
    assert messages == []


def test_a_worker_of_this_machine_that_ended_is_told_once_with_the_end_of_its_log(messages, tmp_path):
    log = tmp_path / "worker.log"
    log.write_text("ImportError: no such thing\n", encoding="utf-8")
    report = WaitingReport(StartedCluster(Scheduler("fp32"), [ended(log, 3)], JOIN), messages.append)
    report.report("rung1", WAITING)
    report.report("rung1", WAITING)
    assert messages[0].startswith("a worker of this machine ended: exit status 3; the end of ")
    assert messages[0].endswith("worker.log:\nImportError: no such thing")
    assert messages[1:] == [MISSING]


def test_it_looks_while_the_body_waits_and_no_longer(monkeypatch):
    monkeypatch.setattr(dispatch, "WATCH_SECONDS", 0.01)
    said = threading.Event()
    report = WaitingReport(StartedCluster(Scheduler(), [], JOIN), lambda text: said.set())
    with report.watch("rung1", lambda: WAITING):
        assert said.wait(20)
        assert [thread.daemon for thread in threading.enumerate() if thread.name == "waiting report"] == [True]
    assert "waiting report" not in {thread.name for thread in threading.enumerate()}
