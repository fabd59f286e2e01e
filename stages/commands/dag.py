"""The pipeline with one node a rung and the counts on it. (`dvc dag` draws every run of every rung as a node.)

    promotion dag
    promotion dag --mermaid        for a Markdown page; GitHub draws it
    promotion dag --dot            for Graphviz: promotion dag --dot | dot -Tsvg > dag.svg

Counts are those of this workspace, or of the ledger where no artifacts are here; what is not decided yet reads "at
most".
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from stages.domain.formatting import duration
from stages.domain.study import load
from stages.status import RungStatus, fill_from_ledger, read_status

TAIL = ("confidence", "winner", "site")


@dataclass(frozen=True)
class Graph:
    """`nodes` are (name, lines of its label), `edges` are (from, to, label)."""

    nodes: list[tuple[str, list[str]]]
    edges: list[tuple[str, str, str]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion dag`."""
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--mermaid", action="store_true", help="as a Mermaid flowchart")
    form.add_argument("--dot", action="store_true", help="as a Graphviz graph")


def run(arguments: argparse.Namespace) -> int:
    """Print the graph."""
    write = write_mermaid if arguments.mermaid else write_dot if arguments.dot else write_text
    study = load()
    rungs = read_status(study)
    shown = fill_from_ledger(study, rungs)
    print(write(draw(shown, from_ledger=shown != rungs)))
    return 0


def draw(rungs: list[RungStatus], *, from_ledger: bool = False) -> Graph:
    """The pipeline: text, contracts, rungs, ledger, and what is made of it; whether the counts are the ledger's."""
    nodes = [("corpus", ["the text"]), ("protocol", ["the contract of each rung"])]
    nodes += [(row.rung, _label_rung(row)) for row in rungs]
    nodes += [("ledger", ["git's copy", *["the counts are from it"] * from_ledger]), ("confidence", ["how sure it is"])]
    nodes += [("winner", ["weights"]), ("site", ["the audit"])]
    edges = [("corpus", "protocol", ""), ("protocol", rungs[0].rung, "")]
    edges += [
        (row.rung, after, _format_promoted(row)) for row, after in zip(rungs, [x.rung for x in rungs[1:]], strict=False)
    ]
    edges += [(rungs[-1].rung, "ledger", _format_outcome(rungs[-1])), *(("ledger", name, "") for name in TAIL)]
    return Graph(nodes, edges)


def _label_rung(row: RungStatus) -> list[str]:
    count = row.most if row.candidates is None else len(row.candidates)
    bound = "at most " if row.candidates is None else ""
    text = f"{bound}{count} configurations × {row.cells} cells = {count * row.cells} runs"
    if row.declared is not None and row.done < row.declared:
        text += f", {row.done} done"
    return [duration(row.budget_seconds), text]


def _format_outcome(row: RungStatus) -> str:
    name = row.gate.replace("gate", "gate ")
    return f"{name}: {row.outcome}"


def _format_promoted(row: RungStatus) -> str:
    if row.decision is None or row.blocked_by:
        return _format_outcome(row)
    return f"{row.gate.replace('gate', 'gate ')}: {len(row.decision.promoted)} promoted"


def write_text(drawn: Graph) -> str:
    """The graph as lines for a terminal, one node a line; the last nodes hang on the ledger."""
    labels = dict(drawn.nodes)
    width = max(map(len, labels))
    to = {after: label for _, after, label in drawn.edges}
    lines: list[str] = []
    for name, label in drawn.nodes:
        if name in TAIL:
            lines.append(f"{'└─>' if name == TAIL[-1] else '├─>'} {name:<{width}}  {', '.join(label)}")
            continue
        if name in to:
            lines.append(f"  │  {to[name]}".rstrip())
        lines.append(f"{name:<{width}}  {', '.join(label)}")
    return "\n".join(lines)


def write_mermaid(drawn: Graph) -> str:
    """The graph as a Mermaid flowchart from top to bottom."""
    nodes = [f'  {name}["<b>{name}</b><br>{"<br>".join(label)}"]' for name, label in drawn.nodes]
    edges = [
        f'  {start} -->|"{label}"| {end}' if label else f"  {start} --> {end}" for start, end, label in drawn.edges
    ]
    return "\n".join(["flowchart TD", *nodes, *edges])


def write_dot(drawn: Graph) -> str:
    """The graph for Graphviz."""
    line = r"\n"
    nodes = [f'  {name} [label="{line.join([name, *label])}"];' for name, label in drawn.nodes]
    edges = [f'  {start} -> {end} [label="{label}"];' for start, end, label in drawn.edges]
    return "\n".join(["digraph study {", "  node [shape=box];", *nodes, *edges, "}"])
