"""Folders at any depth: what is listed is bounded, and what is searched reads each different folder once."""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain.errors import Unreadable
from stages.repo import folders as module
from stages.repo.folders import NamedFiles, list_files, list_inside
from stages.repo.git import Git, object_id
from stages.repo.objects import FILE, Entry, GitRefused
from stages.repo.tree import CommitTree
from tests.repo.test_limits import empty, write_object
from tests.support.fuzzing import budget
from tests.verify.test_git_differential import FOLDERS, HISTORIES, git, put_folder, put_history, root, text

__all__ = ["empty", "root"]  # fixtures
LEVELS = 10
BLOB = object_id("blob", b"x", "0" * 40)


@pytest.fixture
def reader(empty: Path) -> Iterator[Git]:
    reader = Git(empty)
    yield reader
    reader.close()


def write_folder(root: Path, *entries: tuple[str, str]) -> str:
    """A folder of git with entries of `mode name` and an id, in this order; its id."""
    data = b"".join(head.encode() + b"\0" + bytes.fromhex(oid) for head, oid in entries)
    return write_object(root, "tree", data)


def write_bomb(root: Path, innermost: str, levels: int = LEVELS) -> str:
    """A folder that holds another one under ten names, that one a third, and so on down to the innermost."""
    for _ in range(levels):
        innermost = write_folder(root, *((f"40000 {n}", innermost) for n in range(10)))
    return innermost


def write_commit(root: Path, tree: str) -> str:
    who = "a <b> 1700000000 +0000"
    return write_object(root, "commit", f"tree {tree}\nauthor {who}\ncommitter {who}\n\nx\n".encode())


@pytest.mark.parametrize("inside", [("100644 a",), ()], ids=["files", "empty folders"])
def test_ten_thousand_million_files_or_empty_folders_are_refused_with_their_commit(empty, reader, inside):
    blob = write_object(empty, "blob", b"x")
    commit = write_commit(empty, write_bomb(empty, write_folder(empty, *((head, blob) for head in inside))))
    started = time.monotonic()
    with pytest.raises(Unreadable) as error:
        CommitTree(reader, commit)
    assert str(error.value) == (
        f"commit {commit[:12]}: its files and folders take more than {module.MAX_LISTED} bytes of memory to list, "
        "expected at most so many; is a folder there under many names? `git ls-tree` shows them"
    )
    assert time.monotonic() - started < 60, "to walk them all takes hours"


def test_a_folder_is_listed_up_to_so_many_bytes_of_its_files_and_folders(empty, reader):
    blob = write_object(empty, "blob", b"x")
    inner = write_folder(empty, ("100644 ccc", blob), ("100644 z", blob))
    folder = write_folder(empty, ("100644 a", blob), ("40000 bb", inner))
    most = 4 * module.PATH_BYTES + sum(map(sys.getsizeof, ("a", "bb", "bb/ccc", "bb/z")))
    expected = {path: Entry(FILE, blob) for path in ("a", "bb/ccc", "bb/z")}
    assert list(list_inside(reader, folder, most).items()) == list(expected.items())
    with pytest.raises(Unreadable, match=f"^object {folder}: its files and folders take more than {most - 1} bytes"):
        list_inside(reader, folder, most - 1)
    commit = write_commit(empty, folder)
    assert list_files(reader, commit, most) == expected
    with pytest.raises(Unreadable, match=f"^commit {commit[:12]}: its files and folders take more than {most - 1} "):
        list_files(reader, commit, most - 1)


def test_a_search_reads_each_different_folder_once(empty, reader, monkeypatch):
    blob = write_object(empty, "blob", b"x")
    bomb = write_bomb(empty, write_folder(empty, ("100644 a", blob)))
    asked = []
    monkeypatch.setattr(reader, "read", lambda oid, *rest: (asked.append(oid), Git.read(reader, oid, *rest))[1])
    files = NamedFiles(reader, ["b"])
    assert (files.digest(bomb), files.paths([bomb])) == ("", [])
    assert len(set(asked)) == LEVELS + 1 and len(asked) <= 2 * LEVELS + 1, "once more where another comes before it"
    assert NamedFiles(reader, ["a"]).digest(bomb) != ""


def test_more_places_of_named_files_than_fit_in_memory_are_refused(empty, reader, monkeypatch):
    blob = write_object(empty, "blob", b"x")
    bomb = write_bomb(empty, write_folder(empty, ("100644 a", blob)))
    with pytest.raises(Unreadable, match="its files and folders take more than [0-9]+ bytes of memory to list"):
        NamedFiles(reader, ["a"]).paths([bomb])
    small = write_bomb(empty, write_folder(empty, ("100644 a", blob)), 2)
    most = (110 + 10 + 10 + 1) * module.PATH_BYTES + 10 * len("0/") + 100 * len("0/0/")
    monkeypatch.setattr(module, "MAX_LISTED", most)
    files = NamedFiles(reader, ["a"])
    assert len(files.paths([small, small])) == len(files.paths([small])) == len(files.paths([])) == 100
    monkeypatch.setattr(module, "MAX_LISTED", most - 1)
    files = NamedFiles(reader, ["a"])
    for _ in range(2):  # the second time nothing counts as looked at
        with pytest.raises(Unreadable, match=f"take more than {most - 1} bytes"):
            files.paths([small])


def test_letters_count_as_what_they_take_and_a_path_that_no_file_system_has_is_refused(empty, reader):
    blob = write_object(empty, "blob", b"x")
    wide = write_folder(empty, ("100644 \U0001f600", blob))
    most = module.PATH_BYTES + sys.getsizeof("\U0001f600")
    assert len(list_inside(reader, wide, most)) == 1
    with pytest.raises(Unreadable, match="to list"):
        list_inside(reader, wide, most - 1)
    for letters in (module.MAX_PATH, module.MAX_PATH + 1):
        folder = write_folder(empty, ("100644 " + "a" * letters, blob))
        if letters == module.MAX_PATH:
            assert len(list_inside(reader, folder)) == 1
            continue
        with pytest.raises(Unreadable, match=f"object {folder}: a path of 4097 letters, expected at most 4096"):
            list_inside(reader, folder)


def test_folders_may_be_nested_deeper_than_python_calls_itself(empty, reader):
    inner = write_folder(empty, ("100644 a", write_object(empty, "blob", b"x")))
    data = [inner]
    for _ in range(1500):
        data.append(write_loose(empty, data[-1]))
    path = "d/" * 1500 + "a"
    assert NamedFiles(reader, ["a"]).paths([data[-1]]) == [path]
    assert list(list_inside(reader, data[-1])) == [path]


def write_loose(root: Path, inner: str) -> str:
    """A folder that holds another one as `d`, written without git, which takes a process for each."""
    data = b"40000 d\0" + bytes.fromhex(inner)
    oid = object_id("tree", data, inner)
    place = root / ".git" / "objects" / oid[:2] / oid[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(zlib.compress(b"tree %d\0" % len(data) + data))
    return oid


@given(HISTORIES, st.sets(st.sampled_from(["a", "a.b", "b", "a b"]), min_size=1))
@budget(25)
def test_named_files_are_where_git_has_them(root: Path, history: list, names: set[str]):
    oids = put_history(root, history)
    reader = Git(root)
    try:
        commits = reader.ancestry(oids[-1])
        words = ("--full-history", "-m", "--root", "--no-renames", "--format=", "--name-only", "-z")
        paths = (f":(top,glob)**/{name}" for name in names)
        listed = git(root, "log", *words, oids[-1], "--", *paths).split(b"\0")
        expected = sorted({text(path) for path in listed if text(path).rpartition("/")[2] in names})
        trees = [commit.tree for commit in commits.values()]
        alone, together = NamedFiles(reader, names), NamedFiles(reader, names)
        together.learn(oids[-1])
        assert alone.paths(trees) == together.paths(trees) == expected
    finally:
        reader.close()


def named_entries(folder: dict, names: set[bytes], path: bytes = b"") -> set:
    """The named files of a drawn folder, with their modes and contents."""
    found = set()
    for name, item in folder.items():
        if isinstance(item, dict):
            found |= named_entries(item, names, path + name + b"/")
        elif name in names:
            found.add((path + name, item))
    return found


@given(FOLDERS, FOLDERS)
@budget(50)
def test_two_folders_have_one_digest_where_their_named_files_are_the_same(root: Path, first: dict, second: dict):
    names = {b"a", b"b"}
    reader = Git(root)
    try:
        files = NamedFiles(reader, (name.decode() for name in names))
        digests = [files.digest(put_folder(root, folder)) for folder in (first, second)]
    finally:
        reader.close()
    inside = [named_entries(folder, names) for folder in (first, second)]
    assert (digests[0] == digests[1]) == (inside[0] == inside[1])
    assert [digest != "" for digest in digests] == [bool(each) for each in inside]


def test_folders_that_git_would_not_write_are_searched_as_git_reads_them(empty, reader):
    """Old repositories hold such, and nothing of a study is in them."""
    blob = write_object(empty, "blob", b"x")
    inner = write_folder(empty, ("100600 b", blob), ("100644 a", blob))
    folder = write_folder(empty, ("040000 z", inner), ("40000 y", inner))
    assert NamedFiles(reader, ["a", "b"]).paths([folder]) == ["y/a", "y/b", "z/a", "z/b"]
    with pytest.raises(GitRefused):
        reader.folder(folder)


def test_a_folder_that_is_not_what_its_id_names_is_refused(empty, reader):
    """Whoever hands over a `.git` may have put another content there, and hide a ledger."""
    blob = write_object(empty, "blob", b"x")
    shown = write_folder(empty, ("100644 b", blob))
    hidden = object_id("tree", b"100644 a\0" + bytes.fromhex(blob), blob)
    for oid in (hidden, shown):
        (empty / ".git" / "objects" / oid[:2]).mkdir(exist_ok=True)
    place = empty / ".git" / "objects" / hidden[:2] / hidden[2:]
    place.write_bytes((empty / ".git" / "objects" / shown[:2] / shown[2:]).read_bytes())
    folder = write_loose(empty, hidden)
    with pytest.raises(GitRefused, match=f"object {hidden}"):
        NamedFiles(reader, ["a"]).digest(folder)


def test_a_folder_whose_last_entry_is_cut_off_is_refused(empty, reader):
    oid = write_object(empty, "tree", b"40000 d\0abc")
    with pytest.raises(GitRefused, match=f"object {oid}: found an entry that is cut off in a folder"):
        NamedFiles(reader, ["a"]).digest(oid)


def test_what_was_learned_is_not_read_again(root, monkeypatch):
    oids = put_history(root, [({b"f%d" % n: {b"g": {b"h": ("100644", b"x")}}}, {n - 1} - {-1}, 0) for n in range(4)])
    reader = Git(root)
    try:
        trees = [commit.tree for commit in reader.ancestry(oids[-1]).values()]
        files = NamedFiles(reader, ["x"])
        files.learn(oids[-1])
        monkeypatch.setattr(reader, "read", lambda *rest: pytest.fail("read again"))
        assert files.paths(trees) == []
    finally:
        reader.close()
