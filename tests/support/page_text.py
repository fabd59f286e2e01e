"""The text of a page: what a reader sees and hears of it, a block in a line, with its links, titles and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from tests.support.snapshots import cut_numbers, describe_json

#: What begins a line of its own.
_BLOCKS = {"h1", "h2", "h3", "h4", "p", "div", "tr", "li", "dl", "pre", "figure", "table", "details", "summary", "ul"}
_CELLS = {"td", "th", "dt", "dd"}
#: Attributes that a reader meets: where a link leads, what is said aloud or at a pointer, where others link to, what a
#: cell or a mark means by its colour, and what a table sorts by.
_READ = ("id", "href", "title", "aria-label", "alt", "open", "data-v", "class")
_FRAME = {"num", "anchor", "name", "wrap", "source", "files", "caption", "table-block", "scroll", "head", "js-off"}


class PageText(HTMLParser):
    """The main part of a page as lines of text; a link or an id stands in brackets behind its tag's place."""

    def __init__(self, around: bool = False) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self._around = self._inside = around
        self._json = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "main":
            self._inside = not self._around
        values = dict(attrs)
        self._json = self._inside and tag == "script" and values.get("type") == "application/json"
        if tag in _BLOCKS:
            self.lines.append("")
        if tag in _CELLS and self._inside:
            self.lines[-1] += " | "
        if self._inside and (read := [*read_attributes(values)]):
            self.lines[-1] += f"[{' '.join(read)}]"

    def handle_endtag(self, tag: str) -> None:
        if tag == "main":
            self._inside = self._around
        if tag in _BLOCKS:
            self.lines.append("")

    def handle_data(self, data: str) -> None:
        if self._json:
            self.lines += [f"  {line}" for line in describe_json(json.loads(data))] + [""]
            self._json = False
        elif self._inside:
            self.lines[-1] += data


def read_attributes(values: dict[str, str | None]) -> Iterator[str]:
    """The attributes of a tag that a reader meets; a number is cut as those of the figures are."""
    for name in _READ:
        value = values.get(name)
        if name == "data-v" and value and re.fullmatch(r"-?[\d.]+(e-?\d+)?", value):
            value = str(cut_numbers(float(value), 5))
        if name in values and not (name == "class" and value in _FRAME):
            yield f"{name}={value}" if value else name


def describe_page(html: bytes, around: bool = False) -> str:
    """What a page says, a block in a line, without the lines that hold nothing; or what stands around its main part."""
    page = PageText(around)
    page.feed(html.decode("utf-8"))
    page.close()
    words = [line if line.startswith("  ") else " ".join(line.split()) for line in page.lines]
    return "".join(f"{line}\n" for line in words if line.strip())


def describe_table(data: bytes) -> str:
    """What the file of a table holds: its clock and columns, then a row in a line."""
    value = json.loads(data)
    columns = [f"  {column['key']} | {column['label']} | {column['kind']}" for column in value["columns"]]
    rows = [f"  {json.dumps(cut_numbers(row, 5), ensure_ascii=False)}" for row in value["rows"]]
    return "\n".join([f"{value['study']}, {value['table']}, {value['clock']}", *columns, *rows, ""])
