"""Runs in hindsight, each changed alone: what V32 says of it word by word."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.records import parse_hindsight
from stages.dvcfiles.lockfile import LockedFile, LockedStage
from stages.verify import hindsight
from stages.verify.check import Case, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import DvcLocks
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import Locks
from stages.verify.pending import EvidenceRules
from tests.support import synthetic
from tests.verify.cases import alter
from tests.verify.test_past import FIRST as ONE
from tests.verify.test_past import SECOND, THIRD, state, with_history
from tests.verify.test_past_evidence import Blobs

LEDGER, DECISIONS = "ledger/hindsight.jsonl", "ledger/decisions.jsonl"
FIRST = "hindsight/d1-c000/cpu-bf16/5000"


@pytest.fixture(scope="module")
def looked(judged: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The study with runs in hindsight: two that were trained, and four that ran at the last rung itself."""
    root = tmp_path_factory.mktemp("looked") / "study"
    shutil.copytree(judged.root, root, ignore=shutil.ignore_patterns(".git", "site", ".dvc"))
    synthetic.look_back(root)
    lines = [
        RecordLine(number, record, data, LEDGER)
        for number, (record, data) in enumerate(parse_hindsight((root / LEDGER).read_bytes(), LEDGER), start=1)
    ]
    outs = {run.path: LockedFile(run.path, run.record.md5, len(run.data), None, 0) for run in lines}
    locks = judged.get(DvcLocks)
    recorded = {**locks.recorded, "stages/ladder/hindsight/a/dvc.lock": {"run": LockedStage("x", {}, outs, {})}}
    ledger = replace(judged.get(Ledger), hindsight=tuple(lines))
    return alter(judged, ledger, replace(locks, recorded=recorded))


def changed(case: Case, change: Any, at: int) -> Ledger:
    lines = list(case.get(Ledger).hindsight)
    value = canonical.loads(lines[at].data)
    change(value)
    data = canonical.dumps(value)
    ((record, _),) = parse_hindsight(data, LEDGER)
    lines[at] = replace(lines[at], record=record, data=data)
    return replace(case.get(Ledger), hindsight=tuple(lines))


def check(case: Case, *values: object, **fields: Any) -> tuple[list[Problem], list[str]]:
    altered = alter(case, *values, **fields)
    return list(hindsight.check_hindsight(altered)), altered.notes


def told(case: Case, line: int, pointer: str, found: str, expected: str, meaning: str) -> Problem:
    run = case.get(Ledger).hindsight[line - 1].record.id
    return Problem(LEDGER, found, expected, f"{run}: {meaning}", line=line, pointer=pointer)


def test_honest_hindsight_has_no_problem(looked):
    statuses = [run.record.status for run in looked.get(Ledger).hindsight]
    assert statuses == ["finished", "finished", "unrun", "unrun", "unrun", "unrun"]
    assert looked.get(Ledger).hindsight[0].record.id == FIRST
    assert check(looked) == ([], [])


def test_without_hindsight_there_is_nothing_to_check(judged):
    with pytest.raises(Skip) as skip:
        check(judged)
    assert (skip.value.reason, skip.value.enable, skip.value.applies) == (
        "nothing was trained in hindsight",
        "make hindsight",
        False,
    )


def test_hindsight_before_the_last_gate_decided_is_told_once(looked):
    meaning = "what was stopped was trained before the last gate had decided"
    expected = told(looked, 1, "/decision", "a run in hindsight", "a recorded decision of the last gate", meaning)
    recomputed = looked.get(Recomputed)
    some = {gate: decision for gate, decision in recomputed.decisions.items() if gate != "gate5"}
    assert check(looked, replace(recomputed, decisions=some)) == ([expected], [])
    ledger = looked.get(Ledger)
    lines = {gate: line for gate, line in ledger.decisions.items() if gate != "gate5"}
    assert check(looked, replace(ledger, decisions=lines)) == ([expected], [])
    blocked = {**recomputed.decisions, "gate5": recomputed.decisions["gate5"].model_copy(update={"outcome": "blocked"})}
    assert check(looked, replace(recomputed, decisions=blocked)) == ([expected], [])


def test_lines_are_in_their_order_and_each_is_once(looked):
    ledger = looked.get(Ledger)
    first, second, *rest = ledger.hindsight
    expected, edited = "each run once, sorted by configuration, host, seed", "the ledger was edited"
    problems, notes = check(looked, replace(ledger, hindsight=(second, first, *rest)))
    assert problems == [told(looked, 1, "", f"the run after {second.record.id}", expected, edited)]
    problems, _ = check(looked, replace(ledger, hindsight=(first, first, second, *rest)))
    assert problems[0] == told(looked, 1, "", f"the run after {FIRST}", expected, edited)
    assert notes == []


def test_runs_that_are_missing_are_noted(looked):
    ledger = looked.get(Ledger)
    problems, notes = check(looked, replace(ledger, hindsight=ledger.hindsight[2:]))
    assert problems == []
    assert notes == [f"missing, such as {FIRST}: 2 in all; `make hindsight` trains them"]


def test_a_run_that_nobody_declared_or_of_another_decision_is_told(looked):
    problems, _ = check(looked, changed(looked, lambda run: run.update(host="h9"), 1))
    name = FIRST.replace("cpu-bf16", "h9")
    assert (
        Problem(
            LEDGER,
            "a run that params.yaml does not declare at the last rung",
            "a declared cell",
            f"{name}: evidence from nowhere",
            line=2,
            pointer="",
        )
        in problems
    )
    digest = hindsight.sha256_bytes(looked.get(Ledger).decisions["gate5"].data)
    again = "`make hindsight` makes it anew, or remove it with stages/ladder/hindsight/"
    problems, _ = check(looked, changed(looked, lambda run: run.update(decision="0" * 64), 0))
    assert problems == [
        told(
            looked, 1, "/decision", "0" * 64, f"{digest}, that of {DECISIONS}",
            f"it was made after another decision, or before there was one; {again}",
        )
    ]  # fmt: skip


def test_what_was_stopped_is_trained_and_what_ran_at_the_last_rung_is_not(looked):
    unrun = {"status": "unrun", "spec": None, "facts": None, "reason": "it was dull"}
    problems, _ = check(looked, changed(looked, lambda run: run.update(unrun), 0))
    meaning = "it had been stopped, and what it would show was hidden"
    assert problems == [told(looked, 1, "/status", "unrun", "a run", meaning)]
    like = canonical.loads(looked.get(Ledger).hindsight[0].data)
    trained = {key: like[key] for key in ("status", "spec", "facts", "reason")}
    problems, _ = check(looked, changed(looked, lambda run: run.update(trained), 2))
    own = "d2-c001 ran at rung5 itself, and that run is its evidence"
    assert problems[0] == told(looked, 3, "/status", "finished", "unrun", own)
    problems, _ = check(looked, changed(looked, lambda run: run.update(reason="it was dull"), 2))
    assert problems == [told(looked, 3, "", "another record of it", "unrun: it ran at rung5 itself", own)]
    known = Locks({gate: lock for gate, lock in looked.get(Locks).by_gate.items() if gate != "gate5"})
    problems, _ = check(looked, replace(looked.get(EvidenceRules), locks=known))
    assert told(looked, 3, "", "another record of it", "unrun: it ran at rung5 itself", own) in problems


def test_a_record_that_no_dvc_lock_has_is_told_unless_a_gate_is_pending(looked, judged):
    locks = judged.get(DvcLocks)
    problems, _ = check(looked, locks)
    expected = "an out in a dvc.lock of stages/ladder/hindsight/"
    assert problems == [
        told(looked, line, "", "a run that no dvc.lock has", expected, "a record that DVC never saw any run write")
        for line in range(1, 7)
    ]
    pending = replace(looked.get(EvidenceRules), pending={"gate1": "amended"})
    assert check(looked, locks, pending)[0] == []


def test_the_checks_of_the_ladder_hold_for_these_lines_too(looked):
    problems, _ = check(looked, changed(looked, lambda run: run.update(lock="0" * 64), 1))
    digest = looked.get(Locks).by_gate["gate5"].digest
    assert problems == [
        told(looked, 2, "/lock", "0" * 64, digest, "it was made under another rule than locks/gate5.yaml")
    ]
    problems, _ = check(looked, changed(looked, lambda run: run.update(runner="0" * 64, corpus="1" * 64), 1))
    assert [problem.pointer for problem in problems] == ["/runner", "/corpus"]
    problems, _ = check(looked, changed(looked, lambda run: run.update(environment={"torch": "1"}), 1))
    assert [problem.pointer for problem in problems] == ["/environment"]
    problems, _ = check(looked, changed(looked, lambda run: run["spec"].update(seed=1), 1))
    assert [problem.pointer for problem in problems] == ["/spec/seed"]
    problems, _ = check(looked, changed(looked, lambda run: run["facts"].update(steps=1), 1))
    assert "/facts/steps" in [problem.pointer for problem in problems]


def test_an_outcome_that_another_run_had_is_a_copy(looked):
    first = canonical.loads(looked.get(Ledger).hindsight[0].data)["facts"]
    ledger = changed(looked, lambda run: run.update(facts=first), 1)
    copies = list(hindsight._copies(alter(looked, ledger), ledger.hindsight))
    assert copies == [told(looked, 2, "/facts", f"those of {FIRST}", "its own", "it is a copy of another run")]
    other = canonical.loads(looked.get(Ledger).runs[2].data)["facts"]
    ledger = changed(looked, lambda run: run.update(facts=other), 0)
    name = looked.get(Ledger).runs[2].record.id
    copies = list(hindsight._copies(alter(looked, ledger), ledger.hindsight))
    assert copies == [told(looked, 1, "/facts", f"those of {name}", "its own", "it is a copy of another run")]
    for change in ({"train_loss": None}, {"train_loss": 9.0}, {"val_bpb": 9.0}):
        ledger = changed(looked, lambda run, change=change: run.update(facts={**first, **change}), 1)
        assert list(hindsight._copies(alter(looked, ledger), ledger.hindsight)) == []
    broke = {"status": "diverged", "reason": "x", "facts": first}
    ledger = changed(looked, lambda run: run.update(broke), 1)
    assert list(hindsight._copies(alter(looked, ledger), ledger.hindsight)) == []


def test_where_nothing_decided_and_nothing_was_looked_at_there_is_nothing_to_check(judged, tmp_path: Path):
    recomputed = replace(judged.get(Recomputed), decisions={})
    with pytest.raises(Skip, match="nothing was trained in hindsight"):
        check(judged, recomputed)
    with pytest.raises(Skip, match="nothing was trained in hindsight"):
        check(judged, git=None)  # and no history that could hold some
    assert hindsight._lines(alter(judged, git=None), "a" * 40) == []
    assert hindsight._lines(judged, "") == []


def test_what_single_records_say_is_compared_without_git_too(looked):
    """What needs history is skipped, and hides nothing that needs none."""
    ledger = changed(looked, lambda run: run.update(corpus="0" * 64), 0)
    case = alter(looked, ledger, git=None)
    problems = list(hindsight._as_ladder(case, ledger.hindsight, hindsight._last_decision(looked)))
    assert [problem.pointer for problem in problems] == ["/corpus"]


# Hindsight in history


def decided(case: Case) -> bytes:
    return case.get(Ledger).decisions["gate5"].data


def past(case: Case, *states: Any, blobs: dict[str, bytes] | None = None, **fields: Any) -> list[Problem]:
    """What the history of hindsight shows; the object `d` holds the last decision."""
    git = Blobs(d=decided(case), e=b"", **(blobs or {}))
    altered = with_history(case, *states, git=git, **fields)
    last = hindsight._last_decision(altered)
    assert last is not None
    return list(hindsight._history(altered, altered.get(Ledger).hindsight, last))


def line(case: Case, at: int = 0, **changes: Any) -> bytes:
    return canonical.dumps({**canonical.loads(case.get(Ledger).hindsight[at].data), **changes})


WITH, WITHOUT = {DECISIONS: "d"}, {DECISIONS: "e"}


def test_hindsight_comes_with_the_decision_that_it_names_or_after_it(looked):
    new = {LEDGER: [line(looked)]}
    early = Problem(
        LEDGER,
        f"commit {SECOND[:12]} holds hindsight and no line of {DECISIONS} with the digest that it names",
        "the decision in that commit or an ancestor",
        "what was stopped was trained before the last gate had decided",
    )
    assert past(looked, state(ONE, oids=WITH), state(SECOND, ONE, oids=WITHOUT, ledgers=new)) == []
    assert past(looked, state(ONE, oids={}), state(SECOND, ONE, oids=WITH, ledgers=new)) == []
    assert past(looked, state(ONE, oids={}), state(SECOND, ONE, oids=WITHOUT, ledgers=new)) == [early]
    assert past(looked, state(ONE, oids={}), state(SECOND, ONE, oids={}, ledgers=new)) == [early]
    late = state(THIRD, SECOND, oids=WITH, ledgers=new)
    assert past(looked, state(ONE, oids={}), state(SECOND, ONE, oids={}, ledgers=new), late) == [early]
    beside = state(THIRD, oids=WITH)  # of another branch
    assert past(looked, beside, state(ONE, oids={}), state(SECOND, ONE, oids={}, ledgers=new)) == [early]
    other = {LEDGER: [line(looked, decision="0" * 64)]}
    assert past(looked, state(ONE, oids=WITH), state(SECOND, ONE, oids={}, ledgers=other)) == [early]


def test_hindsight_of_another_study_and_lines_that_are_no_records_are_not_looked_at(looked):
    foreign = line(looked, decision="0" * 64, lock="1" * 64)
    assert past(looked, state(ONE, oids={}, ledgers={LEDGER: [foreign, b"rubbish\n"]})) == []
    own_lock = line(looked, decision="0" * 64)
    assert len(past(looked, state(ONE, oids={}, ledgers={LEDGER: [own_lock]}))) == 1
    own_decision = line(looked, lock="1" * 64)
    assert len(past(looked, state(ONE, oids={}, ledgers={LEDGER: [own_decision]}))) == 2, "early, and changed"
    elsewhere = state(ONE, oids={}, ledgers={"old/ledger/hindsight.jsonl": [line(looked)]})
    assert past(looked, elsewhere) == []


def test_a_run_in_hindsight_stays_as_it_first_stood_under_this_decision(looked):
    meaning = "it is not what was first reported after this decision"
    facts = looked.get(Ledger).hindsight[0].record.facts or {}
    other = line(looked, facts={**facts, "val_bpb": 9.0})
    holds = f"that commit {ONE[:12]} holds"
    changed = told(looked, 1, "", "other bytes", f"those {holds}", meaning)
    gone = Problem(LEDGER, f"the record of {FIRST} is gone", f"what commit {ONE[:12]} holds", meaning)
    first = state(ONE, oids=WITH, ledgers={LEDGER: [other]})
    assert past(looked, first) == [changed]
    later = state(SECOND, ONE, oids=WITH, ledgers={LEDGER: [line(looked)]})
    assert past(looked, first, later) == [changed]
    assert past(looked, state(ONE, oids=WITH, ledgers={LEDGER: [line(looked)]})) == []
    ledger = looked.get(Ledger)
    fewer = alter(looked, replace(ledger, hindsight=ledger.hindsight[1:]))
    assert past(fewer, first) == [gone]
    another = line(looked, decision=sha256_of(b"an earlier decision\n"), facts={**facts, "val_bpb": 9.0})
    states = state(ONE, oids={DECISIONS: "o"}, ledgers={LEDGER: [another]})
    assert past(looked, states, blobs={"o": b"an earlier decision\n"}) == [], "it was of a decision before"


def sha256_of(data: bytes) -> str:
    return hindsight.sha256_bytes(data)


def test_a_failed_run_in_hindsight_may_be_made_again_unless_it_reported_something(looked):
    failed = {"status": "failed", "facts": None, "reason": "killed"}

    def of(**changes: Any) -> list[Problem]:
        return past(looked, state(ONE, oids=WITH, ledgers={LEDGER: [line(looked, **{**failed, **changes})]}))

    assert of() == []
    facts = looked.get(Ledger).hindsight[0].record.facts
    assert len(of(facts=facts)) == 1
    assert len(of(reason="loss 1.5")) == 1
    assert len(of(status="diverged", facts=facts)) == 1
    fewer = alter(looked, replace(looked.get(Ledger), hindsight=()))
    states = state(ONE, oids=WITH, ledgers={LEDGER: [line(looked, **{**failed, "reason": "loss 1.5"})]})
    assert past(fewer, states) == [], "nothing here could be compared with it"


def test_hindsight_that_was_taken_away_is_missed_where_git_holds_it(looked):
    ledger = replace(looked.get(Ledger), hindsight=())
    oids = {**WITH, LEDGER: "h"}
    stood = state(ONE, oids=oids, ledgers={LEDGER: [line(looked)]})

    def case(data: bytes, *states: Any) -> Case:
        return with_history(looked, *states, values=[ledger], git=Blobs(d=decided(looked), h=data))

    gone = f"the record of {FIRST} is gone"
    assert [problem.found for problem in hindsight.check_hindsight(case(line(looked), stood))] == [gone]
    foreign = line(looked, decision="0" * 64, lock="1" * 64)
    for data, states in ((foreign, [stood]), (line(looked), [state(ONE, oids=WITH)]), (line(looked), [])):
        with pytest.raises(Skip, match="nothing was trained in hindsight"):
            list(hindsight.check_hindsight(case(data, *states)))
    digest = hindsight.sha256_bytes(decided(looked))
    last = hindsight._last_decision(looked)
    assert hindsight._stood_before(case(digest.encode(), stood), last)
    assert not hindsight._stood_before(case(digest.encode(), stood), None)
    lock = looked.get(Locks).by_gate["gate3"].digest
    assert hindsight._stood_before(case(lock.encode(), stood), None)


def test_the_lines_of_a_file_are_those_of_git_or_of_the_workspace(looked):
    git = Blobs(a=b"1\n2\n")
    case = alter(looked, git=git, files={LEDGER: b"3\n4\n"})
    assert hindsight._lines(case, "a") == [b"1\n", b"2\n"]
    own = hindsight.object_id("blob", b"3\n4\n", git.head)
    assert hindsight._lines(case, own) == [b"3\n", b"4\n"]
    git.contents[own] = b"5\n"
    assert hindsight._lines(alter(looked, git=git, files={LEDGER: b"3\n4\n"}, commit=ONE), own) == [b"5\n"]
    assert hindsight._lines(alter(looked, git=git, files={LEDGER: None}), "a") == [b"1\n", b"2\n"]


def test_a_line_is_parsed_once_and_none_where_it_is_no_record(looked):
    parsed: dict[bytes, Any] = {}
    record = hindsight._parse(line(looked), parsed)
    assert record is not None
    assert (record.id, parsed) == (FIRST, {line(looked): record})
    assert hindsight._parse(line(looked), parsed) is record
    assert hindsight._parse(b"rubbish\n", parsed) is None
    ladder = looked.get(Ledger).runs[0]
    assert hindsight._parse(ladder.data, {ladder.data: ladder.record}) is None
