"""What a gate's page says in words: its heading, what it decided or what it waits for, its noise and its chain."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.chain import Chain
from report.gates import NoiseScale
from report.pages import gate_text
from report.prose import Prose, Span
from stages.confidence.results import Noise


def gate(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "title": "Gate 3", "name": "gate3", "rung": "rung3", "rung_title": "Rung 3", "why_empty": "", "decision": None, "blocked": False,
        "final": False, "missing": [], "cells": [1, 2], "what_if": False, "entry": None,
    }  # fmt: skip
    return SimpleNamespace(**{**values, **changed})


def decision(candidates: int = 0, promoted: int = 0, **changed: Any) -> Any:
    names = [f"c{n:02}" for n in range(1, candidates + 1)]
    return SimpleNamespace(**{"candidates": names, "promoted": names[:promoted], "blocked_by": []} | changed)


def words(parts: Prose) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in parts)


@pytest.mark.parametrize("why", ["gate 2 is blocked", "gate 2 promoted no candidate"])
def test_a_gate_without_candidates_says_why(why: str) -> None:
    assert gate_text.heading(gate(why_empty=why)) == "Gate 3: no candidates"
    assert gate_text.lead(gate(why_empty=why)) == [f"Gate 3 has no candidates: {why}."]


@pytest.mark.parametrize(
    ("changed", "heading", "lead"),
    [
        ({}, "Gate 3: not decided", "No decision is recorded for this gate."),
        ({"missing": ["r1"]}, "Gate 3: not decided", "1 run of this rung is missing: r1."),
        ({"missing": ["r1", "r2", "r3"]}, "Gate 3: not decided", "3 runs of this rung are missing: r1, r2, r3."),
        (
            {"missing": ["r1", "r2", "r3", "r4"]},
            "Gate 3: not decided",
            "4 runs of this rung are missing: r1, r2, r3 and others.",
        ),
        (
            {"decision": decision(2, blocked_by=["R1", "R4"]), "blocked": True},
            "Gate 3: blocked",
            "Blocked by R1, R4: no candidate is promoted until what it requires holds.",
        ),
        (
            {"decision": decision(3), "final": True},
            "Gate 3: final verdicts",
            "The last gate promotes no candidate: it judged 3 candidates on 2 cells each and gave the final verdicts.",
        ),
        ({"decision": decision(3)}, "Gate 3: 3 → 0", "3 candidates were judged on 2 cells each; no candidate goes on."),
        (
            {"decision": decision(1, 1), "cells": [1]},
            "Gate 3: 1 → 1",
            "1 candidate was judged on 1 cell each; 1 goes on: c01.",
        ),
        ({"decision": decision(2, 2)}, "Gate 3: 2 → 2", "2 candidates were judged on 2 cells each; 2 go on: c01, c02."),
        (
            {"decision": decision(9, 9)},
            "Gate 3: 9 → 9",
            "9 candidates were judged on 2 cells each; 9 go on: c01, c02, c03, c04, c05, c06, c07, c08, c09.",
        ),
        (
            {"decision": decision(10, 10)},
            "Gate 3: 10 → 10",
            "10 candidates were judged on 2 cells each; 10 go on: c01, c02, c03, c04, c05, c06, c07, c08 and 2 more.",
        ),
    ],
)
def test_a_gate_says_what_it_decided_or_what_it_waits_for(changed: dict[str, Any], heading: str, lead: str) -> None:
    view = gate(**changed)
    assert (gate_text.heading(view), words(gate_text.lead(view))) == (heading, lead)


def test_a_rule_that_blocks_is_a_link_and_an_id_is_code() -> None:
    blocked = gate_text.lead(gate(decision=decision(blocked_by=["R1", "R4"]), blocked=True))
    assert blocked[1:4] == [Span("R1", "#R1"), ", ", Span("R4", "#R4")]
    assert Span("r1", tag="code") in gate_text.lead(gate(missing=["r1"]))


FLOOR = Noise("floor", "rung2", True, (), (), 0, "")


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        (None, ""),
        (Noise("none", None, False, (), (), 0, ""), ""),
        (FLOOR, " The redraws under “How sure?” use the A/A runs of rung 2, with the noise of each host."),
        (
            Noise("replication", "rung3", False, (), (), 0, ""),
            " The redraws under “How sure?” use another noise, that between the seeds of this rung's own cells (replication).",
        ),
    ],
)
def test_the_noise_that_distances_are_divided_by_is_told_apart_from_that_of_the_redraws(
    noise: Noise | None, text: str
) -> None:
    assert words(gate_text.noise_note(NoiseScale("gate2", "rung2", 0.25), noise)) == (
        "“Distance / noise” divides the distance from the opposite outcome, all other candidates as they are, by the "
        "largest standard deviation of the A/A floor of gate 2 (0.250000): below about 2, luck could have decided."
        + text
    )


def chain(**changed: Any) -> Chain:
    values: dict[str, Any] = {
        "gate": "gate3", "state": "frozen", "digest": "d" * 64, "previous": None, "amendments": 0, "records": 2, "committed": 2,
        "named": 2, "same": 2, "decision_lock": "d" * 64, "changed": {},
    }  # fmt: skip
    return Chain(**values | changed)


class Line:
    """A line of the ledger."""

    md5 = "m"

    def __str__(self) -> str:
        return "ledger, line 3"


@pytest.mark.parametrize(
    ("changed", "view", "lock", "records", "told"),
    [
        (
            {},
            {},
            f"locks/gate3.yaml, SHA-256 of the frozen rules {'d' * 64}",
            "✓ 2 of 2 executed records of rung 3 name this digest; every record with its line and md5",
            "✓ names this lock and 2 records by md5, of which 2 are the ledger's; ledger, line 3, md5 m",
        ),
        (
            {"previous": "e" * 64, "changed": {"seeds": {}, "rules.R7.k": {}}, "committed": 1, "faults": ("x",), "same": 1, "named": 1},
            {},
            f"locks/gate3.yaml, SHA-256 of the frozen rules {'d' * 64}; it names the lock before it, {'e' * 12}params.yaml has "
            "moved on from it in seeds and rules.R7.k",
            "✕ 1 of 2 executed records of rung 3 names this digest; every record with its line and md5",
            "✕ names this lock and 1 record by md5, of which 1 is the ledger's; ledger, line 3, md5 m",
        ),
        (
            {"records": 1, "committed": 1, "state": "what-if", "decision_lock": "f"},
            {"what_if": True},
            f"locks/gate3.yaml, SHA-256 of the frozen rules {'d' * 64}",
            "✓ 1 of 1 executed record of rung 3 names this digest; every record with its line and md5",
            "— names another lock, and decided by other rules than it holds and 2 records by md5, of which 2 are the ledger's; "
            "ledger, line 3, md5 m",
        ),
        ({"digest": None, "records": 0}, {"entry": None}, "missing", "none", "none yet"),
    ],
)  # fmt: skip
def test_each_link_of_a_chain_says_what_it_names_of_the_one_before(
    changed: dict[str, Any], view: dict[str, Any], lock: str, records: str, told: str
) -> None:
    entry = SimpleNamespace(line=Line())
    items = gate_text.chain_items(gate(**{"entry": entry} | view), chain(**changed))
    assert [(label, words(parts)) for label, parts in items] == [
        ("Lock", lock),
        ("Records", records),
        ("Decision", told),
    ]
