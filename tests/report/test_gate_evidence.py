"""The table of evidence: what a cell shows where no score is, and the gaps that the last gate's verdicts judge."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from report.pages import gate_evidence as module
from report.promotion_paths import PathStep
from stages.domain.rules import parse_rules

CELLS = [("h", 1), ("h", 2)]
RULES = parse_rules(
    {
        "R4": {"kind": "first_in_all_cells", "role": "reference"},
        "R5": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.1},
        "R6": {"kind": "mean_gap", "role": "sentinel", "to": "comparator", "most": 0.1},
        "R7": {"kind": "mean_gap", "role": "sentinel", "to": "reference", "most": 0.1},
    },
    "test",
)


def run(config: str, score: str | None, status: str = "finished") -> Any:
    record = SimpleNamespace(
        id=f"rung5/{config}", val_bpb=None if score is None else Decimal(score), status=status, reason="out of memory",
        executed=status != "stopped",
    )  # fmt: skip
    return SimpleNamespace(record=record)


def gate(scores: dict[str, list[Any]], **changed: Any) -> Any:
    """A gate with these runs by candidate, cell by cell."""
    rules = {
        "R4": ("verdict", {"a": True}),
        "R5": ("verdict", {"b": False}),
        "R7": ("verdict", {"b": None}),
        "R1": ("require", {"b": True}),
    }
    outcomes = [
        SimpleNamespace(
            id=name,
            effect=effect,
            results=[SimpleNamespace(candidate=who, holds=holds) for who, holds in answers.items()],
        )
        for name, (effect, answers) in rules.items()
    ]
    values: dict[str, Any] = {
        "page": "gates/gate5.html", "rung_title": "Rung 5", "decision": SimpleNamespace(rules=outcomes), "final": True, "rules": RULES,
        "roles": {"reference": "a", "comparator": "b"}, "cells": CELLS, "candidates": list(scores), "why_empty": "",
        "ranking": [SimpleNamespace(config="b", mean=1.75, worst_host=1.8)],
        "run": lambda config, cell: scores.get(config, [None, None])[CELLS.index(cell)],
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


STEPS = {name: PathStep("rung5", "finalist") for name in "abcd"}
WHOLE = {
    "a": [run("a", "1.5"), run("a", "1.25")],
    "b": [run("b", "2.0"), run("b", "1.5")],
    "c": [run("c", "1.0"), None],
}


def test_the_last_gate_shows_gaps_to_the_role_that_the_first_verdict_compares_with() -> None:
    table = module.evidence_table(gate(WHOLE), STEPS)
    assert table.values == [
        ["b", "R5 does not hold; R7 not evaluable", 1.75, 1.8, 2.0, 1.5, 0.375, 0.5, 0.25],
        ["a", "R4 holds", None, None, 1.5, 1.25, None, None, None],
        ["c", None, None, None, 1.0, None, None, -0.5, None],
    ]
    assert (
        table.note
        == "In small type: the gap to a, the reference, in the same cell, and its mean, which R5 and R7 judge."
    )
    assert [row.cells["h_1"].small for row in table.rows] == ["+0.500000", "", "−0.500000"]
    assert [row.cells["mean"].small for row in table.rows] == ["+0.375000", "", ""]
    assert [row.cells["verdicts"].text for row in table.rows] == ["✕ R5 ? R7", "✓ R4", None]
    assert [row.cells["verdicts"].mark for row in table.rows] == ["", "holds-yes", ""]
    assert [row.cells["verdicts"].href for row in table.rows] == ["gates/gate5.html#R5", "gates/gate5.html#R4", ""]
    assert [(column.key, column.hidden) for column in table.columns] == [
        ("config", False), ("verdicts", False), ("mean", False), ("worst_host", False), ("h_1", False), ("h_2", False),
        ("mean_gap", True), ("h_1_gap", True), ("h_2_gap", True),
    ]  # fmt: skip
    assert [column.label for column in table.columns[4:8]] == [
        "h · 1",
        "h · 2",
        "Gap to the reference, mean",
        "Gap to the reference, h · 1",
    ]


@pytest.mark.parametrize(
    ("rules", "roles", "note"),
    [
        (("R5",), {"reference": "a"}, "In small type: the gap to a, the reference, in the same cell, and its mean, which R5 judges."),
        (("R6", "R7"), {"comparator": "b", "reference": "a"}, "In small type: the gap to b, the comparator, in the same cell, and its mean, which R6 judges."),
        (("R5",), {"comparator": "a"}, ""),
        (("R4",), {"reference": "a"}, ""),
    ],
)  # fmt: skip
def test_without_a_verdict_that_compares_or_a_role_to_compare_with_there_are_no_gaps(
    rules: tuple[str, ...], roles: dict[str, str], note: str
) -> None:
    table = module.evidence_table(gate(WHOLE, rules={name: RULES[name] for name in rules}, roles=roles), STEPS)
    assert table.note == note
    assert any(column.key.endswith("_gap") for column in table.columns) is bool(note)


@pytest.mark.parametrize(
    ("decision", "final", "keys"),
    [(object(), False, ("decided_by", False)), (None, True, ("decided_by", True)), (None, False, ("decided_by", True))],
)
def test_another_gate_shows_the_rules_that_decided_and_no_gaps(
    decision: object, final: bool, keys: tuple[str, bool]
) -> None:
    table = module.evidence_table(gate(WHOLE, decision=decision, final=final), STEPS)
    assert (table.columns[1].key, table.columns[1].hidden) == keys
    assert (table.note, len(table.columns)) == ("", 6)


def test_a_cell_without_a_score_says_why() -> None:
    scores = {"a": [run("a", None, "failed"), run("a", None, "stopped")], "b": [None, run("b", "1.5")]}
    table = module.evidence_table(gate(scores, final=False), STEPS | {"b": PathStep("rung5", "unrun")})
    shown = {row.cells["config"].value: [row.cells[key] for key in ("h_1", "h_2")] for row in table.rows}
    assert [(cell.value, cell.text, cell.href, cell.mark, cell.note) for cell in shown["a"]] == [
        (None, "failed", "runs/rung5/a.html", "bad", "out of memory"), (None, "missing", "", "bad", ""),
    ]  # fmt: skip
    assert [(cell.value, cell.text) for cell in shown["b"]] == [(None, "not run"), (None, "not run")]


@pytest.mark.parametrize(
    ("why", "text"),
    [("gate 2 is blocked", "None: gate 2 is blocked."), ("", "Not known before the gate before has decided.")],
)
def test_no_candidates_are_told_with_their_reason(why: str, text: str) -> None:
    table = module.evidence_table(gate({}, candidates=None, why_empty=why), {})
    assert (table.empty, table.rows, table.title) == (text, [], "val_bpb of every candidate in every cell of rung 5")
