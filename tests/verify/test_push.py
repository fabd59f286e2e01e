"""What comes in and goes out: CI's events with their sentinels, and a server's hook that sees a push in quarantine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support.repo import PROJECT, environment
from tests.verify.forger import RUNS, Forger
from tests.verify.test_command import as_json, cheat_and_revert, verify

ZEROS = "0" * 40


def commits(root: Path, *words: str) -> list[str]:
    return [step["commit"] for step in as_json(root, *words)["history"]]


@pytest.fixture
def own(clone: Forger, tmp_path: Path) -> Forger:
    """A clone with branches of its own."""
    clone.git("clone", "-q", "--no-hardlinks", str(clone.root), str(tmp_path / "own"))
    return Forger(tmp_path / "own")


def note(f: Forger, text: str = "a note") -> str:
    """A commit that could change a verdict and does not."""
    f.write("stages/README.md", f"{text}\n".encode())
    return f.commit(text)


@pytest.mark.parametrize("before", [ZEROS, "0" * 64, "", "dead" * 10])
def test_a_first_push_is_verified_from_the_beginning_and_not_its_last_commit_alone(before, own: Forger):
    everything = own.git("rev-list", "--reverse", "HEAD").split()
    assert commits(own.root, "--range", f"{before}..HEAD") == everything
    assert verify(own.root, "--range", f"{before}..HEAD").returncode == 0
    cheat_and_revert(own)
    assert verify(own.root, "--range", f"{before}..HEAD").returncode == 1
    assert verify(own.root, "--range", f"{before}..HEAD", "--known", "HEAD").returncode == 1, "it holds what is asked"


def test_a_new_branch_is_verified_without_the_commits_of_the_known_one(own: Forger):
    cheat_and_revert(own)
    own.git("push", "-q", "origin", "main:refs/heads/known")
    own.git("fetch", "-q")
    own.git("checkout", "-q", "-b", "topic")
    topic = note(own)
    words = ("--range", f"{ZEROS}..topic", "--known", "origin/known", "--known", "origin/nothing")
    assert commits(own.root, *words) == [topic]
    assert verify(own.root, *words).returncode == 0
    own.git("push", "-q", "origin", ":known")


def test_after_a_forced_push_the_new_commits_are_verified_whether_the_old_ones_are_here_or_not(own: Forger):
    good = own.git("rev-parse", "HEAD")
    old = note(own, "replaced")
    own.git("reset", "-q", "--hard", good)
    bad = cheat_and_revert(own)
    assert commits(own.root, "--range", f"{old}..HEAD") == own.git("rev-list", "--reverse", f"{good}..HEAD").split()
    assert as_json(own.root, "--range", f"{old}..HEAD")["commit"] == bad
    own.git("reflog", "expire", "--expire=now", "--all")
    own.git("gc", "-q", "--prune=now")
    assert as_json(own.root, "--range", f"{old}..HEAD")["commit"] == bad


def test_a_merge_queue_is_verified_with_the_commits_that_it_merges(own: Forger):
    base = own.git("rev-parse", "HEAD")
    own.git("checkout", "-q", "-b", "topic")
    bad = cheat_and_revert(own)
    own.git("checkout", "-q", "main")
    own.git("merge", "-q", "--no-ff", "-m", "queued", "topic")
    assert bad in commits(own.root, "--range", f"{base}..HEAD")
    assert verify(own.root, "--range", f"{base}..HEAD").returncode == 1


def test_a_tag_is_verified_from_the_beginning_by_its_commit(own: Forger):
    everything = own.git("rev-list", "--reverse", "HEAD").split()
    own.git("tag", "-a", "-m", "a release", "v1")
    for tag in ("v1", own.git("rev-parse", "v1")):
        assert commits(own.root, "--range", f"{ZEROS}..{tag}", "--known", "origin/main") == everything


def test_a_repository_of_sha256_is_verified_and_has_zeros_of_its_own(clone: Forger, tmp_path):
    other = Forger(tmp_path / "sha256")
    other.root.mkdir()
    other.git("init", "-q", "-b", "main", "--object-format=sha256")
    for commit in clone.git("rev-list", "--reverse", "HEAD").split():
        clone.git("archive", "-o", str(tmp_path / "a.tar"), commit)
        with tarfile.open(tmp_path / "a.tar") as archive:
            archive.extractall(other.root, filter="data")
        other.commit(commit)
    everything = other.git("rev-list", "--reverse", "HEAD").split()
    assert len(everything[0]) == 64
    for before in ("0" * 64, ZEROS, "d" * 64):
        assert commits(other.root, "--range", f"{before}..HEAD") == everything
    assert verify(other.root, "--range", f"{'0' * 64}..HEAD").returncode == 0


def test_a_range_from_a_name_that_is_not_here_is_refused_and_known_goes_with_a_range(clone: Forger):
    done = verify(clone.root, "--range", "mian..HEAD")
    assert (done.returncode, "'mian' names no commit here" in done.stderr) == (2, True)
    done = verify(clone.root, "--known", "main")
    assert (done.returncode, "--known goes with --range" in done.stderr) == (2, True)


# The workflow, as GitHub would run its step


def run_step(tmp_path: Path, study: Path, before: str, after: str) -> subprocess.CompletedProcess[str]:
    """The step `Verify` of the shipped action, with what the shipped workflow hands it for an event."""
    read = YAML(typ="safe").load
    jobs = read((PROJECT / ".github" / "workflows" / "verify.yml").read_text(encoding="utf-8"))["jobs"]
    given = next(step["with"] for step in jobs["verify"]["steps"] if step.get("uses", "").endswith("/verifier/verify"))
    action = read((PROJECT / "verify" / "action.yml").read_text(encoding="utf-8"))
    step = next(step for step in action["runs"]["steps"] if step.get("name") == "Verify")
    inputs = {name: str(entry.get("default", "")) for name, entry in action["inputs"].items()} | given
    for name, value in {"BEFORE": before, "AFTER": after, "KNOWN": "origin/main"}.items():
        inputs = {key: text.replace(f"${{{{ env.{name} }}}}", value) for key, text in inputs.items()}
    folder = tmp_path / "job"
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (folder / "study").symlink_to(study)
    variables = {key: inputs[key.lower()] for key in ("REPO", "RANGE", "KNOWN", "REV", "REQUIRE", "SIGNERS")}
    assert not any("${{" in value for value in variables.values())
    return subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=folder,
        env=environment() | variables | {"FOLDER": str(folder), "ACTION": str(PROJECT / "verify")},
        capture_output=True,
        encoding="utf-8",
    )


def test_the_workflows_step_verifies_what_each_event_brings(own: Forger, tmp_path):
    base = own.git("rev-parse", "HEAD")
    fork = tmp_path / "fork"
    own.git("clone", "-q", str(own.root), str(fork))
    theirs = Forger(fork)
    good, bad = note(theirs), cheat_and_revert(theirs)
    head = theirs.git("rev-parse", "HEAD")
    own.git("fetch", "-q", str(fork), "HEAD")  # as GitHub does for a pull request of a fork: no branch here holds it
    for before, after, status in (
        (base, good, 0),  # a pull request
        (base, head, 1),
        (ZEROS, good, 0),  # a new branch
        (ZEROS, head, 1),
        (ZEROS, base, 0),  # the first push, or a tag
        ("dead" * 10, head, 1),  # a forced push
        ("", head, 1),  # an event that names nothing before
        (good, bad, 1),
    ):
        done = run_step(tmp_path, own.root, before, after)
        assert done.returncode == status, (before, after, done.stdout, done.stderr)
        assert (tmp_path / "job" / "verify.md").is_file()


# A server's hook


@pytest.fixture
def server(clone: Forger, tmp_path: Path) -> Forger:
    """A bare repository with the shipped hook and nothing in it, and `promotion` on the path."""
    clone.git("init", "-q", "--bare", "-b", "main", str(tmp_path / "server.git"))
    shutil.copy(PROJECT / "docs" / "examples" / "pre-receive", tmp_path / "server.git" / "hooks" / "pre-receive")
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "promotion"
    script.write_text(
        f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -P -m stages.cli "$@"\n', encoding="utf-8"
    )
    script.chmod(0o755)
    return Forger(tmp_path / "server.git")


def push(f: Forger, server: Forger, *references: str) -> subprocess.CompletedProcess[str]:
    path = f"{server.root.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["git", "push", str(server.root), *references],
        cwd=f.root,
        env=environment() | {"PATH": path},
        capture_output=True,
        encoding="utf-8",
    )


def references(server: Forger) -> list[str]:
    return server.git("for-each-ref", "--format=%(refname)").split()


def test_a_server_takes_in_what_verifies_and_nothing_else(own: Forger, server: Forger):
    done = push(own, server, "HEAD:refs/heads/main")
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stderr
    own.git("checkout", "-q", "-b", "topic")
    note(own)
    assert push(own, server, "topic").returncode == 0
    bad = cheat_and_revert(own)
    done = push(own, server, "topic")
    assert done.returncode != 0
    assert f"{bad[:12]}" in done.stderr
    assert "failed: V15 decisions" in done.stderr
    assert "pre-receive hook declined" in done.stderr
    assert server.git("rev-parse", "topic") == own.git("rev-parse", f"{bad}~1")


def test_a_first_push_of_a_forged_history_is_declined(own: Forger, server: Forger):
    cheat_and_revert(own)
    done = push(own, server, "HEAD:refs/heads/main")
    assert "failed: V15 decisions" in done.stderr
    assert references(server) == []


def test_references_that_go_and_branches_without_a_study_pass_and_a_bad_one_takes_the_rest_with_it(
    own: Forger, server: Forger
):
    own.git("checkout", "-q", "--orphan", "pages")
    own.git("rm", "-q", "-r", "-f", ".")
    own.write("index.html", b"a page\n")
    own.commit("A page")
    done = push(own, server, "pages", "main")
    assert done.returncode == 0, done.stderr
    assert push(own, server, ":pages").returncode == 0
    own.git("tag", "file", own.git("rev-parse", f"main:{RUNS}"))
    assert "nothing that comes in belongs to a study" in push(own, server, "refs/tags/file").stderr
    own.git("checkout", "-q", "-f", "main")
    own.git("checkout", "-q", "-b", "bad")
    cheat_and_revert(own)
    assert push(own, server, "pages", "bad").returncode != 0
    assert references(server) == ["refs/heads/main", "refs/tags/file"]


def test_whoever_takes_the_study_away_is_not_let_off(own: Forger, server: Forger):
    assert push(own, server, "main").returncode == 0
    own.git("rm", "-q", "-r", "params.yaml", "locks")
    own.commit("No study any more")
    done = push(own, server, "main")
    assert "failed: V02 study" in done.stderr


def test_of_a_hooks_environment_the_object_folders_are_used_and_nothing_else(own: Forger, tmp_path, monkeypatch):
    from stages.repo.git import Git
    from stages.repo.git import environment as git_environment

    outside, quarantine = tmp_path / "outside", tmp_path / "a:folder"
    own.git("init", "-q", str(outside))
    (outside / "file").write_bytes(b"seen\n")
    oid = own.git("hash-object", "-w", str(outside / "file"))
    own.git("pack-refs", "--all")
    shutil.copytree(own.root / ".git" / "objects" / oid[:2], quarantine / oid[:2])
    (own.root / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    for name in ("DIR", "WORK_TREE", "INDEX_FILE", "COMMON_DIR", "NAMESPACE"):
        monkeypatch.setenv(f"GIT_{name}", str(outside / ".git"))
    monkeypatch.setenv("GIT_LITERAL_PATHSPECS", "1")
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(quarantine))
    git = Git(own.root)
    with pytest.raises(ValueError, match="is not in this repository"):
        git.blob(oid)  # without a quarantine the folder is that of another repository
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(quarantine))
    git = Git(own.root)
    try:
        assert git.blob(oid) == b"seen\n"
        assert git.resolve("HEAD") == own.git("rev-parse", "HEAD")
        assert commits(own.root, "--range", "..HEAD") == own.git("rev-list", "--reverse", "HEAD").split()
    finally:
        git.close()
    kept = {name for name in git_environment() if name.startswith("GIT_")}
    assert kept & {"GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_LITERAL_PATHSPECS"} == set()
    assert "GIT_ALTERNATE_OBJECT_DIRECTORIES" in kept
