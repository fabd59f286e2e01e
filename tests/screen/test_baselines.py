"""Cheaper ways of choosing on the runs of a screen: what they would have picked, for what price, with what regret."""

from __future__ import annotations

import pytest

from stages.screen.baselines import compare, expected_regret


def test_the_expected_regret_of_a_random_choice_is_that_of_all_choices():
    values = [1.0, 1.1, 1.3, 1.9]
    pairs = [min(a, b) for n, a in enumerate(values) for b in values[n + 1 :]]
    assert expected_regret(values, 2) == pytest.approx(sum(pairs) / len(pairs) - 1.0)
    assert expected_regret(values, 4) == 0


def test_greedy_and_random_choices_are_priced_by_what_they_run():
    means = {"rung1": {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, "rung2": {"a": 1.5, "b": 1.0, "c": 1.2, "d": 1.4}}
    choices = compare(means, {"rung1": 2, "rung2": 2}, {"rung1": 1.0, "rung2": 2.0})
    assert [(c.name, c.seconds, c.config, round(c.regret, 6)) for c in choices] == [
        ("the leader of rung1", 8.0, "a", 0.5),
        ("the best of 2 at random, at rung2 alone", 8.0, None, round(expected_regret([1.0, 1.2, 1.4, 1.5], 2), 6)),
        ("the leader of rung2", 16.0, "b", 0.0),
    ]


@pytest.mark.parametrize(("seconds", "sizes"), [(0.5, [1]), (0.4, []), (1.5, [3]), (2.0, [])])
def test_a_random_choice_is_of_at_least_one_configuration_and_not_of_all(seconds, sizes):
    means = {"rung1": dict.fromkeys("abcd", 1.0), "rung2": {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}}
    choices = compare(means, {"rung1": 1, "rung2": 1}, {"rung1": seconds, "rung2": 2.0})
    random = [choice.name for choice in choices if choice.config is None]
    assert random == [f"the best of {size} at random, at rung2 alone" for size in sizes]


def test_of_equal_means_the_first_name_leads_and_the_cheapest_way_comes_first():
    means = {"rung1": {"b": 1.0, "a": 1.0, "c": 2.0}, "rung2": {"b": 1.0, "a": 1.5, "c": 2.0}}
    choices = compare(means, {"rung1": 3, "rung2": 1}, {"rung1": 4.0, "rung2": 1.0})
    assert [(choice.name, choice.seconds, choice.config, choice.regret) for choice in choices] == [
        ("the leader of rung2", 3.0, "b", 0.0),
        ("the leader of rung1", 36.0, "a", 0.5),
    ]
