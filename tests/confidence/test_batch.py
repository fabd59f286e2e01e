"""The rules over many tables at once say what the real judge says of each.

python -m pytest tests/confidence/test_batch.py
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.confidence import batch
from stages.confidence.batch import BatchJudge
from stages.domain.decision import decide
from stages.domain.rules import EFFECTS
from tests.confidence import cases

NAMES = ("cmp", "d", "e", "ref", "sen")
CODES = {True: 1, False: 0, None: -1}
#: Few distinct scores, so that ties and values on a threshold are common.
score = st.integers(0, 12).map(lambda n: round(1 + n / 200, 6))
gap = st.sampled_from([0.000001, 0.0025, 0.005, 0.00375, 0.01, 0.02, 1.0])
by = st.sampled_from(["mean", "worst_host"])
of = st.sampled_from(["best", "reference", "comparator"])
role = st.sampled_from(["reference", "comparator", "sentinel"])
RULES = {
    "complete_cells": st.just({}),
    "fixed_runner": st.just({}),
    "fixed_data": st.just({}),
    "fresh_seeds": st.just({}),
    "fixed_environment": st.just({}),
    "above_noise_floor": st.fixed_dictionaries({"multiple": st.sampled_from([0.1, 1.0, 2.0])}),
    "budget_kept": st.fixed_dictionaries({"tolerance": st.sampled_from([0.0, 0.05])}),
    "min_host_agreement": st.fixed_dictionaries({"tau": st.sampled_from([-1.0, 0.0, 0.333333333, 0.5, 1.0])}),
    "keep_role": st.fixed_dictionaries({"role": role}),
    "top_k": st.fixed_dictionaries(
        {"k": st.integers(1, 6), "by": st.sampled_from(["mean", "worst_host", "each_host"])}
    ),
    "within_gap": st.fixed_dictionaries({"gap": gap, "of": of, "by": by}),
    "exceeds_gap": st.fixed_dictionaries({"gap": gap, "of": of, "by": by}),
    "diverged": st.just({}),
    "failed": st.just({}),
    "first_in_all_cells": st.fixed_dictionaries({"role": role}),
    "near_equivalent": st.fixed_dictionaries({"role": role, "to": role, "margin": gap}),
    "mean_gap": st.fixed_dictionaries({"role": role, "to": role, "most": gap}),
}
rule = st.one_of([fields.map(lambda f, kind=kind: {"kind": kind, **f}) for kind, fields in RULES.items()])


@st.composite
def gates(draw):
    """(rules, scores, hosts, seeds, floor, environments): any gate, with cells that diverged or are missing."""
    some = draw(st.lists(rule, min_size=1, max_size=6))
    hosts = ("h1", "h2", "h3")[: draw(st.integers(1, 3))]
    seeds = (31, 32)[: draw(st.integers(1, 2))]
    names = NAMES[: draw(st.integers(2, 5))]
    cell = st.one_of(*[score] * 12, st.none(), st.just(...)) if draw(st.booleans()) else score
    size = len(hosts) * len(seeds)
    scores = {name: draw(st.lists(cell, min_size=size, max_size=size)) for name in names}
    floor = {host: draw(st.lists(score, min_size=2, max_size=3)) for host in hosts} if draw(st.booleans()) else None
    env = st.sampled_from([None, {"torch": "1"}, {"torch": "1"}, {"torch": "2"}])
    environments = {(name, host): draw(env) for name in names for host in hosts} if draw(st.booleans()) else None
    return {f"R{n}": one for n, one in enumerate(some, 1)}, scores, hosts, seeds, floor, environments


def made(gate):
    rules, scores, hosts, seeds, floor, environments = gate
    return cases.evidence(rules, scores, hosts=hosts, seeds=seeds, floor=floor, environments=environments)


def same(judged, row, judge, decision, there):
    names = [name for name, is_there in zip(judge.names, there, strict=True) if is_there]
    promoted = [name for name, goes_on in zip(judge.names, judged.promoted[row], strict=True) if goes_on]
    assert bool(judged.blocked[row]) is (decision.blocked)
    assert promoted == decision.promoted
    assert {r: int(answers[row]) for r, answers in judged.verdicts.items()} == {
        r: CODES[answer] for r, answer in decision.verdicts.items()
    }
    leader = decision.ranking[0].config if decision.ranking else None
    assert (judge.names[judged.leader[row]] if judged.leader[row] >= 0 else None) == leader
    assert set(promoted) <= set(names)


@settings(max_examples=400, deadline=None)
@given(gates(), st.sampled_from([None, None, 0.005, 0.0075, 0.02]))
def test_any_gate_is_decided_as_the_judge_decides_it(gate, resolution):
    evidence = made(gate)
    metric = {"kind": "command", "score": {"name": "val_bpb", "resolution": resolution}}
    evidence = replace(evidence, contract=replace(evidence.contract, settings=metric))
    judge = BatchJudge(evidence)
    same(judge.judge(judge.scores[None]), 0, judge, decide(evidence), [True] * len(judge.names))


@settings(max_examples=200, deadline=None)
@given(gates(), st.data())
def test_any_other_scores_and_any_part_of_the_candidates_are_decided_so_too(gate, data):
    evidence = made(gate)
    judge = BatchJudge(evidence)
    rules, scores, hosts, seeds, floor, environments = gate
    tables, there, expected = [], [], []
    for _ in range(3):
        drawn = {n: [data.draw(score) if isinstance(v, float) else v for v in values] for n, values in scores.items()}
        keep = data.draw(st.lists(st.booleans(), min_size=len(drawn), max_size=len(drawn)))
        kept = {name: values for (name, values), kept in zip(sorted(drawn.items()), keep, strict=True) if kept}
        redrawn = cases.evidence(rules, drawn, hosts=hosts, seeds=seeds, floor=floor, environments=environments)
        tables.append(BatchJudge(redrawn).scores)
        there.append(keep)
        part = cases.evidence(rules, kept, hosts=hosts, seeds=seeds, floor=floor, environments=environments)
        expected.append(decide(part))
    judged = judge.judge(np.stack(tables), np.array(there))
    for row, decision in enumerate(expected):
        same(judged, row, judge, decision, there[row])


def test_every_kind_of_rule_is_drawn_above():
    assert RULES.keys() == EFFECTS.keys()


@pytest.mark.parametrize(("runs", "blocked"), [({}, False), ({"runner": "d" * 64}, True)])
def test_what_reads_no_score_is_answered_by_the_judge(runs, blocked):
    gate = {"R1": {"kind": "fixed_runner"}, "R2": {"kind": "top_k", "k": 1}}
    scores = {"cmp": [1.0, 1.0, 1.0, ...], "ref": [1.1] * 4}
    evidence = cases.evidence(gate, scores, extra=[cases.record("gate3", "cmp", "h2", 32, 1.0, **runs)])
    judge = BatchJudge(evidence)
    assert bool(judge.judge(judge.scores[None]).blocked[0]) is blocked


def test_a_threshold_is_kept_to_the_millionth_of_a_mean():
    gate = {"R1": {"kind": "within_gap", "gap": 0.01, "of": "reference"}}
    scores = {"cmp": [1.01, 1.01, 1.01, 1.01], "d": [1.01, 1.01, 1.01, 1.010001], "ref": [1.0] * 4}
    judge = BatchJudge(cases.evidence(gate, scores))
    assert judge.judge(judge.scores[None]).promoted[0].tolist() == [True, False, True]


@pytest.mark.parametrize(("resolution", "apart", "first"), [(0, 1e-6, True), (2e-6, 1e-6, False), (2e-6, 2e-6, True)])
def test_scores_are_first_in_all_cells_by_the_resolution_and_by_a_millionth_where_there_is_none(
    resolution, apart, first
):
    gate = {"R1": {"kind": "first_in_all_cells", "role": "comparator"}}
    evidence = cases.evidence(gate, {"cmp": [1.0] * 4, "ref": [1.0 + apart] * 4})
    metric = {"kind": "command", "score": {"name": "val_bpb", "resolution": resolution}} if resolution else None
    if metric:
        evidence = replace(evidence, contract=replace(evidence.contract, settings=metric))
    judge = BatchJudge(evidence)
    assert judge.judge(judge.scores[None]).verdicts["R1"].tolist() == [int(first)]


def test_roles_that_are_no_candidates_answer_nothing():
    gate = {"R1": {"kind": "near_equivalent", "role": "sentinel", "to": "reference", "margin": 1.0}}
    evidence = cases.evidence(gate, {"cmp": [1.0] * 4, "ref": [1.0] * 4})
    judge = BatchJudge(replace(evidence))
    assert judge.judge(judge.scores[None]).verdicts["R1"].tolist() == [-1]


def test_a_stop_rule_that_cannot_be_evaluated_is_not_clear_of_anybody_but_a_kept_role():
    gate = {
        "R1": {"kind": "top_k", "k": 2},
        "R2": {"kind": "exceeds_gap", "of": "reference", "gap": 0.1},
        "R3": {"kind": "keep_role", "role": "sentinel"},
    }
    evidence = cases.evidence(gate, {"cmp": [1.0] * 4, "ref": [1.0, 1.0, 1.0, None], "sen": [1.1] * 4})
    judge = BatchJudge(evidence)
    assert judge.judge(judge.scores[None]).promoted[0].tolist() == [False, False, True]
    assert decide(evidence).promoted == ["sen"]


@pytest.mark.parametrize("tau", [-1.0, 0.0, 0.25, 0.5, 1.0])
def test_many_candidates_are_compared_table_by_table_and_few_at_once_alike(tau, monkeypatch):
    rules = {"R1": {"kind": "min_host_agreement", "tau": tau}, "R2": {"kind": "top_k", "k": 3}}
    random = np.random.RandomState(int(10 * tau) + 20)
    scores = {f"c{n}": np.round(1 + n / 50 + random.normal(0, 0.04, 4), 2).tolist() for n in range(7)}
    judge = BatchJudge(cases.evidence(rules, scores))
    tables = judge.scores + random.randint(-4, 5, (50, *judge.scores.shape)) * 10_000
    there = random.rand(50, 7) < 0.7
    at_once = judge.judge(tables, there)
    monkeypatch.setattr(batch, "MOST_PAIRWISE", 1)
    assert np.array_equal(at_once.blocked, judge.judge(tables, there).blocked)
    assert tau == -1.0 or at_once.blocked.any()


def test_ties_among_many_candidates_break_by_name():
    gate = {"R1": {"kind": "top_k", "k": 30}}
    scores = {f"c{n:03d}": [1.0 + (n % 2) / 10] * 4 for n in range(200)}
    evidence = cases.evidence(gate, scores)
    judge = BatchJudge(evidence)
    promoted = [name for name, yes in zip(judge.names, judge.judge(judge.scores[None]).promoted[0], strict=True) if yes]
    assert promoted == decide(evidence).promoted == [f"c{n:03d}" for n in range(0, 60, 2)]
