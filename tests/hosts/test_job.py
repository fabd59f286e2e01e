"""A run that travels: nothing is believed because a worker says it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical, names
from stages.domain.errors import Invalid, Refused
from stages.domain.runs import Run, runs_of
from stages.hosts import job as jobs
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
    with pytest.raises(Refused, match="may not bring"):
        Job.loads(Job(RUN, "f" * 64, {path: "x"}).dumps())


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
    with pytest.raises(Refused, match="which no run makes"):
        accept_outputs(run, read_outputs(run) | {path: b"x"}, judged, read_current_contract("rung2"), "worker-1")


def test_no_record_is_no_result(judged, run):
    sent = read_outputs(run)
    sent.pop(names.record_path(run.id).as_posix())
    with pytest.raises(Refused, match="sent no artifacts/records"):
        accept_outputs(run, sent, judged, read_current_contract("rung2"), "worker-1")


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
