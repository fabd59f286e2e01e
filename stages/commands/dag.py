"""The pipeline with one node a rung and the counts on it. (`dvc dag` draws every run of every rung as a node.)

    promotion dag
    promotion dag --mermaid        for a Markdown page; GitHub draws it
    promotion dag --dot            for Graphviz: promotion dag --dot | dot -Tsvg > dag.svg

Counts are those of this workspace; what is not decided yet reads "at most".
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from stages.domain.formatting import duration
from stages.domain.study import load
from stages.status import Standing, stand

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
    form = mermaid if arguments.mermaid else dot if arguments.dot else text
    print(form(graph(stand(load()))))
    return 0


def graph(rungs: list[Standing]) -> Graph:
    """The pipeline: text, contracts, rungs, ledger, and what is made of it."""
    nodes = [("corpus", ["the text"]), ("protocol", ["the contract of each rung"])]
    nodes += [(one.rung, _label(one)) for one in rungs]
    nodes += [("ledger", ["git's copy"]), ("confidence", ["how sure it is"])]
    nodes += [("winner", ["weights"]), ("site", ["the audit"])]
    edges = [("corpus", "protocol", ""), ("protocol", rungs[0].rung, "")]
    edges += [(one.rung, after, _promoted(one)) for one, after in zip(rungs, [x.rung for x in rungs[1:]], strict=False)]
    edges += [(rungs[-1].rung, "ledger", _outcome(rungs[-1])), *(("ledger", name, "") for name in TAIL)]
    return Graph(nodes, edges)


def _label(one: Standing) -> list[str]:
    count = one.most if one.candidates is None else len(one.candidates)
    bound = "at most " if one.candidates is None else ""
    told = f"{bound}{count} configurations × {one.cells} cells = {count * one.cells} runs"
    if one.declared is not None and one.done < one.declared:
        told += f", {one.done} done"
    return [duration(one.budget_seconds), told]


def _outcome(one: Standing) -> str:
    name = one.gate.replace("gate", "gate ")
    return f"{name}: {one.outcome}"


def _promoted(one: Standing) -> str:
    if one.decision is None or one.blocked_by:
        return _outcome(one)
    return f"{one.gate.replace('gate', 'gate ')}: {len(one.decision.promoted)} promoted"


def text(drawn: Graph) -> str:
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


def mermaid(drawn: Graph) -> str:
    """The graph as a Mermaid flowchart from top to bottom."""
    nodes = [f'  {name}["<b>{name}</b><br>{"<br>".join(label)}"]' for name, label in drawn.nodes]
    edges = [f'  {one} -->|"{label}"| {two}' if label else f"  {one} --> {two}" for one, two, label in drawn.edges]
    return "\n".join(["flowchart TD", *nodes, *edges])


def dot(drawn: Graph) -> str:
    """The graph for Graphviz."""
    line = r"\n"
    nodes = [f'  {name} [label="{line.join([name, *label])}"];' for name, label in drawn.nodes]
    edges = [f'  {one} -> {two} [label="{label}"];' for one, two, label in drawn.edges]
    return "\n".join(["digraph study {", "  node [shape=box];", *nodes, *edges, "}"])
