"""The promotion path step by step: states inside and outside a gate, the rules beside them, and the order of paths."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.decisions import Flip
from report.gates import Lead
from report.promotion_paths import PathStep, PromotionPath, _judged_step, _state_outside, build_paths

KINDS = {
    "R1": ("keep_role", "promote"),
    "R2": ("top_k", "promote"),
    "R3": ("within_gap", "promote"),
    "R8": ("exceeds_gap", "stop"),
}


def gate(number: int = 2, **changed: Any) -> Any:
    outcomes = {name: SimpleNamespace(id=name, kind=kind, effect=effect) for name, (kind, effect) in KINDS.items()}
    decision = SimpleNamespace(
        candidates=["a", "b", "c"], promoted=["a"], rules=list(outcomes.values()), rule=outcomes.get
    )
    rows = [SimpleNamespace(config=name, mean=1.0 + place, hosts={"h": 1.0}) for place, name in enumerate("ab")]
    values: dict[str, Any] = {
        "rung": f"rung{number}", "decision": decision, "blocked": False, "last": False, "ranking": rows, "before": None, "unrun": frozenset(),
        "rules_that_count": {}, "flips": SimpleNamespace(flip=lambda name: Flip(name, False, 0.5, "R3")),
    }  # fmt: skip
    return SimpleNamespace(**values | changed)


@pytest.mark.parametrize(
    ("config", "rank", "rules", "step"),
    [
        ("a", 1, {"promote": ("R2",)}, PathStep("rung2", "promoted", 1, 1.0, {"h": 1.0}, by=("R2",))),
        ("a", 1, {"promote": ("R1",)}, PathStep("rung2", "kept", 1, 1.0, {"h": 1.0}, by=("R1",))),
        (
            "a",
            1,
            {"promote": ("R1", "R2"), "stop": ("R8",)},
            PathStep("rung2", "kept", 1, 1.0, {"h": 1.0}, by=("R1", "R2"), against=("R8",)),
        ),
        ("b", 2, {}, PathStep("rung2", "stopped", 2, 2.0, {"h": 1.0}, unmet=("R2", "R3"), decisive="R3")),
        (
            "b",
            2,
            {"promote": ("R2",), "stop": ("R8",)},
            PathStep("rung2", "stopped", 2, 2.0, {"h": 1.0}, by=("R8",), unmet=("R3",), decisive="R8"),
        ),
        (
            "c",
            None,
            {"stop": ("R8",)},
            PathStep("rung2", "stopped", None, None, None, by=("R8",), unmet=("R2", "R3"), decisive="R8"),
        ),
    ],
)
def test_a_judged_candidate_has_its_state_and_the_rules_beside_it(
    config: str, rank: int | None, rules: dict[str, tuple[str, ...]], step: PathStep
) -> None:
    assert _judged_step(gate(rules_that_count={config: rules}), config, rank, None) == step


@pytest.mark.parametrize(
    ("rules", "by"),
    [
        ({"promote": ("R2",)}, ("R2",)),
        ({"promote": ("R2",), "stop": ("R8",)}, ("R8",)),
        ({"promote": ("R1", "R2"), "stop": ("R8",)}, ("R1", "R2")),
        ({"stop": ("R8",)}, ("R8",)),
        ({}, ()),
    ],
)
def test_at_a_blocked_gate_the_rules_are_those_that_would_have_decided(
    rules: dict[str, tuple[str, ...]], by: tuple[str, ...]
) -> None:
    reported = gate(blocked=True, rules_that_count={"b": rules})
    assert _judged_step(reported, "b", 2, None) == PathStep("rung2", "blocked", 2, 2.0, {"h": 1.0}, by=by)


@pytest.mark.parametrize(
    ("config", "rank", "lead", "state"),
    [
        ("a", 1, Lead("a", 1.0), "winner"),
        ("a", 1, Lead("a", 1.0, "b", 1.0, noise=1.0), "leader"),
        ("b", 2, Lead("a", 1.0, "b", 1.0), "finalist"),
        ("b", 2, Lead("a", 1.0, "b", 0.0, ("b",)), "tied"),
        ("c", None, Lead("a", 1.0), "missing"),
        ("a", 1, None, "missing"),
    ],
)
def test_at_the_last_gate_a_candidate_has_its_place(
    config: str, rank: int | None, lead: Lead | None, state: str
) -> None:
    step = _judged_step(gate(last=True), config, rank, lead)
    assert (step.state, step.unmet, step.decisive) == (state, (), None)


@pytest.mark.parametrize(
    ("decided", "before", "path", "state"),
    [
        (True, None, [], "absent"),
        (False, None, [], "waiting"),
        (True, ["b"], ["promoted"], "unrun"),
        (True, ["a"], ["stopped"], "absent"),
        (False, ["b"], ["promoted"], "waiting"),
        (False, ["a"], ["promoted"], "absent"),
        (False, None, ["waiting"], "waiting"),
        *((False, ["b"], [last], "absent") for last in ("absent", "stopped", "blocked", "unrun")),
        *((True, ["b"], [last], "absent") for last in ("absent", "stopped", "blocked", "unrun")),
    ],
)
def test_one_that_a_gate_does_not_name_is_absent_waits_or_was_not_run(
    decided: bool, before: list[str] | None, path: list[str], state: str
) -> None:
    earlier = SimpleNamespace(decision=None if before is None else SimpleNamespace(promoted=before))
    reported = gate(3, before=earlier, **({} if decided else {"decision": None}))
    assert _state_outside(reported, "b", [PathStep("rung2", each) for each in path]) == state
    if before is None:
        assert _state_outside(gate(1, **({} if decided else {"decision": None})), "b", []) == state


def test_paths_stand_by_rungs_reached_then_by_rank_then_by_name() -> None:
    study: Any = SimpleNamespace(
        configs=["a", "b", "c", "d", "e", "f"], roles={"sentinel": "b", "reference": "b", "comparator": "a"}
    )
    first = gate(1)
    first.decision.candidates, first.decision.promoted = ["a", "b", "c", "d", "e"], ["a", "b", "c", "d"]
    first.ranking = [SimpleNamespace(config=name, mean=1.0, hosts={}) for name in "abcd"]
    first.rules_that_count = {name: {"promote": ("R2",)} for name in "abcd"}
    second = gate(2, unrun=frozenset("d"), before=first, last=True)
    second.decision.candidates = ["a", "b", "c"]
    second.ranking = [SimpleNamespace(config="b", mean=1.0, hosts={})]
    paths = build_paths(study, [first, second], Lead("b", 1.0))
    assert list(paths) == ["b", "a", "c", "d", "e", "f"]
    assert [[step.state for step in path.steps] for path in paths.values()] == [
        ["promoted", "winner"], ["promoted", "missing"], ["promoted", "missing"], ["promoted", "unrun"], ["stopped", "absent"], ["absent", "absent"],
    ]  # fmt: skip
    assert [path.roles for path in paths.values()][:3] == [("sentinel", "reference"), ("comparator",), ()]
    assert [path.reached for path in paths.values()] == [2, 2, 2, 1, 1, 0]
    assert [path.last.rung if path.last else None for path in paths.values()] == [
        "rung2",
        "rung2",
        "rung2",
        "rung1",
        "rung1",
        None,
    ]


@pytest.mark.parametrize(
    ("state", "judged"), [("absent", False), ("waiting", False), ("unrun", False), ("blocked", True), ("missing", True)]
)
def test_only_a_candidate_that_its_gate_has_judged_counts(state: str, judged: bool) -> None:
    step = PathStep("rung1", state)
    assert (step.judged, PromotionPath("a", (), (step,)).reached) == (judged, int(judged))
