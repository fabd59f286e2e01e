"""Evidence: the records of one rung arranged for judging, with exact arithmetic.

Numbers are `Fraction`s made from the recorded decimals, so that a value on a threshold has one answer on
every machine.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import overload

from stages.domain.contract import Contract, path_of
from stages.domain.metric import metric_of
from stages.domain.records import Record
from stages.domain.rules import Rule, parse_rules

Cell = tuple[str, int]
#: Decimals of a number as it is written.
DECIMALS = 9


@dataclass(frozen=True)
class Evidence:
    """Everything a gate may look at. `runs` holds executed runs of candidates, `floor` the A/A runs."""

    contract: Contract
    candidates: tuple[str, ...]
    runs: dict[tuple[str, Cell], Record]
    floor: tuple[Record, ...]

    @cached_property
    def rules(self) -> dict[str, Rule]:
        """The rules of the gate, parsed. One host alone may have none left: see `only_host`."""
        return parse_rules(self.contract.rules, path_of(self.contract.rung)) if self.contract.rules else {}

    @cached_property
    def scores(self) -> dict[str, dict[Cell, Fraction]]:
        """val_bpb by candidate and cell; a cell that did not finish is absent."""
        table: dict[str, dict[Cell, Fraction]] = {name: {} for name in self.candidates}
        for (name, cell), record in self.runs.items():
            value = record.val_bpb
            if value is not None:
                table[name][cell] = Fraction(value)
        return table

    @cached_property
    def resolution(self) -> Fraction:
        """How far apart two scores are at least that are no tie; 0 where every difference counts."""
        return Fraction(repr(metric_of(self.contract.settings).resolution or 0))

    def is_lower(self, score: Fraction, other: Fraction) -> bool:
        """Whether a score is better than another one, and no tie."""
        return score < other and other - score >= self.resolution

    def of(self, candidate: str) -> list[Record]:
        """The executed runs of a candidate in the order of the cells."""
        return [self.runs[candidate, cell] for cell in self.contract.cells if (candidate, cell) in self.runs]

    @cached_property
    def _means(self) -> dict[tuple[str, str | None], Fraction | None]:
        """What `mean` has answered: many rules ask for it."""
        return {}

    def mean(self, candidate: str, host: str | None = None) -> Fraction | None:
        """Mean val_bpb over all cells (or one host's), or None unless every one of them finished."""
        key = candidate, host
        if key not in self._means:
            cells = [cell for cell in self.contract.cells if host in (None, cell[0])]
            scores = self.scores.get(candidate, {})
            known = bool(cells) and all(cell in scores for cell in cells)
            self._means[key] = _mean([scores[cell] for cell in cells]) if known else None
        return self._means[key]

    def worst_host(self, candidate: str) -> Fraction | None:
        """The largest of the hosts' means, or None unless every cell finished."""
        means = [self.mean(candidate, host) for host in self.contract.hosts]
        known = [mean for mean in means if mean is not None]
        return max(known) if len(known) == len(means) else None

    def value(self, candidate: str, by: str, host: str | None = None) -> Fraction | None:
        """The number a rule orders by: `mean`, `worst_host`, or one host's mean."""
        return self.worst_host(candidate) if by == "worst_host" else self.mean(candidate, host)

    def ranking(self, by: str = "mean", host: str | None = None) -> list[str]:
        """Candidates with a full set of finished cells, best first, ties by name."""
        known = [(self.value(name, by, host), name) for name in self.candidates]
        return [name for value, name in sorted((v, n) for v, n in known if v is not None)]

    def only_host(self, host: str) -> Evidence:
        """The same evidence, had this host decided alone. Rules that compare hosts have nothing to say then."""
        contract = self.contract
        rules = {rule_id: rule for rule_id, rule in contract.rules.items() if rule["kind"] != "min_host_agreement"}
        return Evidence(
            contract=replace(contract, hosts={host: contract.hosts[host]}, rules=rules),
            candidates=self.candidates,
            runs={key: run for key, run in self.runs.items() if key[1][0] == host},
            floor=tuple(run for run in self.floor if run.host == host),
        )

    def paired_gap(self, role: str, to: str) -> Fraction | None:
        """Mean over the cells of val_bpb of one role minus that of another, or None unless all finished."""
        first, second = (self.mean(self.contract.roles[name]) for name in (role, to))
        return None if first is None or second is None else first - second

    def noise_floor(self, host: str) -> tuple[int, Fraction] | None:
        """(number of A/A runs, their variance) on a host; None with fewer than two finished ones.

        Rounding alone spreads scores by the resolution / sqrt(12): where it hides their noise, the floor is not lower.
        """
        values = [Fraction(run.val_bpb) for run in self.floor if run.host == host and run.val_bpb is not None]
        if len(values) < 2:
            return None
        mean = sum(values, Fraction(0)) / len(values)
        variance = sum(((v - mean) ** 2 for v in values), Fraction(0)) / (len(values) - 1)
        return len(values), max(variance, self.resolution**2 / 12)


def gather(contract: Contract, candidates: Iterable[str], records: Iterable[Record]) -> Evidence:
    """Arrange records for the gate of a contract. Stopped, unrun and undeclared runs are no evidence."""
    judged = tuple(sorted(candidates))
    runs: dict[tuple[str, Cell], Record] = {}
    floor: list[Record] = []
    for record in records:
        if not record.executed or record.rung != contract.rung or record.lock != contract.lock:
            continue
        if not contract.asks_for(record.config, record.host, record.seed, record.purpose):
            continue
        if record.purpose == "floor":
            floor.append(record)
        elif record.config in judged:
            runs[record.config, (record.host, record.seed)] = record
    floor.sort(key=lambda run: (run.host, run.seed))
    return Evidence(contract, judged, runs, tuple(floor))


def _mean(values: Sequence[Fraction]) -> Fraction:
    """Exactly; over one denominator, because `sum` would look for a new one at every step."""
    common = math.lcm(*(value.denominator for value in values))
    return Fraction(sum(value.numerator * (common // value.denominator) for value in values), common * len(values))


@overload
def as_number(value: Fraction) -> float: ...
@overload
def as_number(value: Fraction | None) -> float | None: ...
def as_number(value: Fraction | None) -> float | None:
    """A fraction as it is written: rounded half-even to nine decimals. Comparisons never use this."""
    if value is None:
        return None
    whole, rest = divmod(value.numerator * 10**DECIMALS, value.denominator)
    twice = 2 * rest - value.denominator
    number: float = (whole + (twice > 0 or (twice == 0 and whole % 2))) / 10**DECIMALS
    return number


def tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rankings of the same things; None where fewer than two differ in either of them.

    The order of the operations is that of scipy's `kendalltau`, and so are all digits. Own code, because `promotion
    verify` and every gate with a rule about agreement would otherwise import scipy for it.
    """
    both = sorted(zip(first, second, strict=True))
    pairs = _pairs(len(both))
    ties = [sum(map(_pairs, Counter(values).values())) for values in (first, second, both)]
    seen: list[float] = []
    discordant = 0
    for _, value in both:
        place = bisect_right(seen, value)
        discordant += len(seen) - place
        seen.insert(place, value)
    if pairs in ties[:2]:
        return None
    surplus = pairs - ties[0] - ties[1] + ties[2] - 2 * discordant
    tau = surplus / math.sqrt(pairs - ties[0]) / math.sqrt(pairs - ties[1])
    return round(min(1.0, max(-1.0, tau)), DECIMALS) + 0.0


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
