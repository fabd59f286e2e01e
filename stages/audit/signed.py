"""Checks V22 and V23: signatures of the locks, and of the commits and tags that brought them.

Made by `promotion verify --signers FILE`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stages.audit.git import Git
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.rules import Locks
from stages.audit.signatures import BadSignature, verify

ENABLE = "promotion verify --signers FILE"
_MEANING = {
    "B": "the signature is false",
    "U": "nobody in the file of allowed signers made it",
    "E": "its key is not among the allowed signers",
    "X": "the signature has expired",
    "Y": "its key has expired",
    "R": "its key was revoked",
}


class LockUnsigned(CheckFailed):
    """V22: a lock has no signature, or none of an allowed signer."""


class CommitForged(CheckFailed):
    """V23: a commit or tag carries a signature that no allowed signer made."""


def _signers(case: Case) -> Path:
    if case.options.signers is None:
        raise Skip("nobody said who may sign", ENABLE)
    return case.options.signers


def lock_signatures(case: Case) -> Iterator[Problem]:
    """V22: every lock is signed, over its exact bytes, by somebody in the file of allowed signers."""
    signers = _signers(case)
    for gate in case.get(Locks).by_gate:
        path = f"locks/{gate}.yaml"
        signature, data = case.tree.read(f"{path}.sig"), case.tree.read(path) or b""
        if signature is None:
            remedy = f"a signature; `promotion freeze {gate} --sign KEY` writes it"
            yield Problem(f"{path}.sig", "no file", remedy, f"nobody stands for the rule of {gate}")
            continue
        try:
            signer = verify(data, signature, signers)
        except BadSignature as error:
            yield Problem(f"{path}.sig", str(error), "a signature by an allowed signer", f"nobody stands for {gate}")
        else:
            case.note(f"{gate} signed by {signer.principal} ({signer.key})")


def commit_signatures(case: Case) -> Iterator[Problem]:
    """V23: signed commits that touched locks, and signed tags here, are signed by allowed signers."""
    signers = _signers(case)
    if case.git is None:
        raise Skip("this is not a git repository", "git clone")
    head = case.commit or "HEAD"
    signed, unsigned = 0, 0
    for commit, status, name in _statuses(case.git, head, signers):
        if status == "N":
            unsigned += 1
        elif status == "G":
            signed += 1
        else:
            found = f"{_MEANING.get(status, 'status ' + status)}{f' ({name})' if name else ''}"
            yield Problem(f"commit {commit[:12]}", found, "a signature by an allowed signer", "somebody else froze it")
    for tag, complaint in _tags(case.git, head, signers):
        signed += not complaint
        if complaint:
            yield Problem(f"tag {tag}", complaint, "a signature by an allowed signer", "somebody else vouches for it")
    if not signed:
        raise Skip(f"none of the {unsigned} commits that touched locks/ is signed", "git commit --gpg-sign")
    case.note(f"{signed} signed" + (f", {unsigned} commits that touched locks/ unsigned" if unsigned else ""))


def _allow(signers: Path) -> list[str]:
    return ["-c", f"gpg.ssh.allowedSignersFile={signers.resolve().as_posix()}"]


def _statuses(git: Git, head: str, signers: Path) -> Iterator[tuple[str, str, str]]:
    form = "--format=%H%x00%G?%x00%GS"
    text = git.ask(*_allow(signers), "log", "--full-history", form, head, "--", ":(literal)locks")
    for line in text.splitlines():
        commit, status, name = line.split("\0")
        yield commit, status, name


def _tags(git: Git, head: str, signers: Path) -> Iterator[tuple[str, str]]:
    """(tag, complaint) of every signed tag at the commit; no complaint where the signature holds."""
    for tag in git.ask("tag", "--points-at", head).splitlines():
        content = git.run("cat-file", "tag", tag).stdout
        if b"-----BEGIN" not in content:
            continue
        done = git.run(*_allow(signers), "verify-tag", tag)
        complaint = done.stderr.decode("utf-8", "replace").strip().splitlines()
        yield tag, (complaint[-1] if complaint else "it does not verify") if done.returncode else ""
