"""Verify: the exact commands for this study, the digests that it stands on, how to read a failure."""

from __future__ import annotations

from collections.abc import Iterator

from report.chain import Chain
from report.load import FileDigests
from report.page import Page, link_gate
from report.tables import Cell, Column, Table
from report.views import StudyView
from stages.domain import names

INPUTS = Table(
    "inputs",
    "What this site was made from",
    "the files themselves",
    note="The SHA-256 of params.yaml is that of what it says, as canonical JSON: comments and layout change nothing. "
    "Traces are not listed: each run's page names the digests of its curve and its telemetry. What has no blob lies in "
    "DVC's cache.",
)
CHAINS = Table(
    "chain", "Lock, records, decision: gate by gate", "locks/, ledger/runs.jsonl, ledger/decisions.jsonl", tools=False
)


def pages(view: StudyView) -> Iterator[Page]:
    """The one page."""
    sample = view.executed[0].record.id if view.executed else None
    context: dict[str, object] = {"sample": sample, "site": names.SITE.as_posix()}
    tables = [inputs_table(view.files.sources), chains_table(view)]
    yield Page("verify.html", "verify.html", "Verify", context, tables)


def inputs_table(sources: dict[str, FileDigests]) -> Table:
    """The files that this site was made from, save the traces, which each run's page names."""
    hint = "`git log --find-object=ID` finds the commits that brought or took this content"

    def blob(item: tuple[str, FileDigests]) -> str | None:
        path, digests = item
        return None if path.startswith("artifacts/") else digests.blob

    columns = [
        Column("path", "File", get=lambda item: item[0]),
        Column("blob", "Git blob", "digest", hint, get=blob),
        Column("sha256", "SHA-256", "digest", get=lambda item: Cell(item[1].sha256, item[1].sha256)),
    ]
    return INPUTS.fill(columns, sorted(sources.items()), lambda item: f"file.{item[0]}")


def chains_table(view: StudyView) -> Table:
    """The chain of every gate in one line each: lock, records, decision."""
    entries = view.files.decisions
    columns = [
        Column("gate", "Gate", get=lambda chain: link_gate(chain.gate, "#Chain")),
        Column("whole", "Chain", get=_whole),
        Column("state", "Rules", get=lambda c: c.state + (", params.yaml has moved on" if c.moved else "")),
        Column("records", "Executed records", "count"),
        Column("committed", "that name this lock", "count"),
        Column("named", "Named by the decision", "count"),
        Column("same", "of these in the ledger", "count"),
        Column("lock", "Lock, SHA-256", "digest", get=lambda chain: chain.digest),
        Column("previous", "Lock before it", "digest"),
        Column(
            "decision",
            "Decision, md5",
            "digest",
            get=lambda chain: entries[chain.gate].line.md5 if chain.gate in entries else None,
        ),
    ]
    return CHAINS.fill(columns, view.chains.values(), lambda chain: f"chain.{chain.gate}")


def _whole(chain: Chain) -> Cell:
    """Whether a chain holds; None where nothing is decided, or not by frozen rules."""
    if chain.faults:
        return Cell(False, "✕ broken", mark="holds-no")
    if not chain.decided:
        return Cell(None, "not decided")
    return Cell(True, "✓ holds", mark="holds-yes") if chain.proven else Cell(None, chain.state)
