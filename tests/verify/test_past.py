"""Checks V20 to V22 on histories of a few states: each finding word for word, and what raises no alarm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain import locks
from stages.domain.locks import Amendment, Lock
from stages.domain.study import Study
from stages.repo.history import RUNS, History, HistoryState
from stages.repo.past_files import PastLock
from stages.verify import history as checks
from stages.verify.check import Case, Problem
from stages.verify.history import lineage
from stages.verify.locks import Locks
from tests.verify.cases import alter

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
FIRST, SECOND, THIRD = (letter * 40 for letter in "123")
ANCESTOR = "the lock in an ancestor of that commit"
UNSEEN = "nothing shows that the rule of {} was fixed before its evidence was seen"


def past(gate: str, digest: str, study: str = "synthetic", **frozen: object) -> PastLock:
    return PastLock(gate, digest, {"study": study, **frozen})


def state(
    commit: str,
    *parents: str,
    locks: Iterable[PastLock] = (),
    evidence: Iterable[tuple[str, str]] = (),
    lines: Iterable[bytes] = (),
    oids: Mapping[str, str] | None = None,
    ledgers: Mapping[str, Iterable[bytes]] | None = None,
) -> HistoryState:
    by_gate = {lock.gate: lock for lock in locks}
    kept = {path: frozenset(inside) for path, inside in (ledgers or {}).items()}
    known = dict(oids) if oids is not None else {RUNS: "0" * 40}
    return HistoryState(
        commit, parents, known, by_gate, frozenset(evidence), frozenset(lines), frozenset(), kept
    )  # fmt: skip


def history(*states: HistoryState, elsewhere: Iterable[str] = ()) -> History:
    """The states, parents first, with the locks that stood so far."""
    made = History(studies_elsewhere=set(elsewhere))
    for each in states:
        own = frozenset((gate, lock.digest) for gate, lock in each.locks.items())
        before = (made.states[parent].locks_so_far for parent in each.parents)
        made.states[each.commit] = replace(each, locks_so_far=own.union(*before))
    return made


def with_history(
    case: Case, *states: HistoryState, elsewhere: Iterable[str] = (), values: Any = (), **fields: Any
) -> Case:
    altered = alter(case, *values, **fields)
    altered.__dict__["_history"] = history(*states, elsewhere=elsewhere)
    return altered


def amended(case: Case, gate: str, *replaces: str) -> Locks:
    """The locks of the study where that of a gate says that it replaced these."""
    by_gate = dict(case.get(Locks).by_gate)
    amendments = [Amendment(reason="why", replaces=digest, changed={}) for digest in replaces]
    frozen = by_gate[gate].frozen.model_copy(update={"amendments": amendments})
    by_gate[gate] = by_gate[gate].model_copy(update={"frozen": frozen})
    return Locks(by_gate)


def digest_of(case: Case, gate: str) -> str:
    return case.get(Locks).by_gate[gate].digest


def own(case: Case, *gates: str) -> list[PastLock]:
    """The locks of today as git would have held them."""
    known = case.get(Locks).by_gate
    return [PastLock(gate, known[gate].digest, known[gate].frozen.to_json()) for gate in gates]


# V20


def test_the_lineage_of_a_lock_is_its_digest_and_those_that_it_replaced(judged):
    lock = amended(judged, "gate1", OLD, OTHER).by_gate["gate1"]
    assert lineage(lock) == {lock.digest, OLD, OTHER}
    assert lineage(None) == set()


def test_a_rule_is_known_where_an_ancestor_holds_it(judged):
    now = amended(judged, "gate1", OLD)
    now = Locks({gate: now.by_gate[gate] for gate in ("gate1", "gate2")})
    first, second = (now.by_gate[gate].digest for gate in ("gate1", "gate2"))
    for commitment, earlier, known in (
        (("rung1", NEW), {("gate1", NEW)}, True),
        (("rung1", NEW), {("gate2", NEW)}, False),
        (("rung1", NEW), {("gate1", first)}, False),
        (("rung1", ""), {("gate1", OLD)}, True),
        (("rung1", ""), {("gate1", first)}, True),
        (("rung1", ""), {("gate1", NEW), ("gate2", second)}, False),
        (("rung3", ""), {("gate1", first), ("gate2", second)}, False),
        (("", ""), {("gate1", OLD), ("gate2", second)}, True),
        (("", ""), {("gate1", OLD)}, False),
        (("", ""), set(), False),
    ):
        assert checks._was_known(commitment, frozenset(earlier), now) is known, (commitment, earlier)


def test_evidence_decides_nothing_under_a_rule_that_was_replaced_or_of_a_study_that_was_left(judged):
    now = amended(judged, "gate1", OLD)
    today = now.by_gate["gate1"].digest
    foreign, ours = past("gate1", NEW, "another"), past("gate1", OTHER)
    known = history(state(FIRST, locks=[foreign]), state(SECOND, FIRST, locks=[ours]), state(THIRD, FIRST, SECOND))
    for commitment, at, nothing in (
        (("rung1", OLD), FIRST, True),
        (("rung1", today), FIRST, False),
        (("rung2", OLD), FIRST, False),
        (("rung1", NEW), FIRST, True),
        (("rung1", OTHER), FIRST, False),
        (("rung1", "d" * 64), FIRST, False),
        (("rung1", ""), FIRST, False),  # no lock stood before
        (("rung1", ""), SECOND, True),
        (("rung1", ""), THIRD, False),  # one of two was this study's
        (("", ""), SECOND, True),
        (("", ""), THIRD, False),
    ):
        answer = checks._decides_nothing(commitment, known, known.states[at], now)
        assert answer is nothing, (commitment, at)


@pytest.mark.parametrize(
    ("commitment", "locks", "oids", "file", "text", "gate"),
    [
        (("rung1", OLD), [past("gate1", OLD)], {RUNS: "1"}, "locks/gate1.yaml", f"brings evidence of rung1 together with lock {OLD[:12]}", "gate1"),
        (("rung1", OLD), [past("gate2", OLD)], {RUNS: "1"}, RUNS, f"brings evidence of rung1 without lock {OLD[:12]}", "gate1"),
        (("rung1", ""), [], {RUNS: "1", "stages/ladder/rung1/a/dvc.lock": "2"}, RUNS, "brings evidence of rung1 that names no lock", "gate1"),
        (
            ("rung1", ""),
            [],
            {"stages/ladder/rung1/b/dvc.lock": "1", "stages/ladder/rung1/a/dvc.lock": "2", "stages/ladder/rung0/a/dvc.lock": "3"},
            "stages/ladder/rung1/a/dvc.lock",
            "brings evidence of rung1 that names no lock",
            "gate1",
        ),
        (("rung2", ""), [], {"stages/ladder/rung1/b/dvc.lock": "1"}, RUNS, "brings evidence of rung2 that names no lock", "gate2"),
        (("", ""), [], {RUNS: "1"}, RUNS, "brings evidence of an unknown rung that names no lock", "any gate"),
    ],
)  # fmt: skip
def test_evidence_before_its_rule_is_told_with_the_file_that_shows_it(commitment, locks, oids, file, text, gate):
    known = history(state(FIRST, locks=locks, oids=oids))
    reported = Problem(file, f"commit {FIRST[:12]} {text}", ANCESTOR, UNSEEN.format(gate))
    assert checks._too_early(commitment, known.states[FIRST]) == reported


def test_evidence_that_comes_with_several_locks_is_told_once_and_other_evidence_by_itself(judged):
    one, two = digest_of(judged, "gate1"), digest_of(judged, "gate2")
    evidence = [("rung1", one), ("rung2", two), ("rung3", digest_of(judged, "gate3"))]
    case = with_history(judged, state(FIRST, locks=own(judged, "gate1", "gate2"), evidence=evidence))
    squashed = Problem(
        "locks",
        f"a squash merge or an import? commit {FIRST[:12]} brings evidence of rung1 and rung2 together with the locks "
        "that judge it",
        "each lock in an ancestor of that commit",
        "nothing shows any more which came first: merge the branch as it is (`git merge --no-ff`), without squashing",
    )
    text = f"commit {FIRST[:12]} brings evidence of rung3 without lock {digest_of(judged, 'gate3')[:12]}"
    alone = Problem(RUNS, text, ANCESTOR, UNSEEN.format("gate3"))
    assert list(checks.check_rule_first(case)) == [squashed, alone]
    case = with_history(judged, state(FIRST, locks=own(judged, "gate1"), evidence=evidence[:1]))
    text = f"commit {FIRST[:12]} brings evidence of rung1 together with lock {one[:12]}"
    assert list(checks.check_rule_first(case)) == [Problem("locks/gate1.yaml", text, ANCESTOR, UNSEEN.format("gate1"))]


def test_evidence_that_comes_after_its_lock_or_was_there_before_raises_no_alarm(judged):
    evidence = [("rung1", digest_of(judged, "gate1"))]
    frozen = state(FIRST, locks=own(judged, "gate1"))
    assert list(checks.check_rule_first(with_history(judged, frozen, state(SECOND, FIRST, evidence=evidence)))) == []
    early = state(FIRST, evidence=evidence)
    problems = checks.check_rule_first(with_history(judged, early, state(SECOND, FIRST, evidence=evidence)))
    assert [problem.found.partition(" brings")[0] for problem in problems] == [f"commit {FIRST[:12]}"]
    foreign = [past("gate1", NEW, "another")]
    left = state(FIRST, locks=foreign, evidence=[("rung1", NEW)])
    assert list(checks.check_rule_first(with_history(judged, left))) == []


# V21


def test_a_lock_that_had_evidence_is_the_one_of_today_or_named_by_an_amendment(judged):
    (lock,) = own(judged, "gate1")
    past_lock = replace(
        lock, digest=OLD, frozen={**lock.frozen, "seeds": [9], "clock": "x", "rung": "y", "roles": 1, "last": 7}
    )
    evidence = [("rung1", OLD)]
    known = history(state(FIRST, locks=[past_lock]), state(SECOND, FIRST, locks=[past_lock], evidence=evidence))
    now = judged.get(Locks).by_gate["gate1"]
    gone = Problem(
        "locks/gate1.yaml",
        "no file",
        f"lock {OLD[:12]}, or one with an amendment that replaces it",
        "evidence was made under a rule that is gone",
    )
    assert list(checks._compare_lock("gate1", past_lock, None, known)) == [gone]

    def told(changed: str, where: str = SECOND) -> Problem:
        return Problem(
            "locks/gate1.yaml",
            f"another lock than {OLD[:12]}, of which commit {where[:12]} holds evidence; changed: {changed}",
            f"an amendment that replaces {OLD[:12]}; `promotion freeze gate1 --amend --reason ...` writes it",
            "the rule of gate1 was changed after its evidence was seen, and nobody says so",
            pointer="/frozen/amendments",
        )

    changed = list(locks.difference(past_lock.frozen, now.frozen.to_json()))
    assert len(changed) > 4
    assert list(checks._compare_lock("gate1", past_lock, now, known)) == [told(", ".join(changed[:4]))]
    same = replace(past_lock, frozen=now.frozen.to_json())
    assert list(checks._compare_lock("gate1", same, now, known)) == [told("amendments")]
    unnamed = history(state(FIRST, evidence=[("rung2", "")]), state(THIRD, FIRST, evidence=[("rung1", "")]))
    assert list(checks._compare_lock("gate1", same, now, unnamed)) == [told("amendments", THIRD)]
    assert list(checks._compare_lock("gate1", replace(past_lock, digest=now.digest), now, known)) == []
    named = amended(judged, "gate1", OLD).by_gate["gate1"]
    assert list(checks._compare_lock("gate1", past_lock, named, known)) == []
    case = with_history(judged, *known.states.values())
    assert list(checks.check_rule_stayed(case))[:1] == [told(", ".join(changed[:4]))]
    assert list(checks.check_rule_stayed(with_history(judged, state(FIRST, locks=[past_lock])))) == []


def amendment_case(judged: Case, changed: Any, git: Any = None, before: bool = True) -> tuple[Lock, History, Case]:
    """Gate 1, amended once, in a history that holds the lock of before, or not."""
    (lock,) = own(judged, "gate1")
    old = replace(lock, digest=OLD, frozen={**lock.frozen, "budget_seconds": 1.0})
    known = amended(judged, "gate1", OLD).by_gate["gate1"]
    amendment = known.frozen.amendments[0].model_copy(update={"changed": changed})
    frozen = known.frozen.model_copy(update={"amendments": [amendment]})
    states = history(state(FIRST, locks=[old] if before else []))
    return known.model_copy(update={"frozen": frozen}), states, alter(judged, git=git or judged.git)


def test_an_amendment_says_what_it_changed_of_the_lock_that_git_holds(judged):
    change = {"budget_seconds": {"was": 1.0, "is": 2.0}}
    assert list(checks._compare_amendments(*amendment_case(judged, change))) == []
    hidden = Problem(
        "locks/gate1.yaml",
        "nothing",
        "budget_seconds",
        "the amendment hides what it changed",
        pointer="/frozen/amendments/0/changed",
    )
    assert list(checks._compare_amendments(*amendment_case(judged, {}))) == [hidden]
    wrong = {"budget_seconds": {"was": 1.0, "is": 3.0}, "roles": {"was": 1, "is": 2}}
    reported = replace(hidden, found="budget_seconds, roles")
    assert list(checks._compare_amendments(*amendment_case(judged, wrong))) == [reported]


def test_an_amendment_of_a_lock_that_never_stood_is_told_where_git_holds_the_whole_history(judged):
    reported = Problem(
        "locks/gate1.yaml",
        OLD,
        "a lock of the history",
        "the amendment speaks of a lock that never stood in history",
        pointer="/frozen/amendments/0/replaces",
    )
    assert list(checks._compare_amendments(*amendment_case(judged, {}, before=False))) == [reported]
    shallow = SimpleNamespace(shallow=frozenset({FIRST}))
    assert list(checks._compare_amendments(*amendment_case(judged, {}, git=shallow, before=False))) == []
    lock, states, case = amendment_case(judged, {}, before=False)
    assert list(checks._compare_amendments(lock, states, replace(case, git=None))) == []


def test_of_two_amendments_the_first_is_compared_with_what_the_second_replaced(judged):
    (lock,) = own(judged, "gate1")
    first = replace(lock, digest=OLD, frozen={**lock.frozen, "budget_seconds": 1.0})
    second = replace(lock, digest=NEW, frozen={**lock.frozen, "budget_seconds": 1.5})
    changes = [{"budget_seconds": {"was": 1.0, "is": 1.5}}, {"budget_seconds": {"was": 1.5, "is": 2.0}}]
    now = amended(judged, "gate1", OLD, NEW).by_gate["gate1"]

    def problems(first_change: Any, second_change: Any, *past_locks: PastLock) -> list[str | None]:
        reported = [
            amendment.model_copy(update={"changed": change})
            for amendment, change in zip(now.frozen.amendments, (first_change, second_change), strict=True)
        ]
        frozen = now.frozen.model_copy(update={"amendments": reported})
        states = [state(FIRST, locks=past_locks[:1]), state(SECOND, FIRST, locks=past_locks[1:])]
        amended_lock = now.model_copy(update={"frozen": frozen})
        return [problem.pointer for problem in checks._compare_amendments(amended_lock, history(*states), judged)]

    assert problems(*changes, first, second) == []
    assert problems(changes[1], changes[1], first, second) == ["/frozen/amendments/0/changed"]
    assert problems(changes[0], changes[0], first, second) == ["/frozen/amendments/1/changed"]
    assert problems(changes[1], changes[1], first) == ["/frozen/amendments/1/replaces"], "what came next is not known"


def test_words_of_the_study_that_are_put_otherwise_are_noted_and_others_are_not(judged, monkeypatch):
    study = judged.get(Study)
    then = study.model_copy(update={"study": study.study.model_copy(update={"question": "x" * 130, "mode": "frozen"})})
    monkeypatch.setattr(checks, "study_when_frozen", lambda case: ("commit 1", then))
    case = alter(judged)
    checks._note_words(case)
    cut = checks.formatting.shortened("x" * 130, 120)
    assert case.notes == [
        f"study.question was put otherwise when gate 1 was frozen: {cut!r} in commit 1, {study.study.question!r} now"
    ]
    alone = alter(judged, git=None)
    checks._note_words(alone)
    monkeypatch.setattr(checks, "study_when_frozen", lambda case: None)
    unknown = alter(judged)
    checks._note_words(unknown)
    assert (alone.notes, unknown.notes) == ([], [])
