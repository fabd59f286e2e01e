"""Hindsight on the pages: what a reader sees without JavaScript, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from report.build import build
from report.confidence import readable
from report.views import view_study
from stages.confidence.hindsight_results import Hindsight
from stages.domain import canonical, formatting, hindsight
from tests.report.conftest import copy_of
from tests.report.pages import read
from tests.support import synthetic


@pytest.fixture(scope="module")
def looked_back(default_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default study with what was trained in hindsight; its site is built."""
    root = copy_of(default_study, tmp_path_factory.mktemp("hindsight") / "study")
    synthetic.look_back(root)
    build(root)
    return root


@pytest.fixture(scope="module")
def result(looked_back: Path) -> Hindsight:
    result = view_study(looked_back).hindsight.result
    assert result is not None
    return result


def rows(site: Path, name: str) -> list[dict[str, Any]]:
    value = json.loads((site / f"hindsight.{name}.json").read_text(encoding="utf-8"))
    keys = [column["key"] for column in value["columns"]]
    return [dict(zip(keys, row, strict=True)) for row in value["rows"]]


def test_the_overview_says_one_line_of_it_with_a_link(looked_back, result):
    page = read(looked_back / "site/index.html")
    assert f"In hindsight? {formatting.capital(readable(result.text))}" in page.text


def test_a_study_without_it_has_no_line_and_a_page_that_says_how_to_get_it(default_study, site):
    assert "In hindsight?" not in read(site / "index.html").text
    page = read(site / "hindsight.html").text
    assert "Nothing was trained in hindsight" in page and "make hindsight" in page


def test_every_table_of_the_page_holds_the_figures_of_the_result(looked_back, result):
    site = looked_back / "site"
    assert [row["config"] for row in rows(site, "standing")] == [row.config for row in result.standings]
    assert [row["inversions"] for row in rows(site, "hindsight-gates")] == [gate.inversions for gate in result.gates]
    dropped = [(gate.gate, row.config) for gate in result.gates for row in gate.better]
    assert [(row["gate"], row["config"]) for row in rows(site, "dropped")] == dropped
    assert [row["ladder_tau_b"] for row in rows(site, "foretold")] == [row.ladder_tau_b for row in result.foretold]
    assert [row["regret"] for row in rows(site, "alternatives")] == [row.regret for row in result.alternatives]


def test_every_run_is_listed_with_its_line_of_the_ledger(looked_back):
    lines = (looked_back / hindsight.LEDGER).read_bytes().splitlines()
    listed = rows(looked_back / "site", "hindsight-runs")
    executed = [n for n, line in enumerate(lines, start=1) if canonical.loads(line)["status"] == "finished"]
    assert [row["line"] for row in listed] == executed
    assert len(listed) == sum(canonical.loads(line)["facts"] is not None for line in lines)


def test_the_page_reads_without_javascript(looked_back, result):
    page = read(looked_back / "site/hindsight.html").text
    for text in (result.choice, result.best, "What each gate stopped and kept", "What the same device time would have"):
        assert text in page


def test_hindsight_of_another_decision_is_told_and_not_shown(looked_back, tmp_path):
    root = copy_of(looked_back, tmp_path / "other")
    data = (root / hindsight.LEDGER).read_bytes()
    digest = canonical.loads(data.splitlines()[0])["decision"]
    (root / hindsight.LEDGER).write_bytes(data.replace(digest.encode(), b"0" * 64))
    view = view_study(root).hindsight
    assert view.result is None and view.missing.startswith("hindsight came after another last decision")
