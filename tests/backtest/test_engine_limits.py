"""The vectorised rules on their limits, one by one, where a random ladder seldom lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.backtest import engine
from stages.backtest.curves import ABSENT, DIVERGED, FAILED, FINISHED
from stages.backtest.engine import FAILS, HOLDS, LAST, SILENT, UNKNOWN, Cells
from tests.backtest.test_engine import parse_rules

ROLES = {"reference": 0, "comparator": 1, "sentinel": 2}


def cells(
    scores: Any, *, there: Any = None, state: Any = None, floor: Any = None, fresh: bool = True, roles: Any = None
) -> Cells:
    """One ladder; scores and state of configuration x host x seed."""
    table = np.array(scores, dtype=np.int64)[None]
    candidates = np.array([[True] * table.shape[1] if there is None else there])
    return Cells(
        table, candidates, ROLES if roles is None else roles, None if state is None else np.array(state, dtype=np.int8)[None],
        None if floor is None else np.array(floor, dtype=np.int64)[None], fresh,
    )  # fmt: skip


def answer(rule: dict[str, Any], given: Cells, **others: dict[str, Any]) -> list[int]:
    gate = parse_rules({"R1": rule, **others})
    return engine.judge_gate(gate, given)["R1"][0].tolist()


GAP = {"kind": "within_gap", "gap": 0.000005}


@pytest.mark.parametrize(
    ("floor", "multiple", "expected"),
    [
        # two runs that differ by d have a variance of d^2 / 2: 2 x 5^2 = 50 is d = 10 at a multiple of 1 / root 2 ...
        ([[0, 7]], 1.0, HOLDS), ([[0, 8]], 1.0, FAILS),  # 24.5 and 32 against 25
        ([[0, 3]], 2.0, HOLDS), ([[0, 4]], 2.0, FAILS),  # 4.5 and 8 against 6.25
        ([[0, 10]], 0.7071067, HOLDS), ([[0, 10]], 0.7071069, FAILS),
        ([[0, 5, 10]], 1.0, HOLDS), ([[0, 5, 11]], 1.0, FAILS),  # 25 and 30.3 against 25
        ([[5, 5, 5]], 100.0, HOLDS),
        ([[0, 1 << 27]], 1.0, FAILS), ([[0, 1 << 40]], 1.0, FAILS), ([[1 << 40, 0]], 1.0, FAILS),
    ],
)  # fmt: skip
def test_the_smallest_threshold_is_held_against_the_deviation_of_the_floor(floor, multiple, expected):
    given = cells([[[1_000_000]], [[1_000_000]]], floor=floor)
    rule = {"kind": "above_noise_floor", "multiple": multiple}
    assert answer(rule, given, R2=GAP) == [expected]
    assert answer(rule, given, R2={**GAP, "gap": 1.0}, R3=GAP) == [expected], "of two thresholds the smaller"


def test_a_floor_of_one_run_says_nothing_on_any_host_and_no_threshold_needs_none():
    rule = {"kind": "above_noise_floor", "multiple": 1.0}
    two_hosts = [[[1], [1]], [[2], [2]]]
    assert answer(rule, cells(two_hosts), R2=GAP) == [UNKNOWN, UNKNOWN]
    assert answer(rule, cells(two_hosts, floor=[[1], [1]]), R2=GAP) == [UNKNOWN, UNKNOWN]
    assert answer(rule, cells(two_hosts, floor=[[0, 1], [0, 9]]), R2=GAP) == [HOLDS, FAILS]
    assert answer(rule, cells(two_hosts), R2={"kind": "top_k", "k": 1}) == [HOLDS]
    assert answer(rule, cells(two_hosts, floor=np.zeros((2, 0))), R2=GAP) == [UNKNOWN, UNKNOWN]


@pytest.mark.parametrize(
    ("state", "complete", "diverged", "failed"),
    [
        ([[[FINISHED], [FINISHED]]], HOLDS, FAILS, FAILS),
        ([[[FINISHED], [ABSENT]]], FAILS, FAILS, FAILS),
        ([[[ABSENT], [ABSENT]]], FAILS, UNKNOWN, UNKNOWN),
        ([[[FINISHED], [DIVERGED]]], HOLDS, HOLDS, FAILS),
        ([[[FAILED], [ABSENT]]], FAILS, FAILS, HOLDS),
        ([[[FAILED], [DIVERGED]]], HOLDS, HOLDS, HOLDS),
    ],
)
def test_what_became_of_the_runs_of_a_candidate(state, complete, diverged, failed):
    given = cells([[[5], [5]]], state=state, roles={})
    kinds = ("complete_cells", "diverged", "failed")
    assert [answer({"kind": kind}, given) for kind in kinds] == [[complete], [diverged], [failed]]
    assert [answer({"kind": kind}, cells([[[5], [5]]])) for kind in kinds] == [[HOLDS], [FAILS], [FAILS]]
    nobody = cells([[[5], [5]]], state=state, there=[False], roles={})
    assert [answer({"kind": kind}, nobody) for kind in kinds] == [[SILENT]] * 3


@pytest.mark.parametrize("fresh", [True, False])
def test_seeds_are_fresh_where_runs_are_drawn_anew(fresh):
    given = HOLDS if fresh else FAILS
    assert answer({"kind": "fresh_seeds"}, cells([[[5]], [[6]]], fresh=fresh, there=[True, False])) == [given, SILENT]
    state = [[[FINISHED]], [[ABSENT]]]
    assert answer({"kind": "fresh_seeds"}, cells([[[5]], [[6]]], fresh=fresh, state=state, roles={})) == [
        given,
        UNKNOWN,
    ]


def test_a_standing_is_a_sum_over_all_cells_or_over_those_of_the_worst_host():
    given = cells([[[1, 2], [5, 6]], [[4, 4], [4, 4]]])
    assert (given.cell_count, given.sums.tolist(), given.worst.tolist()) == (4, [[14, 16]], [[11, 8]])
    assert given.host_sums.tolist() == [[[3, 11], [8, 8]]]
    for by, sums, count in (("mean", [[14, 16]], 4), ("worst_host", [[11, 8]], 2)):
        standing = given.standing(by)
        assert (standing[0].tolist(), standing[1]) == (sums, count)


def test_a_candidate_is_known_where_it_finished_on_every_host():
    state = [[[FINISHED], [FINISHED]], [[FINISHED], [FAILED]], [[FINISHED], [FINISHED]]]
    given = cells([[[1], [1]]] * 3, state=state, there=[True, True, False])
    assert given.host_known.tolist() == [[[True, True], [True, False], [False, False]]]
    assert given.known.tolist() == [[True, False, False]]
    assert cells([[[1], [1]]] * 2, there=[True, False]).host_known.tolist() == [[[True, True], [False, False]]]


def test_among_the_best_are_so_many_and_nobody_without_a_value():
    keys = np.array([[3, 1, LAST, 2], [LAST, LAST, LAST, LAST]])
    for k, first in ((1, [1]), (2, [1, 3]), (3, [0, 1, 3]), (4, [0, 1, 3]), (9, [0, 1, 3])):
        inside = engine.among_best(keys, k)
        assert np.flatnonzero(inside[0]).tolist() == first
        assert not inside[1].any()


def test_ties_go_by_name_and_unknown_values_come_last():
    assert engine.ordered(np.array([[5, 5, 4]]), np.array([[True, True, False]])).tolist() == [[15, 16, LAST]]
    assert engine.leader(cells([[[5]], [[5]], [[4]]], there=[True, True, False])).tolist() == [0]
    assert engine.leader(cells([[[5]], [[4]]], there=[False, False])).tolist() == [-1]


@pytest.mark.parametrize(
    ("first", "second", "known", "tau"),
    [
        ([1, 2, 3], [1, 2, 3], [1, 1, 1], 1.0), ([1, 2, 3], [3, 2, 1], [1, 1, 1], -1.0),
        ([1, 2, 3], [1, 3, 2], [1, 1, 1], 0.333333333), ([1, 2, 3], [1, 3, 2], [1, 1, 0], 1.0),
        ([1, 2, 3], [1, 3, 2], [0, 1, 1], -1.0), ([1, 1, 2], [1, 2, 3], [1, 1, 1], 0.816496581),
        ([1, 1, 2], [1, 2, 3], [1, 1, 0], np.nan), ([1, 2, 3], [4, 4, 4], [1, 1, 1], np.nan), ([1, 2], [1, 2], [1, 0], np.nan),
    ],
)  # fmt: skip
def test_tau_b_is_over_those_whom_both_hosts_know(first, second, known, tau):
    [found] = engine.tau_b(np.array([first]), np.array([second]), np.array([known], dtype=bool))
    assert found == tau or (np.isnan(found) and np.isnan(tau))


@pytest.mark.parametrize(("tau", "expected"), [(0.333333333, HOLDS), (0.333333334, FAILS), (-1.0, HOLDS)])
def test_hosts_agree_from_the_threshold_on(tau, expected):
    scores = [[[1], [1]], [[2], [3]], [[3], [2]]]
    assert answer({"kind": "min_host_agreement", "tau": tau}, cells(scores)) == [expected]
    assert answer({"kind": "min_host_agreement", "tau": tau}, cells([[[1]], [[2]]])) == [UNKNOWN]
    three = [[[1], [1], [1]], [[2], [3], [2]], [[3], [2], [3]]]
    assert answer({"kind": "min_host_agreement", "tau": 0.9}, cells(three)) == [FAILS, HOLDS, FAILS]
    assert answer({"kind": "min_host_agreement", "tau": tau}, cells(scores, there=[True, False, False])) == [UNKNOWN]


@pytest.mark.parametrize("by", ["mean", "worst_host"])
@pytest.mark.parametrize("of", ["best", "sentinel"])
def test_a_gap_is_at_most_the_threshold_to_the_last_millionth(by, of):
    base = [[3, 3], [1, 1]] if by == "worst_host" else [[3, 3], [3, 3]]
    over = [[[3 + n, 3], [2, 2]] if by == "worst_host" else [[3 + n, 3], [3, 3]] for n in (0, 10, 11)]
    given = cells([base, *over], roles={"sentinel": 0})
    cells_summed = 2 if by == "worst_host" else 4
    gap = 10e-6 / cells_summed
    assert answer({"kind": "within_gap", "gap": gap, "of": of, "by": by}, given) == [HOLDS, HOLDS, HOLDS, FAILS]
    assert answer({"kind": "exceeds_gap", "gap": gap, "of": of, "by": by}, given) == [FAILS, FAILS, FAILS, HOLDS]


def test_a_gap_to_a_role_that_is_not_here_or_has_no_value_is_unknown():
    rule = {"kind": "within_gap", "gap": 1.0, "of": "sentinel"}
    scores = [[[1]], [[2]], [[3]]]
    assert answer(rule, cells(scores, roles={"sentinel": -1})) == [UNKNOWN] * 3
    assert answer(rule, cells(scores, there=[True, True, False])) == [UNKNOWN, UNKNOWN, SILENT]
    gone = [[[FINISHED]], [[FAILED]], [[FINISHED]]]
    assert answer(rule, cells(scores, state=gone)) == [HOLDS, UNKNOWN, HOLDS]
    assert answer({**rule, "of": "best"}, cells(scores, state=[[[FAILED]]] * 3)) == [UNKNOWN] * 3


def test_first_in_all_cells_is_strict_and_over_all_who_are_there():
    rule = {"kind": "first_in_all_cells", "role": "reference"}
    assert answer(rule, cells([[[1], [1]], [[2], [2]]])) == [HOLDS]
    assert answer(rule, cells([[[1], [2]], [[2], [2]]])) == [FAILS]
    assert answer(rule, cells([[[1], [9]], [[2], [2]]], there=[True, False])) == [HOLDS]
    assert answer(rule, cells([[[1], [1]], [[2], [2]]], there=[False, True])) == [UNKNOWN]
    gone = [[[FINISHED], [FINISHED]], [[FINISHED], [FAILED]]]
    assert answer(rule, cells([[[1], [1]], [[2], [2]]], state=gone)) == [UNKNOWN]
    assert answer(rule, cells([[[1], [1]], [[2], [2]]], state=gone, there=[True, False])) == [HOLDS]


@pytest.mark.parametrize(
    ("gap", "near", "worse"), [(4, HOLDS, HOLDS), (5, FAILS, FAILS), (-4, HOLDS, HOLDS), (-5, FAILS, HOLDS)]
)
def test_a_paired_gap_is_at_most_the_margin_in_both_directions_or_in_one(gap, near, worse):
    given = cells([[[100], [100]], [[100 + gap], [100]]])
    pair = {"role": "comparator", "to": "reference"}
    assert answer({"kind": "near_equivalent", "margin": 0.000002, **pair}, given) == [near]
    assert answer({"kind": "mean_gap", "most": 0.000002, **pair}, given) == [worse]
    for there in ([True, False], [False, True]):
        lost = cells([[[100], [100]], [[100], [100]]], there=there)
        assert answer({"kind": "mean_gap", "most": 1.0, **pair}, lost) == [UNKNOWN]


def test_the_best_on_any_host_go_on_and_who_is_known_on_none_is_unknown():
    rule = {"kind": "top_k", "k": 1, "by": "each_host"}
    scores = [[[1], [9]], [[9], [1]], [[2], [2]]]
    assert answer(rule, cells(scores)) == [HOLDS, HOLDS, FAILS]
    some = [[[FAILED], [FINISHED]], [[FINISHED], [FINISHED]], [[FAILED], [FAILED]]]
    assert answer(rule, cells(scores, state=some)) == [FAILS, HOLDS, UNKNOWN]
    assert answer({"kind": "top_k", "k": 1, "by": "worst_host"}, cells(scores)) == [FAILS, FAILS, HOLDS]


@pytest.mark.parametrize("kind", ["complete_cells", "fresh_seeds"])
def test_a_gate_that_judges_nobody_is_blocked_by_what_speaks_of_each_candidate(kind):
    gate = parse_rules({"R1": {"kind": kind}, "R2": {"kind": "top_k", "k": 1}})
    assert engine.decide_gate(gate, cells([[[1]], [[2]]], there=[False, False])).blocked.tolist() == [True]
    outcome = engine.decide_gate(gate, cells([[[1]], [[2]]], there=[True, False]))
    assert (outcome.blocked.tolist(), outcome.promoted.tolist(), outcome.left_out) == ([False], [[True, False]], {})
    other = parse_rules({"R1": {"kind": "min_host_agreement", "tau": 0.0}, "R2": {"kind": "top_k", "k": 1}})
    skipped = engine.decide_gate(other, cells([[[1]], [[2]]], there=[False, False]), {"R1": "one block"})
    assert (skipped.blocked.tolist(), skipped.left_out, list(skipped.answers)) == ([False], {"R1": "one block"}, ["R2"])


def test_a_stop_wins_over_a_promotion_but_not_over_a_kept_role():
    gate = parse_rules(
        {
            "R1": {"kind": "top_k", "k": 2},
            "R2": {"kind": "exceeds_gap", "gap": 0.000001},
            "R3": {"kind": "keep_role", "role": "sentinel"},
        }
    )
    outcome = engine.decide_gate(gate, cells([[[1]], [[3]], [[9]]]))
    assert outcome.promoted.tolist() == [[True, False, True]]
    assert outcome.answers["R3"].tolist() == [[FAILS, FAILS, HOLDS]]
    gone = engine.decide_gate(gate, cells([[[1]], [[3]], [[9]]], there=[True, True, False]))
    assert gone.promoted.tolist() == [[True, False, False]]
    nobody = engine.decide_gate(gate, cells([[[1]], [[3]], [[9]]], roles={"sentinel": -1}))
    assert nobody.promoted.tolist() == [[True, False, False]]


def test_what_curves_do_not_hold_is_left_out_whatever_the_hosts():
    kinds = {"R1": "fixed_runner", "R2": "fixed_data", "R3": "fixed_environment", "R4": "budget_kept"}
    gate = parse_rules({key: {"kind": kind} for key, kind in kinds.items()} | {
        "R5": {"kind": "min_host_agreement", "tau": 0.5}, "R6": {"kind": "above_noise_floor", "multiple": 1.0}, "R7": {"kind": "diverged"},
    })  # fmt: skip
    always = {key: engine.NOT_IN_CURVES[kind] for key, kind in kinds.items()}
    hosts, floor = {"R5": "there is one block of runs only"}, {"R6": "no A/A runs are declared for this rung"}
    assert engine.left_out(gate, 2, True) == always
    assert engine.left_out(gate, 1, True) == always | hosts
    assert engine.left_out(gate, 2, False) == always | floor
    assert engine.left_out(gate, 1, False) == always | hosts | floor
