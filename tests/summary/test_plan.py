"""What a study can cost at most: whom gates can let through, and every count and hour that follows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stages.domain.rules import parse_rules
from stages.domain.study import parse_bytes
from stages.summary.accounting import UNRUN
from stages.summary.plan import most_candidates, most_promoted, plan
from tests.support import synthetic

ROLES = {"reference": "a", "comparator": "b", "same": "a"}
TOP_3 = {"kind": "top_k", "k": 3, "by": "mean"}
EACH_2 = {"kind": "top_k", "k": 2, "by": "each_host"}
WITHIN = {"kind": "within_gap", "gap": 0.1, "of": "best"}


def keep(role: str) -> dict[str, str]:
    return {"kind": "keep_role", "role": role}


@pytest.mark.parametrize(
    ("rules", "candidates", "most"),
    [
        ([{"kind": "complete_cells"}], 9, 0),
        ([TOP_3], 9, 3),
        ([TOP_3], 2, 2),
        ([EACH_2], 9, 6),
        ([TOP_3, EACH_2], 20, 9),
        ([keep("reference")], 9, 1),
        ([keep("reference"), keep("same")], 9, 1),
        ([keep("reference"), keep("comparator"), TOP_3], 9, 5),
        ([TOP_3, WITHIN], 9, 9),
    ],
)
def test_a_gate_lets_through_at_most_what_its_rules_name_together(rules, candidates, most):
    gate = parse_rules({f"R{n}": rule for n, rule in enumerate(rules, 1)}, "x")
    assert most_promoted(gate, candidates, 3, ROLES) == most


def study(**changes: Any) -> Any:
    """Three rungs of 6, 12 and 36 s on two hosts, of five configurations; 2 A/A seeds at the second."""
    value = synthetic.params(5)
    value["roles"] = {"reference": "d1-c000"}
    rungs = [(6.0, [1], []), (12.0, [2, 3], [8, 9]), (36.0, [4, 5, 6], [])]
    value["rungs"] = {
        f"rung{n}": {"budget_seconds": seconds, "seeds": seeds, "floor_seeds": floor}
        for n, (seconds, seeds, floor) in enumerate(rungs, 1)
    }
    first = {"R1": {"kind": "keep_role", "role": "reference"}, "R2": {"kind": "top_k", "k": 2, "by": "mean"}}
    last = {"R1": {"kind": "first_in_all_cells", "role": "reference"}}
    value["gates"] = {"gate1": first, "gate2": {"R1": {"kind": "top_k", "k": 1, "by": "each_host"}}, "gate3": last}
    return parse_bytes(json.dumps({**value, **changes}).encode(), "params.yaml")


def test_every_count_and_hour_of_a_plan_is_a_bound_from_the_rules_alone():
    known = study()
    assert most_candidates(known) == {"rung1": 5, "rung2": 3, "rung3": 2}
    assert plan(known).to_json() == {
        "schema": 1,
        "study": "synthetic",
        "clock": "rated",
        "unit": "device-hours",
        "bound": "at most",
        "rungs": {
            "rung1": {
                "budget_seconds": 6.0, "cells": 2, "candidates": 5, "runs": 10, "floor_runs": 0,
                "hours": 0.016666667, "floor_hours": 0.0, "hosts": {"cpu-fp32": 0.008333333, "cpu-bf16": 0.008333333},
            },
            "rung2": {
                "budget_seconds": 12.0, "cells": 4, "candidates": 3, "runs": 12, "floor_runs": 4,
                "hours": 0.04, "floor_hours": 0.013333333, "hosts": {"cpu-fp32": 0.026666667, "cpu-bf16": 0.026666667},
            },
            "rung3": {
                "budget_seconds": 36.0, "cells": 6, "candidates": 2, "runs": 12, "floor_runs": 0,
                "hours": 0.12, "floor_hours": 0.0, "hosts": {"cpu-fp32": 0.06, "cpu-bf16": 0.06},
            },
        },
        "totals": {
            "runs": 34, "floor_runs": 4, "hours": 0.176666667, "floor_hours": 0.013333333,
            "screening_hours": 0.056666667, "last_rung_hours": 0.12,
            "hosts": {"cpu-fp32": 0.095, "cpu-bf16": 0.095},
        },
        "counterfactuals": [
            {
                "from_rung": rung, "candidates": candidates, "hours": hours,
                "text": f"All {candidates} candidates of {rung} at rung3: {candidates} × 6 cells × 0.01 h = {hours:.2g} "
                f"device-hours. {UNRUN}",
            }
            for rung, candidates, hours in (("rung1", 5, 0.3), ("rung2", 3, 0.18))
        ],
    }  # fmt: skip
