"""A run trained again gives the same record, and a record that was never reached is found out by that alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages import verify as front_door
from stages.cli import build_parser
from stages.commands import replay as command
from stages.domain import canonical, locks
from stages.domain.errors import Refused
from stages.domain.records import parse_line
from stages.verify import choose_runs, read_ledger, replay
from tests.support.repo import Repo, environment
from tests.verify.forger import RUNS, Forger


def promotion(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.cli", "replay", *words]
    return subprocess.run(command, cwd=root, env=environment(), capture_output=True, encoding="utf-8")


@pytest.mark.slow
def test_runs_trained_again_are_identical_and_an_invented_score_is_not(smoke: Repo, tmp_path):
    study = Forger(smoke.copy(tmp_path / "study").root)
    study.run(lambda run: run["facts"].update(val_bpb=0.5), rung="rung1")
    invented, honest = "rung1/d1-a/cpu-bf16/1", "rung3/d2-a/cpu-fp32/floor-31"
    study.judge()
    before = {path: path.read_bytes() for path in study.root.rglob("artifacts/**/*") if path.is_file()}
    done = promotion(study.root, invented, honest, "--json")
    assert done.returncode == 1, done.stderr
    runs = {one["run"]: one for one in json.loads(done.stdout)["runs"]}
    assert runs[honest]["outcome"] == "identical"
    assert runs[honest]["same_kind_of_machine"] is True
    assert (runs[invented]["outcome"], runs[invented]["recorded"]) == ("differs", 0.5)
    assert runs[invented]["changed"] == ["/facts/val_bpb"]
    assert before == {path: path.read_bytes() for path in study.root.rglob("artifacts/**/*") if path.is_file()}


@pytest.mark.slow
def test_another_runner_or_corpus_is_no_place_to_repeat_a_run(smoke: Repo, tmp_path):
    study = Forger(smoke.copy(tmp_path / "study").root)
    study.write("trainer/loop.py", study.read("trainer/loop.py") + b"# faster\n")
    done = promotion(study.root, "--sample", "1")
    assert done.returncode == 2
    assert "trainer/: found sha256" in done.stderr
    study = Forger(smoke.copy(tmp_path / "other").root)
    study.delete("artifacts/corpus/val.bin")
    done = promotion(study.root, "--sample", "1")
    assert done.returncode == 2
    assert "val.bin: missing or changed" in done.stderr


def test_the_machine_of_a_record_is_believed_only_as_dvc_lock_noted_it(smoke: Repo, tmp_path):
    study = Forger(smoke.copy(tmp_path / "study").root)
    record, _ = read_ledger(study.root)["rung1/d1-a/cpu-fp32/1"]
    reported = replay.recorded_machine(record, study.root)
    assert reported is not None
    assert reported["torch"]
    path = "artifacts/telemetry/rung1/d1-a/cpu-fp32/1.json"
    whole = study.read(path)
    study.delete(path)
    assert replay.recorded_machine(record, study.root) is None
    study.write(path, whole.replace(b'"threads": 1', b'"threads": 2'))
    with pytest.raises(Refused, match=r"artifacts/telemetry: found .*, as in dvc.lock; `dvc checkout`"):
        replay.recorded_machine(record, study.root)


def test_machines_are_of_one_kind_only_with_one_device_and_one_library():
    here = {"torch": "2.13", "cpu": "x", "instructions": "AVX2", "threads": 2, "device_name": "A100", "driver": "1"}
    assert replay.is_same_kind(here, dict(here)) is True
    assert replay.is_same_kind({**here, "device_name": "L40S"}, here) is False
    assert replay.is_same_kind(None, here) is None


def test_a_run_that_could_not_be_repeated_never_ends_with_0(clone: Forger, monkeypatch, capsys):
    name, other = list(read_ledger(clone.root))[:2]
    same = replay.Replayed(name, "identical", True, 1.0, 1.0, ())

    def again(record: Any, *_: Any) -> replay.Replayed:
        if record.id == other:
            raise Refused("no such machine")
        return same

    monkeypatch.setattr(front_door, "replay_run", again)
    monkeypatch.chdir(clone.root)
    assert command.run(build_parser("replay").parse_args(["replay", name])) == 0
    assert command.run(build_parser("replay").parse_args(["replay", name, other])) == 2
    assert f"{other}: not repeated: no such machine" in capsys.readouterr().err
    same = replace(same, outcome="differs")
    assert command.run(build_parser("replay").parse_args(["replay", name, other])) == 1


@pytest.mark.parametrize(
    ("same_kind", "seconds", "long"),
    [(True, 91.0, True), (True, 90.0, False), (False, 91.0, False), (None, 91.0, False)],
)
def test_a_run_whose_steps_take_much_longer_than_their_budget_is_marked_on_the_same_kind_of_machine(
    same_kind, seconds, long
):
    one = replay.Replayed("r/c/h/1", "identical", same_kind, 1.0, 1.0, (), seconds, 60.0)
    reported = command._comparison(one, 0.005)
    assert f"its steps took {seconds:g} s here, of a budget of 60 s" in reported
    assert one.long is long and ("its clock may have been slowed" in reported) is long


@pytest.mark.parametrize("sample", ["0", "-1", "three"])
def test_a_sample_of_nothing_is_refused_in_words(sample, capsys):
    with pytest.raises(SystemExit) as end:
        build_parser("replay").parse_args(["replay", f"--sample={sample}"])
    assert end.value.code == 2
    assert f"argument --sample: found '{sample}', expected a whole number from 1 on" in capsys.readouterr().err


def finished(clone: Forger) -> dict[str, Any]:
    return next(run for run in clone.runs() if run["status"] == "finished")


@pytest.mark.parametrize(
    ("change", "same_kind", "outcome"),
    [
        (0.0, True, "identical"),
        (0.0, None, "identical"),
        (0.000001, True, "differs"),
        (0.000001, False, "within"),
        (0.000001, None, "within"),
        (0.005, False, "within"),
        (-0.005, False, "within"),
        (0.005001, False, "differs"),
    ],
)
def test_the_same_kind_of_machine_must_agree_in_every_byte_and_another_within_the_tolerance(
    change, same_kind, outcome, clone: Forger
):
    value = finished(clone)
    value["facts"]["val_bpb"] = 2.0
    data = canonical.dumps(value)
    value["facts"]["val_bpb"] = 2.0 + change
    found = replay.compare_records(data, value, same_kind, 0.005)
    assert (found.outcome, found.difference) == (outcome, round(change, 6))


def test_another_status_differs_on_any_machine(clone: Forger):
    value = finished(clone)
    data = canonical.dumps(value)
    value.update(status="diverged", facts=None)
    found = replay.compare_records(data, value, None, 10.0)
    assert (found.outcome, found.difference) == ("differs", None)


def test_a_run_on_the_wall_clock_that_kept_no_progress_is_not_trained_again_for_hours(clone: Forger):
    value = finished(clone)
    value["budget"]["clock"] = "wall"
    record = parse_line(canonical.dumps(value), "x")
    lock = locks.loads(clone.path("locks/gate1.yaml").read_bytes(), "locks/gate1.yaml")
    with pytest.raises(Refused, match="its facts hold no progress"):
        replay._check_place(record, lock, clone.root)


def test_a_sample_is_the_same_for_everybody_with_the_same_seed(clone: Forger):
    runs = read_ledger(clone.root)
    assert choose_runs(runs, [], 3, 7) == choose_runs(dict(reversed(runs.items())), [], 3, 7)
    assert choose_runs(runs, [], 3, 7) != choose_runs(runs, [], 3, 8)
    assert all(runs[name][0].executed for name in choose_runs(runs, [], 24, 0))


def test_what_cannot_be_repeated_is_refused_by_name(clone: Forger, tmp_path):
    runs = read_ledger(clone.root)
    stopped = next(name for name, (record, _) in runs.items() if not record.executed)
    with pytest.raises(Refused, match="was not executed; executed runs look like rung1/"):
        choose_runs(runs, [stopped], 0, 0)
    with pytest.raises(Refused, match="is not in the ledger"):
        choose_runs(runs, ["rung9/x/y/1"], 0, 0)
    with pytest.raises(Refused, match="--sample 25: found 24 executed runs"):
        choose_runs(runs, [], 25, 0)
    with pytest.raises(Refused, match=r"ledger/runs.jsonl is missing"):
        read_ledger(tmp_path)
    assert RUNS == "ledger/runs.jsonl"
