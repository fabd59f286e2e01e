"""How sure? and What next?: each phrase by its condition, on both sides of every limit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.confidence import answers, comparisons
from stages.confidence.answers import how_sure, rivals, what_next
from stages.confidence.noise import noise_of
from stages.confidence.results import Comparison, GateConfidence, Noise, Redraws, Winner, weakest_gate
from tests.confidence import cases

KNOWN = Noise(
    "floor", "rung3", False, ("h1", "h2"), ((1e-6, 0.0), (0.0, 1e-6)), 2, "borrowed from the A/A runs of rung3: 3 runs"
)
UNKNOWN = Noise("none", None, False, ("h1", "h2"), (), 0, "no noise was measured")


def gate(
    name: str = "gate1", *, same: float = 1.0, verdicts: float = 1.0, flips: Any = None, **over: Any
) -> GateConfidence:
    body: dict[str, Any] = {
        "gate": name, "rung": name.replace("gate", "rung"), "candidates": 3, "cells": 4, "noise": KNOWN, "detectable": None,
        "comparisons": ("one",), "left_out": 0, "redraws": Redraws(2000, same, 1.0, verdicts, 0.0, {}, flips or {}),
        "deletions": (), "hangs_on": (), "thresholds": (),
    }  # fmt: skip
    return GateConfidence(**{**body, **over})


def of(*gates: GateConfidence) -> dict[str, GateConfidence]:
    return {one.gate: one for one in gates}


def winner(same: float = 1.0, unless: float = 0.0, fixed: tuple[str, ...] = ()) -> Winner:
    return Winner("ref", same, 0.0, unless, unless, 0.0, {}, fixed)


def lead(mean: float | None = 0.1, lower: float | None = 0.05, upper: float | None = 0.15, **over: Any) -> Comparison:
    body: dict[str, Any] = dict.fromkeys(Comparison.__dataclass_fields__)
    body |= {"config": "cmp", "against": "ref", "mean": mean, "lower": lower, "upper": upper, "outcome": "inconclusive"}
    return Comparison(**{**body, **over})


ALONE = "no outcome depends on one cell, seed or host."


@pytest.mark.parametrize(
    ("same", "hanging", "grade"),
    [
        (1.0, (), "sure"), (0.95, (), "sure"), (0.9495, (), "likely"), (0.80, (), "likely"), (0.7995, (), "unsure"),
        (1.0, ("seed 31",), "likely"), (0.80, ("seed 31",), "likely"), (0.7995, ("seed 31",), "unsure"),
    ],
)  # fmt: skip
def test_a_grade_follows_from_the_share_of_redraws_and_from_what_outcomes_depend_on(same, hanging, grade):
    result = how_sure(of(gate(hangs_on=hanging)), winner(same), lead())
    assert result.grade == grade
    blind = how_sure(of(gate(hangs_on=hanging, noise=UNKNOWN, redraws=None)), winner(same), lead())
    assert (blind.grade, how_sure(of(gate()), None, None).grade) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("known", "compared", "kinds", "blind"),
    [
        (False, ("one",), (), True), (False, (), (), False), (False, (), ("min_host_agreement",), True),
        (False, (), ("top_k",), False), (True, ("one",), ("min_host_agreement",), False),
    ],
)  # fmt: skip
def test_a_gate_is_blind_that_reads_scores_of_unknown_noise(known, compared, kinds, blind):
    thresholds = tuple(SimpleNamespace(kind=kind) for kind in kinds)
    one = gate(noise=KNOWN if known else UNKNOWN, comparisons=compared, thresholds=thresholds)
    result = how_sure(of(one), winner(), None)
    message = "no noise was measured for gate1"
    assert result.text.lower().startswith(message) is blind
    assert result.short == (f"Unknown: {message}." if blind else "Sure: the same first place in 100 % of redraws.")


@pytest.mark.parametrize(
    ("given", "against", "text"),
    [
        (winner(), None, "The same configuration comes first in 100 % of 2,000 redraws; "),
        (winner(), lead(mean=None), "The same configuration comes first in 100 % of 2,000 redraws; "),
        (None, lead(), "On these hosts ref leads cmp by 0.1000, 0.0500 to 0.1500 with 95 % confidence; "),
        (None, lead(lower=None), "On these hosts ref leads cmp by 0.1000; "),
        (None, lead(upper=None), "On these hosts ref leads cmp by 0.1000; "),
        (None, None, ""),
        (winner(0.5, 0.25, ("gate1", "gate2")), None,
         "The same configuration comes first in 50.0 % of 2,000 redraws, with gate1 and gate2 as decided; in 25.0 % more it "
         "does unless one that was stopped untrained would have beaten it; "),
    ],
)  # fmt: skip
def test_what_is_said_of_the_winner(given, against, text):
    assert how_sure(of(gate()), given, against).text == text + (ALONE if text else ALONE[0].upper() + ALONE[1:])


@pytest.mark.parametrize(
    ("given", "gates", "short"),
    [
        (None, (gate(),), "Unknown: no configuration leads yet."),
        (winner(0.5), (gate(),), "Unsure: the same first place in 50.0 % of redraws."),
        (winner(0.5, 0.25), (gate(),), "Unsure: the same first place in 50.0 % to 75.0 % of redraws."),
        (winner(), (gate(same=0.9), gate("gate2", same=0.7)),
         "Sure: the same first place in 100 % of redraws; least certain is gate2, the same in 70.0 %."),
        (None, (gate(same=0.9),), "Unknown: no configuration leads yet; least certain is gate1, the same in 90.0 %."),
        (winner(), (gate(same=0.9, verdicts=0.6),),
         "Sure: the same first place in 100 % of redraws; least certain is gate1, the same in 60.0 %."),
        (winner(), (gate(flips={"R5": 0.3, "R6": 0.4}), gate("gate2", flips={"R7": 0.35})),
         "Sure: the same first place in 100 % of redraws; the least certain verdict is gate1.R6, the same in 60.0 %."),
        (winner(), (gate(noise=UNKNOWN, redraws=None), gate("gate2", flips={"R7": 0.5})),
         "Unknown: no noise was measured for gate1."),
    ],
)  # fmt: skip
def test_the_short_answer_has_the_space_of_a_table_cell(given, gates, short):
    assert how_sure(of(*gates), given, None).short == short


@pytest.mark.parametrize(("flip", "named"), [(0.5, True), (0.21, True), (0.2, False), (0.19, False), (0.0, False)])
def test_a_verdict_is_doubtful_that_is_repeated_less_often_than_likely(flip, named):
    message = f"gate1.R5, the same in {100 * (1 - flip):.1f} %" if named else ""
    assert answers._doubtful_verdict(of(gate(flips={"R5": flip}))) == message
    assert answers._doubtful_verdict(of(gate(redraws=None))) == ""


def test_the_least_certain_gate_is_named_with_the_noise_that_it_borrowed():
    borrowed = replace(KNOWN, borrowed=True)
    text = how_sure(of(gate(same=0.9, noise=borrowed)), winner(), None).text
    assert (
        "; the least certain gate is gate1, the same in 90.0 % by noise borrowed from the A/A runs of rung3; " in text
    )
    own = how_sure(of(gate(same=0.9)), winner(), None).text
    assert "; the least certain gate is gate1, the same in 90.0 %; " in own
    assert weakest_gate(of(gate(), gate("gate2", redraws=None))) is None


def test_everything_at_once_is_one_line():
    gates = of(
        gate(same=0.9, hangs_on=("host h1", "seed 31")), gate("gate2", noise=UNKNOWN, redraws=None), gate("gate3", hangs_on=("host h1",)),
        gate("gate4", flips={"R1": 0.3}, hangs_on=("cell h2/31", "cell h2/32")),
    )  # fmt: skip
    result = how_sure(gates, winner(0.9), lead())
    assert result.text == (
        "No noise was measured for gate2; on these hosts ref leads cmp by 0.1000, 0.0500 to 0.1500 with 95 % confidence; the "
        "same configuration comes first in 90.0 % of 2,000 redraws; the least certain gate is gate1, the same in 90.0 %; the "
        "least certain verdict is gate4.R1, the same in 70.0 %; gates 1 and 3 would decide otherwise without h1; gate1 would "
        "decide otherwise without seed 31; gate4 would decide otherwise without cell h2/31 and 1 more."
    )
    assert result.hangs_on == (
        "gates 1 and 3 would decide otherwise without h1",
        "gate1 would decide otherwise without seed 31",
        "gate4 would decide otherwise without cell h2/31",
        "gate4 would decide otherwise without cell h2/32",
    )


@pytest.mark.parametrize(("names", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_names_are_listed_as_in_a_sentence(names, text):
    assert answers._listed(names) == text


FIRST = {"R1": {"kind": "first_in_all_cells", "role": "reference"}}
SCORES = {"cmp": [1.02, 1.021, 1.02, 1.021], "d": [1.3, 1.301, 1.3, 1.301], "ref": [1.0, 1.001, 1.0, 1.001]}


def last_gate(scores: Any = SCORES, rules: Any = FIRST, **over: Any) -> Any:
    return cases.gate(rules, scores, name="gate2", last=True, **over)


def test_rivals_are_all_others_of_the_last_gate_the_nearest_first(monkeypatch):
    last = last_gate()
    confidence = gate("gate2", noise=noise_of(last, [last]))
    near = comparisons.Margin(0.05, "gate2.R1")
    reported = [
        (one.config, one.against, one.against_as, one.kind, one.rule, one.margin, one.outcome)
        for one in rivals(last, confidence, near)
    ]
    assert reported == [
        ("cmp", "ref", "best", "winner", "", 0.05, "equivalent"),
        ("d", "ref", "best", "winner", "", 0.05, "worse"),
    ]
    monkeypatch.setattr(comparisons, "LISTED", 1)
    assert [one.config for one in rivals(last, confidence, None)] == ["cmp"]
    blocked = last_gate(
        rules={**FIRST, "R2": {"kind": "min_host_agreement", "tau": 1.0}}, scores={**SCORES, "d": [0.9, 0.9, 2.0, 2.0]}
    )
    assert rivals(blocked, confidence, near) == []
    nobody = last_gate({"cmp": [None] * 4, "ref": [None] * 4})
    assert rivals(nobody, confidence, near) == []


def asked(
    *,
    first: GateConfidence | None = None,
    given: Winner | None = None,
    against: Any = (),
    last: Any = None,
    **over: Any,
) -> Any:
    last = last or last_gate()
    gates = of(first or gate(), gate("gate2", **over))
    return what_next(gates, last, given or winner(), against)


def test_nobody_in_the_lead_is_waited_for():
    waiting = "Wait: no configuration leads the last gate yet."
    nobody = last_gate({"cmp": [None] * 4, "ref": [None] * 4})
    blocked = last_gate(
        rules={**FIRST, "R2": {"kind": "min_host_agreement", "tau": 1.0}}, scores={**SCORES, "d": [0.9, 0.9, 2.0, 2.0]}
    )
    assert blocked.fates.leader is not None
    for last in (None, nobody, blocked):
        result = what_next(of(gate()), last, None, [])
        assert (result.action, result.rule, result.text, result.rung, result.configs) == (
            "wait",
            "N1",
            waiting,
            None,
            (),
        )


def test_each_row_of_the_table_goes_before_those_below_it():
    everything: dict[str, Any] = {
        "first": gate(same=0.7, noise=UNKNOWN, hangs_on=("host h1",)),
        "given": winner(0.9),
        "against": [lead(lower=-0.01, outcome="equivalent", margin=0.01), lead(config="d", lower=-0.02)],
        "noise": UNKNOWN,
    }
    steps = [
        ("N2", "rung2", ("ref",), {"noise": KNOWN}),
        ("N3", "rung2", ("ref", "cmp"), {"against": [lead(lower=0.0), lead(config="d", lower=1e-9)]}),
        ("N4", "rung2", ("ref", "cmp"), {"against": [lead(lower=1e-9), lead(lower=None)]}),
        ("N5", "rung1", (), {"given": winner(0.95)}),
        ("N6", "rung1", (), {"first": gate(same=0.7, hangs_on=("host h1",))}),
        ("N7", "rung1", (), {"first": gate(same=0.7), "last": last_gate({**SCORES, "cmp": [0.9] * 4})}),
        ("N8", None, ("cmp", "ref"), {"last": None}),
        ("N9", None, (), {}),
    ]
    for rule, rung, configs, change in steps:
        result = asked(**everything)
        assert (result.rule, result.rung, result.configs) == (rule, rung, configs)
        everything |= change


def test_what_is_asked_for_is_a_sentence():
    assert (
        asked(noise=UNKNOWN).text == "Add 2 seeds at rung2: no noise was measured there, so no gap means anything yet."
    )
    assert asked(first=gate(same=0.7), given=winner(0.9)).text == (
        "Add 2 seeds at rung1: gate1 decides the same in 70.0 % of redraws only."
    )
    assert asked(first=gate(noise=UNKNOWN, redraws=None)).text == (
        "Add 2 seeds, or A/A runs, at rung1: gate1 cut by scores of unknown noise."
    )
    assert asked(first=gate(hangs_on=("cell h1/31", "host h1"))).text == (
        "Add 2 seeds at rung1: what gate1 decided depends on cell h1/31."
    )
    assert asked().text == (
        "Nothing: the first is ahead of everybody by more than noise explains, and the ladder repeats itself."
    )


def test_without_redraws_of_the_ladder_or_a_doubtful_gate_no_gate_is_asked_for_more():
    assert what_next(of(gate(same=0.7), gate("gate2")), last_gate(), None, []).rule == "N9"
    assert asked(given=winner(0.5)).rule == "N9"
    assert asked(first=gate(noise=UNKNOWN, comparisons=(), redraws=None)).rule == "N9"


def test_a_lead_that_noise_can_explain_names_all_whom_it_may_be_over():
    close = [lead(0.02, -0.01, 0.05), lead(0.01, 0.0, 0.02, config="d"), lead(0.5, 0.4, 0.6, config="sen")]
    result = asked(against=close, noise=replace(KNOWN, source="replication"))
    now, then = (comparisons.detectable(replace(KNOWN, source="replication"), ("h1", "h2"), seeds) for seeds in (2, 4))
    assert result.text == (
        f"Add 2 seeds at rung2: ref leads cmp and d by 0.0100, which noise can explain; with the present seeds a difference of "
        f"{now:.4f} would be detectable, with 2 more {then:.4f}."
    )
    single = last_gate({name: values[::2] for name, values in SCORES.items()}, seeds=(31,))
    few = asked(last=single, against=close, noise=replace(KNOWN, source="replication"))
    assert few.text == "Add 2 seeds at rung2: ref leads cmp and d by 0.0100, which noise can explain."


def with_costs(costs: dict[str, Any]) -> Any:
    last = last_gate()
    facts = {name: {"val_bpb": 1.0, "model": {"flops_per_token": cost}} for name, cost in costs.items()}
    evidence = SimpleNamespace(
        of=lambda name: [SimpleNamespace(facts=facts.get(name))], contract=last.evidence.contract
    )
    return SimpleNamespace(evidence=evidence, frozen=last.frozen, fates=last.fates, name=last.name)


@pytest.mark.parametrize(
    ("costs", "text", "configs"),
    [
        ({"ref": 5000, "cmp": 4000, "d": 4000}, "take the cheaper, cmp (4,000 FLOPs a token).", ("cmp", "ref", "d")),
        ({"ref": 4000, "cmp": 4000, "d": 5000}, "take the cheaper, ref (4,000 FLOPs a token).", ("ref", "cmp", "d")),
        ({"ref": 5000, "cmp": 4000}, "take the cheaper.", ("ref", "cmp", "d")),
    ],
)
def test_of_a_tie_the_cheapest_comes_first(costs, text, configs):
    ties = [lead(outcome="equivalent", margin=0.0125), lead(config="d", outcome="equivalent", margin=0.0125)]
    result = answers._tie(with_costs(costs), "ref", ties)
    assert result.text == f"A tie: ref, cmp and d are equivalent within 0.0125; {text}"
    assert (result.action, result.rule, result.rung, result.configs) == ("tie", "N3", "rung2", configs)


@pytest.mark.parametrize(
    ("facts", "cost"),
    [
        ([{"model": {"flops_per_token": 7}}], 7), ([None, {"model": {"flops_per_token": 7}}], 7), ([{"model": {"flops_per_token": True}}], None),
        ([{"model": {"flops_per_token": 7.0}}], None), ([{"model": 7}], None), ([{"model": {}}], None), ([{}], None), ([], None),
    ],
)  # fmt: skip
def test_a_cost_is_a_whole_number_that_a_record_tells(facts, cost):
    runs = [SimpleNamespace(facts=one) for one in facts]
    one = SimpleNamespace(evidence=SimpleNamespace(of=lambda name: runs))
    assert answers.flops_per_token(cast("Any", one), "ref") == cost


@pytest.mark.parametrize(
    ("roles", "leader", "text"),
    [
        ({"reference": "ref", "comparator": "cmp"}, "cmp", "Raise the comparator: cmp beats the reference ref; "),
        ({"reference": "ref", "comparator": "d"}, "cmp", "Raise the leader: cmp beats the reference ref; "),
        ({"reference": "gone"}, "cmp", "Raise the leader: cmp went further than the reference gone; "),
        ({"reference": "ref"}, "ref", None),
        ({"comparator": "cmp"}, "cmp", None),
    ],
)
def test_a_leader_that_is_not_the_reference_is_raised(roles, leader, text):
    last = last_gate()
    one = SimpleNamespace(frozen=SimpleNamespace(roles=roles), evidence=last.evidence)
    result = answers._raised(cast("Any", one), leader)
    if text is None:
        assert result is None
        return
    assert result is not None
    assert result.text == f"{text}make it the reference of the next study."
    assert (result.action, result.rule, result.rung, result.configs) == (
        "raise",
        "N8",
        None,
        (leader, roles["reference"]),
    )
