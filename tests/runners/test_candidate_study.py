"""A whole study of versions of a file in git: from a table of commits to evidence that is verified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.commands import candidates as command
from stages.domain import canonical
from tests.runners.foreign_study import create_study
from tests.runners.test_candidates import ROWS, AgentRepo, make_candidate_params
from tests.support.repo import Repo


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repo, list[str]]:
    """A study of four commits, of which the table keeps three: from results.tsv to the evidence, committed."""
    repo = create_study(
        tmp_path_factory.mktemp("candidates") / "study", make_candidate_params({"a": {"commit": "0" * 40}})
    )
    agent = AgentRepo(repo, (0.05, 0.1, 0.2, 0.3))
    table = agent.write_table(ROWS[0], (1, "0.9", "keep", "<b>faster</b>"), ROWS[2], (3, "0.8", "keep", "faster still"))
    reference = command.name_of(agent.commits[0])
    sections = make_candidate_params({"a": {}}) | {"roles": {"reference": reference}}
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items())
    (repo.root / "params.yaml").write_text(text, encoding="utf-8")
    repo.promotion("candidates", table, "--write")
    repo.python("-m", "stages.rungs")
    repo.dvc("repro", "corpus")
    repo.promotion("freeze")
    repo.commit("Freeze the rules")
    repo.dvc("repro")
    repo.commit("The evidence")
    return repo, agent.commits


@pytest.fixture
def copy(finished: tuple[Repo, list[str]], tmp_path: Path) -> Repo:
    """A copy that a test may change."""
    return finished[0].copy(tmp_path / "study")


@pytest.mark.slow
def test_versions_of_a_file_are_staged_and_verified(finished):
    repo, commits = finished
    repo.promotion("verify", "--depth", "artifacts")
    lines = (repo.root / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    runs = [canonical.loads_canonical(line) for line in lines]
    assert {run["spec"]["config"]["commit"] for run in runs if run["spec"]} == {commits[0], commits[1], commits[3]}
    assert len({run["facts"]["printed"] for run in runs if run["rung"] == "rung1"}) == 3
    page = (repo.root / "site" / "configs" / f"{command.name_of(commits[3])}.html").read_text(encoding="utf-8")
    assert "-RATE = 0.05" in page
    assert "+RATE = 0.3  # &lt;script&gt;" in page
    assert not list((repo.root / "scratch").rglob("checkout"))


@pytest.mark.slow
def test_another_commit_in_a_record_is_caught(copy, finished):
    commits = finished[1]
    copy.replace("ledger/runs.jsonl", commits[1], commits[2])
    done = copy.promotion("verify", check=False)
    assert done.returncode == 1
    assert "V13" in done.stdout


@pytest.mark.slow
def test_a_candidate_that_git_no_longer_holds_is_told(copy):
    copy.git("branch", "-q", "-D", "agent")
    copy.git("reflog", "expire", "--expire=now", "--all")
    copy.git("gc", "-q", "--prune=now")
    done = copy.promotion("verify", check=False)
    assert done.returncode == 1
    assert "V10" in done.stdout
    assert "names no commit here" in done.stdout


@pytest.mark.slow
def test_a_candidate_is_trained_from_git_whatever_lies_in_the_folder(copy, finished):
    (copy.root / "agent" / "train.py").write_text("raise SystemExit('not this one')\n", encoding="utf-8")
    name = command.name_of(finished[1][0])
    assert "identical" in copy.promotion("replay", f"rung1/{name}/any/1").stderr


@pytest.mark.slow
def test_try_trains_a_candidate(copy, finished):
    done = copy.promotion("try", command.name_of(finished[1][1]))
    assert "the same seed repeats exactly" in done.stdout
