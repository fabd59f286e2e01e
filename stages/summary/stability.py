"""Whether the order lasts: ranks from one rung to the next, the fate of every rung's leader, and its optimism.

Seeds are fresh at every rung and every rung trains from scratch, so a change of rank is a fact about promoting, not a
learning curve of one seed.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

from stages.domain.evidence import Evidence, as_number, tau_b
from stages.summary.ladder import Ladder, Rung

SCHEMA = 1


def _mean(rung: Rung, config: str) -> Fraction | None:
    return rung.evidence.mean(config) if rung.evidence else None


def _step(lower: Rung, upper: Rung) -> dict[str, Any]:
    """Two neighbouring rungs. Ranks count the candidates ranked at both, so that one that leaves moves nobody up."""
    before = [name for name in lower.ranking if name in upper.rank]
    after = [name for name in upper.ranking if name in lower.rank]
    common = sorted(before)
    means = [[float(_mean(rung, name) or 0) for name in common] for rung in (lower, upper)]
    first, second = ({name: place for place, name in enumerate(order, 1)} for order in (before, after))
    return {
        "from": lower.name,
        "to": upper.name,
        "candidates": len(common),
        "tau_b": tau_b(means[0], means[1]),
        "leader_from": lower.leader,
        "leader_to": upper.leader,
        "ranks": {name: [first[name], second[name]] for name in common},
    }


def _fate(ladder: Ladder, rung: Rung, config: str) -> dict[str, Any]:
    """How far the leader of a rung came: the last rung it ran at, its rank there, and the gate that stopped it."""
    there = [one for one in ladder.rungs if one.candidates and config in one.candidates]
    last = there[-1]
    final = last.frozen.last or last.decision is None or config in last.decision.promoted
    return {
        "rung": rung.name,
        "config": config,
        "last_rung": last.name,
        "last_rank": last.rank.get(config),
        "stopped_at": None if final else last.gate,
    }


def _lead(evidence: Evidence, config: str, names: list[str]) -> Fraction | None:
    """How far `config` is ahead of the best of the others in `names`; negative where it is behind."""
    mine = evidence.mean(config)
    others = [mean for name in names if name != config and (mean := evidence.mean(name)) is not None]
    return min(others) - mine if others and mine is not None else None


def _optimism(lower: Rung, upper: Rung) -> dict[str, Any] | None:
    """The leader of a rung, measured again with fresh seeds at the next: being picked as best flatters a number."""
    leader = lower.leader
    if leader is None or lower.evidence is None or upper.evidence is None:
        return None
    best = _mean(upper, upper.leader) if upper.leader else None
    again = upper.evidence.mean(leader)
    common = [name for name in lower.ranking if name in upper.rank]
    return {
        "rung": lower.name,
        "config": leader,
        "mean": as_number(_mean(lower, leader)),
        "lead": as_number(_lead(lower.evidence, leader, common)),
        "next_rung": upper.name,
        "next_mean": as_number(again),
        "next_rank": upper.rank.get(leader),
        "next_lead": as_number(_lead(upper.evidence, leader, common)),
        "regret": as_number(again - best) if again is not None and best is not None else None,
    }


def stability(ladder: Ladder) -> dict[str, Any]:
    """The content of artifacts/summary/stability.json."""
    ranked = [rung for rung in ladder.rungs if rung.ranking]
    neighbours = [(one, two) for one, two in pairwise(ladder.rungs) if one.ranking and two.ranking]
    winner = ladder.winner
    found = (_optimism(one, two) for one, two in neighbours)
    return {
        "schema": SCHEMA,
        "steps": [_step(one, two) for one, two in neighbours],
        "leaders": {rung.name: rung.leader for rung in ranked},
        "leader_fate": [_fate(ladder, rung, rung.leader) for rung in ranked if rung.leader],
        "winner": {
            "config": winner,
            "ranks": {rung.name: rung.rank[winner] for rung in ranked if winner in rung.rank},
        }
        if winner
        else None,
        "no_winner": ladder.why_no_winner,
        "optimism": [one for one in found if one],
    }
