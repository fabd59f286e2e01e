"""Which runs `promotion plan` measures by, and what it asks of the wall time and of this machine's slots."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.commands import plan
from stages.commands.plan import read_run_times
from stages.domain import files, names
from stages.domain.study import parse_study
from stages.dvcfiles import telemetry
from stages.hosts import workers
from stages.summary.wall_time import RunTimes
from tests.commands.conftest import Command
from tests.support import synthetic

WHOLE: dict[str, Any] = {"status": "finished", "train_seconds": 10.0, "process_seconds": 12.0}


def measure(root: Path, *values: Any) -> list[RunTimes]:
    """The times of runs at rung 2 whose telemetry says this, in their order."""
    for seed, value in enumerate(values):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        files.write_whole(root / names.TELEMETRY / f"rung2/a/cpu-fp32/{seed}.json", data)
    return list(read_run_times(parse_study(synthetic.params(3, 1), "params.yaml"), root))


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        ({}, (10.0, 12.0)),
        ({"first_steps_seconds": 4}, (6.0, 12.0)),
        ({"first_steps_seconds": 0}, (10.0, 12.0)),
        ({"first_steps_seconds": 9.5}, (0.5, 12.0)),
        ({"train_seconds": 12, "process_seconds": 12}, (12.0, 12.0)),
        ({"train_seconds": 0.5}, (0.5, 12.0)),
        ({"first_steps_seconds": 10.0}, None),
        ({"first_steps_seconds": -1}, None),
        ({"first_steps_seconds": "4"}, None),
        ({"first_steps_seconds": None}, None),
        ({"train_seconds": 12.5}, None),
        ({"train_seconds": 0}, None),
        ({"train_seconds": None}, None),
        ({"process_seconds": None}, None),
        ({"process_seconds": "12"}, None),
        ({"status": "failed"}, None),
        ({"status": None}, None),
    ],
)
def test_a_run_is_measured_where_its_parts_add_up(
    changes: dict[str, Any], times: tuple[float, float] | None, tmp_path: Path
) -> None:
    expected = [] if times is None else [RunTimes("cpu-fp32", 5.0, *times)]
    assert measure(tmp_path, WHOLE | changes) == expected


def test_telemetry_is_read_up_to_its_size_and_without_any_there_are_no_times(tmp_path: Path) -> None:
    assert measure(tmp_path) == []
    text = json.dumps(WHOLE).encode()
    sizes = (telemetry.MAX_BYTES + 1, telemetry.MAX_BYTES)
    assert measure(tmp_path, *(text + b" " * (size - len(text)) for size in sizes), b"{") == [
        RunTimes("cpu-fp32", 5.0, 10.0, 12.0)
    ]


@pytest.fixture
def asked(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked of the wall time: how many runs, with how many workers, and which hosts compile."""
    asked: list[Any] = []
    original = plan.wall_time

    def note(study_plan: Any, runs: list[RunTimes], workers: int, compiled: set[str]) -> Any:
        asked.append((len(runs), workers, compiled))
        return original(study_plan, runs, workers, compiled)

    value = json.loads(names.PARAMS.read_bytes())
    value["hosts"]["cpu-bf16"]["compile"] = True
    names.PARAMS.write_text(json.dumps(value), encoding="utf-8")
    monkeypatch.setattr(plan, "wall_time", note)
    monkeypatch.setattr(plan, "MOST_MEASURED", 2)
    monkeypatch.setattr(plan, "read_run_times", lambda study: iter([RunTimes("cpu-fp32", 5.0, 10.0, 12.0)] * 3))
    return asked


@pytest.mark.parametrize(("slots", "dispatched"), [(0, []), (1, []), (2, [(2, 2, {"cpu-bf16"})])])
def test_the_wall_time_is_asked_for_once_and_again_for_more_slots_than_one(
    slots: int, dispatched: list[Any], asked: list[Any], promotion: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "find_slots", lambda study, *_: [workers.Slot(tuple(study.hosts))] * slots)
    promotion("plan", "--workers", "7")
    assert asked == [(2, 7, {"cpu-bf16"}), *dispatched]
    asked.clear()
    promotion("plan", "--json")
    assert asked == [(2, 1, {"cpu-bf16"})]


def test_a_study_of_one_host_needs_no_second_machine(workspace: Path, promotion: Command) -> None:
    value = json.loads(names.PARAMS.read_bytes())
    assert "with a machine for each host; 1 worker a host" in promotion("plan")
    del value["hosts"]["cpu-bf16"]
    for gate, rules in value["gates"].items():
        alone = {key: rule for key, rule in rules.items() if rule["kind"] != "min_host_agreement"}
        value["gates"][gate] = alone
    names.PARAMS.write_text(json.dumps(value), encoding="utf-8")
    reported = promotion("plan", "--workers", "2")
    assert "with a machine for each host" not in reported
    assert " on one machine; 2 workers a host\n" in reported


def test_a_plan_of_just_less_than_ten_minutes_is_told_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    hours = 599.9 / 3600
    totals = SimpleNamespace(
        hours=hours, floor_hours=0.0, hosts={"cpu": hours}, runs=1, floor_runs=0, screening_hours=0.0,
        last_rung_hours=hours,
    )  # fmt: skip
    rung = SimpleNamespace(
        candidates=1, cells=1, runs=1, floor_runs=0, hosts={"cpu": hours}, hours=hours, floor_hours=0.0,
        budget_seconds=599.9,
    )  # fmt: skip
    study_plan: Any = SimpleNamespace(
        totals=totals, rungs={"rung1": rung}, study="short", clock="rated", counterfactuals=[]
    )
    wall: Any = SimpleNamespace(workers=1, one_after_another=600.0, side_by_side=600.0, hosts={})
    plan.show(study_plan, wall, None)
    assert capsys.readouterr().out.startswith("short: at most, in device-seconds on the rated clock")
