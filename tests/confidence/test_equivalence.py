"""Tests on paired differences: against statsmodels, exact enumeration and published examples, and their size.

python -m pytest tests/confidence/test_equivalence.py
"""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from stages.confidence import equivalence
from stages.confidence.equivalence import compare_with_margin, detectable_effect, sign_flip_p, smallest_p
from stages.confidence.intervals import Estimate, block_interval
from tests.confidence.test_intervals import SLEEP, paired

#: Darwin's fifteen pairs of Zea mays, differences in eighths of an inch; R. A. Fisher, The Design of Experiments (1935), ch. 3.
DARWIN = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)


@pytest.mark.parametrize("margin", [0.5, 2.0, 3.0])
def test_both_one_sided_tests_are_those_of_statsmodels(margin):
    made = compare_with_margin(block_interval(paired(h1=SLEEP), ["h1"]), margin, two_sided=True)
    p, _, (_, upper, _) = ttost_paired(np.array(SLEEP), np.zeros(10), -margin, margin)
    assert made.p == pytest.approx(p)
    one_sided = compare_with_margin(block_interval(paired(h1=SLEEP), ["h1"]), margin, two_sided=False)
    assert one_sided.p == pytest.approx(upper)


def test_two_hosts_are_tested_as_ordinary_least_squares_tests_them():
    from statsmodels.regression.linear_model import OLS

    one, other = (0.010, 0.014, 0.009), (0.001, -0.002, 0.005)
    made = compare_with_margin(block_interval(paired(h1=one, h2=other), ["h1", "h2"]), 0.012, two_sided=False)
    fit = OLS(np.array([*one, *other]), np.repeat(np.eye(2), 3, axis=0)).fit()
    test = fit.t_test((np.array([[0.5, 0.5]]), [0.012]))
    assert made.p == pytest.approx(float(test.pvalue) / 2)


def test_four_cells_at_zero_difference_are_equivalent_within_0_010_only_below_a_published_spread():
    # four paired cells pass at 0.010 and zero difference only if their sd is under 0.0085
    outcomes = [
        compare_with_margin(Estimate(0.0, sd, sd / 2, 3, 0, 0), 0.010, two_sided=True).outcome
        for sd in (0.00849, 0.00851)
    ]
    assert outcomes == ["equivalent", "inconclusive"]


@pytest.mark.parametrize(
    ("mean", "two_sided", "outcome"),
    [
        (0.0, True, "equivalent"), (0.03, True, "worse"), (-0.03, True, "better"), (0.009, True, "inconclusive"),
        (-0.009, True, "inconclusive"), (0.0, False, "not worse"), (-0.03, False, "not worse"), (0.03, False, "worse"),
        (0.009, False, "inconclusive"),
    ],
)  # fmt: skip
def test_a_difference_is_called_by_where_its_interval_lies(mean, two_sided, outcome):
    estimate = Estimate(mean, 0.004, 0.002, 6, 0, 0)
    assert compare_with_margin(estimate, 0.01, two_sided).outcome == outcome


def test_a_difference_without_spread_is_called_by_its_value():
    values = [compare_with_margin(Estimate(m, 0.0, 0.0, 2, m, m), 0.01, True).outcome for m in (0.009, 0.01, 0.011)]
    assert values == ["equivalent", "inconclusive", "worse"]


@pytest.mark.parametrize(("mean", "two_sided"), [(0.010, True), (-0.010, True), (0.010, False)])
def test_a_difference_on_the_margin_is_called_equivalent_as_often_as_the_level_says(mean, two_sided):
    random = np.random.RandomState(17)
    runs = 600
    called = 0
    for _ in range(runs):
        drawn = np.round(mean + random.normal(0, 0.002, (2, 3)), 6).tolist()
        made = compare_with_margin(
            block_interval(paired(h1=drawn[0], h2=drawn[1]), ["h1", "h2"]), 0.010, two_sided=two_sided
        )
        called += made.outcome in ("equivalent", "not worse")
    assert abs(called / runs - 0.05) < 3 * (0.05 * 0.95 / runs) ** 0.5


def test_fishers_exact_test_of_darwins_plants():
    # Fisher counts 863 of 32,768 sign patterns with a sum of at least 314 (and as many below -314)
    assert sign_flip_p(paired(h1=DARWIN)) == pytest.approx(1726 / 32768)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=2, max_size=9))
def test_the_sign_flip_p_is_a_count_of_all_sign_patterns(thousandths):
    observed = abs(sum(thousandths))
    sums = [
        sum(s * v for s, v in zip(signs, thousandths, strict=True))
        for signs in product((1, -1), repeat=len(thousandths))
    ]
    cells = paired(h1=[value / 1000 for value in thousandths])
    exact = Fraction(sum(abs(total) >= observed for total in sums), len(sums))
    assert sign_flip_p(cells) == pytest.approx(float(exact))


@pytest.mark.parametrize("cells", [2, 3, 4, 6, 8])
def test_the_smallest_p_is_reached_when_every_cell_agrees(cells):
    assert sign_flip_p(paired(h1=[0.01 + n / 1000 for n in range(cells)])) == pytest.approx(smallest_p(cells))
    assert smallest_p(4) == 0.125


def test_no_difference_in_any_cell_has_a_p_of_one():
    assert sign_flip_p(paired(h1=[0.0] * 4)) == 1.0
    assert sign_flip_p(paired(h1=[0.01])) == 1.0 == smallest_p(1)


def test_many_cells_are_drawn_and_come_near_the_exact_p(monkeypatch):
    exact = sign_flip_p(paired(h1=DARWIN))
    monkeypatch.setattr(equivalence, "EXACT_CELLS", 10)
    drawn = sign_flip_p(paired(h1=DARWIN))
    assert drawn == sign_flip_p(paired(h1=DARWIN))
    assert abs(drawn - exact) < 6 * (exact * (1 - exact) / equivalence.RESAMPLES) ** 0.5
    assert 0 < smallest_p(20) <= 1 / equivalence.RESAMPLES


@pytest.mark.parametrize("cells", [3, 4, 8, 34])
def test_what_can_be_seen_is_what_statsmodels_solves_for(cells):
    solved = TTestPower().solve_power(nobs=cells, alpha=0.05, power=0.8)
    assert detectable_effect(cells, cells - 1) == pytest.approx(float(solved), rel=1e-5)


def test_half_a_deviation_takes_the_34_pairs_that_power_tables_give():
    # Cohen (1988), and G*Power: d = 0.5, two-sided 5 %, power 80 %, 34 pairs
    assert detectable_effect(34, 33) < 0.5 < detectable_effect(33, 32)


def test_a_gap_of_the_size_that_can_be_seen_is_seen_four_times_of_five():
    random = np.random.RandomState(23)
    runs, seen = 600, 0
    gap = detectable_effect(6, 4) * 0.003
    for _ in range(runs):
        drawn = np.round(gap + random.normal(0, 0.003, (2, 3)), 6).tolist()
        made = block_interval(paired(h1=drawn[0], h2=drawn[1]), ["h1", "h2"])
        seen += made.lower > 0 or made.upper < 0
    assert abs(seen / runs - 0.8) < 3 * (0.8 * 0.2 / runs) ** 0.5


def test_one_degree_of_freedom_has_an_answer():
    assert 10 < detectable_effect(2, 1) < 13
