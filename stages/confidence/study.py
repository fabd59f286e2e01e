"""How sure a whole study is: one function from locks, records and decisions to one typed result.

    result = assess(locks, records, decisions)
    canonical.dumps(to_json(result))

The same three give the same bytes anywhere. Takes about two seconds for a dozen configurations, most of which is the
import of scipy and statsmodels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stages.confidence import answers, comparisons, deletions, redraws, sensitivity
from stages.confidence.comparisons import Margin
from stages.confidence.gates import DecidedGate, decided_gates
from stages.confidence.noise import noise_of
from stages.confidence.results import LEVEL, POWER, SCHEMA, GateConfidence, Noise, StudyConfidence
from stages.domain.decision import Decision
from stages.domain.locks import Lock
from stages.domain.records import Record


def assess(locks: Mapping[str, Lock], records: Iterable[Record], decisions: Mapping[str, Decision]) -> StudyConfidence:
    """How sure each decision is, and the study as a whole. `locks` and `decisions` go by gate."""
    return assess_gates(decided_gates(locks, records, decisions))


def assess_gates(gates: Sequence[DecidedGate]) -> StudyConfidence:
    """The same of gates that are arranged already, from gate1 on."""
    near = comparisons.near_margin(gates)
    redrawn = [redraws.RedrawnGate.of(gate, noise_of(gate, gates)) for gate in gates]
    confidence = {step.gate.name: _gate(step, near) for step in redrawn}
    last = gates[-1] if gates and gates[-1].frozen.last else None
    leader = last.fates.leader if last is not None and last.fates.outcome == "decided" else None
    winner = redraws.ladder_redraws(redrawn, leader) if leader is not None else None
    against = answers.rivals(last, confidence[last.name], near) if last is not None else []
    lead = against[0] if against else None
    return StudyConfidence(
        schema=SCHEMA,
        level=LEVEL,
        power=POWER,
        gates=confidence,
        winner=winner,
        lead=lead,
        flattery=flattery(len(gates[0].evidence.candidates)) if gates else None,
        how_sure=answers.how_sure(confidence, winner, lead),
        what_next=answers.what_next(confidence, last, winner, against),
    )


def flattery(many: int) -> float:
    """The expected maximum of `many` draws of a standard normal distribution; 12 give 1.63."""
    from scipy import stats

    return float(stats.order_statistic(stats.Normal(), r=many, n=many).mean())


def _gate(step: redraws.RedrawnGate, near: Margin | None) -> GateConfidence:
    gate, noise = step.gate, step.noise
    contract = gate.evidence.contract
    hosts = tuple(contract.hosts)
    tried = deletions.deletions(gate)
    listed, left_out = _comparisons(gate, noise, near)
    return GateConfidence(
        gate=gate.name,
        rung=contract.rung,
        candidates=len(gate.evidence.candidates),
        cells=len(contract.cells),
        noise=noise,
        detectable=comparisons.detectable(noise, hosts, len(contract.seeds)),
        comparisons=tuple(listed),
        left_out=left_out,
        redraws=redraws.gate_redraws(step),
        deletions=tried,
        hangs_on=deletions.hangs_on(tried, gate.frozen.last),
        thresholds=sensitivity.thresholds(gate, step.judge),
    )


def _comparisons(gate: DecidedGate, noise: Noise, near: Margin | None) -> tuple[Sequence[Any], int]:
    """The comparisons nearest to their thresholds, and how many more there are."""
    pairs = comparisons.pairs(gate, near)
    if len(pairs) > comparisons.LISTED:
        nearest = sorted(pairs, key=lambda pair: (pair.distance is None, abs(pair.distance or 0)))
        kept = set(nearest[: comparisons.LISTED])
        shown = [pair for pair in pairs if pair in kept]
    else:
        shown = pairs
    return [comparisons.compare(pair, gate.evidence, noise) for pair in shown], len(pairs) - len(shown)
