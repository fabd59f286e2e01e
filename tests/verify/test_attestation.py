"""Statements about decisions, made and held against a study in this process: each way in which one does not hold."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.errors import Refused
from stages.domain.files import sha256_bytes
from stages.dvcfiles.cache import md5_folder
from stages.dvcfiles.lockfile import LockedFile, LockedStage
from stages.repo.objects import GitAbsent
from stages.verify import SEQUENCE, attestation
from stages.verify.attestation import Attestation, BadAttestation
from stages.verify.check import Case, CheckFailed, Problem, Skip
from stages.verify.dvc_locks import DvcLocks
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks
from stages.verify.pending import EvidenceRules
from stages.verify.result import CheckResult
from stages.verify.signatures import BadSignature
from tests.verify.cases import alter

WEIGHTS = "artifacts/winner/model.safetensors"


def message(kind: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# Making one


def result(identity: str, status: Any, **fields: Any) -> CheckResult:
    return CheckResult(next(check for check in SEQUENCE if check.id == identity), status, **fields)


def test_a_commit_is_attested_where_it_verifies_and_its_past_is_here(judged, monkeypatch):
    seen: list[Case] = []
    outcome: list[CheckResult] = [result("V20", "passed"), result("V24", "skipped", reason="no signers")]

    def run_checks(case: Case) -> tuple[CheckResult, ...]:
        seen.append(case)
        return tuple(outcome)

    monkeypatch.setattr(attestation, "run_checks", run_checks)
    made = Attestation({"a": 1}, ())
    monkeypatch.setattr(attestation, "_attestation", lambda case, gate: made if gate == "gate2" else None)
    assert attestation.attest_decision(judged.root, "HEAD", "gate2") is made
    head = judged.git.resolve("HEAD")
    assert (seen[0].commit, seen[0].tree.title, seen[0].options.depth) == (head, f"commit {head[:12]}", "git")
    for identity in ("V20", "V21", "V22"):
        outcome[:] = [result(identity, "skipped", reason="it is hidden", enable="git fetch")]
        with pytest.raises(GitAbsent) as absent:
            attestation.attest_decision(judged.root, "HEAD", "gate2")
        assert (absent.value.reason, absent.value.enable) == (
            "HEAD is not attested without its past: it is hidden",
            "git fetch",
        )
    problems = tuple(Problem(name, "b", "c", "d") for name in ("x", "y"))
    outcome += [result("V09", "failed", problems=problems), result("V10", "failed", problems=problems)]
    text = message(Refused, lambda: attestation.attest_decision(judged.root, "HEAD", "gate2"))
    assert text == f"HEAD does not verify, so nothing of it is attested: V09 rule-of-record: {problems[0]}"


def test_the_last_gate_names_the_weights_where_its_runner_keeps_some(judged, monkeypatch, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    monkeypatch.setattr(attestation, "_verified_weights", lambda case: path)
    monkeypatch.setattr(
        attestation, "_validated", lambda subjects, predicate: {"subject": subjects, "predicate": predicate}
    )

    def subjects(gate: str) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = attestation._attestation(judged, gate).statement["subject"]
        return made

    decided = judged.get(Ledger).decisions
    one = {
        gate: {"name": f"artifacts/gates/{gate}/decision.json", "digest": {"sha256": sha256_bytes(decided[gate].data)}}
        for gate in ("gate4", "gate5")
    }
    assert subjects("gate4") == [one["gate4"]]
    weights = {"name": WEIGHTS, "digest": {"sha256": sha256_bytes(b"weights")}}
    assert subjects("gate5") == [one["gate5"], weights]
    runner = type("R", (), {"keeps_weights": False, "title": "x/"})
    monkeypatch.setattr(attestation, "runner_of", lambda settings: runner)
    assert subjects("gate5") == [one["gate5"]]

    def skip(case: Case) -> Path:
        raise Skip("they are not here", "dvc pull")

    monkeypatch.undo()
    monkeypatch.setattr(attestation, "_verified_weights", skip)
    made = attestation._attestation(judged, "gate5")
    assert (made.notes, len(made.statement["subject"])) == (("they are not here",), 1)
    lock = judged.get(Locks).by_gate["gate5"].digest
    assert made.statement["predicate"]["byproducts"]["lock"] == lock
    assert set(made.statement["predicate"]["byproducts"]) == {"outcome", "promoted", "verdicts", "lock"}


@pytest.mark.parametrize(("pending", "gate", "told"), [("gate3", "gate3", True), ("gate3", "gate2", False), ("gate3", "gate4", True)])  # fmt: skip
def test_a_gate_upon_one_that_is_pending_is_not_attested(pending, gate, told, judged):
    rules = replace(judged.get(EvidenceRules), pending={pending: "amended"})
    case = alter(judged, rules)
    if told:
        text = message(Refused, lambda: attestation._attestation(case, gate))
        assert text == f"{pending} was amended, and its evidence is not made again yet; `dvc repro`, then attest"
    else:
        assert attestation._attestation(case, gate).notes == ()


@pytest.fixture
def won(judged: Case, tmp_path: Path) -> Case:
    """The study in a folder of its own, with weights that dvc.lock records."""
    root = tmp_path / "study"
    shutil.copytree(judged.root / "artifacts" / "winner", root / "artifacts" / "winner")
    (root / WEIGHTS).write_bytes(b"weights")
    md5 = md5_folder(root / "artifacts" / "winner")
    stage = LockedStage("x", {}, {"artifacts/winner": LockedFile("artifacts/winner", md5, None, None, 0)}, {})
    locks = replace(judged.get(DvcLocks), recorded={"dvc.lock": {"winner": stage}})
    return alter(judged, locks, root=root)


def test_weights_are_compared_with_dvc_lock_and_with_the_run_that_trained_them(won, monkeypatch):
    performed: list[str] = []
    monkeypatch.setattr(attestation, "perform", lambda check, case: performed.append(check.name))
    assert attestation._verified_weights(won) == won.root / WEIGHTS
    assert performed == ["winner"]

    def skip(check: Any, case: Case) -> None:
        raise Skip("the trace is not here", "dvc pull")

    monkeypatch.setattr(attestation, "perform", skip)
    with pytest.raises(Skip) as skipped:
        attestation._verified_weights(won)
    reason = f"{WEIGHTS} could not be compared with its run: the trace is not here; `dvc pull`"
    assert (skipped.value.reason, skipped.value.enable) == (reason, "dvc pull")
    problem = Problem("a", "b", "c", "d")

    def fail(check: Any, case: Case) -> None:
        raise CheckFailed(check, [problem, Problem("z", "b", "c", "d")])

    monkeypatch.setattr(attestation, "perform", fail)
    text = message(Refused, lambda: attestation._verified_weights(won))
    assert text == f"the winner here is not what the study made: {problem}"
    other = "artifacts/winner is not the one that dvc.lock records; `dvc checkout winner` brings it back"
    without = alter(won, replace(won.get(DvcLocks), recorded={}))
    assert message(Refused, lambda: attestation._verified_weights(without)) == other
    (won.root / WEIGHTS).write_bytes(b"other")
    assert message(Refused, lambda: attestation._verified_weights(won)) == other
    (won.root / WEIGHTS).unlink()
    with pytest.raises(Skip) as skipped:
        attestation._verified_weights(won)
    assert skipped.value.reason == f"{WEIGHTS} is not here; `dvc repro winner` brings it"


# Signing one


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys of alice and mallory, and a file that allows alice."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    folder = tmp_path_factory.mktemp("keys")
    form, way = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    for name in ("alice", "mallory"):
        key = Ed25519PrivateKey.generate()
        (folder / name).write_bytes(key.private_bytes(serialization.Encoding.PEM, form, way))
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        (folder / f"{name}.pub").write_bytes(public)
    public = (folder / "alice.pub").read_bytes()
    (folder / "allowed").write_bytes(b"alice " + public + b"\nagain " + public + b"\n")
    (folder / "both").write_bytes(b"mallory " + (folder / "mallory.pub").read_bytes() + b"\nalice " + public + b"\n")
    return folder


def test_a_signature_names_the_first_line_of_its_key(keys, judged):
    value = attestation._attestation(judged, "gate1").statement
    for name, allowed, signer in (
        ("alice", "allowed", "alice"),
        ("alice", "both", "alice"),
        ("mallory", "both", "mallory"),
    ):
        parsed, envelope = attestation.parse_statement(attestation.dump_statement(value, keys / name), "a.json")
        assert parsed == value
        assert attestation.check_signature(envelope, keys / allowed, "a.json") == signer
    _, envelope = attestation.parse_statement(attestation.dump_statement(value, keys / "mallory"), "a.json")
    text = message(BadSignature, lambda: attestation.check_signature(envelope, keys / "allowed", "a.json"))
    assert text == "a.json: not signed by anybody in allowed"


def test_what_is_no_key_does_not_sign(keys):
    text = message(BadSignature, lambda: attestation.dump_statement({}, keys / "allowed"))
    assert text.startswith(f"{keys / 'allowed'}: not an SSH key that can sign here: ")
    text = message(BadSignature, lambda: attestation.dump_statement({}, keys / "none"))
    assert text.startswith(f"{keys / 'none'}: not an SSH key that can sign here: ")


# Holding one against a study


@pytest.fixture
def statement(judged: Case) -> dict[str, Any]:
    made: dict[str, Any] = attestation._attestation(alter(judged, commit="c" * 40), "gate2").statement
    return copy.deepcopy(made)


def hold(
    monkeypatch: pytest.MonkeyPatch, expected: dict[str, Any], value: dict[str, Any], **given: Any
) -> tuple[attestation.CheckedAttestation, list[tuple[Path, str, str]]]:
    asked: list[tuple[Path, str, str]] = []

    def attest(root: Path, rev: str, gate: str) -> Attestation:
        asked.append((root, rev, gate))
        return Attestation(expected, ("a note",))

    monkeypatch.setattr(attestation, "attest_decision", attest)
    data = attestation.dump_statement(value, given.pop("key", None))
    checked = attestation.check_attestation(data, "a.json", Path("study"), "HEAD", **given)
    return checked, asked


def test_a_statement_holds_at_the_commit_that_it_names_or_at_the_one_that_is_asked_for(statement, monkeypatch, keys):
    Checked = attestation.CheckedAttestation
    checked, asked = hold(monkeypatch, statement, statement)
    assert checked == Checked("c" * 40, False, None, ("a note",))
    assert asked == [(Path("study"), "c" * 40, "gate2")]
    bare = copy.deepcopy(statement)
    bare["predicate"]["materials"] = bare["predicate"]["materials"][:-1]
    checked, asked = hold(monkeypatch, bare, bare)
    assert (checked.commit, asked) == ("HEAD", [(Path("study"), "HEAD", "gate2")])
    checked, _ = hold(monkeypatch, statement, statement, key=keys / "alice")
    assert checked == Checked("c" * 40, True, None, ("a note",))
    checked, _ = hold(monkeypatch, statement, statement, key=keys / "alice", signers=keys / "allowed")
    assert checked == Checked("c" * 40, True, "alice", ("a note",))
    text = message(BadSignature, lambda: hold(monkeypatch, statement, statement, signers=keys / "allowed"))
    assert text == "a.json: not signed; `promotion attest GATE --sign KEY` signs"


def test_what_a_statement_says_otherwise_is_told_with_its_place(statement, monkeypatch):
    other = copy.deepcopy(statement)
    other["subject"][0]["digest"]["sha256"] = "0" * 64
    digest = statement["subject"][0]["digest"]["sha256"]
    text = message(BadAttestation, lambda: hold(monkeypatch, statement, other))
    place = "/subject/artifacts~1gates~1gate2~1decision.json/digest/sha256"
    assert text == f"a.json: {place}: found {'0' * 64!r}, expected {digest!r}, as this study has it"
    other = copy.deepcopy(statement)
    other["predicateType"] = "x"
    text = message(BadAttestation, lambda: hold(monkeypatch, statement, other))
    assert text == f"a.json: predicateType: expected {attestation.LINK}"
    for change in (
        lambda value: value["predicate"].pop("name"),
        lambda value: value["predicate"].pop("materials"),
        lambda value: value["predicate"].update(materials=3),
        lambda value: value["predicate"]["materials"].append({"name": "repository"}),
    ):
        other = copy.deepcopy(statement)
        change(other)
        text = message(BadAttestation, lambda other=other: hold(monkeypatch, statement, other))
        assert text.startswith("a.json: no Link predicate of this project: ")


@pytest.mark.parametrize(
    ("here", "there", "note"),
    [
        (True, True, []),
        (False, False, []),
        (True, False, [f"{WEIGHTS} was not compared, which only this study has"]),
        (
            False,
            True,
            [f"{WEIGHTS} was not compared, which the statement names, and which could not be made again here"],
        ),
    ],
)
def test_weights_that_only_one_side_has_are_noted_and_not_compared(here, there, note):
    decision = {"name": "d", "digest": {"sha256": "1"}}
    weights = {"name": WEIGHTS, "digest": {"sha256": "2"}}
    value = {"subject": {"d": decision} | ({WEIGHTS: weights} if there else {}), "x": 1}
    expected = {"subject": [decision] + ([weights] if here else []), "x": 1}
    assert attestation._compare_statements(value, expected, "a.json") == note
    if here and there:
        value["subject"] = {"d": decision, WEIGHTS: {**weights, "digest": {"sha256": "3"}}}
        with pytest.raises(BadAttestation, match="digest/sha256: found '3', expected '2'"):
            attestation._compare_statements(value, expected, "a.json")


def test_a_statement_is_canonical_and_an_envelope_around_it_too(statement, keys):
    assert attestation.dump_statement(statement, None) == canonical.dumps(statement)
    envelope = attestation.dump_statement(statement, keys / "alice")
    assert envelope == canonical.dumps(json.loads(envelope))
    assert json.loads(envelope)["payloadType"] == "application/vnd.in-toto+json"
