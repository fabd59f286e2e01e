"""What is asked of a rule besides its judgement: the roles that it speaks of, and its place among the others."""

from __future__ import annotations

from typing import Any

import pytest

from stages.domain.errors import Invalid
from stages.domain.rules import in_order, parse_rules, roles_named, say, threshold_in_bpb


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


BY = {"mean": "by mean over cells", "worst_host": "on its worst host", "each_host": "on any one host"}


@pytest.mark.parametrize(
    ("rule", "threshold", "sentence"),
    [
        ({"kind": "complete_cells"}, None, "Every candidate has a run in every cell."),
        ({"kind": "fixed_runner"}, None, "Every run was made by the frozen runner."),
        ({"kind": "fixed_data"}, None, "Every run was made on the frozen corpus."),
        ({"kind": "fresh_seeds"}, None, "Every seed is a declared one that no earlier rung used."),
        (
            {"kind": "fixed_environment"},
            None,
            "Inside each host block, every run reports the same environment.",
        ),
        (
            {"kind": "above_noise_floor"},
            None,
            "Every val_bpb threshold of this gate is at least 2 × the A/A noise floor.",
        ),
        ({"kind": "min_host_agreement", "tau": 0.5}, None, "Kendall's tau-b between any two hosts is at least 0.5."),
        ({"kind": "budget_kept"}, None, "No run took more than 5.0% over its budget, as its trainer reports it."),
        ({"kind": "keep_role", "role": "hero"}, None, "Promote the hero, whatever it scores."),
        *(({"kind": "top_k", "k": 3, "by": by}, None, f"Promote the best 3 {words}.") for by, words in BY.items()),
        ({"kind": "top_k", "k": 3}, None, "Promote the best 3 by mean over cells."),
        ({"kind": "within_gap", "gap": 0.02}, 0.02, "Promote what is at most 0.02 above the best by mean over cells."),
        (
            {"kind": "within_gap", "gap": 0.02, "of": "hero", "by": "worst_host"},
            0.02,
            "Promote what is at most 0.02 above the hero on its worst host.",
        ),
        ({"kind": "exceeds_gap", "gap": 1}, 1.0, "Stop what is more than 1 above the best by mean over cells."),
        ({"kind": "diverged"}, None, "Stop what diverged in any cell."),
        ({"kind": "failed"}, None, "Stop what failed in any cell."),
        ({"kind": "first_in_all_cells", "role": "hero"}, None, "The hero is first in every cell."),
        (
            {"kind": "near_equivalent", "role": "hero", "to": "foe", "margin": 0.01},
            0.01,
            "The hero is within 0.01 of the foe, by mean paired gap.",
        ),
        (
            {"kind": "mean_gap", "role": "hero", "to": "foe", "most": 0.01},
            0.01,
            "The hero is at most 0.01 above the foe, by mean paired gap.",
        ),
    ],
)
def test_a_rule_is_a_sentence_with_its_own_numbers(
    rule: dict[str, Any], threshold: float | None, sentence: str
) -> None:
    parsed = parse_rules({"R1": rule}, "test")["R1"]
    assert say(parsed) == sentence
    assert threshold_in_bpb(parsed) == threshold


@pytest.mark.parametrize("rule_id", ["R1", "R10", "R999"])
def test_a_rule_has_a_number(rule_id: str) -> None:
    assert list(parse_rules({rule_id: {"kind": "failed"}}, "test")) == [rule_id]


@pytest.mark.parametrize("rule_id", ["R0", "R01", "R1000", "r1", "R", "1", "R1 "])
def test_what_is_no_number_of_a_rule_is_refused(rule_id: str) -> None:
    with pytest.raises(Invalid, match="expected a rule id: R1 to R999"):
        parse_rules({rule_id: {"kind": "failed"}}, "test")
