"""A range of commits: its bounds, what is compared with what, and which commits could change a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain.errors import Refused
from stages.repo.git import Git
from stages.repo.objects import GitAbsent
from stages.verify.commits import find_bounds, from_first_study, list_candidates, list_history, refuse_cut
from tests.repo.test_past_studies import commit, git
from tests.support.repo import reading_git

NONE, ELSEWHERE = "0" * 40, "1" * 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Commits 0, 1, 2 on main and 3 on a branch from 1: the tags c0 to c3. The study begins with 1."""
    root = tmp_path / "study"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    for number, path in enumerate(("README.md", "params.yaml", "docs/a.md", "ledger/runs.jsonl")):
        if number == 3:
            git(root, "checkout", "-q", "-b", "topic", "c1")
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(f"{number}\n", encoding="utf-8")
        commit(root, f"commit {number}")
        git(root, "tag", f"c{number}")
    return root


@pytest.fixture
def reader(root: Path) -> Iterator[Git]:
    with reading_git(root) as reader:
        yield reader


@pytest.fixture
def commits(root: Path) -> list[str]:
    return [git(root, "rev-parse", f"c{number}") for number in range(4)]


@pytest.mark.parametrize("revisions", ["", "c1", "c1..", "..", "c1...c2"])
def test_what_is_no_range_is_refused(reader, revisions):
    with pytest.raises(Refused, match=r"^--range .*: expected A\.\.B, two commits$"):
        find_bounds(reader, revisions, [])


def test_a_range_leaves_its_start_out_and_is_compared_with_where_the_two_parted(reader, commits):
    first = find_bounds(reader, "c0..c2", [])
    assert (first.last, first.excluded, first.base) == (commits[2], (commits[0],), commits[0])
    assert first.arguments == ["--end-of-options", commits[2], f"^{commits[0]}"]
    parted = find_bounds(reader, "c2..c3", ["c0"])
    assert (parted.last, parted.excluded, parted.base) == (commits[3], (commits[2],), commits[1])
    assert find_bounds(reader, f"{commits[2]}..topic", []) == parted


@pytest.mark.parametrize("start", ["", NONE, ELSEWHERE])
def test_where_the_start_is_not_here_what_is_known_is_left_out(reader, commits, start):
    everything = find_bounds(reader, f"{start}..c3", [])
    assert (everything.last, everything.excluded, everything.base) == (commits[3], (), None)
    known = find_bounds(reader, f"{start}..c3", ["c2", ELSEWHERE])
    assert (known.excluded, known.base) == ((commits[2],), commits[1])
    pushed = find_bounds(reader, f"{start}..c3", ["topic", "c2", "c0"])
    assert (pushed.excluded, pushed.base) == ((commits[2], commits[0]), commits[1]), "the branch itself says nothing"
    assert find_bounds(reader, f"{start}..c1", ["c3"]).excluded == ()


def test_a_start_that_is_a_name_and_not_here_is_refused(reader):
    with pytest.raises(Exception, match="nowhere"):
        find_bounds(reader, "nowhere..c2", ["c0"])


def test_commits_that_touch_nothing_of_a_study_are_left_out_and_the_oldest_come_first(reader, commits):
    assert list_candidates(reader, ["c2"]) == commits[:2]
    assert list_candidates(reader, ["c3"]) == [commits[0], commits[1], commits[3]]
    assert list_candidates(reader, ["c2", "^c1"]) == []
    assert list_history(reader, "c2") == [commits[1]]
    assert list_history(reader, "c3") == [commits[1], commits[3]]


@pytest.mark.parametrize(
    ("path", "verdict", "history"),
    [
        ("x", True, False),
        ("dvc.lock", True, True),
        ("params.yaml", True, True),
        ("docs/x", False, False),
        ("docs/dvc.lock", False, False),
        ("docs/__init__.py", True, False),
        ("docs/__init__.cpython-311.so", True, False),
        ("docs/a/__init__.py", False, False),
        ("docs/x__init__.py", False, False),
        ("locks/gate1.yaml", True, True),
        ("ledger/x", True, True),
        ("trainer/a/b", True, False),
        ("stages/a/b", True, False),
        ("stages/dvc.lock", True, True),
        ("stages/a/b/dvc.lock", True, True),
        ("stages/a/b/xdvc.lock", True, False),
    ],
)
def test_what_could_change_a_verdict_is_at_the_root_or_what_a_study_or_python_reads(root, path, verdict, history):
    git(root, "checkout", "-q", "-b", "more", "c2")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("new\n", encoding="utf-8")
    touching = commit(root, "more")
    with reading_git(root) as reader:
        assert list_candidates(reader, ["more", "^c2"]) == [touching] * verdict
        assert list_history(reader, "more")[1:] == [touching] * history
        git(root, "update-index", "--chmod=+x", path)
        git(root, "commit", "-q", "-m", "mode")
        again = git(root, "rev-parse", "HEAD")
        assert list_candidates(reader, ["more", "^c2"]) == [touching, again] * verdict, "a mode is looked at as well"


def test_in_a_study_below_the_top_what_is_elsewhere_changes_no_verdict(root):
    git(root, "checkout", "-q", "-b", "more", "c2")
    (root / "docs" / "params.yaml").write_text("x\n", encoding="utf-8")
    below = commit(root, "below")
    (root / "x").write_text("x\n", encoding="utf-8")
    commit(root, "elsewhere")
    with reading_git(root / "docs") as reader:
        assert list_candidates(reader, ["HEAD"])[-1] == list_history(reader, "HEAD")[-1] == below


def test_a_history_begins_with_the_first_commit_that_holds_a_study(reader, commits):
    assert from_first_study(reader, commits[:3]) == commits[1:3]
    with pytest.raises(Refused, match=r"no commit here holds a study: none has params\.yaml"):
        from_first_study(reader, commits[:1])


def test_commits_that_a_shallow_clone_hides_are_named_with_what_brings_them(root, tmp_path, reader, commits):
    refuse_cut(reader, ["c2"], "the range")
    git(root, "clone", "-q", "--depth", "1", "--branch", "topic", root.as_uri(), str(tmp_path / "shallow"))
    with reading_git(tmp_path / "shallow") as shallow:
        with pytest.raises(GitAbsent, match=f"^the range: this shallow clone is cut off at commit {commits[3][:12]}"):
            refuse_cut(shallow, [commits[3]], "the range")
        refuse_cut(shallow, [commits[3], f"^{commits[3]}"], "the range")


@pytest.mark.parametrize(
    ("shallow", "listed", "parents", "cut"),
    [
        ((), "a b", True, None),
        (("b", "a"), "a b", True, "a"),
        (("b",), "a b", True, "b"),
        (("c",), "a b", True, None),
        (("a",), "a b", False, None),  # it begins where the history begins
    ],
)
def test_a_range_is_cut_where_it_holds_a_commit_whose_parents_are_hidden(shallow, listed, parents, cut):
    asked: list[tuple[str, ...]] = []

    def ask(*words: str) -> str:
        asked.append(words)
        return listed

    git: Any = SimpleNamespace(
        shallow=frozenset(shallow), ask=ask, commit=lambda oid: SimpleNamespace(parents=("x",) if parents else ())
    )
    if cut is None:
        refuse_cut(git, ["r"], "it")
    else:
        with pytest.raises(GitAbsent) as absent:
            refuse_cut(git, ["r"], "it")
        assert (
            absent.value.reason == f"it: this shallow clone is cut off at commit {cut}, and what came before is hidden"
        )
        assert absent.value.enable == "git fetch --unshallow"
    assert asked == ([("rev-list", "r", "--")] if shallow else [])


def test_a_merge_counts_where_it_differs_from_a_parent_of_the_range_or_at_its_bounds(root):
    git(root, "checkout", "-q", "-b", "more", "c1")
    git(root, "merge", "-q", "--no-edit", "c2")  # docs alone
    git(root, "merge", "-q", "--no-edit", "topic")
    merge = git(root, "rev-parse", "HEAD")
    with reading_git(root) as reader:
        topic = git(root, "rev-parse", "topic")
        assert list_candidates(reader, ["more", "^c1"]) == [topic, merge]
        assert list_candidates(reader, ["more", f"^{topic}"]) == [merge], (
            "it brings the branch's ledger to the other side"
        )
        below = commit(root, "nothing")
        assert list_candidates(reader, ["more", f"^{merge}"]) == []
        assert below == git(root, "rev-parse", "more")
