"""What the pages of seven studies say, word by word: text, links, titles and figures, without colours and the frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.build import build
from tests.support.page_text import describe_page
from tests.support.snapshots import check_snapshots
from tests.support.studies import STUDIES, crowded

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


@pytest.mark.parametrize("name", sorted(PAGES))
def test_the_pages_say_what_their_snapshots_do(name: str, tmp_path: Path) -> None:
    (STUDIES | {"crowded": crowded})[name](tmp_path)
    build(tmp_path)
    pages = {page: tmp_path / "site" / f"{page}.html" for page in PAGES[name]}
    texts = {f"{page.replace('/', '-')}.txt": describe_page(path.read_bytes()) for page, path in pages.items()}
    check_snapshots(f"site/{name}", texts)
