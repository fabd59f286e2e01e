"""Two hosts' means of the same candidates: the interval of tau-b and the pairs that the hosts order differently."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, kendalltau

from stages.domain.evidence import tau_b
from stages.summary import pairs
from stages.summary.agreement import LEVEL

MEANS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=2, max_size=9)


def apart(values):
    return [float(a) for a, _ in values], [float(b) for _, b in values]


@given(MEANS, st.integers(0, 2**32))
def test_the_tau_of_a_resample_is_scipys(values, seed):
    first, second = apart(values)
    drawn = np.random.default_rng(seed).integers(0, len(first), (4, len(first)))
    for row, tau in zip(drawn, pairs.resampled(first, second, drawn), strict=True):
        expected = kendalltau([first[i] for i in row], [second[i] for i in row], variant="b").statistic
        assert tau == pytest.approx(expected, nan_ok=True)


@given(MEANS)
def test_inversions_are_the_pairs_that_the_hosts_order_differently(values):
    first, second = apart(values)
    names = [f"c{i}" for i in range(len(first))]
    expected = []
    for a, b in combinations(range(len(names)), 2):
        if (first[a] - first[b]) * (second[a] - second[b]) < 0:
            expected.append([names[a], names[b]] if first[a] < first[b] else [names[b], names[a]])
    count, listed = pairs.inversions(names, first, second)
    assert count == len(expected)
    assert sorted(listed) == sorted(expected)


def test_the_widest_inversions_come_first_and_the_list_is_bounded():
    names = [f"c{i:02d}" for i in range(30)]
    first = [float(i) for i in range(30)]
    count, listed = pairs.inversions(names, first, first[::-1])
    assert count == 30 * 29 / 2
    assert len(listed) == pairs.LISTED
    assert listed[0] == ["c00", "c29"]


def test_an_interval_is_the_same_for_everybody_and_holds_tau():
    first = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]
    second = [1.1, 1.0, 1.2, 1.5, 1.3, 1.4, 1.7, 1.6]
    low, high = pairs.interval(first, second, LEVEL)
    assert -1 <= low <= tau_b(first, second) <= high <= 1
    assert pairs.interval(first, second, LEVEL) == [low, high]
    inner = pairs.interval(first, second, 0.5)
    assert low < inner[0] <= inner[1] < high


def test_perfect_agreement_has_an_interval_without_width():
    assert pairs.interval([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.0, 4.0, 5.0, 6.0], LEVEL) == [1.0, 1.0]


@pytest.mark.parametrize("count", [0, 1, pairs.FEWEST - 1, pairs.MOST + 1])
def test_too_few_or_too_many_candidates_have_no_interval(count):
    values = [float(i) for i in range(count)]
    assert pairs.interval(values, values, LEVEL) is None


def test_candidates_that_are_all_equal_have_no_interval():
    assert pairs.interval([1.0] * 6, [2.0] * 6, LEVEL) is None


@settings(deadline=None, max_examples=25)
@given(
    st.integers(5, 12).flatmap(
        lambda n: st.tuples(*[st.lists(st.sampled_from([0.1, 0.2, 0.25, 0.9]), min_size=n, max_size=n)] * 2)
    )
)
def test_the_interval_is_that_of_scipys_bootstrap(means):
    first, second = means

    def statistic(drawn, axis):
        return pairs.resampled(first, second, np.atleast_2d(drawn)).reshape(drawn.shape[:-1])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = bootstrap(
            (np.arange(len(first)),), statistic, n_resamples=pairs.RESAMPLES, method="percentile",
            random_state=np.random.default_rng(pairs.SEED),
        ).bootstrap_distribution  # fmt: skip
    kept = theirs[~np.isnan(theirs)]
    ends = [round(float(end), 9) + 0.0 for end in np.quantile(kept, [0.025, 0.975])] if len(kept) else None
    assert pairs.interval(first, second, 0.95) == ends


def test_intervals_are_of_five_candidates_to_as_many_as_memory_holds(monkeypatch):
    values = [float(i) for i in range(6)]
    assert [pairs.interval(values[:n], values[:n], LEVEL) for n in (4, 5, 6)] == [None, [1.0, 1.0], [1.0, 1.0]]
    monkeypatch.setattr(pairs, "MOST", 5)
    assert [pairs.interval(values[:n], values[:n], LEVEL) for n in (5, 6)] == [[1.0, 1.0], None]


def test_inversions_are_listed_by_the_smaller_of_their_two_gaps_then_by_name():
    first, second = [1.0, 2.0, 3.0, 1.0], [3.0, 2.5, 1.0, 3.0]
    assert pairs.inversions(list("abcd"), first, second) == (
        5, [["a", "c"], ["d", "c"], ["b", "c"], ["a", "b"], ["d", "b"]]
    )  # fmt: skip
    assert pairs.inversions(list("ab"), [1.0, 1.0], [1.0, 2.0]) == (0, [])
    assert pairs.inversions(list("ab"), [1.0, 2.0], [1.0, 1.0]) == (0, [])
