"""`factors`: what a screening study varies, and the level of every factor in each of its configurations.

    factors:
      d: {depth: [1, 2]}
      lr: {matrix_lr: [0.02, 0.04], embedding_lr: [0.3, 0.6]}     # knobs that move together are one factor

A factor has two or three levels. Level 1 is the first value of each of its knobs, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from stages.domain import canonical
from stages.domain.schema import Key

Scalar = int | float | str | bool | None
#: The levels of each knob that a factor sets.
Factor = Annotated[dict[Key, Annotated[list[Scalar], Field(min_length=2, max_length=3)]], Field(min_length=1)]
Factors = dict[Key, Factor]


def levels_of(factor: Mapping[str, Sequence[Scalar]]) -> list[dict[str, Scalar]]:
    """The knobs of each level."""
    count = len(next(iter(factor.values())))
    return [{knob: values[level] for knob, values in factor.items()} for level in range(count)]


def describe_level(factor: Mapping[str, Sequence[Scalar]], level: int) -> str:
    """A level in words: `depth 2`, or `matrix_lr 0.02, embedding_lr 0.3`."""
    return ", ".join(
        f"{knob} {canonical.dumps(value).decode().strip()}" for knob, value in levels_of(factor)[level].items()
    )


def find_level(factor: Mapping[str, Sequence[Scalar]], knobs: Mapping[str, Scalar]) -> int | None:
    """The level (from 0) of a configuration with these knobs; None where it is none of the factor's."""
    for number, level in enumerate(levels_of(factor)):
        if all(knob in knobs and _same(knobs[knob], value) for knob, value in level.items()):
            return number
    return None


def code_configs(factors: Factors, configs: Mapping[str, Mapping[str, Scalar]]) -> dict[str, tuple[int, ...]]:
    """The levels (from 0) of every configuration, in the order of the factors. They were checked by `find_problem`."""
    coded = {}
    for name, knobs in configs.items():
        levels = [find_level(factor, knobs) for factor in factors.values()]
        coded[name] = tuple(level for level in levels if level is not None)
    return coded


def find_problem(factors: Factors, configs: Mapping[str, Mapping[str, Scalar]]) -> str | None:
    """What is wrong with factors, or with the configurations that they vary; None where nothing is."""
    used: dict[str, str] = {}
    for name, factor in factors.items():
        lengths = {len(values) for values in factor.values()}
        if len(lengths) > 1:
            return f"factors.{name}: its knobs have different numbers of levels, expected as many for each"
        levels = levels_of(factor)
        if any(_same_levels(level, other) for n, level in enumerate(levels) for other in levels[:n]):
            return f"factors.{name}: found a level twice, expected different ones"
        for knob in factor:
            if knob in used:
                return f"factors.{name}.{knob}: stands in factors.{used[knob]} already, expected one factor for a knob"
            used[knob] = name
    seen: dict[tuple[int, ...], str] = {}
    for config, knobs in configs.items():
        levels_here = []
        for name, factor in factors.items():
            level = find_level(factor, knobs)
            if level is None:
                actual = ", ".join(f"{knob} {knobs.get(knob, '(none)')}" for knob in factor)
                known = " or ".join(describe_level(factor, n) for n in range(len(levels_of(factor))))
                return f"configs.{config}: found {actual}, expected a level of factor {name}: {known}"
            levels_here.append(level)
        place = tuple(levels_here)
        if place in seen:
            return f"configs.{config}: the same levels as {seen[place]}, expected each combination once"
        seen[place] = config
    return None


def _same(value: Scalar, other: Scalar) -> bool:
    """Equal, and not merely as Python has it: true is not 1."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _same_levels(level: Mapping[str, Scalar], other: Mapping[str, Scalar]) -> bool:
    return all(_same(level[knob], other[knob]) for knob in level)
