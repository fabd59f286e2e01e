"""Checks V24 and V25: signatures of the locks, and of the commits and tags that brought them.

Made by `promotion verify --signers FILE`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stages.audit.git import Git, why_no_git
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.rules import Locks
from stages.audit.signatures import BadSignature, Signer, verify
from stages.domain import names

LOCKS = names.LOCKS.as_posix()
ENABLE = "promotion verify --signers FILE"
_SSH = b"-----BEGIN SSH SIGNATURE-----"
_TAGGED = re.compile(rb"^tagger [^\n]*> (\d+) [+-]\d{4}$", re.M)


class LockUnsigned(CheckFailed):
    """V24: a lock has no signature, or none of an allowed signer."""


class CommitForged(CheckFailed):
    """V25: a commit or tag carries a signature that no allowed signer made."""


def _signers(case: Case) -> Path:
    if case.options.signers is None:
        raise Skip("nobody said who may sign", ENABLE)
    return case.options.signers


def lock_signatures(case: Case) -> Iterator[Problem]:
    """V24: every lock is signed, over its exact bytes, by somebody in the file of allowed signers."""
    signers, gates = _signers(case), case.get(Locks).by_gate
    signatures = {gate: case.tree.read(f"locks/{gate}.yaml.sig") for gate in gates}
    if not any(signatures.values()):
        raise Skip("no lock is signed", "promotion freeze --sign KEY")
    for gate, signature in signatures.items():
        path = f"locks/{gate}.yaml"
        if signature is None:
            remedy = f"a signature; `promotion freeze {gate} --sign KEY` writes it"
            yield Problem(f"{path}.sig", "no file", remedy, f"nobody stands for the rule of {gate}")
            continue
        try:
            signer = verify(case.tree.read(path) or b"", signature, signers)
        except BadSignature as error:
            yield Problem(f"{path}.sig", str(error), "a signature by an allowed signer", f"nobody stands for {gate}")
        else:
            case.note(f"{gate} signed by {signer.principal} ({signer.key})")


@dataclass(frozen=True)
class Signed:
    """A commit or tag: what a person calls it, what was signed and how; `seconds` is its own clock (since 1970)."""

    title: str
    payload: bytes
    signature: bytes
    seconds: int | None


def commit_signatures(case: Case) -> Iterator[Problem]:
    """V25: signed commits that touched locks, and signed tags here, are signed by allowed signers."""
    signers = _signers(case)
    if case.git is None:
        raise Skip(why_no_git(case.root), "git clone")
    head = case.commit or case.git.head
    if head is None:
        raise Skip("there is no commit yet", "git commit")
    unsigned = others = 0
    by: dict[Signer, list[str]] = {}
    for one in (*_commits(case.git, head), *_tags(case.git, head)):
        if not one.signature:
            unsigned += one.title.startswith("commit")
        elif not one.signature.startswith(_SSH):
            others += 1
        else:
            try:
                signer = verify(one.payload, one.signature, signers, "git", one.seconds)
            except BadSignature as error:
                expected, meaning = "a signature by an allowed signer", "somebody else froze it or vouches for it"
                yield Problem(one.title, str(error), expected, meaning)
            else:
                by.setdefault(signer, []).append(one.title)
    if others:
        case.note(f"{others} signed by other means than SSH, of which the file of allowed signers says nothing")
    if not by:
        raise Skip(
            f"none of the {unsigned + others} commits that touched locks/ is signed by SSH", "git commit --gpg-sign"
        )
    for signer, titles in by.items():
        case.note(f"{', '.join(titles)} signed by {signer.principal} ({signer.key})")
    if unsigned:
        case.note(f"{unsigned} commits that touched locks/ are not signed")


def _commits(git: Git, head: str) -> Iterator[Signed]:
    """The commits that touched locks/, oldest first. Git's own checking is not asked: its settings name programs."""
    for oid, commit in git.ancestry(head).items():
        parents = [git.entry(parent, LOCKS) for parent in commit.parents if oid not in git.shallow]
        here = git.entry(oid, LOCKS)
        if any(here != parent for parent in parents) if parents else here:
            payload, signature = _unsigned(commit.data)
            yield Signed(f"commit {oid[:12]}", payload, signature, commit.seconds)


def _unsigned(data: bytes) -> tuple[bytes, bytes]:
    """A commit without its signature, and that."""
    head, blank, rest = data.partition(b"\n\n")
    kept, signature, inside = [], [], b""
    for line in head.split(b"\n"):
        if line.startswith(b"gpgsig"):
            inside, _, first = line.partition(b" ")
            line = b" " + first
        elif not line.startswith(b" "):
            inside = b""
        if not inside:
            kept.append(line)
        elif inside == b"gpgsig":
            signature.append(line[1:])
    return b"\n".join(kept) + blank + rest, b"\n".join(signature)


def _tags(git: Git, head: str) -> Iterator[Signed]:
    """The annotated tags of a commit."""
    listed = git.ask(
        "for-each-ref", f"--points-at={head}", "--format=%(objecttype) %(objectname) %(refname:short)", "refs/tags"
    )
    for line in listed.splitlines():
        kind, oid, name = line.split(" ", 2)
        if kind == "tag":
            payload, mark, rest = git.read(oid, "tag").partition(b"\n-----BEGIN ")
            signature = mark[1:] + rest
            seconds = _TAGGED.search(payload)
            yield Signed(f"tag {name}", payload + b"\n", signature, int(seconds[1]) if seconds else None)
