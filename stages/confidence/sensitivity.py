"""Sensitivity: for each number of each rule, the interval in which no outcome changes, and what changes beyond it.

Exact: fates can change only where the number passes an observation, so the rules are asked at each of these and
between them, and the judge itself says what changes. A rule that is loosened holds for more candidates and never for
fewer, so a fate that has changed stays changed further out, and the first change is found by bisection. All other rules
keep their numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import isqrt

from stages.confidence.batch import BatchJudge
from stages.confidence.gates import DecidedGate, fates_of, with_rules
from stages.confidence.results import End, Threshold
from stages.domain import rules as r
from stages.domain.evidence import Evidence
from stages.domain.judge import judge_rules

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
#: (where to ask, where the interval ends if that changes something, whether the end itself changes nothing)
Sample = tuple[Fraction, Fraction, bool]


class _Exact(float):
    """A threshold that is any fraction. The judge reads a threshold by its `repr`, and so reads this one exactly."""

    fraction: Fraction

    def __new__(cls, fraction: Fraction) -> _Exact:
        number = super().__new__(cls, float(fraction))
        number.fraction = fraction
        return number

    def __repr__(self) -> str:
        return str(self.fraction)


def thresholds(gate: DecidedGate, judge: BatchJudge) -> tuple[Threshold, ...]:
    """The interval of every number of every rule of a gate. `judge` is that of the gate's evidence."""
    return tuple(
        _threshold(gate, judge, rule_id, rule)
        for rule_id, rule in r.in_order(gate.evidence.rules)
        if rule.kind in NUMBERS
    )


def _threshold(gate: DecidedGate, judge: BatchJudge, rule_id: str, rule: r.Rule) -> Threshold:
    field, least, most = NUMBERS[rule.kind]
    value = Fraction(repr(getattr(rule, field)))
    marks = sorted({mark for mark in _marks(gate.evidence, rule_id, rule) if least <= mark <= most} - {value})
    below, above = [mark for mark in reversed(marks) if mark < value], [mark for mark in marks if mark > value]
    ends = []
    for way, limit in ((below, least), (above, most)):
        first = _first_change(judge, rule_id, rule, _samples(rule, value, way, limit))
        ends.append(None if first is None else _end(gate, rule_id, rule, *first))
    return Threshold(rule_id, rule.kind, field, float(value), *ends)


def _marks(evidence: Evidence, rule_id: str, rule: r.Rule) -> Iterator[Fraction]:
    """Where the number may pass an observation."""
    if isinstance(rule, r.TopK):
        yield from (Fraction(k) for k in range(1, max(len(evidence.candidates), rule.k) + 1))
        return
    if isinstance(rule, r.AboveNoiseFloor):
        yield from _multiples(evidence)
        return
    for finding in judge_rules(evidence)[rule_id]:
        if finding.observed is not None:
            yield abs(finding.observed) if isinstance(rule, r.NearEquivalent) else finding.observed
    if r.threshold_in_bpb(rule) is not None:
        yield from _floors(evidence)


def _multiples(evidence: Evidence) -> Iterator[Fraction]:
    """How many times the noise floor of each host the smallest threshold in val_bpb is, from both sides."""
    numbers = [r.threshold_in_bpb(rule) for rule in evidence.rules.values()]
    smallest = min((Fraction(repr(number)) for number in numbers if number is not None), default=None)
    for host in tuple(evidence.contract.hosts):
        floor = evidence.noise_floor(host)
        if smallest is not None and floor is not None and floor[1]:
            square = smallest**2 / floor[1]
            root = isqrt(square.numerator * _STEP.denominator**2 // square.denominator) * _STEP
            yield from (root, root + _STEP)


def _floors(evidence: Evidence) -> Iterator[Fraction]:
    """The limits that the gate's above_noise_floor rules set for every threshold in val_bpb, from both sides."""
    for rule_id, results in judge_rules(evidence).items():
        if isinstance(evidence.rules[rule_id], r.AboveNoiseFloor):
            for finding in results:
                if finding.threshold is not None:
                    yield from (finding.threshold, finding.threshold + _STEP)


def _samples(rule: r.Rule, value: Fraction, marks: list[Fraction], limit: Fraction) -> list[Sample]:
    """Where to ask on the way from the value through `marks` to the limit: at each of them, and between."""
    samples: list[Sample] = []
    for mark, beyond in pairwise([value, *marks, limit]):  # a value on an observation may change just beside itself
        samples.append((mark, mark, False))
        if mark != beyond and not isinstance(rule, r.TopK):
            samples.append(((mark + beyond) / 2, mark, True))
    if isinstance(rule, r.TopK | r.MinHostAgreement):
        return samples
    return [sample for sample in samples if sample[0] > 0]


def _first_change(judge: BatchJudge, rule_id: str, rule: r.Rule, samples: list[Sample]) -> Sample | None:
    """The first sample at which a fate differs, by bisection; None where none does."""

    def fates(value: Fraction | None) -> tuple[object, ...]:
        other = {} if value is None else {rule_id: _with(rule, value)}
        judged = judge.judge(judge.scores[None], rules=other)
        verdicts = {name: answers.tobytes() for name, answers in judged.verdicts.items()}
        return judged.promoted.tobytes(), judged.blocked.tobytes(), verdicts

    as_decided = fates(None)
    first = bisect_left(samples, True, key=lambda sample: fates(sample[0]) != as_decided)
    return samples[first] if first < len(samples) else None


def _end(gate: DecidedGate, rule_id: str, rule: r.Rule, at: Fraction, end: Fraction, inclusive: bool) -> End:
    """The end of an interval, with what the judge itself says of the first value that changes something."""
    if isinstance(rule, r.TopK):  # whole numbers: the last one that changes nothing
        end, inclusive = at - 1 if at > rule.k else at + 1, True
    evidence = gate.evidence
    now = fates_of(with_rules(evidence, {**evidence.rules, rule_id: _with(rule, at)}))
    return End(float(round(end, 9)), inclusive, gate.fates.changes(now, leader=False))


def _with(rule: r.Rule, value: Fraction) -> r.Rule:
    """The rule with another number."""
    field = NUMBERS[rule.kind][0]
    changed: r.Rule = rule.model_copy(update={field: int(value) if isinstance(rule, r.TopK) else _Exact(value)})
    return changed
