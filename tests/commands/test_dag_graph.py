"""The graph of a pipeline in every state of its gates, in all three forms."""

from __future__ import annotations

from typing import Any

import pytest

from stages.commands import dag
from stages.commands.dag import Graph
from tests.commands.test_status_words import make_decision, make_row, make_rule

BLOCKED = make_decision(outcome="blocked", blocked_by=["R1"], promoted=[], rules=[make_rule(id="R1")])


@pytest.mark.parametrize(
    ("changes", "label", "promoted"),
    [
        ({"done": 8}, "2 configurations × 4 cells = 8 runs", "gate 2: 1 promoted"),
        ({"done": 7}, "2 configurations × 4 cells = 8 runs, 7 done", "gate 2: 1 promoted"),
        ({"done": 0, "decision": None}, "2 configurations × 4 cells = 8 runs, 0 done", "gate 2: 9 runs to do"),
        (
            {"candidates": None, "declared": None, "decision": None, "closed": "gate1"},
            "at most 3 configurations × 4 cells = 12 runs",
            "gate 2: waiting",
        ),
        ({"done": 8, "decision": BLOCKED}, "2 configurations × 4 cells = 8 runs", "gate 2: blocked"),
    ],
)
def test_a_rung_has_its_budget_its_runs_and_what_its_gate_did(
    changes: dict[str, Any], label: str, promoted: str
) -> None:
    row = make_row(**changes)
    assert dag._label_rung(row) == ["1 min", label]
    assert dag._format_promoted(row) == promoted


def make_graph(**words: bool) -> Graph:
    rows = [make_row(rung="rung1", gate="gate1", done=8), make_row(done=8)]
    return dag.draw(rows, **words)


NODES = [
    ("corpus", ["the text"]),
    ("protocol", ["the contract of each rung"]),
    ("rung1", ["1 min", "2 configurations × 4 cells = 8 runs"]),
    ("rung2", ["1 min", "2 configurations × 4 cells = 8 runs"]),
    ("ledger", ["git's copy"]),
    ("confidence", ["how sure it is"]),
    ("winner", ["weights"]),
    ("site", ["the audit"]),
]
EDGES = [
    ("corpus", "protocol", ""), ("protocol", "rung1", ""), ("rung1", "rung2", "gate 1: 1 promoted"),
    ("rung2", "ledger", "gate 2: decided"), ("ledger", "confidence", ""), ("ledger", "winner", ""),
    ("ledger", "site", ""),
]  # fmt: skip


def test_the_graph_runs_from_the_text_to_what_is_made_of_the_ledger() -> None:
    assert make_graph() == Graph(NODES, EDGES)
    nodes = [(name, [*label, "the counts are from it"] if name == "ledger" else label) for name, label in NODES]
    assert make_graph(from_ledger=True) == Graph(nodes, EDGES)


def test_the_graph_reads_as_text_mermaid_and_dot() -> None:
    runs = "2 configurations × 4 cells = 8 runs"
    assert dag.write_text(make_graph()).splitlines() == [
        "corpus      the text",
        "  │",
        "protocol    the contract of each rung",
        "  │",
        f"rung1       1 min, {runs}",
        "  │  gate 1: 1 promoted",
        f"rung2       1 min, {runs}",
        "  │  gate 2: decided",
        "ledger      git's copy",
        "├─> confidence  how sure it is",
        "├─> winner      weights",
        "└─> site        the audit",
    ]
    graph = Graph([("a", ["x", "y"]), ("b", ["z"])], [("a", "b", ""), ("b", "c", "go on")])
    assert dag.write_mermaid(graph).splitlines() == [
        "flowchart TD",
        '  a["<b>a</b><br>x<br>y"]',
        '  b["<b>b</b><br>z"]',
        "  a --> b",
        '  b -->|"go on"| c',
    ]
    assert dag.write_dot(graph).splitlines() == [
        "digraph study {",
        "  node [shape=box];",
        r'  a [label="a\nx\ny"];',
        r'  b [label="b\nz"];',
        '  a -> b [label=""];',
        '  b -> c [label="go on"];',
        "}",
    ]
