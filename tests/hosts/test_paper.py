"""The paper's study: what is published is a fixed point, and what is ours says so."""

from __future__ import annotations

from fractions import Fraction

import pytest

from stages.domain.rules import threshold_in_bpb
from stages.domain.study import Study, load
from stages.runners.builtin import realise_all
from stages.summary.plan import plan
from tests.support.repo import PROJECT


@pytest.fixture(scope="module")
def paper() -> Study:
    return load(PROJECT / "studies" / "paper.yaml")


def test_budgets_hosts_and_clock_are_the_published_ones(paper):
    assert [rung.budget_seconds for rung in paper.rungs.values()] == [120, 300, 600, 3600, 43200]
    assert paper.clock.kind == "wall"
    reported = {name: (host.system, host.device, host.device_name) for name, host in paper.hosts.items()}
    assert reported == {"windows-a100": ("windows", "cuda", "A100"), "linux-l40s": ("linux", "cuda", "L40S")}


def test_twelve_configurations_and_the_named_conditions(paper):
    assert len(paper.configs) == 12
    assert set(paper.roles) == {"reference", "comparator", "sentinel"}
    sentinel = paper.configs[paper.roles["sentinel"]]
    assert (sentinel["depth"], sentinel["aspect"]) == (8, 48)


def test_the_sentinel_is_the_cheapest_of_the_three_and_384_wide(paper):
    shapes = realise_all(paper, 8192)
    assert shapes[paper.roles["sentinel"]]["width"] == 384
    flops = {role: shapes[name]["flops_per_token"] for role, name in paper.roles.items()}
    assert min(flops, key=flops.__getitem__) == "sentinel"


def test_two_hosts_with_two_fresh_seeds_from_ten_minutes_on(paper):
    assert [len(paper.cells(rung)) for rung in paper.rungs] == [2, 2, 4, 4, 4]
    seeds = [seed for rung in paper.rungs.values() for seed in rung.seeds]
    assert len(set(seeds)) == len(seeds)


def test_the_frozen_thresholds_at_twelve_hours(paper):
    verdicts = {rule.kind: threshold_in_bpb(rule) for rule in paper.gates["gate5"].values()}
    assert verdicts["near_equivalent"] == 0.010
    assert verdicts["mean_gap"] == 0.020


def test_the_plan_gives_the_published_candidates_and_device_hours(paper):
    made = plan(paper).to_json()
    assert [rung["candidates"] for rung in made["rungs"].values()] == [12, 12, 9, 4, 3]
    assert made["rungs"]["rung5"]["hours"] == 144
    hours = {one["from_rung"]: one["hours"] for one in made["counterfactuals"]}
    assert (hours["rung3"], hours["rung4"]) == (432, 192)


def test_the_floor_is_measured_where_it_is_cheap_and_is_a_line_of_its_own(paper):
    """25.2 h of screening are published; with twelve configurations no seeds of two hosts alike make them, so ours are 24.8."""
    totals = plan(paper).to_json()["totals"]
    assert (totals["screening_hours"], totals["last_rung_hours"], totals["floor_hours"]) == (24.8, 144, 1)
    assert (totals["runs"], totals["floor_runs"]) == (112, 6)
    minutes = Fraction(252, 10) * 60 - 9 * 4 * 10 - 4 * 4 * 60  # what is left for 2 and 5 minutes
    at_five = [(minutes - 12 * 2 * seeds * 2) / 5 for seeds in (1, 2, 3)]
    assert all(runs > 0 and runs.denominator != 1 for runs in at_five)


def test_what_is_not_published_is_said_to_be_ours(paper):
    for ours in ("configuration", "seeds", "text", "rules", "one seed a host at 2 and 5 minutes", "A/A runs"):
        assert ours in paper.study.note.partition("Ours:")[2]
    assert "A stand-in" in paper.study.note
