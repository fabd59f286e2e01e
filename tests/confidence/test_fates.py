"""Fates of a gate and what differs between two; which gates have decided; noise and redraws at their limits."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from stages.confidence import gates, noise, redraws, study
from stages.confidence.gates import Fates, by_rung, decided_gates, in_order, with_rules
from stages.confidence.redraws import RedrawnGate, ladder_redraws
from stages.confidence.results import Change, Noise
from tests.confidence import cases

TOP = {"R1": {"kind": "top_k", "k": 1}}
PLAIN = {"cmp": [1.0, 1.02, 1.0, 1.02], "ref": [1.1] * 4}


def fates(**over: Any) -> Fates:
    body: dict[str, Any] = {
        "outcome": "decided", "blocked_by": (), "candidates": ("a", "b", "c"), "promoted": frozenset({"a"}),
        "verdicts": {"R1": True, "R2": None}, "leader": "a",
    }  # fmt: skip
    return Fates(**{**body, **over})


@pytest.mark.parametrize(
    ("over", "changes"),
    [
        ({}, ()),
        ({"promoted": frozenset({"b"})}, (("candidate", "a", "goes on", "stopped"), ("candidate", "b", "stopped", "goes on"))),
        ({"candidates": ("b", "c"), "promoted": frozenset()}, ()),  # a was not there to be stopped
        ({"verdicts": {"R1": False, "R2": True}}, (("verdict", "R1", "holds", "fails"), ("verdict", "R2", "cannot be evaluated", "holds"))),
        ({"verdicts": {"R1": None}}, (("verdict", "R1", "holds", "cannot be evaluated"),)),
        ({"leader": "b"}, (("leader", "lowest mean", "a", "b"),)),
        ({"leader": None}, (("leader", "lowest mean", "a", "nobody"),)),
        ({"outcome": "blocked", "blocked_by": ("R3", "R4")}, (("outcome", "gate", "decided", "blocked by R3, R4"),)),
    ],
)  # fmt: skip
def test_what_differs_between_two_fates(over, changes):
    now = fates(**over)
    assert fates().changes(now) == tuple(Change(*one) for one in changes)
    back = now.changes(fates(), leader=False)
    assert [(one.what, one.name, one.now, one.was) for one in back] == [one for one in changes if one[0] != "leader"]
    assert fates(leader=None).changes(fates(leader="a")) == (Change("leader", "lowest mean", "nobody", "a"),)


def test_records_are_kept_by_rung_in_their_order():
    runs = [SimpleNamespace(rung=rung, n=n) for n, rung in enumerate(("rung1", "rung2", "rung1"))]
    found = by_rung(cast("Any", runs))
    assert {rung: [run.n for run in of] for rung, of in found.items()} == {"rung1": [0, 2], "rung2": [1]}


def test_locks_are_in_order_up_to_the_first_that_is_missing():
    assert in_order(cast("Any", {"gate3": 3, "gate2": 2, "gate1": 1, "gate5": 5})) == [1, 2, 3]
    assert in_order(cast("Any", {"gate2": 2})) == []


@pytest.mark.parametrize(("lost", "left"), [((), 3), (("gate3",), 2), (("gate2",), 1), (("gate1",), 0)])
def test_gates_have_decided_up_to_the_first_that_has_not(case, lost, left):
    kept = {gate: decision for gate, decision in case.decisions.items() if gate not in lost and gate < "gate4"}
    found = decided_gates(case.locks, case.records, kept)
    assert [gate.name for gate in found] == [f"gate{n}" for n in range(1, left + 1)]
    empty = {**kept, "gate2": case.decisions["gate2"].model_copy(update={"candidates": []})}
    if left == 3:
        assert [gate.name for gate in decided_gates(case.locks, case.records, empty)] == ["gate1"]
        assert all({run.rung for run in gate.records} == {gate.name.replace("gate", "rung")} for gate in found)
        assert found[0].frozen is case.locks["gate1"].frozen


def test_evidence_under_other_rules_is_the_same_evidence():
    evidence = cases.evidence(TOP, PLAIN)
    other = with_rules(evidence, {})
    assert (other.rules, other.candidates, other.runs, other.floor) == (
        {},
        evidence.candidates,
        evidence.runs,
        evidence.floor,
    )
    assert gates.fates_of(evidence).promoted == {"cmp"} and gates.fates_of(other).promoted == set()


def test_what_was_measured_is_said_with_its_seeds_and_candidates():
    found = noise.replication(cases.gate(TOP, {**PLAIN, "d": [1.0, 1.1, None, 1.0]}))
    assert (found.text, found.borrowed, found.hosts) == (
        "measured at rung3 itself: 2 seeds a host, 2 candidates",
        False,
        ("h1", "h2"),
    )
    none = noise.noise_of(gate := cases.gate(TOP, {"cmp": [None] * 4}), [gate])
    assert none.text == "no noise was measured: no candidate finished in every cell, and no A/A runs"
    assert (none.source, none.rung, none.borrowed, none.hosts, none.covariance, none.df) == (
        "none",
        None,
        False,
        ("h1", "h2"),
        (),
        0,
    )


def test_residuals_leave_out_the_means_of_candidate_and_of_seed():
    scores = np.array([[[1.0], [3.0]], [[2.0], [8.0]], [[0.0], [1.0]]])
    rest, df = noise._residuals(scores)
    assert rest[..., 0].tolist() == [[0.5, -0.5], [-1.5, 1.5], [1.0, -1.0]] and df == 2
    alone, one = noise._residuals(scores[:1])
    assert alone[..., 0].tolist() == [[-1.0, 1.0]] and one == 1
    assert noise._covariance(rest.reshape(-1, 1), 2) == ((3.5,),)
    named = noise._noisiest(["a", "b", "c"], ["h"], scores)
    assert (named.config, named.share) == ("b", pytest.approx(4.5 / 7))
    # of the two others the residuals are -0.25 and 0.25 for each seed: 0.25 over one degree of freedom
    assert named.sd_without == {"h": pytest.approx(0.5)}
    assert noise._noisiest(["a", "b"], ["h"], scores[:2]) is None


def test_a_candidate_with_exactly_half_of_the_noise_is_not_named():
    even = np.array([[[0.0], [2.0]], [[2.0], [0.0]], [[1.0], [1.0]]])
    assert noise._noisiest(["a", "b", "c"], ["h"], even) is None


def test_the_nearest_floor_is_that_of_the_fewest_steps_and_none_where_there_is_none():
    floor = {"h1": [1.0, 1.01], "h2": [1.0, 1.03]}
    single = {name: values[:2] for name, values in PLAIN.items()}

    def of(name: str, **over: Any) -> Any:
        return cases.gate(TOP, single, seeds=(31,), name=name, **over)

    far = [of("gate1"), of("gate2", floor=floor), of("gate4", floor=floor), of("gate5")]
    assert [noise.noise_of(gate, far).rung for gate in (far[0], far[3])] == ["rung2", "rung4"]
    found = noise.noise_of(far[3], far)
    assert (found.df, found.borrowed, found.text) == (
        1,
        True,
        "borrowed from the A/A runs of rung4: 2 runs of the reference a host",
    )
    assert found.sd == pytest.approx({"h1": 0.01 / 2**0.5, "h2": 0.03 / 2**0.5})
    one = [of("gate1", floor={"h1": [1.0], "h2": [1.0]})]
    assert noise.noise_of(one[0], one).source == "none"
    assert noise._number(far[2]) == 4


def test_the_noise_of_a_pair_is_pooled_over_its_hosts():
    made = Noise("floor", "r", False, ("a", "b"), ((1.0, 0.0), (0.0, 9.0)), 2, "")
    assert noise.paired_sd(made, ["a"]) == pytest.approx(2**0.5)
    assert noise.paired_sd(made, ["a", "b"]) == pytest.approx(10**0.5)


QUIET = Noise("replication", "rung3", False, ("h1", "h2"), ((1e-8, 0.0), (0.0, 1e-8)), 1000, "measured")


def redrawn(scores: Any = PLAIN, made: Noise = QUIET, rules: Any = TOP, **over: Any) -> RedrawnGate:
    return RedrawnGate.of(cases.gate(rules, scores, **over), made)


@pytest.mark.parametrize(
    ("most", "batches"), [(16, [1] * 5), (31, [1] * 5), (32, [2, 2, 1]), (79, [4, 1]), (80, [5]), (8_000_000, [5])]
)
def test_batches_hold_the_scores_of_all_pairs_of_candidates(monkeypatch, most, batches):
    """Two candidates in four cells: eight numbers, and as many again for the other of a pair."""
    monkeypatch.setattr(redraws, "MOST_SCORES", most)
    assert list(redrawn().batches(5)) == batches


def test_of_one_score_as_many_are_drawn_at_once_as_fit(monkeypatch):
    monkeypatch.setattr(redraws, "MOST_SCORES", 4)
    gate = cases.gate({"R1": {"kind": "top_k", "k": 1}}, {"cmp": [1.0]}, hosts=("h1",), seeds=(31,))
    assert list(RedrawnGate.of(gate, QUIET).batches(5)) == [4, 1]


def test_scores_of_no_noise_stay_where_they_are_and_none_is_below_zero():
    still = redrawn(made=replace(QUIET, source="none"))
    assert (still.draw(np.random.RandomState(1), 3) == still.judge.scores).all()
    low = redrawn({"cmp": [1e-6] * 4, "ref": [1e-6] * 4}, replace(QUIET, covariance=((1.0, 0.0), (0.0, 1.0))))
    drawn = low.draw(np.random.RandomState(1), 50)
    assert drawn.min() == 0 and drawn.max() > 0 and drawn.dtype == np.int64 and drawn.shape == (50, 2, 2, 2)


def test_redraws_of_few_count_every_one(monkeypatch):
    made = redraws.gate_redraws(redrawn(), 7)
    assert (made.count, made.same_set, made.same_leader, made.same_verdicts, made.blocked) == (7, 1.0, 1.0, 1.0, 0.0)
    assert (made.flips, made.verdict_flips) == ({"cmp": 0.0, "ref": 0.0}, {})
    nobody = redraws.gate_redraws(redrawn({"cmp": [1.0, 1.0, 1.0, None], "ref": [None] * 4}), 7)
    assert (nobody.same_leader, nobody.flips) == (1.0, {"cmp": 0.0, "ref": 0.0})
    rules = {**TOP, "R2": {"kind": "min_host_agreement", "tau": 1.0}}
    apart = {"cmp": [1.0, 1.0, 1.2, 1.2], "ref": [1.1] * 4}
    blocked = redraws.gate_redraws(redrawn(apart, rules=rules), 7)
    assert (blocked.same_set, blocked.blocked) == (1.0, 1.0), "blocked as it was, each time"


def test_a_verdict_differs_by_its_three_answers():
    judged = cast(
        "Any",
        SimpleNamespace(verdicts={"R1": np.array([1, 0, -1]), "R2": np.array([1, 0, -1]), "R3": np.array([1, 0, -1])}),
    )
    gate = cast("Any", SimpleNamespace(fates=SimpleNamespace(verdicts={"R1": True, "R2": False, "R3": None})))
    found = redraws._verdict_changes(judged, gate)
    assert {rule: changed.tolist() for rule, changed in found.items()} == {
        "R1": [False, True, True], "R2": [True, False, True], "R3": [True, True, False],
    }  # fmt: skip


def test_a_ladder_of_which_nobody_is_left_is_won_by_nobody():
    rules = {
        "R1": {"kind": "within_gap", "gap": 0.1, "of": "reference"},
        "R2": {"kind": "exceeds_gap", "gap": 0.1, "of": "reference"},
    }
    first = redrawn(
        {"cmp": [1.0] * 4, "ref": [0.5] * 4}, rules={"R1": {"kind": "exceeds_gap", "gap": 0.0001}}, name="gate1"
    )
    last = redrawn({"cmp": [1.0] * 4, "ref": [0.9] * 4}, rules=rules, name="gate2", last=True)
    made = ladder_redraws([first, last], "ref", 10)
    assert (made.same, made.other, made.others, made.unknown, made.blocked) == (0.0, 1.0, {"nobody": 1.0}, 0.0, 0.0)


def test_a_gate_says_of_itself_what_it_is():
    made = study.assess_gates([cases.gate(TOP, PLAIN, name="gate1")]).gates["gate1"]
    assert (made.gate, made.rung, made.candidates, made.cells, made.left_out) == ("gate1", "rung1", 2, 4, 0)
    assert made.detectable == pytest.approx(study.comparisons.detectable(made.noise, ("h1", "h2"), 2))
