"""The files of the workspace: what is listed, as what, and what is left out."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from stages.domain.errors import Unreadable
from stages.repo import checkout, tree
from stages.repo.git import Git
from stages.repo.objects import FILE, LINK, REPOSITORY
from stages.repo.tree import MAX_BYTES, MAX_CODE_FILE, MAX_LEDGER, MAX_SMALL, WorkTree, contents, limit_of
from tests.support.repo import Repo, reading_git


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def test_folders_of_other_programs_are_left_out_at_the_root_alone(tmp_path):
    put(tmp_path, "a", "locks/b", ".git/c", ".dvc/c", "artifacts/c", "site/c", "scratch/c", ".venv/c", "node_modules/c")
    put(tmp_path, "trainer/site/c", "ledger/node_modules/c", "locks/artifacts/c", "trainer/.dvc/c")
    expected = ["a", "ledger/node_modules/c", "locks/artifacts/c", "locks/b", "trainer/.dvc/c", "trainer/site/c"]
    assert WorkTree(tmp_path).paths() == expected
    assert WorkTree(tmp_path).paths("trainer") == ["trainer/.dvc/c", "trainer/site/c"]
    assert WorkTree(tmp_path).paths("train") == WorkTree(tmp_path).paths("none") == []


def test_what_python_compiles_for_itself_is_left_out_and_other_compiled_code_is_not(tmp_path):
    cached = "stages/__pycache__"
    own = [f"{cached}/a.cpython-311.pyc", f"{cached}/a.cpython-312.opt-2.pyc", f"{cached}/a.cpython-311-pytest-9.2.pyc",
           f"{cached}/a.cpython-311.pyc.14012"]  # fmt: skip
    strange = [f"{cached}/a.pyc", f"{cached}/a.so", f"{cached}/a.cpython-311.py", "stages/a.cpython-311.pyc"]
    put(tmp_path, *own, *strange)
    assert WorkTree(tmp_path).paths() == sorted(strange)


def test_links_and_other_repositories_are_named_as_what_they_are_and_not_entered(tmp_path):
    put(tmp_path, "real/a", "stages/other/.git/x", "stages/other/b", "stages/c")
    (tmp_path / "locks").symlink_to("real")
    (tmp_path / "stages" / "linked").symlink_to("../real/a")
    files = WorkTree(tmp_path)
    assert files.paths() == ["locks", "real/a", "stages/c", "stages/linked", "stages/other"]
    modes = {path: files.mode(path) for path in [*files.paths(), "locks/a", "stages", "none"]}
    assert modes == {"locks": LINK, "real/a": FILE, "stages/c": FILE, "stages/linked": LINK, "stages/other": REPOSITORY,
                     "locks/a": LINK, "stages": None, "none": None}  # fmt: skip
    for path in ("locks/a", "stages/linked"):
        with pytest.raises(Unreadable, match=f"{path}: a link, expected a file"):
            files.read(path)


def test_a_file_is_read_up_to_its_limit_and_what_is_none_is_refused(tmp_path, monkeypatch):
    put(tmp_path, "locks/gate1.yaml")
    files, size = WorkTree(tmp_path), len("locks/gate1.yaml")
    monkeypatch.setattr(tree, "MAX_SMALL", size)
    assert files.read("locks/gate1.yaml") == b"locks/gate1.yaml"
    assert files.read("none") is files.read("locks/gate1.yaml/below") is None
    monkeypatch.setattr(tree, "MAX_SMALL", size - 1)
    with pytest.raises(Unreadable, match=f"locks/gate1.yaml: {size} bytes, expected at most {size - 1}"):
        files.read("locks/gate1.yaml")
    with pytest.raises(Unreadable, match="locks: not a regular file"):
        files.read("locks")


@pytest.mark.parametrize(
    ("limit", "paths"),
    [
        (MAX_SMALL, ["locks/gate1.yaml", ".dvcignore", "params.yaml", "dvc.yaml", "stages/ladder/rung1/a/dvc.yaml"]),
        (MAX_LEDGER, ["ledger/runs.jsonl", "dvc.lock", "stages/ladder/rung1/a/dvc.lock", "locks/a.jsonl"]),
        (MAX_LEDGER, ["ledger/metrics.json", "ledger/README.md"]),
        (MAX_CODE_FILE, ["trainer/loop.py", "stages/run.py", "report/assets/x.css", "report/README.md"]),
        (MAX_BYTES, ["x/params.yaml", "my-dvc.yaml", "README.md", "trainer.py", "own/report/x"]),
    ],
)
def test_the_limit_of_a_file_is_that_of_its_kind(limit, paths):
    assert {limit_of(path) for path in paths} == {limit}


def test_a_file_that_git_ignores_is_left_out_unless_it_is_code_or_has_a_name_of_the_studys(tmp_path):
    repo = Repo(tmp_path)
    repo.git("init", "-q")
    put(
        tmp_path,
        "locks/gate1.yaml",
        "locks/gate1.yaml~",
        "stages/a.py",
        "stages/a.so",
        "ledger/runs.jsonl",
        "ledger/x.swp",
        "x~",
    )
    (tmp_path / ".gitignore").write_text("*\n", encoding="utf-8")
    files = WorkTree(tmp_path, Git(tmp_path))
    assert files.ignored == {"locks/gate1.yaml~", "ledger/x.swp"}
    assert files.paths() == [".gitignore", "ledger/runs.jsonl", "locks/gate1.yaml", "stages/a.py", "stages/a.so", "x~"]
    assert WorkTree(tmp_path).ignored == frozenset()
    assert dict(contents(files, "locks")) == {"gate1.yaml": b"locks/gate1.yaml"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path):
    (tmp_path / "locks").mkdir(mode=0)
    with pytest.raises(PermissionError):
        WorkTree(tmp_path).paths()


def test_a_tree_knows_its_title(tmp_path):
    repo = Repo(tmp_path)
    repo.git("init", "-q")
    put(tmp_path, "a")
    head = repo.commit("x")
    with reading_git(tmp_path) as git:
        assert tree.open_tree(tmp_path, git, head).title == f"commit {head[:12]}"
        assert tree.open_tree(tmp_path, git, None).title == "the workspace"
        assert isinstance(tree.open_tree(tmp_path, None, head), WorkTree)


@pytest.mark.skipif(os.name == "nt", reason="needs folders by their descriptor")
def test_folders_may_be_nested_deeper_than_python_calls_itself(tmp_path):
    path = tmp_path
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        for _ in range(1200):  # one by one: a path of all would be longer than some systems take
            os.mkdir("a", dir_fd=here)
            inner = os.open("a", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    finally:
        os.close(here)
    try:
        assert WorkTree(path).paths() == ["a/" * 1200 + "f"]
    finally:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(10_000)  # to take it away again, Python calls itself
        shutil.rmtree(path / "a")
        sys.setrecursionlimit(limit)


def test_a_gitignore_that_git_would_take_gigabytes_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkout, "MAX_GITIGNORE", 4)
    repo = Repo(tmp_path)
    repo.git("init", "-q")
    put(tmp_path, "stages/a/notes.txt")
    (tmp_path / "stages" / ".gitignore").write_bytes(b"*.t\n")
    with reading_git(tmp_path) as git:
        assert "stages/a/notes.txt" in WorkTree(tmp_path, git).paths()
        (tmp_path / "stages" / ".gitignore").write_bytes(b"*.tx\n")
        with pytest.raises(Unreadable, match=r"^stages/\.gitignore: 5 bytes, expected at most 4$"):
            WorkTree(tmp_path, git).paths()
