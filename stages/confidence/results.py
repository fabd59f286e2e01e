"""The results as frozen dataclasses, and their one canonical JSON form.

    to_json(assess(locks, records, decisions))  ->  what `canonical.dumps` takes
    from_json(value, "confidence.json")         ->  the same, typed again

Figures are in val_bpb, shares and p values between 0 and 1. What is not known is None and `note` says why. Floats are
rounded on the way out, so that two machines whose linear algebra differs in the last bits write the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from fractions import Fraction
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from stages.domain.errors import Invalid
from stages.domain.schema import explain

SCHEMA = 1
#: Decimals of every float that is written.
DECIMALS = 9
#: Confidence of the intervals, and the level of every test, one-sided ones too.
LEVEL = 0.95
ALPHA = 0.05
POWER = 0.8

Grade = Literal["sure", "likely", "unsure", "unknown"]
Outcome = Literal["equivalent", "not worse", "worse", "better", "inconclusive"]


@dataclass(frozen=True)
class NoisiestCandidate:
    """The candidate whose cells carry more than half of a pooled variance: its share, and the sd by host without it."""

    config: str
    share: float
    sd_without: dict[str, float]


@dataclass(frozen=True)
class Noise:
    """The noise of one cell at a gate: where it was measured, and its standard deviation on each host.

    `covariance` is in val_bpb squared, hosts in the order of `hosts`; `df` its degrees of freedom. Source `none`: no
    noise was measured, and every figure that needs it is None. One noise is taken for all candidates; `noisiest` is
    the one that carries most of it, None where nobody carries more than half.
    """

    source: Literal["replication", "floor", "none"]
    rung: str | None
    borrowed: bool
    hosts: tuple[str, ...]
    covariance: tuple[tuple[float, ...], ...]
    df: int
    text: str
    noisiest: NoisiestCandidate | None = None

    @property
    def known(self) -> bool:
        """Whether there is any noise to reckon with."""
        return self.source != "none"

    @property
    def sd(self) -> dict[str, float]:
        """Standard deviation of one cell by host."""
        if not self.known:
            return {}
        return {host: math.sqrt(self.covariance[place][place]) for place, host in enumerate(self.hosts)}


@dataclass(frozen=True)
class Comparison:
    """One candidate against another configuration, as a rule compares them: differences over the cells, in pairs.

    `against_as` says what the other is: a role, `best`, or `cut`, the first candidate on the other side of a top_k. The
    interval speaks of the hosts in `hosts` alone. `margin` is the rule's own threshold, or that of the rule that
    `margin_from` names.
    """

    rule: str
    kind: str
    config: str
    against: str
    against_as: str
    hosts: tuple[str, ...]
    cells: int
    mean: float | None
    host_means: dict[str, float]
    lower: float | None
    upper: float | None
    sd: float | None
    df: int
    noise: Literal["replication", "floor", "none"]
    margin: float | None
    margin_from: str | None
    test: Literal["equivalence", "non-inferiority"] | None
    p_test: float | None
    outcome: Outcome | None
    p_permutation: float | None
    smallest_p: float | None
    detectable: float | None
    note: str


@dataclass(frozen=True)
class Change:
    """One outcome that differs: of a candidate, a verdict, the gate's outcome or its leader."""

    what: Literal["candidate", "verdict", "outcome", "leader"]
    name: str
    was: str
    now: str


@dataclass(frozen=True)
class Deletion:
    """What the frozen rules would have said without one cell, one seed or one host."""

    kind: Literal["cell", "seed", "host"]
    left_out: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Redraws:
    """Shares of the redraws. `flips` by candidate, `verdict_flips` by rule; both of fates as they were decided."""

    count: int
    same_set: float
    same_leader: float
    same_verdicts: float
    blocked: float
    flips: dict[str, float]
    verdict_flips: dict[str, float]


@dataclass(frozen=True)
class End:
    """Where the interval of a threshold ends, and what changes just beyond.

    `inclusive`: at the end itself nothing changes yet.
    """

    value: float
    inclusive: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Threshold:
    """One number of one rule, and the interval around it in which no outcome changes; an end of None: there is none."""

    rule: str
    kind: str
    field: str
    value: float
    lower: End | None
    upper: End | None


@dataclass(frozen=True)
class GateConfidence:
    """Everything that is said of one decided gate. `redraws` is None where no noise was measured.

    `left_out` counts comparisons that are not listed, those farthest from their threshold.
    """

    gate: str
    rung: str
    candidates: int
    cells: int
    noise: Noise
    detectable: float | None
    comparisons: tuple[Comparison, ...]
    left_out: int
    redraws: Redraws | None
    deletions: tuple[Deletion, ...]
    hangs_on: tuple[str, ...]
    thresholds: tuple[Threshold, ...]

    @property
    def kept(self) -> float:
        """The share in which the gate decides the same: the set, and at a gate with verdicts these too."""
        return 1.0 if self.redraws is None else min(self.redraws.same_set, self.redraws.same_verdicts)


@dataclass(frozen=True)
class Winner:
    """Whom the redraws of the whole ladder let win. `same`, `other`, `unknown` and `blocked` add up to one.

    `unknown`: a configuration that was never trained further would have gone on, so nobody knows who would have won.
    `unless`: the part of `unknown` in which the winner is ahead of all who were trained, so that it wins unless one
    of the untrained beats it. The winner wins in at least `same` and at most `same + unless`.
    `fixed`: gates that stayed as they were decided, since no noise was measured for them.
    """

    config: str
    same: float
    other: float
    unknown: float
    unless: float
    blocked: float
    others: dict[str, float]
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class HowSure:
    """The grade that the rule in docs/confidence.md gives, in a few words, and the line of the overview."""

    grade: Grade
    short: str
    text: str
    hangs_on: tuple[str, ...]


@dataclass(frozen=True)
class WhatNext:
    """What to do next: `rule` is its row in docs/confidence.md, `rung` and `configs` what it speaks of."""

    action: Literal["wait", "add seeds", "tie", "raise", "nothing"]
    rule: str
    text: str
    rung: str | None
    configs: tuple[str, ...]


@dataclass(frozen=True)
class StudyConfidence:
    """How sure a whole study is, by gate. `lead` is the runner-up at the last rung against the winner.

    `flattery`: how many standard deviations the best of as many equal configurations looks better than it is, on
    average; None while nothing is decided.
    """

    schema: int
    level: float
    power: float
    gates: dict[str, GateConfidence]
    winner: Winner | None
    lead: Comparison | None
    flattery: float | None
    how_sure: HowSure
    what_next: WhatNext

    @property
    def weakest_gate(self) -> GateConfidence | None:
        """The gate whose decision is repeated least often, if any is not always repeated."""
        return weakest_gate(self.gates)


def weakest_gate(gates: Mapping[str, GateConfidence]) -> GateConfidence | None:
    """The gate whose decision is repeated least often, if any is not always repeated."""
    doubtful = [gate for gate in gates.values() if gate.redraws is not None and gate.kept < 1]
    return min(doubtful, key=lambda gate: gate.kept) if doubtful else None


def to_json(value: Any) -> Any:
    """A result as JSON: dataclasses as objects, tuples as lists, numbers rounded."""
    if is_dataclass(value) and not isinstance(value, type):
        out = {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
        if isinstance(value, Noise):
            out["sd"] = to_json(value.sd)
            out["covariance"] = [[float(f"{x:.9e}") for x in row] for row in value.covariance]
        return out
    if isinstance(value, dict):
        return {str(key): to_json(value[key]) for key in sorted(value)}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, Fraction):
        return rounded(value)
    return rounded(value) if isinstance(value, float) else value


def from_json(value: Any, where: str) -> StudyConfidence:
    """A result that `to_json` wrote, as read from `where`; `Invalid` says what is wrong with it."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        remedy = "update staged-promotion to read it" if newer else "`dvc repro -s confidence` writes it anew"
        raise Invalid.at(where, f"found {schema!r}, expected {SCHEMA}; {remedy}", "schema")
    try:
        return TypeAdapter(StudyConfidence).validate_python(value)
    except ValidationError as error:
        raise explain(error, where, value) from None


def rounded(value: float | Fraction) -> float:
    """A number as it is written: nine decimals, and no negative zero."""
    return round(float(value), DECIMALS) + 0.0
