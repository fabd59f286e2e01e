"""Rendering: escaping, script blocks, links."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markupsafe import Markup

from report.prose import Prose, Span, bad, code, config_name, joined, term
from report.render import CSP, anchor, coded, environment, link, pair_rows, prose, render, script_json
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


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("plain & simple", "plain &amp; simple"),
        ("run `a<b` now", "run <code>a&lt;b</code> now"),
        ("`a` and `b`", "<code>a</code> and <code>b</code>"),
        ("`a` is `open <b>", "`a` is `open &lt;b&gt;"),
        ("one ` tick", "one ` tick"),
    ],
)
def test_commands_in_backticks_are_code_where_every_backtick_closes(text: str, html: str) -> None:
    assert str(coded(text)) == html
    assert isinstance(coded(text), Markup)


@pytest.mark.parametrize(
    ("target", "href"),
    [
        ("a.html", "../a.html"),
        ("a.html#x", "../a.html#x"),
        ("#x y", "#x%20y"),
        ("a b/c:d.html", "../a%20b/c%3Ad.html"),
        ("", "#"),
    ],
)
def test_a_link_goes_up_to_the_root_but_for_places_on_the_page_itself(target: str, href: str) -> None:
    assert link("../", target) == href


def test_json_in_a_page_escapes_signs_and_shows_what_cannot_be_seen() -> None:
    assert script_json({"b": 1, "a": ["<&>", "é"]}) == '{"a":["\\u003c\\u0026\\u003e","é"],"b":1}'
    assert script_json("a\tb\nc") == '"a\\tb\\nc"'
    for text in ("a\bb", "a\x00b", "a\u202eb", "a\rb", "a\fb"):
        assert str(script_json(text)) not in (f'"{text}"', '"ab"') and "\\u0000" not in script_json(text)
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


def test_spans_are_elements_links_or_breaks() -> None:
    parts = [
        "a<",
        code("c>"),
        bad("b"),
        Span(""),
        Span("", css="x"),
        Span("l", "t.html", "name"),
        Span("s"),
        Span("g", tag="b"),
    ]
    assert prose(parts, lambda target: f"to/{target}") == (
        'a&lt;<code>c&gt;</code><span class="bad">b</span><br><br><a class="name" href="to/t.html">l</a><span>s</span><b>g</b>'
    )


def test_pairs_are_rows_whose_values_may_be_markup() -> None:
    assert pair_rows([("a<", "b&"), ("c", Markup("<b>d</b>")), ("e", 1), ("e", True)]) == (
        "<div><dt>a&lt;</dt><dd>b&amp;</dd></div>\n<div><dt>c</dt><dd><b>d</b></dd></div>\n<div><dt>e</dt><dd>1</dd></div>\n"
        "<div><dt>e</dt><dd>True</dd></div>\n"
    )


def test_templates_keep_their_last_line_and_no_line_of_a_block_alone() -> None:
    template = environment().from_string("a\n  {% if true %}\n  b\n  {% endif %}\nc\n")
    assert template.render() == "a\n  b\nc\n"
    assert environment().auto_reload is False


@pytest.mark.parametrize(
    ("path", "prefix", "stem"),
    [("index.html", "", "index"), ("gates/gate3.html", "../", "gate3"), ("runs/a/b/c.x.html", "../../../", "c.x")],
)
def test_a_page_knows_its_place(path: str, prefix: str, stem: str) -> None:
    env = environment()
    env.get_template = lambda _: env.from_string(
        "{{ path }} {{ prefix }} {{ stem }} {{ to('x.html') }} {{ more }}\u202e"
    )  # type: ignore[assignment, method-assign, misc]
    text = render(env, "t", path, {"more": "<"}).decode("utf-8")
    assert text.startswith(f"{path} {prefix} {stem} {prefix}x.html &lt;")
    assert "\u202e" not in text
