"""Hindsight: what the gates dropped, the ladder's regret, what each rung foretold, what else the hours would buy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from report.confidence import readable
from report.figures import MOST_LINES, Figure, FigureSpec, scatter, short_labels
from report.hindsight import PAGE, SOURCE
from report.load import LedgerLine
from report.page import Page, link_config, link_gate, link_rung
from report.pages.gate_confidence import DIFFERENCE_HINT, difference_cell, noise_sentence, outcome_cell
from report.tables import Cell, Column, Table
from report.views import StudyView
from stages.confidence.hindsight_results import Alternative, Dropped, FinalStanding, Foretold, Hindsight
from stages.domain import formatting
from stages.domain.metric import metric_of
from stages.domain.records import HindsightRecord

_SOURCES = {
    "ladder": "the ladder's own runs",
    "hindsight": "trained in hindsight",
    "missing": "not every run is there",
    "unfinished": "not every run finished",
}
#: Colour, dash and mark of the dots: the choice, others of the last rung, those that were stopped.
_LOOKS = {"choice": ("@c1", "star", 15), "ladder": ("@ink", "diamond", 10), "hindsight": ("@c2", "circle", 9)}


@dataclass(frozen=True)
class DroppedRow:
    """A configuration that a gate dropped, with the gate."""

    gate: str
    dropped: Dropped


def pages(view: StudyView) -> Iterator[Page]:
    """The one page."""
    result = view.hindsight.result
    context: dict[str, object] = {"missing": view.hindsight.missing, "result": result}
    tables: list[Table] = []
    if result:
        name = metric_of(view.study.runner).name
        context |= {
            "text": f"{formatting.capital(readable(result.text))}.",
            "figures": [standing_figure(result, name)] if result.best else [],
            "hours": formatting.device_time(result.hindsight_hours),
            "unknown": formatting.listed(list(result.unknown)) if result.unknown else "",
            "noise": noise_sentence(result.noise, "how large a difference luck makes here"),
            "regret": _regret_text(result, name),
        }
        tables = _tables(result, view)
    yield Page(PAGE, "hindsight.html", "Hindsight", context, tables)


def _tables(result: Hindsight, view: StudyView) -> list[Table]:
    tables = [
        standing_table(result),
        gates_table(result),
        dropped_table(result),
        foretold_table(result),
        runs_table(view),
    ]
    return [*tables, alternatives_table(result)] if result.alternatives else tables


def _regret_text(result: Hindsight, metric: str) -> str:
    """The regret in a sentence, with its interval."""
    if result.regret is None:
        return "The ladder chose no configuration, so it has no regret."
    if not result.regret:
        return f"Regret: 0. The ladder chose {result.choice}, which has the lowest mean of all that are known."
    text = f"Regret: {formatting.number(result.regret, 4)} {metric}, {result.choice} minus {result.best}"
    known = result.regret_interval
    if known is None or known.lower is None or known.upper is None:
        return f"{text}; no noise was measured."
    ends = f"{formatting.signed(known.lower, 4)} to {formatting.signed(known.upper, 4)}"
    return f"{text}; 95 % interval {ends}, {known.outcome or 'without a margin'}."


def standing_table(result: Hindsight) -> Table:
    """Every configuration at the last budget."""
    columns = [
        Column("rank", "Rank", "count"),
        Column("config", "Configuration", get=lambda row: link_config(row.config)),
        Column("mean", "Mean", "mean"),
        *(Column(host, host, "mean", get=_host_mean(host)) for host in result.noise.hosts),
        Column("stopped_at", "Stopped by", get=_stopped_at),
        Column("source", "Runs", get=lambda row: Cell(row.source, _SOURCES[row.source])),
    ]
    title = f"Every configuration at the budget of {formatting.rung_title(result.rung).lower()}"
    return Table("standing", title, SOURCE).fill(columns, result.standings, lambda row: f"standing.{row.config}")


def _host_mean(host: str) -> Callable[[FinalStanding], float | None]:
    return lambda row: row.hosts.get(host)


def _stopped_at(row: FinalStanding) -> Cell:
    return link_gate(row.stopped_at, f"#{row.config}") if row.stopped_at else Cell(None, "no gate")


def gates_table(result: Hindsight) -> Table:
    """What each gate dropped and kept."""
    columns = [
        Column("gate", "Gate", get=lambda gate: link_gate(gate.gate)),
        Column("dropped", "Stopped", "count"),
        Column("kept", "Kept", "count"),
        Column("better", "Stopped, and better than one kept", "count", get=lambda gate: len(gate.better)),
        Column("inversions", "Pairs in the wrong order", "count", "a stopped and a kept one, the stopped one better"),
        Column("pairs", "Pairs", "count"),
        Column("best_kept", "Best kept", get=lambda gate: link_config(gate.best_kept)),
        Column("best_dropped", "Best stopped", get=lambda gate: link_config(gate.best_dropped)),
        Column("regret", "Regret", "number", "the best kept minus the best of all that the gate judged", digits=4),
    ]
    spec = Table("hindsight-gates", "What each gate stopped and kept", SOURCE, tools=False)
    return spec.fill(columns, result.gates, lambda gate: f"hindsight.{gate.gate}")


def dropped_table(result: Hindsight) -> Table:
    """What a gate stopped although one that it kept is worse at the last budget."""
    columns = [
        Column("gate", "Gate", get=lambda row: link_gate(row.gate)),
        Column("config", "Stopped", get=lambda row: link_config(row.dropped.config)),
        Column("kept", "Better than", get=_beaten),
        Column("against", "Minus the best of those", "number", DIFFERENCE_HINT, get=_difference("against")),
        Column("outcome", "Within the margin?", get=lambda row: outcome_cell(row.dropped.against)),
        Column("against_best", "Minus the best kept", "number", get=_difference("against_best")),
    ]
    spec = Table(
        "dropped",
        "Stopped, and better at the last budget than one that was kept",
        SOURCE,
        note="Negative: the stopped one is better. An interval below zero is more than noise.",
        empty="No gate stopped a configuration that is better than one that it kept.",
    )
    rows = [DroppedRow(gate.gate, dropped) for gate in result.gates for dropped in gate.better]
    return spec.fill(columns, rows, lambda row: f"dropped.{row.gate}.{row.dropped.config}")


def _beaten(row: DroppedRow) -> Cell:
    names = list(row.dropped.kept)
    return Cell(
        ", ".join(names), formatting.listed(names, 3), small="kept by a role alone" if row.dropped.by_role else ""
    )


def _difference(key: str) -> Callable[[DroppedRow], Cell]:
    return lambda row: difference_cell(getattr(row.dropped, key))


def foretold_table(result: Hindsight) -> Table:
    """tau-b of every rung and the last budget."""
    behind = "those stopped before stand behind the others, by the rung that they reached"
    columns = [
        Column("rung", "Rung", get=lambda row: link_rung(row.rung)),
        Column(
            "ladder_tau_b", "τ-b, all configurations", "number", behind, get=_tau("ladder_tau_b", "ladder_interval")
        ),
        Column("configs", "Configurations", "count"),
        Column("tau_b", "τ-b, those that ran there", "number", get=_tau("tau_b", "interval")),
        Column("candidates", "Ran there", "count"),
    ]
    spec = Table(
        "foretold",
        "How well each rung's order foretold the last one",
        SOURCE,
        note="Below each τ-b its 95 % interval: a bootstrap over configurations, none for fewer than five.",
        tools=False,
    )
    return spec.fill(columns, result.foretold, lambda row: f"foretold.{row.rung}")


def _tau(key: str, interval: str) -> Callable[[Foretold], Cell]:
    def get(row: Foretold) -> Cell:
        value, ends = getattr(row, key), getattr(row, interval)
        small = f"{formatting.signed(ends[0], 2)} to {formatting.signed(ends[1], 2)}" if ends else ""
        return Cell(value, formatting.DASH if value is None else formatting.number(value, 3), small=small)

    return get


def alternatives_table(result: Hindsight) -> Table:
    """What the same device-hours would have bought."""
    columns = [
        Column("title", "Way"),
        Column("configs", "At the last rung", "count"),
        Column("seeds", "Seeds a host", "count"),
        Column("hours", "Device time", "hours"),
        Column("best", "Picks the best", "number", "probability, over all choices of chance", get=_best),
        Column("regret", "Regret", "number", "expected, over all choices of chance", digits=4),
        Column("worst", "At worst", "number", digits=4),
    ]
    spec = Table(
        "alternatives",
        "What the same device time would have bought",
        SOURCE,
        note="Counted over every choice that chance could make, from runs that exist. A/A runs are not counted.",
        tools=False,
    )
    return spec.fill(columns, result.alternatives, lambda row: f"way.{row.key}.{row.seeds}")


def _best(row: Alternative) -> Cell:
    return Cell(row.best, formatting.percent(row.best))


def runs_table(view: StudyView) -> Table:
    """Every run in hindsight that was trained."""
    columns = [
        Column("config", "Configuration", get=lambda row: link_config(row[0].config)),
        Column("host", "Host", get=lambda row: row[0].host),
        Column("seed", "Seed", "count", get=lambda row: row[0].seed),
        Column("status", "Status", "state", get=lambda row: row[0].status),
        Column("score", metric_of(view.study.runner).name, "bpb", get=_score),
        Column("line", "Line", "count", f"of {SOURCE.rpartition(' ')[2]}", get=lambda row: row[1].number),
        Column("md5", "MD5", "digest", get=lambda row: row[1].md5),
    ]
    rows = [row for row in view.files.hindsight if row[0].executed]
    spec = Table("hindsight-runs", "The runs in hindsight", SOURCE.rpartition(" ")[2])
    return spec.fill(columns, rows, lambda row: f"run.{row[0].config}.{row[0].host}.{row[0].seed}")


def _score(row: tuple[HindsightRecord, LedgerLine]) -> float | None:
    value = row[0].val_bpb
    return None if value is None else float(value)


def _way(row: FinalStanding) -> str:
    return f"stopped by {row.stopped_at}" if row.stopped_at else "in the ladder to the end"


def standing_figure(result: Hindsight, metric: str) -> Figure:
    """Every configuration's mean at the last budget, a dot each, best on top."""
    known = [row for row in result.standings if row.mean is not None]
    drawn = [row for row in known[:MOST_LINES] if row.mean is not None]
    labels = short_labels(row.config for row in drawn)
    kinds = {row.config: "choice" if row.config == result.choice else row.source for row in drawn}

    def marks(kind: str, colour: str, mark: str, size: int) -> FigureSpec:
        rows = [row for row in drawn if kinds[row.config] == kind]
        return scatter(
            "markers",
            [row.mean for row in rows],
            [labels[row.config] for row in rows],
            "%{y}: %{x:.4f}, %{text}",
            text=[formatting.html_text(_way(row)) for row in rows],
            marker={"color": colour, "symbol": mark, "size": size},
            cliponaxis=False,
        )

    data = [marks(kind, *look) for kind, look in _LOOKS.items()]
    alt = (
        f"Mean {metric} at the budget of {formatting.rung_title(result.rung).lower()}, best on top: "
        f"{result.best} is best, the ladder chose {result.choice or 'none'}."
    )
    if len(drawn) < len(known):
        alt += f" {len(drawn)} of {len(known)} drawn."
    order = [labels[row.config] for row in reversed(drawn)]
    layout: FigureSpec = {
        "xaxis": {"title": {"text": formatting.html_text(f"mean {metric}, lower is better")}},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": order, "automargin": True},
        "margin": {"l": 16, "r": 24, "t": 16, "b": 56},
    }
    legend = (
        ("@c1", "", "star", "the ladder's choice"),
        ("@ink", "", "diamond", "others that the ladder took to the last rung"),
        ("@c2", "", "circle", "stopped by a gate, trained in hindsight"),
    )
    return Figure(
        "figure.standing",
        "At the last budget",
        alt,
        "standing",
        data,
        layout,
        height=90 + 26 * len(drawn),
        legend=legend,
    )
