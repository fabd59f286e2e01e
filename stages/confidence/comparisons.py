"""Which configurations a gate's rules compare, and what can be said of each pair.

    top_k                    every candidate against the first one on the other side of the cut
    within_gap, exceeds_gap  every other candidate against the best, or against the role that the rule names
    first_in_all_cells       every other candidate against the role
    near_equivalent          the two roles; equivalence within the rule's margin
    mean_gap                 the two roles; at most the rule's margin worse

A rule without a margin of its own (top_k, first_in_all_cells) takes that of the last gate's near_equivalent rule: what
the study itself calls near. The other side of a cut is chosen by the scores, which an interval knows nothing of: how
often a cut falls otherwise is the redraws' to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from stages.confidence import equivalence, intervals
from stages.confidence.gates import DecidedGate
from stages.confidence.noise import paired_sd
from stages.confidence.results import Comparison, Noise
from stages.domain import rules as r
from stages.domain.evidence import Evidence

#: So many comparisons of a gate are listed, those nearest to their threshold first.
LISTED = 200


@dataclass(frozen=True)
class Margin:
    """A margin in val_bpb, and the rule that it is borrowed from, None if it is the rule's own."""

    value: float
    borrowed_from: str | None


@dataclass(frozen=True)
class Pair:
    """Two configurations that a rule compares. `hosts` is empty where their scores cannot be paired; `why` says so."""

    rule: str
    kind: str
    config: str
    against: str
    against_as: str
    hosts: tuple[str, ...]
    margin: Margin | None
    two_sided: bool
    distance: Fraction | None
    why: str = ""


def near_margin(gates: Sequence[DecidedGate]) -> Margin | None:
    """The smallest margin of a near_equivalent rule at the last gate that has one."""
    for gate in reversed(gates):
        rules = r.in_order(gate.evidence.rules)
        near = [(rule.margin, rule_id) for rule_id, rule in rules if isinstance(rule, r.NearEquivalent)]
        if near:
            margin, rule_id = min(near)
            return Margin(margin, f"{gate.name}.{rule_id}")
    return None


def pairs(gate: DecidedGate, near: Margin | None) -> list[Pair]:
    """Every pair that the gate's rules compare, rule by rule, nearest to its threshold first."""
    listed: list[Pair] = []
    for rule_id, rule in r.in_order(gate.evidence.rules):
        of_rule = list(_pairs_of(rule_id, rule, gate.evidence, near))
        listed += sorted(of_rule, key=lambda pair: (pair.distance is None, abs(pair.distance or 0), pair.config))
    return listed


def _pairs_of(rule_id: str, rule: r.Rule, e: Evidence, near: Margin | None) -> Iterator[Pair]:
    match rule:
        case r.TopK():
            yield from _cut(rule_id, rule, e, near)
        case r.WithinGap() | r.ExceedsGap():
            yield from _gaps(rule_id, rule, e)
        case r.FirstInAllCells():
            role = e.contract.roles[rule.role]
            for name in e.candidates:
                if name != role:
                    gap = _difference(e.mean(name), e.mean(role))
                    yield Pair(rule_id, rule.kind, name, role, rule.role, tuple(e.contract.hosts), near, True, gap)
        case r.NearEquivalent() | r.MeanGap():
            two_sided = isinstance(rule, r.NearEquivalent)
            margin = Margin(rule.margin if isinstance(rule, r.NearEquivalent) else rule.most, None)
            name, role = (e.contract.roles[key] for key in (rule.role, rule.to))
            gap = _difference(e.mean(name), e.mean(role))
            yield Pair(rule_id, rule.kind, name, role, rule.to, tuple(e.contract.hosts), margin, two_sided, gap)


def _cut(rule_id: str, rule: r.TopK, e: Evidence, near: Margin | None) -> Iterator[Pair]:
    """By each host, a candidate is compared on the host where it is nearest to going on, as the rule reports it."""
    hosts: tuple[str | None, ...] = tuple(e.contract.hosts) if rule.by == "each_host" else (None,)
    best: dict[str, tuple[bool, Fraction, Pair]] = {}
    for host in hosts:
        ranking = e.ranking(rule.by, host)
        if len(ranking) <= rule.k:
            continue
        for rank, name in enumerate(ranking):
            inside = rank < rule.k
            other = ranking[rule.k if inside else rule.k - 1]
            on, why = ((host,), "") if host else _paired_hosts(e, rule.by, name, other)
            gap = _difference(e.value(name, rule.by, host), e.value(other, rule.by, host)) or Fraction(0)
            pair = Pair(rule_id, rule.kind, name, other, "cut", on, near, True, gap, why)
            if name not in best or (inside, -gap) > best[name][:2]:
                best[name] = inside, -gap, pair
    yield from (pair for _, _, pair in best.values())


def _gaps(rule_id: str, rule: r.WithinGap | r.ExceedsGap, e: Evidence) -> Iterator[Pair]:
    ranking = e.ranking(rule.by)
    base = (ranking[0] if ranking else None) if rule.of == "best" else e.contract.roles[rule.of]
    for name in e.candidates:
        if base is None or name == base:
            continue
        hosts, why = _paired_hosts(e, rule.by, name, base)
        gap = _difference(e.value(name, rule.by), e.value(base, rule.by) if base in e.candidates else None)
        distance = None if gap is None else gap - Fraction(repr(rule.gap))
        yield Pair(rule_id, rule.kind, name, base, rule.of, hosts, Margin(rule.gap, None), False, distance, why)


def _difference(value: Fraction | None, other: Fraction | None) -> Fraction | None:
    return None if value is None or other is None else value - other


def _paired_hosts(e: Evidence, by: str, name: str, other: str) -> tuple[tuple[str, ...], str]:
    """The hosts over which two values are a mean of paired differences: all, or the one host that is worst for both."""
    if by != "worst_host":
        return tuple(e.contract.hosts), ""
    worst = [_worst(e, config) for config in (name, other)]
    if None in worst or worst[0] != worst[1]:
        return (), "" if None in worst else f"their worst hosts differ ({worst[0]}, {worst[1]}): no cells to pair"
    return (str(worst[0]),), ""


def _worst(e: Evidence, config: str) -> str | None:
    means = {host: e.mean(config, host) for host in tuple(e.contract.hosts)}
    known = {host: mean for host, mean in means.items() if mean is not None}
    return max(known, key=lambda host: known[host]) if len(known) == len(means) else None


def compare(pair: Pair, evidence: Evidence, noise: Noise) -> Comparison:
    """What the cells of two configurations say of their difference."""
    paired = intervals.pair(evidence, pair.config, pair.against, pair.hosts)
    if paired is None:
        why = pair.why or "not every cell of both finished"
        return _comparison(pair, noise="none", note=why)
    everywhere = intervals.pair(evidence, pair.config, pair.against, tuple(evidence.contract.hosts))
    estimate, source = intervals.block_interval(everywhere or paired, pair.hosts), "replication"
    if estimate is None and noise.known:
        estimate, source = intervals.borrowed_interval(paired, noise), noise.source
    figures = {
        "cells": paired.cells,
        "mean": float(paired.mean),
        "host_means": {host: float(mean) for host, mean in paired.host_means.items()},
        "p_permutation": equivalence.sign_flip_p(paired),
        "smallest_p": equivalence.smallest_p(paired.cells),
    }
    if estimate is None:
        return _comparison(pair, **figures, noise="none", note=noise.text)
    if pair.margin:
        result = equivalence.compare_with_margin(estimate, pair.margin.value, pair.two_sided)
        figures |= {"test": result.test, "p_test": result.p, "outcome": result.outcome}
    note = "" if source == "replication" else noise.text
    if estimate.se == 0:
        note = "no spread: the cells of each host differ by the same amount"
    return _comparison(
        pair,
        **figures,
        lower=estimate.lower,
        upper=estimate.upper,
        sd=estimate.sd,
        df=estimate.df,
        noise=source,
        detectable=detectable(noise, pair.hosts, len(evidence.contract.seeds)),
        note=note,
    )


def _comparison(pair: Pair, **figures: object) -> Comparison:
    blank: dict[str, object] = dict.fromkeys(
        ("mean", "lower", "upper", "sd", "test", "p_test", "outcome", "p_permutation", "smallest_p", "detectable")
    )
    body = blank | {"cells": 0, "host_means": {}, "df": 0} | figures
    return Comparison(
        rule=pair.rule,
        kind=pair.kind,
        config=pair.config,
        against=pair.against,
        against_as=pair.against_as,
        hosts=pair.hosts,
        margin=pair.margin.value if pair.margin else None,
        margin_from=pair.margin.borrowed_from if pair.margin else None,
        **body,  # type: ignore[arg-type]
    )


def detectable(noise: Noise, hosts: Sequence[str], seeds: int) -> float | None:
    """The smallest true difference that so many cells would show with 80 % power at 5 %, by the gate's noise.

    With replication the test has cells less hosts degrees of freedom; with noise from elsewhere, those of the noise.
    """
    if not noise.known or not hosts:
        return None
    df = len(noise.hosts) * (seeds - 1) if noise.source == "replication" else noise.df
    return equivalence.detectable_effect(len(hosts) * seeds, df) * paired_sd(noise, hosts) if df > 0 else None
