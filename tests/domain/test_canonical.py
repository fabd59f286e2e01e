"""One value, one sequence of bytes."""

import doctest
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import canonical
from stages.domain.canonical import NotCanonical, dumps, exact, loads, loads_canonical, sha256

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=20,
)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(canonical).failed == 0


@given(values)
def test_every_value_reads_back_as_itself(value):
    assert loads_canonical(dumps(value)) == value


def nested(levels):
    return [nested(levels - 1)] if levels else 1


whole_numbers = st.integers(-(10**23), 10**23) | st.sampled_from([10**21, 10**21 + 1, -(10**21) - 1])


odd = st.text() | whole_numbers | st.integers(60, 70).map(nested) | st.dictionaries(st.text(), whole_numbers)
odd_json = odd.map(lambda value: json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n")


@given(values.map(dumps) | odd_json | st.sampled_from([b'{"a":1,"a":1}\n', b"NaN\n", b"1e999\n", b"1.50\n"]))
def test_canonical_bytes_are_read_as_any_json_is_and_nothing_else_is(data):
    def outcome(read):
        try:
            return repr(read(data))
        except NotCanonical as error:
            return error

    expected, actual = outcome(loads), outcome(loads_canonical)
    if isinstance(expected, str) and dumps(loads(data)) != data:
        expected = NotCanonical("the bytes are not the canonical form of what they say")
    assert (type(actual), str(actual)) == (type(expected), str(expected))


@given(st.dictionaries(text, st.integers(-(10**21), 10**21), min_size=2))
def test_the_order_of_keys_changes_no_byte(value):
    assert dumps(value) == dumps(dict(reversed(value.items())))


@given(values)
def test_the_bytes_are_one_line(value):
    data = dumps(value)
    assert data.endswith(b"\n") and b"\n" not in data[:-1]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_by_name(data):
    try:
        loads(data)
    except NotCanonical:
        pass


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a":1,"a":1}', "key 'a' stands twice in one object"),
        (b'{"a":NaN}', "NaN is not a number that JSON has"),
        (b'{"a":-Infinity}', "-Infinity is not a number that JSON has"),
        (b'{"a":1e999}', "1e999 is too large for a number"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b"{", "not JSON at line 1, column 2: Expecting property name enclosed in double quotes"),
        (b'"\\ud800"', "a string holds a lone surrogate, which UTF-8 cannot say"),
        (b'{"\\udfff":1}', "a string holds a lone surrogate, which UTF-8 cannot say"),
        (b'{"a":[{"b":{"c\\ud800":null}}]}', "a string holds a lone surrogate, which UTF-8 cannot say"),
        (b"9" * 400, "a whole number of 1329 bits, expected at most 1e+21"),
        (b'{"a":-%d}' % (10**21 + 1), "a whole number of 70 bits, expected at most 1e+21"),
        (b"[" * 100 + b"]" * 100, "nested deeper than 64 levels"),
    ],
)
def test_what_json_leaves_open_is_refused(data, message):
    with pytest.raises(NotCanonical) as caught:
        loads(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": 1}, [{"a": {"\udfff": 1}}]])
def test_what_cannot_be_read_again_is_not_written(value):
    with pytest.raises(NotCanonical):
        canonical.dumps(value)


def test_a_deep_bomb_is_refused_and_not_a_crash():
    with pytest.raises(NotCanonical):
        loads(b"[" * 1_000_000)


def test_a_huge_input_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(canonical, "MAX_BYTES", 10)
    with pytest.raises(NotCanonical, match="11 bytes are more than the 10 that are read"):
        loads(b'"123456789"')
    assert loads(b'"12345678"') == "12345678", "as long as it may be"


@pytest.mark.parametrize("value", [math.nan, math.inf, {1: 2}, object(), {"a": {3}}])
def test_values_without_a_canonical_form_are_refused(value):
    with pytest.raises(NotCanonical):
        dumps(value)


def test_spaces_another_order_or_a_missing_newline_are_not_canonical():
    for data in (b'{"a": 1}\n', b'{"b":1,"a":2}\n', b'{"a":1}', b'{"a":1}\r\n', b'{"a":1.0e0}\n'):
        loads(data)
        with pytest.raises(NotCanonical):
            loads_canonical(data)


@given(st.decimals(min_value=0, max_value=100, places=6))
def test_six_recorded_decimals_stay_exactly_what_they_were(number):
    recorded = loads(dumps(float(number)))
    assert exact(recorded) == number


def test_the_digest_is_that_of_the_bytes():
    import hashlib

    assert sha256({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}\n').hexdigest()
    assert json.loads(dumps({"é": 1})) == {"é": 1}


@pytest.mark.parametrize(
    "value", [{"a": 1, "b": [2, -3, {"c": 10**15}]}, {"a": 0.5, "b": "ü", "c": None, "d": True}, []]
)
def test_plain_canonical_bytes_are_read_once(monkeypatch, value):
    data = canonical.dumps(value)
    monkeypatch.setattr(canonical, "loads", lambda _: pytest.fail("read a second time, with every check"))
    assert canonical.loads_canonical(data) == value


@pytest.mark.parametrize("value", [10**21, -(10**21), True, None, "ü", (1, 2), nested(64), {"a": nested(63)}, 1e300])
def test_what_is_at_the_limit_has_a_canonical_form(value):
    assert loads(dumps(value)) == (list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nested(65), "nested deeper than 64 levels"),
        ({"a": nested(64)}, "nested deeper than 64 levels"),
        (10**21 + 1, "a whole number of 70 bits, expected at most 1e+21"),
        (-(10**21) - 1, "a whole number of 70 bits, expected at most 1e+21"),
        (math.nan, "nan is not a finite number"),
        ({"a": [-math.inf]}, "-inf is not a finite number"),
        ({1: 2}, "key 1 is int, not str"),
        ({"a": {b"b": 2}}, "key b'b' is bytes, not str"),
        ([{3}], "set has no canonical form"),
        (["\ud800"], "a string holds a lone surrogate, which UTF-8 cannot say"),
        ({"é\ud800": 1}, "a string holds a lone surrogate, which UTF-8 cannot say"),
    ],
)
def test_what_has_no_canonical_form_is_told(value, message):
    with pytest.raises(NotCanonical) as caught:
        dumps(value)
    assert str(caught.value) == message


@pytest.mark.parametrize("brackets", [63, 64, 65, 66])
def test_lines_with_as_many_brackets_as_are_deep_are_read_as_any_other(brackets):
    line = dumps([[]] * (brackets - 1))
    assert loads_canonical(line) == [[]] * (brackets - 1)
    braces = dumps([{}] * (brackets - 1))
    assert loads_canonical(braces) == [{}] * (brackets - 1)


@pytest.mark.parametrize("digits", [20, 21, 22])
def test_long_whole_numbers_are_read_up_to_the_largest(digits):
    number = 10 ** (digits - 1)
    assert loads_canonical(dumps(number)) == number
    assert loads_canonical(dumps(-number)) == -number


@pytest.mark.parametrize(
    ("number", "exactly"), [(1, "1"), (0.1, "0.1"), (1e-07, "1E-7"), (2.50, "2.5"), (canonical.Decimal("2.50"), "2.50")]
)
def test_a_number_is_exactly_what_is_written(number, exactly):
    assert str(exact(number)) == exactly
