"""Where one way of writing a number, a time or a name ends and the next begins: each limit from both sides."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from stages.domain import formatting
from stages.domain.formatting import (
    count,
    device_time,
    duration,
    first_few,
    leaf,
    leaves,
    listed,
    number,
    ordinal,
    percent,
    plain,
    seconds,
    short_names,
    shortened,
    signed,
    spell,
    time_unit,
    typeset,
    unit,
    value_text,
)

NB, GROUP = "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}"


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(formatting).failed == 0


@pytest.mark.parametrize(
    ("function", "arguments", "text"),
    [
        (number, (None, 3), "–"),
        (number, (-1.5, 3), "−1.500"),
        (number, (-0.0004, 3), "0.000"),
        (number, (-0.0006, 3), "−0.001"),
        (number, (-10.0, 1), "−10.0"),
        (number, (1e-7, 6), "0.000000"),
        (signed, (-1.5, 2), "−1.50"),
        (signed, (1.5, 2), "+1.50"),
        (signed, (-10.0, 0), "−10"),
        (signed, (0.004, 2), "0.00"),
        (signed, (-0.0,), "0.000000"),
        (plain, (None,), "–"),
        (plain, (True,), "yes"),
        (plain, (False,), "no"),
        (plain, (0,), "0"),
        (plain, (-1234,), f"−1{GROUP}234"),
        (plain, (2.0,), "2"),
        (plain, (-2.0,), "−2"),
        (plain, (0.5,), "0.5"),
        (plain, (999_999.5,), "999999.5"),
        (plain, (1_000_000.25,), f"1{GROUP}000{GROUP}000"),
        (plain, (-1_000_000.25,), f"−1{GROUP}000{GROUP}000"),
        (plain, (1e14,), f"100{GROUP}000{GROUP}000{GROUP}000{GROUP}000"),
        (plain, (1e15,), "1000000000000000"),
        (plain, (0.9999999,), "1"),
        (plain, (-2.9999999,), "−3"),
        (plain, (0.99999,), "0.99999"),
        (plain, (1e-6,), "0.000001"),
        (plain, (-1e-6,), "−0.000001"),
        (plain, (9.994e-7,), "9.99e−07"),
        (plain, (-1.234e-9,), "−1.23e−09"),
        (plain, ("a-b",), "a-b"),
        (percent, (0,), "0 %"),
        (percent, (1,), "100 %"),
        (percent, (0.001,), "0.1 %"),
        (percent, (0.0016,), "0.2 %"),
        (percent, (0.999,), "99.9 %"),
        (percent, (0.9984,), "99.8 %"),
        (count, (0, "run"), "0 runs"),
        (count, (1, "run"), "1 run"),
        (count, (2, "run"), "2 runs"),
        (count, (1, "entry", "entries"), "1 entry"),
        (count, (1000, "entry", "entries"), f"1{GROUP}000 entries"),
        (seconds, (119.0,), f"119{NB}s"),
        (seconds, (120.0,), f"2{NB}min"),
        (seconds, (150.0,), f"2.5{NB}min"),
        (seconds, (121.0,), f"121{NB}s"),
        (seconds, (153.0,), f"2.55{NB}min"),
        (seconds, (150.3,), f"150.3{NB}s"),
        (seconds, (3599.0,), f"3{GROUP}599{NB}s"),
        (seconds, (3600.0,), f"1{NB}h"),
        (seconds, (5400.0,), f"1.5{NB}h"),
        (seconds, (3660.0,), f"61{NB}min"),
        (seconds, (0.5,), f"0.5{NB}s"),
        (device_time, (None,), "–"),
        (device_time, (1.0,), f"1{NB}h"),
        (device_time, (1.26,), f"1.3{NB}h"),
        (device_time, (1234.5,), f"1{GROUP}234.5{NB}h"),
        (device_time, (0.999,), f"59.9{NB}min"),
        (device_time, (2.84 / 60,), f"2.8{NB}min"),
        (device_time, (1 / 60,), f"1{NB}min"),
        (device_time, (59.9 / 3600,), f"59.9{NB}s"),
        (device_time, (1 / 3600 / 3,), f"0.333{NB}s"),
        (time_unit, (1.0,), (1.0, "h")),
        (time_unit, (0.999,), (60.0, "min")),
        (time_unit, (1 / 60,), (60.0, "min")),
        (time_unit, (0.999 / 60,), (3600.0, "s")),
        (typeset, ("-5 a-5 .-5 x -y (-5)",), "−5 a-5 .-5 x -y (−5)"),
        (ordinal, (11,), "eleventh"),
        (ordinal, (14,), "14th"),
        (ordinal, (20,), "20th"),
        (ordinal, (101,), "101st"),
        (ordinal, (114,), "114th"),
        (ordinal, (121,), "121st"),
        (ordinal, (1011,), f"1{GROUP}011th"),
        (ordinal, (1102,), f"1{GROUP}102nd"),
        (spell, (999.9,), "999.9"),
        (spell, (999.99,), "1000"),
        (spell, (1000,), "1000"),
        (spell, (1234.5,), "1234"),
        (spell, (-12345.6,), "-12346"),
        (spell, (Fraction(1, 3),), "0.3333"),
        (duration, (59.0,), "59 s"),
        (duration, (60.0,), "1 min"),
        (duration, (61.0,), "61 s"),
        (duration, (3599.0,), "3599 s"),
        (duration, (3600.0,), "1 h"),
        (duration, (3660.0,), "61 min"),
        (unit, (599.9,), (1, "seconds")),
        (unit, (600.0,), (60, "minutes")),
        (unit, (35_999.0,), (60, "minutes")),
        (unit, (36_000.0,), (3600, "hours")),
    ],
)
def test_a_quantity_reads_so(function: Callable[..., object], arguments: tuple[Any, ...], text: object) -> None:
    assert function(*arguments) == text


@pytest.mark.parametrize(
    ("text", "most", "short"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abc…fg"),
        ("abcdefgh", 7, "abc…fgh"),
        ("abcdefgh", 3, "a…h"),
        ("abcdefgh", 2, "a…"),
    ],
)
def test_a_name_that_does_not_fit_loses_its_middle(text: str, most: int, short: str) -> None:
    assert shortened(text, most) == short


def test_names_that_would_be_cut_alike_lose_what_they_share() -> None:
    assert short_names(["same-beginning-1-same-end", "same-beginning-2-same-end", "x", "x"], 9) == {
        "same-beginning-1-same-end": "…1-sa…end",
        "same-beginning-2-same-end": "…2-sa…end",
        "x": "x",
    }
    assert short_names(["aaaaaaaa", "aaaaaaaaa", "aaaabaaaa"], 5) == {
        "aaaaaaaa": "…aaaa",
        "aaaaaaaaa": "…aa…a",
        "aaaabaaaa": "…ba…a",
    }


@pytest.mark.parametrize(
    ("items", "most", "few", "text"),
    [
        ([], 2, ([], 0), "none"),
        (["a"], 2, (["a"], 0), "a"),
        (["a", "b"], 2, (["a", "b"], 0), "a and b"),
        (["a", "b", "c"], 2, (["a", "b", "c"], 0), "a, b and c"),
        (["a", "b", "c", "d"], 2, (["a", "b"], 2), "a, b and 2 more"),
        (["a", "b", "c", "d", "e"], 2, (["a", "b"], 3), "a, b and 3 more"),
        (["a"] * 1500, 2, (["a", "a"], 1498), f"a, a and 1{GROUP}498 more"),
    ],
)
def test_what_does_not_fit_is_counted(items: list[str], most: int, few: tuple[list[str], int], text: str) -> None:
    assert first_few(items, most) == few
    assert listed(items, most) == text


@pytest.mark.parametrize(
    ("value", "pairs"),
    [
        (5, [("", 5)]),
        ({"a": {"b": 1, "c": {}}}, [("a.b", 1)]),
        ({1: {2: "x"}}, [("1.2", "x")]),
        ({"a": [1, 2]}, [("a", [1, 2])]),
        ({"a": []}, [("a", [])]),
        ({"a": [1, {"b": 2}]}, [("a.0", 1), ("a.1.b", 2)]),
        ({"a": [[1], 2]}, [("a.0", [1]), ("a.1", 2)]),
    ],
)
def test_a_nested_value_is_its_leaves(value: Any, pairs: list[tuple[str, Any]]) -> None:
    assert leaves(value) == pairs


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("seed", 12345, "12345"),
        ("seeds", [12345], f"12{GROUP}345"),
        ("a", [], "–"),
        ("a", [1, None, True], "1, –, yes"),
        ("val_bpb", 1.5, "1.500000"),
        ("val_bpb", 2, "2"),
        ("val_bpb", None, "–"),
        ("loss", 1.5, "1.5"),
        ("a", "x" * 300, "x" * 300),
        ("a", "x" * 301, "x" * 300 + " …"),
    ],
)
def test_a_value_under_its_key_reads_so(key: str, value: Any, text: str) -> None:
    assert leaf(key, value) == text


def test_a_mapping_of_nothing_is_nothing_and_a_text_stays() -> None:
    assert [value_text(value) for value in ({"a": {}}, {"a": None}, {"a": [[], 1]})] == [
        "nothing",
        "a: nothing",
        "a.0: nothing, a.1: 1",
    ]
