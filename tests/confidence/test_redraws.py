"""Redraws: what they come to, that they are the real rules, and that their shares are what a repetition shows.

python -m pytest tests/confidence/test_redraws.py
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t

from stages.confidence import redraws
from stages.confidence.batch import MILLION
from stages.confidence.noise import noise_of
from stages.confidence.redraws import RedrawnGate, factor, gate_redraws, ladder_redraws
from stages.confidence.results import Noise
from stages.domain.decision import decide
from tests.confidence import cases

TOP = {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": 1}}
QUIET = Noise("replication", "rung3", False, ("h1", "h2"), ((1e-8, 0.0), (0.0, 1e-8)), 1000, "measured")
LOUD = replace(QUIET, covariance=((1e-4, 0.0), (0.0, 1e-4)))
NONE = Noise("none", None, False, ("h1", "h2"), (), 0, "no noise was measured")


def redrawn(rules, scores, noise=QUIET, **over):
    return RedrawnGate.of(cases.gate(rules, scores, **over), noise)


def test_a_gap_far_beyond_the_noise_never_flips():
    made = gate_redraws(redrawn(TOP, {"cmp": [1.0] * 4, "ref": [1.1] * 4}))
    assert (made.count, made.same_set, made.same_leader, made.flips) == (2000, 1.0, 1.0, {"cmp": 0.0, "ref": 0.0})


def test_two_that_tie_change_places_half_of_the_time():
    made = gate_redraws(redrawn(TOP, {"cmp": [1.0] * 4, "ref": [1.0] * 4}, LOUD))
    assert abs(made.flips["cmp"] - 0.5) < 3 * (0.25 / 2000) ** 0.5
    assert made.flips["cmp"] == made.flips["ref"] == pytest.approx(1 - made.same_set)


@pytest.mark.parametrize("df", [1, 3, 1000])
def test_a_share_has_the_tails_of_the_degrees_of_freedom_of_the_noise(df):
    """Two candidates, four cells of sd 0.01: the difference of their means in a repetition is t with sd 0.01."""
    gap = 0.02
    made = gate_redraws(redrawn(TOP, {"cmp": [1.0] * 4, "ref": [1.0 + gap] * 4}, replace(LOUD, df=df)))
    expected = t.sf(gap / 0.01, df)
    assert abs(made.flips["cmp"] - expected) < 3 * (expected * (1 - expected) / 2000) ** 0.5


def test_without_noise_there_is_no_share():
    assert gate_redraws(redrawn(TOP, {"cmp": [1.0] * 4, "ref": [1.1] * 4}, NONE)) is None


def test_a_verdict_has_a_share_of_its_own():
    rules = {"R1": {"kind": "near_equivalent", "role": "comparator", "to": "reference", "margin": 0.01}}
    made = gate_redraws(redrawn(rules, {"cmp": [1.01] * 4, "ref": [1.0] * 4}, LOUD))
    assert 0.4 < made.verdict_flips["R1"] < 0.75 and made.same_verdicts == pytest.approx(1 - made.verdict_flips["R1"])
    assert made.same_set == 1.0


def test_the_outcome_at_a_gate_that_promotes_nobody_is_the_first_place():
    made = gate_redraws(redrawn(LAST, {"cmp": [1.0] * 4, "ref": [1.0] * 4, "sen": [2.0] * 4}, LOUD, last=True))
    assert made.flips["cmp"] == made.flips["ref"] == pytest.approx(1 - made.same_leader)
    assert 0.4 < made.flips["cmp"] < 0.6 and made.flips["sen"] == 0 and made.same_set == 1.0


def test_what_the_rules_block_is_counted():
    rules = {**TOP, "R3": {"kind": "min_host_agreement", "tau": 1.0}}
    made = gate_redraws(redrawn(rules, {"cmp": [1.0] * 4, "ref": [1.001] * 4}, LOUD))
    assert 0.2 < made.blocked < 0.8 and made.same_set < 1 - made.blocked


def test_the_same_evidence_gives_the_same_shares_in_batches_of_any_gate():
    gate = redrawn(TOP, {"cmp": [1.0] * 4, "ref": [1.002] * 4}, LOUD)
    assert gate_redraws(gate) == gate_redraws(gate)


def test_fewer_scores_at_once_still_add_up_to_all_redraws(monkeypatch):
    monkeypatch.setattr(redraws, "MOST_SCORES", 100)
    gate = redrawn(TOP, {"cmp": [1.0] * 4, "ref": [1.0] * 4}, LOUD)
    assert sum(gate.batches(2000)) == 2000
    assert abs(gate_redraws(gate).flips["cmp"] - 0.5) < 3 * (0.25 / 2000) ** 0.5


def test_redrawn_tables_are_judged_as_decide_judges_them():
    rules = {
        **TOP,
        "R3": {"kind": "within_gap", "gap": 0.005},
        "R4": {"kind": "exceeds_gap", "gap": 0.02, "by": "worst_host"},
    }
    scores = {"cmp": [1.0] * 4, "d": [1.004] * 4, "ref": [1.006] * 4}
    gate = redrawn(rules, scores, LOUD)
    drawn = gate.draw(np.random.RandomState(1), 40)
    judged = gate.judge.judge(drawn)
    for row in range(40):
        table = {name: (drawn[row, at].ravel() / MILLION).round(6).tolist() for at, name in enumerate(gate.judge.names)}
        promoted = [name for at, name in enumerate(gate.judge.names) if judged.promoted[row, at]]
        assert promoted == decide(cases.evidence(rules, table)).promoted


def test_drawn_cells_have_the_measured_noise_twice_once_for_the_mean_and_once_for_the_cell():
    noise = replace(QUIET, covariance=((4e-6, 3e-6), (3e-6, 9e-6)), df=10**6)
    gate = redrawn(TOP, {"cmp": [1.0] * 4, "ref": [2.0] * 4}, noise)
    drawn = gate.draw(np.random.RandomState(2), 20_000) / MILLION
    cells = drawn[:, :, :, 0].reshape(-1, 2) - np.repeat([[1.0, 1.0], [2.0, 2.0]], 20_000, axis=0).reshape(
        2, -1, 2
    ).swapaxes(0, 1).reshape(-1, 2)
    assert np.cov(cells.T) == pytest.approx(np.array(noise.covariance) * 1.5, rel=0.05)  # 1 + 1 / two seeds


def test_a_covariance_of_too_few_runs_is_factored_all_the_same():
    flat = np.array([[4e-6, 4e-6], [4e-6, 4e-6]])
    lower = factor(flat)
    assert lower @ lower.T == pytest.approx(flat, rel=1e-6)
    assert not factor(np.zeros((2, 2))).any()


def test_a_cell_that_did_not_finish_stays_unfinished():
    made = gate_redraws(redrawn(TOP, {"cmp": [1.0] * 4, "ref": [0.5, 0.5, 0.5, None]}, LOUD))
    assert made.flips == {"cmp": 0.0, "ref": 0.0}


def test_a_share_is_how_often_fresh_seeds_decide_the_same():
    """Studies with known means and noise: the share that each predicts, against one repetition of each."""
    random = np.random.RandomState(11)
    sigma = np.array([[16e-6, 8e-6], [8e-6, 16e-6]])
    names = ["a", "b", "c", "d", "e"]
    rules = {"R1": {"kind": "top_k", "k": 2}}
    predicted, repeated = [], []

    def study(means):
        cells = means[:, None, None] + random.multivariate_normal([0, 0], sigma, size=(5, 3))
        return {name: np.round(cells[at].T.ravel(), 6).tolist() for at, name in enumerate(names)}

    for _ in range(150):
        means = 1.5 + random.normal(0, 0.01, 5)
        gate = cases.gate(rules, study(means), seeds=(31, 32, 33))
        predicted.append(gate_redraws(RedrawnGate.of(gate, noise_of(gate, [gate])), 200).same_set)
        again = decide(cases.evidence(rules, study(means), seeds=(31, 32, 33)))
        repeated.append(set(again.promoted) == gate.fates.promoted)
    predicted, repeated = np.array(predicted), np.array(repeated, dtype=float)
    error = ((predicted * (1 - predicted)).sum() ** 0.5) / len(predicted)
    assert 0.3 < predicted.mean() < 0.95
    assert abs(predicted.mean() - repeated.mean()) < 3 * error


STEPS = {"R1": {"kind": "top_k", "k": 2}}
LAST = {"R1": {"kind": "first_in_all_cells", "role": "reference"}}


def ladder(first, last, noise=QUIET, first_noise=None):
    return [
        redrawn(STEPS, first, first_noise or noise, name="gate1"),
        redrawn(LAST, last, noise, name="gate2", last=True),
    ]


def test_a_ladder_far_above_the_noise_has_one_winner():
    first = {"cmp": [1.0] * 4, "ref": [1.1] * 4, "sen": [1.5] * 4}
    made = ladder_redraws(ladder(first, {"cmp": [1.0] * 4, "ref": [0.9] * 4}), "ref")
    assert (made.same, made.other, made.unknown, made.blocked, made.fixed) == (1.0, 0.0, 0.0, 0.0, ())


def test_a_winner_that_was_nearly_stopped_before_is_no_sure_winner():
    first = {"cmp": [1.0] * 4, "ref": [1.1] * 4, "sen": [1.1] * 4}
    made = ladder_redraws(ladder(first, {"cmp": [1.0] * 4, "ref": [0.9] * 4}), "ref")
    assert abs(made.unknown - 0.5) < 3 * (0.25 / 2000) ** 0.5  # the sentinel goes on, and was never trained further
    assert made.same + made.unknown == pytest.approx(1.0)
    assert made.unless == 0  # it takes the winner's place


def test_a_winner_that_an_untrained_one_joins_wins_unless_that_would_have_beaten_it():
    first = {"cmp": [1.0] * 4, "ref": [1.01] * 4, "sen": [1.1] * 4}
    steps = [
        redrawn({"R1": {"kind": "within_gap", "gap": 0.1}}, first, name="gate1"),
        redrawn(LAST, {"cmp": [1.0] * 4, "ref": [0.9] * 4}, name="gate2", last=True),
    ]
    steps[0] = replace(steps[0], noise=replace(QUIET, covariance=((1e-6, 0.0), (0.0, 1e-6))))
    made = ladder_redraws(steps, "ref")
    assert 0.3 < made.unknown < 0.7 and made.unless == made.unknown


def test_a_redraw_in_which_another_leads_counts_for_it():
    first = {"cmp": [1.0] * 4, "ref": [1.1] * 4, "sen": [1.5] * 4}
    made = ladder_redraws(ladder(first, {"cmp": [1.0] * 4, "ref": [1.0] * 4}), "cmp")
    assert made.others.keys() == {"ref"} and made.same + made.others["ref"] == pytest.approx(1.0)
    assert abs(made.same - 0.5) < 3 * (0.25 / 2000) ** 0.5


def test_a_gate_without_noise_stays_as_decided_and_is_named():
    first = {"cmp": [1.0] * 4, "ref": [1.1] * 4, "sen": [1.1] * 4}
    last = {"cmp": [1.0] * 4, "ref": [0.9] * 4}
    made = ladder_redraws(ladder(first, last, first_noise=NONE), "ref")
    assert (made.same, made.fixed) == (1.0, ("gate1",))
    assert ladder_redraws(ladder(first, last, NONE), "ref") is None


def test_a_ladder_that_a_rule_blocks_has_no_winner_then():
    rules = {**STEPS, "R2": {"kind": "min_host_agreement", "tau": 1.0}}
    first = redrawn(rules, {"cmp": [1.0] * 4, "ref": [1.0001] * 4}, LOUD, name="gate1")
    made = ladder_redraws([first, redrawn(LAST, {"cmp": [1.0] * 4, "ref": [0.9] * 4}, name="gate2", last=True)], "ref")
    assert made.blocked > 0.2 and made.same + made.blocked == pytest.approx(1.0)
