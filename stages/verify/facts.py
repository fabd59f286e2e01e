"""Checks V13 and V14: what a run was given, and what a record says came of it.

Which defaults a specification has and what follows from it is the runner's own affair: `stages/runners` is asked. The
frozen runner spells out its defaults in each record. Where it is the one that is installed here, it says what they are;
else what the study leaves open must at least be the same in every record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stages.domain import canonical
from stages.domain.contract import Contract, from_lock
from stages.domain.diff import ABSENT, differences, equal
from stages.domain.records import Record
from stages.domain.study import Study
from stages.runners import FactsCheck, RunnerJson, assign, runner_of
from stages.verify.check import Case, Problem
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.pending import evidence_locks, evidence_study

#: (rung, configuration, host): what runs share that differ in their seed alone.
Cell = tuple[str, str, str]


@dataclass(frozen=True)
class ExpectedSpec:
    """What the study gives a run, without its seed. `whole`: the runner's defaults are spelled out."""

    value: RunnerJson
    whole: bool


@dataclass(frozen=True)
class Specifications:
    """What the study gives the runs of each cell that was trained."""

    by_cell: dict[Cell, ExpectedSpec]


def check_input_of_record(case: Case) -> Iterator[Problem]:
    """The specification in every executed record is the one that the study gives the run."""
    study, known = evidence_study(case), evidence_locks(case)
    expected: dict[Cell, ExpectedSpec] = {}
    case.learn(Specifications(expected))
    contracts = {lock.frozen.rung: from_lock(lock) for lock in known.by_gate.values()}
    installed = {
        rung: runner_of(contract.settings).is_installed(contract.runner) for rung, contract in contracts.items()
    }
    first_seen: dict[str, tuple[Any, str]] = {}
    for run in case.get(Ledger).runs:
        record, contract = run.record, contracts.get(run.record.rung)
        if not record.executed or contract is None:
            continue
        if record.config not in study.configs or record.host not in contract.hosts:
            continue  # V08 reports a run that nobody declared
        if run.cell not in expected:
            expected[run.cell] = _expected_spec(study, contract, run.record, installed[record.rung])
        yield from _compare_spec(run, expected[run.cell], first_seen)
    if any(not spec.whole for spec in expected.values()):
        case.note(
            "the runner installed here is not the frozen one, so its defaults were compared between records only; "
            "install this commit to compare them with the runner's own"
        )


def _expected_spec(study: Study, contract: Contract, record: Record, installed: bool) -> ExpectedSpec:
    runner = runner_of(contract.settings)
    assignment = assign(contract, study.configs[record.config], record.config, record.host, seed=0)
    spec = runner.make_spec(assignment) if installed else runner.make_given(assignment)
    return ExpectedSpec(canonical.loads_canonical(canonical.dumps(spec)), installed)


def _compare_spec(run: RecordLine, expected: ExpectedSpec, first_seen: dict[str, tuple[Any, str]]) -> Iterator[Problem]:
    """`first_seen`: what the first record held at a pointer that the study leaves open, and which record that was."""
    recorded = run.record.spec or {}
    given = {**expected.value, "seed": run.record.seed}
    if expected.whole and repr(recorded) == repr(dict(sorted(given.items()))):
        return
    for pointer, was, should in differences(recorded, given, "/spec"):
        if not expected.whole and should is ABSENT:
            value, run_id = first_seen.setdefault(pointer, (was, run.record.id))
            if equal(value, was):
                continue
            should = f"{value!r}, as in {run_id}"
        yield run.problem(pointer, was, should, "it was given something else than the study says")


def check_facts_of_record(case: Case) -> Iterator[Problem]:
    """Status, steps, tokens, time and model in every record follow from the input of the run.

    No two runs of different seeds, configurations or numerics have the same outcome, under any name.
    """
    study, expected = evidence_study(case), case.get(Specifications).by_cell
    facts_check = runner_of(study.runner).make_facts_check(study)
    for run in case.get(Ledger).runs:
        if not run.record.executed or run.cell not in expected:
            continue  # V08 reports a run that nobody declared
        yield from _compare_status(run)
        if run.record.facts is not None:
            spec = expected[run.cell]
            for mismatch in facts_check.mismatches(run.record, spec.value, spec.whole):
                yield run.problem(mismatch.pointer, mismatch.recorded, mismatch.expected, mismatch.meaning)
    for note in facts_check.notes():
        case.note(note)
    yield from _compare_endings(case, study, facts_check)


def _compare_endings(case: Case, study: Study, facts_check: FactsCheck) -> Iterator[Problem]:
    """Two records with the same model and the same score are the same run, for any rung, host or seed that they state.

    One seed may have the same outcome on two hosts of one numeric mode, and in two configurations of one model whose
    difference has no effect yet. This is noted.
    """
    first: dict[tuple[object, ...], RecordLine] = {}
    alike: list[tuple[RecordLine, RecordLine]] = []
    for run in case.get(Ledger).runs:
        numbers = facts_check.make_fingerprint(run.record.facts or {}) if run.record.status == "finished" else ()
        if not numbers:
            continue
        other = first.setdefault(numbers if len(numbers) > 1 else (*numbers, *run.cell), run)
        if other is run:
            continue
        if reason := _why_a_copy(run.record, other.record, study):
            yield run.problem("/facts", f"those of {other.record.id}", "its own", reason)
        else:
            alike.append((other, run))
    if alike:
        earlier, later = (run.record.id for run in alike[0])
        pairs = f"{len(alike)} pairs of runs of one seed end" if len(alike) > 1 else "one pair of runs of one seed ends"
        case.note(
            f"{pairs} alike, such as {earlier} and {later}: honest where the machines compute alike, or one is a copy"
        )


def _why_a_copy(run: Record, other: Record, study: Study) -> str:
    """Why one of two runs that end alike must be a copy; empty where they may be two."""
    if run.seed != other.seed or run.rung != other.rung:
        return "one run stands there under two seeds: one of them is a copy, or the trainer ignores its seed"
    model, rival = ((record.facts or {}).get("model") for record in (run, other))
    if model != rival:
        return f"one run stands there under two configurations: {other.config} builds another model"
    precision, rival = (study.hosts[name].precision if name in study.hosts else "" for name in (run.host, other.host))
    if precision != rival:
        return f"one run stands there under two hosts: {run.host} computes in {precision}, {other.host} in {rival}"
    return ""


def _compare_status(run: RecordLine) -> Iterator[Problem]:
    record = run.record
    if (record.reason is None) != (record.status == "finished"):
        expected = "null" if record.status == "finished" else "why it did not finish"
        yield run.problem("/reason", record.reason, expected, f"its status is {record.status}")
    if (record.facts is None) != (record.status == "failed"):
        recorded, expected = ("null", "what came of it") if record.facts is None else ("facts", "null")
        yield run.problem("/facts", recorded, expected, f"its status is {record.status}")
