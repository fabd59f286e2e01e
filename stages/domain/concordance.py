"""Kendall's tau-b, by scipy, rounded so that it is the same number on every machine."""

from __future__ import annotations

import math
from collections.abc import Sequence

DECIMALS = 9


def tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Tau-b of two rankings of the same things; None where fewer than two differ in either of them."""
    if len(first) < 2:
        return None
    from scipy.stats import kendalltau  # takes half a second to import: only who asks for it pays

    tau = float(kendalltau(first, second, variant="b").statistic)
    return None if math.isnan(tau) else round(tau, DECIMALS) + 0.0
