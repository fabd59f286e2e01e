"""Which noise applies at a gate: that of its own replication, else that of the nearest rung's A/A runs, else none.

Noise is what a cell would show again under a fresh seed. It is a covariance between the hosts of one seed, because
two hosts that train the same seed share its data order and their scores move together.

    replication  residuals of the candidates' scores, by host, from the means of candidate and of seed:
                 (candidates - 1) x (seeds - 1) degrees of freedom. A shift that a seed gives to every candidate
                 alike is left out, since no order and no gap sees it. All candidates are taken to be equally noisy;
                 a candidate that carries more than half of the pooled variance is named.
    floor        the reference, trained again with other seeds: (runs - 1) degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stages.confidence.gates import DecidedGate
from stages.confidence.results import Noise, NoisiestCandidate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Float = NDArray[np.float64]

NOT_MEASURED = "no noise was measured"


def noise_of(gate: DecidedGate, gates: Sequence[DecidedGate]) -> Noise:
    """The noise that applies at `gate`. `gates` are all decided gates of the study, this one too."""
    return replication(gate) or _nearest_floor(gate, gates) or _none(gate)


def _none(gate: DecidedGate) -> Noise:
    seeds = len(gate.evidence.contract.seeds)
    why = "one seed a host" if seeds == 1 else "no candidate finished in every cell"
    return Noise(
        "none", None, False, tuple(gate.evidence.contract.hosts), (), 0, f"{NOT_MEASURED}: {why}, and no A/A runs"
    )


def replication(gate: DecidedGate) -> Noise | None:
    """The noise of the gate's own cells, or None without two seeds a host."""
    import numpy as np

    evidence = gate.evidence
    hosts, seeds = tuple(evidence.contract.hosts), evidence.contract.seeds
    whole = [name for name in evidence.candidates if evidence.mean(name) is not None]
    if len(seeds) < 2 or not whole:
        return None
    scores = np.array(
        [[[float(evidence.scores[name][host, seed]) for host in hosts] for seed in seeds] for name in whole]
    )
    rest, df = _residuals(scores)
    return Noise(
        source="replication",
        rung=evidence.contract.rung,
        borrowed=False,
        hosts=hosts,
        covariance=_covariance(rest.reshape(-1, len(hosts)), df),
        df=df,
        text=f"measured at {evidence.contract.rung} itself: {len(seeds)} seeds a host, {len(whole)} candidates",
        noisiest=_noisiest(whole, hosts, scores),
    )


def _residuals(scores: Float) -> tuple[Float, int]:
    """Scores (candidates, seeds, hosts) less the means of candidate and of seed, and their degrees of freedom."""
    candidates, seeds, _ = scores.shape
    rest = scores - scores.mean(axis=1, keepdims=True)
    if candidates == 1:
        return rest, seeds - 1
    return rest - rest.mean(axis=0, keepdims=True), (candidates - 1) * (seeds - 1)


def _noisiest(names: Sequence[str], hosts: Sequence[str], scores: Float) -> NoisiestCandidate | None:
    """The candidate with more than half of the sum of squares; None where there is none, or fewer than two others."""
    import numpy as np

    if len(names) < 3:
        return None
    squares = (_residuals(scores)[0] ** 2).sum(axis=(1, 2))
    place = int(squares.argmax())
    if squares[place] <= squares.sum() / 2:
        return None
    rest, df = _residuals(np.delete(scores, place, axis=0))
    sd = np.sqrt((rest**2).sum(axis=(0, 1)) / df)
    share = float(squares[place] / squares.sum())
    return NoisiestCandidate(names[place], share, {host: float(sd[at]) for at, host in enumerate(hosts)})


def _nearest_floor(gate: DecidedGate, gates: Sequence[DecidedGate]) -> Noise | None:
    """The A/A noise of the rung fewest steps away; of two as near, the earlier, whose shorter runs are the noisier."""
    number = _number(gate)
    for other in sorted(gates, key=lambda other: (abs(_number(other) - number), _number(other))):
        noise = floor(other, tuple(gate.evidence.contract.hosts), borrowed=other.name != gate.name)
        if noise:
            return noise
    return None


def _number(gate: DecidedGate) -> int:
    return int(gate.name.removeprefix("gate"))


def floor(gate: DecidedGate, hosts: tuple[str, ...], borrowed: bool) -> Noise | None:
    """The noise of a rung's A/A runs over the seeds that finished on all of `hosts`; None with fewer than two."""
    import numpy as np

    scores = {(run.host, run.seed): float(run.val_bpb) for run in gate.evidence.floor if run.val_bpb is not None}
    seeds = [seed for seed in gate.evidence.contract.floor_seeds if all((host, seed) in scores for host in hosts)]
    if len(seeds) < 2:
        return None
    table = np.array([[scores[host, seed] for host in hosts] for seed in seeds])
    rung = gate.evidence.contract.rung
    where = f"borrowed from the A/A runs of {rung}" if borrowed else f"measured by the A/A runs of {rung} itself"
    return Noise(
        source="floor",
        rung=rung,
        borrowed=borrowed,
        hosts=hosts,
        covariance=_covariance(table - table.mean(axis=0), len(seeds) - 1),
        df=len(seeds) - 1,
        text=f"{where}: {len(seeds)} runs of the reference a host",
    )


def _covariance(residuals: Float, df: int) -> tuple[tuple[float, ...], ...]:
    covariance = residuals.T @ residuals / df
    return tuple(tuple(float(x) for x in row) for row in covariance)


def paired_sd(noise: Noise, hosts: Sequence[str]) -> float:
    """Standard deviation of the difference of two candidates in one cell, pooled over `hosts`."""
    variances = [noise.sd[host] ** 2 for host in hosts]
    return float((2 * sum(variances) / len(variances)) ** 0.5)
