"""Checks V07 and V08: the lines of the ledger, each of them and all of them.

Made by `promotion verify`; the whole sequence stands in `stages/verify/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from stages.domain import canonical, names
from stages.domain.records import Record, parse_ledger
from stages.domain.runs import all_runs, ledger_order
from stages.domain.schema import Invalid
from stages.domain.study import Study
from stages.repo.history import line_of_record
from stages.verify.check import Case, CheckFailed, Problem, Skip
from stages.verify.locks import DECISIONS, RUNS


class LedgerBroken(CheckFailed):
    """V07: a line of the ledger is not the canonical line of a record or a decision."""


class LedgerIncomplete(CheckFailed):
    """V08: lines stand twice, in another order, for runs that the study does not have, or are missing."""


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
        raise Skip("there is no ledger yet", "dvc repro -s ledger", applies=False)
    runs = tuple(Run(n, record, line) for n, (record, line) in enumerate(parse_ledger(data, RUNS), start=1))
    case.lines.update((run.data.rstrip(b"\n"), line_of_record(run.record)) for run in runs)
    case.learn(Ledger(runs, dict(_decisions(decided))))
    if decided is None:
        yield Problem(DECISIONS, "no file", "the decisions", "the evidence was judged, and nobody says how")


def _decisions(data: bytes | None) -> Iterator[tuple[str, tuple[int, dict[str, Any], bytes]]]:
    lines = (data or b"").split(b"\n")
    if lines[-1]:
        raise Invalid.at(f"{DECISIONS}, line {len(lines)}", "the last line does not end; is the file whole?")
    for number, line in enumerate(lines[:-1], start=1):
        where = f"{DECISIONS}, line {number}"
        try:
            value = canonical.loads_canonical(line + b"\n")
        except canonical.NotCanonical as error:
            raise Invalid.at(where, str(error)) from None
        gate = value.get("gate") if isinstance(value, dict) else None
        if gate != f"gate{number}":
            raise Invalid.at(where, f"found {gate!r}, expected 'gate{number}': decisions stand in their order", "gate")
        yield gate, (number, value, line + b"\n")


def complete(case: Case) -> Iterator[Problem]:
    """V08: one line for every run of the study, in order; none for another; none missing where a gate decided."""
    study, ledger = case.get(Study), case.get(Ledger)
    for one, two in pairwise(ledger.runs):
        if ledger_order(one.record) >= ledger_order(two.record):
            twice = one.record.id == two.record.id
            yield two.problem(
                "",
                "the run a second time" if twice else f"the run after {one.record.id}",
                "each run once, sorted by rung, purpose, configuration, host, seed",
                "a run that counts twice or was moved changes what a gate sees" if twice else "the ledger was edited",
            )
    declared = {run.id: run.rung for run in all_runs(study)}
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
