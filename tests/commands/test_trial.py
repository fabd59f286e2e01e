"""`promotion try`: what three runs of a trainer show before anything is frozen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.cli import build_parser
from stages.commands import trial
from stages.domain import files
from stages.domain.errors import Invalid, Refused
from tests.runners.conftest import place  # noqa: F401
from tests.runners.foreign_study import make_params


@pytest.fixture
def attempt(place: Path, capsys: pytest.CaptureFixture[str]):  # noqa: F811
    """Run `promotion try` on the foreign study in a mode of its trainer; its exit status and findings."""

    def run(mode: str = "normal", **gate: Any) -> tuple[int, list[dict[str, str]]]:
        params = make_params()
        params["runner"]["command"][0] = params["runner"]["probe"][0] = sys.executable
        params["configs"]["small"]["mode"] = mode
        params["gates"]["gate1"] |= gate
        (place / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
        files.write_whole(place / "artifacts/corpus/manifest.json", (place / "corpus/manifest.json").read_bytes())
        status = trial.run(build_parser("try").parse_args(["try", "small", "--json"]))
        return status, json.loads(capsys.readouterr().out)["findings"]

    return run


def test_a_trainer_that_does_what_it_should_has_nothing_in_its_way(attempt) -> None:
    status, findings = attempt()
    said = " / ".join(finding["what"] for finding in findings)
    assert status == 0
    for part in ("val_loss is found", "repeats exactly", "another seed makes a difference", "reports torch 9.9"):
        assert part in said


def test_a_trainer_that_ignores_its_seed_is_told(attempt) -> None:
    status, findings = attempt("ignores_seed")
    assert status == 1
    assert any("ignores its seed" in finding["blocks"] for finding in findings)


def test_a_trainer_that_takes_longer_than_its_budget_would_break_the_rule_that_asks(attempt) -> None:
    status, findings = attempt("slow", R9={"kind": "budget_kept", "tolerance": 0.1})
    assert status == 1
    assert any("gate1.R9, gate2.R4 (budget_kept) would not hold" in finding["blocks"] for finding in findings)


def test_a_run_that_diverges_is_told_at_once(attempt) -> None:
    status, findings = attempt("nan")
    assert (status, findings[0]["what"]) == (1, "seed 6 diverged: its val_loss is nan")


def test_a_file_of_the_trainer_or_of_the_data_that_is_not_there_is_named_before_anything_trains(attempt, place) -> None:  # noqa: F811
    attempt()
    (place / "small" / "train.py").rename(place / "small" / "aside.py")
    with pytest.raises(Invalid, match=r"runner\.files\.0: there is no file small/train\.py; put it there"):
        trial.run(build_parser("try").parse_args(["try", "small"]))
    (place / "data" / "text.txt").unlink()
    with pytest.raises(Refused, match=r"data\.source\.files\.0: there is no file data/text\.txt; put it there"):
        trial.run(build_parser("try").parse_args(["try", "small"]))


def test_a_configuration_that_is_not_there_is_named(attempt) -> None:
    attempt()
    with pytest.raises(Refused, match="no such configuration; params.yaml has small"):
        trial.run(build_parser("try").parse_args(["try", "smal"]))
