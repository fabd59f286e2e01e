"""Comparisons, figure by figure: distances, pairs that cannot be paired, noise from elsewhere, and what is left blank."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.confidence import comparisons, equivalence, study
from stages.confidence.comparisons import Margin, Pair, compare, near_margin, pairs
from stages.confidence.intervals import block_interval, borrowed_interval, pair
from stages.confidence.results import Noise
from tests.confidence import cases

BOTH = ("h1", "h2")
SCORES: dict[str, Any] = {"cmp": [1.0, 1.01, 1.2, 1.21], "d": [1.1, 1.12, 1.15, 1.16], "ref": [1.05, 1.06, 1.3, 1.32]}
TOP = {"R1": {"kind": "top_k", "k": 1}}
#: On each host and between them, with three degrees of freedom.
FLOOR = Noise("floor", "rung1", True, BOTH, ((4e-4, 1e-4), (1e-4, 9e-4)), 3, "borrowed from rung1")
NONE = Noise("none", None, False, BOTH, (), 0, "no noise was measured: one seed a host, and no A/A runs")


def listed(rules: Any, scores: Any = SCORES, near: Margin | None = None, **over: Any) -> list[tuple[Any, ...]]:
    found = pairs(cases.gate(rules, scores, **over), near)
    return [
        (one.rule, one.config, one.against, one.against_as, one.hosts, one.two_sided, one.distance, one.why)
        for one in found
    ]


def test_a_cut_has_the_distance_of_the_means_and_those_inside_stand_below_it():
    # means of 1.105, 1.1325 and 1.1825
    assert listed(TOP) == [
        ("R1", "cmp", "d", "cut", BOTH, True, Fraction("-0.0275"), ""),
        ("R1", "d", "cmp", "cut", BOTH, True, Fraction("0.0275"), ""),
        ("R1", "ref", "cmp", "cut", BOTH, True, Fraction("0.0775"), ""),
    ]
    two = {one[1]: (one[2], one[6]) for one in listed({"R1": {"kind": "top_k", "k": 2}})}
    assert two == {"cmp": ("ref", Fraction("-0.0775")), "d": ("ref", Fraction("-0.05")), "ref": ("d", Fraction("0.05"))}


def test_a_cut_on_each_host_reports_where_a_candidate_is_inside_by_most_or_outside_by_least():
    rule = {"R1": {"kind": "top_k", "k": 1, "by": "each_host"}}
    # h1 orders cmp, ref, d (1.005, 1.055, 1.11); h2 orders d, cmp, ref (1.155, 1.205, 1.31)
    assert {one[1]: (one[2], one[4], one[6]) for one in listed(rule)} == {
        "cmp": ("ref", ("h1",), Fraction("-0.05")), "d": ("cmp", ("h2",), Fraction("-0.05")), "ref": ("cmp", ("h1",), Fraction("0.05")),
    }  # fmt: skip
    both = {"a": [1.0, 1.0, 1.0, 1.0], "b": [1.1, 1.1, 1.3, 1.3], "c": [1.2, 1.2, 1.2, 1.2]}
    found = {one[1]: (one[2], one[4], one[6]) for one in listed(rule, both)}
    assert found == {
        "a": ("c", ("h2",), Fraction("-0.2")), "b": ("a", ("h1",), Fraction("0.1")), "c": ("a", ("h1",), Fraction("0.2")),
    }  # fmt: skip


def test_a_worst_host_that_is_not_known_pairs_nothing_and_says_nothing():
    rule = {"R1": {"kind": "exceeds_gap", "gap": 0.1, "by": "worst_host"}}
    lost = {**SCORES, "d": [1.1, 1.12, None, 1.16]}
    assert [(one[1], one[4], one[6], one[7]) for one in listed(rule, lost)] == [
        ("ref", ("h2",), Fraction("1.31") - Fraction("1.205") - Fraction("0.1"), ""), ("d", (), None, ""),
    ]  # fmt: skip
    other = {"cmp": [1.0, 1.0, 1.1, 1.1], "d": [1.3, 1.3, 1.2, 1.2]}
    [(_, _, _, _, hosts, _, distance, why)] = listed(rule, other)
    assert (hosts, why) == ((), "their worst hosts differ (h1, h2): no cells to pair")
    assert distance == Fraction("1.3") - Fraction("1.1") - Fraction("0.1")


@pytest.mark.parametrize("kind", ["within_gap", "exceeds_gap"])
def test_gaps_are_distances_from_the_threshold_the_nearest_first(kind):
    assert [(one[1], one[2], one[3], one[6]) for one in listed({"R1": {"kind": kind, "gap": 0.03}})] == [
        ("d", "cmp", "best", Fraction("-0.0025")), ("ref", "cmp", "best", Fraction("0.0475")),
    ]  # fmt: skip
    gone = {"R1": {"kind": kind, "gap": 0.03, "of": "sentinel"}}
    assert [(one[1], one[2], one[6]) for one in listed(gone)] == [
        ("cmp", "sen", None),
        ("d", "sen", None),
        ("ref", "sen", None),
    ]
    assert listed({"R1": {"kind": kind, "gap": 0.03}}, {"cmp": [None] * 4, "ref": [None] * 4}) == []


def test_what_has_no_distance_comes_last_and_ties_go_by_name():
    scores = {"d": [1.2] * 4, "cmp": [1.0] * 4, "b": [1.2] * 4, "a": [None] * 4, "ref": [0.9] * 4}
    rule = {"R1": {"kind": "within_gap", "gap": 0.2}}
    assert [(one[1], one[6]) for one in listed(rule, scores)] == [
        ("b", Fraction("0.1")), ("cmp", Fraction("-0.1")), ("d", Fraction("0.1")), ("a", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "two_sided", "margin"),
    [({"kind": "near_equivalent", "margin": 0.01}, True, 0.01), ({"kind": "mean_gap", "most": 0.02}, False, 0.02)],
)
def test_two_roles_are_compared_within_their_own_margin(rule, two_sided, margin):
    rules = {"R4": {**rule, "role": "comparator", "to": "reference"}}
    [found] = pairs(cases.gate(rules, SCORES), Margin(9.0, "gate9.R9"))
    assert found == Pair(
        "R4", rule["kind"], "cmp", "ref", "reference", BOTH, Margin(margin, None), two_sided, Fraction("-0.0775")
    )
    [lost] = pairs(cases.gate(rules, {**SCORES, "cmp": [1.0, 1.0, 1.0, None]}), None)
    assert (lost.distance, lost.hosts) == (None, BOTH)


def test_first_in_all_cells_is_a_distance_from_the_role():
    near = Margin(0.5, "gate2.R1")
    gate = cases.gate({"R1": {"kind": "first_in_all_cells", "role": "reference"}}, SCORES)
    assert [(one.config, one.against, one.against_as, one.margin, one.two_sided, one.distance) for one in pairs(gate, near)] == [
        ("d", "ref", "reference", near, True, Fraction("-0.05")), ("cmp", "ref", "reference", near, True, Fraction("-0.0775")),
    ]  # fmt: skip


def test_rules_that_compare_nobody_have_no_pairs():
    rules = {
        "R1": {"kind": "complete_cells"},
        "R2": {"kind": "keep_role", "role": "reference"},
        "R3": {"kind": "diverged"},
    }
    assert listed(rules) == []


def test_the_margin_of_the_last_gate_that_has_one_is_the_smallest_of_it():
    def of(name: str, *margins: float) -> Any:
        rules = {
            f"R{n}": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": m}
            for n, m in enumerate(margins, 2)
        }
        return cases.gate({"R1": {"kind": "top_k", "k": 1}, **rules}, SCORES, name=name)

    assert near_margin([of("gate1", 0.001), of("gate2", 0.03, 0.02), of("gate3")]) == Margin(0.02, "gate2.R3")
    assert near_margin([]) is None


def compared(noise: Noise, scores: Any = SCORES, *, hosts: tuple[str, ...] = BOTH, margin: Margin | None = None, two_sided: bool = True,
             why: str = "", **over: Any) -> Any:  # fmt: skip
    evidence = cases.evidence(TOP, scores, **over)
    given = Pair("R1", "top_k", "d", "cmp", "cut", hosts, margin, two_sided, Fraction(0), why)
    return compare(given, evidence, noise), evidence


def test_a_comparison_with_replication_holds_every_figure():
    made, evidence = compared(FLOOR, margin=Margin(0.1, "gate3.R4"))
    paired = pair(evidence, "d", "cmp", BOTH)
    estimate = block_interval(paired, BOTH)
    test = equivalence.compare_with_margin(estimate, 0.1, True)
    assert made.mean == 0.0275 and made.host_means == {"h1": pytest.approx(0.105), "h2": pytest.approx(-0.05)}
    assert (made.rule, made.kind, made.config, made.against, made.against_as, made.hosts) == (
        "R1",
        "top_k",
        "d",
        "cmp",
        "cut",
        BOTH,
    )
    assert (made.cells, made.lower, made.upper, made.sd, made.df) == (4, estimate.lower, estimate.upper, estimate.sd, 2)
    assert (made.noise, made.margin, made.margin_from, made.note) == ("replication", 0.1, "gate3.R4", "")
    assert (made.test, made.p_test, made.outcome) == (test.test, test.p, test.outcome)
    assert (made.p_permutation, made.smallest_p) == (equivalence.sign_flip_p(paired), 0.125)
    assert made.detectable == comparisons.detectable(FLOOR, BOTH, 2)
    one_sided, _ = compared(FLOOR, margin=Margin(0.1, None), two_sided=False)
    assert (one_sided.test, one_sided.margin_from) == ("non-inferiority", None)
    bare, _ = compared(FLOOR)
    assert (bare.margin, bare.margin_from, bare.test, bare.p_test, bare.outcome) == (None, None, None, None, None)


def test_a_comparison_on_one_host_takes_its_spread_from_all_as_far_as_both_finished_there():
    made, evidence = compared(FLOOR, hosts=("h2",))
    estimate = block_interval(pair(evidence, "d", "cmp", BOTH), ("h2",))
    assert (made.cells, made.df, made.lower, made.noise) == (2, 2, estimate.lower, "replication")
    assert made.detectable == comparisons.detectable(FLOOR, ("h2",), 2)
    alone, evidence = compared(FLOOR, {**SCORES, "d": [None, 1.12, 1.15, 1.16]}, hosts=("h2",))
    assert (alone.df, alone.lower) == (1, block_interval(pair(evidence, "d", "cmp", ("h2",)), ("h2",)).lower)


def test_one_seed_a_host_borrows_its_noise_and_says_so():
    single = {name: values[::2] for name, values in SCORES.items()}
    made, evidence = compared(FLOOR, single, seeds=(31,), margin=Margin(0.1, None))
    estimate = borrowed_interval(pair(evidence, "d", "cmp", BOTH), FLOOR)
    assert (made.lower, made.upper, made.sd, made.df, made.noise, made.note) == (
        estimate.lower, estimate.upper, estimate.sd, 3, "floor", "borrowed from rung1",
    )  # fmt: skip
    assert made.outcome is not None
    blank, _ = compared(NONE, single, seeds=(31,), margin=Margin(0.1, None))
    assert (blank.mean, blank.cells, blank.df, blank.lower, blank.noise, blank.note) == (
        pytest.approx(0.025),
        2,
        0,
        None,
        "none",
        NONE.text,
    )
    assert (blank.test, blank.outcome, blank.margin, blank.detectable, blank.smallest_p) == (None, None, 0.1, None, 0.5)


def test_what_cannot_be_paired_says_why():
    lost, _ = compared(FLOOR, {**SCORES, "d": [1.1, 1.12, 1.15, None]})
    assert (lost.mean, lost.cells, lost.host_means, lost.df, lost.noise, lost.note) == (
        None,
        0,
        {},
        0,
        "none",
        "not every cell of both finished",
    )
    why, _ = compared(FLOOR, hosts=(), why="their worst hosts differ")
    assert why.note == "their worst hosts differ"


def test_cells_that_differ_by_the_same_amount_have_no_spread():
    made, _ = compared(FLOOR, {**SCORES, "cmp": [1.0, 1.02, 1.05, 1.06]}, margin=Margin(0.2, None))
    assert made.note == "no spread: the cells of each host differ by the same amount"
    assert (made.lower, made.upper, made.sd, made.outcome) == (0.1, 0.1, 0.0, "equivalent")


@pytest.mark.parametrize(
    ("noise", "hosts", "seeds", "cells", "df"),
    [
        (FLOOR, BOTH, 1, 2, 3), (FLOOR, ("h1",), 4, 4, 3), (replace(FLOOR, df=1), ("h1",), 2, 2, 1), (replace(FLOOR, source="replication"), BOTH, 2, 4, 2),
        (replace(FLOOR, source="replication"), ("h1",), 3, 3, 4),  # the spread is that of both hosts
    ],
)  # fmt: skip
def test_what_could_be_seen_has_the_cells_of_the_pair_and_the_freedom_of_the_noise(noise, hosts, seeds, cells, df):
    variance = 2 * sum({"h1": 4e-4, "h2": 9e-4}[host] for host in hosts) / len(hosts)
    expected = equivalence.detectable_effect(cells, df) * variance**0.5
    assert comparisons.detectable(noise, hosts, seeds) == pytest.approx(expected)


def test_what_has_no_noise_no_hosts_or_no_freedom_can_see_nothing():
    assert comparisons.detectable(NONE, BOTH, 2) is None
    assert comparisons.detectable(FLOOR, (), 2) is None
    assert comparisons.detectable(replace(FLOOR, source="replication"), BOTH, 1) is None
    assert comparisons.detectable(replace(FLOOR, df=0), BOTH, 2) is None


@pytest.mark.parametrize(
    ("most", "shown", "left"), [(3, ["d", "ref", "a"], 0), (2, ["d", "a"], 1), (1, ["a"], 2), (9, ["d", "ref", "a"], 0)]
)
def test_the_nearest_comparisons_are_listed_in_the_order_of_the_rules(monkeypatch, most, shown, left):
    distances = {"d": Fraction(-2, 10), "ref": None, "a": Fraction(1, 10)}
    given = [Pair("R1", "top_k", name, "b", "cut", BOTH, None, True, distance) for name, distance in distances.items()]
    monkeypatch.setattr(comparisons, "LISTED", most)
    monkeypatch.setattr(comparisons, "pairs", lambda gate, near: given)
    monkeypatch.setattr(comparisons, "compare", lambda pair, evidence, noise: pair.config)
    assert study._comparisons(cast("Any", SimpleNamespace(evidence=None)), NONE, None) == (shown, left)
