"""The runs of every rung, with the line and the digest of each record, and the list of rungs.

python -m report && python -m webbrowser site/runs.html

A run: its score, curve, model, training, machine, digests and the commands that repeat it.

python -m report && find site/runs -name '*.html'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from report import figures, labels, promotion_paths
from report.decisions import named_md5
from report.load import Audit, Run
from report.page import Page, config_page, gate_page, run_page, rung_page
from report.tables import Cell, Column, Row, Table
from report.traces import COLUMNS, Trace, read_trace
from stages.domain import formatting, names


def pages(audit: Audit) -> Iterator[Page]:
    """The index, one page a rung, then one page for every executed run."""
    yield Page("runs.html", "runs.html", "Runs", {}, [rungs_table(audit)])
    for rung in audit.study.rungs:
        context = {"rung": rung, "gate": names.gate_of(rung), "missing": promotion_paths.missing_runs(audit, rung)}
        yield Page(rung_page(rung), "rung.html", f"Runs of {rung}", context, [runs_table(audit, rung)])
    yield from run_pages(audit)


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
                    "rung": Cell(rung, formatting.rung_title(rung), rung_page(rung)),
                    "budget": formatting.seconds(audit.study.rungs[rung].budget_seconds),
                    "expected": len(promotion_paths.asked_for(audit, rung)),
                    "missing": len(promotion_paths.missing_runs(audit, rung)),
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
        title=f"Executed runs of {formatting.rung_title(rung).lower()}",
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


#: Of the realised model: the rest stands on the page of the configuration.
MODEL = ("depth", "width", "heads", "parameters", "flops_per_token")
#: Telemetry that the page tells elsewhere or not at all.
TOLD = frozenset({"schema", "run", "status", "segments"})


def run_pages(audit: Audit) -> Iterator[Page]:
    """One page for every executed run."""
    cells: dict[tuple[str, str], list[Run]] = {}
    for run in audit.executed:
        cells.setdefault((run.record.rung, run.record.config), []).append(run)
    for run in audit.executed:
        siblings = [one for one in cells[run.record.rung, run.record.config] if one is not run]
        yield _page(audit, run, siblings)


def _page(audit: Audit, run: Run, siblings: list[Run]) -> Page:
    record = run.record
    trace = read_trace(audit.root, record.id)
    stem = run_page(record.id).removesuffix(".html")
    lock = audit.locks.get(record.gate)
    return Page(
        path=run_page(record.id),
        template="run.html",
        title=record.id,
        context={
            "record": record,
            "run": record.id,
            "line": run.line,
            "siblings": [(_cell(one), run_page(one.record.id), one.record.val_bpb) for one in siblings],
            **_groups(run, trace),
            "trace": trace,
            "trace_path": names.trace_path(record.id).as_posix(),
            "record_path": names.record_path(record.id).as_posix(),
            "record_file": stem.rsplit("/", 1)[-1] + ".json",
            "named": named_md5(audit, run),
            "decided": record.gate in audit.decisions,
            "lock_digest": lock.lock.digest if lock else None,
            "stage": _stage(run),
            "floor": record.purpose == "floor",
            "figures": [_curve(trace, record.budget.clock)] if trace.points else [],
            "run_gate": gate_page(record.gate),
            "rung_page": rung_page(record.rung),
        },
        tables=[curve_table(trace, record.id, f"{record.budget.clock} clock")] if trace.points else [],
        extra={f"{stem}.json": run.line.raw},
    )


def _cell(run: Run) -> str:
    """The cell of a run: host block and seed."""
    floor = "A/A " if run.record.purpose == "floor" else ""
    return f"{run.record.host} · {floor}{run.record.seed}"


def _groups(run: Run, trace: Trace) -> dict[str, list[tuple[str, str]]]:
    """What the record and the telemetry hold, grouped as people ask for it: result, model, training, machine."""
    facts, spec = dict(run.record.facts or {}), dict(run.record.spec or {})
    shape = facts.pop("model", None) or {}
    facts.pop("progress", None)
    training: dict[str, Any] = {**spec.get("config", {}), **spec.get("runner", {})}
    training |= {key: spec[key] for key in ("seed", "evaluate_locked", "keep_weights") if key in spec}
    return {
        "facts": labels.pairs(facts),
        "model": labels.pairs({key: shape[key] for key in MODEL if key in shape}),
        "training": labels.pairs(training),
        "host": labels.pairs(spec.get("host", {})),
        "telemetry": labels.pairs(_telemetry(trace.telemetry)),
    }


def _telemetry(told: dict[str, Any]) -> dict[str, Any]:
    """The telemetry without what the page says already. More than one segment means that the run was resumed."""
    segments = told.get("segments")
    resumed = isinstance(segments, list) and len(segments) > 1
    return {key: one for key, one in told.items() if key not in TOLD or (key == "segments" and resumed)}


def _stage(run: Run) -> str:
    """The run's stage as DVC names it."""
    one = run.record
    if one.purpose == "floor":
        return f"stages/{one.rung}/dvc.yaml:floor@{one.host}-{one.seed}"
    return f"stages/{one.rung}/dvc.yaml:run@{one.config}-{one.host}-{one.seed}"


def _curve(trace: Trace, clock: str) -> figures.Figure:
    key = "seconds" if any(one["seconds"] for one in trace.points) else "step"
    points = [(_short(one[key]) or 0.0, _short(one["train_loss"])) for one in trace.points]
    return figures.curve(points, f"{clock} clock" if key == "seconds" else "steps", key.capitalize())


def _short(value: float | None) -> float | None:
    """Six digits, which is more than a figure shows."""
    return None if value is None else float(f"{value:.6g}")


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def curve_table(trace: Trace, run: str, clock: str) -> Table:
    """The thinned curve."""
    thinned = (
        f"{len(trace.points)} of {formatting.plain(trace.rows)} points"
        if trace.rows > len(trace.points)
        else "every point"
    )
    made = [
        Row("", {key: _whole(one[key]) if key in ("step", "tokens") else _short(one[key]) for key in COLUMNS})
        for one in trace.points
    ]
    return Table(
        id="curve",
        title=f"Training curve ({thinned})",
        columns=[
            Column("step", "Step", "count"),
            Column("tokens", "Tokens", "count", hidden=True),
            Column("seconds", "Seconds", "number", digits=3),
            Column("train_loss", "Training loss, nats per token", "number", digits=4),
            Column("lr_factor", "Learning-rate factor", "number", hidden=True),
        ],
        rows=made,
        source=f"{names.trace_path(run).as_posix()}/curve.csv; tokens and learning rate are in the files",
        clock=clock,
        tools=False,
    )
