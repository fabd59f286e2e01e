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
    told = model(study)
    weights = study / names.WINNER / "model.safetensors"
    source = study / names.trace_path("rung5/d8-c007/cpu-bf16/5000") / "weights.safetensors"
    assert (told["config"], told["host"], told["seed"]) == ("d8-c007", "cpu-bf16", 5000)
    assert weights.read_bytes() == source.read_bytes()
    assert told["weights"] == {"file": "model.safetensors", "sha256": files.sha256_file(weights), "bytes": len(weights.read_bytes())}  # fmt: skip
    assert min(cell["val_bpb"] for cell in told["cells"]) < told["val_bpb"]
    assert len(told["cells"]) == 4 and "not picked as the best" in told["chosen"]


def test_the_description_leads_to_the_record(study):
    winner.main()
    told = model(study)
    record = (study / told["record"]["path"]).read_bytes()
    assert files.md5_bytes(record) == told["record"]["md5"]
    assert json.loads(record)["spec"] == told["spec"]


def test_without_a_winner_it_says_why_and_leaves_no_weights(study):
    winner.main()
    (study / names.GATES / "gate5" / "decision.json").unlink()
    ledger.main()
    winner.main()
    told = model(study)
    assert (told["config"], told["reason"]) == (None, "gate5 has not decided yet.")
    assert not (study / names.WINNER / "model.safetensors").exists()
    winner.main()  # and says the same where there are no weights to remove
    assert model(study) == told


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
