"""One gate as the pages see it, and the lead at the last rung: what is counted, named and missing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from report.gates import LUCK, GateView, Lead, NoiseScale, find_lead, nearest_noise
from stages.domain.decision import NoiseFloor, RankedCandidate
from stages.domain.study import parse_study
from tests.support import synthetic

STUDY = parse_study(synthetic.params(4), "params.yaml")


def candidate(config: str, mean: float, **hosts: float) -> RankedCandidate:
    return RankedCandidate(config=config, mean=mean, worst_host=mean, hosts=hosts)


def decision(**changed: Any) -> Any:
    values: dict[str, Any] = {
        "mode": "frozen", "blocked": False, "promoted": [], "candidates": [], "ranking": [], "floor": {}, "rules": [],
    }  # fmt: skip
    return SimpleNamespace(decision=SimpleNamespace(**values | changed))


def run(config: str, status: str = "finished", purpose: str = "candidate", id_: str = "") -> Any:
    executed = status in ("finished", "diverged", "failed")
    record = SimpleNamespace(config=config, status=status, purpose=purpose, executed=executed, id=id_)
    return SimpleNamespace(record=record)


def gate(rung: str = "rung3", before: Any = None, entry: Any = None, **changed: Any) -> GateView:
    values: dict[str, Any] = {"lock_file": None, "runs": [], "ledger": {}} | changed
    return GateView(STUDY, rung, before, entry=entry, **values)


@pytest.mark.parametrize(
    ("rung", "promoted", "last", "final"),
    [("rung5", [], True, True), ("rung5", ["a"], True, False), ("rung4", [], False, False), ("rung4", ["a"], False, False)],
)  # fmt: skip
def test_the_last_gate_gives_verdicts_where_it_promotes_nobody(
    rung: str, promoted: list[str], last: bool, final: bool
) -> None:
    view = gate(rung, entry=decision(promoted=promoted))
    assert (view.last, view.final) == (last, final)
    assert gate(rung).final is last


def test_a_gate_that_has_not_decided_is_neither_blocked_nor_a_what_if() -> None:
    shown = [
        (view.blocked, view.what_if)
        for view in (gate(), gate(entry=decision()), gate(entry=decision(blocked=True, mode="exploratory")))
    ]
    assert shown == [(False, False), (False, False), (True, True)]
    assert (gate().ranking, gate().leader, gate().rules_that_count, gate().noise) == ([], None, {}, None)


def test_rules_and_roles_are_those_of_the_lock_and_in_a_what_if_those_of_params_yaml() -> None:
    lock = SimpleNamespace(
        lock=SimpleNamespace(frozen=SimpleNamespace(rules={"R9": None}, roles={"reference": "x", "z": "y"}))
    )
    now = STUDY.gates["gate3"]
    frozen, tried = gate(lock_file=lock, entry=decision()), gate(lock_file=lock, entry=decision(mode="exploratory"))
    assert (frozen.rules, frozen.frozen_rules, frozen.roles) == (
        {"R9": None},
        {"R9": None},
        {"reference": "x", "z": "y"},
    )
    assert (tried.rules, tried.frozen_rules, tried.roles) == (now, {"R9": None}, {"z": "y", **STUDY.roles})
    assert (gate().rules, gate().frozen_rules, gate().roles) == (now, now, STUDY.roles)


def test_candidates_are_those_of_the_decision_else_those_that_the_gate_before_promoted() -> None:
    assert gate(entry=decision(candidates=["a"])).candidates == ["a"]
    assert gate("rung1").candidates == sorted(STUDY.configs)
    assert gate(before=gate("rung2", entry=decision(promoted=["b"]))).candidates == ["b"]
    assert gate(before=gate("rung2")).candidates is None


def test_why_a_gate_is_empty_is_that_of_the_first_gate_that_let_nobody_pass() -> None:
    open_, nobody = gate("rung2", entry=decision(promoted=["a"])), gate("rung2", entry=decision())
    blocked = gate("rung2", entry=decision(blocked=True))
    empty = gate("rung3", blocked, decision(blocked=True))
    assert [gate("rung3", before).why_empty for before in (None, open_, gate("rung2"))] == ["", "", ""]
    assert gate("rung3", nobody).why_empty == "gate 2 promoted no candidate"
    assert empty.why_empty == "gate 2 is blocked"
    assert gate("rung4", empty).why_empty == "gate 2 is blocked"


def test_a_rung_asks_for_the_runs_of_its_candidates_and_at_last_for_those_of_the_floor() -> None:
    before = gate("rung2", entry=decision(promoted=["d2-c001", "d1-c000"]))
    cells = [
        f"rung3/{config}/{host}/{seed}"
        for config in ("d1-c000", "d2-c001")
        for host in ("cpu-fp32", "cpu-bf16")
        for seed in (3000, 3001)
    ]
    floor = [f"rung3/d4-c003/{host}/floor-{seed}" for host in ("cpu-fp32", "cpu-bf16") for seed in (3900, 3901, 3902)]
    assert sorted(gate(before=before).run_ids) == sorted([*cells, *floor])
    assert gate(before=before).run_ids[-6:] == floor
    assert [name.split("/")[1] for name in gate(before=before).run_ids[:8]] == ["d1-c000"] * 4 + ["d2-c001"] * 4
    tried = gate(before=before, runs=[run("d2-c001", "unrun")])
    assert {name.split("/")[1] for name in tried.run_ids} == {"d1-c000", "d4-c003"}
    assert gate(before=gate("rung2", entry=decision())).run_ids == []
    ledger = {cells[0]: run("d1-c000"), cells[1]: run("d1-c000", "stopped")}
    assert gate(before=before, ledger=ledger).missing == [
        name for name in gate(before=before).run_ids if name != cells[0]
    ]


def test_places_on_a_host_go_by_its_means_and_whoever_has_none_there_comes_last() -> None:
    rows = [candidate("a", 1.0, **{"cpu-fp32": 2.0}), candidate("b", 2.0, **{"cpu-fp32": 1.0, "cpu-bf16": 1.0})]
    view = gate(entry=decision(ranking=rows))
    assert view.host_ranks == {"cpu-fp32": {"b": 1, "a": 2}, "cpu-bf16": {"b": 1, "a": 2}}
    assert view.leader == "a"


@pytest.mark.parametrize(
    ("variances", "noise"),
    [({}, None), ({"h": 0.0}, None), ({"h": 0.04, "i": 0.09}, NoiseScale("gate3", "rung3", 0.3))],
)
def test_the_noise_of_a_gate_is_that_of_its_noisiest_host(
    variances: dict[str, float], noise: NoiseScale | None
) -> None:
    floor = {host: NoiseFloor(runs=3, variance=variance) for host, variance in variances.items()}
    assert gate(entry=decision(floor=floor)).noise == noise


def test_the_noise_is_that_of_the_nearest_gate_and_of_two_as_near_that_of_the_earlier() -> None:
    def view(number: int) -> Any:
        return SimpleNamespace(noise=number if number in (2, 4, 5) else None)

    gates = {f"gate{n}": view(n) for n in range(1, 7)}
    assert [nearest_noise(gates, name) for name in gates] == [2, 2, 2, 4, 5, 5]
    assert nearest_noise({"gate1": view(1)}, "gate1") is None


@pytest.mark.parametrize(
    ("lead", "clear", "state", "verb"),
    [
        (Lead("a", 1.0), True, "winner", "wins"),
        (Lead("a", 1.0, "b", 0.1, noise=LUCK), True, "winner", "wins"),
        (Lead("a", 1.0, "b", 0.1, noise=1.99), False, "leader", "leads, within noise"),
        (Lead("a", 1.0, "b", 0.0, ("b", "c"), 0.0), False, "tied", "ties with b and c"),
        (Lead("a", 1.0, "b", 0.0, ("b",)), False, "tied", "ties with b"),
    ],
)
def test_a_lead_is_clear_from_two_standard_deviations_on(lead: Lead, clear: bool, state: str, verb: str) -> None:
    assert LUCK == 2.0
    assert (lead.clear, lead.state("a"), lead.verb) == (clear, state, verb)
    assert lead.state("b") == ("tied" if lead.equals else "finalist")
    assert lead.state("z") == "finalist"


def last(*rows: RankedCandidate, **changed: Any) -> dict[str, GateView]:
    floor = {"h": NoiseFloor(runs=2, variance=0.01)}
    return {
        "gate4": gate("rung4", entry=decision(floor=floor)),
        "gate5": gate("rung5", entry=decision(ranking=list(rows), **changed)),
    }


def test_the_lead_is_the_distance_of_the_second_in_the_noise_of_the_nearest_gate() -> None:
    first, second, equal = candidate("a", 1.0), candidate("b", 1.5), candidate("c", 1.0)
    assert find_lead(last()) is None
    assert find_lead(last(first, blocked=True)) is None
    assert find_lead(last(first)) == Lead("a", 1.0)
    assert find_lead(last(first, second)) == Lead("a", 1.0, "b", 0.5, (), 5.0, "rung4")
    assert find_lead(last(first, equal, second)) == Lead("a", 1.0, "c", 0.0, ("c",), 0.0, "rung4")
    alone = {"gate5": last(first, second)["gate5"]}
    assert find_lead(alone) == Lead("a", 1.0, "b", 0.5)


def test_names_titles_and_pages_of_a_gate_follow_from_its_rung() -> None:
    view = gate("rung3")
    assert (view.name, view.title, view.rung_title, view.page) == ("gate3", "Gate 3", "Rung 3", "gates/gate3.html")
    assert (view.budget, view.cells) == (10.0, [(h, s) for h in ("cpu-fp32", "cpu-bf16") for s in (3000, 3001)])
    runs = [run("a"), run("b", "stopped"), run("c", "failed")]
    assert replace(view, runs=runs).executed == [runs[0], runs[2]]
