"""Baselines, draw by draw: on batches that are small enough to be followed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from stages.backtest import baselines
from stages.backtest.draws import Batch, RungDraw, Sampler
from stages.backtest.engine import LAST
from tests.backtest.curves_csv import arranged, ruleset

TOPS = {"gate1": {"R1": {"kind": "top_k", "k": 1}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}}
VALUES = {"a": [[3.0, 2.0], [3.1, 2.1]], "b": [[3.2, 2.2], [3.3, 2.3]], "c": [[3.4, 2.4], [3.5, 2.5]]}


def draw(scores: list[list[int]], cost: float) -> RungDraw:
    """One host, one seed; every run costs the same."""
    values = np.array(scores, dtype=np.int64)[:, :, None, None]
    paid = np.full(values.shape, cost)
    return RungDraw(values, None, paid[..., 0, 0], paid, None, np.zeros(len(values)))


def batch(*rungs: RungDraw, continued: bool = False) -> Batch:
    return Batch({f"rung{n}": rung for n, rung in enumerate(rungs, start=1)}, continued)


#: Two ladders of four configurations.
FIRST, SECOND = draw([[4, 3, 2, 1], [1, 2, 3, 4]], 1.0), draw([[5, 6, 7, 8], [8, 7, 6, 5]], 3.0)
EVERYBODY = [[True] * 4] * 2


def plain(choice: baselines.Choice) -> tuple[list[int], list[list[bool]], list[float]]:
    return choice.pick.tolist(), choice.finalists.tolist(), choice.cost.tolist()


def test_nobody_is_the_best_of_a_ladder_without_a_value():
    assert baselines.pick_best(np.array([[3, 1, LAST], [LAST, LAST, LAST], [LAST, LAST, 0]])).tolist() == [1, -1, 2]


@pytest.mark.parametrize(
    ("budget", "chosen"),
    [(0.0, [2]), (1.9, [2]), (3.0, [2]), (5.9, [2]), (6.0, [1, 2]), (8.9, [1, 2]), (9.0, [0, 1, 2]), (99.0, [0, 1, 2])],
)
def test_the_first_are_taken_as_far_as_the_budget_goes_and_one_in_any_case(budget, chosen):
    order, cost = np.array([[2, 1, 0]]), np.array([[3.0, 4.0, 2.0]])
    taken = baselines._afford(order, cost, np.array([budget]))
    assert np.flatnonzero(taken[0]).tolist() == chosen


def test_everything_is_run_at_the_last_rung_and_at_no_other():
    assert plain(baselines.full(batch(FIRST, SECOND))) == ([0, 3], EVERYBODY, [12.0, 12.0])


def test_the_leader_of_the_first_rung_goes_straight_to_the_last():
    leaders = [[False, False, False, True], [True, False, False, False]]
    assert plain(baselines.greedy(batch(FIRST, SECOND))) == ([3, 0], leaders, [4 + 3.0, 4 + 3.0])
    assert plain(baselines.greedy(batch(FIRST, SECOND, continued=True)))[2] == [4 + 2.0, 4 + 2.0]


@pytest.mark.parametrize(("budget", "many"), [(0.0, 1), (9.9, 1), (10.0, 2), (12.9, 2), (13.0, 3), (99.0, 4)])
def test_as_many_leaders_go_on_as_the_budget_buys_after_the_first_rung(budget, many):
    choice = baselines.greedy(batch(FIRST, SECOND), np.full(2, budget))
    assert choice.finalists.tolist() == [[n >= 4 - many for n in range(4)], [n < many for n in range(4)]]
    assert choice.cost.tolist() == [4 + 3.0 * many] * 2
    assert choice.pick.tolist() == [4 - many, many - 1]


def test_with_one_rung_the_leader_of_the_first_is_chosen_there_and_paid_once():
    leaders = [[False, False, False, True], [True, False, False, False]]
    assert plain(baselines.greedy(batch(FIRST))) == ([3, 0], leaders, [4.0, 4.0])


def test_random_choice_takes_as_many_as_the_rules_cost_buys():
    choice = baselines.random_choice(batch(FIRST, SECOND), np.array([6.0, 100.0]), np.random.default_rng(1))
    assert choice.finalists.sum(axis=1).tolist() == [2, 4]
    assert choice.cost.tolist() == [6.0, 12.0]
    assert choice.pick.tolist() == [int(np.flatnonzero(choice.finalists[0])[0]), 3]


def test_halving_pays_every_rung_for_those_who_are_left():
    last = [[False, False, True, True], [True, True, False, False]]
    never = np.random.default_rng(0)
    before = never.bit_generator.state
    assert plain(baselines.halving(batch(FIRST, SECOND), 2, 4, never)) == ([2, 1], last, [4 + 6.0] * 2)
    assert plain(baselines.halving(batch(FIRST, SECOND, continued=True), 2, 4, never))[2] == [4 + 4.0] * 2
    assert never.bit_generator.state == before, "nothing is left to chance where all start"


def test_halving_of_some_starts_from_as_many_at_random():
    started = baselines.halving(batch(FIRST, SECOND), 2, 3, np.random.default_rng(0))
    assert started.finalists.sum(axis=1).tolist() == [1, 1]
    assert started.cost.tolist() == [3 + 3.0] * 2
    picks = {
        tuple(baselines.halving(batch(FIRST, SECOND), 2, 3, np.random.default_rng(seed)).pick.tolist())
        for seed in range(40)
    }
    assert picks == {(2, 0), (3, 0), (3, 1), (2, 1)}, "the fourth or the third leads, whoever was drawn"


@pytest.mark.parametrize(
    ("eta", "configs", "budget", "start"),
    [
        (2, 9, 4.9, 1),
        (2, 9, 5.0, 2),
        (2, 9, 9.9, 3),
        (2, 9, 10.0, 4),
        (2, 9, 21.0, 9),
        (2, 9, 1e9, 9),
        (3, 3, 5.9, 2),
        (3, 3, 6.0, 3),
    ],
)
def test_halving_starts_from_the_most_whose_cost_is_within_the_budget(eta, configs, budget, start):
    """At costs of 1 and 3 a configuration: n of them cost n and three times the n // eta who are left, or the one."""
    assert baselines.affordable_start([1.0, 3.0], eta, configs, budget) == start


def test_a_draw_of_several_hosts_and_seeds_is_summed_and_its_floor_paid(tmp_path):
    rules = ruleset(TOPS, seeds=(2, 1))
    pools = arranged(tmp_path / "c.csv", VALUES, rules)
    sampler = Sampler(pools)
    assert sampler.widest == 3 * 1 * 2
    drawn = sampler.draw(5, np.random.default_rng(2))
    assert (drawn.ladders, drawn.continued) == (5, False)
    first, last = drawn.rungs.values()
    assert (first.scores.shape, last.scores.shape) == ((5, 3, 1, 2), (5, 3, 1, 1))
    assert (first.cost == 2.0).all() and (last.cost == 2.0).all()
    assert first.floor is None and first.floor_cost.tolist() == [0.0] * 5
    assert drawn.step_cost("rung1", None).tolist() == first.cost.tolist()
    assert drawn.step_cost("rung2", "rung1").tolist() == last.cost.tolist()


def test_a_run_that_is_followed_pays_for_the_seeds_that_it_had_before(tmp_path):
    rules = ruleset(TOPS, seeds=(1, 2))
    followed = Sampler(arranged(tmp_path / "c.csv", VALUES, rules, True), continued=True).draw(
        4, np.random.default_rng(2)
    )
    assert (followed.step_cost("rung2", "rung1") == 2 * 2.0 - 1.0).all()  # the second seed is trained from its start
    more = Sampler(arranged(tmp_path / "c.csv", VALUES, ruleset(TOPS, seeds=(2, 1)), True), continued=True)
    assert (more.draw(4, np.random.default_rng(2)).step_cost("rung2", "rung1") == 2.0 - 1.0).all()
    first, last = followed.rungs.values()
    assert (first.scores[..., 0] - last.scores[..., 0] == 1_000_000).all(), "the same run at both budgets"


@pytest.mark.parametrize(("reference", "floors", "has"), [(0, 2, True), (2, 2, True), (-1, 2, False), (0, 0, False)])
def test_the_reference_is_run_again_where_a_rung_has_a_floor(tmp_path, reference, floors, has):
    rules = ruleset(TOPS)
    sizes = {rung: size.model_copy(update={"floor_seeds": floors}) for rung, size in rules.sizes.items()}
    rules = type(rules)(rules.name, rules.unit, rules.roles, sizes, rules.gates)
    drawn = Sampler(arranged(tmp_path / "c.csv", VALUES, rules), reference).draw(50, np.random.default_rng(4))
    first, last = drawn.rungs.values()
    if not has:
        assert first.floor is None and first.floor_cost.tolist() == [0.0] * 50
        return
    start = 3_000_000 + 200_000 * reference
    assert first.floor.shape == (50, 1, floors)
    assert set(np.unique(first.floor).tolist()) == {start, start + 100_000}
    assert (first.floor_cost == floors * 1.0).all() and (last.floor_cost == floors * 2.0).all()
