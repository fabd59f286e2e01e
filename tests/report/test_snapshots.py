"""What the pages of seven studies say, word by word: text, links, titles and figures, without colours and the frame."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from report.build import build
from tests.support.snapshots import check_snapshots, cut_numbers, describe_json
from tests.support.studies import STUDIES, crowded

#: What begins a line of its own.
_BLOCKS = {"h1", "h2", "h3", "h4", "p", "div", "tr", "li", "dl", "pre", "figure", "table", "details", "summary", "ul"}
_CELLS = {"td", "th", "dt", "dd"}
#: Attributes that a reader meets: where a link leads, what is said aloud or at a pointer, where others link to, what a
#: cell or a mark means by its colour, and what a table sorts by.
_READ = ("id", "href", "title", "aria-label", "alt", "open", "data-v", "class")
_FRAME = {"num", "anchor", "name", "wrap", "source", "files", "caption", "table-block", "scroll", "head", "js-off"}
_FEW = ("index", "configs", "agreement", "stability", "confidence", "cost", "verify")
#: The pages of each study that are kept.
PAGES = {
    "whole": (
        *(*_FEW, "method", "hindsight", *(f"gates/gate{n}" for n in range(1, 6)), "configs/d4-c003", "configs/d1-c000"),
        *("runs", "runs/rung3", "runs/rung3/d1-c000/cpu-fp32/3000"),
    ),
    "blocked": (*_FEW, "gates/gate2", "gates/gate3", "gates/gate4", "configs/d2-c001", "runs/rung2"),
    "waiting": (*_FEW, "gates/gate2", "gates/gate3", "gates/gate4", "configs/d1-c000", "runs/rung4"),
    "beaten": (*_FEW, "method", "hindsight", "gates/gate3", "gates/gate5", "configs/d1-c000", "runs/rung3"),
    "screened": ("index", "effects", "method"),
    "gapped": ("effects",),
    "crowded": ("index", "agreement", "stability", "gates/gate3"),
}


class PageText(HTMLParser):
    """The main part of a page as lines of text; a link or an id stands in brackets behind its tag's place."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = [""]
        self._inside = self._json = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside |= tag == "main"
        values = dict(attrs)
        self._json = tag == "script" and values.get("type") == "application/json"
        if tag in _BLOCKS:
            self.lines.append("")
        if tag in _CELLS:
            self.lines[-1] += " | "
        if self._inside and (read := [*read_attributes(values)]):
            self.lines[-1] += f"[{' '.join(read)}]"

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag != "main"
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


def describe_page(path: Path) -> str:
    """What a page says, a block in a line, without the lines that hold nothing."""
    page = PageText()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    words = [line if line.startswith("  ") else " ".join(line.split()) for line in page.lines]
    return "".join(f"{line}\n" for line in words if line.strip())


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_pages_say_what_their_snapshots_do(name: str, tmp_path: Path) -> None:
    (STUDIES | {"crowded": crowded})[name](tmp_path)
    build(tmp_path)
    texts = {f"{page.replace('/', '-')}.txt": describe_page(tmp_path / "site" / f"{page}.html") for page in PAGES[name]}
    check_snapshots(f"site/{name}", texts)
