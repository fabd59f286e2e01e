"""The replay: counts that have a known answer, whole ladders judged one by one, and figures that do not depend on threads."""

from __future__ import annotations

from itertools import product
from math import sqrt

import numpy as np
import pytest

from stages.backtest import baselines, curves, engine, figures, replay
from stages.backtest.draws import Sampler
from stages.backtest.pools import arrange
from stages.backtest.replay import METHODS
from tests.backtest.curves_csv import arranged, curve_map, rows, ruleset, write
from tests.backtest.test_engine import judged

TOP = {"gate1": {"R1": {"kind": "top_k", "k": 1}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}}
#: At budget 1, a draw of `a` beats one of `b` in 2 of 4 cases, and c is always last; in the end a < b < c.
VALUES = {
    "a": [[3.0, 2.0], [3.4, 2.1]],
    "b": [[3.2, 2.2], [3.2, 2.3]],
    "c": [[3.5, 2.4], [3.6, 2.5]],
}


def run(path, rules, ladders=40_000, values=VALUES, seed=1, workers=2, roles=None, **over):
    continued = over.pop("continued", False)
    pools = arranged(path / "c.csv", values, rules, continued, **over)
    return pools, replay.replay(pools, rules, roles or {}, ladders, seed, continued, workers)


def within(count, of, share, errors=5.0):
    """Whether a count is its expectation within Monte-Carlo error."""
    return abs(count / of - share) <= errors * sqrt(max(share * (1 - share), 1e-12) / of)


def test_the_best_is_dropped_as_often_as_counted_by_hand(tmp_path):
    _, tally = run(tmp_path, ruleset(TOP))
    assert tally.ladders == 40_000
    assert within(tally.gates["gate1"].best_dropped, 40_000, 0.5)
    assert tally.gates["gate2"].best_dropped == 0
    assert within(tally.methods["rules"].picks[0], 40_000, 0.5)
    assert tally.methods["full"].picks.tolist() == [40_000, 0, 0, 0]
    assert tally.methods["greedy 1"].picks.tolist() == tally.methods["rules"].picks.tolist()


def test_the_mean_of_two_seeds_decides_where_a_rung_has_two(tmp_path):
    """The mean of two draws of a: 3.0, 3.2 (twice), 3.4, each a quarter; a tie with b goes to a by name."""
    _, tally = run(tmp_path, ruleset(TOP, seeds=(2, 1)))
    assert within(tally.gates["gate1"].best_dropped, 40_000, 0.25)


def test_regret_is_in_the_unit_of_the_final_value(tmp_path):
    pools, tally = run(tmp_path, ruleset(TOP))
    found = figures.regret(tally.methods["rules"], pools.truth)
    assert found.mean == pytest.approx(0.2 * 0.5, abs=5 * found.error)
    assert (found.p90, found.largest) == (0.2, 0.2)
    assert figures.regret(tally.methods["full"], pools.truth).mean == 0


def test_random_choice_gets_as_many_as_the_rules_cost_buys(tmp_path):
    """The rules cost 3 runs of 1 and 1 of 2: 5, which buys 2 of 3 configurations at budget 2."""
    _, tally = run(tmp_path, ruleset(TOP))
    chosen = tally.methods["random, matched"]
    assert (tally.methods["rules"].cost, chosen.cost) == (5 * 40_000, 4 * 40_000)
    assert chosen.finalists == 2 * 40_000
    assert within(chosen.picks[0], 40_000, 2 / 3)
    assert within(chosen.best_lost, 40_000, 1 / 3)


def test_a_budget_that_is_spent_to_the_last_run_buys_that_run(tmp_path):
    """Four configurations: the rules cost 4 x 1 + 1 x 2 = 6, which is three runs at budget 2 exactly, or one after rung 1."""
    values = {**VALUES, "d": [[3.7, 2.6], [3.8, 2.7]]}
    _, tally = run(tmp_path, ruleset(TOP), values=values, ladders=1000)
    assert tally.methods["random, matched"].finalists == 3 * 1000
    assert tally.methods["greedy n, matched"].finalists == 1000
    assert tally.methods["greedy n, matched"].cost == tally.methods["rules"].cost == 6 * 1000


def test_a_last_gate_that_is_blocked_chooses_nobody(tmp_path):
    blocking = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "above_noise_floor", "multiple": 100.0}, "R3": {"kind": "mean_gap", "role": "other", "to": "reference", "most": 0.001}}  # fmt: skip
    rules = ruleset(
        {"gate1": {"R1": {"kind": "top_k", "k": 3}}, "gate2": blocking}, roles={"reference": "a", "other": "b"}
    )
    sizes = {"rung1": rules.sizes["rung1"], "rung2": rules.sizes["rung2"].model_copy(update={"floor_seeds": 2})}
    rules = type(rules)(rules.name, rules.unit, rules.roles, sizes, rules.gates)
    _, tally = run(tmp_path, rules, roles={"reference": "a", "other": "b"}, ladders=10_000)
    nobody = tally.methods["rules"].picks[-1]
    assert nobody == tally.gates["gate2"].blocked
    assert within(nobody, 10_000, 0.5)
    # three runs at each rung and two A/A runs of a at the last
    assert tally.methods["rules"].cost == 10_000 * (3 * 1 + 3 * 2 + 2 * 2)


def test_a_continued_run_pays_its_increments_alone(tmp_path):
    _, fresh = run(tmp_path, ruleset(TOP))
    _, continued = run(tmp_path, ruleset(TOP), continued=True)
    assert fresh.methods["rules"].cost == 5 * 40_000
    assert continued.methods["rules"].cost == (3 * 1 + 1) * 40_000
    assert fresh.methods["full"].cost == continued.methods["full"].cost == 6 * 40_000


def test_a_continued_run_keeps_its_luck(tmp_path):
    """Followed through its budgets, the run of a that leads at 1 ends at 2.0 and never at 2.1."""
    pools = arranged(tmp_path / "c.csv", VALUES, ruleset(TOP), True)
    batch = Sampler(pools, continued=True).draw(500, np.random.default_rng(0))
    first, last = (batch.rungs[rung].scores[:, 0, 0, 0] for rung in ("rung1", "rung2"))
    assert set(zip(first.tolist(), last.tolist(), strict=True)) == {(3_000_000, 2_000_000), (3_400_000, 2_100_000)}
    batch = Sampler(arranged(tmp_path / "c.csv", VALUES, ruleset(TOP))).draw(500, np.random.default_rng(0))
    first, last = (batch.rungs[rung].scores[:, 0, 0, 0] for rung in ("rung1", "rung2"))
    assert len(set(zip(first.tolist(), last.tolist(), strict=True))) == 4


def test_every_run_is_drawn_equally_often(tmp_path):
    values = {"a": [[3.0 + n / 100, 2.0 + n / 100] for n in range(7)], "b": [[4.0, 3.0], [4.1, 3.1]]}
    pools = arranged(tmp_path / "c.csv", values, ruleset(TOP))
    scores = Sampler(pools).draw(70_000, np.random.default_rng(3)).rungs["rung1"].scores
    counts = np.unique(scores[:, 0], return_counts=True)[1]
    assert len(counts) == 7
    assert all(within(count, 70_000, 1 / 7) for count in counts)
    assert set(np.unique(scores[:, 1])) == {4_000_000, 4_100_000}


@pytest.mark.parametrize("workers", [1, 3])
def test_counts_do_not_depend_on_the_number_of_threads(tmp_path, workers, monkeypatch):
    monkeypatch.setattr(replay, "BATCH_CELLS", 3_000)
    rules = ruleset(TOP, seeds=(1, 2))
    _, one = run(tmp_path, rules, ladders=10_007, workers=2)
    _, other = run(tmp_path, rules, ladders=10_007, workers=workers)
    assert one.ladders == other.ladders == 10_007
    for name in METHODS:
        assert one.methods[name].picks.tolist() == other.methods[name].picks.tolist()
        assert one.methods[name].picks.sum() == 10_007
        assert one.methods[name].cost == other.methods[name].cost
    assert one.pairs == other.pairs


def test_another_seed_gives_other_draws(tmp_path):
    one, other = (run(tmp_path, ruleset(TOP), ladders=1_000, seed=seed)[1] for seed in (1, 2))
    assert one.methods["rules"].picks.tolist() != other.methods["rules"].picks.tolist()


GATES = {
    "gate1": {
        "R1": {"kind": "complete_cells"},
        "R2": {"kind": "exceeds_gap", "gap": 0.3},
        "R3": {"kind": "keep_role", "role": "reference"},
        "R4": {"kind": "top_k", "k": 2},
    },
    "gate2": {"R1": {"kind": "first_in_all_cells", "role": "reference"}, "R2": {"kind": "diverged"}},
}


def test_a_whole_ladder_is_the_one_that_the_judge_would_climb(tmp_path):
    """Gate after gate by `decide`, on the same draws: who goes on, who leads in the end, what it cost."""
    rules = ruleset(GATES, seeds=(2, 2), roles={"reference": "c"})
    values = {name: [[v[0] + n / 13, v[1] - n / 17] for n, v in enumerate(runs * 2)] for name, runs in VALUES.items()}
    pools = arranged(tmp_path / "c.csv", values, rules)
    task = replay._Replay(pools, rules, {"reference": "c"}, False)
    batch = task.sampler.draw(60, np.random.default_rng(5))
    choice = task.run_rules(batch, task.empty(60, 0).gates)
    for ladder in range(60):
        candidates, cost = np.ones(3, dtype=bool), 0.0
        for rung, draw in batch.rungs.items():
            gate = rung.replace("rung", "gate")
            cost += draw.cost[ladder][candidates].sum()
            cells = engine.Cells(draw.scores[ladder : ladder + 1], candidates[None], {"reference": 2})
            decision = judged(rules.gates[gate], cells, 0)
            if gate == "gate1":
                candidates = np.array([f"c{n}" in decision.promoted for n in range(3)])
                assert candidates.tolist() == choice.finalists[ladder].tolist()
        assert f"c{choice.pick[ladder]}" == decision.ranking[0].config
        assert choice.cost[ladder] == cost


def test_a_gate_that_is_blocked_leaves_nobody_to_choose(tmp_path):
    gates = {"gate1": {"R1": {"kind": "top_k", "k": 1}, "R2": {"kind": "above_noise_floor", "multiple": 100.0}, "R3": {"kind": "within_gap", "gap": 0.001}}, "gate2": TOP["gate2"]}  # fmt: skip
    rules = ruleset(gates, roles={"reference": "a"})
    floor = {rung: size.model_copy(update={"floor_seeds": 2}) for rung, size in rules.sizes.items()}
    rules = type(rules)(rules.name, rules.unit, rules.roles, floor, rules.gates)
    _, tally = run(tmp_path, rules, roles={"reference": "a"}, ladders=10_000)
    # two A/A runs of a differ in half of the draws, and then nothing is a hundred times as large as their deviation
    assert within(tally.gates["gate1"].blocked, 10_000, 0.5)
    assert tally.methods["rules"].picks[-1] == tally.gates["gate1"].blocked


def test_pairs_are_ordered_rightly_as_often_as_counted_by_hand(tmp_path):
    """Of the draws at budget 1, (a, b) is right in half, (a, c) and (b, c) always: 5 of 6."""
    pools, tally = run(tmp_path, ruleset(TOP))
    assert tally.pair_ladders >= replay.PAIR_LADDERS
    assert within(tally.pairs["rung1"], tally.pair_ladders, 5 / 6)
    assert tally.pairs["rung2"] == tally.pair_ladders
    assert figures.decision_accuracy(figures.pool_means(pools.rungs["rung1"]), pools.truth) == pytest.approx(2 / 3)


def test_decision_accuracy_counts_a_tie_as_wrong_and_leaves_equal_ends_out():
    small, final = np.array([1.0, 1.0, 2.0, 0.5]), np.array([1.0, 2.0, 3.0, 3.0])
    right = sum(
        (small[i] < small[j]) == (final[i] < final[j]) and small[i] != small[j]
        for i, j in product(range(4), range(4))
        if i < j and final[i] != final[j]
    )
    assert figures.decision_accuracy(small, final) == pytest.approx(right / 5)
    assert figures.decision_accuracy(small, np.ones(4)) is None


@pytest.mark.parametrize(
    ("start", "eta", "rungs", "sizes"), [(27, 3, 4, [27, 9, 3, 1]), (12, 2, 5, [12, 6, 3, 1, 1]), (2, 3, 3, [2, 1, 1])]
)
def test_halving_keeps_one_in_eta(start, eta, rungs, sizes):
    assert baselines.halving_sizes(start, eta, rungs) == sizes


def test_halving_starts_from_what_the_budget_buys():
    # from n: n x 1 + n/2 x 2 + n/4 x 4
    assert [baselines.affordable_start([1, 2, 4], 2, 100, budget) for budget in (24, 25)] == [8, 9]
    assert baselines.affordable_start([1, 2, 4], 2, 4, 1000) == 4
    assert baselines.affordable_start([1, 2, 4], 2, 4, 0.5) == 1


def test_successive_halving_is_that_of_a_loop(tmp_path):
    names = "abcdefgh"
    generator = np.random.default_rng(11)
    values = {name: generator.uniform(2, 3, (4, 3)).round(6).tolist() for name in names}
    three = {f"gate{n}": {"R1": {"kind": "top_k", "k": 1}} for n in (1, 2, 3)}
    rules = ruleset(three, seeds=(1, 2, 2))
    over = {"rungs": {"rung1": 1.0, "rung2": 2.0, "rung3": 3.0}, "final": {"kind": "at_budget", "budget": 3.0}}
    batch = Sampler(arranged(tmp_path / "c.csv", values, rules, **over)).draw(50, np.random.default_rng(2))
    choice = baselines.halving(batch, 2, 8, np.random.default_rng(0))
    for ladder in range(50):
        alive, cost = list(range(8)), 0.0
        for rung, keep in (("rung1", 4), ("rung2", 2), ("rung3", 1)):
            draw = batch.rungs[rung]
            cost += sum(draw.cost[ladder][n] for n in alive)
            alive = sorted(alive, key=lambda n, s=draw.scores: (s[ladder, n].sum(), n))[:keep]
        assert choice.pick[ladder] == alive[0]
        assert choice.cost[ladder] == cost


def test_crossed_hosts_are_drawn_and_judged_host_by_host(tmp_path):
    header, columns = (
        "config,seed,budget,value,host",
        {"config": "config", "seed": "seed", "budget": "budget", "value": "value", "host": "host"},
    )
    shifted = {name: [[v + 0.5 for v in one] for one in runs] for name, runs in VALUES.items()}
    lines = [f"{line},{host}" for host, of in (("h1", VALUES), ("h2", shifted)) for line in rows(of)]
    known = curve_map(columns=columns)
    gates = {
        "gate1": {"R1": {"kind": "min_host_agreement", "tau": 0.9}, "R2": {"kind": "top_k", "k": 1, "by": "each_host"}},
        "gate2": TOP["gate2"],
    }
    rules = ruleset(gates)
    found = curves.read_curves(write(tmp_path / "h.csv", lines, header), known)
    pools = arrange(found, known, rules)
    assert pools.rungs["rung1"].values.shape == (3, 2, 2)
    tally = replay.replay(pools, rules, {}, 20_000, 1)
    # tau is 1 where both hosts order a and b alike, which two fair coins do in half of the ladders
    assert within(tally.gates["gate1"].blocked, 20_000, 0.5)


def test_where_higher_is_better_everything_is_the_mirror_image(tmp_path):
    """10 less every value, and the other direction: the same draws, the same counts, the same regret."""
    mirrored = {name: [[round(10 - v, 6) for v in one] for one in runs] for name, runs in VALUES.items()}
    higher = {"value": {"unit": "nats", "direction": "higher"}}
    pools, tally = run(tmp_path, ruleset(GATES, roles={"reference": "c"}), roles={"reference": "c"})
    other_pools, other = run(
        tmp_path, ruleset(GATES, roles={"reference": "c"}), values=mirrored, roles={"reference": "c"}, **higher
    )
    for name in METHODS:
        assert tally.methods[name].picks.tolist() == other.methods[name].picks.tolist()
    one, two = (figures.regret(t.methods["rules"], p.truth) for t, p in ((tally, pools), (other, other_pools)))
    assert one == two


def test_how_sure_the_best_is_has_a_known_answer(tmp_path):
    """The mean of two draws of a is 2.0, 2.2 or 2.4; that of b is 2.3 always: a is first in three of four redraws."""
    values = {"a": [[3.0, 2.0], [3.1, 2.4]], "b": [[3.2, 2.3], [3.25, 2.3]]}
    shares = figures.sureness(arranged(tmp_path / "c.csv", values, ruleset(TOP)))
    assert within(shares[0] * figures.REDRAWS, figures.REDRAWS, 0.75)
    assert shares.sum() == 1


def test_pairs_are_all_that_differ_the_better_first():
    pairs = replay._Replay._pairs(np.array([3.0, 1.0, 1.0, 2.0]))
    assert pairs.tolist() == [[1, 2, 3, 1, 2], [0, 0, 0, 3, 3]]


def test_of_too_many_pairs_a_sample_is_taken_the_same_one_every_time(monkeypatch):
    truth = np.arange(6.0)
    whole = replay._Replay._pairs(truth)
    for most, kept in ((15, 15), (14, 14)):
        monkeypatch.setattr(replay, "PAIRS", most)
        pairs = replay._Replay._pairs(truth)
        assert pairs.shape == (2, kept)
        assert len({*map(tuple, pairs.T.tolist())}) == kept, "none twice"
        assert pairs.tolist() == replay._Replay._pairs(truth).tolist()
        assert [pair for pair in whole.T.tolist() if pair in pairs.T.tolist()] == pairs.T.tolist()
