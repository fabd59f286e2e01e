"""The study as the pages see it, links in tables, and how many pages there are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report import pages
from report.figures import Stars
from report.page import Page, link_config, link_gate, link_rung, run_page, rung_page
from report.views import StudyView


def view(**changed: Any) -> StudyView:
    study = SimpleNamespace(
        clock=SimpleNamespace(kind="wall"), runner={"kind": "command"}, configs={"a": 0, "b": 0}, factors=None
    )
    made = StudyView(SimpleNamespace(study=study, executed=["r"]))  # type: ignore[arg-type]
    made.__dict__.update(changed)
    return made


@pytest.mark.parametrize(("runner", "builtin"), [({"kind": "command"}, False), ({"kind": "builtin"}, True), ({}, True)])
def test_a_command_is_not_the_builtin_runner(runner: dict[str, str], builtin: bool) -> None:
    made = view()
    made.study.runner = runner  # type: ignore[misc]
    assert (made.has_builtin_runner, made.clock) == (builtin, "wall clock")


def test_the_stars_are_the_first_of_the_last_rung_and_the_leader_of_the_first() -> None:
    gates = {
        "gate1": SimpleNamespace(leader="e", missing=["x"]),
        "gate2": SimpleNamespace(leader="z", missing=["y", "z"]),
    }
    made = view(gates=gates, lead=SimpleNamespace(first="w"))
    assert (made.stars, made.missing) == (Stars("w", "e"), 3)
    assert (made.first_gate, made.last_gate) == (gates["gate1"], gates["gate2"])
    assert view(gates=gates, lead=None).stars == Stars(None, "e")


def test_links_lead_to_the_pages_of_what_they_name() -> None:
    cells = [link_config("a"), link_config(None), link_rung("rung3"), link_gate("gate3"), link_gate("gate3", "#R1")]
    assert [(cell.value, cell.text, cell.href) for cell in cells] == [
        ("a", None, "configs/a.html"), (None, None, ""), ("rung3", "Rung 3", "gates/gate3.html"), ("gate3", "Gate 3", "gates/gate3.html"),
        ("gate3", "Gate 3", "gates/gate3.html#R1"),
    ]  # fmt: skip
    assert (run_page("rung3/a/h/7"), rung_page("rung3")) == ("runs/rung3/a/h/7.html", "runs/rung3.html")


@pytest.mark.parametrize(("context", "figures"), [({}, False), ({"figures": []}, False), ({"figures": [1]}, True)])
def test_a_page_needs_plotly_where_it_has_figures(context: dict[str, object], figures: bool) -> None:
    assert Page("p", "t", "T", context).figures is figures


@pytest.mark.parametrize(("factors", "many"), [(None, 17), ({"d": 0}, 18)])
def test_pages_are_counted_before_they_are_made(factors: Any, many: int) -> None:
    made = view(gates={"gate1": 0, "gate2": 0})
    made.study.factors = factors  # type: ignore[misc]
    assert pages.count_pages(made) == many
