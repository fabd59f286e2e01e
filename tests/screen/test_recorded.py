"""A screen as locks and ledger record it, and the choices that cheaper ways would have made on its runs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain.errors import Refused
from stages.screen.baselines import BaselineChoice
from stages.screen.effects import Observation
from stages.screen.recorded import Screen, read_screen

FACTORS = {"d": {"depth": [1, 2]}}
CONFIGS = {"d1": {"depth": 1}, "d2": {"depth": 2}}
NO_SCREEN = (
    "locks/gate1.yaml: factors: missing, so this study is no screen; put `factors` into params.yaml, then "
    "`promotion screen design`"
)


def lock(rung: str = "rung1", factors: Any = FACTORS, configs: Any = CONFIGS, origin: Any = None) -> Any:
    frozen = SimpleNamespace(
        rung=rung, factors=factors, configs=configs, from_=origin, hosts=("g", "h"), seeds=(1, 2), budget_seconds=2.5
    )
    return SimpleNamespace(frozen=frozen)


def record(config: str, purpose: str = "candidate", val_bpb: float | None = 1.5) -> Any:
    return SimpleNamespace(rung="rung1", config=config, host="h", seed=1, purpose=purpose, val_bpb=val_bpb)


def test_a_screen_has_its_cells_budgets_and_the_scores_of_its_candidates_alone():
    second = lock("rung2", None, None)
    second.frozen.seeds, second.frozen.budget_seconds = (3,), 5.0
    records = [
        record("d1"),
        record("d2", val_bpb=None),
        record("d1", "floor"),
        record("other"),
        record("d2", val_bpb=2),
    ]
    assert read_screen({"gate1": lock(), "gate2": second}, records) == Screen(
        FACTORS,
        CONFIGS,
        {"rung1": (("g", 1), ("g", 2), ("h", 1), ("h", 2)), "rung2": (("g", 3), ("h", 3))},
        {"rung1": 2.5, "rung2": 5.0},
        (Observation("rung1", "d1", "h", 1, 1.5), Observation("rung1", "d2", "h", 1, 2.0)),
    )


@pytest.mark.parametrize(("factors", "configs"), [(None, CONFIGS), (FACTORS, None), ({}, CONFIGS), (None, None)])
def test_a_lock_without_factors_or_without_configurations_is_no_screen(factors, configs):
    with pytest.raises(Refused) as refused:
        read_screen({"gate1": lock(factors=factors, configs=configs)}, [])
    assert str(refused.value) == NO_SCREEN


def test_a_study_that_goes_on_from_another_names_that():
    with pytest.raises(Refused) as refused:
        read_screen({"gate1": lock(factors=None, origin=SimpleNamespace(gate="gate3", study="first"))}, [])
    assert str(refused.value) == (
        "locks/gate1.yaml: factors: missing, for this study goes on from gate3 of first; "
        "`promotion study back first` brings the study back in which the factors may be"
    )


def screen(*values: tuple[str, str, int, float]) -> Screen:
    cells = {"rung1": (("h", 1), ("h", 2)), "rung2": (("h", 3),)}
    runs = tuple(Observation(rung, config, "h", seed, value) for rung, config, seed, value in values)
    return Screen(FACTORS, CONFIGS, cells, {"rung1": 1.0, "rung2": 8.0}, runs)


RUNS = (
    ("rung1", "d1", 1, 2.0), ("rung1", "d1", 2, 3.0), ("rung1", "d2", 1, 2.5), ("rung1", "d2", 2, 4.5),
    ("rung2", "d1", 3, 1.5), ("rung2", "d2", 3, 1.25),
)  # fmt: skip


def test_choices_are_made_by_the_means_of_all_cells():
    assert screen(*RUNS).choices() == [
        BaselineChoice("the leader of rung1", 4.0, "d1", 0.25),
        BaselineChoice("the leader of rung2", 16.0, "d2", 0.0),
    ]


@pytest.mark.parametrize("gone", range(len(RUNS)))
def test_without_any_one_score_there_are_no_choices(gone):
    assert screen(*RUNS[:gone], *RUNS[gone + 1 :]).choices() == []


def test_regret_is_of_the_means_over_the_cells_of_the_last_rung():
    whole = screen(*RUNS, ("rung2", "d1", 4, 2.5), ("rung2", "d2", 4, 1.75))
    cells = {**whole.cells, "rung2": (("h", 3), ("h", 4))}
    assert [choice.regret for choice in replace(whole, cells=cells).choices()] == [0.5, 0.0]


def test_its_effects_are_those_of_its_own_scores():
    effects = screen(*RUNS).effects()
    assert [(effect.rung, effect.name, effect.estimate) for effect in effects.effects] == [
        ("rung1", "d", 1.0), ("rung2", "d", -0.25)
    ]  # fmt: skip


def test_without_a_lock_of_the_first_gate_nothing_is_frozen():
    with pytest.raises(Refused, match=r"^locks/gate1\.yaml is missing: no factors are frozen; `promotion freeze`$"):
        read_screen({"gate2": lock("rung2")}, [])
