"""A repository that somebody handed over: false objects, a lying commit-graph, settings that name programs, other owners."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from stages.repo import git as git_module
from stages.repo.folders import list_files
from stages.repo.git import Git, open_git, why_no_git
from stages.repo.objects import Entry, GitRefused
from tests.support.repo import environment
from tests.verify.forger import RUNS, Forger, failed
from tests.verify.test_command import verify


@pytest.fixture
def own(clone: Forger, tmp_path: Path) -> Forger:
    """A clone whose .git a test may spoil, every object a file of its own."""
    root = tmp_path / "own"
    clone.git("clone", "-q", "--no-hardlinks", str(clone.root), str(root))
    found = Forger(root)
    packs = sorted(root.glob(".git/objects/pack/*.pack"))
    for pack in packs:
        moved = tmp_path / pack.name
        pack.replace(moved)
        with moved.open("rb") as file:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=root, stdin=file, check=True, env=environment())
    return found


def replace_object(f: Forger, oid: str, kind: str, data: bytes) -> None:
    """Put another content under the id of an object."""
    path = f.path(f".git/objects/{oid[:2]}/{oid[2:]}")
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    path.write_bytes(zlib.compress(f"{kind} {len(data)}\0".encode() + data))


def test_a_commit_is_read_as_git_reads_it(clone: Forger):
    git = Git(clone.root)
    try:
        head = git.resolve("HEAD")
        listed = clone.git("ls-tree", "-r", "--full-tree", head).splitlines()
        expected = {line.split("\t")[1]: Entry(*line.split("\t")[0].split(" ")[::2]) for line in listed}
        assert list_files(git, head) == expected
        assert list(git.ancestry(head)) == clone.git("rev-list", "--reverse", head).split()
        assert git.entry(head, "ledger/none") is None
        assert git.entry(head, f"{RUNS}/none") is None
        assert git.commit(head).parents == tuple(clone.git("rev-parse", "HEAD^").split())
    finally:
        git.close()


def test_another_content_under_the_id_of_a_ledger_is_found_out(own: Forger):
    oid = own.git("rev-parse", f"HEAD:{RUNS}")
    replace_object(own, oid, "blob", own.read(RUNS).replace(b'"val_bpb":3', b'"val_bpb":2', 1))
    results = own.verify(own.git("rev-parse", "HEAD"))
    assert "plain-files" in failed(results)
    assert results[0].problems[0].file == f"object {oid}"
    assert results[0].problems[0].found == "another content than its id names"


def _content(f: Forger, name: str, kind: str) -> bytes:
    return subprocess.run(["git", "cat-file", kind, name], cwd=f.root, capture_output=True, check=True).stdout


def test_another_folder_under_the_id_of_one_is_found_out(own: Forger):
    oid = own.git("rev-parse", "HEAD^{tree}")
    replace_object(own, oid, "tree", _content(own, "HEAD~1^{tree}", "tree"))
    done = verify(own.root, "--rev", "HEAD")
    assert done.returncode == 2
    assert f"object {oid}: found another content than its id names" in done.stderr


def test_another_commit_under_the_id_of_an_ancestor_is_found_out(own: Forger):
    oid = own.git("rev-parse", "HEAD~1")
    replace_object(own, oid, "commit", _content(own, "HEAD~2", "commit"))
    results = {one.check.name: one for one in own.verify(own.git("rev-parse", "HEAD"))}
    assert results["rule-first"].problems[0].file == f"object {oid}"


def test_a_commit_graph_that_lies_about_parents_changes_nothing(own: Forger):
    locks = own.git("rev-parse", "HEAD~1")
    own.git("checkout", "-q", "--orphan", "rewritten")
    squashed = own.commit("Rules and evidence at once")
    own.git("commit-graph", "write", "--reachable")
    path = own.path(".git/objects/info/commit-graph")
    data = bytearray(path.read_bytes())
    at = {
        bytes(data[8 + 12 * n : 12 + 12 * n]): struct.unpack(">Q", data[12 + 12 * n : 20 + 12 * n])[0]
        for n in range(data[6])
    }
    count = struct.unpack(">I", data[at[b"OIDF"] + 1020 : at[b"OIDF"] + 1024])[0]
    known = [data[at[b"OIDL"] + 20 * n : at[b"OIDL"] + 20 * n + 20].hex() for n in range(count)]
    place = at[b"CDAT"] + 36 * known.index(squashed)
    data[place + 20 : place + 24] = struct.pack(">I", known.index(locks))
    data[place + 28 : place + 32] = struct.pack(">I", 9 << 2)
    data[-20:] = hashlib.sha1(bytes(data[:-20])).digest()
    path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    path.write_bytes(bytes(data))
    assert locks in own.git("rev-list", squashed), "git itself believes the graph, or this test shows nothing"
    assert "rule-first" in failed(own.verify(squashed))


def test_the_environment_does_not_redirect_a_verification(clone: Forger, tmp_path, monkeypatch):
    other = tmp_path / "other"
    clone.git("init", "-q", str(other))
    head = clone.git("rev-parse", "HEAD")
    for name, value in (("GIT_DIR", other / ".git"), ("GIT_OBJECT_DIRECTORY", other), ("GIT_WORK_TREE", other)):
        monkeypatch.setenv(name, str(value))
    assert Git(clone.root).resolve("HEAD") == head


def test_what_the_repositorys_settings_name_is_not_run(clone: Forger, tmp_path):
    mark = tmp_path / "ran"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n", encoding="utf-8")
    script.chmod(0o755)
    for key in ("gpg.ssh.program", "gpg.program", "core.fsmonitor", "core.sshCommand", "core.pager"):
        clone.git("config", key, str(script))
    try:
        signers = tmp_path / "allowed"
        signers.write_text("alice ssh-ed25519 AAAA\n", encoding="utf-8")
        for words in (("--rev", "HEAD"), ("--history",), ()):
            verify(clone.root, "--signers", str(signers), *words)
        assert not mark.exists()
    finally:
        for key in ("gpg.ssh.program", "gpg.program", "core.fsmonitor", "core.sshCommand", "core.pager"):
            clone.git("config", "--unset", key)


def test_a_repository_of_another_owner_is_told_in_gits_own_words_with_the_remedy(clone: Forger, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    done = verify(clone.root)
    assert done.returncode == 2
    assert "dubious ownership" in done.stderr
    assert "`git config --global --add safe.directory FOLDER`" in done.stderr


def test_without_the_git_program_the_history_is_skipped_for_that_reason(clone: Forger, tmp_path, monkeypatch):
    monkeypatch.setattr(git_module, "environment", lambda: {"PATH": str(tmp_path)})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert open_git(clone.root) is None
    assert why_no_git(clone.root) == "git is not installed"
    assert why_no_git(tmp_path) == "this is not a git repository"
    done = verify(clone.root)
    assert done.returncode == 0
    assert "git is not installed, so nothing says what came first; to enable: install git" in " ".join(
        done.stdout.split()
    )
    done = verify(clone.root, "--rev", "HEAD")
    assert (done.returncode, "git is not installed" in done.stderr) == (2, True)


@pytest.mark.parametrize("rev", ["", " ", "--all", "nothing"])
def test_what_is_no_revision_is_refused(rev, clone: Forger):
    with pytest.raises(GitRefused):
        Git(clone.root).resolve(rev)


def test_an_object_that_is_missing_is_told_and_the_next_one_is_read(clone: Forger):
    git = Git(clone.root)
    try:
        with pytest.raises(
            GitRefused, match="object 0000000000000000000000000000000000000000 is not in this repository"
        ):
            git.blob("0" * 40)
        with pytest.raises(GitRefused, match="found a commit, expected a blob"):
            git.blob(git.resolve("HEAD"))
        assert git.read(git.resolve("HEAD"), "commit").startswith(b"tree ")
    finally:
        git.close()


def test_thousands_of_commits_are_read_with_a_few_commands(tmp_path):
    f = Forger(tmp_path / "long")
    f.root.mkdir()
    f.git("init", "-q", "-b", "main")
    stream = "".join(f"commit refs/heads/main\ncommitter A <a@b> {n} +0000\ndata 1\nx\n" for n in range(1, 2001))
    subprocess.run(["git", "fast-import", "--quiet"], cwd=f.root, input=stream.encode(), check=True, env=environment())
    git = Git(f.root)
    calls: list[tuple[str, ...]] = []
    ask = git.run
    git.run = lambda *words, stdin=None: (calls.append(words), ask(*words, stdin=stdin))[1]  # type: ignore[method-assign]
    assert len(git.ancestry(git.resolve("main"))) == 2000
    assert len(calls) < 8
    assert git._reader is None


def no_head(f: Forger) -> None:
    f.path(".git/HEAD").unlink()


def head_of_garbage(f: Forger) -> None:
    f.write(".git/HEAD", b"garbage\n")


def head_a_folder(f: Forger) -> None:
    f.path(".git/HEAD").unlink()
    f.path(".git/HEAD").mkdir()


def no_objects(f: Forger) -> None:
    f.path(".git/objects").rename(f.path("objects"))


def no_repository_where_the_file_points(f: Forger) -> None:
    f.path(".git").rename(f.path("moved"))
    f.write(".git", b"gitdir: /nowhere\n")


@pytest.mark.parametrize(
    "damage", [no_head, head_of_garbage, head_a_folder, no_objects, no_repository_where_the_file_points]
)
@pytest.mark.parametrize("inside", [False, True])
def test_a_damaged_repository_is_told_in_gits_words_and_is_not_no_repository(damage, inside, own: Forger):
    if inside:  # another repository around it does not stand in for it
        own.git("init", "-q", str(own.root.parent))
    damage(own)
    done = verify(own.root)
    assert done.returncode == 2
    assert "git will not read this repository: fatal: not a git" in done.stderr


@pytest.mark.parametrize("content", [b"", b"garbage\n"])
def test_a_branch_that_cannot_be_read_is_not_one_before_its_first_commit(content, own: Forger):
    own.write(f".git/{own.git('symbolic-ref', 'HEAD')}", content)
    with pytest.raises(GitRefused, match="the repository is damaged"):
        _ = Git(own.root).head
    assert verify(own.root).returncode == 1
    own.git("symbolic-ref", "HEAD", "refs/heads/unborn")
    assert Git(own.root).head is None
