"""Checks V07 to V12: the lines of the ledger, and what each record says of rule, runner, corpus, machine and input.

Made by `promotion verify`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.rules import DECISIONS, RUNS, Locks
from stages.domain import canonical, names, rules
from stages.domain.records import Record, parse_ledger
from stages.domain.schema import Invalid
from stages.domain.study import Study


class LedgerBroken(CheckFailed):
    """V07: a line of the ledger is not the canonical line of a record or a decision."""


class LedgerIncomplete(CheckFailed):
    """V08: lines stand twice, in another order, for runs that the study does not have, or are missing."""


class AnotherRule(CheckFailed):
    """V09: a record commits to another lock or budget than the one that judges it."""


class AnotherRunner(CheckFailed):
    """V10: a record, a lock and the code at this commit do not name one runner."""


class AnotherCorpus(CheckFailed):
    """V11: records and locks do not name one corpus."""


class AnotherMachine(CheckFailed):
    """V12: a record does not report what its host block asks for, or reports a drift that the rules forbid."""


@dataclass(frozen=True)
class Run:
    """One line of ledger/runs.jsonl."""

    line: int
    record: Record
    data: bytes

    def problem(self, pointer: str, found: Any, expected: Any, meaning: str) -> Problem:
        """A problem with this line, told with the run's name."""
        told = f"{self.record.id}: {meaning}"
        return Problem(RUNS, _short(found), _short(expected), told, line=self.line, pointer=pointer)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


@dataclass(frozen=True)
class Ledger:
    """The lines of ledger/, in their order. `decisions` is by gate: the line's number, its value, its bytes."""

    runs: tuple[Run, ...]
    decisions: dict[str, tuple[int, dict[str, Any], bytes]]

    @cached_property
    def by_rung(self) -> dict[str, list[Run]]:
        """The runs of each rung that has any."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.record.rung, []).append(run)
        return found

    @cached_property
    def by_id(self) -> dict[str, Run]:
        """The runs by their name."""
        return {run.record.id: run for run in self.runs}


def ledger_lines(case: Case) -> Iterator[Problem]:
    """V07: every line of runs.jsonl is the canonical line of a record, every line of decisions.jsonl of a decision."""
    data = case.tree.read(RUNS)
    decided = case.tree.read(DECISIONS)
    if data is None:
        if decided is not None or b"ledger/runs.jsonl" in (case.tree.read("dvc.lock") or b""):
            yield Problem(RUNS, "no file", "the evidence", "decisions and dvc.lock speak of runs that are gone")
            return
        raise Skip("there is no ledger yet, so nothing was decided", "dvc repro ledger", applies=False)
    runs = tuple(Run(n, record, line) for n, (record, line) in enumerate(parse_ledger(data, RUNS), start=1))
    case.learn(Ledger(runs, dict(_decisions(decided))))
    if decided is None:
        yield Problem(DECISIONS, "no file", "the decisions", "the evidence was judged, and nobody says how")


def _decisions(data: bytes | None) -> Iterator[tuple[str, tuple[int, dict[str, Any], bytes]]]:
    lines = (data or b"").split(b"\n")
    if lines[-1]:
        raise Invalid(f"{DECISIONS}, line {len(lines)}: the last line does not end; is the file whole?")
    for number, line in enumerate(lines[:-1], start=1):
        where = f"{DECISIONS}, line {number}"
        try:
            value = canonical.loads_canonical(line + b"\n")
        except canonical.NotCanonical as error:
            raise Invalid(f"{where}: {error}") from None
        gate = value.get("gate") if isinstance(value, dict) else None
        if gate != f"gate{number}":
            raise Invalid(f"{where}: gate: found {gate!r}, expected 'gate{number}': decisions stand in their order")
        yield gate, (number, value, line + b"\n")


def sort_key(record: Record) -> tuple[int, bool, str, str, int]:
    """The place of a record in the ledger."""
    number = int(record.rung.removeprefix("rung"))
    return number, record.purpose == "floor", record.config, record.host, record.seed


def complete(case: Case) -> Iterator[Problem]:
    """V08: one line for every run of the study, in order; none for another; none missing where a gate decided."""
    study, ledger = case.get(Study), case.get(Ledger)
    for one, two in pairwise(ledger.runs):
        if sort_key(one.record) >= sort_key(two.record):
            twice = one.record.id == two.record.id
            yield two.problem(
                "",
                "the run a second time" if twice else f"the run after {one.record.id}",
                "each run once, sorted by rung, purpose, configuration, host, seed",
                "a run that counts twice or was moved changes what a gate sees" if twice else "the ledger was edited",
            )
    declared = {run: rung for rung in study.rungs for run in _declared(study, rung)}
    for run in ledger.runs:
        if run.record.id not in declared:
            yield run.problem("", "a run that params.yaml does not declare", "a declared cell", "evidence from nowhere")
    missing: dict[str, list[str]] = {}
    for name in declared.keys() - ledger.by_id.keys():
        missing.setdefault(declared[name], []).append(name)
    for rung, names_ in sorted(missing.items()):
        told = f"{len(names_)} runs of {rung} are missing, such as {min(names_)}"
        if names.gate_of(rung) in ledger.decisions:
            yield Problem(
                RUNS, told, "a line for every run of a rung that was judged", "the gate judged without seeing all"
            )
        else:
            case.note(f"{told}; {names.gate_of(rung)} has not decided")


def _declared(study: Study, rung: str) -> Iterator[str]:
    for host, seed in study.cells(rung):
        for config in study.configs:
            yield names.run_id(rung, config, host, seed)
    for host in study.hosts:
        for seed in study.rungs[rung].floor_seeds:
            yield names.run_id(rung, study.roles["reference"], host, seed, "floor")


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
