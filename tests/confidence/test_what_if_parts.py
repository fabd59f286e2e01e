"""What-ifs part by part: what may be typed, what a gate says that cannot be judged, and the JSON for programs."""

from __future__ import annotations

import pytest

from stages.confidence import what_if
from stages.confidence.gates import Fates
from stages.confidence.results import Change
from stages.confidence.what_if import GateAnswer, NoAnswer, Setting, answer, parse, to_json
from stages.domain.rules import EFFECTS

ASK = "ask for gateN.RM.FIELD=VALUE, such as gate3.R12.k=5, gateN.RM=off or roles.ROLE=CONFIGURATION"


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("gate3.R12.k=5", ("gate3", "R12", "k", 5)),
        ("gates.gate3.R12.k=5", ("gate3", "R12", "k", 5)),
        ("gate10.R1.gap=0.5", ("gate10", "R1", "gap", 0.5)),
        ("gate1.R1.gap=1e-3", ("gate1", "R1", "gap", 0.001)),
        ("gate1.R1.of=reference", ("gate1", "R1", "of", "reference")),
        ("gate1.R1=off", ("gate1", "R1", None, None)),
        ("roles.reference=d1-c0", (None, None, "reference", "d1-c0")),
        ("roles.reference=5", (None, None, "reference", "5")),
        ("gate1.R1.of=a=b", ("gate1", "R1", "of", "a=b")),
    ],
)
def test_a_setting_is_a_field_a_rule_left_out_or_a_role(text, setting):
    assert parse([text]) == [Setting(text, *setting)]
    assert type(parse([text])[0].value) is type(setting[3])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gate3.R7.k", f"no value; {ASK}"), ("gate3.R7.k=", f"no value; {ASK}"), ("=5", ASK), ("gate0.R1.k=1", ASK), ("gate100.R1.k=1", ASK),
        ("gate1.R0.k=1", ASK), ("gate1.R1.K=1", ASK), ("gate1.R1=on", f"found 'on', expected off, which leaves the rule out; {ASK}"),
        ("roles.Reference=a", ASK),
    ],
)  # fmt: skip
def test_what_is_no_setting_is_told_how_to_ask(text, told):
    with pytest.raises(NoAnswer) as caught:
        parse(["gate1.R1=off", text])
    assert str(caught.value) == f"{text}: {told}"


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("budget_seconds", "a budget"), ("rungs.rung1.budget_seconds", "a budget"), ("seed", "a seed"), ("gate1.earlier_seeds", "a seed"),
        ("rungs.rung1.seeds.0", "a seed"), ("configs", "a knob of a configuration"), ("configs.a.b", "a knob of a configuration"),
        ("hosts.x", "a host"), ("runner", "a setting of the runner"), ("trainer.x", "a setting of the runner"), ("data", "the corpus"),
        ("corpus.x", "the corpus"), ("clock", "the clock"), ("rungs.rung1", "a rung"),
    ],
)  # fmt: skip
def test_what_would_have_made_other_evidence_is_refused_with_or_without_a_value(key, what):
    end = "change params.yaml, then `promotion freeze` and `dvc repro` measure it"
    for text in (f"{key}=1", key):
        with pytest.raises(NoAnswer) as caught:
            parse([text])
        assert str(caught.value) == (
            f"{text}: {what} is no part of a rule, and what another one would have led to was never measured; {end}"
        )


def test_a_gate_that_is_not_frozen_is_refused_with_those_that_are():
    with pytest.raises(NoAnswer) as caught:
        answer({}, [], parse(["gate1.R1=off"]))
    assert str(caught.value) == "gate1.R1=off: no lock of gate1; frozen are none"
    assert answer({}, [], parse(["roles.reference=a"])) == []


def test_the_first_gate_judges_all_and_each_later_one_whom_the_what_if_lets_through(case):
    answers = {
        one.gate: one for one in answer(case.locks, case.records, parse(["gate1.R1=off", "roles.reference=d1-c000"]))
    }
    first = answers["gate1"]
    assert first.settings == ("gate1.R1=off", "roles.reference=d1-c000")
    assert answers["gate2"].settings == ("roles.reference=d1-c000",)
    assert (first.judged, first.unrun, first.note) == (tuple(case.configs), (), "")
    assert first.was is not None and sorted(first.was.promoted) == case.decisions["gate1"].promoted
    assert answers["gate2"].judged == tuple(sorted(first.now.promoted & set(case.decisions["gate2"].candidates)))


def test_nobody_goes_on_or_nobody_who_does_was_trained(case):
    def change(*settings: str) -> dict[str, GateAnswer]:
        return {one.gate: one for one in answer(case.locks, case.records, parse(settings))}

    blocked = change("gate3.R8.gap=0.000001")["gate4"]
    assert (blocked.judged, blocked.unrun, blocked.now, blocked.note) == ((), (), None, "nobody goes on to here")
    assert blocked.was is not None and blocked.changes == ()
    others = [rule_id for rule_id, rule in case.locks["gate3"].frozen.rules.items() if EFFECTS[rule.kind] == "promote"]
    keeper = next(rule_id for rule_id in others if case.locks["gate3"].frozen.rules[rule_id].kind == "keep_role")
    role = case.locks["gate3"].frozen.rules[keeper].role
    other = next(name for name in case.decisions["gate3"].candidates if name not in case.decisions["gate3"].promoted)
    off = [f"gate3.{rule_id}=off" for rule_id in others if rule_id != keeper]
    later = change(*off, f"roles.{role}={other}")["gate4"]
    assert (later.judged, later.unrun, later.now) == ((), (other,), None)
    assert later.note == "nobody who goes on in this what-if was trained here"


def test_an_answer_is_json_for_programs():
    was = Fates("decided", (), ("a", "b"), frozenset({"b", "a"}), {"R1": None}, "a")
    now = Fates("blocked", ("R2",), ("a", "b"), frozenset(), {"R1": True}, None)
    change = Change("outcome", "gate", "decided", "blocked by R2")
    answers = [
        GateAnswer("gate1", ("x",), ("a", "b"), ("c",), was, now, (change,), ""),
        GateAnswer("gate2", (), (), (), None, None, (), "rung2 has no evidence yet"),
    ]
    assert to_json(answers, parse(["gate1.R1=off"])) == {
        "schema": 1,
        "settings": ["gate1.R1=off"],
        "gates": [
            {
                "gate": "gate1",
                "settings": ["x"],
                "judged": ["a", "b"],
                "unrun": ["c"],
                "was": {"outcome": "decided", "blocked_by": [], "promoted": ["a", "b"], "verdicts": {"R1": None}, "lowest_mean": "a"},
                "now": {"outcome": "blocked", "blocked_by": ["R2"], "promoted": [], "verdicts": {"R1": True}, "lowest_mean": None},
                "changes": [{"what": "outcome", "name": "gate", "was": "decided", "now": "blocked by R2"}],
                "note": "",
            },
            {"gate": "gate2", "settings": [], "judged": [], "unrun": [], "was": None, "now": None, "changes": [],
             "note": "rung2 has no evidence yet"},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("word", "value"), [("5", 5), ("5.0", 5.0), ("-3", -3), ("1e3", 1000.0), ("best", "best"), ("5x", "5x")]
)
def test_a_number_is_read_where_a_word_is_one(word, value):
    found = what_if._value(word)
    assert (found, type(found)) == (value, type(value))


def test_a_whole_number_is_a_fraction_where_a_field_is_one_and_a_fraction_no_whole_number(case):
    """`gap=1` is a gap of 1.0; `k=2.5` is no number of places."""
    [*_, third] = answer(case.locks, case.records, parse(["gate3.R8.gap=1"]))[:3]
    assert third.now is not None
    with pytest.raises(NoAnswer, match=r"R7\.k: found 2\.5, expected a whole number"):
        answer(case.locks, case.records, parse(["gate3.R7.k=2.5"]))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("gate3.R99=off", "no rule R99 at gate3; there are R1, "),
        ("gate1.R1.x=1", "complete_cells has no field 'x' to change; it has none"),
        ("roles.leader=a", "no such role; there are comparator, reference, sentinel"),
        ("roles.reference=zz", "no configuration 'zz'; see configs in params.yaml"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(case, setting, told):
    with pytest.raises(NoAnswer) as caught:
        answer(case.locks, case.records, parse([setting]))
    assert str(caught.value).startswith(f"{setting}: {told}")
