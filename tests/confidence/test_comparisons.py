"""Who is compared with whom, by each kind of rule.

python -m pytest tests/confidence/test_comparisons.py
"""

from fractions import Fraction

import pytest

from stages.confidence import comparisons
from stages.confidence.comparisons import Margin, compare, detectable, near_margin, pairs
from stages.confidence.equivalence import detectable_effect
from stages.confidence.noise import noise_of
from stages.confidence.study import assess_gates
from tests.confidence import cases

SCORES = {"cmp": [1.0] * 4, "d": [1.1] * 4, "ref": [1.2] * 4, "sen": [1.3] * 4}


def told(rules, scores=SCORES, near=None, **over):
    listed = pairs(cases.gate({"R1": rules}, scores, **over), near)
    return {one.config: (one.against, one.against_as, one.hosts) for one in listed}


def test_a_cut_compares_each_with_the_first_on_the_other_side():
    both = ("h1", "h2")
    assert told({"kind": "top_k", "k": 2}) == {
        "cmp": ("ref", "cut", both), "d": ("ref", "cut", both), "ref": ("d", "cut", both), "sen": ("d", "cut", both),
    }  # fmt: skip


def test_a_tie_across_the_cut_is_the_nearest_of_all():
    scores = {"cmp": [1.0] * 4, "d": [1.2] * 4, "ref": [1.2] * 4, "sen": [1.3] * 4}
    listed = pairs(cases.gate({"R1": {"kind": "top_k", "k": 2}}, scores), None)
    distances = [(pair.config, pair.distance) for pair in listed]
    tenth = Fraction(1, 10)
    assert distances == [("d", 0), ("ref", 0), ("sen", tenth), ("cmp", -2 * tenth)]


def test_a_cut_with_room_for_all_compares_nobody():
    assert told({"kind": "top_k", "k": 4}) == {}


def test_a_cut_on_any_host_compares_on_the_host_that_is_nearest_to_letting_it_through():
    scores = {"cmp": [1.0, 1.0, 1.3, 1.3], "d": [1.2, 1.2, 1.0, 1.0], "ref": [1.1, 1.1, 1.2, 1.2]}
    assert told({"kind": "top_k", "k": 1, "by": "each_host"}, scores) == {
        "cmp": ("ref", "cut", ("h1",)), "d": ("ref", "cut", ("h2",)), "ref": ("cmp", "cut", ("h1",)),
    }  # fmt: skip


def test_a_worst_host_is_paired_where_it_is_the_worst_of_both():
    scores = {"cmp": [1.0, 1.0, 1.1, 1.1], "d": [1.1, 1.1, 1.2, 1.2], "ref": [1.4, 1.4, 1.0, 1.0]}
    rule = {"kind": "exceeds_gap", "gap": 0.2, "by": "worst_host"}
    assert told(rule, scores) == {"d": ("cmp", "best", ("h2",)), "ref": ("cmp", "best", ())}
    gate = cases.gate({"R1": rule}, scores)
    made = {one.config: compare(one, gate.evidence, noise_of(gate, [gate])) for one in pairs(gate, None)}
    assert made["ref"].mean is None and made["ref"].note == "their worst hosts differ (h1, h2): no cells to pair"
    assert (made["d"].cells, made["d"].df) == (2, 2)  # the cells of one host, the spread of both


def test_a_gap_to_a_role_compares_everybody_else_with_it():
    rule = {"kind": "within_gap", "gap": 0.15, "of": "reference"}
    assert {name: one[0] for name, one in told(rule).items()} == {"cmp": "ref", "d": "ref", "sen": "ref"}
    [first, *_] = pairs(cases.gate({"R1": rule}, SCORES), None)
    assert (first.config, first.margin, first.two_sided) == ("sen", Margin(0.15, None), False)


def test_first_in_all_cells_compares_everybody_with_the_role_within_the_margin_that_the_study_has():
    rules = {
        "R1": {"kind": "first_in_all_cells", "role": "reference"},
        "R2": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.03},
        "R3": {"kind": "near_equivalent", "role": "sentinel", "to": "reference", "margin": 0.02},
    }
    gate = cases.gate(rules, SCORES, name="gate2")
    near = near_margin([cases.gate({"R1": {"kind": "top_k", "k": 1}}, SCORES, name="gate1"), gate])
    assert near == Margin(0.02, "gate2.R3")
    listed = pairs(gate, near)
    assert [one.config for one in listed if one.rule == "R1"] == ["d", "sen", "cmp"]
    assert {one.margin for one in listed if one.rule == "R1"} == {near}
    assert [(one.config, one.against, one.margin) for one in listed if one.rule == "R2"] == [
        ("cmp", "ref", Margin(0.03, None))
    ]


def test_a_study_without_a_margin_of_its_own_tests_no_equivalence():
    assert near_margin([cases.gate({"R1": {"kind": "top_k", "k": 1}}, SCORES)]) is None
    made = assess_gates([cases.gate({"R1": {"kind": "top_k", "k": 1}}, SCORES, name="gate1")])
    assert {(one.margin, one.test, one.outcome) for one in made.gates["gate1"].comparisons} == {(None, None, None)}


def test_what_did_not_finish_is_missing_and_never_a_number():
    scores = {**SCORES, "cmp": [1.0, 1.0, 1.0, None]}
    rules = {"R1": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01}}
    gate = cases.gate(rules, scores)
    [one] = [compare(pair, gate.evidence, noise_of(gate, [gate])) for pair in pairs(gate, None)]
    assert (one.mean, one.lower, one.outcome, one.p_permutation, one.cells) == (None, None, None, None, 0)
    assert one.note == "not every cell of both finished"


def test_of_very_many_the_nearest_to_the_cut_are_listed_and_the_rest_counted(monkeypatch):
    monkeypatch.setattr(comparisons, "LISTED", 3)
    scores = {f"c{n}": [1 + n / 100, 1 + n / 100 + 0.001, 1 + n / 100, 1 + n / 100] for n in range(8)}
    made = assess_gates([cases.gate({"R1": {"kind": "top_k", "k": 4}}, scores, name="gate1")]).gates["gate1"]
    assert {one.config for one in made.comparisons} == {"c3", "c4", "c2"}  # of c2 and c5, as near, the first
    assert made.left_out == 5


def test_what_can_be_seen_follows_from_the_gates_noise_and_cells():
    gate = cases.gate({"R1": {"kind": "top_k", "k": 1}}, {"cmp": [1.0, 1.02, 1.0, 1.02], "ref": [1.0] * 4})
    noise = noise_of(gate, [gate])  # sd 0.01 on both hosts
    assert detectable(noise, ["h1", "h2"], 2) == pytest.approx(detectable_effect(4, 2) * 0.01 * 2**0.5)
    assert detectable(noise, ["h1", "h2"], 4) == pytest.approx(detectable_effect(8, 6) * 0.01 * 2**0.5)
    assert detectable(noise, [], 2) is None


def test_distances_are_exact():
    [one] = pairs(cases.gate({"R1": {"kind": "within_gap", "gap": 0.1}}, {"cmp": [1.0] * 4, "ref": [1.3] * 4}), None)
    assert one.distance == Fraction(1, 5)
