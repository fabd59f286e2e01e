"""Templates to bytes: Jinja with escaping always on, JSON that cannot leave its script block, relative links."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from report import tables
from report.prose import Prose, Span
from stages.domain import formatting
from stages.domain.foreign_text import visible, visible_json

HERE = Path(__file__).parent
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_NOT_ID = re.compile(r"[^A-Za-z0-9._-]+")
#: What could end a script block, as JSON escapes.
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&"}
#: What JSON may write for a control character.
_CONTROL = re.compile(r"\\[bfru]")


def script_json(value: Any) -> Markup:
    """JSON that may stand in a <script> block: `<`, `>`, `&` are escaped, and texts are visible when they are shown."""
    write = partial(json.dumps, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text = write(value)
    if visible(text) != text or _CONTROL.search(text):
        text = write(visible_json(value))
    return Markup(text.translate(_UNSAFE))


def anchor(text: str) -> str:
    """A text as an id: letters, digits, `.`, `_`, `-` as they are, anything else as `-`."""
    return _NOT_ID.sub("-", text)


def coded(text: str) -> Markup:
    """A sentence whose `commands` stand in backticks, as a page shows it."""
    parts = [escape(part) for part in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


@lru_cache(maxsize=1 << 12)
def link(prefix: str, target: str) -> str:
    """A link from a page to a target named from the root of the site; other schemes are refused."""
    path, _, fragment = target.partition("#")
    if ":" in path.split("/")[0] or path.startswith("/"):
        raise ValueError(f"{target!r}: a link inside the site, expected a path relative to its root")
    return prefix + quote(path) + (f"#{quote(fragment)}" if fragment else "") if path else f"#{quote(fragment)}"


def prose(parts: Prose, to: Callable[[str], str]) -> Markup:
    """A sentence as a page shows it; `to` turns a target into a relative address."""
    return Markup("".join(escape(part) if isinstance(part, str) else _element(part, to) for part in parts))


def _element(span: Span, to: Callable[[str], str]) -> str:
    css, text = f' class="{escape(span.css)}"' if span.css else "", escape(span.text)
    if span.href:
        return f'<a{css} href="{escape(to(span.href))}">{text}</a>'
    return f"<{span.tag}{css}>{text}</{span.tag}>" if text else "<br>"


def pair_rows(items: Iterable[tuple[str, object]]) -> Markup:
    """The rows of a list of labels and values; a value may be markup."""
    return Markup("".join([_pair_row(label, value) for label, value in items]))


@lru_cache(maxsize=1 << 11, typed=True)
def _pair_row(label: str, value: object) -> str:
    return f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>\n"


def environment() -> Environment:
    """The one environment. A name that a template misspells is an error."""
    env = Environment(
        loader=FileSystemLoader(HERE / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    env.filters.update(
        anchor=anchor,
        bpb=formatting.bpb,
        signed=formatting.signed,
        plain=formatting.plain,
        seconds=formatting.seconds,
        device_time=formatting.device_time,
        listed=formatting.listed,
        number=formatting.number,
        script_json=script_json,
        rung_title=formatting.rung_title,
        gate_title=formatting.gate_title,
        capital=formatting.capital,
        coded=coded,
        first_few=formatting.first_few,
        typeset=formatting.typeset,
        ordinal=formatting.ordinal,
    )
    env.globals.update(
        body=tables.body,
        foot=tables.foot,
        anchor=anchor,
        prose=prose,
        pair_rows=pair_rows,
        STATES=formatting.STATES,
        HOLDS=formatting.HOLDS,
        csp=CSP,
        count=formatting.count,
    )
    return env


def render(env: Environment, template: str, path: str, context: Mapping[str, object]) -> bytes:
    """One page. `path` is its place from the root of the site, which decides how it links to the others."""
    prefix = "../" * path.count("/")
    text = env.get_template(template).render(
        **context,
        path=path,
        prefix=prefix,
        stem=path.rsplit("/", 1)[-1].removesuffix(".html"),
        to=partial(link, prefix),
    )
    return visible(text).encode("utf-8")
