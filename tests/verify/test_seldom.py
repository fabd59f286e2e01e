"""What verification meets seldom: no library, no key, no git, a push, a statement that is too large."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages import verify as front_door
from stages.domain.errors import Refused
from stages.domain.origin import Origin
from stages.domain.study import Study
from stages.repo.objects import GitAbsent
from stages.verify import attestation, pending, signatures
from stages.verify.attestation import BadAttestation
from stages.verify.check import Case, Options, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks
from stages.verify.origin import _verify_earlier, check_origin
from stages.verify.pending import EvidenceRules
from stages.verify.signatures import BadSignature, BadSigners
from tests.verify.cases import alter, change_runs
from tests.verify.forger import Forger

KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x20" + b"k" * 32).decode()


def message(kind: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# Attestations


def test_outside_git_nothing_is_attested(tmp_path):
    text = message(Refused, lambda: attestation.attest_decision(tmp_path, "HEAD", "gate1"))
    assert text.endswith(", and an attestation names a commit")


def test_a_statement_names_each_thing_that_a_decision_was_made_of(judged):
    case = alter(judged, commit="c" * 40)
    statement = attestation._attestation(case, "gate2")
    lock = judged.get(Locks).by_gate["gate2"]
    resources = statement.statement["predicate"]["materials"]
    assert [part["name"] for part in resources] == [
        *(f"artifacts/records/{run.record.id}.json" for run in judged.get(Ledger).runs[6:12]),
        "locks/gate1.yaml",
        "locks/gate2.yaml",
        "artifacts/corpus/manifest.json",
        "trainer",
        "repository",
    ]
    assert resources[-3]["digest"] == {"sha256": lock.frozen.corpus}
    assert resources[-2]["digest"] == {"stagedPromotionTree": lock.frozen.runner}
    assert resources[-1]["digest"] == {"gitCommit": "c" * 40}
    assert statement.notes == ()
    predicate = statement.statement["predicate"]
    assert (predicate["name"], predicate["command"]) == ("gate2", ["python", "-m", "stages.gate", "rung2"])
    assert predicate["byproducts"]["promoted"] == judged.get(Ledger).decisions["gate2"].value["promoted"]
    assert len(attestation._attestation(judged, "gate2").statement["predicate"]["materials"]) == len(resources) - 1


def test_a_gate_that_has_not_decided_or_is_pending_is_not_attested(judged):
    text = message(Refused, lambda: attestation._attestation(judged, "gate9"))
    assert text == "gate9 has not decided; the ledger has gate1, gate2, gate3, gate4, gate5"
    empty = alter(judged, Ledger(judged.get(Ledger).runs, {}))
    text = message(Refused, lambda: attestation._attestation(empty, "gate1"))
    assert text == "gate1 has not decided; the ledger has no decision"
    unknown = alter(judged, replace(judged.get(Recomputed), decisions={}))
    assert message(Refused, lambda: attestation._attestation(unknown, "gate1")).startswith("gate1 has not decided")
    rules = replace(judged.get(EvidenceRules), pending={"gate2": "amended"})
    text = message(Refused, lambda: attestation._attestation(alter(judged, rules), "gate2"))
    assert text == "gate2 was amended, and its evidence is not made again yet; `dvc repro`, then attest"
    assert attestation._attestation(alter(judged, rules), "gate1").notes == ()


def test_without_the_library_no_statement_is_made_or_read(monkeypatch, tmp_path):
    for name in ("google.protobuf.json_format", "in_toto_attestation.v1.statement", "securesystemslib.dsse"):
        monkeypatch.setitem(sys.modules, name, None)
    calls: tuple[Callable[[], object], ...] = (
        lambda: attestation._validated([], {}),
        lambda: attestation.parse_statement(b"{}", "a.json"),
        lambda: attestation.dump_statement({}, tmp_path / "key"),
    )
    for call in calls:
        text = message(Refused, call)
        assert text.endswith(
            " is not installed, and attestations are made with it; `pip install 'staged-promotion[attest]'`"
        )


def test_a_statement_is_read_up_to_its_limit_and_in_its_own_envelope_alone(judged, monkeypatch):
    value = attestation._attestation(judged, "gate1").statement
    data = attestation.dump_statement(value, None)
    monkeypatch.setattr(attestation, "MAX_BYTES", len(data))
    assert attestation.parse_statement(data, "a.json") == (value, None)
    monkeypatch.setattr(attestation, "MAX_BYTES", len(data) - 1)
    text = message(BadAttestation, lambda: attestation.parse_statement(data, "a.json"))
    assert text == f"a.json: {len(data)} bytes, expected at most {len(data) - 1}"
    monkeypatch.undo()
    envelope = {"payload": base64.b64encode(data).decode(), "payloadType": "text/plain", "signatures": []}
    text = message(BadAttestation, lambda: attestation.parse_statement(json.dumps(envelope).encode(), "a.json"))
    assert text == "a.json: payloadType: found 'text/plain', expected 'application/vnd.in-toto+json'"
    envelope["payloadType"] = attestation.PAYLOAD
    parsed, read = attestation.parse_statement(json.dumps(envelope).encode(), "a.json")
    assert parsed == value
    assert read is not None
    text = message(BadAttestation, lambda: attestation.parse_statement(b"{{", "a.json"))
    assert text.startswith("a.json: not an in-toto statement: NotCanonical: ")


def test_keys_that_may_not_sign_or_are_none_are_left_out(tmp_path):
    allowed = tmp_path / "allowed"
    none = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x01x").decode()
    allowed.write_text(f'a {none}\nb valid-before="20200101" {KEY}\nc {KEY}\nd {KEY}\n', encoding="ascii")
    assert [name for name, _ in attestation._allowed_keys(allowed).values()] == ["c"]
    text = message(BadSignature, lambda: attestation.check_signature(None, allowed, "a.json"))
    assert text == "a.json: not signed; `promotion attest GATE --sign KEY` signs"
    allowed.write_text(f'b valid-before="20200101" {KEY}\n', encoding="ascii")
    text = message(BadSignature, lambda: attestation.check_signature(object(), allowed, "a.json"))
    assert text == f"{allowed}: holds no key that may sign now; a line is `NAME KEYTYPE KEY`"


# Signatures


def test_a_file_of_signers_is_read_up_to_its_limit(tmp_path, monkeypatch):
    allowed = tmp_path / "allowed"
    text = message(BadSigners, lambda: signatures.read_allowed_signers(allowed))
    assert text == f"{allowed}: no such file; it holds a line `NAME KEYTYPE KEY` for everybody who may sign"
    data = f"# c\na {KEY}\n\nb,c {KEY} words\n".encode()
    allowed.write_bytes(data)
    monkeypatch.setattr(signatures, "MAX_BYTES", len(data))
    assert [line.names for line in signatures.read_allowed_signers(allowed)] == ["a", "b,c"]
    monkeypatch.setattr(signatures, "MAX_BYTES", len(data) - 1)
    text = message(BadSigners, lambda: signatures.read_allowed_signers(allowed))
    assert text == f"{allowed}: {len(data)} bytes, expected at most {len(data) - 1}"
    monkeypatch.undo()
    allowed.write_bytes(b"a ssh-ed25519 AAAA\n")
    text = message(BadSigners, lambda: signatures.require_signers(allowed))
    assert text == (
        f"{allowed}: found no line of an allowed signer, expected one for everybody who may sign, in UTF-8: "
        "`alice@example.org ssh-ed25519 AAAA...`, as `ssh-keygen -y -f KEY` prints the last two words"
    )


@pytest.mark.parametrize("text", ["2020", "20201301", "2020010", "20200101Q", "20200101Zx"])
def test_a_time_that_is_none_is_told(text):
    assert message(BadSigners, lambda: signatures._time(text)) == (
        f"allowed signers: found the time {text!r}, expected YYYYMMDD[HHMM[SS]][Z]"
    )


def test_a_time_is_that_of_this_machine_or_of_greenwich():
    assert signatures._time("20200102Z").isoformat() == "2020-01-02T00:00:00+00:00"
    assert signatures._time("202001020304Z").isoformat() == "2020-01-02T03:04:00+00:00"
    assert signatures._time("20200102030405Z").isoformat() == "2020-01-02T03:04:05+00:00"
    assert signatures._time("20200102030405").strftime("%Y%m%d%H%M%S") == "20200102030405"
    assert signatures._clock(0) == signatures.datetime.fromtimestamp(0).strftime("%Y%m%d%H%M%S")
    text = message(BadSignature, lambda: signatures._clock(10**15))
    assert text == f"it claims the time {10**15}, which no calendar has"


def test_without_ssh_keygen_nothing_is_signed_or_verified(tmp_path, monkeypatch):
    def missing(*_: object, **__: object) -> object:
        raise FileNotFoundError("ssh-keygen")

    monkeypatch.setattr(signatures.subprocess, "run", missing)
    (tmp_path / "key").write_bytes(b"")
    text = message(BadSignature, lambda: signatures.make_signature(b"", tmp_path / "key"))
    assert text == "ssh-keygen is not installed; install OpenSSH 8.1 or newer to sign and verify"
    text = message(BadSignature, lambda: signatures.make_signature(b"", tmp_path / "none"))
    assert text == f"{tmp_path / 'none'}: no such key; `ssh-keygen -t ed25519 -f {tmp_path / 'none'}` makes one"


def signing(judged: Case, tmp_path: Path, **fields: Any) -> Case:
    (tmp_path / "allowed").write_text(f"a {KEY}\n", encoding="ascii")
    return alter(judged, options=Options("git", tmp_path / "allowed"), **fields)


def why(case: Case, check: Any = signatures.check_commit_signatures) -> tuple[str, str]:
    with pytest.raises(Skip) as skip:
        list(check(case))
    return skip.value.reason, skip.value.enable


def test_commits_are_looked_at_where_there_are_some(judged, tmp_path, monkeypatch):
    assert why(judged) == ("nobody said who may sign", "promotion verify --signers FILE")
    assert why(signing(judged, tmp_path, git=None))[1] == "git clone"
    case = signing(judged, tmp_path)
    assert why(case) == ("none of the 1 commits that touched locks/ is signed by SSH", "git commit --gpg-sign")
    assert why(case, signatures.check_lock_signatures) == ("no lock is signed", "promotion freeze --sign KEY")

    def absent(*_: object) -> object:
        raise GitAbsent("an object is absent", "git fetch")

    monkeypatch.setattr(signatures, "_commits", absent)
    assert case.git is not None
    for partial, error in ((False, GitAbsent), (True, Skip)):
        monkeypatch.setattr(case.git, "partial", partial)
        with pytest.raises(error):
            list(signatures.check_commit_signatures(case))
    assert why(case) == ("an object is absent", "git fetch")
    monkeypatch.setattr(type(judged.git), "head", None)
    assert why(signing(judged, tmp_path)) == ("there is no commit yet", "git commit")


# Origin, pending, the front door


def test_an_origin_that_nothing_shows_is_skipped_or_told(judged, tmp_path):
    origin = Origin.model_validate({"study": "first", "gate": "gate2", "commit": "c" * 40, "decision": "d" * 64})
    study = judged.get(Study)
    extended = study.model_copy(update={"study": study.study.model_copy(update={"from_": origin})})
    case = alter(judged, extended)
    assert list(check_origin(judged)) == []
    at = "/study/from/commit"
    meaning = "nothing shows what this study goes on from"
    assert list(check_origin(case)) == [
        Problem("params.yaml", "c" * 40, "a commit before this one", meaning, pointer=at)
    ]
    reason, enable = why(alter(case, git=None), check_origin)
    assert reason.endswith(", so nothing shows what this study goes on from")
    assert enable == "git clone"
    text = message(Refused, lambda: front_door.find_origin_problems(tmp_path, extended, {}))
    assert text == f"params.yaml: study.from: this is not a git repository, so {meaning}; git clone"
    assert front_door.find_origin_problems(judged.root, study, {}) == []


def test_the_locks_of_the_past_are_believed_as_a_chain_alone(judged):
    files = {path.removeprefix("locks/"): judged.tree.read(path) or b"" for path in judged.tree.paths("locks")}
    parsed = pending._parse_locks(files)
    assert parsed == judged.get(Locks)
    without = {name: data for name, data in files.items() if name != "gate3.yaml"}
    assert pending._parse_locks(without) is None
    assert pending._parse_locks({**files, "gate3.yaml": files["gate2.yaml"]}) is None
    assert pending._parse_locks({**files, "gate3.yaml": b"x"}) is None
    assert pending._parse_locks({}) is None
    assert pending._parse_locks({**files, "gate3.yaml.sig": b"x"}) == parsed


def test_a_section_with_its_origin_of_then_keeps_its_other_words():
    assert pending._with_origin({"name": "a", "from": 1}, {"name": "b", "from": 2}) == {"name": "a", "from": 2}
    assert pending._with_origin({"name": "a", "from": 1}, {"name": "b"}) == {"name": "a"}
    assert pending._with_origin("x", {"from": 2}) == "x"
    assert pending._with_origin({"from": 1}, "x") == {"from": 1}


def test_the_parameters_of_then_are_those_of_the_pending_gates(judged):
    git, head = judged.git, judged.git.head
    value = json.loads(judged.tree.read("params.yaml"))
    now = {**value, "gates": {**value["gates"], "gate2": 1, "gate3": 2}, "rungs": {**value["rungs"], "rung2": 3}}
    mixed = pending._params_of_then(git, head, now, {"gate2": "amended"})
    assert mixed == {**value, "gates": {**value["gates"], "gate3": 2}}
    now["clock"], now["study"] = 4, {**value["study"], "title": "another"}
    mixed = pending._params_of_then(git, head, now, {"gate1": "amended"})
    assert (mixed["clock"], mixed["study"]) == (value["clock"], now["study"])
    assert pending._params_of_then(git, head, now, {"gate1": "frozen"})["clock"] == 4
    assert pending._params_of_then(git, head, {**now, "gates": 1}, {}) is None
    assert pending._params_of_then(git, head, {**now, "rungs": 1}, {}) is None


def test_evidence_of_locks_that_a_shallow_clone_hides_is_not_judged(judged, monkeypatch):
    assert pending.find_evidence_rules(judged) == judged.get(EvidenceRules)
    monkeypatch.setattr(pending, "_noted_digest", lambda _: "0.dir")
    assert pending.find_evidence_rules(alter(judged)) == judged.get(EvidenceRules)
    other = alter(judged, change_runs(judged, lambda run: run.update(lock="0" * 64), at=0))
    assert pending.find_evidence_rules(other).pending == {}
    monkeypatch.setattr(judged.git, "shallow", frozenset({"a" * 40}))
    text = message(GitAbsent, lambda: pending.find_evidence_rules(other))
    assert "the commit that held the locks of the evidence here is not in this shallow clone" in text
    assert pending.find_evidence_rules(judged) == judged.get(EvidenceRules)
    stopped = alter(judged, change_runs(judged, lambda run: run.update(lock="0" * 64), at=30))
    assert pending.find_evidence_rules(stopped).pending == {}


def test_a_push_is_verified_by_its_new_commits(judged):
    root, head, zeros = judged.root, judged.git.head, "0" * 40
    assert front_door.verify_push(root, head, zeros) == []
    assert front_door.verify_push(root, zeros, "d" * 40) == []
    for before in (zeros, head):
        (step,) = front_door.verify_push(root, before, head)
        assert (step.commit, step.report.verdict) == (head, "verified")
    first = judged.git.commit(head).parents[0]
    assert front_door.range_base(root, f"{first}..{head}") == first
    assert front_door.range_base(root, f"{'d' * 40}..{head}", ["nothing", first]) == first
    assert front_door.range_base(root, f"{zeros}..{head}") is None


def test_a_push_without_a_study_is_none_of_this_programs(tmp_path):
    repo = Forger(tmp_path)
    repo.git("init", "-q", "-b", "main")
    repo.write("notes.txt", b"x")
    commits = [repo.commit("Notes"), repo.commit("More")]
    for old in ("0" * 40, commits[0]):
        assert front_door.verify_push(tmp_path, old, commits[1]) == []


def test_a_chain_of_studies_ends_somewhere(judged):
    origin = Origin.model_validate(
        {"study": "synthetic", "gate": "gate2", "commit": judged.git.head, "decision": "d" * 64}
    )
    deep = alter(judged, later=("c" * 40,) * 16)
    _, problem = _verify_earlier(deep, judged.git, origin)
    assert problem == Problem(
        "params.yaml", "17 studies in a row", "at most 16", "nobody can follow them", pointer="/study/from"
    )
    earlier, problem = _verify_earlier(alter(judged, later=("c" * 40,) * 15), judged.git, origin)
    assert problem is None
    assert earlier.get(Study) == judged.get(Study)


def test_parameters_of_then_that_are_absent_here_are_told_and_not_taken_for_none(judged, monkeypatch):
    git, head = judged.git, judged.git.head

    def absent(*_: object) -> bytes:
        raise GitAbsent("params.yaml is absent", "git fetch")

    monkeypatch.setattr(git, "blob", absent)
    assert message(GitAbsent, lambda: pending._params_of_then(git, head, {}, {})).startswith("params.yaml is absent")
    monkeypatch.setattr(git, "blob", lambda *_: b"a: [")
    assert pending._params_of_then(git, head, {}, {}) is None
