"""Check V32: runs in hindsight, which were trained after the last gate had decided, in ledger/hindsight.jsonl.

The functions of V09 to V14 check these runs like those of the ladder. In addition, each record names the recorded last
decision by its SHA-256, which did not exist before that decision, and no commit before the decision has hindsight. Its
bytes are those that its run wrote under DVC (V18). No gate can read it: runs.jsonl may not have a record with its
purpose (V07), and a stopped run may not be there as a candidate (V16).

If the last decision changes, hindsight must be made again, or removed together with stages/ladder/hindsight/.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from stages.domain import canonical, names
from stages.domain.contract import from_lock
from stages.domain.errors import Invalid
from stages.domain.files import sha256_bytes
from stages.domain.hindsight import LastDecision
from stages.domain.records import HindsightRecord, Record, parse_hindsight
from stages.domain.runs import hindsight_runs
from stages.domain.study import Study
from stages.repo.git import object_id
from stages.repo.history import HistoryState
from stages.verify.check import Case, Problem, Skip
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import DvcLocks
from stages.verify.facts import check_facts_of_record, check_input_of_record
from stages.verify.history import lineage, reports_result
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import DECISIONS, HINDSIGHT, Locks
from stages.verify.pending import EvidenceRules, evidence_locks, evidence_study, pending_gates
from stages.verify.records import (
    check_one_environment,
    check_one_runner,
    check_rule_of_record,
    compare_corpus,
)

#: What holds the ladder's own records, as far as it looks at single ones.
_LADDER_CHECKS: tuple[Callable[[Case], Iterable[Problem] | None], ...] = (
    check_rule_of_record,
    check_one_runner,
    compare_corpus,
    check_one_environment,
    check_input_of_record,
    check_facts_of_record,
)
_ANEW = "`make hindsight` makes it anew, or remove it with stages/ladder/hindsight/"


def check_hindsight(case: Case) -> Iterator[Problem]:
    """Every run in hindsight names the recorded last decision, came after it, and passes the checks V09 to V14.

    It is of a configuration that was stopped before the last rung, under the lock of the last gate, at its budget, with
    its seeds and hosts; no two runs have the same outcome; and none was changed or dropped since it first was in git.
    """
    lines, last = case.get(Ledger).hindsight, _last_decision(case)
    if not lines and not _stood_before(case, last):
        case.refuse_hidden()
        raise Skip("nothing was trained in hindsight", "make hindsight", applies=False)
    if last is None and lines:
        meaning = "what was stopped was trained before the last gate had decided"
        yield lines[0].problem("/decision", "a run in hindsight", "a recorded decision of the last gate", meaning)
    if last is None:
        return
    yield from _compare_lines(case, lines, last)
    yield from _as_ladder(case, lines, last)
    yield from _copies(case, lines)
    yield from _history(case, lines, last)


def _last_decision(case: Case) -> LastDecision | None:
    """The decision of the study's last gate, if it has decided."""
    gate = names.gate_of(evidence_study(case).last_rung)
    decision, line = case.get(Recomputed).decisions.get(gate), case.get(Ledger).decisions.get(gate)
    return LastDecision(decision, sha256_bytes(line.data)) if decision and line and not decision.blocked else None


def _stood_before(case: Case, last: LastDecision | None) -> bool:
    """Whether the history, as far as it is known, holds hindsight of this study: under its locks or its decision.

    That of another study, which git holds from before `promotion study use`, is not this one's.
    """
    own = _own_digests(case, last)
    try:
        oids = {state.oids[HINDSIGHT] for state in case.history.states.values() if HINDSIGHT in state.oids}
    except Skip:
        return False
    return any(digest.encode("ascii") in line for oid in sorted(oids) for line in _lines(case, oid) for digest in own)


def _own_digests(case: Case, last: LastDecision | None) -> set[str]:
    """What the hindsight of this study names: its locks, also those that were amended, or its last decision."""
    own = {digest for rules in (case.get(Locks), evidence_locks(case)) for digest in _digests(rules)}
    return own | ({last.digest} if last else set())


def _digests(rules: Locks) -> set[str]:
    """The digests of locks and of those that their amendments replaced."""
    return set().union(*(lineage(lock) for lock in rules.by_gate.values()))


def _compare_lines(case: Case, lines: tuple[RecordLine, ...], last: LastDecision) -> Iterator[Problem]:
    """Every line is of a declared run, once and in order, names the decision, and trained what had been stopped."""
    declared = {run.id for run in hindsight_runs(evidence_study(case))}
    written = case.get(DvcLocks).outputs()
    for before, after in pairwise(lines):
        if _order(before) >= _order(after):
            expected = "each run once, sorted by configuration, host, seed"
            yield after.problem("", f"the run after {before.record.id}", expected, "the ledger was edited")
    for run in lines:
        if run.record.id not in declared:
            undeclared = "a run that params.yaml does not declare at the last rung"
            yield run.problem("", undeclared, "a declared cell", "evidence from nowhere")
        elif _decision(run) != last.digest:
            meaning = f"it was made after another decision, or before there was one; {_ANEW}"
            yield run.problem("/decision", _decision(run), f"{last.digest}, that of {DECISIONS}", meaning)
        elif problem := _compare_status(case, run, last):
            yield problem
        elif names.record_path(run.record.id).as_posix() not in written and not pending_gates(case):
            meaning = "a record that DVC never saw any run write"
            yield run.problem(
                "", "a run that no dvc.lock has", "an out in a dvc.lock of stages/ladder/hindsight/", meaning
            )
    missing = sorted(declared - {run.record.id for run in lines})
    if missing:
        case.note(f"missing, such as {missing[0]}: {len(missing)} in all; `make hindsight` trains them")


def _order(run: RecordLine) -> tuple[str, str, int]:
    return run.record.config, run.record.host, run.record.seed


def _decision(run: RecordLine) -> str:
    return run.record.decision if isinstance(run.record, HindsightRecord) else ""


def _compare_status(case: Case, run: RecordLine, last: LastDecision) -> Problem | None:
    """What was stopped is trained; what the ladder took to the last rung is not, and its record says so."""
    record, lock = run.record, evidence_locks(case).of(last.decision.rung)
    if record.config not in last.decision.candidates:
        if record.executed:
            return None
        return run.problem("/status", record.status, "a run", "it had been stopped, and what it would show was hidden")
    meaning = f"{record.config} ran at {last.decision.rung} itself, and that run is its evidence"
    if record.executed:
        return run.problem("/status", record.status, "unrun", meaning)
    value = (
        from_lock(lock).make_record(
            config=record.config,
            host=record.host,
            seed=record.seed,
            purpose=record.purpose,
            status="unrun",
            reason=last.ran_at,
        )
        if lock
        else {}
    )
    if run.data != canonical.dumps({**value, "decision": last.digest}):
        return run.problem("", "another record of it", f"unrun: {last.ran_at}", meaning)
    return None


def _as_ladder(case: Case, lines: tuple[RecordLine, ...], last: LastDecision) -> Iterator[Problem]:
    """What V09 to V14 find in these lines, with the ladder's own runs of the last rung beside them."""
    beside = Case(case.root, case.tree, case.git, case.commit, case.options)
    for kind in (Study, Locks, EvidenceRules):
        if case.knows(kind):
            beside.learn(case.get(kind))
    beside.learn(Ledger((*case.get(Ledger).by_rung.get(last.decision.rung, ()), *lines), {}))
    for check in _LADDER_CHECKS:
        yield from (problem for problem in check(beside) or () if problem.file == HINDSIGHT)


def _copies(case: Case, lines: tuple[RecordLine, ...]) -> Iterator[Problem]:
    """The outcome of a run is its own: no other run of the study ends alike to six decimals of two numbers."""
    first: dict[tuple[object, object], RecordLine] = {}
    for run in (*case.get(Ledger).runs, *lines):
        facts = run.record.facts or {}
        if run.record.status != "finished" or facts.get("train_loss") is None:
            continue
        other = first.setdefault((facts.get("val_bpb"), facts["train_loss"]), run)
        if other is not run and run.file == HINDSIGHT:
            yield run.problem("/facts", f"those of {other.record.id}", "its own", "it is a copy of another run")


def _history(case: Case, lines: tuple[RecordLine, ...], last: LastDecision) -> Iterator[Problem]:
    """No commit holds hindsight of a decision that neither it nor an ancestor holds; no line changed or went since.

    Looked at are the lines of this study: they name one of its locks or its last decision.
    """
    history, own = case.whole_history, _own_digests(case, last)
    present = {run.record.id: run for run in lines}
    parsed = {run.data: run.record for run in lines}
    brought = {
        state.commit: [
            (line, record)
            for path, new in history.new_ledger_lines(state)
            if path == HINDSIGHT
            for line in sorted(new)
            if (record := _parse(line, parsed)) and {record.lock, record.decision} & own
        ]
        for state in history.states.values()
    }
    named = {record.decision for records in brought.values() for _, record in records}
    read = lru_cache(maxsize=None)(lambda oid: named & {sha256_bytes(line) for line in _lines(case, oid)})
    decided: dict[str, set[str]] = {}
    stood: dict[str, tuple[bytes, HistoryState]] = {}
    for state in history.states.values():
        before = (decided[parent] for parent in state.parents)
        decided[state.commit] = read(state.oids.get(DECISIONS, "")).union(*before)
        if {record.decision for _, record in brought[state.commit]} - decided[state.commit]:
            text = f"{state.title} holds hindsight and no line of {DECISIONS} with the digest that it names"
            meaning = "what was stopped was trained before the last gate had decided"
            yield Problem(HINDSIGHT, text, "the decision in that commit or an ancestor", meaning)
        for line, record in brought[state.commit]:
            run = present.get(record.id)
            if record.decision == last.digest and (
                record.status != "failed" or record.facts is not None or (run and reports_result(line, run, case))
            ):
                stood.setdefault(record.id, (line, state))
    yield from _changed(present, stood)


def _parse(line: bytes, parsed: dict[bytes, Record]) -> HindsightRecord | None:
    """A line of the history as a record; None for one that is none, which V22 tells."""
    if line not in parsed:
        with contextlib.suppress(Invalid):
            ((parsed[line], _),) = parse_hindsight(line, HINDSIGHT)
    record = parsed.get(line)
    return record if isinstance(record, HindsightRecord) else None


def _changed(present: dict[str, RecordLine], stood: dict[str, tuple[bytes, HistoryState]]) -> Iterator[Problem]:
    """What is not as it first stood under this decision. Records of runs that failed may be made again."""
    meaning = "it is not what was first reported after this decision"
    for name, (data, state) in stood.items():
        run = present.get(name)
        if run is None:
            yield Problem(HINDSIGHT, f"the record of {name} is gone", f"what {state.title} holds", meaning)
        elif run.data != data:
            yield run.problem("", "other bytes", f"those that {state.title} holds", meaning)


def _lines(case: Case, oid: str) -> list[bytes]:
    """The lines of a file of the history by git's id of it, or of the workspace; none for no file."""
    if not oid or case.git is None:
        return []
    for path in (DECISIONS, HINDSIGHT) if case.commit is None else ():
        data = case.tree.read(path)
        if data is not None and object_id("blob", data, case.git.head or "") == oid:
            return list(io.BytesIO(data))
    return list(io.BytesIO(case.git.blob(oid)))
