"""What git says seldom: quarantined objects, ignored files, ids of two lengths."""

from __future__ import annotations

import os
import subprocess

import pytest

from stages.repo import git as git_module
from stages.repo import objects
from stages.repo.checkout import list_ignored
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
    assert objects.parse_commit(OID, data) == objects.Commit(TREE, parents, 7)


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
        assert list_ignored(git, ["held.tmp", "a.tmp", "b.txt"]) == {"a.tmp"}
        assert list_ignored(git, ["b.txt"]) == frozenset()
        assert list_ignored(git, []) == frozenset()


def entry(mode: bytes, name: bytes, oid: str = OID) -> bytes:
    return mode + b" " + name + b"\0" + bytes.fromhex(oid)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (entry(b"100600", b"a"), "the mode '100600' of 'a' in a folder"),
        (entry(b"\xff", b"a"), "the mode '\\ufffd' of 'a' in a folder"),
        (entry(b"100644", b"a") * 2, "'a' twice in a folder"),
        (entry(b"100644", b"a\xff") * 2, "'a\\udcff' twice in a folder"),
        (entry(b"100644", b""), "the name '' in a folder"),
        (entry(b"100644", b".."), "the name '..' in a folder"),
        (entry(b"100644", b"a/b"), "the name 'a/b' in a folder"),
        (entry(b"100644", b".giT"), "the name '.giT' in a folder"),
        (entry(b"100644", "\u200c.git".encode()), "the name '\\u200c.git' in a folder"),
        (entry(b"100644", b"git~1"), "the name 'git~1' in a folder"),
        (entry(b"100644", b"x\\.git "), "the name 'x\\\\.git ' in a folder"),
        (entry(b"120000", b".gitModules"), "a symbolic link '.gitModules' in a folder"),
        (entry(b"100644", b"a", "0" * 40), "no content of 'a' in a folder"),
        (entry(b"100644", b"b") + entry(b"100644", b"a"), "'a' out of order in a folder"),
        (entry(b"40000", b"a") + entry(b"100644", b"a.b"), "'a.b' out of order in a folder"),
        (entry(b"100644", b"a") + b"x", "an entry that is cut off in a folder"),
        (entry(b"100644", b"a")[:-1], "an entry that is cut off in a folder"),
        (b"100644 a", "an entry that is cut off in a folder"),
    ],
)
def test_what_git_would_not_write_as_a_folder_is_refused_by_name(data: bytes, found: str):
    with pytest.raises(GitRefused) as error:
        objects.parse_tree(OID, data)
    assert str(error.value) == (
        f"object {OID}: found {found}, expected what git writes; `git fsck --strict` tells more"
    )


def test_a_folder_is_read_entry_by_entry_with_ids_of_its_own_length():
    data = (
        entry(b"100644", b"a.b")
        + entry(b"40000", b"a", TREE)
        + entry(b"100664", b"b")
        + entry(b"120000", b"gitmodules")
    )
    assert objects.parse_tree(OID, data) == {
        "a.b": objects.Entry("100644", OID),
        "a": objects.Entry("40000", TREE),
        "b": objects.Entry("100664", OID),
        "gitmodules": objects.Entry("120000", OID),
    }
    assert objects.parse_tree("1" * 64, entry(b"160000", b"a", "3" * 64)) == {"a": objects.Entry("160000", "3" * 64)}
    assert objects.parse_tree(OID, b"") == {}


@pytest.mark.parametrize(
    ("name", "stands"),
    [
        *((name, True) for name in (".git", ".GIT", "git~1", "GIT~1 .", ".git...", "a\\.git\\b", ".git:x", ".g\u206fit",
                                    ".git/", "\ufeff.git", ".git\u202e")),
        *((name, False) for name in ("git", "git~2", ".gitx", "x.git", ".git x", "a.git", ".g\u2010it", ".g\u2070it",
                                     ".g\u202fit", ".g\u200bit", ".g\u2069it")),
    ],
)  # fmt: skip
def test_a_name_stands_for_git_where_a_file_system_would_take_it_for_that(name: str, stands: bool):
    assert objects._stands_for_git(name) is stands


HEAD = commit().split(b"\n")


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (b"encoding x\nencoding y\n", "encoding"),
        (b"gpgsig x\n y\ngpgsig z\n", "gpgsig"),
        (b"parent x\n", "parent"),
        (b"HG:x a\nHG:x b\nencoding x\ngpgsig y\n encoding z\n", None),
        (b"mergetag x\nmergetag y\n", None),
    ],
)
def test_a_line_that_stands_once_is_named_where_it_stands_twice(more: bytes, line: str | None):
    if line is None:
        assert objects.parse_commit(OID, commit(more=more)).seconds == 7
        return
    with pytest.raises(GitRefused) as error:
        objects.parse_commit(OID, commit(more=more))
    assert f"found a line '{line}' too many in the head of a commit, expected" in str(error.value)


def test_the_clock_of_a_commit_is_its_committers_and_either_may_be_wrong():
    author, committer = HEAD[1].replace(b" 7 ", b" 5 "), HEAD[2].replace(b" 7 ", b" 6 ")
    assert objects.parse_commit(OID, b"\n".join([HEAD[0], author, committer, *HEAD[3:]])).seconds == 6
    late = str(objects._MAX_SECONDS + 1).encode()
    for place in (1, 2):
        lines = [line.replace(b" 7 ", b" %s " % late) if n == place else line for n, line in enumerate(HEAD)]
        with pytest.raises(GitRefused, match="a time that no clock has in a commit"):
            objects.parse_commit(OID, b"\n".join(lines))


def test_what_is_absent_says_why_and_what_brings_it():
    error = objects.GitAbsent("it is not here", "git fetch")
    assert (str(error), error.reason, error.enable) == (
        *("it is not here; `git fetch` brings it", "it is not here", "git fetch"),
    )
