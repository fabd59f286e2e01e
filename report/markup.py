"""The body of a table as HTML, written directly: a large study has half a million cells, where templates are slow.

    python -m pytest tests/site/test_tables.py

Every text goes through `escape`; this and `render.script_json` are the only places that make markup by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from markupsafe import Markup

from report.tables import Cell, Column, Table, cell, show

Link = Callable[[str], str]


def _inner(found: Cell, link: Link) -> str:
    text = escape(found.text or "")
    if found.href:
        text = f'<a href="{escape(link(found.href))}">{text}</a>'
    for tag in found.tags:
        text += f' <span class="role">{escape(tag)}</span>'
    return text + (f"<small>{escape(found.small)}</small>" if found.small else "")


def _attributes(column: Column, found: Cell, sortable: bool) -> str:
    kind = "num" if column.numeric else "mono" if column.kind == "digest" else ""
    marks = " ".join(filter(None, (kind, found.mark)))
    text = f' class="{escape(marks)}"' if marks else ""
    key = found.sort if found.sort is not None else found.value if column.numeric else None
    if sortable and key is not None:
        text += f' data-v="{escape(str(key))}"'
    return text + (f' title="{escape(found.note)}"' if found.note else "")


def _plain(column: Column, value: object, sortable: bool) -> str:
    """A cell that holds a value and nothing else: most cells of a site, so the short way."""
    text = show(column, value)
    if not column.numeric:
        if column.kind == "digest":
            whole = f' title="{escape(str(value))}"' if value else ""
            return f'<td class="mono"{whole}>{escape(text)}</td>'
        return f"<td>{escape(text)}</td>"
    data = f' data-v="{escape(str(value))}"' if sortable and value is not None else ""
    return f'<td class="num"{data}>{escape(text)}</td>'


def _row(shown: list[Column], cells: dict[str, Any], link: Link, sortable: bool) -> str:
    """The cells of one row; the first is its header."""
    parts = []
    for n, column in enumerate(shown):
        value = cells.get(column.key)
        if n and not isinstance(value, Cell):
            parts.append(_plain(column, value, sortable))
            continue
        found = cell(column, value)
        if n:
            parts.append(f"<td{_attributes(column, found, sortable)}>{_inner(found, link)}</td>")
        else:
            first = Column(column.key, column.label)  # a header is text, whatever its kind
            parts.append(f'<th scope="row"{_attributes(first, found, False)}>{_inner(found, link)}</th>')
    return "".join(parts)


def body(table: Table, link: Link, sortable: bool, anchor: Callable[[str], str]) -> Markup:
    """The rows of a table. `link` turns a target into a relative address, `anchor` a text into an id."""
    lines, shown = [], table.shown
    for row in table.rows:
        head = f'<tr id="{escape(anchor(row.id))}">' if row.id else "<tr>"
        lines.append(f"{head}{_row(shown, row.cells, link, sortable)}</tr>\n")
    return Markup("".join(lines))


def foot(table: Table, link: Link) -> Markup:
    """The line of sums, which neither sorts nor filters: what it has no sum of stays empty."""
    cells = {column.key: Cell(None, "") for column in table.shown} | (table.foot or {})
    return Markup(f"<tr>{_row(table.shown, cells, link, False)}</tr>")
