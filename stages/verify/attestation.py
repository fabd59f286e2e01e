"""A decision as an in-toto statement, for supply-chain tools that know nothing of this project.

    promotion attest gate5 --out gate5.intoto.json --sign KEY
    promotion attest --check gate5.intoto.json --signers FILE

Subjects are the decision and, at the last gate, the winning weights; materials are the records, the locks, the corpus,
the runner and the commit. The statement is in-toto's Statement v1 with the Link v0.3 predicate, made and checked by the
`in-toto-attestation` library; a signed one is a DSSE envelope by `securesystemslib`, with the SSH keys that sign locks.
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stages.domain import canonical, names
from stages.domain.diff import differences
from stages.domain.errors import Refused
from stages.domain.files import sha256_bytes, sha256_file
from stages.dvcfiles.cache import Outputs, folder_here
from stages.verify import signatures
from stages.verify.artifacts import WinnerDiffers
from stages.verify.check import Case, CheckFailed, Skip, perform
from stages.verify.decisions import Recomputed
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks
from stages.verify.sequence import SEQUENCE
from stages.verify.signatures import NAMESPACE, BadSignature

LINK = "https://in-toto.io/attestation/link/v0.3"
PAYLOAD = "application/vnd.in-toto+json"
WEIGHTS = names.WINNER / "model.safetensors"
FOLDER = names.WINNER.as_posix()
INSTALL = "pip install 'staged-promotion[attest]'"
MAX_BYTES = 64 << 20
#: The digest of a folder of code, as `stages.domain.files.tree_digest` makes it: no file has it, so it is not a sha256.
TREE = "stagedPromotionTree"


class BadAttestation(ValueError):
    """A statement that is none, or that does not say what this study says."""


def _signing() -> Any:
    """The library's signers; by name, since it does not mark what it exports."""
    return importlib.import_module("securesystemslib.signer")


def _missing(error: ImportError) -> Refused:
    return Refused(f"{error.name} is not installed, and attestations are made with it; `{INSTALL}`")


def _resource(name: str, digest: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "digest": digest}


def statement(case: Case, gate: str) -> tuple[dict[str, Any], list[str]]:
    """The statement about a recorded decision, from a case that was audited; and what it had to leave out."""
    ledger, known = case.get(Ledger), case.get(Locks)
    if gate not in ledger.decisions or gate not in case.get(Recomputed).decisions:
        raise Refused(f"{gate} has not decided; the ledger has {', '.join(ledger.decisions) or 'no decision'}")
    _, value, data = ledger.decisions[gate]
    lock = known.by_gate[gate]
    subjects = [_resource(f"artifacts/gates/{gate}/decision.json", {"sha256": sha256_bytes(data)})]
    left: list[str] = []
    if lock.frozen.last and (weights := _weights(case, left)):
        subjects.append(_resource(WEIGHTS.as_posix(), {"sha256": sha256_file(weights)}))
    predicate = {
        "name": gate,
        "command": ["python", "-m", "stages.gate", lock.frozen.rung],
        "materials": _materials(case, gate, value),
        "byproducts": {key: value[key] for key in ("outcome", "promoted", "verdicts", "lock")},
        "environment": {},
    }
    return _validated(subjects, predicate), left


def _weights(case: Case, left: list[str]) -> Path | None:
    """The winning weights here, held against the run that trained them; None where that cannot be done here."""
    path = case.root / WEIGHTS
    if not path.is_file():
        left.append(f"{WEIGHTS.as_posix()} is not here; `dvc pull winner` brings it")
        return None
    item = Outputs(case).items.get(FOLDER)
    if item is None or folder_here(path.parent) != item.md5:
        raise Refused(f"{FOLDER} is not the one that dvc.lock notes; `dvc checkout winner` brings it back")
    try:
        perform(next(check for check in SEQUENCE if check.error is WinnerDiffers), case)
    except Skip as skip:
        left.append(f"{WEIGHTS.as_posix()} could not be held against its run: {skip.reason}; `{skip.enable}`")
        return None
    except CheckFailed as failed:
        raise Refused(f"the winner here is not what the study made: {failed.problems[0]}") from None
    return path


def _materials(case: Case, gate: str, value: dict[str, Any]) -> list[dict[str, Any]]:
    ledger, known = case.get(Ledger), case.get(Locks)
    found = []
    for run in sorted(value["evidence"]):
        digest = sha256_bytes(ledger.by_id[run].data)
        found.append(_resource(names.record_path(run).as_posix(), {"sha256": digest}))
    for other in list(known.by_gate)[: list(known.by_gate).index(gate) + 1]:
        path = f"locks/{other}.yaml"
        found.append(_resource(path, {"sha256": sha256_bytes(case.tree.read(path) or b"")}))
    frozen = known.by_gate[gate].frozen
    found.append(_resource("artifacts/corpus/manifest.json", {"sha256": frozen.corpus}))
    found.append(_resource("trainer", {TREE: frozen.runner}))
    if case.commit:
        found.append(_resource("repository", {"gitCommit": case.commit}))
    return found


def _validated(subjects: list[dict[str, Any]], predicate: dict[str, Any]) -> dict[str, Any]:
    try:
        from google.protobuf.json_format import MessageToDict
        from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
        from in_toto_attestation.v1.statement import Statement
    except ImportError as error:
        raise _missing(error) from None
    described = [ResourceDescriptor(name=one["name"], digest=one["digest"]).pb for one in subjects]
    made = Statement(described, LINK, predicate)
    made.validate()
    value: dict[str, Any] = MessageToDict(made.pb)
    return value


def parse(data: bytes, where: str) -> tuple[dict[str, Any], Any]:
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


def dumps(value: dict[str, Any], key: Path | None) -> bytes:
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
        told = f"{key}: not an SSH key that can sign here: {error}"
        if "password" in str(error):
            told = f"{key}: it has a passphrase, and nobody is asked here; sign with a copy of it without one: "
            told += "`ssh-keygen -p -N '' -f COPY`, and remove the copy afterwards"
        raise BadSignature(told) from None
    envelope = Envelope(payload, PAYLOAD, {})
    envelope.sign(signer)
    return canonical.dumps(envelope.to_dict())


def allowed_keys(path: Path) -> dict[str, Any]:
    """The public keys that may sign now, as for a lock, each with its name: key id -> (name, key)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    found: dict[str, Any] = {}
    for line in signatures.read(path):
        if not line.may(NAMESPACE, datetime.now(UTC)):
            continue
        try:
            public: Any = load_ssh_public_key(line.key.encode("utf-8", "surrogateescape"))
            key = _signing().SSlibKey.from_crypto(public)
        except (ValueError, UnsupportedAlgorithm):
            continue
        found.setdefault(key.keyid, (signatures.shown(line.names), key))
    return found


def check_signature(envelope: Any, path: Path, where: str) -> str:
    """The name of an allowed signer of the envelope; `BadSignature` if it has none."""
    from securesystemslib.exceptions import VerificationError

    if envelope is None:
        raise BadSignature(f"{where}: not signed; `promotion attest GATE --sign KEY` signs")
    keys = allowed_keys(path)
    if not keys:
        raise BadSignature(f"{path}: holds no key that may sign now; a line is `NAME KEYTYPE KEY`")
    try:
        accepted = envelope.verify([key for _, key in keys.values()], 1)
    except VerificationError:
        raise BadSignature(f"{where}: not signed by anybody in {path.name}") from None
    return str(keys[next(iter(accepted))][0])


def compare(value: dict[str, Any], made: dict[str, Any], where: str) -> list[str]:
    """Hold a statement against what this study makes; returns what only one of them has. `BadAttestation`."""
    weights, left = WEIGHTS.as_posix(), []
    said = {one.get("name"): one for one in value.get("subject", [])}
    here = {one["name"]: one for one in made["subject"]}
    if (weights in said) != (weights in here):
        side = (
            "the statement names, and which could not be made again here" if weights in said else "only this study has"
        )
        left.append(f"{weights} was not compared, which {side}")
        said.pop(weights, None)
        here.pop(weights, None)
    for pointer, was, should in differences({**value, "subject": said}, {**made, "subject": here}):
        raise BadAttestation(f"{where}: {pointer}: found {was!r}, expected {should!r}, as this study has it")
    return left
