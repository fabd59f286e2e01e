"""The overview: question, verdict, promotion path, cost and agreement at a glance. Many read this page alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from report import cost, host_agreement
from report.answers import add_answers
from report.host_agreement import RungHosts
from report.page import Page
from report.pages.agreement import alone_cell, rung_cell
from report.path_figure import candidate_counts, path_figure, path_table
from report.promotion_paths import PromotionPath
from report.prose import Prose, term
from report.tables import Cell, Column, Table, TableSpec
from report.verdict import reach_verdict
from report.views import StudyView
from stages.domain import formatting

#: Rows of the matrix on this page; the whole of it stands on the page of configurations.
MOST_ROWS = 60


@dataclass(frozen=True)
class CostGlance:
    """Cost in short: hours by rung and in all, and what the widest counterfactual would have added at the last rung."""

    study: cost.StudyCost

    @property
    def rungs(self) -> list[tuple[str, float]]:
        """(rung, its device-hours) in order."""
        return [(rung, cost.total_hours(parts)) for rung, parts in self.study.rungs.items()]

    @property
    def rest(self) -> float:
        """Hours beyond those of the last rung, had everybody of an early rung gone there; 0 where that is no more."""
        widest, last = self.study.widest, self.study.last
        return max(0.0, widest.hours - last) if widest and last is not None else 0.0

    @property
    def text(self) -> Prose:
        """What was executed, in one sentence."""
        total, floor, last = self.study.total, self.study.floor, self.study.last
        if total is None:
            return [f"Not known in all: {self.study.unpriced_text}"]
        text: Prose = [f"{formatting.device_time(total)} of device time were executed"]
        if floor:
            text += [f", of which {formatting.device_time(floor)} for the ", term("floor", "A/A floor")]
        return [*text, *([f"; {formatting.device_time(last)} at the last rung"] if last is not None else []), "."]

    @property
    def source(self) -> str:
        """The hours of the bars in words, and where they come from."""
        bars = [f"{formatting.rung_title(rung)} {formatting.device_time(hours)}" for rung, hours in self.rungs]
        if self.rest and (widest := self.study.widest):
            who = f"{cost.candidates_text(widest)} of {formatting.rung_title(widest.from_rung).lower()}"
            more = f"hatched: {formatting.device_time(self.rest)} more, had {who} gone to the last rung"
            bars.append(f"{more} (accounting of unrun work, no evidence)")
        return f"{' · '.join(bars)}. Source: {cost.SOURCE}"


def pages(view: StudyView) -> Iterator[Page]:
    """The one overview."""
    paths, gates = list(view.paths.values()), list(view.gates.values())
    yield Page(
        path="index.html",
        template="overview.html",
        title="Overview",
        context={
            "verdict": add_answers(reach_verdict(view), view.confidence, view.hindsight),
            "counts": candidate_counts(gates),
            "more": max(0, len(paths) - MOST_ROWS),
            "figures": [path_figure(paths, gates, view.stars, "paths")],
            "states": _states(paths),
            "cost": view.cost,
            "glance": CostGlance(view.cost),
            "facts": _facts(view),
            "plainly": view.machines.sentence,
            "one_host": len(view.study.hosts) == 1,
        },
        tables=[path_table(paths[:MOST_ROWS], gates, view.clock), agreement_table(view.hosts.values(), view.clock)],
    )


def _states(paths: list[PromotionPath]) -> list[str]:
    """The states that occur, in the order of the legend."""
    seen = {step.state for path in paths for step in path.steps}
    return [state for state in formatting.STATES if state in seen and state != "absent"]


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


def agreement_table(rungs: Iterable[RungHosts], clock: str) -> Table:
    """For each decided rung: tau of the hosts, their leaders, and whether each alone would have decided the same."""
    tau = "Kendall's tau-b; the smallest where there are several pairs"
    alone = "host blocks that alone would have decided the same"
    columns = [
        Column("rung", "Rung", get=rung_cell),
        Column("tau_b", "τ-b", "number", tau, get=_smallest_tau, digits=2),
        Column("leaders", "Leader on each block", get=_leaders),
        Column("alone", "Same decision alone", "number", alone, get=alone_cell),
    ]
    return TableSpec(
        "agreement-glance",
        "Do the host blocks tell one story?",
        host_agreement.SOURCE,
        tools=False,
        empty="No rung has evidence yet.",
    ).fill(columns, rungs, lambda hosts: f"agreement.{hosts.gate.rung}", clock)


def _smallest_tau(hosts: RungHosts) -> float | None:
    return min((pair.tau_b for pair in hosts.summary.pairs if pair.tau_b is not None), default=None)


def _leaders(hosts: RungHosts) -> Cell:
    leaders = hosts.leaders
    sign = "✓ " if len(leaders) == 1 else "✕ "
    return Cell(", ".join(leaders), sign + formatting.listed(leaders) if leaders else formatting.DASH)
