"""Effects: known ones are found, tests and intervals agree with other libraries, noise is not taken for an effect."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from stages.screen.design import make_design, write_configs
from stages.screen.effects import (
    ALPHA,
    Effect,
    FactorCourse,
    Missing,
    Observation,
    _Column,
    _columns,
    _correct,
    _course,
    _is_same,
    _separate,
    assess,
)

FACTORS = {"d": {"depth": [1, 2]}, "b": {"batch": [512, 2048]}, "lr": {"rate": [0.1, 0.2]}}
CELLS = {"rung1": (("h", 1), ("h", 2))}


def observe(effect, cells=CELLS, factors=FACTORS, resolution=5, noise=0.0, seed=0):
    """(factors, configs, cells, observations) of scores `effect(rung, host, levels)` with noise."""
    draw = np.random.default_rng(seed)
    design = make_design(factors, resolution)
    configs = write_configs(design, {})
    runs = [
        Observation(rung, config, host, s, effect(rung, host, levels) + noise * draw.normal())
        for rung, declared in cells.items()
        for host, s in declared
        for config, levels in zip(configs, design.rows, strict=True)
    ]
    return factors, configs, cells, runs


def found(result, name, rung="rung1", host="h"):
    return next(e for e in result.effects if (e.name, e.rung, e.host) == (name, rung, host))


def test_effects_and_interactions_are_those_that_made_the_scores():
    result = assess(*observe(lambda rung, host, x: 2 + 0.1 * x[0] - 0.04 * x[1] + 0.08 * x[1] * x[2]))
    assert found(result, "d").estimate == pytest.approx(0.1)
    assert found(result, "b").estimate == pytest.approx(-0.04 + 0.04)
    assert found(result, "b x lr").estimate == pytest.approx(0.04)
    assert found(result, "d x lr").estimate == 0


def test_a_factor_of_three_levels_has_a_trend_and_a_curvature():
    factors = {"w": {"w": [1, 2, 3]}, "d": {"depth": [1, 2]}}
    result = assess(*observe(lambda rung, host, x: (1.0, 1.5, 1.2)[x[0]], factors=factors))
    assert found(result, "w").estimate == pytest.approx(0.2)
    assert found(result, "w (curvature)").estimate == pytest.approx((1.0 + 1.2) / 2 - 1.5)


def test_main_effects_and_their_tests_agree_with_a_two_sample_t_test_where_one_factor_alone_varies():
    factors = {"d": {"depth": [1, 2]}, "b": {"batch": [1, 2]}}
    cells = {"rung1": tuple(("h", s) for s in range(1, 6))}
    given = observe(lambda rung, host, x: 2 + 0.01 * x[0], cells, factors, noise=0.01, seed=4)
    result = assess(*given)
    runs = given[3]
    low = [run.value for run in runs if given[1][run.config]["depth"] == 1]
    high = [run.value for run in runs if given[1][run.config]["depth"] == 2]
    assert found(result, "d").estimate == pytest.approx(np.mean(high) - np.mean(low), abs=1e-6)
    # The same by the analysis of variance of all four cells: t squared is F on 1 and 16 degrees of freedom.
    cell = {name: [run.value for run in runs if run.config == name] for name in given[1]}
    residual = sum(np.var(values, ddof=1) * 4 for values in cell.values()) / 16
    t = (np.mean(high) - np.mean(low)) / np.sqrt(residual * (1 / 10 + 1 / 10))
    assert found(result, "d").p == pytest.approx(2 * stats.t.sf(abs(t), 16), abs=1e-6)
    half = stats.t.ppf(0.975, 16) * np.sqrt(residual / 5)
    assert found(result, "d").upper - found(result, "d").estimate == pytest.approx(half, abs=2e-6)


def test_the_correction_is_over_all_effects_of_a_budget_and_agrees_with_scipy():
    cells = {"rung1": tuple(product("gh", (1, 2))), "rung2": tuple(product("gh", (3, 4)))}
    result = assess(*observe(lambda rung, host, x: 2 + 0.02 * x[0], cells, noise=0.01, seed=2))
    for rung in cells:
        family = [effect for effect in result.effects if effect.rung == rung]
        assert len(family) == 12
        expected = stats.false_discovery_control([effect.p for effect in family])
        assert [effect.corrected for effect in family] == pytest.approx(list(expected), abs=2e-5)


def test_intervals_cover_and_pure_noise_is_shown_as_seldom_as_it_should_be():
    covered, shown, studies = 0, 0, 300
    for seed in range(studies):
        result = assess(*observe(lambda rung, host, x: 2 + 0.03 * x[0], noise=0.01, seed=seed))
        depth = found(result, "d")
        covered += depth.lower <= 0.03 <= depth.upper
        noise = assess(*observe(lambda rung, host, x: 2.0, noise=0.01, seed=1000 + seed))
        shown += any(effect.shown for effect in noise.effects)
    # Four standard errors of a share around 0.95 and 0.05.
    assert abs(covered / studies - 0.95) < 4 * (0.95 * 0.05 / studies) ** 0.5
    assert abs(shown / studies - 0.05) < 4 * (0.95 * 0.05 / studies) ** 0.5


def test_without_replication_nothing_is_tested():
    result = assess(*observe(lambda rung, host, x: 2 + 0.1 * x[0], {"rung1": (("h", 1),)}))
    assert [(e.p, e.corrected, e.lower, e.shown) for e in result.effects] == [(None, None, None, False)] * 6


def test_what_the_design_cannot_tell_apart_is_named_beside_the_effect():
    result = assess(*observe(lambda rung, host, x: 2 + 0.1 * x[0], resolution=3))
    assert found(result, "d").aliases == ("b x lr",)
    assert [effect.kind for effect in result.effects] == ["main"] * 3


def test_a_missing_run_leaves_its_budget_and_host_without_effects_and_says_so():
    factors, configs, cells, runs = observe(lambda rung, host, x: 2.0, {"rung1": tuple(product("gh", (1, 2)))})
    result = assess(factors, configs, cells, runs[1:])
    assert [(gap.host, gap.reason) for gap in result.missing] == [("g", "1 of 16 runs have no score")]
    assert {effect.host for effect in result.effects} == {"h"}


@pytest.mark.parametrize(
    ("last", "course"),
    [(-0.1, "reverses"), (0.02, "relaxes"), (0.0, "relaxes"), (0.08, "lasts")],
)
def test_what_becomes_of_a_penalty(last, course):
    cells = {"rung1": (("h", 1), ("h", 2)), "rung2": (("h", 3), ("h", 4))}
    result = assess(*observe(lambda rung, host, x: 2 + (0.1 if rung == "rung1" else last) * x[0], cells, noise=1e-4))
    depth = next(c for c in result.courses if c.factor == "d")
    assert (depth.course, depth.penalised) == (course, 1)


def test_an_effect_that_only_a_long_budget_shows_appears():
    cells = {"rung1": (("h", 1), ("h", 2)), "rung2": (("h", 3), ("h", 4))}
    result = assess(*observe(lambda rung, host, x: 2 - (0.1 if rung == "rung2" else 0) * x[0], cells, noise=1e-3))
    assert {c.factor: c.course for c in result.courses} == {"d": "appears", "b": "not shown", "lr": "not shown"}


def test_a_saturated_screen_has_exact_effects_and_nothing_else():
    factors = {"d": {"depth": [1, 2]}, "w": {"w": [1, 2, 3]}}
    given = observe(lambda rung, host, x: 2 + 0.1 * x[0] + (0, 0.5, 0.2)[x[1]], {"r": (("h", 1),)}, factors)
    result = assess(*given)

    def effect(name, kind, of, estimate):
        return Effect("r", "h", name, kind, of, estimate, None, None, None, None, ())

    assert result.effects == (
        effect("d", "main", ("d",), 0.1),
        effect("w", "main", ("w",), 0.2),
        effect("w (curvature)", "curvature", ("w",), -0.4),
        effect("d x w", "interaction", ("d", "w"), 0.0),
    )
    assert (result.missing, result.courses) == ((), ())


def test_the_columns_of_effects_are_centred_and_of_the_size_of_the_effect():
    factors = {"d": {"depth": [1, 2]}, "w": {"w": [1, 2, 3]}, "b": {"batch": [4, 8]}}
    columns = list(_columns(factors, [(0, 0, 1), (1, 1, 0), (1, 2, 1), (0, 2, 0)]))
    assert {column.name: [round(float(x), 6) for x in column.values] for column in columns} == {
        "d": [-0.5, 0.5, 0.5, -0.5],
        "w": [-0.5, 0.0, 0.5, 0.5],
        "b": [0.5, -0.5, 0.5, -0.5],
        "w (curvature)": [0.333333, -0.666667, 0.333333, 0.333333],
        "d x w": [0.5, 0.0, 0.5, -0.5],
        "d x b": [-0.5, -0.5, 0.5, 0.5],
        "w x b": [-0.5, -0.0, 0.5, -0.5],
    }


def test_columns_are_one_but_for_sign_and_size():
    column = np.array([1.0, -1.0, 0.0])
    assert _is_same(column, 3 * column) and _is_same(column, -column) and _is_same(0.1 * column, 0.1 * column)
    assert not _is_same(column, np.array([1.0, 1.0, -2.0]))
    assert not _is_same(column, np.array([1.0, -0.9, -0.1]))
    assert not _is_same(column, np.zeros(3))


def test_no_estimate_is_a_negative_zero():
    result = assess(*observe(lambda rung, host, x: 2 - 1e-9 * x[0]))
    assert {repr(effect.estimate) for effect in result.effects} == {"0.0"}


def test_a_design_that_leaves_runs_over_but_repeats_none_is_not_tested():
    factors = {"v": {"v": [1, 2, 3]}, "w": {"w": [1, 2, 3]}}
    result = assess(*observe(lambda rung, host, x: 2 + 0.1 * x[0] * x[1], {"r": (("h", 1),)}, factors))
    assert len(result.effects) == 5
    assert {(effect.p, effect.lower, effect.upper) for effect in result.effects} == {(None, None, None)}


def test_what_is_not_tested_is_no_part_of_the_family_and_p_is_rounded():
    family = [Effect("r", "h", "d", "main", ("d",), 0.1, 0.0, 0.2, p, None, ()) for p in (0.01234567, None, 0.04)]
    assert [(effect.p, effect.corrected) for effect in _correct(family)] == [
        (0.012346, 0.024691), (None, None), (0.04, 0.04)
    ]  # fmt: skip
    assert _correct([family[1]]) == [family[1]]


@pytest.mark.parametrize(("corrected", "shown"), [(None, False), (ALPHA, False), (0.049999, True), (0.0, True)])
def test_an_effect_is_shown_below_the_level(corrected, shown):
    assert effect_of(0.1, corrected).shown is shown


def effect_of(estimate: float, corrected: float | None) -> Effect:
    return Effect("r", "h", "d", "main", ("d",), estimate, None, None, corrected, corrected, ())


@pytest.mark.parametrize(
    ("begin", "end", "course"),
    [
        ((0.1, True), (-0.1, True), "reverses"),
        ((-0.1, True), (0.1, True), "reverses"),
        ((0.1, True), (-0.1, False), "relaxes"),
        ((0.1, True), (0.2, False), "relaxes"),
        ((0.1, True), (0.05, True), "lasts"),
        ((0.1, True), (0.049, True), "relaxes"),
        ((-0.1, True), (-0.05, True), "lasts"),
        ((-0.1, True), (-0.049, True), "relaxes"),
        ((0.0, True), (0.1, True), "reverses"),
        ((0.1, True), (0.0, True), "reverses"),
        ((-0.1, True), (0.0, True), "relaxes"),
        ((0.0, True), (-0.1, True), "lasts"),
        ((0.1, False), (-0.1, True), "appears"),
        ((0.1, False), (0.1, False), "not shown"),
    ],
)
def test_the_course_of_an_effect_goes_by_its_sign_and_by_what_is_left(begin, end, course):
    first, last = (effect_of(estimate, 0.01 if shown else 0.5) for estimate, shown in (begin, end))
    assert _course(first, last) == course


def test_courses_are_of_main_effects_on_hosts_that_have_both_ends():
    factors = {"d": {"depth": [1, 2]}, "w": {"w": [1, 2, 3]}}
    cells = {"rung1": (("g", 1), ("h", 1)), "rung2": (("h", 2),), "rung3": (("h", 3), ("g", 3))}

    def score(rung, host, x):
        return 2 - 0.1 * x[0] + (0.3 if rung == "rung1" else 0.2) * x[1]

    factors, configs, cells, runs = observe(score, cells, factors)
    gone = next(run for run in runs if (run.rung, run.host) == ("rung3", "g"))
    result = assess(factors, configs, cells, [run for run in runs if run != gone])
    assert result.missing == (Missing("rung3", "g", "1 of 6 runs have no score"),)
    assert result.courses == (
        FactorCourse("d", "h", "not shown", 0, -0.1, -0.1),
        FactorCourse("w", "h", "not shown", 2, 0.6, 0.4),
    )
    flat = assess(*observe(lambda rung, host, x: 2.0, {"a": (("h", 1),), "b": (("h", 1),)}))
    assert {course.penalised for course in flat.courses} == {0}


def test_a_single_rung_has_no_course():
    assert assess(*observe(lambda rung, host, x: 2 + 0.1 * x[0])).courses == ()


def test_columns_of_a_design_that_is_not_balanced_are_told_apart_by_what_varies():
    half = np.array([1.0, 0.0, 0.0, 0.0])
    columns = [_Column(name, "main", (name,), values) for name, values in (("a", half), ("b", 1 - 2 * half))]
    kept, aliases = _separate(columns)
    assert ([column.name for column in kept], aliases) == (["a"], {"a": ["b"]})
