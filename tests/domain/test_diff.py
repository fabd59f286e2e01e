"""Where two JSON values differ, each place once and in order."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from stages.domain import diff
from stages.domain.diff import ABSENT, differences, equal


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(diff).failed == 0
    assert repr(ABSENT) == "nothing"


@pytest.mark.parametrize(
    ("actual", "expected", "places"),
    [
        (1, 1, []),
        (1, 2, [("", 1, 2)]),
        (1, 1.0, []),
        (True, 1, [("", True, 1)]),
        (0, False, [("", 0, False)]),
        (True, True, []),
        (True, False, [("", True, False)]),
        ({"a": 1, "b": {"c": 2}}, {"b": {"c": 3}}, [("/a", 1, ABSENT), ("/b/c", 2, 3)]),
        ({}, {"a": None}, [("/a", ABSENT, None)]),
        ({"a": True}, {"a": 1}, [("/a", True, 1)]),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": "x"}, {"a": "y"}, [("/a", "x", "y")]),
        ({"a": {}}, {"a": {}}, []),
        ({"a/b~c": 1}, {"a/b~c": 2}, [("/a~1b~0c", 1, 2)]),
        ([1, [2, 3]], [1, [2, 4]], [("/1/1", 3, 4)]),
        ([1, 2], [1], [("", [1, 2], [1])]),
        ([1], {"a": 1}, [("", [1], {"a": 1})]),
        ({"a": 1}, [1], [("", {"a": 1}, [1])]),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2}, [("/a", 1, 2), ("/b", 1, 2)]),
    ],
)
def test_each_place_at_which_two_values_differ_is_told(actual: Any, expected: Any, places: list[Any]) -> None:
    assert list(differences(actual, expected)) == places


def test_a_list_may_be_one_place() -> None:
    actual, expected = {"a": [1, 2], "b": [1]}, {"a": [1, 3], "b": [1]}
    assert list(differences(actual, expected, "/x", into_lists=False)) == [("/x/a", [1, 2], [1, 3])]
    assert list(differences(actual, expected, "/x")) == [("/x/a/1", 2, 3)]


def test_true_is_not_one() -> None:
    assert [equal(*pair) for pair in ((True, 1), (1, True), (False, False), (1, 1), (1, 2), (None, None))] == [
        False,
        False,
        True,
        True,
        False,
        True,
    ]
