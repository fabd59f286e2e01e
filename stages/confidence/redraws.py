"""Redraws: had the same gates been decided by fresh seeds, how often would they have decided otherwise?

Each of COUNT redraws draws

    1. a level of noise that fits the measured one (scaled inverse chi-square with its degrees of freedom),
    2. a true mean for every candidate and host, around the observed one (noise / seeds),
    3. fresh cells around these means (noise), the hosts of one seed together,

and judges them by the frozen rules. Steps 2 and 3 are both needed: the observed means are one draw themselves, and a
repetition would be another. So a share is the probability that a repetition decides otherwise, given no other knowledge
of the means. The A/A runs and whatever reads no score stay as recorded; a cell that did not finish stays unfinished.

The stream is numpy's `RandomState`, which numpy keeps as it is for all versions, so the bytes of the shares last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from stages.confidence.batch import MILLION, MOST_PAIRWISE, BatchJudge, Bools, Ints, Judged
from stages.confidence.gates import DecidedGate
from stages.confidence.results import Noise, Redraws, Winner

COUNT = 2_000
SEED = 2606_11387
#: So many numbers are held at once, 8 bytes each and a few times over: scores, or pairs of them.
MOST_SCORES = 8_000_000

Float = NDArray[np.float64]


@dataclass(frozen=True)
class RedrawnGate:
    """A gate with its judge and the noise by which it is drawn again; with no noise known its scores stay put."""

    gate: DecidedGate
    judge: BatchJudge
    noise: Noise

    @classmethod
    def of(cls, gate: DecidedGate, noise: Noise) -> RedrawnGate:
        """The gate, ready to be redrawn."""
        return cls(gate, BatchJudge(gate.evidence), noise)

    def batches(self, count: int) -> Iterator[int]:
        """The sizes of batches that fit in memory and add up to `count`."""
        most = max(1, MOST_SCORES // (max(1, self.judge.scores.size) * min(len(self.judge.names), MOST_PAIRWISE)))
        for start in range(0, count, most):
            yield min(most, count - start)

    def draw(self, random: np.random.RandomState, count: int) -> Ints:
        """Fresh scores (R, C, H, S) in millionths."""
        scores = self.judge.scores
        if not self.noise.known:
            return np.broadcast_to(scores, (count, *scores.shape))
        candidates, hosts, seeds = scores.shape
        level = np.sqrt(self.noise.df / random.chisquare(self.noise.df, size=count))[:, None, None, None]
        root = factor(np.array(self.noise.covariance)) * MILLION
        means = random.standard_normal((count, candidates, 1, hosts)) @ root.T / seeds**0.5
        cells = random.standard_normal((count, candidates, seeds, hosts)) @ root.T
        drawn = scores.mean(axis=2)[None, :, :, None] + (level * (means + cells)).swapaxes(2, 3)
        fresh: Ints = np.maximum(np.rint(drawn).astype(np.int64), 0)
        return fresh


def factor(covariance: Float) -> Float:
    """A matrix L with L Lᵀ = covariance, lower triangular and so the same one everywhere.

    A covariance that was measured with fewer degrees of freedom than hosts is singular: a trillionth of its trace on
    the diagonal lets it be factored, and is far below the sixth decimal of a score.
    """
    ridge = np.trace(covariance) * 1e-12
    if ridge == 0:
        return np.zeros_like(covariance)
    lower: Float = np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))
    return lower


def gate_redraws(redrawn: RedrawnGate, count: int = COUNT) -> Redraws | None:
    """The shares of one gate, with the candidates that it had; None where no noise was measured.

    The outcome of a candidate is whether it goes on; at the last gate, which has nowhere to
    promote to, whether it comes first.
    """
    if not redrawn.noise.known:
        return None
    judge, fates = redrawn.judge, redrawn.gate.fates
    random = np.random.RandomState(SEED + int(redrawn.gate.name.removeprefix("gate")))
    promoted = np.array([name in fates.promoted for name in judge.names], dtype=np.bool_)
    leader = judge.place[fates.leader] if fates.leader is not None else -1
    places = np.arange(len(judge.names))
    flips = np.zeros(len(judge.names), dtype=np.int64)
    same_set = same_leader = same_verdicts = blocked = 0
    verdict_flips = dict.fromkeys(fates.verdicts, 0)
    for size in redrawn.batches(count):
        judged = judge.judge(redrawn.draw(random, size))
        differs = judged.promoted != promoted
        first_differs = (judged.leader[:, None] == places) != (places == leader)
        flips += (first_differs if redrawn.gate.frozen.last else differs).sum(axis=0)
        same_set += int((~differs.any(axis=1) & (judged.blocked == (fates.outcome == "blocked"))).sum())
        same_leader += int((judged.leader == leader).sum())
        blocked += int(judged.blocked.sum())
        changed = _verdict_changes(judged, redrawn.gate)
        same_verdicts += int((~np.any([*changed.values(), np.zeros(size, dtype=np.bool_)], axis=0)).sum())
        for rule_id, differing in changed.items():
            verdict_flips[rule_id] += int(differing.sum())
    return Redraws(
        count=count,
        same_set=same_set / count,
        same_leader=same_leader / count,
        same_verdicts=same_verdicts / count,
        blocked=blocked / count,
        flips={name: int(flips[place]) / count for place, name in enumerate(judge.names)},
        verdict_flips={rule_id: flipped / count for rule_id, flipped in verdict_flips.items()},
    )


def _verdict_changes(judged: Judged, gate: DecidedGate) -> dict[str, Bools]:
    codes = {True: 1, False: 0, None: -1}
    return {rule_id: judged.verdicts[rule_id] != codes[answer] for rule_id, answer in gate.fates.verdicts.items()}


def ladder_redraws(redrawn: Sequence[RedrawnGate], winner: str, count: int = COUNT) -> Winner | None:
    """Who wins when every gate is drawn again, each with those whom the gate before lets through in that redraw.

    A gate without noise stays as it was decided and is named in `fixed`; None where that is every gate. A candidate
    that was not trained at the next rung cannot be judged there; from then on the winner of that redraw is unknown.
    """
    if not any(step.noise.known for step in redrawn):
        return None
    randoms = [np.random.RandomState(SEED + 1000 + place) for place in range(len(redrawn))]
    same = unknown = unless = blocked = 0
    others: dict[str, int] = {}
    size = min(min(step.batches(count)) if count else 1 for step in redrawn)
    for start in range(0, count, size):
        batch = min(size, count - start)
        leaders, lost, stuck = _climb(redrawn, randoms, batch)
        names = redrawn[-1].judge.names
        unknown += int((lost & ~stuck).sum())
        unless += int((lost & ~stuck & (leaders == redrawn[-1].judge.place[winner])).sum())
        blocked += int(stuck.sum())
        for place, times in zip(*np.unique(leaders[~lost & ~stuck], return_counts=True), strict=True):
            if place >= 0 and names[place] == winner:
                same += int(times)
            else:
                name = names[place] if place >= 0 else "nobody"
                others[name] = others.get(name, 0) + int(times)
    return Winner(
        config=winner,
        same=same / count,
        other=sum(others.values()) / count,
        unknown=unknown / count,
        unless=unless / count,
        blocked=blocked / count,
        others={name: times / count for name, times in others.items()},
        fixed=tuple(step.gate.name for step in redrawn if not step.noise.known),
    )


def _climb(
    redrawn: Sequence[RedrawnGate], randoms: Sequence[np.random.RandomState], count: int
) -> tuple[Ints, Bools, Bools]:
    """(leader at the last gate, whether somebody untrained went on, whether a gate blocked) for each redraw."""
    there = np.ones((count, len(redrawn[0].judge.names)), dtype=np.bool_)
    lost, stuck = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    judged = redrawn[0].judge.judge(redrawn[0].draw(randoms[0], count), there)
    for step, (lower, upper) in enumerate(pairwise(redrawn), start=1):
        stuck |= judged.blocked
        there = np.zeros((count, len(upper.judge.names)), dtype=np.bool_)
        for place, name in enumerate(lower.judge.names):
            if name in upper.judge.place:
                there[:, upper.judge.place[name]] = judged.promoted[:, place]
            else:
                lost |= judged.promoted[:, place]
        judged = upper.judge.judge(upper.draw(randoms[step], count), there)
    stuck |= judged.blocked
    return judged.leader, lost, stuck
