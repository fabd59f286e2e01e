"""Runs: all that a study asks for, in the order of DVC, and the order of the ledger."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain.runs import Run, all_runs, gate_stage, hindsight_runs, ledger_order, runs_of
from stages.domain.study import parse_study
from tests.support.synthetic import params


def without_roles():
    """A study without a reference: no A/A runs, and no rule that names a role."""
    value = params(3)
    for rung in value["rungs"].values():
        rung["floor_seeds"] = []
    gate = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": 2}}
    return {**value, "roles": {}, "gates": dict.fromkeys(value["gates"], gate)}


def test_a_rung_has_every_configuration_in_every_cell_and_then_the_floor_runs_of_the_reference():
    study = parse_study(params(4), "params.yaml")
    runs = runs_of(study, "rung3")
    candidates = [run for run in runs if run.purpose == "candidate"]
    assert [(run.config, (run.host, run.seed)) for run in candidates] == [
        (config, cell) for config in study.configs for cell in study.cells("rung3")
    ]
    floor = runs[len(candidates) :]
    assert {run.config for run in floor} == {study.roles["reference"]}
    assert [(run.host, run.seed) for run in floor] == [
        (host, seed) for host in study.hosts for seed in study.rungs["rung3"].floor_seeds
    ]


def test_a_study_without_a_reference_has_candidates_runs_alone():
    study = parse_study(without_roles(), "params.yaml")
    assert len(all_runs(study)) == 3 * sum(len(study.cells(rung)) for rung in study.rungs)
    assert {run.purpose for run in all_runs(study)} == {"candidate"}


def test_a_run_has_one_name_one_stage_and_one_command():
    run = Run("rung3", "d2-a", "cpu-fp32", 301, "candidate")
    assert run.id == "rung3/d2-a/cpu-fp32/301"
    assert run.stage == "stages/ladder/rung3/d2-a/dvc.yaml:run@cpu-fp32-301"
    assert run.command == ["-m", "stages.run", "rung3", "d2-a", "cpu-fp32", "301"]
    floor = Run("rung3", "d2-a", "cpu-fp32", 901, "floor")
    assert floor.id == "rung3/d2-a/cpu-fp32/floor-901"
    assert floor.stage == "stages/ladder/rung3/d2-a/dvc.yaml:floor@cpu-fp32-901"
    assert floor.command[-1] == "--floor"
    assert gate_stage("rung3") == "stages/ladder/rung3/dvc.yaml:gate"


runs = st.builds(
    Run,
    st.sampled_from(["rung1", "rung2", "rung9", "rung10"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["h1", "h2"]),
    st.integers(0, 20),
    st.sampled_from(["candidate", "floor"]),
)


@given(st.lists(runs, unique=True))
def test_the_ledger_goes_by_rung_number_then_candidates_before_floor_then_names(listed):
    for before, after in pairwise(sorted(listed, key=ledger_order)):
        numbers = [int(run.rung.removeprefix("rung")) for run in (before, after)]
        assert numbers == sorted(numbers)
        if numbers[0] == numbers[1] and before.purpose != after.purpose:
            assert (before.purpose, after.purpose) == ("candidate", "floor")
        assert ledger_order(before) < ledger_order(after)


@pytest.mark.parametrize("seed", [2, 10])
def test_seeds_are_ordered_as_numbers(seed):
    first, second = (Run("rung1", "a", "h", number, "candidate") for number in (1, seed))
    assert ledger_order(first) < ledger_order(second)


def test_a_run_in_hindsight_has_places_of_its_own():
    run = Run("rung5", "d2-a", "cpu-fp32", 501, "hindsight")
    assert run.id == "hindsight/d2-a/cpu-fp32/501"
    assert run.stage == "stages/ladder/hindsight/d2-a/dvc.yaml:run@cpu-fp32-501"
    assert run.lock_path.as_posix() == "stages/ladder/hindsight/d2-a/dvc.lock"
    assert run.command == ["-m", "stages.run", "rung5", "d2-a", "cpu-fp32", "501", "--hindsight"]
    assert Run("rung5", "a", "h", 1, "floor").lock_path.as_posix() == "stages/ladder/rung5/a/dvc.lock"


def test_hindsight_is_every_configuration_in_each_cell_of_the_last_of_several_rungs_sorted():
    value = params(3)
    study = parse_study(value, "params.yaml")
    runs = hindsight_runs(study)
    assert runs == sorted(runs)
    assert {(run.rung, run.purpose) for run in runs} == {("rung5", "hindsight")}
    assert {(run.config, (run.host, run.seed)) for run in runs} == {
        (config, cell) for config in study.configs for cell in study.cells("rung5")
    }
    assert len(runs) == 3 * len(study.cells("rung5"))
    for count in (1, 2):
        rungs = {f"rung{n}": value["rungs"][f"rung{n}"] for n in range(1, count + 1)}
        gates = {f"gate{n}": {"R1": {"kind": "top_k", "k": 3}} for n in range(1, count + 1)}
        few = parse_study({**value, "rungs": rungs, "gates": gates}, "params.yaml")
        assert bool(hindsight_runs(few)) is (count == 2)


def test_the_place_of_a_run_in_the_ledger():
    assert ledger_order(Run("rung10", "a", "h", 7, "floor")) == (10, True, "a", "h", 7)
    assert ledger_order(Run("rung2", "a", "h", 7, "candidate")) == (2, False, "a", "h", 7)
