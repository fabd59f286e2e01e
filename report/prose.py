"""Sentences with links: what a page says in words that depend on the study is put together here, not in a template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from report.page import config_page

#: Longer names may break in a line of text.
MOST_UNBROKEN = 24


@dataclass(frozen=True)
class Span:
    """A part of a sentence inside an element: a link where `href` (from the root of the site) is given, else `tag`.

    One without text is a line break.
    """

    text: str
    href: str = ""
    css: str = ""
    tag: str = "span"


#: A sentence by its parts; plain text is escaped when `render.prose` writes it.
Prose = list[str | Span]


def code(text: str) -> Span:
    """A digest, an id or a command."""
    return Span(text, tag="code")


def bad(text: str) -> Span:
    """What is wrong."""
    return Span(text, css="bad")


def term(key: str, text: str) -> Span:
    """A word of the protocol, with a link to what it means."""
    return Span(text, f"method.html#term.{key}", "term")


def config_name(name: str) -> Span:
    """A configuration, with a link to its page."""
    return Span(name, config_page(name), "name" if len(name) <= MOST_UNBROKEN else "")


def joined(spans: Iterable[Span]) -> Prose:
    """The spans with commas between them."""
    parts: Prose = []
    for span in spans:
        parts += [", ", span] if parts else [span]
    return parts
