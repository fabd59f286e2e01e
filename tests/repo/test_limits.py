"""Hostile sizes: what is small and unpacks to much, and histories that branch, cost bounded memory and linear time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stages.domain.errors import Unreadable
from stages.repo import git as git_module
from stages.repo.git import Git, open_git
from stages.repo.history import History, HistoryState
from stages.repo.objects import GitRefused
from stages.repo.tree import MAX_SMALL, WorkTree
from tests.support.repo import environment


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A repository without a commit."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True, env=environment())
    return tmp_path


def write_object(root: Path, kind: str, data: bytes) -> str:
    """An object of git with this content; its id."""
    command = ["git", "hash-object", "-t", kind, "-w", "--stdin", "--literally"]
    done = subprocess.run(command, cwd=root, input=data, check=True, capture_output=True, env=environment())
    return done.stdout.decode("ascii").strip()


def commit_object(root: Path, message: bytes, *parents: str) -> str:
    """A commit with an empty folder and this message."""
    tree = write_object(root, "tree", b"")
    lines = "".join(f"parent {parent}\n" for parent in parents)
    who = "a <b> 1700000000 +0000"
    return write_object(root, "commit", f"tree {tree}\n{lines}author {who}\ncommitter {who}\n\n".encode() + message)


@pytest.mark.parametrize(("kind", "limit"), [("blob", "MAX_BLOB"), ("commit", "MAX_COMMIT")])
def test_an_object_that_unpacks_to_much_is_refused_by_its_size(empty, kind, limit):
    most = getattr(git_module, limit)
    oid = commit_object(empty, b"x" * most) if kind == "commit" else write_object(empty, kind, b"x" * (most + 1))
    git = Git(empty)
    try:
        with pytest.raises(Unreadable, match=f"object {oid}: .* bytes, expected at most {most}"):
            getattr(git, kind)(oid)
        other = write_object(empty, "blob", b"small")
        assert git.blob(other) == b"small"
    finally:
        git.close()


def test_folders_are_kept_up_to_so_many_bytes_of_them_those_that_were_read_last(empty, monkeypatch):
    blob = bytes.fromhex(write_object(empty, "blob", b"x"))
    trees = [write_object(empty, "tree", b"100644 %d\0" % n + blob) for n in range(5)]
    size = len(b"100644 0\0") + 20
    monkeypatch.setattr(git_module, "MAX_FOLDERS", 3 * size)
    git = Git(empty)
    asked = []
    monkeypatch.setattr(git, "read", lambda oid, *rest: (asked.append(oid), Git.read(git, oid, *rest))[1])
    try:
        for at in (0, 1, 2, 0, 1, 2, 0, 3):  # 3 takes the place of 0
            assert list(git.folder(trees[at])) == [str(at)]
        assert [trees.index(oid) for oid in asked] == [0, 1, 2, 3]
        for at in (2, 3, 1, 0, 2):  # 0 that of 1
            git.folder(trees[at])
        assert [trees.index(oid) for oid in asked] == [0, 1, 2, 3, 0]
        git.folder(trees[1])
        del asked[5:]
        monkeypatch.setattr(git_module, "MAX_FOLDERS", size - 1)
        assert [list(git.folder(trees[4])) for _ in range(3)] == [["4"]] * 3
        assert [trees.index(oid) for oid in asked[5:]] == [4], "one that is larger is kept alone"
        git.folder(trees[0])
        git.folder(trees[4])
        assert [trees.index(oid) for oid in asked[5:]] == [4, 0, 4]
    finally:
        git.close()


def test_a_command_of_git_that_does_not_end_is_ended(empty, monkeypatch):
    monkeypatch.setattr(git_module, "MAX_SECONDS", 0.5)
    git = Git(empty)
    assert git.ask("--version").startswith("git version"), "a quick one is not"
    with pytest.raises(GitRefused) as error:
        git.run("-c", "alias.wait=!sleep 60", "wait")
    assert str(error.value) == (
        "git -c: no end after 0.5 seconds, expected one in a fraction of them; "
        "`git count-objects -v` and `git fsck` tell more of the repository"
    )


@pytest.mark.skipif(os.name == "nt", reason="needs named pipes")
def test_a_pipe_in_the_place_of_an_object_is_not_waited_for_for_ever(empty, monkeypatch):
    oid = write_object(empty, "blob", b"x")
    other = write_object(empty, "blob", b"y")
    place = empty / ".git" / "objects" / oid[:2] / oid[2:]
    place.unlink()
    os.mkfifo(place)
    monkeypatch.setattr(git_module, "MAX_SECONDS", 0.5)
    git = Git(empty)
    try:
        with pytest.raises(GitRefused, match=f"^object {oid}: git gives no answer in 0.5 seconds"):
            git.blob(oid)
        assert git.blob(other) == b"y", "another reader answers"
    finally:
        git.close()


@pytest.mark.skipif(os.name == "nt", reason="needs named pipes")
def test_a_repository_whose_configuration_never_ends_is_not_taken_for_none(empty, monkeypatch):
    os.mkfifo(empty / ".git" / "pipe")
    with (empty / ".git" / "config").open("a", encoding="utf-8") as config:
        config.write("[include]\n\tpath = pipe\n")
    monkeypatch.setattr(git_module, "MAX_SECONDS", 0.5)
    with pytest.raises(GitRefused, match="git rev-parse: no end after 0.5 seconds"):
        open_git(empty)


def state(commit: str, *parents: str, lines: frozenset[bytes] = frozenset()) -> HistoryState:
    return HistoryState(commit, parents, {}, {}, frozenset(), lines, frozenset())


def test_a_line_of_merges_is_walked_once_each():
    """A walk that forgets where it has been takes a path for each way down: 2 to the power of 200."""
    states = [state("root")]
    for n in range(200):
        below = states[-1].commit
        states += [state(f"a{n}", below), state(f"b{n}", below), state(f"m{n}", f"a{n}", f"b{n}")]
    history = History({entry.commit: entry for entry in states})
    assert history.precedes(states[0], states[-1])
    assert not history.precedes(states[-1], states[0])
    assert not history.precedes(state("elsewhere"), states[-1])
    assert not history.precedes(states[-1], states[-1])


def test_the_states_that_brought_a_line_are_known():
    first, second = state("a", lines=frozenset({b"x"})), state("b", "a", lines=frozenset({b"x", b"y"}))
    third = state("c", lines=frozenset({b"y"}))
    history = History({entry.commit: entry for entry in (first, second, third)})
    assert {line: [entry.commit for entry in states] for line, states in history.states_of_lines.items()} == {
        b"x": ["a"],
        b"y": ["b", "c"],
    }


@pytest.mark.parametrize(
    "path", ["params.yaml", "locks/gate1.yaml", ".dvcignore", "dvc.yaml", "stages/ladder/rung1/a/dvc.yaml"]
)
def test_a_file_that_people_write_is_small(tmp_path, path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"\n" * MAX_SMALL)
    assert WorkTree(tmp_path).read(path) == b"\n" * MAX_SMALL
    (tmp_path / path).write_bytes(b"\n" * (MAX_SMALL + 1))
    with pytest.raises(Unreadable, match=f"{path}: {MAX_SMALL + 1} bytes, expected at most {MAX_SMALL}"):
        WorkTree(tmp_path).read(path)


def test_what_a_state_shares_with_a_parent_is_not_compared_again(monkeypatch):
    class Once(frozenset):
        """Lines that are not to be compared with themselves."""

        def difference(self, *others):
            assert not any(other is self for other in others)
            return frozenset(self).difference(*others)

    many = Once(b"%d" % n for n in range(3))
    first, second = state("a", lines=many), state("b", "a", lines=many)
    merge = state("m", "a", "b", lines=frozenset({*many, b"x"}))
    history = History({entry.commit: entry for entry in (first, second, merge)})
    assert [history.new_lines(entry) for entry in (first, second, merge)] == [many, frozenset(), {b"x"}]


def test_an_answer_about_a_path_is_kept_up_to_so_many_of_them(empty, monkeypatch):
    blob = bytes.fromhex(write_object(empty, "blob", b"x"))
    who = "a <b> 1700000000 +0000"
    tree = write_object(empty, "tree", b"100644 a\0" + blob)
    commit = write_object(empty, "commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nx\n".encode())
    monkeypatch.setattr(git_module, "MAX_PLACES", 1)
    git = Git(empty)
    asked = []
    monkeypatch.setattr(
        git, "top_entry", lambda commit, path: (asked.append(path), Git.top_entry(git, commit, path))[1]
    )
    try:
        for _ in range(2):
            assert [git.entry(commit, path) is not None for path in ("a", "b")] == [True, False]
        assert asked == ["a", "b", "b"]
    finally:
        git.close()
