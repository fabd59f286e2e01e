"""The model of learning curves: it finds what made the data, foretells what it did not see, and refuses what has no noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, multivariate_normal

from stages.backtest import model as m
from stages.backtest.model import Model, fit, fit_noise, held_out
from stages.backtest.samples import Samples, from_ledger
from stages.domain import canonical
from stages.domain.errors import Invalid
from tests.backtest.test_engine import FINISHED
from tests.backtest.test_engine import record as a_record
from tests.support.repo import PROJECT

BUDGETS = (1.0, 2.0, 4.0, 8.0, 16.0)
TRUE = Model(
    16.0, 1.0, 0.8, 0.3, 0.05, -0.4, 4.0, "exponential", 0.2, 0.004, -0.2, ("h1", "h2"), np.array([[0.01, 0.0], [-0.01, 0.0]])
)  # fmt: skip


def drawn(truth: Model, configs: int, runs: int, seed: int) -> Samples:
    """Scores that a model makes: so many configurations, with so many runs in every cell."""
    generator, budgets = np.random.default_rng(seed), np.array(BUDGETS)
    root = np.linalg.cholesky(truth.correlation(budgets)).T * truth.spread(budgets)
    shared = generator.standard_normal((configs, 1, 5)) @ root
    own = truth.host_part * generator.standard_normal((configs, 2, 5)) @ root
    noise = truth.noise(budgets) * generator.standard_normal((runs, configs, 2, 5))
    scores = truth.mean(budgets) + truth.host_means(budgets)[None] + shared + own + noise
    within = ((scores - scores.mean(axis=0)) ** 2).sum(axis=(0, 1, 2))
    freedom = np.full(5, (runs - 1.0) * configs * 2)
    names = tuple(f"c{n}" for n in range(configs))
    counts = np.full((configs, 2, 5), float(runs))
    return Samples(
        "made", names, ("h1", "h2"), BUDGETS, scores.mean(axis=0), counts, within, freedom, np.eye(5), "nats", False
    )


@pytest.fixture(scope="module")
def many() -> Samples:
    return drawn(TRUE, 150, 3, 7)


@pytest.fixture(scope="module")
def found(many: Samples) -> Model:
    return fit(many)


@pytest.mark.filterwarnings("error")
def test_configurations_that_a_budget_never_saw_are_fitted_and_foretold_without_a_warning() -> None:
    whole = drawn(TRUE, 12, 3, 7)
    means, counts = whole.means.copy(), whole.counts.copy()
    means[6:, :, 2:], counts[6:, :, 2:] = np.nan, 0
    stopped = replace(whole, means=means, counts=counts)
    assert np.isfinite(fit(stopped).likelihood)
    assert [row.configs for row in held_out(stopped, 3)][-1] == 6


def test_the_fit_finds_what_made_the_curves(found: Model) -> None:
    budgets = np.array(BUDGETS)
    assert found.mean(budgets) == pytest.approx(TRUE.mean(budgets), abs=4 * 0.15 / np.sqrt(150))
    assert found.spread(budgets) == pytest.approx(TRUE.spread(budgets), rel=0.2)
    assert found.noise(budgets) == pytest.approx(TRUE.noise(budgets), rel=0.05)
    assert found.correlation(budgets)[0] == pytest.approx(TRUE.correlation(budgets)[0], abs=0.1)
    assert found.host_part == pytest.approx(0.2, rel=0.25)
    assert found.kernel == "exponential"
    assert found.host_effects[:, 0] == pytest.approx([0.01, -0.01], abs=0.004)


def test_the_likelihood_is_that_of_a_gaussian(many: Samples, found: Model) -> None:
    """Against scipy's multivariate normal, written out cell by cell."""
    budgets = np.array(BUDGETS)
    added, _ = m._host_effects(many)
    total = 0.0
    for config in range(len(many.configs)):
        values = (many.means[config] - added).ravel()
        covariance = np.zeros((10, 10))
        for i in range(10):
            for j in range(10):
                (h, b), (g, c) = divmod(i, 5), divmod(j, 5)
                shared = found.spread(budgets)[b] * found.spread(budgets)[c] * found.correlation(budgets)[b, c]
                covariance[i, j] = shared * (1 + found.host_part**2 * (h == g))
                if i == j:
                    covariance[i, j] += found.noise(budgets)[b] ** 2 / 3
        total += multivariate_normal(np.tile(found.mean(budgets), 2), covariance).logpdf(values)
    assert found.likelihood == pytest.approx(total, rel=1e-8)


def test_no_other_model_near_it_is_likelier(many: Samples, found: Model) -> None:
    added, _ = m._host_effects(many)
    data = m._stack(many, added)

    def likelihood(model: Model) -> float:
        away = data.values - model.mean(np.array(BUDGETS))[data.budget]
        covariances = m._covariance(model, many, data)
        return sum(multivariate_normal(np.zeros(10), c).logpdf(a) for a, c in zip(away, covariances, strict=True))

    best = likelihood(found)
    for name in ("offset", "scale", "exponent", "config_sd", "config_slope", "length", "host_part"):
        for factor in (0.97, 1.03):
            assert likelihood(replace(found, **{name: getattr(found, name) * factor})) <= best + 1e-3, name


def test_intervals_cover_what_the_fit_did_not_see_as_often_as_they_say(many: Samples) -> None:
    """150 unseen configurations at each budget: coverage within the 99.9 % limits of a binomial."""
    for row in held_out(many, folds=3):
        assert row.configs == 150
        for level, share in zip(m.LEVELS, row.coverage, strict=True):
            low, high = binom.interval(0.999, 150, level)
            assert low <= share * 150 <= high, (row.budget, level)


def test_what_it_foretells_is_nearer_than_the_naive_forecast(many: Samples) -> None:
    rows = held_out(many, folds=3)
    assert all(row.error < row.naive for row in rows[1:])


def test_curves_that_a_rule_stopped_do_not_bend_the_fit(many: Samples) -> None:
    """Only the better half goes on from the second budget: the mean of what is seen falls, that of the model does not."""
    score = many.means.mean(axis=1)[:, 1]
    stopped = score > np.median(score)
    means, counts = many.means.copy(), many.counts.copy()
    means[stopped, :, 2:], counts[stopped, :, 2:] = np.nan, 0
    selected = fit(replace(many, means=means, counts=counts))
    last = TRUE.mean(np.array([16.0]))[0]
    seen = float(np.nanmean(means[:, :, 4]))
    assert abs(selected.mean(np.array([16.0]))[0] - last) < 0.5 * abs(seen - last)


def test_the_noise_is_that_of_pooled_variances() -> None:
    samples = drawn(TRUE, 4, 2, 1)
    exact = replace(samples, within=np.array([8.0, 2.0, 0.5, 0.125, 0.03125]), freedom=np.full(5, 8.0))
    sd, slope = fit_noise(exact)
    assert slope == pytest.approx(-1.0, abs=1e-4)
    assert sd == pytest.approx(np.sqrt(0.03125 / 8), rel=1e-4)
    only = replace(samples, freedom=np.array([0, 0, 5.0, 0, 0]), within=np.array([0, 0, 0.05, 0, 0]))
    assert fit_noise(only) == (pytest.approx(0.1), 0.0)


def test_the_ledger_of_the_default_study_is_read_with_its_noise() -> None:
    samples = from_ledger(PROJECT / "ledger" / "runs.jsonl")
    assert (len(samples.configs), samples.hosts, samples.budgets) == (
        12,
        ("cpu-bf16", "cpu-fp32"),
        (0.5, 1.0, 2.0, 5.0, 12.5),
    )
    assert [int((samples.counts[:, 0, n] > 0).sum()) for n in range(5)] == [12, 12, 9, 4, 3]
    assert samples.freedom.tolist() == [0, 0, 22, 8, 6]


def test_a_ledger_without_replication_measures_no_noise(tmp_path) -> None:
    ledger = tmp_path / "runs.jsonl"
    lines = []
    for n in range(5):
        for rung, seconds in ((3, 10.0), (4, 20.0)):
            value = a_record(f"c{n}", "h1", 31, 1_000_000 + 1000 * n, FINISHED).model_dump(by_alias=True)
            value |= {"rung": f"rung{rung}", "gate": f"gate{rung}", "budget": {"clock": "rated", "seconds": seconds}}
            lines.append(canonical.dumps(value))
    ledger.write_bytes(b"".join(lines))
    with pytest.raises(Invalid, match="no noise was measured: .*add seeds or A/A runs"):
        from_ledger(ledger)
    ledger.write_bytes(b"".join(lines[:4]))
    with pytest.raises(Invalid, match="found 2 configurations at 2 budgets, expected at least 4"):
        from_ledger(ledger)
    with pytest.raises(Invalid, match="is missing; name a ledger"):
        from_ledger(tmp_path / "none.jsonl")
