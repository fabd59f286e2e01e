"""What the study cost: the A/A floor counts, sums stand below, rungs keep their order beyond the ninth."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report.build import build
from report.cost import StudyCost
from report.layout import shared
from report.pages.cost import cost_figure, decisions_table, lead, rungs_table
from report.tables import Table
from report.views import StudyView, view_study
from stages.domain import formatting
from stages.summary.accounting import Counterfactual
from tests.report import broken
from tests.report.conftest import copy_of, make_study
from tests.report.pages import read
from tests.support import synthetic

NB = formatting.NB


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


def rung(executed: float, floor: float = 0.0) -> Any:
    return SimpleNamespace(executed_hours=executed, floor_hours=floor)


def priced(
    *, unpriced: tuple[str, ...] = (), last: str = "rung2", hours: tuple[float, ...] = (), **rungs: Any
) -> StudyCost:
    return StudyCost(rungs, list(unpriced), [SimpleNamespace(hours=each) for each in hours], last)  # type: ignore[misc]


def test_what_is_known_of_a_cost_follows_from_its_rungs() -> None:
    cost = priced(rung1=rung(1.0, 0.25), rung2=rung(2.0), hours=(3.0, 7.0, 5.0))
    assert (cost.executed, cost.total, cost.floor, cost.last, cost.hatched) == (3.25, 3.25, 0.25, 2.0, 5.0)
    assert cost.widest is cost.counterfactuals[1]
    assert priced(rung1=rung(1.0), unpriced=("rung2",)).total is None
    nothing = priced()
    assert (nothing.total, nothing.last, nothing.widest, nothing.hatched, nothing.executed) == (
        None,
        None,
        None,
        0.0,
        0,
    )


def test_a_cost_in_words_names_the_floor_the_last_rung_and_what_is_not_known() -> None:
    def words(cost: StudyCost, rated: bool = False) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in lead(cost, rated))

    whole = priced(rung1=rung(1.0, 0.5), rung2=rung(2.0))
    assert words(whole) == (
        f"3.5{NB}h of device time was used, of which 30{NB}min measured the A/A floor: 1.5{NB}h up to the last rung and "
        f"2{NB}h at it."
    )
    rated = (
        " On the rated clock a device-hour is what the host block's declared speed makes of the work, not what a wall "
        "clock measured."
    )
    assert words(priced(rung1=rung(1.0)), True) == f"1{NB}h of device time was used.{rated}"
    missing = priced(rung1=rung(1.0), unpriced=("rung2", "rung3"))
    sentence = "The cost in all is not known: Rung 2 and Rung 3 ran under a lock that is missing."
    assert (words(missing), words(missing, True)) == (sentence, sentence + rated)


def test_the_bars_are_as_long_as_their_hours_and_the_darker_the_later() -> None:
    def parts(executed: float, planned: float, floor: float = 0.0) -> Any:
        return SimpleNamespace(executed_hours=executed, floor_hours=floor, planned_hours=planned)

    cost = priced(rung1=parts(0.25, 0.25, 0.05), rung2=parts(0.0, 0.5), rung3=parts(0.5, 0.5))
    figure = cost_figure(cost, "wall clock")
    assert (figure.height, figure.layout["xaxis"]["title"]["text"]) == (202, "device time, h (wall clock)")
    bars = [(bar["y"], bar["x"], bar["marker"]["color"], bar["text"], bar["insidetextfont"]) for bar in figure.data]
    light, dark = {"color": "@ink"}, {"color": "@bg"}
    assert [(label, hours, text, font) for label, hours, _, text, font in bars] == [
        (["executed"], [0.25], ["Rung 1"], light), (["executed"], [0.5], ["Rung 3"], dark), (["executed"], [0.05], ["A/A"], dark),
        (["planned"], [0.25], ["Rung 1"], light), (["planned"], [0.5], ["Rung 2"], light), (["planned"], [0.5], ["Rung 3"], dark),
    ]  # fmt: skip
    assert cost_figure(priced(rung1=parts(0.5, 0.5 + 1e-9)), "c").height == 156
