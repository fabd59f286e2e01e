"""The workers of a machine: where they join, and what is told of one that ends badly."""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.commands import dispatch as command
from stages.domain.errors import Refused
from stages.hosts import workers
from stages.hosts.workers import Slot, WorkerProcess
from tests.hosts.test_machine import make_machine


def member(folder: Path, code: str) -> WorkerProcess:
    """A worker of this machine that does what `code` says."""
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=output, stderr=output)
    return WorkerProcess(Slot(("cpu-fp32",)), process, log)


@pytest.mark.parametrize(
    "address", ["garbage", "127.0.0.1:8786", "tls://127.0.0.1", "tls://:1", "tls://a:0", "tls://a:b"]
)
def test_what_is_no_address_is_refused_at_once(address):
    with pytest.raises(Refused, match=r"--join: found '.*', expected tls://HOST:PORT"):
        workers.wait_for_scheduler(address)


def test_an_address_at_which_nobody_listens_is_told_with_the_remedy():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))  # taken, and never listening
        port = one.getsockname()[1]
        message = (
            rf"--join: nobody listens at tls://127\.0\.0\.1:{port} .*; "
            rf"start `promotion dispatch --listen 127\.0\.0\.1:{port}` there first"
        )
        with pytest.raises(Refused, match=message):
            workers.wait_for_scheduler(f"tls://127.0.0.1:{port}", patience=0.0)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_an_address_at_which_somebody_listens_is_reached(family, host):
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.create_server((host, 0), family=family) as server:
        port = server.getsockname()[1]
        workers.wait_for_scheduler(f"tls://[{host}]:{port}" if ":" in host else f"tls://{host}:{port}")


def test_a_worker_that_ends_badly_is_shown_at_once_with_the_end_of_its_log(tmp_path):
    (tmp_path / "two").mkdir()
    broken = member(tmp_path, "import sys; print('x' * 9000); sys.exit('ValueError: no such resource')")
    fine = member(tmp_path / "two", "import sys; sys.stdin.read()")
    reported: list[str] = []

    def say(text: str) -> None:
        assert fine.is_running(), "it is told at once"
        reported.append(text)
        fine.process.stdin.close()

    with pytest.raises(
        Refused, match="1 of 2 workers ended badly, see above; is this clone at the dispatcher's commit"
    ):
        workers.wait_for_workers([broken, fine], say)
    assert len(reported) == 1 and len(reported[0]) < 3000
    assert reported[0].startswith("a worker ended badly: exit status 1; the end of ")
    assert reported[0].endswith("ValueError: no such resource")


def test_whatever_ends_the_wait_ends_the_workers(tmp_path):
    """As Ctrl-C does; here it is the telling that breaks."""
    (tmp_path / "two").mkdir()
    broken, fine = member(tmp_path, "raise SystemExit(3)"), member(tmp_path / "two", "import sys; sys.stdin.read()")

    def say(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        workers.wait_for_workers([fine, broken], say)
    assert not fine.is_running()
    fine.process.stdin.close()


def test_workers_that_end_well_are_no_news(tmp_path):
    workers.wait_for_workers([member(tmp_path, "print('done')")], lambda text: pytest.fail(text))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--slots", "-3"], "--slots: found -3, expected 0 or more"),
        (
            ["--join", "tcp://a:1", "--slots", "0"],
            "--slots: found 0, expected 1 or more: a machine that joins brings slots",
        ),
        (["--join", "garbage"], "--join: found 'garbage', expected tls://HOST:PORT"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(judged, monkeypatch, words, told):
    pytest.importorskip("distributed", reason="the extra staged-promotion[dispatch] is not installed")
    monkeypatch.setattr(workers, "start_workers", lambda slots, scheduler: pytest.fail("it started workers"))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(Refused) as refused:
        command.run(parser.parse_args(words))
    assert str(refused.value).startswith(told)


def test_a_machine_that_is_no_host_does_not_join_and_is_told_why(judged, monkeypatch):
    pytest.importorskip("distributed", reason="the extra staged-promotion[dispatch] is not installed")
    monkeypatch.setattr("stages.hosts.cluster.read_cluster", lambda folder: None)
    monkeypatch.setattr(workers, "describe_machine", lambda: make_machine(threads=1, gpus=()))
    monkeypatch.setattr(workers, "wait_for_scheduler", lambda scheduler: pytest.fail("it went to the scheduler"))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(Refused) as refused:
        command.run(parser.parse_args(["--join", "tls://127.0.0.1:1", "--cluster", "cluster"]))
    first, *others = str(refused.value).split("\n")
    assert first == "no host block of params.yaml fits this machine; see `promotion host`"
    assert "\n".join(others).count("threads: found 1 usable CPU, expected at least 2") == 2


def test_a_worker_sees_the_gpus_of_its_slot_alone(tmp_path, monkeypatch):
    environments = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "find_own_address", lambda host, port: "127.0.0.1")
    monkeypatch.setattr(
        workers.processes, "start_child", lambda words, out, environment: environments.append(environment)
    )
    cluster = SimpleNamespace(make_arguments=list)
    slots = [Slot(("pair",), ("GPU-a", "GPU-b")), Slot(("cpu",))]
    started = workers.start_workers(slots, "tls://127.0.0.1:1", cluster)
    for _ in range(2):
        workers.start_workers([], "tls://127.0.0.1:1", cluster)
    assert [worker.slot for worker in started] == slots
    assert len({worker.log for worker in started if worker.log.is_file()}) == 2
    assert [environment.get("CUDA_VISIBLE_DEVICES") for environment in environments] == ["GPU-a,GPU-b", None]


def test_a_worker_is_a_dask_worker_for_one_run_at_a_time_of_its_hosts(tmp_path, monkeypatch):
    asked, started = list[object](), list[tuple]()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workers, "find_own_address", lambda *words: asked.append(words) or "10.0.0.7")

    def start_child(words, output, environment):
        started.append((words, output > 2, environment))
        return len(started)

    monkeypatch.setattr(workers.processes, "start_child", start_child)
    monkeypatch.setattr(workers.os, "getpid", lambda: 77)
    slots = [Slot(("a", "b"), ("GPU-1", "GPU-2")), Slot(("cpu",))]
    found = workers.start_workers(slots, "tls://10.0.0.5:8786", SimpleNamespace(make_arguments=lambda: ["--tls", "x"]))
    logs = [Path("scratch/dispatch/worker-77-1.log"), Path("scratch/dispatch/worker-77-2.log")]
    assert found == [WorkerProcess(slot, number, log) for slot, number, log in zip(slots, (1, 2), logs, strict=True)]
    assert asked == [("10.0.0.5", 8786)]
    words = [
        *("-m", "stages.hosts.processes", "-m", "distributed.cli.dask_worker", "tls://10.0.0.5:8786"),
        *("--nworkers", "1", "--nthreads", "1", "--resources", "a=1 b=1", "--memory-limit", "0", "--no-dashboard"),
        *("--dashboard-address", "127.0.0.1:0", "--host", "10.0.0.7", "--tls", "x"),
        *("--local-directory", "scratch/dask"),
    ]
    settings = {
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
        "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
    }
    assert started == [
        (words, True, {**settings, "CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2"}),
        ([*words[:10], "cpu=1", *words[11:]], True, settings),
    ]


class Process:
    """A process that ends, or hangs until it is killed."""

    def __init__(self, calls: list[str], name: str, *, hangs: bool = False) -> None:
        self.calls, self.name, self.hangs = calls, name, hangs

    def terminate(self) -> None:
        self.calls.append(f"terminate {self.name}")

    def kill(self) -> None:
        self.calls.append(f"kill {self.name}")

    def wait(self, timeout: float | None = None) -> None:
        self.calls.append(f"wait {self.name} {timeout}")
        if self.hangs and timeout is not None:
            raise subprocess.TimeoutExpired("worker", timeout)


def test_workers_are_asked_to_end_all_at_once_and_killed_if_they_do_not():
    calls: list[str] = []
    each = [Process(calls, "a", hangs=True), Process(calls, "b")]
    workers.stop_workers([WorkerProcess(Slot(()), process, Path("log")) for process in each])
    assert calls == ["terminate a", "terminate b", "wait a 10.0", "kill a", "wait a None", "wait b 10.0"]


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("tls://127.0.0.1:1", "127.0.0.1", 1),
        ("tls://[::1]:65535", "::1", 65535),
        ("tls://name.example:8786", "name.example", 8786),
    ],
)
def test_the_address_of_a_scheduler_is_host_and_port(address, host, port):
    assert workers.parse_scheduler(address) == (host, port)


def test_an_address_of_a_scheduler_that_is_none_or_plain_tcp_is_refused_with_what_is_expected():
    with pytest.raises(Refused) as refused:
        workers.parse_scheduler("tls://a:65536")
    message = "expected tls://HOST:PORT, as the dispatcher tells it when it starts"
    assert str(refused.value) == f"--join: found 'tls://a:65536', {message}"
    with pytest.raises(Refused) as refused:
        workers.parse_scheduler("tcp://a:1")
    assert str(refused.value) == (
        "--join: found 'tcp://a:1', but a dispatcher accepts TLS alone; expected tls://a:1, and --cluster DIR with the "
        "certificates, as the dispatcher tells it when it starts"
    )


@pytest.fixture
def network(monkeypatch) -> SimpleNamespace:
    """A network in which nobody listens before `listens_at`; notes who is tried, how long, and what passes between."""
    state = SimpleNamespace(now=100.0, listens_at=None, tried=[], sleeps=[], closed=0)

    def close() -> None:
        state.closed += 1

    def create_connection(address, timeout):
        state.tried.append((address, timeout))
        if state.listens_at is None or state.now < state.listens_at:
            raise ConnectionRefusedError(111, "Connection refused")
        return SimpleNamespace(close=close)

    def sleep(seconds: float) -> None:
        state.sleeps.append(seconds)
        state.now += seconds

    monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: state.now, sleep=sleep))
    monkeypatch.setattr(workers, "socket", SimpleNamespace(create_connection=create_connection))
    return state


def test_a_scheduler_is_tried_twice_a_second_until_it_listens(network):
    network.listens_at = 102.0
    workers.wait_for_scheduler("tls://[::1]:8786", patience=5.0)
    assert network.tried == [(("::1", 8786), 5.0)] * 5
    assert (network.sleeps, network.closed) == ([0.5] * 4, 1)


def test_a_scheduler_is_waited_for_until_the_patience_is_over(network):
    with pytest.raises(Refused) as refused:
        workers.wait_for_scheduler("tls://a:8786", patience=0.5)
    assert network.tried == [(("a", 8786), 1.0)] * 3, "at 0, 0.5 and 1 seconds"
    assert str(refused.value) == (
        "--join: nobody listens at tls://a:8786 ([Errno 111] Connection refused); start "
        "`promotion dispatch --listen a:8786` there first, and let this machine through its firewall"
    )


def test_workers_are_looked_at_until_all_have_ended_and_those_that_failed_are_counted(tmp_path, monkeypatch):
    log, sleeps, said = tmp_path / "log", list[float](), list[str]()
    log.write_text("the end\n", encoding="utf-8")

    class Ending(Process):
        def __init__(self, polls: int, status: int) -> None:
            super().__init__([], "x")
            self.polls, self.returncode = polls, status

        def poll(self) -> int | None:
            self.polls -= 1
            return None if self.polls >= 0 else self.returncode

    monkeypatch.setattr(workers, "time", SimpleNamespace(sleep=sleeps.append))
    each = [Ending(0, 3), Ending(2, 0), Ending(1, 4), Ending(0, 0)]
    with pytest.raises(Refused) as refused:
        workers.wait_for_workers([WorkerProcess(Slot(()), process, log) for process in each], said.append)
    assert sleeps == [workers.POLL_SECONDS] * 3
    message = f"the end of {log.as_posix()}:\nthe end"
    assert said == [f"a worker ended badly: exit status {status}; {message}" for status in (3, 4)]
    assert all(process.calls == ["terminate x", "wait x 10.0"] for process in each)
    assert str(refused.value) == (
        "2 of 4 workers ended badly, see above; is this clone at the dispatcher's commit, with the packages of its "
        "constraints.txt? then start it again"
    )
