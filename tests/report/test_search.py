"""The index of the search box: everything that has a name, and where it leads."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from report import search
from report.promotion_paths import PathStep, PromotionPath
from report.search import entries, index
from report.views import view_study
from tests.report.pages import read


def test_pages_gates_rungs_configurations_with_their_fate_and_rules_with_their_sentence_are_found(
    default_study: Path,
) -> None:
    found = {text: href for text, href, _ in entries(view_study(default_study))}
    assert found["Gate 3"] == "gates/gate3.html"
    assert found["Runs of rung 3"] == "runs/rung3.html"
    assert found["Stability"] == "stability.html"
    assert found["d8-c007: reference, winner at gate 5"] == "configs/d8-c007.html"
    assert found["d1-c008: stopped at gate 3 (R7)"] == "configs/d1-c008.html"
    assert found["R7 of gate 3: Promote the best 3 by mean over cells."] == "gates/gate3.html#R7"
    assert "gate3" not in found


def test_everything_that_is_found_is_there(default_study: Path, site: Path) -> None:
    view = view_study(default_study)
    ids: dict[str, set[str]] = {}
    for _, href, _ in entries(view):
        page, _, fragment = href.partition("#")
        seen = ids.setdefault(page, set(read(site / page).ids))
        assert not fragment or fragment in seen, href
    value = json.loads(index(view).decode("utf-8").removeprefix("window.SITE_INDEX=").rstrip(";\n"))
    for place, runs in value["runs"].items():
        rung, host = place.split("/")
        for config, seed in runs:
            assert (site / "runs" / rung / value["configs"][config] / host / f"{seed}.html").is_file()


@pytest.mark.parametrize(
    ("roles", "steps", "text"),
    [
        ((), (), ""),
        (("reference", "sentinel"), (), ": reference, sentinel"),
        ((), (PathStep("rung2", "promoted", 1),), ": promoted at gate 2"),
        ((), (PathStep("rung2", "stopped", 1, decisive="R7"),), ": stopped at gate 2 (R7)"),
        (
            ("reference",),
            (PathStep("rung2", "winner", 1), PathStep("rung3", "absent")),
            ": reference, winner at gate 2",
        ),
    ],
)
def test_a_hit_says_roles_and_end_of_a_configuration(
    roles: tuple[str, ...], steps: tuple[PathStep, ...], text: str
) -> None:
    assert search._fate(PromotionPath("a", roles, steps)) == text


def test_runs_are_stored_by_rung_and_host_with_the_place_of_their_configuration() -> None:
    reported = [("b", "h", 7, "candidate"), ("a", "h", 8, "floor"), ("a", "g", 7, "candidate")]
    runs = [
        SimpleNamespace(record=SimpleNamespace(rung="rung1", config=config, host=host, seed=seed, purpose=purpose))
        for config, host, seed, purpose in reported
    ]
    assert search._runs(["a", "b"], runs) == {"rung1/h": [[1, 7], [0, "floor-8"]], "rung1/g": [[0, 7]]}  # type: ignore[arg-type]
