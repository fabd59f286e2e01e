"""A file of allowed signers allows here whom it allows to ssh-keygen, whatever its lines are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stages.verify.signatures import (
    MAX_BYTES,
    NAMESPACE,
    BadSignature,
    BadSigners,
    read_allowed_signers,
    sign,
    verify_signature,
)
from tests.support.fuzzing import budget
from tests.verify.test_signatures import keys

__all__ = ["keys"]
pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
PRINCIPALS = ("alice", "bob", "alice b")
NAMES = st.sampled_from(["alice", "bob", '"alice b"', "alice,bob", '"alice b",bob', '"alice', "#alice", ""])
OPTIONS = st.lists(
    st.sampled_from(
        [
            f'namespaces="{NAMESPACE}"',
            'namespaces="git"',
            f'namespaces="git,{NAMESPACE}"',
            'namespaces="*"',
            "namespaces=git",
            'namespaces="staged-*"',
            'namespaces="!git,*"',
            f'NameSpaces="{NAMESPACE}"',
            'namespaces=""',
            "cert-authority",
            'valid-after="20200101"',
            'valid-after="20990101"',
            'valid-before="20200101Z"',
            'valid-before="209901010000"',
            'valid-before="20990101000000Z"',
            'valid-before="2099"',
            "valid-before=20990101",
            "other",
            'other="x"',
            "",
        ]
    ),
    max_size=2,
).map(",".join)
BLANKS = st.sampled_from([" ", "  ", "\t", " \t", "\r", "\v"])
KEYS = st.sampled_from(["ALICE", "ALICE", "ALICE", "MALLORY", "ssh-ed25519 AAAA", "ssh-ed25519", "AAAA", ""])
TAILS = st.sampled_from(["", "", " a comment", "\r", " ", "\t#", "\0", " \v bob ALICE"])
LINES = st.tuples(st.sampled_from(["", "", " ", "\t", "#"]), NAMES, BLANKS, OPTIONS, BLANKS, KEYS, TAILS).map("".join)


@pytest.fixture(scope="module")
def signed(keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What alice signed, and its signature."""
    path = tmp_path_factory.mktemp("signed") / "gate1.yaml"
    path.write_bytes(b"rules\n")
    sign(path, keys / "alice")
    return path


def allows(signed: Path, allowed: Path) -> bool:
    """Whether ssh-keygen itself takes the signature for anybody's."""
    words = ["ssh-keygen", "-Y", "find-principals", "-s", f"{signed}.sig", "-f", str(allowed)]
    names = subprocess.run(words, capture_output=True).stdout.decode("utf-8", "surrogateescape").split("\n")[0]
    for principal in {*PRINCIPALS, names, *names.split(",")} - {""}:
        words = ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", principal, "-n", NAMESPACE]
        done = subprocess.run([*words, "-s", f"{signed}.sig"], input=signed.read_bytes(), capture_output=True)
        if done.returncode == 0:
            return True
    return False


@given(st.lists(LINES, min_size=1, max_size=3).map("\n".join))
@example("alice\talice\nalice  ALICE")
@example('bob namespaces="git" ALICE\nalice  ALICE')
@budget(60)
def test_a_signature_is_taken_where_ssh_keygen_takes_it(signed, keys, tmp_path_factory, text):
    for name in ("alice", "mallory"):
        text = text.replace(name.upper(), " ".join((keys / f"{name}.pub").read_text(encoding="ascii").split()[:2]))
    allowed = tmp_path_factory.getbasetemp() / "allowed"
    allowed.write_bytes(text.encode())
    expected = allows(signed, allowed)
    try:
        principal = verify_signature(signed.read_bytes(), Path(f"{signed}.sig").read_bytes(), allowed).principal
    except (BadSignature, BadSigners) as error:
        assert not expected, (text, error)
    else:
        assert expected, (text, principal)


@given(LINES)
@budget(60)
def test_a_key_may_sign_by_itself_where_ssh_keygen_lets_it(signed, keys, tmp_path_factory, line):
    """Envelopes of attestations are checked against the lines as they are read here."""
    public = " ".join((keys / "alice.pub").read_text(encoding="ascii").split()[:2])
    allowed = tmp_path_factory.getbasetemp() / "allowed"
    allowed.write_bytes(line.replace("ALICE", public).replace("MALLORY", "ssh-ed25519 AAAA").encode())
    try:
        signers = read_allowed_signers(allowed)
        may = any(signer.key == public and signer.may(NAMESPACE, datetime.now(UTC)) for signer in signers)
    except BadSigners:
        may = False
    assert may is allows(signed, allowed), allowed.read_bytes()


@pytest.mark.parametrize(
    "piece", ["\n", "a\n", "alice ssh-ed25519 AAAA\n", '"', '"a" ', "cert-authority,", 'other="', "a,", '\\"', " ", "#"]
)
@pytest.mark.parametrize("begin", ["", "alice ", 'alice namespaces="'])
def test_a_file_as_large_as_one_may_be_is_read_in_bounded_memory(tmp_path, begin, piece):
    """256 MB over its size, and in a time that grows with it: an eighth of it here."""
    allowed = tmp_path / "allowed"
    allowed.write_text(begin + piece * (MAX_BYTES // 8 // len(piece)), encoding="utf-8")
    tracemalloc.start()
    try:
        read_allowed_signers(allowed)
        assert tracemalloc.get_traced_memory()[1] < (256 << 20) // 8
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in the file system")
@pytest.mark.parametrize(("kind", "words"), [("pipe", "a named pipe"), ("device", "a device"), ("folder", "a folder")])
def test_signers_that_are_no_regular_file_are_called_what_they_are_and_never_opened(kind, words, tmp_path):
    path = tmp_path / "signers"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path(os.devnull)
    else:
        path.mkdir()
    with pytest.raises(BadSigners) as error:
        read_allowed_signers(path)
    assert str(error.value).startswith(f"{path}: found {words}, expected a regular file")


def test_signers_that_are_not_there_are_missing(tmp_path):
    with pytest.raises(BadSigners, match="no such file"):
        read_allowed_signers(tmp_path / "none")
