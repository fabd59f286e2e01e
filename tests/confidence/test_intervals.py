"""Intervals of paired differences: against published data, scipy and linear algebra, and their coverage.

python -m pytest tests/confidence/test_intervals.py
"""

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from stages.confidence.intervals import Paired, block_interval, borrowed_interval, pair
from stages.confidence.noise import paired_sd
from stages.confidence.results import Noise
from tests.confidence import cases

#: Student (1908), "The probable error of a mean": hours of sleep gained, drug 2 less drug 1, ten patients.
SLEEP = (1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4)


def paired(**by_host) -> Paired:
    return Paired({host: tuple(Fraction(repr(float(value))) for value in values) for host, values in by_host.items()})


def fixed(hosts, covariance, df, source="floor") -> Noise:
    return Noise(source, "rung3", True, hosts, covariance, df, "borrowed from the A/A runs of rung3")


def test_one_host_gives_the_published_interval_of_students_sleep_data():
    # R: t.test(extra ~ group, data = sleep, paired = TRUE): t = 4.0621, df = 9, 95 % interval 0.7001142 to 2.4598858
    made = block_interval(paired(h1=SLEEP), ["h1"])
    assert (made.df, round(made.mean, 9)) == (9, 1.58)
    assert [made.lower, made.upper] == pytest.approx([0.7001142, 2.4598858], abs=5e-8)
    assert made.mean / made.se == pytest.approx(4.0621, abs=5e-5)


def test_two_hosts_are_two_blocks_of_which_each_has_its_own_mean():
    one, other = (0.010, 0.014, 0.009), (0.031, 0.028, 0.035)
    made = block_interval(paired(h1=one, h2=other), ["h1", "h2"])
    # pooled variance of two samples, as in scipy's two-sample t test, whose statistic is that of the sum's sign changed
    t = stats.ttest_ind(one, np.negative(other))
    assert made.df == 4 == t.df
    assert made.mean / made.se == pytest.approx(t.statistic)
    low, high = t.confidence_interval(0.95)
    assert [made.lower, made.upper] == pytest.approx([low / 2, high / 2])


def test_a_steady_difference_between_hosts_is_no_noise():
    apart = block_interval(paired(h1=(0.01, 0.02), h2=(0.51, 0.52)), ["h1", "h2"])
    level = block_interval(paired(h1=(0.01, 0.02), h2=(0.01, 0.02)), ["h1", "h2"])
    assert apart.se == pytest.approx(level.se)
    assert (apart.mean, level.mean) == pytest.approx((0.265, 0.015))


def test_a_mean_on_one_host_takes_its_spread_from_all():
    both = paired(h1=(0.010, 0.014, 0.009), h2=(0.031, 0.028, 0.035))
    made = block_interval(both, ["h2"])
    rest = [value - np.mean(values) for values in both.differences.values() for value in map(float, values)]
    sd = (np.square(np.array(rest, dtype=float)).sum() / 4) ** 0.5
    assert (made.df, made.mean) == (4, pytest.approx(0.094 / 3))
    assert made.se == pytest.approx(sd / 3**0.5)


def test_one_cell_a_host_has_no_spread_to_go_by():
    assert block_interval(paired(h1=(0.01,), h2=(0.02,)), ["h1", "h2"]) is None


def test_cells_that_agree_to_the_last_decimal_give_a_point():
    made = block_interval(paired(h1=(0.01, 0.01), h2=(0.02, 0.02)), ["h1", "h2"])
    assert (made.se, made.lower, made.upper) == (0.0, 0.015, 0.015)


def test_borrowed_noise_counts_what_the_hosts_of_one_seed_share():
    cells = paired(h1=(0.01,), h2=(0.02,))
    alone = borrowed_interval(cells, fixed(("h1", "h2"), ((1e-6, 0.0), (0.0, 1e-6)), 4))
    moved = borrowed_interval(cells, fixed(("h1", "h2"), ((1e-6, 1e-6), (1e-6, 1e-6)), 4))
    assert alone.se == pytest.approx(1e-3)  # sd of a difference 0.001414, over two cells
    assert moved.se == pytest.approx(2**0.5 * 1e-3)  # two cells that always agree are worth one
    assert alone.upper - alone.mean == pytest.approx(stats.t.ppf(0.975, 4) * alone.se)
    assert paired_sd(fixed(("h1", "h2"), ((1e-6, 0.0), (0.0, 3e-6)), 4), ["h1", "h2"]) == pytest.approx(2e-3)


def test_a_pair_needs_every_cell_of_both():
    gate = {"R1": {"kind": "top_k", "k": 1}}
    evidence = cases.evidence(gate, {"cmp": [1.0, 1.1, 1.2, None], "ref": [1.0] * 4})
    assert pair(evidence, "cmp", "ref", ["h1", "h2"]) is None
    assert pair(evidence, "cmp", "sen", ["h1"]) is None
    assert pair(evidence, "cmp", "ref", ["h1"]).differences == {"h1": (Fraction(0), Fraction(1, 10))}


@pytest.mark.parametrize(("hosts", "seeds"), [(1, 4), (2, 2), (3, 3)])
def test_the_interval_covers_the_truth_as_often_as_it_says(hosts, seeds):
    random = np.random.RandomState(hosts * 10 + seeds)
    truth = np.linspace(0.01, 0.03, hosts)
    runs = 600
    covered = 0
    for _ in range(runs):
        drawn = np.round(truth[:, None] + random.normal(0, 0.004, (hosts, seeds)), 6)
        names = [f"h{n}" for n in range(hosts)]
        made = block_interval(paired(**dict(zip(names, drawn.tolist(), strict=True))), names)
        covered += made.lower <= truth.mean() <= made.upper
    # 95 % within three Monte-Carlo standard errors
    assert abs(covered / runs - 0.95) < 3 * (0.95 * 0.05 / runs) ** 0.5


def test_the_borrowed_interval_covers_as_often_as_it_says():
    random = np.random.RandomState(5)
    sigma = np.array([[9e-6, 5e-6], [5e-6, 16e-6]])
    runs, covered = 2000, 0
    for _ in range(runs):
        floor = random.multivariate_normal([0, 0], sigma, size=6)
        noise = fixed(("h1", "h2"), tuple(map(tuple, np.cov(floor.T))), 5)
        one, other = random.multivariate_normal([0.01, 0.02], sigma, size=2) * [[1], [-1]]
        made = borrowed_interval(paired(h1=(one[0] + other[0] + 0.01,), h2=(one[1] + other[1] + 0.02,)), noise)
        covered += made.lower <= 0.015 <= made.upper
    assert abs(covered / runs - 0.95) < 3 * (0.95 * 0.05 / runs) ** 0.5
