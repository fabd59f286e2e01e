"""What a simulation says beside its numbers: each sentence up to its limit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from stages.backtest import simulation_result
from stages.backtest.model import HeldOut, Model
from stages.backtest.simulation import Design, LadderOutcomes
from stages.backtest.simulation_result import SIMULATION
from stages.domain.rules import say
from tests.backtest.test_engine import parse_rules


def state(
    *, configs: int = 8, freedom: tuple[float, ...] = (15, 15), prefix: bool = False, roles: Any = None, **more: Any
) -> list[str]:
    """The sentences of a simulation of so many configurations at the last of two budgets, nine at the first."""
    counts = np.zeros((9, 1, 2))
    counts[:, :, 0], counts[:configs, :, 1] = 1, 2
    samples = SimpleNamespace(prefix=prefix, freedom=np.array(freedom), budgets=(1.5, 20.0), counts=counts)
    designs = [SimpleNamespace(roles={}), SimpleNamespace(roles=roles or {})]
    return simulation_result._statements(cast("Any", samples), cast("Any", designs), more.get("left_out", []))


WEAK = "Only {} configurations were recorded at the largest budget: the model is weak there."


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({}, []),
        ({"configs": 7}, [WEAK.format(7)]),
        ({"configs": 9}, []),
        ({"freedom": (15, 14)}, ["Seed noise rests on 29 degrees of freedom."]),
        ({"freedom": (0, 30)}, ["No noise was measured at budget 1.5: it is extended as a power of the budget."]),
        ({"freedom": (1, 29)}, []),
        ({"prefix": True},
         ["It is fitted to prefixes of one long run, not to separate short runs as in the protocol."]),
        ({"roles": {"reference": "a"}}, ["Roles of the rules are held by configurations drawn at random."]),
        ({"left_out": ["failed: nothing fails", "x"]},
         ["Not evaluable in a simulation, taken as met: failed: nothing fails.",
          "Not evaluable in a simulation, taken as met: x."]),
        ({"freedom": (0, 0), "configs": 0},
         ["No noise was measured at budget 1.5, 20: it is extended as a power of the budget.",
          "Seed noise rests on 0 degrees of freedom.", WEAK.format(0)]),
    ],
)  # fmt: skip
def test_a_simulation_says_what_it_rests_on(over: dict[str, Any], told: list[str]) -> None:
    assert state(**over) == [SIMULATION, *told]


DESIGN = Design(
    "mine", (1.0, 4.0), (1, 3), (parse_rules({"R2": {"kind": "top_k", "k": 2}, "R1": {"kind": "diverged"}}), {})
)


def test_the_figures_of_a_design_are_shares_of_ladders_with_their_errors() -> None:
    outcome = LadderOutcomes(
        400, np.array([30, 10]), top_lost=100, nobody=7, finalists=900, regret=2.0, regret_squared=0.5, cost=9_600.0,
        entered=np.array([3200.0, 801.0]),
    )  # fmt: skip
    assert simulation_result.design_figures(DESIGN, outcome, 8, 2).model_dump() == {
        "name": "mine",
        "rules": [f"gate1 R1: {say(DESIGN.gates[0]['R1'])}", f"gate1 R2: {say(DESIGN.gates[0]['R2'])}"],
        "seeds": [1, 3],
        "entered": [8.0, 2.0025],
        "dropped": [0.075, 0.025],
        "kept": 0.925,
        "kept_error": 0.01317,  # the root of 0.925 x 0.075 / 400
        "chosen": 0.9,
        "chosen_error": 0.015,
        "top3_lost": 0.25,
        "nobody": 0.0175,
        "regret": 0.005,
        "regret_error": 0.00175,  # the root of (0.5 / 400 - 0.005^2) / 400
        "cost_share": 0.375,  # of 8 x 2 runs of 4 in each ladder
    }


def test_regret_that_never_differs_has_no_error_and_shares_stay_between_none_and_all() -> None:
    outcome = LadderOutcomes(
        3, np.array([0, 0]), regret=0.3, regret_squared=0.03 - 1e-12, cost=1.0, entered=np.array([1.0, 2.0])
    )
    figures = simulation_result.design_figures(DESIGN, outcome, 1, 1)
    assert (figures.regret, figures.regret_error) == (0.1, 0.0)
    assert figures.entered == [0.333333, 0.666667]
    assert figures.cost_share == 0.083333
    assert [simulation_result._share(value) for value in (-1e-9, 1 + 1e-9, 1 / 3, -0.2, 1.2)] == [
        0.0,
        1.0,
        0.333333,
        0.0,
        1.0,
    ]
    assert [simulation_result._error(share, 9) for share in (0.0, 1.0, 0.5, 1.1)] == [0.0, 0.0, 0.166667, 0.0]


def test_a_model_is_told_to_nine_decimals() -> None:
    model = Model(
        8.0, 1 / 3, 0.5, 0.3, 0.01, -0.2, 4.0, "matern32", 2 / 3, 1e-3 / 3, 0.0, ("h",), np.zeros((1, 2)), 12.0
    )
    assert simulation_result.model_figures(model).model_dump() == {
        "offset": 0.333333333, "scale": 0.5, "exponent": 0.3, "config_sd": 0.01, "config_slope": -0.2, "length": 4.0,
        "kernel": "matern32", "host_part": 0.666666667, "noise_sd": 0.000333333, "noise_slope": 0.0, "likelihood": 12.0,
    }  # fmt: skip


def test_a_simulation_holds_what_it_was_made_of() -> None:
    whole = SimpleNamespace(
        name="folder/runs.jsonl", configs=("a", "b", "c"), hosts=("h1", "h2"), budgets=(1.0, 4.0), unit="nats", prefix=True,
        freedom=np.array([20.0, 20.0]), counts=np.ones((9, 2, 2)),
    )  # fmt: skip
    model = Model(4.0, 1.0, 0.5, 0.3, 0.01, 0.0, 4.0, "exponential", 0.0, 1e-3, 0.0, ("h1", "h2"), np.zeros((2, 2)))
    held = [HeldOut(4.0, 3, 1 / 3, 2 / 3, (1 / 3, 1.0), 6)]
    outcome = LadderOutcomes(10, np.array([1, 0]), cost=320.0, entered=np.array([40.0, 20.0]))
    result = simulation_result.summarise(
        cast("Any", whole), "f" * 64, model, held, [(4, [DESIGN], [outcome])], 5, ["R1: why"]
    )
    assert result.model_dump(by_alias=True) == {
        "schema": 1,
        "kind": "simulation",
        "source": {"name": "runs.jsonl", "sha256": "f" * 64},
        "recorded_configs": 3,
        "hosts": ["h1", "h2"],
        "budgets": [1.0, 4.0],
        "unit": "nats",
        "prefix": True,
        "seed": 5,
        "model": simulation_result.model_figures(model).model_dump(),
        "fit": [{"budget": 4.0, "configs": 3, "error": 0.333333, "naive": 0.666667, "coverage": [0.333333, 1.0], "folds": 6}],
        "sizes": [
            {
                "configs": 4,
                "ladders": 10,
                "designs": [simulation_result.design_figures(DESIGN, outcome, 4, 2).model_dump()],
            }
        ],
        "statements": [
            SIMULATION,
            "It is fitted to prefixes of one long run, not to separate short runs as in the protocol.",
            "Not evaluable in a simulation, taken as met: R1: why.",
        ],
    }  # fmt: skip
    assert simulation_result.loads(result.dumps(), "r.json") == result
    nothing = simulation_result.summarise(cast("Any", whole), "f" * 64, replace(model, hosts=()), [], [], 5)
    assert (nothing.sizes, nothing.fit, len(nothing.statements)) == ([], [], 2)
