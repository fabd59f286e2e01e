"""Check V22: a record that once stood in history under a lock still stands, as it was, while that lock does.

Whoever trains a run again under the same rule has two results and shows one. A repetition that is meant is an amendment
(`promotion freeze GATE --amend --reason "..."`), which gives the evidence made anew a lock of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from stages.audit.chronicle import RUNS, Chronicle, State
from stages.audit.differences import differences
from stages.audit.history import whole_past
from stages.audit.ledger import Ledger, Run
from stages.audit.model import Case, CheckFailed, Problem
from stages.audit.rules import Locks
from stages.domain import canonical, names

_MEANS = "it is not what was first reported under this rule, and a repetition that is meant is an amendment"


class EvidenceReplaced(CheckFailed):
    """V22: a record changed or went away while the lock that it was made under stands."""


def evidence_stayed(case: Case) -> Iterator[Problem]:
    """V22: every record that ever stood under a lock of today is in the ledger as it was, save those of failed runs."""
    found = whole_past(case)
    standing = {(names.rung_of(gate), lock.digest) for gate, lock in case.get(Locks).by_gate.items()}
    here = case.get(Ledger).by_id if case.knows(Ledger) else {}
    gone: dict[str, list[str]] = {}
    changed: list[Problem] = []
    for state in found.states.values():
        for data in sorted(found.new_lines(state)):
            line = found.line(data)
            if line is None or line.made not in standing or line.failed or not line.run:
                continue
            run = here.get(line.run)
            if run is None:
                gone.setdefault(state.title, []).append(line.run)
            elif run.data != data + b"\n" and not _taken_back(run, state, found):
                changed.append(_changed(run, data, state))
    yield from sorted(changed, key=lambda one: one.line or 0)
    for title, runs in gone.items():
        told = (
            f"{len(runs)} records are gone, such as {min(runs)}"
            if len(runs) > 1
            else f"the record of {runs[0]} is gone"
        )
        yield Problem(RUNS, told, f"what {title} holds", _MEANS)


def _taken_back(run: Run, state: State, found: Chronicle) -> bool:
    """Whether the record that stands here stood before that other one: then it was changed, and changed back."""
    data = run.data.rstrip(b"\n")
    first = (one for one in found.states.values() if data in found.new_lines(one))
    return any(found.precedes(one, state) for one in first)


def _changed(run: Run, old: bytes, state: State) -> Problem:
    was, now = canonical.loads(old), canonical.loads(run.data)
    pointer, found, expected = next(differences(now, was), ("", "other bytes", "the same bytes"))
    return run.problem(pointer, found, f"{expected!r}, as in {state.title}", _MEANS)
