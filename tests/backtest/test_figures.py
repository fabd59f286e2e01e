"""What a backtest says beside its numbers: each sentence where it is true, and nowhere else."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

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
    message = "fresh_seeds never holds where a run is followed through its budgets; drop --continued or the rule"
    assert str(caught.value) == f"rules.yaml: gates.gate1.R7: {message}"
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


def make_pool(values, state):
    cost = np.zeros(np.shape(values))
    return pools.Pool(np.array(values), np.array(state, dtype=np.int8), cost, np.zeros((3, 1), dtype=np.int64), 0, 1)


def test_means_and_deviations_are_over_finished_runs_alone():
    done, gone, never = curves.FINISHED, curves.DIVERGED, curves.ABSENT
    pool = make_pool(
        [[[10, 14, 99]], [[20, 26, 99]], [[30, 99, 99]]],
        [[[done, done, gone]], [[done, done, never]], [[done, gone, gone]]],
    )
    assert figures.pool_means(pool).tolist() == [12.0, 23.0, 30.0]
    # deviations of 2 and 3 times the root of 2; one run has none
    assert figures.seed_sd(pool) == pytest.approx(2.5 * 2**0.5)
    broken = make_pool([[[10, 14]], [[20, 26]]], [[[gone, done]], [[never, never]]])
    assert np.isnan(figures.pool_means(broken)).tolist() == [False, True]
    assert figures.seed_sd(broken) is None


def rungs_of(path, pairs, ladders, values=VALUES, **over):
    known = curve_map(**over)
    read = curves.read_curves(write(path / "c.csv", rows(values)), known)
    arranged = pools.arrange(read, known, ruleset(TOP))
    tally = SimpleNamespace(pairs={"rung1": pairs, "rung2": pairs}, pair_ladders=ladders)
    return [row.model_dump() for row in figures._rungs(known, arranged, tally)]


def test_what_a_rung_says_before_any_rule(tmp_path):
    # means of 3.3, 3.366667, 3.533333 and, at the end, 2.036667, 2.106667, 2.01: of three pairs one is ordered as in the end
    first, last = rungs_of(tmp_path, 1.0, 3)
    assert first == {
        "rung": "rung1", "budget": 1.0, "unit": "nats", "runs_each": 1, "seed_sd": 0.264575, "tau_b": -0.333333,
        "accuracy_all_runs": 0.333333333, "accuracy": 0.333333,
    }  # fmt: skip
    assert (last["rung"], last["budget"], last["tau_b"], last["accuracy_all_runs"]) == ("rung2", 2.0, 1.0, 1.0)
    none = rungs_of(tmp_path, 0.0, 0)[0]
    assert (none["accuracy"], none["accuracy_all_runs"]) == (None, 0.333333333)
    flat = {name: [[3.0 + n / 10, 2.0 + at / 10 + n / 100] for n in range(3)] for at, name in enumerate("abc")}
    level = rungs_of(tmp_path, 0.0, 0, flat)[0]
    assert (level["tau_b"], level["seed_sd"], level["accuracy_all_runs"]) == (None, 0.1, 0.0)


def test_the_end_of_a_run_has_the_unit_of_what_counts(tmp_path):
    final = {"kind": "first_reach", "value": 2.5, "unreached": "omit"}
    rung1, rung2 = rungs_of(tmp_path, 0.0, 0, final=final, rungs={"rung1": 1.0, "rung2": "final"})
    assert [(row["budget"], row["unit"]) for row in (rung1, rung2)] == [(1.0, "nats"), ("final", "step")]


@pytest.mark.parametrize(
    ("kind", "sign", "value"),
    [("at_budget", 1, 2.5), ("at_budget", -1, -2.5), ("first_reach", 1, 2.5), ("first_reach", -1, 2.5)],
)
def test_a_value_is_told_in_the_direction_of_the_curves_and_a_budget_as_it_is(kind, sign, value):
    native = figures._native(2_500_000.4, SimpleNamespace(sign=sign), SimpleNamespace(final=SimpleNamespace(kind=kind)))
    assert native == value
    assert str(figures._native(0.4, SimpleNamespace(sign=-1), curve_map())) == "0.0"


def test_nobody_behind_the_first_sixty_four_comes_first():
    final = tuple(np.array([1000 - n, 1000 - n]) for n in range(66))
    many = pools.Pools(tuple(f"c{n:02d}" for n in range(66)), ("",), {}, final, 0)
    shares = figures.sureness(many, 50)
    assert shares.tolist() == [0.0] * 65 + [1.0]
    level = pools.Pools(many.configs, ("",), {}, tuple(np.array([5, 5]) for _ in range(66)), 0)
    assert figures.sureness(level, 50).tolist() == [1.0] + [0.0] * 65
    even = pools.Pools(many.configs, ("",), {}, tuple(np.arange(1000) for _ in range(66)), 0)
    assert np.flatnonzero(figures.sureness(even, 2000) == 0).tolist() == [64, 65]


def test_a_standing_has_its_rank_its_deviation_and_its_share_of_redraws(tmp_path):
    known = curve_map()
    read = curves.read_curves(write(tmp_path / "c.csv", rows(VALUES)), known)
    truth = figures._truth(read, known, pools.arrange(read, known, ruleset(TOP)))
    assert [(row.config, row.rank, row.final, row.seed_sd, row.runs) for row in truth] == [
        ("c", 1, 2.01, 0.017321, 3), ("a", 2, 2.036667, 0.055076, 3), ("b", 3, 2.106667, 0.167730, 3),
    ]  # fmt: skip
    assert sum(row.first_in_redraws for row in truth) == pytest.approx(1.0)


def test_shares_and_their_errors_have_nine_decimals():
    assert (figures._share(1, 3), figures._share(0, 3)) == (0.333333333, 0.0)
    assert (figures._error(0.5, 3), figures._error(1.0, 3)) == (0.288675135, 0.0)


@pytest.mark.parametrize(
    ("counted", "left_out", "expected"),
    [
        (replay.RuleCount(2, 1, 4), {}, (True, "", 0.666667, 0.333333, 1.333333)),
        (None, {"R1": "one block"}, (False, "one block", None, None, None)),
    ],
)
def test_a_rule_is_counted_a_ladder_or_said_why_not(counted, left_out, expected):
    rule = ruleset(TOP).gates["gate1"]["R1"]
    count = replay.GateCount(rules={"R1": counted} if counted else {})
    row = figures._rule("R1", rule, count, left_out, 3)
    assert (row.evaluated, row.why_not, row.holds, row.fails, row.unknown) == expected
    assert (row.id, row.kind, row.effect) == ("R1", "top_k", "promote")


def test_gates_and_methods_are_shares_of_all_ladders(tmp_path):
    known = curve_map()
    read = curves.read_curves(write(tmp_path / "c.csv", rows(VALUES)), known)
    arranged = pools.arrange(read, known, ruleset(TOP))
    count = replay.GateCount(1, 9, 4, 3, 2, 1, 6.0, {"R1": replay.RuleCount(4, 5, 0)})
    methods = {
        name: replay.MethodCount(np.array([1, 0, 2, 0]), 1, 2, 5, 8.0) for name in ("rules", "halving 2, matched")
    }
    methods["full"] = replay.MethodCount(np.array([0, 1, 1, 1]), 0, 3, 9, 12.0)
    tally = replay.ReplayTally(3, {"gate1": count, "gate2": count}, methods, 0, {}, {"halving 2, matched": 2},
                               {"gate1": {}, "gate2": {}})  # fmt: skip
    first, last = figures._gates(ruleset(TOP), tally, 12.0)
    assert first.model_dump(exclude={"rules"}) == {
        "gate": "gate1", "rung": "rung1", "last": False, "candidates": 3.0, "promoted": 1.333333, "blocked": 0.333333333,
        "best_reached": 1.0, "best_dropped": 0.666666667, "best_dropped_error": 0.272165527,
        "top3_dropped": 0.333333333, "cost_share": 0.5,
    }  # fmt: skip
    assert (last.gate, last.last, len(last.rules)) == ("gate2", True, 1)
    rules, halving, full = figures._methods(arranged, tally)
    assert rules.model_dump(exclude={"regret"}) == {
        "method": "rules", "title": "the frozen rules", "best_picked": 0.666666667, "best_picked_error": 0.272165527,
        "best_lost": 0.333333333, "top3_lost": 0.666666667, "nobody": 0.0, "finalists": 1.666667, "cost": 2.666667,
        "cost_share": 0.666666667,
    }  # fmt: skip
    assert halving.title == "successive halving, eta 2, from 2, at most the rules' mean cost"
    assert (full.cost_share, full.nobody) == (1.0, 0.333333333)
    tally.starts["halving 2, matched"] = 3
    assert [row.method for row in figures._methods(arranged, tally)] == ["rules", "full"]
