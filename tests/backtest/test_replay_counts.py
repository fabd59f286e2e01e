"""The counts of a replay: batches, pilots, floors, pairs and progress, with answers that are known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stages.backtest import replay
from stages.backtest.replay import GateCount, MethodCount, ReplayTally, RuleCount
from tests.backtest.curves_csv import arranged, ruleset

TOP = {"gate1": {"R1": {"kind": "top_k", "k": 1}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}}
#: One run is as good as another, and in the order of their names: nothing is left to chance.
SURE = {name: [[3.0 + n, 2.0 + n / 10], [3.001 + n, 2.001 + n / 10]] for n, name in enumerate("abcd")}


def pools_of(path, rules, values=SURE, continued=False, **over):
    return arranged(path / "c.csv", values, rules, continued, **over)


def run(path, rules=None, ladders=100, *, values=SURE, roles=None, **how):
    rules = rules or ruleset(TOP)
    return replay.replay(pools_of(path, rules, values), rules, roles or {}, ladders, 3, **how)


def floored(rules, floors):
    sizes = {rung: size.model_copy(update={"floor_seeds": floors}) for rung, size in rules.sizes.items()}
    return replace(rules, sizes=sizes)


@pytest.mark.parametrize(
    ("pair_ladders", "compared"), [(1, 10), (10, 10), (11, 20), (20, 20), (21, 30), (34, 35), (99, 35)]
)
def test_pairs_are_compared_in_the_first_ladders_and_progress_is_told_of_all(
    tmp_path, monkeypatch, pair_ladders, compared
):
    monkeypatch.setattr(replay, "BATCH_CELLS", 40)
    monkeypatch.setattr(replay, "PAIR_LADDERS", pair_ladders)
    reported: list[tuple[int, int]] = []
    tally = run(tmp_path, ladders=35, progress=lambda done, of: reported.append((done, of)), workers=1)
    assert reported == [(10, 35), (20, 35), (30, 35), (35, 35)]
    assert (tally.ladders, tally.pair_ladders) == (35, compared)
    assert tally.pairs == {"rung1": compared, "rung2": compared}
    assert tally.methods["rules"].picks.tolist() == [35, 0, 0, 0, 0]


def test_the_counts_of_a_sure_ladder_are_those_of_one_ladder_times_their_number(tmp_path):
    tally = run(tmp_path, ladders=100)
    gate = {"R1": RuleCount(100, 300, 0)}
    assert tally.gates["gate1"] == GateCount(
        0, 400, 100, 100, 0, 100, 400.0, gate
    )  # two of the three best were dropped
    assert tally.gates["gate2"] == GateCount(0, 100, 100, 100, 0, 0, 200.0, {"R1": RuleCount(100, 0, 0)})
    rules = tally.methods["rules"]
    assert (rules.best_lost, rules.top_lost, rules.finalists, rules.cost, rules.cost_squared) == (
        0,
        100,
        100,
        600.0,
        3600.0,
    )
    full = tally.methods["full"]
    assert (full.best_lost, full.top_lost, full.finalists, full.cost, full.cost_squared) == (0, 0, 400, 800.0, 6400.0)
    assert tally.methods["halving 2"].cost == 100 * (4 * 1 + 2 * 2)
    assert (tally.left_out, tally.starts) == (
        {"gate1": {}, "gate2": {}},
        {"halving 2, matched": 3, "halving 3, matched": 4},
    )
    assert tally.methods["halving 2, matched"].cost == 100 * (3 * 1 + 1 * 2)
    assert tally.methods["halving 3, matched"].picks.tolist() == tally.methods["halving 3"].picks.tolist()


def test_the_best_is_dropped_where_the_worst_goes_on(tmp_path):
    """Whoever is within 0.0005 of the reference, which is the worst: itself alone."""
    near = {
        "R1": {"kind": "within_gap", "gap": 0.0005, "of": "reference"},
        "R2": {"kind": "exceeds_gap", "gap": 0.5, "of": "comparator"},
    }
    rules = ruleset({"gate1": {"R1": {"kind": "keep_role", "role": "reference"}}, "gate2": near}, roles={})
    tally = run(tmp_path, rules, ladders=10, roles={"reference": "d", "comparator": "z"})
    assert (tally.gates["gate1"].best_dropped, tally.gates["gate1"].top_dropped, tally.gates["gate1"].promoted) == (
        10,
        10,
        10,
    )
    last = tally.gates["gate2"]
    assert (last.candidates, last.best_here, last.best_dropped, last.top_dropped, last.promoted) == (10, 0, 0, 10, 10)
    assert (last.rules["R1"], last.rules["R2"]) == (RuleCount(10, 0, 0), RuleCount(0, 0, 10))
    assert (tally.methods["rules"].best_lost, tally.methods["rules"].picks.tolist()) == (10, [0, 0, 0, 10, 0])


@pytest.mark.parametrize(
    ("floors", "reference", "evaluated"),
    [(2, "a", True), (3, "a", True), (1, "a", False), (0, "a", False), (2, "z", False), (2, None, False)],
)
def test_a_floor_is_two_runs_of_a_reference_that_is_here(tmp_path, floors, reference, evaluated):
    gate = {
        "R1": {"kind": "top_k", "k": 2},
        "R2": {"kind": "above_noise_floor", "multiple": 0.1},
        "R3": {"kind": "within_gap", "gap": 9.0},
    }
    rules = floored(ruleset({"gate1": gate, "gate2": TOP["gate2"]}, roles={}), floors)
    tally = run(tmp_path, rules, ladders=10, roles={"reference": reference} if reference else {})
    assert tally.left_out["gate1"] == ({} if evaluated else {"R2": "no A/A runs are declared for this rung"})
    assert ("R2" in tally.gates["gate1"].rules) is evaluated
    paid = floors if reference == "a" else 0
    assert tally.methods["rules"].cost == 10 * (4 + paid + 2 * (4 + paid))
    assert tally.methods["full"].cost == 10 * 2 * 4


def test_a_floor_is_not_paid_where_nobody_is_left(tmp_path):
    gate = {"R1": {"kind": "top_k", "k": 2}, "R2": {"kind": "diverged"}, "R3": {"kind": "mean_gap", "role": "x", "to": "y", "most": 1.0},
            "R4": {"kind": "min_host_agreement", "tau": 1.0}, "R5": {"kind": "above_noise_floor", "multiple": 100.0},
            "R6": {"kind": "exceeds_gap", "gap": 1e-6}}  # fmt: skip
    rules = floored(ruleset({"gate1": gate, "gate2": TOP["gate2"]}, roles={"x": "a", "y": "b"}), 2)
    noisy = {name: [[3.0, 2.0 + n / 10], [3.4 + n / 10, 2.05 + n / 10]] for n, name in enumerate("abcd")}
    tally = run(tmp_path, rules, ladders=200, values=noisy, roles={"reference": "a", "x": "a", "y": "b"})
    blocked = tally.gates["gate1"].blocked
    assert 50 < blocked < 150, "two A/A runs differ in half of the draws"
    last = tally.gates["gate2"]
    assert (last.blocked, tally.methods["rules"].picks[-1]) == (0, blocked), (
        "where nobody is left, nothing is blocked anew"
    )
    assert last.cost == last.candidates * 2 + (200 - blocked) * 2 * 2


@pytest.mark.parametrize(("cells", "most"), [(16_384, 4_096), (400, 100), (3, 1), (400_000, 4_096)])
def test_the_pilot_is_a_batch_of_bounded_size(tmp_path, monkeypatch, cells, most):
    monkeypatch.setattr(replay, "BATCH_CELLS", cells)
    rules = ruleset(TOP)
    task = replay._Replay(pools_of(tmp_path, rules), rules, {}, False)
    drawn: list[int] = []
    draw = task.sampler.draw
    monkeypatch.setattr(
        task.sampler, "draw", lambda ladders, generator: drawn.append(ladders) or draw(ladders, generator)
    )
    task.match_starts(np.random.SeedSequence(1))
    assert drawn == [most]


def test_pairs_of_configurations_that_end_alike_do_not_count(tmp_path):
    level = {name: [[3.0 + n, 2.0 + n / 1000], [3.5 + n, 2.002 - n / 1000]] for n, name in enumerate("abc")}
    tally = run(tmp_path, ladders=10, values=level)
    assert (tally.pairs, tally.pair_ladders) == ({"rung1": 0.0, "rung2": 0.0}, 10)


def test_counts_are_merged_field_by_field_and_what_is_no_count_is_kept():
    def tally(n: int) -> ReplayTally:
        gate = GateCount(n, n, n, n, n, n, float(n), {"R1": RuleCount(n, 2 * n, 3 * n)})
        method = MethodCount(np.array([n, 0]), n, n, n, float(n), float(n * n))
        return ReplayTally(
            n, {"gate1": gate}, {"rules": method}, n, {"rung1": n / 2}, {"halving": 5}, {"gate1": {"R2": "why"}}
        )

    total = replay._merge(replay._merge(tally(0), tally(1)), tally(2))
    assert (total.ladders, total.pair_ladders, total.pairs) == (3, 3, {"rung1": 1.5})
    assert total.gates["gate1"] == GateCount(3, 3, 3, 3, 3, 3, 3.0, {"R1": RuleCount(3, 6, 9)})
    method = total.methods["rules"]
    assert (method.picks.tolist(), method.best_lost, method.cost, method.cost_squared) == ([3, 0], 3, 3.0, 5.0)
    assert (total.starts, total.left_out) == ({"halving": 5}, {"gate1": {"R2": "why"}})


def test_a_candidate_that_did_not_finish_is_behind_everybody(tmp_path):
    rules = ruleset(TOP)
    pools = pools_of(tmp_path, rules)
    broken = pools.rungs["rung1"].state.copy()
    broken[0] = 1  # every run of the best diverges at the first budget
    rungs = {**pools.rungs, "rung1": replace(pools.rungs["rung1"], state=broken)}
    tally = replay.replay(replace(pools, rungs=rungs), rules, {}, 10, 1)
    assert (tally.gates["gate1"].best_dropped, tally.gates["gate1"].rules["R1"]) == (10, RuleCount(10, 20, 10))
    assert tally.methods["rules"].picks.tolist() == [0, 10, 0, 0, 0]
    assert tally.methods["greedy 1"].picks.tolist() == [0, 10, 0, 0, 0]
    # of six pairs three have the best in them, of which a value is not known
    assert tally.pairs == {"rung1": 5.0, "rung2": 10.0}
