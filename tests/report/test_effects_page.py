"""The page of effects: what is said of each course, the tables, and the figures of main effects and of sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.pages import effects as module
from stages.domain import formatting
from stages.domain.errors import Refused
from stages.screen.effects import FactorCourse

MINUS = formatting.MINUS
FACTORS: Any = {"d": {"depth": [1, 2]}, "lr": {"rate": [0.1, 0.2]}}


def course(kind: Any, factor: str = "d", first: float = -0.5, last: float = 0.25) -> FactorCourse:
    return FactorCourse(factor, "h", kind, 0, first, last)


def test_levels_that_a_short_budget_penalises_have_a_sentence_each() -> None:
    reported = [course("lasts"), course("relaxes"), course("reverses", "lr"), course("appears"), course("not shown")]
    assert module.lead(reported, FACTORS) == [
        f"d on h: at the first budget depth 1 costs 0.500000; the effect relaxes: less than half of it is left ({MINUS}0.500000, then +0.250000).",
        f"lr on h: at the first budget rate 0.1 costs 0.500000; the effect reverses ({MINUS}0.500000, then +0.250000).",
    ]  # fmt: skip
    assert module.lead(reported[:1], FACTORS) == [
        "No factor has a level that the first budget penalises and the last one does not."
    ]
    assert module.lead([], FACTORS) == ["Two budgets with all their scores are needed to see an effect change."]


def effect(name: str, rung: str, host: str, estimate: float, **changed: Any) -> Any:
    factors = tuple(name.split(" × "))
    values: dict[str, Any] = {
        "kind": "main" if len(factors) == 1 else "interaction", "factors": factors, "lower": None, "upper": None, "corrected": None,
        "p": None, "shown": False, "aliases": (),
    }  # fmt: skip
    return SimpleNamespace(name=name, rung=rung, host=host, estimate=estimate, **values | changed)


EFFECTS = [
    effect(name, rung, host, size)
    for rung, sizes in (("rung1", (0.5, -0.25, 0.125)), ("rung2", (-1.0, 0.25, 0.5)))
    for host in ("h", "g")
    for name, size in zip(("d", "lr", "d × lr"), sizes, strict=True)
]


def screen(**changed: Any) -> Any:
    return SimpleNamespace(
        **{"factors": FACTORS, "cells": {"rung1": 0, "rung2": 0}, "budgets": {"rung1": 1.0, "rung2": 10.0}} | changed
    )


def test_main_effects_are_a_line_a_factor_and_host() -> None:
    result: Any = SimpleNamespace(effects=EFFECTS)
    (figure,) = module._courses_figure(result, screen())
    assert [(line["x"], line["y"], line["line"]) for line in figure.data] == [
        ([1.0, 10.0], [0.5, -1.0], {"color": "@c1", "dash": "solid", "width": 2}), ([1.0, 10.0], [0.5, -1.0], {"color": "@c1", "dash": "dash", "width": 2}),
        ([1.0, 10.0], [-0.25, 0.25], {"color": "@c2", "dash": "solid", "width": 2}), ([1.0, 10.0], [-0.25, 0.25], {"color": "@c2", "dash": "dash", "width": 2}),
    ]  # fmt: skip
    assert figure.legend == (
        ("@c1", "", "circle", "d on h"), ("@c1", "dash", "circle", "d on g"), ("@c2", "", "circle", "lr on h"), ("@c2", "dash", "circle", "lr on g"),
    )  # fmt: skip
    assert [line["marker"] for line in figure.data][::2] == [{"color": "@c1", "size": 7}, {"color": "@c2", "size": 7}]
    assert list(module._courses_figure(result, screen(cells={"rung1": 0}))) == []
    assert list(module._courses_figure(SimpleNamespace(effects=[EFFECTS[2]]), screen())) == []  # type: ignore[arg-type]


def test_colours_and_dashes_begin_again_where_they_end() -> None:
    names = [f"f{n}" for n in range(7)]
    hosts = [f"h{n}" for n in range(6)]
    reported: Any = SimpleNamespace(effects=[effect(name, "rung1", host, 0.5) for host in hosts for name in names])
    (figure,) = module._courses_figure(reported, screen(factors=dict.fromkeys(names)))
    looks = [(line["line"]["color"], line["line"]["dash"]) for line in figure.data]
    assert [looks[0], looks[5], looks[36], looks[41]] == [
        ("@c1", "solid"),
        ("@c1", "solid"),
        ("@c1", "solid"),
        ("@c1", "solid"),
    ]
    assert len(set(looks)) == 30


def test_sizes_of_the_last_budget_stand_against_the_quantiles_of_noise() -> None:
    (figure,) = module._half_normal_figure(SimpleNamespace(effects=EFFECTS), ["rung1", "rung2"])  # type: ignore[arg-type]
    assert [(marks["y"], marks["text"]) for marks in figure.data] == [([0.25, 0.5, 1.0], ["lr", "d × lr", "d"])] * 2
    assert figure.data[0]["x"] == pytest.approx([0.2104, 0.6745, 1.3830], abs=1e-4)
    assert [(marks["marker"]["color"], marks["marker"]["symbol"]) for marks in figure.data] == [
        ("@c1", "circle"),
        ("@c2", "square"),
    ]
    assert figure.legend == (("@c1", "", "circle", "h"), ("@c2", "", "square", "g"))
    assert figure.title == "Rung 2: sizes of the effects against those of noise"
    many: Any = SimpleNamespace(effects=[effect("d", "rung1", f"h{n}", 0.5) for n in range(7)])
    (figure,) = module._half_normal_figure(many, ["rung1"])
    looks = [(marks["marker"]["color"], marks["marker"]["symbol"]) for marks in figure.data]
    assert looks[2:4] == [("@c3", "diamond"), ("@c4", "circle")] and looks[6] == ("@c1", "circle")
    assert list(module._half_normal_figure(many, ["rung1", "rung2"])) == []


def test_tables_leave_empty_what_cannot_be_had() -> None:
    shown = effect(
        "d", "rung1", "h", 0.5, lower=0.25, upper=0.75, corrected=0.0125, p=0.01, shown=True, aliases=("a × b", "c")
    )
    reported: Any = SimpleNamespace(
        effects=[shown, effect("d × lr", "rung1", "h", 0.5)], courses=[course("reverses")],
        missing=[SimpleNamespace(rung="rung2", host="h", reason="a score is missing")],
    )  # fmt: skip
    table = module.effects_table(reported)
    assert table.values == [
        ["d", "rung1", "h", "main", 0.5, 0.25, 0.75, 0.0125, 0.01, True, "a × b, c"],
        ["d × lr", "rung1", "h", "interaction", 0.5, None, None, None, None, False, "nothing"],
    ]
    assert ([row.cells["shown"].text for row in table.rows], table.rows[1].id) == (
        ["yes", "no"],
        "effect.rung1.h.d-×-lr",
    )
    assert [column.key for column in table.columns if column.hidden] == ["p"]
    assert module.courses_table(reported, FACTORS).values == [["d", "h", "depth 1", -0.5, 0.25, "reverses"]]
    assert module.missing_table(reported).values == [["rung2", "h", "a score is missing"]]
    choice = SimpleNamespace(name="one factor, greedy", seconds=7200, config=None, regret=0.25)
    assert module.choices_table([choice]).values == [["one factor, greedy", 2.0, None, 0.25]]  # type: ignore[list-item]
    assert module.choices_table([choice]).rows[0].id == "choice.one-factor-greedy"  # type: ignore[list-item]


def test_a_study_without_factors_has_no_page_and_one_whose_first_gate_is_open_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(locks: object, records: object) -> None:
        raise Refused("gate 1 is not frozen")

    monkeypatch.setattr(module, "read_screen", refuse)
    files = SimpleNamespace(locks={}, runs={})
    assert list(module.pages(SimpleNamespace(study=SimpleNamespace(factors=None), files=files))) == []  # type: ignore[arg-type]
    (page,) = module.pages(SimpleNamespace(study=SimpleNamespace(factors=FACTORS), files=files))  # type: ignore[arg-type]
    assert (page.context, page.tables, page.path) == (
        {"absent": "gate 1 is not frozen", "figures": []},
        [],
        "effects.html",
    )


@pytest.mark.parametrize("missing", [[], [SimpleNamespace(rung="rung2", host="h", reason="x")]])
def test_what_is_not_evaluable_is_a_table_where_there_is_any(
    missing: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = SimpleNamespace(effects=EFFECTS, courses=[], missing=missing)
    reported = screen(effects=lambda: result, choices=list)
    monkeypatch.setattr(module, "read_screen", lambda locks, records: reported)
    lock, run = SimpleNamespace(lock="L"), SimpleNamespace(record="R")
    view: Any = SimpleNamespace(
        study=SimpleNamespace(factors=FACTORS), files=SimpleNamespace(locks={"gate1": lock}, runs={"x": run})
    )
    (page,) = module.pages(view)
    assert [table.id for table in page.tables] == ["courses", "effects", "choices", *(["missing"] if missing else [])]
    assert [figure.id for figure in page.context["figures"]] == ["figure.courses", "figure.half-normal"]  # type: ignore[attr-defined]
    assert (page.context["absent"], page.context["alpha"]) == ("", module.ALPHA)
