"""Stability: ranks from rung to rung, what became of each leader, the winner and how much flattered a leader."""

from fractions import Fraction
from types import SimpleNamespace

import pytest

from stages.domain.evidence import tau_b
from stages.summary.stability import stability


@pytest.fixture(scope="module")
def made(case):
    return stability(case.ladder()).to_json()


def test_a_step_ranks_the_candidates_of_both_rungs_alone(case, made):
    lower, upper = case.ladder().rungs[2:4]
    step = made["steps"][2]
    assert (step["from"], step["to"], step["candidates"]) == ("rung3", "rung4", 4)
    assert sorted(first for first, _ in step["ranks"].values()) == [1, 2, 3, 4]
    assert lower.rank["d8-c007"] == 9 and step["ranks"]["d8-c007"] == [4, 1]
    names = sorted(step["ranks"])
    means = [[float(rung.evidence.mean(name)) for name in names] for rung in (lower, upper)]
    assert step["tau_b"] == tau_b(*means)


def test_leaders_are_followed_to_where_they_were_stopped(made):
    assert made["leaders"]["rung1"] == "d2-c009"
    fate = {one["rung"]: one for one in made["leader_fate"]}
    assert fate["rung1"] == {
        "rung": "rung1",
        "config": "d2-c009",
        "last_rung": "rung3",
        "last_rank": 6,
        "stopped_at": "gate3",
    }
    assert fate["rung5"]["stopped_at"] is None


def test_a_leader_whose_gate_has_not_decided_is_not_called_stopped(case):
    made = stability(case.without("gate3", "gate4", "gate5", records=True).ladder()).to_json()
    assert [one["stopped_at"] for one in made["leader_fate"]] == [None, None]
    assert made["leader_fate"][1]["last_rank"] is None


def test_the_winner_has_the_lowest_mean_of_the_last_rung(case, made):
    assert made["winner"]["config"] == case.ladder().rungs[-1].ranking[0] == "d8-c007"
    assert made["winner"]["ranks"] == {"rung1": 12, "rung2": 12, "rung3": 9, "rung4": 1, "rung5": 1}
    assert made["no_winner"] is None


def test_equal_means_are_broken_by_name(case):
    same = case.rescored("rung5", lambda run: 1.3)
    assert same.ladder().winner == "d4-c003"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda case: case.without("gate5"), "gate5 has not decided yet."),
        (lambda case: blocked(case), "gate5 is blocked by R1."),
        (lambda case: unfrozen(case), "The last gate is not frozen yet."),
        (lambda case: unfinished(case), "No candidate of rung5 finished in every cell."),
    ],
)
def test_without_a_winner_it_says_why(case, change, why):
    made = stability(change(case).ladder()).to_json()
    assert (made["winner"], made["no_winner"]) == (None, why)


def blocked(case):
    changes = {"outcome": "blocked", "blocked_by": ["R1"], "promoted": []}
    decision = case.decisions["gate5"].model_copy(update=changes)
    return type(case)(case.root, case.configs, case.locks, case.records, {**case.decisions, "gate5": decision})


def unfrozen(case):
    some = {gate: lock for gate, lock in case.locks.items() if gate != "gate5"}
    return type(case)(case.root, case.configs, some, case.records, case.decisions)


def unfinished(case):
    records = tuple(run for run in case.records if not (run.rung == "rung5" and run.host == "cpu-fp32"))
    return type(case)(case.root, case.configs, case.locks, records, case.decisions)


def test_optimism_measures_a_leader_again_with_fresh_seeds(case, made):
    rung3, rung4 = case.ladder().rungs[2:4]
    one = made["optimism"][2]
    mean = {name: rung4.evidence.mean(name) for name in rung4.candidates}
    others = [value for name, value in mean.items() if name != "d3-c010"]
    assert (one["rung"], one["config"], one["next_rung"]) == ("rung3", "d3-c010", "rung4")
    assert one["mean"] == float(round(rung3.evidence.mean("d3-c010"), 9))
    assert Fraction(str(one["next_lead"])) == min(others) - mean["d3-c010"] < 0
    assert Fraction(str(one["regret"])) == mean["d3-c010"] - min(mean.values())
    assert one["next_rank"] == 3


def test_a_leader_that_was_stopped_was_not_measured_again(case):
    stopped = case.rescored("rung4", lambda run: 1.0 if run.config == "d3-c010" else None)
    one = stability(stopped.ladder()).to_json()["optimism"][3]
    assert one["config"] == "d3-c010"
    assert (one["next_mean"], one["next_rank"], one["regret"], one["next_lead"]) == (None, None, None, None)


def ladder_of(*rungs, winner=None, why=None):
    return SimpleNamespace(rungs=rungs, winner=winner, why_no_winner=why)


def rung_of(number, means, candidates=None, promoted=None, last=False):
    """A rung whose candidates have these means (a text of digits: val_bpb 1.N), best first."""
    known = {name: Fraction(mean, 10) for name, mean in means.items() if mean is not None}
    ranking = sorted(known, key=lambda name: (known[name], name))
    return SimpleNamespace(
        name=f"rung{number}", gate=f"gate{number}", ranking=ranking, leader=ranking[0] if ranking else None,
        rank={name: place for place, name in enumerate(ranking, 1)}, candidates=candidates or tuple(means) or None,
        evidence=SimpleNamespace(mean=known.get) if means else None, frozen=SimpleNamespace(last=last),
        decision=None if promoted is None else SimpleNamespace(promoted=promoted),
    )  # fmt: skip


def test_the_whole_of_a_small_ladder():
    first = rung_of(1, {"a": 10, "b": 12, "c": 14, "d": 16}, promoted=["a", "b", "c"])
    second = rung_of(2, {"a": 13, "b": 11, "c": 15}, promoted=["b", "c"])
    third = rung_of(3, {"b": 9, "c": 8}, last=True, promoted=[])
    assert stability(ladder_of(first, second, third, winner="c")).to_json() == {
        "schema": 1,
        "steps": [
            {
                "from": "rung1", "to": "rung2", "candidates": 3, "tau_b": 0.333333333,
                "leader_from": "a", "leader_to": "b", "ranks": {"a": [1, 2], "b": [2, 1], "c": [3, 3]},
            },
            {
                "from": "rung2", "to": "rung3", "candidates": 2, "tau_b": -1.0,
                "leader_from": "b", "leader_to": "c", "ranks": {"b": [1, 2], "c": [2, 1]},
            },
        ],
        "leaders": {"rung1": "a", "rung2": "b", "rung3": "c"},
        "leader_fate": [
            {"rung": "rung1", "config": "a", "last_rung": "rung2", "last_rank": 2, "stopped_at": "gate2"},
            {"rung": "rung2", "config": "b", "last_rung": "rung3", "last_rank": 2, "stopped_at": None},
            {"rung": "rung3", "config": "c", "last_rung": "rung3", "last_rank": 1, "stopped_at": None},
        ],
        "winner": {"config": "c", "ranks": {"rung1": 3, "rung2": 3, "rung3": 1}},
        "no_winner": None,
        "optimism": [
            {
                "rung": "rung1", "config": "a", "mean": 1.0, "lead": 0.2, "next_rung": "rung2",
                "next_mean": 1.3, "next_rank": 2, "next_lead": -0.2, "regret": 0.2,
            },
            {
                "rung": "rung2", "config": "b", "mean": 1.1, "lead": 0.4, "next_rung": "rung3",
                "next_mean": 0.9, "next_rank": 2, "next_lead": -0.1, "regret": 0.1,
            },
        ],
    }  # fmt: skip


def test_a_leader_that_did_not_finish_again_has_no_lead_and_a_promoted_one_is_not_stopped():
    first = rung_of(1, {"a": 10, "b": 12, "c": 14}, promoted=["a", "b", "c"])
    second = rung_of(2, {"a": None, "b": 11, "c": None}, promoted=["a", "b"])
    reported = stability(ladder_of(first, second, why="gate2 goes on")).to_json()
    assert reported["optimism"] == [
        {
            "rung": "rung1", "config": "a", "mean": 1.0, "lead": 0.2, "next_rung": "rung2",
            "next_mean": None, "next_rank": None, "next_lead": None, "regret": None,
        }
    ]  # fmt: skip
    assert [fate["stopped_at"] for fate in reported["leader_fate"]] == [None, None]
    assert (reported["winner"], reported["no_winner"]) == (None, "gate2 goes on")
    assert (reported["steps"][0]["tau_b"], reported["steps"][0]["ranks"]) == (None, {"b": [1, 1]})


def test_a_rung_without_a_ranked_candidate_is_neither_step_nor_leader():
    first, second = rung_of(1, {"a": 10, "b": 12}, promoted=["a"]), rung_of(2, {"a": None})
    third = rung_of(3, {}, last=True)
    reported = stability(ladder_of(first, second, third)).to_json()
    assert (reported["steps"], reported["optimism"], reported["leaders"]) == ([], [], {"rung1": "a"})
    assert reported["leader_fate"] == [
        {"rung": "rung1", "config": "a", "last_rung": "rung2", "last_rank": None, "stopped_at": None}
    ]
    alone = rung_of(2, {"a": 11})
    (measured,) = stability(ladder_of(first, alone)).to_json()["optimism"]
    assert (measured["lead"], measured["next_lead"], measured["regret"]) == (None, None, 0.0)
