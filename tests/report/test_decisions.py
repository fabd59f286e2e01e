"""The distance from the opposite outcome, held against the real judge."""

from __future__ import annotations

import math
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report.decisions import Flip, Flips, _ScoredRule, counts, rules_that_count
from stages.domain.decision import RecordedFinding, RuleOutcome, decide
from stages.domain.evidence import Evidence
from stages.domain.records import Record
from stages.domain.rules import parse_rules
from tests.support.contracts import make_contract

HOSTS, SEEDS = ("a", "b"), (1, 2)
STEP = Fraction(1, 10**6)


def record(config: str, host: str, seed: int, score: Fraction) -> Record:
    """A finished run with a score."""
    return Record.model_validate(
        {
            "schema": 1,
            "rung": "rung1",
            "config": config,
            "host": host,
            "seed": seed,
            "purpose": "candidate",
            "status": "finished",
            "reason": None,
            "gate": "gate1",
            "lock": "a" * 64,
            "runner": "b" * 64,
            "corpus": "c" * 64,
            "budget": {"clock": "rated", "seconds": 1.0},
            "environment": None,
            "spec": {},
            "facts": {"val_bpb": float(score)},
        }
    )


def evidence(
    scores: dict[str, dict[tuple[str, int], int]], rules: dict[str, Any], shift: Fraction, who: str
) -> Evidence:
    """Scores in millionths, with one candidate's cells all shifted."""
    contract = make_contract(hosts=HOSTS, seeds=SEEDS, roles={"reference": "c0"}, rules=rules)
    runs = {
        (name, cell): record(name, *cell, Fraction(value, 10**6) + (shift if name == who else 0))
        for name, cells in scores.items()
        for cell, value in cells.items()
    }
    return Evidence(contract, tuple(sorted(scores)), runs, ())


cells = st.fixed_dictionaries({(host, seed): st.integers(1_000_000, 1_000_400) for host in HOSTS for seed in SEEDS})
ladders = st.integers(2, 5).flatmap(lambda n: st.fixed_dictionaries({f"c{i}": cells for i in range(n)}))
top_k = st.builds(
    lambda k, by: {"kind": "top_k", "k": k, "by": by},
    st.integers(1, 4),
    st.sampled_from(["mean", "worst_host", "each_host"]),
)
gaps = st.builds(
    lambda kind, gap, of, by: {"kind": kind, "gap": gap / 10**6, "of": of, "by": by},
    st.sampled_from(["within_gap", "exceeds_gap"]),
    st.integers(1, 400),
    st.sampled_from(["best", "reference"]),
    st.sampled_from(["mean", "worst_host"]),
)
gates = st.lists(st.one_of(top_k, gaps), min_size=1, max_size=4).map(
    lambda many: {f"R{n}": one for n, one in enumerate(many, 1)}
)


@settings(max_examples=150, deadline=None)
@given(ladders, gates)
def test_a_candidate_flips_just_beyond_its_distance_and_not_just_before(
    scores: dict[str, dict[tuple[str, int], int]], told: dict[str, Any]
) -> None:
    rules = parse_rules(told, "test")
    plain = {rule_id: rule.model_dump() for rule_id, rule in rules.items()}
    decision = decide(evidence(scores, plain, Fraction(0), ""))
    flips = Flips(decision, rules, {"reference": "c0"})
    for who in scores:
        flip = flips.flip(who)
        now = who in decision.promoted
        if flip.shift is None:
            for far in (-Fraction(9, 10), Fraction(50)):
                assert (who in decide(evidence(scores, plain, far, who)).promoted) is now
            continue
        edge = Fraction(round(flip.shift * 10**9), 10**9)
        below = Fraction(int(edge * 10**6 // 1) - 1, 10**6)  # scores have six decimals
        above = below + 3 * STEP
        assert who in decide(evidence(scores, plain, below, who)).promoted
        assert who not in decide(evidence(scores, plain, above, who)).promoted
        assert now is (flip.shift > 0) or abs(flip.shift) < 2e-6


def test_a_kept_role_never_flips() -> None:
    plain = {"R1": {"kind": "keep_role", "role": "reference"}, "R2": {"kind": "top_k", "k": 1, "by": "mean"}}
    scores = {
        name: {(host, seed): 1_000_000 + n for host in HOSTS for seed in SEEDS} for n, name in enumerate(("c1", "c0"))
    }
    decision = decide(evidence(scores, plain, Fraction(0), ""))
    flip = Flips(decision, parse_rules(plain, "test"), {"reference": "c0"}).flip("c0")
    assert (flip.shift, flip.rule) == (None, "R1")
    assert "role" in flip.note


def flips_of(scores: dict[str, int], plain: dict[str, Any], missing: str = "") -> Flips:
    """Of candidates with one score in every cell, in millionths; `missing` lacks a cell."""
    cells = {name: {(host, seed): value for host in HOSTS for seed in SEEDS} for name, value in scores.items()}
    cells.get(missing, {}).pop(("a", 1), None)
    decision = decide(evidence(cells, plain, Fraction(0), ""))
    return Flips(decision, parse_rules(plain, "test"), {"reference": "c0"})


TOP_1 = {"R1": {"kind": "top_k", "k": 1, "by": "mean"}}


def test_first_place_is_lost_or_taken_at_the_distance_to_the_best_of_the_others() -> None:
    flips = flips_of({"c0": 1_000_000, "c1": 1_000_300, "c2": 1_000_400}, TOP_1, missing="c2")
    assert flips.flip_first_place("c0") == Flip("c0", True, 0.0003, "first place")
    assert flips.flip_first_place("c1") == Flip("c1", False, -0.0003, "first place")
    assert flips.flip_first_place("c2") == Flip("c2", False, None, None, "no full set of cells")
    tied = flips_of({"c0": 1_000_000, "c1": 1_000_000}, TOP_1)
    assert tied.flip_first_place("c1") == Flip("c1", True, 0.0, "first place")
    alone = flips_of({"c0": 1_000_000}, TOP_1)
    assert alone.flip_first_place("c0") == Flip("c0", True, None, None, "never: no other candidate")


def test_where_nothing_can_change_an_outcome_the_reason_is_said() -> None:
    blocked = flips_of({"c0": 1_000_000, "c1": 1_000_300}, {"R9": {"kind": "complete_cells"}, **TOP_1}, missing="c1")
    assert blocked.flip("c0") == Flip("c0", False, None, None, "gate blocked")
    incomplete = flips_of({"c0": 1_000_000, "c1": 1_000_300}, TOP_1, missing="c1")
    assert incomplete.flip("c1") == Flip("c1", False, None, None, "no full set of cells")
    room = flips_of({"c0": 1_000_000, "c1": 1_000_300}, {"R1": {"kind": "top_k", "k": 2, "by": "mean"}})
    assert room.flip("c1") == Flip("c1", True, None, "R1", "never: room for all")
    gap = {"R2": {"kind": "exceeds_gap", "gap": 0.1, "of": "reference", "by": "mean"}}
    unknown = flips_of({"c0": 1_000_000, "c1": 1_000_300}, {**TOP_1, **gap}, missing="c0")
    assert unknown.flip("c1").note == "never: not evaluable"
    assert unknown.flip("c1").rule == "R2"


def test_without_its_role_a_candidate_has_the_outcome_of_the_other_rules() -> None:
    rules = {"R1": {"kind": "keep_role", "role": "reference"}, "R2": {"kind": "top_k", "k": 1, "by": "mean"}}
    flips = flips_of({"c0": 1_000_300, "c1": 1_000_000}, rules)
    assert flips.flip("c0") == Flip("c0", True, None, "R1", "never: kept by role")
    assert flips.flip_on_merit("c0") == Flip("c0", False, -0.0003, "R2", "")
    assert flips.flip_on_merit("c1") == Flip("c1", True, 0.0003, "R2", "")


INF = math.inf


def scored(
    kind: str, effect: str = "promote", **findings: tuple[float | None, float | None, float | None, bool | None]
) -> _ScoredRule:
    """A rule with its findings: observed, threshold, margin, and whether it holds."""
    keys = ("observed", "threshold", "margin", "holds")
    rows = {
        name: RecordedFinding(candidate=name, note="", **dict(zip(keys, values, strict=True)))
        for name, values in findings.items()
    }
    outcome = RuleOutcome(id="R1", kind=kind, effect=effect, text="", results=list(rows.values()))
    return _ScoredRule(outcome, rows)


def rule(kind: str, of: str = "best") -> Any:
    return parse_rules({"R1": {"kind": kind, "gap": 0.1, "of": of}}, "test")


@pytest.mark.parametrize(
    ("told", "rules", "point"),
    [
        (scored("top_k", a=(1.0, 2.0, 0.5, True)), {}, 0.5),
        (scored("top_k", a=(1.0, None, None, True)), {}, INF),
        (scored("top_k", a=(None, None, None, None)), {}, None),
        (scored("top_k", b=(1.0, 2.0, 0.5, True)), {}, None),
        (scored("keep_role", a=(1.0, 2.0, 0.5, True)), {}, None),
        (scored("within_gap", a=(0.3, 0.1, -0.2, False)), {}, None),
        (scored("within_gap", a=(0.3, 0.1, -0.2, False)), rule("exceeds_gap"), None),
        (scored("within_gap", a=(0.3, 0.1, None, None)), rule("within_gap"), None),
        (scored("within_gap", a=(0.3, 0.1, -0.2, False)), rule("within_gap"), -0.2),
        (scored("exceeds_gap", a=(0.3, 0.1, 0.2, True)), rule("exceeds_gap"), -0.2),
        (scored("within_gap", a=(0.0, 0.1, 0.1, True), b=(0.3, 0.1, -0.2, False)), rule("within_gap"), 0.4),
        (scored("within_gap", a=(0.0, None, 0.1, True), b=(0.3, 0.1, -0.2, False)), rule("within_gap"), 0.3),
        (scored("within_gap", a=(0.0, 0.1, 0.1, True), b=(None, 0.1, None, None)), rule("within_gap"), INF),
        (scored("within_gap", a=(0.0, 0.1, 0.1, True), b=(0.3, 0.1, 0.1, True)), rule("within_gap", "other"), 0.1),
        (scored("within_gap", a=(0.3, 0.1, -0.2, False)), rule("within_gap", "reference"), INF),
        (scored("exceeds_gap", a=(0.0, 0.1, -0.1, False)), rule("exceeds_gap", "reference"), INF),
    ],
)
def test_a_rule_changes_its_answer_at_its_margin_but_where_the_candidate_is_the_base(
    told: _ScoredRule, rules: Any, point: float | None
) -> None:
    found = told.point("a", rules, {"reference": "a", "other": "b"})
    assert found == (point if point is None else pytest.approx(point))


@pytest.mark.parametrize(
    ("effect", "holds", "counted"),
    [("promote", True, True), ("promote", None, False), ("stop", True, True), ("stop", None, True), ("stop", False, False)],
)  # fmt: skip
def test_a_stop_rule_that_is_not_evaluable_counts_and_no_other_one(
    effect: str, holds: bool | None, counted: bool
) -> None:
    reported = scored("top_k", effect, a=(None, None, None, holds))
    assert counts(reported.outcome, reported.findings["a"]) is counted
    assert (reported.counts_for("a"), reported.counts_for("b")) == (counted, False)


def test_rules_that_count_stand_by_candidate_and_effect_in_their_order() -> None:
    rules = [("R1", "promote", "ab"), ("R2", "promote", "b"), ("R3", "stop", "b"), ("R4", "require", "a")]
    outcomes = [
        RuleOutcome(id=name, kind="top_k", effect=effect, text="", results=[
            RecordedFinding(candidate=who, observed=None, threshold=None, margin=None, holds=True, note="") for who in whom
        ])
        for name, effect, whom in rules
    ]  # fmt: skip
    assert rules_that_count(SimpleNamespace(rules=outcomes)) == {  # type: ignore[arg-type]
        "a": {"promote": ("R1",), "require": ("R4",)},
        "b": {"promote": ("R1", "R2"), "stop": ("R3",)},
    }


def test_a_broken_run_and_a_kept_role_leave_no_score_that_changes_an_outcome() -> None:
    stop = {
        "R1": {"kind": "keep_role", "role": "reference"},
        "R2": {"kind": "diverged"},
        "R3": {"kind": "top_k", "k": 2, "by": "mean"},
    }
    scores = {name: {(host, seed): 1_000_000 for host in HOSTS for seed in SEEDS} for name in ("c0", "c1")}
    reported = evidence(scores, stop, Fraction(0), "")
    broken = {
        key: run.model_copy(update={"status": "diverged", "facts": None})
        for key, run in reported.runs.items()
        if key[1] == ("a", 1)
    }
    decision = decide(Evidence(reported.contract, reported.candidates, reported.runs | broken, ()))
    flips = Flips(decision, parse_rules(stop, "test"), {"reference": "c0"})
    assert flips.flip("c0") == Flip("c0", True, None, "R1", "never: kept by role")
    assert flips.flip("c1") == Flip("c1", False, None, "R2", "never: a broken run")
    assert flips.flip_on_merit("c0") == Flip("c0", False, None, "R2", "never: a broken run")


def test_the_nearest_of_several_rules_is_the_one_that_an_outcome_changes_through() -> None:
    rules = {
        "R1": {"kind": "top_k", "k": 1, "by": "mean"},
        "R2": {"kind": "within_gap", "gap": 0.0005, "of": "best"},
        "R3": {"kind": "exceeds_gap", "gap": 0.0002, "of": "best"},
    }
    flips = flips_of({"c0": 1_000_000, "c1": 1_000_300, "c2": 1_000_900}, rules)
    assert flips.flip("c1") == Flip("c1", False, -0.0001, "R3")
    assert flips.flip("c2") == Flip("c2", False, -0.0007, "R3")
    assert flips.flip("c0") == Flip("c0", True, 0.0005, "R3")
    assert flips_of({"c0": 1_000_000}, {"R3": rules["R3"]}).flip("c0") == Flip(
        "c0", False, None, None, "no rule reads it"
    )
