"""What a row, a note or a verdict of `promotion status` says and in which colour, for every state that it can have."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from stages.cli import build_parser
from stages.commands import status
from stages.confidence import stored
from stages.domain.decision import Decision, RankedCandidate, RuleOutcome
from stages.domain.errors import Invalid
from stages.domain.files import sha256_bytes
from stages.status import RungStatus, TimeLeft


def make_rule(**changes: Any) -> RuleOutcome:
    fields: dict[str, Any] = {
        "id": "R4", "kind": "near_equivalent", "effect": "verdict", "applies_to": ["a"], "holds": True,
        "text": "The comparator is near.", "results": [],
    }  # fmt: skip
    return RuleOutcome.model_construct(**fields | changes)


def make_finding(observed: float | None, threshold: float | None = None) -> Any:
    return SimpleNamespace(observed=observed, threshold=threshold)


def make_decision(**changes: Any) -> Decision:
    fields: dict[str, Any] = {
        "gate": "gate2", "rung": "rung2", "mode": "frozen", "lock": "0" * 64, "outcome": "decided", "blocked_by": [],
        "candidates": ["a", "b"], "promoted": ["a"], "stopped": {}, "promoted_by": {}, "verdicts": {}, "ranking": [],
        "rules": [], "floor": {}, "evidence": {},
    }  # fmt: skip
    return Decision.model_construct(**fields | changes)


def make_lock(*reasons: str, last: bool = False) -> Any:
    amendments = [SimpleNamespace(reason=reason) for reason in reasons]
    return SimpleNamespace(digest="0123456789abcdef", frozen=SimpleNamespace(amendments=amendments, last=last))


def make_row(**changes: Any) -> RungStatus:
    fields: dict[str, Any] = {
        "rung": "rung2", "gate": "gate2", "budget_seconds": 60.0, "cells": 4, "candidates": ("a", "b"), "most": 3,
        "done": 7, "declared": 8, "floor_done": 1, "floor_declared": 2, "closed": None, "lock": make_lock(),
        "changed": (), "decision": make_decision(),
    }  # fmt: skip
    return RungStatus(**fields | changes)


def plain(cell: Any) -> str:
    """A cell with its colours, as rich's markup."""
    return cell if isinstance(cell, str) else f"[{cell.style}]{cell.plain}" if cell.style else cell.markup


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({}, ["rung2", "1 min", "0123456789", "2", "7/8", "1/2", "[green]decided", "1"]),
        (
            {"lock": None, "candidates": None, "declared": None, "floor_declared": 0, "decision": None},
            ["rung2", "1 min", "[yellow]not frozen", "at most 3", "", "", "not frozen", ""],
        ),
        (
            {"lock": make_lock("why"), "closed": "x", "decision": None},
            ["rung2", "1 min", "[yellow]0123456789", "2", "7/8", "1/2", "waiting", ""],
        ),
        (
            {"lock": make_lock("why"), "changed": ("seeds",), "decision": make_decision(outcome="blocked", promoted=[])},
            ["rung2", "1 min", "[red]0123456789", "2", "7/8", "1/2", "[red]blocked", "nobody"],
        ),
        (
            {"decision": make_decision(mode="exploratory", promoted=["a", "b"])},
            ["rung2", "1 min", "0123456789", "2", "7/8", "1/2", "[yellow]what-if", "all 2"],
        ),
        (
            {"decision": make_decision(mode="exploratory", outcome="blocked", promoted=[])},
            ["rung2", "1 min", "0123456789", "2", "7/8", "1/2", "[red]blocked", "nobody"],
        ),
        (
            {"candidates": None, "decision": make_decision(promoted=["a", "b"])},
            ["rung2", "1 min", "0123456789", "at most 3", "7/8", "1/2", "[green]decided", "2"],
        ),
    ],
)  # fmt: skip
def test_a_rung_is_a_row_whose_colours_say_what_to_look_at(changes: dict[str, Any], cells: list[str]) -> None:
    assert [plain(cell) for cell in status._format_row(make_row(**changes))] == cells


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"lock": make_lock(last=True)}, "the last gate"),
        ({"lock": make_lock(last=True), "decision": make_decision(promoted=[], outcome="blocked")}, "nobody"),
        ({"lock": None}, "nobody"),
        ({"lock": make_lock(last=True), "decision": make_decision(promoted=[], verdicts={"R1": None})}, "verdicts"),
    ],
)
def test_a_gate_that_promotes_nobody_says_why(changes: dict[str, Any], word: str) -> None:
    assert status._format_promoted(make_row(**{"decision": make_decision(promoted=[])} | changes)) == word


def test_a_lock_has_a_note_for_what_changed_and_for_every_amendment() -> None:
    row = make_row(lock=make_lock("a disk\nfailed", "again"), changed=("seeds", "rules.R1.k"))
    assert [note.markup for note in status._list_lock_notes(row)] == [
        "[red]gate2 was frozen otherwise[/red]: seeds, rules.R1.k",
        r"[yellow]gate2 was amended[/yellow]: a disk\nfailed",
        "[yellow]gate2 was amended[/yellow]: again",
    ]
    assert status._list_lock_notes(make_row(lock=None)) == []


def test_every_verdict_is_told_in_its_colour_and_no_other_rule() -> None:
    rules = [make_rule(id=f"R{n}", results=[make_finding(n / 2)]) for n in (1, 2, 3)]
    decision = make_decision(
        rules=[*rules, make_rule(id="R4", effect="promote")], verdicts={"R1": True, "R2": False, "R3": None}
    )
    rows = [make_row(decision=None), make_row(decision=decision)]
    assert [line.markup for line in status._list_verdicts(rows)] == [
        "gate2 R1 [green]holds[/green]: the comparator is near (observed 0.5)",
        "gate2 R2 [red]fails[/red]: the comparator is near (observed 1)",
        "gate2 R3 [yellow]cannot be evaluated[/yellow]: the comparator is near (observed 1.5)",
    ]


FIRST = {"kind": "first_in_all_cells", "text": "The reference is first in every cell."}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "the comparator is near"),
        ({"text": "They are near."}, "They are near"),
        ({"text": "The one.\nThe other"}, r"the one.\nThe other"),
        ({"results": [make_finding(None), make_finding(0.0), make_finding(2.0)]}, "the comparator is near (observed 0)"),
        ({**FIRST, "results": [make_finding(3, 4)]}, "the reference is first in 3 of 4 cells"),
        ({**FIRST, "results": [make_finding(1, 1)]}, "the reference is first in 1 of 1 cell"),
        ({**FIRST, "results": [make_finding(3)]}, "the reference is first in every cell (observed 3)"),
        ({**FIRST, "results": [make_finding(None, 4)]}, "the reference is first in every cell"),
        ({**FIRST, "text": "The reference is first.", "results": [make_finding(3, 4)]},
         "the reference is first (observed 3)"),
        ({"text": FIRST["text"], "results": [make_finding(3, 4)]}, "the reference is first in every cell (observed 3)"),
    ],
)  # fmt: skip
def test_a_verdict_says_what_was_observed(changes: dict[str, Any], told: str) -> None:
    assert status._say_verdict(make_rule(**changes)) == told


@pytest.mark.parametrize(
    ("decision", "winner"),
    [
        (None, None),
        (make_decision(), None),
        (make_decision(outcome="blocked", ranking=["x"]), None),
        (
            make_decision(
                ranking=[
                    RankedCandidate.model_construct(config="b", mean=1.5),
                    RankedCandidate.model_construct(config="a", mean=1.0),
                ]
            ),
            ("b", 1.5),
        ),
    ],
)
def test_the_first_of_the_last_ranking_leads_unless_its_gate_is_blocked(decision: Any, winner: Any) -> None:
    assert status._find_winner([make_row(), make_row(decision=decision)]) == winner


def make_confidence(hangs_on: tuple[str, ...] = (), **candidates: int) -> Any:
    return SimpleNamespace(
        gates={gate: SimpleNamespace(candidates=number) for gate, number in candidates.items()},
        how_sure=SimpleNamespace(short="Likely.", hangs_on=hangs_on),
        what_next=SimpleNamespace(text="Go on."),
    )


def test_how_sure_is_told_of_the_same_decisions_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(result: Any, *rows: RungStatus) -> list[str]:
        monkeypatch.setattr(stored, "read", lambda root: result)
        return status._list_confidence(list(rows))

    known, empty = make_row(), make_row(decision=make_decision(candidates=[]))
    both = ["How sure? Likely.", "What next? Go on."]
    other = "How sure? artifacts/confidence/confidence.json is of other decisions; `dvc repro confidence` brings it up to date"
    assert told(None, known) == []
    assert told(make_confidence(gate2=2), known) == both
    assert told(make_confidence(gate2=2), known, empty, make_row(decision=None)) == both
    assert told(make_confidence(("x", "y"), gate2=2), known) == ["How sure? Likely. (x; y)", both[1]]
    assert told(make_confidence(gate2=3), known) == [other]
    assert told(make_confidence(gate2=2, gate3=1), known) == [other]
    assert told(make_confidence(gate2=3), make_row(decision=None)) == both

    def fail(root: Path) -> Any:
        raise Invalid("broken")

    monkeypatch.setattr(stored, "read", fail)
    assert status._list_confidence([known]) == ["How sure? broken"]


def make_study(**changes: Any) -> Any:
    about = {"title": "A title", "mode": "frozen", "from_": None} | changes
    return SimpleNamespace(
        study=SimpleNamespace(**about), clock=SimpleNamespace(kind="rated"), runner={"kind": "builtin"}
    )


def test_everything_that_can_be_told_comes_in_its_order_and_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = make_decision(
        gate="gate1", outcome="blocked", blocked_by=["R1"], promoted=[], rules=[make_rule(id="R1", effect="require")]
    )
    ranking = [RankedCandidate.model_construct(config="b", mean=1.25)]
    what_if = make_decision(mode="exploratory", ranking=ranking, rules=[make_rule()], verdicts={"R4": True})
    rows = [
        make_row(rung="rung1", gate="gate1", decision=blocked, lock=make_lock("why")),
        make_row(decision=what_if),
    ]
    origin = SimpleNamespace(gate="gate3", study="before", commit="0123456789abcdef")
    monkeypatch.setattr(status, "fill_from_ledger", lambda study, rungs: [*rungs])
    monkeypatch.setattr(status, "why_blocked", lambda decision: ["R1 must hold"])
    monkeypatch.setattr(status, "list_training", lambda: [("rung1/a", 2.6)])
    monkeypatch.setattr(status, "estimate_time_left", lambda study, rungs: "time left: 5 s")
    monkeypatch.setattr(status, "find_next_step", lambda study, rungs: ("why not", "dvc repro"))
    monkeypatch.setattr(status, "_list_confidence", lambda rungs: ["How sure?"])
    monkeypatch.setattr(status, "_list_hindsight", lambda rungs: ["Hindsight"])
    study = make_study(from_=origin, mode="exploratory")

    def show(rungs: list[RungStatus]) -> list[str]:
        out = io.StringIO()
        status.show(
            study,
            rungs,
            Console(
                file=out, width=100, force_terminal=True, color_system="standard", legacy_windows=False, highlight=False
            ),
        )
        lines = out.getvalue().replace("\x1b[", "<").splitlines()
        assert [line.split("│")[1].strip() for line in lines if line[:1] == "│"] == [row.rung for row in rungs]
        return [line for line in lines if line[:1] not in "┏┃┡│└"]

    yellow, red, green, bold, end = "<33m", "<31m", "<32m", "<1m", "<0m"
    notes = [
        "goes on from gate3 of before, commit 0123456789ab",
        f"{yellow}study.mode is exploratory: what the gates say now is a what-if and never evidence{end}",
        f"{yellow}gate1 was amended{end}: why",
        f"{yellow}gate2 decided by rules that nobody froze: a what-if{end}",
        f"{red}gate1 is blocked{end} and promotes nobody:",
        "  R1 must hold",
        "gate2 promoted a",
        f"gate2 R4 {green}holds{end}: the comparator is near",
        "trains now: rung1/a, last heard of 3 s ago",
        f"lowest mean at rung2: {bold}b{end}, val_bpb 1.250000",
        "How sure?",
        "Hindsight",
        "time left: 5 s",
        f"next: why not: {bold}dvc repro{end}",
    ]
    shown = show(rows)
    assert shown[0].startswith(f"{bold}A title (rated clock) ")
    assert shown[1:] == notes
    study = make_study()
    monkeypatch.setattr(status, "fill_from_ledger", lambda study, rungs: [replace(row, done=8) for row in rungs])
    monkeypatch.setattr(status, "estimate_time_left", lambda study, rungs: None)
    everybody = make_row(decision=make_decision(promoted=["a", "b"]))
    assert show([everybody])[1:] == [
        "from the ledger: the artifacts are not here",
        "trains now: rung1/a, last heard of 3 s ago", "How sure?", "Hindsight", notes[-1],
    ]  # fmt: skip


def test_a_result_of_hindsight_is_of_the_decision_with_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = cast("Any", SimpleNamespace(to_bytes=lambda: b"line\n"))
    result = SimpleNamespace(decision=sha256_bytes(b"line\n"), text="It was found.")
    monkeypatch.setattr(status.hindsight_results, "read", lambda root: result)
    rows = [make_row(), make_row(decision=decision)]
    assert status._list_hindsight(rows) == ["Hindsight: It was found."]
    assert "is of another decision" in status._list_hindsight(rows[:1] * 2 + [make_row(decision=None)])[0]


@pytest.mark.parametrize("known", [True, False])
def test_status_as_json_holds_what_is_known_and_null_for_the_rest(known: bool, monkeypatch, capsys) -> None:
    origin = SimpleNamespace(model_dump=lambda: {"study": "before"})
    left = TimeLeft("rung2", 2, 30.0, 5, ())
    monkeypatch.setattr(status, "load", lambda: make_study(name="mine", from_=origin if known else None))
    monkeypatch.setattr(status, "read_status", lambda study: [make_row()])
    monkeypatch.setattr(status, "find_next_step", lambda study, rungs: ("why not", "dvc repro"))
    monkeypatch.setattr(status, "estimate_time_left", lambda study, rungs: left if known else None)
    monkeypatch.setattr(status, "list_training", lambda: [("rung1/a", 2.649)] * known)
    assert status.run(build_parser("status").parse_args(["status", "--json"])) == 0
    value = {
        "schema": 1,
        "study": "mine",
        "mode": "frozen",
        "clock": "rated",
        "from": {"study": "before"} if known else None,
        "rungs": [make_row().to_json()],
        "training_now": [{"run": "rung1/a", "heard_seconds_ago": 2.6}] * known,
        "time_left": {"rung": "rung2", "runs": 2, "seconds": 30.0, "rests_on": 5, "unknown": []} if known else None,
        "next": {"why": "why not", "command": "dvc repro"},
    }
    assert capsys.readouterr().out == json.dumps(value, indent=1) + "\n"
