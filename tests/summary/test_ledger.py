"""The ledger stage: git's copy, byte for byte, of what the workspace holds."""

import json
import shutil
from contextlib import chdir

import pytest

from stages import ledger
from stages.domain import names
from stages.domain.errors import Invalid, Refused


@pytest.fixture
def study(case, tmp_path):
    """A copy of the synthetic study that a test may change, as the working directory."""
    root = tmp_path / "study"
    shutil.copytree(case.root, root)
    with chdir(root):
        yield root


def test_the_ledgers_lines_are_the_files_themselves(study, case):
    ledger.main()
    lines = (study / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    assert lines == [(study / names.record_path(run.id)).read_bytes() for run in case.records]
    decisions = (study / "ledger" / "decisions.jsonl").read_bytes()
    assert decisions == b"".join((study / names.GATES / f"gate{n}" / "decision.json").read_bytes() for n in range(1, 6))


def test_writing_it_again_changes_no_byte(study):
    ledger.main()
    before = {path: path.read_bytes() for path in [*study.glob("ledger/*"), *study.glob("artifacts/summary/*")]}
    ledger.main()
    assert len(before) == 8
    assert {path: path.read_bytes() for path in before} == before


def test_a_study_that_is_still_going_on_has_a_ledger(study):
    shutil.rmtree(study / names.GATES / "gate4")
    shutil.rmtree(study / names.GATES / "gate5")
    shutil.rmtree(study / names.RECORDS / "rung5")
    (study / "locks" / "gate5.yaml").unlink()
    ledger.main()
    assert len((study / "ledger" / "decisions.jsonl").read_bytes().splitlines()) == 3
    headline = json.loads((study / "ledger" / "metrics.json").read_bytes())
    assert (headline["winner"], headline["path"]) == (None, "12-12-10-4")


def test_what_another_study_left_behind_stays_out_and_is_named(study, case, capsys):
    run = study / names.record_path("rung1/d2-c001/cpu-fp32/1000")
    body = json.loads(run.read_bytes()) | {"seed": 77}
    from stages.domain import canonical

    run.with_name("77.json").write_bytes(canonical.dumps(body))
    ledger.main()
    assert len((study / "ledger" / "runs.jsonl").read_bytes().splitlines()) == len(case.records)
    assert "1 records in artifacts/records are not of this study, such as rung1/d2-c001/cpu-fp32/77" in (
        capsys.readouterr().err
    )


def test_a_lock_that_the_door_was_not_made_from_is_refused(study):
    path = study / names.PROTOCOL / "rung2.json"
    body = json.loads(path.read_bytes()) | {"lock": "0" * 64}
    path.write_text(json.dumps(body), encoding="utf-8")
    with pytest.raises(Refused, match=r"artifacts/protocol/rung2.json: found lock 0{64}, expected .*`dvc repro`"):
        ledger.main()


@pytest.mark.parametrize(
    "spoil", [lambda d: d.replace(b'"schema":1', b'"schema": 1'), lambda d: d[:-20], lambda d: b"7\n"]
)
def test_a_decision_that_no_gate_wrote_is_refused(study, spoil):
    path = study / names.GATES / "gate2" / "decision.json"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(Invalid, match=r"artifacts/gates/gate2/decision.json.*`dvc repro` judges anew"):
        ledger.main()
    assert not (study / "ledger" / "runs.jsonl").exists()


def test_a_decision_by_another_lock_is_refused(study):
    shutil.copy(study / names.GATES / "gate1" / "decision.json", study / names.GATES / "gate2" / "decision.json")
    with pytest.raises(Refused, match=r"is not a decision by locks/gate2.yaml"):
        ledger.main()


def test_telemetry_is_gathered_of_the_runs_that_trained_and_of_no_other(study, case):
    before = {path.relative_to(study / names.TELEMETRY): path.read_bytes() for path in _telemetry(study)}
    stale = study / names.TELEMETRY / "rung1" / "gone" / "cpu-fp32" / "1000.json"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"{}")
    ledger.main()
    assert {path.relative_to(study / names.TELEMETRY): path.read_bytes() for path in _telemetry(study)} == before
    trained = [names.telemetry_path(run.id) for run in case.records if run.executed]
    assert sorted(path.relative_to(study) for path in _telemetry(study)) == sorted(trained)


def _telemetry(study):
    return list((study / names.TELEMETRY).rglob("*.json"))


def test_a_configuration_that_the_study_no_longer_has_stays_out(study, case, capsys):
    path = study / names.PROTOCOL / "configs.json"
    value = json.loads(path.read_bytes())
    gone = sorted(value["configs"])[0]
    del value["configs"][gone]
    path.write_text(json.dumps(value), encoding="utf-8")
    ledger.main()
    lines = (study / "ledger" / "runs.jsonl").read_bytes().splitlines(keepends=True)
    kept = [run for run in case.records if run.config != gone]
    assert lines == [(study / names.record_path(run.id)).read_bytes() for run in kept]
    left = [run for run in case.records if run.config == gone]
    assert capsys.readouterr().err == (
        f"note: {len(left)} records in artifacts/records are not of this study, such as {left[0].id}; "
        "they stay out of the ledger\n"
    )


def test_a_rung_whose_contract_is_closed_names_no_lock(study):
    path = study / names.PROTOCOL / "rung2.json"
    path.write_text(json.dumps({"schema": 1, "open": False, "rung": "rung2", "gate": "gate2"}), encoding="utf-8")
    with pytest.raises(Refused) as refused:
        ledger.main()
    digest = json.loads((study / names.GATES / "gate2" / "decision.json").read_bytes())["lock"]
    assert str(refused.value) == (
        f"artifacts/protocol/rung2.json: found lock None, expected {digest}, that of locks/gate2.yaml; "
        "`dvc repro` brings it up to date"
    )
