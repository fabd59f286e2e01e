"""Evidence: which records count, what is averaged over what, and numbers that are exact until they are written."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from stages.domain.evidence import as_number, gather, tau_b
from tests.domain.test_judge import CELLS, FLAT, contract, evidence, record, with_resolution


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        (Fraction(0), 0.0),
        (Fraction(1, 3), 0.333333333),
        (Fraction(2, 3), 0.666666667),
        (Fraction(-1, 3), -0.333333333),
        (Fraction(5, 10**10), 0.0),
        (Fraction(15, 10**10), 2e-09),
        (Fraction(25, 10**10), 2e-09),
        (Fraction(-5, 10**10), 0.0),
        (Fraction(-15, 10**10), -2e-09),
        (Fraction(5_000_000_001, 10**19), 1e-09),
        (Fraction(7), 7.0),
    ],
)
def test_a_number_is_written_with_nine_decimals_rounded_half_to_even(
    value: Fraction | None, number: float | None
) -> None:
    assert as_number(value) == number


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([], [], None),
        ([1.0], [1.0], None),
        ([1.0, 1.0], [1.0, 2.0], None),
        ([1.0, 2.0], [3.0, 3.0], None),
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0], [2.0, 1.0], -1.0),
        ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0], 0.333333333),
        ([1.0, 1.0, 2.0], [1.0, 2.0, 3.0], 0.816496581),
        ([1.0, 2.0, 3.0], [1.0, 1.0, 2.0], 0.816496581),
        ([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0], 1.0),
        ([1.0, 1.0, 2.0, 3.0], [2.0, 2.0, 1.0, 1.0], -0.894427191),
        ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0], 0.333333333),
        ([1.0, 2.0, 3.0, 4.0], [3.0, 1.0, 4.0, 2.0], 0.0),
    ],
)
def test_the_agreement_of_two_rankings_is_kendalls_tau_b(
    first: list[float], second: list[float], tau: float | None
) -> None:
    assert tau_b(first, second) == tau
    assert str(tau_b(first, second)) == str(tau)  # and no minus before a zero


def test_rankings_of_different_length_are_no_rankings_of_the_same_things() -> None:
    with pytest.raises(ValueError, match="zip"):
        tau_b([1.0, 2.0], [1.0])


SCORES = {"a": [1.0, 2.0, 3.0, 5.0], "b": [2.0] * 4, "c": [1.0, 1.0, 4.0], "d": []}


def test_a_mean_is_over_all_cells_or_those_of_a_host_and_wants_every_one_of_them() -> None:
    e = evidence({}, SCORES)
    names = list(SCORES)
    assert [e.mean(name) for name in names] == [Fraction(11, 4), 2, None, None]
    assert [e.mean(name, "h1") for name in names] == [Fraction(3, 2), 2, 1, None]
    assert [e.mean(name, "h2") for name in names] == [4, 2, None, None]
    assert (e.mean("a", "h9"), e.mean("nobody")) == (None, None)
    assert [e.worst_host(name) for name in names] == [4, 2, None, None]
    assert [e.value("a", by) for by in ("mean", "worst_host")] == [Fraction(11, 4), 4]
    assert e.value("a", "each_host", "h1") == Fraction(3, 2)
    assert (e.ranking(), e.ranking("each_host", "h1")) == (["b", "a"], ["c", "a", "b"])
    assert {name: len(cells) for name, cells in e.scores.items()} == {"a": 4, "b": 4, "c": 3, "d": 0}
    assert [run.id for run in e.of("c")] == ["rung3/c/h1/31", "rung3/c/h1/32", "rung3/c/h2/31"]
    assert e.mean("a") == Fraction(11, 4)  # asked twice


def test_a_mean_of_thirds_of_a_cent_is_exact() -> None:
    assert evidence({}, {"a": [1.1, 1.2, 1.3, 1.000001]}).mean("a") == Fraction(4_600_001, 4_000_000)


def test_a_gap_is_one_role_less_the_other_and_needs_both() -> None:
    e = evidence({}, {"ref": [1.0] * 4, "cmp": [1.25] * 4, "sen": [1.0]})
    assert e.paired_gap("comparator", "reference") == Fraction(1, 4)
    assert e.paired_gap("reference", "comparator") == Fraction(-1, 4)
    assert (e.paired_gap("sentinel", "reference"), e.paired_gap("reference", "sentinel")) == (None, None)


def test_lower_is_lower_by_the_resolution_at_least() -> None:
    exact, rounded = evidence({}, FLAT), with_resolution(0.5, {}, FLAT)
    assert (exact.resolution, rounded.resolution) == (0, Fraction(1, 2))
    one, two, near = Fraction(1), Fraction(3, 2), Fraction(5, 4)
    assert [exact.is_lower(one, other) for other in (two, near, one)] == [True, True, False]
    assert [rounded.is_lower(one, other) for other in (two, near, one)] == [True, False, False]
    assert not exact.is_lower(two, one)


def floor_run(host: str, seed: int, value: float | None, **changes: Any) -> Any:
    return record("ref", host, seed, value, purpose="floor", **changes)


def test_a_noise_floor_is_the_sample_variance_of_finished_runs_of_its_host() -> None:
    runs = [
        floor_run("h1", 900, 1.0),
        floor_run("h1", 901, 1.5),
        floor_run("h2", 900, 1.0),
        floor_run("h2", 901, None, status="diverged", facts={"steps": 1}),
    ]
    e = evidence({}, FLAT, extra=runs, floor_seeds=(900, 901))
    assert (e.noise_floor("h1"), e.noise_floor("h2"), e.noise_floor("h9")) == ((2, Fraction(1, 8)), None, None)


def test_only_what_was_trained_for_this_rung_under_this_lock_and_asked_for_is_evidence() -> None:
    good = record("a", "h1", 31, 1.0)
    floor = [floor_run("h2", 900, 1.0), floor_run("h1", 901, 1.0), floor_run("h1", 900, 1.0)]
    others = [
        record("a", "h1", 32, None, status="stopped"),
        record("a", "h1", 32, 1.0, rung="rung2", gate="gate2"),
        record("a", "h1", 32, 1.0, lock="d" * 64),
        record("a", "h9", 32, 1.0),
        record("a", "h1", 33, 1.0),
        record("z", "h1", 32, 1.0),
        record("a", "h1", 900, 1.0, purpose="floor"),
        floor_run("h1", 902, 1.0),
    ]
    e = gather(contract({}, (900, 901)), ["b", "a"], [good, *others, *floor])
    assert e.candidates == ("a", "b")
    assert e.runs == {("a", ("h1", 31)): good}
    assert e.floor == (floor[2], floor[1], floor[0])


def test_a_host_alone_has_its_own_runs_and_no_rule_that_compares_hosts() -> None:
    rules = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "min_host_agreement", "tau": 0.5}}
    runs = [floor_run("h1", 900, 1.0), floor_run("h2", 900, 1.0)]
    e = evidence(rules, FLAT, extra=runs, floor_seeds=(900,))
    alone = e.only_host("h2")
    assert (list(alone.rules), list(e.rules)) == (["R1"], ["R1", "R2"])
    assert list(alone.contract.hosts) == ["h2"]
    assert alone.candidates == e.candidates
    assert set(alone.runs) == {(name, cell) for name in FLAT for cell in CELLS if cell[0] == "h2"}
    assert alone.floor == (runs[1],)
