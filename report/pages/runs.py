"""The runs of every rung, with the line and the digest of each record, and the list of rungs.

python -m report && python -m webbrowser site/runs.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from report import ladder, words
from report.deciding import named_md5
from report.load import Audit, Run
from report.page import Page, config_page, run_page, rung_page
from report.tables import Cell, Column, Row, Table
from stages.domain import names


def pages(audit: Audit) -> Iterator[Page]:
    """The index, then one page a rung."""
    yield Page("runs.html", "runs.html", "Runs", {}, [rungs_table(audit)])
    for rung in audit.study.rungs:
        context = {"rung": rung, "gate": names.gate_of(rung), "missing": ladder.missing_runs(audit, rung)}
        yield Page(rung_page(rung), "rung.html", f"Runs of {rung}", context, [runs_table(audit, rung)])


def rungs_table(audit: Audit) -> Table:
    """How many runs each rung has, by status."""
    made = []
    for rung in audit.study.rungs:
        seen = Counter(
            "floor" if run.record.purpose == "floor" and run.record.executed else run.record.status
            for run in audit.by_rung[rung]
        )
        statuses = ("finished", "diverged", "failed", "floor", "stopped", "unrun")
        made.append(
            Row(
                rung,
                {
                    "rung": Cell(rung, words.rung_title(rung), rung_page(rung)),
                    "budget": words.seconds(audit.study.rungs[rung].budget_seconds),
                    "expected": len(ladder.asked_for(audit, rung)),
                    "missing": len(ladder.missing_runs(audit, rung)),
                    **{status: seen[status] for status in statuses},
                },
            )
        )
    return Table(
        id="rungs",
        title="Runs by rung and status",
        columns=[
            Column("rung", "Rung"),
            Column("budget", "Budget"),
            Column("expected", "Asked for", "count", "runs that the rung asks for, those of the A/A floor among them"),
            Column("missing", "Missing", "count"),
            Column("finished", "Finished", "count"),
            Column("floor", "A/A floor", "count", "runs of the A/A floor, however they ended"),
            Column("diverged", "Diverged", "count"),
            Column("failed", "Failed", "count"),
            Column("stopped", "Not run: stopped", "count"),
            Column("unrun", "Not run: what-if", "count"),
        ],
        rows=made,
        source="ledger/runs.jsonl",
        clock=audit.clock,
        tools=False,
    )


def _named(audit: Audit, run: Run) -> Cell:
    """The md5 by which the gate's decision names a run, against that of its line."""
    named = named_md5(audit, run)
    if run.record.gate not in audit.decisions:
        return Cell(None, "not decided")
    if named is None:
        return Cell(None, "✕ not named", mark="bad")
    same = named == run.line.md5
    return Cell(
        named, "✓ this line" if same else "✕ another md5", mark="" if same else "bad", note="" if same else named
    )


def runs_table(audit: Audit, rung: str) -> Table:
    """Every executed run of a rung. Stopped configurations trained nothing and are counted on the page of rungs."""
    lock = audit.locks.get(names.gate_of(rung))
    made = []
    for run in audit.by_rung[rung]:
        record = run.record
        if not record.executed:
            continue
        same = lock is not None and record.lock == lock.lock.digest
        made.append(
            Row(
                f"{record.config}.{record.host}.{'floor-' if record.purpose == 'floor' else ''}{record.seed}",
                {
                    "run": Cell(record.id, record.id.split("/", 1)[1], run_page(record.id)),
                    "config": Cell(record.config, href=config_page(record.config)),
                    "host": record.host,
                    "seed": Cell(record.seed, str(record.seed)),
                    "purpose": record.purpose,
                    "status": record.status,
                    "val_bpb": float(record.val_bpb) if record.val_bpb is not None else None,
                    "lock": Cell(record.lock, "✓ this lock" if same else "✕ another lock", mark="" if same else "bad"),
                    "line": run.line.number,
                    "md5": run.line.md5,
                    "named": _named(audit, run),
                },
            )
        )
    return Table(
        id="runs",
        title=f"Executed runs of {words.rung_title(rung).lower()}",
        columns=[
            Column("run", "Run"),
            Column("val_bpb", "val_bpb", "bpb"),
            Column("status", "Status"),
            Column("lock", "Judged by"),
            Column("config", "Configuration", hidden=True),
            Column("host", "Host block"),
            Column("seed", "Seed", "count"),
            Column("purpose", "Purpose"),
            Column("line", "Ledger line", "count"),
            Column("md5", "md5", "digest", "of this ledger line: what dvc.lock must hold for the file of the record"),
            Column(
                "named", "In the decision", "text", "whether the gate's decision names the run by the md5 of this line"
            ),
        ],
        rows=made,
        source="ledger/runs.jsonl",
        clock=audit.clock,
    )
