"""The stage `protocol`: what it writes for every rung, and each difference from the locks that it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import protocol
from stages.domain import canonical, files, names
from stages.domain.locks import LockRefused
from stages.domain.study import Study, load
from stages.runners import StudyModels
from tests.report import broken
from tests.runners.foreign_study import make_params
from tests.support import synthetic


class FakeRunner:
    """A runner that is fixed and whose models are known."""

    def __init__(self, digest: str | None = synthetic.RUNNER) -> None:
        self.fixed = digest

    def digest(self, tree: object) -> str | None:
        return self.fixed

    def validate(self, study: Study) -> StudyModels:
        return StudyModels({name: {"model": name} for name in study.configs}, ("a first note", "a second one"))


@pytest.fixture
def study(judged: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A judged study with the runner that its locks froze."""
    monkeypatch.setattr(protocol, "runner_of", lambda settings: FakeRunner())
    return judged


def written() -> dict[str, bytes]:
    return {
        path.relative_to(names.PROTOCOL).as_posix(): path.read_bytes()
        for path in names.PROTOCOL.rglob("*")
        if path.is_file()
    }


def forget(*rungs: str) -> None:
    """Remove the lock of rungs and all evidence of them, in the workspace and in the ledger."""
    for rung in rungs:
        names.lock_path(names.gate_of(rung)).unlink(missing_ok=True)
        shutil.rmtree(names.RECORDS / rung)
        broken.lines(Path(), "runs.jsonl", lambda run, rung=rung: None if run["rung"] == rung else run)


def refusal(change: Callable[[dict[str, Any]], object] | None = None) -> str:
    """What the stage says after a change of params.yaml."""
    if change:
        broken.params(Path(), change)
    with pytest.raises(LockRefused) as refused:
        protocol.main()
    return str(refused.value)


def test_every_rung_gets_the_contract_of_its_lock_and_every_configuration_its_knobs(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = written()
    configs = load().configs
    expected["configs.json"] = canonical.dumps({"schema": 1, "configs": {name: {"model": name} for name in configs}})
    shutil.rmtree(names.PROTOCOL)
    protocol.main()
    assert written() == expected
    assert len(expected) == 5 + 4 + 1
    assert capsys.readouterr() == ("", "note: a first note\nnote: a second one\n")


def test_files_of_rungs_and_configurations_that_are_gone_go_and_others_stay(study: Path) -> None:
    before = written()
    for name in ("rung6.json", "knobs/gone.json"):
        files.write_whole(names.PROTOCOL / name, b"{}\n")
    files.write_whole(names.PROTOCOL / "note.txt", b"mine\n")
    protocol.main()
    assert sorted(written()) == sorted([*before, "note.txt"])


def test_rungs_whose_gates_are_not_frozen_yet_have_closed_contracts(study: Path) -> None:
    forget("rung4", "rung5")
    protocol.main()
    for rung in ("rung4", "rung5"):
        gate = names.gate_of(rung)
        assert json.loads(written()[f"{rung}.json"]) == {"schema": 1, "open": False, "rung": rung, "gate": gate}
    assert json.loads(written()["rung3.json"])["open"] is True


def test_nothing_frozen_is_refused_with_the_first_gate(study: Path) -> None:
    for path in names.LOCKS.glob("*.yaml"):
        path.unlink()
    assert refusal() == ("locks/gate1.yaml is missing; look at gates.gate1 in params.yaml, then `promotion freeze`")


def test_a_lock_that_is_gone_from_evidence_is_to_be_brought_back(study: Path) -> None:
    names.lock_path("gate5").unlink()
    assert refusal() == (
        "locks/gate5.yaml is missing, but evidence of rung5 exists; `git checkout -- locks/gate5.yaml`"
    )


def test_a_gap_between_locks_is_refused_with_its_first_gate(study: Path) -> None:
    forget("rung3", "rung4")
    assert refusal() == "locks/gate3.yaml is missing, but that of gate5 exists; `promotion freeze gate3`"


def test_a_rule_that_changed_after_its_evidence_is_to_be_amended_or_asked_as_a_what_if(study: Path) -> None:
    assert refusal(lambda value: value["gates"]["gate3"]["R7"].update(k=2)) == (
        "locks/gate3.yaml: differs from params.yaml, the runner or the corpus:\n"
        "  rules.R7.k: frozen 3, now 2\n"
        '  take the change back, or freeze it: `promotion freeze gate3 --amend --reason "..."` '
        "(this invalidates the evidence of rung3 and above)"
        "; to ask what-if without touching anything: `dvc exp run --temp -S study.mode=exploratory ...`"
    )


def test_a_budget_that_changed_before_any_evidence_is_frozen_anew_and_no_what_if(study: Path) -> None:
    forget_evidence = ("rung2", "rung3", "rung4", "rung5")
    locks = {rung: names.lock_path(names.gate_of(rung)).read_bytes() for rung in forget_evidence}
    forget(*forget_evidence)
    names.lock_path("gate2").write_bytes(locks["rung2"])

    def change(value: dict[str, Any]) -> None:
        value["rungs"]["rung2"]["budget_seconds"] = 6.5
        value["gates"]["gate2"]["R5"]["k"] = 1

    assert refusal(change) == (
        "locks/gate2.yaml: differs from params.yaml, the runner or the corpus:\n"
        "  budget_seconds: frozen 5.0, now 6.5\n"
        "  rules.R5.k: frozen 4, now 1\n"
        "  take the change back, or freeze it: `promotion freeze gate2` "
        "(this invalidates the evidence of rung2 and above)"
    )


def test_another_runner_and_another_corpus_differ_from_every_lock(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "runner_of", lambda settings: FakeRunner(None))
    files.write_whole(names.CORPUS / "manifest.json", b"{}\n")
    lines = refusal().splitlines()
    assert lines[0] == "locks/gate1.yaml: differs from params.yaml, the runner or the corpus:"
    frozen, other = json.loads((names.PROTOCOL / "rung1.json").read_bytes()), files.sha256_bytes(b"{}\n")
    assert lines[1:3] == [
        f"  corpus: frozen '{frozen['corpus']}', now '{other}'",
        f"  runner: frozen '{'1' * 64}', now '{files.digest_of(())}'",
    ]


def test_an_exploratory_study_is_refused_what_no_rule_decides_and_that_alone(study: Path) -> None:
    def change(value: dict[str, Any]) -> None:
        value["study"]["mode"] = "exploratory"
        value["gates"]["gate2"]["R5"]["k"] = 1
        value["roles"]["comparator"] = "d3-c002"

    broken.params(study, change)
    protocol.main()
    assert refusal(lambda value: value["rungs"]["rung2"].update(budget_seconds=6.5)) == (
        "locks/gate2.yaml: no what-if can answer this, for it would have made other evidence:\n"
        "  budget_seconds: frozen 5.0, now 6.5\n"
        "  a what-if may change gates and roles; take the rest back, or freeze it in a study of its own"
    )


def test_a_corpus_that_was_not_built_is_missing(tmp_path: Path) -> None:
    with pytest.raises(LockRefused) as refused:
        protocol.corpus_digest(tmp_path)
    assert str(refused.value) == "artifacts/corpus/manifest.json is missing; `dvc repro corpus` builds it"
    files.write_whole(tmp_path / names.CORPUS / "manifest.json", b"a manifest\n")
    assert protocol.corpus_digest(tmp_path) == files.sha256_bytes(b"a manifest\n")


def test_a_runner_of_which_no_file_is_there_has_the_digest_of_nothing(tmp_path: Path) -> None:
    study = synthetic.params(2)
    value = Study.model_validate(study)
    assert protocol.runner_digest(value, tmp_path) == files.digest_of(())
    files.write_whole(tmp_path / "trainer" / "x.py", b"1\n")
    assert protocol.runner_digest(value, tmp_path) != files.digest_of(())
    foreign = Study.model_validate(make_params())
    assert protocol.runner_digest(foreign, tmp_path) == files.digest_of(())


def put(root: Path, place: str, rung: str, status: str, lock: str) -> None:
    value = {"config": "a", "host": "h", "lock": lock, "rung": rung, "seed": 1, "status": status}
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(canonical.dumps(value))


def test_evidence_of_a_rung_is_what_trained_there_in_the_workspace_or_in_the_ledger(tmp_path: Path) -> None:
    a, b, c, d = (letter * 64 for letter in "abcd")
    assert protocol.executed_under("rung1", tmp_path) == set()
    put(tmp_path, "artifacts/records/rung1/x/h/1.json", "rung1", "stopped", a)
    put(tmp_path, "ledger/runs.jsonl", "rung2", "finished", b)
    put(tmp_path, "ledger/runs.jsonl", "rung1", "unrun", b)
    assert protocol.executed_under("rung1", tmp_path) == set()
    assert not protocol.executed_runs("rung1", tmp_path)
    put(tmp_path, "artifacts/records/rung1/x/h/2.json", "rung1", "failed", c)
    assert protocol.executed_under("rung1", tmp_path) == {c}
    put(tmp_path, "ledger/runs.jsonl", "rung1", "diverged", d)
    put(tmp_path, "ledger/runs.jsonl", "rung1", "finished", a)
    assert protocol.executed_under("rung1", tmp_path) == {a, c, d}
    assert protocol.executed_under("rung2", tmp_path) == {b}
    assert protocol.executed_runs("rung2", tmp_path)
    assert not protocol.executed_runs("rung3", tmp_path)
