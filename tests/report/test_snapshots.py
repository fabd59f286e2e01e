"""What the pages of eight studies say, word by word: text, links, titles, figures, the files of tables and the frame."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from report.build import build
from tests.report.pages import dead_links
from tests.support.page_text import describe_page, describe_table
from tests.support.snapshots import check_snapshots, json_text
from tests.support.studies import STUDIES, commanded, crowded

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
    "commanded": (
        *(*_FEW, "method", "hindsight", "gates/gate1", "gates/gate2", "gates/gate3", "configs/deep", "configs/huge"),
        *(
            "configs/wild",
            "runs",
            "runs/rung2",
            "runs/rung2/huge/any/3",
            "runs/rung3/deep/any/7",
            "runs/rung3/flat/any/8",
        ),
    ),
}


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_pages_say_what_their_snapshots_do(name: str, tmp_path: Path) -> None:
    (STUDIES | {"crowded": crowded, "commanded": commanded})[name](tmp_path)
    build(tmp_path)
    pages = {page: tmp_path / "site" / f"{page}.html" for page in PAGES[name]}
    texts = {f"{page.replace('/', '-')}.txt": describe_page(path.read_bytes()) for page, path in pages.items()}
    if name not in ("crowded", "gapped"):
        texts["around.txt"] = describe_page(pages["index"].read_bytes(), around=True)
        texts["files.txt"] = "".join(map(describe_files, pages.values()))
        texts["search.txt"] = describe_search(tmp_path / "site" / "assets" / "search.js")
    check_snapshots(f"site/{name}", texts)
    assert dead_links(tmp_path / "site") == []


def describe_files(page: Path) -> str:
    """The files of a page's tables, which hold columns that the page does not show."""
    files = sorted(page.parent.glob(f"{page.stem}.*.json"))
    return "".join(f"{page.stem}: {describe_table(path.read_bytes())}" for path in files)


def describe_search(path: Path) -> str:
    """What the search box finds, a hit in a line, and the runs."""
    value = json.loads(path.read_text(encoding="utf-8").removeprefix("window.SITE_INDEX=").rstrip(";\n"))
    return "".join(f"{' | '.join(entry)}\n" for entry in value.pop("entries")) + json_text(value)
