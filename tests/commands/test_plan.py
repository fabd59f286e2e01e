"""promotion plan: the bound that the rules put on a study's cost."""

import json
import re
import shutil
from contextlib import chdir
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.commands import plan
from stages.domain import files, names, study
from stages.domain.errors import Refused
from stages.domain.formatting import unit
from stages.domain.rules import parse_rules
from stages.hosts import workers
from stages.summary.plan import most_candidates, most_promoted
from stages.summary.wall_time import COMPILED_START_SECONDS, UNSEEN_SECONDS
from tests.support.repo import PROJECT

ROLES = {"reference": "a", "comparator": "b", "sentinel": "b"}


@pytest.fixture
def paper(tmp_path):
    shutil.copy(PROJECT / "studies" / "paper.yaml", tmp_path / "params.yaml")
    with chdir(tmp_path):
        yield tmp_path


def test_the_published_protocol_costs_what_was_published(paper, promotion):
    made = promotion.json("plan")
    assert [rung["candidates"] for rung in made["rungs"].values()] == [12, 12, 9, 4, 3]
    assert made["rungs"]["rung5"]["hours"] == 144.0
    assert made["rungs"]["rung5"]["hosts"] == {"windows-a100": 72.0, "linux-l40s": 72.0}
    assert {one["from_rung"]: one["hours"] for one in made["counterfactuals"]} == {
        "rung1": 576.0,
        "rung2": 576.0,
        "rung3": 432.0,
        "rung4": 192.0,
    }
    assert made["bound"] == "at most"


def test_totals_are_the_sum_of_the_rungs(workspace, promotion):
    made = promotion.json("plan")
    for key in ("runs", "floor_runs", "hours", "floor_hours"):
        assert made["totals"][key] == pytest.approx(sum(rung[key] for rung in made["rungs"].values()))
    assert sum(made["totals"]["hosts"].values()) == pytest.approx(
        made["totals"]["hours"] + made["totals"]["floor_hours"]
    )
    assert made["totals"]["screening_hours"] + made["totals"]["last_rung_hours"] == pytest.approx(
        made["totals"]["hours"]
    )
    assert made["rungs"]["rung3"]["floor_runs"] == 6


def test_the_table_says_at_most_and_that_counterfactuals_are_no_evidence(paper, promotion):
    reported = promotion("plan")
    assert reported.startswith("paper: at most, in device-hours on the wall clock")
    assert "had all 9 of rung3 gone straight to rung5: 432 device-hours there" in reported
    assert "had all 4 of rung4 gone straight to rung5: 192 device-hours there" in reported
    assert "Accounting of unrun work: no evidence that a configuration that was stopped could not have won." in reported


@pytest.mark.parametrize(
    ("slots", "words"), [(1, None), (2, "with 2 runs side by side"), (4, "with 4 runs side by side")]
)
def test_the_wall_time_of_dispatch_on_this_machine_is_told_beside_that_of_one_run_after_another(
    workspace, promotion, monkeypatch, slots, words
):
    monkeypatch.setattr(workers, "find_slots", lambda study, *_: [workers.Slot(tuple(study.hosts))] * slots)
    reported = promotion("plan")
    assert "on one machine" in reported
    assert (
        (words in reported and "`promotion dispatch`, which `make study` uses" in reported)
        if words
        else "side by" not in reported
    )


def test_a_machine_that_is_none_of_the_hosts_has_no_time_of_dispatch(workspace, promotion, monkeypatch):
    monkeypatch.setattr(workers, "find_slots", lambda *_: [])
    assert "side by side" not in promotion("plan")


def rows(told: str) -> list[list[str]]:
    """The lines of the printed table as cells, without the two that hold the heads."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in told.splitlines() if line.startswith("│")]


@pytest.mark.parametrize(
    ("name", "said"), [("laptop", "device-seconds"), ("smoke", "device-seconds"), ("paper", "device-hours")]
)
@pytest.mark.parametrize("columns", [40, 80, None])
def test_the_printed_figures_are_whole_and_add_up_in_one_unit(tmp_path, promotion, monkeypatch, name, said, columns):
    monkeypatch.delenv("COLUMNS")
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    shutil.copy(PROJECT / "studies" / f"{name}.yaml", tmp_path / "params.yaml")
    with chdir(tmp_path):
        reported, made = promotion("plan"), promotion.json("plan")
    assert "…" not in reported
    assert max(map(len, reported.splitlines()[:-1])) <= 140
    table = rows(reported)
    assert [row[0] for row in table] == [*made["rungs"], "total"]
    for column in (6, 7):
        assert sum(Fraction(row[column]) for row in table[:-1]) == Fraction(table[-1][column])
    line = next(line for line in reported.splitlines() if line.startswith("screening"))
    parts = [Fraction(one) for one in re.findall(r"(?<= )[0-9.]+(?= )", line)]
    assert parts[-1] == sum(parts[:-1]) == Fraction(table[-1][7])
    assert f" = {table[-1][7]} {said}, on " in line


def test_the_unit_follows_the_size_of_the_whole():
    assert [unit(seconds)[1] for seconds in (0, 599, 600, 35_999, 36_000)] == [
        "seconds", "seconds", "minutes", "minutes", "hours",
    ]  # fmt: skip


def test_it_needs_params_yaml_alone(paper, promotion):
    promotion("plan")
    assert [path.name for path in paper.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("rules", "most"),
    [
        ([{"kind": "top_k", "k": 3}], 3),
        ([{"kind": "top_k", "k": 3, "by": "each_host"}], 6),
        ([{"kind": "top_k", "k": 30}], 10),
        ([{"kind": "keep_role", "role": "reference"}], 1),
        ([{"kind": "keep_role", "role": "comparator"}, {"kind": "keep_role", "role": "sentinel"}], 1),
        ([{"kind": "keep_role", "role": "reference"}, {"kind": "top_k", "k": 3}], 4),
        ([{"kind": "within_gap", "gap": 0.1}, {"kind": "top_k", "k": 1}], 10),
        ([{"kind": "complete_cells"}, {"kind": "diverged"}], 0),
        ([{"kind": "top_k", "k": 2}, {"kind": "top_k", "k": 3, "by": "worst_host"}], 5),
    ],
)
def test_promote_rules_bound_who_goes_on(rules, most):
    gate = parse_rules({f"R{n}": rule for n, rule in enumerate(rules, start=1)}, "test")
    assert most_promoted(gate, 10, 2, ROLES) == most


@given(st.integers(1, 50))
def test_no_gate_promotes_more_than_it_judges(candidates):
    gate = parse_rules({"R1": {"kind": "top_k", "k": 7, "by": "each_host"}, "R2": {"kind": "keep_role", "role": "reference"}}, "t")  # fmt: skip
    assert most_promoted(gate, candidates, 2, ROLES) == min(candidates, 15)


def test_what_was_decided_never_exceeds_the_bound(judged, promotion):
    with chdir(judged):
        bound = most_candidates(study.load())
        for one in promotion.json("status")["rungs"]:
            assert len(one["candidates"]) <= bound[one["rung"]] == one["candidates_at_most"]


def write_telemetry(
    rung: str, host: str, training: float, process: float, status: str = "finished", first: float | None = None
) -> None:
    path = names.telemetry_path(f"{rung}/any/{host}/{len(list(names.TELEMETRY.rglob('*.json')))}")
    path.parent.mkdir(parents=True, exist_ok=True)
    telemetry = {"status": status, "train_seconds": training, "process_seconds": process}
    if first is not None:
        telemetry["first_steps_seconds"] = first
    path.write_text(json.dumps(telemetry), encoding="utf-8")


def test_the_wall_time_counts_the_start_of_every_run_which_is_assumed_where_none_was_measured(paper, promotion):
    made = promotion.json("plan")
    runs = sum(rung["runs"] + rung["floor_runs"] for rung in made["rungs"].values())
    seconds = 3600 * (made["totals"]["hours"] + made["totals"]["floor_hours"]) + runs * COMPILED_START_SECONDS
    assert made["wall_time"]["one_after_another"] == pytest.approx(seconds)
    assert made["wall_time"]["side_by_side"] == pytest.approx(seconds / 2)
    assert {host["measured"] for host in made["wall_time"]["hosts"].values()} == {0}
    reported = promotion("plan")
    assert "windows-a100: a run takes its budget and 45 s more (assumed: no run was measured here)" in reported
    assert "1 worker a host" in reported


def test_workers_share_the_runs_of_a_rung_and_none_begins_the_next_one(paper, promotion):
    made = promotion.json("plan", "--workers", "5")
    expected = sum(
        -(-(rung["runs"] + rung["floor_runs"]) // 2 // 5) * (rung["budget_seconds"] + COMPILED_START_SECONDS)
        for rung in made["rungs"].values()
    )
    assert made["wall_time"]["hosts"]["linux-l40s"]["seconds"] == pytest.approx(expected)
    with pytest.raises(Refused, match="--workers: found 0, expected at least 1"):
        promotion("plan", "--workers", "0")


#: What a machine says that wants to break whoever adds it up.
HUGE = b'{"status":"finished","train_seconds":1,"process_seconds":%s}'


def test_steps_that_compile_are_part_of_the_start_and_not_of_the_budget(paper, promotion):
    """A run of 2 s on an H100: 17.25 s of steps, 15.25 of them the first ten, in a process of 28.1 s."""
    write_telemetry("rung1", "linux-l40s", 17.25, 28.1, first=15.25)
    hosts = promotion.json("plan")["wall_time"]["hosts"]
    assert hosts["linux-l40s"]["start_seconds"] == pytest.approx(28.1 - 2.0 + UNSEEN_SECONDS)
    assert hosts["windows-a100"]["start_seconds"] == COMPILED_START_SECONDS


def test_what_runs_here_took_is_measured_by_host(tmp_path, promotion):
    shutil.copy(PROJECT / "studies" / "laptop.yaml", tmp_path / "params.yaml")
    with chdir(tmp_path):
        for process in (6.0, 7.0, 8.0):
            write_telemetry("rung5", "cpu-fp32", 25.0, 25.0 + process)
        write_telemetry("rung5", "cpu-fp32", 25.0, 1000.0, status="failed")
        write_telemetry("rung5", "unknown", 1.0, 1000.0)
        write_telemetry("rung5", "cpu-fp32", 25.0, 1000.0, first=26.0)  # more than the whole of which it is a part
        for seed, text in enumerate((b"{", b"[]", b"{}", HUGE % (b"9" * 400), HUGE % b"Infinity", HUGE % b'"1"')):
            files.write_whole(names.telemetry_path(f"rung1/a/cpu-bf16/{seed}"), text)
        hosts, reported = promotion.json("plan")["wall_time"]["hosts"], promotion("plan")
    measured = {"pace": 2.0, "start_seconds": 7.0 + UNSEEN_SECONDS, "measured": 3}
    assert {key: hosts["cpu-fp32"][key] for key in measured} == measured
    assert hosts["cpu-bf16"]["measured"] == 0
    line = "cpu-fp32: a run takes 2 s for a second of budget and 8 s more (the median of 3 runs here)"
    assert line in reported


def test_hosts_that_would_share_a_gpu_have_no_slots(workspace, promotion, monkeypatch):
    loaded = study.load()

    def refuse(*_):
        raise Refused("would be shared")

    monkeypatch.setattr(workers, "find_slots", refuse)
    assert plan._count_slots(loaded) == 0
    assert "side by side" not in promotion("plan")
    slots = [workers.Slot(("cpu-fp32", "cpu-bf16")), workers.Slot(("cpu-fp32",)), workers.Slot(("cpu-fp32",))]
    monkeypatch.setattr(workers, "find_slots", lambda *_: slots)
    assert plan._count_slots(loaded) == 1, "of any host, so of the one with the fewest"
