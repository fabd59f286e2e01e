"""What a backtest says beside its numbers: each sentence where it is true, and nowhere else."""

from __future__ import annotations

import pytest

from stages.backtest import curves, figures, pools
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
