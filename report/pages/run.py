"""A run: its score, curve, model, training, machine, digests and the commands that repeat it.

python -m report && find site/runs -name '*.html'
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from report import figures, labels, words
from report.curves import COLUMNS, Trace, read_trace
from report.deciding import named_md5
from report.load import Audit, Run
from report.page import Page, gate_page, run_page, rung_page
from report.tables import Column, Row, Table
from stages.domain import names

#: Of the realised model: the rest stands on the page of the configuration.
MODEL = ("depth", "width", "heads", "parameters", "flops_per_token")
#: Telemetry that the page tells elsewhere or not at all.
TOLD = frozenset({"schema", "run", "status", "segments"})


def pages(audit: Audit) -> Iterator[Page]:
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
        f"{len(trace.points)} of {words.plain(trace.rows)} points" if trace.rows > len(trace.points) else "every point"
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
