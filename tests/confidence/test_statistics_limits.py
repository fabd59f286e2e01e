"""Intervals, tests and deletions at their limits, with few cells and with many."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from scipy import stats

from stages.confidence import equivalence
from stages.confidence.batch import BatchJudge
from stages.confidence.deletions import _PartialContract, deletions, without_cell, without_host, without_seed
from stages.confidence.equivalence import compare_with_margin, sign_flip_p, smallest_p
from stages.confidence.intervals import Estimate, block_interval, borrowed_interval
from stages.confidence.sensitivity import thresholds
from tests.confidence import cases
from tests.confidence.test_intervals import fixed, paired

TOP = {"R1": {"kind": "top_k", "k": 1}}


@pytest.mark.parametrize(
    ("cells", "p"), [(1, 1.0), (2, 0.5), (4, 0.125), (16, 2.0**-15), (17, 2.0**-16), (18, 1 / 65537), (40, 1 / 65537)]
)
def test_the_smallest_p_of_so_many_cells(cells, p):
    assert smallest_p(cells) == p


def test_one_cell_and_no_difference_at_all_are_p_one_and_a_sum_of_zero_too():
    assert sign_flip_p(paired(h1=[0.01], h2=[])) == 1.0
    assert sign_flip_p(paired(h1=[0.0, 0.0])) == 1.0
    assert sign_flip_p(paired(h1=[0.01, -0.01])) == 1.0
    assert sign_flip_p(paired(h1=[0.01, 0.0])) == 1.0
    assert sign_flip_p(paired(h1=[0.01, 0.02], h2=[0.03, 0.01])) == 0.125
    assert sign_flip_p(paired(h1=[-0.01, -0.02])) == 0.5


def test_sixteen_cells_are_counted_and_seventeen_drawn(monkeypatch):
    calls: list[int] = []
    real = stats.permutation_test

    def drawn(data: Any, *words: Any, **how: Any) -> Any:
        calls.append(how["n_resamples"])
        return real(data, *words, **{**how, "n_resamples": 99})

    monkeypatch.setattr(stats, "permutation_test", drawn)
    assert sign_flip_p(paired(h1=[0.01] * 16)) == 2.0**-15
    assert calls == []
    assert sign_flip_p(paired(h1=[0.01] * 17)) == pytest.approx(1 / 100, abs=0.02)
    assert calls == [equivalence.RESAMPLES]


@pytest.mark.parametrize(
    ("mean", "two_sided", "outcome", "p"),
    [
        (0.0, True, "equivalent", 0.0), (0.01, True, "inconclusive", 0.5), (0.02, True, "worse", 1.0), (-0.02, True, "better", 1.0),
        (-0.01, True, "inconclusive", 0.5), (0.0, False, "not worse", 0.0), (-0.02, False, "not worse", 0.0), (0.02, False, "worse", 1.0),
        (0.01, False, "inconclusive", 0.5),
    ],
)  # fmt: skip
def test_a_difference_without_spread_is_certain(mean, two_sided, outcome, p):
    found = compare_with_margin(Estimate(mean, 0.0, 0.0, 2, mean, mean), 0.01, two_sided)
    assert (found.outcome, found.p, found.test) == (outcome, p, "equivalence" if two_sided else "non-inferiority")


def test_two_one_sided_tests_take_the_larger_p():
    estimate = Estimate(0.004, 0.004, 0.002, 6, 0, 0)
    below, above = stats.t.cdf((0.004 - 0.01) / 0.002, 6), 1 - stats.t.cdf((0.004 + 0.01) / 0.002, 6)
    assert compare_with_margin(estimate, 0.01, True).p == pytest.approx(max(below, above))
    assert compare_with_margin(replace(estimate, mean=-0.004), 0.01, True).p == pytest.approx(max(below, above))
    assert compare_with_margin(replace(estimate, mean=-0.004), 0.01, False).p == pytest.approx(above)


def test_differences_have_their_cells_their_hosts_and_their_means():
    made = paired(h1=[0.1, 0.3], h2=[0.5, 0.5])
    assert (made.cells, made.mean, made.steady) == (4, Fraction(35, 100), False)
    assert made.host_means == {"h1": Fraction(1, 5), "h2": Fraction(1, 2)}
    assert made.flat == [Fraction(1, 10), Fraction(3, 10), Fraction(1, 2), Fraction(1, 2)]
    assert (made.on(["h2"]).mean, made.on(["h2"]).steady, list(made.on(["h2"]).differences)) == (
        Fraction(1, 2),
        True,
        ["h2"],
    )


def test_a_steady_pair_has_the_mean_of_the_hosts_that_it_is_asked_of():
    made = block_interval(paired(h1=(0.01, 0.01), h2=(0.02, 0.02)), ["h2"])
    assert (made.mean, made.sd, made.se, made.df, made.lower, made.upper) == (0.02, 0.0, 0.0, 2, 0.02, 0.02)


def test_an_interval_has_the_level_that_it_is_asked_for():
    cells = paired(h1=(0.01, 0.03, 0.02))
    narrow, wide = (block_interval(cells, ["h1"], level) for level in (0.5, 0.99))
    assert (narrow.upper - narrow.mean, wide.upper - wide.mean) == pytest.approx(
        [stats.t.ppf(0.75, 2) * narrow.se, stats.t.ppf(0.995, 2) * narrow.se]
    )
    assert (narrow.sd, narrow.se) == (pytest.approx(0.01), pytest.approx(0.01 / 3**0.5))


def test_borrowed_noise_of_nothing_is_a_point_and_of_several_seeds_smaller():
    still = borrowed_interval(paired(h1=(0.01,), h2=(0.02,)), fixed(("h1", "h2"), ((0.0, 0.0), (0.0, 0.0)), 4))
    assert (still.se, still.lower, still.upper, still.mean, still.df, still.sd) == (0.0, 0.015, 0.015, 0.015, 4, 0.0)
    against = borrowed_interval(paired(h1=(0.01,), h2=(0.02,)), fixed(("h1", "h2"), ((1e-6, -2e-6), (-2e-6, 1e-6)), 4))
    assert (against.se, against.lower) == (0.0, 0.015), "a variance below zero is none"
    noise = fixed(("h2", "h1"), ((9e-6, 0.0), (0.0, 1e-6)), 4)
    alone = borrowed_interval(paired(h1=(0.01, 0.03)), noise)
    assert (alone.se, alone.sd) == (pytest.approx((2 * 1e-6 / 2) ** 0.5), pytest.approx((2e-6) ** 0.5))
    half = borrowed_interval(paired(h1=(0.01, 0.03)), noise, 0.5)
    assert half.upper - half.mean == pytest.approx(stats.t.ppf(0.75, 4) * alone.se)


SCORES = {"cmp": [1.0, 1.1, 1.2, 1.3], "ref": [1.05] * 4}


def test_what_is_left_out_is_gone_for_every_candidate_and_from_the_floor_of_its_host():
    evidence = cases.evidence(TOP, SCORES, floor={"h1": [1.0, 1.1], "h2": [1.0, 1.1]})
    seed = without_seed(evidence, 31)
    assert (seed.contract.seeds, set(seed.runs)) == (
        (32,),
        {(name, (host, 32)) for name in SCORES for host in ("h1", "h2")},
    )
    assert len(seed.floor) == 4
    cell = without_cell(evidence, ("h1", 31))
    assert len(cell.runs) == 6 and ("h1", 31) not in cell.contract.cells and len(cell.floor) == 4
    assert isinstance(cell.contract, _PartialContract) and cell.contract.gate == evidence.contract.gate
    single = without_host(evidence, "h1")
    assert (tuple(single.contract.hosts), {key[1][0] for key in single.runs}) == (("h2",), {"h2"})
    three = cases.evidence(TOP, {name: values[:3] for name, values in SCORES.items()}, hosts=("h1", "h2", "h3"), seeds=(31,),
                           floor={"h1": [1.0, 1.1], "h2": [1.0, 1.1], "h3": [1.0, 1.1]})  # fmt: skip
    two = without_host(three, "h2")
    assert (tuple(two.contract.hosts), {key[1][0] for key in two.runs}, {run.host for run in two.floor}) == (
        ("h1", "h3"), {"h1", "h3"}, {"h1", "h3"},
    )  # fmt: skip


def test_three_hosts_of_one_seed_are_left_out_as_hosts_alone():
    gate = cases.gate(TOP, {name: values[:3] for name, values in SCORES.items()}, hosts=("h1", "h2", "h3"), seeds=(31,))
    assert [(one.kind, one.left_out) for one in deletions(gate)] == [("host", "h1"), ("host", "h2"), ("host", "h3")]


def ends(rules: Any, scores: Any, **over: Any) -> dict[str, Any]:
    gate = cases.gate(rules, scores, **over)
    return {one.rule: one for one in thresholds(gate, BatchJudge(gate.evidence))}


def test_more_places_than_candidates_end_where_the_last_of_them_would_stop():
    found = ends({"R1": {"kind": "top_k", "k": 9}}, {"a": [1.0] * 4, "b": [1.1] * 4, "c": [1.2] * 4})["R1"]
    assert (found.lower.value, found.lower.inclusive, found.upper) == (3, True, None)
    least = ends({"R1": {"kind": "top_k", "k": 1}}, {"a": [1.0] * 4, "b": [1.1] * 4})["R1"]
    assert (least.lower, least.upper.value, least.upper.inclusive) == (None, 1, True)


@pytest.mark.parametrize(("tau", "lower", "upper"), [(0.2, None, 1 / 3), (0.5, 1 / 3, None)])
def test_an_agreement_ends_at_the_one_that_was_observed(tau, lower, upper):
    rules = {"R1": {"kind": "min_host_agreement", "tau": tau}, "R2": {"kind": "top_k", "k": 1}}
    scores = {"a": [1.0, 1.0, 1.0, 1.0], "b": [1.1, 1.1, 1.2, 1.2], "c": [1.2, 1.2, 1.1, 1.1]}
    found = ends(rules, scores)["R1"]
    assert [end and end.value for end in (found.lower, found.upper)] == [
        value and pytest.approx(value) for value in (lower, upper)
    ]
    changed = found.lower or found.upper
    assert changed.changes[0].what == "outcome"


def test_rules_without_a_number_have_no_interval():
    rules = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "keep_role", "role": "reference"}, "R3": {"kind": "mean_gap",
             "role": "comparator", "to": "reference", "most": 0.5}}  # fmt: skip
    found = ends(rules, {"cmp": [1.2] * 4, "ref": [1.0] * 4}, floor=None)
    assert list(found) == ["R3"]
    one = found["R3"]
    assert (one.kind, one.field, one.value, one.lower.value, one.lower.inclusive, one.upper) == (
        "mean_gap",
        "most",
        0.5,
        0.2,
        True,
        None,
    )
