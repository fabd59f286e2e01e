"""Rules files and maps: what of each does not fit is refused at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.backtest import mapping
from stages.domain.errors import Invalid
from tests.backtest.curves_csv import COLUMNS, curve_map, map_value, ruleset
from tests.support import synthetic

TOP = {"R1": {"kind": "top_k", "k": 1}}
FIRST = {"R1": {"kind": "first_in_all_cells", "role": "reference"}}
GATES = {"gate1": TOP, "gate2": FIRST}


def rules_of(**over: Any) -> mapping.Ruleset:
    rungs = {"rung1": {"seeds": 2}, "rung2": {"seeds": 3, "floor_seeds": 4}}
    value = {"schema": 1, "unit": "nats", "roles": {"reference": "a"}, "rungs": rungs, "gates": GATES, **over}
    return mapping._rules_of_file(value, "folder/mine.yaml")


def test_a_rules_file_is_read_with_its_sizes() -> None:
    rules = rules_of()
    assert (rules.name, rules.unit, rules.roles, rules.rungs) == (
        "mine", "nats", {"reference": "a"}, ["rung1", "rung2"],
    )  # fmt: skip
    assert [(size.seeds, size.floor_seeds) for size in rules.sizes.values()] == [(2, 0), (3, 4)]
    assert (rules.hosts, rules.seconds, rules.configs) == (1, None, None)


def test_a_study_is_read_with_its_hosts_budgets_and_number_of_configurations() -> None:
    rules = mapping.rules_of_study(synthetic.params(5), "params.yaml")
    assert (rules.name, rules.unit, rules.hosts, rules.configs) == ("synthetic", "bits per byte", 2, 5)
    assert rules.seconds == {f"rung{n}": seconds for n, seconds in enumerate(synthetic.BUDGETS, start=1)}
    assert [(size.seeds, size.floor_seeds) for size in rules.sizes.values()] == [(1, 0), (1, 0), (2, 3), (2, 0), (2, 0)]
    assert list(rules.gates) == [f"gate{n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"schema": 2}, "schema: found 2, expected 1"),
        ({"gates": {"gate2": FIRST, "gate1": TOP}},
         "gates: found gate2, gate1, expected one for each rung, in the same order"),
        ({"gates": {"gate1": TOP}}, "gates: found gate1, expected one for each rung, in the same order"),
        ({"gates": {"gate1": FIRST, "gate2": TOP}},
         "gates.gate1: no rule promotes anybody, so the rungs after it would stay empty"),
        ({"unit": "na\nts"}, "printable text on one line"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rules_file_is_said(over: dict[str, Any], told: str) -> None:
    with pytest.raises(Invalid) as caught:
        rules_of(**over)
    assert told in str(caught.value)


def check(curves: mapping.CurveMap, rules: mapping.Ruleset) -> dict[str, str]:
    return mapping.check_pair(curves, rules, "map.yaml", "rules.yaml")


def refusal(curves: mapping.CurveMap, rules: mapping.Ruleset) -> str:
    with pytest.raises(Invalid) as caught:
        check(curves, rules)
    return str(caught.value)


def test_map_and_rules_have_the_same_rungs() -> None:
    assert refusal(curve_map(rungs={"rung1": 1.0}), rules_of()) == (
        "map.yaml: rungs: found rung1, expected those of rules.yaml"
    )


def test_a_role_is_that_of_the_map_or_else_of_the_rules() -> None:
    assert check(curve_map(), rules_of()) == {"reference": "a"}
    assert check(curve_map(roles={"reference": "b", "other": "c"}), rules_of()) == {"reference": "b", "other": "c"}
    message = "map.yaml: roles.reference: missing, but gate2 R1 speaks of it; name one configuration"
    assert refusal(curve_map(), rules_of(roles={})) == message
    assert refusal(curve_map(roles={"other": "c"}), rules_of(roles={})) == message


def test_a_role_that_is_spoken_of_is_a_configuration_of_the_curves() -> None:
    silent, spoken = ruleset({"gate1": TOP, "gate2": TOP}, roles={}), rules_of()
    mapping.check_roles({"reference": "z"}, silent, ["a"], "map.yaml")
    mapping.check_roles({"reference": "a", "other": "z"}, spoken, ["a"], "map.yaml")
    message = "found 'z', expected a configuration of the curves; name the one that stands for it"
    with pytest.raises(Invalid) as caught:
        mapping.check_roles({"reference": "z"}, spoken, ["a"], "map.yaml")
    assert str(caught.value) == f"map.yaml: roles.reference: {message}"
    floor = rules_of(gates={"gate1": TOP, "gate2": TOP}, roles={})
    with pytest.raises(Invalid, match="^map.yaml: roles.reference: found 'z'"):
        mapping.check_roles({"reference": "z"}, floor, ["a"], "map.yaml")
    mapping.check_roles({}, floor, ["a"], "map.yaml")


def test_a_threshold_has_the_unit_of_what_its_rung_reads() -> None:
    gap = {"gate1": {"R1": {"kind": "within_gap", "gap": 1.0, "of": "best"}}, "gate2": TOP}
    last = {"gate1": TOP, "gate2": {"R1": {"kind": "within_gap", "gap": 1.0, "of": "best"}}}
    first_reach = {
        "final": {"kind": "first_reach", "value": 2.0, "unreached": "omit"},
        "rungs": {"rung1": 1.0, "rung2": "final"},
    }
    check(curve_map(), ruleset(gap))
    check(curve_map(), ruleset({"gate1": TOP, "gate2": TOP}, unit="bits per byte"))
    check(curve_map(**first_reach), ruleset(last, unit="step"))
    end = "in {}, expected rules in that unit; state the threshold anew in it, or use a rule without one, such as top_k"
    message = "rules.yaml: gates.{}.R1: found a threshold in {}, but map.yaml reads {} " + end
    assert refusal(curve_map(), ruleset(gap, unit="bits")) == message.format("gate1", "bits", "rung1", "nats")
    assert refusal(curve_map(**first_reach), ruleset(last)) == message.format("gate2", "nats", "rung2", "step")


def test_a_file_with_a_study_in_it_is_a_params_yaml(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("{schema: 1, unit: nats, rungs: {rung1: {seeds: 1}}, gates: {gate1: {}}}", encoding="utf-8")
    with pytest.raises(Invalid, match="gates.gate1"):
        mapping.load_rules(path)
    path.write_text("{study: {}}", encoding="utf-8")
    with pytest.raises(Invalid, match="study.name"):
        mapping.load_rules(path)


def told_by(model: Any, value: Any) -> str:
    with pytest.raises(Invalid) as caught:
        mapping.parse(model, value, "m.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"schema": 2}, "m.yaml: schema: found 2, expected 1; update staged-promotion"),
        ({"schema": 0}, "m.yaml: schema: found 0, expected 1; see docs/backtest.md"),
        ({"rungs": {"rung1": 1.0, "rung3": 2.0}}, "m.yaml: rungs: found rung1, rung3, expected rung1, rung2 in this order"),
        ({"rungs": {"rung2": 1.0, "rung1": 2.0}}, "m.yaml: rungs: found rung2, rung1, expected rung1, rung2 in this order"),
        ({"rungs": {"rung1": "final", "rung2": "final"}}, "m.yaml: rungs: `final` is the last rung or none"),
        ({"rungs": {"rung1": 2.0, "rung2": 1.9, "rung3": "final"}},
         "m.yaml: rungs: found a budget that is smaller than the one before it; budgets climb"),
        ({"columns": {**COLUMNS, "unit": "seed", "cost": "value"}},
         "m.yaml: columns: 'seed' is named twice, expected a column of its own for each"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_map_is_said_in_one_line(over: dict[str, Any], told: str) -> None:
    assert told_by(mapping.CurveMap, map_value(**over)) == told


def test_budgets_may_stay_and_the_end_may_be_the_only_rung() -> None:
    assert curve_map(rungs={"rung1": 2.0, "rung2": 2.0, "rung3": "final"}).rungs["rung3"] == mapping.FINAL
    assert list(curve_map(rungs={"rung1": "final"}).rungs) == ["rung1"]
    assert (curve_map().roles, curve_map().exclude) == ({}, {})


def test_a_last_gate_needs_no_rule_that_promotes() -> None:
    single = {"rungs": {"rung1": {"seeds": 1}}, "gates": {"gate1": FIRST}}
    assert rules_of(**single).rungs == ["rung1"]
    kept = {"R1": {"kind": "keep_role", "role": "reference"}}
    assert rules_of(gates={"gate1": kept, "gate2": FIRST}).rungs == ["rung1", "rung2"]


def test_a_floor_alone_speaks_of_the_reference_where_there_is_one() -> None:
    nothing = ruleset({"gate1": TOP, "gate2": TOP})
    mapping.check_roles({"reference": "z"}, nothing, ["a"], "map.yaml")  # no floor, and no rule that names it
    floor = rules_of(gates={"gate1": TOP, "gate2": TOP}, roles={})
    mapping.check_roles({"other": "z"}, floor, ["a"], "map.yaml")  # a floor of nobody
    mapping.check_roles({"reference": "a", "other": "z"}, floor, ["a"], "map.yaml")


def test_the_first_role_by_name_is_refused_first() -> None:
    gates = {"gate1": TOP, "gate2": {"R1": {"kind": "mean_gap", "role": "sentinel", "to": "comparator", "most": 1.0}}}
    with pytest.raises(Invalid, match="^map.yaml: roles.comparator: found 'y'"):
        mapping.check_roles({"sentinel": "x", "comparator": "y"}, ruleset(gates, roles={}), ["a"], "map.yaml")


def test_a_value_at_the_end_that_is_no_budget_has_the_unit_of_the_values() -> None:
    last = {"gate1": TOP, "gate2": {"R1": {"kind": "within_gap", "gap": 1.0, "of": "best"}}}
    at_end = {"final": {"kind": "last_budget"}, "rungs": {"rung1": 1.0, "rung2": "final"}}
    check(curve_map(**at_end), ruleset(last))
    # a first step is reached, but the rung reads the values at a budget
    reach = {"final": {"kind": "first_reach", "value": 2.0, "unreached": "omit"}}
    check(curve_map(**reach), ruleset(last))


def test_files_are_read_by_their_path(tmp_path: Path) -> None:
    rules = "{schema: 1, unit: nats, rungs: {rung1: {seeds: 1}}, gates: {gate1: {R1: {kind: top_k, k: 1}}}}"
    (tmp_path / "mine.yaml").write_text(rules, encoding="utf-8")
    assert mapping.load_rules(tmp_path / "mine.yaml").name == "mine"
    text = "{schema: 1, source: s, columns: {config: c, seed: s, budget: b, value: v}, value: {unit: u, direction: higher},"
    text += " budget: {unit: step, prefix: false}, final: {kind: last_budget}, rungs: {rung1: final}}"
    (tmp_path / "map.yaml").write_text(text, encoding="utf-8")
    assert mapping.load_map(tmp_path / "map.yaml").value.direction == "higher"
