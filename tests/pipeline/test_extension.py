"""A study, its extension, and the way back, typed as printed, through the real dvc and git: every commit verifies.

The trainer is a stub, so that what is held here is the way and not the training.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runners.foreign_study import create_study, run_study
from tests.support.repo import Repo

pytestmark = pytest.mark.slow


def verify_all(repo: Repo) -> None:
    for words in (["--history", "--require", "rule-first,rule-stayed,evidence-stayed"], []):
        done = repo.promotion("verify", *words, check=False)
        assert done.returncode == 0, done.stdout


def test_a_study_is_extended_and_brought_back_without_training_anything_again(tmp_path: Path):
    repo = create_study(tmp_path / "study")
    run_study(repo)
    old = {path: (repo.root / path).read_bytes() for path in ("ledger/runs.jsonl", "ledger/decisions.jsonl")}
    weights = repo.git("rev-parse", "HEAD:dvc.lock")

    repo.promotion("study", "extend", "longer", "--budget-seconds", "8")
    repo.promotion("study", "check", "longer")
    repo.promotion("study", "use", "longer", "--yes")
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    repo.commit("Freeze the extension")
    verify_all(repo)
    repo.dvc("repro")
    repo.commit("The evidence of the extension")
    verify_all(repo)
    runs = [json.loads(line) for line in (repo.root / "ledger" / "runs.jsonl").read_bytes().splitlines()]
    assert {run["rung"] for run in runs} == {"rung1"}
    assert not {run["seed"] for run in runs} & {1, 2, 3, 4, 5, 21, 22}
    listed = json.loads(repo.promotion("study", "list", "--json").stdout)["past"]
    assert [(past["name"], past["whole"], past["present"]) for past in listed] == [
        ("longer", True, True),
        ("foreign", True, False),
    ]

    printed = repo.promotion("study", "back", "foreign", "--yes").stdout
    assert "`dvc checkout`" in printed
    repo.dvc("checkout")
    repo.git(*printed.split("`git ")[1].split(" && ")[0].split())
    repo.git("commit", "-q", "-m", "Back")
    verify_all(repo)
    assert {path: (repo.root / path).read_bytes() for path in old} == old
    assert repo.git("rev-parse", "HEAD:dvc.lock") == weights
    assert "Data and pipelines are up to date." in repo.dvc("status").stdout
