"""Tables: the same values in HTML, CSV and JSON, and nothing that a browser or a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from report import render
from report.tables import FORMULA, Cell, Column, Table, TableRow, as_csv, as_json, body, holds

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
