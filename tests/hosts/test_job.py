"""A run that travels: nothing is believed because a worker says it."""

from __future__ import annotations

import sys
import types
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical, files, names
from stages.domain.errors import Invalid, Refused
from stages.domain.runs import Run, runs_of
from stages.dvcfiles import telemetry
from stages.hosts import job as jobs
from stages.hosts import processes
from stages.hosts.job import Job, RunFailed, accept_outputs, make_job, read_outputs, run_job
from stages.hosts.worklist import read_current_contract, read_rung_work
from tests.support.repo import PROJECT

RUN = Run("rung3", "d8-ar48", "linux-l40s", 301, "candidate")


@pytest.fixture
def run(judged) -> Run:
    """A run of the second rung that was trained."""
    return next(one for one in read_rung_work(judged, "rung2").done if one.host == "cpu-fp32")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["candidate", "floor"]))
def test_a_job_survives_the_journey(text, purpose):
    job = Job(Run("rung3", "d8-ar48", "linux-l40s", 301, purpose), "f" * 64, {"artifacts/protocol/rung3.json": text})
    assert Job.loads(job.dumps()) == job


@pytest.mark.parametrize("path", ["params.yaml", "../evil", "trainer/loop.py", "artifacts/protocol/rung4.json"])
def test_a_job_brings_no_file_but_its_door_and_tickets(path):
    with pytest.raises(Refused) as refused:
        Job.loads(Job(RUN, "f" * 64, {path: "x", "z": "y"}).dumps())
    assert str(refused.value) == f"a job for rung3/d8-ar48/linux-l40s/301 may not bring {path}"


def test_a_job_of_the_first_rung_has_no_tickets(judged):
    first, second = (runs_of(judged, rung)[0] for rung in ("rung1", "rung2"))
    knobs = f"artifacts/protocol/knobs/{first.config}.json"
    assert list(make_job(first).files) == ["artifacts/protocol/rung1.json", knobs]
    assert list(make_job(second).files) == [
        "artifacts/protocol/rung2.json", knobs, "artifacts/gates/gate1/promotions.json"
    ]  # fmt: skip


def test_what_a_worker_sends_is_written_as_it_was(judged, run):
    sent = read_outputs(run)
    for path in sent:
        (names.PARAMS.parent / path).unlink()
    record = accept_outputs(run, sent, judged, read_current_contract("rung2"), "worker-1")
    assert record.id == run.id
    assert read_outputs(run) == sent


def test_what_a_run_measured_travels_with_it_and_is_kept_by_its_record(judged, run):
    record_path = names.record_path(run.id)
    stored = telemetry.stored_path(files.md5_bytes(record_path.read_bytes()))
    assert "telemetry" not in read_outputs(run)
    files.write_whole(stored, b"{}\n")
    sent = read_outputs(run)
    trace = (names.trace_path(run.id) / "curve.csv").as_posix()
    assert list(sent) == [trace, record_path.as_posix(), "telemetry"]
    assert sent["telemetry"] == b"{}\n"
    stored.unlink()
    accept_outputs(run, sent, judged, read_current_contract("rung2"), "worker-1")
    assert stored.read_bytes() == b"{}\n"
    assert read_outputs(run) == sent


def test_another_runs_record_is_refused_and_nothing_is_written(judged, run):
    other = next(one for one in read_rung_work(judged, "rung2").done if one.host == "cpu-bf16")
    line = read_outputs(other)[names.record_path(other.id).as_posix()]
    names.record_path(run.id).unlink()
    with pytest.raises(Invalid, match=f"found the record of {other.id}, expected that of {run.id}"):
        accept_outputs(
            run, {names.record_path(run.id).as_posix(): line}, judged, read_current_contract("rung2"), "worker-1"
        )
    assert not names.record_path(run.id).exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lock": "0" * 64}, "lock: found 0000"),
        ({"status": "stopped", "reason": "gate1", "spec": None, "facts": None}, "expected that of a run with a ticket"),
        ({"spec": {}}, "spec: found that of other settings"),
    ],
)
def test_a_record_that_the_run_would_not_make_is_refused(judged, run, changes, told):
    path = names.record_path(run.id)
    line = canonical.dumps(canonical.loads(path.read_bytes()) | changes)
    with pytest.raises(Invalid, match=told):
        accept_outputs(run, {path.as_posix(): line}, judged, read_current_contract("rung2"), "worker-1")


@pytest.mark.parametrize("path", ["params.yaml", "artifacts/records/rung2/x/y/1.json", "../../etc/passwd"])
def test_a_file_that_no_run_makes_is_refused(judged, run, path):
    with pytest.raises(Refused) as refused:
        sent = read_outputs(run) | {path: b"x", "z": b"y"}
        accept_outputs(run, sent, judged, read_current_contract("rung2"), "worker-1")
    assert str(refused.value) == f"worker-1 sent {path}, which no run makes"


def test_no_record_is_no_result(judged, run):
    sent = read_outputs(run)
    sent.pop(names.record_path(run.id).as_posix())
    with pytest.raises(Refused) as refused:
        accept_outputs(run, sent, judged, read_current_contract("rung2"), "worker-1")
    assert str(refused.value) == f"worker-1 sent no artifacts/records/{run.id}.json"


def test_a_worker_sends_a_finished_run_without_running_it_again(run, monkeypatch):
    monkeypatch.setattr(jobs, "_train", lambda *_: pytest.fail("it ran again"))
    assert run_job(make_job(run), lambda seconds: None) == read_outputs(run)


def test_a_worker_of_another_study_refuses(run):
    job = make_job(run)
    names.PARAMS.write_bytes(names.PARAMS.read_bytes() + b"\n")
    with pytest.raises(Refused, match=r"params\.yaml is not that of the dispatching clone; `git pull` in both"):
        run_job(job, lambda seconds: None)


def test_a_worker_that_has_not_seen_the_gate_yet_gets_its_tickets_with_the_job(run):
    job = make_job(run)
    path = names.GATES / "gate1" / "promotions.json"
    held = path.read_bytes()
    path.unlink()
    run_job(job, lambda seconds: None)
    assert path.read_bytes() == held


def test_a_run_that_ends_badly_tells_the_end_of_what_it_printed(run, monkeypatch):
    """The synthetic study has no runner, so the command itself refuses what its lock froze."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    names.record_path(run.id).unlink()
    job = make_job(run)
    with pytest.raises(RunFailed, match=r"(?s)exit status 2.*trainer/: found sha256"):
        run_job(job, lambda seconds: None)


def test_a_folder_without_a_study_is_no_clone_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused) as refused:
        run_job(Job(RUN, "f" * 64, {}), lambda seconds: None)
    assert str(refused.value) == f"{tmp_path}: params.yaml is not that of the dispatching clone; `git pull` in both"


def test_a_command_that_leaves_no_record_has_failed(run, monkeypatch):
    job = make_job(run)
    names.record_path(run.id).unlink()
    monkeypatch.setattr(jobs, "_train", lambda *_: None)
    with pytest.raises(RunFailed) as failed:
        run_job(job, lambda seconds: None)
    assert str(failed.value) == f"{run.id}: its command ended well but left no record of it"


def test_a_run_without_an_open_contract_is_not_trained_yet(judged, run):
    assert jobs._is_trained(judged, run)
    (names.PROTOCOL / "rung2.json").unlink()
    assert not jobs._is_trained(judged, run)


@pytest.mark.parametrize("serves", [True, False])
def test_a_run_is_trained_once_at_a_time_and_reported_from_its_start(run, monkeypatch, serves):
    calls: list[object] = []

    @contextmanager
    def hold_lock(name, activity, wait):
        calls.append((name, activity, wait))
        yield
        calls.append("released")

    record, job = names.record_path(run.id), make_job(run)
    line = record.read_bytes()
    record.unlink()

    def train(trained, report, server):
        calls.append((trained, server))
        record.write_bytes(line)

    monkeypatch.setattr(jobs, "hold_lock", hold_lock)
    monkeypatch.setattr(jobs, "_train", train)
    monkeypatch.setattr(jobs, "serves", lambda study, host: serves and host == "cpu-fp32")
    assert run_job(job, calls.append) == read_outputs(run)
    lock = (f"slot.{run.id}", f"another worker runs {run.id}", jobs.FOREVER)
    assert calls == [0.0, lock, (run, jobs._server if serves else None), "released"]


def test_a_worker_tells_the_dispatcher_how_far_its_run_is(monkeypatch):
    events: list[tuple[str, dict]] = []
    worker = types.SimpleNamespace(name=7, log_event=lambda topic, event: events.append((topic, event)))
    monkeypatch.setitem(sys.modules, "distributed", types.SimpleNamespace(get_worker=lambda: worker))

    def run_job(job, report):
        assert job == Job(RUN, "f" * 64, {})
        report(1.5)
        return {"path": b"data"}

    monkeypatch.setattr(jobs, "run_job", run_job)
    assert jobs.execute_job(Job(RUN, "f" * 64, {}).dumps()) == {"path": b"data"}
    assert events == [("promotion", {"run": "rung3/d8-ar48/linux-l40s/301", "worker": "7", "seconds": 1.5})]


LOG = Path("scratch/dispatch/rung3.d8-ar48.linux-l40s.301.log")


class Child:
    """A command that has been started; it ends with `status` at once."""

    def __init__(self, status: int) -> None:
        self.status = status

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def poll(self) -> int:
        return self.status


@pytest.mark.parametrize("forked", [True, False])
def test_a_run_is_the_command_that_dvc_would_run_with_a_log_of_its_own(tmp_path, monkeypatch, forked):
    monkeypatch.chdir(tmp_path)
    started: list[object] = []

    def start_child(arguments, output):
        (tmp_path / LOG).open("ab").write(b"said")
        started.append((arguments, output > 2))
        return Child(0)

    def start(arguments, log, load):
        with log.open("ab") as output:
            output.write(b"said")
        started.append((arguments, log, load))
        return Child(0)

    monkeypatch.setattr(processes, "start_child", start_child)
    server = types.SimpleNamespace(start=start) if forked else None
    words = ["-m", "stages.run", "rung3", "d8-ar48", "linux-l40s", "301"]
    for _ in range(2):
        jobs._train(RUN, lambda seconds: None, server)
        assert LOG.read_bytes() == b"said", "what an earlier start printed is gone"
    assert started == [(words, LOG, True) if forked else (words, True)] * 2
    # It waits for the end of an earlier start whose worker died, and no longer than that takes.
    assert [path.name for path in Path("scratch/locks").iterdir()] == ["rung3.d8-ar48.linux-l40s.301.lock"]
    asked: list[object] = []

    @contextmanager
    def hold_lock(name, activity, wait):
        asked.append((name, activity, wait))
        yield

    monkeypatch.setattr(jobs, "hold_lock", hold_lock)
    jobs._train(RUN, lambda seconds: None, server)
    assert asked == [(RUN.id, f"{RUN.id} is being trained", jobs.ORPHAN_SECONDS)]


@pytest.mark.parametrize("status", [1, -9])
def test_any_status_but_zero_is_a_failure_with_the_end_of_the_log(tmp_path, monkeypatch, status):
    monkeypatch.chdir(tmp_path)

    def start(arguments, log, load):
        log.write_bytes(b"x" * 4000 + b"\xff the end\n\n")
        return Child(status)

    with pytest.raises(RunFailed) as failed:
        jobs._train(RUN, lambda seconds: None, types.SimpleNamespace(start=start))
    end = "x" * (jobs.LOG_END_BYTES - len(b"\xff the end\n\n")) + "\ufffd the end"
    assert str(failed.value) == f"{RUN.id}: exit status {status}:\n{end}"


def test_progress_is_reported_every_two_seconds_and_not_more_often(monkeypatch):
    now, sleeps, reports = [100.0], [], []
    monkeypatch.setattr(jobs, "REPORT_SECONDS", 2.0)

    def sleep(seconds):
        sleeps.append(seconds)
        now[0] += 1.0

    monkeypatch.setattr(jobs, "time", types.SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(jobs, "_read_seconds", lambda curve: (curve, now[0]))
    outcomes = iter([None] * 7 + [0])
    child = types.SimpleNamespace(poll=lambda: next(outcomes))
    assert jobs._follow(child, Path("curve.csv"), reports.append) == 0
    assert reports == [(Path("curve.csv"), at) for at in (102.0, 104.0, 106.0)]
    assert sleeps == [jobs.POLL_SECONDS] * 7


@pytest.mark.parametrize(
    ("curve", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("step,tokens,seconds,train_loss\n", 0.0),
        ("step,tokens,seconds,train_loss\n1,10,0.5,3.0\n", 0.5),
        ("step,tokens,seconds,train_loss\n1,10,0.5,3.0\n2,20,1.25,2.5\n3,3", 1.25),
        ("step,tokens\n1,10\n", 0.0),
    ],
)
def test_the_budget_that_is_used_up_is_that_of_the_last_whole_line(tmp_path, curve, seconds):
    if curve is not None:
        (tmp_path / "curve.csv").write_text(curve, encoding="utf-8")
    assert jobs._read_seconds(tmp_path / "curve.csv") == seconds


def test_the_curve_of_a_run_is_followed_where_its_trainer_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    followed: list[Path] = []
    monkeypatch.setattr(jobs, "_follow", lambda child, curve, report: followed.append(curve) or 0)
    jobs._train(replace(RUN, seed=5), lambda seconds: None, types.SimpleNamespace(start=lambda *_, **__: None))
    assert followed == [names.LIVE / "rung3/d8-ar48/linux-l40s/5.csv"]
