"""The outcome of a gate: whose rule decided, what merit would have made of a kept role, and what is within noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.decisions import Flip
from report.gates import NoiseScale
from report.pages.gate_outcome import _in_noise, _merit, _shift, outcome_table, rules_cell
from report.promotion_paths import PathStep
from stages.domain import formatting

KINDS = {
    "R1": ("keep_role", "promote"),
    "R2": ("top_k", "promote"),
    "R3": ("exceeds_gap", "stop"),
    "R9": ("complete_cells", "require"),
}


def gate(**changed: Any) -> Any:
    def rule(name: str, *holds: str) -> Any:
        kind, effect = KINDS[name]
        results = [SimpleNamespace(candidate=who, holds=who in holds) for who in "abc"]
        return SimpleNamespace(id=name, kind=kind, effect=effect, results=results)

    rules = {"R1": rule("R1", "a"), "R2": rule("R2", "b"), "R3": rule("R3"), "R9": rule("R9", "b")}
    decision = SimpleNamespace(rules=list(rules.values()), rule=rules.get)
    flips = SimpleNamespace(
        flip=lambda name: Flip(name, True, 0.25, "R2"),
        flip_first_place=lambda name: Flip(name, True, None, None, "never: no other candidate"),
        flip_on_merit=lambda name: Flip(name, False, -0.5, "R2"),
    )
    values: dict[str, Any] = {
        "page": "gates/gate3.html", "title": "Gate 3", "decision": decision, "entry": SimpleNamespace(source="line 3"), "blocked": False,
        "final": False, "flips": flips,
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


@pytest.mark.parametrize(
    ("step", "value", "text", "href"),
    [
        (PathStep("rung3", "promoted", by=("R2", "R1")), "R2 R1", "R2 R1", "#R2"),
        (PathStep("rung3", "kept", by=("R1",), against=("R3", "R4")), "R1", "R1 against R3 R4", "#R1"),
        (PathStep("rung3", "stopped", by=("R3",), unmet=("R2",)), "R3", "✕ R3", "#R3"),
        (PathStep("rung3", "stopped", unmet=("R2", "R1")), "R2 R1 not met", "R2 R1 not met", "#R2"),
        (PathStep("rung3", "blocked", by=("R2",)), "R2", "R2 would have", "#R2"),
        (PathStep("rung3", "blocked", by=("R3",)), "R3", "✕ R3 would have", "#R3"),
        (PathStep("rung3", "blocked", by=("R7",)), "R7", "✕ R7 would have", "#R7"),
    ],
)
def test_the_rules_that_decided_are_a_cell_with_a_link_to_the_first(
    step: PathStep, value: str, text: str, href: str
) -> None:
    shown = rules_cell(gate(), step)
    assert (shown.value, shown.text, shown.href) == (value, text, f"gates/gate3.html{href}")


def test_where_no_rule_decided_a_cell_is_empty() -> None:
    shown = rules_cell(gate(), PathStep("rung3", "finalist"))
    assert (shown.value, shown.text, shown.href) == (None, "", "")


STEPS = {
    "c": PathStep("rung3", "stopped", None, None, unmet=("R2",)),
    "b": PathStep("rung3", "promoted", 1, 1.25, by=("R2",)),
    "a": PathStep("rung3", "kept", 2, 1.5, by=("R1",), against=("R3",)),
}
NOISE = NoiseScale("gate3", "rung3", 0.125)


def test_candidates_stand_by_rank_with_the_distance_to_the_opposite_outcome() -> None:
    table = outcome_table(gate(), STEPS, NOISE)
    assert [row.id for row in table.rows] == ["outcome.b", "outcome.a", "outcome.c"]
    assert table.values == [
        ["b", "promoted", "R2", 1, None, None, 1.25, None, 0.25, "R2", 2.0],
        ["a", "kept", "R1", 2, "R3", None, 1.5, "stopped", 0.25, "R2", 2.0],
        ["c", "stopped", "R2 not met", None, None, "R2", None, None, 0.25, "R2", 2.0],
    ]
    assert [column.key for column in table.shown] == [
        "config",
        "outcome",
        "by",
        "rank",
        "mean",
        "merit",
        "flips_at",
        "flips_by",
        "in_noise",
    ]
    assert (table.title, table.source) == ("Outcome of gate 3", "line 3")
    hints = {column.key: column.hint for column in table.columns}
    assert hints["flips_at"] == "change of its own val_bpb, in all its cells alike, that would change its outcome"


def test_the_last_gate_shows_the_distance_to_the_first_place() -> None:
    table = outcome_table(gate(final=True), STEPS, None)
    labels = {column.key: (column.label, column.hint, column.hidden) for column in table.columns}
    assert labels["flips_at"] == (
        "First place at", "change of its own val_bpb, in all its cells alike, that would lose it the first place, or win it", False,
    )  # fmt: skip
    assert (labels["by"][2], labels["flips_by"][2], "in_noise" in labels) == (True, True, False)
    assert table.rows[0].cells["flips_at"].text == "never: no other candidate"


def test_a_blocked_gate_has_no_opposite_outcome() -> None:
    table = outcome_table(gate(blocked=True), STEPS, NOISE)
    assert [column.key for column in table.columns] == ["config", "outcome", "by", "rank", "against", "unmet", "mean"]


def test_without_a_kept_role_there_is_no_column_of_merit() -> None:
    rules = [SimpleNamespace(kind="keep_role", results=[SimpleNamespace(candidate="a", holds=False)])]
    bare = gate(decision=SimpleNamespace(rules=rules, rule={}.get))
    assert "merit" not in [column.key for column in outcome_table(bare, STEPS, None).columns]


@pytest.mark.parametrize(
    ("flip", "cell"),
    [
        (Flip("a", True, 0.25, "R2"), ("promoted", "▲ promoted", "R2 · +0.250000")),
        (Flip("a", False, -0.5, "R2"), ("stopped", "✕ stopped", f"R2 · {formatting.MINUS}0.500000")),
        (Flip("a", False, None, None, "no full set of cells"), ("stopped", "✕ stopped", "no full set of cells")),
        (Flip("a", True, 0.0, None), ("promoted", "▲ promoted", "0.000000")),
    ],
)
def test_merit_is_the_outcome_without_roles_with_its_distance(flip: Flip, cell: tuple[str, str, str]) -> None:
    shown = _merit(gate(flips=SimpleNamespace(flip_on_merit=lambda _: flip)), "a")
    assert (shown.value, shown.text, shown.small) == cell


@pytest.mark.parametrize(
    ("shift", "cell"),
    [
        (None, (None, None, "")),
        (0.25, (2.0, "2.0 ×", "")),
        (-0.25, (2.0, "2.0 ×", "")),
        (0.2375, (1.9, "within noise: 1.9 ×", "bad")),
        (1 / 3, (2.666667, "2.7 ×", "")),
    ],
)
def test_less_than_two_deviations_are_within_noise(shift: float | None, cell: tuple[object, ...]) -> None:
    shown = _in_noise(Flip("a", True, shift, None), NOISE)
    assert (shown.value, shown.text, shown.mark) == cell
    assert (_shift(Flip("a", True, shift, None, "why")).text, _shift(Flip("a", True, shift, None)).text) == (
        "why",
        None,
    )
