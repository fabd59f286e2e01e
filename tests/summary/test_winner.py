"""The winner stage: weights from a cell fixed beforehand, and the curves of the last rung."""

import csv
import json
import shutil
from contextlib import chdir

import pytest

from stages import ledger, winner
from stages.domain import canonical, files, names
from stages.domain.errors import Refused


@pytest.fixture
def study(case, tmp_path):
    """A copy of the synthetic study with weights at its last rung and a ledger, as the working directory."""
    root = tmp_path / "study"
    shutil.copytree(case.root, root)
    for number, folder in enumerate(sorted((root / names.TRACES / "rung5").glob("*/*/*"))):
        (folder / "weights.safetensors").write_bytes(f"weights {number}".encode())
    with chdir(root):
        ledger.main()
        yield root


def model(root):
    return canonical.loads_canonical((root / names.WINNER / "model.json").read_bytes())


def test_the_weights_are_those_of_the_first_cell_by_name_and_not_of_the_best(study):
    winner.main()
    reported = model(study)
    weights = study / names.WINNER / "model.safetensors"
    source = study / names.trace_path("rung5/d8-c007/cpu-bf16/5000") / "weights.safetensors"
    assert (reported["config"], reported["host"], reported["seed"]) == ("d8-c007", "cpu-bf16", 5000)
    assert weights.read_bytes() == source.read_bytes()
    assert reported["weights"] == {"file": "model.safetensors", "sha256": files.sha256_file(weights), "bytes": len(weights.read_bytes())}  # fmt: skip
    assert min(cell["val_bpb"] for cell in reported["cells"]) < reported["val_bpb"]
    assert len(reported["cells"]) == 4 and "not picked as the best" in reported["chosen"]


def test_the_description_leads_to_the_record(study):
    winner.main()
    reported = model(study)
    record = (study / reported["record"]["path"]).read_bytes()
    assert files.md5_bytes(record) == reported["record"]["md5"]
    assert json.loads(record)["spec"] == reported["spec"]


def test_without_a_winner_it_says_why_and_leaves_no_weights(study):
    winner.main()
    (study / names.GATES / "gate5" / "decision.json").unlink()
    ledger.main()
    winner.main()
    reported = model(study)
    assert (reported["config"], reported["reason"]) == (None, "gate5 has not decided yet.")
    assert not (study / names.WINNER / "model.safetensors").exists()
    winner.main()  # and says the same where there are no weights to remove
    assert model(study) == reported


def test_missing_weights_are_named_with_the_command_that_brings_them_back(study):
    (study / names.trace_path("rung5/d8-c007/cpu-bf16/5000") / "weights.safetensors").unlink()
    with pytest.raises(Refused, match=r"rung5/d8-c007/cpu-bf16/5000/weights.safetensors is missing; `dvc checkout`"):
        winner.main()
    assert not (study / names.WINNER / "model.json").exists()


def test_the_curves_are_those_of_every_finished_run_of_the_last_rung(study):
    winner.main()
    with (study / "artifacts" / "curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["config"], row["host"], row["seed"]) for row in rows} == {
        (config, host, seed)
        for config in ("d4-c003", "d8-c007")
        for host in ("cpu-bf16", "cpu-fp32")
        for seed in ("5000", "5001")
    }
    assert len(rows) == 8 * 40


def test_a_long_curve_is_thinned_and_keeps_its_end(study):
    run = next(run for run in winner.last_runs(list(_records(study))) if run.config == "d8-c007")
    lines = "".join(f"{n},{n * 10},{n}.0,{3 - n / 5000},1.0\n" for n in range(1, 3001))
    rows = winner.rows(run, "step,tokens,seconds,train_loss,lr_factor\n" + lines)
    assert len(rows) == winner.POINTS
    assert rows[-1][3] == "30000"
    assert [int(row[3]) for row in rows] == sorted(int(row[3]) for row in rows)


def _records(root):
    from stages.domain.records import parse_ledger

    return [record for record, _ in parse_ledger((root / "ledger" / "runs.jsonl").read_bytes(), "ledger")]


def test_nothing_finished_has_no_curves():
    assert winner.last_runs([]) == []


def test_a_missing_curve_is_named_with_the_command_that_brings_it_back(study):
    (study / names.trace_path("rung5/d4-c003/cpu-bf16/5000") / "curve.csv").unlink()
    with pytest.raises(Refused) as refused:
        winner.main()
    assert str(refused.value) == (
        "artifacts/traces/rung5/d4-c003/cpu-bf16/5000/curve.csv is missing; `dvc checkout`, `dvc pull` (where a DVC "
        "remote is set up) or `dvc repro` brings back what rung5/d4-c003/cpu-bf16/5000 trained"
    )


@pytest.mark.parametrize(("points", "kept"), [(0, 0), (1, 1), (200, 200), (201, 101), (400, 200), (401, 134)])
def test_a_curve_has_at_most_two_hundred_points_evenly_spaced_and_its_last(study, points, kept):
    run = winner.last_runs(list(_records(study)))[0]
    lines = "".join(f"{n},{n * 10},{n}.5,2.5,1.0\n" for n in range(1, points + 1))
    rows = winner.rows(run, "step,tokens,seconds,train_loss,lr_factor\n" + lines)
    assert len(rows) == kept
    stride = -(-points // 200)
    assert rows == [
        (run.config, run.host, run.seed, str(n * 10), f"{n}.5", "2.5")
        for n in range(1, points + 1) if (points - n) % stride == 0
    ]  # fmt: skip


def _as_command(run):
    """The run as a trainer of another project would have recorded it."""
    return run.model_copy(update={"spec": {"kind": "command"}, "facts": {"score": 0.25 + run.seed / 1e6}})


def test_the_winner_of_a_command_has_scores_and_no_weights(study):
    runs = [_as_command(run) for run in winner.last_runs(list(_records(study)))]
    mine = [run for run in runs if run.config == "d8-c007"]
    first = mine[0]
    reported = winner.make_model_file(
        runs, {"winner": "d8-c007", "mode": "frozen"}, {}, lambda run: pytest.fail("asked")
    )
    assert reported == {
        "schema": 1, "config": "d8-c007", "reason": None, "mode": "frozen", "rung": "rung5", "host": "cpu-bf16",
        "seed": 5000, "chosen": winner.CHOSEN, "score": 0.255, "model": None, "spec": {"kind": "command"},
        "cells": [{"host": run.host, "seed": run.seed, "score": run.facts["score"]} for run in mine],
        "lock": first.lock, "runner": first.runner, "corpus": first.corpus, "weights": None,
        "record": {"path": "artifacts/records/rung5/d8-c007/cpu-bf16/5000.json", "md5": first.md5},
    }  # fmt: skip


def test_the_last_runs_are_finished_candidates_of_the_highest_rung_in_order(study):
    records = list(_records(study))
    last = winner.last_runs(records[::-1])
    assert [(run.config, run.host, run.seed) for run in last] == [
        (config, host, seed)
        for config in ("d4-c003", "d8-c007")
        for host in ("cpu-bf16", "cpu-fp32")
        for seed in (5000, 5001)
    ]
    assert {run.rung for run in last} == {"rung5"}
    below = [run for run in records if run.rung != "rung5" and run.rung != "rung4"]
    assert {(run.rung, run.purpose) for run in winner.last_runs(below)} == {("rung3", "candidate")}
    broken = [run.model_copy(update={"status": "diverged"}) if run.rung == "rung5" else run for run in records]
    assert {run.rung for run in winner.last_runs(broken)} == {"rung4"}


def test_the_whole_description_of_a_winner(study):
    winner.main()
    reported, run = model(study), winner.last_runs(list(_records(study)))[4]
    assert run.config == "d8-c007"
    record = json.loads(names.record_path(run.id).read_bytes())
    del reported["weights"], reported["cells"]
    assert reported == {
        "schema": 1, "config": "d8-c007", "reason": None, "mode": "frozen", "rung": "rung5", "host": "cpu-bf16",
        "seed": 5000, "chosen": winner.CHOSEN, "val_bpb": record["facts"]["val_bpb"],
        "locked_bpb": record["facts"]["locked_bpb"], "model": record["facts"]["model"], "spec": record["spec"],
        "lock": record["lock"], "runner": record["runner"], "corpus": record["corpus"],
        "record": {"path": names.record_path(run.id).as_posix(), "md5": files.md5_file(names.record_path(run.id))},
    }  # fmt: skip
