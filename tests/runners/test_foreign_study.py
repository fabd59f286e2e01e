"""A whole study of a trainer that is not this project's: params.yaml to site and `promotion verify`, forged and caught."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.domain import canonical
from tests.runners.foreign_study import create_study, run_study
from tests.support.repo import Repo

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """The study, run once; read it or take a copy."""
    repo = create_study(tmp_path_factory.mktemp("foreign") / "study")
    run_study(repo)
    return repo


@pytest.fixture
def copy(finished: Repo, tmp_path: Path) -> Repo:
    """A copy that a test may change."""
    return finished.copy(tmp_path / "study")


def records(repo: Repo) -> list[dict]:
    lines = (repo.root / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    return [canonical.loads_canonical(line) for line in lines]


def test_the_study_verifies_with_everything_that_can_be_checked(finished):
    done = finished.promotion("verify", "--depth", "artifacts", "--json")
    assert "follow from nothing that is recorded" in done.stdout
    assert finished.promotion("verify", "--range", "HEAD~2..HEAD").returncode == 0
    assert finished.git("status", "--porcelain") == ""
    assert "Data and pipelines are up to date" in finished.dvc("status").stdout


def test_every_ending_stands_in_the_ledger_with_its_reason(finished):
    first = {run["config"]: (run["status"], run["reason"]) for run in records(finished) if run["rung"] == "rung1"}
    assert first["small"] == ("finished", None)
    assert first["broken"] == ("diverged", "its val_loss is nan")
    assert first["greedy"][0] == "failed"
    assert {run["config"] for run in records(finished) if run["status"] == "stopped"} == {"broken", "greedy"}


def test_the_metric_has_its_own_name_wherever_it_is_shown(finished):
    pages = [path for path in (finished.root / "site").rglob("*") if path.suffix in (".html", ".csv", ".json", ".js")]
    named = [
        path.name for path in pages if path.name != "plotly.min.js" and "val_bpb" in path.read_text(encoding="utf-8")
    ]
    assert named == []
    assert "what the trainer reports as its score, in nats/token" in (finished.root / "site" / "index.html").read_text(
        encoding="utf-8"
    )
    assert "val_loss" in finished.promotion("status").stdout
    assert "winner_val_loss" in (finished.root / "ledger" / "metrics.json").read_text(encoding="utf-8")
    decisions = (finished.root / "ledger" / "decisions.jsonl").read_text(encoding="utf-8")
    assert "val_bpb" not in decisions


def test_the_pages_say_nothing_that_is_true_of_the_built_in_runner_alone(finished):
    site = finished.root / "site"
    pages = "".join(path.read_text(encoding="utf-8") for path in sorted(site.rglob("*.html")))
    for text in ("<b>wall clock</b>", "trainer/", "vocabulary of", "Locked split", "nats per token"):
        assert text not in pages
    assert "left facts" not in pages
    assert "FLOPs per token" not in (site / "configs.html").read_text(encoding="utf-8")
    method = (site / "method.html").read_text(encoding="utf-8")
    assert "<b>given clock</b>" in method
    assert "model is that of" not in method
    assert "its runs report 1 machine" in method
    assert "score.line" in method


def test_a_run_is_repeated_to_the_same_record(finished):
    assert "identical" in finished.promotion("replay", "rung3/small/any/4").stderr


def test_a_score_that_was_improved_is_caught_by_its_printed_form(copy):
    copy.replace("ledger/runs.jsonl", '"score":1.00', '"score":0.90')
    done = copy.promotion("verify", check=False)
    assert done.returncode == 1
    assert "V14" in done.stdout


def test_another_command_line_is_caught(copy):
    copy.replace("ledger/runs.jsonl", '"--steps=5"', '"--steps=50"')
    done = copy.promotion("verify", check=False)
    assert done.returncode == 1
    assert "V13" in done.stdout
    assert "/spec/argv" in done.stdout


def test_another_trainer_is_caught_and_trains_nothing(copy):
    copy.replace("small/train.py", "import argparse", "import argparse  # better")
    done = copy.promotion("verify", check=False)
    assert done.returncode == 1
    assert "V10" in done.stdout
    again = copy.python("-m", "stages.run", "rung1", "small", "any", "1", check=False)
    assert again.returncode == 2
    assert "runner.files: found sha256" in again.stderr


def test_a_log_that_was_exchanged_is_caught(copy):
    from stages.runners.output import compress

    trace = copy.root / "artifacts" / "traces" / "rung3" / "small" / "any" / "4"
    (trace / "log.txt.gz").chmod(0o644)
    (trace / "log.txt.gz").unlink()
    (trace / "log.txt.gz").write_bytes(compress("val_loss: 0.5\n"))
    done = copy.promotion("verify", "--depth", "artifacts", check=False)
    assert done.returncode == 1
    assert "V26" in done.stdout


def test_other_data_is_caught(copy):
    (copy.root / "data" / "text.txt").write_text("other data\n", encoding="utf-8")
    done = copy.promotion("verify", "--depth", "artifacts", check=False)
    assert done.returncode == 1
    assert "V27" in done.stdout
