"""Line templates: what they match in real logs, what they refuse, and that hostile text costs nothing."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain.line_template import (
    MAX_LINE,
    MAX_NUMBER,
    BadTemplate,
    LineTemplate,
    clean_line,
    last_match,
    parse_number,
    split_lines,
)


def matched(template: str, line: str) -> dict[str, str] | None:
    return LineTemplate.parse(template).match(clean_line(line))


@pytest.mark.parametrize(
    ("template", "line", "score"),
    [
        ("step {*}: train loss {*}, val loss {score}", "step 20: train loss 3.7464, val loss 3.7188", "3.7188"),
        ("Step {*} | Validation bpb: {score}", "Step 00020 | Validation bpb: 3.459423", "3.459423"),
        ("val_bpb: {score}", "val_bpb:          0.997900", "0.997900"),
        (
            "Final evaluation | val loss: {score} | {*}",
            "Final evaluation | val loss: 5.430 | val ppl: 228.254",
            "5.430",
        ),
        ("step:{*} val_loss:{score} {*}", "step:1390/1390 val_loss:3.2773 train_time:79740ms", "3.2773"),
        ("{*}final_exact val_loss:{*} val_bpb:{score}", "x final_exact val_loss:2.0600 val_bpb:1.22", "1.22"),
    ],
)
def test_the_score_lines_of_known_trainers_match(template, line, score):
    assert matched(template, line) == {"score": score}


@pytest.mark.parametrize("number", ["1", "-2.5", "+.5", "7.", "1e-05", "NaN", "inf", "-Infinity", "3.0E+2"])
def test_a_number_is_what_trainers_print_as_one(number):
    assert matched("loss {value}", f"loss {number}") == {"value": number}


@pytest.mark.parametrize("text", ["abc", "1,5", "0x1f", "1" * (MAX_NUMBER + 1), "--1", "1.2.3", "e5", "1e99999"])
def test_what_is_no_number_does_not_match(text):
    assert matched("loss {value}", f"loss {text}") is None


def test_a_template_is_held_against_the_whole_line():
    assert matched("val_loss:{score}", "val_loss:1.5 val_bpb:2.5") is None
    assert matched("val_loss:{score}", "best val_loss:1.5") is None
    assert matched("FAIL", "FAIL") == {}
    assert matched("FAIL", "FAILED") is None
    assert matched("{*}out of memory{*}", "CUDA out of memory. Tried to") == {}


def test_a_later_place_on_the_line_is_tried_where_an_earlier_one_is_no_number():
    assert matched("{*}loss: {score}", "loss: none yet, loss: 3.5") == {"score": "3.5"}
    assert matched("{*}loss: {score}", "loss: 2.5, loss: 3.5") == {"score": "3.5"}


def test_colours_and_progress_bars_do_not_hide_a_line():
    text = "\x1b[31m  5%\x1b[0m\r 10%\rval \x1b[1mloss:\x1b[0m 2.50\r\n\x1b]0;title\x07done\n"
    assert split_lines(text) == ["5%", "10%", "val loss: 2.50", "done"]


def test_the_last_line_that_matches_counts():
    template = LineTemplate.parse("val {score}")
    assert last_match(template, ["val 1", "val 2", "noise"]) == {"score": "2"}
    assert last_match(template, ["noise"]) is None


def test_braces_are_written_twice():
    assert matched("{{loss}} {score}", "{loss} 2") == {"score": "2"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{score}", "some text"),
        ("{*}", "some text"),
        ("", "some text"),
        ("a{*}{*}b", "one {*}"),
        ("loss {*}{score}", "text before {score}"),
        ("loss {a}{b}", "text before {b}"),
        ("loss {a} {a}", "each name once"),
        ("loss {Name}", "{name} of lower-case letters"),
        ("loss {a", "{{ for a brace"),
        ("loss a}", "}} for a brace"),
        ("two\nlines {a}", "one line"),
        ("x" * 2000, "at most"),
    ],
)
def test_a_template_that_could_only_guess_is_refused(text, why):
    with pytest.raises(BadTemplate) as error:
        LineTemplate.parse(text)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("text", "rounded"),
    [
        ("0.9979004", "0.997900"),
        ("0.0000005", "0.000000"),
        ("0.0000015", "0.000002"),
        ("-1.5", "-1.500000"),
        ("1e-5", "0.000010"),
    ],
)
def test_a_number_is_rounded_half_even_to_six_places_as_it_was_printed(text, rounded):
    assert parse_number(text) == Decimal(rounded)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e30", "1000001", "1e9999"])
def test_what_is_not_finite_or_too_large_is_no_number_to_judge(text):
    assert parse_number(text) is None


@given(st.decimals(min_value=-1000, max_value=1000, places=8, allow_nan=False))
def test_a_score_is_never_off_by_more_than_half_of_the_sixth_place(value):
    rounded = parse_number(f"{value:f}")
    assert rounded is not None
    assert abs(rounded - value) <= Decimal("0.0000005")


LITERALS = st.text(
    st.characters(codec="ascii", categories=["L", "P", "N"], exclude_characters="{}"), min_size=1, max_size=6
)


@given(LITERALS, LITERALS, st.text(max_size=40), st.integers(0, 999).map(str), st.booleans())
def test_what_a_template_describes_matches_it(head, tail, noise, number, spaced):
    """Text, anything, text, a number: however the noise looks, the line is recognised."""
    head, tail = clean_line(head), clean_line(tail)
    if tail[-1:].isdigit() or tail[-1:] in ".eE+-":
        tail += ":"
    line = clean_line(f"{head}{noise}{' ' if spaced else ''}{tail} {number}")
    assert matched(f"{head}{{*}}{tail} {{value}}", line) == {"value": number}


@given(st.text(max_size=300), st.sampled_from(["a{*}b{x}c{*}d", "{*}1{x}", "{*}.{x}{*}e", "a {x} b"]))
def test_any_text_is_read_without_an_error(text, template):
    for line in split_lines(text):
        numbers = LineTemplate.parse(template).match(line)
        assert numbers is None or all(parse_number(number) is None or number for number in numbers.values())


HOSTILE = [
    "1" * 200_000,
    "1 " * 100_000,
    "\x1b[" * 100_000,
    "a1" * 100_000,
    "\x1b]" * 100_000,
    "1e" * 100_000,
    "\r1" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_the_work_for_a_hostile_log_is_bounded_by_its_length(text):
    """Not in seconds: by the places that are looked at, so that a slow machine proves the same."""
    lines = split_lines(text)
    assert sum(map(len, lines)) <= len(text)
    assert all(len(line) <= MAX_LINE for line in lines)
    template = LineTemplate.parse("{*}1{x}{*}1{y}{*}a{z}")
    before = time.process_time()
    for line in lines:
        template.match(line)
    assert time.process_time() - before < 5  # milliseconds; a template that backtracks needs hours


@pytest.mark.parametrize(
    ("template", "line", "numbers"),
    [
        ("a{*}", "a", {}),
        ("a{*}", "ab", {}),
        ("a{*}", "ba", None),
        ("{*}a", "a", {}),
        ("{*}a", "ba", {}),
        ("{*}a", "ab", None),
        ("{*}a{*}", "bab", {}),
        ("{*}a{*}", "b", None),
        ("a{*}b{*}c", "a b c", {}),
        ("a{*}b{*}c", "a c b", None),
        ("a{*}b{*}b", "ab", None),
        ("a{*}b{*}b", "abb", {}),
        ("a{*}a", "a", None),
        ("a{*}a", "aa", {}),
        ("{x} steps", "12 steps", {"x": "12"}),
        ("{x} steps", "x12 steps", None),
        ("{x}{*}steps", "12 of 20 steps", {"x": "12"}),
        ("a {x} b {y}", "a 1 b 2", {"x": "1", "y": "2"}),
        ("a {x} b {y}", "a 1 b", None),
        ("{*}a {x}{*}b {y}", "a 1 a 2 b 3", {"x": "1", "y": "3"}),
        ("{*}a {x}{*}a {y}", "a 1 a 2 a 3", {"x": "1", "y": "3"}),
        ("{*}loss {x}!", "loss 1 loss 2!", {"x": "2"}),
        ("  a   b  ", "a b", {}),
        (" {*} a ", "x a", {}),
        ("{*} a", "a", None),
        ("a\t {x}", "a 1", {"x": "1"}),
        ("a {{ {x} }}", "a { 1 }", {"x": "1"}),
        ("a {{{x}}}", "a {1}", {"x": "1"}),
        ("{{ a", "{ a", {}),
    ],
)
def test_blocks_stand_in_their_order_and_at_the_ends_of_a_line(template, line, numbers):
    assert LineTemplate.parse(template).match(line) == numbers


def test_a_number_has_as_many_digits_as_are_allowed_and_no_more():
    template, digits = LineTemplate.parse("a {x} b"), "1" * MAX_NUMBER
    assert template.match(f"a {digits} b") == {"x": digits}
    assert template.match(f"a {digits}1 b") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * 1001, "a template of at most 1000 characters"),
        ("a\rb", "one line: output is split at line ends before it is matched"),
        ("{*}{*}a", "one {*}, not two beside each other"),
        ("a{*}{*}", "one {*}, not two beside each other"),
        ("{a}{b} x", "text before {b}: nobody could tell where the number begins"),
        ("x {b} y {a} z {b} {a}", "each name once, but {a} stands there more than once"),
        ("{a", "{{ for a brace that is meant as itself, not a single {"),
        ("a {9} b", "{name} of lower-case letters, digits and '_', or {*}, not {9}"),
        ("a {} b", "{name} of lower-case letters, digits and '_', or {*}, not {}"),
        (f"a {{{'x' * 33}}}", f"{{name}} of lower-case letters, digits and '_', or {{*}}, not {{{'x' * 33}}}"),
    ],
)
def test_what_is_wrong_with_a_template_is_told_whole(text, message):
    with pytest.raises(BadTemplate) as error:
        LineTemplate.parse(text)
    assert str(error.value) == message


def test_a_template_may_be_as_long_as_is_allowed_and_keeps_its_text():
    text = "x" * 1000
    template = LineTemplate.parse(text)
    assert (template.text, template.names, template.match(text)) == (text, [], {})
    assert LineTemplate.parse("b {y} a {x}").names == ["y", "x"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a\n\n \r\nb\r", ["a", "b"]),
        (" a \t b ", ["a b"]),
        ("\x1b]0;title\x1b\\a\x1b[1mb\x1bMc", ["abc"]),
        ("x" * (MAX_LINE + 1), ["x" * MAX_LINE]),
    ],
)
def test_a_log_is_its_lines_cleaned(text, lines):
    assert split_lines(text) == lines


@pytest.mark.parametrize(
    ("text", "number"), [("1000000", "1000000"), ("-1000000", "-1000000"), ("1000000.0000001", None), ("+.5", "0.5")]
)
def test_a_number_may_be_as_large_as_a_million(text, number):
    assert parse_number(text) == (None if number is None else Decimal(number))


def test_of_lines_that_match_the_last_counts():
    assert last_match(LineTemplate.parse("v {a}"), ["v 1", "x", "v 2", "y"]) == {"a": "2"}
    assert last_match(LineTemplate.parse("v {a}"), []) is None
