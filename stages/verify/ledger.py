"""Check V07: each line of the ledger. V08, which checks that no line is missing, is in `pending`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from stages.domain import canonical, names
from stages.domain.canonical import JsonObject
from stages.domain.errors import Invalid
from stages.domain.records import Record, parse_hindsight, parse_ledger
from stages.repo.past_files import evidence_of_record
from stages.verify.check import Case, Problem, Skip
from stages.verify.locks import DECISIONS, HINDSIGHT, RUNS


@dataclass(frozen=True, slots=True)
class RecordLine:
    """One line of ledger/runs.jsonl or hindsight.jsonl: its number, the record, its bytes, its file."""

    line: int
    record: Record
    data: bytes
    file: str = RUNS

    @property
    def cell(self) -> tuple[str, str, str]:
        """Rung, configuration and host of the run."""
        return self.record.rung, self.record.config, self.record.host

    @property
    def path(self) -> str:
        """Where its run wrote the record."""
        return names.record_name(self.record.id)

    def problem(self, pointer: str, found: object, expected: object, meaning: str) -> Problem:
        """A problem with this line; its meaning starts with the run's name."""
        text = f"{self.record.id}: {meaning}"
        return Problem(self.file, _shortened(found), _shortened(expected), text, line=self.line, pointer=pointer)


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


@dataclass(frozen=True)
class DecisionLine:
    """One line of ledger/decisions.jsonl: its number, its value and its bytes.

    The value is a JSON object that names its gate, and may hold anything else: V15 makes the decision again and
    compares. Only the recomputed `Decision` is read by other checks.
    """

    line: int
    value: JsonObject
    data: bytes


@dataclass(frozen=True)
class Ledger:
    """The lines of ledger/ in their order, the decisions by gate. `hindsight` came after the last of them."""

    runs: tuple[RecordLine, ...]
    decisions: dict[str, DecisionLine]
    hindsight: tuple[RecordLine, ...] = ()

    @cached_property
    def by_rung(self) -> dict[str, list[RecordLine]]:
        """The runs of each rung that has any."""
        rungs: dict[str, list[RecordLine]] = {}
        for run in self.runs:
            rungs.setdefault(run.record.rung, []).append(run)
        return rungs

    @cached_property
    def by_id(self) -> dict[str, RecordLine]:
        """The runs by their name."""
        return {run.record.id: run for run in self.runs}


def check_ledger_lines(case: Case) -> Iterator[Problem]:
    """Every line of runs.jsonl is the canonical form of a record, every line of decisions.jsonl that of a decision.

    Every line of hindsight.jsonl, if there is one, is the canonical form of a record in hindsight.
    """
    data = case.tree.read(RUNS)
    decided = case.tree.read(DECISIONS)
    if data is None:
        if decided is not None or RUNS.encode("ascii") in (case.tree.read("dvc.lock") or b""):
            yield Problem(RUNS, "no file", "the evidence", "decisions and dvc.lock speak of runs that are gone")
            return
        raise Skip("there is no ledger yet", "dvc repro -s ledger", applies=False)
    runs = tuple(RecordLine(n, record, line) for n, (record, line) in enumerate(parse_ledger(data, RUNS), start=1))
    extra = parse_hindsight(case.tree.read(HINDSIGHT) or b"", HINDSIGHT)
    hindsight = tuple(RecordLine(n, record, line, HINDSIGHT) for n, (record, line) in enumerate(extra, start=1))
    case.lines.update((run.data, evidence_of_record(run.record)) for run in (*runs, *hindsight))
    case.learn(Ledger(runs, parse_decision_lines(decided or b""), hindsight))
    if decided is None:
        yield Problem(DECISIONS, "no file", "the decisions", "the evidence was judged, and nobody says how")


def parse_decision_lines(data: bytes) -> dict[str, DecisionLine]:
    """The lines of decisions.jsonl by gate; `Invalid` names the line that is not canonical or of another gate."""
    if data and not data.endswith(b"\n"):
        last = data.count(b"\n") + 1
        raise Invalid.at(f"{DECISIONS}, line {last}", "the last line does not end; is the file whole?")
    decisions: dict[str, DecisionLine] = {}
    for number, line in enumerate(io.BytesIO(data), start=1):
        where, expected = f"{DECISIONS}, line {number}", f"gate{number}"
        try:
            value = canonical.loads_canonical(line)
        except canonical.NotCanonical as error:
            raise Invalid.at(where, str(error)) from None
        gate = value.get("gate") if isinstance(value, dict) else None
        if gate != expected:
            raise Invalid.at(where, f"found {gate!r}, expected {expected!r}: decisions stand in their order", "gate")
        decisions[expected] = DecisionLine(number, value, line)
    return decisions
