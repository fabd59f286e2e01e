"""The frozen rules over many tables of scores at once: what `decide` would say of each, as arrays.

`decide` takes milliseconds, and thousands of redraws would take minutes. Scores are whole millionths of val_bpb here,
so every comparison is exact, as that of the judge is. Rules that read no score (who ran where, by which runner) are
answered once by the judge itself. A property test holds this module equal to `stages.domain.decision.decide`.

Shapes: R tables, C candidates in the order of their names, H hosts, S seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.domain import rules as r
from stages.domain.evidence import Evidence, tau_b
from stages.domain.judge import judge_rules

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
#: Answers of a rule: 1 it holds, 0 it does not, -1 it cannot be evaluated.
Answers = NDArray[np.int8]

MILLION = 10**6
#: Larger than any sum of scores: what an unranked candidate has in a comparison.
NEVER = np.int64(1) << 60
#: With more candidates than this, hosts are compared table by table.
MOST_PAIRWISE = 64
#: Rules that read no score and speak of each candidate for itself.
LOCAL = (
    "complete_cells",
    "fixed_runner",
    "fixed_data",
    "fresh_seeds",
    "diverged",
    "failed",
    "keep_role",
    "budget_kept",
)


@dataclass(frozen=True)
class Judged:
    """What the rules say of R tables. `leader` is a place among the candidates, -1 where nobody is ranked."""

    promoted: Bools
    blocked: Bools
    verdicts: dict[str, Answers]
    leader: Ints


class BatchJudge:
    """The rules of one gate, ready to judge tables of scores that stand in place of the recorded ones."""

    def __init__(self, evidence: Evidence) -> None:
        contract = evidence.contract
        self.names, self.hosts, self.seeds = evidence.candidates, tuple(contract.hosts), contract.seeds
        self.roles, self.rules = contract.roles, r.in_order(evidence.rules)
        self.place = {name: place for place, name in enumerate(self.names)}
        shape = (len(self.names), len(self.hosts), len(self.seeds))
        self.scores = np.zeros(shape, dtype=np.int64)
        self.known = np.zeros(shape, dtype=np.bool_)
        for name, table in evidence.scores.items():
            for (host, seed), value in table.items():
                cell = self.place[name], self.hosts.index(host), self.seeds.index(seed)
                self.scores[cell], self.known[cell] = int(value * MILLION), True
        self.whole_on: Bools = np.asarray(self.known.all(axis=2))
        self.whole: Bools = np.asarray(self.whole_on.all(axis=1))
        #: Fewer millionths than this between two scores are a tie.
        self.step = max(1, ceil(evidence.resolution * MILLION))
        self._found = judge_rules(evidence)
        self._environments = _environments(evidence)
        self.floors = [evidence.noise_floor(host) for host in self.hosts]

    def judge(self, scores: Ints, there: Bools | None = None, rules: Mapping[str, r.Rule] | None = None) -> Judged:
        """The decisions over `scores` (R, C, H, S); `there` (R, C) says who is a candidate, else everybody is.

        `rules` stand in place of those of the same ids: other numbers of the same kinds.
        """
        in_force = [(rule_id, (rules or {}).get(rule_id, rule)) for rule_id, rule in self.rules]
        if there is None:
            there = np.ones(scores.shape[:2], dtype=np.bool_)
        table = _Table(self, scores, there, [rule for _, rule in in_force])
        promoted, kept, stopped = (np.zeros(there.shape, dtype=np.bool_) for _ in range(3))
        blocked = np.zeros(len(there), dtype=np.bool_)
        verdicts: dict[str, Answers] = {}
        for rule_id, rule in in_force:
            answers = table.answer(rule_id, rule)
            effect = r.EFFECTS[rule.kind]
            if effect == "require":
                blocked |= answers != 1
            elif effect == "verdict":
                verdicts[rule_id] = answers
            elif effect == "promote":
                promoted |= answers == 1
                if rule.kind == "keep_role":
                    kept |= answers == 1
            else:
                stopped |= answers != 0
        promoted &= (kept | ~stopped) & there & ~blocked[:, None]
        return Judged(promoted, blocked, verdicts, table.leader())

    def local(self, rule_id: str) -> Answers:
        """The judge's answers of a rule that reads no score, by candidate (C,)."""
        answers = np.full(len(self.names), -1, dtype=np.int8)
        for finding in self._found[rule_id]:
            answers[self.place[finding.candidate]] = _code(finding.holds)
        return answers

    def environments_agree(self, there: Bools) -> Answers:
        """fixed_environment for every set of candidates (R,)."""
        has, silent, ran, floor_has, floor_silent, floor_ran = self._environments
        who = there.astype(np.int64)
        seen = (np.einsum("rc,che->rhe", who, has) + floor_has) > 0
        blank = (np.einsum("rc,ch->rh", who, silent) + floor_silent) > 0
        some = (np.einsum("rc,ch->rh", who, ran) + floor_ran) > 0
        good = some & ~blank & (seen.sum(axis=2) <= 1)
        answers: Answers = good.all(axis=1).astype(np.int8)
        return answers


def _code(holds: bool | None) -> int:
    return -1 if holds is None else int(holds)


def _environments(evidence: Evidence) -> tuple[Ints, ...]:
    """Which environments each candidate's runs report by host, whether one reports none, whether there is any run."""
    hosts, place = tuple(evidence.contract.hosts), {name: n for n, name in enumerate(evidence.candidates)}
    runs = [(place[name], cell[0], run) for (name, cell), run in evidence.runs.items()]
    runs += [(len(place), run.host, run) for run in evidence.floor if run.host in hosts]
    kinds: dict[tuple[tuple[str, str], ...], int] = {}
    for _, _, run in runs:
        if run.environment:
            kinds.setdefault(tuple(sorted(run.environment.items())), len(kinds))
    shape = (len(place) + 1, len(hosts))
    has = np.zeros((*shape, max(1, len(kinds))), dtype=np.int64)
    silent, ran = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for who, host, run in runs:
        at = who, hosts.index(host)
        ran[at] += 1
        if run.environment:
            has[(*at, kinds[tuple(sorted(run.environment.items()))])] = 1
        else:
            silent[at] += 1
    return has[:-1], silent[:-1], ran[:-1], has[-1], silent[-1], ran[-1]


def _exact(number: float) -> Fraction:
    """A threshold as it was written, which is how the judge reads it."""
    return Fraction(repr(number))


def _limit(threshold: float, cells: int) -> int:
    """The largest difference of two sums over `cells` millionths that a threshold on their means allows."""
    return int(_exact(threshold) * MILLION * cells // 1)


class _Table:
    """R tables of scores under judgement."""

    def __init__(self, judge: BatchJudge, scores: Ints, there: Bools, rules: Sequence[r.Rule]) -> None:
        self.judge, self.scores, self.there, self.rules = judge, scores, there, rules
        self.by_host: Ints = scores.sum(axis=3)
        self.sums: Ints = self.by_host.sum(axis=2)
        self.ranked: Bools = there & judge.whole

    def leader(self) -> Ints:
        """Who has the lowest mean, the first by name of several."""
        sums = np.where(self.ranked, self.sums, NEVER)
        return np.where(self.ranked.any(axis=1), sums.argmin(axis=1), -1)

    def answer(self, rule_id: str, rule: r.Rule) -> Answers:
        """The rule's answers: (R, C) where it speaks of candidates, (R,) of the gate or of a verdict."""
        if rule.kind in LOCAL:
            local = self.judge.local(rule_id)
            if r.EFFECTS[rule.kind] != "require":
                return np.broadcast_to(local, self.there.shape)
            bad = (self.there & (local != 1)).any(axis=1)
            answers: Answers = (self.there.any(axis=1) & ~bad).astype(np.int8)
            return answers
        return _SCORED[rule.kind](self, rule_id, rule)

    def above_noise_floor(self, rule_id: str, rule: r.AboveNoiseFloor) -> Answers:
        """The smallest threshold against the recorded A/A runs, compared as squares like the judge does."""
        thresholds = [_exact(number) for number in map(r.threshold_in_bpb, self.rules) if number is not None]
        limit = _exact(rule.multiple) ** 2
        good = not thresholds or all(
            floor is not None and min(thresholds) ** 2 >= limit * floor[1] for floor in self.judge.floors
        )
        return np.full(len(self.there), good, dtype=np.int8)

    def fixed_environment(self, rule_id: str, rule: r.FixedEnvironment) -> Answers:
        """Reads who is there, and no score."""
        return self.judge.environments_agree(self.there)

    def min_host_agreement(self, rule_id: str, rule: r.MinHostAgreement) -> Answers:
        """tau-b over the candidates that are ranked on every host, for every pair of hosts."""
        if len(self.judge.hosts) < 2:
            return np.full(len(self.there), -1, dtype=np.int8)
        compare = self._taus_one_by_one if len(self.judge.names) > MOST_PAIRWISE else self._taus
        good = np.ones(len(self.there), dtype=np.bool_)
        for first, second in combinations(range(len(self.judge.hosts)), 2):
            good &= compare(first, second) >= rule.tau  # false where there is no order, which is NaN
        return good.astype(np.int8)

    def _taus(self, host: int, other: int) -> Floats:
        """All tables at once, in scipy's own order of operations and rounded like `evidence.tau_b`."""
        both = self.ranked[:, :, None] & self.ranked[:, None, :]
        first, second = (
            np.sign(self.by_host[:, :, None, at] - self.by_host[:, None, :, at]) * both for at in (host, other)
        )
        order = (first * second).sum(axis=(1, 2)) // 2
        untied = [np.abs(sign).sum(axis=(1, 2)) // 2 for sign in (first, second)]
        with np.errstate(invalid="ignore", divide="ignore"):
            taus: Floats = np.clip(order / np.sqrt(untied[0]) / np.sqrt(untied[1]), -1.0, 1.0)
        return np.round(taus, 9)

    def _taus_one_by_one(self, host: int, other: int) -> Floats:
        """Each table by scipy, whose sort beats all pairs where there are many candidates."""
        sums = self.by_host.astype(np.float64)
        taus = [tau_b(row[who, host], row[who, other]) for row, who in zip(sums, self.ranked, strict=True)]
        return np.array([np.nan if tau is None else tau for tau in taus])

    def top_k(self, rule_id: str, rule: r.TopK) -> Answers:
        """Ties break by name, which is the order of the candidates: a stable sort keeps it."""
        if rule.by == "each_host":
            keys = [(self.by_host[:, :, at], self.there & self.judge.whole_on[:, at]) for at in range(self._hosts)]
        else:
            keys = [(self._values(rule.by), self.ranked)]
        answers = np.full(self.there.shape, -1, dtype=np.int8)
        for values, ranked in keys:
            order = np.where(ranked, values, NEVER).argsort(axis=1, kind="stable")
            inside = np.zeros(ranked.shape, dtype=np.bool_)
            np.put_along_axis(inside, order[:, : rule.k], True, axis=1)
            answers = np.maximum(answers, np.where(ranked, inside, -1).astype(np.int8))
        return answers

    def within_gap(self, rule_id: str, rule: r.WithinGap) -> Answers:
        """At most the gap above the base."""
        return self._gap(rule, inside=1)

    def exceeds_gap(self, rule_id: str, rule: r.ExceedsGap) -> Answers:
        """More than the gap above the base."""
        return self._gap(rule, inside=0)

    def first_in_all_cells(self, rule_id: str, rule: r.FirstInAllCells) -> Answers:
        """Strictly the lowest in every cell, of all who are there."""
        at = self.judge.place.get(self.judge.roles[rule.role])
        if at is None:
            return np.full(len(self.there), -1, dtype=np.int8)
        others = self.there.copy()
        others[:, at] = False
        lower = (self.scores[:, at, None] + self.judge.step <= self.scores).all(axis=(2, 3))
        first = (lower | ~others).all(axis=1)
        whole = (self.judge.whole | ~self.there).all(axis=1) & self.ranked[:, at]
        return np.where(whole, first, -1).astype(np.int8)

    def near_equivalent(self, rule_id: str, rule: r.NearEquivalent) -> Answers:
        """The mean paired gap in either direction."""
        gap, known = self._paired(rule.role, rule.to)
        return np.where(known, np.abs(gap) <= _limit(rule.margin, self._cells), -1).astype(np.int8)

    def mean_gap(self, rule_id: str, rule: r.MeanGap) -> Answers:
        """The mean paired gap in one direction."""
        gap, known = self._paired(rule.role, rule.to)
        return np.where(known, gap <= _limit(rule.most, self._cells), -1).astype(np.int8)

    @property
    def _hosts(self) -> int:
        return len(self.judge.hosts)

    @property
    def _cells(self) -> int:
        return self._hosts * len(self.judge.seeds)

    def _values(self, by: str) -> Ints:
        return self.by_host.max(axis=2) if by == "worst_host" else self.sums

    def _gap(self, rule: r.WithinGap | r.ExceedsGap, inside: int) -> Answers:
        values = self._values(rule.by)
        if rule.of == "best":
            base = np.where(self.ranked, values, NEVER).min(axis=1)
            known: Bools = np.asarray(self.ranked.any(axis=1))
        else:
            at = self.judge.place.get(self.judge.roles[rule.of])
            if at is None:
                return np.full(self.there.shape, -1, dtype=np.int8)
            base, known = values[:, at], self.ranked[:, at]
        limit = _limit(rule.gap, len(self.judge.seeds) if rule.by == "worst_host" else self._cells)
        answers = np.where(values - base[:, None] <= limit, inside, 1 - inside)
        return np.where(self.ranked & known[:, None], answers, -1).astype(np.int8)

    def _paired(self, role: str, to: str) -> tuple[Ints, Bools]:
        places = [self.judge.place.get(self.judge.roles[name]) for name in (role, to)]
        if None in places:
            return np.zeros(len(self.there), dtype=np.int64), np.zeros(len(self.there), dtype=np.bool_)
        role_at, to_at = places
        return self.sums[:, role_at] - self.sums[:, to_at], self.ranked[:, role_at] & self.ranked[:, to_at]


_SCORED: dict[str, Callable[[_Table, str, Any], Answers]] = {
    "above_noise_floor": _Table.above_noise_floor,
    "fixed_environment": _Table.fixed_environment,
    "min_host_agreement": _Table.min_host_agreement,
    "top_k": _Table.top_k,
    "within_gap": _Table.within_gap,
    "exceeds_gap": _Table.exceeds_gap,
    "first_in_all_cells": _Table.first_in_all_cells,
    "near_equivalent": _Table.near_equivalent,
    "mean_gap": _Table.mean_gap,
}
