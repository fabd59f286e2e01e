"""A decision as an in-toto statement: subjects are decision and weights, materials are records, locks and corpus.

    promotion attest gate5 --out gate5.intoto.json               for the commit that is checked out
    promotion attest gate5 --out gate5.intoto.json --sign KEY    in a DSSE envelope, signed with an SSH key
    promotion attest --check gate5.intoto.json --signers FILE    compares it with this study

A decision that does not verify is not attested. Exit status: 0 written or valid, 1 not valid, 2 could not run.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stages.commands.arguments import refuse_unwritable, user_path
from stages.domain import files
from stages.domain.errors import Refused


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion attest`."""
    parser.add_argument("gate", nargs="?", metavar="GATE", help="the gate whose decision to attest")
    parser.add_argument("--out", metavar="FILE", type=user_path, help="where to write the statement")
    parser.add_argument("--sign", metavar="KEY", type=user_path, help="sign it with this SSH key")
    parser.add_argument("--check", metavar="FILE", type=user_path, help="check a statement instead")
    parser.add_argument("--signers", metavar="FILE", type=user_path, help="with --check: who may have signed it")
    parser.add_argument("--rev", metavar="COMMIT", default="HEAD", help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Write a statement, or check one."""
    if arguments.check:
        if arguments.gate or arguments.out or arguments.sign:
            raise Refused("--check goes with --signers and --rev alone")
        return _check(arguments.check, arguments.signers, arguments.rev)
    if not arguments.gate or not arguments.out:
        raise Refused("usage: promotion attest GATE --out FILE, or promotion attest --check FILE")
    from stages.verify import attest_decision, dump_statement

    refuse_unwritable([("--out", arguments.out)])
    attestation = attest_decision(Path(), arguments.rev, arguments.gate)
    files.write_whole(arguments.out, dump_statement(attestation.statement, arguments.sign))
    subjects = ", ".join(subject["name"] for subject in attestation.statement["subject"])
    print(f"{arguments.out}: {subjects}; {len(attestation.statement['predicate']['materials'])} materials")
    _print_notes(attestation.notes)
    return 0


def _check(path: Path, signers: Path | None, rev: str) -> int:
    from stages.verify import BadAttestation, BadSignature, check_attestation

    if not path.is_file():
        raise Refused(f"--check {path}: no such file; `promotion attest GATE --out FILE` writes one")
    try:
        checked = check_attestation(path.read_bytes(), path.name, Path(), rev, signers)
    except (BadAttestation, BadSignature) as error:
        print(f"does not hold: {error}", file=sys.stderr)
        return 1
    signed = f"; signed by {checked.signer}" if checked.signer else "; not signed"
    print(f"holds: {path.name} says what {checked.commit[:12]} says{signed}")
    _print_notes(checked.notes)
    if checked.signed and checked.signer is None:
        print("note: it carries a signature that was not checked; name who may sign with --signers FILE")
    return 0


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(f"note: {note}")
