"""Decisions: everything a gate records of its evidence, whole, and what is read back."""

from __future__ import annotations

from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.decision import (
    Decision,
    Judgment,
    RecordedFinding,
    _observation,
    decide,
    hand_out_tickets,
    parse_decision,
    why_blocked,
)
from stages.domain.errors import Invalid
from tests.domain.test_judge import FLAT, LOCK, evidence, record

GATE: dict[str, Any] = {
    "R1": {"kind": "complete_cells"},
    "R2": {"kind": "keep_role", "role": "sentinel"},
    "R10": {"kind": "top_k", "k": 1},
    "R3": {"kind": "exceeds_gap", "gap": 0.02},
    "R4": {"kind": "mean_gap", "role": "comparator", "to": "reference", "most": 0.005},
    "R5": {"kind": "first_in_all_cells", "role": "reference"},
    "R6": {"kind": "diverged"},
}


def finding(candidate: str, observed: Any, threshold: Any, margin: Any, holds: bool | None, note: str = "") -> Any:
    return {
        "candidate": candidate,
        "observed": observed,
        "threshold": threshold,
        "margin": margin,
        "holds": holds,
        "note": note,
    }


def rule(id_: str, kind: str, effect: str, text: str, *results: Any) -> dict[str, Any]:
    return {"id": id_, "kind": kind, "effect": effect, "text": text, "results": list(results)}


def test_a_decision_records_everything_that_it_stands_on() -> None:
    floors = [record("ref", "h1", seed, value, purpose="floor") for seed, value in ((900, 1.0), (901, 1.001))]
    e = evidence(GATE, FLAT, extra=floors, floor_seeds=(900, 901))
    assert decide(e).to_json() == {
        "schema": 1,
        "gate": "gate3",
        "rung": "rung3",
        "mode": "frozen",
        "lock": LOCK,
        "outcome": "decided",
        "blocked_by": [],
        "candidates": ["cmp", "ref", "sen"],
        "promoted": ["ref", "sen"],
        "stopped": {"cmp": {"by": [], "unmet": ["R2", "R10"]}},
        "promoted_by": {"ref": ["R10"], "sen": ["R2"]},
        "verdicts": {"R4": False, "R5": True},
        "ranking": [
            {"config": name, "mean": mean, "worst_host": mean, "hosts": {"h1": mean, "h2": mean}}
            for name, mean in (("ref", 1.0), ("cmp", 1.01), ("sen", 1.03))
        ],
        "rules": [
            rule(
                *("R1", "complete_cells", "require", "Every candidate has a run in every cell."),
                *(finding(name, 4.0, 4.0, 0.0, True) for name in ("cmp", "ref", "sen")),
            ),
            rule(
                *("R2", "keep_role", "promote", "Promote the sentinel, whatever it scores."),
                finding("cmp", None, None, None, False),
                finding("ref", None, None, None, False),
                finding("sen", None, None, None, True, "sentinel"),
            ),
            rule(
                *("R3", "exceeds_gap", "stop", "Stop what is more than 0.02 above the best by mean over cells."),
                finding("cmp", 0.01, 0.02, -0.01, False),
                finding("ref", 0.0, 0.02, -0.02, False),
                finding("sen", 0.03, 0.02, 0.01, True),
            ),
            rule(
                *("R4", "mean_gap", "verdict"),
                "The comparator is at most 0.005 above the reference, by mean paired gap.",
                finding("cmp", 0.01, 0.005, -0.005, False, "against ref"),
            ),
            rule(
                *("R5", "first_in_all_cells", "verdict", "The reference is first in every cell."),
                finding("ref", 4.0, 4.0, 0.0, True),
            ),
            rule(
                *("R6", "diverged", "stop", "Stop what diverged in any cell."),
                *(finding(name, 0.0, 1.0, -1.0, False) for name in ("cmp", "ref", "sen")),
            ),
            rule(
                *("R10", "top_k", "promote", "Promote the best 1 by mean over cells."),
                finding("cmp", 1.01, 1.0, -0.01, False, "rank 2 of 3"),
                finding("ref", 1.0, 1.01, 0.01, True, "rank 1 of 3"),
                finding("sen", 1.03, 1.0, -0.03, False, "rank 3 of 3"),
            ),
        ],
        "floor": {"h1": {"runs": 2, "variance": 5e-07}},
        "evidence": {run.id: run.md5 for run in sorted([*e.runs.values(), *floors], key=lambda run: run.id)},
    }


def test_a_blocked_gate_promotes_nobody_and_keeps_why_each_would_have_gone_on() -> None:
    blocked = decide(evidence(GATE, {**FLAT, "cmp": [1.0, 1.01, 1.01]}))
    assert blocked.blocked and blocked.outcome == "blocked"
    assert (blocked.blocked_by, blocked.promoted, blocked.promoted_by) == (["R1"], [], {})
    assert {name: (stop.by, stop.unmet) for name, stop in blocked.stopped.items()} == {
        "cmp": (["R3"], ["R2", "R10"]),
        "ref": ([], ["R2"]),
        "sen": (["R3"], ["R10"]),
    }
    assert blocked.verdicts == {"R4": None, "R5": None}
    assert not decide(evidence(GATE, FLAT)).blocked


def test_a_requirement_that_says_nothing_at_all_does_not_hold() -> None:
    nobody = decide(evidence({"R1": {"kind": "complete_cells"}}, {}))
    assert (nobody.outcome, nobody.blocked_by, nobody.rules[0].results) == ("blocked", ["R1"], [])
    assert Judgment(evidence({"R1": {"kind": "keep_role", "role": "sentinel"}}, FLAT)).promoted == ["sen"]


def test_an_exploratory_decision_says_whom_the_frozen_rules_promoted() -> None:
    e = evidence(GATE, FLAT)
    plain, shown = decide(e), decide(e, "exploratory", ["sen", "ref"])
    assert "frozen_promoted" not in plain.to_json() and plain.frozen_promoted is None
    assert shown.to_json() == {**plain.to_json(), "mode": "exploratory", "frozen_promoted": ["sen", "ref"]}
    assert decide(e, "exploratory", []).to_json()["frozen_promoted"] == []


def test_a_decision_reads_back_as_its_bytes_and_gives_its_rules_by_their_id() -> None:
    decision = decide(evidence(GATE, FLAT))
    read = parse_decision(decision.to_bytes(), "place", "a remedy")
    assert read == decision and read.to_bytes() == decision.to_bytes()
    found = read.rule("R10")
    assert found is not None and found.kind == "top_k"
    assert read.rule("R99") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.replace(b",", b", ", 1), r"^decisions\.jsonl: .*; make it anew$"),
        (lambda line: line.replace(b'"schema":1', b'"schema":2'), r"^decisions\.jsonl: .*schema.*make it anew$"),
        (lambda line: canonical.dumps([1]), r"^decisions\.jsonl: .*make it anew$"),
    ],
)
def test_what_is_no_decision_is_refused_with_what_mends_it(change: Any, message: str) -> None:
    with pytest.raises(Invalid, match=message):
        parse_decision(change(decide(evidence(GATE, FLAT)).to_bytes()), "decisions.jsonl", "make it anew")


@pytest.mark.parametrize(
    ("observed", "threshold", "holds", "note", "text"),
    [
        (3.0, 4.0, False, "missing: h1/31", "does not hold, observed 3 against 4 (missing: h1/31)"),
        (3.0, None, False, "", "does not hold, observed 3"),
        (None, 4.0, None, "", "cannot be evaluated"),
        (None, 4.0, None, "no run", "cannot be evaluated (no run)"),
        (0.5, 0.25, None, "", "cannot be evaluated, observed 0.5 against 0.25"),
    ],
)
def test_an_observation_that_blocks_reads_as_a_line(
    observed: float | None, threshold: float | None, holds: bool | None, note: str, text: str
) -> None:
    row = RecordedFinding(candidate="a", observed=observed, threshold=threshold, margin=None, holds=holds, note=note)
    assert _observation(row) == text


def test_as_many_failing_candidates_as_there_is_room_for_are_all_named() -> None:
    blocked = decide(evidence({"R1": {"kind": "complete_cells"}}, {name: [1.0] for name in "abcd"}))
    row = "does not hold, observed 1 against 4 (missing: h1/32, h2/31, h2/32)"
    head = "R1 must hold: Every candidate has a run in every cell."
    assert why_blocked(blocked) == [head, *(f"  {name}: {row}" for name in "abcd")]
    assert why_blocked(blocked, most=3) == [head, *(f"  {name}: {row}" for name in "abc"), "  and 1 more"]


def with_promoted(*names: str) -> Decision:
    return decide(evidence(GATE, FLAT)).model_copy(update={"promoted": list(names)})


def test_a_ticket_is_true_for_whom_the_frozen_rules_promote_and_what_if_for_whom_only_others_do() -> None:
    frozen, shown = with_promoted("ref", "sen"), with_promoted("cmp", "ref")
    configs = ["cmp", "ref", "sen", "gone"]
    assert hand_out_tickets(frozen, shown, configs) == {
        "cmp": "what-if",
        "ref": "true",
        "sen": "false",
        "gone": "false",
    }
    assert hand_out_tickets(frozen, frozen, configs) == {"cmp": "false", "ref": "true", "sen": "true", "gone": "false"}
