"""Sensitivity: for each number of each rule, the interval around it in which no fate changes, and what changes beyond.

Exact: fates can change only where the number passes an observation, so the judge is asked at each of these and between
them. A rule that is loosened holds for more candidates and never for fewer, so a fate that has changed stays changed
further out, and the first change is found by bisection. All other rules keep their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from stages.confidence.gates import DecidedGate, Fates, fates_of
from stages.confidence.results import End, Threshold
from stages.domain import rules as r
from stages.domain.evidence import Evidence
from stages.domain.judge import findings

#: The numbers of each kind of rule, and between which values they may lie (`stages/domain/rules.py`).
NUMBERS: dict[str, tuple[str, Fraction, Fraction]] = {
    "above_noise_floor": ("multiple", Fraction(0), Fraction(100)),
    "min_host_agreement": ("tau", Fraction(-1), Fraction(1)),
    "top_k": ("k", Fraction(1), Fraction(10_000)),
    "within_gap": ("gap", Fraction(0), Fraction(100)),
    "exceeds_gap": ("gap", Fraction(0), Fraction(100)),
    "near_equivalent": ("margin", Fraction(0), Fraction(100)),
    "mean_gap": ("most", Fraction(0), Fraction(100)),
}
#: The nine decimals to which a noise floor is known: its square root is no fraction.
_STEP = Fraction(1, 10**9)


class _Exact(float):
    """A threshold that is any fraction. The judge reads a threshold by its `repr`, and so reads this one exactly."""

    fraction: Fraction

    def __new__(cls, fraction: Fraction) -> _Exact:
        made = super().__new__(cls, float(fraction))
        made.fraction = fraction
        return made

    def __repr__(self) -> str:
        return str(self.fraction)


def thresholds(gate: DecidedGate) -> tuple[Threshold, ...]:
    """The interval of every number of every rule of a gate."""
    return tuple(
        _threshold(gate, rule_id, rule) for rule_id, rule in r.in_order(gate.frozen.rules) if rule.kind in NUMBERS
    )


def _threshold(gate: DecidedGate, rule_id: str, rule: r.Rule) -> Threshold:
    field, least, most = NUMBERS[rule.kind]
    value = Fraction(repr(getattr(rule, field)))
    marks = sorted({mark for mark in _marks(gate.evidence, rule_id, rule) if least <= mark <= most} - {value})
    lower = _end(gate, rule_id, rule, [mark for mark in reversed(marks) if mark < value], least)
    upper = _end(gate, rule_id, rule, [mark for mark in marks if mark > value], most)
    return Threshold(rule_id, rule.kind, field, float(value), lower, upper)


def _marks(evidence: Evidence, rule_id: str, rule: r.Rule) -> Iterator[Fraction]:
    """Where the number may pass an observation."""
    if isinstance(rule, r.TopK):
        yield from (Fraction(k) for k in range(1, max(len(evidence.candidates), rule.k) + 1))
        return
    for finding in findings(evidence)[rule_id]:
        if isinstance(rule, r.AboveNoiseFloor):
            if finding.threshold and finding.observed is not None:  # multiple x sd of a host
                passed = finding.observed * Fraction(repr(rule.multiple)) / finding.threshold
                yield from (passed // _STEP * _STEP, passed // _STEP * _STEP + _STEP)
        elif finding.observed is not None:
            yield abs(finding.observed) if isinstance(rule, r.NearEquivalent) else finding.observed
    if r.threshold_in_bpb(rule) is not None:
        yield from _floors(evidence)


def _floors(evidence: Evidence) -> Iterator[Fraction]:
    """The limits that the gate's above_noise_floor rules set for every threshold in val_bpb, from both sides."""
    for rule_id, found in findings(evidence).items():
        if isinstance(evidence.door.rules[rule_id], r.AboveNoiseFloor):
            for finding in found:
                if finding.threshold is not None:
                    yield from (finding.threshold, finding.threshold + _STEP)


def _end(gate: DecidedGate, rule_id: str, rule: r.Rule, marks: list[Fraction], limit: Fraction) -> End | None:
    """The first change on the way through `marks`, which lead away from the value towards `limit`."""
    samples: list[tuple[Fraction, Fraction, bool]] = []  # where the judge is asked, the end if it changes, inclusive
    value = Fraction(repr(getattr(rule, NUMBERS[rule.kind][0])))
    for mark, beyond in pairwise([value, *marks, limit]):  # a value on an observation may change just beside itself
        if mark != value:
            samples.append((mark, mark, False))
        if mark != beyond and not isinstance(rule, r.TopK):
            samples.append(((mark + beyond) / 2, mark, True))
    if not isinstance(rule, r.TopK | r.MinHostAgreement):
        samples = [sample for sample in samples if sample[0] > 0]
    first, last = 0, len(samples)
    while first < last:
        middle = (first + last) // 2
        if _changed(gate, _at(gate, rule_id, rule, samples[middle][0])):
            last = middle
        else:
            first = middle + 1
    if first == len(samples):
        return None
    at, end, inclusive = samples[first]
    if isinstance(rule, r.TopK):  # whole numbers: the last one that changes nothing
        end, inclusive = at - 1 if at > rule.k else at + 1, True
    changes = gate.fates.changes(_at(gate, rule_id, rule, at), leader=False)
    return End(float(round(end, 9)), inclusive, changes)


def _changed(gate: DecidedGate, now: Fates) -> bool:
    return bool(gate.fates.changes(now, leader=False))


def _at(gate: DecidedGate, rule_id: str, rule: r.Rule, value: Fraction) -> Fates:
    """The fates, had the number been `value`."""
    field = NUMBERS[rule.kind][0]
    changed = rule.model_copy(update={field: int(value) if isinstance(rule, r.TopK) else _Exact(value)})
    evidence = gate.evidence
    return fates_of(replace(evidence, door=replace(evidence.door, rules={**evidence.door.rules, rule_id: changed})))
