"""Whether the hosts agree: leaders, ranks, Kendall's tau-b, what each host alone would have decided."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from stages.domain.decision import decide
from stages.domain.evidence import DECIMALS, Evidence, as_number, tau_b
from stages.summary.ladder import Ladder

SCHEMA = 1
LEVEL = 0.95


def _pair(evidence: Evidence, one: str, other: str) -> dict[str, Any]:
    from stages.summary import pairs  # numpy and scipy take half a second to import: only who compares hosts pays

    means = {name: (evidence.mean(name, one), evidence.mean(name, other)) for name in evidence.candidates}
    both = {name: (float(a), float(b)) for name, (a, b) in means.items() if a is not None and b is not None}
    names, first, second = list(both), [a for a, _ in both.values()], [b for _, b in both.values()]
    count, listed = pairs.inversions(names, first, second)
    tau = tau_b(first, second)
    return {
        "hosts": [one, other],
        "candidates": len(both),
        "tau_b": tau,
        "interval": None if tau is None else pairs.interval(first, second, LEVEL),
        "discordant": count,
        "inversions": listed,
    }


def _alone(evidence: Evidence, host: str) -> dict[str, Any]:
    """What a decision comes to. The last gate promotes nobody: there only its verdicts and who is first can differ."""
    made = decide(evidence.only_host(host))
    first = made.ranking[0].config if made.ranking else None
    return {"outcome": made.outcome, "promoted": made.promoted, "verdicts": made.verdicts, "first": first}


def _overlap(promoted: list[set[str]]) -> dict[str, Any]:
    common, everyone = set.intersection(*promoted), set.union(*promoted)
    return {
        "common": sorted(common),
        "any": sorted(everyone),
        "jaccard": round(len(common) / len(everyone), DECIMALS) if everyone else None,
    }


def _rung(evidence: Evidence) -> dict[str, Any]:
    hosts = sorted(evidence.contract.hosts)
    rankings = {host: evidence.ranking("mean", host) for host in hosts}
    places = {host: {name: place for place, name in enumerate(rankings[host], 1)} for host in hosts}
    alone = {host: _alone(evidence, host) for host in hosts}
    return {
        "hosts": hosts,
        "candidates": len(evidence.candidates),
        "leaders": {host: ranking[0] if ranking else None for host, ranking in rankings.items()},
        "means": {name: {host: as_number(evidence.mean(name, host)) for host in hosts} for name in evidence.candidates},
        "ranks": {name: {host: places[host].get(name) for host in hosts} for name in evidence.candidates},
        "pairs": [_pair(evidence, one, other) for one, other in combinations(hosts, 2)],
        "host_alone": alone,
        "overlap": _overlap([set(one["promoted"]) for one in alone.values()]),
    }


def agreement(ladder: Ladder) -> dict[str, Any]:
    """The content of artifacts/summary/agreement.json: every rung that has evidence.

    `host_alone` judges one host's cells by the frozen rules: outcome, whom it promotes, its verdicts by rule id, and
    who has its lowest mean. Rules that compare hosts are left out.
    """
    seen = [(rung.name, rung.evidence) for rung in ladder.rungs]
    rungs = {name: _rung(evidence) for name, evidence in seen if evidence and evidence.runs}
    return {"schema": SCHEMA, "level": LEVEL, "rungs": rungs}
