"""The clock of the published protocol through the real dvc and git: seconds decide, and a run can still be repeated."""

from __future__ import annotations

import pytest

from stages.domain import canonical
from tests.hosts import mini


@pytest.mark.slow
def test_a_study_on_the_wall_clock_is_run_judged_verified_and_repeated(tmp_path):
    value = mini.params([0.1])
    value["clock"] = {"kind": "wall"}
    value["configs"] = {"d1-a": value["configs"]["d1-a"]}
    value["roles"] = {"reference": "d1-a"}
    for host in value["hosts"].values():
        host["flops_per_second"] = None
    repo = mini.frozen(tmp_path / "study", value)
    repo.dvc("repro")
    repo.commit("The evidence")

    lines = [canonical.loads(line) for line in (repo.root / "ledger" / "runs.jsonl").read_bytes().splitlines()]
    assert [line["status"] for line in lines] == ["finished"] * 2
    assert {line["budget"]["clock"] for line in lines} == {"wall"}
    assert all(line["facts"]["steps"] > 0 and line["facts"]["rated_seconds"] is None for line in lines)
    made = canonical.loads((repo.root / "artifacts" / "gates" / "gate1" / "decision.json").read_bytes())
    assert (made["outcome"], made["verdicts"]) == ("decided", {"R2": True})

    assert repo.promotion("verify").returncode == 0
    again = repo.promotion("replay", "rung1/d1-a/cpu-fp32/1")
    assert "identical" in again.stdout + again.stderr
    assert "its steps took" in again.stderr
    assert repo.git("status", "--porcelain") == "", "the ledger and the locks stay as they were"
