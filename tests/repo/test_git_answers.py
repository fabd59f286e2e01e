"""What git is asked and answers, whole: objects, paths, ancestors, and each refusal with what helps."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.domain.errors import Unreadable
from stages.repo import git as module
from stages.repo import tree as trees
from stages.repo.checkout import list_left_out
from stages.repo.folders import list_files, list_inside
from stages.repo.git import Git, object_id, open_git, verify_object, why_no_git
from stages.repo.objects import EXECUTABLE, FILE, FOLDER, LINK, Entry, GitAbsent, GitRefused
from stages.repo.tree import CommitTree, WorkTree, contents, file_md5, open_tree
from tests.repo.test_history import commit, git, root, write
from tests.support.repo import environment, reading_git

__all__ = ["commit", "root"]


@pytest.fixture
def repository(root: Path) -> Iterator[Git]:
    with reading_git(root) as reading:
        yield reading


def message(call: Any) -> str:
    with pytest.raises(GitRefused) as error:
        call()
    return str(error.value)


LIKE, LONG = "0" * 40, "0" * 64
BLOB = object_id("blob", b"x\n", LIKE)


def test_an_object_has_the_id_of_its_kind_and_content():
    assert object_id("blob", b"x\n", LIKE) == hashlib.sha1(b"blob 2\0x\n").hexdigest()
    assert object_id("tree", b"", LONG) == hashlib.sha256(b"tree 0\0").hexdigest()
    assert verify_object(BLOB, "blob", b"x\n") == b"x\n"
    assert message(lambda: verify_object(BLOB, "blob", b"y\n")) == (
        f"object {BLOB}: found another content than its id names, expected its own: the repository was tampered with; "
        "clone it anew"
    )


@pytest.mark.skipif(os.name == "nt", reason="a file has no mode there")
def test_files_folders_and_links_of_a_commit_are_found_by_their_path(root: Path, commit: Any, repository: Git):
    write(root, {"a/b/c": b"x\n", "a/d": b"x\n"})
    (root / "a" / "d").chmod(0o755)
    (root / "link").symlink_to("a")
    head = commit({})
    c, d, link = Entry(FILE, BLOB), Entry(EXECUTABLE, BLOB), Entry(LINK, object_id("blob", b"a", LIKE))
    assert list_files(repository, head) == {"a/b/c": c, "a/d": d, "link": link}
    folder = repository.entry(head, "a")
    assert folder is not None and folder.mode == FOLDER
    assert list_inside(repository, folder.oid) == {"b/c": c, "d": d}
    assert [repository.entry(head, path) for path in ("a/b/c", "a/d", "link", "a//d/")] == [c, d, link, d]
    assert [repository.entry(head, path) for path in ("z", "a/z", "link/b", "a/d/e", "a/b/c/d")] == [None] * 5
    top = repository.entry(head, "")
    assert top == Entry(FOLDER, git(root, "rev-parse", "HEAD^{tree}"))
    with reading_git(root / "a") as inner:
        assert (inner.prefix, repository.prefix) == ("a/", "")
        assert list_files(inner, head) == {"b/c": c, "d": d}
        assert inner.entry(head, "d") == inner.top_entry(head, "a/d") == d
        assert inner.top_entry(head, "d") is None
    with reading_git(root / "a" / "b") as inner:
        other = commit({"a/b/c": None})
        assert list_files(inner, other) == {}


def test_ancestors_come_parents_first_and_in_the_order_of_the_parents(root: Path, commit: Any, repository: Git):
    base = commit({"a": b"1"})
    git(root, "checkout", "-q", "-b", "other")
    theirs = commit({"b": b"1"})
    git(root, "checkout", "-q", "main")
    ours = commit({"c": b"1"})
    git(root, "merge", "-q", "--no-edit", "other")
    merge = git(root, "rev-parse", "HEAD")
    assert list(repository.ancestry(merge)) == [base, ours, theirs, merge]
    assert repository.commit(merge).parents == (ours, theirs)
    assert repository.head == merge
    assert (repository.merge_base("main", "other"), repository.merge_base(ours, theirs)) == (theirs, base)
    git(root, "checkout", "-q", "--orphan", "alone")
    alone = commit({"d": b"1"})
    assert repository.merge_base(alone, ours) is None
    assert repository.merge_base(ours, "0" * 40) is None
    assert list(repository.ancestry(alone)) == [alone]


@pytest.mark.parametrize("rev", ["", "  ", "-x", "--all"])
def test_what_is_no_revision_is_named_with_what_one_is(repository: Git, rev: str):
    assert message(lambda: repository.resolve(rev)) == f"{rev!r} is no revision; name a commit, a tag or a branch"


def test_a_revision_is_a_commit_here_or_one_that_may_be_fetched(
    root: Path, commit: Any, repository: Git, tmp_path: Path
):
    first, head = commit({"a": b"1"}), commit({"a": b"2"})
    git(root, "tag", "-a", "-m", "x", "v1", first)
    assert [repository.resolve(rev) for rev in ("HEAD", "HEAD~1", "v1", head[:12])] == [head, first, first, head]
    assert (repository.holds("v1"), repository.holds("v2"), repository.holds(f"{head}:a")) == (True, False, False)
    assert message(lambda: repository.resolve("v2")) == "'v2' names no commit here; `git fetch` may bring it"
    git(root, "clone", "-q", "--depth", "1", f"file://{root}", str(tmp_path / "shallow"))
    with reading_git(tmp_path / "shallow") as shallow:
        assert (shallow.shallow, repository.shallow) == ({head}, frozenset())
        assert message(lambda: shallow.resolve(first)) == (
            f"{first!r} names no commit here; `git fetch --unshallow` may bring it"
        )
        assert list(shallow.ancestry(head)) == [head]


def test_what_is_not_here_is_told_with_the_command_that_brings_it(
    root: Path, commit: Any, repository: Git, tmp_path: Path
):
    head = commit({"a": b"1"})
    missing = "1" * 40
    with pytest.raises(GitAbsent) as error:
        repository.blob(missing)
    assert (error.value.reason, error.value.enable) == (
        *(f"object {missing} is not in this repository", "git fetch --refetch --no-filter"),
    )
    assert repository.partial is False
    git(root, "config", "uploadpack.allowFilter", "true")
    git(root, "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{root}", str(tmp_path / "partial"))
    with reading_git(tmp_path / "partial") as partial:
        assert partial.partial is True
        entry = partial.entry(head, "a")
        assert entry is not None
        assert message(lambda: partial.blob(entry.oid)) == (
            f"object {entry.oid} is not in this repository: a partial clone, whose rest is not fetched unasked; "
            "`git fetch --refetch --no-filter` brings it"
        )
        assert message(lambda: partial.md5(entry.oid)).startswith(f"object {entry.oid} is not in this repository: a")
        tree = CommitTree(partial, head)
        assert message(lambda: tree.read("a")) == (
            f"a of commit {head[:12]}: object {entry.oid} is not in this repository: a partial clone, whose rest is not "
            "fetched unasked; `git fetch --refetch --no-filter` brings it"
        )


def test_what_git_refuses_is_told_in_its_words(root: Path, repository: Git):
    assert message(lambda: repository.ask("rev-parse", "--verify", "nothing", "more")).startswith(
        "git rev-parse --verify nothing: fatal: "
    )
    assert message(lambda: repository.ask("config", "--get", "no.such")) == "git config --get no.such: exit status 1"
    assert repository.ask("hash-object", "--stdin", stdin=b"x\n") == f"{BLOB}\n"
    assert repository.ask("config", "--list", "--name-only") != ""


def test_an_object_of_another_kind_or_size_is_refused_and_the_reader_goes_on(root: Path, commit: Any, repository: Git):
    head = commit({"a": b"x\n"})
    assert message(lambda: repository.read(BLOB, "tree")) == f"object {BLOB}: found a blob, expected a tree"
    assert message(lambda: repository.commit(BLOB)) == f"object {BLOB}: found a blob, expected a commit"
    assert repository.read(BLOB, "blob", 2) == b"x\n"
    for read in (lambda: repository.read(BLOB, "blob", 1), lambda: repository.md5(BLOB, 1)):
        with pytest.raises(Unreadable) as error:
            read()
        assert str(error.value) == f"object {BLOB}: 2 bytes, expected at most 1"
    assert repository.blob(BLOB) == b"x\n"
    with pytest.raises(Unreadable):
        repository.blob(BLOB, 1)
    assert repository.md5(BLOB) == (hashlib.md5(b"x\n").hexdigest(), 2)
    with pytest.raises(Unreadable):
        repository.md5(BLOB, 1)
    assert repository.md5(BLOB, 2)[1] == 2
    assert repository.read(head, "commit").startswith(b"tree ")
    reader = repository._reader
    assert reader is not None and reader.returncode is None
    repository.close()
    assert repository._reader is None and reader.returncode is not None, "nobody waited for its end"
    repository.close()


def test_small_files_are_kept_up_to_so_many_bytes_of_them(
    root: Path, commit: Any, repository: Git, monkeypatch: pytest.MonkeyPatch
):
    sizes = {"a": 4, "b": 5, "c": 4, "d": 2, "e": 1}
    head = commit({name: name.encode() * size for name, size in sizes.items()})
    monkeypatch.setattr(module, "SMALL_BLOB", 4)
    monkeypatch.setattr(module, "MAX_SMALL_BLOBS", 10)
    oids = {name: entry.oid for name, entry in list_files(repository, head).items()}
    for name, oid in oids.items():
        assert repository.blob(oid) == name.encode() * sizes[name]
    assert set(repository._blobs) == {oids[name] for name in "acd"}
    assert repository._blob_bytes == 10
    repository.close()
    assert repository.blob(oids["a"]) == b"aaaa"
    assert repository._reader is None, "it was kept"


def test_the_digest_of_a_file_is_read_in_blocks_and_its_content_is_what_its_id_names(
    root: Path, commit: Any, repository: Git, monkeypatch: pytest.MonkeyPatch
):
    data = b"0123456789" * 3
    head = commit({"a": data, "b": b"", "c": b"x\n"})
    monkeypatch.setattr(module, "BLOCK", 7)
    oids = {name: entry.oid for name, entry in list_files(repository, head).items()}
    assert repository.md5(oids["a"]) == (hashlib.md5(data).hexdigest(), 30)
    assert repository.md5(oids["b"]) == (hashlib.md5(b"").hexdigest(), 0)
    assert repository.md5(oids["c"]) == (hashlib.md5(b"x\n").hexdigest(), 2)
    assert repository.blob(oids["a"]) == data
    path = root / ".git" / "objects" / oids["a"][:2] / oids["a"][2:]
    other = root / ".git" / "objects" / oids["c"][:2] / oids["c"][2:]
    path.chmod(0o644)
    path.write_bytes(other.read_bytes())
    with reading_git(root) as spoilt:
        assert "found another content than its id names" in message(lambda: spoilt.md5(oids["a"]))
        assert "found another content than its id names" in message(lambda: spoilt.blob(oids["a"]))
    path.write_bytes(b"rubbish")
    with reading_git(root) as spoilt:
        assert message(lambda: spoilt.blob(oids["a"])) == (
            f"object {oids['a']}: git cannot read it: the repository is damaged; `git fsck` tells more"
        )


def test_objects_are_read_in_groups_of_so_many_bytes_and_larger_ones_alone(
    root: Path, commit: Any, monkeypatch: pytest.MonkeyPatch
):
    commits = [commit({}) for _ in range(5)]
    size = int(git(root, "cat-file", "-s", "HEAD"))
    first = int(git(root, "cat-file", "-s", commits[0]))
    monkeypatch.setattr(module, "MAX_GROUP", 2 * size)
    with reading_git(root) as repository:
        asked = [*commits, "0" * 40, git(root, "rev-parse", "HEAD^{tree}")]
        groups = list(repository.read_groups(asked, "commit"))
        assert [list(group) for group in groups] == [commits[:2], commits[2:4], commits[4:]]
        assert all(repository.read(oid, "commit") == data for group in groups for oid, data in group.items())
        monkeypatch.setattr(module, "MAX_GROUP", 2 * size - 1)
        assert [len(group) for group in repository.read_groups(commits, "commit")] == [2, 1, 1, 1]
        monkeypatch.setattr(module, "MAX_GROUP", first)
        assert [list(group) for group in repository.read_groups(commits, "commit")] == [[commits[0]]]
        assert list(repository.ancestry(commits[-1])) == commits, "those are read one by one"
        assert list(repository.read_groups([], "commit")) == [{}]


def test_a_sparse_checkout_leaves_files_out_and_a_whole_one_none(root: Path, commit: Any):
    commit({"a/x": b"1", "b/y": b"2", "c/z": b"3"})
    with reading_git(root) as repository:
        assert list_left_out(repository, "a", "b", "c") == []
    git(root, "sparse-checkout", "set", "a")
    write(root, {"c/z": b"put back by hand"})
    with reading_git(root) as repository:
        assert list_left_out(repository, "a", "b", "c") == ["b/y"]
        assert list_left_out(repository, "a") == []


def test_a_repository_without_a_working_tree_is_bare(root: Path, commit: Any, tmp_path: Path):
    head = commit({"a": b"x\n"})
    git(root, "clone", "-q", "--bare", str(root), str(tmp_path / "bare"))
    with reading_git(tmp_path / "bare") as bare, reading_git(root) as repository:
        assert (bare.bare, repository.bare) == (True, False)
        assert bare.head == head
        assert list_files(bare, head) == {"a": Entry(FILE, BLOB)}


def test_a_folder_is_in_a_repository_or_in_none(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (root / "inside").mkdir()
    for folder, known in ((root, True), (root / "inside", True), (tmp_path, False)):
        opened = open_git(folder)
        assert (opened is not None) is known
    assert why_no_git(tmp_path) == "this is not a git repository"
    monkeypatch.setattr(module, "environment", lambda: environment() | {"PATH": str(tmp_path / "nothing")})
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert open_git(root) is None and open_git(tmp_path, required=True) is None
    assert why_no_git(root / "inside") == "git is not installed"
    with pytest.raises(GitRefused) as error:
        open_git(root / "inside", required=True)
    assert str(error.value) == "git is not installed, and the history cannot be read without it; install git"


@pytest.mark.parametrize("content", [None, b"gitdir: nowhere\n"])
def test_a_git_folder_that_is_none_is_an_error_also_below_another_repository(root: Path, content: bytes | None):
    inside = root / "inside"
    inside.mkdir()
    if content is None:
        (inside / ".git").mkdir()
    else:
        (inside / ".git").write_bytes(content)
    text = message(lambda: open_git(inside))
    assert text.startswith(f"{inside.as_posix()}: git will not read this repository: fatal: ")
    assert "safe.directory" not in text


# --- the files of a commit -------------------------------------------------------------------------------


def test_the_files_of_a_commit_are_those_of_its_folders(root: Path, commit: Any, repository: Git):
    write(root, {"a/x": b"x\n", "ab": b"1", "b": b"2"})
    (root / "link").symlink_to("b")
    first = CommitTree(repository, commit({}))
    second = open_tree(root, repository, commit({"b": b"3", "c": b"4", "ab": None}))
    assert isinstance(second, CommitTree)
    assert first.paths() == ["a/x", "ab", "b", "link"]
    assert (first.paths("a"), first.paths("z")) == (["a/x"], [])
    assert [first.mode(path) for path in ("a/x", "a", "link", "z")] == [FILE, None, LINK, None]
    assert second.changed(first) == ["ab", "b", "c"]
    assert first.changed(None) == first.paths()
    assert second.changed(second) == []
    assert (second.read("b"), second.read("z"), second.md5("z")) == (b"3", None, None)
    assert second.md5("b") == file_md5(second, "b") == (hashlib.md5(b"3").hexdigest(), 1)
    for ask in (first.read, first.md5):
        with pytest.raises(Unreadable, match="^link: a link, expected a file$"):
            ask("link")
    assert dict(contents(first, "a")) == {"x": b"x\n"}
    assert file_md5(WorkTree(root), "c") == (hashlib.md5(b"4").hexdigest(), 1)
    assert file_md5(WorkTree(root), "z") is None


def test_a_file_of_a_commit_has_the_limit_of_its_kind(
    root: Path, commit: Any, repository: Git, monkeypatch: pytest.MonkeyPatch
):
    tree = CommitTree(repository, commit({"params.yaml": b"12345"}))
    monkeypatch.setattr(trees, "MAX_SMALL", 5)
    assert tree.read("params.yaml") == b"12345"
    monkeypatch.setattr(trees, "MAX_SMALL", 4)
    oid = object_id("blob", b"12345", LIKE)
    for ask in (tree.read, tree.md5):
        with pytest.raises(Unreadable) as error:
            ask("params.yaml")
        assert str(error.value) == f"params.yaml: object {oid}: 5 bytes, expected at most 4"


@pytest.mark.parametrize("asked", ["read", "md5"])
@pytest.mark.parametrize("of_commit", [True, False])
def test_all_code_that_is_read_may_have_so_many_bytes_and_a_file_counts_once(
    root: Path, commit: Any, repository: Git, monkeypatch: pytest.MonkeyPatch, asked: str, of_commit: bool
):
    files: dict[str, bytes | None] = {"stages/a.py": b"1234", "trainer/b.py": b"1234", "stages/c/dvc.yaml": b"1" * 50,
                                      "stages/c/dvc.lock": b"1" * 60, "x.py": b"1" * 70, "report/d": b"12"}  # fmt: skip
    head = commit(files)
    for most in (10, 9):
        monkeypatch.setattr(trees, "MAX_CODE", most)
        tree = CommitTree(repository, head) if of_commit else WorkTree(root, repository)
        ask: Any = tree.read if asked == "read" else functools.partial(file_md5, tree)
        for path in [*list(files)[:-1]] * 2:
            ask(path)
        if most == 10:
            assert ask("report/d") is not None
            continue
        with pytest.raises(Unreadable) as error:
            ask("report/d")
        assert str(error.value) == (
            "report/d: 10 bytes of code up to this file, expected at most 9 in trainer/, stages/, report/"
        )


def test_a_workspace_is_read_as_it_is_while_files_come_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, {"a": b"x", "locks/b": b"y"})
    tree = WorkTree(tmp_path)
    assert (tree.title, tree.mode("a"), tree.mode("z"), tree.mode("locks")) == ("the workspace", FILE, None, None)
    monkeypatch.setattr(Path, "read_bytes", lambda path: (_ for _ in ()).throw(FileNotFoundError(2, "gone")))
    assert tree.read("a") is None
    assert trees._entries_of(tmp_path / "gone") == []
    monkeypatch.setattr(os, "scandir", lambda path: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(PermissionError):
        trees._entries_of(tmp_path)


def test_paths_are_those_of_the_file_system_also_where_they_are_no_utf8(root: Path):
    if os.name == "nt":
        pytest.skip("names are text there")
    try:
        (root / os.fsdecode(b"a\xff")).write_bytes(b"x\n")
    except OSError:
        pytest.skip("this file system takes no such name")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "x")
    with reading_git(root) as repository:
        head = repository.resolve("HEAD")
        assert list(list_files(repository, head)) == ["a\udcff"]


def test_the_environment_of_git_has_none_of_a_repositorys_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_DIR", "x")
    monkeypatch.setenv("GIT_EXEC_PATH", "y")
    monkeypatch.setenv("LC_ALL", "de_DE")
    monkeypatch.delenv("GIT_QUARANTINE_PATH", raising=False)
    variables = module.environment()
    assert "GIT_DIR" not in variables
    assert (variables["GIT_EXEC_PATH"], variables["LC_ALL"], variables["PATH"]) == ("y", "C", os.environ["PATH"])
    done = subprocess.run(["git", "--version"], env=environment(), capture_output=True, check=True)
    assert done.stdout.startswith(b"git version")
