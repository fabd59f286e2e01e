"""What the ladder's hours would have bought otherwise, on three configurations that are counted by hand."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.confidence import alternatives
from stages.confidence.alternatives import LastRung, list_alternatives
from tests.confidence import cases

#: Means of 1.15, 1.1 and 1.125; the first seed has them in the order a, b, c and the second in the order c, b, a.
SCORES = {"a": [1.0, 1.3] * 2, "b": [1.1, 1.1] * 2, "c": [1.25, 1.0] * 2}
EVIDENCE = cases.evidence({"R1": {"kind": "top_k", "k": 1}}, SCORES)


def runs(count: int, *, executed: bool = True, purpose: str = "candidate") -> list[Any]:
    return [SimpleNamespace(executed=executed, purpose=purpose)] * count


def rung(records: list[Any], seconds: float, ranking: list[str], **over: Any) -> Any:
    frozen = SimpleNamespace(budget_seconds=seconds, seeds=(31, 32), hosts=("h1", "h2"))
    return SimpleNamespace(records=records, frozen=frozen, ranking=ranking, cells=4, candidates=("a", "b"), **over)


def ladder(*, ranking: list[str] | None = None, first: int = 6, last: int = 8) -> Any:
    """Runs of a quarter of an hour at the first rung, of an hour at the last."""
    noise = [*runs(5, purpose="floor"), *runs(7, executed=False)]
    before = rung([*runs(first), *noise], 900.0, ["a", "c", "b"] if ranking is None else ranking)
    return SimpleNamespace(rungs=[before, rung(runs(last), 3600.0, ["b", "a"])])


def listed(**over: Any) -> dict[str, tuple[Any, ...]]:
    return {
        f"{way.key} {way.seeds}": tuple(asdict(way).values())[1:]
        for way in list_alternatives(cast("Any", ladder(**over)), EVIDENCE, "b")
    }


def test_each_alternative_has_its_hours_its_chance_of_the_best_and_its_regret() -> None:
    ways = list_alternatives(cast("Any", ladder()), EVIDENCE, "b")
    assert [way.key for way in ways] == ["ladder", "random", "greedy", "greedy-matched", "seeds", "full"]
    assert [tuple(asdict(way).values())[1:] for way in ways] == [
        ("the ladder", 2, 2, 9.5, 1.0, 0.0, 0.0),
        ("2 at random", 2, 2, 8.0, pytest.approx(2 / 3), pytest.approx(0.025 / 3), pytest.approx(0.025)),
        ("the leader of the first rung", 1, 2, 5.5, 0.0, pytest.approx(0.05), pytest.approx(0.05)),
        ("the 2 leaders of the first rung", 2, 2, 9.5, 0.0, pytest.approx(0.025), pytest.approx(0.025)),
        ("every configuration, 1 of 2 seeds", 3, 1, 6.0, 0.0, pytest.approx(0.0375), pytest.approx(0.05)),
        ("every configuration at the last rung", 3, 2, 12.0, 1.0, 0.0, 0.0),
    ]


def test_another_choice_has_its_own_regret() -> None:
    first = list_alternatives(cast("Any", ladder()), EVIDENCE, "a")[0]
    assert (first.best, first.regret, first.worst) == (0.0, pytest.approx(0.05), pytest.approx(0.05))


def test_a_first_rung_that_ranks_nobody_has_no_leader_to_follow() -> None:
    assert list(listed(ranking=[])) == ["ladder 2", "random 2", "seeds 1", "full 2"]


@pytest.mark.parametrize(
    ("last", "random", "matched", "seeds"),
    [(0, 1, 1, 1), (2, 1, 1, 1), (4, 1, 1, 2), (6, 1, 1, 3), (7, 2, 1, 3), (12, 3, 3, 3), (99, 3, 3, 3)],
)
def test_hours_buy_whole_configurations_one_at_least_and_no_more_than_there_are(last, random, matched, seeds) -> None:
    """An hour and a half of screening, then so many hours: four a configuration, two on one seed."""
    ways = listed(last=last)
    assert [ways[key][1] for key in ("random 2", "greedy-matched 2", "seeds 1")] == [random, matched, seeds]
    assert ways["random 2"][0] == ("every configuration" if random == 3 else f"{random} at random")
    assert ways["seeds 1"][0] == f"{'every configuration' if seeds == 3 else f'{seeds} at random'}, 1 of 2 seeds"
    title = "the leader of the first rung" if matched == 1 else f"the {matched} leaders of the first rung"
    assert ways["greedy-matched 2"][0] == title


@pytest.mark.parametrize(("budget", "count"), [(0.0, 1), (1.9, 1), (2.0, 1), (3.99, 1), (4.0, 2), (8.0, 4), (99.0, 5)])
def test_a_budget_is_spent_to_the_last_hour(budget, count) -> None:
    assert alternatives._affordable(Fraction(budget), Fraction(2), 5) == count


@pytest.mark.parametrize(
    ("configs", "shares"),
    [
        (1, {"w": (1, 4), "x": (1, 4), "y": (1, 4), "z": (1, 4)}),
        (2, {"w": (1, 2), "x": (1, 3), "y": (1, 6)}),
        (3, {"w": (3, 4), "x": (1, 4)}),
        (4, {"w": (1, 1)}),
    ],
)
def test_the_best_of_some_drawn_is_each_with_its_share(configs, shares) -> None:
    found = dict(alternatives._shares(["w", "x", "y", "z"], configs))
    assert found == {name: Fraction(*share) for name, share in shares.items()}
    assert sum(found.values()) == 1


def test_ten_seeds_have_all_their_sets_and_more_have_the_first(monkeypatch) -> None:
    last = LastRung.of(EVIDENCE, cast("Any", ladder()).rungs[-1])
    assert (last.best, last.unit, last.regret("a")) == (Fraction(11, 10), 1, Fraction(1, 20))
    assert (last.order([31]), last.order([32]), last.order([31, 32])) == (
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["b", "c", "a"],
    )
    assert alternatives.MOST_SETS == 252
    monkeypatch.setattr(alternatives, "MOST_SETS", 1)
    assert alternatives._draw("seeds", last, 1, 3, Fraction(2)).regret == pytest.approx(0.05), "the first seed alone"


def test_configurations_that_tie_are_in_the_order_of_their_names() -> None:
    level = cases.evidence({"R1": {"kind": "top_k", "k": 1}}, {name: [1.0] * 4 for name in "cab"})
    assert LastRung.of(level, cast("Any", ladder()).rungs[-1]).order([31, 32]) == ["a", "b", "c"]
