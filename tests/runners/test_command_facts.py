"""What a reviewer can check of the facts of a command's runs, and what is said of the rest."""

from __future__ import annotations

from typing import Any

import pytest

from stages.domain.command import CommandSettings
from stages.domain.records import Record
from stages.runners.command import CommandRunner
from stages.runners.command_facts import CommandFactsCheck
from tests.runners.conftest import assignment, make_settings
from tests.support.contracts import make_contract


def record(status: str = "finished", **facts: Any) -> Record:
    value = make_contract(clock="given").make_record(
        config="a", host="h1", seed=1, purpose="candidate", status=status,
        reason=None if status == "finished" else "it ended", spec=CommandRunner(make_settings()).make_spec(assignment()),
        facts={"score": 1.5, "printed": "1.5000004", "reported": {"steps": 3.0}} | facts,
    )  # fmt: skip
    return Record.model_construct(**(value | {"schema_": 1}))


def check(**changes: Any) -> CommandFactsCheck:
    return CommandFactsCheck(CommandSettings.model_validate(make_settings(**changes)))


NONE = {"score": None, "printed": None}


@pytest.mark.parametrize(
    ("status", "facts", "mismatch"),
    [
        ("finished", {}, None),
        ("diverged", NONE, None),
        ("failed", NONE, None),
        ("finished", {"score": 1.500001}, ("/facts/score", 1.500001, 1.5, "the trainer printed 1.5000004")),
        ("finished", {"printed": None}, ("/facts/score", 1.5, "a score", "finished runs, and no others, have a score")),
        ("finished", {"score": None}, ("/facts/score", None, "a score", "finished runs, and no others, have a score")),
        ("diverged", {}, ("/facts/score", 1.5, None, "finished runs, and no others, have a score")),
        ("failed", {"score": None}, ("/facts/score", None, None, "finished runs, and no others, have a score")),
        ("finished", {"reported": {"x": 2.0}}, ("/facts/reported/x", 2.0, None, "runner.facts does not name it")),
    ],
)
def test_the_score_is_that_of_a_finished_run_rounded_from_what_was_printed(status, facts, mismatch):
    mismatches = list(check().mismatches(record(status, **facts), {}, True))
    seen = [(entry.pointer, entry.recorded, entry.expected, entry.meaning) for entry in mismatches]
    assert seen == ([] if mismatch is None else [mismatch])


@pytest.mark.parametrize(
    ("printed", "fingerprint"),
    [("1.234567", ("1.234567",)), ("1.23456", ()), ("3", ()), ("0.1234567e3", ("0.1234567e3",)), (None, ())],
)
def test_only_a_score_of_six_decimals_tells_runs_apart(printed, fingerprint):
    assert check().make_fingerprint({"printed": printed}) == fingerprint


def test_what_nobody_can_check_is_said_with_the_number_of_scores():
    facts = check(facts={"steps": "num_steps: {value}", "loss": "loss: {value}"})
    assert facts.notes() == []
    for status, changes in (("finished", {}), ("diverged", NONE)):
        list(facts.mismatches(record(status, **changes), {}, True))
    (note,) = facts.notes()
    assert note.startswith("2 scores, and what the trainer reports (loss, steps), follow from nothing that is recorded")
    none = check(facts={})
    list(none.mismatches(record(reported={}), {}, True))
    assert "(nothing)" in none.notes()[0]
