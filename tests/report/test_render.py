"""Rendering: escaping, script blocks, links."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from report.prose import Prose, Span, bad, code, config_name, joined, term
from report.render import CSP, anchor, environment, link, prose, script_json
from stages.domain.foreign_text import visible_json


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8))
def test_json_in_a_script_block_reads_back_and_cannot_leave_it(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return
    text = str(script_json(value))
    assert json.loads(text) == visible_json(value)
    assert not set("<>&\u2028\u2029\u202e\ufeff") & set(text)


def test_every_template_escapes() -> None:
    env = environment()
    assert env.autoescape is True
    assert env.from_string("{{ x }}").render(x="<script>") == "&lt;script&gt;"


def test_a_misspelt_name_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        environment().from_string("{{ absent }}").render()


@pytest.mark.parametrize("target", ["javascript:alert(1)", "https://example.org/", "/etc/passwd", "data:text/html,x"])
def test_a_link_never_leaves_the_site(target: str) -> None:
    with pytest.raises(ValueError, match="a link inside the site"):
        link("", target)


def test_links_are_relative_and_quoted() -> None:
    assert link("../", "gates/gate1.html#R1") == "../gates/gate1.html#R1"
    assert link("", 'a"b.html#x y') == "a%22b.html#x%20y"
    assert anchor("R7.d8 <c>") == "R7.d8-c-"


def test_the_policy_allows_no_inline_script_no_eval_and_no_connection() -> None:
    rules = dict(rule.strip().split(" ", 1) for rule in CSP.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self'"
    assert "connect-src" not in rules


@given(st.text(st.sampled_from("<>&\"'/ ab"), min_size=1))
def test_no_part_of_a_sentence_becomes_markup(text: str) -> None:
    parts: Prose = [text, code(text), bad(text), term("rung", text), Span(text, f"a.html#{text}")]
    made = prose(parts, lambda target: target)
    for tag in ("<code>", "</code>", '<span class="bad">', "</span>", '<a class="term" href=', "<a href=", "</a>"):
        made = made.replace(tag, "")
    assert "<" not in made


def test_a_sentence_links_from_where_its_page_stands() -> None:
    parts: Prose = [*joined([config_name("a"), config_name("b")]), Span(""), Span("R1", "#R1")]
    assert prose(parts, partial(link, "../")) == (
        '<a class="name" href="../configs/a.html">a</a>, <a class="name" href="../configs/b.html">b</a><br>'
        '<a href="#R1">R1</a>'
    )
