"""The lines of a what-if, for every way in which its gates can be answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.commands.what_if import lines
from stages.confidence.gates import Fates
from stages.confidence.results import Change
from stages.confidence.what_if import GateAnswer
from tests.commands.conftest import Command

END = "a what-if: no evidence, and no decision is changed by it"
CHANGE = Change("candidate", "a", "stopped", "goes on")


def fates(candidates: str, promoted: str = "") -> Fates:
    return Fates("decided", (), tuple(candidates), frozenset(promoted), {}, None)


def answer(gate: str = "gate2", **changes: Any) -> GateAnswer:
    fields: dict[str, Any] = {
        "settings": (), "judged": (), "unrun": (), "was": fates("ab", "a"), "now": fates("ab", "a"), "changes": (),
        "note": "",
    }  # fmt: skip
    return GateAnswer(gate, **fields | changes)


UNJUDGED: dict[str, Any] = {"was": None, "now": None, "note": "no evidence"}
UNKNOWN = "nothing that is asked about could be judged, so whether an outcome changes is not known"


@pytest.mark.parametrize(
    ("answers", "gates", "told"),
    [
        ([], (), [UNKNOWN]),
        ([answer()], (), [UNKNOWN]),
        ([answer(settings=("x=1", "y=2"))], (),
         ["gate2 with x=1, y=2", "  gate2: judged, no outcome changes", "no outcome changes at any gate"]),
        ([answer(), answer("gate3", settings=("x",)), answer("gate4")], ("gate2", "gate3", "gate4"),
         ["gate3 with x", "  gate3: judged, no outcome changes", "  gate4: judged, no outcome changes",
          "no outcome changes at any gate"]),
        ([answer(settings=("x",), changes=(CHANGE,))], (), ["gate2 with x", "  gate2: a: stopped -> goes on"]),
        ([answer(settings=("x",)), answer("gate3", unrun=("c", "d"))], (),
         ["gate2 with x", "  gate2: judged, no outcome changes",
          "  unrun: c, d; never trained at rung3, so gate3 and what follows is judged without",
          "  gate3: judged, no outcome changes"]),
        ([answer(settings=("x",), **UNJUDGED)], ("gate2", "gate3"),
         ["gate2 with x", "  gate2: not judged: no evidence", "  gate3: not judged, for the gate before was not", UNKNOWN]),
        ([answer(**UNJUDGED)], ("gate2",), ["  gate2: not judged: no evidence", UNKNOWN]),
        ([answer(settings=("x",)), answer("gate3", **UNJUDGED)], ("gate2", "gate3"),
         ["gate2 with x", "  gate2: judged, no outcome changes", "  gate3: not judged: no evidence",
          "no outcome changes at any gate that was judged"]),
        ([answer(settings=("x",))], ("gate2", "gate3"),
         ["gate2 with x", "  gate2: judged, no outcome changes", "  gate3: not judged, for the gate before was not",
          "no outcome changes at any gate that was judged"]),
        ([answer(settings=("x",), changes=(CHANGE,)), answer("gate3", **UNJUDGED)], (),
         ["gate2 with x", "  gate2: a: stopped -> goes on", "  gate3: not judged: no evidence"]),
    ],
)  # fmt: skip
def test_gates_are_told_from_the_first_that_is_asked_about(
    answers: list[GateAnswer], gates: tuple[str, ...], told: list[str]
) -> None:
    assert list(lines(answers, gates)) == [*told, END]


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (fates("ab", "a"), fates("cab", "ca"), ["c: no candidate -> goes on"]),
        (fates("ab", "a"), fates("dcab", "a"), ["c: no candidate -> stopped", "d: no candidate -> stopped"]),
        (fates("cab", "ca"), fates("ab", "a"), ["c: goes on -> no candidate"]),
        (fates("dcab", "a"), fates("ab"), ["c: stopped -> no candidate", "d: stopped -> no candidate"]),
        (fates("ab"), fates("cab", "c"), ["c: no candidate -> goes on"]),
        (fates("ab"), fates("cab"), ["c: no candidate -> judged"]),
        (fates("cab"), fates("ab"), ["c: judged -> no candidate"]),
        (fates("ab"), fates("bc"), ["c: no candidate -> judged", "a: judged -> no candidate"]),
    ],
)
def test_candidates_that_only_one_case_has_are_told(was: Fates, now: Fates, told: list[str]) -> None:
    shown = list(lines([answer(settings=("x",), was=was, now=now, changes=(CHANGE,))]))
    assert shown == ["gate2 with x", "  gate2: a: stopped -> goes on", *(f"  gate2: {line}" for line in told), END]


def test_a_gate_that_only_the_what_if_reaches_is_judged_without_a_comparison() -> None:
    shown = list(lines([answer(settings=("x",), was=None, changes=(CHANGE,))]))
    assert shown == ["gate2 with x", "  gate2: a: stopped -> goes on", END]


def test_the_answer_as_json_is_indented_by_one(workspace: Path, promotion: Command) -> None:
    text = promotion("what_if", "gate3.R7.k=3", "--json")
    assert text == json.dumps(json.loads(text), indent=1) + "\n"
