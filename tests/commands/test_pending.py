"""What `promotion pending` says of a rung in one line."""

from __future__ import annotations

from typing import Any

import pytest

from stages.commands.pending import PendingRung


def rung(**changes: Any) -> PendingRung:
    values: dict[str, Any] = {
        "budget_seconds": 60.0, "closed": None, "decided": False, "done": 4, "floor_done": 0, "to_stop": 0, "to_train": {},
    }  # fmt: skip
    return PendingRung(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"closed": "gate2 has not decided"}, "waits: gate2 has not decided"),
        ({"to_train": {"a": ["x", "y"], "b": []}}, "4 runs done; its gate waits for 2 runs of a"),
        ({"done": 1, "floor_done": 2, "decided": True}, "1 run done, 2 A/A; judged"),
        (
            {"to_train": {"a": ["x"]}, "to_stop": 3},
            "4 runs done; its gate waits for 1 run of a, 3 records of stopped runs",
        ),
        ({}, "4 runs done; `dvc repro stages/ladder/rung3/dvc.yaml:gate`"),
    ],
)
def test_a_rung_says_what_is_done_and_what_its_gate_waits_for(changes: dict[str, Any], line: str) -> None:
    assert rung(**changes).format("rung3") == f"rung3  1 min: {line}"
