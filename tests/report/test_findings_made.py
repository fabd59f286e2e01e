"""Confidence and hindsight as the pages find them: stored, made anew, or missing with the reason."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from report import confidence, hindsight
from report.confidence import Confidence, find_confidence, readable
from report.hindsight import HindsightView, find_hindsight
from stages.domain import formatting


def files(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "confidence": None, "hindsight": [("r", "line")], "locks": {"gate1": SimpleNamespace(lock="L")}, "runs": {"x": SimpleNamespace(record="R")},
        "decisions": {"gate1": SimpleNamespace(decision="D")}, "study": SimpleNamespace(configs={"b": 0, "a": 0}),
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gate3 and rung12", "gate 3 and rung 12"),
        ("gate5.R8, x-gate3, gate3-x and my.gate3", "gate5.R8, x-gate3, gate3-x and my.gate3"),
        ("at gate3. So -1", f"at gate 3. So {formatting.MINUS}1"),
        ("subgate3 gate3x", "subgate3 gate3x"),
    ],
)
def test_gates_and_rungs_are_set_apart_where_they_are_words(text: str, shown: str) -> None:
    assert readable(text) == shown


def test_a_stored_result_is_taken_as_it_is() -> None:
    result: Any = SimpleNamespace(gates={"gate1": "known"})
    found = find_confidence(files(confidence=result))
    assert found == Confidence(result, "")
    assert (found.gate("gate1"), found.gate("gate2"), Confidence(None, "why").gate("gate1")) == ("known", None, None)


def test_a_result_is_made_from_locks_records_and_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setitem(
        sys.modules, "stages.confidence.study", SimpleNamespace(assess=lambda *told: given.append(told) or "made")
    )
    monkeypatch.setattr(confidence.stored, "to_bytes", lambda result: f"bytes of {result}")
    monkeypatch.setattr(confidence.stored, "from_bytes", lambda data: f"result of {data}")
    assert find_confidence(files()) == Confidence("result of bytes of made", "")  # type: ignore[arg-type]
    assert given == [({"gate1": "L"}, ["R"], {"gate1": "D"})]


def test_without_the_libraries_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stages.confidence.study", "stages.confidence.hindsight"):
        monkeypatch.setitem(sys.modules, name, None)
    remedy = confidence.stored.REMEDY
    assert find_confidence(files()) == Confidence(
        None, f"no artifacts/confidence/confidence.json is here, and it cannot be made without stages.confidence.study; {remedy}",
    )  # fmt: skip
    missing = "what ledger/hindsight.jsonl says cannot be told without stages.confidence.hindsight"
    assert find_hindsight(files()) == HindsightView(None, missing)


def test_hindsight_is_nothing_a_reason_or_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    answers = ["it came after another decision", SimpleNamespace(kind="result")]
    fake = SimpleNamespace(assess_hindsight=lambda *told: given.append(told) or answers[len(given) - 1])
    monkeypatch.setitem(sys.modules, "stages.confidence.hindsight", fake)
    monkeypatch.setattr(hindsight, "to_bytes", lambda result: f"bytes of {result.kind}")
    monkeypatch.setattr(hindsight, "from_bytes", lambda data: f"result of {data}")
    assert find_hindsight(files()) == HindsightView(None, "it came after another decision")
    assert find_hindsight(files()) == HindsightView("result of bytes of result", "")  # type: ignore[arg-type]
    assert given[0] == (["a", "b"], {"gate1": "L"}, ["R"], {"gate1": "D"}, ["r"])
    assert find_hindsight(files(hindsight=[])).missing.startswith(
        "nothing was trained in hindsight. Once the last gate has decided"
    )
    assert len(given) == 2
