"""Stability: ranks from rung to rung, what became of early leaders, how much being picked as best flatters a number."""

from __future__ import annotations

from collections.abc import Iterator

from report.gates import GateView
from report.page import Page, link_config, link_gate, link_rung
from report.path_figure import path_figure
from report.tables import Cell, Column, Table
from report.verdict import early_leader
from report.views import StudyView
from stages.domain import formatting
from stages.summary.stability import LeaderFate, Stability

#: Where every number comes from, whether the file lay there or was made from the ledger.
SOURCE = "locks/ and ledger/, as in artifacts/summary/stability.json"

STEPS = Table("steps", "Order from rung to rung", SOURCE, tools=False, empty="It takes two judged rungs.")
FATES = Table("fates", "What became of every rung's leader", SOURCE, tools=False, empty="No rung has a leader yet.")
OPTIMISM = Table(
    "optimism",
    "The winner's curse: a lead, and what was left of it with fresh seeds",
    SOURCE,
    tools=False,
    empty="It takes two judged rungs.",
)
RANKS = Table("ranks", "Rank by mean val_bpb at every rung", "ledger/decisions.jsonl")


def pages(view: StudyView) -> Iterator[Page]:
    """The one page."""
    stability, gates = view.files.stability, list(view.gates.values())
    many = len(view.study.configs)
    flattery = view.confidence.result.flattery if view.confidence.result else None
    context: dict[str, object] = {
        "early": early_leader(view, view.lead),
        "figures": [path_figure(list(view.paths.values()), gates, view.stars, "ranks")],
        "many": many,
        "flattery": formatting.number(flattery, 2) if flattery else None,
    }
    tables = [
        steps_table(stability),
        fates_table(stability),
        optimism_table(stability),
        ranks_table(view),
    ]
    yield Page("stability.html", "stability.html", "Stability", context, tables)


def steps_table(stability: Stability) -> Table:
    """Agreement of neighbouring rungs."""
    hint = "between the means of the candidates that both rungs have"
    columns = [
        Column("from", "From", get=lambda step: link_rung(step.from_)),
        Column("to", "To", get=lambda step: link_rung(step.to)),
        Column("tau_b", "Kendall's τ-b", "number", hint, digits=3),
        Column("candidates", "In both", "count"),
        Column("leader_from", "Leader before", get=lambda step: link_config(step.leader_from)),
        Column("leader_to", "Leader after", get=lambda step: link_config(step.leader_to)),
    ]
    return STEPS.fill(columns, stability.steps, lambda step: f"step.{step.from_}")


def fates_table(stability: Stability) -> Table:
    """What became of the leader of every rung."""

    def stopped_at(fate: LeaderFate) -> Cell:
        return link_gate(fate.stopped_at, f"#{fate.config}") if fate.stopped_at else Cell()

    columns = [
        Column("rung", "Leader of", get=lambda fate: link_rung(fate.rung)),
        Column("config", "Configuration", get=lambda fate: link_config(fate.config)),
        Column("stopped_at", "Stopped by", get=stopped_at),
        Column("last_rung", "Last judged at", get=lambda fate: link_rung(fate.last_rung)),
        Column("last_rank", "Rank there", "count"),
    ]
    return FATES.fill(columns, stability.leader_fate, lambda fate: f"fate.{fate.rung}")


def optimism_table(stability: Stability) -> Table:
    """The leader of a rung, measured again with fresh seeds."""
    columns = [
        Column("rung", "Leader of", get=lambda row: link_rung(row.rung)),
        Column("config", "Configuration", get=lambda row: link_config(row.config)),
        Column("lead", "Lead there", "signed", "ahead of the best other candidate that both rungs have"),
        Column("next_lead", "Lead at the next", "signed", "with fresh seeds; negative: behind"),
        Column("next_rank", "Rank at the next", "count"),
        Column("regret", "Behind the next leader", "signed"),
        Column("mean", "Mean there", "mean"),
        Column("next_mean", "Mean at the next", "mean"),
    ]
    return OPTIMISM.fill(columns, stability.optimism, lambda row: f"optimism.{row.rung}")


def ranks_table(view: StudyView) -> Table:
    """Ranks of every configuration at every rung where it was judged."""

    def of_rung(place: int, gate: GateView) -> Column:
        return Column(gate.rung, gate.rung_title, "count", get=lambda path: path.steps[place].rank)

    columns = [
        Column("config", "Configuration", get=lambda path: link_config(path.config)),
        *(of_rung(place, gate) for place, gate in enumerate(view.gates.values())),
    ]
    return RANKS.fill(columns, view.paths.values(), lambda path: f"ranks.{path.config}")
