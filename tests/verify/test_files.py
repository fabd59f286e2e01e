"""What V01 and V17 name and do not fail: it may be honest, and may as well be there to be taken for something else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from stages.repo.git import Git
from stages.repo.tree import WorkTree
from stages.verify import files
from stages.verify.check import Case, Options
from stages.verify.files import _OWN
from stages.verify.look_alikes import fold_name, is_short_name_of, loosen_name
from tests.support.repo import PROJECT, environment
from tests.verify.forger import Forger, failed

FOLDERS = "folders at the root with modules that nothing freezes: {}; runs cannot import them, but a trainer that is started in the root can"


def notes_of(clone: Forger, check: str) -> list[str]:
    results = clone.verify(clone.commit())
    assert failed(results) == []
    return [note for result in results if result.check.id == check for note in result.notes]


@pytest.mark.parametrize(
    ("path", "note"),
    [
        ("torchcomms/_comms.py", FOLDERS.format("torchcomms")),
        ("cuda/bindings/driver.py", FOLDERS.format("cuda")),
        ("triton/driver.cpython-311-x86_64-linux-gnu.so", FOLDERS.format("triton")),
        ("evilmod/x.pyw", FOLDERS.format("evilmod")),
        ("python311.zip", "at the root, and read by nothing here: python311.zip"),
        ("pyvenv.cfg", "at the root, and read by nothing here: pyvenv.cfg"),
        ("Dvcfile", "at the root, and read by nothing here: Dvcfile"),
        ("5tages/run.txt", "'5tages' at the root reads like stages, and nothing here reads it"),
        ("pararns.yaml", "'pararns.yaml' at the root reads like params.yaml, and nothing here reads it"),
        ("params.yml", "'params.yml' at the root reads like params.yaml, and nothing here reads it"),
        ("dvc.yml", "'dvc.yml' at the root reads like dvc.yaml, and nothing here reads it"),
    ],
)
def test_what_may_be_honest_is_named_and_does_not_fail(clone: Forger, path: str, note: str):
    clone.write(path, b"x = 1\n")
    clone.git("add", "-f", path)
    assert notes_of(clone, "V01") == [note]


@pytest.mark.parametrize("path", ["docs/page.md", "my-trainer/train.py", "data/text.txt", "test.sh", "params.md"])
def test_what_nobody_takes_for_anything_else_is_not_named(clone: Forger, path: str):
    clone.write(path, b"x = 1\n")
    assert notes_of(clone, "V01") == []


@pytest.mark.parametrize("path", ["mine/.dvcignore", "mine/.dvc/config"])
def test_files_of_dvc_in_a_folder_of_a_team_are_named(clone: Forger, path: str):
    clone.write(path, b"")
    clone.git("add", "-f", path)
    assert notes_of(clone, "V17") == [f"files of DVC that are none of the study's, which nothing here looks at: {path}"]


@pytest.mark.parametrize("git", [True, False])
def test_what_pip_leaves_where_the_program_was_installed_from_is_no_metadata_of_the_study(clone: Forger, git: bool):
    """In the workspace, where git ignores it; without git, under the project's own name."""
    own, other = "staged_promotion.egg-info", "torch_evil.egg-info"
    with (clone.root / ".git" / "info" / "exclude").open("a", encoding="utf-8") as exclude:
        exclude.write("*.egg-info\n")
    for folder in (own, other):
        clone.write(f"{folder}/entry_points.txt", b"")
    case = Case(clone.root, WorkTree(clone.root), Git(clone.root) if git else None, None, Options("git"))
    assert [problem.file for problem in files._metadata(case)] == ([] if git else [other])
    commit = replace(case, commit="a" * 40)
    assert sorted(problem.file for problem in files._metadata(commit)) == [own, other]


def test_names_of_the_study_are_told_apart():
    assert len({loosen_name(name) for name in _OWN}) == len({fold_name(name) for name in _OWN}) == len(_OWN)
    assert not any(is_short_name_of(name, own) for name in _OWN for own in _OWN)


@pytest.mark.parametrize("own", ["locks", "params.yaml", ".dvcignore"])
@pytest.mark.parametrize(
    "unseen", ["\u200b", "\u3164", "\u115f", "\uffa0", "\u2800", "\x7f", " ", "\t", "\n", "\u0301"]
)
def test_what_shows_nothing_changes_no_name(own: str, unseen: str):
    assert {fold_name(own[:at] + unseen + own[at:]) for at in range(len(own) + 1)} == {fold_name(own)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
@pytest.mark.parametrize("path", [b"trainer/b\xff.py", b"stages/b\xff.py", b"locks/b\xff.yaml", b"ledger/b\xff.jsonl"])
def test_a_name_that_is_no_utf8_is_named_and_breaks_nothing(clone: Forger, path: bytes):
    clone.write(os.fsdecode(path), b"x = 1\n")
    commit = clone.commit()
    for words in (["--rev", commit], ["--rev", commit, "--json"], ["--rev", commit, "--against", "HEAD~1"], []):
        done = promotion(clone, "verify", *words)
        assert (done.returncode, done.stderr) == (1, ""), done.stderr
        assert "b\\xff" in done.stdout or "b\\udcff" in done.stdout
    for command in ("status", "dag"):
        done = promotion(clone, command)
        assert "Traceback" not in done.stderr
        if path.startswith(b"trainer/"):
            expected = r"error: trainer/b\xff.py: found a name that is no UTF-8, expected one that is; rename it, or take it away"
            assert (done.returncode, done.stderr.strip()) == (2, expected)


def promotion(clone: Forger, *words: str) -> subprocess.CompletedProcess[str]:
    """The command line, by the code under test and not by the copy in the clone."""
    variables = environment() | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-P", "-m", "stages.cli", *words]
    return subprocess.run(command, cwd=clone.root, env=variables, capture_output=True, encoding="utf-8")


def test_a_folder_that_git_ignores_is_not_named_in_the_workspace(clone: Forger):
    clone.write("build/lib/x.py", b"x = 1\n")
    clone.write("mine/x.py", b"x = 1\n")
    (plain,) = (result for result in clone.verify(None) if result.check.id == "V01")
    assert plain.notes == (FOLDERS.format("mine"),)
