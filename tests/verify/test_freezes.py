"""The commits that brought a lock of gate 1, and what params.yaml said in each: which text the study was frozen on."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from stages.domain.errors import Unreadable
from stages.domain.study import Study, parse_study
from stages.repo.history import RUNS, WORKSPACE
from stages.repo.objects import GitAbsent
from stages.verify import locks, records
from stages.verify.check import Case, Problem, Skip
from stages.verify.locks import Freeze, Locks
from tests.support import synthetic
from tests.verify.cases import alter
from tests.verify.test_past import FIRST, OLD, SECOND, THIRD, amended, own, state, with_history

ONE, TWO, THREE = (f"commit {commit[:12]}" for commit in (FIRST, SECOND, THIRD))


class Files:
    """A repository with a params.yaml, or what goes wrong with it, by commit."""

    head = THIRD
    partial = False
    shallow = frozenset[str]()

    def __init__(self, **params: Any) -> None:
        self.params = params

    def entry(self, commit: str, path: str) -> Any:
        data = self.params.get(f"c{commit[0]}", b"")
        return None if path != "params.yaml" or data is None else SimpleNamespace(oid=data)

    def blob(self, data: Any) -> bytes:
        if isinstance(data, Exception):
            raise data
        assert isinstance(data, bytes)
        return data


def params(**changes: Any) -> bytes:
    value = synthetic.params(3, 1)
    for key, change in changes.items():
        value[key] = {**value[key], **change}
    return json.dumps(value).encode()


def freezes(case: Case, *states: Any, git: Any, values: Any = (), **fields: Any) -> list[Freeze]:
    return list(locks.freezes(with_history(case, *states, git=git, values=values, **fields)))


def test_each_commit_that_brings_the_lock_is_a_freeze_with_what_its_params_yaml_says(judged):
    lock, study = own(judged, "gate1"), judged.get(Study)
    words = parse_study(json.loads(params(study={"title": "Another"})), "x")
    git = Files(c1=params(), c3=params(study={"title": "Another"}))
    states = [state(FIRST, locks=lock), state(SECOND, FIRST), state(THIRD, SECOND, locks=lock)]
    assert freezes(judged, *states, git=git) == [Freeze(ONE, study.data, study), Freeze(THREE, words.data, words)]
    kept = [states[0], state(SECOND, FIRST, locks=lock), state(WORKSPACE, SECOND, locks=lock)]
    assert freezes(judged, *kept, git=git) == [Freeze(ONE, study.data, study)]
    assert freezes(judged, state(WORKSPACE, locks=lock), git=git) == []
    assert freezes(judged, state(FIRST, locks=own(judged, "gate2")), git=git) == []
    others = [
        replace(lock[0], digest=OLD),
        replace(lock[0], frozen={**lock[0].frozen, "corpus": "another"}),
    ]
    for other in others:
        assert freezes(judged, state(FIRST, locks=[other]), git=git) == []
    merged = [state(FIRST, locks=lock), state(SECOND), state(THIRD, FIRST, SECOND, locks=lock)]
    assert [freeze.title for freeze in freezes(judged, *merged, git=git)] == [ONE]
    case = with_history(judged, states[0], git=git)
    assert locks.study_when_frozen(case) == (ONE, study)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "no params.yaml"),
        (params(rungs={"rung1": {"budget_seconds": 1.0, "seeds": [1000]}}), "a params.yaml with which that lock does not agree"),
        (b"{}", ""),
        (b"a: [", ""),
        (Unreadable("too large"), "too large"),
    ],
)  # fmt: skip
def test_a_params_yaml_that_says_no_study_of_the_lock_is_told(data, problem, judged):
    (freeze,) = freezes(judged, state(FIRST, locks=own(judged, "gate1")), git=Files(c1=data))
    assert (freeze.title, freeze.data, freeze.study) == (ONE, None, None)
    assert freeze.problem == problem if problem else freeze.problem.startswith("params.yaml")
    case = with_history(judged, state(FIRST, locks=own(judged, "gate1")), git=Files(c1=data))
    assert locks.study_when_frozen(case) is None
    assert list(records._compare_declared_text(case)) == [
        Problem(
            "locks/gate1.yaml",
            f"in {ONE} {freeze.problem}",
            "beside it the params.yaml that it froze",
            "nothing shows which text gate 1 was frozen on",
        )
    ]


def test_a_params_yaml_that_git_lacks_skips_what_depends_on_it(judged):
    with pytest.raises(Skip) as skip:
        freezes(judged, state(FIRST, locks=own(judged, "gate1")), git=Files(c1=GitAbsent("it is absent", "git fetch")))
    assert (skip.value.reason, skip.value.enable) == ("it is absent", "git fetch")


def test_of_a_lock_that_was_replaced_the_text_alone_need_be_read(judged):
    (lock,) = own(judged, "gate1")
    old, known = replace(lock, digest=OLD), amended(judged, "gate1", OLD)
    states = [state(FIRST, locks=[old])]

    def one(data: bytes) -> Freeze:
        (freeze,) = freezes(judged, *states, git=Files(c1=data), values=[known])
        return freeze

    other = parse_study(json.loads(params(rungs={"rung1": {"budget_seconds": 1.0, "seeds": [1000]}})), "x")
    assert one(params(rungs={"rung1": {"budget_seconds": 1.0, "seeds": [1000]}})) == Freeze(ONE, other.data, other)
    data = judged.get(Study).data
    assert one(params(gates={"gate1": {"R1": {"kind": "of another version"}}})) == Freeze(ONE, data)
    broken = one(params(gates={"gate1": {"R1": {"kind": "x"}}}, data={"vocab_size": "many"}))
    assert (broken.data, broken.study) == (None, None)
    assert broken.problem.startswith("params.yaml")


def test_the_usual_params_yaml_is_not_read_twice(judged, monkeypatch):
    monkeypatch.setattr(locks, "parse_study", lambda *_: pytest.fail("it was parsed"))
    here = judged.tree.read("params.yaml")
    (freeze,) = freezes(judged, state(FIRST, locks=own(judged, "gate1")), git=Files(c1=here))
    assert freeze.study is judged.get(Study)
    monkeypatch.undo()
    (freeze,) = freezes(judged, state(FIRST, locks=own(judged, "gate1")), git=Files(c1=here), without=(Study,))
    assert freeze.study == judged.get(Study)


def test_another_text_is_told_once_with_the_first_commit_that_says_otherwise(judged):
    lock = own(judged, "gate1")
    (first,) = lock
    known = amended(judged, "gate1", OLD)
    old = replace(first, digest=OLD)
    git = Files(c1=params(data={"vocab_size": 999}), c2=params(data={"vocab_size": 888}), c3=params())
    states = [state(FIRST, locks=[old]), state(SECOND, FIRST), state(THIRD, SECOND, locks=[old])]
    states[1] = state(SECOND, FIRST, oids={RUNS: "1"})
    case = with_history(judged, *states, git=git, values=[known])
    assert list(records._compare_declared_text(case)) == [
        Problem(
            "params.yaml",
            "512",
            f"999, as in {ONE}",
            "gate 1 was frozen on the corpus of that time, and params.yaml says that it is another text",
            pointer="/data/vocab_size",
        )
    ]
    same = with_history(judged, state(FIRST, locks=[old]), git=Files(c1=params()), values=[known])
    assert list(records._compare_declared_text(same)) == []
    cut = alter(same)
    cut.__dict__["_history"] = same.history
    cut.history.cut = FIRST
    with pytest.raises(Skip, match="a shallow clone"):
        list(records._compare_declared_text(cut))


def test_a_lock_agrees_with_a_study_that_says_the_same_but_for_which_gate_is_the_last(judged):
    study, known = judged.get(Study), judged.get(Locks).by_gate
    assert all(locks.froze(study, lock.frozen) for lock in known.values())
    fourth = known["gate4"].frozen
    assert locks.froze(study, fourth.model_copy(update={"last": True}))
    assert not locks.froze(study, fourth.model_copy(update={"budget_seconds": 1.0}))
    assert not locks.froze(study, fourth.model_copy(update={"gate": "gate9"}))
