"""The tables of rules on a gate's page: counts, closest calls, and a cell for every rule and candidate."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.pages import gate_rules
from stages.domain import formatting
from stages.domain.decision import RecordedFinding, RuleOutcome
from stages.domain.judge import EVERYONE
from stages.domain.rules import parse_rules

MINUS = formatting.MINUS


def finding(
    candidate: str = "a",
    holds: bool | None = True,
    margin: float | None = None,
    note: str = "",
    observed: float | None = None,
) -> RecordedFinding:
    return RecordedFinding(
        candidate=candidate, observed=observed, threshold=None, margin=margin, holds=holds, note=note
    )


def rule(id_: str = "R7", kind: str = "top_k", effect: Any = "promote", *results: RecordedFinding) -> RuleOutcome:
    return RuleOutcome(id=id_, kind=kind, effect=effect, text="At least -1.", results=list(results))


def entry(*rules: RuleOutcome, candidates: tuple[str, ...] = ("a", "b"), ranked: tuple[str, ...] = ("b",)) -> Any:
    ranking = [SimpleNamespace(config=name) for name in ranked]
    decision = SimpleNamespace(gate="gate3", rules=list(rules), candidates=list(candidates), ranking=ranking)
    return SimpleNamespace(decision=decision, source="line 3")


@pytest.mark.parametrize(
    ("kind", "value", "signed", "text"),
    [
        ("top_k", None, True, None),
        ("top_k", 0.25, False, "0.250000"),
        ("top_k", 0.25, True, "+0.250000"),
        ("diverged", -2.0, True, f"{MINUS}2"),
        ("diverged", 2.0, True, "+2"),
        ("diverged", 0.0, True, "0"),
        ("failed", 2.0, False, "2"),
        *((kind, 3.0, True, "+3") for kind in sorted(gate_rules.COUNTS)),
    ],
)
def test_a_number_of_a_rule_is_a_count_or_a_score(
    kind: str, value: float | None, signed: bool, text: str | None
) -> None:
    shown = gate_rules._number(kind, value, signed)
    assert (shown.value, shown.text) == (value, text)


@pytest.mark.parametrize(
    ("told", "cell"),
    [
        (rule("R7", "top_k", "promote", finding("b", margin=-0.25), finding("a", margin=0.5)), (0.25, "0.250000 (b)")),
        (rule("R7", "top_k", "promote", finding("b", margin=0.25), finding("a", margin=-0.25)), (0.25, "0.250000 (a)")),
        (rule("R4", "min_host_agreement", "require", finding(EVERYONE, margin=0.5)), (0.5, "0.500000 (whole gate)")),
        (rule("R7", "top_k", "promote", finding("a")), (None, None)),
        (rule("R5", "diverged", "stop", finding("a", margin=-1.0)), (None, None)),
    ],
)
def test_the_closest_call_is_the_smallest_margin_of_a_rule_that_does_not_count(
    told: RuleOutcome, cell: tuple[object, object]
) -> None:
    shown = gate_rules._closest(told)
    assert (shown.value, shown.text) == cell


def test_rules_are_counted_by_what_they_say() -> None:
    reported = rule("R7", "top_k", "promote", finding("a"), finding("b", False), finding("c", None), finding("d", None))
    table = gate_rules.rules_table(entry(reported, rule("R8", "exceeds_gap", "stop")))
    assert table.values == [
        ["R7", f"At least {MINUS}1.", "promote", "top_k", 1, 1, 2, None], ["R8", f"At least {MINUS}1.", "stop", "exceeds_gap", 0, 0, 0, None],
    ]  # fmt: skip
    assert [row.cells["unknown"].mark for row in table.rows] == ["bad", ""]
    assert [row.cells["effect"].text for row in table.rows] == [
        "promotes those that it holds for",
        "stops those that it holds for",
    ]
    assert table.rows[0].cells["rule"].href == "gates/gate3.html#R7"
    assert [column.key for column in table.columns if column.hidden] == ["kind"]


@pytest.mark.parametrize(
    ("lock", "source"), [(object(), "locks/gate3.yaml"), (None, "params.yaml, gates.gate3: not frozen")]
)
def test_the_rules_of_a_gate_without_a_decision_say_where_they_stand(lock: object, source: str) -> None:
    view: Any = SimpleNamespace(name="gate3", lock=lock, frozen_rules={})
    table = gate_rules.planned_table(view)
    assert (table.source, table.rows, table.tools) == (source, [], False)
    view.frozen_rules = parse_rules({"R10": {"kind": "failed"}, "R7": {"kind": "top_k", "k": 3}}, "test")
    assert gate_rules.planned_table(view).values == [
        ["R7", "Promote the best 3 by mean over cells.", "promote"], ["R10", "Stop what failed in any cell.", "stop"],
    ]  # fmt: skip


def test_verdicts_are_a_table_where_there_are_any() -> None:
    final = rule("R4", "mean_gap", "verdict", finding("a", False, -0.5, "since -1", 1.5))
    (table,) = gate_rules.verdict_tables(entry(rule(), final))
    assert table.values == [["R4", False, f"At least {MINUS}1.", "a", 1.5, None, -0.5, f"since {MINUS}1"]]
    assert [row.cells[key].text for row in table.rows for key in ("observed", "margin")] == [
        "1.500000",
        f"{MINUS}0.500000",
    ]
    assert [column.label for column in table.columns[4:7]] == ["Observed", "Threshold", "Margin"]
    assert table.rows[0].id == "verdict.R4"
    assert gate_rules.verdict_tables(entry(rule("R7", "top_k", "promote", finding()))) == []
    assert gate_rules.verdict_tables(entry(rule("R4", "mean_gap", "verdict"))) == []


def test_every_finding_has_an_anchor_of_its_own() -> None:
    reported = rule("R7", "top_k", "promote", finding("a"), finding("a"), finding("a"), finding(EVERYONE))
    table = gate_rules.findings_table(entry(reported))
    assert [row.id for row in table.rows] == ["R7.a", "R7.a.2", "R7.a.3", "R7.Gate"]
    assert [row.cells["candidate"].text for row in table.rows] == ["a", "a", "a", "whole gate"]


def test_the_matrix_has_the_ranked_then_the_others_then_those_that_a_verdict_names_then_the_gate() -> None:
    reported = [
        rule("R7", "top_k", "promote", finding("b", True, 0.5), finding("a", False)),
        rule("R4", "mean_gap", "verdict", finding("z", None)),
    ]
    whole = rule("R1", "fresh_seeds", "require", finding(EVERYONE))
    table = gate_rules.matrix_table(entry(*reported, whole))
    assert [row.id for row in table.rows] == ["matrix.b", "matrix.a", "matrix.z", "matrix.Gate"]
    assert [(row.cells["config"].value, row.cells["config"].href) for row in table.rows[2:]] == [
        ("z", "configs/z.html"),
        ("whole gate", ""),
    ]
    assert [row.cells["R4"] is None for row in table.rows] == [True, True, False, True]
    assert [row.cells["R7_margin"] for row in table.rows] == [0.5, None, None, None]
    assert [(column.key, column.group, column.hidden) for column in table.columns] == [
        ("config", "", False), ("R7", "promote if met", False), ("R7_margin", "", True), ("R4", "verdicts", False), ("R4_margin", "", True),
        ("R1", "must hold", False), ("R1_margin", "", True),
    ]  # fmt: skip
    assert [row.id for row in gate_rules.matrix_table(entry(reported[0])).rows] == ["matrix.b", "matrix.a"]


@pytest.mark.parametrize(
    ("kind", "effect", "holds", "margin", "cell"),
    [
        ("top_k", "promote", True, 0.5, ("✓", "+0.500000", 0.5, "holds-yes", "holds")),
        ("top_k", "promote", False, -0.5, ("✕", f"{MINUS}0.500000", -0.5, "holds-unknown", "does not hold")),
        ("top_k", "promote", None, None, ("?", "", None, "holds-unknown", "not evaluable")),
        ("exceeds_gap", "stop", False, -0.5, ("clear", f"{MINUS}0.500000", -0.5, "holds-unknown", "does not hold")),
        ("exceeds_gap", "stop", True, None, ("✓", "", 1.0, "holds-no", "holds")),
        ("exceeds_gap", "stop", None, None, ("?", "", None, "holds-unknown", "not evaluable")),
        ("diverged", "stop", False, -1.0, ("clear", "", -1.0, "holds-unknown", "does not hold")),
        ("diverged", "stop", True, 2.0, ("✓", "+2", 2.0, "holds-no", "holds")),
        ("complete_cells", "require", True, 0.0, ("✓", "", 0.0, "holds-yes", "holds")),
        ("complete_cells", "require", False, -1.0, ("✕", f"{MINUS}1", -1.0, "holds-no", "does not hold")),
    ],
)
def test_a_cell_of_the_matrix_says_what_the_answer_means(
    kind: str, effect: str, holds: bool | None, margin: float | None, cell: tuple[object, ...]
) -> None:
    shown = gate_rules._mark("gate3", rule("R7", kind, effect), finding("a", holds, margin))
    assert (shown.text, shown.small, shown.sort, shown.mark, shown.note) == cell
    assert (shown.value, shown.href) == (holds, "gates/gate3.html#R7.a")
    assert (
        gate_rules._mark("gate3", rule("R7", kind, effect), finding(EVERYONE, holds, margin, "by -1")).note
        == f"by {MINUS}1"
    )
