"""Verify: the exact commands for this study, the digests that it stands on, how to read a failure.

python -m report && python -m webbrowser site/verify.html
"""

from __future__ import annotations

from collections.abc import Iterator

from report.chain import Chain, chains
from report.load import Audit
from report.page import Page, gate_page
from report.tables import Cell, Column, Table, rows
from stages.domain import formatting, names

#: What `promotion verify` looks at, in its own order; docs/verification.md lists every check with its id.
CHECKS = (
    ("Files", "what is read is plain files, UTF-8 and LF, with no strangers among them"),
    (
        "Rules",
        "every lock is whole, names the lock before it, and holds what params.yaml says; no seed serves two rungs",
    ),
    (
        "Evidence",
        "one line for every run; each names its lock, budget, runner and text, and was given what the study says",
    ),
    (
        "Decisions",
        "each is made again from the records and must be the same, byte for byte; whoever trained had a ticket",
    ),
    ("Pipeline", "the digests and parameters in every dvc.lock are those of the bytes in git"),
    (
        "Order",
        "in git's history the lock stood before the first evidence under it, and stayed, unless an amendment says so",
    ),
    ("Summaries", "cost, agreement, stability and metrics are made again and compared"),
    ("Signatures", "of locks and of commits, where a file of allowed signers is given"),
    ("Artifacts", "where they are here: what lies in the workspace and the cache, the text, and this site built again"),
)


def pages(audit: Audit) -> Iterator[Page]:
    """The one page."""
    sample = audit.executed[0].record.id if audit.executed else None
    context = {"sample": sample, "site": names.SITE.as_posix(), "checks": CHECKS}
    yield Page("verify.html", "verify.html", "Verify", context, [inputs_table(audit), lines_table(audit)])


def inputs_table(audit: Audit) -> Table:
    """The files that this site was made from, save the traces, which each run's page names."""
    made = [
        (
            f"file.{path}",
            {
                "path": path,
                "blob": source.blob if _in_git(path) else None,
                "sha256": Cell(source.sha256, source.sha256),
            },
        )
        for path, source in sorted(audit.sources.items())
    ]
    columns = [
        Column("path", "File"),
        Column(
            "blob",
            "Git blob",
            "digest",
            "`git log --find-object=ID` finds the commits that brought or took this content",
        ),
        Column("sha256", "SHA-256", "digest"),
    ]
    return Table(
        "inputs",
        "What this site was made from",
        columns,
        rows(made),
        "the files themselves",
        audit.clock,
        note="Traces are not listed: each run's page names the digests of its curve and its telemetry. What has no "
        "blob lies in DVC's cache.",
    )


def _in_git(path: str) -> bool:
    return not path.startswith("artifacts/")


def _whole(chain: Chain) -> Cell:
    """Whether a chain holds; None where nothing is decided, or not by frozen rules."""
    if chain.faults:
        return Cell(False, "✕ broken", mark="holds-no")
    if not chain.decided:
        return Cell(None, "not decided")
    return Cell(True, "✓ holds", mark="holds-yes") if chain.proven else Cell(None, chain.state)


def lines_table(audit: Audit) -> Table:
    """The chain of every gate in one line each: lock, records, decision."""
    made = []
    for gate, chain in chains(audit).items():
        decision = audit.decisions.get(gate)
        made.append(
            (
                f"chain.{gate}",
                {
                    "gate": Cell(gate, formatting.gate_title(gate), gate_page(gate) + "#Chain"),
                    "state": chain.state + (", params.yaml has moved on" if chain.moved else ""),
                    "whole": _whole(chain),
                    "lock": chain.digest,
                    "previous": chain.previous,
                    "records": chain.records,
                    "committed": chain.committed,
                    "named": chain.named,
                    "same": chain.same,
                    "decision": decision.line.md5 if decision else None,
                },
            )
        )
    columns = [
        Column("gate", "Gate"),
        Column("whole", "Chain"),
        Column("state", "Rules"),
        Column("records", "Executed records", "count"),
        Column("committed", "that name this lock", "count"),
        Column("named", "Named by the decision", "count"),
        Column("same", "of these in the ledger", "count"),
        Column("lock", "Lock, SHA-256", "digest"),
        Column("previous", "Lock before it", "digest"),
        Column("decision", "Decision, md5", "digest"),
    ]
    source = "locks/, ledger/runs.jsonl, ledger/decisions.jsonl"
    title = "Lock, records, decision: gate by gate"
    return Table("chain", title, columns, rows(made), source, audit.clock, tools=False)
