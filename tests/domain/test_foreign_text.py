"""Nothing that hides, moves or ends what is shown leaves by the one door."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from stages.domain.errors import Invalid
from stages.domain.foreign_text import MOST_MARKDOWN, OutputStream, markdown_code, one_line, visible, visible_json

#: Any code point, lone surrogates included, and often those that do harm.
HOSTILE = st.text(
    st.sampled_from("\x00\x07\x08\r\x1b\x7f\x9b\xad\u061c\u200b\u200e\u2028\u202e\u2066\u3164\ufe0f\ufeff\udc80\udcff\ud800\U000e0041")
    | st.sampled_from("a|`*_[]()<>&@#:/\\\n\t ")
    | st.characters()
)  # fmt: skip


def hidden(text: str) -> set[str]:
    """The characters of a text that show nothing, or something else than they are."""
    return {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


@given(HOSTILE)
def test_what_does_not_show_is_escaped(text):
    assert hidden(visible(text)) <= {"\n", "\t"}
    assert hidden(one_line(text)) == set()
    one_line(text).encode("utf-8")


def test_every_character_of_unicode_is_visible_or_escaped():
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    assert hidden(visible(every)) == {"\n", "\t"}


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp", "Mn", "Lo"))))
def test_ordinary_text_stays_as_it_is(text):
    assert one_line(text) == text


@given(HOSTILE)
def test_what_is_visible_stays_as_it_is(text):
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\u202eb", r"a\u202eb"),
        ("a\rb", r"a\rb"),
        ("a\nb\tc", r"a\nb\tc"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("Ωé中−…\u00a0\u202f", "Ωé中−…\u00a0\u202f"),
    ],
)
def test_an_escape_says_what_stood_there(text, shown):
    assert one_line(text) == shown


@given(st.lists(HOSTILE, min_size=2, max_size=4))
def test_a_cell_of_markdown_stays_one_cell_of_code(texts):
    row = " | ".join(map(markdown_code, texts))
    page = f"| {' | '.join('abcd'[: len(texts)])} |\n{'|---' * len(texts)}|\n| {row} |\n\nafter\n"
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    cells = [tokens[at + 1] for at, token in enumerate(tokens) if token.type == "td_open"]
    assert len(cells) == len(texts)
    for cell, text in zip(cells, texts, strict=True):
        kinds = [child.type for child in cell.children or []]
        assert kinds in ([], ["code_inline"]) and hidden(cell.content) == set()
        shown = one_line(text).replace("|", r"\x7c").replace("`", r"\x60")
        if shown.strip(" ") and len(shown) <= MOST_MARKDOWN:
            assert cell.children[0].content.strip(" ") == shown.strip(" ")
    assert [token.content for token in tokens if token.type == "inline"][-1] == "after"


def test_a_long_cell_is_cut():
    assert len(markdown_code("x" * 10_000)) == MOST_MARKDOWN + 3


@given(
    st.recursive(HOSTILE | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(HOSTILE, inner))
)
def test_a_script_shows_visible_text(value):
    text = json.dumps(visible_json(value), ensure_ascii=False)
    assert hidden(text) == set()
    assert hidden(repr(json.loads(text))) == set()


@given(st.lists(HOSTILE))
def test_a_stream_writes_what_is_visible(texts):
    into = io.StringIO()
    stream = OutputStream(into, "x")
    stream.writelines(texts)
    print(*texts, file=stream)
    assert hidden(into.getvalue()) <= {"\n", "\t"}


def test_a_styled_stream_keeps_its_colours():
    into = io.StringIO()
    OutputStream(into, "x").styled.write("\x1b[31mred\x1b[0m")
    assert into.getvalue() == "\x1b[31mred\x1b[0m"


@given(HOSTILE, HOSTILE, HOSTILE)
def test_an_error_at_a_place_is_one_visible_line(where, problem, place):
    assert hidden(str(Invalid.at(where, problem, place))) == set()
