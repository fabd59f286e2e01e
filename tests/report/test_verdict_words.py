"""The verdict clause by clause: waiting, blocked, headline, final rules, the first leader's end, cost and confidence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report import verdict as module
from report.cost import StudyCost
from report.gates import Lead
from report.promotion_paths import PathStep, PromotionPath
from report.verdict import Clause, Verdict
from stages.domain import formatting
from stages.domain.decision import RecordedFinding, RuleOutcome
from stages.domain.rules import parse_rules

NB, MINUS = formatting.NB, formatting.MINUS
RULES = parse_rules(
    {
        "R4": {"kind": "first_in_all_cells", "role": "reference"},
        "R5": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01},
        "R6": {"kind": "mean_gap", "role": "sentinel", "to": "reference", "most": 0.02},
        "R7": {"kind": "top_k", "k": 3},
    },
    "test",
)


def gate(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "page": "gates/gate5.html", "title": "Gate 5", "rung_title": "Rung 5", "missing": [], "budget": 60.0, "rules": RULES, "leader": "a",
        "roles": {"reference": "a", "comparator": "b", "sentinel": "c"}, "decision": None, "blocked": False, "why_empty": "",
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ([], "No verdict yet: gate 5 has not decided"),
        (["r"], "No verdict yet: gate 5 has not decided; 1 run of rung 5 is missing"),
        (["r", "s"], "No verdict yet: gate 5 has not decided; 2 runs of rung 5 are missing"),
    ],
)
def test_a_gate_that_has_not_decided_is_the_verdict(missing: list[str], text: str) -> None:
    assert module._waiting(gate(missing=missing)) == Clause(text, "gates/gate5.html", proof="Gate 5")


def test_the_rules_that_block_a_gate_are_told_with_what_they_say() -> None:
    rules = [
        RuleOutcome(id=name, kind="k", effect="require", text=text, results=[])
        for name, text in (("R1", "At least -1."), ("R2", "No."), ("R3", "Yes."))
    ]
    decision: Any = SimpleNamespace(rules=rules, blocked_by=["R3", "R1"])
    text = f"No verdict: gate 5 is blocked by R1 (At least {MINUS}1) and R3 (Yes)"
    assert module._blocked(gate(), decision) == Clause(text, "gates/gate5.html#Rules", proof="Gate 5")


@pytest.mark.parametrize(
    ("lead", "roles", "text"),
    [
        (Lead("a", 1.25), {}, "a wins: the lowest mean val_bpb (1.2500) at 60 s"),
        (Lead("a", 1.25, "b", 0.5), {"reference": "a", "other": "a"}, "The reference and other, a, wins: the lowest mean val_bpb (1.2500) at 60 s, 0.5000 ahead of b"),
        (Lead("a", 1.25, "b", 0.0001), {}, "a wins: the lowest mean val_bpb (1.2500) at 60 s, 0.0001 ahead of b"),
        (Lead("a", 1.25, "b", 0.00005), {}, "a wins: the lowest mean val_bpb (1.2500) at 60 s, 0.00005 ahead of b"),
        (
            Lead("a", 1.25, "b", 0.5, (), 1.96, "rung3"),
            {"reference": "b"},
            "a leads, within noise: the lowest mean val_bpb (1.2500) at 60 s, 0.5000 ahead of b (2.0 × the A/A noise of rung 3)",
        ),
        (Lead("a", 1.25, "b", 0.0, ("b",), 0.0, "rung3"), {}, "a ties with b: the lowest mean val_bpb (1.2500) at 60 s"),
    ],
)  # fmt: skip
def test_the_headline_says_whose_the_lowest_mean_is_and_by_how_much(
    lead: Lead, roles: dict[str, str], text: str
) -> None:
    reported = module._headline(gate(roles=roles), lead)
    assert reported == Clause(text.replace("60 s", f"60{NB}s"), "gates/gate5.html#Evidence", strong="a", proof="Gate 5")


def finding(
    holds: bool | None, observed: float | None = None, threshold: float | None = None, note: str = "why"
) -> RecordedFinding:
    return RecordedFinding(candidate="a", observed=observed, threshold=threshold, margin=None, holds=holds, note=note)


def outcome(id_: str, kind: str, *results: RecordedFinding, effect: Any = "verdict") -> RuleOutcome:
    return RuleOutcome(id=id_, kind=kind, effect=effect, text="It is -1.", results=list(results))


def view(*paths: PromotionPath, **changed: Any) -> Any:
    return SimpleNamespace(**{"paths": {path.config: path for path in paths}} | changed)


def way(config: str, state: str, rank: int | None = 2, rung: str = "rung2") -> PromotionPath:
    return PromotionPath(config, (), (PathStep("rung1", "promoted", 3), PathStep(rung, state, rank)))


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (outcome("R4", "first_in_all_cells", finding(True, 4.0, 4.0)), "the reference is first in all 4 cells"),
        (outcome("R4", "first_in_all_cells", finding(False, 1.0, 4.0)), "the reference is first in only 1 of 4 cells"),
        (outcome("R4", "first_in_all_cells", finding(False, 0.0, 4.0)), "the reference is first in none of 4 cells"),
        (outcome("R4", "first_in_all_cells", finding(False)), "the reference is first in none of 0 cells"),
        (
            outcome("R4", "first_in_all_cells", finding(None)),
            "whether the reference is first in every cell is not evaluable, why",
        ),
        (
            outcome("R5", "near_equivalent", finding(True, -0.005, 0.01)),
            f"the comparator (b) is within 0.010 of the reference ({MINUS}0.0050)",
        ),
        (
            outcome("R5", "near_equivalent", finding(False, 0.5, 0.01)),
            "the comparator (b) is not within 0.010 of the reference (+0.5000)",
        ),
        (
            outcome("R5", "near_equivalent", finding(None, None, 0.01)),
            "whether the comparator (b) is within 0.010 of the reference is not evaluable, since b was stopped at gate 2",
        ),
        (
            outcome("R6", "mean_gap", finding(True, 0.01, 0.02)),
            "the sentinel (c) is at most 0.020 above the reference (+0.0100)",
        ),
        (
            outcome("R6", "mean_gap", finding(False, 0.5, 0.02)),
            "the sentinel (c) is more than 0.020 above the reference (+0.5000)",
        ),
        (
            outcome("R6", "mean_gap", finding(None, None, 0.02)),
            "whether the sentinel (c) is at most 0.020 above the reference is not evaluable, why",
        ),
        (outcome("R6", "near_equivalent", finding(True)), f"“It is {MINUS}1.” holds"),
        (outcome("R9", "mean_gap", finding(None)), f"“It is {MINUS}1.” not evaluable"),
        (outcome("R7", "top_k", finding(False)), f"“It is {MINUS}1.” does not hold"),
    ],
)
def test_a_final_rule_is_told_by_its_roles_or_by_its_own_sentence(told: RuleOutcome, text: str) -> None:
    study = view(way("a", "finalist"), way("b", "stopped"), way("c", "finalist"))
    assert module._point_text(study, gate(), told, told.results[0]) == text


@pytest.mark.parametrize("roles", [{"reference": "a"}, {"comparator": "b"}, {}])
def test_a_rule_whose_role_nobody_has_is_told_by_its_own_sentence(roles: dict[str, str]) -> None:
    reported = outcome("R5", "near_equivalent", finding(True, 0.0, 0.01))
    assert module._point_text(view(), gate(roles=roles), reported, reported.results[0]) == f"“It is {MINUS}1.” holds"


def test_there_is_a_point_for_every_final_rule_that_says_something() -> None:
    rules = [
        outcome("R4", "x", finding(False)), outcome("R1", "x", finding(True), effect="require"), outcome("R5", "x"), outcome("R6", "x", finding(None)),
    ]  # fmt: skip
    clauses = module._points(view(), gate(decision=SimpleNamespace(rules=rules), rules={}))
    assert [(clause.rule, clause.holds, clause.href, clause.proof) for clause in clauses] == [
        ("R4", False, "gates/gate5.html#R4", "R4"), ("R6", None, "gates/gate5.html#R6", "R6"),
    ]  # fmt: skip
    assert module._points(view(), gate()) == []


def test_a_configuration_that_never_reached_the_last_rung_is_told_with_its_gate() -> None:
    never = PromotionPath("n", (), (PathStep("rung1", "absent"),))
    study = view(way("a", "finalist"), never, way("b", "stopped"), way("c", "stopped", rung="rung3"))
    assert module._stopped_before(study, ["x", "a", "n", "b", "c"]) == "since b was stopped at gate 2"
    assert module._stopped_before(study, ["c", "b"]) == "since c was stopped at gate 3"
    assert module._stopped_before(study, ["x", "a"]) == ""


@pytest.mark.parametrize(
    ("state", "rank", "end"),
    [
        ("stopped", 2, "was stopped by gate 2 at rank 2"),
        ("stopped", None, "was stopped by gate 2"),
        ("tied", 2, "tied for the first place at rung 2"),
        ("tied", None, "tied for the first place at rung 2"),
        ("missing", None, "came to rung 2, where not every run of it finished"),
        ("finalist", 2, "finished second at rung 2"),
    ],
)
def test_how_a_way_ended_is_the_end_of_a_sentence(state: str, rank: int | None, end: str) -> None:
    assert module._end_of(PathStep("rung2", state, rank)) == end


CLEAR, CLOSE = Lead("w", 1.0, "a", 0.5), Lead("w", 1.0, "a", 0.5, noise=1.0)


@pytest.mark.parametrize(
    ("leader", "lead", "paths", "text"),
    [
        (None, CLEAR, (), "The first rung has no leader yet."),
        ("w", CLEAR, (), "w led rung 1 and won: the cheapest rung would have picked the same."),
        ("w", CLOSE, (), "w led rung 1 and leads within noise at rung 5."),
        ("w", Lead("w", 1.0, "a", 0.0, ("a", "b")), (), "w led rung 1 and ties with a and b at rung 5."),
        ("a", None, (way("a", "promoted"),), "a led rung 1, and is still on its way."),
        ("a", None, (way("a", "waiting"),), "a led rung 1, and is still on its way."),
        ("a", None, (way("a", "blocked"),), "a led rung 1, and is still on its way."),
        ("a", None, (way("a", "stopped"),), "a led rung 1 and was stopped by gate 2 at rank 2."),
        ("a", CLEAR, (way("a", "finalist"), way("w", "winner")), "a led rung 1 and finished second at rung 2. The winner was third at rung 1."),
        (
            "a",
            CLOSE,
            (way("a", "finalist"), way("w", "leader")),
            "a led rung 1 and finished second at rung 2. w, which leads within noise at rung 5, was third at rung 1.",
        ),
        ("a", CLEAR, (way("a", "missing", None), PromotionPath("w", (), (PathStep("rung1", "missing"),))), "a led rung 1 and came to rung 2, where not every run of it finished."),
    ],
)  # fmt: skip
def test_what_became_of_the_first_leader(
    leader: str | None, lead: Lead | None, paths: tuple[PromotionPath, ...], text: str
) -> None:
    study = view(*paths, first_gate=SimpleNamespace(leader=leader, rung_title="Rung 1"), last_gate=gate())
    assert module.early_leader(study, lead) == text


def test_one_that_has_no_judged_step_is_still_on_its_way() -> None:
    never = PromotionPath("a", (), (PathStep("rung1", "absent"),))
    study = view(never, first_gate=SimpleNamespace(leader="a", rung_title="Rung 1"), last_gate=gate())
    assert module.early_leader(study, None) == "a led rung 1, and is still on its way."


@pytest.mark.parametrize(
    ("leader", "lead", "answer"),
    [("w", CLEAR, "yes"), ("a", CLEAR, "no"), ("w", CLOSE, "cannot be said"), ("a", CLOSE, "cannot be said")],
)
def test_the_first_look_would_have_told_or_not_or_cannot_be_said(leader: str, lead: Lead, answer: str) -> None:
    study = view(
        way("a", "finalist"),
        way("w", "winner"),
        first_gate=SimpleNamespace(leader=leader, rung_title="Rung 1"),
        last_gate=gate(),
    )
    reported = module._first_look(study, lead)
    assert reported.text.startswith(f"{answer}: {leader} led rung 1 and ") and not reported.text.endswith(".")
    assert (reported.href, reported.proof, reported.question) == (
        "stability.html",
        "Stability",
        "Would the first look have told?",
    )


def test_what_the_ladder_saved_is_told_where_it_is_known() -> None:
    rung = SimpleNamespace(executed_hours=1.0, floor_hours=0.5)
    case = SimpleNamespace(from_rung="rung1", candidates=4, hours=9.0)
    assert module._saved(StudyCost({"rung1": rung}, [], [case], "rung2")) == [  # type: ignore[dict-item, list-item]
        Clause(
            f"1.5{NB}h of device time in all; all 4 candidates of rung 1 at the last rung alone would have taken 9{NB}h (accounting of "
            "unrun work, no evidence)", "cost.html", proof="Cost", question="What did the ladder cost?",
        )
    ]  # fmt: skip
    assert module._saved(StudyCost({"rung1": rung}, [], [], "rung2")) == []  # type: ignore[dict-item]
    assert module._saved(StudyCost({"rung1": rung}, ["rung2"], [case], "rung2")) == []  # type: ignore[dict-item, list-item]


@pytest.mark.parametrize(
    ("supported", "states", "moved", "mode", "doubt"),
    [
        (True, ["frozen"], [""], "frozen", ""),
        (False, ["what-if"], ["x"], "exploratory", "Not supported by the ledger"),
        (True, ["frozen", "what-if"], ["", "x"], "exploratory", "What-if"),
        (True, ["frozen", "amended"], ["x", ""], "exploratory", "params.yaml has moved on from the lock"),
        (True, ["frozen"], [""], "exploratory", "Before the what-if that params.yaml asks for"),
    ],
)
def test_a_doubt_is_the_worst_of_those_that_there_are(
    supported: bool, states: list[str], moved: list[str], mode: str, doubt: str
) -> None:
    chains = {
        str(n): SimpleNamespace(state=state, moved=where)
        for n, (state, where) in enumerate(zip(states, moved, strict=True))
    }
    study = view(chains=chains, supported=supported, study=SimpleNamespace(study=SimpleNamespace(mode=mode)))
    assert module._doubt(study) == doubt


@pytest.mark.parametrize(
    ("final", "doubt", "sure", "sentence"),
    [(True, "", True, "a; b; c."), (True, "What-if", False, "What-if: a; b; c."), (False, "", False, "a; b; c.")],
)
def test_a_verdict_is_sure_where_it_is_final_and_without_a_doubt(
    final: bool, doubt: str, sure: bool, sentence: str
) -> None:
    reported = Verdict(Clause("a", ""), [Clause("b", ""), Clause("c", "")], [Clause("note", "")], doubt, final)
    assert (reported.sure, reported.sentence) == (sure, sentence)


@pytest.mark.parametrize(
    ("why", "text"),
    [
        ("gate 4 promoted no candidate", "No verdict: the last rung has no candidate: gate 4 promoted no candidate"),
        ("", "No verdict: no candidate of the last rung finished in every cell"),
    ],
)
def test_a_last_rung_without_a_lead_gives_no_verdict(why: str, text: str) -> None:
    last = gate(decision=object(), why_empty=why)
    reported = module.reach_verdict(view(gates={"gate5": last}, last_gate=last, lead=None))
    assert reported == Verdict(Clause(text, "gates/gate5.html#Evidence", proof="Gate 5"))


def sure(hangs_on: tuple[str, ...]) -> Any:
    how = SimpleNamespace(short="Likely at rung3.", hangs_on=hangs_on)
    return SimpleNamespace(
        result=SimpleNamespace(how_sure=how, what_next=SimpleNamespace(text="Add seeds at rung2.", rule="N4"))
    )


@pytest.mark.parametrize(
    ("hangs_on", "text"),
    [
        ((), "Likely at rung 3"),
        (("gate2 x", "gate3 y", "gate4 z"), "Likely at rung 3; gate 2 x, gate 3 y and gate 4 z"),
        (("gate2 x", "gate3 y", "gate4 z", "gate5 w"), "Likely at rung 3; gate 2 x, gate 3 y and 2 more"),
    ],
)
def test_how_sure_and_what_next_are_one_clause_each(hangs_on: tuple[str, ...], text: str) -> None:
    assert module.answers(sure(hangs_on)) == [
        Clause(text, "confidence.html", proof="How sure", question="How sure?"),
        Clause("Add seeds at rung 2", "confidence.html#next.N4", proof="N4", question="What next?"),
    ]
    nothing: Any = SimpleNamespace(result=None, missing="no file")
    assert module.answers(nothing) == [
        Clause("not known: no file", "confidence.html", proof="How sure", question="How sure?")
    ]


def test_hindsight_is_a_clause_where_there_is_any() -> None:
    reported: Any = SimpleNamespace(result=SimpleNamespace(text="the best of rung5"))
    assert module.look_back(reported) == [
        Clause("the best of rung 5", "hindsight.html", proof="Hindsight", question="In hindsight?")
    ]
    assert module.look_back(SimpleNamespace(result=None)) == []  # type: ignore[arg-type]
