"""Method and limits: the protocol, the clock, the hosts as they really are, what is not claimed, whom to cite.

python -m report && python -m webbrowser site/method.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import labels, machines
from report.chain import chains
from report.labels import TERMS
from report.load import Audit
from report.page import Page, gate_page
from report.tables import Cell, Column, Table, rows
from stages.domain import formatting, names


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    context = {
        "declared": declared(audit),
        "plainly": machines.plainly(audit),
        "text": text_of(audit),
        "corpus": audit.corpus,
        "source": labels.pairs((audit.corpus or {}).get("source", {})),
        "runner": labels.pairs(dict(sorted(audit.study.runner.items()))),
        "terms": TERMS,
    }
    made = [protocol_table(audit), hosts_table(audit, machines.seen(audit)), published_table()]
    if audit.corpus:
        made.append(corpus_table(audit))
    yield Page("method.html", "method.html", "Method and limits", context, made)


def declared(audit: Audit) -> str:
    """When budgets, seeds and thresholds were declared, as far as locks and records say."""
    by: dict[str, list[str]] = {}
    for gate, chain in chains(audit).items():
        state: str = chain.state
        if chain.moved:
            state = "params.yaml has moved on from its lock"
        if chain.faults and chain.state in ("frozen", "amended"):
            state = "out of step with its lock"
        if state != "frozen":
            by.setdefault(state, []).append(formatting.gate_title(gate).lower())
    if not by:
        return (
            "Every budget, seed and threshold below stands in a lock that the records name: it was declared before "
            "them, if git's order agrees (`promotion verify`)."
        )
    exceptions = "; ".join(f"{formatting.listed(gates)}: {state}" for state, gates in by.items())
    return f"Budgets, seeds and thresholds were declared beforehand where a gate is frozen. Exceptions: {exceptions}."


def text_of(audit: Audit) -> str:
    """Which text was trained on, in words."""
    source = audit.study.data.source
    if source.kind == "package":
        where = f"{source.file} of the Python package {source.package} {source.version}"
        found = f"The text is {where}" + (
            f", one document for each {' and '.join(source.document)}" if source.document else ""
        )
    else:
        files = [file.path for file in source.files]
        found = f"The text is {formatting.listed(files, 3)}"
    tokens = ((audit.corpus or {}).get("splits", {}).get("train") or {}).get("tokens")
    told = f": {formatting.plain(tokens)} tokens to train on" if isinstance(tokens, int) else ""
    return f"{found}{told}, in a vocabulary of {formatting.plain(audit.study.data.vocab_size)} tokens."


def protocol_table(audit: Audit) -> Table:
    """The ladder as declared."""
    made = []
    for rung, one in audit.study.rungs.items():
        gate = names.gate_of(rung)
        lock = audit.locks.get(gate)
        made.append(
            (
                f"protocol.{rung}",
                {
                    "rung": Cell(rung, formatting.rung_title(rung)),
                    "budget": Cell(one.budget_seconds, formatting.seconds(one.budget_seconds)),
                    "seeds": ", ".join(map(str, one.seeds)),
                    "cells": len(audit.study.cells(rung)),
                    "floor": ", ".join(map(str, one.floor_seeds)) or None,
                    "gate": Cell(gate, formatting.gate_title(gate), gate_page(gate)),
                    "lock": lock.lock.digest if lock else None,
                },
            )
        )
    return Table(
        id="protocol",
        title="The ladder as declared",
        columns=[
            Column("rung", "Rung"),
            Column("budget", "Budget of a run"),
            Column("seeds", "Seeds on each host block"),
            Column("cells", "Cells", "count"),
            Column("floor", "A/A seeds"),
            Column("gate", "Judged by"),
            Column("lock", "Lock", "digest"),
        ],
        rows=rows(made),
        source="params.yaml, locks/",
        clock=audit.clock,
        tools=False,
    )


def hosts_table(audit: Audit, found: dict[str, dict[str, list[str]]]) -> Table:
    """What each host block declares, and what its runs reported."""
    made = []
    for name, host in audit.study.hosts.items():
        told = found[name]
        made.append(
            (
                f"host.{name}",
                {
                    "host": Cell(name, f"{name} ({host.title})" if host.title else name),
                    "device": host.device + (f", {host.device_name}" if host.device_name else ""),
                    "precision": host.precision,
                    "threads": host.threads,
                    "compile": host.compile,
                    "flops_per_second": host.flops_per_second,
                    "machines": ", ".join(told["hostname"]) or None,
                    "hardware": ", ".join(told["device"]) or None,
                    "torch": ", ".join(told["torch"]) or None,
                },
            )
        )
    return Table(
        id="hosts",
        title="Host blocks: declared, and as telemetry found them",
        columns=[
            Column("host", "Host block"),
            Column("device", "Device"),
            Column("precision", "Precision"),
            Column("threads", "Threads", "count"),
            Column("compile", "Compiled"),
            Column(
                "flops_per_second", "Declared FLOP/s", "count", "what the rated clock turns seconds into steps with"
            ),
            Column("machines", "Machines seen"),
            Column("hardware", "Hardware seen"),
            Column("torch", "torch"),
        ],
        rows=rows(made),
        source="params.yaml; artifacts/traces/*/telemetry.json",
        clock=audit.clock,
        tools=False,
    )


#: The order in which the splits are read.
_SPLITS = {"train": 0, "val": 1, "locked": 2}


def corpus_table(audit: Audit) -> Table:
    """The splits of the corpus."""
    splits: dict[str, Any] = (audit.corpus or {}).get("splits", {})
    made = [
        (f"split.{name}", {"split": name, **{key: one.get(key) for key in ("documents", "bytes", "tokens", "sha256")}})
        for name, one in sorted(splits.items(), key=lambda item: (_SPLITS.get(item[0], 9), item[0]))
    ]
    columns = [
        Column("split", "Split"),
        Column("documents", "Documents", "count"),
        Column("bytes", "Bytes of text", "count"),
        Column("tokens", "Tokens", "count"),
        Column("sha256", "SHA-256", "digest"),
    ]
    return Table("corpus", "The text", columns, rows(made), "artifacts/corpus/manifest.json", audit.clock, tools=False)


#: arXiv:2606.11387, as published; nothing here is a result of this repository.
PUBLISHED = (
    ("Budgets", "2 min, 5 min, 10 min, 60 min, 12 h, on the wall clock"),
    ("Candidates", "12 configurations; 9 at the 10-min gate, 4 at 60 min, 3 at 12 h, each in 4 host-seed cells"),
    ("Hosts", "Windows with an A100, Linux with an L40S"),
    (
        "Outcome",
        "the reference first in 4 of 4 cells at 60 min and at 12 h; the comparator fails 0.010, the sentinel 0.020",
    ),
    ("Instability", "at 5 min the two hosts have different leaders; the winner at 12 h is not the mean-best at 10 min"),
    ("Cost", "144 GPU-hours at 12 h (3 × 4 × 12), 169.2 in all"),
    (
        "Screening",
        "25.2 GPU-hours (169.2 − 144). 36 × 2 min + 24 × 5 min + 36 × 10 min + 16 × 60 min fits exactly, but this "
        "split is inferred here, not published",
    ),
    ("Unrun work", "192 (all 4 to 12 h) and 432 (all 9): accounting, no evidence"),
)


def published_table() -> Table:
    """The published case study, marked as such."""
    made = [(f"published.{n}", {"what": what, "published": text}) for n, (what, text) in enumerate(PUBLISHED, start=1)]
    columns = [Column("what", "What"), Column("published", "As published")]
    title = "Published in arXiv:2606.11387: not results of this study"
    return Table("published", title, columns, rows(made), "arXiv:2606.11387 (CC BY 4.0)", "wall clock", tools=False)
