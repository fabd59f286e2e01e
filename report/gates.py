"""One gate as the pages see it: its lock, its decision, the runs of its rung, and the rules and roles that judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import inf, sqrt

from report.decisions import Flips, RulesByEffect, rules_that_count
from report.load import LedgerDecision, LedgerRun, LockFile, StudyFiles
from report.page import gate_page
from stages.domain import formatting, names
from stages.domain.decision import Decision, RankedCandidate
from stages.domain.evidence import Cell
from stages.domain.locks import Lock
from stages.domain.rules import Rule
from stages.domain.runs import runs_of
from stages.domain.study import Study

#: Below so many standard deviations of the A/A floor, luck could have decided.
LUCK = 2.0


@dataclass(frozen=True)
class NoiseScale:
    """The standard deviation of the A/A floor that distances are divided by, and the gate that measured it."""

    gate: str
    rung: str
    deviation: float


@dataclass(frozen=True, eq=False)
class GateView:
    """One gate. `before` is the gate that promoted its candidates; None at the first. `runs` are all lines of its rung,
    `ledger` all runs by their id."""

    study: Study
    rung: str
    before: GateView | None
    lock_file: LockFile | None
    entry: LedgerDecision | None
    runs: list[LedgerRun]
    ledger: Mapping[str, LedgerRun]

    @property
    def name(self) -> str:
        """gate1, gate2, ..."""
        return names.gate_of(self.rung)

    @property
    def title(self) -> str:
        """Gate 1, Gate 2, ..."""
        return formatting.gate_title(self.name)

    @property
    def rung_title(self) -> str:
        """Rung 1, Rung 2, ..."""
        return formatting.rung_title(self.rung)

    @property
    def page(self) -> str:
        """Where its page is, from the root of the site."""
        return gate_page(self.name)

    @property
    def lock(self) -> Lock | None:
        """Its frozen rules, or None where nothing is frozen."""
        return self.lock_file.lock if self.lock_file else None

    @property
    def decision(self) -> Decision | None:
        """Its decision, or None while there is none."""
        return self.entry.decision if self.entry else None

    @property
    def last(self) -> bool:
        """Whether it judges the last rung."""
        return self.rung == self.study.last_rung

    @property
    def final(self) -> bool:
        """Whether it gives the final verdicts: it is the last one and promotes no candidate."""
        return self.last and not (self.decision and self.decision.promoted)

    @property
    def blocked(self) -> bool:
        """Whether it has decided and is blocked."""
        return self.decision is not None and self.decision.blocked

    @property
    def what_if(self) -> bool:
        """Whether rules decided that are not frozen."""
        return self.decision is not None and self.decision.mode == "exploratory"

    @property
    def frozen_rules(self) -> Mapping[str, Rule]:
        """The rules of its lock, or those of params.yaml where nothing is frozen."""
        return self.lock.frozen.rules if self.lock else self.study.gates[self.name]

    @property
    def rules(self) -> Mapping[str, Rule]:
        """The rules that judged: those of the lock, or those of params.yaml in a what-if or where nothing is frozen.

        Where the lock is lost, params.yaml may by now lack a rule that the decision names: ask with `get`.
        """
        return self.study.gates[self.name] if self.what_if else self.frozen_rules

    @cached_property
    def roles(self) -> Mapping[str, str]:
        """The roles that the rules name. A what-if lays those of params.yaml over the frozen ones."""
        frozen = self.lock.frozen.roles if self.lock else {}
        return {**frozen, **self.study.roles} if self.lock is None or self.what_if else frozen

    @property
    def budget(self) -> float:
        """Seconds of every run of its rung."""
        return self.study.rungs[self.rung].budget_seconds

    @cached_property
    def cells(self) -> list[Cell]:
        """(host, seed) of every cell of its rung."""
        return list(self.study.cells(self.rung))

    @cached_property
    def executed(self) -> list[LedgerRun]:
        """The runs of its rung that trained something."""
        return [run for run in self.runs if run.record.executed]

    @cached_property
    def unrun(self) -> frozenset[str]:
        """Configurations that only a what-if promoted to its rung: recorded, and never trained."""
        return frozenset(run.record.config for run in self.runs if run.record.status == "unrun")

    @property
    def candidates(self) -> list[str] | None:
        """Who is judged, by name; None while the gate before has not decided."""
        if self.decision:
            return self.decision.candidates
        if self.before is None:
            return sorted(self.study.configs)
        return self.before.decision.promoted if self.before.decision else None

    @property
    def ranking(self) -> list[RankedCandidate]:
        """Its candidates with a full set of finished cells, best mean first; empty while it has not decided."""
        return self.decision.ranking if self.decision else []

    @cached_property
    def host_ranks(self) -> dict[str, dict[str, int]]:
        """By host block, the place of every ranked candidate by its mean there; one without a mean comes last."""
        ranks: dict[str, dict[str, int]] = {}
        for host in self.study.hosts:
            order = sorted((row.hosts.get(host, inf), row.config) for row in self.ranking)
            ranks[host] = {config: place for place, (_, config) in enumerate(order, start=1)}
        return ranks

    @property
    def leader(self) -> str | None:
        """The configuration with the lowest mean, or None without a ranked one."""
        return self.ranking[0].config if self.ranking else None

    @cached_property
    def rules_that_count(self) -> RulesByEffect:
        """By candidate and effect, the rules that count for or against it."""
        return rules_that_count(self.decision) if self.decision else {}

    @cached_property
    def flips(self) -> Flips:
        """How far every candidate is from the opposite outcome. Only for a gate that has decided."""
        assert self.decision is not None
        return Flips(self.decision, self.rules, self.roles)

    @cached_property
    def run_ids(self) -> list[str]:
        """Ids of the runs that its rung asks for, those of its A/A floor last. A what-if asks for none."""
        judged = {*(self.candidates or [])} - self.unrun
        runs = [
            run
            for run in runs_of(self.study, self.rung)
            if (self.candidates if run.purpose == "floor" else run.config in judged)
        ]
        return [run.id for run in sorted(runs, key=lambda run: (run.purpose == "floor", run.config))]

    @cached_property
    def missing(self) -> list[str]:
        """Ids of the runs that its rung asks for and the ledger has no executed record of."""
        return [run for run in self.run_ids if run not in self.ledger or not self.ledger[run].record.executed]

    @property
    def why_empty(self) -> str:
        """Why it has no candidates, in words; empty where it has some or they are not known yet."""
        if self.before is None or self.candidates != []:
            return ""
        if not self.before.blocked:
            return f"{self.before.title.lower()} promoted no candidate"
        return self.before.why_empty or f"{self.before.title.lower()} is blocked"

    @property
    def noise(self) -> NoiseScale | None:
        """Its own A/A floor, of the noisiest host; None where no host has one that is not zero."""
        floors = self.decision.floor.values() if self.decision else ()
        deviation = max((sqrt(floor.variance) for floor in floors), default=0.0)
        return NoiseScale(self.name, self.rung, deviation) if deviation else None

    def run(self, config: str, cell: Cell) -> LedgerRun | None:
        """The run of a candidate in a cell, whatever became of it."""
        return self.ledger.get(names.run_id(self.rung, config, *cell))


def view_gates(files: StudyFiles) -> dict[str, GateView]:
    """Every gate of the study by name, in order."""
    gates: dict[str, GateView] = {}
    before = None
    for rung in files.study.rungs:
        name = names.gate_of(rung)
        lock, entry = files.locks.get(name), files.decisions.get(name)
        before = GateView(files.study, rung, before, lock, entry, files.runs_of(rung), files.runs)
        gates[name] = before
    return gates


def nearest_noise(gates: Mapping[str, GateView], gate: str) -> NoiseScale | None:
    """The A/A floor that a gate's numbers can be held against: its own, or that of the nearest gate that has one.

    Of two as near, the earlier.
    """
    order = list(gates)
    near = sorted(order, key=lambda other: abs(order.index(other) - order.index(gate)))
    return next((noise for other in near if (noise := gates[other].noise)), None)


@dataclass(frozen=True)
class Lead:
    """Whose the lowest mean is. `gap` is the distance in val_bpb to the second, and None where there is no second;
    `noise` is `gap` in standard deviations of the A/A floor of `floor`, and None where none was measured."""

    first: str
    mean: float
    second: str | None = None
    gap: float | None = None
    #: Who has the same mean; the order between them is that of their names.
    equals: tuple[str, ...] = ()
    noise: float | None = None
    floor: str = ""

    @property
    def clear(self) -> bool:
        """Whether nothing that was measured says that luck could have decided."""
        return not self.equals and (self.noise is None or self.noise >= LUCK)

    def state(self, config: str) -> str:
        """What a ranked candidate of the last gate is called: the first is the winner only where the lead is clear."""
        if self.equals and config in (self.first, *self.equals):
            return "tied"
        return "finalist" if config != self.first else "winner" if self.clear else "leader"

    @property
    def verb(self) -> str:
        """What its holder does, as a sentence says it."""
        if self.equals:
            return f"ties with {formatting.listed(list(self.equals))}"
        return "wins" if self.clear else "leads, within noise"


def find_lead(gates: Mapping[str, GateView]) -> Lead | None:
    """The lead at the last rung; None while its gate is undecided or blocked, or ranks no candidate."""
    gate = gates[list(gates)[-1]]
    if gate.blocked or not gate.ranking:
        return None
    best, *others = gate.ranking
    if not others:
        return Lead(best.config, best.mean)
    gap, noise = others[0].mean - best.mean, nearest_noise(gates, gate.name)
    return Lead(
        best.config,
        best.mean,
        others[0].config,
        gap,
        tuple(row.config for row in others if row.mean == best.mean),
        gap / noise.deviation if noise else None,
        noise.rung if noise else "",
    )
