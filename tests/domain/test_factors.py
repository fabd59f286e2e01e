"""Factors of a screen: their levels, the level of each configuration, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from stages.domain.factors import code_configs, describe_level, find_level, find_problem, levels_of

DEPTH: dict[str, Any] = {"depth": [1, 2, 3]}
RATES: dict[str, Any] = {"lr": [0.02, 0.04], "decay": [True, False]}
FACTORS: dict[str, Any] = {"d": DEPTH, "r": RATES}


def knobs(depth: Any, lr: Any, decay: Any, **more: Any) -> dict[str, Any]:
    return {"depth": depth, "lr": lr, "decay": decay, **more}


CONFIGS = {"a": knobs(1, 0.02, True), "b": knobs(3, 0.04, False, other=1), "c": knobs(2, 0.02, True)}


def test_a_level_sets_every_knob_of_its_factor() -> None:
    assert levels_of(RATES) == [{"lr": 0.02, "decay": True}, {"lr": 0.04, "decay": False}]
    assert [describe_level(RATES, level) for level in (0, 1)] == ["lr 0.02, decay true", "lr 0.04, decay false"]
    assert describe_level({"name": ["x", None]}, 0) == 'name "x"'


@pytest.mark.parametrize(
    ("factor", "values", "level"),
    [
        (DEPTH, {"depth": 1}, 0),
        (DEPTH, {"depth": 3}, 2),
        (DEPTH, {"depth": 4}, None),
        (DEPTH, {"depth": True}, None),
        (DEPTH, {}, None),
        (RATES, {"lr": 0.04, "decay": False}, 1),
        (RATES, {"lr": 0.04, "decay": True}, None),
        (RATES, {"lr": 0.04, "decay": 0}, None),
        (RATES, {"lr": 0.02}, None),
        ({"k": [None, 1]}, {}, None),
        ({"k": [None, 1]}, {"k": None}, 0),
    ],
)
def test_the_level_of_a_configuration_is_the_one_whose_knobs_it_has(factor: Any, values: Any, level: Any) -> None:
    assert find_level(factor, values) == level


def test_configurations_are_coded_in_the_order_of_the_factors() -> None:
    assert find_problem(FACTORS, CONFIGS) is None
    assert code_configs(FACTORS, CONFIGS) == {"a": (0, 0), "b": (2, 1), "c": (1, 0)}


@pytest.mark.parametrize(
    ("factors", "configs", "problem"),
    [
        (
            {"d": {"depth": [1, 2], "width": [1, 2, 3]}},
            {},
            "factors.d: its knobs have different numbers of levels, expected as many for each",
        ),
        ({"d": {"depth": [1, 2, 1]}}, {}, "factors.d: found a level twice, expected different ones"),
        ({"d": {"depth": [1, 1.0]}}, {}, "factors.d: found a level twice, expected different ones"),
        ({"d": {"depth": [1, True]}}, {}, None),
        ({"d": {"depth": [1, 1], "width": [1, 2]}}, {}, None),
        (
            {"d": DEPTH, "e": {"depth": [4, 5]}},
            {},
            "factors.e.depth: stands in factors.d already, expected one factor for a knob",
        ),
        (
            FACTORS,
            CONFIGS | {"x": {"depth": 4, "lr": 0.02, "decay": True}},
            "configs.x: found depth 4, expected a level of factor d: depth 1 or depth 2 or depth 3",
        ),
        (
            FACTORS,
            {"x": {"depth": 1, "lr": 0.02}},
            "configs.x: found lr 0.02, decay (none), expected a level of factor r: "
            "lr 0.02, decay true or lr 0.04, decay false",
        ),
        (
            FACTORS,
            CONFIGS | {"x": knobs(3, 0.04, False)},
            "configs.x: the same levels as b, expected each combination once",
        ),
    ],
)
def test_what_does_not_fit_is_told(factors: Any, configs: Any, problem: str | None) -> None:
    assert find_problem(factors, configs) == problem
