"""The page How sure?: the least certain outcome, the noise, whoever wins the redraws, and the rule that applies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from report.pages import confidence as page
from stages.confidence.results import HowSure, StudyConfidence, WhatNext, Winner
from tests.report.test_gate_confidence import KNOWN, MEASURED, NONE, REDRAWS


@pytest.mark.parametrize(
    ("changed", "cell"),
    [
        ({}, (None, "not known", "")),
        ({"redraws": REDRAWS}, (None, "none", "")),
        ({"redraws": replace(REDRAWS, flips={"a": 0.0})}, (None, "none", "")),
        (
            {"redraws": replace(REDRAWS, flips={"a": 0.2}, verdict_flips={"R4": 0.1})},
            ("a", None, "otherwise in 20.0 %"),
        ),
        ({"redraws": replace(REDRAWS, flips={"a": 0.2, "b": 0.2})}, ("b", None, "otherwise in 20.0 %")),
    ],
)
def test_the_least_certain_outcome_is_the_one_that_flips_most_often(
    changed: dict[str, Any], cell: tuple[object, ...]
) -> None:
    shown = page._doubtful(replace(KNOWN, **changed))
    assert (shown.value, shown.text, shown.small) == cell


def test_the_noise_of_a_gate_is_that_of_its_noisiest_host_and_a_gate_without_is_marked() -> None:
    cells = [
        page._noise(replace(KNOWN, noise=noise))
        for noise in (NONE, MEASURED, replace(MEASURED, borrowed=True, source="floor"))
    ]
    assert [(cell.value, cell.text, cell.small, cell.mark) for cell in cells] == [
        ("none", "not measured", "", "bad"), ("replication", "measured at rung 3", "up to 0.0200", ""), ("floor", "borrowed from rung 3", "up to 0.0200", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "rows", "fixed"),
    [
        ({}, [("wins.a", 0.5)], ""),
        ({"others": {"b": 0.25}, "other": 0.25}, [("wins.a", 0.5), ("wins.b", 0.25)], ""),
        ({"unknown": 0.25, "unless": 0.25}, [("wins.a", 0.5), ("wins.one-that-was-not-trained-further-goes-on;-it-beats-all-that-were", 0.25)], ""),
        ({"unknown": 0.25}, [("wins.a", 0.5), ("wins.one-that-was-not-trained-further-goes-on;-which-comes-first-is-not-known", 0.25)], ""),
        ({"blocked": 0.125, "fixed": ("gate1", "gate2")}, [("wins.a", 0.5), ("wins.a-gate-blocks", 0.125)], " Gate 1 and gate 2: as decided, without noise."),
    ],
)  # fmt: skip
def test_whoever_wins_the_redraws_is_listed_and_what_is_not_known_is_a_row(
    changed: dict[str, Any], rows: list[tuple[str, float]], fixed: str
) -> None:
    table = page.winner_table(replace(Winner("a", 0.5, 0.0, 0.0, 0.0, 0.0, {}, ()), **changed))
    assert [(row.id, row.cells["share"].value) for row in table.rows] == rows
    assert (
        table.note == f"Where a redraw lets one go on that was never trained further, the result is not known.{fixed}"
    )


def test_a_gate_without_redraws_decides_the_same_in_an_unknown_share() -> None:
    result = StudyConfidence(
        1, 0.95, 0.8, {"gate3": KNOWN, "gate4": replace(KNOWN, gate="gate4", redraws=REDRAWS)}, None, None, None,
        HowSure("unknown", "not known", "not known", ()), WhatNext("wait", "N1", "wait", None, ()),
    )  # fmt: skip
    shown = [[row.cells[key].text for key in ("kept", "leader")] for row in page.gates_table(result).rows]
    assert shown == [["not known", "not known"], ["25.0 %", "50.0 %"]]
    rules = page.rules_table(result)
    assert [(row.id, row.cells["applies"]) for row in rules.rows][:2] == [("next.N1", True), ("next.N2", False)]
    assert (rules.rows[0].cells["rule"].text, rules.rows[0].cells["rule"].small) == ("◆ N1", "applies")
    assert [table.id for table in page._tables(result)] == ["gates", "next"]
