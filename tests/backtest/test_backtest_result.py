"""Stored results of `promotion backtest` and `simulate`: what reads them, and what is said of everything else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.backtest import backtest_result, simulation_result
from stages.backtest.backtest_result import Backtest
from stages.domain import canonical
from stages.domain.errors import Invalid


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"schema": 2}, "r.json: schema: found 2, expected 1; update staged-promotion"),
        ({"schema": 1}, "r.json: kind: expected a value: the key is missing"),
        ({"schema": 0}, "r.json: schema: found 0, expected 1"),
        ({"schema": "2"}, "r.json: schema: found '2', expected 1"),
        ({}, "r.json: schema: expected a value: the key is missing"),
        ([2], "r.json: found list, expected what `promotion "),
    ],
)
@pytest.mark.parametrize("load", [backtest_result.loads, simulation_result.loads])
def test_what_is_no_result_of_this_version_is_refused_by_its_place(load: Any, value: Any, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(canonical.dumps(value), "r.json")
    lines = str(caught.value).splitlines()
    assert any(line.startswith(told) for line in lines), lines
    assert ("update" in lines[0]) is (value == {"schema": 2})


@pytest.mark.parametrize(
    ("load", "command"), [(backtest_result.loads, "backtest"), (simulation_result.loads, "simulate")]
)
def test_what_is_no_json_names_the_command_that_writes_it(load: Any, command: str) -> None:
    with pytest.raises(Invalid, match=f"^r.json: .*, expected what `promotion {command} --json` writes$"):
        load(b"{", "r.json")


@pytest.mark.parametrize(("prefix", "words"), [(True, "prefixes of one long run"), (False, "separate runs")])
def test_what_figures_rest_on_is_said_in_words(prefix: bool, words: str) -> None:
    result = Backtest.model_construct(curves=cast("Any", SimpleNamespace(prefix=prefix)), truth=["best", "next"])
    assert (result.basis, result.best) == (words, "best")
