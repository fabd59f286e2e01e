"""Checks V09 to V12: what each record says of the rule, the runner, the corpus and the machine.

Made by `promotion verify`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from stages.audit.chronicle import WORKSPACE
from stages.audit.differences import differences
from stages.audit.git import Git
from stages.audit.ledger import Ledger, Run
from stages.audit.model import Case, CheckFailed, Problem
from stages.audit.rules import DECISIONS, PARAMS, Locks
from stages.domain import rules, yamlio
from stages.domain.data import Data
from stages.domain.schema import Invalid, parse
from stages.domain.study import Study


class AnotherRule(CheckFailed):
    """V09: a record commits to another lock or budget than the one that judges it."""


class AnotherRunner(CheckFailed):
    """V10: a record, a lock and the code at this commit do not name one runner."""


class AnotherCorpus(CheckFailed):
    """V11: records and locks do not name one corpus."""


class AnotherMachine(CheckFailed):
    """V12: a record does not report what its host block asks for, or reports a drift that the rules forbid."""


def commits_to_rule(case: Case) -> Iterator[Problem]:
    """V09: every record carries the digest of the lock that judges it and the budget that this lock froze."""
    known, ledger = case.get(Locks), case.get(Ledger)
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
            if (run.record.budget.clock, run.record.budget.seconds) != (clock, seconds):
                found = f"{run.record.budget.seconds:g} s, {run.record.budget.clock}"
                yield run.problem("/budget", found, f"{seconds:g} s, {clock}", "it had another budget than its rivals")
    for gate, (line, value, _) in ledger.decisions.items():
        held = known.by_gate.get(gate)
        if held is None or value.get("lock") != held.digest:
            expected = held.digest if held else "a lock that exists"
            yield Problem(
                DECISIONS,
                str(value.get("lock")),
                expected,
                f"{gate} decided by another rule than the frozen one",
                line=line,
                pointer="/lock",
            )


def one_runner(case: Case) -> Iterator[Problem]:
    """V10: locks, records and the trainer/ of this very commit are one runner."""
    from stages.audit.tree import runner_digest

    here = runner_digest(case.tree)
    for gate, lock in case.get(Locks).by_gate.items():
        if lock.frozen.runner != here:
            yield Problem(
                f"locks/{gate}.yaml",
                lock.frozen.runner,
                f"{here}, the digest of trainer/ at this commit",
                "the code here is not the code that was frozen",
                pointer="/frozen/runner",
            )
    yield from _same(case, "runner", "another runner made it")


def one_corpus(case: Case) -> Iterator[Problem]:
    """V11: all locks and all records are of one corpus."""
    known = list(case.get(Locks).by_gate.items())
    for gate, lock in known:
        if lock.frozen.corpus != known[0][1].frozen.corpus:
            expected = f"{known[0][1].frozen.corpus}, that of {known[0][0]}"
            meaning = "two gates look at different texts"
            yield Problem(f"locks/{gate}.yaml", lock.frozen.corpus, expected, meaning, pointer="/frozen/corpus")
    yield from _same(case, "corpus", "it was trained or scored on another text")
    yield from _declared_text(case)


def _declared_text(case: Case) -> Iterator[Problem]:
    """params.yaml says what the corpus is made of; git holds what it said when the evidence came."""
    lock = case.get(Locks).by_gate.get("gate1")
    if lock is None or case.git is None or not case.knows(Study):
        return
    now = _textual(case.get(Study).data)
    states = (one for one in case.past.states.values() if ("rung1", lock.digest) in one.made)
    first = next(states, None)
    then = _data_at(case.git, first.commit) if first and first.commit != WORKSPACE else None
    if first is None or then is None:
        return
    for pointer, found, expected in differences(now, _textual(then), "/data"):
        meaning = "the evidence was made on the corpus of that time, and params.yaml says that it is another text"
        yield Problem(PARAMS, repr(found), f"{expected!r}, as in {first.title}", meaning, pointer=pointer)


def _data_at(git: Git, commit: str) -> Data | None:
    """The `data` section of params.yaml at a commit, or None where it cannot be read any more."""
    entry = git.entry(commit, PARAMS)
    with contextlib.suppress(Invalid):
        return parse(Data, yamlio.loads(git.blob(entry.oid), PARAMS).get("data"), PARAMS) if entry else None
    return None


def _textual(data: Data) -> dict[str, Any]:
    """What decides the text, its splits and its tokens."""
    return data.model_dump(mode="json", exclude={"min_split_tokens"})


def _same(case: Case, key: str, meaning: str) -> Iterator[Problem]:
    if not case.knows(Ledger):
        return
    known = case.get(Locks)
    for rung, runs in case.get(Ledger).by_rung.items():
        lock = known.of(rung)
        frozen = getattr(lock.frozen, key) if lock else None
        for run in runs:
            found = getattr(run.record, key)
            if lock and found != frozen:
                yield run.problem(f"/{key}", found, frozen, meaning)


def one_environment(case: Case) -> Iterator[Problem]:
    """V12: executed runs report exactly what their host block asks for; it is constant where a rule asks for that."""
    known, ledger = case.get(Locks), case.get(Ledger)
    for rung, runs in ledger.by_rung.items():
        lock = known.of(rung)
        if lock is None:
            continue
        bound = any(isinstance(rule, rules.FixedEnvironment) for rule in lock.frozen.rules.values())
        first: dict[str, Run] = {}
        for run in runs:
            host = lock.frozen.hosts.get(run.record.host)
            asked = sorted(host.report) if host else []
            seen = run.record.environment
            if sorted(seen or {}) != (asked if run.record.executed else []):
                yield run.problem("/environment", seen, asked or None, "the block's machine cannot be compared")
            elif seen and seen != first.setdefault(run.record.host, run).record.environment:
                if bound:
                    expected = first[run.record.host].record.environment
                    yield run.problem("/environment", seen, expected, "the machine changed inside its block")
                else:
                    case.note(f"{run.record.id} ran in another environment than the first of its block: {seen}")
