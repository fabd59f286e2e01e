"""What a backtest says beside its numbers: each sentence where it is true, and nowhere else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stages.backtest import curves, figures, pools, replay
from stages.backtest.backtest_result import Regret
from stages.domain.errors import Invalid
from tests.backtest.curves_csv import COLUMNS, curve_map, rows, ruleset, write

TOP = {"gate1": {"R1": {"kind": "top_k", "k": 1}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}}
#: At the last budget one run of a and one of b is not yet at 2.05.
VALUES = {
    "a": [[3.0, 2.0], [3.4, 2.01], [3.5, 2.1]],
    "b": [[3.2, 2.0], [3.3, 2.02], [3.6, 2.3]],
    "c": [[3.1, 2.0], [3.7, 2.03], [3.8, 2.0]],
}
PREFIX = figures.PREFIX


def state(path, *, continued=False, header=None, lines=None, **over):
    """The sentences of a backtest of such curves."""
    known, rules = curve_map(**over), ruleset(TOP)
    file = write(path / "c.csv", lines or rows(VALUES), *([header] if header else []))
    read = curves.read_curves(file, known)
    options = figures.BacktestOptions(10, 0, continued, "map.yaml", "0" * 64, "rules.yaml", "0" * 64)
    return figures._statements(read, known, rules, pools.arrange(read, known, rules, continued), options)


def holds(lines, words):
    return any(words in line for line in lines)


@pytest.mark.parametrize("continued", [False, True])
def test_who_pays_for_what_depends_on_whether_a_run_is_followed(tmp_path, continued):
    lines = state(tmp_path, continued=continued)
    assert holds(lines, "only the increments of its budget are paid") == continued
    assert holds(lines, "every run is paid from its start") != continued


def test_budgets_that_are_prefixes_of_one_run_are_named(tmp_path):
    assert PREFIX in state(tmp_path)
    trained_anew = [f"{line},{line.split(',')[2]}" for line in rows(VALUES)]
    header, columns = "config,seed,budget,value,planned", {**COLUMNS, "scheduled": "planned"}
    budget = {"unit": "step", "prefix": False}
    assert PREFIX not in state(tmp_path, header=header, lines=trained_anew, columns=columns, budget=budget)


def test_curves_without_status_and_cost_are_named_and_those_with_them_are_not(tmp_path):
    bare = state(tmp_path)
    assert holds(bare, "The curves declare no status")
    assert holds(bare, "The map names no cost column: one step costs the same")
    lines = [f"{line},finished,1.5" for line in rows(VALUES)]
    columns = {**COLUMNS, "status": "status", "cost": "cost"}
    full = state(tmp_path, header="config,seed,budget,value,status,cost", lines=lines, columns=columns)
    assert not holds(full, "status")
    assert not holds(full, "cost column")


@pytest.mark.parametrize(
    ("unreached", "words"),
    [("omit", "left out, which flatters their configurations"), ("at_end", "counted at the end of their curve")],
)
def test_runs_that_never_reach_the_final_value_are_counted_and_what_became_of_them_said(tmp_path, unreached, words):
    final = {"kind": "first_reach", "value": 2.05, "unreached": unreached}
    lines = state(tmp_path, final=final)
    assert holds(lines, f"2 of 9 runs have no final value and were {words}.")
    assert not holds(state(tmp_path), "have no final value")


def test_a_configuration_that_was_left_out_is_named_with_the_reason(tmp_path):
    assert "Left out: b: it is another model." in state(tmp_path, exclude={"b": "it is another model"})


@pytest.mark.parametrize(
    ("final", "text", "unit"),
    [
        ({"kind": "at_budget", "budget": 2.0}, "the value at 2 step", "nats"),
        ({"kind": "last_budget"}, "the value at the last budget", "nats"),
        ({"kind": "first_reach", "value": 2.05, "unreached": "omit"},
         "the first step at which a run reaches 2.05 nats, interpolated; runs that never do are left out", "step"),
        ({"kind": "first_reach", "value": 2.5, "unreached": "at_end"},
         "the first step at which a run reaches 2.5 nats, interpolated; runs that never do are counted at the end of "
         "their curve", "step"),
    ],
)  # fmt: skip
def test_what_counts_is_a_sentence_and_has_a_unit(final, text, unit):
    known = curve_map(final=final)
    assert (figures.final_text(known), figures.final_unit(known)) == (text, unit)


def make_count(*picks):
    return replay.MethodCount(np.array(picks))


def test_regret_is_counted_over_the_picks_alone():
    truth = np.array([1.2, 1.0, 1.5]) * curves.SCALE
    assert figures.regret(make_count(0, 0, 0, 7), truth) == Regret(mean=None, error=None, p90=None, largest=None)
    assert figures.regret(make_count(0, 4, 0, 7), truth) == Regret(mean=0.0, error=0.0, p90=0.0, largest=0.0)
    some = figures.regret(make_count(3, 6, 1, 0), truth)
    assert (some.mean, some.p90, some.largest) == (0.11, 0.2, 0.5)
    assert some.error == pytest.approx(0.00249**0.5, abs=1e-6)
    assert figures.regret(make_count(3, 6, 2, 0), truth).p90 == 0.5


def test_a_rule_that_these_curves_cannot_answer_is_refused(tmp_path):
    known = curve_map()
    read = curves.read_curves(write(tmp_path / "c.csv", rows(VALUES)), known)
    fresh = ruleset({"gate1": {"R7": {"kind": "fresh_seeds"}, **TOP["gate1"]}, "gate2": TOP["gate2"]})
    figures.check_rules(fresh, read, False, "rules.yaml")
    with pytest.raises(Invalid) as caught:
        figures.check_rules(fresh, read, True, "rules.yaml")
    told = "fresh_seeds never holds where a run is followed through its budgets; drop --continued or the rule"
    assert str(caught.value) == f"rules.yaml: gates.gate1.R7: {told}"
    by_host = ruleset({"gate1": {"R1": {"kind": "top_k", "k": 1, "by": "each_host"}}, "gate2": TOP["gate2"]})
    with pytest.raises(Invalid) as caught:
        figures.check_rules(by_host, read, False, "rules.yaml")
    why = "agreement: not evaluable: the map declares no host"
    assert str(caught.value) == (
        f"rules.yaml: gates.gate1.R1: top_k by each_host is not evaluable: {why}; use `by: mean`"
    )
    figures.check_rules(by_host, dataclasses.replace(read, hosts_note=""), False, "rules.yaml")


@pytest.mark.parametrize(
    ("hosts", "of_rules", "told"),
    [
        (("",), 1, []),
        (("",), 2, ["The rules' 2 hosts are drawn as that many times the seeds of one block."]),
        (("a", "b"), 1, []),
        (("a", "b"), 2, []),
        (("a", "b"), 3, ["The rules are of 3 hosts; they judge the 2 of the curves."]),
    ],
)
def test_other_hosts_than_those_of_the_rules_are_told(tmp_path, hosts, of_rules, told):
    known, rules = curve_map(), dataclasses.replace(ruleset(TOP), hosts=of_rules)
    read = curves.read_curves(write(tmp_path / "c.csv", rows(VALUES)), known)
    options = figures.BacktestOptions(10, 0, False, "map.yaml", "0" * 64, "rules.yaml", "0" * 64)
    arranged = pools.arrange(read, known, rules, False)
    lines = figures._statements(dataclasses.replace(read, hosts=hosts, hosts_note=""), known, rules, arranged, options)
    assert [line for line in lines if "hosts" in line or "of the curves" in line] == told
