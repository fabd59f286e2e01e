"""Which noise applies at a gate, and that it is measured as it is.

python -m pytest tests/confidence/test_noise.py
"""

import numpy as np
import pytest

from stages.confidence.noise import NOT_MEASURED, floor, noise_of, replication
from stages.confidence.results import to_json
from tests.confidence import cases

RULES = {"R1": {"kind": "top_k", "k": 1}}
FLOOR = {"h1": [1.0, 1.01, 1.02], "h2": [1.0, 1.02, 1.04]}
PLAIN = {"cmp": [1.0, 1.1], "ref": [1.0, 1.1]}


def single(name, **over):
    return cases.gate(RULES, PLAIN, seeds=(31,), name=name, **over)


def test_a_gate_with_two_seeds_a_host_measures_its_own_noise():
    gate = cases.gate(RULES, {"cmp": [1.0, 1.02, 1.0, 1.02], "ref": [1.0, 1.0, 1.0, 1.0]}, floor=FLOOR)
    noise = noise_of(gate, [gate])
    assert (noise.source, noise.rung, noise.borrowed, noise.df) == ("replication", "rung3", False, 1)
    # residuals of +-0.005 in all four cells of a host: sum of squares 1e-4 over one degree of freedom
    assert noise.sd == pytest.approx({"h1": 0.01, "h2": 0.01})


def test_a_shift_that_a_seed_gives_to_everybody_is_no_noise():
    scores = {"cmp": [1.0, 1.05, 1.2, 1.25], "ref": [1.1, 1.15, 1.3, 1.35]}
    noise = replication(cases.gate(RULES, scores))
    assert noise.df == 1 and list(noise.sd.values()) == pytest.approx([0, 0], abs=1e-9)


def test_one_candidate_alone_is_measured_over_its_seeds():
    noise = replication(cases.gate(RULES, {"ref": [1.0, 1.02, 1.0, 1.04]}))
    assert noise.noisiest is None
    assert noise.df == 1 and noise.sd == pytest.approx(
        {"h1": np.std([1, 1.02], ddof=1), "h2": np.std([1, 1.04], ddof=1)}
    )


def test_a_candidate_that_diverged_is_left_out():
    scores = {"cmp": [1.0, 1.02, 1.0, 1.02], "d": [1.0, None, 1.0, 9.0], "ref": [1.0, 1.0, 1.0, 1.0]}
    assert replication(cases.gate(RULES, scores)).df == 1


def test_a_candidate_that_carries_most_of_the_noise_is_named_with_the_noise_without_it():
    others = {"cmp": [1.0, 1.02, 1.0, 1.02], "ref": [1.0, 1.0, 1.0, 1.0]}
    gate = cases.gate(RULES, {**others, "sen": [1.0, 1.2, 1.0, 1.2]})
    noise = replication(gate)
    assert noise.noisiest.config == "sen" and 0.5 < noise.noisiest.share < 1
    assert noise.noisiest.sd_without == pytest.approx(replication(cases.gate(RULES, others)).sd)
    stored = to_json(noise)["noisiest"]
    assert stored == {
        "config": "sen",
        "share": pytest.approx(noise.noisiest.share),
        "sd_without": {"h1": 0.01, "h2": 0.01},
    }


def test_nobody_is_named_where_no_candidate_carries_more_than_half_of_the_noise():
    even = {"a": [1.0, 1.02] * 2, "b": [1.02, 1.0] * 2, "c": [1.02, 1.0] * 2, "d": [1.0, 1.02] * 2}
    assert replication(cases.gate(RULES, even)).noisiest is None
    assert replication(cases.gate(RULES, {"cmp": [1.0, 1.2] * 2, "ref": [1.0, 1.0] * 2})).noisiest is None
    assert replication(cases.gate(RULES, {name: [1.0] * 4 for name in "abc"})).noisiest is None


def test_without_replication_the_nearest_floor_is_borrowed_and_named():
    gates = [single("gate1"), single("gate2"), cases.gate(RULES, {"ref": [1.0] * 4}, floor=FLOOR, name="gate3")]
    noise = noise_of(gates[0], gates)
    assert (noise.source, noise.rung, noise.borrowed, noise.df) == ("floor", "rung3", True, 2)
    assert noise.text == "borrowed from the A/A runs of rung3: 3 runs of the reference a host"
    assert noise.sd == pytest.approx({"h1": 0.01, "h2": 0.02})


def test_of_two_floors_as_near_the_earlier_is_taken_and_its_own_before_both():
    gates = [single("gate1", floor=FLOOR), single("gate2"), single("gate3", floor=FLOOR)]
    assert noise_of(gates[1], gates).rung == "rung1"
    own = noise_of(gates[2], gates)
    assert (own.rung, own.borrowed, own.text.split(":")[0]) == (
        "rung3",
        False,
        "measured by the A/A runs of rung3 itself",
    )


def test_a_floor_counts_the_seeds_that_finished_on_every_host():
    gate = single("gate3", floor={"h1": [1.0, 1.01, 1.02], "h2": [1.0, None, 1.04]})
    assert floor(gate, ("h1", "h2"), borrowed=False).df == 1
    assert floor(single("gate3", floor={"h1": [1.0, 1.01], "h2": [None, 1.04]}), ("h1", "h2"), borrowed=False) is None


def test_neither_replication_nor_a_floor_is_said_as_it_is():
    noise = noise_of(single("gate1"), [single("gate1")])
    assert (noise.source, noise.known, noise.sd) == ("none", False, {})
    assert noise.text == f"{NOT_MEASURED}: one seed a host, and no A/A runs"


def test_a_known_covariance_between_hosts_is_found_again():
    random = np.random.RandomState(3)
    sigma = np.array([[4e-6, 3e-6], [3e-6, 9e-6]])
    made = []
    for _ in range(60):
        noise = random.multivariate_normal([0, 0], sigma, size=(6, 3))  # candidates, seeds, hosts
        shift = random.normal(0, 0.02, (1, 3, 2)) + random.normal(0, 0.05, (6, 1, 2))
        scores = {name: np.round(1 + v.T.ravel(), 6).tolist() for name, v in zip("abcdef", noise + shift, strict=True)}
        made.append(replication(cases.gate(RULES, scores, seeds=(31, 32, 33))).covariance)
    # 60 estimates with 10 degrees of freedom each
    assert np.mean(made, axis=0) == pytest.approx(sigma, rel=0.2)
