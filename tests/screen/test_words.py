"""What `promotion screen` says of a design, of an effect and of its course, word by word."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.commands import screen
from stages.screen.baselines import BaselineChoice
from stages.screen.design import FactorialDesign
from stages.screen.effects import Effect, FactorCourse, ScreenEffects

FACTORS: Any = {"d": {"depth": [1, 2]}, "lr": {"matrix_lr": [0.02, 0.04], "head_lr": [0.1, 0.2]}}


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["2 configurations of 4 combinations, resolution 3", "A d, B lr", "generator B = A", "alias A = B"]),
        ({"resolution": None, "generators": (), "aliases": ()},
         ["2 configurations of 4 combinations, full factorial", "A d, B lr"]),
        ({"rows": ((0, 0),)},
         ["1 configuration of 4 combinations, resolution 3", "A d, B lr", "generator B = A", "alias A = B"]),
    ],
)  # fmt: skip
def test_a_design_is_described_by_its_size_and_what_it_confounds(changes: dict[str, Any], lines: list[str]) -> None:
    fields: dict[str, Any] = {
        "factors": FACTORS, "rows": ((0, 0), (1, 1)), "resolution": 3, "generators": ("B = A",), "aliases": ("A = B",),
        "letters": {"d": "A", "lr": "B"},
    }  # fmt: skip
    assert list(screen.describe(FactorialDesign(**fields | changes))) == lines


def test_configurations_are_written_on_a_line_each() -> None:
    configs = {"a": {"depth": 1, "kind": 'é"x', "on": True}, "b": {}}
    section = 'configs:\n  a: {depth: 1, kind: "é\\"x", on: true}\n  b: {}\n'
    assert screen._section(configs) == section


@pytest.mark.parametrize(
    ("data", "says"), [(b"a: 1\n", True), (b"a: 2\n", False), (b"a: [\n", False), (b"{}\n", False)]
)
def test_what_a_file_says_is_compared_and_what_cannot_be_read_says_nothing(data: bytes, says: bool) -> None:
    assert screen._says(data, {"a": 1}) is says


def make_effect(**changes: Any) -> Effect:
    fields: dict[str, Any] = {
        "rung": "rung1", "host": "cpu", "name": "d", "kind": "main", "factors": ("d",), "estimate": -0.5, "lower": -1.0,
        "upper": 0.25, "p": 0.01, "corrected": 0.02346, "aliases": (),
    }  # fmt: skip
    return Effect(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "d: -0.500000 [-1.000000, +0.250000], corrected p 0.0235"),
        ({"lower": None, "upper": None, "corrected": None}, "d: -0.500000, not replicated, so not tested"),
        ({"corrected": 0.0, "aliases": ("a x b", "c")},
         "d: -0.500000 [-1.000000, +0.250000], corrected p 0.0000; aliased with a x b, c"),
    ],
)  # fmt: skip
def test_an_effect_is_told_with_its_interval_its_test_and_its_aliases(changes: dict[str, Any], line: str) -> None:
    assert screen._say_effect(make_effect(**changes)) == line


COURSE = FactorCourse("lr", "cpu", "lasts", 1, -0.25, 0.125)
COURSE_LINE = (
    "lr on cpu: matrix_lr 0.04, head_lr 0.2 costs 0.250000 at the first budget; the effect lasts (-0.250000, then "
    "+0.125000)"
)


def make_screen() -> Any:
    effects = (
        make_effect(name="small", estimate=0.125), make_effect(), make_effect(host="gpu"),
        make_effect(rung="rung2", name="x", estimate=0.25), make_effect(rung="rung2", name="y", estimate=-0.5),
    )  # fmt: skip
    gap = SimpleNamespace(rung="rung2", host="gpu", reason="1 of 16 runs have no score")
    choices = [
        BaselineChoice(name="the leader", config="a", seconds=32.5, regret=0.0012345),
        BaselineChoice(name="at random", config=None, seconds=8.0, regret=0.0),
    ]
    result = ScreenEffects(effects, cast("Any", (gap,)), (COURSE,))
    return SimpleNamespace(effects=lambda: result, choices=lambda: choices, factors=FACTORS)


def test_courses_come_first_then_what_is_missing_then_effects_by_size_then_choices() -> None:
    effect = "-0.500000 [-1.000000, +0.250000], corrected p 0.0235"
    assert list(screen.lines(make_screen())) == [
        COURSE_LINE,
        "rung2 on gpu: not evaluable: 1 of 16 runs have no score",
        "rung1 on cpu",
        f"  d: {effect}",
        "  small: +0.125000 [-1.000000, +0.250000], corrected p 0.0235",
        "rung1 on gpu",
        f"  d: {effect}",
        "rung2 on cpu",
        f"  y: {effect}",
        "  x: +0.250000 [-1.000000, +0.250000], corrected p 0.0235",
        "the leader (a): 32.5 device-seconds, regret 0.001234",
        "at random: 8 device-seconds, regret 0.000000",
    ]
