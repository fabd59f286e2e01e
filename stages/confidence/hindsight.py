"""What the ladder missed, measured: the configurations that it stopped were trained at the last budget afterwards.

    result = assess_hindsight(configs, locks, records, decisions, hindsight)

A pure function of what git holds. Every comparison is between means over the declared cells of the last rung, and its
interval is that of docs/confidence.md. The best of many looks better than it is: a regret is what these runs show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from stages.confidence import comparisons
from stages.confidence.alternatives import ladder_hours, list_alternatives
from stages.confidence.comparisons import Margin, Pair
from stages.confidence.gates import DecidedGate, decided_gates
from stages.confidence.hindsight_results import (
    SCHEMA,
    Dropped,
    FinalStanding,
    Foretold,
    GateHindsight,
    Hindsight,
    Source,
)
from stages.confidence.noise import noise_of
from stages.confidence.results import LEVEL, Comparison
from stages.domain import formatting
from stages.domain.decision import Decision
from stages.domain.evidence import Evidence, tau_b
from stages.domain.files import sha256_bytes
from stages.domain.locks import Lock
from stages.domain.records import HindsightRecord, Record
from stages.summary import pairs
from stages.summary.accounting import hours
from stages.summary.ladder import Ladder, LadderRung, build

OTHER_DECISION = "hindsight came after another last decision than that of the ledger; `make hindsight` makes it anew"


def assess_hindsight(
    configs: Sequence[str],
    locks: Mapping[str, Lock],
    records: Iterable[Record],
    decisions: Mapping[str, Decision],
    hindsight: Sequence[HindsightRecord],
) -> Hindsight | str:
    """What hindsight says, or why it says nothing. `configs` are the study's; `locks` and `decisions` go by gate."""
    known = list(records)
    ladder = build("frozen", configs, locks, known, decisions)
    last = ladder.last
    if not hindsight:
        return "nothing was trained in hindsight; `make hindsight` does once the last gate has decided"
    if last is None or last.evidence is None or last.decision is None:
        return "the last gate has not decided"
    digest = sha256_bytes(last.decision.to_bytes())
    if any(record.decision != digest for record in hindsight):
        return OTHER_DECISION
    return _Assessment(ladder, last, decided_gates(locks, known, decisions), hindsight).result(digest)


class _Assessment:
    """One study at the last budget, its own runs and those in hindsight together."""

    def __init__(
        self, ladder: Ladder, last: LadderRung, gates: list[DecidedGate], hindsight: Sequence[HindsightRecord]
    ) -> None:
        assert last.evidence is not None
        cells = set(last.evidence.contract.cells)
        extra = {
            (run.config, (run.host, run.seed)): run
            for run in hindsight
            if run.executed and (run.host, run.seed) in cells and run.config not in last.evidence.candidates
        }
        self.ladder, self.last = ladder, last
        runs: dict[tuple[str, tuple[str, int]], Record] = {**last.evidence.runs, **extra}
        self.evidence = Evidence(last.evidence.contract, ladder.configs, runs, last.evidence.floor)
        self.noise = noise_of(replace(gates[-1], evidence=self.evidence), gates)
        self.near = comparisons.near_margin(gates)
        self.means = {name: mean for name in ladder.configs if (mean := self.evidence.mean(name)) is not None}
        self.ranking = self.evidence.ranking()
        self.extra_hours = hours(len(extra), last.frozen.budget_seconds)

    def result(self, digest: str) -> Hindsight:
        """Everything that is said."""
        choice = self.ladder.winner
        best = self.ranking[0] if self.ranking else None
        regret = self.means[choice] - self.means[best] if choice and best else None
        unknown = tuple(name for name in self.ladder.configs if name not in self.means)
        gates = tuple(
            self._gate(rung) for rung in self.ladder.rungs[:-1] if rung.decision and not rung.decision.blocked
        )
        return Hindsight(
            schema=SCHEMA,
            rung=self.last.name,
            gate=self.last.gate,
            decision=digest,
            cells=self.last.cells,
            noise=self.noise,
            standings=tuple(self._standing(name) for name in [*self.ranking, *unknown]),
            unknown=unknown,
            choice=choice,
            best=best,
            regret=None if regret is None else float(regret),
            regret_interval=self._compare(choice, best, "best") if choice and best and choice != best else None,
            gates=gates,
            foretold=tuple(self._foretold(place) for place in range(len(self.ladder.rungs) - 1)),
            alternatives=tuple(list_alternatives(self.ladder, self.evidence, choice)) if choice and not unknown else (),
            ladder_hours=float(ladder_hours(self.ladder)),
            hindsight_hours=float(self.extra_hours),
            text=self._text(choice, best, regret, unknown, gates),
        )

    def _standing(self, config: str) -> FinalStanding:
        mean = self.means.get(config)
        inside = config in (self.last.candidates or ())
        source: Source = "ladder" if inside else "hindsight"
        if mean is None:
            source = "unfinished" if len(self.evidence.of(config)) == self.last.cells else "missing"
        return FinalStanding(
            config=config,
            source=source,
            stopped_at=None if inside else self._stopped_at(config),
            mean=None if mean is None else float(mean),
            hosts={host: _number(self.evidence.mean(config, host)) for host in self.evidence.contract.hosts},
            rank=None if mean is None else self.ranking.index(config) + 1,
        )

    def _stopped_at(self, config: str) -> str | None:
        decided = [rung for rung in self.ladder.rungs if rung.decision and config in rung.decision.candidates]
        return decided[-1].gate if decided else None

    def _compare(self, config: str, against: str, role: str) -> Comparison:
        """Two configurations over the declared cells, with the interval and the margin of the confidence."""
        hosts, gap = tuple(self.evidence.contract.hosts), self.means[config] - self.means[against]
        margin: Margin | None = self.near
        pair = Pair("hindsight", "hindsight", config, against, role, hosts, margin, True, gap)
        return comparisons.compare(pair, self.evidence, self.noise)

    def _gate(self, rung: LadderRung) -> GateHindsight:
        """What a gate dropped and kept, as far as both have a mean at the last budget."""
        decision = rung.decision
        assert decision is not None
        kept = [name for name in self.ranking if name in decision.promoted]
        dropped = [name for name in self.ranking if name in decision.candidates and name not in decision.promoted]
        beaten = {
            name: tuple(k for k in kept if self.evidence.is_lower(self.means[name], self.means[k])) for name in dropped
        }
        best = [self.means[name] for name in (kept[:1] + dropped[:1])]
        return GateHindsight(
            gate=rung.gate,
            rung=rung.name,
            dropped=len(decision.candidates) - len(decision.promoted),
            kept=len(decision.promoted),
            pairs=len(kept) * len(dropped),
            inversions=sum(map(len, beaten.values())),
            best_kept=kept[0] if kept else None,
            best_dropped=dropped[0] if dropped else None,
            regret=float(best[0] - min(best)) if kept else None,
            better=tuple(self._dropped(name, others, kept[0], decision) for name, others in beaten.items() if others),
        )

    def _dropped(self, config: str, kept: tuple[str, ...], best: str, decision: Decision) -> Dropped:
        kinds = {rule.id: rule.kind for rule in decision.rules}
        by_role = all(kinds.get(rule) == "keep_role" for name in kept for rule in decision.promoted_by.get(name, ()))
        against, against_best = (self._compare(config, other, "kept") for other in (kept[0], best))
        return Dropped(config, kept, by_role, against, against_best)

    def _foretold(self, place: int) -> Foretold:
        """tau-b of a rung's order and the last one."""
        rung = self.ladder.rungs[place]
        ran = [name for name in rung.ranking if name in self.means]
        own = [float(mean) for name in ran if rung.evidence and (mean := rung.evidence.mean(name)) is not None]
        standing = [name for name in self._order_after(place) if name in self.means]
        tau, interval = _tau(own, [float(self.means[name]) for name in ran])
        whole, around = _tau(list(map(float, range(len(standing)))), [float(self.means[name]) for name in standing])
        return Foretold(rung.name, len(ran), tau, interval, len(standing), whole, around)

    def _order_after(self, place: int) -> list[str]:
        """Everybody as the ladder has ordered them after a rung: its ranking, then that of those stopped before."""
        order: list[str] = []
        for rung in reversed(self.ladder.rungs[: place + 1]):
            order += [name for name in rung.ranking if name not in order]
        return order

    def _text(
        self,
        choice: str | None,
        best: str | None,
        regret: Fraction | None,
        unknown: Sequence[str],
        gates: Sequence[GateHindsight],
    ) -> str:
        """One line of it."""
        if choice is None or best is None or regret is None:
            return "the ladder chose nobody, so nothing can be regretted"
        among = f"of {formatting.count(len(self.means), 'configuration')} at {self.last.name}"
        tail = f"; {formatting.count(len(unknown), 'other')} not known" if unknown else ""
        if regret == 0:
            return f"the ladder chose the best {among}{tail}; {_dropped_text(gates)}"
        return f"{among}, {best} is better than the ladder's choice by {float(regret):.4f}{tail}"


def _dropped_text(gates: Sequence[GateHindsight]) -> str:
    """How many of those stopped beat one that their gate kept on merit, and how many only what a role kept."""
    better = [row for gate in gates for row in gate.better]
    if not better:
        return "no gate dropped a better one"
    only_role = sum(row.by_role for row in better)
    merit = len(better) - only_role
    text = f"of the {sum(gate.dropped for gate in gates)} it stopped, {merit or 'none'} "
    text += f"{'were' if merit > 1 else 'was'} better than what it kept on merit"
    if not only_role:
        return text
    others = ("1 other" if only_role == 1 else f"{only_role} others") if merit else str(only_role)
    return f"{text}; {others} beat only what a role kept"


def _tau(first: list[float], second: list[float]) -> tuple[float | None, tuple[float, float] | None]:
    """tau-b and its interval."""
    tau = tau_b(first, second)
    ends = None if tau is None else pairs.interval(first, second, LEVEL)
    return tau, (ends[0], ends[1]) if ends else None


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
