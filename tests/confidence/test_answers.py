"""How sure? and What next?: every row of the two tables in docs/confidence.md.

python -m pytest tests/confidence/test_answers.py
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from stages.confidence import stored
from stages.confidence.answers import how_sure, percent
from stages.confidence.study import assess_gates
from tests.confidence import cases
from tests.support.repo import PROJECT

CUT = {"R1": {"kind": "top_k", "k": 2}}
LAST = {"R1": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01}}
#: Four cells of small, even noise.
WIDE = {"cmp": [1.0, 1.001, 1.0, 1.001], "ref": [1.1, 1.1, 1.1, 1.1], "sen": [1.3, 1.301, 1.3, 1.299]}
FINAL = {"cmp": [1.1, 1.101, 1.1, 1.101], "ref": [1.0, 1.0, 1.0, 1.0]}


def study(final=FINAL, first=WIDE, *, rules=LAST, cut=CUT, **over):
    return assess_gates(
        [cases.gate(cut, first, name="gate1", **over), cases.gate(rules, final, name="gate2", last=True)]
    )


def flops(*costs):
    """Records that say what a model costs a token."""
    return [
        cases.record("gate2", name, host, seed, value, facts={"val_bpb": value, "model": {"flops_per_token": cost}})
        for name, cost, values in costs
        for (host, seed), value in zip([("h1", 31), ("h1", 32), ("h2", 31), ("h2", 32)], values, strict=True)
    ]


def test_a_study_that_repeats_itself_is_sure_and_needs_nothing():
    made = study()
    assert (made.how_sure.grade, made.what_next.action, made.what_next.rule) == ("sure", "nothing", "N9")
    assert re.fullmatch(r"Sure: the same first place in (100|9\d\.\d) % of redraws\.", made.how_sure.short)
    assert made.how_sure.text.startswith("On these hosts ref leads cmp by 0.1005, 0.0")
    assert made.how_sure.text.endswith("no outcome depends on one cell, seed or host.")


@pytest.mark.parametrize(
    ("count", "end"), [(1, "seed 0."), (3, "seed 2."), (4, "seed 2 and 1 more."), (5, "seed 2 and 2 more.")]
)
def test_three_things_that_outcomes_depend_on_are_named_and_the_others_counted(count, end):
    made = study()
    hangs_on = tuple(f"seed {n}" for n in range(count))
    gates = {**made.gates, "gate1": replace(made.gates["gate1"], hangs_on=hangs_on)}
    answer = how_sure(gates, made.winner, made.lead)
    assert answer.text.endswith(end)
    assert (answer.grade, answer.text.count("would decide otherwise without")) == ("likely", min(count, 3))


def test_nothing_decided_is_unknown():
    made = assess_gates([])
    assert (made.how_sure.grade, made.how_sure.text, made.what_next.rule) == (
        "unknown",
        "No gate has decided yet.",
        "N1",
    )


def test_a_study_on_its_way_waits():
    made = assess_gates([cases.gate(CUT, WIDE, name="gate1")])
    assert (made.how_sure.grade, made.what_next.action, made.winner, made.lead) == ("unknown", "wait", None, None)


def test_a_blocked_last_gate_has_no_winner_to_be_sure_of():
    made = study(
        rules={**LAST, "R2": {"kind": "min_host_agreement", "tau": 1.0}},
        final={"cmp": [1.0, 1.0, 1.2, 1.2], "ref": [1.1] * 4},
    )
    assert (made.winner, made.how_sure.grade, made.what_next.rule) == (None, "unknown", "N1")


def test_without_any_noise_it_is_said_and_seeds_are_asked_for():
    pairs = {name: values[::2] for name, values in WIDE.items()}, {name: values[::2] for name, values in FINAL.items()}
    made = assess_gates(
        [
            cases.gate(CUT, pairs[0], name="gate1", seeds=(31,)),
            cases.gate(LAST, pairs[1], name="gate2", seeds=(31,), last=True),
        ]
    )
    assert made.how_sure.grade == "unknown"
    assert made.how_sure.text.startswith("No noise was measured for gate1 and gate2; ")
    assert made.how_sure.short == "Unknown: no noise was measured for gate1 and gate2."
    assert (made.what_next.rule, made.what_next.rung) == ("N2", "rung2")
    assert made.gates["gate1"].redraws is None and made.gates["gate1"].detectable is None
    [one, *_] = made.gates["gate2"].comparisons
    assert (one.mean, one.lower, one.outcome, one.noise) == (pytest.approx(0.1), None, None, "none")
    assert one.note == "no noise was measured: one seed a host, and no A/A runs"


def test_a_cut_by_scores_of_unknown_noise_asks_for_it():
    first = {name: values[::2] for name, values in WIDE.items()}
    made = assess_gates(
        [cases.gate(CUT, first, name="gate1", seeds=(31,)), cases.gate(LAST, FINAL, name="gate2", last=True)]
    )
    assert (made.what_next.rule, made.what_next.rung, made.winner.fixed) == ("N6", "rung1", ("gate1",))
    assert "with gate1 as decided" in made.how_sure.text


def test_a_gate_with_room_for_all_needs_no_noise():
    first = {name: values[::2] for name, values in WIDE.items() if name != "sen"}
    made = assess_gates(
        [cases.gate(CUT, first, name="gate1", seeds=(31,)), cases.gate(LAST, FINAL, name="gate2", last=True)]
    )
    assert (made.how_sure.grade, made.what_next.rule) == ("sure", "N9")


def test_equivalent_configurations_are_a_tie_of_which_the_cheaper_is_taken():
    values = {"cmp": [1.001, 1.0, 1.0005, 1.0005], "ref": [1.0, 1.0, 1.0, 1.0]}
    extra = flops(("cmp", 5000, values["cmp"]), ("ref", 9000, values["ref"]))
    gates = [
        cases.gate(CUT, WIDE, name="gate1"),
        cases.gate(LAST, {name: [...] * 4 for name in values}, name="gate2", last=True, extra=extra),
    ]
    made = assess_gates(gates).what_next
    assert (made.action, made.rule, made.configs) == ("tie", "N3", ("cmp", "ref"))
    assert made.text == "A tie: ref and cmp are equivalent within 0.01; take the cheaper, cmp (5,000 FLOPs a token)."
    without = study(final=values).what_next
    assert without.text == "A tie: ref and cmp are equivalent within 0.01; take the cheaper."


def test_a_lead_that_noise_explains_asks_for_seeds_where_it_matters():
    made = study(final={"cmp": [1.02, 0.99, 1.03, 1.0], "ref": [1.0, 1.01, 0.99, 1.0]}).what_next
    assert (made.action, made.rule, made.rung, made.configs) == ("add seeds", "N4", "rung2", ("ref", "cmp"))
    seen = r"with the present seeds a difference of ([\d.]+) would be detectable, with 2 more ([\d.]+)\.$"
    now, then = map(float, re.search(seen, made.text).groups())
    assert then < now / 2


def test_a_gate_that_decides_otherwise_too_often_asks_for_its_seeds():
    first = {"cmp": [1.0, 1.001, 1.0, 1.001], "ref": [1.1, 1.101, 1.099, 1.1], "sen": [1.101, 1.101, 1.101, 1.101]}
    made = study(first=first)
    assert (made.what_next.rule, made.what_next.rung) == ("N5", "rung1") and made.how_sure.grade in ("likely", "unsure")


def test_an_outcome_that_depends_on_one_cell_is_named():
    made = study(
        rules={"R1": {"kind": "first_in_all_cells", "role": "reference"}},
        final={"cmp": [1.1, 1.1, 1.1, 0.99], "ref": [1.0] * 4},
    )
    assert "gate2 would decide otherwise without cell h2/32" in made.how_sure.text
    assert made.how_sure.grade != "sure"


def test_gates_that_depend_on_the_same_host_are_named_together():
    made = study()
    gates = {name: replace(gate, hangs_on=("host h1", "seed 31")) for name, gate in made.gates.items()}
    gates["gate2"] = replace(gates["gate2"], hangs_on=("host h1",))
    result = how_sure(gates, made.winner, made.lead)
    assert result.hangs_on == (
        "gates 1 and 2 would decide otherwise without h1",
        "gate1 would decide otherwise without seed 31",
    )
    assert json.loads(stored.metrics_bytes(replace(made, gates=gates, how_sure=result)))["hangs_on"] == 3


def test_a_verdict_that_is_often_another_one_is_named_beside_the_least_certain_gate():
    made = study()
    assert "verdict" not in made.how_sure.short + made.how_sure.text
    redraws = replace(made.gates["gate2"].redraws, same_verdicts=0.4, verdict_flips={"R1": 0.1, "R8": 0.515})
    gates = {**made.gates, "gate2": replace(made.gates["gate2"], redraws=redraws)}
    result = how_sure(gates, made.winner, made.lead)
    assert result.short.endswith("; the least certain verdict is gate2.R8, the same in 48.5 %.")
    assert "the least certain verdict is gate2.R8, the same in 48.5 %" in result.text


def test_a_verdict_that_depends_on_one_host_keeps_a_certain_winner_from_being_sure():
    final = {"cmp": [1.00990, 1.00991, 1.01030, 1.01031], "ref": [1.0] * 4, "sen": [1.2, 1.2, 1.2, 1.2]}
    made = study(
        final=final,
        first={**WIDE, "sen": [1.2, 1.201, 1.2, 1.201], "d": [2.0, 2.001, 2.0, 2.0]},
        cut={"R1": {"kind": "top_k", "k": 3}},
    )
    assert made.winner.same > 0.95 and "gate2 would decide otherwise without h2" in made.how_sure.hangs_on
    assert (made.how_sure.grade, made.what_next.rule, made.what_next.rung) == ("likely", "N7", "rung2")


def test_a_winner_that_is_not_the_reference_is_raised():
    made = study(final={"cmp": FINAL["ref"], "ref": FINAL["cmp"]}).what_next
    assert (made.action, made.rule, made.configs) == ("raise", "N8", ("cmp", "ref"))
    assert made.text == "Raise the comparator: cmp beats the reference ref; make it the reference of the next study."


@pytest.mark.parametrize(
    ("share", "text"), [(1, "100 %"), (0, "0 %"), (0.9996, "99.9 %"), (0.0004, "0.1 %"), (0.5, "50.0 %")]
)
def test_a_share_is_never_rounded_to_always_or_never(share, text):
    assert percent(share) == text


def test_every_answer_has_its_row_in_the_documentation():
    rows = set(re.findall(r"^\| (N\d) \|", (PROJECT / "docs" / "confidence.md").read_text(encoding="utf-8"), re.M))
    source = Path(assess_gates.__code__.co_filename).with_name("answers.py").read_text(encoding="utf-8")
    assert rows == set(re.findall(r'"(N\d)"', source)) == {f"N{n}" for n in range(1, 10)}
