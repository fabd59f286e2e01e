"""Nobody waits in silence: who is missing is told, on change and now and then, and a worker that ended is shown."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stages.hosts import attendance
from stages.hosts.attendance import Attendance
from stages.hosts.crew import Member
from stages.hosts.runs import Run
from stages.hosts.slots import Slot

ADDRESS = "tcp://127.0.0.1:8786"
WAITING = [Run("rung1", name, host, 1, "candidate") for name, host in (("a", "fp32"), ("a", "bf16"), ("b", "bf16"))]
MISSING = f"rung1 waits for a worker of bf16 (2 runs): `promotion dispatch --join {ADDRESS}` on such a machine"


class Scheduler:
    """Tells which hosts its workers offer."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = list(hosts)

    def scheduler_info(self) -> dict[str, object]:
        workers = {f"worker of {host}": {"resources": {host: 1}} for host in self.hosts}
        return {"address": ADDRESS, "workers": workers}


def ended(log: Path, status: int) -> Member:
    """A worker of this machine for bf16 that has ended."""
    process = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({status})"])
    process.wait()
    return Member(Slot(("bf16",)), process, log)


@pytest.fixture
def told() -> list[str]:
    return []


def test_hosts_without_a_worker_are_named_with_their_runs_once_and_again_after_a_while(told, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(attendance.time, "monotonic", lambda: now[0])
    here = Attendance(Scheduler("fp32"), [], told.append)
    for passed in (0.0, 2.0, attendance.REMIND_SECONDS):
        now[0] += passed
        here.look("rung1", WAITING)
    assert told == [MISSING, MISSING]


def test_a_worker_that_comes_and_one_that_goes_are_a_change(told):
    scheduler = Scheduler("fp32", "bf16")
    here = Attendance(scheduler, [], told.append)
    here.look("rung1", WAITING)
    assert told == []
    scheduler.hosts.remove("bf16")
    here.look("rung1", WAITING)
    scheduler.hosts.append("bf16")
    here.look("rung1", WAITING)
    scheduler.hosts.remove("bf16")
    here.look("rung1", WAITING)
    assert told == [MISSING, MISSING]


def test_a_worker_of_this_machine_that_is_still_starting_counts_as_there(told):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        here = Attendance(Scheduler("fp32"), [Member(Slot(("bf16",)), process, Path("none"))], told.append)
        here.look("rung1", WAITING)
    assert told == []


def test_a_worker_of_this_machine_that_ended_is_told_once_with_the_end_of_its_log(told, tmp_path):
    log = tmp_path / "worker.log"
    log.write_text("ImportError: no such thing\n", encoding="utf-8")
    here = Attendance(Scheduler("fp32"), [ended(log, 3)], told.append)
    here.look("rung1", WAITING)
    here.look("rung1", WAITING)
    assert told[0].startswith("a worker of this machine ended: exit status 3; the end of ")
    assert told[0].endswith("worker.log:\nImportError: no such thing")
    assert told[1:] == [MISSING]


def test_it_looks_while_the_body_waits_and_no_longer(monkeypatch):
    monkeypatch.setattr(attendance, "LOOK_SECONDS", 0.01)
    said = threading.Event()
    here = Attendance(Scheduler(), [], lambda text: said.set())
    with here.during("rung1", lambda: WAITING):
        assert said.wait(20)
    assert "attendance" not in {thread.name for thread in threading.enumerate()}
