"""What a line or a lock of a past commit says of its evidence, whatever version of the project wrote it."""

from __future__ import annotations

import json

import pytest

from stages.domain import canonical, names
from stages.repo import past_files
from stages.repo.past_files import (
    UNKNOWN,
    EvidenceLine,
    find_record_problem,
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


WHOLE = {
    "schema": 1, "rung": "rung2", "config": "c", "host": "h", "seed": 1, "purpose": "candidate", "status": "finished",
    "reason": None, "gate": "gate2", "lock": LOCK, "runner": LOCK, "corpus": LOCK,
    "budget": {"clock": "rated", "seconds": 1.0}, "environment": None, "spec": {}, "facts": {"val_bpb": 1.5},
}  # fmt: skip
STOPPED = WHOLE | {"status": "stopped", "reason": "gate1 did not promote it", "spec": None, "facts": None}
AFTER = WHOLE | {"purpose": "hindsight", "decision": LOCK}


@pytest.mark.parametrize(
    ("data", "hindsight", "problem"),
    [
        (canonical.dumps(WHOLE), False, ""),
        (canonical.dumps(STOPPED), False, ""),
        (canonical.dumps(WHOLE | {"status": "failed", "reason": "out of memory", "facts": None}), False, ""),
        (canonical.dumps(AFTER), True, ""),
        (canonical.dumps(AFTER | STOPPED | {"status": "unrun", "reason": "it ran at rung2 itself"}), False, "decision"),
        (canonical.dumps(AFTER), False, "purpose"),
        (canonical.dumps(WHOLE), True, "purpose"),
        (b"\n", False, ""),
        (b" \r\n", False, ""),
        (b"<<<<<<< HEAD\n", False, ""),
        (b"=======\n", False, ""),
        (b">>>>>>> of rung 3\n", False, ""),
        (b">>>>>>> 1.5\n", False, "a merge conflict"),
        (canonical.dumps(WHOLE)[:-1] + b"\r\n", False, "canonical"),
        (canonical.dumps(WHOLE)[:-1] + b" \n", False, "canonical"),
        (b"\xef\xbb\xbf" + canonical.dumps(WHOLE), False, "BOM"),
        (b"!" + canonical.dumps(WHOLE), False, "not JSON"),
        (b"[1]\n", False, "mapping"),
        (b"\xff\n", False, "UTF-8"),
        (canonical.dumps(WHOLE | {"more": 1}), False, "more"),
        (canonical.dumps(WHOLE | {"status": "done"}), False, "status"),
        (canonical.dumps(WHOLE | {"status": "unrun"}), False, "spec and facts"),
        (canonical.dumps(WHOLE | {"seed": "1"}), False, "seed"),
        (canonical.dumps(WHOLE | {"seed": True}), False, "seed"),
        (canonical.dumps(WHOLE | {"config": "c "}), False, "config"),
        (canonical.dumps(STOPPED | {"reason": "1.234567"}), False, "reason"),
        (canonical.dumps(STOPPED | {"reason": "gate1 did not promote it: 1.2"}), False, "reason"),
        (canonical.dumps(STOPPED | {"reason": None}), False, "reason"),
        (canonical.dumps(STOPPED | {"reason": "only an exploratory study asks for it: 1.2"}), False, "reason"),
        (canonical.dumps(STOPPED | {"reason": "only an exploratory study asks for it: seed 7"}), False, ""),
        (canonical.dumps(STOPPED | {"environment": {"os": "1.2"}}), False, "environment"),
    ],
)
def test_a_past_line_is_a_record_as_it_is_written_or_the_reason_why_it_is_none(data, hindsight, problem):
    message = find_record_problem(data, hindsight=hindsight)
    assert problem in message
    assert bool(message) is bool(problem)


def test_a_past_dvc_lock_in_another_form_than_dvcs_has_a_limit_and_a_longer_one_may_speak_of_a_run(monkeypatch):
    data = b"{schema: '2.0', stages: {}}\n"
    monkeypatch.setattr(past_files, "MAX_OTHER_FORM", len(data))
    assert not past_files.holds_trained_run(data, "dvc.lock")
    monkeypatch.setattr(past_files, "MAX_OTHER_FORM", len(data) - 1)
    assert past_files.holds_trained_run(data, "dvc.lock")
    assert not past_files.holds_trained_run(b"schema: '2.0'\nstages: {}\n", "dvc.lock"), "DVC's own form has none"
