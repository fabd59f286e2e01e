"""The vectorised rules say what the judge says: every answer, every promotion, every leader, on random ladders."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from stages.backtest import engine
from stages.backtest.curves import ABSENT, DIVERGED, FAILED, FINISHED
from stages.domain import canonical
from stages.domain.decision import decide
from stages.domain.evidence import gather
from stages.domain.records import Record, parse_line
from stages.domain.rules import EFFECTS, Gate
from stages.domain.schema import Strict, parse
from tests.support.contracts import make_contract

LOCK, RUNNER, CORPUS = "a" * 64, "b" * 64, "c" * 64
STATUS = {FINISHED: "finished", DIVERGED: "diverged", FAILED: "failed"}
ANSWER = {True: engine.HOLDS, False: engine.FAILS, None: engine.UNKNOWN}
ROLES = ("reference", "comparator", "sentinel")


class _Gate(Strict):
    rules: Gate


def parse_rules(value):
    return dict(parse(_Gate, {"rules": value}, "test").rules)


def record(config, host, seed, value, state, purpose="candidate") -> Record:
    status = STATUS[state]
    return parse_line(
        canonical.dumps(
            {
                "schema": 1, "rung": "rung3", "config": config, "host": host, "seed": seed, "purpose": purpose,
                "status": status, "reason": None, "gate": "gate3", "lock": LOCK, "runner": RUNNER, "corpus": CORPUS,
                "budget": {"clock": "rated", "seconds": 10.0}, "environment": None, "spec": {},
                "facts": {"val_bpb": value / 10**6} if status == "finished" else None,
            }
        ),
        "test",
    )  # fmt: skip


# Values on a coarse grid, so that ties and values exactly on a threshold are common.
values = st.one_of(st.integers(1_000_000, 1_000_012), st.sampled_from([1_000_000 + 5_000 * n for n in range(8)]))
gaps = st.sampled_from([0.000001, 0.0000025, 0.005, 0.01, 0.0100001, 0.02, 1.0])
roles = st.sampled_from(ROLES)
of = st.sampled_from(["best", *ROLES])
by = st.sampled_from(["mean", "worst_host"])
rule = st.one_of(
    st.just({"kind": "complete_cells"}),
    st.just({"kind": "fresh_seeds"}),
    st.just({"kind": "diverged"}),
    st.just({"kind": "failed"}),
    st.fixed_dictionaries(
        {"kind": st.just("min_host_agreement"), "tau": st.sampled_from([-1.0, 0.0, 0.333333333, 0.5, 1.0])}
    ),
    st.fixed_dictionaries({"kind": st.just("above_noise_floor"), "multiple": st.sampled_from([0.5, 1.0, 2.0, 3.3])}),
    st.fixed_dictionaries({"kind": st.just("keep_role"), "role": roles}),
    st.fixed_dictionaries(
        {"kind": st.just("top_k"), "k": st.integers(1, 7), "by": st.sampled_from(["mean", "worst_host", "each_host"])}
    ),
    st.fixed_dictionaries({"kind": st.just("within_gap"), "gap": gaps, "of": of, "by": by}),
    st.fixed_dictionaries({"kind": st.just("exceeds_gap"), "gap": gaps, "of": of, "by": by}),
    st.fixed_dictionaries({"kind": st.just("first_in_all_cells"), "role": roles}),
    st.fixed_dictionaries({"kind": st.just("near_equivalent"), "role": roles, "to": roles, "margin": gaps}),
    st.fixed_dictionaries({"kind": st.just("mean_gap"), "role": roles, "to": roles, "most": gaps}),
)


@st.composite
def ladders(draw):
    """A gate and several ladders of evidence for it: some candidates, some runs that crashed or are missing."""
    configs = draw(st.integers(1, 6))
    hosts, seeds, ladder_count = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    shape = (ladder_count, configs, hosts, seeds)
    size = int(np.prod(shape))
    scores = np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype=np.int64).reshape(shape)
    state = None
    if draw(st.booleans()):
        states = st.sampled_from([FINISHED] * 12 + [DIVERGED, FAILED, ABSENT])
        state = np.array(draw(st.lists(states, min_size=size, max_size=size)), dtype=np.int8).reshape(shape)
    candidates = np.array(
        draw(st.lists(st.booleans() | st.just(True), min_size=ladder_count * configs, max_size=ladder_count * configs))
    ).reshape(ladder_count, configs)
    places = {role: draw(st.integers(0, configs - 1)) for role in ROLES}
    floors = draw(st.integers(0, 3))
    count = ladder_count * hosts * floors
    floor = np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=np.int64).reshape(
        ladder_count, hosts, floors
    )
    gate = {f"R{n}": one for n, one in enumerate(draw(st.lists(rule, min_size=1, max_size=6)), start=1)}
    fresh = draw(st.booleans())
    return parse_rules(gate), engine.Cells(scores, candidates, places, state, floor if floors else None, fresh)


def judged(gate, cells, ladder):
    """The decision of the real judge over one ladder."""
    _, configs, hosts, seeds = cells.scores.shape
    names = [f"c{n}" for n in range(configs)]
    machines, numbers = tuple(f"h{n}" for n in range(hosts)), tuple(range(31, 31 + seeds))
    floors = cells.floor.shape[2] if cells.floor is not None else 0
    roles = {role: names[place] for role, place in cells.roles.items()}
    earlier = () if cells.fresh else numbers
    contract = make_contract(
        "rung3",
        hosts=machines,
        lock=LOCK,
        runner=RUNNER,
        corpus=CORPUS,
        seeds=numbers,
        floor_seeds=tuple(range(91, 91 + floors)),
        earlier_seeds=earlier,
        roles=roles,
        rules={rule_id: rule.model_dump(mode="json") for rule_id, rule in gate.items()},
    )
    records = [
        record(
            names[n],
            machines[h],
            numbers[s],
            int(cells.scores[ladder, n, h, s]),
            FINISHED if cells.state is None else cells.state[ladder, n, h, s],
        )
        for n, h, s in np.ndindex(configs, hosts, seeds)
        if cells.state is None or cells.state[ladder, n, h, s] != ABSENT
    ]
    records += [
        record(roles["reference"], machines[h], 91 + f, int(cells.floor[ladder, h, f]), FINISHED, "floor")
        for h, f in np.ndindex(hosts, floors)
    ]
    return decide(gather(contract, [name for n, name in enumerate(names) if cells.candidates[ladder, n]], records))


@settings(max_examples=400, deadline=None)
@given(ladders())
def test_every_answer_and_every_promotion_is_that_of_the_judge(case):
    gate, cells = case
    outcome = engine.decide_gate(gate, cells)
    leaders = engine.leader(cells)
    for ladder in range(len(cells.candidates)):
        decision = judged(gate, cells, ladder)
        assert bool(outcome.blocked[ladder]) is (decision.outcome == "blocked")
        assert [f"c{n}" for n in np.flatnonzero(outcome.promoted[ladder])] == decision.promoted
        ranking = decision.ranking
        assert leaders[ladder] == (int(ranking[0].config[1:]) if ranking else -1)
        for rule in decision.rules:
            answer = outcome.answers[rule.id][ladder]
            if EFFECTS[rule.kind] in ("promote", "stop") or rule.kind in ("complete_cells", "fresh_seeds"):
                expected = {result.candidate: ANSWER[result.holds] for result in rule.results}
                assert {f"c{n}": int(a) for n, a in enumerate(answer) if a != engine.SILENT} == expected, rule
            else:
                assert sorted(int(a) for a in answer) == sorted(ANSWER[result.holds] for result in rule.results), rule


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=9))
def test_tau_b_is_scipys(pairs):
    first, second = np.array(pairs, dtype=np.int64).T[:, None, :]
    ours = engine.tau_b(first, second, np.ones_like(first, dtype=bool))[0]
    theirs = kendalltau(first[0], second[0]).statistic if len(pairs) > 1 else np.nan
    assert (np.isnan(ours) and np.isnan(theirs)) or ours == round(float(theirs), 9)


@given(st.lists(values, min_size=2, max_size=8), st.integers(1, 9))
def test_the_best_k_are_those_of_a_sort_with_ties_by_name(scores, k):
    sums = np.array([scores], dtype=np.int64)
    inside = engine.among_best(engine.ordered(sums, np.ones_like(sums, dtype=bool)), k)[0]
    expected = sorted(range(len(scores)), key=lambda n: (scores[n], n))[:k]
    assert sorted(np.flatnonzero(inside).tolist()) == sorted(expected)


def test_a_threshold_is_exact_to_the_last_millionth():
    gate = parse_rules({"R1": {"kind": "within_gap", "gap": 0.01}})
    scores = np.array([[1_000_000] * 3, [1_010_000] * 3, [1_010_000, 1_010_000, 1_010_001]], dtype=np.int64)[
        None, :, None, :
    ]
    cells = engine.Cells(scores, np.ones((1, 3), dtype=bool), {})
    assert engine.judge_gate(gate, cells)["R1"].tolist() == [[engine.HOLDS, engine.HOLDS, engine.FAILS]]
    assert Fraction("0.01") * 3 * 10**6 == 30_000


def test_a_stop_rule_that_cannot_be_evaluated_lets_nobody_through_but_a_kept_role():
    """The reference diverged, so no gap to it is known: as in the judge, that is not clear of anybody."""
    gate = parse_rules(
        {
            "R1": {"kind": "top_k", "k": 3},
            "R2": {"kind": "exceeds_gap", "gap": 1.0, "of": "reference"},
            "R3": {"kind": "keep_role", "role": "sentinel"},
        }
    )
    scores = np.full((1, 3, 1, 1), 1_000_000, dtype=np.int64)
    state = np.array([DIVERGED, FINISHED, FINISHED], dtype=np.int8).reshape(1, 3, 1, 1)
    places = {"reference": 0, "comparator": 1, "sentinel": 2}
    cells = engine.Cells(scores, np.ones((1, 3), dtype=bool), places, state)
    outcome = engine.decide_gate(gate, cells)
    assert outcome.answers["R2"].tolist() == [[engine.UNKNOWN] * 3]
    assert outcome.promoted.tolist() == [[False, False, True]]
    assert judged(gate, cells, 0).promoted == ["c2"]


def test_what_curves_cannot_answer_is_named_with_its_reason():
    gate = parse_rules(
        {
            "R1": {"kind": "fixed_runner"},
            "R2": {"kind": "min_host_agreement", "tau": 0.5},
            "R3": {"kind": "top_k", "k": 1},
        }
    )
    assert engine.left_out(gate, hosts=1, has_floor=False) == {
        "R1": "curves do not say which runner made them",
        "R2": "there is one block of runs only",
    }
    assert set(engine.left_out(gate, hosts=2, has_floor=False)) == {"R1"}


@pytest.mark.parametrize("kind", sorted(EFFECTS))
def test_every_kind_of_rule_is_evaluated_or_known_not_to_be(kind):
    assert kind in engine._KINDS or kind in engine.NOT_IN_CURVES or kind == "above_noise_floor"


@pytest.mark.parametrize("reference", [0, 1])
@pytest.mark.parametrize("floors", [0, 2])
def test_fresh_seeds_of_a_reference_without_runs_are_known_by_its_floor(reference, floors):
    state = np.full((1, 2, 1, 1), FINISHED, dtype=np.int8)
    state[0, reference] = ABSENT
    floor = np.zeros((1, 1, floors), dtype=np.int64) if floors else None
    cells = engine.Cells(
        np.zeros((1, 2, 1, 1), dtype=np.int64), np.ones((1, 2), bool), {"reference": reference}, state, floor
    )
    [rule] = parse_rules({"R1": {"kind": "fresh_seeds"}}).values()
    expected = [engine.HOLDS, engine.HOLDS]
    expected[reference] = engine.HOLDS if floors else engine.UNKNOWN
    assert engine.fresh_seeds(rule, cells).tolist() == [expected]


def test_a_role_that_nobody_has_is_unknown_in_every_ladder():
    """A role that the curves have no configuration for has the place -1."""
    gate = parse_rules(
        {
            "R1": {"kind": "first_in_all_cells", "role": "reference"},
            "R2": {"kind": "mean_gap", "role": "reference", "to": "comparator", "most": 1.0},
            "R3": {"kind": "top_k", "k": 1},
        }
    )
    scores = np.arange(12, dtype=np.int64).reshape(2, 3, 2, 1) * 1_000_000
    places = {"reference": -1, "comparator": 0, "sentinel": 2}
    cells = engine.Cells(scores, np.ones((2, 3), dtype=bool), places, None)
    outcome = engine.decide_gate(gate, cells)
    assert outcome.answers["R1"].tolist() == [[engine.UNKNOWN]] * 2
    assert outcome.answers["R2"].tolist() == [[engine.UNKNOWN]] * 2
    assert outcome.promoted.tolist() == [[True, False, False]] * 2
    sums, known = engine._mean_of(-1, cells)
    assert (sums.tolist(), known.tolist()) == ([0, 0], [False, False])
