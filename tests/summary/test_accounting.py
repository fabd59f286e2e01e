"""Device-hours: the published figures, exact sums, and what is not known yet."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical
from stages.summary.accounting import UNRUN, accounting, counterfactual, hours


def test_the_published_hours_come_out(paper):
    made = accounting(paper.ladder()).to_json()
    assert [rung["candidates"] for rung in made["rungs"].values()] == [18, 12, 9, 4, 3]
    assert made["totals"] == {
        "executed_hours": 169.2,
        "floor_hours": 0.0,
        "planned_hours": 169.2,
        "screening_hours": 25.2,
        "last_rung_hours": 144.0,
    }
    assert {one["from_rung"]: one["hours"] for one in made["counterfactuals"]} == {
        "rung1": 864.0,
        "rung2": 576.0,
        "rung3": 432.0,
        "rung4": 192.0,
    }
    assert made["clock"] == "wall"


def test_a_counterfactual_shows_its_sum_and_says_that_nothing_of_it_ran():
    made = counterfactual("rung4", 4, 4, "rung5", 43200.0)
    assert made.text == f"All 4 candidates of rung4 at rung5: 4 × 4 cells × 12 h = 192 device-hours. {UNRUN}"
    assert "no evidence" in UNRUN


def test_runs_are_counted_by_what_became_of_them(case):
    rung = accounting(case.ladder()).to_json()["rungs"]["rung3"]
    assert (rung["candidates"], rung["cells"], rung["configs"]) == (10, 4, 12)
    assert (rung["executed_runs"], rung["stopped_runs"], rung["missing_runs"], rung["floor_runs"]) == (40, 8, 0, 6)
    assert rung["unscreened_hours"] == pytest.approx(12 * 4 * 10 / 3600)


def test_a_missing_run_is_counted_as_missing_and_costs_nothing(case):
    gone = [run for run in case.records if run.id == "rung5/d8-c007/cpu-fp32/5001"]
    ladder = case.without("gate5").ladder()
    records = tuple(run for run in case.records if run not in gone)
    made = accounting(type(case)(case.root, case.configs, case.locks, records, case.decisions).ladder()).to_json()
    assert len(gone) == 1
    assert made["rungs"]["rung5"]["missing_runs"] == 1
    assert (
        made["rungs"]["rung5"]["executed_runs"] == accounting(ladder).to_json()["rungs"]["rung5"]["executed_runs"] - 1
    )
    assert made["totals"]["planned_hours"] - made["totals"]["executed_hours"] == pytest.approx(0.2)


def test_before_a_gate_has_decided_the_next_rungs_candidates_are_unknown_and_not_zero(case):
    made = accounting(case.without("gate3", "gate4", "gate5", records=True).ladder()).to_json()
    assert made["rungs"]["rung3"]["candidates"] == 10
    assert made["rungs"]["rung3"]["missing_runs"] == 40
    for key in ("candidates", "missing_runs", "planned_hours"):
        assert made["rungs"]["rung4"][key] is None
    assert made["totals"]["planned_hours"] is None
    assert made["totals"]["executed_hours"] == pytest.approx((24 * 2 + 24 * 5) / 3600)
    assert [one["from_rung"] for one in made["counterfactuals"]] == ["rung1", "rung2", "rung3"]


def test_a_rung_whose_gate_is_not_frozen_is_absent(case):
    some = {gate: lock for gate, lock in case.locks.items() if gate in ("gate1", "gate2")}
    made = accounting(type(case)(case.root, case.configs, some, case.records, case.decisions).ladder()).to_json()
    assert list(made["rungs"]) == ["rung1", "rung2"]
    assert made["totals"]["last_rung_hours"] is None
    assert made["counterfactuals"] == []


def test_nothing_frozen_accounts_for_nothing(case):
    made = accounting(type(case)(case.root, case.configs, {}, (), {}).ladder()).to_json()
    assert (made["rungs"], made["clock"], made["totals"]["executed_hours"]) == ({}, None, 0.0)
    canonical.dumps(made)


@given(st.lists(st.tuples(st.integers(0, 10**4), st.integers(1, 10**9)), max_size=20))
def test_hours_add_up_exactly_whatever_the_budgets(parts):
    thousandths = sum(runs * milliseconds for runs, milliseconds in parts)
    assert sum(hours(runs, milliseconds / 1000) for runs, milliseconds in parts) == Fraction(thousandths, 3_600_000)


def test_the_whole_account_of_a_rung_and_of_the_totals(case):
    made = accounting(case.ladder()).to_json()
    assert made["rungs"]["rung3"] == {
        "budget_seconds": 10.0, "cells": 4, "configs": 12, "candidates": 10, "executed_runs": 40, "stopped_runs": 8,
        "missing_runs": 0, "floor_runs": 6, "planned_hours": 0.111111111, "executed_hours": 0.111111111,
        "floor_hours": 0.016666667, "unscreened_hours": 0.133333333,
    }  # fmt: skip
    assert made["totals"] == {
        "executed_hours": 2.024444444, "floor_hours": 0.016666667, "planned_hours": 2.024444444,
        "screening_hours": 0.424444444, "last_rung_hours": 1.6,
    }  # fmt: skip
    assert (made["schema"], made["unit"], made["clock"]) == (1, "device-hours", "rated")
    assert [(entry["from_rung"], entry["candidates"], entry["hours"]) for entry in made["counterfactuals"]] == [
        ("rung1", 12, 9.6), ("rung2", 12, 9.6), ("rung3", 10, 8.0), ("rung4", 4, 3.2)
    ]  # fmt: skip
