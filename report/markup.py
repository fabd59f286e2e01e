"""The body of a table as HTML, written directly: a large study has half a million cells, where templates are slow.

    python -m pytest tests/site/test_tables.py

Every text goes through `escape`; this and `render.script_json` are the only places that make markup by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

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
    if sortable and column.numeric and found.value is not None:
        text += f' data-v="{escape(str(found.value))}"'
    return text + (f' title="{escape(found.note)}"' if found.note else "")


def _plain(column: Column, value: object, sortable: bool) -> str:
    """A cell that holds a value and nothing else: most cells of a site, so the short way."""
    text = show(column.kind, value)
    if not column.numeric:
        if column.kind == "digest":
            return f'<td class="mono" title="{escape(str(value or ""))}">{escape(text)}</td>'
        return f"<td>{escape(text)}</td>"
    data = f' data-v="{escape(str(value))}"' if sortable and value is not None else ""
    return f'<td class="num"{data}>{escape(text)}</td>'


def body(table: Table, link: Link, sortable: bool, anchor: Callable[[str], str]) -> Markup:
    """The rows of a table. The first cell of each is its header; `link` turns a target into a relative address."""
    lines = []
    shown = table.shown
    for row in table.rows:
        parts = [f'<tr id="{escape(anchor(row.id))}">' if row.id else "<tr>"]
        for n, column in enumerate(shown):
            value = row.cells.get(column.key)
            if n and not isinstance(value, Cell):
                parts.append(_plain(column, value, sortable))
                continue
            found = cell(column, value)
            if n:
                parts.append(f"<td{_attributes(column, found, sortable)}>{_inner(found, link)}</td>")
            else:
                first = Column(column.key, column.label)  # a header is text, whatever its kind
                parts.append(f'<th scope="row"{_attributes(first, found, False)}>{_inner(found, link)}</th>')
        lines.append("".join(parts) + "</tr>\n")
    return Markup("".join(lines))
