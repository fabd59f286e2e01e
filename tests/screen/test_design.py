"""A design is the smallest of the resolution asked for, its aliases are true, and it becomes named configurations."""

from __future__ import annotations

from itertools import combinations
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain.errors import Invalid, Refused
from stages.domain.factors import code_configs, find_problem
from stages.screen.design import (
    FactorialDesign,
    _constant,
    _resolution,
    find_template,
    make_design,
    write_configs,
)

TWO = {name: {name: [1, 2]} for name in "abcdefg"}


def first(count: int) -> dict[str, dict[str, list[int]]]:
    return dict(list(TWO.items())[:count])


@pytest.mark.parametrize(
    ("factors", "resolution", "runs", "reached"),
    [
        (5, 5, 16, 5),
        (5, 3, 8, 3),
        (4, 4, 8, 4),
        (6, 4, 16, 4),
        (6, 3, 8, 3),
        (6, 5, 32, 6),
        (7, 3, 8, 3),
        (7, 4, 16, 4),
        (7, 5, 64, 7),
        (3, 3, 4, 3),
        (3, 5, 8, None),
        (2, 3, 4, None),
    ],
)
def test_the_sizes_are_those_of_the_textbook(factors, resolution, runs, reached):
    """Box, Hunter and Hunter, *Statistics for Experimenters*, table of two-level fractional factorials."""
    design = make_design(first(factors), resolution)
    assert (len(design.rows), design.resolution) == (runs, reached)


@given(count=st.integers(2, 6), resolution=st.integers(3, 5))
def test_every_factor_is_balanced_and_no_two_are_alike(count, resolution):
    design = make_design(first(count), resolution)
    assert len(set(design.rows)) == len(design.rows)
    columns = list(zip(*design.rows, strict=True))
    assert all(sum(column) * 2 == len(column) for column in columns)
    for one, other in combinations(columns, 2):
        assert sum((x == y) for x, y in zip(one, other, strict=True)) * 2 == len(one)


@given(count=st.integers(3, 6), resolution=st.integers(3, 5))
def test_what_is_called_an_alias_is_one_and_nothing_of_two_factors_is_left_out(count, resolution):
    design = make_design(first(count), resolution)
    signs = {letter: [2 * row[n] - 1 for row in design.rows] for n, letter in enumerate(design.letters.values())}

    def product(word: str) -> list[int]:
        return [prod(values) for values in zip(*(signs[letter] for letter in word), strict=True)]

    def same(one: str, other: str) -> bool:
        return abs(sum(x * y for x, y in zip(product(one), product(other), strict=True))) == len(design.rows)

    listed = {frozenset((line.split(" = ")[0], other)) for line in design.aliases for other in line.split(" = ")[1:]}
    assert all(same(*pair) for pair in listed)
    words = [*signs, *("".join(pair) for pair in combinations(signs, 2))]
    missing = [pair for pair in combinations(words, 2) if same(*pair) and frozenset(pair) not in listed]
    assert missing == []
    for generator in design.generators:
        left, right = generator.split(" = ")
        assert product(left) == product(right)


def test_factors_of_three_levels_are_crossed_in_full():
    design = make_design({**first(3), "w": {"w": [1, 2, 3]}}, 3)
    assert len(design.rows) == 4 * 3
    assert {row[3] for row in design.rows} == {0, 1, 2}


def test_configurations_are_named_by_factor_and_value_and_hold_the_template():
    factors = {"d": {"depth": [1, 2]}, "lr": {"matrix_lr": [0.02, 0.04], "head_lr": [0.1, 0.2]}}
    configs = write_configs(make_design(factors, 5), {"aspect": 32})
    assert list(configs) == ["d1-lr1", "d1-lr2", "d2-lr1", "d2-lr2"]
    assert configs["d2-lr1"] == {"aspect": 32, "depth": 2, "matrix_lr": 0.02, "head_lr": 0.1}
    assert code_configs(factors, configs)["d2-lr1"] == (1, 0)
    assert find_template(factors, configs) == {"aspect": 32}


def test_a_knob_that_differs_without_a_factor_is_named():
    with pytest.raises(
        Invalid, match=r"configs\.y\.aspect: differs from other configurations, but no factor sets aspect"
    ):
        find_template(first(2), {"x": {"a": 1, "b": 1, "aspect": 1}, "y": {"a": 2, "b": 1, "aspect": 2}})


@pytest.mark.parametrize(
    ("factors", "configs", "message"),
    [
        ({"a": {"x": [1, 2], "y": [1, 2, 3]}}, {}, "factors.a: its knobs have different numbers of levels"),
        ({"a": {"x": [1, 1]}}, {}, "factors.a: found a level twice"),
        ({"a": {"x": [1, 2]}, "b": {"x": [3, 4]}}, {}, "factors.b.x: stands in factors.a already"),
        ({"a": {"x": [1, 2]}}, {"c": {"x": 3}}, "configs.c: found x 3, expected a level of factor a: x 1 or x 2"),
        ({"a": {"x": [1, 2]}}, {"c": {}}, "configs.c: found x (none)"),
        ({"a": {"x": [1, 2]}}, {"c": {"x": True}}, "configs.c: found x True"),
        ({"a": {"x": [1, 2]}}, {"c": {"x": 1}, "d": {"x": 1}}, "configs.d: the same levels as c"),
    ],
)
def test_what_is_wrong_with_factors_is_said_with_its_place(factors, configs, message):
    assert message in (find_problem(factors, configs) or "")


def test_too_many_at_once_are_refused():
    with pytest.raises(Refused, match="vary fewer"):
        make_design({f"f{n}": {f"k{n}": [1, 2]} for n in range(12)}, 5)


def test_as_many_configurations_as_fit_are_designed_and_one_factor_more_is_refused():
    """Three levels are crossed in full: 486 are few enough, and 729 are not; seven of two levels are fractionated."""
    of_three = {f"f{n}": {f"k{n}": [1, 2, 3]} for n in range(5)}
    assert len(make_design({**of_three, "g": {"l": [1, 2]}}, 5).rows) == 486
    with pytest.raises(Refused) as caught:
        make_design({**of_three, "f5": {"k5": [1, 2, 3]}}, 5)
    assert str(caught.value) == "factors: the design has 729 configurations, expected at most 512; vary fewer"
    two = {f"f{n}": {f"k{n}": [1, 2]} for n in range(10)}
    with pytest.raises(Refused) as caught:
        make_design(two, 5)
    assert str(caught.value) == "factors: found 10 of two levels, expected at most 7; vary fewer at once"
    del two["f9"]
    assert len(make_design(two, 5).rows) == 512


def test_factors_of_three_levels_alone_need_no_fraction():
    design = make_design({"a": {"x": [1, 2, 3]}, "b": {"y": [4, 5, 6]}}, 5)
    assert sorted(design.rows) == [(i, j) for i in range(3) for j in range(3)]
    assert (design.resolution, design.generators, design.aliases) == (None, (), ())


@pytest.mark.parametrize(("size", "fits"), [(63, True), (64, False)])
def test_a_configuration_whose_name_is_too_long_is_refused(size, fits):
    factors = {"a" * size: {"x": [1, 2]}}
    if fits:
        assert list(write_configs(make_design(factors, 5), {})) == ["a" * 63 + "1", "a" * 63 + "2"]
        return
    with pytest.raises(Invalid) as caught:
        write_configs(make_design(factors, 5), {})
    message = "is no name of a configuration (at most 64 characters); shorten them"
    assert str(caught.value) == f"factors: {'a' * 64}1 {message}"


def test_factors_that_are_none_are_refused_before_anything_is_designed():
    with pytest.raises(Invalid, match=r"factors\.b\.x: stands in factors\.a already"):
        make_design({"a": {"x": [1, 2]}, "b": {"x": [3, 4]}}, 5)


def test_defining_words_are_found_whatever_their_length():
    square = np.array([[1, 1, 1], [1, -1, -1], [1, 1, -1], [1, -1, 1]])
    assert list(_constant(square)) == [(0,)]
    assert _resolution(square) == 1
    half = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    assert list(_constant(half)) == [(0, 1, 2)]
    assert _resolution(half[:, :2]) is None


def test_a_whole_design_is_that_of_the_textbook():
    factors = {"w": {"w": [1, 2, 3]}, **first(3)}
    half = ((0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1))
    assert make_design(factors, 3) == FactorialDesign(
        factors,
        tuple((level, *row) for level in (0, 1, 2) for row in half),
        3,
        ("D = BC",),
        ("B = CD", "C = BD", "D = BC", "BC = D", "BD = C", "CD = B"),
        {"w": "A", "a": "B", "b": "C", "c": "D"},
    )


def test_aliases_are_of_all_effects_of_two_factors_up_to_three_letters_the_short_ones_first():
    design = make_design(first(5), 5)
    pairs = ["AB = CDE", "AC = BDE", "AD = BCE", "AE = BCD", "BC = ADE", "BD = ACE", "BE = ACD", "CD = ABE", "CE = ABD"]
    assert (design.generators, list(design.aliases)) == (("E = ABCD",), [*pairs, "DE = ABC"])
    assert make_design(first(5), 3).aliases[:7] == (
        "A = DE = BCD", "B = CE = ACD", "C = BE = ABD", "D = AE = ABC", "E = AD = BC",
        "AB = CD = ACE = BDE", "AC = BD = ABE = CDE",
    )  # fmt: skip
    assert make_design(first(7), 3).generators == ("D = AB", "E = AC", "F = BC", "G = ABC")
    assert make_design(first(6), 5).aliases == ()


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        ({"k": [0, 64]}, ["f0", "f64"]),
        ({"k": [-1, 5]}, ["f1", "f5"]),
        ({"k": [True, False]}, ["f1", "f2"]),
        ({"k": [0.5, 1.5]}, ["f1", "f2"]),
        ({"k": ["a", "b"]}, ["f1", "f2"]),
        ({"k": [None, 7, 9]}, ["f1", "f7", "f9"]),
        ({"k": [7, 9], "m": [1, 3]}, ["f1", "f2"]),
    ],
)
def test_a_level_is_called_by_its_whole_number_or_by_its_place(factor, words):
    assert list(write_configs(make_design({"f": factor}, 5), {})) == words


def test_the_first_knob_that_differs_is_named_also_where_a_configuration_is_without_it():
    assert find_template(first(1), {}) == find_template(first(1), {"x": {"a": 1}}) == {}
    same = {"x": {"a": 1, "p": 1, "q": 1}, "y": {"a": 2, "p": 1, "q": 1}}
    assert find_template(first(1), same) == {"p": 1, "q": 1}
    for other in ({"a": 1, "p": 3, "q": 3}, {"a": 1, "q": 1}):
        with pytest.raises(Invalid, match=r"^configs\.z\.p: differs from other configurations, but no factor sets p$"):
            find_template(first(1), {**same, "z": other})
