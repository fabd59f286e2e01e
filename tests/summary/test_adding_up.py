"""What the evidence adds up to: device-hours, agreement, stability, metrics, and the views of them in a terminal."""

import json
import subprocess
import sys
from contextlib import chdir
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from stages import ledger
from stages.domain import canonical, names
from stages.domain.evidence import tau_b
from stages.domain.study import load
from stages.summary.accounting import UNRUN, counterfactual, hours
from stages.summary.plan import plan
from tests.support import synthetic
from tests.support.repo import PROJECT

HOURS_12 = 12 * 3600


@pytest.fixture(scope="module")
def summed(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("summed")
    synthetic.build(root)
    with chdir(root):
        ledger.main()
    return root


def read(root: Path, name: str) -> dict:
    return canonical.loads((root / names.SUMMARY / f"{name}.json").read_bytes())


def test_the_published_costs_come_out():
    assert hours(3 * 4, HOURS_12) == 144
    assert counterfactual("rung4", 4, 4, "rung5", HOURS_12).hours == 192
    assert counterfactual("rung3", 9, 4, "rung5", HOURS_12).hours == 432
    screening = hours(36, 120) + hours(24, 300) + hours(36, 600) + hours(16, 3600)
    assert screening == Fraction(252, 10) and screening + 144 == Fraction(1692, 10)


def test_a_counterfactual_says_that_it_is_no_evidence():
    assert UNRUN in counterfactual("rung4", 4, 4, "rung5", HOURS_12).text


def test_every_executed_run_counts_its_whole_budget_once(summed):
    reported = read(summed, "accounting")
    lines = (summed / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    runs = [canonical.loads_canonical(line) for line in lines]
    for rung, cost in reported["rungs"].items():
        mine = [run for run in runs if run["rung"] == rung]
        executed = sum(run["status"] == "finished" and run["purpose"] == "candidate" for run in mine)
        assert cost["executed_runs"] == executed
        assert cost["executed_hours"] == pytest.approx(executed * cost["budget_seconds"] / 3600)
        assert cost["stopped_runs"] == sum(run["status"] == "stopped" for run in mine)
        assert cost["missing_runs"] == 0


def test_agreement_is_scipys_tau_over_the_means_that_it_shows(summed):
    for rung in read(summed, "agreement")["rungs"].values():
        for pair in rung["pairs"]:
            one, two = pair["hosts"]
            means = [rung["means"][name] for name in sorted(rung["means"])]
            if len(means) > 1:
                expected = kendalltau([m[one] for m in means], [m[two] for m in means], variant="b").statistic
                assert pair["tau_b"] == pytest.approx(expected, abs=1e-9)
            turned = [
                {a, b}
                for a, b in combinations(sorted(rung["means"]), 2)
                if (rung["means"][a][one] - rung["means"][b][one]) * (rung["means"][a][two] - rung["means"][b][two]) < 0
            ]
            assert sorted(map(sorted, pair["inversions"])) == sorted(map(sorted, turned))


def test_stability_compares_only_what_both_rungs_saw(summed):
    for step in read(summed, "stability")["steps"]:
        ranks = step["ranks"].values()
        for side in (0, 1):
            assert sorted(rank[side] for rank in ranks) == sorted({rank[side] for rank in ranks})


def test_the_summaries_are_the_same_bytes_every_time(summed):
    before = {path.name: path.read_bytes() for path in (summed / names.SUMMARY).iterdir()}
    with chdir(summed):
        ledger.main()
    assert {path.name: path.read_bytes() for path in (summed / names.SUMMARY).iterdir()} == before


def test_missing_evidence_reads_as_missing_and_never_as_zero(tmp_path):
    synthetic.build(tmp_path)
    victim = next((tmp_path / names.RECORDS / "rung5").glob("d8-c007/*/*.json"))
    victim.unlink()
    with chdir(tmp_path):
        ledger.main()
    assert read(tmp_path, "accounting")["rungs"]["rung5"]["missing_runs"] == 1
    assert read(tmp_path, "agreement")["rungs"]["rung5"]["means"].get("d8-c007", {}).get(victim.parent.name) is None
    shown = json.loads((tmp_path / "ledger" / "metrics.json").read_text(encoding="utf-8"))
    assert shown["winner"] != "d8-c007"


numbers = st.lists(st.floats(1, 2), min_size=2, max_size=9, unique=True)


@given(numbers)
def test_a_ranking_agrees_with_itself_and_not_with_its_mirror(values):
    assert tau_b(values, values) == 1
    assert tau_b(values, [-value for value in values]) == -1


def test_tau_of_fewer_than_two_or_of_ties_alone_is_unknown():
    assert tau_b([1.0], [2.0]) is None
    assert tau_b([1.0, 1.0], [2.0, 3.0]) is None


def test_the_plan_of_the_published_protocol_costs_what_was_published():
    reported = json.dumps(plan(load(PROJECT / "studies" / "paper.yaml")).to_json())
    for published in ("144", "192", "432"):
        assert published in reported


def command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.cli", *words],
        cwd=root, capture_output=True, encoding="utf-8", env={"PYTHONPATH": str(PROJECT), "PATH": "", "COLUMNS": "140"},
    )  # fmt: skip


def test_status_shows_every_rung_and_the_next_step(summed):
    reported = command(summed, "status")
    assert reported.returncode == 0, reported.stderr
    for rung in ("rung1", "rung2", "rung3", "rung4", "rung5"):
        assert rung in reported.stdout
    assert "next:" in reported.stdout
    shown = json.loads(command(summed, "status", "--json").stdout)
    assert [one["rung"] for one in shown["rungs"]] == [f"rung{n}" for n in range(1, 6)]


def test_status_of_a_study_without_evidence_says_what_to_do_first(tmp_path):
    (tmp_path / "params.yaml").write_bytes((PROJECT / "studies" / "laptop.yaml").read_bytes())
    reported = command(tmp_path, "status")
    assert reported.returncode == 0, reported.stderr
    assert "not frozen" in reported.stdout and "next:" in reported.stdout


def test_plan_prices_a_study_before_anything_runs(tmp_path):
    (tmp_path / "params.yaml").write_bytes((PROJECT / "studies" / "laptop.yaml").read_bytes())
    reported = command(tmp_path, "plan")
    assert reported.returncode == 0, reported.stderr
    assert "at most" in reported.stdout and "unrun work" in reported.stdout


@pytest.mark.parametrize("form", [[], ["--mermaid"], ["--dot"]])
def test_dag_draws_one_node_a_rung_with_its_counts(summed, form):
    reported = command(summed, "dag", *form)
    assert reported.returncode == 0, reported.stderr
    assert sum("24 runs" in line for line in reported.stdout.splitlines()) >= 2


def test_dag_of_an_undecided_study_claims_no_promotion(tmp_path):
    (tmp_path / "params.yaml").write_bytes((PROJECT / "studies" / "laptop.yaml").read_bytes())
    reported = command(tmp_path, "dag").stdout
    assert "not frozen" in reported and "promoted" not in reported
