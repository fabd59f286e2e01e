"""Whom an extension may take on from a gate."""

from __future__ import annotations

from typing import Any

import pytest

from stages.domain.decision import decide
from stages.domain.origin import who_may_go_on
from tests.domain.test_judge import FLAT, evidence

COMPLETE = {"R1": {"kind": "complete_cells"}}
TOP = {"R2": {"kind": "top_k", "k": 1}}
STOP = {"R3": {"kind": "exceeds_gap", "gap": 0.02}}
SHORT = {**FLAT, "cmp": [1.0]}


@pytest.mark.parametrize(
    ("rules", "scores", "same_budget", "names"),
    [
        (TOP, FLAT, True, ["cmp", "ref", "sen"]),
        (TOP, FLAT, False, ["ref"]),
        (COMPLETE | TOP, SHORT, True, ["cmp", "ref", "sen"]),
        (COMPLETE | TOP, SHORT, False, []),
        (STOP, FLAT, False, ["cmp", "ref"]),
        (COMPLETE | STOP, FLAT, False, ["cmp", "ref"]),
        (COMPLETE | STOP, SHORT, False, []),
        (COMPLETE, FLAT, False, ["cmp", "ref", "sen"]),
    ],
)
def test_a_study_takes_what_a_gate_judged_or_promoted_or_did_not_stop(
    rules: Any, scores: Any, same_budget: bool, names: list[str]
) -> None:
    assert who_may_go_on(decide(evidence(rules, scores)), same_budget=same_budget) == names
