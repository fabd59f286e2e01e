"""A decision as an in-toto statement, for supply-chain tools that know nothing of this project.

    attestation = attest_decision(Path("."), "HEAD", "gate5")
    data = dump_statement(attestation.statement, key)           signed with an SSH key, or not (None)
    check_attestation(data, "gate5.json", Path("."), "HEAD")    compares a statement with the study

Subjects are the decision and, at the last gate, the winning weights; materials are the records, the locks, the corpus,
the runner and the commit. The statement is in-toto's Statement v1 with the Link v0.3 predicate, made and checked by the
`in-toto-attestation` library; a signed one is a DSSE envelope by `securesystemslib`, with the SSH keys that sign locks.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.domain import canonical, names
from stages.domain.canonical import JsonObject
from stages.domain.decision import Decision
from stages.domain.diff import differences
from stages.domain.errors import Refused
from stages.domain.files import sha256_bytes, sha256_file
from stages.dvcfiles.cache import md5_folder
from stages.repo.dvc_remote import restore_command
from stages.repo.git import open_git, why_no_git
from stages.repo.objects import GitAbsent
from stages.repo.tree import open_tree
from stages.runners import runner_of
from stages.verify.check import Case, CheckFailed, Options, Skip, perform
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import DvcLocks
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks
from stages.verify.pending import pending_gates
from stages.verify.sequence import SEQUENCE, run_checks
from stages.verify.signatures import NAMESPACE, BadSignature, printable, read_allowed_signers, require_signers

LINK = "https://in-toto.io/attestation/link/v0.3"
PAYLOAD = "application/vnd.in-toto+json"
WEIGHTS = names.WINNER / "model.safetensors"
FOLDER = names.WINNER.as_posix()
INSTALL = "pip install 'staged-promotion[attest]'"
MAX_BYTES = 64 << 20
#: The digest of a folder of code, as `stages.domain.files.tree_digest` makes it: no file has it, so it is not a sha256.
TREE = "stagedPromotionTree"


#: The checks of the past. A decision is attested only where they were made.
_PAST = frozenset({"V20", "V21", "V22"})


class BadAttestation(ValueError):
    """A statement that is none, or that does not say what this study says."""


@dataclass(frozen=True)
class Attestation:
    """A statement about a decision, and notes on what it had to leave out."""

    statement: JsonObject
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CheckedAttestation:
    """A statement that says what the study says at `commit`. `signer` is None where no signature was checked."""

    commit: str
    signed: bool
    signer: str | None
    notes: tuple[str, ...]


def attest_decision(root: Path, rev: str, gate: str) -> Attestation:
    """The statement about the decision of a gate at a commit. Refuses where that commit does not verify."""
    git = open_git(root)
    if git is None:
        raise Refused(f"{why_no_git(root)}, and an attestation names a commit")
    try:
        commit = git.resolve(rev)
        case = Case(root, open_tree(root, git, commit), git, commit, Options("git"))
        results = run_checks(case)
        failed = [result for result in results if result.status == "failed"]
        hidden = [result for result in results if result.check.id in _PAST and result.status == "skipped"]
        if hidden and not failed:
            raise GitAbsent(f"{rev} is not attested without its past: {hidden[0].reason}", hidden[0].enable)
        if failed:
            problem = f"{failed[0].check}: {failed[0].problems[0]}"
            raise Refused(f"{rev} does not verify, so nothing of it is attested: {problem}")
        return _attestation(case, gate)
    finally:
        git.close()


def _attestation(case: Case, gate: str) -> Attestation:
    ledger, decision = case.get(Ledger), case.get(Recomputed).decisions.get(gate)
    if gate not in ledger.decisions or decision is None:
        raise Refused(f"{gate} has not decided; the ledger has {', '.join(ledger.decisions) or 'no decision'}")
    if pending := [name for name in pending_gates(case) if names.number_of(name) <= names.number_of(gate)]:
        raise Refused(f"{pending[0]} was amended, and its evidence is not made again yet; `dvc repro`, then attest")
    frozen, notes = case.get(Locks).by_gate[gate].frozen, []
    digest = sha256_bytes(ledger.decisions[gate].data)
    subjects = [_resource(f"artifacts/gates/{gate}/decision.json", {"sha256": digest})]
    if frozen.last and runner_of(frozen.settings).keeps_weights:
        try:
            subjects.append(_resource(WEIGHTS.as_posix(), {"sha256": sha256_file(_verified_weights(case))}))
        except Skip as skip:
            notes.append(skip.reason)
    predicate = {
        "name": gate,
        "command": ["python", "-m", "stages.gate", frozen.rung],
        "materials": _materials(case, decision),
        "byproducts": {key: decision.to_json()[key] for key in ("outcome", "promoted", "verdicts", "lock")},
        "environment": {},
    }
    return Attestation(_validated(subjects, predicate), tuple(notes))


def _verified_weights(case: Case) -> Path:
    """The winning weights here, compared with the run that trained them; `Skip` where that cannot be done here."""
    path = case.root / WEIGHTS
    if not path.is_file():
        raise Skip(f"{WEIGHTS.as_posix()} is not here; `{restore_command(case.root, 'winner')}` brings it", "")
    recorded = case.get(DvcLocks).outputs().get(FOLDER)
    if recorded is None or md5_folder(path.parent) != recorded.md5:
        raise Refused(f"{FOLDER} is not the one that dvc.lock records; `dvc checkout winner` brings it back")
    try:
        perform(next(check for check in SEQUENCE if check.name == "winner"), case)
    except Skip as skip:
        reason = f"{WEIGHTS.as_posix()} could not be compared with its run: {skip.reason}; `{skip.enable}`"
        raise Skip(reason, skip.enable) from None
    except CheckFailed as failed:
        raise Refused(f"the winner here is not what the study made: {failed.problems[0]}") from None
    return path


def _materials(case: Case, decision: Decision) -> list[JsonObject]:
    ledger, known = case.get(Ledger), case.get(Locks)
    materials = []
    for run in sorted(decision.evidence):
        digest = sha256_bytes(ledger.by_id[run].data)
        materials.append(_resource(names.record_path(run).as_posix(), {"sha256": digest}))
    gates = list(known.by_gate)
    for gate in gates[: gates.index(decision.gate) + 1]:
        path = f"locks/{gate}.yaml"
        materials.append(_resource(path, {"sha256": sha256_bytes(case.tree.read(path) or b"")}))
    frozen = known.by_gate[decision.gate].frozen
    materials.append(_resource("artifacts/corpus/manifest.json", {"sha256": frozen.corpus}))
    runner = runner_of(frozen.settings)
    materials.append(_resource(runner.title.rstrip("/"), {TREE: frozen.runner}))
    if case.commit:
        materials.append(_resource("repository", {"gitCommit": case.commit}))
    return materials


def _resource(name: str, digest: dict[str, str]) -> JsonObject:
    return {"name": name, "digest": digest}


def _missing(error: ImportError) -> Refused:
    return Refused(f"{error.name} is not installed, and attestations are made with it; `{INSTALL}`")


def _signing() -> Any:
    """The library's signers; by name, since it does not mark what it exports."""
    return importlib.import_module("securesystemslib.signer")


def _validated(subjects: list[JsonObject], predicate: JsonObject) -> JsonObject:
    try:
        from google.protobuf.json_format import MessageToDict
        from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
        from in_toto_attestation.v1.statement import Statement
    except ImportError as error:
        raise _missing(error) from None
    described = [ResourceDescriptor(name=subject["name"], digest=subject["digest"]).pb for subject in subjects]
    statement = Statement(described, LINK, predicate)
    statement.validate()
    value: JsonObject = MessageToDict(statement.pb)
    return value


def parse_statement(data: bytes, where: str) -> tuple[JsonObject, Any]:
    """(the statement, the envelope that it came in or None); `BadAttestation` if the library refuses it."""
    try:
        from google.protobuf.json_format import ParseDict, ParseError
        from in_toto_attestation.v1.statement import Statement
        from in_toto_attestation.v1.statement_pb2 import Statement as Message
        from securesystemslib.dsse import Envelope
    except ImportError as error:
        raise _missing(error) from None
    if len(data) > MAX_BYTES:
        raise BadAttestation(f"{where}: {len(data)} bytes, expected at most {MAX_BYTES}")
    try:
        value = canonical.loads(data)
        envelope = None
        if isinstance(value, dict) and "payload" in value:
            envelope = Envelope.from_dict(value)
            if envelope.payload_type != PAYLOAD:
                raise BadAttestation(f"{where}: payloadType: found {envelope.payload_type!r}, expected {PAYLOAD!r}")
            value = canonical.loads(envelope.payload)
        Statement.copy_from_pb(ParseDict(value, Message())).validate()
    except BadAttestation:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, ParseError) as error:
        raise BadAttestation(f"{where}: not an in-toto statement: {type(error).__name__}: {error}") from None
    return value, envelope


def dump_statement(value: JsonObject, key: Path | None) -> bytes:
    """The statement's canonical bytes, or with a key those of a signed envelope around them."""
    payload = canonical.dumps(value)
    if key is None:
        return payload
    try:
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key
        from securesystemslib.dsse import Envelope
    except ImportError as error:
        raise _missing(error) from None
    try:
        private = load_ssh_private_key(key.expanduser().read_bytes(), password=None)
        signer = _signing().CryptoSigner(private)
    except (ValueError, TypeError, OSError) as error:
        message = f"{key}: not an SSH key that can sign here: {error}"
        if "password" in str(error):
            message = f"{key}: it has a passphrase, and nobody is asked here; sign with a copy of it without one: "
            message += "`ssh-keygen -p -N '' -f COPY`, and remove the copy afterwards"
        raise BadSignature(message) from None
    envelope = Envelope(payload, PAYLOAD, {})
    envelope.sign(signer)
    return canonical.dumps(envelope.to_dict())


def _allowed_keys(path: Path) -> dict[str, tuple[str, Any]]:
    """The public keys that may sign now, as for a lock, each with its name: key id -> (name, key)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    keys: dict[str, tuple[str, Any]] = {}
    for line in read_allowed_signers(path):
        if not line.may(NAMESPACE, datetime.now(UTC)):
            continue
        try:
            public: Any = load_ssh_public_key(line.key.encode("utf-8", "surrogateescape"))
            key = _signing().SSlibKey.from_crypto(public)
        except (ValueError, UnsupportedAlgorithm):
            continue
        keys.setdefault(key.keyid, (printable(line.names), key))
    return keys


def check_signature(envelope: Any, path: Path, where: str) -> str:
    """The name of an allowed signer of the envelope; `BadSignature` if it has none."""
    from securesystemslib.exceptions import VerificationError

    if envelope is None:
        raise BadSignature(f"{where}: not signed; `promotion attest GATE --sign KEY` signs")
    require_signers(path)
    keys = _allowed_keys(path)
    if not keys:
        raise BadSignature(f"{path}: holds no key that may sign now; a line is `NAME KEYTYPE KEY`")
    try:
        accepted = envelope.verify([key for _, key in keys.values()], 1)
    except VerificationError:
        raise BadSignature(f"{where}: not signed by anybody in {path.name}") from None
    return str(keys[next(iter(accepted))][0])


def check_attestation(data: bytes, where: str, root: Path, rev: str, signers: Path | None = None) -> CheckedAttestation:
    """Compare a statement with what the study says at the commit that it names, else at `rev`.

    Raises `BadAttestation` or `BadSignature` where it does not hold. Without `signers` no signature is checked.
    """
    value, envelope = parse_statement(data, where)
    if value.get("predicateType") != LINK:
        raise BadAttestation(f"{where}: predicateType: expected {LINK}")
    signer = check_signature(envelope, signers, where) if signers else None
    try:
        gate, materials = str(value["predicate"]["name"]), value["predicate"]["materials"]
        commits = [material["digest"]["gitCommit"] for material in materials if material["name"] == "repository"]
        subjects = {subject["name"]: subject for subject in value["subject"]}
    except (KeyError, TypeError) as error:
        raise BadAttestation(f"{where}: no Link predicate of this project: {error!r}") from None
    commit = str(next(iter(commits), rev))
    expected = attest_decision(root, commit, gate)
    notes = [*expected.notes, *_compare_statements({**value, "subject": subjects}, expected.statement, where)]
    return CheckedAttestation(commit, envelope is not None, signer, tuple(notes))


def _compare_statements(value: JsonObject, expected: JsonObject, where: str) -> list[str]:
    """Compare a statement, its subjects by name, with the expected one; notes on what only one of them has."""
    weights, notes, subjects = WEIGHTS.as_posix(), [], value["subject"]
    expected_subjects = {subject["name"]: subject for subject in expected["subject"]}
    if (weights in subjects) != (weights in expected_subjects):
        owner = "the statement names, and which could not be made again here"
        notes.append(f"{weights} was not compared, which {owner if weights in subjects else 'only this study has'}")
        subjects.pop(weights, None)
        expected_subjects.pop(weights, None)
    for pointer, was, should in differences(value, {**expected, "subject": expected_subjects}):
        raise BadAttestation(f"{where}: {pointer}: found {was!r}, expected {should!r}, as this study has it")
    return notes
