"""Every kind of rule: what it observes, its margin, when it holds, and what it says without evidence."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical, decision, judge, rules
from stages.domain.contract import Contract
from stages.domain.errors import Invalid
from stages.domain.evidence import Evidence, gather
from stages.domain.judge import judge_rules
from stages.domain.records import Record, parse_line
from tests.support.contracts import make_contract

HOSTS, SEEDS = ("h1", "h2"), (31, 32)
LOCK, RUNNER, CORPUS = "a" * 64, "b" * 64, "c" * 64
ROLES = {"reference": "ref", "comparator": "cmp", "sentinel": "sen"}
CELLS = [(host, seed) for host in HOSTS for seed in SEEDS]


def record(config, host, seed, value, status="finished", **over) -> Record:
    executed = status in ("finished", "diverged", "failed")
    body = {
        "schema": 1, "rung": "rung3", "config": config, "host": host, "seed": seed, "purpose": "candidate",
        "status": status, "reason": None, "gate": "gate3", "lock": LOCK, "runner": RUNNER, "corpus": CORPUS,
        "budget": {"clock": "rated", "seconds": 10.0}, "environment": None,
        "spec": {} if executed else None, "facts": {"val_bpb": value} if status == "finished" else None,
    }  # fmt: skip
    return parse_line(canonical.dumps({**body, **over}), "test")


def contract(gate: dict, floor_seeds=()) -> Contract:
    return make_contract(
        "rung3", hosts=HOSTS, rules=gate, roles=ROLES, seeds=SEEDS, floor_seeds=tuple(floor_seeds), earlier_seeds=(1, 2)
    )


def evidence(gate: dict, scores: dict[str, list[float]], extra=(), floor_seeds=()) -> Evidence:
    records = [
        record(name, host, seed, value)
        for name, values in scores.items()
        for (host, seed), value in zip(CELLS, values, strict=False)
    ]
    return gather(contract(gate, floor_seeds), scores, [*records, *extra])


def outcome(rule: dict, scores: dict[str, list[float]], **kwargs):
    found = judge_rules(evidence({"R1": rule}, scores, **kwargs))["R1"]
    return {one.candidate: one for one in found}


def holds(rule, scores, **kwargs):
    return {name: one.holds for name, one in outcome(rule, scores, **kwargs).items()}


FLAT = {"ref": [1.0] * 4, "cmp": [1.01] * 4, "sen": [1.03] * 4}


def test_a_value_on_the_threshold_holds_exactly():
    rule = {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01}
    found = outcome(rule, FLAT)["cmp"]
    assert (found.holds, found.margin, found.observed) == (True, 0, Fraction(1, 100))


def test_a_millionth_over_the_threshold_fails():
    rule = {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01}
    scores = {**FLAT, "cmp": [1.01, 1.01, 1.01, 1.010001]}
    found = outcome(rule, scores)["cmp"]
    assert found.holds is False
    assert found.margin == Fraction(-1, 4_000_000)


def test_near_equivalence_fails_on_both_sides_but_a_mean_gap_on_one():
    scores = {**FLAT, "cmp": [0.9] * 4, "sen": [0.9] * 4}
    near = {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01}
    gap = {"kind": "mean_gap", "role": "sentinel", "to": "reference", "most": 0.02}
    assert holds(near, scores) == {"cmp": False}
    assert holds(gap, scores) == {"sen": True}
    assert holds(gap, FLAT) == {"sen": False}


def test_top_k_takes_the_k_lowest_and_breaks_ties_by_name():
    scores = {"b": [1.0] * 4, "a": [1.0] * 4, "c": [0.9] * 4}
    found = outcome({"kind": "top_k", "k": 2}, scores)
    assert {name: one.holds for name, one in found.items()} == {"a": True, "b": False, "c": True}
    assert found["a"].margin == 0 and "tie broken by name" in found["a"].note
    assert found["c"].margin == Fraction(1, 10) and found["b"].margin == 0


def test_top_k_by_worst_host_looks_at_the_worse_mean():
    scores = {"a": [1.0, 1.0, 1.5, 1.5], "b": [1.3, 1.3, 1.3, 1.3]}
    assert holds({"kind": "top_k", "k": 1, "by": "mean"}, scores) == {"a": True, "b": False}
    assert holds({"kind": "top_k", "k": 1, "by": "worst_host"}, scores) == {"a": False, "b": True}


def test_top_k_by_each_host_takes_what_any_host_would_take():
    scores = {"a": [1.0, 1.0, 2.0, 2.0], "b": [2.0, 2.0, 1.0, 1.0], "c": [1.4, 1.4, 1.4, 1.4]}
    assert holds({"kind": "top_k", "k": 1, "by": "each_host"}, scores) == {"a": True, "b": True, "c": False}


def test_top_k_of_no_more_than_k_has_no_cut_to_measure_from():
    found = outcome({"kind": "top_k", "k": 5}, FLAT)["sen"]
    assert (found.holds, found.threshold, found.margin) == (True, None, None)


def test_within_and_exceeds_gap_answer_opposite_questions():
    for gap in (0.01, 0.02, 0.03):
        inside = holds({"kind": "within_gap", "gap": gap}, FLAT)
        outside = holds({"kind": "exceeds_gap", "gap": gap}, FLAT)
        assert inside == {name: not value for name, value in outside.items()}
    assert holds({"kind": "within_gap", "gap": 0.02, "of": "comparator"}, FLAT) == {
        "ref": True,
        "cmp": True,
        "sen": True,
    }


def test_first_in_all_cells_wants_every_cell_and_no_tie():
    rule = {"kind": "first_in_all_cells", "role": "reference"}
    assert holds(rule, FLAT) == {"ref": True}
    assert holds(rule, {**FLAT, "cmp": [1.0, 1.01, 1.01, 1.01]}) == {"ref": False}
    assert outcome(rule, {**FLAT, "cmp": [0.9, 1.01, 1.01, 1.01]})["ref"].note == "not first in: h1/31"


def test_a_missing_cell_is_not_evaluable_and_never_a_pass():
    scores = {**FLAT, "cmp": [1.0, 1.0, 1.0]}
    assert holds({"kind": "complete_cells"}, scores) == {"ref": True, "cmp": False, "sen": True}
    for rule in (
        {"kind": "top_k", "k": 3},
        {"kind": "within_gap", "gap": 9.0},
        {"kind": "exceeds_gap", "gap": 0.0001},
        {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 1.0},
    ):
        assert holds(rule, scores)["cmp"] is None


def test_a_diverged_cell_is_evidence_that_stops():
    bad = record("cmp", "h2", 32, None, status="diverged", facts={"steps": 3})
    scores = {**FLAT, "cmp": [1.0, 1.0, 1.0]}
    assert holds({"kind": "complete_cells"}, scores, extra=[bad])["cmp"] is True
    assert holds({"kind": "diverged"}, scores, extra=[bad]) == {"ref": False, "cmp": True, "sen": False}
    assert holds({"kind": "failed"}, scores, extra=[bad])["cmp"] is False


def test_another_runner_or_corpus_is_seen():
    other = record("cmp", "h2", 32, 1.0, runner="d" * 64, corpus="e" * 64)
    scores = {**FLAT, "cmp": [1.0, 1.0, 1.0]}
    for kind in ("fixed_runner", "fixed_data"):
        assert holds({"kind": kind}, scores, extra=[other]) == {"ref": True, "cmp": False, "sen": True}


def test_a_note_names_the_runs_that_the_rule_speaks_of():
    bad = record("cmp", "h2", 32, None, status="diverged", reason="loss 12.1", runner="d" * 64, corpus="e" * 64)
    scores = {**FLAT, "cmp": [1.0, 1.0, 1.0]}
    notes = {
        kind: outcome({"kind": kind}, scores, extra=[bad])["cmp"].note
        for kind in ("fixed_runner", "fixed_data", "diverged", "failed")
    }
    assert notes == {
        "fixed_runner": "another runner: rung3/cmp/h2/32",
        "fixed_data": "another corpus: rung3/cmp/h2/32",
        "diverged": "diverged: h2/32 (loss 12.1)",
        "failed": "",
    }


@pytest.mark.parametrize(
    ("many", "note"),
    [
        (1, "missing: h1/1"),
        (4, "missing: h1/1, h1/2, h1/3, h1/4"),
        (5, "missing: h1/1, h1/2, h1/3, h1/4 and 1 more"),
        (6, "missing: h1/1, h1/2, h1/3, h1/4 and 2 more"),
    ],
)
def test_a_note_names_four_cells_and_counts_what_is_left(many, note):
    rules_of_gate = {"R1": {"kind": "complete_cells"}}
    under = make_contract("rung3", rules=rules_of_gate, roles=ROLES, seeds=tuple(range(1, many + 1)))
    (finding,) = judge_rules(gather(under, ["ref"], []))["R1"]
    assert (finding.observed, finding.threshold, finding.note) == (0, many, note)


def test_evidence_that_commits_to_another_lock_is_no_evidence():
    other = record("cmp", "h2", 32, 1.0, lock="d" * 64)
    scores = {**FLAT, "cmp": [1.0, 1.0, 1.0]}
    assert holds({"kind": "complete_cells"}, scores, extra=[other])["cmp"] is False


def test_a_seed_of_an_earlier_rung_is_not_fresh():
    gate = contract({"R1": {"kind": "fresh_seeds"}})
    reused = replace(gate, earlier_seeds=(31,))
    records = [record(name, host, seed, 1.0) for name in FLAT for host, seed in CELLS]
    assert all(one.holds is False for one in judge_rules(gather(reused, FLAT, records))["R1"])
    assert all(one.holds is True for one in judge_rules(gather(gate, FLAT, records))["R1"])


def floor(values_by_host):
    return [
        record("ref", host, 900 + n, value, purpose="floor")
        for host, values in values_by_host.items()
        for n, value in enumerate(values)
    ]


def with_resolution(resolution: float, gate: dict, scores: dict[str, list[float]], **kwargs) -> Evidence:
    plain = evidence(gate, scores, **kwargs)
    settings = {"kind": "command", "score": {"name": "val_loss", "resolution": resolution}}
    return replace(plain, contract=replace(plain.contract, settings=settings))


@pytest.mark.parametrize(("lead", "first"), [(0.001, True), (0.000999, False)])
def test_scores_closer_than_the_resolution_are_a_tie_and_a_tie_is_not_first(lead, first):
    gate = {"R1": {"kind": "first_in_all_cells", "role": "reference"}}
    scores = {"ref": [1.0] * 4, "cmp": [1.0 + lead] * 4}
    (answer,) = judge_rules(with_resolution(0.001, gate, scores))["R1"]
    assert answer.holds is first
    (answer,) = judge_rules(evidence(gate, scores))["R1"]
    assert answer.holds is True


def test_a_cut_through_a_tie_is_told():
    gate = {"R1": {"kind": "top_k", "k": 1}}
    scores = {"ref": [1.0] * 4, "cmp": [1.0005] * 4}
    notes = {answer.candidate: answer.note for answer in judge_rules(with_resolution(0.001, gate, scores))["R1"]}
    assert all("a tie across the cut" in note for note in notes.values())
    assert "tie" not in judge_rules(evidence(gate, scores))["R1"][0].note


def test_a_floor_that_rounding_hides_is_that_of_rounding():
    runs = [record("ref", "h1", seed, 1.0, purpose="floor") for seed in (91, 92, 93)]
    plain = evidence({}, FLAT, extra=runs, floor_seeds=(91, 92, 93))
    assert plain.noise_floor("h1") == (3, 0)
    rounded = with_resolution(0.001, {}, FLAT, extra=runs, floor_seeds=(91, 92, 93))
    assert rounded.noise_floor("h1") == (3, Fraction(1, 12_000_000))


def test_a_threshold_below_the_noise_floor_blocks():
    gate = {
        "R1": {"kind": "above_noise_floor", "multiple": 2.0},
        "R2": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01},
    }
    quiet = floor({"h1": [1.0, 1.001], "h2": [1.0, 1.001]})
    loud = floor({"h1": [1.0, 1.001], "h2": [1.0, 1.02]})
    for extra, expected in ((quiet, [True, True]), (loud, [True, False]), (loud[:2], [True, None])):
        e = evidence(gate, FLAT, extra=extra, floor_seeds=(900, 901))
        assert [one.holds for one in judge_rules(e)["R1"]] == expected
        assert (decision.decide(e).outcome == "decided") is (expected == [True, True])


def test_a_noise_floor_exactly_at_the_threshold_holds():
    gate = {
        "R1": {"kind": "above_noise_floor", "multiple": 1.0},
        "R2": {"kind": "mean_gap", "role": "comparator", "to": "reference", "most": 0.01},
    }
    # two values 0.014142... apart would be irrational; four values of sd exactly 0.01 are not
    exact = floor({"h1": [1.0, 1.01, 1.02], "h2": [1.0, 1.01, 1.02]})
    e = evidence(gate, FLAT, extra=exact, floor_seeds=(900, 901, 902))
    assert [(one.holds, one.margin) for one in judge_rules(e)["R1"]] == [(True, 0), (True, 0)]


def test_environments_inside_a_block_must_agree_and_be_reported():
    def runs(*told):
        return [
            record(name, host, seed, 1.0, environment=told[(n + seed) % len(told)])
            for n, name in enumerate(FLAT)
            for host, seed in CELLS
        ]

    one = gather(contract({"R1": {"kind": "fixed_environment"}}), FLAT, runs({"torch": "2.13"}))
    two = gather(contract({"R1": {"kind": "fixed_environment"}}), FLAT, runs({"torch": "2.13"}, {"torch": "2.14"}))
    none = gather(contract({"R1": {"kind": "fixed_environment"}}), FLAT, runs(None))
    assert [[f.holds for f in judge_rules(e)["R1"]] for e in (one, two, none)] == [[True] * 2, [False] * 2, [None] * 2]


def test_host_agreement_is_kendalls_tau_b():
    same = {"ref": [1.0] * 4, "cmp": [1.1] * 4, "sen": [1.2] * 4}
    reversed_ = {"ref": [1.0, 1.0, 1.2, 1.2], "cmp": [1.1] * 4, "sen": [1.2, 1.2, 1.0, 1.0]}
    rule = {"kind": "min_host_agreement", "tau": 0.5}
    assert outcome(rule, same)["*"].observed == 1
    assert outcome(rule, reversed_)["*"].observed == -1
    assert holds(rule, reversed_) == {"*": False}
    assert holds(rule, {"ref": [1.0] * 4}) == {"*": None}


def test_a_failed_requirement_blocks_and_promotes_nobody():
    gate = {
        "R1": {"kind": "complete_cells"},
        "R2": {"kind": "top_k", "k": 3},
        "R3": {"kind": "keep_role", "role": "reference"},
    }
    made = decision.decide(evidence(gate, {**FLAT, "cmp": [1.0]}))
    assert (made.outcome, made.blocked_by, made.promoted) == ("blocked", ["R1"], [])


def test_what_blocks_a_gate_is_told_rule_by_rule_with_what_was_observed():
    gate = {
        "R1": {"kind": "complete_cells"},
        "R2": {"kind": "min_host_agreement", "tau": 0.5},
        "R3": {"kind": "fixed_runner"},
        "R4": {"kind": "top_k", "k": 3},
    }
    blocked = decision.decide(evidence(gate, {name: [] if name == "a" else [1.0] * 3 for name in "abcdefg"}))
    assert decision.why_blocked(blocked) == [
        "R1 must hold: Every candidate has a run in every cell.",
        "  a: does not hold, observed 0 against 4 (missing: h1/31, h1/32, h2/31, h2/32)",
        *(f"  {name}: does not hold, observed 3 against 4 (missing: h2/32)" for name in "bcd"),
        "  and 3 more",
        "R2 must hold: Kendall's tau-b between any two hosts is at least 0.5.",
        "  the gate: cannot be evaluated (h1 and h2: fewer than two comparable candidates)",
        "R3 must hold: Every run was made by the frozen runner.",
        "  a: cannot be evaluated (no run)",
    ]
    assert len(decision.why_blocked(blocked, most=7)) == 1 + 7 + 2 + 2
    assert decision.why_blocked(decision.decide(evidence(gate, FLAT))) == []


def test_stop_wins_over_promote_except_over_a_kept_role():
    gate = {
        "R1": {"kind": "top_k", "k": 3},
        "R2": {"kind": "exceeds_gap", "gap": 0.005},
        "R3": {"kind": "keep_role", "role": "sentinel"},
    }
    made = decision.decide(evidence(gate, FLAT))
    assert made.promoted == ["ref", "sen"]
    assert made.to_json()["stopped"] == {"cmp": {"by": ["R2"], "unmet": ["R3"]}}


def test_a_stop_rule_that_cannot_be_evaluated_lets_nobody_through_but_a_kept_role():
    gate = {
        "R1": {"kind": "top_k", "k": 2},
        "R2": {"kind": "exceeds_gap", "of": "reference", "gap": 0.1},
        "R3": {"kind": "keep_role", "role": "sentinel"},
    }
    bad = record("ref", "h2", 32, None, status="diverged", facts={"steps": 3})
    made = decision.decide(evidence(gate, {**FLAT, "ref": [1.0, 1.0, 1.0]}, extra=[bad]))
    assert made.promoted == ["sen"]
    assert made.stopped["cmp"].by == ["R2"]
    reported = {one.candidate: one.note for one in made.rules[1].results}
    assert reported == {
        "ref": "not every cell finished",
        "cmp": "the reference has no mean here",
        "sen": "the reference has no mean here",
    }


def test_a_verdict_promotes_nobody():
    made = decision.decide(evidence({"R1": {"kind": "first_in_all_cells", "role": "reference"}}, FLAT))
    assert (made.promoted, made.verdicts) == ([], {"R1": True})


def test_every_rule_speaks_of_every_candidate_or_of_its_roles_or_of_all():
    gate = {
        "R1": {"kind": "complete_cells"}, "R2": {"kind": "fixed_runner"}, "R3": {"kind": "fixed_data"},
        "R4": {"kind": "fresh_seeds"}, "R5": {"kind": "keep_role", "role": "reference"}, "R6": {"kind": "top_k", "k": 1},
        "R7": {"kind": "within_gap", "gap": 0.1}, "R8": {"kind": "exceeds_gap", "gap": 0.1}, "R9": {"kind": "diverged"},
        "R10": {"kind": "failed"},
    }  # fmt: skip
    made = decision.decide(evidence(gate, FLAT))
    assert [rule.id for rule in made.rules] == [f"R{n}" for n in range(1, 11)]
    for rule in made.rules:
        assert {one.candidate for one in rule.results} == set(FLAT)
        assert rule.text.endswith(".")


def test_the_decision_does_not_depend_on_the_order_of_the_evidence():
    gate = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": 2}}
    records = [record(name, host, seed, round(1.0 + n / 7, 6)) for n, name in enumerate(FLAT) for host, seed in CELLS]
    one = decision.decide(gather(contract(gate), FLAT, records))
    two = decision.decide(gather(contract(gate), reversed(list(FLAT)), records[::-1]))
    assert one.to_bytes() == two.to_bytes()


bpb = st.decimals(min_value=1, max_value=2, places=6).map(float)


@given(st.lists(st.lists(bpb, min_size=4, max_size=4), min_size=2, max_size=6), st.integers(1, 6))
def test_top_k_always_takes_exactly_k_and_none_outside_is_better(values, k):
    scores = {f"c{n}": one for n, one in enumerate(values)}
    found = outcome({"kind": "top_k", "k": k}, scores)
    taken = [name for name, one in found.items() if one.holds]
    assert len(taken) == min(k, len(scores))
    worst_in = max(sum(map(Fraction, map(repr, scores[name]))) for name in taken)
    for name in set(scores) - set(taken):
        assert sum(map(Fraction, map(repr, scores[name]))) >= worst_in


@given(st.lists(bpb, min_size=4, max_size=4), st.lists(bpb, min_size=4, max_size=4), st.integers(1, 10**6))
def test_the_sign_of_a_margin_is_the_answer(ref, cmp_, millionths):
    gap = millionths / 1_000_000
    scores = {"ref": ref, "cmp": cmp_}
    for rule in (
        {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": gap},
        {"kind": "mean_gap", "role": "comparator", "to": "reference", "most": gap},
        {"kind": "within_gap", "gap": gap},
    ):
        for one in outcome(rule, scores).values():
            assert one.holds is (one.margin >= 0)
    for one in outcome({"kind": "exceeds_gap", "gap": gap}, scores).values():
        assert one.holds is (one.margin > 0)


@given(st.permutations(range(4)), st.lists(bpb, min_size=8, max_size=8))
def test_renaming_seeds_changes_no_mean_rule(order, values):
    scores = {"ref": values[:4], "cmp": values[4:]}
    shuffled = {name: [one[i] for i in order] for name, one in scores.items()}
    rule = {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.05}
    assert outcome(rule, scores)["cmp"].observed == outcome(rule, shuffled)["cmp"].observed


def test_a_host_alone_decides_by_its_own_cells():
    scores = {"a": [1.0, 1.0, 2.0, 2.0], "b": [1.2] * 4}
    gate = {"R1": {"kind": "top_k", "k": 1}, "R2": {"kind": "min_host_agreement", "tau": -1.0}}
    e = evidence(gate, scores)
    assert decision.decide(e).promoted == ["b"]
    assert decision.decide(e.only_host("h1")).promoted == ["a"]
    assert decision.decide(e.only_host("h2")).promoted == ["b"]


@pytest.mark.parametrize("value", [-0.1, 1000.1, True, None, "1.0", 1.1234567])
def test_a_score_that_no_run_can_have_is_refused(value):
    with pytest.raises(Invalid, match="facts.val_bpb"):
        record("a", "h1", 31, value)


def test_every_kind_has_an_effect_a_sentence_and_a_judge():
    kinds = {member.model_fields["kind"].annotation.__args__[0] for member in rules.Rule.__args__[0].__args__}
    assert kinds == set(rules.EFFECTS)


def reporting(seconds: object, status: str = "finished") -> Record:
    """A run of a command that reports so many seconds, for a budget of ten."""
    facts = {"score": -1.5, "printed": "-1.5", "reported": {"seconds": seconds}}
    return record("ref", "h1", 31, None, status, facts=facts if status == "finished" else None)


@pytest.mark.parametrize(
    ("seconds", "expected"), [(10.5, True), (10.500001, False), (9, True), ("9", None), (True, None), (None, None)]
)
def test_a_budget_is_kept_up_to_the_tolerance_and_what_is_not_reported_is_not_evaluable(seconds, expected):
    rule = {"kind": "budget_kept", "tolerance": 0.05}
    assert holds(rule, {"ref": []}, extra=[reporting(seconds)])["ref"] is expected


def test_a_run_that_did_not_finish_has_no_score_that_more_time_could_have_flattered():
    failed = reporting(None, "failed")
    found = outcome({"kind": "budget_kept"}, {"ref": []}, extra=[failed])["ref"]
    assert (found.holds, found.note) == (True, "no finished run")


def test_a_score_of_a_command_may_be_negative_and_is_compared_exactly():
    runs = [
        record(name, host, seed, None, facts={"score": value, "printed": str(value), "reported": {}})
        for name, value in (("ref", -1.5), ("cmp", -1.500001))
        for host, seed in CELLS
    ]
    assert holds({"kind": "top_k", "k": 1}, {"ref": [], "cmp": []}, extra=runs) == {"ref": False, "cmp": True}


def test_a_record_of_a_command_with_a_hostile_input_still_has_a_metric():
    assert record("ref", "h1", 31, 1.0, spec={"kind": "command", "score": {}}).metric == "val_bpb"
    assert record("ref", "h1", 31, 1.0, spec={"kind": "command", "score": 5}).metric == "val_bpb"


def test_one_host_alone_decides_without_the_rule_that_compares_hosts_even_where_it_is_the_only_one():
    alone = evidence({"R1": {"kind": "min_host_agreement", "tau": 0.5}}, FLAT).only_host(HOSTS[0])
    made = decision.decide(alone)
    assert (made.outcome, made.promoted, made.rules) == ("decided", [], [])


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (1, "missing: a"), (4, "missing: a, b, c, d"), (5, "missing: a, b, c, d and 1 more")]
)
def test_a_note_lists_four_things_and_counts_the_others(count, text):
    assert judge._list("missing", list("abcde")[:count]) == text
