"""A decision as an in-toto statement: subjects are decision and weights, materials are records, locks and corpus.

    promotion attest gate5 --out gate5.intoto.json               of the commit that is checked out
    promotion attest gate5 --out gate5.intoto.json --sign KEY    in a DSSE envelope, signed with an SSH key
    promotion attest --check gate5.intoto.json --signers FILE    holds it against this study

A decision that does not verify is not attested. Exit status: 0 done or it holds, 1 it does not hold, 2 could not run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stages.domain.errors import Refused

if TYPE_CHECKING:
    from stages.verify.check import Case


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion attest`."""
    parser.add_argument("gate", nargs="?", metavar="GATE", help="the gate whose decision to attest")
    parser.add_argument("--out", metavar="FILE", type=Path, help="where to write the statement")
    parser.add_argument("--sign", metavar="KEY", type=Path, help="sign it with this SSH key")
    parser.add_argument("--check", metavar="FILE", type=Path, help="check a statement instead")
    parser.add_argument("--signers", metavar="FILE", type=Path, help="with --check: who may have signed it")
    parser.add_argument("--rev", metavar="COMMIT", default="HEAD", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Write a statement, or check one."""
    if arguments.check:
        if arguments.gate or arguments.out or arguments.sign:
            raise Refused("--check goes with --signers and --rev alone")
        return _check(arguments.check, arguments.signers, arguments.rev)
    if not arguments.gate or not arguments.out:
        raise Refused("usage: promotion attest GATE --out FILE, or promotion attest --check FILE")
    from stages.domain import files
    from stages.verify import attestation

    value, left = attestation.statement(_case(arguments.rev), arguments.gate)
    files.write_whole(arguments.out, attestation.dumps(value, arguments.sign))
    subjects = ", ".join(one["name"] for one in value["subject"])
    print(f"{arguments.out}: {subjects}; {len(value['predicate']['materials'])} materials")
    for one in left:
        print(f"note: {one}")
    return 0


def _case(rev: str) -> Case:
    """The audited commit; refuses if it does not verify."""
    from stages.repo.git import open_git, why_no_git
    from stages.repo.tree import open_tree
    from stages.verify.check import Case, Options
    from stages.verify.sequence import audit

    root = Path()
    git = open_git(root)
    if git is None:
        raise Refused(f"{why_no_git(root)}, and an attestation names a commit")
    commit = git.resolve(rev)
    case = Case(root, open_tree(root, git, commit), git, commit, Options("git"))
    bad = [result for result in audit(case) if result.status == "failed"]
    if bad:
        found = f"{bad[0].check.id} {bad[0].check.name}: {bad[0].problems[0]}"
        raise Refused(f"{rev} does not verify, so nothing of it is attested: {found}")
    return case


def _check(path: Path, signers: Path | None, rev: str) -> int:
    from stages.verify import attestation
    from stages.verify.signatures import BadSignature

    try:
        value, envelope = attestation.parse(path.read_bytes(), path.name)
        predicate = value.get("predicate", {})
        if value.get("predicateType") != attestation.LINK:
            raise attestation.BadAttestation(f"{path.name}: predicateType: expected {attestation.LINK}")
        signer = attestation.check_signature(envelope, signers, path.name) if signers else None
        commit = next(
            (one["digest"]["gitCommit"] for one in predicate["materials"] if one["name"] == "repository"), rev
        )
        made, left = attestation.statement(_case(commit), str(predicate.get("name")))
        left += attestation.compare(value, made, path.name)
    except (attestation.BadAttestation, BadSignature) as error:
        print(f"does not hold: {error}", file=sys.stderr)
        return 1
    except (KeyError, TypeError) as error:
        print(f"does not hold: {path.name}: no Link predicate of this project: {error!r}", file=sys.stderr)
        return 1
    print(f"holds: {path.name} says what {commit[:12]} says" + (f"; signed by {signer}" if signer else "; not signed"))
    for one in left:
        print(f"note: {one}")
    if envelope is not None and signer is None:
        print("note: it carries a signature that was not checked; name who may sign with --signers FILE")
    return 0
