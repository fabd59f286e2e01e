"""SSH signatures of locks, commits and tags: who froze a rule, in the format that git uses."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from stages.verify import BadSignature, BadSigners, sign, verify_signature
from stages.verify.signatures import read_allowed_signers, signature_path
from tests.support.repo import reading_git
from tests.verify.forger import Forger, failed

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
GATES = ("gate1", "gate2", "gate3")


def make_key(folder: Path, name: str) -> Path:
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """alice may sign, mallory may not."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "mallory"):
        make_key(folder, name)
    public = (folder / "alice.pub").read_text(encoding="ascii")
    (folder / "allowed").write_text(f"alice@example.org {public}", encoding="ascii")
    return folder


def sign_all(clone: Forger, key: Path) -> None:
    for gate in GATES:
        sign(clone.path(f"locks/{gate}.yaml"), key)


def status(clone: Forger, check: str, signers: Path | None) -> tuple[str, list[str]]:
    result = next(one for one in clone.verify(None, "git", signers) if one.check.name == check)
    return result.status, [*result.notes, *map(str, result.problems), result.reason]


def test_freeze_signs_each_lock_and_leaves_nothing_for_dvc_to_do(study, keys):
    done = study.promotion("freeze", "--sign", str(keys / "alice"))
    assert "signed: locks/gate3.yaml.sig" in done.stdout
    forger = Forger(study.root)
    assert status(forger, "lock-signatures", keys / "allowed")[0] == "passed"
    assert failed(forger.verify(None, "git", keys / "allowed")) == []
    assert "up to date" in study.dvc("status").stdout


def test_a_signature_names_who_made_it(keys, tmp_path):
    lock = tmp_path / "gate1.yaml"
    lock.write_bytes(b"rules\n")
    made = sign(lock, keys / "alice")
    assert made == signature_path(lock) == tmp_path / "gate1.yaml.sig"
    signer = verify_signature(b"rules\n", made.read_bytes(), keys / "allowed")
    assert signer.principal == "alice@example.org"
    assert signer.key.startswith("SHA256:")
    sign(lock, keys / "alice")


@pytest.mark.parametrize(
    ("data", "key", "namespace", "message"),
    [
        (b"other\n", "alice", "staged-promotion-lock", "it does not hold for alice@example.org"),
        (b"rules\n", "mallory", "staged-promotion-lock", "its key is not among allowed"),
        (b"rules\n", "alice", "git", "it does not hold for alice@example.org"),
    ],
)
def test_other_bytes_another_key_and_another_purpose_do_not_hold(data, key, namespace, message, keys, tmp_path):
    lock = tmp_path / "gate1.yaml"
    lock.write_bytes(b"rules\n")
    made = sign(lock, keys / key, namespace)
    with pytest.raises(BadSignature, match=message):
        verify_signature(data, made.read_bytes(), keys / "allowed")


def test_what_is_no_key_or_no_signature_is_refused(keys, tmp_path):
    lock = tmp_path / "gate1.yaml"
    lock.write_bytes(b"rules\n")
    with pytest.raises(BadSignature, match="no such key"):
        sign(lock, tmp_path / "nobody")
    with pytest.raises(BadSignature, match="would not sign"):
        sign(lock, keys / "allowed")
    for rubbish in (b"", b"rubbish", b"x" * (1 << 20)):
        with pytest.raises(BadSignature):
            verify_signature(b"rules\n", rubbish, keys / "allowed")
    with pytest.raises(BadSigners, match="no such file"):
        verify_signature(b"rules\n", b"", tmp_path / "none")


def test_signed_locks_verify_and_say_by_whom(clone, keys):
    sign_all(clone, keys / "alice")
    found, reported = status(clone, "lock-signatures", keys / "allowed")
    assert found == "passed"
    assert any(one.startswith("gate3 signed by alice@example.org (SHA256:") for one in reported)
    assert failed(clone.verify(clone.commit("Sign"), "git", keys / "allowed")) == []


def test_a_lock_without_a_signature_or_with_a_strangers_fails(clone, keys):
    sign_all(clone, keys / "alice")
    clone.delete("locks/gate2.yaml.sig")
    assert status(clone, "lock-signatures", keys / "allowed")[0] == "failed"
    sign_all(clone, keys / "mallory")
    found, reported = status(clone, "lock-signatures", keys / "allowed")
    assert found == "failed"
    assert "its key is not among allowed" in reported[0]


def test_a_lock_edited_after_it_was_signed_fails_although_everything_else_was_mended(clone, keys):
    sign_all(clone, keys / "alice")
    clone.replace("locks/gate1.yaml", "# The rules", "# the rules")
    assert failed(clone.verify(None, "git", keys / "allowed")) == ["lock-digests", "lock-signatures"]


def test_without_signers_signatures_are_skipped_and_say_how(clone):
    found, reported = status(clone, "lock-signatures", None)
    assert (found, reported[-1]) == ("skipped", "nobody said who may sign")


def signed_commit(clone: Forger, key: Path) -> None:
    clone.write("locks/README.md", clone.read("locks/README.md") + b"\n")
    clone.git("add", "-A")
    options = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}", "-c", "commit.gpgsign=true"]
    clone.git(*options, "commit", "-q", "-m", "Signed")


def test_signed_commits_that_touched_locks_are_checked(clone, keys):
    assert status(clone, "commit-signatures", keys / "allowed")[0] == "skipped"
    signed_commit(clone, keys / "alice")
    found, reported = status(clone, "commit-signatures", keys / "allowed")
    assert found == "passed"
    assert reported[0].startswith(f"commit {clone.git('rev-parse', 'HEAD')[:12]} signed by alice@example.org (SHA256:")
    assert reported[1] == "2 commits that touched locks/ are not signed"
    signed_commit(clone, keys / "mallory")
    found, reported = status(clone, "commit-signatures", keys / "allowed")
    assert found == "failed"


def test_a_signed_tag_of_a_stranger_fails(clone, keys):
    for name, expected in (("alice", "passed"), ("mallory", "failed")):
        options = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={keys / name}"]
        clone.git(*options, "tag", "-s", "-m", "a release", f"by-{name}")
        try:
            assert status(clone, "commit-signatures", keys / "allowed")[0] == expected
        finally:
            clone.git("tag", "-d", f"by-{name}")


def test_teams_that_sign_no_lock_are_told_so_and_fail_only_where_they_require_it(clone, keys):
    found, reported = status(clone, "lock-signatures", keys / "allowed")
    assert (found, reported[-1]) == ("skipped", "no lock is signed")


def allow(folder: Path, text: str, name: str = "alice") -> Path:
    """A file of allowed signers with KEY in the place of a public key."""
    key = " ".join((folder / f"{name}.pub").read_text(encoding="ascii").split()[:2])
    path = folder / "some"
    path.write_bytes(text.replace("KEY", key).encode("latin-1"))
    return path


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ('git@x namespaces="git" KEY\nlock@x namespaces="staged-promotion-lock" KEY\n', "lock@x"),
        ('"alice b" KEY\n', "alice b"),
        ("a@x,b@x KEY a comment\n", "a@x"),
        ("# nobody\n\nalice@x KEY\n", "alice@x"),
        ("al\xefce@x KEY\n", "al\ufffdce@x"),
    ],
)
def test_any_line_of_the_allowed_signers_may_allow_a_signature(text, who, keys, tmp_path):
    lock = tmp_path / "gate1.yaml"
    lock.write_bytes(b"rules\n")
    signature = sign(lock, keys / "alice").read_bytes()
    assert verify_signature(b"rules\n", signature, allow(keys, text)).principal == who


@pytest.mark.parametrize(
    "text",
    [
        'alice@x namespaces="git" KEY\n',
        'alice@x valid-before="20200101" KEY\n',
        'alice@x valid-after="20990101" KEY\n',
        "alice@x cert-authority KEY\n",
        "alice@x\n",
        "",
    ],
)
def test_a_line_that_does_not_allow_this_purpose_or_time_does_not_hold(text, keys, tmp_path):
    lock = tmp_path / "gate1.yaml"
    lock.write_bytes(b"rules\n")
    signature = sign(lock, keys / "alice").read_bytes()
    with pytest.raises(BadSignature):
        verify_signature(b"rules\n", signature, allow(keys, text))


def test_a_commit_is_held_against_the_time_at_which_it_was_made(clone, keys):
    signed_commit(clone, keys / "alice")
    assert status(clone, "commit-signatures", allow(keys, 'a@x valid-before="20990101" KEY\n'))[0] == "passed"
    found, reported = status(clone, "commit-signatures", allow(keys, 'a@x valid-before="20200101" KEY\n'))
    assert found == "failed"
    assert "its key is not among some" in reported[0]


def test_a_signature_by_pgp_is_counted_and_vouches_for_nothing(clone, keys):
    signed_commit(clone, keys / "alice")
    with reading_git(clone.root) as git:
        data = git.read(clone.git("rev-parse", "HEAD"), "commit")
    other = data.replace(b"BEGIN SSH", b"BEGIN PGP").replace(b"END SSH", b"END PGP")
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=clone.root,
        input=other,
        capture_output=True,
        check=True,
    )
    clone.git("update-ref", "HEAD", made.stdout.decode("ascii").strip())
    found, reported = status(clone, "commit-signatures", keys / "allowed")
    assert found == "skipped"
    assert reported == [
        "1 signed by other means than SSH, of which the file of allowed signers says nothing",
        "none of the 3 commits that touched locks/ is signed by SSH",
    ]


def test_a_commit_whose_content_changed_under_its_signature_is_forged(clone, keys):
    signed_commit(clone, keys / "alice")
    with reading_git(clone.root) as git:
        data = git.read(clone.git("rev-parse", "HEAD"), "commit")
    made = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--stdin"],
        cwd=clone.root,
        input=data.replace(b"Signed", b"Sighed"),
        capture_output=True,
        check=True,
    )
    clone.git("update-ref", "HEAD", made.stdout.decode("ascii").strip())
    found, reported = status(clone, "commit-signatures", keys / "allowed")
    assert found == "failed"
    assert "it does not hold for alice@example.org" in reported[0]


@pytest.mark.parametrize("mark", ["\v", "\r", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_line_of_the_signers_ends_where_it_ends_for_ssh_keygen(mark, keys, tmp_path):
    """mallory's key stands in a comment, which a reader that knows more ends of lines takes for a line of its own."""
    lock, allowed = tmp_path / "gate1.yaml", tmp_path / "allowed"
    lock.write_bytes(b"rules\n")
    alice, mallory = ((keys / f"{name}.pub").read_text(encoding="ascii") for name in ("alice", "mallory"))
    text = f"alice@example.org {alice.strip()}{mark}mallory@example.org {mallory}"
    allowed.write_bytes(f"# a comment{mark}mallory@example.org {mallory}{text}".encode())
    assert [signer.names for signer in read_allowed_signers(allowed)] == ["alice@example.org"]
    for name, good in (("alice", True), ("mallory", False)):
        signature = sign(lock, keys / name)
        words = ["ssh-keygen", "-Y", "find-principals", "-s", str(signature), "-f", str(allowed)]
        answer = subprocess.run(words, capture_output=True, encoding="utf-8")
        assert (answer.returncode == 0) is good, "ssh-keygen itself reads it otherwise, or this test shows nothing"
        if good:
            assert verify_signature(b"rules\n", signature.read_bytes(), allowed).principal == "alice@example.org"
        else:
            with pytest.raises(BadSignature):
                verify_signature(b"rules\n", signature.read_bytes(), allowed)


def test_a_tag_whose_name_holds_a_line_separator_is_one_tag(clone, keys):
    clone.git("tag", "-a", "-m", "x", "a\u2028b")
    try:
        assert status(clone, "commit-signatures", keys / "allowed")[0] == "skipped"
    finally:
        clone.git("tag", "-d", "a\u2028b")
