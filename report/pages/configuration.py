"""A configuration: what was built, its way up, its ranks on every host, the rule that stopped it. And all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from report import labels
from report.gates import GateView, Lead
from report.load import LedgerRun
from report.page import Page, config_page, link_config
from report.pages.gate_outcome import rules_cell
from report.pages.runs import run_cell, run_columns
from report.path_figure import path_figure, path_table
from report.promotion_paths import PathStep, PromotionPath
from report.prose import Prose, Span
from report.tables import Cell, Column, Kind, Table, state
from report.views import StudyView
from stages.domain import formatting, names

MODELS = Table(
    "models",
    "What was compared",
    "params.yaml, artifacts/protocol/configs.json or the records, ledger/decisions.jsonl",
    note="Knobs that are the same everywhere are left out.",
)
#: Of the realised model, which the built-in runner alone records.
BUILT = (("parameters", "Parameters"), ("flops_per_token", "FLOPs per token"), ("width", "Width"))
RANKS = Table("ranks", "Ranks on each host block", "ledger/decisions.jsonl", tools=False)


def pages(view: StudyView) -> Iterator[Page]:
    """The list, then one page a configuration."""
    paths, gates = list(view.paths.values()), list(view.gates.values())
    yield Page(
        path="configs.html",
        template="configs.html",
        title="Configurations",
        context={"figures": [path_figure(paths, gates, view.stars, "paths")]},
        tables=[models_table(view), path_table(paths, gates)],
    )
    runs: dict[str, list[LedgerRun]] = {}
    for run in view.executed:
        runs.setdefault(run.record.config, []).append(run)
    for path in paths:
        yield _page(view, path, runs.get(path.config, []))


def models_table(view: StudyView) -> Table:
    """Every configuration: how far it came, the realised model, the knobs that differ."""
    models, configs = view.files.models, view.study.configs
    knobs = list(dict.fromkeys(key for config in configs.values() for key in config))
    knobs = [key for key in knobs if key != "sha256" or "candidate" not in view.study.runner]
    varied = [key for key in knobs if len({repr(config.get(key)) for config in configs.values()}) > 1]

    def built(key: str, label: str) -> Column:
        return Column(key, label, "count", get=lambda path: models.get(path.config, {}).get(key))

    def knob(key: str) -> Column:
        values = [config.get(key) for config in configs.values()]
        numeric = all(isinstance(value, int | float | None) and not isinstance(value, bool) for value in values)
        kind: Kind = "number" if numeric else "text"
        return Column(key, labels.name(key), kind, get=lambda path: configs[path.config].get(key))

    reached = "at how many rungs it was a candidate"
    columns = [
        Column("config", "Configuration", get=lambda path: replace(link_config(path.config), tags=path.roles)),
        Column("roles", "Role", hidden=True, get=lambda path: ", ".join(path.roles)),
        Column("fate", "In the end", "state", get=lambda path: state(path.last.state) if path.last else None),
        Column("reached", "Rungs", "count", reached),
        *(built(key, label) for key, label in BUILT if view.has_builtin_runner),
        *map(knob, varied),
    ]
    return MODELS.fill(columns, view.paths.values(), lambda path: path.config)


def _page(view: StudyView, path: PromotionPath, runs: list[LedgerRun]) -> Page:
    model = view.files.models.get(path.config, {})
    last = view.gates[names.gate_of(path.last.rung)] if path.last else None
    return Page(
        path=config_page(path.config),
        template="config.html",
        title=path.config,
        context={
            "config": path,
            "built": labels.pairs({key: model[key] for key in model if key not in ("same_model_as", "diff")}),
            "diff": [str(line) for line in diff] if isinstance(diff := model.get("diff"), list) else [],
            "twins": model.get("same_model_as", []),
            "knobs": labels.pairs(dict(view.study.configs[path.config])),
            "ending": ending(path, last, view.lead),
        },
        tables=[
            steps_table(path, view.gates),
            ranks_table(path, view.gates, list(view.study.hosts)),
            runs_table(path.config, runs),
        ],
    )


def ending(path: PromotionPath, gate: GateView | None, lead: Lead | None) -> Prose:
    """How a way ended at `gate`, which judged it last; `lead` is the lead at the last rung."""
    last = path.last
    if last is None or gate is None:
        return ["It has not been judged yet."]
    evidence: Prose = [" ", Span("The evidence", f"{gate.page}#{path.config}"), "."]
    if last.state == "stopped":
        return [*_stopped(path.config, last, gate), *evidence]
    title = gate.title.lower()
    verb = "won" if lead is None or lead.clear else lead.verb
    first = f"It {verb}: the lowest mean val_bpb of {title}."
    texts = {
        "winner": first,
        "leader": first,
        "tied": first if lead and path.config == lead.first else f"It ties for the first place of {title}.",
        "finalist": f"It was a finalist: {formatting.ordinal(last.rank or 0)} at {title}.",
        "blocked": f"Its way ends at {title}, which is blocked.",
        "missing": f"It has no full set of finished cells at {title}.",
    }
    return [texts.get(last.state, f"It was promoted by {title}; the next gate has not decided."), *evidence]


def _stopped(config: str, step: PathStep, gate: GateView) -> Prose:
    """Where it was stopped, by which rules with what they say, and by how much its score missed."""
    rank = f" It was {formatting.ordinal(step.rank)} there." if step.rank else ""
    text: Prose = [f"It was stopped at {gate.title.lower()}.{rank}"]
    for place, rule in enumerate(step.by or step.unmet):
        outcome = gate.decision.rule(rule) if gate.decision else None
        before = ", " if place else " It met the stop rule " if step.by else " It did not meet "
        text += [before, Span(rule, f"{gate.page}#{rule}"), f" “{formatting.typeset(outcome.text)}”" if outcome else ""]
    shift = gate.flips.flip(config).shift
    return [*text, f" It would have needed {formatting.signed(shift, 4)} to go on."] if shift is not None else text


def steps_table(path: PromotionPath, gates: dict[str, GateView]) -> Table:
    """Its way up, rung by rung."""
    columns = [
        Column("rung", "Rung", get=lambda row: Cell(row[0].rung, row[1].rung_title, row[1].page)),
        Column("budget", "Budget", get=lambda row: formatting.seconds(row[1].budget)),
        Column("outcome", "Outcome", "state", get=lambda row: state(row[0].state)),
        Column("rank", "Rank", "count", get=lambda row: row[0].rank),
        Column("of", "Of", "count", get=lambda row: len(row[1].ranking) if row[0].rank else None),
        Column("mean", "Mean val_bpb", "mean", get=lambda row: row[0].mean),
        Column("behind", "Behind the best", "signed", get=lambda row: _behind(*row)),
        Column("rules", "Decided by", get=lambda row: rules_cell(row[1], row[0])),
        Column("evidence", "Evidence", page_only=True, get=lambda row: _evidence(path.config, *row)),
    ]
    return Table("path", f"{path.config}, rung by rung", "ledger/decisions.jsonl", tools=False).fill(
        columns, zip(path.steps, gates.values(), strict=True), lambda row: row[0].rung
    )


def _behind(step: PathStep, gate: GateView) -> Cell:
    behind = step.mean - gate.ranking[0].mean if gate.ranking and step.mean is not None else None
    return Cell(behind, "the best" if step.rank == 1 else None)


def _evidence(config: str, step: PathStep, gate: GateView) -> Cell:
    return Cell(None, "its line", f"{gate.page}#{config}") if step.rank else Cell(None, "")


def ranks_table(path: PromotionPath, gates: dict[str, GateView], hosts: list[str]) -> Table:
    """Its rank and mean on every host block, at every rung where it was judged."""
    columns = [
        Column("rung", "Rung", get=lambda step: Cell(step.rung, formatting.rung_title(step.rung))),
        Column("all", "Rank, all cells", "count", get=lambda step: step.rank),
    ]
    for host in hosts:
        columns += _host_columns(path.config, gates, host)
    return RANKS.fill(
        columns, [step for step in path.steps if step.rank is not None], lambda step: f"ranks.{step.rung}"
    )


def _host_columns(config: str, gates: dict[str, GateView], host: str) -> list[Column]:
    def rank(step: PathStep) -> int:
        return gates[names.gate_of(step.rung)].host_ranks[host][config]

    return [
        Column(f"{host}_rank", f"Rank, {host}", "count", get=rank),
        Column(f"{host}_mean", f"Mean, {host}", "mean", get=lambda step: (step.hosts or {}).get(host)),
    ]


def runs_table(config: str, runs: list[LedgerRun]) -> Table:
    """Every executed run of it, each without the name that the whole page bears."""
    score, status, host, seed, purpose, line = run_columns()
    columns = [
        Column("run", "Run", get=lambda run: run_cell(run, config)),
        score,
        status,
        Column("rung", "Rung", hidden=True, get=lambda run: run.record.rung),
        host,
        seed,
        purpose,
        line,
        Column("md5", "md5", "digest", get=lambda run: run.line.md5),
    ]
    return Table("runs", f"Every executed run of {config}", "ledger/runs.jsonl").fill(
        columns, runs, lambda run: f"run.{run.record.id.replace('/', '.')}"
    )
