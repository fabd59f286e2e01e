"""Two hosts' means of the same candidates: an interval for Kendall's tau-b, and the pairs that they order differently.

The interval is the percentile bootstrap over candidates: it answers "had we compared other configurations like these",
and says nothing about seeds. It is seeded, so it is the same for everybody: the draws are those of scipy's `bootstrap`,
without its import, which a reviewer would have to install for this alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stages.domain.evidence import DECIMALS

RESAMPLES = 999
SEED = 2606_11387
#: With fewer candidates too few resamples differ for an interval to mean anything.
FEWEST = 5
#: With more, it would need more than 100 MB, for an interval narrower than tau is ever printed.
MOST = 2_000
#: So many inversions are listed, those with the widest gaps first; the count is of all.
LISTED = 200

Float = NDArray[np.float64]


def _order(values: list[float]) -> NDArray[np.int8]:
    """The sign of every difference: +1 where the row's value is above the column's."""
    column = np.asarray(values)[:, None]
    return (column > column.T).astype(np.int8) - (column < column.T).astype(np.int8)


def resampled(first: list[float], second: list[float], drawn: NDArray[np.int64]) -> Float:
    """tau-b of every resample; `drawn` is (resamples, candidates) places in the lists. NaN where there is no order.

    A resample is told by how often it took each candidate. That makes tau-b a quotient of quadratic forms in whole
    numbers: exact, and all resamples at once, where scipy's `kendalltau` takes most of a millisecond for each.
    """
    left_order, right_order = (_order(values).astype(np.float64) for values in (first, second))
    weights = np.stack([np.bincount(row, minlength=len(first)) for row in drawn]).astype(np.float64)
    both, left, right = (
        ((weights @ form) * weights).sum(axis=1)
        for form in (left_order * right_order, np.abs(left_order), np.abs(right_order))
    )
    with np.errstate(invalid="ignore"):
        taus: Float = both / np.sqrt(left * right)
    return taus


def interval(first: list[float], second: list[float], level: float) -> list[float] | None:
    """[lower, upper] of tau-b at `level` by percentile bootstrap; None for fewer than FEWEST or more than MOST."""
    if not FEWEST <= len(first) <= MOST:
        return None
    drawn = np.random.default_rng(SEED).integers(0, len(first), (RESAMPLES, len(first)))
    taus = resampled(first, second, drawn)
    taus = taus[~np.isnan(taus)]  # a resample that drew one candidate alone has no order
    if not len(taus):
        return None
    ends = np.quantile(taus, [(1 - level) / 2, (1 + level) / 2])
    return [round(float(end), DECIMALS) + 0.0 for end in ends]


def inversions(names: list[str], first: list[float], second: list[float]) -> tuple[int, list[list[str]]]:
    """How many pairs the hosts order differently, and those with the widest gaps as [better here, better there]."""
    worse, better = np.nonzero((_order(first) > 0) & (_order(second) < 0))
    first_means, second_means = np.asarray(first), np.asarray(second)
    gaps = np.round(
        np.minimum(first_means[worse] - first_means[better], second_means[better] - second_means[worse]), DECIMALS
    )
    widest = np.lexsort((worse, better, -gaps))[:LISTED]
    return len(gaps), [[names[better[i]], names[worse[i]]] for i in widest]
