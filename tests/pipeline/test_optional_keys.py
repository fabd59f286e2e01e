"""A study without a reference, without repetitions and with every optional key left out, through the real git and dvc."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support import repo as repos

pytestmark = pytest.mark.slow


def test_a_study_without_roles_and_optional_keys_runs_and_verifies(tmp_path: Path) -> None:
    repo = repos.create(tmp_path / "study")
    yaml = YAML(typ="safe")
    value = yaml.load(repo.root / "params.yaml")
    value["roles"], value["clock"] = {}, {"kind": "wall"}
    del value["study"]["note"]
    value["hosts"] = {
        "cpu-fp32": {"system": "any", "device": "cpu", "precision": "fp32", "threads": 1, "compile": False}
    }
    value["configs"].pop("d1-b")
    value["rungs"] = {"rung1": {"budget_seconds": 0.1, "seeds": [1]}}
    value["gates"] = {"gate1": {"R1": {"kind": "complete_cells"}, "R2": {"kind": "diverged"}}}
    mine = tmp_path / "mine.yaml"
    yaml.dump(value, mine)
    assert repo.promotion("study", "check", str(mine)).returncode == 0
    repo.commit("The code")
    repo.promotion("study", "use", str(mine), "--yes")
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    repo.commit("Freeze the rules")
    repo.dvc("repro")
    repo.commit("The evidence")
    assert "verified" in repo.promotion("verify").stdout
