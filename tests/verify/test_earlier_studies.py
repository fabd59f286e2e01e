"""Check V31 on one study that stands for both: each thing that the extension and what it goes on from differ in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain.decision import parse_decision
from stages.domain.files import sha256_bytes
from stages.domain.origin import Origin, who_may_go_on
from stages.domain.study import Study
from stages.verify import SEQUENCE, origin, sequence
from stages.verify.check import Case, Options, Problem, Skip
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks, Params
from stages.verify.origin import EarlierSeeds
from stages.verify.pending import EvidenceRules
from stages.verify.result import CheckResult
from tests.verify.cases import alter, change_lock

COMMIT, OTHER, HEAD = "c" * 40, "d" * 40, "e" * 40
HERE = f"commit {COMMIT[:12]}"
PARAMS = "params.yaml"


def origin_of(judged: Case, gate: str = "gate3", **changes: Any) -> Origin:
    line = judged.get(Ledger).decisions.get(gate)
    value = {
        "study": "synthetic",
        "gate": gate,
        "commit": COMMIT,
        "decision": sha256_bytes(line.data) if line else "f" * 64,
    }
    return Origin.model_validate({**value, **changes})


def study_with(judged: Case, **changes: Any) -> Study:
    """The study as an extension of itself with seeds of its own."""
    study = judged.get(Study)
    rungs = {
        name: rung.model_copy(update={"seeds": [seed + 50000 for seed in rung.seeds], "floor_seeds": []})
        for name, rung in study.rungs.items()
    }
    return study.model_copy(update={"rungs": rungs, **changes})


def extending(judged: Case, given: Origin, **changes: Any) -> Study:
    study = study_with(judged, **changes)
    return study.model_copy(update={"study": study.study.model_copy(update={"from_": given})})


def compare(judged: Case, given: Origin, study: Study, earlier: Case | None = None) -> tuple[list[Problem], Case]:
    case = alter(judged, study, without=(EarlierSeeds,))
    return list(origin._compare_with_earlier(case, study, given, earlier or judged)), case


def decision_of(judged: Case, gate: str) -> Any:
    return parse_decision(judged.get(Ledger).decisions[gate].data, "x", "")


def promoted(judged: Case, gate: str = "gate3") -> dict[str, Any]:
    names = who_may_go_on(decision_of(judged, gate), same_budget=False)
    return {name: judged.get(Study).configs[name] for name in names}


def test_what_a_gate_promoted_goes_on_with_fresh_seeds(judged):
    problems, case = compare(judged, origin_of(judged), study_with(judged, configs=promoted(judged)))
    assert (problems, case.notes) == ([], [])
    used = case.get(EarlierSeeds).by_seed
    assert used == dict.fromkeys([1000, 2000, 3000, 3900, 3901, 3902, 4000, 5000], "synthetic")


def test_the_seeds_of_the_studies_before_are_handed_on(judged):
    before = alter(judged, EarlierSeeds({7: "the first", 1000: "the first"}))
    _, case = compare(judged, origin_of(judged), study_with(judged, configs=promoted(judged)), before)
    used = case.get(EarlierSeeds).by_seed
    assert (used[7], used[1000], used[5000]) == ("the first", "synthetic", "synthetic")
    assert before.get(EarlierSeeds).by_seed == {7: "the first", 1000: "the first"}


def test_another_study_gate_or_decision_than_that_of_the_commit_is_told(judged):
    def told(**changes: Any) -> list[Problem]:
        return list(origin._compare_decision(origin_of(judged, **changes), judged))

    assert told() == []
    assert told(study="another") == [
        Problem(PARAMS, "another", f"synthetic, as in {HERE}", "another study is named", pointer="/study/from/study")
    ]
    assert told(gate="gate9") == [
        Problem(
            PARAMS, "gate9", f"a gate that decided in {HERE}", "nothing let anybody through", pointer="/study/from/gate"
        )
    ]
    digest = sha256_bytes(judged.get(Ledger).decisions["gate3"].data)
    meaning = "it goes on from another decision than the one that was made"
    assert told(decision="0" * 64) == [
        Problem(PARAMS, "0" * 64, f"{digest}, as in {HERE}", meaning, pointer="/study/from/decision")
    ]


@pytest.mark.parametrize(("gate", "told"), [("gate3", True), ("gate2", False)])
def test_a_gate_that_is_pending_in_that_commit_supports_nobody(gate, told, judged):
    rules = EvidenceRules(judged.get(Locks), judged.get(Study), judged.get(Params).value, {gate: "amended"})
    problem = Problem(
        PARAMS,
        f"gate3, pending in {HERE}",
        "a decision under the lock of then",
        "its rule was amended since, and the evidence is not made again",
        pointer="/study/from/gate",
    )
    problems = list(origin._compare_decision(origin_of(judged), alter(judged, rules)))
    assert problems == ([problem] if told else [])


def test_a_seed_that_was_used_before_is_told_with_its_place(judged):
    study = study_with(judged)
    third = study.rungs["rung3"].model_copy(update={"seeds": [1, 7, 2], "floor_seeds": [7, 3, 8]})
    study = study.model_copy(update={"rungs": {**study.rungs, "rung3": third}})
    meaning = "a seed that helped to choose a configuration flatters it here"
    assert list(origin._compare_seeds(study, {7: "first", 8: "second"})) == [
        Problem(PARAMS, f"seed {seed}, used by {name}", "a fresh seed", meaning, pointer=f"/rungs/rung3/{at}")
        for seed, name, at in ((7, "first", "seeds/1"), (7, "first", "floor_seeds/0"), (8, "second", "floor_seeds/2"))
    ]


def candidates(judged: Case, configs: dict[str, Any], budget: float, decision: Any = None) -> list[Problem]:
    study = study_with(judged, configs=configs)
    first = study.rungs["rung1"].model_copy(update={"budget_seconds": budget})
    study = study.model_copy(update={"rungs": {**study.rungs, "rung1": first}})
    frozen = judged.get(Locks).by_gate["gate4"].frozen
    given = decision or decision_of(judged, "gate4")
    return list(origin._compare_candidates(study, judged.get(Study), frozen, given))


def test_a_candidate_is_one_that_the_gate_let_through_or_judged_at_the_same_budget(judged):
    knobs = judged.get(Study).configs
    eligible = who_may_go_on(decision_of(judged, "gate4"), same_budget=False)
    stranger = Problem(
        PARAMS,
        "x",
        f"one that gate4 of synthetic let through: {', '.join(eligible)}",
        "it did not earn its place",
        pointer="/configs/x",
    )
    own = {name: knobs[name] for name in eligible}
    assert candidates(judged, own, 61.0) == []
    assert candidates(judged, {**own, "x": knobs["d1-c000"]}, 61.0) == [stranger]
    everybody = who_may_go_on(decision_of(judged, "gate4"), same_budget=True)
    reported = candidates(judged, {"x": knobs["d1-c000"]}, 60.0)
    assert [problem.expected for problem in reported] == [f"one that gate4 of synthetic judged: {', '.join(everybody)}"]
    nobody = decision_of(judged, "gate4").model_copy(update={"promoted": [], "candidates": []})
    (problem,) = candidates(judged, {"x": knobs["d1-c000"]}, 61.0, nobody)
    assert problem.expected == "one that gate4 of synthetic let through: nobody"


def test_a_candidate_has_the_knobs_that_it_had(judged):
    knobs = judged.get(Study).configs
    (name, *_) = who_may_go_on(decision_of(judged, "gate4"), same_budget=False)
    other = {**knobs[name], "aspect": 99}
    expected = f"{knobs[name]}, as synthetic had it"
    assert candidates(judged, {name: other}, 61.0) == [
        Problem(PARAMS, str(other), expected, "it is another configuration", pointer=f"/configs/{name}")
    ]


def test_runner_text_settings_and_clock_are_those_of_then_and_other_hosts_are_noted(judged):
    before = judged.get(Locks).by_gate["gate3"].frozen
    meaning = "its scores cannot be compared with those that chose its candidates"
    for key, value in (("runner", "1" * 64), ("corpus", "2" * 64), ("settings", {"a": 1}), ("clock", "wall")):
        case = alter(judged, change_lock(judged, "gate2", **{key: value}))
        expected = f"{getattr(before, key)}, as synthetic froze it"
        reported = Problem("locks/gate2.yaml", str(value), expected, meaning, pointer=f"/frozen/{key}")
        assert list(origin._compare_frozen(case, before)) == [reported]
    hosts = {"cpu-fp32": before.hosts["cpu-fp32"]}
    for gate, notes in (("gate1", ["it runs on other host blocks than synthetic"]), ("gate2", [])):
        case = alter(judged, change_lock(judged, gate, hosts=hosts))
        assert (list(origin._compare_frozen(case, before)), case.notes) == ([], notes)
    bare = alter(judged, without=(Locks,))
    assert list(origin._compare_frozen(bare, before.model_copy(update={"runner": "1" * 64}))) == []


def test_without_the_lock_or_the_decision_of_then_nothing_more_is_compared(judged):
    study = study_with(judged, configs={"x": {}})
    missing = alter(judged, Ledger(judged.get(Ledger).runs, {}))
    problems, _ = compare(judged, origin_of(judged), study, missing)
    assert [problem.pointer for problem in problems] == ["/study/from/gate"]
    known = Locks({gate: lock for gate, lock in judged.get(Locks).by_gate.items() if gate != "gate3"})
    problems, _ = compare(judged, origin_of(judged), study, alter(judged, known))
    assert problems == []
    problems, _ = compare(judged, origin_of(judged), study)
    assert [problem.pointer for problem in problems] == ["/configs/x"]


# The commit that it goes on from


def git(*ancestry: str, shallow: bool = False, head: str | None = HEAD) -> Any:
    return SimpleNamespace(
        head=head, ancestry=lambda commit: ancestry if commit == HEAD else (commit,), shallow=shallow
    )


@pytest.mark.parametrize(
    ("commit", "repository", "answer"),
    [
        (None, git(COMMIT, HEAD), True),
        (HEAD, git(COMMIT, HEAD), True),
        (None, git(OTHER, HEAD), False),
        (COMMIT, git(COMMIT, HEAD), False),  # the commit itself
        (None, git(COMMIT, head=None), False),
        (OTHER, git(COMMIT, HEAD), False),
        (None, git(COMMIT, HEAD, shallow=True), True),
        (None, git(OTHER, HEAD, shallow=True), None),
    ],
)
def test_the_commit_is_an_ancestor_of_what_is_verified(commit, repository, answer, judged):
    case = alter(judged, commit=commit)
    if answer is None:
        with pytest.raises(Skip) as skip:
            origin._is_in_history(case, repository, origin_of(judged))
        assert skip.value.reason == f"a shallow clone, which may hide commit {COMMIT[:12]}"
        assert skip.value.enable == "git fetch --unshallow"
    else:
        assert origin._is_in_history(case, repository, origin_of(judged)) is answer


def test_the_earlier_commit_is_verified_as_a_whole_and_is_told_by_its_first_failure(judged, monkeypatch):
    given = origin_of(judged, commit=judged.git.head)
    seen: list[Case] = []
    learns: list[object] = [judged.get(Study), judged.get(Locks), judged.get(Ledger)]
    problems = (Problem("a", "b", "c", "d"), Problem("e", "f", "g", "h"))
    results = [CheckResult(SEQUENCE[0], "passed")]

    def run_checks(case: Case) -> tuple[CheckResult, ...]:
        seen.append(case)
        for value in learns:
            case.learn(value)
        return tuple(results)

    monkeypatch.setattr(sequence, "run_checks", run_checks)
    case = alter(judged, options=Options("artifacts", None, frozenset({"V24"})), later=("x",), commit=HEAD)
    earlier, problem = origin._verify_earlier(case, judged.git, given)
    assert (earlier, problem) == (seen[0], None)
    assert (earlier.root, earlier.git, earlier.commit) == (judged.root, judged.git, given.commit)
    assert (earlier.options, earlier.later, earlier.lines is case.lines) == (Options("git"), ("x", HEAD), True)
    assert origin._verify_earlier(alter(judged), judged.git, given)[0].later == ("",)

    def told(state: str) -> Problem:
        text = f"commit {given.commit[:12]} {state}"
        meaning = "what this study goes on from cannot be believed"
        return Problem(PARAMS, text, "one that verifies", meaning, pointer="/study/from/commit")

    for missing in list(learns):
        learns.remove(missing)
        assert origin._verify_earlier(case, judged.git, given)[1] == told("holds no study that was judged")
        learns.append(missing)
    results += [CheckResult(SEQUENCE[1], "skipped"), CheckResult(SEQUENCE[2], "failed", problems)]
    results += [CheckResult(SEQUENCE[3], "failed", problems)]
    assert origin._verify_earlier(case, judged.git, given)[1] == told(f"fails at V03 lock-digests: {problems[0]}")


def test_what_is_wrong_with_the_commit_is_told_alone_and_its_past_is_looked_for(judged, monkeypatch):
    study = extending(judged, origin_of(judged), configs={"x": {}})
    case = alter(judged, study, without=(EarlierSeeds,))
    failure = Problem("a", "b", "c", "d")
    monkeypatch.setattr(origin, "_is_in_history", lambda *_: True)
    monkeypatch.setattr(origin, "_verify_earlier", lambda *_: (judged, failure))
    assert list(origin.check_origin(case)) == [failure]
    monkeypatch.setattr(origin, "_verify_earlier", lambda *_: (judged, None))
    assert [problem.pointer for problem in origin.check_origin(case)] == ["/configs/x"]

    def hidden(history: Any) -> None:
        raise Skip("it is hidden", "git fetch")

    monkeypatch.setattr("stages.verify.check.refuse_cut_history", hidden)
    with pytest.raises(Skip, match="it is hidden"):
        list(origin.check_origin(alter(judged, study, without=(EarlierSeeds,))))
