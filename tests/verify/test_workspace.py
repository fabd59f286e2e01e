"""What the workspace holds and no commit can: noted and not looked at; what could be committed or imported still fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.verify.forger import Forger
from tests.verify.test_command import as_json, statuses, verify

IGNORED = [
    "locks/.DS_Store", "locks/gate1.yaml~", "locks/.gate1.yaml.swp", "locks/#gate1.yaml#", "locks/__pycache__/notes",
    "locks/Thumbs.db", "ledger/runs.jsonl.orig", "ledger/.idea/workspace.xml", "ledger/plain name.bak",
    "stages/ladder/rung1/.DS_Store", "stages/notes.bak", "trainer/.ipynb_checkpoints/x.ipynb", "trainer/README.bak",
]  # fmt: skip
PATTERNS = (
    b".DS_Store\n*~\n*.swp\n\\#*\\#\n__pycache__\nThumbs.db\n*.orig\n.idea\n*.bak\n.ipynb_checkpoints\n"
    b"*.jsonl\n*.yaml\n*.so\nevil.py\n"
)


@pytest.fixture
def ignoring(clone: Forger) -> Iterator[Forger]:
    """A clone whose person ignores what editors and desktops leave behind, and more."""
    clone.write(".git/info/exclude", PATTERNS)
    yield clone
    clone.delete(".git/info/exclude")


@pytest.mark.parametrize("path", IGNORED)
def test_a_file_that_git_ignores_is_noted_and_does_not_fail(path, ignoring: Forger):
    before = verify(ignoring.root)
    ignoring.write(path, b"whatever\r\n\xff")
    report = as_json(ignoring.root)
    assert report["verdict"] == "verified", report
    files = report["checks"][0]
    assert files["notes"] == [f"{path!a} is not looked at: git ignores it, and no commit holds it"]
    assert {check["name"]: check["status"] for check in report["checks"]} == statuses(as_json(ignoring.root))
    assert before.returncode == 0


@pytest.mark.parametrize("path", IGNORED)
def test_the_same_file_in_a_commit_or_about_to_be_fails(path, clone: Forger):
    clone.write(path, b"whatever\n")
    clone.git("add", "-f", path)
    fails = not path.startswith("stages/")  # other files may lie there
    assert (verify(clone.root).returncode == 1) is fails
    clone.commit("It is in")
    assert (verify(clone.root, "--rev", "HEAD").returncode == 1) is fails
    assert (verify(clone.root).returncode == 1) is fails


@pytest.mark.parametrize("path", ["trainer/evil.so", "stages/evil.so", "locks/evil.py", "evil.py", "trainer/evil.py"])
def test_code_that_python_would_import_is_not_excused_by_being_ignored(path, ignoring: Forger):
    ignoring.write(path, b"import os\n")
    assert verify(ignoring.root).returncode == 1


def test_files_of_the_study_are_read_although_a_pattern_ignores_them(ignoring: Forger):
    ignoring.git("rm", "-q", "--cached", "ledger/runs.jsonl", "locks/gate1.yaml")
    assert as_json(ignoring.root)["checks"][0]["notes"] == []
    ignoring.run(lambda run: run["facts"].update(val_bpb=0.5))
    assert "failed at V15 decisions" in verify(ignoring.root).stdout


def test_an_ignored_link_is_noted(ignoring: Forger, tmp_path: Path):
    ignoring.path("locks/gate1.yaml~").symlink_to(tmp_path / "nowhere")  # as an editor that locks a file leaves it
    assert as_json(ignoring.root)["verdict"] == "verified"


def test_a_file_that_is_not_ignored_could_be_committed_and_fails(clone: Forger):
    clone.write("locks/gate1.yaml~", b"whatever\n")
    done = verify(clone.root)
    assert done.returncode == 1
    assert "failed at V01 plain-files" in done.stdout
