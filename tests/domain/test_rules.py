"""What is asked of a rule besides its judgement: the roles that it speaks of, and its place among the others."""

from __future__ import annotations

from typing import Any

import pytest

from stages.domain.rules import in_order, parse_rules, roles_named


@pytest.mark.parametrize(
    ("rule", "roles"),
    [
        ({"kind": "complete_cells"}, []),
        ({"kind": "keep_role", "role": "reference"}, ["reference"]),
        ({"kind": "mean_gap", "role": "sentinel", "to": "reference", "most": 0.02}, ["sentinel", "reference"]),
        ({"kind": "within_gap", "gap": 0.02, "by": "mean"}, []),
        ({"kind": "within_gap", "gap": 0.02, "by": "mean", "of": "best"}, []),
        ({"kind": "exceeds_gap", "gap": 0.02, "by": "mean", "of": "comparator"}, ["comparator"]),
    ],
)
def test_a_rule_names_the_roles_that_it_compares_and_the_best_is_none(rule: dict[str, Any], roles: list[str]) -> None:
    assert roles_named(parse_rules({"R1": rule}, "test")["R1"]) == roles


def test_rules_are_in_the_order_of_their_numbers() -> None:
    rules = parse_rules({f"R{n}": {"kind": "complete_cells"} for n in (10, 2, 1)}, "test")
    assert [name for name, _ in in_order(rules)] == ["R1", "R2", "R10"]
