"""Paired differences between two configurations, cell by cell, and a t interval for their mean within these hosts.

The hosts are fixed blocks: each has a mean of its own, the spread is that around these means, and its degrees of
freedom are cells less hosts. So the interval speaks of the declared hosts and of no others. Cells of several hosts are
never pooled as if they were one sample: a steady difference between hosts would count as noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stages.confidence.noise import paired_sd
from stages.confidence.results import LEVEL, Noise
from stages.domain.evidence import Evidence


@dataclass(frozen=True)
class Paired:
    """Differences of val_bpb by host, over the same seeds: one list a host, all of one length."""

    differences: dict[str, tuple[Fraction, ...]]

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return sum(map(len, self.differences.values()))

    @property
    def flat(self) -> list[Fraction]:
        """The differences of all cells."""
        return [value for values in self.differences.values() for value in values]

    @property
    def host_means(self) -> dict[str, Fraction]:
        """Each host's own mean."""
        return {host: sum(values, Fraction(0)) / len(values) for host, values in self.differences.items()}

    @property
    def mean(self) -> Fraction:
        """The mean over the hosts, each of which counts alike."""
        means = self.host_means.values()
        return sum(means, Fraction(0)) / len(means)

    def on(self, hosts: Sequence[str]) -> Paired:
        """The differences on some of the hosts."""
        return Paired({host: self.differences[host] for host in hosts})

    @property
    def steady(self) -> bool:
        """Whether every host shows one and the same difference in all its cells: there is no spread to go by."""
        return all(len(set(values)) == 1 for values in self.differences.values())


@dataclass(frozen=True)
class Estimate:
    """A mean difference and what is known of it. `se` of 0: the cells of each host agree to the last decimal."""

    mean: float
    sd: float
    se: float
    df: int
    lower: float
    upper: float


def pair(evidence: Evidence, config: str, against: str, hosts: Sequence[str]) -> Paired | None:
    """`config` less `against` in every cell of `hosts`; None unless both finished in all of them."""
    tables = [evidence.scores.get(name, {}) for name in (config, against)]
    cells = [(host, seed) for host in hosts for seed in evidence.contract.seeds]
    if not cells or any(cell not in table for table in tables for cell in cells):
        return None
    return Paired(
        {
            host: tuple(tables[0][host, seed] - tables[1][host, seed] for seed in evidence.contract.seeds)
            for host in hosts
        }
    )


def block_interval(paired: Paired, hosts: Sequence[str], level: float = LEVEL) -> Estimate | None:
    """The interval for the mean over `hosts`, by ordinary least squares with one mean for every host of `paired`.

    The spread comes from all hosts, so its degrees of freedom are all cells less all hosts; None where that is 0.
    statsmodels fits `difference ~ host` and tests the mean of the means of `hosts`.
    """
    import numpy as np
    from statsmodels.regression.linear_model import OLS

    blocks = list(paired.differences)
    df = paired.cells - len(blocks)
    if df < 1:
        return None
    if paired.steady:
        mean = float(paired.on(hosts).mean)
        return Estimate(mean, 0.0, 0.0, df, mean, mean)
    places = [place for place, host in enumerate(blocks) for _ in paired.differences[host]]
    fit = OLS(np.array([float(value) for value in paired.flat]), np.eye(len(blocks))[places]).fit()
    test = fit.t_test(np.array([1 / len(hosts) if host in hosts else 0.0 for host in blocks]))
    lower, upper = test.conf_int(alpha=1 - level)[0]
    return Estimate(
        mean=float(test.effect[0]),
        sd=float(fit.mse_resid**0.5),
        se=float(test.sd[0, 0]),
        df=df,
        lower=float(lower),
        upper=float(upper),
    )


def borrowed_interval(paired: Paired, noise: Noise, level: float = LEVEL) -> Estimate:
    """The interval by noise that was measured elsewhere, with the degrees of freedom that it was measured with.

    Covers what the cells of one seed on several hosts share.
    """
    from scipy.stats import t

    places = [noise.hosts.index(host) for host in paired.differences]
    seeds = paired.cells // len(places)
    variance = 2 * sum(noise.covariance[i][j] for i in places for j in places) / len(places) ** 2 / seeds
    mean, se = float(paired.mean), max(variance, 0.0) ** 0.5
    lower, upper = (mean, mean) if se == 0 else t.interval(level, noise.df, loc=mean, scale=se)
    return Estimate(mean, paired_sd(noise, list(paired.differences)), se, noise.df, float(lower), float(upper))
