"""Coverage of the intervals and size of the tests on synthetic studies with a known answer: the table of docs/confidence.md.

    python -m tests.confidence.tables

Each row simulates 4,000 pairs of configurations with their own mean on each host; the Monte-Carlo error of a
share is 0.35 points at 5 and 95 %, 0.6 at 80 % and 0.8 at 50 %.
"""

from __future__ import annotations

import sys
from fractions import Fraction

import numpy as np

from stages.confidence.equivalence import compare_with_margin, detectable_effect, sign_flip_p, smallest_p
from stages.confidence.intervals import Paired, block_interval

SD, MARGIN = 0.003, 0.010
SHAPES = ((1, 2), (1, 4), (2, 2), (2, 3), (2, 4), (3, 3))


def drawn(random: np.random.RandomState, mean: float, hosts: int, seeds: int) -> Paired:
    """One study's differences: hosts a hundredth apart around `mean`, cells with SD."""
    means = mean + 0.01 * (np.arange(hosts) - (hosts - 1) / 2)
    cells = np.round(means[:, None] + random.normal(0, SD, (hosts, seeds)), 6)
    return Paired({f"h{at}": tuple(Fraction(repr(float(value))) for value in row) for at, row in enumerate(cells)})


def row(hosts: int, seeds: int, studies: int) -> list[float]:
    """Shares: intervals that cover, equivalence called on the margin, a detectable gap seen."""
    random = np.random.RandomState(100 * hosts + seeds)
    names = [f"h{at}" for at in range(hosts)]
    gap = detectable_effect(hosts * seeds, hosts * (seeds - 1)) * SD
    counts = np.zeros(3)
    for _ in range(studies):
        none, edge, far = (block_interval(drawn(random, mean, hosts, seeds), names) for mean in (0.0, MARGIN, gap))
        counts += [
            none.lower <= 0 <= none.upper,
            compare_with_margin(edge, MARGIN, two_sided=True).outcome == "equivalent",
            far.lower > 0,
        ]
    return list(counts / studies)


def flips(cells: int, studies: int) -> float:
    """The share of studies without any difference whose sign-flip p is at most 0.05, or the smallest that it can be."""
    random = np.random.RandomState(cells)
    level = max(0.05, smallest_p(cells))
    return sum(sign_flip_p(drawn(random, 0.0, 1, cells)) <= level + 1e-12 for _ in range(studies)) / studies


def main() -> None:
    """Print the two tables as Markdown."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    print("| hosts x seeds | 95 % interval covers | called equivalent on the margin | detectable gap seen |")
    print("|---|---|---|---|")
    for hosts, seeds in SHAPES:
        shares = " | ".join(f"{100 * share:.1f} %" for share in row(hosts, seeds, studies))
        print(f"| {hosts} x {seeds} | {shares} |")
    print("\n| cells | smallest p | sign-flip p at most 5 % (or the smallest) |")
    print("|---|---|---|")
    for cells in (2, 4, 6, 8):
        print(f"| {cells} | {smallest_p(cells):.4f} | {100 * flips(cells, studies):.1f} % |")


if __name__ == "__main__":
    main()
