"""What each rule says, whole: candidate, what was observed, threshold, margin, whether it holds, and the note."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from stages.domain.evidence import Evidence, gather
from stages.domain.judge import Finding, judge_rules
from stages.domain.records import Record
from tests.domain.test_judge import CELLS, FLAT, HOSTS, contract, evidence, floor, record, with_resolution
from tests.support.contracts import make_contract

Row = tuple[str, Any, Any, Any, bool | None, str]


def rows_of(findings: Iterable[Finding]) -> list[Row]:
    return [
        (finding.candidate, finding.observed, finding.threshold, finding.margin, finding.holds, finding.note)
        for finding in findings
    ]


def rows(rule: dict[str, Any], scores: dict[str, list[float]], **kwargs: Any) -> list[Row]:
    return rows_of(judge_rules(evidence({"R1": rule}, scores, **kwargs))["R1"])


SHORT = {**FLAT, "cmp": [1.01, 1.01, 1.01]}


@pytest.mark.parametrize(
    ("rule", "scores", "expected"),
    [
        ({"kind": "complete_cells"}, {"ref": [1.0]}, [("ref", 1, 4, -3, False, "missing: h1/32, h2/31, h2/32")]),
        ({"kind": "complete_cells"}, {"ref": [1.0] * 4}, [("ref", 4, 4, 0, True, "")]),
        ({"kind": "fixed_runner"}, {"ref": []}, [("ref", None, None, None, None, "no run")]),
        ({"kind": "fixed_runner"}, {"ref": [1.0]}, [("ref", 0, 0, 0, True, "")]),
        ({"kind": "diverged"}, {"ref": []}, [("ref", None, 1, None, None, "no run")]),
        ({"kind": "diverged"}, {"ref": [1.0]}, [("ref", 0, 1, -1, False, "")]),
        (
            {"kind": "keep_role", "role": "reference"},
            {"ref": [1.0], "cmp": [1.0]},
            [("cmp", None, None, None, False, ""), ("ref", None, None, None, True, "reference")],
        ),
        (
            {"kind": "within_gap", "gap": 0.02},
            SHORT,
            [
                ("cmp", None, Fraction(1, 50), None, None, "not every cell finished"),
                ("ref", 0, Fraction(1, 50), Fraction(1, 50), True, ""),
                ("sen", Fraction(3, 100), Fraction(1, 50), Fraction(-1, 100), False, ""),
            ],
        ),
        (
            {"kind": "exceeds_gap", "gap": 0.03},
            SHORT,
            [
                ("cmp", None, Fraction(3, 100), None, None, "not every cell finished"),
                ("ref", 0, Fraction(3, 100), Fraction(-3, 100), False, ""),
                ("sen", Fraction(3, 100), Fraction(3, 100), 0, False, ""),
            ],
        ),
        (
            {"kind": "exceeds_gap", "gap": 0.01, "of": "comparator"},
            SHORT,
            [
                ("cmp", None, Fraction(1, 100), None, None, "not every cell finished"),
                ("ref", None, Fraction(1, 100), None, None, "the comparator has no mean here"),
                ("sen", None, Fraction(1, 100), None, None, "the comparator has no mean here"),
            ],
        ),
        (
            {"kind": "first_in_all_cells", "role": "reference"},
            {**FLAT, "sen": [1.0, 1.03, 0.9, 1.03]},
            [("ref", 2, 4, -2, False, "not first in: h1/31, h2/31")],
        ),
        (
            {"kind": "first_in_all_cells", "role": "reference"},
            SHORT,
            [("ref", None, 4, None, None, "not every cell of every candidate finished")],
        ),
        (
            {"kind": "first_in_all_cells", "role": "comparator"},
            SHORT,
            [("cmp", None, 4, None, None, "not every cell of every candidate finished")],
        ),
        (
            {"kind": "first_in_all_cells", "role": "reference"},
            {"cmp": [1.0] * 4},
            [("ref", None, None, None, None, "the reference is no candidate here")],
        ),
        (
            {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.02},
            {**FLAT, "cmp": [0.99] * 4},
            [("cmp", Fraction(-1, 100), Fraction(1, 50), Fraction(1, 100), True, "against ref")],
        ),
        (
            {"kind": "mean_gap", "role": "comparator", "to": "reference", "most": 0.02},
            {**FLAT, "cmp": [0.99] * 4},
            [("cmp", Fraction(-1, 100), Fraction(1, 50), Fraction(3, 100), True, "against ref")],
        ),
        (
            {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.02},
            SHORT,
            [
                (
                    *("cmp", None, Fraction(1, 50), None, None),
                    "the comparator (cmp) has no full set of finished cells at this rung",
                )
            ],
        ),
        (
            {"kind": "mean_gap", "role": "comparator", "to": "reference", "most": 0.02},
            {"ref": [1.0], "cmp": [1.0]},
            [
                (
                    *("cmp", None, Fraction(1, 50), None, None),
                    "the comparator (cmp) and the reference (ref) has no full set of finished cells at this rung",
                )
            ],
        ),
        (
            {"kind": "min_host_agreement", "tau": 0.25},
            FLAT,
            [("*", 1, Fraction(1, 4), Fraction(3, 4), True, "h1 and h2")],
        ),
        (
            {"kind": "min_host_agreement", "tau": 1.0},
            SHORT,
            [("*", 1, 1, 0, True, "h1 and h2")],
        ),
        (
            {"kind": "min_host_agreement", "tau": 0.25},
            {"ref": [1.0] * 4, "cmp": [1.01] * 3},
            [("*", None, Fraction(1, 4), None, None, "h1 and h2: fewer than two comparable candidates")],
        ),
        (
            {"kind": "above_noise_floor"},
            FLAT,
            [("*", None, None, None, True, "no threshold in val_bpb at this gate")],
        ),
    ],
)
def test_a_rule_says_what_it_saw_whole(rule: dict[str, Any], scores: Any, expected: list[Row]) -> None:
    assert rows(rule, scores) == expected


@pytest.mark.parametrize(
    ("rule", "scores", "expected"),
    [
        (
            {"kind": "top_k", "k": 1},
            {"a": [1.0] * 4, "b": [1.25] * 4, "c": [1.5] * 4, "d": [1.0]},
            [
                ("a", 1, Fraction(5, 4), Fraction(1, 4), True, "rank 1 of 3"),
                ("b", Fraction(5, 4), 1, Fraction(-1, 4), False, "rank 2 of 3"),
                ("c", Fraction(3, 2), 1, Fraction(-1, 2), False, "rank 3 of 3"),
                ("d", None, None, None, None, "not every cell finished"),
            ],
        ),
        (
            {"kind": "top_k", "k": 2},
            {"a": [1.0] * 4, "b": [1.25] * 4, "c": [1.25] * 4},
            [
                ("a", 1, Fraction(5, 4), Fraction(1, 4), True, "rank 1 of 3"),
                ("b", Fraction(5, 4), Fraction(5, 4), 0, True, "rank 2 of 3, tie broken by name"),
                ("c", Fraction(5, 4), Fraction(5, 4), 0, False, "rank 3 of 3, tie broken by name"),
            ],
        ),
        (
            {"kind": "top_k", "k": 2},
            {"a": [1.0] * 4, "b": [1.25] * 4},
            [("a", 1, None, None, True, "rank 1 of 2"), ("b", Fraction(5, 4), None, None, True, "rank 2 of 2")],
        ),
        (
            {"kind": "top_k", "k": 1, "by": "each_host"},
            {"a": [1.0, 1.0, 1.5, 1.5], "b": [1.25, 1.25, 1.0, 1.0], "c": [2.0, 2.0, 1.75, 1.75]},
            [
                ("a", 1, Fraction(5, 4), Fraction(1, 4), True, "rank 1 of 3 on h1"),
                ("b", 1, Fraction(3, 2), Fraction(1, 2), True, "rank 1 of 3 on h2"),
                ("c", Fraction(7, 4), 1, Fraction(-3, 4), False, "rank 3 of 3 on h2"),
            ],
        ),
        (  # inside on both hosts: what is told is the host on which it is surer; on one of them there is no cut at all
            {"kind": "top_k", "k": 1, "by": "each_host"},
            {"a": [1.0, 1.0, 1.5, 1.5], "b": [1.25, 1.25]},
            [("a", Fraction(3, 2), None, None, True, "rank 1 of 1 on h2"), ("b", Fraction(5, 4), 1, Fraction(-1, 4), False, "rank 2 of 2 on h1")],
        ),
    ],
)  # fmt: skip
def test_a_cut_is_told_by_rank_and_by_how_far_the_other_side_is(
    rule: dict[str, Any], scores: Any, expected: list[Row]
) -> None:
    assert rows(rule, scores) == expected


@pytest.mark.parametrize(
    ("apart", "note"), [(0.001, ""), (0.000999, ", a tie across the cut: closer than the resolution")]
)
def test_scores_as_far_apart_as_the_resolution_are_no_tie_across_the_cut(apart: float, note: str) -> None:
    scores = {"ref": [1.0] * 4, "cmp": [1.0 + apart] * 4}
    findings = judge_rules(with_resolution(0.001, {"R1": {"kind": "top_k", "k": 1}}, scores))["R1"]
    assert [finding.note for finding in findings] == [f"rank 2 of 2{note}", f"rank 1 of 2{note}"]


def reporting(environments: dict[tuple[str, str, int], dict[str, str] | None]) -> list[Record]:
    """The runs of two candidates, each with torch 2.13 as its environment but for those told."""
    return [
        record(name, host, seed, 1.0, environment=environments.get((name, host, seed), {"torch": "2.13"}))
        for name in ("cmp", "ref")
        for host, seed in CELLS
    ]


@pytest.mark.parametrize(
    ("others", "floor_reports", "expected"),
    [
        ({}, {"torch": "2.13"}, [("*", 0, 0, 0, True, ""), ("*", 0, 0, 0, True, "")]),
        (
            {("ref", "h2", 31): {"torch": "2.12", "device": "x"}},
            {"torch": "2.13"},
            [("*", 0, 0, 0, True, ""), ("*", 1, 0, -1, False, "h2: device x, torch 2.12 | torch 2.13")],
        ),
        (
            {},
            {"torch": "2.14"},
            [("*", 1, 0, -1, False, "h1: torch 2.13 | torch 2.14"), ("*", 0, 0, 0, True, "")],
        ),
        (
            {("ref", "h2", 31): None},
            {"torch": "2.13"},
            [
                ("*", 0, 0, 0, True, ""),
                ("*", None, 0, None, None, "h2: runs report no environment; name facts in hosts.h2.report"),
            ],
        ),
        (
            {("ref", "h2", 31): {}},
            None,
            [
                ("*", None, 0, None, None, "h1: runs report no environment; name facts in hosts.h1.report"),
                ("*", None, 0, None, None, "h2: runs report no environment; name facts in hosts.h2.report"),
            ],
        ),
    ],
)
def test_an_environment_is_told_for_every_host_with_its_floor_runs(
    others: Any, floor_reports: dict[str, str] | None, expected: list[Row]
) -> None:
    floor_run = record("ref", "h1", 900, 1.0, purpose="floor", environment=floor_reports)
    under = contract({"R1": {"kind": "fixed_environment"}}, (900,))
    gathered = gather(under, ["ref", "cmp"], [*reporting(others), floor_run])
    assert rows_of(judge_rules(gathered)["R1"]) == expected


def test_a_host_without_a_run_has_no_environment_to_compare() -> None:
    under = contract({"R1": {"kind": "fixed_environment"}})
    note = "{0}: runs report no environment; name facts in hosts.{0}.report"
    assert rows_of(judge_rules(gather(under, ["ref"], []))["R1"]) == [
        ("*", None, 0, None, None, note.format(host)) for host in HOSTS
    ]


def test_a_noise_floor_is_told_for_every_host_with_its_runs() -> None:
    gate = {
        "R1": {"kind": "above_noise_floor", "multiple": 3.0},
        "R2": {"kind": "mean_gap", "role": "comparator", "to": "reference", "most": 0.02},
        "R3": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.05},
    }
    runs = floor({"h1": [1.0, 1.01, 1.02], "h2": [1.0]})
    findings = judge_rules(evidence(gate, FLAT, extra=runs, floor_seeds=(900, 901, 902)))["R1"]
    assert rows_of(findings) == [
        ("*", Fraction(1, 50), Fraction(3, 100), Fraction(-1, 100), False, "h1: 3 A/A runs"),
        ("*", Fraction(1, 50), None, None, None, "h2: fewer than two finished A/A runs"),
    ]


def test_runs_of_the_noise_floor_count_for_the_reference_alone() -> None:
    runs = [record("ref", "h1", 900, 1.0, purpose="floor", runner="d" * 64)]
    found = rows({"kind": "fixed_runner"}, {"ref": [1.0] * 4, "cmp": [1.0] * 4}, extra=runs, floor_seeds=(900,))
    assert found == [
        ("cmp", 0, 0, 0, True, ""),
        ("ref", 1, 0, -1, False, f"another runner: {runs[0].id}"),
    ]


def spent(config: str, seed: int, seconds: object, purpose: str = "candidate") -> Record:
    facts = {"score": 1.5, "printed": "1.5", "reported": {"seconds": seconds}}
    return record(config, "h1", seed, None, facts=facts, purpose=purpose)


def test_the_seconds_of_a_budget_are_the_most_of_any_run_the_noise_floor_included() -> None:
    runs = [spent("ref", 31, 9.5), spent("ref", 32, 10.25), spent("cmp", 31, 10.75), spent("cmp", 32, None)]
    rule = {"kind": "budget_kept", "tolerance": 0.05}
    limit = Fraction(21, 2)
    assert rows(rule, {"ref": [], "cmp": []}, extra=runs) == [
        ("cmp", None, None, None, None, "rung3/cmp/h1/32 reports no seconds"),
        ("ref", Fraction(41, 4), limit, Fraction(1, 4), True, ""),
    ]
    runs += [spent("ref", 900, 11.0, "floor")]
    assert rows(rule, {"ref": []}, extra=runs, floor_seeds=(900,)) == [
        ("ref", 11, limit, Fraction(-1, 2), False, ""),
    ]
    assert rows(rule, {"cmp": [], "sen": []}, extra=[runs[2]], floor_seeds=(900,)) == [
        ("cmp", Fraction(43, 4), limit, Fraction(-1, 4), False, ""),
        ("sen", None, None, None, True, "no finished run"),
    ]


@pytest.mark.parametrize(
    ("statuses", "rule", "expected"),
    [
        ([("diverged", "loss 9"), ("failed", None)], "diverged", (1, 1, 0, True, "diverged: h1/31 (loss 9)")),
        ([("diverged", "loss 9"), ("failed", None)], "failed", (1, 1, 0, True, "failed: h1/32")),
        ([("failed", "memory"), ("failed", None)], "failed", (2, 1, 1, True, "failed: h1/31 (memory), h1/32")),
    ],
)
def test_runs_that_went_wrong_are_counted_and_named_with_their_reason(
    statuses: list[tuple[str, str | None]], rule: str, expected: tuple[Any, ...]
) -> None:
    runs = [
        record("ref", host, seed, None, status=status, reason=reason)
        for (host, seed), (status, reason) in zip(CELLS, statuses, strict=False)
    ]
    assert rows({"kind": rule}, {"ref": []}, extra=runs) == [("ref", *expected)]


def one_host(rules: dict[str, Any]) -> Evidence:
    under = replace(make_contract("rung3", rules=rules), seeds=(31,))
    return gather(under, ["a"], [record("a", "h1", 31, 1.0)])


def test_one_host_has_none_to_agree_with() -> None:
    findings = judge_rules(one_host({"R1": {"kind": "min_host_agreement", "tau": 0.5}}))["R1"]
    assert rows_of(findings) == [("*", None, Fraction(1, 2), None, None, "there is one host only")]
