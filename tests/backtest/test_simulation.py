"""Ladders of a model: shares that have a closed form, one ladder at a time as many at once, and what they cost."""

from __future__ import annotations

from dataclasses import replace
from math import acos, pi, sqrt

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from stages.backtest import simulation
from stages.backtest.model import Model
from stages.backtest.simulation import Design, halving_design, scaled_rules, simulate
from stages.backtest.simulation_result import loads
from stages.cli import main
from stages.domain.study import load
from tests.backtest.curves_csv import ruleset
from tests.backtest.test_engine import parse_rules
from tests.support.repo import PROJECT

#: Correlation 0.8 between the budgets 1 and 2, no host of its own, and next to no seed noise.
LENGTH = np.log(2) / -np.log(0.8)
QUIET = Model(2.0, 1.0, 0.5, 0.3, 0.1, 0.0, LENGTH, "exponential", 0.0, 1e-9, 0.0, ("",), np.zeros((1, 2)))
TOP1 = parse_rules({"R1": {"kind": "top_k", "k": 1}})


def within(share: float, expected: float, of: int) -> bool:
    return abs(share - expected) <= 5 * sqrt(max(expected * (1 - expected), 1e-12) / of)


def test_the_better_of_two_is_dropped_as_often_as_two_normals_disagree() -> None:
    """P(signs of two differences with correlation r disagree) = arccos(r) / pi."""
    (outcome,) = simulate(QUIET, [Design("one", (1.0, 2.0), (1, 1), (TOP1, {}))], 2, 40_000, 1)
    assert within(1 - outcome.kept, acos(0.8) / pi, 40_000)
    assert outcome.dropped[1] == 0
    assert outcome.kept == outcome.chosen
    # the loser's gap: E|d| over those dropped; d of the last budget is N(0, 2 x 0.01)
    regret = quad(
        lambda d: d * 2 * norm.pdf(d, scale=0.1 * sqrt(2)) * norm.cdf(-0.8 * d / (0.1 * sqrt(2)) / 0.6), 0, 2
    )[0]
    assert outcome.regret / 40_000 == pytest.approx(regret, rel=0.05)


def test_seed_noise_at_the_last_rung_alone_has_a_closed_form_too() -> None:
    """Two configurations N(0, 0.1) apart, each measured with noise 0.1: the correlation of the differences is 1/sqrt(2)."""
    noisy = replace(QUIET, noise_sd=0.1)
    (outcome,) = simulate(
        noisy, [Design("all", (1.0, 2.0), (1, 1), (parse_rules({"R1": {"kind": "top_k", "k": 2}}), {}))], 2, 40_000, 2
    )
    assert outcome.dropped[0] == 0
    assert within(outcome.dropped[1] / 40_000, acos(1 / sqrt(2)) / pi, 40_000)


def test_more_seeds_shrink_the_noise_as_their_root() -> None:
    noisy = replace(QUIET, noise_sd=0.1)
    everyone = parse_rules({"R1": {"kind": "top_k", "k": 2}})
    (outcome,) = simulate(noisy, [Design("all", (1.0, 2.0), (1, 4), (everyone, {}))], 2, 40_000, 3)
    assert within(outcome.dropped[1] / 40_000, acos(1 / sqrt(1.25)) / pi, 40_000)


def test_costs_are_those_of_the_runs_that_were_entered() -> None:
    designs = [halving_design(QUIET, (1.0, 2.0), 8, 2, (1, 3), 0)]
    (outcome,) = simulate(replace(QUIET, hosts=("a", "b"), host_effects=np.zeros((2, 2))), designs, 8, 500, 1)
    assert outcome.entered.tolist() == [8 * 500, 4 * 500]
    assert outcome.cost == 500 * 2 * (8 * 1.0 * 1 + 4 * 2.0 * 3)


def test_floor_runs_of_the_reference_are_paid_and_judged() -> None:
    """Two A/A runs a host of deviation 0.1, and a threshold of 1: a hundred times larger, so nothing is blocked."""
    gate = parse_rules({"R1": {"kind": "above_noise_floor", "multiple": 0.1}, "R2": {"kind": "within_gap", "gap": 1.0}})
    design = Design("floor", (1.0, 2.0), (1, 1), (gate, {}), ("reference",), (2, 0))
    (outcome,) = simulate(replace(QUIET, noise_sd=0.1), [design], 4, 200, 1)
    assert outcome.cost == 200 * (1.0 * (4 + 2) + 2.0 * 4)
    assert outcome.nobody == 0
    loud = Design("loud", (1.0, 2.0), (1, 1), (parse_rules({"R1": {"kind": "above_noise_floor", "multiple": 100.0}, "R2": {"kind": "within_gap", "gap": 0.001}}), {}), ("reference",), (2, 0))  # fmt: skip
    (blocked,) = simulate(replace(QUIET, noise_sd=0.1), [loud], 4, 200, 1)
    assert blocked.nobody == 200


def test_one_ladder_at_a_time_says_what_many_at_once_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ladder of its own keeps the arrays of its candidates alone."""
    noisy = replace(QUIET, noise_sd=0.03, hosts=("a", "b"), host_part=0.3, host_effects=np.zeros((2, 2)))
    gates = ruleset({"gate1": {"R1": {"kind": "keep_role", "role": "reference"}, "R2": {"kind": "top_k", "k": 10}, "R3": {"kind": "exceeds_gap", "gap": 0.2}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}}, roles={"reference": "x"})  # fmt: skip
    design = [scaled_rules(gates, (1.0, 2.0), 50, 50)]
    (many,) = simulate(noisy, design, 50, 3000, 5)
    monkeypatch.setattr(simulation, "BATCH_VALUES", 1)
    (single,) = simulate(noisy, design, 50, 3000, 5)
    for name in ("kept", "chosen"):
        one, other = getattr(many, name), getattr(single, name)
        assert abs(one - other) < 5 * sqrt(2 * one * (1 - one) / 3000)
    assert many.entered[1] == pytest.approx(single.entered[1], rel=0.01)
    assert many.cost == pytest.approx(single.cost, rel=0.01)


def test_the_number_of_threads_changes_nothing() -> None:
    designs = [halving_design(QUIET, (1.0, 2.0), 100, 3, (1, 1), 2)]
    (one,), (other,) = (simulate(QUIET, designs, 100, 5000, 1, workers=workers) for workers in (1, 3))
    assert (one.dropped.tolist(), one.regret, one.cost) == (other.dropped.tolist(), other.regret, other.cost)


def test_a_ladder_that_keeps_everybody_drops_nobody() -> None:
    everyone = parse_rules({"R1": {"kind": "top_k", "k": 30}})
    (outcome,) = simulate(QUIET, [Design("all", (1.0, 2.0), (1, 1), (everyone, {}))], 30, 200, 1)
    assert (outcome.kept, outcome.chosen, outcome.regret, outcome.top_lost) == (1.0, 1.0, 0.0, 0)


def test_every_k_grows_in_proportion() -> None:
    rules = ruleset({"gate1": {"R1": {"kind": "top_k", "k": 3}}, "gate2": {"R1": {"kind": "top_k", "k": 1}}})
    design = scaled_rules(rules, (1.0, 2.0), 12, 100_000)
    assert [gate["R1"].k for gate in design.gates] == [25_000, 8_333]


def test_the_command_says_that_it_is_simulation(tmp_path, capsys) -> None:
    words = ["simulate", "--from", str(PROJECT / "ledger" / "runs.jsonl"), "--rules", str(PROJECT / "params.yaml")]
    with pytest.raises(SystemExit) as end:
        main([*words, "--configs", "12", "--ladders", "100", "--json", str(tmp_path / "s.json")])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("This is a simulation: ")
    assert out.count("(simulation)") == 2
    assert "Only 3 configurations were recorded at the largest budget" in out
    assert "No noise was measured at budget 0.5, 1" in out
    result = loads((tmp_path / "s.json").read_bytes(), "s.json")
    assert result.sizes[0].designs[0].name == load(PROJECT / "params.yaml").study.name
    assert result.dumps() == (tmp_path / "s.json").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--configs", "many"], "--configs: found 'many', expected numbers such as 100,1000"),
        (["--configs", "3"], "--configs: found '3', expected numbers from 4 to 1000000"),
        (["--ladders", "0"], "--ladders: expected 1 to 1000000"),
    ],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused(words, told, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["simulate", "--from", str(PROJECT / "ledger" / "runs.jsonl"), *words])
    assert end.value.code == 2
    assert told in capsys.readouterr().err


def test_curves_need_their_map(capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["simulate", "--from", str(PROJECT / "studies" / "backtest" / "modded_nanogpt_track3.csv")])
    assert end.value.code == 2
    assert "a CSV needs --map" in capsys.readouterr().err
