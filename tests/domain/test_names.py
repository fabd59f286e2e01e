"""Names, and where everything lies that has one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.domain import names


@pytest.mark.parametrize(
    ("function", "arguments", "result"),
    [
        (names.is_name, ("a" * 64,), True),
        (names.is_name, ("a" * 65,), False),
        (names.is_name, ("",), False),
        (names.is_name, ("a.b-c_d",), True),
        (names.is_name, ("a..b",), False),
        (names.is_name, ("-a",), False),
        (names.is_name, ("a\n",), False),
        (names.is_name, ("aux",), False),
        (names.is_name, ("a.b", names.KEY), False),
        (names.is_name, ("a-b", names.KEY), True),
        (names.is_device, ("nul.txt",), True),
        (names.is_device, ("com0",), False),
        (names.is_device, ("com9",), True),
        (names.gate_of, ("rung12",), "gate12"),
        (names.rung_of, ("gate12",), "rung12"),
        (names.number_of, ("rung12",), 12),
        (names.number_of, ("gate3",), 3),
        (names.gate_before, ("rung1",), None),
        (names.gate_before, ("rung2",), "gate1"),
        (names.gate_before, ("rung12",), "gate11"),
        (names.promotions_path, ("gate2",), Path("artifacts/gates/gate2/promotions.json")),
        (names.decision_path, ("gate2",), Path("artifacts/gates/gate2/decision.json")),
        (names.knobs_path, ("a",), Path("artifacts/protocol/knobs/a.json")),
        (names.pipeline_folder, ("rung2",), Path("stages/ladder/rung2")),
        (names.pipeline_folder, ("rung2", "a"), Path("stages/ladder/rung2/a")),
        (names.run_id, ("rung2", "a", "h", 7), "rung2/a/h/7"),
        (names.run_id, ("rung2", "a", "h", 7, "candidate"), "rung2/a/h/7"),
        (names.run_id, ("rung2", "a", "h", 7, "floor"), "rung2/a/h/floor-7"),
        (names.run_id, ("rung2", "a", "h", 7, "hindsight"), "hindsight/a/h/7"),
        (names.record_path, ("rung2/a/h/7",), Path("artifacts/records/rung2/a/h/7.json")),
        (names.record_name, ("rung2/a/h/7",), "artifacts/records/rung2/a/h/7.json"),
        (names.record_name, ("hindsight/a/h/7",), "artifacts/hindsight/records/a/h/7.json"),
        (names.trace_path, ("rung2/a/h/7",), Path("artifacts/traces/rung2/a/h/7")),
        (names.trace_path, ("hindsight/a/h/7",), Path("artifacts/hindsight/traces/a/h/7")),
        (names.telemetry_path, ("rung2/a/h/7",), Path("artifacts/telemetry/rung2/a/h/7.json")),
        (names.lock_path, ("gate2",), Path("locks/gate2.yaml")),
    ],
)
def test_what_has_a_name_lies_at_its_place(
    function: Callable[..., object], arguments: tuple[Any, ...], result: object
) -> None:
    assert function(*arguments) == result
