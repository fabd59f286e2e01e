"""Switching the study: nothing is lost that git does not hold, and nothing of the old study stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest

from stages import ledger, rungs
from stages.commands import study as command
from stages.domain import files
from stages.domain.errors import Refused
from stages.domain.study import load
from tests.support import repo as repos
from tests.support import synthetic
from tests.support.repo import PROJECT, environment


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], env=environment(), capture_output=True, encoding="utf-8", check=True)
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed repository with a finished study, in which the test stands."""
    root = tmp_path / "study"
    synthetic.build(root, synthetic.params(6, 2))
    monkeypatch.chdir(root)
    shutil.copytree(PROJECT / "studies", root / "studies")
    files.write_whole(root / ".gitignore", b"/artifacts/\n/site/\n")
    for path in (
        "dvc.lock",
        "stages/ladder/rung1/dvc.lock",
        "stages/ladder/rung5/dvc.lock",
        "ledger/runs.jsonl",
        "locks/gate1.yaml.sig",
    ):
        files.write_whole(root / path, b"x: 1\n")
    files.write_whole(root / "locks" / "README.md", b"what locks are\n")
    files.write_whole(root / "site" / "index.html", b"<html>")
    rungs.write_rungs(load())
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "a study")
    return root


def use(name: str, **options: bool) -> int:
    return command.use(command.find_study(name), **{"yes": True, "force": False, **options})


def test_the_new_study_starts_clean(clone, capsys):
    locks = len(list(Path("stages/ladder").rglob("dvc.lock")))
    assert use("smoke") == 0
    assert Path("params.yaml").read_bytes() == (PROJECT / "studies" / "smoke.yaml").read_bytes()  # comments and all
    assert [path.name for path in sorted(Path("locks").iterdir())] == ["README.md"]
    for gone in (
        "dvc.lock",
        "artifacts",
        "site",
        "ledger/runs.jsonl",
        "stages/ladder/rung1/dvc.lock",
        "stages/ladder/rung4",
    ):
        assert not Path(gone).exists(), gone
    for file in rungs.pipeline_files(load(), "rung3"):
        assert Path(file.path).read_bytes().decode("utf-8") == file.text
    reported = capsys.readouterr().out
    assert "differs in data: the corpus, and with it all evidence" in reported
    assert "will be cleared: locks/gate5.yaml" in reported
    assert f"  will be cleared: {locks} dvc.lock files in stages/ladder\n" in reported
    assert reported.count("stages/ladder") == 1
    assert "params.yaml is now smoke" in reported


def test_git_keeps_the_old_study(clone):
    before = git("ls-files")
    use("smoke")
    git("checkout", "-q", ".")
    assert git("ls-files") == before
    assert Path("locks/gate5.yaml").is_file()


@pytest.mark.parametrize(
    "path", ["params.yaml", "locks/gate2.yaml", "ledger/runs.jsonl", "dvc.lock", "stages/ladder/rung1/dvc.lock"]
)
def test_uncommitted_changes_are_refused_unless_forced(clone, path):
    with Path(path).open("ab") as file:
        file.write(b"# changed\n")
    with pytest.raises(Refused, match="uncommitted changes would be lost") as refused:
        use("smoke")
    assert path in str(refused.value)
    assert Path("locks/gate1.yaml").exists()
    assert use("smoke", force=True) == 0


def test_nothing_is_cleared_unless_somebody_agrees(clone, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "n")
    before = Path("params.yaml").read_bytes()
    assert use("smoke", yes=False) == 1
    assert Path("params.yaml").read_bytes() == before
    assert Path("artifacts").is_dir()
    assert "nothing was changed" in capsys.readouterr().out
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: pytest.fail("it asked nobody"))
    with pytest.raises(Refused, match="nobody to ask: --yes agrees to what is listed above"):
        use("smoke", yes=False)
    assert Path("artifacts").is_dir()


def test_an_invalid_study_changes_nothing(clone):
    bad = Path("studies/bad.yaml")
    bad.write_text("study: {schema: 1}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"studies/bad\.yaml"):
        use("bad", force=True)
    assert Path("locks/gate1.yaml").exists()


def test_a_study_may_come_from_a_file_elsewhere_and_the_same_one_again_is_nothing_to_do(clone, tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_bytes((PROJECT / "studies" / "smoke.yaml").read_bytes().replace(b"name: smoke", b"name: mine"))
    assert use(str(mine)) == 0
    assert use(str(mine), force=True) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_the_same_study_starts_afresh_once_somebody_agrees(clone, monkeypatch, capsys):
    Path("studies/mine.yaml").write_bytes(Path("params.yaml").read_bytes())
    git("add", "-A")
    git("commit", "-q", "-m", "the study as a file")
    before = Path("params.yaml").read_bytes()
    assert use("mine") == 0
    assert Path("locks/gate1.yaml").exists(), "nothing to do"
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(Refused, match="--yes agrees to what is listed above"):
        use("mine", yes=False, afresh=True)
    assert Path("locks/gate1.yaml").exists()
    assert use("mine", afresh=True) == 0
    for gone in ("locks/gate1.yaml", "dvc.lock", "artifacts", "ledger/runs.jsonl", "stages/ladder/rung5/dvc.lock"):
        assert not Path(gone).exists(), gone
    assert Path("params.yaml").read_bytes() == before
    assert Path("stages/ladder/rung5/dvc.yaml").exists()
    assert 'promotion freeze --amend --reason "..."' in capsys.readouterr().out  # git holds its evidence


def test_runs_that_only_a_cache_knows_are_not_restored_unseen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command._next_steps(command.read(PROJECT / "studies" / "smoke.yaml")[1], again=True)
    reported = capsys.readouterr().out
    assert "`promotion freeze`" in reported and "`dvc repro --no-run-cache`" in reported


def test_an_unknown_study_names_the_known_ones(clone):
    with pytest.raises(Refused, match=r"no such study, and no such file; ready studies: .*paper.*smoke"):
        command.find_study("unheard-of")


def test_the_ready_studies_are_listed_and_shown(clone, capsys):
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["list"])) == 0
    assert (
        "paper        Staged promotion at the published budgets: 12 configurations, 2 hosts" in capsys.readouterr().out
    )
    assert command.run(parser.parse_args(["show", "paper"])) == 0
    assert "A stand-in for the study of arXiv:2606.11387" in capsys.readouterr().out


def test_past_studies_are_listed_with_commit_and_outcome_and_the_present_one_is_marked(clone, capsys):
    with chdir(clone):
        ledger.main()
    git("add", "-A")
    git("commit", "-q", "-m", "the ledger")
    commit = git("rev-parse", "HEAD").strip()
    use("smoke")
    capsys.readouterr()
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["list"])) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"  synthetic    {commit[:12]}  6-6-4-")
    assert "has the lowest mean; R4 " in line
    assert command.run(parser.parse_args(["list", "--json"])) == 0
    value = json.loads(capsys.readouterr().out)
    assert [past["name"] for past in value["past"]] == ["synthetic"]
    assert value["past"][0]["commit"] == commit
    assert not value["past"][0]["present"]
    git("checkout", "-q", ".")
    assert command.run(parser.parse_args(["list"])) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("* synthetic")


@pytest.mark.slow
def test_a_switched_repository_is_one_that_dvc_can_run(tmp_path):
    repo = repos.create(tmp_path / "study")
    value = (repo.root / "params.yaml").read_text(encoding="utf-8").replace("name: smoke", "name: other")
    two = value[: value.index("  rung3:")] + value[value.index("\ngates:") :]
    (repo.root / "other.yaml").write_text(two[: two.index("  gate3:")], encoding="utf-8")
    repo.promotion("study", "use", "other.yaml", "--yes")
    listed = repo.dvc("stage", "list", "--all", "--name-only").stdout
    assert "stages/ladder/rung2/d2-a/dvc.yaml:run@cpu-bf16-2" in listed
    assert "rung3" not in listed


def test_a_lock_of_an_earlier_layout_counts_as_well(clone):
    files.write_whole(Path("stages/rung1/dvc.lock"), b"x: 1\n")
    with pytest.raises(Refused, match="uncommitted changes would be lost") as refused:
        use("smoke")
    assert "stages/rung1/" in str(refused.value)
    git("add", "-A")
    git("commit", "-q", "-m", "an earlier layout")
    use("smoke")
    assert not Path("stages/rung1").exists()
