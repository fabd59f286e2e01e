"""The parts of the model of curves, each against a calculation by hand, and the limits of the search for it."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from stages.backtest import model as m
from stages.backtest.model import Model, fit, fit_noise, held_out
from stages.backtest.samples import Samples
from stages.domain.errors import Invalid

BUDGETS = (1.0, 4.0)
PLAIN = Model(
    4.0,
    1.0,
    0.5,
    0.5,
    0.2,
    -0.5,
    2.0,
    "exponential",
    0.5,
    0.04,
    -0.25,
    ("h1", "h2"),
    np.array([[0.1, 0.2], [-0.1, 0.0]]),
)


def samples(means: Any, counts: Any = None, *, within: Any = (0.02, 0.08), freedom: Any = (2.0, 4.0)) -> Samples:
    """Means of configuration x host x budget, one run in every cell that is known."""
    table = np.array(means, dtype=float)
    many = np.where(np.isnan(table), 0.0, 1.0) if counts is None else np.array(counts, dtype=float)
    names = tuple(f"c{n}" for n in range(len(table)))
    hosts = tuple(f"h{n}" for n in range(1, table.shape[1] + 1))
    return Samples(
        "made", names, hosts, BUDGETS, table, many, np.array(within), np.array(freedom), np.eye(2), "nats", False
    )


NAN = float("nan")
#: Two hosts a tenth apart at the first budget and three tenths at the last; the third was stopped after the first.
MEANS = [[[3.0, 2.0], [3.1, 2.3]], [[3.2, 2.1], [3.3, 2.4]], [[3.4, NAN], [3.5, NAN]]]


def test_what_a_model_says_of_two_budgets():
    ends = np.array(BUDGETS)
    apart = log(4) / 2
    assert PLAIN.mean(ends) == pytest.approx([1 + 0.5 * 2, 1.5])
    assert PLAIN.spread(ends) == pytest.approx([0.4, 0.2])
    assert PLAIN.noise(ends) == pytest.approx([0.04 * sqrt(2), 0.04])
    assert PLAIN.correlation(ends) == pytest.approx(np.array([[1, np.exp(-apart)], [np.exp(-apart), 1]]))
    smooth = replace(PLAIN, kernel="matern32").correlation(ends)[0, 1]
    assert smooth == pytest.approx((1 + sqrt(3) * apart) * np.exp(-sqrt(3) * apart))
    assert PLAIN.host_means(ends) == pytest.approx(np.array([[0.1 - 0.2 * log(4), 0.1], [-0.1, -0.1]]))


def test_the_host_effect_is_the_mean_distance_from_the_mean_of_hosts_where_all_ran():
    added, lines = m._host_effects(samples(MEANS))
    assert added == pytest.approx(np.array([[-0.05, -0.15], [0.05, 0.15]]))
    # level at the last budget, and the slope from log 1/4 to there
    assert lines == pytest.approx(np.array([[-0.15, -0.1 / log(4)], [0.15, 0.1 / log(4)]]))
    holes = np.array(MEANS)
    holes[0, 1, 0] = NAN  # then the first configuration says nothing of the first budget
    holes[1, 0, 0] = 3.0
    assert m._host_effects(samples(holes))[0][:, 0] == pytest.approx([-0.1, 0.1])
    alone = m._host_effects(samples(np.array(MEANS)[:, :1]))
    assert (alone[0].tolist(), alone[1].tolist()) == ([[0.0, 0.0]], [[0.0, 0.0]])
    nobody = np.array(MEANS)
    nobody[:, 0, 0] = NAN
    assert m._host_effects(samples(nobody))[0][:, 0].tolist() == [0.0, 0.0]


def test_means_of_what_is_known_leave_out_what_is_not(recwarn):
    table = np.array([[1.0, NAN, 3.0], [NAN, NAN, NAN]])
    assert m._known_means(table, 1).tolist()[0] == 2.0
    assert np.isnan(m._known_means(table, 1)[1])
    assert m._known_means(table, 0).tolist()[::2] == [1.0, 3.0]
    assert not recwarn.list


def test_a_covariance_has_the_configuration_its_host_and_its_runs():
    one = samples(MEANS, [[[1, 4], [1, 1]], [[1, 1], [1, 1]], [[1, 0], [1, 0]]])
    one = replace(one, run_correlation=np.array([[1.0, 0.5], [0.5, 1.0]]))
    data = m._stack(one, np.zeros((2, 2)))
    assert (data.budget.tolist(), data.host.tolist()) == ([0, 1, 0, 1], [0, 0, 1, 1])
    assert data.known.tolist() == [[True] * 4, [True] * 4, [True, False, True, False]]
    assert data.values[2].tolist() == [3.4, 0.0, 3.5, 0.0]
    less = m._stack(one, np.array([[0.1, 0.2], [0.3, -0.4]]))
    assert less.values[::2] == pytest.approx(np.array([[2.9, 1.8, 2.8, 2.7], [3.3, 0.0, 3.2, 0.0]]))
    spread, noise, shared = (0.4, 0.2), (0.04 * sqrt(2), 0.04), float(np.exp(-log(4) / 2))
    first = m._covariance(PLAIN, one, data)[0]
    for i in range(4):
        for j in range(4):
            (g, b), (h, c) = divmod(i, 2), divmod(j, 2)
            value = spread[b] * spread[c] * (shared if b != c else 1.0) * (1.25 if g == h else 1.0)
            if g == h:
                of_runs = sqrt((4 if i == 1 else 1) * (4 if j == 1 else 1))
                value += noise[b] * noise[c] / of_runs * (0.5 if b != c else 1.0)
            assert first[i, j] == pytest.approx(value), (i, j)
    stopped = m._covariance(PLAIN, one, data)[2]
    assert stopped[1].tolist() == [0.0, 1.0, 0.0, 0.0] and stopped[:, 3].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert stopped[0, 2] == pytest.approx(0.16)


def test_the_start_is_a_power_law_through_the_means_of_those_who_went_all_the_way():
    curve = 1.0 + 0.5 * np.exp(-0.3 * np.log(np.array([1.0, 2.0, 4.0, 8.0, 16.0]) / 16))
    whole = replace(samples(np.tile(curve, (3, 1, 1))), budgets=(1.0, 2.0, 4.0, 8.0, 16.0))
    assert m._start(whole) == pytest.approx([1.0, log(0.5), log(0.3)], abs=1e-4)
    stopped = whole.means.copy()
    stopped[0] += 5  # a bad one that was stopped says nothing of the curve of the others
    stopped[0, :, 4] = NAN
    assert m._start(replace(whole, means=stopped)) == pytest.approx([1.0, log(0.5), log(0.3)], abs=1e-4)
    scattered = whole.means.copy()
    for n in range(3):
        scattered[n, :, n] = NAN  # nobody has all budgets
    assert m._start(replace(whole, means=scattered)) == pytest.approx([1.0, log(0.5), log(0.3)], abs=1e-4)


@pytest.mark.parametrize("rise", [0.0, 0.1])
def test_the_least_squares_start_within_their_bounds_from_a_curve_that_falls_by_a_millionth_at_least(monkeypatch, rise):
    asked: list[Any] = []

    def least_squares(function: Any, guess: Any, bounds: Any) -> Any:
        asked.append((list(guess), bounds))
        return SimpleNamespace(x=guess)

    monkeypatch.setattr(scipy.optimize, "least_squares", least_squares)
    flat = samples([[[2.0, 2.0 + rise]]] * 2)
    assert m._start(flat) == pytest.approx([2.0 + rise - 0.5e-6, -12.0, log(0.3)])
    assert asked[0][1] == ([-np.inf, -12.0, log(0.02)], [np.inf, 8.0, log(3.0)])
    falls = m._start(samples([[[2.4, 2.0]]] * 2))
    assert falls == pytest.approx([1.8, log(0.2), log(0.3)])


def test_pooled_variances_have_a_smallest_one_and_one_budget_has_no_slope():
    made = samples(MEANS)
    least = (m.LEAST * float(np.nanstd(made.means))) ** 2
    only = replace(made, within=np.array([0.0, 0.0]), freedom=np.array([0.0, 3.0]))
    assert fit_noise(only) == (pytest.approx(sqrt(least)), 0.0)
    quiet = fit_noise(replace(made, within=np.array([0.0, 0.0])))
    assert quiet == (pytest.approx(sqrt(least), rel=1e-4), pytest.approx(0.0, abs=1e-4))
    # variances of 0.01 and 0.02: the slope is half of log 2 in log 4
    sd, slope = fit_noise(made)
    assert (sd, slope) == (pytest.approx(sqrt(0.02), rel=1e-4), pytest.approx(0.25, abs=1e-4))


class Minimizer:
    """Stands in for scipy's: notes what it is asked, and ends where it is told to."""

    def __init__(self, value: float = 5.0) -> None:
        self.asked: list[dict[str, Any]] = []
        self.value = value

    def __call__(self, function: Any, start: Any, method: str, bounds: Any, options: Any = None) -> Any:
        self.asked.append(
            {"function": function, "start": list(start), "method": method, "bounds": bounds, "options": options}
        )
        return SimpleNamespace(x=np.array(start), fun=self.value, message="so it ended")


def test_the_search_starts_from_the_power_law_and_stays_within_bounds(monkeypatch):
    minimizer = Minimizer()
    monkeypatch.setattr(scipy.optimize, "minimize", minimizer)
    monkeypatch.setattr(m, "_start", lambda samples: np.array([1.0, -0.5, -1.0]))
    made = samples(MEANS)
    found = fit(made)
    noise, search, *rest = minimizer.asked
    assert (noise["method"], noise["bounds"]) == ("L-BFGS-B", [(None, None), (-3, 3)])
    assert noise["start"] == pytest.approx([0.5 * (2 * log(0.01) + 4 * log(0.02)) / 6, 0.0])
    spread = log(float(np.nanstd(made.means[:, :, 1])))
    assert search["start"] == pytest.approx([1.0, -0.5, -1.0, spread, -0.2, log(3.0), log(0.2)])
    bounds = [
        (None, None),
        (-12, 8),
        (log(0.02), log(3.0)),
        (spread - 6, spread + 4),
        (-2, 1),
        (log(0.05), log(1e3)),
        (-6, 2),
    ]
    assert search["bounds"] == bounds
    assert (search["method"], search["options"]) == ("L-BFGS-B", {"maxiter": 400, "maxfun": 20_000})
    assert len(rest) == 2, "noise and curves for each kernel"
    assert found.likelihood == pytest.approx(-0.5 * (5.0 + 10 * log(2 * np.pi))), "ten cells are known"
    assert (found.offset, found.scale, found.exponent) == (
        1.0,
        pytest.approx(np.exp(-0.5)),
        pytest.approx(np.exp(-1.0)),
    )
    assert (found.config_sd, found.config_slope) == (pytest.approx(np.exp(spread)), -0.2)
    assert (found.length, found.host_part, found.reference, found.hosts) == (
        pytest.approx(3.0), pytest.approx(0.2), 4.0, ("h1", "h2"),
    )  # fmt: skip
    assert search["function"](np.array([1.0, -0.5, -1.0, spread, -0.2, log(3.0), log(0.2)])) < m.NOWHERE
    assert search["function"](np.array([1.0, -0.5, -1.0, 300.0, -0.2, log(1e300), -600.0])) == m.NOWHERE


def test_one_host_has_no_part_of_its_own_and_equal_ends_the_spread_of_all(monkeypatch):
    minimizer = Minimizer()
    monkeypatch.setattr(scipy.optimize, "minimize", minimizer)
    made = samples([[[3.0, 2.0]], [[3.2, 2.0]], [[3.4, 2.0]]])
    assert fit(made).host_part == 0.0
    assert minimizer.asked[1]["start"][3] == pytest.approx(log(float(np.std(made.means))))


@pytest.mark.parametrize("value", [m.NOWHERE, 2 * m.NOWHERE, float("nan"), float("inf")])
def test_a_search_that_ends_nowhere_finds_no_model(monkeypatch, value):
    monkeypatch.setattr(scipy.optimize, "minimize", Minimizer(value))
    with pytest.raises(Invalid) as caught:
        fit(samples(MEANS))
    assert str(caught.value) == "made: no model of these curves was found: so it ended"


def test_a_mean_over_hosts_is_foretold_from_the_budget_before():
    one = samples([[[3.0, 2.0], [3.1, 2.3]]], [[[1, 1], [1, 1]]])
    data = m._stack(one, np.zeros((2, 2)))
    covariance = m._covariance(PLAIN, one, data)[0]
    rows: list[list[tuple[float, float, float]]] = [[], []]
    m._predict(PLAIN, one, data, 0, covariance, np.array([3.2, 2.5]), rows)
    [(error, sd, naive)], [(last_error, last_sd, last_naive)] = rows
    expected = PLAIN.mean(np.array(BUDGETS))
    # of the first budget nothing is known before
    assert (error, naive) == (pytest.approx(3.05 - expected[0]), pytest.approx(3.05 - 3.2))
    first, last = covariance[np.ix_([0, 2], [0, 2])], covariance[np.ix_([1, 3], [1, 3])]
    assert sd == pytest.approx(sqrt(first.sum() / 4))
    gain = covariance[np.ix_([1, 3], [0, 2])] @ np.linalg.inv(first)
    foretold = expected[1] + (gain @ (np.array([3.0, 3.1]) - expected[0])).mean()
    assert last_error == pytest.approx(2.15 - foretold)
    assert last_sd == pytest.approx(sqrt((last - gain @ first @ gain.T).sum() / 4))
    assert last_naive == pytest.approx(2.15 - (2.5 + 3.05 - 3.2))


def test_every_configuration_is_left_out_once_and_coverage_is_counted(monkeypatch):
    table = np.array([[[3.0, 2.0]], [[3.1, 2.1]], [[3.2, 2.2]], [[3.3, NAN]], [[3.4, NAN]]])
    made = samples(table)
    trained: list[tuple[str, ...]] = []

    def fitted(train: Samples) -> Model:
        trained.append(train.configs)
        return replace(PLAIN, hosts=("h1",), host_part=0.0)

    monkeypatch.setattr(m, "fit", fitted)
    rows = held_out(made, 2)
    assert len(trained) == 2 and sorted(map(len, trained)) == [2, 3]
    assert set(trained[0]) | set(trained[1]) == set(made.configs) and not set(trained[0]) & set(trained[1])
    assert [(row.budget, row.configs, row.folds) for row in rows] == [(1.0, 5, 2), (4.0, 3, 2)]
    # errors of 1 to 1.4 at a deviation of 0.404: each is outside of every central interval
    assert rows[0].error == pytest.approx(sqrt(np.mean((table[:, 0, 0] - 2.0) ** 2)))
    assert rows[0].coverage == (0.0, 0.0, 0.0)
    trained.clear()
    assert [row.folds for row in held_out(made, 9)] == [5, 5], "no more folds than configurations"
    assert len(trained) == 5
    only = replace(
        made, means=np.where(np.arange(2) == 0, table, NAN), counts=np.where(np.arange(2) == 0, 1.0, 0.0) * made.counts
    )
    assert [row.budget for row in held_out(only, 2)] == [1.0], "of a budget that nobody reached nothing is said"


def test_what_lies_inside_of_an_interval_is_covered(monkeypatch):
    # the normal's central intervals of 50, 80 and 95 % end at 0.674, 1.282 and 1.960 deviations
    wide = replace(
        PLAIN, hosts=("h1",), host_part=0.0, config_sd=0.5, config_slope=0.0, noise_sd=1e-9, offset=1.0, scale=1.0
    )
    monkeypatch.setattr(m, "fit", lambda train: replace(wide, exponent=0.0))
    at = [0.1, -0.3, 0.7, -1.2, 1.9, -1.97, 0.6, 3.0]
    made = samples([[[2.0 + 0.5 * z, NAN]] for z in at])
    [row] = held_out(made, 2)
    assert row.coverage == (3 / 8, 5 / 8, 6 / 8)
