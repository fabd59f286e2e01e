"""Tables and figures of a backtest and of a simulation: bounds, looks, and what cannot be had."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report import backtest, simulation


def result(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "resampling": "fresh", "basis": "prefixes", "ladders": 2000, "curves": SimpleNamespace(name="c.csv", budget_unit="steps"),
        "rules": SimpleNamespace(name="r.yaml"), "map": SimpleNamespace(name="m.yaml"), "final": SimpleNamespace(unit="loss <x>"), "truth": [],
        "methods": [], "gates": [], "rungs": [],
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


@pytest.mark.parametrize(
    ("resampling", "words"),
    [
        (
            "continued",
            "prefixes; 2\N{NARROW NO-BREAK SPACE}000 resampled ladders, one run followed through its budgets",
        ),
        ("fresh", "prefixes; 2\N{NARROW NO-BREAK SPACE}000 resampled ladders, fresh seeds at every rung"),
    ],
)
def test_every_table_says_what_its_figures_rest_on(resampling: str, words: str) -> None:
    table = backtest.truth_table(result(resampling=resampling))
    assert (table.clock, table.source) == (words, "c.csv, r.yaml, m.yaml")


@pytest.mark.parametrize(("many", "note"), [(200, ""), (201, "The first 200 of 201.")])
def test_two_hundred_configurations_stand_on_the_page(many: int, note: str) -> None:
    row = SimpleNamespace(config="a", rank=1, final=1.5, seed_sd=None, runs=3, first_in_redraws=0.5)
    table = backtest.truth_table(result(truth=[row] * many))
    assert (len(table.rows), table.note) == (200, note)
    assert table.values[0] == ["a", 1, 1.5, None, 3, 50.0]


def method(name: str, cost: float, mean: float | None) -> Any:
    return SimpleNamespace(
        method=name, title=f"Way {name} <", cost_share=cost, regret=SimpleNamespace(mean=mean, error=0.5, p90=None)
    )


def test_a_method_is_a_mark_and_the_rules_have_a_look_of_their_own() -> None:
    reported = result(
        methods=[
            method("random", 0.5, 0.25),
            method("rules", 0.25, 0.0),
            method("none", 0.1, None),
            method("seeds", 0.25, 0.0),
        ]
    )
    figure = backtest.cost_figure(reported)
    assert [(mark["x"], mark["y"], mark["marker"], mark["cliponaxis"]) for mark in figure.data] == [
        ([25.0], [0.0], {"color": "@c1", "symbol": "diamond", "size": 13}, False),
        ([25.0], [0.0], {"color": "@c0", "symbol": "circle", "size": 9}, False),
        ([50.0], [0.25], {"color": "@c0", "symbol": "circle", "size": 9}, False),
    ]
    assert [(note["x"], note["y"], note["text"], note["font"]["color"]) for note in figure.layout["annotations"]] == [
        (25.0, 0.0, "rules", "@c1"), (25.0, 0.0, "seeds", "@ink"), (50.0, 0.25, "random", "@ink"),
    ]  # fmt: skip
    assert figure.data[0]["hovertemplate"] == "Way rules &lt;<br>%{x:.2f} %% of the cost, %{y:.3f}<extra></extra>"
    assert figure.layout["yaxis"] == {"title": {"text": "mean regret, loss &lt;x&gt;"}, "rangemode": "tozero"}
    assert "Lowest regret: Way rules <. Down and to the left is better." in figure.alt
    note = figure.layout["annotations"][0]
    assert {key: note[key] for key in ("textangle", "xanchor", "yanchor", "showarrow")} == {"textangle": -40, "xanchor": "left", "yanchor": "bottom", "showarrow": False}  # fmt: skip
    assert (figure.height, note["font"]["size"]) == (440, 11)


def gate(name: str, dropped: float, accuracy: float | None) -> tuple[Any, Any]:
    figures = SimpleNamespace(gate=name, rung=f"r{name}", best_dropped=dropped, top3_dropped=dropped / 2, rules=[])
    return figures, SimpleNamespace(rung=f"r{name}", accuracy=accuracy)


def test_gates_are_three_lines_and_the_worst_is_named() -> None:
    both = [gate("g1", 0.25, None), gate("g2", 0.5, 0.75)]
    figure = backtest.gates_figure(result(gates=[each for each, _ in both], rungs=[each for _, each in both]))
    assert [(line["name"], line["x"], line["y"]) for line in figure.data] == [
        ("best dropped", ["g1", "g2"], [25.0, 50.0]), ("one of the top 3 dropped", ["g1", "g2"], [12.5, 25.0]),
        ("pairs ordered rightly", ["g1", "g2"], [None, 75.0]),
    ]  # fmt: skip
    looks = [(line["line"], line["marker"]) for line in figure.data]
    assert looks == [
        ({"color": "@c2", "dash": "solid", "width": 2.5}, {"color": "@c2", "symbol": "square", "size": 8}),
        ({"color": "@c4", "dash": "dash", "width": 2.5}, {"color": "@c4", "symbol": "triangle-up", "size": 8}),
        ({"color": "@c1", "dash": "dot", "width": 2.5}, {"color": "@c1", "symbol": "circle", "size": 8}),
    ]
    assert figure.alt.endswith("The best is dropped most often at g2: 50.00 %.") and figure.height == 380


@pytest.mark.parametrize(("prefix", "warning"), [(True, "prefix"), (False, "")])
def test_a_backtest_on_prefixes_is_warned_of(prefix: bool, warning: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("methods_table", "gates_table", "rules_table", "truth_table", "cost_figure", "gates_figure"):
        monkeypatch.setattr(backtest, name, lambda told, name=name: SimpleNamespace(id=name))
    monkeypatch.setattr(backtest, "render_page", lambda *told: told)
    told = result(curves=SimpleNamespace(name="c.csv", prefix=prefix), dumps=lambda: b"{}")
    template, context, tables, data, source = backtest.build_page(told)
    assert (template, context["warning"], context["title"], data, source) == (
        "backtest.html", warning, "Backtest of r.yaml on c.csv", b"{}", "r.yaml",
    )  # fmt: skip
    assert (
        list(context["tables"])
        == [table.id for table in tables]
        == ["methods_table", "gates_table", "rules_table", "truth_table"]
    )


def design(name: str, cost: float, kept: float, dropped: tuple[float, ...] = (0.25,)) -> Any:
    return SimpleNamespace(
        name=name, cost_share=cost, kept=kept, chosen=0.5, chosen_error=0.125, dropped=dropped, top3_lost=0.25, regret=0.5, regret_error=None,
        entered=[12, 3],
    )  # fmt: skip


def size(many: int, *designs: Any) -> Any:
    return SimpleNamespace(configs=many, ladders=1000, designs=list(designs))


def simulated(*sizes: Any) -> Any:
    return SimpleNamespace(
        source=SimpleNamespace(name="runs"), budgets=[1, 2, 3], unit="bpb", sizes=list(sizes), fit=[]
    )


def test_a_design_with_fewer_gates_has_nothing_at_the_others() -> None:
    table = simulation.size_table(simulated(), size(12, design("a", 0.5, 0.75), design("b", 0.25, 1.0, (0.125, 0.5))))
    assert table.values == [
        ["a", 75.0, 50.0, 12.5, 25.0, None, 25.0, 0.5, None, 3, 50.0], ["b", 100.0, 50.0, 12.5, 12.5, 50.0, 25.0, 0.5, None, 3, 25.0],
    ]  # fmt: skip
    assert [column.label for column in table.columns if column.group == "best dropped, %"] == ["Gate 1", "Gate 2"]
    assert (table.id, table.clock) == ("configs12", "simulation, no evidence")


def test_designs_are_marks_by_cost_and_the_least_loss_is_named() -> None:
    sizes = [
        size(12, design("a", 0.5, 0.75), design("b<", 0.25, 0.5)),
        size(1200, design("c", 0.5, 0.75), design("d", 0.25, 0.75), design("e", 0.1, 0.5)),
    ]
    figure = simulation.trade_figure(simulated(*sizes))
    assert [(marks["x"], marks["y"], marks["text"], marks["marker"]) for marks in figure.data] == [
        ([25.0, 50.0], [50.0, 25.0], ["b&lt;", "a"], {"color": "@c1", "symbol": "circle", "size": 9}),
        ([10.0, 25.0, 50.0], [50.0, 25.0, 25.0], ["e", "d", "c"], {"color": "@c2", "symbol": "square", "size": 9}),
    ]
    assert figure.legend == (
        ("@c1", "", "circle", "12 configurations"),
        ("@c2", "", "square", "1\N{NARROW NO-BREAK SPACE}200 configurations"),
    )
    assert figure.alt.endswith("With 1\N{NARROW NO-BREAK SPACE}200 configurations it is dropped least by: d, 25.0 %.")
    assert (figure.table, figure.height) == ("configs12", 420)


def test_the_fit_has_a_column_a_level() -> None:
    row = SimpleNamespace(budget=1000, configs=4, error=0.5, naive=1.0, coverage=[0.5, 0.75, 1.0])
    reported = simulated()
    reported.fit = [row]
    table = simulation.fit_table(reported)
    assert table.values == [["1\N{NARROW NO-BREAK SPACE}000", 4, 0.5, 1.0, 50.0, 75.0, 100.0]]
    assert [column.label for column in table.columns[4:]] == ["Inside 50 %, %", "Inside 80 %, %", "Inside 95 %, %"]
    assert table.source == "a model fitted to runs"
