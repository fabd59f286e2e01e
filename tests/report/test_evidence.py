"""The evidence of a gate: what its numbers are made of can be followed to the runs, and its verdicts stand beside them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from report.build import build
from report.views import view_study
from tests.report import broken
from tests.report.conftest import copy_of
from tests.report.pages import read


def rows(site: Path, name: str) -> dict[str, dict[str, Any]]:
    value = json.loads((site / f"{name}.json").read_bytes())
    keys = [column["key"] for column in value["columns"]]
    return {row[0]: dict(zip(keys, row, strict=True)) for row in value["rows"]}


def test_the_noise_floor_shows_the_runs_that_its_deviation_is_made_of_and_links_them(site: Path) -> None:
    links = read(site / "gates" / "gate3.html").links
    for host, row in rows(site, "gates/gate3.floor").items():
        scores = [row[f"seed_{seed}"] for seed in (3900, 3901, 3902)]
        assert stdev(scores) == pytest.approx(row["sd"], abs=1e-7)
        for seed in (3900, 3901, 3902):
            assert f"../runs/rung3/d8-c007/{host}/floor-{seed}.html" in links


def test_a_run_of_the_noise_floor_that_is_not_there_leaves_a_gap(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    gone = ("cpu-fp32", 3901)
    broken.lines(root, "runs.jsonl", lambda one: None if (one["host"], one["seed"]) == gone else one)
    build(root)
    assert rows(root / "site", "gates/gate3.floor")["cpu-fp32"]["seed_3901"] is None


def test_the_last_gate_shows_the_verdicts_beside_the_evidence_and_every_cells_gap_that_they_judge(
    site: Path, default_study: Path
) -> None:
    found = rows(site, "gates/gate5.evidence")
    assert {name: row["verdicts"] for name, row in found.items()} == {
        "d8-c007": "R4 holds",
        "d4-c003": "R6 does not hold",
    } | {name: None for name in found if name not in ("d8-c007", "d4-c003")}
    reported = {rule.id: rule.results[0] for rule in view_study(default_study).gates["gate5"].decision.rules}
    row, base = found["d4-c003"], found["d8-c007"]
    cells = [key for key in row if key.startswith("cpu-") and not key.endswith("_gap")]
    gaps = [row[f"{cell}_gap"] for cell in cells]
    assert len(cells) == 4
    assert gaps == [pytest.approx(row[cell] - base[cell], abs=1e-9) for cell in cells]
    assert row["mean_gap"] == pytest.approx(sum(gaps) / 4, abs=1e-9) == pytest.approx(reported["R6"].observed, abs=1e-9)
    assert {base[f"{cell}_gap"] for cell in cells} == {None}
    text = " ".join(read(site / "gates" / "gate5.html").text.split())
    assert "✕ R6" in text
    assert "the gap to d8-c007, the reference, in the same cell, and its mean, which R5 and R6 judge." in text


def test_a_gap_is_not_told_where_either_cell_is_missing(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    gone = ("rung5", "d8-c007", "cpu-fp32", 5000)
    broken.lines(
        root,
        "runs.jsonl",
        lambda one: None if (one["rung"], one["config"], one["host"], one["seed"]) == gone else one,
    )
    build(root)
    row = rows(root / "site", "gates/gate5.evidence")["d4-c003"]
    assert (row["cpu-fp32_5000_gap"], row["mean_gap"]) == (None, None)
    assert row["cpu-fp32_5001_gap"] is not None
