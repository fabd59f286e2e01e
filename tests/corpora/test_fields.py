"""The text in a field of a record: where it is found, and what is said where it is not."""

from __future__ import annotations

from typing import Any

import pytest

from stages.corpora.fields import text_at
from stages.corpora.inputs import CorpusError


@pytest.mark.parametrize(
    ("value", "field", "text"),
    [
        (None, "a", ""),
        ("x", "", "x"),
        ({"a": "x"}, "a", "x"),
        ({"a": None}, "a", ""),
        ({"a": None}, "a.b", ""),
        ({"a": {"b": "x"}}, "a.b", "x"),
        ({"a.b": "x", "a": {"b": "y"}}, "a.b", "x"),
        ({"a": {"b.c": "x", "b": {"c": "y"}}}, "a.b.c", "x"),
        ({"a": ["x", None, "y", []]}, "a", "x\ny"),
        ({"a": [{"b": "x"}, {"b": ["y", "z"]}]}, "a.b", "x\ny\nz"),
        ({"a": []}, "a", ""),
        ({"a": b"x\xc3\xa4"}, "a", "xä"),
        ({"a": [b"x", "y"]}, "a", "x\ny"),
        ({"a": b""}, "a", ""),
    ],
)
def test_a_text_is_found_below_keys_and_in_lists(value: Any, field: str, text: str) -> None:
    assert text_at(value, field, "place") == text


MANY = {f"k{number:02}": "" for number in range(21)}


@pytest.mark.parametrize(
    ("value", "field", "message"),
    [
        ({"b": "x", "a": "y"}, "c", "no key 'c' on the way to 'c'; found a, b"),
        ({"a": {"c": "x"}}, "a.b.d", "no key 'b' on the way to 'a.b.d'; found c"),
        (MANY, "x", f"no key 'x' on the way to 'x'; found {', '.join(list(MANY)[:20])}"),
        ({"a": 7}, "a", "'a' is a int, expected text"),
        ({"a": True}, "a", "'a' is a bool, expected text"),
        ({"a": {"b": "x"}}, "a", "'a' is a dict, expected text"),
        ({"a": "x"}, "a.b", "'a.b' is a str, expected text"),
        ({"a": b"x"}, "a.b", "'a.b' is a bytes, expected text"),
        ({"a": b"\0"}, "a", "byte 0 is NUL, which no text holds; is it binary data?"),
        ({"a": b"ab\0"}, "a", "byte 2 is NUL, which no text holds; is it binary data?"),
        ({"a": b"ab\xff"}, "a", "byte 2: 0xff is not UTF-8; convert the file to UTF-8 and pin its new sha256"),
    ],
)
def test_what_is_no_text_is_named(value: Any, field: str, message: str) -> None:
    with pytest.raises(CorpusError) as error:
        text_at(value, field, "place")
    assert str(error.value) == f"place: {message}"
