"""A generative model of learning curves, fitted to recorded scores by maximum likelihood.

    score(config, host, seed, budget) = E + A x^-alpha         the population's curve: a power law with an offset
        + S x^-q (G(log x) + eta H(log x))                     the configuration, and its interaction with the host
        + host effect                                          the same for every configuration
        + sigma x^-r Z                                         the seed

with x = budget / largest recorded budget. G (one for each configuration) and H (one for each configuration and host)
are Gaussian processes of variance 1. Their correlation between budgets falls with the distance in log x, so that curves
can cross; the kernel is exponential or Matern 3/2, whichever has the higher likelihood. Z is independent for every run.
Runs stopped by a rule are missing at random given their recorded scores, so the likelihood ignores them (Rubin, 1976).

The alternative, a power law with an offset of its own for each configuration (three correlated random effects), has a
lower likelihood and predicts held-out configurations worse (docs/backtest.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, log
from typing import TYPE_CHECKING, Literal

import numpy as np

from stages.backtest.samples import Samples
from stages.domain.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Kernel = Literal["exponential", "matern32"]
KERNELS: tuple[Kernel, ...] = ("exponential", "matern32")
#: Standard deviations smaller than this part of the spread of all scores are as good as none.
LEAST = 1e-4
#: The deviance of a model that no covariance has.
NOWHERE = 1e12
#: Coverage that is looked at.
LEVELS = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Model:
    """The fitted model; `reference` is the largest recorded budget, at which spreads and noise are told."""

    reference: float
    offset: float
    scale: float
    exponent: float
    #: Standard deviation between configurations, its slope in log budget, and the length in log budget.
    config_sd: float
    config_slope: float
    length: float
    kernel: Kernel
    #: Standard deviation of a configuration on a host, as a part of that between configurations.
    host_part: float
    noise_sd: float
    noise_slope: float
    hosts: tuple[str, ...]
    #: host x (level, slope in log budget) of the host effect.
    host_effects: Floats
    likelihood: float = 0.0

    def log_x(self, budgets: Floats) -> Floats:
        """log of the budget over the reference."""
        return np.log(np.asarray(budgets, dtype=np.float64) / self.reference)

    def mean(self, budgets: Floats) -> Floats:
        """The population's curve."""
        return np.asarray(self.offset + self.scale * np.exp(-self.exponent * self.log_x(budgets)))

    def spread(self, budgets: Floats) -> Floats:
        """Standard deviation between configurations, without hosts and seeds."""
        return np.asarray(self.config_sd * np.exp(self.config_slope * self.log_x(budgets)))

    def noise(self, budgets: Floats) -> Floats:
        """Standard deviation over seeds."""
        return np.asarray(self.noise_sd * np.exp(self.noise_slope * self.log_x(budgets)))

    def correlation(self, budgets: Floats) -> Floats:
        """budget x budget: correlation of a configuration's true value between budgets."""
        x = self.log_x(budgets)
        apart = np.abs(x[:, None] - x[None, :]) / self.length
        if self.kernel == "exponential":
            return np.asarray(np.exp(-apart))
        return np.asarray((1 + np.sqrt(3) * apart) * np.exp(-np.sqrt(3) * apart))

    def host_means(self, budgets: Floats) -> Floats:
        """host x budget: the host effect, which is the same for every configuration."""
        return np.asarray(self.host_effects[:, :1] + self.host_effects[:, 1:] * self.log_x(budgets)[None])


def fit_noise(samples: Samples) -> tuple[float, float]:
    """(seed deviation at the largest budget, its slope in log budget), by the likelihood of pooled variances."""
    x = np.log(np.array(samples.budgets) / samples.budgets[-1])
    known = samples.freedom > 0
    variance = samples.within[known] / samples.freedom[known]
    smallest = (LEAST * np.nanstd(samples.means)) ** 2
    variance, freedom, x = np.maximum(variance, smallest), samples.freedom[known], x[known]
    if len(x) == 1:
        return float(np.sqrt(variance[0])), 0.0
    from scipy.optimize import minimize

    def deviance(parameters: Floats) -> float:
        logs = 2 * (parameters[0] + parameters[1] * x)
        return float((freedom * (logs + variance * np.exp(-logs))).sum())

    start = np.array([0.5 * float(np.average(np.log(variance), weights=freedom)), 0.0])
    optimum = minimize(deviance, start, method="L-BFGS-B", bounds=[(None, None), (-3, 3)])
    return exp(optimum.x[0]), float(optimum.x[1])


def _known_means(values: Floats, axis: int) -> Floats:
    """Means along an axis over what is known; NaN, without a warning, where nothing is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=axis) / known.sum(axis=axis))


def _host_effects(samples: Samples) -> tuple[Floats, Floats]:
    """(the host effect, host x budget; the same as level and slope)."""
    x = np.log(np.array(samples.budgets) / samples.budgets[-1])
    many = len(samples.hosts)
    added = np.zeros((many, len(samples.budgets)))
    whole = np.asarray(~np.isnan(samples.means).any(axis=1))
    for budget in range(len(samples.budgets)):
        rows = samples.means[:, :, budget][whole[:, budget]]
        if len(rows) and many > 1:
            added[:, budget] = (rows - rows.mean(axis=1, keepdims=True)).mean(axis=0)
    lines = np.stack(
        [np.polyfit(x, added[host], 1)[::-1] if len(x) > 1 else [added[host, 0], 0] for host in range(many)]
    )
    return added, lines


def _start(samples: Samples) -> Floats:
    """E, log A, log alpha of a power law with an offset, by least squares through the mean of what all budgets have."""
    from scipy.optimize import least_squares

    x = np.log(np.array(samples.budgets) / samples.budgets[-1])
    of_config = _known_means(samples.means, axis=1)
    common = ~np.isnan(of_config).any(axis=1)
    means = of_config[common].mean(axis=0) if common.any() else _known_means(of_config, axis=0)
    drop = max(float(means[0] - means[-1]), 1e-6)
    guess = np.array([means[-1] - 0.5 * drop, log(0.5 * drop), log(0.3)])

    def residuals(parameters: Floats) -> Floats:
        return np.asarray(parameters[0] + np.exp(parameters[1] - np.exp(parameters[2]) * x) - means)

    lower, upper = [-np.inf, -12.0, log(0.02)], [np.inf, 8.0, log(3.0)]
    return np.asarray(least_squares(residuals, np.clip(guess, lower, upper), bounds=(lower, upper)).x)


@dataclass(frozen=True)
class _Data:
    """Cells of all configurations as vectors, budget by budget within a host; `known` says which were run.

    `values` are less the host effects; configuration x cell. `budget` and `host` are of a cell.
    """

    values: Floats
    known: NDArray[np.bool_]
    counts: Floats
    budget: NDArray[np.int64]
    host: NDArray[np.int64]


def _stack(samples: Samples, added: Floats) -> _Data:
    configs, hosts, budgets = samples.means.shape
    counts = samples.counts.reshape(configs, -1)
    values = np.nan_to_num(samples.means - added[None]).reshape(configs, -1)
    host, budget = np.divmod(np.arange(hosts * budgets), budgets)
    return _Data(values, counts > 0, counts, budget, host)


def _covariance(model: Model, samples: Samples, data: _Data) -> Floats:
    """configuration x cell x cell. A cell that was not run is independent of all, with variance 1."""
    budgets = np.array(samples.budgets)
    spread = model.spread(budgets)[data.budget]
    same_host = data.host[:, None] == data.host[None, :]
    between = model.correlation(budgets)[data.budget[:, None], data.budget[None, :]]
    shared = np.outer(spread, spread) * between * (1 + model.host_part**2 * same_host)
    noise = model.noise(budgets)[data.budget] / np.sqrt(np.where(data.known, data.counts, 1.0))
    correlated = samples.run_correlation[data.budget[:, None], data.budget[None, :]] * same_host
    both = data.known[:, :, None] & data.known[:, None, :]
    whole = shared + noise[:, :, None] * noise[:, None, :] * correlated
    return np.asarray(np.where(both, whole, np.eye(len(data.budget))))


def _unpack(parameters: Floats, samples: Samples, kernel: Kernel, noise: tuple[float, float], lines: Floats) -> Model:
    offset, log_scale, log_exponent, log_sd, slope, log_length, log_host = parameters.tolist()
    host_part = exp(log_host) if len(samples.hosts) > 1 else 0.0
    return Model(
        samples.budgets[-1], offset, exp(log_scale), exp(log_exponent), exp(log_sd), slope, exp(log_length), kernel,
        host_part, *noise, samples.hosts, lines,
    )  # fmt: skip


def fit(samples: Samples) -> Model:
    """The model of greatest likelihood. Raises `Invalid` where the search does not end."""
    return max((_fit(samples, kernel) for kernel in KERNELS), key=lambda model: model.likelihood)


def _fit(samples: Samples, kernel: Kernel) -> Model:
    from scipy.optimize import minimize

    noise = fit_noise(samples)
    added, lines = _host_effects(samples)
    data = _stack(samples, added)
    spread = float(np.nanstd(samples.means[:, :, -1])) or float(np.nanstd(samples.means))
    budgets = np.array(samples.budgets)

    def deviance(parameters: Floats) -> float:
        model = _unpack(parameters, samples, kernel, noise, lines)
        try:
            root = np.linalg.cholesky(_covariance(model, samples, data))
        except np.linalg.LinAlgError:  # so far out that nothing is independent any more
            return NOWHERE
        away = np.where(data.known, data.values - model.mean(budgets)[data.budget], 0.0)
        scaled = np.linalg.solve(root, away[..., None])
        logs = np.log(np.diagonal(root, axis1=1, axis2=2))
        return float(2 * logs.sum() + (scaled**2).sum())

    start = np.concatenate([_start(samples), [log(spread), -0.2, log(3.0), log(0.2)]])
    around = log(spread)
    bounds = [
        (None, None),
        (-12, 8),
        (log(0.02), log(3.0)),
        (around - 6, around + 4),
        (-2, 1),
        (log(0.05), log(1e3)),
        (-6, 2),
    ]
    optimum = minimize(deviance, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 400, "maxfun": 20_000})
    if not np.isfinite(optimum.fun) or optimum.fun >= NOWHERE:
        raise Invalid.at(samples.name, f"no model of these curves was found: {optimum.message}")
    values = int(data.known.sum())
    model = _unpack(optimum.x, samples, kernel, noise, lines)
    return replace(model, likelihood=-0.5 * (float(optimum.fun) + values * log(2 * np.pi)))


@dataclass(frozen=True)
class HeldOut:
    """How configurations that the fit did not see came out, budget by budget, each given its earlier budgets."""

    budget: float
    configs: int
    #: Root mean squared error of the prediction, and of "as far from the average as at the budget before".
    error: float
    naive: float
    #: Share of configurations inside the central interval of each of `LEVELS`.
    coverage: tuple[float, ...]
    folds: int


def held_out(samples: Samples, folds: int = 6) -> list[HeldOut]:
    """Fit without each fold of configurations in turn; predict its means over hosts from those at smaller budgets."""
    from scipy.stats import norm

    many = len(samples.configs)
    folds = min(folds, many)
    order = np.random.default_rng(0).permutation(many)
    rows: list[list[tuple[float, float, float]]] = [[] for _ in samples.budgets]
    for fold in range(folds):
        out = np.sort(order[fold::folds])
        kept = np.sort(np.setdiff1d(np.arange(many), out))
        train = samples.only(kept)
        model = fit(train)
        added, _ = _host_effects(train)
        average = _known_means(_known_means(train.means - added[None], axis=1), axis=0)
        rest = samples.only(out)
        data = _stack(rest, added)
        for n, covariance in enumerate(_covariance(model, rest, data)):
            _predict(model, samples, data, n, covariance, average, rows)
    result = []
    for place, budget in enumerate(samples.budgets):
        if not rows[place]:
            continue
        error, sd, naive = np.array(rows[place]).T
        covered = tuple(float((np.abs(error / sd) <= norm.ppf(0.5 + level / 2)).mean()) for level in LEVELS)
        result.append(
            HeldOut(
                budget,
                len(error),
                float(np.sqrt((error**2).mean())),
                float(np.sqrt(np.nanmean(naive**2))),
                covered,
                folds,
            )
        )
    return result


def _predict(
    model: Model,
    samples: Samples,
    data: _Data,
    config: int,
    covariance: Floats,
    average: Floats,
    rows: list[list[tuple[float, float, float]]],
) -> None:
    """(error, standard deviation, error of the naive prediction) of the mean over hosts at each budget."""
    known, values = data.known[config], data.values[config]
    mean = model.mean(np.array(samples.budgets))[data.budget]
    previous: int | None = None
    for budget in np.unique(data.budget[known]).tolist():
        now, before = np.flatnonzero(known & (data.budget == budget)), np.flatnonzero(known & (data.budget < budget))
        weights = np.full(len(now), 1 / len(now))
        expected, variance = mean[now], covariance[np.ix_(now, now)]
        if len(before):
            gain = np.linalg.solve(covariance[np.ix_(before, before)], covariance[np.ix_(before, now)]).T
            expected = expected + gain @ (values[before] - mean[before])
            variance = variance - gain @ covariance[np.ix_(before, now)]
        value, ahead = float(weights @ values[now]), average[budget]
        if previous is not None:
            ahead += float(values[known & (data.budget == previous)].mean()) - average[previous]
        error, sd = value - float(weights @ expected), float(np.sqrt(weights @ variance @ weights))
        rows[budget].append((error, sd, value - ahead))
        previous = budget
