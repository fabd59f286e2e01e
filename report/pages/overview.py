"""The overview: question, verdict, promotion path, cost and agreement at a glance. Many read this page alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import StringIO

from ruamel.yaml import YAML

from report import host_agreement
from report.cost import SOURCE, StudyCost, candidates_text, total_hours
from report.gates import Lead
from report.host_agreement import RungHosts
from report.page import Page
from report.pages.agreement import alone_cell, rung_cell
from report.path_figure import candidate_counts, path_figure, path_table
from report.prose import Prose, term
from report.tables import Cell, Column, Table
from report.verdict import answers, look_back, reach_verdict
from report.views import StudyView
from stages.domain import formatting, names

#: Rows of the matrix on this page; the whole of it stands on the page of configurations.
MOST_ROWS = 60


def pages(view: StudyView) -> Iterator[Page]:
    """The one overview."""
    paths, gates = list(view.paths.values()), list(view.gates.values())
    verdict, seen = reach_verdict(view), {step.state for path in paths for step in path.steps}
    yield Page(
        path="index.html",
        template="overview.html",
        title="Overview",
        context={
            "verdict": replace(verdict, notes=[*verdict.notes, *answers(view.confidence), *look_back(view.hindsight)]),
            "counts": candidate_counts(gates),
            "more": max(0, len(paths) - MOST_ROWS),
            "figures": [path_figure(paths, gates, view.stars, "paths")],
            "states": [state for state in formatting.STATES if state in seen and state != "absent"],
            "cost": view.cost,
            "cost_text": _cost_text(view.cost),
            "cost_bars": [(rung, total_hours(parts)) for rung, parts in view.cost.rungs.items()],
            "cost_source": _bars_text(view.cost),
            "take": _take(view, view.lead) if view.lead else None,
            "facts": _facts(view),
            "plainly": view.machines.sentence,
            "one_host": len(view.study.hosts) == 1,
        },
        tables=[path_table(paths[:MOST_ROWS], gates), agreement_table(view.hosts.values())],
    )


@dataclass(frozen=True)
class Take:
    """What a reader takes along of the first of the last rung: its settings as YAML, and where its weights are."""

    config: str
    heading: str
    yaml: str
    #: Empty where a stage keeps the weights, which is `names.WINNER`.
    no_weights: str
    folder: str = names.WINNER.as_posix()


def _take(view: StudyView, lead: Lead) -> Take:
    """What is to be taken along of the first of the last rung, with the settings that it was trained with."""
    lock, first = view.first_gate.lock, lead.first
    configs = lock.frozen.configs if lock and lock.frozen.configs and not view.first_gate.what_if else None
    yaml, text = YAML(typ="rt"), StringIO()
    yaml.width, yaml.default_flow_style = 4096, False
    yaml.dump({"configs": {first: {**(configs or view.study.configs)[first]}}}, text)
    command = view.study.runner.get("kind") == "command"
    return Take(
        first,
        f"The {'winner' if lead.clear else 'leader'}'s configuration and weights",
        text.getvalue(),
        "Its weights are where the trainer's command left them; this study collects none." if command else "",
    )


def _cost_text(cost: StudyCost) -> Prose:
    """What was executed, in one sentence."""
    if cost.total is None:
        return [f"Not known in all: {cost.unpriced_text}"]
    text: Prose = [f"{formatting.device_time(cost.total)} of device time was used"]
    if cost.floor:
        text += [f", of which {formatting.device_time(cost.floor)} for the ", term("floor", "A/A floor")]
    return [*text, f"; {formatting.device_time(cost.last)} at the last rung." if cost.last is not None else "."]


def _bars_text(cost: StudyCost) -> str:
    """The hours of the bars in words, and where they come from."""
    bars = [
        f"{formatting.rung_title(r)} {formatting.device_time(total_hours(parts))}" for r, parts in cost.rungs.items()
    ]
    if cost.hatched and cost.widest:
        who = f"{candidates_text(cost.widest)} of {formatting.rung_title(cost.widest.from_rung).lower()}"
        more = f"hatched: {formatting.device_time(cost.hatched)} more, had {who} gone to the last rung"
        bars.append(f"{more} (accounting of unrun work, no evidence)")
    return f"{' · '.join(bars)}. Source: {SOURCE}"


def _facts(view: StudyView) -> dict[str, int]:
    files = view.files
    return {
        "runs": len(view.executed),
        "frozen": len(files.locks),
        "gates": len(view.gates),
        "decided": sum(1 for gate in view.gates.values() if gate.decision and not gate.blocked),
        "amended": sum(len(file.lock.frozen.amendments) for file in files.locks.values()),
        "missing": view.missing,
    }


def agreement_table(rungs: Iterable[RungHosts]) -> Table:
    """For each decided rung: tau of the hosts, their leaders, and whether each alone would have decided the same."""
    tau = "Kendall's tau-b; the smallest where there are several pairs"
    alone = "host blocks that alone would have decided the same"

    def smallest(hosts: RungHosts) -> float | None:
        return min((pair.tau_b for pair in hosts.summary.pairs if pair.tau_b is not None), default=None)

    columns = [
        Column("rung", "Rung", get=rung_cell),
        Column("tau_b", "τ-b", "number", tau, get=smallest, digits=2),
        Column("leaders", "Leader on each block", get=_leaders),
        Column("alone", "Same decision alone", "number", alone, get=alone_cell),
    ]
    return Table(
        "agreement-glance",
        "Do the host blocks tell one story?",
        host_agreement.SOURCE,
        tools=False,
        empty="No rung has evidence yet.",
    ).fill(columns, rungs, lambda hosts: f"agreement.{hosts.gate.rung}")


def _leaders(hosts: RungHosts) -> Cell:
    leaders = hosts.leaders
    sign = "✓ " if len(leaders) == 1 else "✕ "
    return Cell(", ".join(leaders), sign + formatting.listed(leaders) if leaders else formatting.DASH)
