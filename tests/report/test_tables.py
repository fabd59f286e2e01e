"""Tables: the same values in HTML, CSV and JSON, and nothing that a browser or a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from report import render
from report.tables import FORMULA, Cell, Column, Table, TableRow, as_csv, as_json, body, foot, holds, show_as, state

TEXT = Column("text", "Text")
NUMBER = Column("number", "Number", "number")


def table(text: str, number: float | None = 1.5) -> Table:
    columns = [TEXT, NUMBER, Column("h", "Hidden", hidden=True)]
    rows = [TableRow("r", {"text": text, "number": number, "h": text})]
    return Table("t", "T", "s", clock="rated clock", columns=columns, rows=rows)


@given(st.text(st.characters(codec="utf-8")))
def test_json_gives_back_every_text(text: str) -> None:
    value = json.loads(as_json(table(text), "study"))
    assert value["rows"] == [[text, 1.5, text]]
    assert [one["key"] for one in value["columns"]] == ["text", "number", "h"]
    assert (value["clock"], value["source"], value["study"]) == ("rated clock", "s", "study")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0")))
def test_csv_gives_back_every_text_and_disarms_formulas(text: str) -> None:
    rows = list(csv.reader(io.StringIO(as_csv(table(text)).decode("utf-8"))))
    assert rows[0] == ["text", "number", "h"]
    assert rows[1][0] == ("'" + text if text.startswith(FORMULA) else text)
    assert not rows[1][0].startswith(FORMULA)


def test_negative_numbers_stay_numbers_in_csv() -> None:
    assert as_csv(table("a", -0.25)).decode("utf-8").splitlines()[1] == "a,-0.25,a"


def test_none_is_empty_in_csv_null_in_json_and_a_dash_on_the_page() -> None:
    empty = table("a", None)
    assert as_csv(empty).splitlines()[1] == b"a,,a"
    assert json.loads(as_json(empty, "s"))["rows"] == [["a", None, "a"]]
    assert '<td class="num">–</td>' in body(empty, str, True, render.anchor)


@given(st.text(st.sampled_from("<>&\"'/ ab"), min_size=1))
def test_no_text_becomes_markup(text: str) -> None:
    cells = {"text": Cell("x", text, note=text, small=text, tags=(text,)), "number": Cell(text, text, mark=text)}
    made = body(Table("t", "T", "s", columns=[TEXT, NUMBER], rows=[TableRow(text, cells)]), str, True, render.anchor)
    kept = made.replace("<tr id=", "<tr ")
    for tag in (
        "<tr",
        "</tr>",
        "<th scope=",
        "</th>",
        "<td",
        "</td>",
        "<small>",
        "</small>",
        '<span class="role">',
        "</span>",
    ):
        kept = kept.replace(tag, "")
    assert "<" not in kept


def test_hidden_columns_are_in_the_files_alone() -> None:
    assert "Hidden" not in [column.label for column in table("a").shown]
    assert b"h" in as_csv(table("a")).splitlines()[0]


def test_not_evaluable_never_looks_like_a_pass() -> None:
    for effect in ("require", "promote", "stop", "verdict"):
        cell = holds(None, effect)
        assert (cell.text, cell.mark) == ("? not evaluable", "holds-unknown")
    assert holds(True, "stop").mark == "holds-no"
    assert holds(False, "require").mark == "holds-no"


def test_digests_are_set_in_the_face_of_code_and_shown_whole_to_who_points_at_them() -> None:
    columns = [TEXT, Column("digest", "SHA-256", "digest"), Column("name", "Name"), NUMBER]
    cells = {"text": "a", "digest": "0123456789abcdef" * 4, "name": "b", "number": 1.5}
    made = str(body(Table("t", "T", "s", columns=columns, rows=[TableRow("r", cells)]), str, False, render.anchor))
    assert f'<td class="mono" title="{cells["digest"]}">' in made
    assert '<th scope="row">a</th>' in made
    assert "<td>b</td>" in made
    assert '<td class="num">1.5' in made


def html(column: Column, value: object, sortable: bool = True, head: bool = False) -> str:
    """The cell of a table of one column, or of its second one."""
    first = Column("first", "First")
    columns = [column] if head else [first, column]
    rows = [TableRow("", {"first": "f", column.key: value})]
    made = str(
        body(Table("t", "T", "s", columns=columns, rows=rows), lambda href: f"to/{href}", sortable, render.anchor)
    )
    return made.removeprefix('<tr><th scope="row">f</th>' if not head else "<tr>").removesuffix("</tr>\n")


@pytest.mark.parametrize(
    ("kind", "value", "sorted_", "plain"),
    [
        ("count", 1200, '<td class="num" data-v="1200">1\N{NARROW NO-BREAK SPACE}200</td>', '<td class="num">1\N{NARROW NO-BREAK SPACE}200</td>'),
        ("number", 0.5, '<td class="num" data-v="0.5">0.5</td>', '<td class="num">0.5</td>'),
        ("bpb", 0.5, '<td class="num" data-v="0.5">0.500000</td>', '<td class="num">0.500000</td>'),
        ("mean", 0.5, '<td class="num" data-v="0.5">0.500000</td>', '<td class="num">0.500000</td>'),
        ("signed", 0.5, '<td class="num" data-v="0.5">+0.500000</td>', '<td class="num">+0.500000</td>'),
        ("hours", 2.0, '<td class="num" data-v="2.0">2\N{NO-BREAK SPACE}h</td>', '<td class="num">2\N{NO-BREAK SPACE}h</td>'),
        ("number", True, '<td class="num" data-v="True">yes</td>', '<td class="num">yes</td>'),
        ("number", None, '<td class="num">–</td>', '<td class="num">–</td>'),
        ("text", "a<", "<td>a&lt;</td>", "<td>a&lt;</td>"),
        ("digest", "0123456789abcdef", '<td class="mono" title="0123456789abcdef">0123456789ab</td>', '<td class="mono" title="0123456789abcdef">0123456789ab</td>'),
        ("digest", None, '<td class="mono">–</td>', '<td class="mono">–</td>'),
        ("digest", Cell("abc", note="n"), '<td class="mono" title="n">abc</td>', '<td class="mono" title="n">abc</td>'),
        ("digest", Cell("abc", "shown"), '<td class="mono">shown</td>', '<td class="mono">shown</td>'),
        ("text", Cell("v", "t", "x.html", "bad", "note", "small", ("r", "s")), None, (
            '<td class="bad" title="note"><a href="to/x.html">t</a> <span class="role">r</span> <span class="role">s</span><small>small</small></td>'
        )),
        ("number", Cell(2.0, "two", mark="bad"), '<td class="num bad" data-v="2.0">two</td>', '<td class="num bad">two</td>'),
        ("number", Cell(2.0, sort=7.0), '<td class="num" data-v="7.0">2</td>', '<td class="num">2</td>'),
        ("text", Cell("v", sort=7.0), '<td data-v="7.0">v</td>', "<td>v</td>"),
        ("text", Cell(None, ""), "<td></td>", "<td></td>"),
        ("state", "x", "<td>x</td>", "<td>x</td>"),
    ],
)  # fmt: skip
def test_a_cell_is_written_by_its_kind(kind: Any, value: object, sorted_: str | None, plain: str) -> None:
    assert html(Column("c", "C", kind), value) == (sorted_ or plain)
    assert html(Column("c", "C", kind), value, sortable=False) == plain


def test_the_first_cell_of_a_row_heads_it_whatever_its_kind() -> None:
    assert html(Column("c", "C", "number"), 2.0, head=True) == '<th scope="row">2</th>'
    assert (
        html(Column("c", "C", "digest"), "a" * 64, head=True) == f'<th scope="row" title="{"a" * 64}">{"a" * 12}</th>'
    )
    assert html(Column("c", "C"), Cell("v", sort=7.0, mark="m"), head=True) == '<th scope="row" class="m">v</th>'


@pytest.mark.parametrize(
    ("kind", "digits", "value", "text"),
    [
        ("number", 2, 0.125, "0.12"),
        ("signed", 2, 0.5, "+0.50"),
        ("mean", 3, 0.5, "0.500"),
        ("number", 0, 2.0, "2"),
        ("number", 2, None, "–"),
        ("text", None, True, "yes"),
    ],
)
def test_a_column_shows_as_many_digits_as_it_says(kind: Any, digits: int | None, value: object, text: str) -> None:
    assert show_as(Column("c", "C", kind, digits=digits))(value) == text


def test_columns_of_the_page_and_of_the_files_and_their_heads() -> None:
    columns = [
        Column("a", "A", "bpb", "why", group="G"), Column("b", "B", hidden=True, hint="unseen"), Column("c", "C", page_only=True, group="G"), Column("d", "D"),
    ]  # fmt: skip
    reported = Table("t", "T", "s").fill(
        columns, [SimpleNamespace(a=1, b=2, c=3, d=Cell(4))], lambda row: f"r{row.a}", {"a": 9}
    )
    assert ([column.key for column in reported.shown], [column.key for column in reported.kept]) == (
        ["a", "c", "d"],
        ["a", "b", "d"],
    )
    assert (reported.values, reported.hints, reported.groups) == ([[1, 2, 4]], [("A", "why")], [("G", 2), ("", 1)])
    assert (reported.rows[0].id, reported.foot, reported.tools, reported.empty) == (
        "r1",
        {"a": 9},
        True,
        "None in this study.",
    )
    assert [column.numeric for column in columns] == [True, False, False, False]
    assert Table("t", "T", "s", columns=columns[3:]).groups == []
    assert foot(reported, str) == '<tr><th scope="row">9.000000</th><td></td><td></td></tr>'
    assert foot(replace(reported, foot=None), str) == '<tr><th scope="row"></th><td></td><td></td></tr>'


def test_files_say_what_a_table_is_and_a_study_lends_its_clock() -> None:
    bare = Table("t", "T", "s", columns=[TEXT], rows=[TableRow("r", {"text": True})])
    expected = (
        '{"clock":"wall clock","columns":[{"key":"text","kind":"text","label":"Text"}],"rows":[[true]],"schema":1,"source":"s","study":"x",'
        '"table":"t","title":"T"}\n'
    )  # fmt: skip
    assert as_json(bare, "x", "wall clock").decode("utf-8") == expected
    assert json.loads(as_json(table("a"), "x", "wall clock"))["clock"] == "rated clock"
    assert [as_csv(replace(bare, rows=[TableRow("r", {"text": value})])) for value in (True, False)] == [
        b"text\ntrue\n",
        b"text\nfalse\n",
    ]


def test_json_of_a_table_is_text_as_it_is_and_no_number_that_json_lacks() -> None:
    assert '"rows":[["é",1.5,"é"]]' in as_json(table("é"), "s").decode("utf-8")
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json(table("a", float("nan")), "s")


def test_rows_have_an_anchor_where_they_have_an_id() -> None:
    rows = [TableRow("a b", {"text": "x"}), TableRow("", {"text": "y"})]
    made = str(body(Table("t", "T", "s", columns=[TEXT], rows=rows), str, True, render.anchor))
    assert made == '<tr id="a-b"><th scope="row">x</th></tr>\n<tr><th scope="row">y</th></tr>\n'


@pytest.mark.parametrize(
    ("value", "effect", "mark"),
    [
        (True, "require", "yes"), (False, "require", "no"), (True, "promote", "yes"), (False, "promote", "unknown"), (True, "stop", "no"),
        (False, "stop", "unknown"), (True, "verdict", "yes"), (False, "verdict", "no"),
    ],
)  # fmt: skip
def test_the_colour_of_an_answer_is_what_it_means(value: bool, effect: str, mark: str) -> None:
    cell = holds(value, effect)
    assert (cell.value, cell.text, cell.mark) == (value, "✓ holds" if value else "✕ does not hold", f"holds-{mark}")


def test_a_state_is_a_sign_and_words_or_a_dash() -> None:
    cells = [state(name) for name in ("winner", "absent")]
    assert [(cell.value, cell.text, cell.mark) for cell in cells] == [
        ("winner", "★ winner", "state-winner"),
        ("absent", "not a candidate", "state-absent"),
    ]
