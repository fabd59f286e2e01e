"""What the ladder's device-hours would have bought otherwise, from runs that exist and by counting, not by sampling.

    random          as many configurations as the hours buy, drawn at random, straight to the last rung on all its cells
    greedy          the leader of the first rung, straight to the last
    greedy-matched  the leaders of the first rung, straight to the last, as many as the hours buy
    seeds           as random, on fewer seeds a host, and so more configurations: one line for each number of seeds
    full            every configuration at the last rung

The pick is whoever has the lowest mean over the cells that the alternative trained; its regret is how far its mean over
all cells lies above that of the best. Of m configurations drawn at random from n, the i-th in the order of the
alternative is picked with probability C(n-i, m-1) / C(n, m), and every set of seeds is as likely as another. A pick is
measured by cells that it was chosen by, which flatters the ladder and its alternatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, islice
from math import comb

from stages.confidence.hindsight_results import Alternative
from stages.domain.evidence import Evidence
from stages.summary.accounting import hours
from stages.summary.ladder import Ladder, LadderRung

#: So many sets of seeds are looked at, the first ones in order; ten seeds or fewer have no more.
MOST_SETS = 252


@dataclass(frozen=True)
class LastRung:
    """Every configuration at the last rung. `means` are over all cells, and each has one."""

    evidence: Evidence
    means: dict[str, Fraction]
    best: Fraction
    unit: Fraction

    @classmethod
    def of(cls, evidence: Evidence, last: LadderRung) -> LastRung:
        """The last rung, where every configuration finished in every cell."""
        means = {name: mean for name in evidence.candidates if (mean := evidence.mean(name)) is not None}
        return cls(evidence, means, min(means.values()), hours(1, last.frozen.budget_seconds))

    def regret(self, config: str) -> Fraction:
        """How far a configuration lies above the best of all."""
        return self.means[config] - self.best

    def order(self, seeds: Sequence[int]) -> list[str]:
        """Everybody by the mean over these seeds of every host, best first, ties by name."""
        cells = [(host, seed) for host in self.evidence.contract.hosts for seed in seeds]
        scores = self.evidence.scores
        return sorted(self.means, key=lambda name: (sum(scores[name][cell] for cell in cells), name))


def list_alternatives(ladder: Ladder, evidence: Evidence, choice: str) -> list[Alternative]:
    """The ladder itself, then every alternative at its hours, then everything."""
    last = ladder.rungs[-1]
    rung, seeds, hosts = LastRung.of(evidence, last), last.frozen.seeds, len(last.frozen.hosts)
    count, everybody = len(rung.means), len(rung.means) * last.cells
    spent = ladder_hours(ladder)
    first, screening = ladder.rungs[0].ranking, _executed(ladder.rungs[0])
    whole = rung.unit * last.cells
    listed = [_pick("ladder", "the ladder", rung, [choice], len(last.candidates or ()), len(seeds), spent)]
    listed.append(_draw("random", rung, len(seeds), _affordable(spent, whole, count), whole))
    if first:
        listed.append(_greedy("greedy", rung, first[:1], len(seeds), screening + whole))
        more = first[: _affordable(spent - screening, whole, count)]
        listed.append(_greedy("greedy-matched", rung, more, len(seeds), screening + len(more) * whole))
    for fewer in range(len(seeds) - 1, 0, -1):
        unit = rung.unit * hosts * fewer
        listed.append(_draw("seeds", rung, fewer, _affordable(spent, unit, count), unit))
    best = rung.order(seeds)
    listed.append(
        _pick("full", "every configuration at the last rung", rung, best, count, len(seeds), rung.unit * everybody)
    )
    return listed


def ladder_hours(ladder: Ladder) -> Fraction:
    """Device-hours of the candidates' runs at all rungs; A/A runs measure noise and are not counted."""
    return sum((_executed(rung) for rung in ladder.rungs), Fraction(0))


def _executed(rung: LadderRung) -> Fraction:
    runs = sum(run.executed and run.purpose == "candidate" for run in rung.records)
    return hours(runs, rung.frozen.budget_seconds)


def _affordable(budget: Fraction, unit: Fraction, most: int) -> int:
    """How many configurations the hours buy; one in any case."""
    return max(1, min(most, int(budget / unit)))


def _greedy(key: str, rung: LastRung, leaders: Sequence[str], seeds: int, spent: Fraction) -> Alternative:
    chosen = [name for name in rung.order(rung.evidence.contract.seeds) if name in leaders]
    title = "the leader of the first rung" if len(leaders) == 1 else f"the {len(leaders)} leaders of the first rung"
    return _pick(key, title, rung, chosen, len(leaders), seeds, spent)


def _pick(
    key: str, title: str, rung: LastRung, order: Sequence[str], configs: int, seeds: int, spent: Fraction
) -> Alternative:
    """An alternative without chance: it picks the first in `order`."""
    regret = rung.regret(order[0])
    return _alternative(key, title, configs, seeds, spent, [(Fraction(1), regret)])


def _draw(key: str, rung: LastRung, seeds: int, configs: int, unit: Fraction) -> Alternative:
    """Configurations at random, on sets of seeds that are all as likely."""
    sets = list(islice(combinations(rung.evidence.contract.seeds, seeds), MOST_SETS))
    outcomes = [
        (share / len(sets), rung.regret(name))
        for chosen in sets
        for name, share in _shares(rung.order(chosen), configs)
    ]
    who = "every configuration" if configs == len(rung.means) else f"{configs} at random"
    title = f"{who}, {seeds} of {len(rung.evidence.contract.seeds)} seeds" if key == "seeds" else who
    return _alternative(key, title, configs, seeds, configs * unit, outcomes)


def _shares(order: Sequence[str], configs: int) -> Iterator[tuple[str, Fraction]]:
    """Each configuration with the probability that it is the first in order of so many that are drawn."""
    everything = comb(len(order), configs)
    for place, name in enumerate(order, start=1):
        if ways := comb(len(order) - place, configs - 1):
            yield name, Fraction(ways, everything)


def _alternative(
    key: str, title: str, configs: int, seeds: int, spent: Fraction, outcomes: Sequence[tuple[Fraction, Fraction]]
) -> Alternative:
    return Alternative(
        key=key,  # type: ignore[arg-type]  # the functions above name the keys
        title=title,
        configs=configs,
        seeds=seeds,
        hours=float(spent),
        best=float(sum((share for share, regret in outcomes if not regret), Fraction(0))),
        regret=float(sum((share * regret for share, regret in outcomes), Fraction(0))),
        worst=float(max(regret for _, regret in outcomes)),
    )
