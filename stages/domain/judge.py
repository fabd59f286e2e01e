"""Judging: each kind of rule as one function over the evidence; decision.py makes the decision of them all.

Every rule reports for every candidate what it observed, the threshold, the signed margin (positive where the
rule holds: how far the observation is from changing the answer) and whether it holds: true, false, or None where
it cannot be evaluated, which is never counted as a pass. `keep_role` and the verdicts speak of roles alone and
report for those candidates; a rule about the whole gate reports once, for `*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import isqrt
from typing import Any

from stages.domain import rules as r
from stages.domain.evidence import Evidence, tau_b
from stages.domain.metric import metric_of
from stages.domain.records import Record

EVERYONE = "*"


@dataclass(frozen=True)
class Finding:
    """What one rule says of one candidate."""

    candidate: str
    observed: Fraction | None
    threshold: Fraction | None
    margin: Fraction | None
    holds: bool | None
    note: str = ""


def _not_evaluable(candidate: str, why: str, threshold: Fraction | None = None) -> Finding:
    return Finding(candidate, None, threshold, None, None, why)


def _at_most(candidate: str, observed: Fraction, threshold: Fraction, note: str = "") -> Finding:
    return Finding(candidate, observed, threshold, threshold - observed, observed <= threshold, note)


def _count(candidate: str, bad: int, note: str) -> Finding:
    return _at_most(candidate, Fraction(bad), Fraction(0), note if bad else "")


def _exact(number: float) -> Fraction:
    """A threshold as it was written: 0.01 is one hundredth."""
    return Fraction(repr(number))


def complete_cells(rule: r.CompleteCells, e: Evidence) -> Iterable[Finding]:
    """Observed: executed cells; threshold: declared cells."""
    declared = Fraction(len(e.contract.cells))
    for name in e.candidates:
        missing = [f"{host}/{seed}" for host, seed in e.contract.cells if (name, (host, seed)) not in e.runs]
        seen = declared - len(missing)
        yield Finding(name, seen, declared, seen - declared, not missing, _list("missing", missing))


def _differing(e: Evidence, differs: Callable[[Record], bool], what: str) -> Iterable[Finding]:
    floor_of = e.contract.roles.get("reference")
    for name in e.candidates:
        runs = [*e.of(name), *(e.floor if name == floor_of else ())]
        bad = [run.id for run in runs if differs(run)]
        yield _count(name, len(bad), _list(what, bad)) if runs else _not_evaluable(name, "no run")


def fixed_runner(rule: r.FixedRunner, e: Evidence) -> Iterable[Finding]:
    """Observed: runs made by another runner than the frozen one; threshold: 0."""
    return _differing(e, lambda run: run.runner != e.contract.runner, "another runner")


def fixed_data(rule: r.FixedData, e: Evidence) -> Iterable[Finding]:
    """Observed: runs made on another corpus than the frozen one; threshold: 0."""
    return _differing(e, lambda run: run.corpus != e.contract.corpus, "another corpus")


def fresh_seeds(rule: r.FreshSeeds, e: Evidence) -> Iterable[Finding]:
    """Observed: runs with a seed that an earlier rung used; threshold: 0."""
    return _differing(e, lambda run: run.seed in e.contract.earlier_seeds, "used before")


def fixed_environment(rule: r.FixedEnvironment, e: Evidence) -> Iterable[Finding]:
    """Observed: environments beyond the first inside a host block; threshold: 0. None if a run reports nothing."""
    for host in e.contract.hosts:
        runs = [run for (_, cell), run in sorted(e.runs.items()) if cell[0] == host]
        runs += [run for run in e.floor if run.host == host]
        seen = {tuple(sorted(run.environment.items())) for run in runs if run.environment}
        if not runs or any(not run.environment for run in runs):
            yield _not_evaluable(
                EVERYONE,
                f"{host}: runs report no environment; name facts in hosts.{host}.report",
                Fraction(0),
            )
        else:
            environments = [", ".join(f"{k} {v}" for k, v in facts) for facts in sorted(seen)]
            yield _count(EVERYONE, len(seen) - 1, f"{host}: " + " | ".join(environments))


def above_noise_floor(rule: r.AboveNoiseFloor, e: Evidence) -> Iterable[Finding]:
    """Observed: the gate's smallest val_bpb threshold; threshold: multiple x the A/A standard deviation of a host.

    Compared as squares, exactly; the numbers shown are rounded square roots.
    """
    thresholds = [t for t in (r.threshold_in_bpb(other) for other in e.rules.values()) if t is not None]
    if not thresholds:
        yield Finding(
            EVERYONE, None, None, None, True, f"no threshold in {metric_of(e.contract.settings).name} at this gate"
        )
        return
    smallest = min(_exact(t) for t in thresholds)
    multiple = _exact(rule.multiple)
    for host in e.contract.hosts:
        floor = e.noise_floor(host)
        if floor is None:
            yield Finding(EVERYONE, smallest, None, None, None, f"{host}: fewer than two finished A/A runs")
            continue
        count, variance = floor
        limit = _root(multiple * multiple * variance)
        holds = smallest * smallest >= multiple * multiple * variance
        yield Finding(EVERYONE, smallest, limit, smallest - limit, holds, f"{host}: {count} A/A runs")


def min_host_agreement(rule: r.MinHostAgreement, e: Evidence) -> Iterable[Finding]:
    """Observed: the smallest tau-b over pairs of hosts, rounded to nine decimals; threshold: tau."""
    names = [name for name in e.candidates if all(e.mean(name, host) is not None for host in e.contract.hosts)]
    threshold = _exact(rule.tau)
    if len(e.contract.hosts) < 2:
        yield _not_evaluable(EVERYONE, "there is one host only", threshold)
    for left, right in combinations(e.contract.hosts, 2):
        means = [[float(e.mean(name, host) or 0) for name in names] for host in (left, right)]
        tau = tau_b(means[0], means[1])
        if tau is None:
            yield _not_evaluable(EVERYONE, f"{left} and {right}: fewer than two comparable candidates", threshold)
        else:
            seen = Fraction(str(tau))
            yield Finding(EVERYONE, seen, threshold, seen - threshold, seen >= threshold, f"{left} and {right}")


def budget_kept(rule: r.BudgetKept, e: Evidence) -> Iterable[Finding]:
    """Observed: the most seconds that a finished run reports; threshold: its budget and the tolerance."""
    reference = e.contract.roles.get("reference")
    for name in e.candidates:
        runs = [*e.of(name), *(e.floor if name == reference else ())]
        finished = [run for run in runs if run.status == "finished"]
        reported = [seconds for run in finished if (seconds := run.reported_seconds) is not None]
        if not finished:  # it has no score that more time could have flattered
            yield Finding(name, None, None, None, True, "no finished run")
        elif len(reported) < len(finished):
            silent = next(run.id for run in finished if run.reported_seconds is None)
            yield _not_evaluable(name, f"{silent} reports no seconds")
        else:
            limit = _exact(finished[0].budget.seconds) * (1 + _exact(rule.tolerance))
            yield _at_most(name, max(_exact(seconds) for seconds in reported), limit)


def keep_role(rule: r.KeepRole, e: Evidence) -> Iterable[Finding]:
    """Holds for the configuration in the role, false for all others. No number is observed."""
    kept = e.contract.roles[rule.role]
    for name in e.candidates:
        yield Finding(name, None, None, None, name == kept, rule.role if name == kept else "")


def _top_k_on(rule: r.TopK, e: Evidence, host: str | None) -> dict[str, Finding]:
    """Margin: how far a candidate is from the first one on the other side of the cut."""
    ranking = e.ranking(rule.by, host)
    values = {name: e.value(name, rule.by, host) for name in ranking}
    findings: dict[str, Finding] = {}
    for rank, name in enumerate(ranking, start=1):
        inside = rank <= rule.k
        other = values[ranking[rule.k if inside else rule.k - 1]] if len(ranking) > rule.k else None
        observed = values[name]
        margin = other - observed if other is not None and observed is not None else None
        tie = ", tie broken by name" if margin == 0 else ""
        if margin and abs(margin) < e.resolution:
            tie = ", a tie across the cut: closer than the resolution"
        note = f"rank {rank} of {len(ranking)}{f' on {host}' if host else ''}{tie}"
        findings[name] = Finding(name, observed, other, margin, inside, note)
    return findings


def top_k(rule: r.TopK, e: Evidence) -> Iterable[Finding]:
    """Observed: val_bpb; threshold: that of the first candidate across the cut (None when all fit)."""
    hosts = e.contract.hosts if rule.by == "each_host" else (None,)
    tables = [_top_k_on(rule, e, host) for host in hosts]
    for name in e.candidates:
        findings = [table[name] for table in tables if name in table]
        if not findings:
            yield _not_evaluable(name, "not every cell finished")
        else:
            yield max(findings, key=lambda f: (f.holds is True, f.margin is None, f.margin or 0))


def _gaps(rule: r.WithinGap | r.ExceedsGap, e: Evidence) -> Iterable[tuple[str, Fraction | None, str]]:
    """(candidate, gap above the base, why there is none) for every candidate."""
    values = {name: e.value(name, rule.by) for name in e.candidates}
    known = [value for value in values.values() if value is not None]
    base = min(known, default=None) if rule.of == "best" else values.get(e.contract.roles[rule.of])
    for name, value in values.items():
        if value is None or base is None:
            yield name, None, "not every cell finished" if value is None else f"the {rule.of} has no mean here"
        else:
            yield name, value - base, ""


def within_gap(rule: r.WithinGap, e: Evidence) -> Iterable[Finding]:
    """Observed: val_bpb above the best or the role; threshold: the gap."""
    limit = _exact(rule.gap)
    for name, gap, why in _gaps(rule, e):
        yield (_not_evaluable(name, why, limit) if gap is None else _at_most(name, gap, limit))


def exceeds_gap(rule: r.ExceedsGap, e: Evidence) -> Iterable[Finding]:
    """Observed: val_bpb above the best or the role; threshold: the gap, which itself is not exceeded."""
    limit = _exact(rule.gap)
    for name, gap, why in _gaps(rule, e):
        if gap is None:
            yield _not_evaluable(name, why, limit)
        else:
            yield Finding(name, gap, limit, gap - limit, gap > limit)


def _with_status(status: str, e: Evidence) -> Iterable[Finding]:
    for name in e.candidates:
        runs = e.of(name)
        bad = [run for run in runs if run.status == status]
        if not runs:
            yield _not_evaluable(name, "no run", Fraction(1))
            continue
        note = _list(status, [f"{run.host}/{run.seed}" + (f" ({run.reason})" if run.reason else "") for run in bad])
        yield Finding(name, Fraction(len(bad)), Fraction(1), Fraction(len(bad) - 1), bool(bad), note)


def diverged(rule: r.Diverged, e: Evidence) -> Iterable[Finding]:
    """Observed: diverged runs; threshold: 1."""
    return _with_status("diverged", e)


def failed(rule: r.Failed, e: Evidence) -> Iterable[Finding]:
    """Observed: failed runs; threshold: 1."""
    return _with_status("failed", e)


def first_in_all_cells(rule: r.FirstInAllCells, e: Evidence) -> Iterable[Finding]:
    """Observed: cells in which the role has strictly the lowest val_bpb; threshold: all cells."""
    name, cells = e.contract.roles[rule.role], e.contract.cells
    others = [other for other in e.candidates if other != name]
    if name not in e.candidates:
        yield _not_evaluable(name, f"the {rule.role} is no candidate here")
    elif e.mean(name) is None or any(e.mean(other) is None for other in others):
        yield _not_evaluable(name, "not every cell of every candidate finished", Fraction(len(cells)))
    else:
        won = [
            cell for cell in cells if all(e.is_lower(e.scores[name][cell], e.scores[other][cell]) for other in others)
        ]
        lost = [f"{host}/{seed}" for host, seed in cells if (host, seed) not in won]
        seen, limit = Fraction(len(won)), Fraction(len(cells))
        yield Finding(name, seen, limit, seen - limit, not lost, _list("not first in", lost))


def near_equivalent(rule: r.NearEquivalent, e: Evidence) -> Iterable[Finding]:
    """Observed: mean paired gap, signed; margin: threshold less its size."""
    name, limit = e.contract.roles[rule.role], _exact(rule.margin)
    gap = e.paired_gap(rule.role, rule.to)
    if gap is None:
        yield _not_evaluable(name, _explain_missing(rule.role, rule.to, e), limit)
    else:
        yield Finding(name, gap, limit, limit - abs(gap), abs(gap) <= limit, f"against {e.contract.roles[rule.to]}")


def mean_gap(rule: r.MeanGap, e: Evidence) -> Iterable[Finding]:
    """Observed: mean paired gap, signed; margin: threshold less it."""
    name, limit = e.contract.roles[rule.role], _exact(rule.most)
    gap = e.paired_gap(rule.role, rule.to)
    if gap is None:
        yield _not_evaluable(name, _explain_missing(rule.role, rule.to, e), limit)
    else:
        yield _at_most(name, gap, limit, f"against {e.contract.roles[rule.to]}")


def _explain_missing(role: str, to: str, e: Evidence) -> str:
    missing = [
        f"the {name} ({e.contract.roles[name]})" for name in (role, to) if e.mean(e.contract.roles[name]) is None
    ]
    return f"{' and '.join(missing)} has no full set of finished cells at this rung"


def _list(what: str, items: list[str]) -> str:
    if not items:
        return ""
    shown = ", ".join(items[:4])
    return f"{what}: {shown}" + (f" and {len(items) - 4} more" if len(items) > 4 else "")


def _root(square: Fraction) -> Fraction:
    """The square root to nine decimals, by integers alone: the same on every machine."""
    scale = 10**18
    return Fraction(isqrt(square.numerator * scale // square.denominator), 10**9)


_KINDS: dict[str, Callable[[Any, Evidence], Iterable[Finding]]] = {
    function.__name__: function
    for function in (
        complete_cells,
        fixed_runner,
        fixed_data,
        fresh_seeds,
        fixed_environment,
        above_noise_floor,
        min_host_agreement,
        budget_kept,
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


def judge_rules(evidence: Evidence) -> dict[str, list[Finding]]:
    """What every rule says of every candidate, by rule id, in the order of the ids."""
    return {rule_id: list(_KINDS[rule.kind](rule, evidence)) for rule_id, rule in r.in_order(evidence.rules)}
