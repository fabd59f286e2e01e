"""`python -m bench pipeline`: DVC takes the drawn study for its own, and its stages are run and committed."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest

from bench import pipeline
from bench.__main__ import main


@pytest.mark.slow
def test_a_drawn_study_is_whole_for_dvc_and_each_of_its_costs_is_measured() -> None:
    figures: Any = pipeline.measure_size(3, profile=True, length=2)  # raises where DVC would do anything again
    assert figures["stages"] == 3 * 16 + 6 + 5 + 6  # runs, A/A runs, gates, the stages of the root
    assert figures["status"]["cpu"] > 0 and figures["repro_idle"]["cpu"] > 0
    for what in ("commit_a_stage", "run_a_stage"):  # of so few stages the difference of two times may be nothing
        assert math.isfinite(figures[what]["cpu"]), what
    assert figures["dispatch_cpu_minutes"] > 0 and figures["repro_cpu_minutes"] > 0
    assert all(0 <= share < 1 for share in figures["status_share"].values())
    assert figures["status_share"]["yaml"] > 0 and figures["commit_share"]["yaml"] > 0
    assert figures["commit_share"]["git_index"] == 0, "dispatch has DVC commit without a look at git's index"


def test_the_exponent_of_what_doubles_with_the_stages_is_one_and_of_what_quadruples_two() -> None:
    small = {"stages": 100, "status": {"cpu": 3.0}, "repro_idle": {"cpu": 3.0}}
    large = {"stages": 200, "status": {"cpu": 6.0}, "repro_idle": {"cpu": 12.0}}
    assert math.isclose(pipeline.exponent_between(small, large, "status"), 1)
    assert math.isclose(pipeline.exponent_between(small, large, "repro_idle"), 2)


@pytest.mark.parametrize("words", [["pipeline", "--configs", "12,0"], ["pipeline", "--configs", "twelve"]])
def test_what_is_no_number_of_configurations_is_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit, match="2"):
        main()


def test_sizes_are_for_the_measure_that_draws_studies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "verify", "--configs", "12"])
    assert main() == 2
    assert "for `python -m bench pipeline` alone" in capsys.readouterr().err
