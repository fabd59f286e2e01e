"""Pending states: frozen or amended, the evidence not made yet. Such a commit verifies as far as it goes, and no further."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical, locks, yamlio
from stages.domain.errors import Refused
from stages.domain.study import parse_study
from stages.verify import Options, Report, attest_decision, verify
from stages.verify.pending import _with_origin
from tests.support import dvclock, synthetic
from tests.verify.forger import METRICS, RUNS, Forger, failed

DECIDED = 2
FROZEN = "gate3 is frozen; its evidence is not made yet: `dvc repro`"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of which two of five gates are frozen and have decided."""
    root = tmp_path_factory.mktemp("pending") / "study"
    dvclock.build_study(root, synthetic.params(4, 1), DECIDED)
    return root


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Forger:
    return Forger(Path(shutil.copytree(built, tmp_path / "study")))


def freeze(f: Forger, gate: str) -> locks.Lock:
    """Write the lock of a gate for params.yaml as it is, upon that of the gate before."""
    number = int(gate.removeprefix("gate"))
    before = locks.loads(f.read(f"locks/gate{max(number - 1, 1)}.yaml"), gate).frozen
    study = parse_study(yamlio.loads(f.read("params.yaml"), "params.yaml"), "params.yaml")
    previous = locks.digest_of(before) if number > 1 else None
    frozen = locks.frozen_of(study, gate, runner=before.runner, corpus=before.corpus, previous=previous)
    f.write(f"locks/{gate}.yaml", locks.dumps(frozen))
    return locks.loads(locks.dumps(frozen), gate)


def amend(f: Forger, gate: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change params.yaml and freeze a gate as an amendment."""
    old = locks.loads(f.read(f"locks/{gate}.yaml"), gate)
    f.params(change)
    new = freeze(f, gate)
    changed = locks.difference(old.frozen, new.frozen)
    amendment = locks.Amendment(reason="a wider gate", replaces=old.digest, changed=changed)
    f.write(f"locks/{gate}.yaml", locks.dumps(new.frozen.model_copy(update={"amendments": [amendment]})))


def budget(rung: str, seconds: float) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        value["rungs"][rung]["budget_seconds"] = seconds

    return change


def wider(value: dict[str, Any]) -> None:
    value["gates"]["gate2"]["R5"]["k"] = 2


def head(f: Forger) -> Report:
    return verify(f.root, f.commit())


def notes(report: Report, check: str = "V08") -> list[str]:
    return [note for result in report.results if result.check.id == check for note in result.notes]


def test_a_gate_that_is_frozen_late_verifies_before_its_evidence_is_made(study):
    freeze(study, "gate3")
    report = head(study)
    assert (report.verdict, failed(report.results)) == ("verified", [])
    assert FROZEN in notes(report)


def test_without_a_gate_that_is_pending_nothing_is_noted_as_pending(study):
    report = head(study)
    assert (report.verdict, failed(report.results)) == ("verified", [])
    assert not [note for note in notes(report) if "is frozen" in note or "was amended" in note]


def test_the_same_holds_without_any_history(study):
    freeze(study, "gate3")
    shutil.rmtree(study.root / ".git")
    report = verify(study.root, options=Options(depth="git"))
    assert failed(report.results) == []
    assert FROZEN in notes(report)


def test_a_gate_that_is_frozen_late_may_have_another_budget(study):
    study.params(budget("rung3", 7.5))
    assert failed(head(study).results) == []
    freeze(study, "gate3")
    assert failed(head(study).results) == []
    freeze(study, "gate4")
    assert failed(head(study).results) == []


def test_a_gate_frozen_twice_before_its_evidence_verifies_both_times(study):
    freeze(study, "gate3")
    assert failed(head(study).results) == []
    study.params(budget("rung3", 7.5))
    freeze(study, "gate3")
    assert failed(head(study).results) == []


def test_a_pending_gate_does_not_excuse_the_budget_of_another_rung(study):
    study.params(budget("rung1", 3.0))
    freeze(study, "gate3")
    assert failed(head(study).results) == ["locks-match", "parameters"]


def test_a_pending_gate_does_not_excuse_a_changed_metric(study):
    freeze(study, "gate3")
    study.replace(METRICS, '"path": "4-', '"path": "3-')
    assert "summary" in failed(head(study).results)


def test_evidence_of_a_gate_that_is_passed_off_as_pending_is_no_evidence(study):
    lock = freeze(study, "gate3")
    study.commit("Freeze")
    runs = study.runs()
    like = {**runs[0], "rung": "rung3", "gate": "gate3", "lock": lock.digest, "seed": 3000}
    study.write(RUNS, study.read(RUNS) + canonical.dumps(like))
    assert {"summary", "digests"} <= set(failed(head(study).results))


def test_an_amendment_verifies_before_the_evidence_is_made_anew(study):
    amend(study, "gate2", wider)
    report = head(study)
    assert (report.verdict, failed(report.results)) == ("verified", [])
    note = "gate2 was amended; the evidence here is that of the rule before: `dvc repro` makes it anew"
    assert note in notes(report)


def test_an_amendment_and_a_gate_frozen_after_it_verify_together(study):
    amend(study, "gate2", wider)
    study.params(budget("rung3", 7.5))
    freeze(study, "gate3")
    report = head(study)
    assert failed(report.results) == []
    assert FROZEN in notes(report)


def test_a_rule_changed_without_an_amendment_is_not_pending(study):
    study.params(wider)
    freeze(study, "gate2")
    assert {"rule-of-record", "decisions", "rule-stayed"} <= set(failed(head(study).results))


def test_an_amendment_of_a_lock_that_never_judged_is_not_pending(study):
    amend(study, "gate2", wider)
    study.lock("gate2", lambda frozen: frozen["amendments"][0].update(replaces="0" * 64))
    assert {"rule-of-record", "rule-stayed"} <= set(failed(head(study).results))


def test_an_amendment_of_a_gate_that_blocked_verifies_with_the_gates_after_it_that_judged_nothing(tmp_path):
    params = synthetic.params(4, 1)
    params["rungs"]["rung1"]["floor_seeds"] = [1901, 1902]
    params["gates"]["gate1"] |= {
        "R98": {"kind": "within_gap", "gap": 1e-6},
        "R99": {"kind": "above_noise_floor", "multiple": 100},
    }
    dvclock.build_study(tmp_path / "study", params, DECIDED)
    study = Forger(tmp_path / "study")
    assert failed(head(study).results) == []
    assert b'"blocked_by":["R99"]' in study.read("ledger/decisions.jsonl")
    amend(study, "gate1", lambda value: value["gates"]["gate1"].pop("R99"))
    freeze(study, "gate2")  # its lock names the lock before it; it saw stopped runs alone
    report = head(study)
    assert (report.verdict, failed(report.results)) == ("verified", [])
    assert "gate1 was amended" in " ".join(notes(report))


def test_a_gate_that_judged_runs_is_not_frozen_anew_after_an_amendment_of_another(study):
    amend(study, "gate1", lambda value: value["gates"]["gate1"]["R4"].update(k=2))
    freeze(study, "gate2")
    assert {"rule-of-record", "rule-stayed"} <= set(failed(head(study).results))


def test_nothing_of_a_pending_gate_is_attested(study):
    amend(study, "gate2", wider)
    commit = study.commit("Amend")
    with pytest.raises(Refused, match="gate2 was amended, and its evidence is not made again yet"):
        attest_decision(study.root, commit, "gate2")
    assert attest_decision(study.root, commit, "gate1")


def test_an_origin_that_an_amendment_took_away_is_that_of_the_evidence_until_it_is_made_anew() -> None:
    now = {"name": "ladder", "title": "Another title"}
    assert _with_origin(now, {"name": "ladder", "from": {"study": "screen"}}) == {**now, "from": {"study": "screen"}}
    assert _with_origin({**now, "from": {"study": "screen"}}, {"name": "ladder"}) == now
