"""What changed between two commits, in words: decisions, rules, evidence, the study; and a commit in a line."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stages import ledger
from stages.domain import canonical, locks
from stages.domain.locks import Amendment
from stages.repo.tree import WorkTree
from stages.verify import changes
from stages.verify.changes import (
    Snapshot,
    changed_decisions,
    compare_snapshots,
    describe_commit,
    read_snapshot,
)
from tests.support import synthetic


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of six configurations."""
    root = tmp_path_factory.mktemp("changes") / "study"
    synthetic.build(root, synthetic.params(6, 1))
    with chdir(root):
        ledger.main()
    return root


@pytest.fixture(scope="module")
def snapshot(study: Path) -> Snapshot:
    return read_snapshot(WorkTree(study))


@dataclass
class Files:
    """A commit of a few files."""

    files: dict[str, bytes]
    title: str = "a commit"

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def paths(self, folder: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(f"{folder}/"))

    def changed(self, before: Files) -> list[str]:
        both = self.files.keys() | before.files.keys()
        return sorted(path for path in both if self.files.get(path) != before.files.get(path))


def with_decision(snapshot: Snapshot, gate: str, **changes: Any) -> Snapshot:
    decision = snapshot.decisions[gate].model_copy(update=changes)
    return replace(snapshot, decisions={**snapshot.decisions, gate: decision})


def test_a_snapshot_and_itself_differ_in_nothing(snapshot):
    changes = compare_snapshots(snapshot, snapshot)
    assert (changes.decisions, changes.rules, changes.evidence, changes.study, changes.totals) == ([], [], [], [], [])


def test_each_thing_that_a_decision_says_otherwise_is_a_line(snapshot):
    was = snapshot.decisions["gate5"]
    first, second = (ranked.config for ranked in was.ranking[:2])
    rule = next(iter(was.verdicts))
    text = was.rule(rule).text.replace("-0", "\N{MINUS SIGN}0")
    other = with_decision(
        snapshot,
        "gate5",
        mode="exploratory",
        verdicts={**was.verdicts, rule: None, "R99": False},
        ranking=[was.ranking[1], was.ranking[0], *was.ranking[2:]],
    )
    words = {True: "holds", False: "does not hold", None: "not evaluable"}
    assert compare_snapshots(snapshot, other).decisions == [
        "Gate 5: mode was frozen, is exploratory",
        f"Gate 5: {rule} {words[was.verdicts[rule]]} before, not evaluable now ({text})",
        "Gate 5: R99 absent before, does not hold now (rule taken away)",
        f"Gate 5: {second} leads, before it was {first}",
    ]
    promoted = snapshot.decisions["gate3"].promoted
    fewer = with_decision(snapshot, "gate3", promoted=promoted[1:], outcome="blocked", blocked_by=["R1"])
    assert compare_snapshots(snapshot, fewer).decisions == [
        "Gate 3: outcome was decided, is blocked",
        f"Gate 3: {promoted[0]} is no longer promoted",
    ]
    assert compare_snapshots(fewer, snapshot).decisions == [
        "Gate 3: outcome was blocked, is decided",
        f"Gate 3: {promoted[0]} is now promoted",
    ]


def test_a_decision_that_one_side_lacks_is_told_by_its_outcome(snapshot):
    none = replace(snapshot, decisions={})
    blocked = with_decision(snapshot, "gate3", outcome="blocked", blocked_by=["R1", "R7"])
    empty = with_decision(snapshot, "gate5", ranking=[])
    assert "Gate 3: blocked by R1 and R7" in compare_snapshots(none, blocked).decisions
    assert "Gate 5: decided, nobody has a full set of cells" in compare_snapshots(none, empty).decisions
    assert "Gate 3: no longer decided; it was blocked by R1 and R7" in compare_snapshots(blocked, none).decisions


def test_locks_that_come_go_and_are_amended_are_told(snapshot):
    fewer = replace(snapshot, locks={gate: lock for gate, lock in snapshot.locks.items() if gate != "gate5"})
    assert compare_snapshots(fewer, snapshot).rules == ["Gate 5: frozen"]
    assert compare_snapshots(snapshot, fewer).rules == ["Gate 5: lock taken away"]


def lock_of(snapshot: Snapshot, *reasons: str) -> bytes:
    """The lock of gate 2 with amendments for these reasons."""
    amendments = [Amendment(reason=reason, replaces="0" * 64, changed={}) for reason in reasons]
    return locks.dumps(snapshot.locks["gate2"].frozen.model_copy(update={"amendments": amendments}))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ((), (), ""),
        (None, (), "gate2 frozen ("),
        (None, ("one",), "gate2 amended: one; "),
        ((), ("one",), "gate2 amended: one; "),
        (("one",), ("one", "two"), "gate2 amended: two; "),
        (("one",), ("other",), "gate2 frozen anew ("),
        (("one",), (), "gate2 frozen anew ("),
        ((), None, "gate2 lock taken away"),
    ],
)
def test_a_commit_says_of_a_lock_whether_it_was_frozen_amended_or_taken_away(snapshot, before, after, words):
    old, new = (
        Files({} if reasons is None else {"locks/gate2.yaml": lock_of(snapshot, *reasons)})
        for reasons in (before, after)
    )
    line = changes._describe_lock("gate2", old, new)
    assert line.startswith(words)
    assert bool(line) == bool(words)


def test_runs_that_come_go_and_change_are_told_and_counted_by_rung(snapshot):
    run = next(run for run, (record, _) in snapshot.runs.items() if record.rung == "rung2" and record.executed)
    record, _ = snapshot.runs[run]
    score = f"finished with val_bpb {record.val_bpb}, lock {record.lock[:12]}"
    less = replace(snapshot, runs={name: pair for name, pair in snapshot.runs.items() if name != run})
    added, gone = compare_snapshots(less, snapshot), compare_snapshots(snapshot, less)
    assert (added.evidence, added.totals) == ([f"{run}: added, {score}"], ["Rung 2: 1 finished added"])
    assert (gone.evidence, gone.totals) == ([f"{run}: taken away, {score}"], ["Rung 2: 1 finished taken away"])

    relocked = record.model_copy(update={"lock": "f" * 64})
    moved = compare_snapshots(snapshot, replace(snapshot, runs={**snapshot.runs, run: (relocked, "0" * 32)}))
    assert moved.evidence == [f"{run}: {score} before, finished with val_bpb {record.val_bpb}, lock {'f' * 12} now"]
    assert moved.totals == ["Rung 2: 1 finished with the same score, otherwise changed"]

    broken = record.model_copy(update={"status": "diverged", "facts": None})
    worse = compare_snapshots(snapshot, replace(snapshot, runs={**snapshot.runs, run: (broken, "0" * 32)}))
    assert (worse.evidence, worse.totals) == ([f"{run}: {score} before, diverged now"], ["Rung 2: 1 diverged changed"])

    better = record.model_copy(update={"facts": {**record.facts, "val_bpb": 0.5}})
    otherwise = compare_snapshots(snapshot, replace(snapshot, runs={**snapshot.runs, run: (better, "0" * 32)}))
    assert otherwise.totals == ["Rung 2: 1 finished changed"]


def test_what_params_yaml_says_otherwise_is_told_but_for_the_rules(snapshot):
    params = {**snapshot.params, "gates": {}, "new": 1}
    del params["roles"]
    assert [line.partition(":")[0] for line in compare_snapshots(snapshot, replace(snapshot, params=params)).study] == [
        "new",
        "roles",
    ]


def decision_line(gate: str = "gate1", **changes: Any) -> bytes:
    value = {"gate": gate, "outcome": "decided", "promoted": ["a", "b", "c"], "candidates": ["a", "b", "c", "d"]}
    return canonical.dumps({**value, "verdicts": {}, "lock": "1", **changes})


def describe(before: dict[str, bytes] | None, after: dict[str, bytes]) -> list[str]:
    return describe_commit(None if before is None else Files(before), Files(after))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (b"", decision_line(), "gate1 promotes 3 of 4: stops d"),
        (b"", decision_line(promoted=["a"]), "gate1 promotes 1 of 4: a"),
        (b"", decision_line(promoted=["b", "a"]), "gate1 promotes 2 of 4: a, b"),
        (b"", decision_line(candidates=["a", "b", "c"]), "gate1 promotes 3 of 3"),
        (b"", decision_line(promoted=[]), "gate1 promotes 0 of 4"),
        (
            b"",
            decision_line("gate5", promoted=[], verdicts={"R1": True, "R2": False, "R3": None}),
            "gate5 R1 holds, R2 fails, R3 cannot be evaluated",
        ),
        (decision_line(), decision_line(promoted=["b", "c", "d"]), "gate1 now promotes d; no longer promotes a"),
        (decision_line(), decision_line(promoted=["a", "b"]), "gate1 no longer promotes c"),
        (decision_line(), decision_line(lock="2"), "gate1 promotes the same, and says something else of it"),
        (decision_line(), b"", "gate1 undecided again"),
        (b"nonsense\n", decision_line(), "gate1 promotes 3 of 4: stops d"),
        (decision_line(), decision_line(outcome=1), "gate1 undecided again"),
        (decision_line(), decision_line(verdicts=[]), "gate1 undecided again"),
        (decision_line(), decision_line(promoted=[1]), "gate1 undecided again"),
    ],
)
def test_a_decision_is_told_in_few_words_whatever_version_wrote_it(before, after, line):
    path = "ledger/decisions.jsonl"
    assert describe({path: before}, {path: after}) == [line]


def test_a_commit_is_told_by_its_locks_its_evidence_and_the_kinds_of_its_files(study):
    gate1, gate2 = ((study / "locks" / f"gate{number}.yaml").read_bytes() for number in (1, 2))
    first = {"locks/gate1.yaml": gate1, "README.md": b"a\n", "stages/ladder/rung1/dvc.lock": b"1\n"}
    frozen, other = (line.split("(")[0] for line in describe({}, {**first, "locks/gate2.yaml": gate2})[:2])
    assert (frozen, other) == ("gate1 frozen ", "gate2 frozen ")
    assert describe(None, first)[1:] == []
    assert describe(first, {**first, "locks/gate1.yaml": b"broken"}) == ["gate1 lock broken"]
    assert describe({**first, "locks/gate1.yaml": b"broken"}, first)[0].startswith("gate1 frozen anew (")
    assert describe(first, {path: data for path, data in first.items() if path != "locks/gate1.yaml"}) == [
        "gate1 lock taken away"
    ]
    later = {
        **first,
        "README.md": b"b\n",
        "stages/ladder/rung1/dvc.lock": b"2\n",
        "stages/gate.py": b"\n",
        "ledger/runs.jsonl": b"1\n2\n",
        "ledger/hindsight.jsonl": b"1\n",
    }
    assert describe(first, later) == [
        "evidence: 2 lines new, 0 gone",
        "hindsight: 1 lines new, 0 gone",
        "README.md, dvc.lock, stages/",
    ]
    assert describe(later, {**later, "ledger/runs.jsonl": b"2\n3\n4\n"}) == ["evidence: 2 lines new, 1 gone"]


def test_decisions_that_differ_in_any_byte_are_changed_and_are_told_as_json():
    path = "ledger/decisions.jsonl"
    before = Files({path: decision_line("gate10") + decision_line("gate2")})
    after = Files(
        {path: decision_line("gate10", lock="2") + decision_line("gate2", promoted=[], verdicts={"R2": True})}
    )
    assert changed_decisions(before, before) == []  # type: ignore[arg-type]
    two, ten = changed_decisions(before, after)  # type: ignore[arg-type]
    assert (two.gate, ten.gate) == ("gate2", "gate10")
    assert ten.to_json() == {
        "gate": "gate10",
        "before": {"outcome": "decided", "promoted": ["a", "b", "c"], "verdicts": {}, "lock": "1"},
        "now": {"outcome": "decided", "promoted": ["a", "b", "c"], "verdicts": {}, "lock": "2"},
    }
    assert (str(two.before), str(two.after)) == ("decided: promotes a, b, c", "decided: promotes nobody; R2 True")
    (new, _) = changed_decisions(None, after)  # type: ignore[arg-type]
    assert new.to_json()["before"] is None
