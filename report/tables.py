"""Tables: one value that becomes an HTML table on a page, a CSV file and a JSON file beside it.

The HTML shows rounded numbers; CSV and JSON hold the values as they are. Every table names its source and the clock
that its seconds and hours are of. The body of an HTML table is written directly, since a large study has half a million
cells and templates are slow: every text goes through `escape`. This module and `render` are the only places that write
markup by hand.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from html import escape
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, TypeVar

from markupsafe import Markup

from stages.domain import formatting

Kind = Literal["text", "count", "number", "bpb", "signed", "mean", "hours", "digest", "state", "holds"]
NUMERIC = frozenset({"count", "number", "bpb", "signed", "mean", "hours"})
#: What makes a spreadsheet take a text for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Column:
    """A column: `key` in CSV and JSON, `label` on the page, `kind` how a value is shown and sorted.

    `get` takes the value or `Cell` from the item that a row is made of; without it, the attribute called `key`.
    """

    key: str
    label: str
    kind: Kind = "text"
    hint: str = ""
    get: Callable[[Any], object] | None = None
    #: In the files alone: numbers that the page shows inside another column.
    hidden: bool = False
    #: On the page alone: what the files hold in other columns.
    page_only: bool = False
    #: A heading over neighbouring columns that share it.
    group: str = ""
    #: Decimals of a number; None: as many as it needs.
    digits: int | None = None

    @property
    def numeric(self) -> bool:
        """Whether values stand to the right and sort as numbers."""
        return self.kind in NUMERIC


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with what the page adds: another text, a link (from the root of the site), a mark for its colour."""

    value: Any = None
    text: str | None = None
    href: str = ""
    mark: str = ""
    note: str = ""
    #: A second line in small type, and short labels such as roles.
    small: str = ""
    tags: tuple[str, ...] = ()
    #: What the column sorts by where its text would mislead; empty cells come last.
    sort: float | None = None


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row. `id` is its anchor, stable from build to build, unique on its page: names joined by dots, which no
    name holds. The first cell heads the row."""

    id: str
    cells: dict[str, object]


@dataclass(frozen=True)
class Table:
    """One table of a page; `id` is its anchor and names its files too. `tools`: whether it sorts and filters."""

    id: str
    title: str
    source: str
    note: str = ""
    tools: bool = True
    #: What the page says where there is no row: whether something is missing, or there is none.
    empty: str = "None in this study."
    #: What its seconds and hours are of; empty: the clock of the study.
    clock: str = ""
    columns: list[Column] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    #: A line of sums under the rows, on the page alone.
    foot: dict[str, object] | None = None

    def fill(
        self,
        columns: list[Column],
        items: Iterable[Item],
        anchor: Callable[[Item], str],
        foot: dict[str, object] | None = None,
    ) -> Table:
        """The table with a row for every item; `anchor` gives the id of a row."""
        getters = [(column.key, column.get or attrgetter(column.key)) for column in columns]
        rows = [TableRow(anchor(item), {key: get(item) for key, get in getters}) for item in items]
        return replace(self, columns=columns, rows=rows, foot=foot)

    @property
    def shown(self) -> list[Column]:
        """The columns of the page."""
        return [column for column in self.columns if not column.hidden]

    @property
    def kept(self) -> list[Column]:
        """The columns of the files."""
        return [column for column in self.columns if not column.page_only]

    @cached_property
    def values(self) -> list[list[Any]]:
        """The rows of the files."""
        keys = [column.key for column in self.kept]
        rows = [[row.cells.get(key) for key in keys] for row in self.rows]
        return [[value.value if isinstance(value, Cell) else value for value in values] for values in rows]

    @property
    def hints(self) -> list[tuple[str, str]]:
        """(label, what it means) of the columns that say more than their label."""
        return [(column.label, column.hint) for column in self.shown if column.hint]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """(heading, how many columns) from left to right; empty where no column has one."""
        headings = [column.group for column in self.shown]
        return [(name, len(list(many))) for name, many in groupby(headings)] if any(headings) else []


_SHOW: dict[str, Callable[[Any], str]] = {
    "count": formatting.plain,
    "number": formatting.plain,
    "bpb": formatting.bpb,
    "mean": formatting.bpb,
    "signed": formatting.signed,
    "hours": formatting.device_time,
    "digest": lambda value: formatting.DASH if value is None else str(value)[:12],
}


def show_as(column: Column) -> Callable[[Any], str]:
    """How a column shows a value; None is a dash."""
    digits = column.digits
    if digits is None:
        return _SHOW.get(column.kind, formatting.plain)
    return partial(formatting.signed if column.kind == "signed" else formatting.number, digits=digits)


def as_json(table: Table, study: str, clock: str = "") -> bytes:
    """The table as canonical JSON: what it is, where it comes from, its columns, and its rows in their order.

    `clock` is the clock of the study, for a table that names none.
    """
    value = {
        "schema": 1,
        "study": study,
        "table": table.id,
        "title": table.title,
        "source": table.source,
        "clock": table.clock or clock,
        "columns": [{"key": column.key, "label": column.label, "kind": column.kind} for column in table.kept],
        "rows": table.values,
    }
    # The canonical form, without the slow walk that checks what can only be text, numbers, booleans and None here.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def _csv(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def as_csv(table: Table) -> bytes:
    """The table as CSV (RFC 4180, LF). A text that a spreadsheet would run as a formula gets an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key for column in table.kept])
    writer.writerows([map(_csv, values) for values in table.values])
    return out.getvalue().encode("utf-8")


def state(name: str) -> Cell:
    """What became of a candidate, with glyph and words."""
    glyph, text = formatting.STATES[name]
    return Cell(name, f"{glyph} {text}".strip() or formatting.DASH, mark=f"state-{name}")


def holds(value: bool | None, effect: str) -> Cell:
    """Whether a rule holds, with glyph and words; not evaluable is never a pass.

    The colour says what it means: a stop rule that holds is bad news, a promote rule that does not is none.
    """
    glyph, text, mark = formatting.HOLDS[value]
    if value is not None and effect in ("promote", "stop"):
        mark = ("yes" if effect == "promote" else "no") if value else "unknown"
    return Cell(value, f"{glyph} {text}", mark=f"holds-{mark}")


Link = Callable[[str], str]


def _inner(content: Cell, text: str, link: Link) -> str:
    text = escape(text)
    if content.href:
        text = f'<a href="{escape(link(content.href))}">{text}</a>'
    for tag in content.tags:
        text += f' <span class="role">{escape(tag)}</span>'
    return text + (f"<small>{escape(content.small)}</small>" if content.small else "")


def _cell_writer(column: Column, link: Link, sortable: bool, head: bool) -> Callable[[object], str]:
    """What writes the cells of a column; those of the first one head their rows and are text, whatever its kind."""
    show, digest, numeric = show_as(column), column.kind == "digest", column.numeric and not head
    css = "num" if numeric else "mono" if digest and not head else ""
    tag, start = ("th", '<th scope="row"') if head else ("td", "<td")

    empty = Cell()
    plain_start = start + (f' class="{css}"' if css else "") + ">"
    number = numeric and not sortable

    def write(item: object) -> str:
        if number and (type(item) is float or type(item) is int):  # most cells: nothing of them needs an escape
            return f"{plain_start}{show(item)}</{tag}>"
        content = item if isinstance(item, Cell) else empty
        value, text, note = (item if content is empty else content.value), content.text, content.note
        if text is None:
            text = show(value)
            note = note or (str(value) if digest and value else "")
        marks = f"{css} {content.mark}".strip() if content.mark else css
        key = content.sort if content.sort is not None else value if numeric else None
        html = start + (f' class="{escape(marks)}"' if marks else "")
        if sortable and not head and key is not None:
            html += f' data-v="{escape(str(key))}"'
        html += f' title="{escape(note)}">' if note else ">"
        return f"{html}{_inner(content, text, link)}</{tag}>"

    return write


def _row_writer(table: Table, link: Link, sortable: bool) -> Callable[[dict[str, object]], str]:
    """What writes the cells of a row."""
    writers = [(column.key, _cell_writer(column, link, sortable, not n)) for n, column in enumerate(table.shown)]
    return lambda cells: "".join([write(cells.get(key)) for key, write in writers])


def body(table: Table, link: Link, sortable: bool, anchor: Callable[[str], str]) -> Markup:
    """The rows of a table. `link` turns a target into a relative address, `anchor` a text into an id."""
    lines, write = [], _row_writer(table, link, sortable)
    for row in table.rows:
        head = f'<tr id="{escape(anchor(row.id))}">' if row.id else "<tr>"
        lines.append(f"{head}{write(row.cells)}</tr>\n")
    return Markup("".join(lines))


def foot(table: Table, link: Link) -> Markup:
    """The line of sums, which neither sorts nor filters: what it has no sum of stays empty."""
    cells: dict[str, object] = {column.key: Cell(None, "") for column in table.shown}
    return Markup(f"<tr>{_row_writer(table, link, False)(cells | (table.foot or {}))}</tr>")
