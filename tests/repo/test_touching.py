"""The commits that touched a path are those that git lists, and what stands in one another costs no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.repo.git import Git
from stages.repo.touching import list_touching, watch_paths
from tests.repo.test_folders import write_bomb, write_folder
from tests.repo.test_limits import empty, write_object
from tests.support.fuzzing import budget
from tests.verify.test_git_differential import FOLDERS, git, put_history, root

__all__ = ["empty", "root"]  # fixtures
#: A history whose commits mostly hold the same few things, so that merges bring nothing from one side or from both.
FEW = st.sampled_from([{}, {b"a": ("100644", b"x")}, {b"a": ("100755", b"x")}, {b"a": {b"b": ("100644", b"x")}}])
TREES = st.builds(
    lambda top, stages: top | ({b"stages": stages} if stages is not None else {}),
    st.builds(lambda a, b: a | {b"c": ("100644", b)}, FEW, st.sampled_from([b"1", b"2"])),
    st.none() | FEW | FOLDERS,
)


def without_empty_folders(folder: dict) -> dict:
    """What git looks at of a folder: the files in it."""
    inside = {name: without_empty_folders(item) if isinstance(item, dict) else item for name, item in folder.items()}
    return {name: item for name, item in inside.items() if item != {}}


DRAWN = st.lists(st.tuples(TREES, st.sets(st.integers(0, 7), max_size=3), st.integers(0, 3)), min_size=1, max_size=8)


@given(DRAWN)
@budget(60)
def test_they_are_those_that_git_lists(root: Path, history: list):
    oids = put_history(root, [(without_empty_folders(folder), *rest) for folder, *rest in history])
    head = oids[-1]
    words = ("rev-list", "--topo-order")
    reader = Git(root)
    try:
        for paths, built, specs in (
            (("a",), (), ("a",)),
            (("c", "stages"), (), ("c", "stages")),
            (("c",), ("a", "b"), ("c", ":(glob)stages/**/a", ":(glob)stages/**/b")),
        ):
            state_of = watch_paths(reader, paths, built)
            expected = git(root, *words, "--full-history", head, "--", *specs).decode().split()
            assert sorted(list_touching(reader, [head], state_of)) == sorted(expected)
            simplified = git(root, *words, head, "--", *specs).decode().split()
            listed = list_touching(reader, [head], state_of, simplified=True)
            assert sorted(listed) == sorted(simplified), (
                "git may order sides that know nothing of one another otherwise"
            )
            after = [(commit, parent) for commit in listed for parent in reader.ancestry(commit) if parent in listed]
            assert all(listed.index(commit) <= listed.index(parent) for commit, parent in after)
    finally:
        reader.close()


def test_of_a_range_those_that_differ_from_any_parent_are_listed(root: Path):
    a, b = {b"a": ("100644", b"1")}, {b"a": ("100644", b"2")}
    first, second, third, merge = put_history(root, [(a, set(), 0), (b, {0}, 0), (a, {0}, 0), (b, {1, 2}, 0)])
    reader = Git(root)
    try:
        state_of = watch_paths(reader, ("a",))
        assert list_touching(reader, [merge, f"^{first}"], state_of) == [merge, second]
        assert list_touching(reader, [third, f"^{first}"], state_of) == []
        assert list_touching(reader, [merge, f"^{second}"], state_of) == [merge]
        assert list_touching(reader, [first], state_of) == [first]
        assert list_touching(reader, [first], watch_paths(reader, ("x",), ("y",))) == []
    finally:
        reader.close()


@pytest.mark.timeout(60)
def test_folders_that_stand_in_one_another_ten_times_are_not_walked(empty: Path):
    who = "a <b> 1700000000 +0000"
    bomb = write_bomb(empty, write_folder(empty))
    tip = ""
    for stages in (bomb, write_folder(empty, ("40000 x", bomb))):
        tree = write_folder(empty, ("40000 stages", stages))
        parent = f"parent {tip}\n" if tip else ""
        tip = write_object(empty, "commit", f"tree {tree}\n{parent}author {who}\ncommitter {who}\n\nx\n".encode())
    reader = Git(empty)
    try:
        assert len(list_touching(reader, [tip], watch_paths(reader, ("stages",)))) == 2
        assert list_touching(reader, [tip], watch_paths(reader, ("locks",), ("dvc.lock",)), simplified=True) == []
    finally:
        reader.close()
