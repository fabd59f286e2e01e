"""Checks V09 to V12: what each record says of the rule, the runner, the corpus and the machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from stages.domain import rules
from stages.domain.command import CommandSettings
from stages.domain.corpus import Data
from stages.domain.diff import differences
from stages.domain.locks import Frozen
from stages.domain.schema import parse
from stages.domain.study import Study
from stages.runners import runner_of
from stages.verify.check import Case, Problem
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import DECISIONS, PARAMS, Locks, freezes
from stages.verify.pending import evidence_locks


def check_rule_of_record(case: Case) -> Iterator[Problem]:
    """Every record has the digest of the lock that judges it and the budget that this lock froze."""
    known, ledger = evidence_locks(case), case.get(Ledger)
    for rung, runs in ledger.by_rung.items():
        lock = known.of(rung)
        if lock is None:
            yield runs[0].problem("/lock", runs[0].record.lock, "a lock that exists", "evidence without a rule")
            continue
        clock, seconds = lock.frozen.clock.kind, lock.frozen.budget_seconds
        for run in runs:
            if run.record.lock != lock.digest:
                meaning = f"it was made under another rule than locks/{lock.frozen.gate}.yaml"
                yield run.problem("/lock", run.record.lock, lock.digest, meaning)
            budget = run.record.budget
            if (budget.clock, budget.seconds) != (clock, seconds):
                recorded, expected = f"{budget.seconds:g} s, {budget.clock}", f"{seconds:g} s, {clock}"
                yield run.problem("/budget", recorded, expected, "it had another budget than its rivals")
    for gate, decision in ledger.decisions.items():
        judge = known.by_gate.get(gate)
        if judge is None or decision.value.get("lock") != judge.digest:
            expected = judge.digest if judge else "a lock that exists"
            meaning = f"{gate} decided by another rule than the frozen one"
            recorded = str(decision.value.get("lock"))
            yield Problem(DECISIONS, recorded, expected, meaning, line=decision.line, pointer="/lock")


def check_one_runner(case: Case) -> Iterator[Problem]:
    """Locks and records name one runner, and it is the runner in this commit."""
    for gate, lock in case.get(Locks).by_gate.items():
        runner = runner_of(lock.frozen.settings)
        digest = runner.digest(case.tree)
        if lock.frozen.runner != digest:
            expected = f"{digest}, the digest of {runner.title} at this commit"
            meaning = "the code here is not the code that was frozen"
            yield Problem(f"locks/{gate}.yaml", lock.frozen.runner, expected, meaning, pointer="/frozen/runner")
        if lock.frozen.settings.get("candidate"):
            yield from _compare_candidates(case, gate, lock.frozen)
    yield from _compare_with_lock(case, "runner", "another runner made it")


def _compare_candidates(case: Case, gate: str, frozen: Frozen) -> Iterator[Problem]:
    """Configurations that are versions of a file: git still holds, at each commit, the files that were frozen."""
    from stages.runners.candidates import find_candidate_mismatch

    settings = parse(CommandSettings, frozen.settings, f"locks/{gate}.yaml")
    for config, knobs in (frozen.configs or {}).items():
        if case.git is None:
            case.note("without git nobody can see which files the configurations are")
            return
        if mismatch := find_candidate_mismatch(case.git, settings, knobs):
            meaning = "nobody can see what was trained; fetch the branch that holds it"
            yield Problem(f"locks/{gate}.yaml", *mismatch, meaning, pointer=f"/frozen/configs/{config}")


def check_one_corpus(case: Case) -> Iterator[Problem]:
    """Locks and records name one corpus, and params.yaml declares the text that it declared at the freeze."""
    known = list(case.get(Locks).by_gate.items())
    for gate, lock in known:
        if lock.frozen.corpus != known[0][1].frozen.corpus:
            expected = f"{known[0][1].frozen.corpus}, that of {known[0][0]}"
            meaning = "two gates look at different texts"
            yield Problem(f"locks/{gate}.yaml", lock.frozen.corpus, expected, meaning, pointer="/frozen/corpus")
    yield from compare_corpus(case)
    if case.knows(Study):
        yield from _compare_declared_text(case)


def compare_corpus(case: Case) -> Iterator[Problem]:
    """Every record names the corpus that the lock of its rung froze."""
    yield from _compare_with_lock(case, "corpus", "it was trained or scored on another text")


def _compare_declared_text(case: Case) -> Iterator[Problem]:
    """params.yaml says what the corpus is made of; git holds what it said wherever gate 1 was frozen on that corpus.

    `Skip` where git does not hold the whole history: then nothing shows which text that was.
    """
    now = _text_of(case.get(Study).data)
    seen: set[str] = set()
    for freeze in freezes(case):
        if freeze.data is None:
            expected = "beside it the params.yaml that it froze"
            meaning = "nothing shows which text gate 1 was frozen on"
            yield Problem("locks/gate1.yaml", f"in {freeze.title} {freeze.problem}", expected, meaning)
            continue
        for pointer, value, before in differences(now, _text_of(freeze.data), "/data"):
            if pointer not in seen:  # told once, with the first commit that says otherwise
                seen.add(pointer)
                meaning = "gate 1 was frozen on the corpus of that time, and params.yaml says that it is another text"
                yield Problem(PARAMS, repr(value), f"{before!r}, as in {freeze.title}", meaning, pointer=pointer)
    _ = case.whole_history


def _text_of(data: Data) -> dict[str, object]:
    """What decides the text, its splits and its tokens, as JSON to be compared."""
    return data.model_dump(mode="json", exclude={"min_split_tokens"})


def _compare_with_lock(case: Case, key: Literal["runner", "corpus"], meaning: str) -> Iterator[Problem]:
    """Every record names the runner or corpus that the lock of its rung froze."""
    if not case.knows(Ledger):
        return
    known = evidence_locks(case)
    for rung, runs in case.get(Ledger).by_rung.items():
        if lock := known.of(rung):
            frozen = getattr(lock.frozen, key)
            for run in runs:
                if getattr(run.record, key) != frozen:
                    yield run.problem(f"/{key}", getattr(run.record, key), frozen, meaning)


def check_one_environment(case: Case) -> Iterator[Problem]:
    """Executed runs report exactly what their host block asks for; the values are constant where a rule requires it."""
    known, ledger = evidence_locks(case), case.get(Ledger)
    for rung, runs in ledger.by_rung.items():
        lock = known.of(rung)
        if lock is None:
            continue
        fixed = any(isinstance(rule, rules.FixedEnvironment) for rule in lock.frozen.rules.values())
        first: dict[str, RecordLine] = {}
        for run in runs:
            host, reported = lock.frozen.hosts.get(run.record.host), run.record.environment
            asked = sorted(host.report) if host else []
            if sorted(reported or {}) != (asked if run.record.executed else []):
                yield run.problem("/environment", reported, asked or None, "the block's machine cannot be compared")
            elif reported and reported != first.setdefault(run.record.host, run).record.environment:
                if fixed:
                    expected: Any = first[run.record.host].record.environment
                    yield run.problem("/environment", reported, expected, "the machine changed inside its block")
                else:
                    case.note(f"{run.record.id} ran in another environment than the first of its block: {reported}")
