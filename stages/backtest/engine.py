"""Evaluates the rules of a gate for many ladders at once: `stages.domain.judge` vectorised, in exact whole numbers.

    answers = judge_gate(rules, cells)
    outcome = decide_gate(rules, cells)

Arrays are ladder x configuration. Configurations are sorted by name, so that ties break by name. An answer is HOLDS,
FAILS, UNKNOWN (the rule cannot be evaluated, which is never a pass) or SILENT (the rule does not apply to this
candidate). A property test compares every answer and promotion with `stages.domain.decision.decide`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.backtest.curves import ABSENT, DIVERGED, FAILED, FINISHED, SCALE
from stages.domain import rules as r

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Answers = NDArray[np.int8]
    Ints = NDArray[np.int64]

HOLDS, FAILS, UNKNOWN, SILENT = 1, 0, -1, -2
#: Behind every value that a configuration can have.
LAST = np.iinfo(np.int64).max
#: Deviations beyond this, in millionths, are squared as floats: they are far above any threshold.
EXACT_SQUARES = 1 << 27

#: What a rule needs that learning curves do not hold.
NOT_IN_CURVES = {
    "fixed_runner": "curves do not say which runner made them",
    "fixed_data": "curves do not say on which data they were made",
    "fixed_environment": "curves do not say in which environment they were made",
    "budget_kept": "curves do not say how long a run took",
}


@dataclass(frozen=True)
class Cells:
    """The evidence of one gate in many ladders. Scores are millionths, lower is better.

    `scores` and `state` are ladder x configuration x host x seed; `state` None means that every run finished.
    `candidates` is ladder x configuration. `floor` is ladder x host x A/A run of the reference, or None. `fresh`: no
    run was seen before.
    """

    scores: Ints
    candidates: Bools
    roles: Mapping[str, int]
    state: NDArray[np.int8] | None = None
    floor: Ints | None = None
    fresh: bool = True

    @property
    def cell_count(self) -> int:
        """Declared cells: hosts x seeds."""
        return int(self.scores.shape[2] * self.scores.shape[3])

    @cached_property
    def host_known(self) -> Bools:
        """ladder x configuration x host: every run there finished, and the configuration is a candidate."""
        if self.state is None:
            return np.broadcast_to(self.candidates[:, :, None], self.scores.shape[:3])
        return np.asarray((self.state == FINISHED).all(axis=3) & self.candidates[:, :, None])

    @cached_property
    def known(self) -> Bools:
        """ladder x configuration: every run finished, and the configuration is a candidate."""
        return self.candidates if self.state is None else np.asarray(self.host_known.all(axis=2))

    @cached_property
    def host_sums(self) -> Ints:
        """ladder x configuration x host: the sum over seeds."""
        return np.asarray(self.scores[..., 0] if self.scores.shape[3] == 1 else self.scores.sum(axis=3))

    @cached_property
    def sums(self) -> Ints:
        """ladder x configuration: the sum over all cells."""
        return np.asarray(self.host_sums[..., 0] if self.host_sums.shape[2] == 1 else self.host_sums.sum(axis=2))

    @cached_property
    def worst(self) -> Ints:
        """ladder x configuration: the sum of the worst host."""
        return np.asarray(self.host_sums.max(axis=2))

    def standing(self, by: str) -> tuple[Ints, int]:
        """What a rule orders by, and how many cells it sums."""
        return (self.worst, self.scores.shape[3]) if by == "worst_host" else (self.sums, self.cell_count)


@dataclass(frozen=True)
class GateOutcomes:
    """What became of one gate in many ladders."""

    blocked: Bools
    promoted: Bools
    answers: dict[str, Answers]
    #: Rules that have no answer here, and why; their requirement is taken as met.
    left_out: dict[str, str]


def ordered(sums: Ints, known: Bools) -> Ints:
    """Keys without ties: by value, then by name; `LAST` where there is no value."""
    many = sums.shape[1]
    return np.where(known, sums * many + np.arange(many), LAST)


def among_best(keys: Ints, k: int) -> Bools:
    """Whether a key is among the k smallest of its ladder. `keys` holds no ties but `LAST`."""
    many = keys.shape[1]
    if k >= many:
        return np.asarray(keys < LAST)
    edge = keys.min(axis=1, keepdims=True) if k == 1 else np.partition(keys, k - 1, axis=1)[:, k - 1 : k]
    return np.asarray((keys <= edge) & (keys < LAST))


def leader(cells: Cells) -> Ints:
    """The configuration with the lowest mean in each ladder, ties by name; -1 where none has a full set of cells."""
    keys = ordered(cells.sums, cells.known)
    best = keys.argmin(axis=1)
    return np.where(keys[np.arange(len(best)), best] < LAST, best, -1)


def _of_candidates(holds: Bools, cells: Cells, known: Bools | None = None) -> Answers:
    answer = np.where(holds, HOLDS, FAILS).astype(np.int8)
    if known is not None:
        answer[~known] = UNKNOWN
    answer[~cells.candidates] = SILENT
    return answer


def _of_role(holds: Any, known: Any) -> Answers:
    answer = np.where(holds, HOLDS, FAILS).astype(np.int8)
    answer[~known] = UNKNOWN
    return answer[:, None]


def _limit(threshold: float, cell_count: int) -> int:
    """The largest sum of so many cells, in millionths, that is at most the threshold: exact."""
    return floor(Fraction(repr(threshold)) * cell_count * SCALE)


def complete_cells(rule: r.CompleteCells, cells: Cells) -> Answers:
    """Every declared cell has a run."""
    if cells.state is None:
        return _of_candidates(cells.candidates, cells)
    return _of_candidates(np.asarray((cells.state != ABSENT).all(axis=(2, 3))), cells)


def fresh_seeds(rule: r.FreshSeeds, cells: Cells) -> Answers:
    """Whether runs are drawn anew at every rung. The A/A runs of the reference always are."""
    if cells.state is None:
        return _of_candidates(np.full_like(cells.candidates, cells.fresh), cells)
    executed = np.asarray((cells.state != ABSENT).any(axis=(2, 3)))
    known, holds = executed.copy(), ~executed | cells.fresh
    if cells.floor is not None and cells.roles.get("reference", -1) >= 0:
        known[:, cells.roles["reference"]] = True
    return _of_candidates(holds, cells, known)


def above_noise_floor(rule: r.AboveNoiseFloor, cells: Cells, gate: Mapping[str, r.Rule]) -> Answers:
    """The gate's smallest threshold against the standard deviation of the A/A runs, as exact squares."""
    thresholds = [t for t in map(r.threshold_in_bpb, gate.values()) if t is not None]
    ladders = cells.scores.shape[0]
    if not thresholds:
        return np.full((ladders, 1), HOLDS, dtype=np.int8)
    if cells.floor is None or cells.floor.shape[2] < 2:
        return np.full((ladders, cells.scores.shape[2]), UNKNOWN, dtype=np.int8)
    runs = cells.floor.shape[2]
    smallest, multiple = Fraction(repr(min(thresholds))), Fraction(repr(rule.multiple))
    limit = floor(smallest**2 * SCALE**2 * runs * (runs - 1) / multiple**2)
    deviations = cells.floor - cells.floor[:, :, :1]
    squares: Any = deviations if np.abs(deviations).max(initial=0) < EXACT_SQUARES else deviations.astype(np.float64)
    spread = runs * (squares**2).sum(axis=2) - squares.sum(axis=2) ** 2
    return np.where(spread <= limit, HOLDS, FAILS).astype(np.int8)


def min_host_agreement(rule: r.MinHostAgreement, cells: Cells) -> Answers:
    """Kendall's tau-b between every two hosts' means, rounded as `stages.domain` rounds it."""
    hosts = cells.host_sums.shape[2]
    if hosts < 2:
        return np.full((len(cells.candidates), 1), UNKNOWN, dtype=np.int8)
    whole = np.asarray(cells.host_known.all(axis=2))
    taus = [
        tau_b(cells.host_sums[..., host], cells.host_sums[..., other], whole)
        for host, other in combinations(range(hosts), 2)
    ]
    answers = [np.where(np.isnan(tau), UNKNOWN, np.where(tau >= rule.tau, HOLDS, FAILS)) for tau in taus]
    return np.stack(answers, axis=1).astype(np.int8)


def tau_b(first: Ints, second: Ints, known: Bools) -> NDArray[np.float64]:
    """Kendall's tau-b of two standings in each ladder, rounded to nine decimals; NaN where fewer than two differ."""
    many = first.shape[1]
    net = np.zeros(len(first), dtype=np.int64)
    pairs, ties_first, ties_second = net.copy(), net.copy(), net.copy()
    for n in range(many - 1):
        both = known[:, n : n + 1] & known[:, n + 1 :]
        a = np.sign(first[:, n + 1 :] - first[:, n : n + 1])
        b = np.sign(second[:, n + 1 :] - second[:, n : n + 1])
        net += np.where(both, a * b, 0).sum(axis=1)
        pairs += both.sum(axis=1)
        ties_first += (both & (a == 0)).sum(axis=1)
        ties_second += (both & (b == 0)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        tau = net / np.sqrt(pairs - ties_first) / np.sqrt(pairs - ties_second)
    empty = (pairs == ties_first) | (pairs == ties_second)
    return np.where(empty, np.nan, np.round(np.clip(tau, -1, 1), 9) + 0.0)


def keep_role(rule: r.KeepRole, cells: Cells) -> Answers:
    """Holds for the configuration in the role alone."""
    holds = np.zeros_like(cells.candidates)
    if cells.roles[rule.role] >= 0:
        holds[:, cells.roles[rule.role]] = True
    return _of_candidates(holds, cells)


def top_k(rule: r.TopK, cells: Cells) -> Answers:
    """Among the best k by mean, on the worst host, or on any one host."""
    if rule.by == "each_host":
        hosts = range(cells.host_sums.shape[2])
        tables = [among_best(ordered(cells.host_sums[..., h], cells.host_known[..., h]), rule.k) for h in hosts]
        return _of_candidates(np.any(tables, axis=0), cells, np.asarray(cells.host_known.any(axis=2)))
    sums, _ = cells.standing(rule.by)
    return _of_candidates(among_best(ordered(sums, cells.known), rule.k), cells, cells.known)


def _gaps(rule: r.WithinGap | r.ExceedsGap, cells: Cells) -> tuple[Bools, Bools]:
    """(whether the gap is at most the threshold, whether it is known)."""
    sums, summed = cells.standing(rule.by)
    if rule.of == "best":
        base = np.where(cells.known, sums, LAST).min(axis=1)
        base_known = np.asarray(cells.known.any(axis=1))
    else:
        place = cells.roles[rule.of]
        base = sums[:, place] if place >= 0 else np.zeros(len(sums), dtype=np.int64)
        base_known = cells.known[:, place] if place >= 0 else np.zeros(len(sums), dtype=np.bool_)
    base = np.where(base_known, base, 0)
    known = cells.known & base_known[:, None]
    return np.asarray(sums - base[:, None] <= _limit(rule.gap, summed)), known


def within_gap(rule: r.WithinGap, cells: Cells) -> Answers:
    """At most the gap above the best or the role."""
    inside, known = _gaps(rule, cells)
    return _of_candidates(inside, cells, known)


def exceeds_gap(rule: r.ExceedsGap, cells: Cells) -> Answers:
    """More than the gap above the best or the role."""
    inside, known = _gaps(rule, cells)
    return _of_candidates(~inside, cells, known)


def _with_state(state: int, cells: Cells) -> Answers:
    if cells.state is None:
        return _of_candidates(np.zeros_like(cells.candidates), cells)
    executed = np.asarray((cells.state != ABSENT).any(axis=(2, 3)))
    return _of_candidates(np.asarray((cells.state == state).any(axis=(2, 3))), cells, executed)


def diverged(rule: r.Diverged, cells: Cells) -> Answers:
    """At least one run diverged."""
    return _with_state(DIVERGED, cells)


def failed(rule: r.Failed, cells: Cells) -> Answers:
    """At least one run failed."""
    return _with_state(FAILED, cells)


def _mean_of(place: int, cells: Cells) -> tuple[Ints, Bools]:
    """(sum over the cells, whether it is known) of the configuration in a role."""
    if place < 0:
        return np.zeros(len(cells.candidates), dtype=np.int64), np.zeros(len(cells.candidates), dtype=np.bool_)
    return cells.sums[:, place], cells.known[:, place]


def first_in_all_cells(rule: r.FirstInAllCells, cells: Cells) -> Answers:
    """The role is strictly lowest in every cell."""
    place = cells.roles[rule.role]
    if place < 0:
        return np.full((len(cells.candidates), 1), UNKNOWN, dtype=np.int8)
    known = np.asarray(cells.candidates[:, place] & (cells.known | ~cells.candidates).all(axis=1))
    others = cells.candidates.copy()
    others[:, place] = False
    below = np.asarray((cells.scores[:, place : place + 1] < cells.scores).all(axis=(2, 3))) | ~others
    return _of_role(np.asarray(below.all(axis=1)), known)


def _paired_gap(role: str, to: str, cells: Cells) -> tuple[Ints, Bools]:
    (first, first_known), (second, second_known) = (_mean_of(cells.roles[name], cells) for name in (role, to))
    return first - second, first_known & second_known


def near_equivalent(rule: r.NearEquivalent, cells: Cells) -> Answers:
    """The mean paired gap is at most the margin, in either direction."""
    gap, known = _paired_gap(rule.role, rule.to, cells)
    return _of_role(np.abs(gap) <= _limit(rule.margin, cells.cell_count), known)


def mean_gap(rule: r.MeanGap, cells: Cells) -> Answers:
    """The mean paired gap is at most the threshold."""
    gap, known = _paired_gap(rule.role, rule.to, cells)
    return _of_role(gap <= _limit(rule.most, cells.cell_count), known)


_KINDS: dict[str, Callable[[Any, Cells], Any]] = {
    function.__name__: function
    for function in (
        complete_cells,
        fresh_seeds,
        min_host_agreement,
        keep_role,
        top_k,
        within_gap,
        exceeds_gap,
        diverged,
        failed,
        first_in_all_cells,
        near_equivalent,
        mean_gap,
    )
}


def left_out(gate: Mapping[str, r.Rule], hosts: int, has_floor: bool) -> dict[str, str]:
    """The rules of a gate that such evidence cannot answer, by id, with the reason."""
    reasons: dict[str, str] = {}
    for rule_id, rule in r.in_order(gate):
        if rule.kind in NOT_IN_CURVES:
            reasons[rule_id] = NOT_IN_CURVES[rule.kind]
        elif rule.kind == "min_host_agreement" and hosts < 2:
            reasons[rule_id] = "there is one block of runs only"
        elif rule.kind == "above_noise_floor" and not has_floor:
            reasons[rule_id] = "no A/A runs are declared for this rung"
    return reasons


def judge_gate(gate: Mapping[str, r.Rule], cells: Cells, skip: Mapping[str, str] | None = None) -> dict[str, Answers]:
    """What every rule says, by rule id, but for those in `skip`."""
    answers: dict[str, Answers] = {}
    for rule_id, rule in r.in_order(gate):
        if skip and rule_id in skip:
            continue
        if isinstance(rule, r.AboveNoiseFloor):
            answers[rule_id] = above_noise_floor(rule, cells, gate)
        else:
            answers[rule_id] = _KINDS[rule.kind](rule, cells)
    return answers


def decide_gate(gate: Mapping[str, r.Rule], cells: Cells, skip: Mapping[str, str] | None = None) -> GateOutcomes:
    """Who goes on in each ladder: one promote rule is enough, a stop rule wins, but not over a kept role."""
    answers = judge_gate(gate, cells, skip)
    shape = cells.candidates.shape
    blocked = np.zeros(shape[0], dtype=np.bool_)
    promoted, stopped, kept = (np.zeros(shape, dtype=np.bool_) for _ in range(3))
    somebody = cells.candidates.any(axis=1)
    for rule_id, answer in answers.items():
        rule = gate[rule_id]
        effect = r.EFFECTS[rule.kind]
        if effect == "require":
            blocked |= ~((answer == HOLDS) | (answer == SILENT)).all(axis=1)
            if rule.kind in (
                "complete_cells",
                "fresh_seeds",
            ):  # they speak of each candidate: of none, they say nothing
                blocked |= ~somebody
        elif effect == "promote":
            promoted |= answer == HOLDS
            if rule.kind == "keep_role":
                kept |= answer == HOLDS
        elif effect == "stop":
            stopped |= (answer == HOLDS) | (answer == UNKNOWN)
    promoted &= (kept | ~stopped) & cells.candidates & ~blocked[:, None]
    return GateOutcomes(blocked, promoted, answers, dict(skip or {}))
