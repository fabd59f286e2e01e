"""Mistakes in a value, each with its place, what was found and what was expected."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from stages.domain import schema
from stages.domain.errors import Invalid
from stages.domain.schema import Key, Strict, parse, parse_recorded


class Part(Strict):
    k: Annotated[int, Field(ge=1)]


class Whole(Strict):
    name: Key
    parts: dict[Key, Part]
    numbers: Annotated[list[int], Field(default_factory=list)]


GOOD = {"name": "a", "parts": {"x": {"k": 1}}}


def message(value: Any) -> str:
    with pytest.raises(Invalid) as error:
        parse(Whole, value, "a.yaml")
    return str(error.value)


def test_a_good_value_is_read():
    assert parse(Whole, GOOD, "a.yaml") == Whole(name="a", parts={"x": Part(k=1)})


def test_each_mistake_is_a_line_with_its_place():
    assert message({"parts": {"x": {"k": 0}}, "numbers": [1, "b"], "more": 1}).split("\n") == [
        "a.yaml: name: expected a value: the key is missing",
        "a.yaml: parts.x.k: found 0, expected greater than or equal to 1",
        "a.yaml: numbers.1: found 'b', expected a whole number",
        "a.yaml: more: found 1, expected no such key",
    ]


def test_mistakes_beyond_the_first_are_counted():
    def lines(count: int) -> list[str]:
        return message({**GOOD, "numbers": ["b"] * count}).split("\n")

    assert len(lines(schema.MAX_MISTAKES)) == schema.MAX_MISTAKES
    assert len(lines(schema.MAX_MISTAKES + 1)) == schema.MAX_MISTAKES + 1
    assert lines(schema.MAX_MISTAKES + 1)[-1] == "a.yaml: and 1 more mistakes"
    assert lines(schema.MAX_MISTAKES + 3)[-1] == "a.yaml: and 3 more mistakes"


def test_a_value_that_is_nested_without_end_is_refused():
    class Deep:
        @staticmethod
        def model_validate(_: Any) -> None:
            raise RecursionError

    with pytest.raises(Invalid) as error:
        parse(Deep, GOOD, "a.yaml")  # type: ignore[type-var]
    assert str(error.value) == "a.yaml: nested too deeply"


def test_stored_json_is_refused_with_its_first_mistakes_and_the_remedy():
    def told(value: Any) -> tuple[list[str], int]:
        with pytest.raises(Invalid) as error:
            parse_recorded(Whole, value, "a.json", "make it anew")
        return str(error.value).split("\n"), len(error.value.mistakes)

    assert parse_recorded(Whole, GOOD, "a.json", "") == parse(Whole, GOOD, "a.json")
    assert told([1]) == (["a.json: found list, expected an object; make it anew"], 1)
    most = schema.MOST_RECORDED_MISTAKES
    lines, count = told({**GOOD, "numbers": ["b"] * most})
    assert (len(lines), count) == (most, most)
    assert lines[-1].endswith("; make it anew")
    assert "more mistakes" not in lines[-1]
    lines, count = told({**GOOD, "numbers": ["b"] * (most + 1)})
    assert (len(lines), count) == (most + 1, most)
    assert lines[-1] == "a.json: and 1 more mistakes; make it anew"
