"""What commands print: as wide as there is room, never more than text, and tables that run over rather than break."""

from __future__ import annotations

import io

import pytest
from rich.table import Table

from stages.terminal import COLUMNS, add_columns, console, print_line, print_table

HOSTILE = "[/x] \x1b[31m:smile: \u202e http://a"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)


def test_where_nothing_says_how_wide_it_is_lines_have_140_columns(monkeypatch):
    assert (console(io.StringIO()).width, COLUMNS) == (140, 140)
    monkeypatch.setenv("COLUMNS", "60")
    assert console(io.StringIO()).width == 60


def test_a_line_goes_to_the_stream_that_is_given_or_to_stdout(capsys):
    console().print("a line")
    assert capsys.readouterr().out == "a line\n"


def test_a_sentence_stays_in_one_line_however_narrow_the_terminal_is():
    out = io.StringIO()
    to = console(out)
    to.width = 20
    print_line(to, "a sentence that is far longer than the terminal is wide", style="yellow")
    assert out.getvalue() == "a sentence that is far longer than the terminal is wide\n"


def test_foreign_text_is_visible_and_neither_markup_nor_a_command_of_the_terminal():
    out = io.StringIO()
    to = console(out)
    to.print(HOSTILE)
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    print_table(to, table)
    text = out.getvalue()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("[/x]") == 3
    assert text.count(":smile:") == 3


def test_a_table_that_does_not_fit_runs_over_the_edge_and_a_line_after_it_does_not():
    out = io.StringIO()
    to = console(out)
    to.width = 20
    table = Table(box=None)
    add_columns(table, "name of it", "device hours")
    add_columns(table, "sum", justify="right")
    table.add_row("a" * 30, "b b" * 10, "1")
    print_table(to, table)
    assert to.width == 20
    lines = out.getvalue().splitlines()
    assert [line.split() for line in lines] == [
        ["name"],
        ["of", "device"],
        ["it", "hours", "sum"],
        ["a" * 30, *("b b" * 10).split(), "1"],
    ]
    assert lines[-1].endswith("  1 ")


def test_a_table_that_fits_is_as_wide_as_the_terminal_allows_and_columns_stand_where_they_are_told():
    out = io.StringIO()
    to = console(out)
    to.width = 40
    table = Table(box=None)
    add_columns(table, "left one")
    add_columns(table, "right", justify="right")
    table.add_row("ab", "c")
    table.add_row("abcdef", "1234567")
    print_table(to, table)
    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        " left",
        " one       right",
        " ab            c",
        " abcdef  1234567",
    ]
    assert to.width == 40


def test_a_terminal_keeps_the_width_that_it_has(monkeypatch):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    assert console(io.StringIO()).width != COLUMNS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_in_a_sentence_is_coloured_unless_it_is_told_to_be(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    print_line(console(out), "12 of 'it' are True: http://a/b")
    assert out.getvalue() == "12 of 'it' are True: http://a/b\n"
