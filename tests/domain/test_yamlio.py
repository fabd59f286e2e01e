"""What YAML makes of what people write is told in our words, with line and key; what it means is read."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
from dvc.utils.serialize import parse_yaml
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import yamlio
from stages.domain.errors import Invalid
from stages.domain.study import load, parse_bytes
from tests.support.fuzzing import budget
from tests.support.repo import PROJECT

SMOKE = (PROJECT / "studies" / "smoke.yaml").read_text(encoding="utf-8")


def refusal(text: str) -> str:
    with pytest.raises(yamlio.BadYaml) as error:
        yamlio.loads(text.encode(), "p.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\tb: 1\n", "line 2, column 1: a tab, expected spaces: YAML is indented with nothing else"),
        ("a: 1\n\tb: 2\n", "line 2, column 1: a tab, expected spaces: YAML is indented with nothing else"),
        ("\ta: 1\n", "line 1, column 1: a tab, expected spaces: YAML is indented with nothing else"),
        ("a: |\n\tx\n", "line 2, column 1: a tab, expected spaces: YAML is indented with nothing else"),
        ("a: @x\n", "line 1, column 4: found '@', which begins no value, expected text in quotes"),
        ("a: `x`\n", "line 1, column 4: found '`', which begins no value, expected text in quotes"),
        ("a: %x\n", "line 1, column 4: found '%', which begins no value, expected text in quotes"),
        ("a: b: c\n", "line 1, column 5: found a second ':' or a line too deep; put text with ': ' in quotes"),
        ("a: 1\n  b: 2\n", "line 2, column 4: found a second ':' or a line too deep; put text with ': ' in quotes"),
        ("a: [1, 2\nb: 1\n", "line 1, column 4: the list that begins with '[' is not closed, or lacks a comma"),
        ("a: {b: 1\nc: 2\n", "line 1, column 4: the mapping that begins with '{' is not closed, or lacks a comma"),
        ('b: 1\na: "x\nc: 1\n', "line 2, column 4: a quotation mark is opened and not closed"),
        ("a: 'x\n", "line 1, column 4: a quotation mark is opened and not closed"),
        ('a: "\\d"\n', "line 1, column 5: found a backslash in double quotes; put this text in single quotes"),
        ("a: *x\n", "line 1, column 4: '*' begins an alias of nothing that is there; put such text in quotes"),
        ("a: !x 1\n", "line 1, column 4: '!' begins a tag, and none is read here; put such text in quotes"),
        ("a: x!y!z\nb: !y!z 1\n", "line 2, column 4: '!' begins a tag, and none is read here; put such text in quotes"),
        ("a: 1\na: 2\n", "line 2, column 1: key 'a' stands twice in one mapping, expected once"),
        ("a:\n  b: 1\n c: 2\n", "line 3, column 2: this line fits none before it: look at its indentation, and at quotes"),
        ("a: 'it's'\n", "line 1, column 8: this line fits none before it: look at its indentation, and at quotes inside"),
        ("a: 1\nb\n", "line 3, column 1: found a line without ':', expected `key: value`"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: found '---', which begins a second document; a study is one"),
        ("a: 1\nb: \x07\n", "line 2: found the control character #x0007"),
        ("s:\n  name: 2024-01-01\n",
         "line 2: s.name: found the date 2024-01-01, expected text, a number, true, false or null: put it in quotes"),
        ("s:\n- 1\n- 2024-01-01 10:00:00\n", "line 3: s.1: found the date 2024-01-01T10:00:00, expected text"),
        ("c:\n  1: {}\n", "line 2: c.1: found the number 1 as a key, expected text: put it in quotes"),
        ("c:\n\n  2024-01-01: {}\n", "line 3: c.2024-01-01: found the date 2024-01-01 as a key, expected text"),
        ("true: 1\n", "True: found true as a key, expected text: put it in quotes"),
        ("a: !!binary aGVsbG8=\n", "line 1: a: found binary data, expected text, a number, true, false or null"),
    ],
)  # fmt: skip
def test_what_yaml_does_not_take_is_told_in_our_words_with_its_line(text: str, expected: str) -> None:
    message = refusal(text)
    assert message.startswith(("p.yaml, " if expected.startswith("line") else "p.yaml: ") + expected)


def study(*changes: tuple[str, str]) -> bytes:
    text = copy.copy(SMOKE)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text.encode()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("compile: false", "compile: no", "hosts.cpu-fp32.compile: found 'no', expected true or false"),
        ("compile: false", "compile: off", "hosts.cpu-fp32.compile: found 'off', expected true or false"),
        ("seeds: [2]", "seeds: [2e3]", "rungs.rung2.seeds.0: found 2000.0, expected a whole number: write 2000"),
        ("threads: 1,", 'threads: "1",', "hosts.cpu-fp32.threads: found '1', expected a whole number: take the quotes"),
        ("budget_seconds: 0.1", "budget_seconds: '1e3'", "rungs.rung2.budget_seconds: found '1e3', expected a number: "
                                                         "take the quotes away"),
        ("budget_seconds: 0.1", "budget_seconds: 1e30", "rungs.rung2.budget_seconds: found 1e+30, expected less than or"),
        ("version: 0.1.3", "version: 0.1", "data.source.version: found 0.1, expected text: put it in quotes"),
        ("name: smoke", "name: 7", "study.name: found 7, expected text: put it in quotes"),
        ("name: smoke", "name: true", "study.name: found true, expected text: put it in quotes"),
        ("k: 3", "k: 2.5", "gates.gate1.R2.k: found 2.5, expected a whole number"),
        ("margin: 0.01", "margin: .nan", "gates.gate3.R3.margin: found nan, expected a finite number"),
        ("reference: d2-a", "reference: d3-a", "roles.reference: found 'd3-a', expected one of configs"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_study_is_told_with_line_and_key(old: str, new: str, expected: str) -> None:
    data = study((old, new))
    line = data.decode().split(new)[0].count("\n") + 1
    with pytest.raises(Invalid) as error:
        parse_bytes(data, "p.yaml")
    assert str(error.value).startswith(f"p.yaml, line {line}: {expected}")
    assert error.value.mistakes[0].line == line


def test_several_mistakes_have_each_a_line_and_a_key_that_is_missing_that_of_its_section() -> None:
    with pytest.raises(Invalid) as error:
        parse_bytes(study(("  title:", "  titel:"), ("seeds: [1]", "seeds: []")), "p.yaml")
    assert [line.split(": ")[:2] for line in str(error.value).splitlines()] == [
        ["p.yaml, line 2", "study.title"],
        ["p.yaml, line 5", "study.titel"],
        [f"p.yaml, line {SMOKE.split('seeds: [1]')[0].count(chr(10)) + 1}", "rungs.rung1.seeds"],
    ]


def test_a_whole_number_may_be_written_with_an_exponent() -> None:
    plain = parse_bytes(study(), "p.yaml")
    written = study(
        ("flops_per_second: 1000000000}", "flops_per_second: 1e9}"),
        ("threads: 1,", "threads: 1.0,"),
        ("tokenizer_bytes: 200000", "tokenizer_bytes: 2e5"),
        ("vocab_size: 512", "vocab_size: 5.12e2"),
        ("k: 3", "k: 3.0"),
    )
    assert parse_bytes(written, "p.yaml").model_dump_json() == plain.model_dump_json()
    exact = parse_bytes(study(("flops_per_second: 1000000000}", "flops_per_second: 9.895e14}")), "p.yaml")
    assert exact.hosts["cpu-fp32"].flops_per_second == 989_500_000_000_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_the_place_of_params_yaml_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "params.yaml")
    for path in (tmp_path / "params.yaml", Path(os.devnull), tmp_path):
        with pytest.raises(
            yamlio.BadYaml, match="found what is no file, expected one; run this in the root of a study"
        ):
            load(path)


def test_a_file_of_newlines_is_read_in_no_time_and_a_larger_one_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"\n" * yamlio.MAX_BYTES)
    with pytest.raises(yamlio.BadYaml, match="found NoneType, expected a mapping"):
        load(path)
    path.write_bytes(b"\n" * (yamlio.MAX_BYTES + 1))
    with pytest.raises(yamlio.BadYaml, match="4194305 bytes, expected at most 4194304"):
        load(path)


SCALARS = st.sampled_from(
    [
        "1",
        "01",
        "0o17",
        "0x1f",
        "1_000",
        "1e3",
        "1.",
        ".5",
        "1e-5",
        "1.0e+3",
        "+1",
        "-0",
        "1:30",
        "yes",
        "No",
        "on",
        "TRUE",
        "~",
        "null",
        "Null",
        "",
        "'a'",
        '"a\\n"',
        "a b",
        "a#b",
        "a #b",
        "2024-01-01",
        ".inf",
        ".nan",
        "!!str 1",
        "!!int '1'",
        "&x 1",
        "*x",
        "|\n  a\n  b",
        ">\n  a\n  b",
        "[1, a]",
        "{b: 1}",
        "{b, c}",
        "[]",
        "'",
        "é",
        "\u2028",
        "<<",
    ]
)
LINES = st.tuples(st.sampled_from(["a", "b", '"c"', "1", "on", "<<", "? a"]), SCALARS).map(": ".join)
TEXTS = st.lists(LINES | SCALARS.map("- ".__add__) | st.just("a:\n  - 1\n  - x: 2"), min_size=1, max_size=4).map(
    "\n".join
)


@given(TEXTS)
@budget(300)
def test_what_is_read_is_what_dvc_reads(text: str) -> None:
    """DVC takes values of params.yaml into commands and dvc.lock, by its own reading."""
    try:
        value = yamlio.loads(text.encode(), "params.yaml")
    except yamlio.BadYaml:
        return
    assert repr(value) == repr(parse_yaml(text, "params.yaml")), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!set {x}\n", "p.yaml, line 1: a: found a set, expected text, a number, true, false or null"),
        ("a:\n  b: 1" + "0" * 30 + "\n", "p.yaml, line 2: a.b: found a whole number of 100 bits, expected at most 1e+21"),
        ("a: -1" + "0" * 22 + "\n", "p.yaml, line 1: a: found a whole number of 74 bits, expected at most 1e+21"),
        ("1" + "0" * 30 + ": 1\n", "p.yaml: a whole number of 100 bits: found a whole number of 100 bits as a key, "
                                   "expected text: put it in quotes"),
        ("a: {2.5: 1}\n", "p.yaml, line 1: a.2.5: found the number 2.5 as a key, expected text: put it in quotes"),
        ("a: {null: 1}\n", "p.yaml, line 1: a.None: found null as a key, expected text: put it in quotes"),
        ("a: {false: 1}\n", "p.yaml, line 1: a.False: found false as a key, expected text: put it in quotes"),
        ("null\n", "p.yaml: found NoneType, expected a mapping"),
        ("", "p.yaml: found NoneType, expected a mapping"),
        ("text\n", "p.yaml: found str, expected a mapping"),
        ("? [a, b]\n: 1\n", "p.yaml: ('a', 'b'): found tuple as a key, expected text: put it in quotes"),
    ],
)  # fmt: skip
def test_a_value_that_no_study_needs_is_named_with_its_line(text: str, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize("number", [10**21, -(10**21)])
def test_the_largest_whole_number_is_read(number: int) -> None:
    assert yamlio.loads(f"a: {number}\n".encode(), "p.yaml") == {"a": number}


def nested_yaml(levels: int) -> bytes:
    return b"a: " + b"[" * levels + b"]" * levels + b"\n"


def test_a_value_may_be_nested_as_deep_as_is_allowed() -> None:
    most = yamlio.MAX_DEPTH
    value = yamlio.loads(nested_yaml(most - 1), "p.yaml")
    assert list(value) == ["a"]
    with pytest.raises(yamlio.BadYaml) as error:
        yamlio.loads(nested_yaml(most), "p.yaml")
    assert str(error.value) == f"p.yaml: more than {yamlio.MAX_NODES} values or {most} levels; no study needs that"


def test_a_file_may_have_as_many_values_and_bytes_as_are_allowed() -> None:
    data = b"a: [1, 2]\nb: 3\n"  # a mapping, two keys, a list and three numbers: seven; five of them are values
    assert yamlio.loads(data, "p.yaml", max_nodes=7, max_bytes=len(data)) == {"a": [1, 2], "b": 3}
    with pytest.raises(yamlio.BadYaml, match=r"^p\.yaml: more than 6 values or 32 levels; no study needs that$"):
        yamlio.loads(data, "p.yaml", max_nodes=6)
    with pytest.raises(yamlio.BadYaml, match=rf"^p\.yaml: {len(data)} bytes, expected at most {len(data) - 1}$"):
        yamlio.loads(data, "p.yaml", max_bytes=len(data) - 1)


def test_what_aliases_unfold_to_is_counted() -> None:
    data = b"a: &a [1, 2, 3]\nb: [*a, *a]\n"
    assert yamlio.loads(data, "p.yaml", max_nodes=14)["b"] == [[1, 2, 3], [1, 2, 3]]
    with pytest.raises(yamlio.BadYaml, match=r"^p\.yaml: more than 13 values or 32 levels; is it an alias bomb\?$"):
        yamlio.loads(data, "p.yaml", max_nodes=13)


def test_aliases_are_refused_where_none_is_taken() -> None:
    data = b"a: &a 1\nb: *a\n"
    assert yamlio.loads(data, "p.yaml") == {"a": 1, "b": 1}
    with pytest.raises(yamlio.BadYaml) as error:
        yamlio.loads(data, "p.yaml", aliases=False)
    assert str(error.value) == "p.yaml: found an alias, expected the value itself"
    with pytest.raises(yamlio.BadYaml) as error:
        yamlio.refuse_aliases(data, "p.yaml")
    assert str(error.value) == (
        "p.yaml, line 2: found the alias *a, expected the value itself: DVC would copy it into dvc.lock"
    )
    yamlio.refuse_aliases(b"a: 1\n", "p.yaml")
    assert yamlio.loads(b"a: &a 1\n", "p.yaml", aliases=False) == {"a": 1}


PLACES = "a:\n  b:\n    - x: 1\n    - y: 2\nc: [1,\n  2]\n"


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ([], None),
        (["a"], 1),
        (["a", "b"], 2),
        (["a", "b", "0"], 3),
        (["a", "b", "1"], 4),
        (["a", "b", "1", "y"], 4),
        (["a", "b", "2"], 2),
        (["a", "b", "x"], 2),
        (["a", "z", "x"], 1),
        (["c", "1"], 6),
        (["c", "1", "z"], 6),
        (["z"], None),
        (["0"], None),
    ],
)
def test_the_line_of_a_place_is_that_of_the_last_key_that_is_there(place: list[str], line: int | None) -> None:
    assert yamlio.line_of(PLACES, place) == line


def test_what_is_no_yaml_has_no_lines() -> None:
    assert yamlio.line_of("a: [", ["a"]) is None


@pytest.mark.parametrize(
    ("message", "expected", "line"),
    [
        ("p.yaml: a.b: found 1, expected 2", "p.yaml, line 2: a.b: found 1, expected 2", 2),
        ("p.yaml: a.b.1.y is odd", "p.yaml, line 4: a.b.1.y is odd", 4),
        ("p.yaml: z: missing", "p.yaml: z: missing", None),
        ("p.yaml: :", "p.yaml: :", None),
        ("a.b: found", "a.b: found", None),
    ],
)
def test_a_mistake_gets_the_line_of_the_key_that_it_names(message: str, expected: str, line: int | None) -> None:
    error = yamlio.with_lines(Invalid(message), PLACES.encode(), "p.yaml")
    assert str(error) == expected
    assert [mistake.line for mistake in error.mistakes] == [line]


def test_an_error_that_is_no_list_of_mistakes_stays_as_it_is() -> None:
    error = Invalid("p.yaml: a: one\ntwo", Invalid.at("p.yaml", "one", "a").mistakes[0])
    assert yamlio.with_lines(error, PLACES.encode(), "p.yaml") is error
