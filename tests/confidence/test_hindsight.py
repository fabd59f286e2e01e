"""Hindsight: every figure counted again in another way, and what is not known said as not known."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import replace
from itertools import combinations
from statistics import mean
from typing import Any

import pytest
from scipy.stats import kendalltau

from stages import ledger
from stages.confidence.hindsight import OTHER_DECISION, _dropped_text, assess_hindsight
from stages.confidence.hindsight_results import Hindsight, from_bytes, to_bytes
from stages.domain import canonical, hindsight
from stages.domain.contract import from_lock
from stages.domain.errors import Invalid, Refused
from stages.domain.evidence import gather
from stages.domain.hindsight import read_last_decision
from stages.domain.records import HindsightRecord, parse_hindsight, parse_line
from tests.summary.conftest import Case
from tests.support import synthetic

SLACK = 1e-8


@pytest.fixture(scope="module")
def extra(case: Case) -> list[HindsightRecord]:
    """What was trained in hindsight of the synthetic study."""
    with chdir(case.root):
        ledger.main()
    synthetic.look_back(case.root)
    data = (case.root / hindsight.LEDGER).read_bytes()
    return [record for record, _ in parse_hindsight(data, "hindsight.jsonl")]


@pytest.fixture(scope="module")
def result(case: Case, extra: list[HindsightRecord]) -> Hindsight:
    return assessed(case, extra)


def assessed(case: Case, extra: list[HindsightRecord]) -> Hindsight:
    result = assess_hindsight(case.configs, case.locks, case.records, case.decisions, extra)
    assert isinstance(result, Hindsight)
    return result


def cells(case: Case, extra: list[HindsightRecord]) -> dict[str, dict[tuple[str, int], float]]:
    """Every score at the last budget."""
    table: dict[str, dict[tuple[str, int], float]] = {name: {} for name in case.configs}
    for run in [*case.records, *extra]:
        if run.rung == "rung5" and run.purpose != "floor" and run.val_bpb is not None:
            table[run.config][run.host, run.seed] = float(run.val_bpb)
    return table


@pytest.fixture(scope="module")
def means(case: Case, extra: list[HindsightRecord]) -> dict[str, float]:
    return {name: mean(scores.values()) for name, scores in cells(case, extra).items()}


def edited(extra: list[HindsightRecord], config: str, change: Any) -> list[HindsightRecord]:
    """The records, those of one configuration changed."""
    lines = []
    for run in extra:
        body = run.model_dump(by_alias=True)
        if run.config == config:
            change(body)
        lines.append(canonical.dumps(body))
    return [record for record, _ in parse_hindsight(b"".join(lines), "edited")]


def test_everybody_stands_at_the_last_budget_with_the_gate_that_stopped_it(case, means, result):
    assert [row.config for row in result.standings] == sorted(case.configs, key=lambda name: (means[name], name))
    assert [row.rank for row in result.standings] == list(range(1, len(case.configs) + 1))
    for row in result.standings:
        assert row.mean == pytest.approx(means[row.config], abs=SLACK)
        stopped = [gate for gate, decision in case.decisions.items() if row.config in decision.stopped][:1]
        last = row.config in case.decisions["gate5"].candidates
        assert [row.stopped_at] == ([None] if last else stopped)
        assert row.source == ("ladder" if last else "hindsight")


def test_the_regret_is_the_choice_less_the_best_of_all(case, means, result):
    choice = case.ladder().winner
    assert (result.choice, result.best) == (choice, min(means, key=means.get))
    assert result.regret == pytest.approx(means[choice] - min(means.values()), abs=SLACK)


def test_a_gate_is_told_whom_it_dropped_that_is_better_than_whom_it_kept(case, means, result):
    assert [gate.gate for gate in result.gates] == ["gate1", "gate2", "gate3", "gate4"]
    for gate in result.gates:
        kept = case.decisions[gate.gate].promoted
        dropped = [name for name in case.decisions[gate.gate].candidates if name not in kept]
        wrong = [(d, k) for d in dropped for k in kept if means[d] < means[k]]
        assert (gate.pairs, gate.inversions) == (len(kept) * len(dropped), len(wrong))
        assert {row.config: set(row.kept) for row in gate.better} == {
            d: {k for e, k in wrong if e == d} for d, _ in wrong
        }
        best = min(means[name] for name in [*kept, *dropped])
        assert gate.regret == pytest.approx(min(means[name] for name in kept) - best, abs=SLACK)
        for row in gate.better:
            first = min(row.kept, key=means.get)
            assert (row.against.against, row.against.mean) == (first, pytest.approx(means[row.config] - means[first]))
            assert row.against.lower < row.against.mean < row.against.upper
    assert any(gate.better for gate in result.gates)  # or the test shows nothing


def test_what_was_kept_by_a_role_alone_is_told(case, result):
    for gate in result.gates:
        decision = case.decisions[gate.gate]
        kinds = {rule.id: rule.kind for rule in decision.rules}
        for row in gate.better:
            rules = {kinds[rule] for name in row.kept for rule in decision.promoted_by[name]}
            assert row.by_role == (rules == {"keep_role"})


def test_the_line_sets_apart_who_beat_what_a_role_kept_and_who_beat_what_was_kept_on_merit(result):
    gate = next(gate for gate in result.gates if gate.better)
    role, merit = (replace(gate.better[0], by_role=by_role) for by_role in (True, False))

    def text(*better):
        return _dropped_text([replace(gate, dropped=8, better=better)])

    assert text(merit, *[role] * 7) == (
        "of the 8 it stopped, 1 was better than what it kept on merit; 7 others beat only what a role kept"
    )
    assert text(role) == "of the 8 it stopped, none was better than what it kept on merit; 1 beat only what a role kept"
    assert text(merit, merit) == "of the 8 it stopped, 2 were better than what it kept on merit"
    assert text() == "no gate dropped a better one"


def test_each_rung_is_told_how_well_it_foretold_the_last_over_all_configurations(case, means, result):
    for place, row in enumerate(result.foretold, start=1):
        rungs = {rung.name: rung for rung in case.ladder().rungs[:place]}
        own = {name: float(rungs[row.rung].evidence.mean(name)) for name in rungs[row.rung].ranking}
        names = list(own)
        expected = kendalltau([own[name] for name in names], [means[name] for name in names]).statistic
        assert row.tau_b == pytest.approx(expected, abs=SLACK)
        reached = {name: max(n for n, r in enumerate(rungs.values()) if name in r.rank) for name in case.configs}
        order = sorted(
            case.configs, key=lambda n: (-reached[n], float(list(rungs.values())[reached[n]].evidence.mean(n)))
        )
        whole = kendalltau(range(len(order)), [means[name] for name in order]).statistic
        assert (row.configs, row.ladder_tau_b) == (len(case.configs), pytest.approx(whole, abs=SLACK))
        assert row.ladder_interval[0] <= row.ladder_tau_b <= row.ladder_interval[1]


def test_the_alternatives_are_what_every_choice_one_by_one_gives(case, extra, means, result):
    table, best = cells(case, extra), min(means.values())
    hosts, seeds = case.locks["gate5"].frozen.hosts, case.locks["gate5"].frozen.seeds
    for way in result.alternatives:
        if way.key not in ("random", "seeds", "full"):
            continue
        regrets = []
        for chosen in combinations(seeds, way.seeds):
            scores = {name: mean(table[name][host, seed] for host in hosts for seed in chosen) for name in case.configs}
            for some in combinations(case.configs, way.configs):
                regrets.append(means[min(some, key=lambda name: (round(scores[name], 9), name))] - best)
        assert way.regret == pytest.approx(mean(regrets), abs=SLACK)
        assert way.best == pytest.approx(mean(regret < SLACK for regret in regrets), abs=SLACK)
        assert way.worst == pytest.approx(max(regrets), abs=SLACK)
    assert {way.key for way in result.alternatives} == {"ladder", "random", "greedy", "greedy-matched", "seeds", "full"}


def test_no_alternative_but_everything_costs_more_than_the_ladder(case, result):
    executed = [run for run in case.records if run.executed and run.purpose == "candidate"]
    assert result.ladder_hours == pytest.approx(sum(run.budget.seconds for run in executed) / 3600)
    single = case.locks["gate5"].frozen.budget_seconds / 3600
    for way in result.alternatives:
        assert way.key in ("full", "greedy") or way.hours <= result.ladder_hours + SLACK or way.configs == 1
        assert way.key in ("ladder", "greedy", "greedy-matched") or way.hours == pytest.approx(
            way.configs * way.seeds * 2 * single
        )


def test_greedy_follows_the_order_of_the_first_rung(case, means, result):
    first = case.ladder().rungs[0].ranking
    for way in result.alternatives:
        if way.key.startswith("greedy"):
            assert way.regret == pytest.approx(
                min(means[n] for n in first[: way.configs]) - min(means.values()), abs=SLACK
            )


def test_the_same_records_give_the_same_bytes_and_read_back(case, extra, result):
    assert from_bytes(to_bytes(result)) == from_bytes(to_bytes(assessed(case, extra[::-1])))


def test_what_was_not_run_is_told_as_missing_and_nothing_is_made_up_for_it(case, extra, result):
    gone = next(row.config for row in result.standings if row.source == "hindsight")
    seed = extra[0].seed
    some = assessed(case, [run for run in extra if (run.config, run.seed) != (gone, seed)])
    (row,) = (row for row in some.standings if row.config == gone)
    assert (row.source, row.mean, row.rank) == ("missing", None, None)
    assert some.unknown == (gone,) and some.alternatives == ()
    assert "1 other not known" in some.text


def test_a_run_that_diverged_is_no_mean_and_is_told_as_unfinished(case, extra, result):
    gone = next(row.config for row in result.standings if row.source == "hindsight")

    def diverge(body: dict[str, Any]) -> None:
        body.update(status="diverged", reason="a loss that is no number")
        body["facts"].update(val_bpb=None, locked_bpb=None)

    some = assessed(case, edited(extra, gone, diverge))
    assert [row.source for row in some.standings if row.config == gone] == ["unfinished"]
    assert some.unknown == (gone,)


def test_hindsight_of_another_decision_says_nothing(case, extra):
    other = edited(extra, extra[0].config, lambda body: body.update(decision="0" * 64))
    assert assess_hindsight(case.configs, case.locks, case.records, case.decisions, other) == OTHER_DECISION


def test_nothing_trained_or_nothing_decided_is_told(case, extra):
    assert "nothing was trained" in assess_hindsight(case.configs, case.locks, case.records, case.decisions, [])
    before = case.without("gate5")
    assert "has not decided" in assess_hindsight(case.configs, case.locks, before.records, before.decisions, extra)


def test_no_gate_takes_a_record_in_hindsight_for_evidence(case, extra):
    contract = from_lock(case.locks["gate5"])
    assert gather(contract, case.configs, extra).runs == {}
    with pytest.raises(Invalid, match="purpose"):
        parse_line(canonical.dumps(extra[0].model_dump(by_alias=True)), "runs.jsonl")


def test_the_door_opens_on_a_recorded_decision_that_stands_and_on_nothing_else(case, extra, tmp_path):
    contract, data = from_lock(case.locks["gate5"]), (case.root / hindsight.DECISIONS).read_bytes()
    (tmp_path / "ledger").mkdir()
    place = tmp_path / hindsight.DECISIONS
    for content, message in (
        (b"", "holds no decision of gate5"),
        (b"".join(data.splitlines(keepends=True)[:4]), "holds no decision of gate5"),
        (data.replace(b'"mode":"frozen"', b'"mode":"exploratory"'), "an exploratory decision is none"),
        (data.replace(contract.lock.encode(), b"0" * 64), "found a decision of gate5 by lock 0000"),
        (data.replace(b'"outcome":"decided"', b'"outcome":"blocked"'), "is blocked by"),
    ):
        place.write_bytes(content)
        with pytest.raises(Refused, match=message):
            read_last_decision(contract, tmp_path)
    place.write_bytes(data)
    assert read_last_decision(contract, tmp_path).digest == extra[0].decision
    with pytest.raises(Refused, match="hindsight trains at the last"):
        read_last_decision(replace(contract, last=False), tmp_path)
