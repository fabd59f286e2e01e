"""The parts of sentences: what is a link, what is code, and which names may break in a line."""

from __future__ import annotations

import pytest

from report.prose import Span, bad, code, config_name, joined, term


def test_every_part_has_its_element_its_class_and_its_place() -> None:
    assert [code("a"), bad("b"), term("rung", "rungs"), config_name("c")] == [
        Span("a", "", "", "code"),
        Span("b", "", "bad", "span"),
        Span("rungs", "method.html#term.rung", "term"),
        Span("c", "configs/c.html", "name"),
    ]


@pytest.mark.parametrize(("letters", "css"), [(24, "name"), (25, "")])
def test_a_name_of_more_than_twenty_four_letters_may_break(letters: int, css: str) -> None:
    assert config_name("x" * letters).css == css


def test_parts_are_joined_by_commas() -> None:
    first, second, third = map(code, "abc")
    assert joined([]) == []
    assert joined([first]) == [first]
    assert joined([first, second, third]) == [first, ", ", second, ", ", third]
