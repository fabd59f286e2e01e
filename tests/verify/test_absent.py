"""What a clone does not hold is not forged: partial, shallow, sparse and damaged clones say which command brings it."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from stages.repo.git import Git
from stages.repo.objects import GitAbsent, GitRefused
from stages.verify import attest_decision
from tests.verify.forger import METRICS, RUNS, Forger
from tests.verify.test_command import as_json, statuses, verify
from tests.verify.test_signatures import make_key

REFETCH = "git fetch --refetch --no-filter"
PAST = ("rule-first", "rule-stayed", "evidence-stayed")


def clone_of(clone: Forger, root: Path, *options: str) -> Forger:
    """A clone over a protocol that filters."""
    clone.git("config", "uploadpack.allowFilter", "true")
    clone.git("config", "uploadpack.allowAnySHA1InWant", "true")
    clone.git("clone", "-q", *options, f"file://{clone.root}", str(root))
    return Forger(root)


def with_a_past(clone: Forger) -> None:
    """Another ledger and another lock in the past, which no checkout of the last commit brings."""
    for path in (RUNS, "locks/gate2.yaml"):
        old = clone.read(path)
        clone.write(path, old + b"\n")
        clone.commit("Broken")
        clone.write(path, old)
        clone.commit("Mended")


def objects(f: Forger) -> set[str]:
    """Every object that is here."""
    lines = f.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").splitlines()
    return set(lines)


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
def test_a_partial_clone_verifies_its_workspace_and_says_what_brings_the_past(kind, clone: Forger, tmp_path):
    with_a_past(clone)
    partial = clone_of(clone, tmp_path / "partial", f"--filter={kind}")
    before = objects(partial)
    report = as_json(partial.root)
    assert report["verdict"] == "verified", report
    for check in report["checks"]:
        if check["name"] in PAST:
            assert (check["status"], check["enable"]) == ("skipped", REFETCH)
            assert "a partial clone, whose rest is not fetched unasked" in check["reason"]
    assert "failed" not in statuses(report).values()
    assert verify(partial.root, "--require", "rule-first").returncode == 1
    assert objects(partial) == before, "nothing was fetched unasked"
    partial.git(*REFETCH.split()[1:])
    assert [statuses(as_json(partial.root))[name] for name in PAST] == ["passed"] * 3


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
@pytest.mark.parametrize(
    "words", [("--rev", "HEAD"), ("--history",), ("--range", "HEAD~2..HEAD"), ("--against", "HEAD~1")]
)
def test_a_partial_clone_without_the_commit_itself_could_not_run(kind, words, clone: Forger, tmp_path):
    with_a_past(clone)
    partial = clone_of(clone, tmp_path / "partial", f"--filter={kind}", "--bare")
    before = objects(partial)
    done = verify(partial.root, *words)
    assert (done.returncode, f"`{REFETCH}` brings it" in done.stderr) == (2, True), done
    assert "Traceback" not in done.stderr
    assert objects(partial) == before
    partial.git("config", "--unset", "remote.origin.partialclonefilter")
    partial.git("fetch", "-q", "--refetch", "--no-filter", "origin", "+refs/heads/*:refs/heads/*")
    assert verify(partial.root, "--rev", "HEAD").returncode == 0


def test_a_partial_clone_never_runs_what_its_remote_names(clone: Forger, tmp_path):
    with_a_past(clone)
    partial = clone_of(clone, tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    mark, script = tmp_path / "ran", tmp_path / "evil"
    script.write_text(f'#!/bin/sh\ntouch {mark}\nexec git-upload-pack "$@"\n', encoding="utf-8")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    partial.git("config", "remote.origin.uploadpack", str(script))
    partial.git("config", "protocol.allow", "always")
    partial.git("config", "protocol.file.allow", "always")
    for words in (("--rev", "HEAD"), ("--history",), ()):
        verify(partial.root, *words)
    assert not mark.exists()


def test_what_is_there_and_wrong_fails_in_a_partial_clone_too(clone: Forger, tmp_path):
    partial = clone_of(clone, tmp_path / "partial", "--filter=blob:none")
    partial.run(lambda run: run["facts"].update(val_bpb=0.5))
    done = verify(partial.root)
    assert done.returncode == 1
    assert "failed at V15 decisions" in done.stdout


@pytest.mark.parametrize("path", [RUNS, METRICS, "locks/gate1.yaml", "trainer/model.py", "dvc.lock"])
def test_an_object_that_went_missing_is_told_by_the_file_that_it_was(path, clone: Forger, tmp_path):
    own = loose(clone, tmp_path)
    oid = own.git("rev-parse", f"HEAD:{path}")
    own.path(f".git/objects/{oid[:2]}/{oid[2:]}").unlink()
    done = verify(own.root, "--rev", "HEAD")
    assert done.returncode == 2, done.stdout
    assert f"{path} of commit" in done.stderr
    assert f"object {oid} is not in this repository; `{REFETCH}` brings it" in done.stderr
    own.git(*REFETCH.split()[1:])
    assert verify(own.root, "--rev", "HEAD").returncode == 0


def test_an_object_that_is_there_and_cannot_be_read_is_damage_and_fails(clone: Forger, tmp_path):
    own = loose(clone, tmp_path)
    oid = own.git("rev-parse", f"HEAD:{RUNS}")
    place = own.path(f".git/objects/{oid[:2]}/{oid[2:]}")
    place.chmod(stat.S_IRUSR | stat.S_IWUSR)
    place.write_bytes(b"rubbish")
    done = verify(own.root, "--rev", "HEAD")
    assert done.returncode == 1
    assert "git cannot read it: the repository is damaged" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    "name", ["HEAD~1", "HEAD~1^{tree}", f"HEAD~3:{RUNS}", "HEAD~1:locks", "HEAD~1:locks/gate2.yaml"]
)
@pytest.mark.parametrize("words", [(), ("--rev", "HEAD"), ("--require", "rule-first")])
def test_an_object_that_went_missing_from_the_history_is_not_passed_over(name, words, clone: Forger, tmp_path):
    with_a_past(clone)
    own = loose(clone, tmp_path)
    oid = own.git("rev-parse", name)
    own.path(f".git/objects/{oid[:2]}/{oid[2:]}").unlink()
    done = verify(own.root, *words)
    assert (done.returncode, f"`{REFETCH}` brings it" in done.stderr) == (2, True), done
    assert f"object {oid} is not in this repository" in done.stderr
    assert verify(own.root, "--history").returncode == 2


def test_an_object_that_went_missing_is_skipped_where_the_clone_is_partial(clone: Forger, tmp_path):
    own = loose(clone, tmp_path)
    oid = own.git("rev-parse", "HEAD~1")
    own.path(f".git/objects/{oid[:2]}/{oid[2:]}").unlink()
    own.git("config", "remote.origin.promisor", "true")
    check = next(check for check in as_json(own.root)["checks"] if check["name"] == "rule-first")
    assert (check["status"], check["enable"]) == ("skipped", REFETCH)
    assert f"object {oid} is not in this repository" in check["reason"]


def loose(clone: Forger, tmp_path: Path) -> Forger:
    """A clone every object of which is a file of its own."""
    own = clone_of(clone, tmp_path / "own")
    for pack in sorted(own.root.glob(".git/objects/pack/*.pack")):
        moved = tmp_path / pack.name
        pack.replace(moved)
        shutil.copy(moved, own.root / "x.pack")
        own.git("-c", "alias.take=!git unpack-objects -q < x.pack", "take")
        own.delete("x.pack")
    return own


def test_a_sparse_checkout_says_so_and_names_the_command(clone: Forger, tmp_path):
    sparse = clone_of(clone, tmp_path / "sparse", "--sparse")
    done = verify(sparse.root)
    assert done.returncode == 2
    assert (
        "is not in the workspace: a sparse checkout leaves it out; `git sparse-checkout disable` brings it"
        in done.stderr
    )
    assert verify(sparse.root, "--rev", "HEAD").returncode == 0
    sparse.git("sparse-checkout", "set", "locks", "ledger", "stages", "trainer")
    assert verify(sparse.root).returncode == 0
    sparse.git("sparse-checkout", "disable")
    assert verify(sparse.root).returncode == 0


@pytest.mark.parametrize(
    "words", [("--history",), ("--range", f"{'0' * 40}..HEAD"), ("--range", f"{'b' * 40}..HEAD"), ("--range", "..HEAD")]
)
def test_a_shallow_clone_answers_for_no_history_that_it_hides(words, clone: Forger, tmp_path):
    with_a_past(clone)
    shallow = clone_of(clone, tmp_path / "shallow", "--depth", "2")
    done = verify(shallow.root, *words)
    assert done.returncode == 2
    assert "this shallow clone is cut off at commit" in done.stderr
    assert "`git fetch --unshallow` brings it" in done.stderr
    assert verify(shallow.root, "--range", "HEAD~1..HEAD").returncode == 0
    done = verify(shallow.root, "--range", "HEAD~3..HEAD")
    assert (done.returncode, "`git fetch --unshallow` may bring it" in done.stderr) == (2, True)
    shallow.git("fetch", "-q", "--unshallow")
    assert verify(shallow.root, *words).returncode == 1, "the broken commits of the past are seen"


def test_a_shallow_clone_that_begins_where_the_history_begins_hides_nothing(clone: Forger, tmp_path):
    shallow = clone_of(clone, tmp_path / "shallow", "--depth", "3")
    shallow.write(".git/shallow", f"{clone.git('rev-list', '--max-parents=0', 'HEAD')}\n".encode())
    assert verify(shallow.root, "--history").returncode == 0


def test_git_reads_no_object_over_a_network(clone: Forger, tmp_path):
    partial = clone_of(clone, tmp_path / "partial", "--filter=blob:none", "--no-checkout")
    git = Git(partial.root)
    try:
        entry = git.entry("HEAD" and git.resolve("HEAD"), RUNS)
        assert entry is not None
        with pytest.raises(GitAbsent, match="a partial clone"):
            git.blob(entry.oid)
        assert issubclass(GitAbsent, GitRefused)
    finally:
        git.close()


def test_a_decision_is_not_attested_where_its_past_is_hidden(clone: Forger, tmp_path):
    with_a_past(clone)
    for name, words, enable in (("a", "--depth=1", "git fetch --unshallow"), ("b", "--filter=blob:none", REFETCH)):
        cut = clone_of(clone, tmp_path / name, words)
        with pytest.raises(GitAbsent, match="HEAD is not attested without its past") as caught:
            attest_decision(cut.root, "HEAD", "gate1")
        assert caught.value.enable == enable


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_the_oldest_commit_of_a_shallow_clone_is_not_taken_for_one_that_touched_the_locks(clone: Forger, tmp_path):
    """A stranger who signs commits, such as a forge that merges, and never touched a lock."""
    mallory, alice = (make_key(tmp_path, name) for name in ("mallory", "alice"))
    clone.write("notes.txt", b"nothing to do with locks\n")
    clone.git("add", "-A")
    options = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={mallory}", "-c", "commit.gpgsign=true"]
    clone.git(*options, "commit", "-q", "-m", "Signed by somebody else")
    allowed = tmp_path / "allowed"
    allowed.write_text(f"alice {alice.with_suffix('.pub').read_text(encoding='ascii')}", encoding="ascii")
    for name, words in (("whole", ()), ("cut", ("--depth", "1"))):
        root = clone_of(clone, tmp_path / name, *words).root
        assert statuses(as_json(root, "--signers", str(allowed)))["commit-signatures"] == "skipped"
