"""The page of hindsight: regret in words, what was dropped, what each rung foretold, and the figure of standings."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from report.pages import hindsight as module
from report.pages.hindsight import DroppedRow
from stages.confidence.hindsight_results import (
    Alternative,
    Dropped,
    FinalStanding,
    Foretold,
    GateHindsight,
    Hindsight,
)
from stages.domain import formatting
from tests.report.test_gate_confidence import MEASURED, PAIR

MINUS, DASH = formatting.MINUS, formatting.DASH


def standing(
    config: str, source: Any = "hindsight", mean: float | None = 1.5, stopped: str | None = "gate2"
) -> FinalStanding:
    return FinalStanding(config, source, stopped, mean, {"h": mean}, 1 if mean else None)


RESULT = Hindsight(
    1, "rung5", "gate5", "0" * 64, 4, MEASURED, (standing("b"), standing("a", "ladder", 1.75, None), standing("c", "missing", None)), (),
    "a", "b", 0.25, PAIR, (), (), (), 1.0, 2.0, "",
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, f"Regret: 0.2500 val_bpb, a minus b; 95 % interval {MINUS}0.0100 to +0.0700, not worse."),
        ({"regret": None}, "The ladder chose no configuration, so it has no regret."),
        ({"regret": 0.0}, "Regret: 0. The ladder chose a, which has the lowest mean of all that are known."),
        ({"regret_interval": None}, "Regret: 0.2500 val_bpb, a minus b; no noise was measured."),
        ({"regret_interval": replace(PAIR, lower=None)}, "Regret: 0.2500 val_bpb, a minus b; no noise was measured."),
        ({"regret_interval": replace(PAIR, upper=None)}, "Regret: 0.2500 val_bpb, a minus b; no noise was measured."),
        (
            {"regret_interval": replace(PAIR, outcome=None)},
            f"Regret: 0.2500 val_bpb, a minus b; 95 % interval {MINUS}0.0100 to +0.0700, without a margin.",
        ),
    ],
)
def test_regret_is_told_with_its_interval_or_why_it_has_none(changed: dict[str, Any], text: str) -> None:
    assert module._regret_text(replace(RESULT, **changed), "val_bpb") == text


def test_standings_say_who_stopped_each_and_which_runs_they_are_of() -> None:
    table = module.standing_table(RESULT)
    assert table.values == [
        [1, "b", 1.5, 1.5, None, "gate2", "hindsight"], [1, "a", 1.75, 1.75, None, None, "ladder"], [None, "c", None, None, None, "gate2", "missing"],
    ]  # fmt: skip
    shown = [
        (row.cells["stopped_at"].text, row.cells["stopped_at"].href, row.cells["source"].text) for row in table.rows
    ]
    assert shown == [
        ("Gate 2", "gates/gate2.html#b", "trained in hindsight"), ("no gate", "", "the ladder's own runs"),
        ("Gate 2", "gates/gate2.html#c", "not every run is there"),
    ]  # fmt: skip
    assert [row.id for row in table.rows] == ["standing.b", "standing.a", "standing.c"]


def test_what_a_gate_dropped_although_better_is_listed_with_its_differences() -> None:
    better = tuple(
        Dropped(name, ("x", "y", "z", "w", "v")[:many], by_role, PAIR, replace(PAIR, mean=None))
        for name, many, by_role in (("b", 1, True), ("c", 5, False))
    )
    gate = GateHindsight("gate2", "rung2", 3, 5, 15, 6, "x", "b", 0.25, better)
    none = replace(gate, gate="gate3", better=(), best_dropped=None, regret=None)
    result = replace(RESULT, gates=(gate, none))
    table = module.dropped_table(result)
    assert table.values == [
        ["gate2", "b", "x", 0.03, "not worse", None],
        ["gate2", "c", "x, y, z, w, v", 0.03, "not worse", None],
    ]
    assert [(row.cells["kept"].text, row.cells["kept"].small) for row in table.rows] == [
        ("x", "kept by a role alone"),
        ("x, y, z and 2 more", ""),
    ]
    assert [row.id for row in table.rows] == ["dropped.gate2.b", "dropped.gate2.c"]
    assert module.gates_table(result).values == [
        ["gate2", 3, 5, 2, 6, 15, "x", "b", 0.25],
        ["gate3", 3, 5, 0, 6, 15, "x", None, None],
    ]


def test_each_rungs_order_is_told_with_its_interval_or_as_not_defined() -> None:
    rows = (Foretold("rung1", 8, 0.5, (-0.25, 1.0), 12, None, None), Foretold("rung2", 4, None, None, 12, 0.125, None))
    table = module.foretold_table(replace(RESULT, foretold=rows))
    shown = [[(row.cells[key].text, row.cells[key].small) for key in ("ladder_tau_b", "tau_b")] for row in table.rows]
    assert shown == [[(DASH, ""), ("0.500", f"{MINUS}0.25 to +1.00")], [("0.125", ""), (DASH, "")]]
    assert table.values == [["rung1", None, 12, 0.5, 8], ["rung2", 0.125, 12, None, 4]]


def test_other_ways_to_spend_the_hours_are_rows_with_their_chances() -> None:
    row = Alternative("random", "At random", 4, 2, 1.5, 0.25, 0.125, 0.5)
    table = module.alternatives_table(replace(RESULT, alternatives=(row,)))
    assert (table.values, table.rows[0].id) == ([["At random", 4, 2, 1.5, 0.25, 0.125, 0.5]], "way.random.2")
    assert table.rows[0].cells["best"].text == "25.0 %"


def test_the_figure_tells_the_choice_from_the_ladder_and_from_hindsight() -> None:
    figure = module.standing_figure(RESULT, "val_bpb")
    looks = [(marks["marker"], marks["x"], marks["y"], marks["text"]) for marks in figure.data]
    assert looks == [
        ({"color": "@c1", "symbol": "star", "size": 15}, [1.75], ["a"], ["in the ladder to the end"]),
        ({"color": "@ink", "symbol": "diamond", "size": 10}, [], [], []),
        ({"color": "@c2", "symbol": "circle", "size": 9}, [1.5], ["b"], ["stopped by gate2"]),
    ]
    assert all(marks["cliponaxis"] is False for marks in figure.data)
    assert figure.layout["yaxis"] == {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": ["a", "b"],
        "automargin": True,
    }
    assert (figure.height, figure.layout["margin"]) == (142, {"l": 16, "r": 24, "t": 16, "b": 56})
    assert figure.alt == "Mean val_bpb at the budget of rung 5, best on top: b is best, the ladder chose a."
    assert [entry[:3] for entry in figure.legend] == [
        ("@c1", "", "star"),
        ("@ink", "", "diamond"),
        ("@c2", "", "circle"),
    ]


@pytest.mark.parametrize(("many", "drawn", "more"), [(40, 40, ""), (41, 40, " 40 of 41 drawn.")])
def test_forty_standings_are_drawn(many: int, drawn: int, more: str) -> None:
    rows = tuple(standing(f"c{n}") for n in range(many))
    figure = module.standing_figure(replace(RESULT, standings=rows, choice=None), "val_bpb")
    assert len(figure.data[2]["x"]) == drawn
    assert figure.alt.endswith(f"b is best, the ladder chose none.{more}")


def test_a_dropped_row_names_its_gate() -> None:
    reported = Dropped("b", ("x",), False, PAIR, PAIR)
    assert module._difference("against")(DroppedRow("gate2", reported)).text == "+0.0300"


def test_runs_in_hindsight_that_trained_something_are_listed_with_their_line() -> None:
    def run(config: str, score: float | None, executed: bool = True) -> Any:
        return SimpleNamespace(
            config=config, host="h", seed=7, status="finished" if score else "failed", val_bpb=score, executed=executed
        )

    line: Any = SimpleNamespace(number=4, md5="m")
    hindsight = [(run("a", 1.5), line), (run("b", None), line), (run("c", None, False), line)]
    view: Any = SimpleNamespace(files=SimpleNamespace(hindsight=hindsight), study=SimpleNamespace(runner={}))
    table = module.runs_table(view)
    assert table.values == [["a", "h", 7, "finished", 1.5, 4, "m"], ["b", "h", 7, "failed", None, 4, "m"]]
    assert ([row.id for row in table.rows], table.source) == (["run.a.h.7", "run.b.h.7"], "ledger/hindsight.jsonl")
    assert [table.tools, module.foretold_table(RESULT).tools, module.standing_table(RESULT).tools] == [
        True,
        False,
        True,
    ]
