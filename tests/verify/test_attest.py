"""A decision leaves as an in-toto statement and comes back verified, or does not come back."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from stages.cli import build_parser
from stages.commands import attest
from stages.domain.errors import Refused
from stages.domain.files import sha256_bytes, sha256_file
from stages.verify import BadSignature
from tests.verify.forger import DECISIONS, RUNS, Forger
from tests.verify.tamper_artifacts import WEIGHTS, mend, put
from tests.verify.test_signatures import make_key

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")


def promotion(root: Path, *words: str) -> int:
    with chdir(root):
        return attest.run(build_parser("attest").parse_args(["attest", *words]))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("alice", "mallory"):
        make_key(tmp_path, name)
    public = (tmp_path / "alice.pub").read_text(encoding="ascii")
    (tmp_path / "allowed").write_text(f"# who may sign\nalice@example.org {public}", encoding="ascii")
    return tmp_path


def test_a_statement_names_decision_records_locks_corpus_runner_and_commit(clone: Forger, tmp_path):
    out = tmp_path / "gate2.json"
    assert promotion(clone.root, "gate2", "--out", str(out)) == 0
    value: dict[str, Any] = json.loads(out.read_bytes())
    assert value["_type"] == "https://in-toto.io/Statement/v1"
    assert value["predicateType"] == "https://in-toto.io/attestation/link/v0.3"
    line = clone.read(DECISIONS).splitlines(keepends=True)[1]
    assert value["subject"] == [
        {"name": "artifacts/gates/gate2/decision.json", "digest": {"sha256": sha256_bytes(line)}}
    ]
    materials = {one["name"]: one["digest"] for one in value["predicate"]["materials"]}
    assert materials["locks/gate1.yaml"] == {"sha256": sha256_bytes(clone.read("locks/gate1.yaml"))}
    assert "locks/gate3.yaml" not in materials
    assert materials["repository"] == {"gitCommit": clone.git("rev-parse", "HEAD")}
    records = {sha256_bytes(one) for one in clone.read(RUNS).splitlines(keepends=True)}
    named = [digest["sha256"] for name, digest in materials.items() if name.startswith("artifacts/records/rung2/")]
    assert len(named) == 6
    assert set(named) <= records
    assert {"artifacts/corpus/manifest.json", "trainer"} <= materials.keys()
    assert promotion(clone.root, "--check", str(out)) == 0


def test_the_last_gates_statement_names_the_winning_weights(smoke, tmp_path, capsys):
    out = tmp_path / "gate3.json"
    assert promotion(smoke.root, "gate3", "--out", str(out)) == 0
    subjects = {one["name"]: one["digest"] for one in json.loads(out.read_bytes())["subject"]}
    weights = smoke.root / "artifacts/winner/model.safetensors"
    assert subjects["artifacts/winner/model.safetensors"] == {"sha256": sha256_file(weights)}
    assert promotion(smoke.root, "--check", str(out)) == 0
    study = Forger(smoke.copy(tmp_path / "copy").root)
    study.delete("artifacts/winner/model.safetensors")
    assert promotion(study.root, "--check", str(out)) == 0
    assert "model.safetensors is not here" in capsys.readouterr().out
    study.write("artifacts/winner/model.safetensors", b"other weights")
    with pytest.raises(Refused, match="is not the one that dvc.lock records"):
        promotion(study.root, "--check", str(out))


def test_weights_that_no_run_trained_are_not_attested_whatever_dvc_lock_notes(smoke, tmp_path):
    study = Forger(smoke.copy(tmp_path / "copy").root)
    put(study, WEIGHTS, b"junk")
    mend(study, "artifacts/winner")
    study.commit("Other weights")
    with pytest.raises(
        Refused, match=r"the winner here is not what the study made: artifacts/winner/model.safetensors"
    ):
        promotion(study.root, "gate3", "--out", str(tmp_path / "gate3.json"))


def test_weights_that_cannot_be_held_against_their_run_are_left_out_and_said_so(smoke, tmp_path, capsys):
    study = Forger(smoke.copy(tmp_path / "copy").root)
    shutil.rmtree(study.path("artifacts/traces"))
    shutil.rmtree(study.path(".dvc/cache"))
    assert promotion(study.root, "gate3", "--out", str(tmp_path / "gate3.json")) == 0
    assert len(json.loads((tmp_path / "gate3.json").read_bytes())["subject"]) == 1
    assert "model.safetensors could not be compared with its run: the trace of rung3/" in capsys.readouterr().out


def test_a_statement_made_without_weights_holds_where_weights_are(smoke, clone: Forger, tmp_path, capsys):
    out = tmp_path / "gate3.json"
    assert promotion(clone.root, "gate3", "--out", str(out)) == 0
    assert "note: artifacts/winner/model.safetensors is not here" in capsys.readouterr().out
    assert promotion(smoke.root, "--check", str(out)) == 0
    assert "model.safetensors was not compared, which only this study has" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("alice@x KEY", True),
        ('"alice b" KEY', True),
        ('alice@x namespaces="staged-promotion-*,git" KEY', True),
        ('alice@x namespaces="git" KEY', False),
        ('alice@x valid-before="20200101" KEY', False),
        ('alice@x valid-after="20990101Z" KEY', False),
        ("alice@x cert-authority KEY", False),
    ],
)
def test_a_line_of_the_allowed_signers_binds_an_attestation_as_it_binds_a_lock(
    line, holds, clone: Forger, keys, capsys
):
    out = keys / "gate2.json"
    promotion(clone.root, "gate2", "--out", str(out), "--sign", str(keys / "alice"))
    key = " ".join((keys / "alice.pub").read_text(encoding="ascii").split()[:2])
    (keys / "some").write_text(line.replace("KEY", key) + "\n", encoding="ascii")
    assert promotion(clone.root, "--check", str(out), "--signers", str(keys / "some")) == (0 if holds else 1)
    assert ("signed by alice" in capsys.readouterr().out) is holds


def test_a_key_with_a_passphrase_is_refused_with_a_remedy(clone: Forger, keys):
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(keys / "locked")]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with pytest.raises(
        BadSignature, match=r"it has a passphrase, and nobody is asked here; .*`ssh-keygen -p -N '' -f COPY`"
    ):
        promotion(clone.root, "gate2", "--out", str(keys / "gate2.json"), "--sign", str(keys / "locked"))


def test_a_signed_statement_names_its_signer(clone: Forger, keys, capsys):
    out = keys / "gate2.json"
    assert promotion(clone.root, "gate2", "--out", str(out), "--sign", str(keys / "alice")) == 0
    assert promotion(clone.root, "--check", str(out), "--signers", str(keys / "allowed")) == 0
    assert "signed by alice@example.org" in capsys.readouterr().out


def test_a_strangers_signature_and_none_do_not_hold(clone: Forger, keys, capsys):
    out = keys / "gate2.json"
    promotion(clone.root, "gate2", "--out", str(out), "--sign", str(keys / "mallory"))
    assert promotion(clone.root, "--check", str(out), "--signers", str(keys / "allowed")) == 1
    promotion(clone.root, "gate2", "--out", str(out))
    assert promotion(clone.root, "--check", str(out), "--signers", str(keys / "allowed")) == 1
    reported = capsys.readouterr().err
    assert "not signed by anybody in allowed" in reported
    assert "not signed; `promotion attest GATE --sign KEY` signs" in reported


def test_an_envelope_with_another_payload_does_not_hold(clone: Forger, keys):
    out = keys / "gate2.json"
    promotion(clone.root, "gate2", "--out", str(out), "--sign", str(keys / "alice"))
    envelope = json.loads(out.read_bytes())
    payload = base64.b64decode(envelope["payload"]).replace(b'"outcome":"decided"', b'"outcome":"blocked"')
    envelope["payload"] = base64.b64encode(payload).decode()
    out.write_text(json.dumps(envelope), encoding="utf-8")
    assert promotion(clone.root, "--check", str(out), "--signers", str(keys / "allowed")) == 1
    assert promotion(clone.root, "--check", str(out)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value["subject"][0]["digest"].update(sha256="0" * 64),
        lambda value: value["predicate"]["byproducts"].update(promoted=["d1-b"]),
        lambda value: value["predicate"]["materials"].pop(0),
        lambda value: value["predicate"].update(name="gate3"),
        lambda value: value.update(predicateType="https://example.org/other"),
        lambda value: value.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda value: value.update(subject=[]),
        lambda value: value.update(predicate={}),
        lambda value: value["predicate"].pop("materials"),
        lambda value: value["predicate"].update(materials=3),
    ],
)
def test_a_changed_statement_does_not_hold(change, clone: Forger, tmp_path, capsys):
    out = tmp_path / "gate2.json"
    promotion(clone.root, "gate2", "--out", str(out))
    value = json.loads(out.read_bytes())
    change(value)
    out.write_text(json.dumps(value), encoding="utf-8")
    assert promotion(clone.root, "--check", str(out)) == 1
    assert capsys.readouterr().err.startswith("does not hold: ")


def test_a_study_that_does_not_verify_is_not_attested(clone: Forger, tmp_path):
    clone.run(lambda run: run["facts"].update(val_bpb=0.5))
    clone.commit()
    with pytest.raises(Refused, match="HEAD does not verify, so nothing of it is attested: V15 decisions"):
        promotion(clone.root, "gate2", "--out", str(tmp_path / "x.json"))
    assert not (tmp_path / "x.json").exists()


def test_a_gate_that_has_not_decided_is_not_attested(clone: Forger, tmp_path):
    with pytest.raises(Refused, match="gate9 has not decided; the ledger has gate1, gate2, gate3"):
        promotion(clone.root, "gate9", "--out", str(tmp_path / "x.json"))
