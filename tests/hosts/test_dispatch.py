"""Several real workers on one study: one is killed, then the dispatcher; nothing is lost and nothing runs twice.

Nobody waits in silence: who is missing is told, on change and now and then, and a worker that ended is shown.
"""

from __future__ import annotations

import io
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from stages.domain import canonical, names
from stages.domain.runs import Run, runs_of
from stages.hosts import dispatch, remote
from stages.hosts.cluster import create_cluster, is_loopback
from stages.hosts.dispatch import Dispatcher, StartedCluster, WaitingReport
from stages.hosts.dispatch_view import DispatchView, WorkerProgress
from stages.hosts.job import Job, RunFailed, read_outputs
from stages.hosts.workers import Slot, WorkerProcess
from tests.hosts import mini
from tests.hosts.conftest import PATIENCE, wait_for
from tests.hosts.test_cluster import list_listening
from tests.support.repo import Repo


def of(repo: Repo, words: str) -> list[psutil.Process]:
    """The processes in a clone whose command line holds `words`."""
    found = []
    for process in psutil.process_iter():
        try:
            if words in " ".join(process.cmdline()) and Path(process.cwd()).resolve() == repo.root.resolve():
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def kill_a_worker(repo: Repo) -> None:
    """Kill the worker process of one run that trains right now, in a process of its own or forked."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for run in of(repo, "-m stages.run") + of(repo, "-m stages.hosts.fork_server"):
            try:
                if run.cmdline()[2] == "stages.hosts.fork_server" and run.parent().cmdline() != run.cmdline():
                    continue  # the server itself
                # In a virtual environment of Windows, python.exe is a process that starts another one.
                own = ("stages.run", "stages.hosts.fork_server")
                worker = next(parent for parent in run.parents() if not set(own) & set(parent.cmdline()))
                worker.kill()
                run.wait(10)  # the watchdog ends it
            except (psutil.NoSuchProcess, AttributeError):
                continue
            return
    raise AssertionError("no run to kill")


@pytest.mark.slow
def test_killed_workers_and_a_killed_dispatcher_lose_nothing_and_run_nothing_twice(tmp_path, start):
    value = mini.params([0.5], floor_seeds=[91, 92])
    value["gates"]["gate1"] = {
        "R1": {"kind": "complete_cells"},
        "R2": {"kind": "fixed_environment"},
        "R3": {"kind": "above_noise_floor", "multiple": 2.0},
        "R4": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 1e-06},
    }
    repo = mini.frozen(tmp_path / "study", value)
    elsewhere = repo.copy(tmp_path / "elsewhere")
    logs = [tmp_path / "first.log", tmp_path / "second.log", tmp_path / "elsewshown.log"]

    # One worker is killed in the middle of a run, which another one takes; then the dispatcher itself is killed.
    first = start(repo, logs[0], "dispatch", "--slots", "2")
    wait_for("started$", logs[0], first)
    listening = list_listening(psutil.Process(first.pid))
    assert listening and all(is_loopback(host) for host, _ in listening), listening
    kill_a_worker(repo)
    wait_for(r"dispatch: rung\S+: started again, after its worker died", logs[0], first)
    wait_for("finished, val_bpb", logs[0], first)
    first.kill()
    first.wait()
    end = time.monotonic() + PATIENCE
    while left := of(repo, "stages.run") + of(repo, "fork_server") + of(repo, "dask_worker"):
        assert time.monotonic() < end, f"{left} outlived the dispatcher"
        time.sleep(0.1)

    # Started again, it goes on with workers in another clone: what ended is neither lost nor trained again.
    before = {path: path.read_bytes() for path in repo.root.glob("artifacts/records/*/*/*/*.json")}
    assert before
    address = f"127.0.0.1:{free_port()}"
    folder = create_cluster(tmp_path / "cluster").folder
    second = start(repo, logs[1], "dispatch", "--slots", "0", "--listen", address, "--cluster", str(folder))
    wait_for(f"workers may join: `promotion dispatch --join tls://{address} --cluster", logs[1], second)
    joined = start(
        elsewhere, logs[2], "dispatch", "--join", f"tls://{address}", "--cluster", str(folder), "--slots", "2"
    )
    assert second.wait(PATIENCE) == 0, logs[1].read_text(encoding="utf-8")
    assert joined.wait(PATIENCE) == 0, "a worker that joined ends with the dispatcher"
    assert all(path.read_bytes() == line for path, line in before.items())
    again = re.findall(r"^dispatch: (rung\S+): started", logs[1].read_text(encoding="utf-8"), re.MULTILINE)
    assert not {path.relative_to(repo.root / names.RECORDS).with_suffix("").as_posix() for path in before} & set(again)

    # The ledger holds every run once, made by the command that DVC knows: nothing is left to do for `dvc repro`.
    pipelines = [path.relative_to(repo.root).as_posix() for path in repo.root.glob("stages/ladder/rung1/**/dvc.yaml")]
    assert "up to date" in repo.dvc("status", *pipelines).stdout
    done = repo.dvc("repro", "ledger")
    assert "stages.run" not in done.stdout
    lines = [canonical.loads(line) for line in (repo.root / "ledger" / "runs.jsonl").read_bytes().splitlines()]
    ids = [names.run_id(r["rung"], r["config"], r["host"], r["seed"], r["purpose"]) for r in lines]
    assert len(ids) == len(set(ids)) == 8
    assert all(line["status"] == "finished" for line in lines)

    # The records carry what the blocks report, and the gate saw that its threshold lies below the noise.
    assert all(set(line["environment"]) == {"torch", "system"} for line in lines)
    decision = canonical.loads((repo.root / "artifacts" / "gates" / "gate1" / "decision.json").read_bytes())
    assert decision["outcome"] == "blocked"
    assert decision["blocked_by"] == ["R3"]
    assert {host: told["runs"] for host, told in decision["floor"].items()} == {"cpu-bf16": 2, "cpu-fp32": 2}


@pytest.mark.slow
def test_a_clone_without_the_cache_trains_everything_once_and_makes_the_same_ledger(smoke, tmp_path, start):
    """What `make study` does in a clean clone: the dvc.lock files name every record already, and nothing is cached."""
    subprocess.run(["git", "clone", "-q", str(smoke.root), str(tmp_path / "clone")], check=True)
    clone = Repo(tmp_path / "clone")
    log = tmp_path / "dispatch.log"
    assert start(clone, log, "dispatch").wait(PATIENCE) == 0, log.read_text(encoding="utf-8")
    assert "stages.run" not in clone.dvc("repro").stdout
    assert clone.git("status", "--porcelain").split() in ([], ["M", "dvc.lock"])


def view(terminal: bool) -> tuple[DispatchView, io.StringIO]:
    out = io.StringIO()
    return DispatchView(Console(file=out, force_terminal=terminal, width=120, no_color=True)), out


def told(run: str, worker: str, seconds: float) -> tuple[float, dict]:
    return (0.0, {"run": run, "worker": worker, "seconds": seconds})


def test_the_view_tells_starts_ends_and_what_is_left(judged):
    waiting = runs_of(judged, "rung1")[:2]
    shown, out = view(terminal=False)
    with shown:
        shown.start_rung("rung1", 2.0, 10, waiting)
        shown.receive_progress(told(waiting[0].id, "one", 0.0))
        shown.receive_progress(told(waiting[0].id, "one", 1.0))
        shown.receive_progress(told(waiting[0].id, "two", 0.0))
        shown.receive_progress(told("rung1/none/of/1", "two", 0.0))
        shown.end_run(waiting[0].id, "finished, val_bpb 1.25")
        shown.receive_progress(told(waiting[0].id, "one", 2.0))  # a late word of a run that is done
    assert out.getvalue().splitlines() == [
        "dispatch: rung1: 2 runs to train, 10 done before",
        f"dispatch: {waiting[0].id}: started",
        f"dispatch: {waiting[0].id}: started again, after its worker died",
        f"dispatch: {waiting[0].id}: finished, val_bpb 1.25; 1 left at rung1",
    ]


def test_a_terminal_sees_what_runs_where_and_how_far_it_is(judged):
    waiting = runs_of(judged, "rung1")[:3]
    shown, out = view(terminal=True)
    with shown:
        shown.start_rung("rung1", 2.0, 9, waiting)
        shown.receive_progress(told(waiting[0].id, "worker-one", 0.0))
        shown.receive_progress(told(waiting[0].id, "worker-one", 0.5))
    assert "rung1: 9 done, 1 running, 2 queued" in out.getvalue()
    assert "25%" in out.getvalue()
    assert "worker-one" in out.getvalue()


def test_the_time_left_is_told_from_training_alone_never_from_compilation(judged, monkeypatch):
    """Ten minutes of start and compilation, then a second of budget each two seconds."""
    now = [0.0]
    monkeypatch.setattr("stages.hosts.dispatch_view.time.monotonic", lambda: now[0])
    run = WorkerProgress("one", began=0.0)
    for at, seconds in ((2.0, 0.0), (600.0, 1.0), (602.0, 1.0)):
        now[0] = at
        run.update(seconds)
        assert run.estimate_left(10.0) is None, "one point has no rate"
    now[0] = 604.0
    run.update(3.0)
    assert run.estimate_left(10.0) == pytest.approx(14.0)
    now[0] = 606.0
    assert run.estimate_left(10.0) == pytest.approx(12.0)
    run.update(2.0)  # resumed from a checkpoint on another worker of the clone
    assert run.estimate_left(10.0) is None


class Returned:
    """A future that has come back."""

    def __init__(self, outcome: object) -> None:
        self.outcome = outcome

    def result(self) -> object:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def release(self) -> None:
        """What Dask forgets is safe shown."""


class Workers:
    """Stands for the scheduler and its workers: `outcomes` by run id."""

    def __init__(self, outcomes: dict[str, object]) -> None:
        self.outcomes, self.submitted = outcomes, []

    def scheduler_info(self) -> dict[str, object]:
        """A worker of each host is tshown."""
        return {"workers": {"one": {"resources": {"cpu-fp32": 1, "cpu-bf16": 1}}}}

    def subscribe_topic(self, topic: str, heard: object) -> None:
        """Nothing is told."""

    def submit(self, function: object, job: str, **options: object) -> Returned:
        run = Job.loads(job).run
        self.submitted.append((run.id, options["resources"], options["key"]))
        return Returned(self.outcomes[run.id])


@pytest.fixture
def engine(judged, monkeypatch):
    """Two runs of rung 1 are missing; returns (runs, their outputs, what DVC was asked to take and to run)."""
    asked: list[str] = []
    monkeypatch.setattr(dispatch, "as_completed", iter)
    monkeypatch.setattr(remote, "run_dvc", lambda *words: 0)
    monkeypatch.setattr(remote, "commit_runs", lambda runs: asked.extend(f"take {run.id}" for run in runs))
    monkeypatch.setattr(remote, "run_stages", lambda stages: asked.extend(f"repro {one}" for one in stages) or True)
    monkeypatch.setattr(remote, "order_entries", lambda runs: asked.append(f"settle {next(iter(runs)).rung}"))
    monkeypatch.setattr(remote, "is_committed", lambda rung, runs: True)
    runs = [run for run in runs_of(judged, "rung1") if run.config == "d1-c000"]
    outputs = {run.id: read_outputs(run) for run in runs}
    for run in runs:
        names.record_path(run.id).unlink()
    return runs, outputs, asked


def work_through(study, outcomes: dict[str, object]) -> tuple[int, Workers, str]:
    workers = Workers(outcomes)
    shown, out = view(terminal=False)
    return Dispatcher(study, StartedCluster(workers, [], JOIN), shown).dispatch(), workers, out.getvalue()


def test_a_run_goes_to_a_worker_of_its_host_block_under_a_key_of_run_and_rule(judged, engine):
    runs, outputs, asked = engine
    _, workers, _ = work_through(judged, outputs)
    lock = canonical.loads(Path("artifacts/protocol/rung1.json").read_bytes())["lock"]
    assert workers.submitted == [(run.id, {run.host: 1}, f"{run.id}-{lock[:16]}") for run in runs]
    assert [f"take {run.id}" for run in runs] == [one for one in asked if one.split()[-1] in outputs]
    assert "repro stages/ladder/rung1/dvc.yaml:gate" in asked
    assert "settle rung1" in asked and "settle rung2" not in asked


def test_a_finished_study_is_left_as_it_is(judged, engine):
    runs, outputs, asked = engine
    for run in runs:
        names.record_path(run.id).write_bytes(outputs[run.id][names.record_path(run.id).as_posix()])
    status, workers, out = work_through(judged, {})
    assert (status, workers.submitted, asked) == (0, [], [])
    assert out == "dispatch: every gate has decided; `dvc repro` makes the ledger and the site\n"


def test_a_run_that_fails_is_named_the_others_are_taken_in_and_nothing_is_judged(judged, engine):
    runs, outputs, asked = engine
    failure = RunFailed(f"{runs[0].id}: exit status 2:\nerror: out of coffee")
    status, _, out = work_through(judged, outputs | {runs[0].id: failure})
    assert status == 2
    assert f"dispatch: {runs[0].id}: RunFailed" in out
    assert "out of coffee" in out
    assert f"take {runs[1].id}" in asked
    assert not names.record_path(runs[0].id).exists()
    assert not [one for one in asked if one.startswith("repro")]


def test_what_a_worker_makes_up_is_not_taken_in(judged, engine):
    runs, outputs, _ = engine
    forged = dict(outputs[runs[0].id])
    path = names.record_path(runs[0].id).as_posix()
    forged[path] = forged[path].replace(b'"runner":"1111', b'"runner":"2222')
    status, _, out = work_through(judged, outputs | {runs[0].id: forged})
    assert status == 2
    assert "runner: found 2222" in out
    assert not names.record_path(runs[0].id).exists()


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
    monkeypatch.setattr(dispatch.time, "monotonic", lambda: now[0])
    report = WaitingReport(StartedCluster(Scheduler("fp32"), [], JOIN), messages.append)
    for passed in (0.0, 2.0, dispatch.REMIND_SECONDS):
        now[0] += passed
        report.report("rung1", WAITING)
    assert messages == [MISSING, MISSING]


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
    assert "waiting report" not in {thread.name for thread in threading.enumerate()}
