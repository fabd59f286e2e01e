"""What every page shares: where a reader is, and ids that no name in a study can take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from report.build import build
from report.layout import PAGES, SCREEN_PAGE, current
from stages.domain.names import KEY
from tests.report.conftest import make_study
from tests.report.pages import read, target
from tests.report.test_figures import renamed
from tests.support import synthetic


def test_the_navigation_marks_the_page_and_the_section(site: Path) -> None:
    assert current("configs.html", "configs/", "configs.html") == "page"
    assert current("configs.html", "configs/", "configs/d8-c007.html") == "true"
    assert current("runs.html", "runs/", "runs/rung3.html") == "true"
    assert current("cost.html", "", "configs.html") == ""
    for name, marked in (
        ("configs/d8-c007.html", '<a href="../configs.html" aria-current="true">'),
        ("gates/gate3.html", '<a href="../gates/gate3.html" aria-label="Gate 3" aria-current="page">'),
    ):
        text = (site / name).read_text(encoding="utf-8")
        assert text.count("aria-current=") == 1
        assert marked in text


def test_a_gate_leads_to_its_neighbours(site: Path) -> None:
    text = (site / "gates" / "gate3.html").read_text(encoding="utf-8")
    assert 'href="../gates/gate2.html" rel="prev"' in text
    assert 'href="../gates/gate4.html" rel="next"' in text
    assert "rel=" not in (site / "gates" / "gate1.html").read_text(encoding="utf-8").replace('rel="next"', "").replace(
        'rel="icon"', ""
    ).replace('rel="stylesheet"', "")


def test_a_run_leads_to_the_other_cells_of_its_configuration(site: Path) -> None:
    seen = read(site / "runs" / "rung5" / "d8-c007" / "cpu-fp32" / "5000.html")
    assert "Its other runs at this rung:" in seen.text
    found = {link.split("runs/")[-1] for link in seen.links if "/d8-c007/" in link and link.endswith(".html")}
    assert found >= {f"rung5/d8-c007/{cell}.html" for cell in ("cpu-fp32/5001", "cpu-bf16/5000", "cpu-bf16/5001")}


#: Names that a study may use and a page might: ids of sections, of tables, of prefixes, of what scripts make. The eighth is
#: the reference, which stands at every gate.
NAMES = (
    *("index", "main", "rules", "evidence", "chain", "lock", "search", "gate", "found", "path", "promotion-path"),
    *("x", "outcome-x", "matrix-x", "path-x", "rung1", "run", "verdict", "hosts", "figure", "alone", "decision"),
)


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose configurations are called what a page might call its own parts."""
    value = synthetic.params(len(NAMES), 1)
    root = make_study(
        tmp_path_factory.mktemp("awkward") / "work", renamed(value, dict(zip(value["configs"], NAMES, strict=True)))
    )
    build(root)
    return root / "site"


def test_no_name_of_a_configuration_takes_an_id_or_an_address_of_the_site(awkward: Path) -> None:
    ids: dict[Path, list[str]] = {page.resolve(): read(page).ids for page in awkward.rglob("*.html")}
    for page, mine in ids.items():
        assert len(mine) == len(set(mine)), (page, sorted({one for one in mine if mine.count(one) > 1}))
        for link in read(page).links:
            found = target(page, link)
            if found is not None:
                assert found[0].is_file(), (page, link)
                assert not found[1] or found[1] in ids[found[0]], (page, link)


def test_ids_that_are_no_candidates_are_no_names(awkward: Path) -> None:
    """A name is lower case without dots; so every other id has a capital or a dot, on pages that hold candidates' ids."""
    for name in ("gates/gate3.html", "configs.html"):
        for one in read(awkward / name).ids:
            assert one in NAMES or KEY.fullmatch(one) is None, one


def test_the_addresses_of_the_documentation_are_there(site: Path) -> None:
    gate = read(site / "gates" / "gate3.html").ids
    assert {"R7", "d3-c010", "R7.d3-c010", "Chain"} <= set(gate)
    assert "d3-c010.cpu-fp32.3000" in read(site / "runs" / "rung3.html").ids
    for path, *_ in PAGES:
        assert (site / path).is_file() is (path != SCREEN_PAGE)


def test_terms_lead_to_where_they_are_told(site: Path) -> None:
    reported = {one for one in read(site / "method.html").ids if one.startswith("term.")}
    used: set[Any] = set()
    for page in site.rglob("*.html"):
        used |= {link.partition("#")[2] for link in read(page).links if "method.html#term." in link}
    assert used <= reported
    assert {"term.rung", "term.gate", "term.cell", "term.host", "term.floor", "term.locked", "term.tau"} <= used
