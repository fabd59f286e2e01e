"""Whether the order lasts: ranks from one rung to the next, the fate of every rung's leader, and its optimism.

Seeds are fresh at every rung and every rung trains from scratch, so a change of rank is a fact about promoting, not a
learning curve of one seed.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from stages.domain.evidence import Evidence, as_number, tau_b
from stages.domain.schema import GateName, Key, Recorded, RecordedFile, RungName
from stages.summary.ladder import Ladder, LadderRung

SCHEMA: Literal[1] = 1
Count = Annotated[int, Field(ge=0)]
Rank = Annotated[int, Field(ge=1)]


class RungStep(Recorded):
    """Two neighbouring rungs. `ranks` are those before and after, among the candidates ranked at both."""

    from_: Annotated[RungName, Field(alias="from")]
    to: RungName
    candidates: Count
    tau_b: float | None
    leader_from: Key | None
    leader_to: Key | None
    ranks: dict[Key, Annotated[list[Rank], Field(min_length=2, max_length=2)]]


class LeaderFate(Recorded):
    """What became of the leader of a rung: the last rung it ran at, its rank there, and the gate that stopped it."""

    rung: RungName
    config: Key
    last_rung: RungName
    last_rank: Rank | None
    stopped_at: GateName | None


class WinnerRanks(Recorded):
    """The winner, and its rank at every rung where it has one."""

    config: Key
    ranks: dict[RungName, Rank]


class Optimism(Recorded):
    """The leader of a rung, measured again with fresh seeds at the next: being picked as best flatters a number.

    A lead is val_bpb below the best of the others ranked at both rungs, negative where the leader is behind; `regret`
    is how far it is above the next rung's own leader.
    """

    rung: RungName
    config: Key
    mean: float | None
    lead: float | None
    next_rung: RungName
    next_mean: float | None
    next_rank: Rank | None
    next_lead: float | None
    regret: float | None


class Stability(RecordedFile):
    """artifacts/summary/stability.json. `no_winner` says why there is none yet."""

    steps: list[RungStep]
    leaders: dict[RungName, Key | None]
    leader_fate: list[LeaderFate]
    winner: WinnerRanks | None
    no_winner: str | None
    optimism: list[Optimism]


def _mean(rung: LadderRung, config: str) -> Fraction | None:
    return rung.evidence.mean(config) if rung.evidence else None


def _compare_step(lower: LadderRung, upper: LadderRung) -> RungStep:
    """Two neighbouring rungs. Ranks count the candidates ranked at both, so that one that leaves moves nobody up."""
    before = [name for name in lower.ranking if name in upper.rank]
    after = [name for name in upper.ranking if name in lower.rank]
    common = sorted(before)
    means = [[float(_mean(rung, name) or 0) for name in common] for rung in (lower, upper)]
    first, second = ({name: place for place, name in enumerate(order, 1)} for order in (before, after))
    return RungStep.model_validate(
        {
            "from": lower.name,
            "to": upper.name,
            "candidates": len(common),
            "tau_b": tau_b(means[0], means[1]),
            "leader_from": lower.leader,
            "leader_to": upper.leader,
            "ranks": {name: [first[name], second[name]] for name in common},
        }
    )


def _follow_leader(ladder: Ladder, rung: LadderRung, config: str) -> LeaderFate:
    last = [reached for reached in ladder.rungs if reached.candidates and config in reached.candidates][-1]
    final = last.frozen.last or last.decision is None or config in last.decision.promoted
    return LeaderFate(
        rung=rung.name,
        config=config,
        last_rung=last.name,
        last_rank=last.rank.get(config),
        stopped_at=None if final else last.gate,
    )


def _lead(evidence: Evidence, config: str, names: list[str]) -> Fraction | None:
    """How far `config` is ahead of the best of the others in `names`; negative where it is behind."""
    own = evidence.mean(config)
    others = [mean for name in names if name != config and (mean := evidence.mean(name)) is not None]
    return min(others) - own if others and own is not None else None


def _measure_optimism(lower: LadderRung, upper: LadderRung) -> Optimism | None:
    leader = lower.leader
    if leader is None or lower.evidence is None or upper.evidence is None:
        return None
    best = _mean(upper, upper.leader) if upper.leader else None
    again = upper.evidence.mean(leader)
    common = [name for name in lower.ranking if name in upper.rank]
    return Optimism(
        rung=lower.name,
        config=leader,
        mean=as_number(_mean(lower, leader)),
        lead=as_number(_lead(lower.evidence, leader, common)),
        next_rung=upper.name,
        next_mean=as_number(again),
        next_rank=upper.rank.get(leader),
        next_lead=as_number(_lead(upper.evidence, leader, common)),
        regret=as_number(again - best) if again is not None and best is not None else None,
    )


def _rank_winner(winner: str, ranked: list[LadderRung]) -> WinnerRanks:
    return WinnerRanks(config=winner, ranks={rung.name: rung.rank[winner] for rung in ranked if winner in rung.rank})


def stability(ladder: Ladder) -> Stability:
    """The content of artifacts/summary/stability.json."""
    ranked = [rung for rung in ladder.rungs if rung.ranking]
    neighbours = [(lower, upper) for lower, upper in pairwise(ladder.rungs) if lower.ranking and upper.ranking]
    optimism = (_measure_optimism(lower, upper) for lower, upper in neighbours)
    return Stability(
        schema_=SCHEMA,
        steps=[_compare_step(lower, upper) for lower, upper in neighbours],
        leaders={rung.name: rung.leader for rung in ranked},
        leader_fate=[_follow_leader(ladder, rung, rung.leader) for rung in ranked if rung.leader],
        winner=_rank_winner(ladder.winner, ranked) if ladder.winner else None,
        no_winner=ladder.why_no_winner,
        optimism=[measured for measured in optimism if measured],
    )
