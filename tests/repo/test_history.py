"""What a line or a lock of a past commit says of its evidence, whatever version of the project wrote it."""

from __future__ import annotations

import json

import pytest

from stages.domain import names
from stages.repo.history import (
    UNKNOWN,
    EvidenceLine,
    holds_trained_run,
    parse_decision_commitment,
    parse_evidence_line,
)

LOCK = "a" * 64
TICKETS = names.promotions_path("gate1").as_posix()


def lock(**stages: dict[str, object]) -> bytes:
    """A dvc.lock with a stage by name, given by its parameters in the tickets of the gate before."""
    value = {
        "schema": "2.0",
        "stages": {name: {"cmd": "x", "params": {TICKETS: tickets}} for name, tickets in stages.items()},
    }
    return json.dumps(value).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (lock(run={"a": True}), True),
        (lock(run={"a": False}), False),
        (lock(run={"a": False}, other={"b": True}), True),
        (lock(run={"a": False, "b": True}), True),
        (lock(run={"a": None}), True),
        (lock(run={}), True),  # a run of the first rung has no ticket
        (lock(gate={}), False),
        (lock(), False),
        (b"stages: [", True),
        (b"\xff", True),
    ],
)
def test_a_rungs_lock_speaks_of_a_trained_run_where_a_run_had_a_ticket_or_nobody_can_tell(data, expected):
    assert holds_trained_run(data, "dvc.lock") is expected


RECORD = {"status": "finished", "rung": "rung1", "lock": LOCK, "config": "c", "host": "h", "seed": 1, "purpose": "search",
          "facts": {}}  # fmt: skip


def line(**changes: object) -> bytes:
    return json.dumps(RECORD | changes).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (line(), EvidenceLine(("rung1", LOCK), "rung1/c/h/1", False)),
        (line(status="failed", facts=None), EvidenceLine(("rung1", LOCK), "rung1/c/h/1", True)),
        (line(status="failed"), EvidenceLine(("rung1", LOCK), "rung1/c/h/1", False)),
        (line(status="diverged", facts=None), EvidenceLine(("rung1", LOCK), "rung1/c/h/1", False)),
        (line(status="stopped", facts=None), None),
        (line(status="unrun", facts=None), None),
        (line(status="stopped"), EvidenceLine(("rung1", ""))),
        (line(status="stopped", facts=None, spec={}), EvidenceLine(("rung1", ""))),
        (line(status="other"), EvidenceLine(("rung1", ""))),
        (line(rung="rung"), EvidenceLine(("", ""))),
        (line(lock="0"), EvidenceLine(("rung1", ""))),
        (b"[1]", EvidenceLine(UNKNOWN)),
        (b"{", EvidenceLine(UNKNOWN)),
        (b"", None),
    ],
)
def test_a_line_of_the_ledger_is_evidence_of_a_run_and_a_failure_only_without_facts(data, expected):
    assert parse_evidence_line(data) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (json.dumps({"gate": "gate2", "lock": LOCK, "evidence": {"r": "s"}}).encode(), ("rung2", LOCK)),
        (json.dumps({"gate": "gate2", "lock": LOCK, "evidence": {}}).encode(), None),
        (json.dumps({"gate": "gate2", "lock": LOCK}).encode(), ("rung2", LOCK)),
        (json.dumps({"gate": "x", "lock": LOCK, "evidence": {"r": "s"}}).encode(), UNKNOWN),
        (b"[1]", UNKNOWN),
        (b"{", UNKNOWN),
        (b"null", None),
        (b"", None),
    ],
)
def test_a_decision_commits_its_rung_to_its_lock_unless_it_saw_no_run(data, expected):
    assert parse_decision_commitment(data) == expected
