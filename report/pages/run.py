"""A run: its score, specification, curve, record, telemetry, digests and the commands that repeat it.

python -m report && find site/runs -name '*.html'
"""

from __future__ import annotations

from collections.abc import Iterator

from report import figures, words
from report.curves import COLUMNS, Trace, read_trace
from report.load import Audit, Run
from report.page import Page, gate_page, run_page
from report.tables import Column, Row, Table
from stages.domain import names


def pages(audit: Audit) -> Iterator[Page]:
    """One page for every executed run."""
    for run in audit.executed:
        yield _page(audit, run)


def _page(audit: Audit, run: Run) -> Page:
    record = run.record
    trace = read_trace(audit.root, record.id)
    facts = dict(record.facts or {})
    shape = facts.pop("model", None) or {}
    facts.pop("progress", None)
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
            "facts": words.flat(facts),
            "model": words.flat(
                {
                    key: shape[key]
                    for key in ("depth", "width", "heads", "parameters", "flops_per_token")
                    if key in shape
                }
            ),
            "spec": [pair for pair in words.flat(record.spec or {}) if pair[0] != "schema"],
            "telemetry": words.flat({key: one for key, one in trace.telemetry.items() if key != "schema"}),
            "trace": trace,
            "trace_path": names.trace_path(record.id).as_posix(),
            "record_path": names.record_path(record.id).as_posix(),
            "record_file": stem.rsplit("/", 1)[-1] + ".json",
            "lock_digest": lock.lock.digest if lock else None,
            "stage": _stage(run),
            "floor": record.purpose == "floor",
            "figures": [_curve(trace, record.budget.clock)] if trace.points else [],
            "run_gate": gate_page(record.gate),
        },
        tables=[curve_table(trace, record.id, f"{record.budget.clock} clock")] if trace.points else [],
        extra={f"{stem}.json": run.line.raw},
    )


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
    thinned = f"{len(trace.points)} of {trace.rows} points" if trace.rows > len(trace.points) else "every point"
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
            Column("seconds", "Seconds", "number"),
            Column("train_loss", "Training loss, nats per token", "number"),
            Column("lr_factor", "Learning-rate factor", "number", hidden=True),
        ],
        rows=made,
        source=f"{names.trace_path(run).as_posix()}/curve.csv; tokens and learning rate are in the files",
        clock=clock,
        tools=False,
    )
