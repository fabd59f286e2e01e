"""A factorial design as named configurations: pyDOE3's fractional factorials, with their generators and aliases.

    design = make_design(factors, resolution=5)
    configs = write_configs(design, template)

Factors of two levels are fractionated to the smallest design of at least the resolution that is asked for: with
resolution 5, no main effect and no interaction of two factors is aliased with another such effect. Factors of three
levels are crossed with them in full.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from stages.domain.errors import Invalid, Refused
from stages.domain.factors import Factors, Scalar, find_problem, levels_of
from stages.domain.names import MAX_NAME, is_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The library's search for generators takes minutes beyond.
MOST_FRACTIONATED = 7
MOST_RUNS = 512


@dataclass(frozen=True)
class FactorialDesign:
    """The levels (from 0) of each configuration, one column a factor.

    `resolution` is None for a full factorial. `generators` are such as `E = ABCD`, `aliases` such as `AB = CDE`, with
    the letters of `letters`.
    """

    factors: Factors
    rows: tuple[tuple[int, ...], ...]
    resolution: int | None
    generators: tuple[str, ...]
    aliases: tuple[str, ...]
    letters: dict[str, str]


def make_design(factors: Factors, resolution: int) -> FactorialDesign:
    """The smallest design of at least `resolution` (3, 4 or 5); `Refused` where the library knows none so large."""
    if problem := find_problem(factors, {}):
        raise Invalid(problem)
    two = [name for name, factor in factors.items() if len(levels_of(factor)) == 2]
    three = [name for name in factors if name not in two]
    letters = dict(zip(factors, string.ascii_uppercase, strict=False))
    signs, words, reached = _fraction(len(two), resolution)
    rows = tuple(_rows(factors, two, three, signs))
    if len(rows) > MOST_RUNS:
        raise Refused(f"factors: the design has {len(rows)} configurations, expected at most {MOST_RUNS}; vary fewer")
    own = [letters[name] for name in two]
    generators = tuple(f"{own[n]} = {''.join(own[i] for i in word)}" for n, word in enumerate(words) if len(word) > 1)
    return FactorialDesign(factors, rows, reached, generators, tuple(_aliases(signs, own)) if reached else (), letters)


def _fraction(count: int, resolution: int) -> tuple[NDArray[np.int64], list[tuple[int, ...]], int | None]:
    """Signs of the smallest design of `count` factors, the factors whose product each column is, and its resolution."""
    import numpy as np
    from pyDOE3 import fracfact

    if count == 0:
        return np.zeros((1, 0), dtype=np.int64), [], None
    full = " ".join(string.ascii_lowercase[:count])
    if count <= MOST_FRACTIONATED:
        for erased in range(count - 2, 0, -1):
            try:
                generator = _find_generator(count, count - erased)
            except ValueError:  # it would leave too few runs to tell the factors apart
                continue
            signs = np.rint(fracfact(generator)).astype(np.int64)
            reached = _resolution(signs)
            if reached is not None and reached >= resolution:
                words = [tuple(string.ascii_lowercase.index(letter) for letter in word) for word in generator.split()]
                return signs, _as_factors(words), reached
    elif 2**count > MOST_RUNS:
        raise Refused(f"factors: found {count} of two levels, expected at most {MOST_FRACTIONATED}; vary fewer at once")
    return np.rint(fracfact(full)).astype(np.int64), [(n,) for n in range(count)], None


def _find_generator(count: int, base: int) -> str:
    """The best fraction of 2**base runs, as the library writes it; `ValueError` where it knows none."""
    from pyDOE3 import fracfact_opt

    letters = string.ascii_lowercase[:base]
    if count == 2**base - 1:  # every product is a factor: one design, which the library refuses for seven
        return " ".join("".join(word) for size in range(1, base + 1) for word in combinations(letters, size))
    return str(fracfact_opt(count, count - base)[0])


def _as_factors(words: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The library's letters are its base columns; said by the factors that are these columns."""
    base = {word[0]: n for n, word in enumerate(words) if len(word) == 1}
    return [(n,) if len(word) == 1 else tuple(sorted(base[letter] for letter in word)) for n, word in enumerate(words)]


def _constant(signs: NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """The sets of columns whose product is the same in every run: the defining words."""
    columns = range(signs.shape[1])
    for size in range(1, signs.shape[1] + 1):
        for chosen in combinations(columns, size):
            if abs(int(signs[:, list(chosen)].prod(axis=1).sum())) == signs.shape[0]:
                yield chosen


def _resolution(signs: NDArray[np.int64]) -> int | None:
    """The length of the shortest defining word; None for a full factorial, which has none."""
    return min((len(word) for word in _constant(signs)), default=None)


def _aliases(signs: NDArray[np.int64], letters: list[str]) -> Iterator[str]:
    """What each main effect and interaction of two factors cannot be told from, up to interactions of three."""
    words = [set(word) for word in _constant(signs)]
    for size in (1, 2):
        for chosen in combinations(range(len(letters)), size):
            others = sorted((set(chosen) ^ word for word in words), key=lambda other: (len(other), sorted(other)))
            short = ["".join(letters[n] for n in sorted(other)) for other in others if len(other) <= 3]
            if short:
                yield " = ".join(["".join(letters[n] for n in chosen), *short])


def _rows(factors: Factors, two: list[str], three: list[str], signs: NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """The levels of every configuration, the fraction crossed with the factors of three levels."""
    from pyDOE3 import fullfact

    crossed = fullfact([3] * len(three)).astype(int).tolist() if three else [[]]
    for others in crossed:
        for row in signs.tolist():
            level = {name: (sign + 1) // 2 for name, sign in zip(two, row, strict=True)}
            level |= dict(zip(three, others, strict=True))
            yield tuple(level[name] for name in factors)


def find_template(factors: Factors, configs: Mapping[str, Mapping[str, Scalar]]) -> dict[str, Scalar]:
    """The knobs that no factor sets; `Invalid` where two configurations differ in one of them."""
    varied = {knob for factor in factors.values() for knob in factor}
    template: dict[str, Scalar] = {}
    for number, (name, knobs) in enumerate(configs.items()):
        rest = {knob: value for knob, value in knobs.items() if knob not in varied}
        if number and rest != template:
            knob = sorted(knob for knob in {*rest, *template} if rest.get(knob) != template.get(knob))[0]
            raise Invalid(f"configs.{name}.{knob}: differs from other configurations, but no factor sets {knob}")
        template = rest
    return template


def write_configs(design: FactorialDesign, template: Mapping[str, Scalar]) -> dict[str, dict[str, Scalar]]:
    """The configurations by name, in the order of the design."""
    configs: dict[str, dict[str, Scalar]] = {}
    for row in design.rows:
        knobs = dict(template)
        words = []
        for (name, factor), level in zip(design.factors.items(), row, strict=True):
            knobs |= levels_of(factor)[level]
            words.append(f"{name}{_word(factor, level)}")
        config = "-".join(words)
        if not is_name(config):
            raise Invalid(
                f"factors: {config} is no name of a configuration (at most {MAX_NAME} characters); shorten them"
            )
        configs[config] = knobs
    return configs


def _word(factor: Mapping[str, list[Scalar]], level: int) -> str:
    """A level inside a name: its value where the factor sets one knob to a whole number, else the level's number."""
    values = list(levels_of(factor)[level].values())
    whole = len(values) == 1 and isinstance(values[0], int) and not isinstance(values[0], bool) and values[0] >= 0
    return str(values[0] if whole else level + 1)
