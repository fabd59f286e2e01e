"""The stage of a gate: who is a candidate, what it writes, what it says, and what an exploratory study changes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from stages import gate
from stages.domain import decision, files, names, promotions
from stages.domain.contract import read_open
from stages.domain.errors import Invalid, Refused
from tests.report import broken


def main(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gate.py", *words])
    gate.main()


def read_decision(name: str) -> decision.Decision:
    return decision.parse_decision(names.decision_path(name).read_bytes(), name, "")


@pytest.mark.parametrize("words", [(), ("rung1", "rung2"), ("../rung1",)])
def test_other_words_are_refused(words: tuple[str, ...], judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as refused:
        main(monkeypatch, *words)
    assert str(refused.value) == "usage: python -m stages.gate RUNG"


def test_the_tickets_of_the_first_rung_are_everybodys_and_later_those_of_the_gate_before(judged: Path) -> None:
    everybody = dict.fromkeys(["d1-c000", "d2-c001", "d3-c002", "d4-c003"], "true")
    assert gate.read_tickets(read_open("rung1")) == everybody
    assert gate.read_tickets(read_open("rung4")) == everybody | {"d1-c000": "false"}


@pytest.mark.parametrize("number", range(1, 6))
def test_a_gate_writes_its_decision_and_tickets_and_says_nothing(
    number: int, judged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = (names.decision_path(f"gate{number}"), names.promotions_path(f"gate{number}"))
    before = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    main(monkeypatch, f"rung{number}")
    assert [path.read_bytes() for path in paths] == before
    assert capsys.readouterr() == ("", "")


def test_who_has_no_ticket_is_no_candidate(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_decision("gate4").candidates == ["d2-c001", "d3-c002", "d4-c003"]
    assert read_decision("gate5").candidates == ["d3-c002", "d4-c003"]


def test_a_blocked_gate_promotes_nobody_and_says_why(
    judged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names.record_path("rung2/d3-c002/cpu-fp32/2000").unlink()
    main(monkeypatch, "rung2")
    assert read_decision("gate2").blocked_by == ["R1"]
    assert set(promotions.read(names.promotions_path("gate2")).values()) == {"false"}
    assert capsys.readouterr().err == (
        "gate2 is blocked and promotes nobody:\n"
        "  R1 must hold: Every candidate has a run in every cell.\n"
        "    d3-c002: does not hold, observed 1 against 2 (missing: cpu-fp32/2000)\n"
    )


def explore(root: Path, change: Any) -> None:
    broken.params(root, lambda value: (value["study"].update(mode="exploratory"), change(value)))


def test_an_exploratory_study_decides_by_its_own_rules_and_its_tickets_train_nothing(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = read_decision("gate3")
    assert frozen.promoted == ["d2-c001", "d3-c002", "d4-c003"]
    explore(judged, lambda value: value["gates"]["gate3"].update(R7={"kind": "top_k", "k": 4, "by": "mean"}))
    main(monkeypatch, "rung3")
    outcome = read_decision("gate3")
    assert (outcome.mode, outcome.frozen_promoted) == ("exploratory", frozen.promoted)
    tickets = promotions.read(names.promotions_path("gate3"))
    assert {name: ticket for name, ticket in tickets.items() if ticket != "true"} == {
        name: "what-if" if name in outcome.promoted else "false" for name in tickets if name not in frozen.promoted
    }


def test_an_exploratory_study_decides_by_its_own_roles(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(value: dict[str, Any]) -> None:
        value["gates"]["gate3"] = {
            "R1": {"kind": "keep_role", "role": "sentinel"}, "R2": {"kind": "top_k", "k": 1, "by": "mean"}
        }  # fmt: skip
        value["roles"]["sentinel"] = "d1-c000"

    explore(judged, change)
    main(monkeypatch, "rung3")
    assert "d1-c000" in read_decision("gate3").promoted
    assert promotions.read(names.promotions_path("gate3"))["d1-c000"] == "what-if"


def test_a_ticket_of_a_what_if_makes_a_candidate(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = promotions.read(names.promotions_path("gate3")) | {"d1-c000": "what-if"}
    files.write_whole(names.promotions_path("gate3"), promotions.dumps(tickets))
    explore(judged, lambda value: None)
    main(monkeypatch, "rung4")
    assert read_decision("gate4").candidates == ["d1-c000", "d2-c001", "d3-c002", "d4-c003"]


def test_a_rule_of_an_exploratory_study_that_is_none_is_refused_at_its_place(
    judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explore(judged, lambda value: value["gates"]["gate3"]["R7"].update(kind="best"))
    with pytest.raises(Invalid, match=r"^params\.yaml: gates\.gate3"):
        main(monkeypatch, "rung3")
