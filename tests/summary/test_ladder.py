"""The ladder as summaries see it: who climbs each rung before and after its gate has decided, and who wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.summary.conftest import Case

GATES = ("gate1", "gate2", "gate3", "gate4", "gate5")


def test_before_any_gate_has_decided_everybody_climbs_the_first_rung_and_nobody_another(case: Case) -> None:
    ladder = case.without(*GATES).ladder()
    assert [rung.candidates for rung in ladder.rungs] == [case.configs, None, None, None, None]
    assert [rung.evidence is None for rung in ladder.rungs] == [False, True, True, True, True]
    assert set(ladder.rungs[0].ranking) <= set(case.configs)
    assert ladder.rungs[1].ranking == []
    assert (ladder.rungs[1].leader, ladder.rungs[1].rank) == (None, {})


@pytest.mark.parametrize("decided", [1, 2, 3, 4])
def test_whom_a_gate_promoted_climbs_the_rung_behind_it_and_nobody_a_later_one(case: Case, decided: int) -> None:
    ladder = case.without(*GATES[decided:]).ladder()
    before, after = ladder.rungs[decided - 1], ladder.rungs[decided]
    assert after.candidates == tuple(before.decision.promoted)
    assert {rung.candidates for rung in ladder.rungs[decided + 1 :]} <= {None}
    assert ladder.winner is None
    assert ladder.why_no_winner == "gate5 has not decided yet."


def test_a_ladder_ends_before_the_first_gate_that_is_not_frozen(case: Case) -> None:
    locks = {gate: lock for gate, lock in case.locks.items() if gate != "gate3"}
    ladder = replace(case, locks=locks).ladder()
    assert [rung.name for rung in ladder.rungs] == ["rung1", "rung2"]
    assert (ladder.last, ladder.winner) == (None, None)
    assert ladder.why_no_winner == "The last gate is not frozen yet."
    empty = replace(case, locks={}).ladder()
    assert (empty.rungs, empty.clock, empty.last) == ((), None, None)


def test_the_winner_is_the_leader_of_the_last_rung_unless_its_gate_is_blocked(case: Case) -> None:
    ladder = case.ladder()
    last = ladder.rungs[-1]
    assert ladder.last is last
    assert ladder.winner == last.leader == last.ranking[0]
    assert last.rank == {name: place for place, name in enumerate(last.ranking, start=1)}
    assert last.cells == len(last.frozen.hosts) * len(last.frozen.seeds)
    assert ladder.why_no_winner is None
    blocked = case.decisions["gate5"].model_copy(update={"outcome": "blocked", "blocked_by": ("R4", "R6")})
    ladder = replace(case, decisions=case.decisions | {"gate5": blocked}).ladder()
    assert ladder.winner is None
    assert ladder.why_no_winner == "gate5 is blocked by R4, R6."


def test_without_a_finished_candidate_in_every_cell_of_the_last_rung_nobody_wins(case: Case) -> None:
    records = tuple(run for run in case.records if (run.rung, run.host) != ("rung5", case.records[0].host))
    ladder = replace(case, records=records).ladder()
    assert (ladder.winner, ladder.why_no_winner) == (None, "No candidate of rung5 finished in every cell.")


def test_candidates_are_those_of_the_gates_own_decision_where_it_has_one(case: Case) -> None:
    """Also at the first rung: what a gate decided about is recorded, whatever params.yaml lists now."""
    ladder = replace(case, configs=(*case.configs, "added")).ladder()
    assert ladder.configs == (*sorted([*case.configs, "added"]),)
    assert [rung.candidates for rung in ladder.rungs] == [
        tuple(case.decisions[gate].candidates) for gate in ("gate1", "gate2", "gate3", "gate4", "gate5")
    ]
    assert (ladder.mode, ladder.clock) == ("frozen", "rated")
    rung = ladder.rungs[2]
    assert (rung.name, rung.gate, rung.cells, rung.frozen) == ("rung3", "gate3", 4, case.locks["gate3"].frozen)
    assert rung.records == tuple(run for run in case.records if run.rung == "rung3")
    assert rung.leader == rung.ranking[0] != rung.ranking[-1]


def test_the_clock_is_that_of_the_first_lock_also_where_there_is_no_other(case: Case) -> None:
    ladder = replace(case, locks={"gate1": case.locks["gate1"]}).ladder()
    assert (len(ladder.rungs), ladder.clock, ladder.last) == (1, "rated", None)
