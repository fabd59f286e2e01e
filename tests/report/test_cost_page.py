"""The tables of cost: sums of which a part is not known, rungs without a price, and what each decision saved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.cost import StudyCost, candidates_text, price_study
from report.pages import cost as module
from stages.domain import formatting

NB = formatting.NB


def parts(executed: float | None = 1.0, planned: float | None = 2.0, **changed: Any) -> Any:
    values: dict[str, Any] = {
        "executed_hours": executed, "floor_hours": 0.5, "planned_hours": planned, "unscreened_hours": 4.0, "candidates": 3, "cells": 2,
        "executed_runs": 6, "floor_runs": 1, "missing_runs": 0, "stopped_runs": 4, "budget_seconds": 1800.0,
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


def gate(number: int, stopped: list[str] | None = None, executed: int = 1) -> Any:
    decision = None if stopped is None else SimpleNamespace(stopped=stopped)
    return SimpleNamespace(
        rung=f"rung{number}", name=f"gate{number}", budget=60.0 * number, decision=decision, executed=[0] * executed
    )


def cost(*unpriced: str, **rungs: Any) -> StudyCost:
    return StudyCost(rungs, list(unpriced), [], "rung2")


def test_a_rung_has_its_hours_and_one_that_is_not_frozen_has_no_price() -> None:
    table = module.rungs_table(cost(rung1=parts(), rung2=parts(2.0, None)), [gate(1), gate(2), gate(3)])
    assert table.values == [
        ["rung1", 1.5, 1.0, 0.5, 2.0, 4.0, 60.0, 3, 2, 6, 1, 0, 4], ["rung2", 2.5, 2.0, 0.5, None, 4.0, 120.0, 3, 2, 6, 1, 0, 4],
        ["rung3", None, None, None, None, None, 180.0, None, None, None, None, None, None],
    ]  # fmt: skip
    assert [row.cells["budget"].text for row in table.rows] == [f"60{NB}s", f"2{NB}min", f"3{NB}min"]
    foot = table.foot or {}
    assert foot.pop("rung").text == "All rungs"  # type: ignore[attr-defined]
    assert foot == {
        "total_hours": 4.0, "executed_hours": 3.0, "floor_hours": 1.0, "planned_hours": None, "unscreened_hours": 8.0, "executed_runs": 12,
        "floor_runs": 2, "missing_runs": 0, "stopped_runs": 8,
    }  # fmt: skip


def test_no_sum_is_known_where_a_rung_has_no_price() -> None:
    assert set(module._sums(cost("rung2", rung1=parts())).values()) == {None}


def test_what_a_decision_saved_is_what_the_stopped_would_have_cost_at_the_next_rung() -> None:
    gates = {f"gate{n}": gate(n, stopped) for n, stopped in ((1, ["a", "b"]), (2, None), (3, ["c"]))}
    table = module.decisions_table(cost(rung1=parts(), rung2=parts(cells=4), rung3=parts()), gates)
    assert table.values == [["gate1", 1.5, 2, 4.0], ["gate2", 1.5, None, None], ["gate3", 1.5, None, None]]
    assert table.rows[0].id == "cost.gate1"


@pytest.mark.parametrize(
    ("many", "words"),
    [(1, "The one candidate of rung 2 at the last rung"), (3, "All 3 candidates of rung 2 at the last rung")],
)
def test_unrun_work_says_who_would_have_gone_on(many: int, words: str) -> None:
    case: Any = SimpleNamespace(from_rung="rung2", candidates=many, hours=1.5)
    assert candidates_text(case) == words.removesuffix(" of rung 2 at the last rung").lower()
    table = module.unrun_table(StudyCost({}, [], [case], "rung5"))
    assert (table.values, table.rows[0].id) == ([[words, 1.5, many]], "unrun.rung2")


def test_rungs_that_ran_without_a_price_are_told_apart_from_those_that_did_not_run() -> None:
    accounting: Any = SimpleNamespace(rungs={"rung3": 3, "rung1": 1}, counterfactuals=["c"])
    reported = price_study(accounting, [gate(1), gate(2), gate(3, executed=0), gate(4, executed=0)], "rung4")
    assert reported == StudyCost({"rung1": 1, "rung3": 3}, ["rung2"], ["c"], "rung4")  # type: ignore[dict-item, list-item]
    assert list(reported.rungs) == ["rung1", "rung3"]


@pytest.mark.parametrize(
    ("place", "of", "shade"), [(0, 1, 0.38), (0, 5, 0.38), (1, 5, 0.5), (4, 5, 1.0), (1, 2, 1.0), (1, 3, 0.62)]
)
def test_a_later_rung_is_darker(place: int, of: int, shade: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_rung_bar", lambda label, name, hours, scale, shade: (name, shade))
    bars = module._stacked("executed", cost(**{f"rung{n}": parts() for n in range(1, of + 1)}), "executed_hours", 1.0)
    assert bars[place] == (f"Rung {place + 1}", shade)
    assert (
        module._stacked("planned", cost(rung1=parts(planned=None), rung2=parts(planned=0.0)), "planned_hours", 1.0)
        == []
    )
