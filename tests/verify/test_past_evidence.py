"""Checks V21 and V22 on the lines of past ledgers: copies, changes, failures, and lines that are no records."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from stages.domain import canonical
from stages.repo.history import HINDSIGHT, RUNS, WORKSPACE
from stages.verify import history as checks
from stages.verify.check import Case, Problem
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import Locks
from stages.verify.pending import EvidenceRules
from tests.verify.cases import alter, change_lock, change_runs
from tests.verify.test_past import FIRST, OLD, SECOND, THIRD, digest_of, history, past, state, with_history

OWN_SEED = "a run of its own, with a seed of its own"
REPLACED = "it is not what was first reported under this rule, and a repetition that is meant is an amendment"
ELSEWHERE = "../old/ledger/runs.jsonl"


def like(judged: Case, at: int = 0, **changes: Any) -> bytes:
    """A line of the ledger with something changed."""
    return canonical.dumps({**canonical.loads(judged.get(Ledger).runs[at].data), **changes})


def run_of(judged: Case, at: int = 0) -> RecordLine:
    return judged.get(Ledger).runs[at]


def failed(judged: Case, at: int = 0, **changes: Any) -> bytes:
    return like(judged, at, **{"status": "failed", "facts": None, "reason": "killed", **changes})


# V21: what was reported before


def seen(case: Case, *states: Any) -> tuple[list[Problem], list[str]]:
    altered = with_history(case, *states)
    return list(checks._evidence_seen_before(altered, altered.history, "synthetic")), altered.notes


def told(judged: Case, found: str, expected: str, meaning: str, at: int = 0) -> Problem:
    return run_of(judged, at).problem("/facts", found, expected, meaning)


def test_the_outcome_of_another_study_is_told_and_that_study_is_noted(judged):
    line = like(judged, lock=OLD, seed=7)
    rule = past("gate1", OLD, "another")
    found = f"what commit {SECOND[:12]} holds as a run of the study another"
    meaning = "a new name for the study hides that its rules were chosen after the evidence was seen"
    states = (state(FIRST, locks=[rule]), state(SECOND, FIRST, lines=[line]))
    note = "evidence of another study, another, stands in history; its rules are not looked at here"
    assert seen(judged, *states) == ([told(judged, found, OWN_SEED, meaning)], [note])
    other = like(judged, lock=OLD, facts={"val_bpb": 9.0, "train_loss": 9.0})
    assert seen(judged, states[0], state(SECOND, FIRST, lines=[other])) == ([], [note])
    hidden = state(SECOND, FIRST, ledgers={HINDSIGHT: [line]})
    told_of = told(
        judged, f"what commit {SECOND[:12]} holds in {HINDSIGHT} as a run of the study another", OWN_SEED, meaning
    )
    assert seen(judged, states[0], hidden)[0] == [told_of]


def test_the_outcome_under_another_seed_is_an_old_run_and_under_the_same_one_a_repetition(judged):
    line = like(judged, lock=OLD, seed=7)
    name = f"rung1/{run_of(judged).record.config}/{run_of(judged).record.host}/7"
    found = f"what commit {FIRST[:12]} holds as {name}"
    expected = told(judged, found, "a run of its own", "an old run stands there under another seed")
    assert seen(judged, state(FIRST, lines=[line])) == ([expected], [])
    assert seen(judged, state(FIRST, lines=[like(judged, lock=OLD)])) == ([], [])
    stopped = like(judged, lock=OLD, seed=7, status="stopped", facts=None, spec=None, reason="gate1 did not promote it")
    assert seen(judged, state(FIRST, lines=[stopped, b"no line\n"])) == ([], [])
    assert seen(judged, state(FIRST, lines=[run_of(judged).data])) == ([], [])


def test_the_outcome_in_another_folder_is_told_once_unless_it_is_under_a_lock_of_this_study(judged):
    meaning = "another folder for the study hides that its rules were chosen after the evidence was seen"
    line = like(judged, lock=OLD)
    found = f"what commit {FIRST[:12]} holds in {ELSEWHERE} under another lock"
    expected = told(judged, found, OWN_SEED, meaning)
    again = state(SECOND, FIRST, ledgers={"b/ledger/runs.jsonl": [line]})
    first = state(FIRST, ledgers={ELSEWHERE: [line]})
    assert seen(judged, first, again) == ([expected], []), "the other place says the same"
    own_line = state(SECOND, FIRST, lines=[line], ledgers={ELSEWHERE: [line]})
    assert seen(judged, first, own_line) == ([expected], []), "a repetition of the same seed"
    moved = like(judged, seed=7)
    name = f"rung1/{run_of(judged).record.config}/{run_of(judged).record.host}/7"
    text = f"what commit {FIRST[:12]} holds in {ELSEWHERE} as {name}"
    other = told(judged, text, "a run of its own", "an old run stands there under another seed")
    assert seen(judged, state(FIRST, ledgers={ELSEWHERE: [moved]})) == ([other], [])
    assert seen(judged, state(FIRST, ledgers={ELSEWHERE: [like(judged, facts=None, status="failed", reason="x")]})) == (
        [],
        [],
    )
    # each time that the study's own ledger brings it, it is told
    twice = (state(FIRST, lines=[moved]), state(SECOND, FIRST), state(THIRD, SECOND, lines=[moved]))
    assert [problem.found.split(" holds")[0] for problem in seen(judged, *twice)[0]] == [
        f"what commit {commit[:12]}" for commit in (FIRST, THIRD)
    ]


def test_a_run_that_stood_here_before_its_copy_is_not_the_copy(judged):
    line, own_line = like(judged, lock=OLD, seed=7), run_of(judged).data
    first = state(FIRST, lines=[own_line])
    assert seen(judged, first, state(SECOND, FIRST, lines=[own_line, line])) == ([], [])
    # that of another folder is one all the same
    later = state(SECOND, FIRST, lines=[own_line], ledgers={ELSEWHERE: [line]})
    assert len(seen(judged, first, later)[0]) == 1


class Fingerprints:
    """What a runner takes from facts: these numbers, as many as it says."""

    def __init__(self, count: int) -> None:
        self.count = count

    def make_fingerprint(self, facts: Any) -> tuple[object, ...]:
        return (facts.get("val_bpb"), facts.get("train_loss"))[: self.count]


@pytest.mark.parametrize(
    ("count", "changes", "other_study", "found"),
    [
        (2, {}, True, True),
        (2, {}, False, False),
        (2, {"seed": 7}, False, True),
        (2, {"seed": 7, "config": "x"}, False, True),
        (2, {"facts": None}, True, False),
        (2, {"facts": "text"}, True, False),
        (1, {"seed": 7}, False, True),
        (1, {"seed": 7, "config": "x"}, False, False),
        (1, {"seed": 7, "host": "x"}, False, False),
        (1, {}, True, True),
    ],
)
def test_a_past_line_has_a_twin_here_where_that_has_no_honest_cause(count, changes, other_study, found, judged):
    fingerprints = checks._Fingerprints(judged)
    fingerprints._check = Fingerprints(count)  # type: ignore[assignment]
    run = run_of(judged)
    facts = run.record.facts or {}
    fingerprints._runs = {(facts["val_bpb"], facts["train_loss"])[:count]: run}
    twin = fingerprints.find_twin(like(judged, **changes), other_study=other_study)
    assert twin is (run if found else None)
    if count == 1 and found:
        assert fingerprints.find_twin(like(judged, seed=7, facts={**facts, "steps": 1}), other_study=True) is None


def test_only_finished_runs_have_a_fingerprint_and_without_a_ledger_there_is_none(judged):
    fingerprints = checks._Fingerprints(judged)
    ledger = judged.get(Ledger)
    assert fingerprints.present == {run.data for run in ledger.runs}
    assert set(map(id, fingerprints._runs.values())) == {id(run) for run in ledger.runs if run.record.executed}
    lonely = checks._Fingerprints(alter(judged, without=(Ledger,)))
    assert (lonely.present, lonely._runs) == (set(), {})
    extra = replace(run_of(judged), file=HINDSIGHT)
    apart = checks._Fingerprints(alter(judged, replace(ledger, runs=(), hindsight=(extra,))))
    assert (apart.present, list(apart._runs.values())) == ({extra.data}, [extra])
    broke = change_runs(judged, lambda run: run.update(status="diverged", reason="x"), at=0)
    assert len(checks._Fingerprints(alter(judged, broke))._runs) == len(fingerprints._runs) - 1


# V22: what was reported stays


def stayed(case: Case, *states: Any, **fields: Any) -> tuple[list[Problem], list[str]]:
    altered = with_history(case, *states, **fields)
    return list(checks.check_evidence_stayed(altered)), altered.notes


def test_a_record_that_is_gone_or_changed_is_told_with_what_held_it(judged):
    line = like(judged, seed=7)
    name = f"rung1/{run_of(judged).record.config}/{run_of(judged).record.host}/7"
    holds = f"what commit {FIRST[:12]} holds"
    gone = Problem(RUNS, f"the record of {name} is gone", holds, REPLACED)
    assert stayed(judged, state(FIRST, lines=[line])) == ([gone], [])
    two = state(FIRST, lines=[line, like(judged, seed=8)])
    several = replace(gone, found=f"2 records are gone, such as {name}")
    assert stayed(judged, two) == ([several], [])
    assert stayed(judged, state(FIRST, lines=[line]), without=(Ledger,))[0] == [gone]
    facts = run_of(judged).record.facts or {}
    other = like(judged, facts={**facts, "val_bpb": 9.0})
    changed = run_of(judged).problem("/facts/val_bpb", facts["val_bpb"], f"9.0, as in commit {FIRST[:12]}", REPLACED)
    assert stayed(judged, state(FIRST, lines=[other])) == ([changed], [])
    assert stayed(judged, state(FIRST, lines=[run_of(judged).data])) == ([], [])


def test_what_changed_is_told_in_the_order_of_the_ledger(judged):
    lines = [like(judged, at, facts={"val_bpb": 9.0, "train_loss": 1.0}) for at in (4, 1, 9)]
    states = [state(commit, lines=[line]) for commit, line in zip((FIRST, SECOND, THIRD), lines, strict=True)]
    assert [problem.line for problem in stayed(judged, *states)[0]] == [2, 5, 10]


def test_lines_under_other_rules_may_go(judged):
    lines = [like(judged, seed=7, lock=OLD), like(judged, rung="rung2", gate="gate2", seed=7)]
    assert stayed(judged, state(FIRST, lines=lines)) == ([], [])


def test_a_record_that_was_changed_and_changed_back_stays_as_it_was(judged):
    other = like(judged, facts={"val_bpb": 9.0, "train_loss": 1.0})
    first = state(FIRST, lines=[run_of(judged).data])
    assert stayed(judged, first, state(SECOND, FIRST, lines=[other])) == ([], [])
    late = stayed(judged, state(FIRST, lines=[other]), state(SECOND, FIRST, lines=[run_of(judged).data]))
    assert [problem.line for problem in late[0]] == [1]
    relocked = change_runs(judged, lambda run: run.update(lock=OLD), at=0)
    case = alter(judged, relocked)
    problems, _ = stayed(
        case, state(FIRST, lines=[relocked.runs[0].data]), state(SECOND, FIRST, lines=[run_of(judged).data])
    )
    assert [problem.line for problem in problems] == [1], "it stands there under another rule now"


def test_a_failed_run_may_be_repeated_and_is_counted(judged):
    name = run_of(judged).record.id
    lines = [failed(judged, reason=f"killed {number}") for number in range(6)]
    chain = [state(str(n) * 40, *([str(n - 1) * 40] if n else []), lines=[line]) for n, line in enumerate(lines)]
    once = f"one run was repeated after a failure, such as {name}, which failed once"
    assert stayed(judged, chain[0]) == ([], [once])
    assert stayed(judged, *chain[:5]) == ([], [once.replace("once", "5 times")])
    reported = Problem(
        RUNS,
        f"{name} failed 6 times under the rule that judges it",
        "at most 5 failures of one run under one rule, or an amendment",
        "whoever repeats a run until it suits calls the others failed",
        line=1,
    )
    assert stayed(judged, *chain) == ([reported], [once.replace("once", "6 times")])
    assert stayed(judged, *chain, without=(Ledger,))[0] == [replace(reported, line=None)]


def test_failures_are_noted_where_a_run_was_repeated(judged):
    ledger = change_runs(judged, lambda run: run.update(status="failed", facts=None, reason="killed"), at=0)
    runs = {run.record.id: run for run in ledger.runs}
    first, second = ledger.runs[0].record.id, ledger.runs[1].record.id

    def noted(**failures: int) -> list[str]:
        case = alter(judged)
        names = {"first": first, "second": second, "gone": "gone"}
        counts = Counter({names[key]: count for key, count in failures.items()})
        assert list(checks._compare_failures(case, counts, runs)) == []
        return case.notes

    assert noted() == []
    assert noted(first=1) == [], "it stands there as failed"
    assert noted(first=2) == [f"one run was repeated after a failure, such as {first}, which failed 2 times"]
    assert noted(second=1) == [f"one run was repeated after a failure, such as {second}, which failed once"]
    assert noted(gone=1) == ["one run was repeated after a failure, such as gone, which failed once"]
    assert noted(first=2, second=3) == [f"2 runs were repeated after a failure, such as {second}, which failed 3 times"]


def command(judged: Case) -> Case:
    frozen = judged.get(Locks).by_gate["gate1"].frozen
    known = change_lock(judged, "gate1", settings={**frozen.settings, "kind": "command"})
    return alter(judged, known, replace(judged.get(EvidenceRules), locks=known))


def test_a_failure_that_says_what_came_of_its_run_is_no_failure(judged):
    run = run_of(judged)
    spec = run.record.spec or {}

    def says(case: Case, **changes: Any) -> tuple[bool, list[str]]:
        altered = alter(case)
        return checks.reports_result(failed(judged, **changes), run, altered), altered.notes

    assert says(judged) == (False, [])
    assert says(judged, spec={**spec, "seed": 7}) == (True, [])
    assert says(judged, reason="loss 1.5") == (True, [])
    assert says(judged, reason="step 15") == (False, [])
    quoted = f"{run.record.id} was repeated after a failure whose reason holds a number: 'loss 1.5'"
    assert says(command(judged), reason="loss 1.5") == (False, [quoted])
    assert says(command(judged), reason="step 15") == (False, [])
    assert says(command(judged), reason="loss 1.5", spec=None) == (True, [])
    long = "1.5" + "x" * 200
    (note,) = says(command(judged), reason=long)[1]
    assert note.endswith(repr(checks.formatting.shortened(long, 120)))
    bare = replace(run, record=run.record.model_copy(update={"spec": None}))
    assert checks.reports_result(failed(judged, spec={"x": 1}), bare, alter(judged)) is False
    rules = replace(judged.get(EvidenceRules), locks=Locks({}))
    assert checks.reports_result(failed(judged, reason="loss 1.5"), run, alter(judged, rules)) is True
    # as it is told
    line = failed(judged, reason="loss 1.5")
    (problem,) = stayed(judged, state(FIRST, lines=[line]))[0]
    assert (problem.line, problem.pointer, problem.expected) == (1, "/facts", f"None, as in commit {FIRST[:12]}")


def test_a_change_is_told_by_its_first_difference_or_as_other_bytes(judged):
    known = history(state(FIRST)).states[FIRST]
    run = run_of(judged)
    reported = checks._changed_record(run, like(judged, seed=7, lock=OLD), known)
    lock = digest_of(judged, "gate1")
    assert reported == run.problem("/lock", lock, f"{OLD!r}, as in commit {FIRST[:12]}", REPLACED)
    reported = checks._changed_record(run, run.data.replace(b":", b": ", 1), known)
    assert reported == run.problem("", "other bytes", f"'the same bytes', as in commit {FIRST[:12]}", REPLACED)


# V22: lines that nobody can compare


def broken(case: Case, *states: Any, elsewhere: Any = (), **fields: Any) -> list[Problem]:
    altered = with_history(case, *states, elsewhere=elsewhere, **fields)
    return list(checks._find_broken_lines(altered, altered.history))


class Blobs:
    """A repository with these contents."""

    head = FIRST
    shallow = partial = False

    def __init__(self, **contents: bytes) -> None:
        self.contents = contents

    def blob(self, oid: str) -> bytes:
        return self.contents[oid]


def line_told(path: str, commit: str, line: int | None, text: str, others: str = "") -> Problem:
    return Problem(
        path,
        f"a line that is no record, in commit {commit[:12]}{others}: {text}",
        "a record in each line of every ledger that was ever committed",
        "what was reported in it cannot be compared with what stands there now",
        line=line,
    )


def test_the_first_line_that_is_no_record_is_told_for_each_commit_that_brings_one(judged):
    known = run_of(judged).data
    rubbish, other = b"rubbish\n", b"other\n"
    git = Blobs(a=known + rubbish, b=other + known + rubbish)
    why = checks.find_record_problem(rubbish, hindsight=False)
    also = checks.find_record_problem(other, hindsight=False)
    first = state(FIRST, lines=[known, rubbish], oids={RUNS: "a"})
    second = state(SECOND, FIRST, lines=[known, rubbish, other], oids={RUNS: "b"})
    assert broken(judged, first, second, git=git) == [
        line_told(RUNS, FIRST, 2, why),
        line_told(RUNS, SECOND, 1, also),
    ]
    both = state(FIRST, lines=[known, rubbish, other], oids={RUNS: "b"})
    assert broken(judged, both, git=git) == [line_told(RUNS, FIRST, 1, also, ", and 1 more lines of it")]
    without_end = state(FIRST, lines=[rubbish], oids={RUNS: "c"})
    assert broken(judged, without_end, git=Blobs(c=b"\nrubbish")) == [line_told(RUNS, FIRST, 2, why)]
    unseen = state(FIRST, lines=[rubbish], oids={RUNS: "a"})
    assert broken(judged, unseen, git=Blobs(a=b"")) == [line_told(RUNS, FIRST, None, why)]
    assert broken(judged, unseen, git=None) == [line_told(RUNS, FIRST, None, why)]
    again = (unseen, state(SECOND, FIRST, oids={}), state(THIRD, SECOND, lines=[rubbish], oids={RUNS: "a"}))
    assert broken(judged, *again, git=git) == [line_told(RUNS, FIRST, 2, why), line_told(RUNS, THIRD, 2, why)]


def test_records_and_lines_of_hindsight_are_each_held_against_their_own_form(judged):
    known = run_of(judged).data
    git = Blobs(a=known)
    assert broken(judged, state(FIRST, lines=[known], oids={RUNS: "a"}), git=git) == []
    why = checks.find_record_problem(known, hindsight=True)
    assert why
    hidden = state(FIRST, oids={HINDSIGHT: "a"}, ledgers={HINDSIGHT: [known]})
    text = checks.formatting.shortened(why, 160)
    assert broken(judged, hidden, git=git) == [line_told(HINDSIGHT, FIRST, 1, text)]
    # what stands here as hindsight is known
    extra = replace(run_of(judged), file=HINDSIGHT)
    ledger = replace(judged.get(Ledger), hindsight=(extra,))
    assert broken(alter(judged, ledger), hidden, git=git) == []
    assert broken(judged, state(FIRST, lines=[known], oids={RUNS: "a"}), git=git, without=(Ledger,)) == []


def test_the_ledgers_of_other_folders_are_looked_at_where_a_study_stood_beside_them(judged):
    git = Blobs(a=b"rubbish\n")
    why = checks.find_record_problem(b"rubbish\n", hindsight=False)
    moved = state(FIRST, oids={ELSEWHERE: "a"}, ledgers={ELSEWHERE: [b"rubbish\n"]})
    assert broken(judged, moved, git=git) == []
    assert broken(judged, moved, git=git, elsewhere=[ELSEWHERE]) == [line_told(ELSEWHERE, FIRST, 1, why)]
    path = f"old/{HINDSIGHT}"
    hidden = state(FIRST, oids={path: "a"}, ledgers={path: [b"rubbish\n"]})
    (reported,) = broken(judged, hidden, git=git, elsewhere=[path])
    assert reported.file == path


def test_a_ledger_is_read_as_its_state_holds_it(judged):
    git = Blobs(a=b"past\n")
    case = alter(judged, git=git, files={RUNS: b"here\n"})
    workspace, commit = (
        history(state(name, oids={RUNS: "a", ELSEWHERE: "a"})).states[name] for name in (WORKSPACE, FIRST)
    )
    assert checks._read(case, workspace, RUNS) == b"here\n"
    assert checks._read(case, commit, RUNS) == b"past\n"
    assert checks._read(case, workspace, ELSEWHERE) == b"past\n"
    assert checks._read(alter(judged, git=git, files={RUNS: None}), workspace, RUNS) == b"past\n"
    assert checks._read(alter(judged, git=None), commit, RUNS) == b""
    assert checks._read(alter(judged, git=None, files={RUNS: b"here\n"}), workspace, RUNS) == b"here\n"
