"""The runs: how many each rung has, every run of a rung with the digests of its record, and a page for each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from report import labels
from report.figures import Figure, scatter
from report.gates import GateView
from report.load import LedgerRun
from report.page import Page, link_config, run_page, rung_page
from report.prose import Prose, Span, bad, config_name
from report.tables import Cell, Column, Table
from report.traces import Trace, read_trace
from report.views import StudyView
from stages.domain import formatting, names
from stages.domain.records import Record
from stages.domain.runs import Run

#: Of the realised model: the rest stands on the page of the configuration.
MODEL = ("depth", "width", "heads", "parameters", "flops_per_token")
#: What the built-in runner's training loss is counted in.
LOSS_UNIT = "nats per token"
#: Telemetry that the page shows elsewhere or not at all.
SHOWN_ELSEWHERE = frozenset({"schema", "run", "record", "status", "segments"})
STATUSES = {
    "finished": ("Finished", ""),
    "floor": ("A/A floor", "runs of the A/A floor, however they ended"),
    "diverged": ("Diverged", ""),
    "failed": ("Failed", ""),
    "stopped": ("Not run: stopped", ""),
    "unrun": ("Not run: what-if", ""),
}

RUNGS = Table("rungs", "Runs by rung and status", "ledger/runs.jsonl", tools=False)


def pages(view: StudyView) -> Iterator[Page]:
    """The index, then one page a rung."""
    yield Page("runs.html", "runs.html", "Runs", {}, [rungs_table(list(view.gates.values()))])
    for gate in view.gates.values():
        context: dict[str, object] = {"rung": gate.rung, "gate": gate.name, "missing": gate.missing}
        yield Page(rung_page(gate.rung), "rung.html", f"Runs of {gate.rung}", context, [runs_table(gate)])


def rungs_table(gates: list[GateView]) -> Table:
    """How many runs each rung has, by status."""

    def status_of(record: Record) -> str:
        return "floor" if record.purpose == "floor" and record.executed else record.status

    counts = {gate.rung: Counter(status_of(run.record) for run in gate.runs) for gate in gates}

    def counted(status: str, label: str, hint: str) -> Column:
        return Column(status, label, "count", hint, get=lambda gate: counts[gate.rung][status])

    asked = "runs that the rung asks for, those of the A/A floor among them"
    columns = [
        Column("rung", "Rung", get=lambda gate: Cell(gate.rung, gate.rung_title, rung_page(gate.rung))),
        Column("budget", "Budget", get=lambda gate: formatting.seconds(gate.budget)),
        Column("expected", "Asked for", "count", asked, get=lambda gate: len(gate.run_ids)),
        Column("missing", "Missing", "count", get=lambda gate: len(gate.missing)),
        *(counted(status, label, hint) for status, (label, hint) in STATUSES.items()),
    ]
    return RUNGS.fill(columns, gates, lambda gate: gate.rung)


def run_columns() -> list[Column]:
    """What every table of runs says of a run."""
    return [
        Column("val_bpb", "val_bpb", "bpb", get=_score),
        Column("status", "Status", get=lambda run: run.record.status),
        Column("host", "Host block", get=lambda run: run.record.host),
        Column("seed", "Seed", "count", get=lambda run: Cell(run.record.seed, str(run.record.seed))),
        Column("purpose", "Purpose", get=lambda run: run.record.purpose),
        Column("line", "Ledger line", "count", get=lambda run: run.line.number),
    ]


def _score(run: LedgerRun) -> float | None:
    return None if run.record.val_bpb is None else float(run.record.val_bpb)


def runs_table(gate: GateView) -> Table:
    """Every executed run of a rung. Stopped configurations trained nothing and are counted on the page of rungs."""
    score, status, host, seed, purpose, line = run_columns()
    md5_hint = "of this ledger line: what dvc.lock must hold for the file of the record"
    named_hint = "whether the gate's decision names the run by the md5 of this line"

    def judged_by(run: LedgerRun) -> Cell:
        same = gate.lock is not None and run.record.lock == gate.lock.digest
        return Cell(run.record.lock, "✓ this lock" if same else "✕ another lock", mark="" if same else "bad")

    columns = [
        Column("run", "Run", get=lambda run: run_cell(run, gate.rung)),
        score,
        status,
        Column("lock", "Judged by", get=judged_by),
        Column("config", "Configuration", hidden=True, get=lambda run: link_config(run.record.config)),
        host,
        seed,
        purpose,
        line,
        Column("md5", "md5", "digest", md5_hint, get=lambda run: run.line.md5),
        Column("named", "In the decision", "text", named_hint, get=lambda run: _named_cell(gate, run)),
    ]
    return Table("runs", f"Executed runs of {gate.rung_title.lower()}", "ledger/runs.jsonl").fill(
        columns, gate.executed, lambda run: run.record.id.split("/", 1)[1].replace("/", ".")
    )


def run_cell(run: LedgerRun, left_out: str) -> Cell:
    """A run with a link to its page, named without the rung or configuration that the whole page is of."""
    return Cell(run.record.id, run.record.id.replace(f"{left_out}/", "", 1), run_page(run.record.id))


def _named_cell(gate: GateView, run: LedgerRun) -> Cell:
    """The md5 by which the gate's decision names a run, against that of its line."""
    if gate.decision is None:
        return Cell(None, "not decided")
    named = gate.decision.evidence.get(run.record.id)
    if named is None:
        return Cell(None, "✕ not named", mark="bad")
    if named == run.line.md5:
        return Cell(named, "✓ this line")
    return Cell(named, "✕ another md5", mark="bad", note=named)


def pages_of_runs(view: StudyView, executed: Sequence[LedgerRun]) -> Iterator[Page]:
    """The page of each of these executed runs."""
    cells: dict[tuple[str, str], list[LedgerRun]] = {}
    for run in view.executed:
        cells.setdefault((run.record.rung, run.record.config), []).append(run)
    for run in executed:
        siblings = [other for other in cells[run.record.rung, run.record.config] if other is not run]
        trace = read_trace(view.files.root, run.record.id)
        unit = LOSS_UNIT if view.has_builtin_runner else "as the trainer prints it"
        yield _run_page(run, siblings, trace, view.gates[names.gate_of(run.record.rung)], unit)


def _run_page(run: LedgerRun, siblings: list[LedgerRun], trace: Trace, gate: GateView, loss_unit: str) -> Page:
    """The page of a run. `siblings` are the other runs of its configuration at its rung."""
    record = run.record
    stem = run_page(record.id).removesuffix(".html")
    return Page(
        path=run_page(record.id),
        template="run.html",
        title=record.id,
        context={
            "lead": _lead(record, gate),
            "record": record,
            "line": run.line,
            "siblings": _list_siblings(siblings),
            **_groups(run, trace),
            "trace": trace,
            "trace_path": names.trace_path(record.id).as_posix(),
            "telemetry_path": names.telemetry_path(record.id).as_posix(),
            "record_path": names.record_path(record.id).as_posix(),
            "record_file": stem.rsplit("/", 1)[-1] + ".json",
            "named": gate.decision.evidence.get(record.id) if gate.decision else None,
            "gate": gate,
            "stage": Run(record.rung, record.config, record.host, record.seed, record.purpose).stage,
            "figures": [curve_figure(trace, record.budget.clock, loss_unit)] if trace.points else [],
            "rung_page": rung_page(record.rung),
        },
        tables=[curve_table(trace, record.id, f"{record.budget.clock} clock", loss_unit)] if trace.points else [],
        extra={f"{stem}.json": run.line.raw},
    )


def _list_siblings(siblings: list[LedgerRun]) -> Prose:
    """The other runs of its configuration at its rung, each with its score; empty where there is none."""
    shown, more = formatting.first_few(siblings, 8)
    parts: Prose = []
    for other in (run.record for run in shown):
        purpose = "A/A " if other.purpose == "floor" else ""
        score = "" if other.val_bpb is None else f" {formatting.number(float(other.val_bpb), 4)}"
        link = Span(f"{other.host} · {purpose}{other.seed}", run_page(other.id), "name")
        parts += [", ", link, score] if parts else [link, score]
    return [*parts, f" and {more} more"] if more else parts


def _lead(record: Record, gate: GateView) -> Prose:
    """What the run is, and the gate that judges it: where that gate's page shows the run."""
    floor = record.purpose == "floor"
    measured = gate.decision is not None and gate.decision.candidates and gate.decision.floor
    shown = measured if floor else record.config in (gate.candidates or [])
    place = f"#{'floor.caption' if floor else record.config}" if shown else ""
    reason: Prose = [" ", bad(f"{record.status}: {record.reason}")] if record.reason else []
    return [
        "An A/A run of the reference: " if floor else "A candidate's run: ",
        config_name(record.config),
        " on ",
        Span(record.host, css="name", tag="b"),
        f" with seed {record.seed}, judged by ",
        Span(gate.title.lower(), f"{gate.page}{place}"),
        ".",
        *reason,
    ]


def _groups(run: LedgerRun, trace: Trace) -> dict[str, list[tuple[str, str]]]:
    """What the record and the telemetry hold, grouped as people ask for it: result, model, training, machine."""
    facts, spec = dict(run.record.facts or {}), dict(run.record.spec or {})
    model = facts.pop("model", None) or {}
    facts.pop("progress", None)
    training = {**spec.get("config", {}), **spec.get("runner", {})}
    training |= {key: spec[key] for key in ("seed", "evaluate_locked", "keep_weights") if key in spec}
    return {
        "facts": labels.pairs(facts),
        "model": labels.pairs({key: model[key] for key in MODEL if key in model}),
        "training": labels.pairs(training),
        "host": labels.pairs(spec.get("host", {})),
        "telemetry": labels.pairs(_telemetry(trace.telemetry)),
    }


def _telemetry(telemetry: Mapping[str, object]) -> dict[str, object]:
    """The telemetry without what the page shows already. More than one segment means that the run was resumed."""
    segments = telemetry.get("segments")
    left_out = SHOWN_ELSEWHERE - {"segments"} if isinstance(segments, list) and len(segments) > 1 else SHOWN_ELSEWHERE
    return {key: value for key, value in telemetry.items() if key not in left_out}


def curve_figure(trace: Trace, clock: str, loss_unit: str) -> Figure:
    """Training loss of a run over its seconds, or over its steps where those are what it was given."""
    key = "seconds" if clock != "given" and any(point["seconds"] for point in trace.points) else "step"
    axis = "seconds" if key == "seconds" else "steps"
    x = [_short(point[key]) or 0.0 for point in trace.points]
    y = [_short(point["train_loss"]) for point in trace.points]
    line = scatter("lines", x, y, "%{x}: %{y:.4f}", line={"color": "@c1", "width": 2})
    layout = {
        "xaxis": {
            "title": {"text": f"Seconds ({clock} clock)" if key == "seconds" else "Steps"},
            "rangemode": "tozero",
        },
        "yaxis": {"title": {"text": loss_unit}},
        "margin": {"l": 60, "r": 16, "t": 16, "b": 56},
    }
    alt = f"Line of the training loss over {axis}; the table below holds the same points."
    narrow = {"margin": {"l": 48, "r": 8, "t": 8, "b": 52}}
    return Figure("figure.curve", "Training loss", alt, "curve", [line], layout, narrow, 300)


def _short(value: float | None) -> float | None:
    """Six digits, which is more than a figure shows."""
    return None if value is None else float(f"{value:.6g}")


def curve_table(trace: Trace, run: str, clock: str, loss_unit: str) -> Table:
    """The thinned curve."""
    of = f"{len(trace.points)} of {formatting.plain(trace.rows)} points"

    def counted(key: str, label: str, hidden: bool = False) -> Column:
        return Column(key, label, "count", hidden=hidden, get=lambda point: point[key] and int(point[key]))

    def measured(key: str, label: str, digits: int | None = None, hidden: bool = False) -> Column:
        return Column(key, label, "number", hidden=hidden, get=lambda point: _short(point[key]), digits=digits)

    columns = [
        counted("step", "Step"),
        counted("tokens", "Tokens", hidden=True),
        measured("seconds", "Seconds", 3),
        measured("train_loss", f"Training loss, {loss_unit}", 4),
        measured("lr_factor", "Learning-rate factor", hidden=True),
    ]
    return Table(
        "curve",
        f"Training curve ({of if trace.rows > len(trace.points) else 'every point'})",
        f"{names.trace_path(run).as_posix()}/curve.csv; tokens and learning rate are in the files",
        tools=False,
        clock=clock,
    ).fill(columns, trace.points, lambda _: "")
