"""What a gate's page says in words where there is no decision to speak of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.pages import gate_text


def gate(**changes: Any) -> Any:
    values: dict[str, Any] = {"title": "Gate 3", "why_empty": "", "decision": None, "blocked": False, "final": False}
    return SimpleNamespace(**{**values, **changes})


@pytest.mark.parametrize("why", ["gate 2 is blocked", "gate 2 promoted no candidate"])
def test_a_gate_without_candidates_says_why(why: str) -> None:
    assert gate_text.heading(gate(why_empty=why)) == "Gate 3: no candidates"
    assert gate_text.lead(gate(why_empty=why)) == [f"Gate 3 has no candidates: {why}."]


def test_a_gate_that_has_not_decided_is_not_called_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_text, "_undecided", lambda _: ["not decided"])
    assert gate_text.heading(gate()) == "Gate 3: not decided"
    assert gate_text.lead(gate()) == ["not decided"]
