"""What a simulation says beside its numbers: each sentence up to its limit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from stages.backtest import simulation_result
from stages.backtest.simulation_result import SIMULATION


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
