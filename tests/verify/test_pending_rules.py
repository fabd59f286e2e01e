"""By which rules evidence is judged while others are frozen: the comparison of two chains of locks, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stages.domain.locks import Amendment, Lock
from stages.domain.study import Study
from stages.verify import pending
from stages.verify.check import Case
from stages.verify.folders import digest_folder, digest_inside, ignored_patterns
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks, Params
from stages.verify.pending import EvidenceRules
from tests.verify.cases import alter, change_runs

NEW = "f" * 64


def other(lock: Lock, *replaces: str, digest: str = NEW, **frozen: Any) -> Lock:
    """A lock with another digest, and amendments that name these."""
    amendments = [Amendment(reason="why", replaces=name, changed={}) for name in replaces]
    changed = lock.frozen.model_copy(update={"amendments": amendments, **frozen})
    return lock.model_copy(update={"digest": digest, "frozen": changed})


def with_lock(known: Locks, gate: str, lock: Lock) -> Locks:
    return Locks({**known.by_gate, gate: lock})


def only(known: Locks, count: int) -> Locks:
    return Locks(dict(list(known.by_gate.items())[:count]))


def until(ledger: Ledger, rung: int) -> Ledger:
    """The ledger of the first rungs alone."""
    runs = tuple(run for run in ledger.runs if int(run.record.rung.removeprefix("rung")) <= rung)
    decisions = {gate: line for gate, line in ledger.decisions.items() if int(gate.removeprefix("gate")) <= rung}
    return Ledger(runs, decisions)


def test_a_gate_is_pending_where_its_lock_is_newer_than_its_evidence(judged):
    known, ledger = judged.get(Locks), judged.get(Ledger)
    fifth = known.by_gate["gate5"]
    runs = until(ledger, 4)
    decided = Ledger(runs.runs, ledger.decisions)
    stopped = Ledger(tuple(run for run in ledger.runs if not run.record.executed), {})
    assert pending._compare(known, known, ledger) == {}
    assert pending._compare(only(known, 4), known, runs) == {"gate5": "frozen"}
    assert pending._compare(only(known, 3), known, until(ledger, 3)) == {"gate4": "frozen", "gate5": "frozen"}
    assert pending._compare(only(known, 4), known, ledger) is None
    assert pending._compare(only(known, 4), known, decided) is None, "a decision alone is evidence"
    assert pending._compare(known, only(known, 4), ledger) is None, "a lock that is gone follows on nothing"
    named = with_lock(known, "gate5", other(fifth, fifth.digest))
    assert pending._compare(known, named, ledger) == {"gate5": "amended"}
    assert pending._compare(known, named, runs) == {"gate5": "frozen"}
    unnamed = with_lock(known, "gate5", other(fifth, "0" * 64))
    assert pending._compare(known, unnamed, ledger) is None
    assert pending._compare(known, unnamed, stopped) == {"gate5": "amended"}, "it judged nothing"
    foreign = with_lock(known, "gate5", other(fifth, fifth.digest, study="another"))
    assert pending._compare(known, foreign, ledger) is None
    assert pending._compare(known, foreign, stopped) is None
    both = with_lock(named, "gate4", other(known.by_gate["gate4"], known.by_gate["gate4"].digest, digest="e" * 64))
    assert pending._compare(known, both, ledger) == {"gate4": "amended", "gate5": "amended"}


def test_a_lock_has_judged_where_a_run_of_its_rung_was_trained_or_it_is_of_another_study(judged):
    lock, ledger = judged.get(Locks).by_gate["gate5"], judged.get(Ledger)
    stopped = Ledger(tuple(run for run in ledger.runs if not run.record.executed), {})
    for given, before, judges in (
        (ledger, lock, True),
        (stopped, lock, False),
        (Ledger((), {}), lock, False),
        (until(ledger, 4), lock, False),
        (stopped, other(lock, study="another"), True),
    ):
        assert pending._has_judged("gate5", before, lock, given) is judges


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("gate1.yaml", "gate1"),
        ("gate99.yaml", "gate99"),
        ("gate1.yaml.sig", "gate1"),
        ("gate0.yaml", None),
        ("gate100.yaml", None),
        ("README.md", None),
        ("x/gate1.yaml", None),
    ],
)
def test_a_file_of_locks_is_of_its_gate(name, gate):
    assert pending._gate_of(name) == gate


def rules_of(case: Case, monkeypatch: pytest.MonkeyPatch, noted: str | None, *values: object, **fields: Any) -> Any:
    monkeypatch.setattr(pending, "_noted_digest", lambda _: noted)
    return pending.find_evidence_rules(alter(case, *values, **fields))


def digest(case: Case, gates: int | None = None) -> str:
    """The digest of locks/ with the files of so many gates."""
    inside = digest_inside(case.tree, "locks", ignored_patterns(case.tree))
    names = [f"gate{number}" for number in range(1, (gates if gates is not None else 99) + 1)]
    kept = [(name, content) for name, content in inside.items() if pending._gate_of(name) in (None, *names)]
    return digest_folder(kept, "locks").md5


def test_locks_that_were_frozen_after_the_ledger_was_written_are_pending(judged, monkeypatch):
    known, ledger, study = judged.get(Locks), judged.get(Ledger), judged.get(Study)
    params = judged.get(Params).value
    today = EvidenceRules(known, study, params)
    assert rules_of(judged, monkeypatch, None) == today
    assert rules_of(judged, monkeypatch, digest(judged)) == today
    for count in (1, 3, 4):
        kinds = {f"gate{number}": "frozen" for number in range(count + 1, 6)}
        expected = EvidenceRules(only(known, count), study, params, kinds)
        assert rules_of(judged, monkeypatch, digest(judged, count), until(ledger, count)) == expected
    assert expected.undecided == ["gate5"]
    assert list(expected.notes()) == ["gate5 is frozen; its evidence is not made yet: `dvc repro`"]
    assert rules_of(judged, monkeypatch, digest(judged, 0), Ledger((), {})).locks == Locks({})
    assert rules_of(judged, monkeypatch, digest(judged, 4)) == today, "there is evidence of gate 5"


@pytest.fixture
def amended(judged: Case) -> Case:
    """The study with gate 5 amended in the workspace."""
    lock = judged.get(Locks).by_gate["gate5"]
    known = with_lock(judged.get(Locks), "gate5", other(lock, lock.digest))
    return alter(judged, known, files={"locks/gate5.yaml": b"the new one\n"})


def test_an_amended_gate_is_judged_by_the_locks_of_the_newest_commit_that_held_those_of_the_ledger(
    judged, amended, monkeypatch
):
    before, head = digest(judged), judged.git.head
    rules = rules_of(amended, monkeypatch, before)
    assert rules == EvidenceRules(
        judged.get(Locks), judged.get(Study), judged.get(Params).value, {"gate5": "amended"}, head
    )
    assert list(rules.notes()) == [
        "gate5 was amended; the evidence here is that of the rule before: `dvc repro` makes it anew"
    ]
    first = judged.git.commit(head).parents[0]
    assert rules_of(amended, monkeypatch, before, commit=first).commit == first
    known, today = amended.get(Locks), judged.get(Study)
    nothing = EvidenceRules(known, today, judged.get(Params).value)
    assert rules_of(amended, monkeypatch, "0" * 32 + ".dir") == nothing
    assert rules_of(amended, monkeypatch, before, git=None) == nothing
    unnamed = with_lock(known, "gate5", other(known.by_gate["gate5"], "0" * 64))
    assert rules_of(amended, monkeypatch, before, unnamed).pending == {}
    monkeypatch.setattr(pending, "_study_of", lambda params, then: None)
    assert rules_of(amended, monkeypatch, before) == nothing
    monkeypatch.undo()
    monkeypatch.setattr(pending, "_params_of_then", lambda *_: None)
    assert rules_of(amended, monkeypatch, before) == nothing


def test_a_study_of_then_is_one_where_its_parameters_are_what_the_locks_froze(judged):
    known, params = judged.get(Locks), judged.get(Params).value
    assert pending._study_of(params, known) == judged.get(Study)
    assert pending._study_of({**params, "gates": 1}, known) is None
    rungs = {**params["rungs"], "rung5": {**params["rungs"]["rung5"], "budget_seconds": 1000.0}}
    assert pending._study_of({**params, "rungs": rungs}, known) is None
    assert pending._study_of({**params, "rungs": rungs}, only(known, 4)) is not None


def test_a_record_names_another_rule_where_it_was_trained_under_one(judged):
    digests = {lock.digest for lock in judged.get(Locks).by_gate.values()}
    ledger = change_runs(judged, lambda run: run.update(lock="0" * 64))
    executed = [run.record.executed for run in ledger.runs]
    assert [pending._names_other(run, digests) for run in ledger.runs] == executed
    assert False in executed
    assert not any(pending._names_other(run, digests) for run in judged.get(Ledger).runs)


def test_what_judges_the_evidence_is_today_s_where_nobody_said_otherwise(judged):
    rules = replace(judged.get(EvidenceRules), locks=Locks({}), pending={"gate1": "frozen"})
    case = alter(judged, rules)
    assert (pending.evidence_locks(case), pending.pending_gates(case)) == (Locks({}), {"gate1": "frozen"})
    bare = alter(judged, without=(EvidenceRules,))
    assert (pending.evidence_locks(bare), pending.evidence_study(bare), pending.pending_gates(bare)) == (
        judged.get(Locks),
        judged.get(Study),
        {},
    )


def test_the_ledger_notes_on_which_locks_it_was_written(judged):
    stage = (judged.root_lock or {})["ledger"]
    assert pending._noted_digest(judged) == stage.deps["locks"].md5 == digest(judged)
    assert pending._noted_digest(alter(judged, files={"dvc.lock": None})) is None
    assert pending._noted_digest(alter(judged, files={"dvc.lock": b"stages: ["})) is None
    for change in ({}, {"ledger": replace(stage, deps={})}):
        case = alter(judged)
        case.__dict__["root_lock"] = change
        assert pending._noted_digest(case) is None


def test_what_is_pending_is_noted_where_the_ledger_is_counted(judged, monkeypatch):
    rules = replace(judged.get(EvidenceRules), pending={"gate4": "amended", "gate5": "frozen"})
    monkeypatch.setattr(pending, "find_evidence_rules", lambda case: rules)
    case = alter(judged, without=(EvidenceRules,))
    assert list(pending.check_ledger_complete(case)) == []
    assert case.get(EvidenceRules) is rules
    assert case.notes == list(rules.notes())
    assert len(case.notes) == 2
    bare = alter(judged, without=(EvidenceRules, Locks))
    assert list(pending.check_ledger_complete(bare)) == []
    assert (bare.knows(EvidenceRules), bare.notes) == (False, [])
