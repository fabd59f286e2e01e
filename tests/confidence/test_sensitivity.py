"""The interval of a threshold: nothing changes inside, something just beyond, and it is the real rules that say so.

python -m pytest tests/confidence/test_sensitivity.py
"""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.confidence.batch import BatchJudge
from stages.confidence.gates import fates_of
from stages.confidence.results import Change
from stages.confidence.sensitivity import NUMBERS, thresholds
from stages.domain.rules import EFFECTS
from tests.confidence import cases
from tests.confidence.test_batch import RULES, gates, made

TINY = Fraction(1, 10**9)


def thresholds_of(gate):
    return thresholds(gate, BatchJudge(gate.evidence))


def ends(rules, scores, **over):
    return {one.rule: one for one in thresholds_of(cases.gate(rules, scores, **over))}


def test_a_cut_says_how_many_may_go_on_before_a_fate_changes():
    rules = {"R1": {"kind": "top_k", "k": 2}, "R2": {"kind": "keep_role", "role": "sentinel"}}
    scores = {"cmp": [1.0] * 4, "d": [1.1] * 4, "ref": [1.3] * 4, "sen": [1.2] * 4}
    made = ends(rules, scores)["R1"]
    assert (made.field, made.value, made.lower.value, made.upper.value) == ("k", 2, 2, 3)
    assert made.lower.changes == (Change("candidate", "d", "goes on", "stopped"),)
    assert made.upper.changes == (Change("candidate", "ref", "stopped", "goes on"),)


def test_a_gap_that_is_not_exceeded_by_its_own_value_is_an_open_end():
    rules = {"R1": {"kind": "top_k", "k": 3}, "R2": {"kind": "exceeds_gap", "gap": 0.05}}
    made = ends(rules, {"cmp": [1.0] * 4, "d": [1.02] * 4, "ref": [1.08] * 4})["R2"]
    assert (made.lower.value, made.lower.inclusive, made.upper.value, made.upper.inclusive) == (0.02, True, 0.08, False)
    assert made.upper.changes == (Change("candidate", "ref", "stopped", "goes on"),)


def test_a_verdict_has_an_interval_too():
    rules = {"R1": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01}}
    made = ends(rules, {"cmp": [0.98] * 4, "ref": [1.0] * 4})["R1"]
    assert made.lower is None and (made.upper.value, made.upper.inclusive) == (0.02, False)
    assert made.upper.changes == (Change("verdict", "R1", "fails", "holds"),)


def test_a_number_that_changes_nothing_has_no_ends():
    rules = {"R1": {"kind": "top_k", "k": 2}, "R2": {"kind": "exceeds_gap", "gap": 5.0}}
    made = ends(rules, {"cmp": [1.0] * 4, "ref": [1.0] * 4})
    assert (made["R2"].lower, made["R2"].upper) == (None, None)
    assert made["R1"].upper is None


def test_a_value_that_lies_on_an_observation_ends_at_itself():
    rules = {"R1": {"kind": "within_gap", "gap": 0.02}}
    made = ends(rules, {"cmp": [1.0] * 4, "ref": [1.02] * 4})["R1"]
    assert (made.lower.value, made.lower.inclusive) == (0.02, True)
    assert made.lower.changes == (Change("candidate", "ref", "goes on", "stopped"),)
    assert made.upper is None


def test_a_gap_is_also_held_against_the_noise_floor():
    rules = {"R1": {"kind": "above_noise_floor", "multiple": 2.0}, "R2": {"kind": "within_gap", "gap": 0.1}}
    floor = {"h1": [1.0, 1.01, 1.02], "h2": [1.0, 1.01, 1.02]}
    made = ends(rules, {"cmp": [1.0] * 4, "ref": [1.0] * 4}, floor=floor)
    assert (made["R2"].lower.value, made["R2"].lower.inclusive) == (0.02, True)
    assert made["R2"].lower.changes[0] == Change("outcome", "gate", "decided", "blocked by R1")
    assert made["R1"].upper.value == pytest.approx(10, abs=2e-9)


def test_a_multiple_of_an_irrational_noise_floor_ends_within_a_billionth():
    rules = {"R1": {"kind": "above_noise_floor", "multiple": 0.5}, "R2": {"kind": "within_gap", "gap": 0.0025}}
    made = ends(rules, {"cmp": [1.0], "d": [1.0]}, floor={"h1": [1.0, 1.005]}, hosts=("h1",), seeds=(31,))
    assert made["R1"].upper.value == pytest.approx(0.5**0.5, abs=1e-9)  # 0.0025 / (0.005 / sqrt 2)


def test_every_rule_with_a_number_has_an_interval():
    with_numbers = {kind for kind in EFFECTS if kind in ("top_k", "min_host_agreement", "above_noise_floor")}
    with_numbers |= {"within_gap", "exceeds_gap", "near_equivalent", "mean_gap"}
    assert NUMBERS.keys() == with_numbers


@settings(max_examples=150, deadline=None)
@given(gates(), st.integers(1, 9))
def test_nothing_changes_inside_and_what_is_said_changes_just_beyond(gate, tenth):
    rules, scores, hosts, seeds, floor, environments = gate
    if len(hosts) == 3:  # thirds of a millionth have no end of nine decimals
        return
    frozen = cases.decided(made(gate))

    def changes(rule_id, field, value):
        changed = {**rules, rule_id: {**rules[rule_id], field: value}}
        other = cases.evidence(changed, scores, hosts=hosts, seeds=seeds, floor=floor, environments=environments)
        return frozen.fates.changes(fates_of(other), leader=False)

    for one in thresholds_of(frozen):
        field, least, most = NUMBERS[one.kind]
        value = Fraction(repr(rules[one.rule].get(field, one.value)))
        for end, limit, way in ((one.lower, least, -1), (one.upper, most, 1)):
            if one.kind == "top_k":
                at = Fraction(int(limit if end is None else end.value))
                inside, beyond = [int(at)], [] if end is None else [int(at) + way]
            else:
                blurred = 2 * TINY if _floored(one.kind, rules) else 0
                at = limit if end is None else Fraction(repr(end.value))
                if end is None and way < 0 and one.kind != "min_host_agreement":
                    at = TINY
                inside = [float(value + (at - way * blurred - value) * tenth / 10)]
                if end is None or end.inclusive:
                    inside.append(float(at - way * blurred))
                near = [Fraction(0), TINY] if end is not None and not end.inclusive else [TINY]
                outside = [] if end is None else [at + way * (step + blurred) for step in near]
                beyond = [float(number) for number in outside if least <= number <= most]
            for number in inside:
                assert changes(one.rule, field, number) == (), (one, number)
            for number in beyond:
                assert changes(one.rule, field, number) == end.changes != (), (one, number)


def _floored(kind, rules):
    return kind == "above_noise_floor" or any(rule["kind"] == "above_noise_floor" for rule in rules.values())


def test_the_kinds_that_are_drawn_above_hold_every_number():
    assert NUMBERS.keys() <= RULES.keys()
