"""Hindsight through the real dvc and git: it runs when it is asked for, after the decision, and changes nothing of it."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from stages.domain import canonical
from tests.support.repo import Repo

pytestmark = pytest.mark.slow

PIPELINE = "stages/ladder/hindsight/dvc.yaml"
HELD = (
    "ledger/runs.jsonl",
    "ledger/decisions.jsonl",
    "ledger/metrics.json",
    "stages/ladder/rung3/dvc.lock",
    "locks/gate3.yaml",
)


def trained(repo: Repo) -> dict[str, str]:
    """Status by run of the ledger of hindsight."""
    lines = (repo.root / "ledger/hindsight.jsonl").read_bytes().splitlines()
    runs = [canonical.loads(line) for line in lines]
    return {f"{run['config']}/{run['host']}/{run['seed']}": run["status"] for run in runs}


def test_what_was_stopped_is_trained_after_the_decision_and_changes_nothing_of_it(study: Repo):
    held = {name: (study.root / name).read_bytes() for name in HELD}
    too_early = study.python("-m", "stages.run", "rung2", "d1-b", "cpu-fp32", "2", "--hindsight", check=False)
    assert too_early.returncode and "hindsight trains at the last of several rungs" in too_early.stderr
    study.python("-m", "stages.rungs", "--hindsight")
    assert "hindsight" not in study.dvc("repro").stdout  # the root waits for none of it
    study.dvc("repro", PIPELINE)
    decision = canonical.loads((study.root / "ledger/decisions.jsonl").read_bytes().splitlines()[-1])
    assert "d1-b" not in decision["candidates"]  # or there would be nothing to train
    for run, status in trained(study).items():
        assert status == ("unrun" if run.partition("/")[0] in decision["candidates"] else "finished")
    assert not list((study.root / "artifacts/hindsight/traces").rglob("*.safetensors"))
    study.dvc("repro")
    assert {name: (study.root / name).read_bytes() for name in HELD} == held
    assert "In hindsight?" in (study.root / "site/index.html").read_text(encoding="utf-8")
    study.commit("Hindsight")
    assert "verified" in study.promotion("verify").stdout
    steps = study.promotion("verify", "--range", "HEAD~1..HEAD").stdout
    assert "hindsight: 12 lines new, 0 gone" in steps
    again = study.dvc("repro", PIPELINE).stdout
    assert "Running stage" not in again
    assert "Hindsight" in study.promotion("status").stdout


def test_a_record_in_hindsight_among_those_of_a_rung_is_refused_by_its_gate(study: Repo):
    study.python("-m", "stages.rungs", "--hindsight")
    study.dvc("repro", "stages/ladder/hindsight/d1-b/dvc.yaml:run@cpu-fp32-3")
    source = study.root / "artifacts/hindsight/records/d1-b/cpu-fp32/3.json"
    place = study.root / "artifacts/records/rung3/d1-b/cpu-fp32/3.json"
    place.unlink()
    place.write_bytes(source.read_bytes())
    done = study.python("-m", "stages.gate", "rung3", check=False)
    assert done.returncode and "purpose" in done.stderr


def test_the_pipeline_of_hindsight_lists_the_cells_of_the_last_rung(study: Repo):
    study.python("-m", "stages.rungs", "--hindsight")
    for config in ("d1-a", "d1-b", "d2-a"):
        stages = YAML(typ="safe").load(study.root / "stages/ladder/hindsight" / config / "dvc.yaml")["stages"]
        assert stages["run"]["matrix"]["seed"] == [3, 4] and list(stages) == ["run"]
    assert list(YAML(typ="safe").load(study.root / PIPELINE)["stages"]) == ["summary"]
