"""The search for a design, part by part: what is tried, how many ladders decide, what is confirmed, what is written."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from stages.backtest import design as d
from stages.backtest.design import Tried, Wish, assumed_model, smallest_margin
from stages.backtest.simulation import Design, LadderOutcomes
from tests.backtest.test_engine import parse_rules

MODEL = assumed_model(0.001, 0.01, 0.7, 60.0, 3600.0, 2)
WISH = Wish(candidates=8, keep_best=0.9, hours=20.0, first=60.0, last=3600.0)


def test_ladders_are_geometric_from_three_first_budgets_in_round_numbers():
    assert list(d.ladders(WISH)) == [
        (3600.0,),
        (60.0, 3600.0), (170.0, 3600.0), (460.0, 3600.0),
        (60.0, 460.0, 3600.0), (170.0, 780.0, 3600.0), (460.0, 1300.0, 3600.0),
        (60.0, 230.0, 920.0, 3600.0), (170.0, 460.0, 1300.0, 3600.0), (460.0, 920.0, 1800.0, 3600.0),
        (60.0, 170.0, 460.0, 1300.0, 3600.0), (170.0, 360.0, 780.0, 1700.0, 3600.0), (460.0, 780.0, 1300.0, 2200.0, 3600.0),
    ]  # fmt: skip
    # budgets that round to one another are no ladder
    assert list(d.ladders(replace(WISH, first=100.0, last=101.0))) == [(101.0,), (100.0, 101.0)]


@pytest.mark.parametrize(
    ("rungs", "seeds"),
    [
        (1, [(1,), (2,), (4,)]),
        (2, [(1, 1), (1, 2), (1, 4), (2, 2), (2, 4)]),
        (3, [(1, 1, 1), (1, 1, 2), (1, 1, 4), (1, 2, 2), (1, 2, 4), (2, 2, 2)]),
    ],
)
def test_seeds_are_added_from_the_last_rung_on(rungs, seeds):
    assert d._seeds(rungs) == seeds


@pytest.mark.parametrize(
    ("candidates", "finalists"),
    [(2, [1]), (3, [1, 2]), (8, [1, 2, 3, 4, 6]), (12, [1, 2, 3, 4, 6, 9]), (40, [1, 2, 3, 4, 5, 6, 9, 10, 20, 30])],
)
def test_fewer_than_all_are_let_through_to_the_last_rung(candidates, finalists):
    assert d._finalists(candidates) == finalists


def test_every_ladder_is_tried_with_all_finalists_seeds_and_thresholds():
    tried = d.designs(MODEL, WISH)
    assert [sum(len(one.budgets) == rungs for one in tried) for rungs in range(1, 6)] == [3, 150, 180, 180, 180]
    assert tried[0] == Design("eta 1", (3600.0,), (1,), ({},))
    assert {len(one.gates[0]) for one in tried if len(one.budgets) > 1} == {1, 2}
    two = next(one for one in tried if len(one.budgets) == 3)
    assert (two.name, [gate["R1"].k for gate in two.gates[:-1]]) == ("eta 2.82843", [3, 1])
    # 0.0017 is supported by four seeds on two hosts, and by no fewer
    asked = d.designs(MODEL, replace(WISH, margin=0.0017))
    assert {one.seeds[-1] for one in asked} == {4}
    assert [sum(len(one.budgets) == rungs for one in asked) for rungs in range(1, 6)] == [1, 60, 60, 60, 60]


def test_a_margin_is_supported_from_its_own_size_on():
    least = smallest_margin(0.001, 2, 2)
    assert d.supports(MODEL, replace(WISH, margin=least), 2)
    assert not d.supports(MODEL, replace(WISH, margin=least * (1 - 1e-9)), 2)
    assert not d.supports(MODEL, replace(WISH, margin=1.0), 1), "one seed a host leaves no noise to test against"
    assert d.supports(MODEL, WISH, 1)
    assert d.seeds_for(least, 0.001, 2) == 2
    assert d.seeds_for(smallest_margin(0.001, 2, 64), 0.001, 2) == 64
    assert d.seeds_for(smallest_margin(0.001, 2, 64) * (1 - 1e-9), 0.001, 2) is None


def test_an_assumed_model_is_the_same_at_every_budget_and_on_every_host():
    assert (MODEL.reference, MODEL.offset, MODEL.scale, MODEL.exponent, MODEL.config_slope) == (
        3600.0,
        1.0,
        0.5,
        0.3,
        0.0,
    )
    assert (MODEL.kernel, MODEL.host_part, MODEL.noise_slope, MODEL.hosts) == (
        "exponential",
        0.0,
        0.0,
        ("host1", "host2"),
    )
    assert MODEL.host_effects.tolist() == [[0.0, 0.0], [0.0, 0.0]]


class Simulator:
    """Ladders in which a design keeps the best in the share and for the hours that its name says."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], int, int, int]] = []

    def __call__(self, model: Any, designs: Any, configs: int, ladders: int, seed: int) -> list[LadderOutcomes]:
        self.calls.append(([one.name for one in designs], configs, ladders, seed))
        return [self.outcome(one, ladders) for one in designs]

    def outcome(self, one: Design, ladders: int) -> LadderOutcomes:
        kept, hours = map(float, one.name.split("/"))
        dropped = np.array([round(ladders * (1 - kept)), 0])
        entered = np.array([8.0 * ladders, 2.0 * ladders])
        return LadderOutcomes(ladders, dropped, regret=0.25 * ladders, cost=hours * 3600 * ladders, entered=entered)


def made(*names: str) -> list[Design]:
    """Designs of these names; each has a budget of its own, so that no two are alike."""
    return [Design(name, (float(n), 99.0), (1, 1), ({}, {})) for n, name in enumerate(names, start=1)]


def search(
    patch: pytest.MonkeyPatch, *names: str, wish: Wish = WISH, designs: Any = None
) -> tuple[Any, Simulator, list]:
    simulator, reported = Simulator(), []
    patch.setattr(d, "designs", lambda model, wish: designs or made(*names))
    patch.setattr(d, "simulate", simulator)
    return d.search(MODEL, wish, 5, lambda done, of: reported.append((done, of))), simulator, reported


def names(tries: Any) -> list[str]:
    return [one.design.name for one in tries]


def test_designs_are_screened_in_batches_and_the_cheapest_confirmed_on_other_curves(monkeypatch):
    many = [f"0.5/{n}" for n in range(1, 24)]
    found, simulator, reported = search(monkeypatch, *many, "0.95/3.5", "0.99/9", "0.93/30")
    assert [(len(of), configs, ladders, seed) for of, configs, ladders, seed in simulator.calls] == [
        (24, 8, 2000, 5), (2, 8, 2000, 5), (1, 8, 20000, 1_000_008), (1, 8, 20000, 1_000_008),
    ]  # fmt: skip
    assert (names(found.within), found.cheapest.design.name, found.tried) == (["0.95/3.5", "0.99/9"], "0.95/3.5", 26)
    assert found.best_affordable.design.name == "0.99/9"
    assert found.best_affordable.ladders == 2000, "what is within the hours needs no other to be confirmed"
    assert reported == [(24, 26), (26, 26), (26, 66), (27, 66)], "of 30 hours nothing more is asked"
    first = found.within[0]
    assert (first.hours, first.kept, first.chosen, first.regret, first.entered) == (3.5, 0.95, 0.95, 0.25, (8.0, 2.0))
    assert first.low == pytest.approx(d.low_bound(19_000, 20_000))


def test_three_are_shown_and_the_search_ends(monkeypatch):
    found, simulator, _ = search(monkeypatch, "0.99/4", "0.99/1", "0.99/2", "0.99/3")
    assert names(found.within) == ["0.99/1", "0.99/2", "0.99/3"]
    assert [of for of, *_ in simulator.calls[1:]] == [["0.99/1"], ["0.99/2"], ["0.99/3"]]


def test_of_two_that_cost_as_much_the_one_that_keeps_more_goes_first(monkeypatch):
    found, _, _ = search(monkeypatch, "0.95/2", "0.99/2", "0.97/2")
    assert names(found.within) == ["0.99/2", "0.97/2", "0.95/2"]


def test_what_costs_more_is_looked_at_until_the_cheapest_is_known(monkeypatch):
    found, simulator, _ = search(monkeypatch, "0.8/10", "0.99/21", "0.99/22")
    assert (names(found.within), found.cheapest.design.name) == ([], "0.99/21")
    assert found.best_affordable.design.name == "0.8/10"
    assert found.best_affordable.ladders == 20_000, "it is confirmed where nothing else is within the hours"
    assert [of for of, *_ in simulator.calls[1:]] == [["0.99/21"], ["0.8/10"]]
    exact, _, _ = search(monkeypatch, "0.99/20")
    assert names(exact.within) == ["0.99/20"], "hours that are spent to the last are within"
    nothing, _, _ = search(monkeypatch, "0.99/21")
    assert (nothing.within, nothing.best_affordable) == ((), None)


def test_a_design_is_confirmed_where_chance_alone_may_have_kept_it_back_and_accepted_by_its_bound(monkeypatch):
    # twice the standard error of 0.9 in 2,000 ladders is 0.0134
    found, simulator, _ = search(monkeypatch, "0.886/1", "0.887/2", "0.9/3", "0.904/4")
    assert [of for of, *_ in simulator.calls[1:]] == [["0.887/2"], ["0.9/3"], ["0.904/4"]]
    assert names(found.within) == ["0.904/4"], "of 0.9 the lower bound is below 0.9"


def test_no_more_than_forty_are_confirmed(monkeypatch):
    found, simulator, _ = search(monkeypatch, *(f"0.895/{n / 10}" for n in range(1, 45)), "0.99/19")
    assert sum(len(of) == 1 for of, *_ in simulator.calls) == 41  # the last is the best that the hours buy
    assert (found.within, found.cheapest, found.best_affordable.design.name) == ((), None, "0.99/19")


@pytest.mark.parametrize(
    ("budgets", "seeds", "hours", "alike"),
    [
        ((1.0, 99.0), (1, 1), 2.0, True), ((1.0, 99.0), (1, 1), 2.0199, True), ((1.0, 99.0), (1, 1), 2.0201, False),
        ((1.0, 99.0), (1, 1), 1.9801, True), ((1.0, 99.0), (1, 1), 1.9799, False),
        ((2.0, 99.0), (1, 1), 2.0, False), ((1.0, 99.0), (1, 2), 2.0, False), ((2.0, 99.0), (1, 2), 2.0, False),
    ],
)  # fmt: skip
def test_designs_of_one_ladder_and_nearly_one_cost_are_alike(budgets, seeds, hours, alike):
    def tried(budgets: Any, seeds: Any, hours: float) -> Any:
        return cast("Any", SimpleNamespace(design=Design("x", budgets, seeds, ()), hours=hours))

    assert d._alike(tried(budgets, seeds, hours), tried((1.0, 99.0), (1, 1), 2.0)) is alike


def test_of_designs_that_are_alike_one_is_shown(monkeypatch):
    one, other, third = (Design(name, (1.0, 99.0), (1, 1), ({}, {})) for name in ("0.99/1", "0.99/1.001", "0.99/2"))
    found, _, _ = search(monkeypatch, designs=[one, other, third])
    assert names(found.within) == ["0.99/1", "0.99/2"]


@pytest.mark.parametrize(
    ("candidates", "screen", "confirm"),
    [(2, 2000, 20000), (30, 2000, 8000), (100, 600, 4000), (150, 400, 4000), (2000, 400, 4000)],
)
def test_more_candidates_take_fewer_ladders(monkeypatch, candidates, screen, confirm):
    _, simulator, _ = search(monkeypatch, "0.99/1", wish=replace(WISH, candidates=candidates))
    assert [ladders for _, _, ladders, _ in simulator.calls] == [screen, confirm]


def test_a_design_is_written_as_the_sections_of_a_study():
    gates = (
        parse_rules({"R1": {"kind": "top_k", "k": 4}, "R2": {"kind": "within_gap", "gap": 0.00123}}),
        parse_rules({"R1": {"kind": "top_k", "k": 1}}),
        {},
    )
    tried = Tried(
        Design("x", (60.0, 460.0, 3600.0), (1, 1, 2), gates),
        12.3456,
        0.95678,
        0.95123,
        0.9,
        0.1,
        (8.0, 4.567, 1.0),
        20_000,
    )
    assert d.to_yaml(tried, MODEL, replace(WISH, margin=0.002), ["noise as said", "hosts alike"]) == (
        "# Proposed by `promotion design`: a simulation, and no evidence.\n"
        "# The best of 8 candidates reaches the last rung in 95.7 % of 20000 ladders\n"
        "# (95.1 % or more with 95 % confidence) and is chosen in 90.0 %.\n"
        "# Expected cost: 12.3 device-hours. It assumes:\n"
        "#   noise as said\n"
        "#   hosts alike\n"
        "rungs:\n"
        "  rung1: {budget_seconds: 60, seeds: [101], floor_seeds: []}\n"
        "  rung2: {budget_seconds: 460, seeds: [201], floor_seeds: []}\n"
        "  rung3: {budget_seconds: 3600, seeds: [301, 302], floor_seeds: []}\n"
        "\n"
        "gates:\n"
        "  # About 4.57 of 8 go on; a mean of this rung has a standard error of 0.00071.\n"
        "  gate1:\n"
        "    R1: {kind: complete_cells}\n"
        "    R2: {kind: fixed_runner}\n"
        "    R3: {kind: fixed_data}\n"
        "    R4: {kind: diverged}\n"
        "    R5: {kind: failed}\n"
        "    R6: {kind: top_k, k: 4, by: mean}\n"
        "    R7: {kind: within_gap, gap: 0.00123, of: best}\n"
        "  # About 1 of 4.57 go on; a mean of this rung has a standard error of 0.00071.\n"
        "  gate2:\n"
        "    R1: {kind: complete_cells}\n"
        "    R2: {kind: fixed_runner}\n"
        "    R3: {kind: fixed_data}\n"
        "    R4: {kind: fresh_seeds}\n"
        "    R5: {kind: diverged}\n"
        "    R6: {kind: failed}\n"
        "    R7: {kind: top_k, k: 1, by: mean}\n"
        "  # The verdicts; a mean of this rung has a standard error of 0.0005.\n"
        "  gate3:\n"
        "    R1: {kind: complete_cells}\n"
        "    R2: {kind: fixed_runner}\n"
        "    R3: {kind: fixed_data}\n"
        "    R4: {kind: fresh_seeds}\n"
        "    R5: {kind: diverged}\n"
        "    R6: {kind: failed}\n"
        "    R7: {kind: near_equivalent, role: comparator, to: reference, margin: 0.002}\n"
    )
    bare = d.to_yaml(replace(tried, design=Design("y", (3600.0,), (2,), ({},))), replace(MODEL, hosts=()), WISH, [])
    assert bare.endswith("    R4: {kind: diverged}\n    R5: {kind: failed}\n")
    assert "  # The verdicts; a mean of this rung has a standard error of 0.00071.\n  gate1:\n" in bare
