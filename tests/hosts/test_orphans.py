"""What a run finished after its DVC was killed is evidence: the next DVC takes it up and trains nothing."""

from __future__ import annotations

import subprocess
import sys
import time
import types

import psutil
import pytest

from stages.domain import canonical, files, names
from stages.dvcfiles import telemetry
from stages.hosts import orphans
from stages.hosts.worklist import read_rung_work
from tests.hosts.conftest import PATIENCE
from tests.support.repo import Repo, environment


@pytest.fixture
def run(judged, monkeypatch) -> str:
    """A finished run of the study in which the test stands."""
    return next(run.id for run in read_rung_work(judged, "rung2").trained)


def read_outputs(run: str) -> dict[str, bytes]:
    paths = [names.record_path(run), *names.trace_path(run).iterdir()]
    return {path.as_posix(): path.read_bytes() for path in paths}


def delete_outputs(run: str) -> None:
    """As DVC does before it runs a stage."""
    for path in read_outputs(run):
        (names.PARAMS.parent / path).unlink()


def expect(run: str, **changes: object) -> dict:
    """What is known of a run's record before it trains."""
    record = canonical.loads(names.record_path(run).read_bytes())
    return {**record, "status": "finished", "reason": None, "environment": None, "facts": None, **changes}


def test_an_orphans_outputs_outlive_their_deletion(run, monkeypatch):
    monkeypatch.setattr(orphans, "is_orphan", lambda: True)
    before, expected = read_outputs(run), expect(run)
    orphans.settle_outputs(run)
    delete_outputs(run)
    assert orphans.restore_outputs(run, expected) is True
    assert read_outputs(run) == before
    monkeypatch.setattr(orphans, "is_orphan", lambda: False)
    orphans.settle_outputs(run)
    assert not orphans.restore_outputs(run, expected), "DVC has them: a repetition trains"


@pytest.mark.parametrize("key", ["lock", "runner", "corpus", "spec", "budget", "seed"])
def test_what_was_made_under_another_rule_or_specification_is_not_taken_up(run, monkeypatch, key):
    monkeypatch.setattr(orphans, "is_orphan", lambda: True)
    expected = expect(run, **{key: "another"})
    orphans.settle_outputs(run)
    delete_outputs(run)
    assert not orphans.restore_outputs(run, expected)
    assert not names.record_path(run).exists()
    assert not (orphans.ORPHANS / run).exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null\n"])
def test_a_damaged_record_is_not_taken_up(run, monkeypatch, data):
    monkeypatch.setattr(orphans, "is_orphan", lambda: True)
    expected = expect(run)
    orphans.settle_outputs(run)
    delete_outputs(run)
    (orphans.ORPHANS / run / "record").unlink()
    (orphans.ORPHANS / run / "record").write_bytes(data)
    assert not orphans.restore_outputs(run, expected)


def test_who_was_started_by_hand_is_no_orphan(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert not orphans.is_orphan()
    monkeypatch.setenv("DVC_STAGE", "corpus")
    assert orphans.is_orphan(), "no DVC is above this test"


@pytest.mark.parametrize(
    ("above", "orphan"),
    [
        ([], True),
        ([["sh", "-c", "python -m stages.run"], ["python", "-m", "pytest"]], True),
        ([["sh", "-c", "python -m stages.run"], ["python", "-m", "dvc", "repro"], ["bash"]], False),
    ],
)
def test_a_dvc_anywhere_above_a_run_takes_its_outputs(monkeypatch, above, orphan):
    parents = [types.SimpleNamespace(cmdline=lambda words=words: words) for words in above]
    monkeypatch.setenv("DVC_STAGE", "run@cpu-1")
    monkeypatch.setattr(psutil.Process, "parents", lambda self: parents)
    assert orphans.is_orphan() is orphan


def test_a_parent_that_cannot_be_looked_at_may_be_dvc(monkeypatch):
    def refuse() -> None:
        raise psutil.AccessDenied(1)

    monkeypatch.setenv("DVC_STAGE", "run@cpu-1")
    monkeypatch.setattr(psutil.Process, "parents", lambda self: [types.SimpleNamespace(cmdline=refuse)])
    assert orphans.is_orphan() is False
    monkeypatch.delenv("DVC_STAGE")
    assert orphans.is_orphan() is False


def test_what_is_kept_is_exactly_what_the_run_left_last(run, monkeypatch):
    monkeypatch.setattr(orphans, "is_orphan", lambda: True)
    stale = names.trace_path(run) / "stale.csv"
    stale.write_bytes(b"old\n")
    orphans.settle_outputs(run)
    stale.unlink()
    orphans.settle_outputs(run)
    folder = orphans.ORPHANS / run
    kept = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    curve = (names.trace_path(run) / "curve.csv").read_bytes()
    assert kept == {"record": names.record_path(run).read_bytes(), "trace/curve.csv": curve}


def test_nothing_kept_is_nothing_to_take_up(run):
    assert orphans.restore_outputs(run, expect(run)) is False


def test_what_is_no_object_is_thrown_away_and_what_is_no_record_yet_stays(run):
    folder = orphans.ORPHANS / run
    for data, stays in ((b"[]\n", False), (b"{", True)):
        files.write_whole(folder / "record", data)
        assert orphans.restore_outputs(run, expect(run)) is False
        assert folder.exists() is stays


def wait_for_run(study: Repo, log: str) -> psutil.Process:
    """The process of the run that DVC has started."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if words[1:3] == ["-m", "stages.run"] and process.cwd() == str(study.root.resolve()):
                    return process
            except (psutil.Error, OSError):
                continue
        time.sleep(0.02)
    raise AssertionError("no run was started")


@pytest.mark.slow
def test_the_next_dvc_takes_up_what_an_orphan_finished(study):
    record = study.root / names.record_path("rung1/d1-a/cpu-fp32/1")
    stage = "stages/ladder/rung1/d1-a/dvc.yaml:run@cpu-fp32-1"
    evidence = record.read_bytes()
    measured = telemetry.stored_path(files.md5_bytes(evidence), study.root)
    lock = study.root / "stages/ladder/rung1/d1-a/dvc.lock"
    lock.unlink()
    study.python("-c", "import shutil; shutil.rmtree('.dvc/cache/runs')")
    with subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", "-s", stage],
        cwd=study.root,
        env=environment(),
        stdout=subprocess.DEVNULL,
    ) as dvc:
        run = wait_for_run(study, stage)
        dvc.kill()
    run.wait(PATIENCE)
    assert record.read_bytes() == evidence
    orphan = measured.read_bytes()  # it trained: what it measured was gone with the run cache
    done = study.dvc("repro", "-s", stage)
    assert "finished after its DVC was killed; that record is taken up" in done.stdout + done.stderr
    assert (record.read_bytes(), measured.read_bytes()) == (evidence, orphan)
    assert "run@cpu-fp32-1" in lock.read_text(encoding="utf-8")
    assert not (study.root / orphans.ORPHANS / "rung1/d1-a/cpu-fp32/1").exists()


def test_where_dvc_takes_the_outputs_and_none_are_kept_there_is_nothing_to_forget(run, monkeypatch):
    monkeypatch.setattr(orphans, "is_orphan", lambda: False)
    orphans.settle_outputs(run)
    assert not orphans.ORPHANS.exists()
