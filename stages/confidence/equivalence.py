"""Tests on paired differences: two one-sided tests against a margin, the exact sign-flip test, and what could be seen.

Each is at ALPHA, 5 %. With few cells the sign-flip test cannot go below a smallest p, whatever the scores: 4 cells
reach 0.125. A figure that says "not significant" there says nothing, and the smallest p stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from stages.confidence.intervals import Estimate, Paired
from stages.confidence.results import ALPHA, POWER, Outcome

#: With more cells than this the sign-flip test draws this many sign patterns, seeded, in place of all of them.
EXACT_CELLS = 16
RESAMPLES = 1 << EXACT_CELLS
SEED = 2606_11387


@dataclass(frozen=True)
class MarginTest:
    """A difference against a margin. `p` is that of the claim: equivalent within it, or not worse by more."""

    test: Literal["equivalence", "non-inferiority"]
    p: float
    outcome: Outcome


def compare_with_margin(estimate: Estimate, margin: float, two_sided: bool) -> MarginTest:
    """Whether the mean lies within the margin (`two_sided`), or at most the margin above zero.

    equivalent     both one-sided tests reject: the mean is above -margin and below margin
    not worse      the one-sided test rejects: the mean is below the margin
    worse, better  the mean is above the margin, or below -margin
    inconclusive   none of these
    """
    below = _p_below(estimate, margin)
    above_lower = 1 - _p_below(estimate, -margin)
    p = max(below, above_lower) if two_sided else below
    outcome: Outcome = "inconclusive"
    if p < ALPHA:
        outcome = "equivalent" if two_sided else "not worse"
    elif 1 - below < ALPHA:
        outcome = "worse"
    elif 1 - above_lower < ALPHA:
        outcome = "better"
    return MarginTest("equivalence" if two_sided else "non-inferiority", p, outcome)


def _p_below(estimate: Estimate, bound: float) -> float:
    """p of the one-sided t test that the mean is below `bound`, against that it is not."""
    from scipy.stats import t

    if estimate.se == 0:
        return 0.0 if estimate.mean < bound else 1.0 if estimate.mean > bound else 0.5
    return float(t.cdf((estimate.mean - bound) / estimate.se, estimate.df))


def sign_flip_p(paired: Paired) -> float:
    """Two-sided p of no difference in any cell: the share of sign patterns whose mean is at least as far from zero.

    All patterns up to EXACT_CELLS cells; beyond, RESAMPLES seeded ones. Scores have six decimals, so that sums of
    millionths are exact and a tie is a tie.
    """
    import numpy as np

    millionths = np.array([float(value * 10**6) for value in paired.flat])
    if len(millionths) == 1 or not millionths.any():
        return 1.0
    if len(millionths) <= EXACT_CELLS:
        sums = np.zeros(1)
        for value in millionths:
            sums = np.concatenate((sums + value, sums - value))
        return min(1.0, 2 * float(np.mean(sums >= abs(millionths.sum()))))
    from scipy.stats import permutation_test

    test = permutation_test(
        (millionths,),
        lambda values, axis: values.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        alternative="two-sided",
        random_state=np.random.RandomState(SEED),
    )
    return float(test.pvalue)


def smallest_p(cells: int) -> float:
    """The smallest two-sided p that the sign-flip test can give with so many cells."""
    return max(2.0 ** (1 - cells), 1 / (RESAMPLES + 1)) if cells > EXACT_CELLS else 2.0 ** (1 - cells)


@lru_cache(maxsize=256)
def detectable_effect(cells: int, df: int) -> float:
    """The difference, in standard deviations of a cell's difference, that a two-sided t test sees with POWER.

    Reckoned as the one-sided test at half the level: rejecting on the wrong side adds less than a millionth at this
    power, and with one degree of freedom its tail has no value that a double can hold.
    """
    from scipy.optimize import brentq
    from statsmodels.stats.power import ttest_power

    def lack(effect: float) -> float:
        return float(ttest_power(effect, cells, ALPHA / 2, df=df, alternative="larger")) - POWER

    upper = 1.0
    while lack(upper) < 0:
        upper *= 2
    return float(brentq(lack, 0.0, upper, xtol=1e-12))
