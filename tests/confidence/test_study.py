"""The confidence of a whole study: typed, canonical, and about the decisions that were made.

python -m pytest tests/confidence/test_study.py
"""

import random
import subprocess
import sys

import pytest

from stages.confidence.gates import decided_gates
from stages.confidence.results import from_json, to_json
from stages.confidence.study import assess, flattery
from stages.domain import canonical, locks, records
from stages.domain.decision import parse_decision
from stages.domain.errors import Invalid
from tests.support.repo import PROJECT


@pytest.fixture(scope="module")
def made(case):
    return assess(case.locks, case.records, case.decisions)


def test_the_same_evidence_in_any_order_gives_the_same_bytes(case, made):
    shuffled = list(case.records)
    random.Random(4).shuffle(shuffled)
    again = assess(dict(reversed(case.locks.items())), shuffled, dict(reversed(case.decisions.items())))
    assert canonical.dumps(to_json(again)) == canonical.dumps(to_json(made))


def test_the_bytes_are_canonical_and_say_their_schema(made):
    value = canonical.loads_canonical(canonical.dumps(to_json(made)))
    assert value["schema"] == 1
    assert list(value["gates"]) == ["gate1", "gate2", "gate3", "gate4", "gate5"]


def test_gates_that_judged_nobody_after_a_blocked_one_are_left_out_and_the_answer_is_to_wait(case):
    first, second = (case.decisions[name] for name in ("gate1", "gate2"))
    blocked = replace_lines(second, outcome="blocked", promoted=[])
    empty = {name: replace_lines(case.decisions[name], candidates=[]) for name in ("gate3", "gate4", "gate5")}
    result = assess(case.locks, case.records, {"gate1": first, "gate2": blocked, **empty})
    assert list(result.gates) == ["gate1", "gate2"]
    assert (result.what_next.action, result.winner) == ("wait", None)


def replace_lines(decision, **changed):
    return decision.model_copy(update=changed)


def test_what_was_written_is_read_as_the_same_typed_result(made):
    value = canonical.loads(canonical.dumps(to_json(made)))
    read = from_json(value, "confidence.json")
    assert to_json(read) == value and type(read) is type(made)
    assert read.gates["gate3"].noise.sd == pytest.approx(made.gates["gate3"].noise.sd)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "confidence.json: schema: found 2, expected 1; update staged-promotion to read it"),
        ({"schema": None}, "confidence.json: schema: found None, expected 1; `dvc repro -s confidence` writes it anew"),
        ({"level": "high"}, "confidence.json: level: found 'high', expected a number"),
    ],
)
def test_another_schema_or_shape_is_refused_by_name(made, change, message):
    with pytest.raises(Invalid) as refused:
        from_json({**to_json(made), **change}, "confidence.json")
    assert str(refused.value).startswith(message)


def test_fates_are_those_that_were_recorded(case):
    for gate in decided_gates(case.locks, case.records, case.decisions):
        decision = case.decisions[gate.name]
        assert sorted(gate.fates.promoted) == decision.promoted
        assert gate.fates.verdicts == decision.verdicts


def test_every_candidate_has_a_share_and_every_share_is_one(made):
    for gate in made.gates.values():
        assert len(gate.redraws.flips) == gate.candidates
        shares = [gate.redraws.same_set, gate.redraws.blocked, *gate.redraws.flips.values()]
        assert all(0 <= share <= 1 for share in shares)
    winner = made.winner
    assert winner.same + winner.other + winner.unknown + winner.blocked == pytest.approx(1)


def test_gates_without_replication_borrow_the_floor_and_say_so(made):
    sources = {name: (gate.noise.source, gate.noise.rung, gate.noise.borrowed) for name, gate in made.gates.items()}
    assert sources["gate1"] == sources["gate2"] == ("floor", "rung3", True)
    assert sources["gate3"] == ("replication", "rung3", False)
    assert all("borrowed" in one.note for one in made.gates["gate2"].comparisons)


def test_each_verdict_is_compared_within_its_own_margin(made):
    reported = {one.rule: one for one in made.gates["gate5"].comparisons if one.kind != "first_in_all_cells"}
    assert (reported["R5"].margin, reported["R5"].test, reported["R5"].against_as) == (0.01, "equivalence", "reference")
    assert (reported["R6"].margin, reported["R6"].test) == (0.02, "non-inferiority")
    assert all(one.margin_from is None for one in reported.values())


def test_a_cut_borrows_the_margin_of_the_studys_own_equivalence_and_names_it(made):
    cut = [one for one in made.gates["gate3"].comparisons if one.kind == "top_k"]
    assert cut and {(one.margin, one.margin_from, one.against_as) for one in cut} == {(0.01, "gate5.R5", "cut")}


def test_a_comparison_shows_each_host_for_itself(case, made):
    for gate in made.gates.values():
        for one in gate.comparisons:
            assert set(one.host_means) == set(one.hosts)
            assert one.mean == pytest.approx(sum(one.host_means.values()) / len(one.hosts))
            assert one.lower <= one.mean <= one.upper


def test_a_gate_that_has_not_decided_is_absent(case):
    rest = case.without("gate4", "gate5")
    made = assess(rest.locks, rest.records, rest.decisions)
    assert list(made.gates) == ["gate1", "gate2", "gate3"] and made.winner is None


def test_a_study_of_which_a_run_diverged_is_still_assessed(case):
    def broken(run):
        return None if run.rung != "rung3" or run.config != "d2-c001" else 9.0

    made = assess(*_of(case.rescored("rung3", broken)))
    assert made.gates["gate3"].redraws is not None


def _of(case):
    return case.locks, case.records, case.decisions


def test_the_study_of_this_repository_is_assessed_by_its_own_ledger():
    frozen = {f"gate{n}": locks.read(f"gate{n}", PROJECT) for n in range(1, 6)}
    lines = records.parse_ledger((PROJECT / "ledger" / "runs.jsonl").read_bytes(), "runs.jsonl")
    decided = (PROJECT / "ledger" / "decisions.jsonl").read_bytes().splitlines(keepends=True)
    by_gate = {made.gate: made for made in (parse_decision(line, "decisions.jsonl", "") for line in decided)}
    made = assess(frozen, [record for record, _ in lines], by_gate)
    assert made.how_sure.grade in ("sure", "likely", "unsure") and made.what_next.rule != "N1"
    for gate in decided_gates(frozen, [record for record, _ in lines], by_gate):
        assert sorted(gate.fates.promoted) == by_gate[gate.name].promoted


def test_importing_the_library_loads_no_statistics():
    code = "import sys, stages.confidence.study, stages.confidence.what_if\n"
    code += "assert not {'scipy', 'statsmodels', 'pandas', 'torch', 'report'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.parametrize("module", ["stages.gate", "stages.run", "stages.commands.verify", "stages.commands.what_if"])
def test_what_decides_never_loads_it(module):
    code = f"import sys, {module}\n"
    code += "assert not {'numpy', 'scipy', 'statsmodels', 'stages.confidence.study'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


@pytest.mark.parametrize(("many", "expected"), [(1, 0.0), (2, 0.5642), (12, 1.6292), (100, 2.5076)])
def test_the_best_of_many_looks_as_much_better_as_tables_of_order_statistics_say(many, expected):
    """Teichroew (1956), *Tables of expected values of order statistics*."""
    assert flattery(many) == pytest.approx(expected, abs=1e-4)
