"""What the study cost, as several pages say it: executed runs and the A/A floor, always both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from report.gates import GateView
from stages.domain import formatting
from stages.summary.accounting import Accounting, Counterfactual, RungCost

#: Where every number of cost comes from, whether the file lay there or was made from the ledger.
SOURCE = "locks/ and ledger/, as in artifacts/summary/accounting.json"
UNRUN = "Accounting of unrun work. It is no evidence that a configuration that was stopped could not have won."


@dataclass(frozen=True)
class StudyCost:
    """Device-hours of the study. `rungs` are the frozen rungs in order; `unpriced` ran, and their lock is missing."""

    rungs: dict[str, RungCost]
    unpriced: list[str]
    counterfactuals: list[Counterfactual]
    last_rung: str

    @property
    def executed(self) -> float:
        """Hours of every frozen rung, A/A floor included."""
        return sum(map(total_hours, self.rungs.values()))

    @property
    def total(self) -> float | None:
        """Hours of everything that was executed; None where a part is not known."""
        return self.executed if self.rungs and not self.unpriced else None

    @property
    def floor(self) -> float:
        """Hours of the A/A floor."""
        return float(sum(cost.floor_hours for cost in self.rungs.values()))

    @property
    def last(self) -> float | None:
        """Hours of the last rung; None while it is not frozen."""
        cost = self.rungs.get(self.last_rung)
        return total_hours(cost) if cost else None

    @property
    def widest(self) -> Counterfactual | None:
        """The widest counterfactual: all candidates of an early rung, had they gone straight to the last."""
        return max(self.counterfactuals, key=lambda case: case.hours, default=None)

    @property
    def hatched(self) -> float:
        """Hours beyond those of the last rung, had all of an early rung gone there; 0 where that is no more."""
        return max(0.0, self.widest.hours - self.last) if self.widest and self.last is not None else 0.0

    @property
    def unpriced_text(self) -> str:
        """Which rungs have no price, as the end of a sentence."""
        return f"{formatting.listed(list(map(formatting.rung_title, self.unpriced)))} ran under a lock that is missing."


def total_hours(cost: RungCost) -> float:
    """Device-hours of one rung: executed runs and A/A floor."""
    return float(cost.executed_hours + cost.floor_hours)


def candidates_text(case: Counterfactual) -> str:
    """Who would have gone on in a counterfactual, in words."""
    return "the one candidate" if case.candidates == 1 else f"all {case.candidates} candidates"


def price_study(accounting: Accounting, gates: Iterable[GateView], last_rung: str) -> StudyCost:
    """The cost of the study, its rungs in their order."""
    rungs = {gate.rung: gate for gate in gates}
    return StudyCost(
        {rung: accounting.rungs[rung] for rung in rungs if rung in accounting.rungs},
        [rung for rung, gate in rungs.items() if rung not in accounting.rungs and gate.executed],
        accounting.counterfactuals,
        last_rung,
    )
