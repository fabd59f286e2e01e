"""What freezing refuses or takes back: history that is not here, a git that fails, conflicts, signatures half made."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path

import pytest

from stages.commands import study as switching
from stages.domain import canonical, files, locks, names
from stages.domain.errors import Refused
from stages.domain.locks import LockRefused
from stages.domain.study import load
from stages.repo import git as git_module
from stages.repo.git import open_git
from stages.repo.objects import GitAbsent, GitRefused
from stages.verify import BadSignature
from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger
from tests.verify.test_command import Done, verify
from tests.verify.test_signatures import make_key

GATES = ("gate1", "gate2", "gate3")


@pytest.fixture
def own(clone: Forger, tmp_path: Path) -> Forger:
    """A clone with the manifest of the corpus, which is all that freezing looks at of the artifacts."""
    return bring(clone, tmp_path / "own")


def bring(clone: Forger, root: Path, *options: str) -> Forger:
    clone.git("config", "uploadpack.allowFilter", "true")
    clone.git("clone", "-q", *options, f"file://{clone.root}", str(root))
    manifest = {"splits": {key: {"tokens": 9999} for key in ("val", "locked")}, "tokenizer": {"vocab_size": 300}}
    files.write_whole(root / names.CORPUS / "manifest.json", canonical.dumps(manifest))
    return Forger(root)


def freeze(f: Forger, *words: str) -> Done:
    import io
    from contextlib import redirect_stderr, redirect_stdout

    from stages.cli import main

    out, err = io.StringIO(), io.StringIO()
    with chdir(f.root), redirect_stdout(out), redirect_stderr(err):
        try:
            main(["freeze", *words])
        except SystemExit as end:
            return Done(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("the command did not end")


def start_anew(f: Forger) -> None:
    """Take the evidence away, and give the study other rules: nothing here says that these were ever judged."""
    for path in (RUNS, DECISIONS, METRICS, *(f"locks/{gate}.yaml" for gate in GATES), *f.dvc_locks()):
        f.delete(path)
    f.params(lambda value: value["gates"]["gate1"]["R2"].update(k=2))


def contents(f: Forger) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(f.path("locks").iterdir())}


# History that is not here


def test_a_shallow_clone_does_not_allow_what_the_whole_history_refuses(clone: Forger, tmp_path):
    start_anew(clone)
    clone.commit("Start anew, without a word")
    whole, shallow = (bring(clone, tmp_path / name, *words) for name, words in (("a", ()), ("b", ("--depth", "1"))))
    done = freeze(whole)
    assert (done.returncode, "git holds evidence of rung1" in done.stderr) == (2, True)
    done = freeze(shallow)
    assert done.returncode == 2
    assert "a shallow clone: what came before commit" in done.stderr
    assert "nothing was frozen; `git fetch --unshallow` brings it" in done.stderr
    assert not shallow.path("locks/gate1.yaml").exists()
    shallow.git("fetch", "-q", "--unshallow")
    assert "git holds evidence of rung1" in freeze(shallow).stderr


def test_a_shallow_clone_freezes_what_is_frozen_already(clone: Forger, tmp_path):
    shallow = bring(clone, tmp_path / "shallow", "--depth", "1")
    manifest = clone.root.parent  # the digest in the locks is that of the whole corpus, which a clone does not hold
    assert manifest.is_dir()
    corpus = locks.loads(shallow.read("locks/gate1.yaml"), "gate1").frozen.corpus
    with chdir(shallow.root), pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.commands.freeze.corpus_digest", lambda: corpus)
        from stages.commands.freeze import freeze as freeze_locks

        assert freeze_locks(load(), [], None) == dict.fromkeys(GATES, "unchanged")
        shallow.params(lambda value: value["gates"]["gate1"]["R2"].update(k=2))
        with pytest.raises((GitAbsent, LockRefused)):
            freeze_locks(load(), [], None)


def test_a_partial_clone_says_what_freezing_needs(clone: Forger, tmp_path):
    start_anew(clone)
    clone.commit("Start anew, without a word")
    partial = bring(clone, tmp_path / "partial", "--filter=blob:none")
    done = freeze(partial)
    assert (done.returncode, "`git fetch --refetch --no-filter` brings it" in done.stderr) == (2, True)


# A git that fails


def other_owner(f: Forger, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return "dubious ownership"


def broken_settings(f: Forger, monkeypatch: pytest.MonkeyPatch) -> str:
    f.write(".git/config", b"[core\n")
    return "bad config line 1"


def broken_settings_of_the_person(f: Forger, monkeypatch: pytest.MonkeyPatch) -> str:
    f.write("../gitconfig", b"[user\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(f.path("../gitconfig").resolve()))
    return "bad config line 1"


def a_format_of_the_future(f: Forger, monkeypatch: pytest.MonkeyPatch) -> str:
    f.replace(".git/config", "repositoryformatversion = 0", "repositoryformatversion = 99")
    return "Expected git repo version"


def no_git(f: Forger, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(git_module, "environment", lambda: {"PATH": str(f.root)})
    monkeypatch.setenv("PATH", str(f.root))
    return "git is not installed"


@pytest.mark.parametrize(
    "damage", [other_owner, broken_settings, broken_settings_of_the_person, a_format_of_the_future, no_git]
)
def test_a_git_that_fails_is_told_in_its_words_and_is_not_a_folder_without_git(damage, own: Forger, monkeypatch):
    message = damage(own, monkeypatch)
    with chdir(own.root):
        for ask in (
            lambda: switching.use(switching.find_study("paper"), yes=True, force=False),
            switching.list_uncommitted,
            lambda: open_git(Path(), required=True),
        ):
            with pytest.raises((GitRefused, Refused), match=message) as caught:
                ask()
            assert "--force" not in str(caught.value)
    done = freeze(own)
    assert (done.returncode, message in done.stderr) == (2, True), done
    if damage is not no_git:
        done = verify(own.root)
        assert (done.returncode, message in done.stderr) == (2, True)


@pytest.mark.skipif(not hasattr(os, "chown") or os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_belongs_to_somebody_else_is_refused_in_gits_own_words(own: Forger, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    for path in (own.root, own.path(".git")):
        os.chown(path, 12345, 12345)
    done = verify(own.root)
    assert done.returncode == 2
    assert "dubious ownership" in done.stderr
    assert "git config --global --add safe.directory" in done.stderr


# Conflicts


PLACES = [
    "params.yaml", "dvc.yaml", "dvc.lock", "locks/gate2.yaml", RUNS, DECISIONS, METRICS,
    "stages/ladder/rung1/d1-a/dvc.lock", "stages/ladder/rung2/d1-a/dvc.yaml", "stages/ladder/rung1/dvc.lock",
]  # fmt: skip


@pytest.mark.parametrize("path", PLACES)
def test_a_merge_conflict_is_called_that_and_nothing_overwrites_it(path, own: Forger):
    first, rest = own.read(path).split(b"\n", 1)
    data = b"<<<<<<< HEAD\n" + first + b"\n=======\n" + first + b"x\n>>>>>>> topic\n" + rest
    own.write(path, data)
    own.git("add", path)
    before = contents(own)
    done = freeze(own)
    assert done.returncode == 2
    assert f"{path}, line 1" in done.stderr
    assert "found a merge conflict, expected one side of it" in done.stderr
    assert contents(own) == before
    done = verify(own.root)
    assert done.returncode == 1
    words = " ".join(done.stdout.split())
    assert f"V01 plain-files: {path}, line 1 found a merge conflict" in words
    with pytest.raises(ValueError, match="found a merge conflict"):
        files.write_whole(own.path(path), b"new\n")
    assert own.read(path) == data


# Squash merges and imports


def test_a_squash_is_named_first_and_once(clone: Forger):
    tree = clone.git("rev-parse", "HEAD^{tree}")
    squashed = clone.git(
        "commit-tree", "-p", clone.git("rev-list", "--max-parents=0", "HEAD"), "-m", "All at once", tree
    )
    problems = next(result for result in clone.verify(squashed) if result.check.name == "rule-first").problems
    assert len(problems) == 1
    assert problems[0].file == "locks"
    assert problems[0].found == (
        f"a squash merge or an import? commit {squashed[:12]} brings evidence of rung1, rung2 and rung3 together with "
        "the locks that judge it"
    )
    assert "git merge --no-ff" in problems[0].meaning


def test_an_import_of_a_finished_study_is_named_too_and_so_is_a_squash_of_the_workspace(clone: Forger):
    tree = clone.git("rev-parse", "HEAD^{tree}")
    imported = clone.git("commit-tree", "-m", "Import", tree)
    problems = next(result for result in clone.verify(imported) if result.check.name == "rule-first").problems
    assert [problem.found.split("?")[0] for problem in problems] == ["a squash merge or an import"]
    clone.git("reset", "-q", "--soft", clone.git("rev-list", "--max-parents=0", "HEAD"))  # `git merge --squash`
    problems = next(result for result in clone.verify(None) if result.check.name == "rule-first").problems
    assert [problem.found.split("?")[0] for problem in problems] == ["a squash merge or an import"]


def test_a_rebase_that_keeps_the_commits_apart_is_none(clone: Forger):
    clone.git("rebase", "-q", "--force-rebase", "--root")
    assert "rule-first" not in [result.check.name for result in clone.verify(None) if result.status == "failed"]


# Signatures


pytest_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent, and nobody who could be asked for a passphrase."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")


def make_locked_key(folder: Path, name: str = "locked") -> Path:
    """A key with the passphrase `secret`."""
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest_ssh
def test_where_a_key_cannot_sign_no_lock_is_written(own: Forger, tmp_path, quiet):
    start_anew(own)
    own.params(lambda value: value["study"].update(name="next"))
    own.params(
        lambda value: [rung.update(seeds=[seed + 900 for seed in rung["seeds"]]) for rung in value["rungs"].values()]
    )
    for key in (make_locked_key(tmp_path), own.path("params.yaml"), tmp_path / "none"):
        done = freeze(own, "--sign", str(key))
        assert done.returncode == 2, done
        assert not list(own.path("locks").glob("gate*"))
    done = freeze(own, "--sign", str(tmp_path / "locked"))
    assert "this key has a passphrase" in done.stderr
    assert f"`ssh-add {tmp_path / 'locked'}`" in done.stderr
    done = freeze(own, "--sign", str(make_key(tmp_path, "alice")))
    assert done.returncode == 0, done.stderr
    assert sorted(contents(own)) == ["README.md", *(f"{gate}.yaml{end}" for gate in GATES for end in ("", ".sig"))]
    own.params(lambda value: value["rungs"]["rung3"].update(seeds=[950]))
    done = freeze(own)
    assert "locks/gate3.yaml.sig was of the lock before, and is taken away" in done.stdout
    assert sorted(path.name for path in own.path("locks").glob("*.sig")) == ["gate1.yaml.sig", "gate2.yaml.sig"]


@pytest_ssh
@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="no agent is installed")
def test_a_key_with_a_passphrase_signs_where_an_agent_holds_it(tmp_path, quiet, monkeypatch):
    from stages.verify import make_signature, verify_signature

    key = make_locked_key(tmp_path)
    with pytest.raises(BadSignature, match="this key has a passphrase"):
        make_signature(b"rules\n", key)
    answer = subprocess.run(["ssh-agent", "-s"], capture_output=True, encoding="utf-8", check=True).stdout
    values = dict(word.split("=") for word in answer.replace(";", "\n").splitlines() if "=" in word)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    try:
        helper = tmp_path / "askpass"
        helper.write_text("#!/bin/sh\necho secret\n", encoding="utf-8")
        helper.chmod(0o755)
        monkeypatch.setenv("SSH_ASKPASS", str(helper))
        subprocess.run(["ssh-add", "-q", str(key)], check=True, stdin=subprocess.DEVNULL)
        monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
        allowed = tmp_path / "allowed"
        allowed.write_text(f"alice@example.org {key.with_suffix('.pub').read_text(encoding='ascii')}", encoding="ascii")
        for half in (key, key.with_suffix(".pub")):
            assert (
                verify_signature(b"rules\n", make_signature(b"rules\n", half), allowed).principal == "alice@example.org"
            )
    finally:
        subprocess.run(["ssh-agent", "-k"], check=False, capture_output=True)


@pytest_ssh
def test_a_home_folder_is_found_behind_an_equals_sign(own: Forger, tmp_path, monkeypatch):
    make_key(tmp_path, "alice")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    allowed = tmp_path / "allowed"
    allowed.write_text(f"alice {(tmp_path / 'alice.pub').read_text(encoding='ascii')}", encoding="ascii")
    start_anew(own)
    own.params(lambda value: value["study"].update(name="next"))
    own.params(
        lambda value: [rung.update(seeds=[seed + 900 for seed in rung["seeds"]]) for rung in value["rungs"].values()]
    )
    done = freeze(own, "--sign=~/alice")
    assert (done.returncode, "signed: locks/gate3.yaml.sig" in done.stdout) == (0, True), done
    done = verify(own.root, "--signers=~/allowed", "--require", "lock-signatures")
    assert "V24 lock-signatures" not in done.stdout
    done = freeze(own, "--sign=~nobody-of-that-name/id")
    assert done.returncode == 2
    assert "~nobody-of-that-name/id: this machine knows no home folder of that name" in done.stderr


@pytest_ssh
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"# nobody yet\n",
        b"alice@example.org\n",
        b"alice ssh-ed25519 AAAA\n",
        b"alice ssh-ed25519 rubbish!\n",
        "key",
    ],
)
def test_a_file_of_signers_that_allows_nobody_is_told_as_that_and_no_key_as_forged(data, clone: Forger, tmp_path):
    key, allowed = make_key(tmp_path, "alice"), tmp_path / "allowed"
    public = key.with_suffix(".pub").read_bytes()
    allowed.write_bytes(f"alice {public.decode()}".encode("utf-16") if data == "key" else data)
    from stages.verify import sign

    for gate in GATES:
        sign(clone.path(f"locks/{gate}.yaml"), key)
    done = verify(clone.root, "--signers", str(allowed))
    assert done.returncode == 2
    assert "found no line of an allowed signer, expected one for everybody who may sign, in UTF-8" in done.stderr
    allowed.write_bytes(b"alice " + public)
    assert verify(clone.root, "--signers", str(allowed)).returncode == 0


# Outputs


@pytest.mark.parametrize("option", ["--json", "--junit", "--markdown"])
def test_what_cannot_be_written_is_told_by_its_path_before_anything_is_verified(option, clone: Forger, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, Path(), tmp_path / "file" / "inside"):
        done = verify(clone.root, f"{option}={path}")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{option} {path}: " in done.stderr
    assert verify(clone.root, f"{option}={tmp_path / 'new' / 'folder' / 'v'}").returncode == 0


def test_an_attestation_that_cannot_be_read_or_written_is_told_by_its_path(clone: Forger, tmp_path, capsys):
    from stages.cli import main

    for words, message in (
        (["gate1", "--out", str(tmp_path)], "found a folder, expected the name of a file to write"),
        (["--check", str(tmp_path)], "no such file; `promotion attest GATE --out FILE` writes one"),
        (["--check", str(tmp_path / "none")], "no such file"),
    ):
        with chdir(clone.root), pytest.raises(SystemExit) as end:
            main(["attest", *words])
        assert end.value.code == 2
        error = capsys.readouterr().err
        assert f"{words[-1]}: {message}" in error
