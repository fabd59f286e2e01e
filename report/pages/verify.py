"""Verify: the exact commands for this study, the digests that it stands on, how to read a failure.

python -m report && python -m webbrowser site/verify.html
"""

from __future__ import annotations

from collections.abc import Iterator

from report import words
from report.load import Audit
from report.page import Page, gate_page
from report.tables import Cell, Column, Table, rows
from stages.domain import names


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    sample = audit.executed[0].record.id if audit.executed else None
    last = names.gate_of(audit.study.last_rung)
    context = {"sample": sample, "last": last, "site": names.SITE.as_posix(), "first": "gate1"}
    yield Page("verify.html", "verify.html", "Verify", context, [inputs_table(audit), lines_table(audit)])


def inputs_table(audit: Audit) -> Table:
    """The files that this site was made from."""
    made = [
        (f"file-{path}", {"path": path, "sha256": Cell(digest, digest)})
        for path, digest in sorted(audit.sources.items())
    ]
    columns = [Column("path", "File"), Column("sha256", "SHA-256", "digest")]
    title = "What this site was made from, with the digest of every file"
    return Table("inputs", title, columns, rows(made), "the files themselves", audit.clock)


def lines_table(audit: Audit) -> Table:
    """The chain of every gate in one line each: lock, records, decision."""
    made = []
    for rung in audit.study.rungs:
        gate = names.gate_of(rung)
        lock, decision = audit.locks.get(gate), audit.decisions.get(gate)
        runs = [run for run in audit.by_rung[rung] if run.record.executed]
        made.append(
            (
                f"chain-{gate}",
                {
                    "gate": Cell(gate, words.gate_title(gate), gate_page(gate) + "#chain"),
                    "lock": lock.lock.digest if lock else None,
                    "previous": lock.lock.frozen.previous if lock else None,
                    "records": len(runs),
                    "committed": sum(1 for run in runs if lock and run.record.lock == lock.lock.digest),
                    "decision": decision.line.md5 if decision else None,
                },
            )
        )
    columns = [
        Column("gate", "Gate"),
        Column("lock", "Lock, SHA-256", "digest"),
        Column("previous", "Names the lock", "digest"),
        Column("records", "Executed records", "count"),
        Column("committed", "that name this lock", "count"),
        Column("decision", "Decision, md5", "digest"),
    ]
    source = "locks/, ledger/runs.jsonl, ledger/decisions.jsonl"
    return Table(
        "chain", "Lock, records, decision: gate by gate", columns, rows(made), source, audit.clock, tools=False
    )
