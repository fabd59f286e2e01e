"""The effects of the factors of a screen at every budget and on every host block, with intervals and corrected tests.

    screen = assess(factors, configs, rungs, observations)

A factor's main effect is the mean val_bpb at its last level less that at its first; a factor of three levels also has a
curvature, the mean of the outer levels less the middle one. An interaction of two factors is half the difference
between the effects of one at the two ends of the other. They are least squares estimates over the runs of one budget on
one host block, where every effect that the design can tell from the ones before it has a column of its own. What
remains, the difference between seeds of a cell, is the noise; with one seed a cell and a saturated design there is
none, and then neither intervals nor tests. p-values are corrected by Benjamini and Hochberg within a budget: over all
effects of all hosts there, which are the family that the frozen factors declare.

Least squares and intervals are statsmodels' OLS, the correction is its `multipletests`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from stages.domain.factors import Factors, Scalar, code_configs, levels_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.95
#: An effect counts as shown where its corrected p is below this.
ALPHA = 0.05
#: Decimals of what is computed: beyond them processors differ.
DIGITS = 6
#: An effect has relaxed where less than this share of it is left.
RELAXED = 0.5


@dataclass(frozen=True)
class Observation:
    """The score of one finished run."""

    rung: str
    config: str
    host: str
    seed: int
    value: float


@dataclass(frozen=True)
class Effect:
    """One effect at one budget on one host. `corrected` is p after Benjamini-Hochberg within the budget.

    `factors` are one for a main effect or a curvature, two for an interaction. `aliases` are the effects of the same
    kinds that the design cannot tell from it.
    """

    rung: str
    host: str
    name: str
    kind: Literal["main", "curvature", "interaction"]
    factors: tuple[str, ...]
    estimate: float
    lower: float | None
    upper: float | None
    p: float | None
    corrected: float | None
    aliases: tuple[str, ...]

    @property
    def shown(self) -> bool:
        """Whether the corrected test tells it from nothing."""
        return self.corrected is not None and self.corrected < ALPHA


@dataclass(frozen=True)
class Missing:
    """A budget and host without effects, and why."""

    rung: str
    host: str
    reason: str


Course = Literal["reverses", "relaxes", "lasts", "appears", "not shown"]
#: What becomes of an effect, in words.
COURSES: dict[Course, str] = {
    "reverses": "the effect reverses",
    "relaxes": "the effect relaxes: less than half of it is left",
    "lasts": "the effect lasts",
    "appears": "an effect appears at the last budget alone",
    "not shown": "no effect is shown at either end",
}


@dataclass(frozen=True)
class FactorCourse:
    """What becomes of a main effect from the first budget to the last, on one host.

    `penalised` is the level (from 0) that is worse at the first budget; `first` and `last` are the effects there.
    """

    factor: str
    host: str
    course: Course
    penalised: int
    first: float
    last: float


@dataclass(frozen=True)
class ScreenEffects:
    """All effects of a screen, what is missing, and the course of each main effect."""

    effects: tuple[Effect, ...]
    missing: tuple[Missing, ...]
    courses: tuple[FactorCourse, ...]


@dataclass(frozen=True)
class _Column:
    """The column of one effect; its coefficient is the effect."""

    name: str
    kind: Literal["main", "curvature", "interaction"]
    factors: tuple[str, ...]
    values: NDArray[np.float64]


def assess(
    factors: Factors,
    configs: Mapping[str, Mapping[str, Scalar]],
    cells: Mapping[str, Sequence[tuple[str, int]]],
    observations: Iterable[Observation],
) -> ScreenEffects:
    """The effects at every rung of `cells` (its host-seed cells), from all `observations` of them."""
    values = {(o.rung, o.config, o.host, o.seed): o.value for o in observations}
    coded = code_configs(factors, configs)
    effects: list[Effect] = []
    missing: list[Missing] = []
    for rung, declared in cells.items():
        family: list[Effect] = []
        for host in dict.fromkeys(host for host, _ in declared):
            seeds = [seed for name, seed in declared if name == host]
            runs = [(config, seed) for config in configs for seed in seeds]
            absent = sum((rung, config, host, seed) not in values for config, seed in runs)
            if absent:
                missing.append(Missing(rung, host, f"{absent} of {len(runs)} runs have no score"))
                continue
            scores = [values[rung, config, host, seed] for config, seed in runs]
            family += _fit(rung, host, factors, [coded[config] for config, _ in runs], scores)
        effects += _correct(family)
    return ScreenEffects(tuple(effects), tuple(missing), tuple(_courses(factors, list(cells), effects)))


def _columns(factors: Factors, rows: Sequence[tuple[int, ...]]) -> Iterator[_Column]:
    """Main effects, then curvatures, then interactions of two main effects."""
    import numpy as np

    levels = np.array(rows, dtype=np.float64).reshape(len(rows), len(factors))
    ends = {name: len(levels_of(factor)) - 1 for name, factor in factors.items()}
    main = {name: levels[:, n] / ends[name] - 0.5 for n, name in enumerate(factors)}
    for name, column in main.items():
        yield _Column(name, "main", (name,), column)
    for name, column in main.items():
        if ends[name] == 2:
            yield _Column(f"{name} (curvature)", "curvature", (name,), np.abs(column) * 2 - 2 / 3)
    for first, second in combinations(factors, 2):
        yield _Column(f"{first} x {second}", "interaction", (first, second), 2 * main[first] * main[second])


def _separate(columns: Iterable[_Column]) -> tuple[list[_Column], dict[str, list[str]]]:
    """The columns that can be told from those before them, and by name the ones that cannot be told from each."""
    import numpy as np

    kept: list[_Column] = []
    aliases: dict[str, list[str]] = {}
    matrix: NDArray[np.float64] | None = None
    for column in columns:
        centred = column.values - column.values.mean()
        wider = centred[:, None] if matrix is None else np.column_stack([matrix, centred])
        if np.linalg.matrix_rank(wider) == wider.shape[1]:
            matrix = wider
            kept.append(column)
            continue
        for other in kept:
            if _is_same(centred, other.values - other.values.mean()):
                aliases.setdefault(other.name, []).append(column.name)
    return kept, aliases


def _is_same(column: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two centred columns are one, but for their sign and size."""
    import numpy as np

    size = float(np.linalg.norm(column) * np.linalg.norm(other))
    return size > 0 and abs(abs(float(column @ other)) / size - 1) < 1e-9


def _fit(
    rung: str, host: str, factors: Factors, rows: Sequence[tuple[int, ...]], scores: Sequence[float]
) -> list[Effect]:
    """The effects at one budget on one host, not yet corrected."""
    import numpy as np
    from statsmodels.regression.linear_model import OLS

    kept, aliases = _separate(_columns(factors, rows))
    matrix = np.column_stack([np.ones(len(rows)), *(column.values for column in kept)])
    fitted = OLS(np.array(scores), matrix).fit()
    tested = fitted.df_resid > 0 and len(set(rows)) < len(rows)
    intervals = fitted.conf_int(alpha=1 - LEVEL) if tested else None
    effects = []
    for n, column in enumerate(kept, start=1):
        lower, upper = (round(float(end), DIGITS) for end in intervals[n]) if intervals is not None else (None, None)
        p = float(fitted.pvalues[n]) if tested else None
        estimate = round(float(fitted.params[n]), DIGITS) + 0.0  # no negative zero
        also = tuple(aliases.get(column.name, ()))
        effects.append(
            Effect(rung, host, column.name, column.kind, column.factors, estimate, lower, upper, p, None, also)
        )
    return effects


def _correct(family: Sequence[Effect]) -> list[Effect]:
    """The effects of one budget with corrected p-values."""
    from statsmodels.stats.multitest import multipletests

    tested = [effect.p for effect in family if effect.p is not None]
    corrected = iter(multipletests(tested, alpha=ALPHA, method="fdr_bh")[1] if tested else ())
    return [
        effect
        if effect.p is None
        else replace(effect, p=round(effect.p, DIGITS), corrected=round(float(next(corrected)), DIGITS))
        for effect in family
    ]


def _courses(factors: Factors, rungs: Sequence[str], effects: Sequence[Effect]) -> Iterator[FactorCourse]:
    """The course of every main effect on every host that has both ends of the ladder."""
    main = {(e.rung, e.host, e.factors[0]): e for e in effects if e.kind == "main"}
    first, last = rungs[0], rungs[-1]
    for name, factor in factors.items():
        for host in dict.fromkeys(effect.host for effect in effects):
            begin, end = main.get((first, host, name)), main.get((last, host, name))
            if first == last or begin is None or end is None:
                continue
            worse = len(levels_of(factor)) - 1 if begin.estimate > 0 else 0
            yield FactorCourse(name, host, _course(begin, end), worse, begin.estimate, end.estimate)


def _course(begin: Effect, end: Effect) -> Course:
    """`reverses`: shown at both ends with different signs; `relaxes`: shown first, and less than half is left."""
    if begin.shown and end.shown and (begin.estimate > 0) != (end.estimate > 0):
        return "reverses"
    if begin.shown:
        return "lasts" if end.shown and abs(end.estimate) >= RELAXED * abs(begin.estimate) else "relaxes"
    return "appears" if end.shown else "not shown"
