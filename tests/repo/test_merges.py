"""What git is in the middle of, and which files it has not merged."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stages.repo import merges
from tests.support.repo import environment, reading_git


def git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, env=environment(), capture_output=True, encoding="utf-8")
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two branches that changed one file, and of which one removed another."""
    git(tmp_path, "init", "-q", "-b", "main")
    for branch, text, gone in (("main", "first\n", ""), ("other", "theirs\n", "b"), ("main", "ours\n", "")):
        git(tmp_path, "checkout", "-q", *(["-b"] if branch == "other" else []), branch)
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "folder" / "a").write_text(text, encoding="utf-8")
        (tmp_path / "b").write_text(text, encoding="utf-8")
        if gone:
            (tmp_path / gone).unlink()
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-q", "-m", text)
    return tmp_path


def test_without_a_merge_nothing_is_to_be_ended_and_all_is_merged(root):
    with reading_git(root) as repository:
        assert merges.find_ending(repository) is None
        assert merges.list_unmerged(repository) == {}


@pytest.mark.parametrize(
    ("words", "ending"),
    [
        (("merge", "other"), "git commit --no-edit"),
        (("rebase", "other"), "git -c core.editor=true rebase --continue"),
        (("cherry-pick", "other"), "git -c core.editor=true cherry-pick --continue"),
        (("revert", "--no-edit", "HEAD~1"), "git -c core.editor=true revert --continue"),
    ],
)
def test_what_stopped_at_a_conflict_is_ended_by_its_own_command(words, ending, root):
    git(root, *words)
    with reading_git(root) as repository:
        assert merges.find_ending(repository) == ending


def test_unmerged_files_are_told_with_the_sides_that_have_them(root):
    git(root, "merge", "other")
    for place, head, inside in ((root, "", "folder/"), (root / "folder", "../", "")):  # by their paths from there
        with reading_git(place) as repository:
            expected = {f"{head}b": frozenset({1, 2}), f"{inside}a": frozenset({1, 2, 3})}
            assert merges.list_unmerged(repository) == expected
    assert (merges.OURS, merges.THEIRS) == (2, 3)
