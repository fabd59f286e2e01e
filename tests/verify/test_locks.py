"""The study and its locks, each changed alone: V02 to V06, and what they say of it word by word."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stages.domain import locks as domain_locks
from stages.domain.errors import Invalid
from stages.domain.locks import Amendment
from stages.domain.study import Study, parse_study
from stages.verify import locks
from stages.verify.check import Case, Problem, Skip
from stages.verify.locks import Locks, Params
from tests.support import synthetic
from tests.verify.cases import alter, change_lock

PATH = "locks/gate2.yaml"


def find(check: Any, case: Case, *values: object, without: tuple[type, ...] = (), **fields: Any) -> list[Problem]:
    return list(check(alter(case, *values, without=without, **fields)))


def replaced(case: Case, old: str, new: str, path: str = PATH) -> dict[str, bytes]:
    data = case.tree.read(path) or b""
    assert old.encode() in data
    return {path: data.replace(old.encode(), new.encode(), 1)}


# V02


def test_params_yaml_is_a_study_that_dvc_could_run(judged, monkeypatch):
    def study(**fields: Any) -> tuple[list[Problem], Case]:
        case = alter(judged, without=(Study, Params), **fields)
        return list(locks.check_study(case)), case

    problems, case = study()
    assert problems == []
    assert case.get(Study) == judged.get(Study)
    assert case.get(Params) == judged.get(Params)
    none = Problem("params.yaml", "no file", "the study", "there is nothing to verify")
    assert study(files={"params.yaml": None})[0] == [none]
    monkeypatch.setattr(locks, "MAX_RUNS", 6)
    assert study()[0] == []
    monkeypatch.setattr(locks, "MAX_RUNS", 5)
    problems, case = study()
    assert problems == [Problem("params.yaml", "6 runs in a rung", "at most 5", "DVC could not run it either")]
    assert not case.knows(Study)


def test_an_exploratory_study_is_learnt_and_not_verified(judged):
    case = alter(judged, without=(Study, Params), files=replaced(judged, '"frozen"', '"exploratory"', "params.yaml"))
    meaning = "an exploratory decision follows rules that nobody froze, and is never verified"
    assert list(locks.check_study(case)) == [
        Problem("params.yaml", "exploratory", "frozen", meaning, pointer="/study/mode")
    ]
    assert case.get(Study).study.mode == "exploratory"


# V03


def test_a_lock_is_told_by_what_is_wrong_with_it(judged):
    def told(files: dict[str, bytes]) -> list[Problem]:
        return find(locks.check_lock_digests, judged, without=(Locks,), files=files)

    assert told({}) == []
    data = judged.tree.read(PATH)
    line = data.count(b"\n") + 1
    text = "a text that nobody froze stands in the lock, and its digest leaves it out"
    assert told({PATH: data + b"# a comment\n"}) == [Problem(PATH, "'# a comment'", "''", text, line=line)]
    (problem,) = told({PATH: b"# " + b"x" * 200 + b"\n" + data})
    assert (problem.line, problem.found) == (1, repr("# " + "x" * 200)[:120])
    assert problem.expected == repr(data.decode().split("\n")[0])
    content = "the lock of gate1, rung1"
    wrong = Problem(PATH, content, "that of gate2, rung2", "the rule would judge another rung")
    assert told({PATH: judged.tree.read("locks/gate1.yaml")}) == [wrong]
    (problem,) = told(replaced(judged, "budget_seconds: 5.0", "budget_seconds: 6.0"))
    assert (problem.file, problem.meaning) == (PATH, "its rule binds nobody")


def test_the_locks_are_learnt_in_the_order_of_the_gates_without_those_that_are_none(judged):
    case = alter(judged, without=(Locks,), files={"locks/gate10.yaml": judged.tree.read("locks/gate1.yaml"),
                                                  "locks/gate3.yaml": b"x"})  # fmt: skip
    assert [problem.file for problem in locks.check_lock_digests(case)] == ["locks/gate10.yaml", "locks/gate3.yaml"]
    assert list(case.get(Locks).by_gate) == ["gate1", "gate2", "gate4", "gate5", "gate10"]


def test_without_any_lock_the_evidence_decides_nothing(judged):
    gone: dict[str, bytes | None] = {path: None for path in judged.tree.paths("locks") if path.endswith(".yaml")}

    def told(files: dict[str, bytes | None], **fields: Any) -> list[Problem]:
        return find(locks.check_lock_digests, judged, without=(Locks,), files=gone | files, **fields)

    def none(evidence: str) -> list[Problem]:
        meaning = "evidence without a rule decides nothing"
        return [Problem("locks", "no lock", f"the locks that judge {evidence}", meaning)]

    rungs: dict[str, bytes | None] = {path: None for path in judged.tree.paths("stages") if path.endswith("/dvc.lock")}
    assert told({}) == none("ledger/runs.jsonl")
    assert told({"ledger/runs.jsonl": None}) == none("ledger/decisions.jsonl")
    ledger: dict[str, bytes | None] = {"ledger/runs.jsonl": None, "ledger/decisions.jsonl": None}
    assert told(ledger) == none("ledger/metrics.json")
    ledger["ledger/metrics.json"] = None
    assert told(ledger) == none(min(rungs))
    digest = judged.get(Locks).by_gate["gate1"].digest
    stood = f"lock {digest[:12]}, which stood in history"
    assert told(ledger | rungs) == [
        Problem("locks/gate1.yaml", "no file", stood, "the rules that this study froze were taken away")
    ]
    with pytest.raises(Skip) as skip:
        told(ledger | rungs, git=None)
    assert (skip.value.reason, skip.value.enable, skip.value.applies) == (
        "nothing is frozen yet: locks/ holds no lock",
        "promotion freeze",
        False,
    )


def test_the_locks_of_another_study_in_history_are_not_missed(judged):
    gone = {
        path: None for path in judged.tree.paths() if path.endswith(("gate1.yaml", "dvc.lock")) or "ledger/" in path
    }
    gone |= {path: None for path in judged.tree.paths("locks") if path.endswith(".yaml")}
    value = synthetic.params(3, 1)
    value["study"]["name"] = "another"
    other = parse_study(value, "params.yaml")
    with pytest.raises(Skip):
        find(locks.check_lock_digests, judged, other, without=(Locks,), files=gone)
    assert len(find(locks.check_lock_digests, judged, without=(Locks, Study), files=gone)) == 1


# V04


def amended(case: Case, *replaces: str, changed: Any = None) -> Locks:
    change = changed or {"rules.R5.k": {"was": 2, "is": 4}}
    return change_lock(
        case,
        "gate2",
        amendments=[Amendment(reason="too few", replaces=digest, changed=change) for digest in replaces],
    )


def test_a_chain_of_locks_names_the_one_before_and_has_no_gap(judged):
    first, second = (judged.get(Locks).by_gate[gate].digest for gate in ("gate1", "gate2"))
    assert find(locks.check_lock_chain, judged) == []
    meaning = "it was frozen on top of another lock than the one that stands here"
    assert find(locks.check_lock_chain, judged, change_lock(judged, "gate2", previous="0" * 64)) == [
        Problem(PATH, "0" * 64, first, meaning, pointer="/frozen/previous")
    ]
    assert find(locks.check_lock_chain, judged, change_lock(judged, "gate1", previous=second)) == [
        Problem("locks/gate1.yaml", second, "None", meaning, pointer="/frozen/previous")
    ]
    known = Locks({gate: lock for gate, lock in judged.get(Locks).by_gate.items() if gate != "gate2"})
    assert find(locks.check_lock_chain, judged, known) == [
        Problem("locks/gate3.yaml", "gate3", "gate2", "a gate before it is not frozen")
    ]


def test_amendments_are_noted_and_one_that_is_made_up_is_told(judged):
    case = alter(judged, amended(judged, "1" * 64, "2" * 64))
    assert list(locks.check_lock_chain(case)) == []
    note = "gate2 was amended after its evidence existed: too few; changed: rules.R5.k 2 -> 4"
    assert case.notes == [note, note]
    own = judged.get(Locks).by_gate["gate2"].digest
    for digests, at in (([own], 0), (["1" * 64, "1" * 64], 1)):
        assert find(locks.check_lock_chain, judged, amended(judged, *digests)) == [
            Problem(
                PATH,
                digests[at],
                "the digest of an earlier lock",
                "the amendment is made up",
                pointer=f"/frozen/amendments/{at}/replaces",
            )
        ]


def test_what_an_amendment_changed_is_told_in_a_line():
    own, before = {"roles.best": {"was": 1, "is": 2}}, {"previous": {"was": "a", "is": "b"}}
    assert locks.describe_change("gate2", own) == "changed: roles.best 1 -> 2"
    assert locks.describe_change("gate2", own | before) == (
        "changed: roles.best 1 -> 2; follows the amendment of gate1"
    )
    assert locks.describe_change("gate2", before) == "follows the amendment of gate1"
    assert locks.describe_change("gate1", before) == f"changed: {domain_locks.tell_briefly(before, 6)}"
    many = {f"k{at}": {"was": 1, "is": 2} for at in range(8)}
    assert locks.describe_change("gate2", many, 7) == f"changed: {domain_locks.tell_briefly(many, 7)}"
    assert locks.describe_change("gate2", many) == f"changed: {domain_locks.tell_briefly(many, 6)}"


# V05


def test_what_params_yaml_says_otherwise_than_a_lock_is_told(judged):
    value = synthetic.params(3, 1)
    value["gates"]["gate3"]["R7"]["k"] = 2
    study = parse_study(value, "params.yaml")
    meaning = "gate3 would now be decided by another rule than the frozen one"
    assert find(locks.check_locks_match, judged) == []
    assert find(locks.check_locks_match, judged, study) == [
        Problem("locks/gate3.yaml", "2 in params.yaml", "3, as frozen", meaning, pointer="/frozen/rules/R7/k")
    ]


def test_a_lock_of_a_gate_that_is_not_declared_is_told_and_one_to_come_is_noted(judged):
    known = dict(judged.get(Locks).by_gate)
    six = known["gate5"].model_copy(update={"frozen": known["gate5"].frozen.model_copy(update={"gate": "gate6"})})
    case = alter(judged, Locks({"gate6": six, "gate1": known["gate1"]}))
    assert list(locks.check_locks_match(case)) == [
        Problem(
            "locks/gate6.yaml",
            "gate6",
            "gate1, gate2, gate3, gate4, gate5",
            "a rule for a gate that is not there",
        )
    ]
    assert case.notes == ["not frozen yet: gate2, gate3, gate4, gate5"]
    assert not locks.froze(judged.get(Study), six.frozen)
    assert locks.froze(judged.get(Study), known["gate5"].frozen)
    assert locks.froze(judged.get(Study), known["gate5"].frozen.model_copy(update={"last": False}))
    assert not locks.froze(judged.get(Study), known["gate5"].frozen.model_copy(update={"budget_seconds": 9.0}))


def test_other_factors_of_a_screen_change_effects_and_no_rule(judged, monkeypatch):
    both = {"factors.lr": {"was": 1, "is": 2}, "rules.R1": {"was": 3, "is": 4}}
    monkeypatch.setattr(locks.locks, "difference", lambda *_: both)
    case = alter(judged, Locks({"gate1": judged.get(Locks).by_gate["gate1"]}))
    meanings = {problem.pointer: problem.meaning for problem in locks.check_locks_match(case)}
    assert meanings == {
        "/frozen/factors/lr": "the effects of the screen would now be those of other factors than the frozen ones",
        "/frozen/rules/R1": "gate1 would now be decided by another rule than the frozen one",
    }


# The study of then


def test_the_study_of_the_freeze_is_that_of_the_first_commit_with_its_lock(judged):
    commit = judged.git.ask("rev-list", "--max-parents=0", "HEAD").strip()
    assert locks.study_when_frozen(judged) == (f"commit {commit[:12]}", judged.get(Study))
    other = alter(judged, files={"params.yaml": b"{}"})
    assert locks.study_when_frozen(other) == (f"commit {commit[:12]}", judged.get(Study))
    assert locks.study_when_frozen(alter(judged, git=None)) is None
    assert locks.study_when_frozen(alter(judged, Locks({}))) is None
    assert locks.study_when_frozen(alter(judged, change_lock(judged, "gate1", corpus="0" * 64))) is None
    lock = judged.get(Locks).by_gate["gate1"]
    another = Locks({"gate1": lock.model_copy(update={"digest": "0" * 64})})
    assert locks.study_when_frozen(alter(judged, another)) is None
    amendments = [Amendment(reason="x", replaces=lock.digest, changed={})]
    frozen = lock.frozen.model_copy(update={"amendments": amendments})
    another = Locks({"gate1": lock.model_copy(update={"digest": "0" * 64, "frozen": frozen})})
    assert locks.study_when_frozen(alter(judged, another)) is not None


# V06


def test_a_seed_of_an_earlier_rung_is_no_fresh_one(judged):
    assert find(locks.check_fresh_seeds, judged) == []
    meaning = "a seed that helped to choose a configuration flatters it here"
    repeated = {"seeds": [3000, 2000], "floor_seeds": [3900, 3901, 3902, 3000]}
    known = Locks(
        {gate: lock for gate, lock in change_lock(judged, "gate3", **repeated).by_gate.items() if gate < "gate4"}
    )
    assert find(locks.check_fresh_seeds, judged, known) == [
        Problem("locks/gate3.yaml", f"seed {seed}, used by {gate}", "a fresh seed", meaning, pointer=f"/frozen/{place}")
        for seed, gate, place in ((2000, "gate2", "seeds/1"), (3000, "gate3", "floor_seeds/3"))
    ]
    problems = find(locks.check_fresh_seeds, judged, change_lock(judged, "gate3", earlier_seeds=[1000]))
    assert problems == [
        Problem(
            "locks/gate3.yaml",
            "1 earlier seeds",
            "the 2 of the locks before it",
            "the rule about fresh seeds would look at others",
            pointer="/frozen/earlier_seeds",
        )
    ]


def test_a_params_yaml_that_comes_back_is_parsed_once(monkeypatch):
    parsed = []
    original = locks.parse_study

    def parse(value, where):
        parsed.append(where)
        return original(value, where)

    monkeypatch.setattr(locks, "parse_study", parse)
    good, bad = json.dumps(synthetic.params(3, 1)).encode(), b"{}\n"
    known: dict = {}
    assert locks._parse_params(good, known) is locks._parse_params(good, known)
    for _ in range(2):
        with pytest.raises(Invalid):
            locks._parse_params(bad, known)
    assert len(parsed) == 2
