"""What git says seldom: quarantined objects, ignored files, ids of two lengths."""

from __future__ import annotations

import os
import subprocess

import pytest

from stages.repo import git as git_module
from stages.repo import objects
from stages.repo.objects import GitRefused
from tests.support.repo import environment, reading_git

OID, TREE = "1" * 40, "2" * 40


def commit(tree: str = TREE, parents: tuple[str, ...] = (), more: bytes = b"", time: str = "7") -> bytes:
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author A <a@x> {time} +0000",
             f"committer A <a@x> {time} +0000"]  # fmt: skip
    return "\n".join(lines).encode() + b"\n" + more + b"\nwords\n"


def test_a_commit_is_read_with_its_tree_parents_and_time():
    parents = ("3" * 40, "4" * 40)
    data = commit(parents=parents)
    assert objects.parse_commit(OID, data) == objects.Commit(TREE, parents, 7, data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"tree x", "a commit whose head is not tree, parents, author and committer"),
        (commit(more=b"x\0y\n"), "a NUL in a commit"),
        (commit("2" * 64), "ids of two lengths in a commit"),
        (commit(parents=("3" * 64,)), "ids of two lengths in a commit"),
        (commit(time=str(objects._MAX_SECONDS + 1)), "a time that no clock has in a commit"),
    ],
)
def test_what_git_would_not_write_as_a_commit_is_refused(data, message):
    with pytest.raises(GitRefused) as error:
        objects.parse_commit(OID, data)
    assert message in str(error.value)


def test_the_last_second_of_git_is_read():
    assert objects.parse_commit(OID, commit(time=str(objects._MAX_SECONDS))).seconds == objects._MAX_SECONDS


def test_git_reads_the_objects_of_a_push_that_is_not_accepted_yet(monkeypatch, tmp_path):
    for name in ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", git_module._ALTERNATES):
        monkeypatch.delenv(name, raising=False)
    assert git_module._quarantined_objects() == {}
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "objects"))
    assert git_module._quarantined_objects() == {}
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(tmp_path / "objects"))
    assert git_module._quarantined_objects() == {git_module._ALTERNATES: str(tmp_path / "objects")}
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(tmp_path / "other"))
    monkeypatch.setenv(git_module._ALTERNATES, "more")
    folders = [str(tmp_path / "objects"), str(tmp_path / "other"), "more"]
    assert git_module._quarantined_objects() == {git_module._ALTERNATES: os.pathsep.join(folders)}


def test_a_folder_is_quoted_where_git_would_divide_it():
    quote = git_module._quote_folder
    assert quote("/a/b") == "/a/b"
    assert quote(f"/a{os.pathsep}b") == f'"/a{os.pathsep}b"'
    assert quote('"a\\') == '"\\"a\\\\"'


def test_ignored_files_are_those_that_git_leaves_out_and_does_not_hold(tmp_path):
    for words in (("init", "-q"), ("add", "-f", "held.tmp")):
        (tmp_path / ".gitignore").write_text("*.tmp\n", encoding="utf-8")
        (tmp_path / "held.tmp").write_bytes(b"")
        subprocess.run(["git", *words], cwd=tmp_path, env=environment(), check=True)
    with reading_git(tmp_path) as git:
        assert git.ignored(["held.tmp", "a.tmp", "b.txt"]) == {"a.tmp"}
        assert git.ignored(["b.txt"]) == frozenset()
        assert git.ignored([]) == frozenset()
