"""Mistakes in a value, each with its place, what was found and what was expected."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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


class Typed(Strict):
    text: str = ""
    whole: int = 0
    real: float = 0.0
    truth: bool = False
    items: Annotated[list[int], Field(default_factory=list, max_length=2)]
    digest: schema.Sha256 = "0" * 64
    commit: schema.CommitId = "0" * 40
    rung: schema.RungName = "rung1"
    gate: schema.GateName = "gate1"


WHOLE_NUMBER = "a whole number"


@pytest.mark.parametrize(
    ("key", "value", "found", "expected"),
    [
        ("text", 1, "1", "text: put it in quotes"),
        ("text", 1.5, "1.5", "text: put it in quotes"),
        ("text", True, "true", "text: put it in quotes"),
        ("text", None, "null", "text"),
        ("text", [], "[]", "text"),
        ("whole", "7", "'7'", f"{WHOLE_NUMBER}: take the quotes away"),
        ("whole", "-7e3", "'-7e3'", f"{WHOLE_NUMBER}: take the quotes away"),
        ("whole", "seven", "'seven'", WHOLE_NUMBER),
        ("whole", 7.0, "7.0", f"{WHOLE_NUMBER}: write 7"),
        ("whole", 7.5, "7.5", WHOLE_NUMBER),
        ("whole", 1e22, "1e+22", WHOLE_NUMBER),
        ("whole", True, "true", WHOLE_NUMBER),
        ("whole", None, "null", WHOLE_NUMBER),
        ("real", "7.5", "'7.5'", "a number: take the quotes away"),
        ("real", "x", "'x'", "a number"),
        ("real", True, "true", "a number"),
        ("truth", "yes", "'yes'", "true or false"),
        ("truth", 1, "1", "true or false"),
        ("items", {}, "{}", "a list"),
        ("items", [1, 2, 3], "[1, 2, 3]", "at most 2 items"),
        ("digest", "0" * 63, f"'{'0' * 63}'", "64 hexadecimal digits in lower case"),
        ("commit", "0" * 41, f"'{'0' * 41}'", "the whole id of a commit: 40 or 64 hexadecimal digits in lower case"),
        ("rung", "rung0", "'rung0'", "a rung: rung1, rung2, ..."),
        ("gate", "gate100", "'gate100'", "a gate: gate1, gate2, ..."),
        ("text", ["x" * 76], f"['{'x' * 76}']", "text"),
        ("text", ["x" * 77], f"['{'x' * 75}...", "text"),
    ],
)
def test_a_value_of_another_type_is_told_with_what_to_write(key: str, value: Any, found: str, expected: str) -> None:
    with pytest.raises(Invalid) as error:
        parse(Typed, {key: value}, "a.yaml")
    assert str(error.value) == f"a.yaml: {key}: found {found}, expected {expected}"
    (mistake,) = error.value.mistakes
    assert (mistake.file, mistake.line, mistake.place, mistake.found, mistake.expected) == (
        *("a.yaml", None, key, found, expected),
    )


class Cat(Strict):
    kind: Literal["cat"]
    cat: int
    lives: Annotated[int, Field(ge=1)] = 9


class Dog(Strict):
    kind: Literal["dog"]


class Zoo(Strict):
    animals: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    either: list[int] | dict[str, int] = Field(default_factory=list)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"animals": [{"kind": "cow"}]}, "animals.0.kind: found 'cow', expected one of 'cat', 'dog'"),
        ({"animals": [{}]}, "animals.0.kind: expected a value: the key is missing"),
        ({"animals": [{"kind": "cat"}]}, "animals.0.cat: expected a value: the key is missing"),
        ({"animals": [{"kind": "cat", "cat": "x"}]}, "animals.0.cat: found 'x', expected a whole number"),
        (
            {"animals": [{"kind": "cat", "cat": 1, "lives": 0}]},
            "animals.0.lives: found 0, expected greater than or equal to 1",
        ),
        ({"animals": [{"kind": "dog", "cat": 1}]}, "animals.0.cat: found 1, expected no such key"),
        ({"animals": [3]}, "animals.0: found 3, expected a mapping"),
        ({"animals": 3}, "animals: found 3, expected a list"),
        (7, "a mapping"),
    ],
)
def test_a_mistake_in_one_of_several_kinds_has_the_place_that_the_file_has(value: Any, line: str) -> None:
    with pytest.raises(Invalid) as error:
        parse(Zoo, value, "a.yaml")
    assert str(error.value).split("\n")[0] == f"a.yaml: {line}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        *((name, None) for name in ("a", "a-b_c", "1a", "0xg", "nulls", "a" * 64)),
        *((name, "another name: YAML, and so DVC,") for name in ("12", "1_0", "0x1f", "0o17", "0b1", "1e5", "12e-3",
                                                                 "2020-1-1", "null", "true", "false")),
        *((name, "another name: Windows keeps") for name in ("con", "nul.x", "lpt1")),
        *((name, "a name without dots: lower-case letters, digits, '_', '-', at most 64 of them")
          for name in ("a.b", "A", "", "a" * 65, "-a")),
    ],
)  # fmt: skip
def test_a_key_is_a_name_that_every_reader_of_yaml_takes_for_text(name: str, problem: str | None) -> None:
    if problem is None:
        assert schema._key(name) == name
    else:
        with pytest.raises(ValueError) as error:
            schema._key(name)
        assert str(error.value).startswith(problem)


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        (7.0, 7),
        (-7.0, -7),
        (7.5, 7.5),
        (1e21, 10**21),
        (-1e21, -(10**21)),
        (1.1e21, 1.1e21),
        ("7", "7"),
        (True, True),
        (7, 7),
        (9.895e14, 989_500_000_000_000),
    ],
)
def test_a_float_that_is_whole_is_a_whole_number(value: Any, whole: Any) -> None:
    result = schema.whole_number(value)
    assert (result, type(result)) == (whole, type(whole))


def test_a_stored_file_is_written_as_it_is_read_with_its_schema() -> None:
    class Stored(schema.RecordedFile):
        b: int
        a: str = "x"

    stored = parse_recorded(Stored, {"schema": 1, "b": 7, "more": 1}, "a.json", "")
    assert stored.to_json() == {"schema": 1, "b": 7, "a": "x"}
    assert stored.to_bytes() == b'{"a":"x","b":7,"schema":1}\n'
    assert Stored(schema_=1, b=7) == stored
    with pytest.raises(Invalid, match=r"^a\.json: schema: found 2, expected 1; remedy$"):
        parse_recorded(Stored, {"schema": 2, "b": 7}, "a.json", "remedy")
