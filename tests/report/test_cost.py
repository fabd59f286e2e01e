"""What the study cost: the A/A floor counts, sums stand below, rungs keep their order beyond the ninth."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest

from report.build import build
from report.cost import StudyCost
from report.layout import shared
from report.pages.cost import cost_figure, decisions_table, rungs_table
from report.tables import Table
from report.views import StudyView, view_study
from stages.domain import formatting
from stages.summary.accounting import Counterfactual
from tests.report import broken
from tests.report.conftest import copy_of, make_study
from tests.report.pages import read
from tests.support import synthetic


def table_of(view: StudyView) -> Table:
    return rungs_table(view.cost, list(view.gates.values()))


def test_the_noise_floor_is_part_of_what_was_executed(default_study: Path) -> None:
    view = view_study(default_study)
    totals = view.files.accounting.totals
    assert totals.floor_hours > 0
    assert view.cost.total == pytest.approx(totals.executed_hours + totals.floor_hours)
    text = " ".join(read(default_study / "site" / "index.html").text.split())
    assert "of device time was used, of which 1 min for the A/A floor" in text


@pytest.mark.parametrize(
    ("hours", "last", "hatched"),
    [((40.0, 90.0), 30.0, 60.0), ((20.0,), 30.0, 0.0), ((), 30.0, 0.0), ((40.0,), None, 0.0)],
)
def test_what_an_early_rung_would_have_cost_at_the_last_one_is_more_than_that_or_nothing(
    hours: tuple[float, ...], last: float | None, hatched: float
) -> None:
    rungs = {} if last is None else {"rung5": SimpleNamespace(executed_hours=last - 1, floor_hours=1)}
    cases = [SimpleNamespace(hours=each) for each in hours]
    assert StudyCost(rungs, [], cases, "rung5").hatched == hatched  # type: ignore[arg-type]


def test_the_sums_stand_below_the_rungs_and_not_in_the_files(default_study: Path) -> None:
    view = view_study(default_study)
    table = table_of(view)
    assert table.foot is not None
    assert table.foot["total_hours"] == view.cost.total
    assert table.foot["executed_runs"] + table.foot["floor_runs"] == len(view.executed)
    assert len((default_study / "site" / "cost.rungs.csv").read_text(encoding="utf-8").splitlines()) == 6
    assert "All rungs" in read(default_study / "site" / "cost.html").text


def test_a_rung_that_ran_under_a_lock_that_is_missing_makes_the_cost_unknown(
    default_study: Path, tmp_path: Path
) -> None:
    root = copy_of(default_study, tmp_path / "study")
    (root / "locks" / "gate4.yaml").unlink()
    for path in (root / "artifacts" / "summary").iterdir():
        path.unlink()
    view = view_study(root)
    assert view.cost.total is None
    assert view.cost.unpriced == ["rung4", "rung5"]
    foot = table_of(view).foot or {}
    assert foot["executed_hours"] is None


def test_a_study_without_a_lock_has_no_price_rather_than_none(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    for folder in ("locks", "artifacts/summary", "ledger"):
        for path in (root / folder).iterdir():
            path.unlink()
    for name in ("runs.jsonl", "decisions.jsonl"):
        (root / "ledger" / name).write_bytes(b"")
    build(root)
    assert "No rung is frozen yet, so nothing is priced." in read(root / "site" / "cost.html").text
    assert "No rung is frozen yet, so nothing is priced." in read(root / "site" / "index.html").text


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve rungs, whose names sort as rung1, rung10, ..."""
    value = synthetic.params(6)
    middle, last = value["gates"]["gate2"], value["gates"]["gate5"]
    value["rungs"] = {f"rung{n}": {"budget_seconds": float(n), "seeds": [n * 10]} for n in range(1, 13)}
    value["gates"] = {f"gate{n}": copy.deepcopy(middle if n < 12 else last) for n in range(1, 13)}
    root = make_study(tmp_path_factory.mktemp("twelve") / "work", value)
    build(root)
    return root


def test_ten_rungs_and_more_stand_in_the_order_of_the_study_everywhere(twelve: Path) -> None:
    view = view_study(twelve)
    order = [f"rung{n}" for n in range(1, 13)]
    assert list(view.cost.rungs) == order
    assert list(view.hosts) == order
    assert [row.id for row in table_of(view).rows] == order
    assert shared(view)["gates"] == [f"gate{n}" for n in range(1, 13)]
    for name, key in (("index.agreement-glance", 0), ("agreement.pairs", 0), ("cost.rungs", 0)):
        lines = (twelve / "site" / f"{name}.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert [line.split(",")[key] for line in lines] == order, name


def test_the_next_rung_of_the_ninth_is_the_tenth(twelve: Path) -> None:
    view = view_study(twelve)
    made = {row.cells["gate"].value: row.cells["not_run_hours"] for row in decisions_table(view.cost, view.gates).rows}
    stopped = len(view.gates["gate1"].decision.stopped)
    assert made["gate1"] == pytest.approx(stopped * 2 * 2.0 / 3600)
    assert made["gate9"] == 0.0
    assert made["gate12"] is None


def test_the_figure_speaks_the_unit_of_the_text_and_shows_the_plan_only_where_it_differs(
    default_study: Path, tmp_path: Path
) -> None:
    view = view_study(default_study)
    figure = cost_figure(view.cost, view.clock)
    assert figure.layout["xaxis"]["title"]["text"] == "device time, h (rated clock)"
    bars = {bar["y"][0] for bar in figure.data}
    assert "planned" not in bars
    assert {"Rung 3", "A/A"} <= {text for bar in figure.data for text in bar.get("text", [])}
    total = formatting.device_time(view.cost.total)
    assert figure.layout["annotations"][0]["text"] == total
    assert total.endswith("h")
    root = copy_of(default_study, tmp_path / "study")
    broken.lines(root, "runs.jsonl", lambda one: None if one["rung"] == "rung4" and one["config"] == "d8-c007" else one)
    for path in (root / "artifacts" / "summary").iterdir():
        path.unlink()
    assert "planned" in {bar["y"][0] for bar in cost_figure(view_study(root).cost, view.clock).data}


def test_a_bar_of_unrun_work_says_how_many_would_have_gone_on(default_study: Path) -> None:
    cost = view_study(default_study).cost
    cases = [
        Counterfactual(from_rung=rung, candidates=candidates, hours=2.0, text="")
        for rung, candidates in (("rung1", 12), ("rung4", 1))
    ]
    figure = cost_figure(dataclasses.replace(cost, counterfactuals=cases), "rated")
    labels = figure.layout["yaxis"]["categoryarray"]
    assert labels[:2] == ["the one of rung 4<br>at the last", "all 12 of rung 1<br>at the last"]
