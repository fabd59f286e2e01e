"""What changed between two commits, in words: decisions, rules, evidence, the study; and a commit in a line."""

from __future__ import annotations

from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stages import ledger
from stages.domain import canonical, locks
from stages.domain.errors import Invalid
from stages.domain.locks import Amendment
from stages.domain.records import parse_ledger
from stages.repo.objects import GitRefused
from stages.repo.tree import WorkTree
from stages.verify import changes
from stages.verify.changes import (
    Snapshot,
    changed_decisions,
    compare_snapshots,
    describe_commit,
    read_snapshot,
)
from stages.verify.check import Case
from stages.verify.ledger import Ledger
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


# Reading a commit


def refused(call: Any) -> str:
    with pytest.raises(Invalid) as error:
        call()
    return str(error.value)


def test_a_snapshot_is_what_the_files_of_a_commit_say(study, snapshot):
    files = {
        path: (study / path).read_bytes() for path in ("params.yaml", "ledger/runs.jsonl", "ledger/decisions.jsonl")
    }
    files |= {f"locks/{path.name}": path.read_bytes() for path in (study / "locks").glob("gate*.yaml")}
    files |= {"locks/README.md": b"x", "locks/gate1.yaml.sig": b"x"}
    read = read_snapshot(Files(files))  # type: ignore[arg-type]
    assert replace(read, title=snapshot.title) == snapshot
    assert read.title == "a commit"
    assert list(read.locks) == list(read.decisions) == [f"gate{number}" for number in range(1, 6)]
    records = parse_ledger(files["ledger/runs.jsonl"], "x")
    assert read.runs == {record.id: (record, changes.files.md5_bytes(line)) for record, line in records}
    bare = read_snapshot(Files({"params.yaml": files["params.yaml"]}))  # type: ignore[arg-type]
    assert (bare.params, bare.locks, bare.runs, bare.decisions) == (read.params, {}, {}, {})
    moved = {"params.yaml": b"a: 1\n", "locks/other.yaml": files["locks/gate2.yaml"]}
    assert list(read_snapshot(Files(moved)).locks) == ["gate2"]  # type: ignore[arg-type]


def test_what_cannot_be_read_of_a_commit_is_refused_with_its_place(study):
    def told(**files: bytes) -> str:
        given = {"params.yaml": b"a: 1\n", **{path.replace("__", "/"): data for path, data in files.items()}}
        return refused(lambda: read_snapshot(Files(given)))  # type: ignore[arg-type]

    assert refused(lambda: read_snapshot(Files({}))) == (  # type: ignore[arg-type]
        "params.yaml of a commit is missing; name a commit that holds a study"
    )
    assert told(**{"locks/gate1.yaml": b"x"}).startswith("locks/gate1.yaml of a commit")
    assert told(**{"locks/gate1.yaml": b"x"}).endswith(
        "; if another version of this package wrote it, compare with that one"
    )
    assert told(**{"ledger/runs.jsonl": b"x\n"}).startswith("ledger/runs.jsonl of a commit, line 1: ")
    first = (study / "ledger" / "decisions.jsonl").read_bytes().splitlines(keepends=True)[0]
    assert told(**{"ledger/decisions.jsonl": first + b"{}\n"}).startswith("ledger/decisions.jsonl of a commit, line 2")
    assert "name a commit that `promotion verify --rev` accepts" in told(**{"ledger/decisions.jsonl": b"{}\n"})
    assert told(**{"ledger/decisions.jsonl": first + b"{ }\n"}).startswith(
        "ledger/decisions.jsonl of a commit, line 2: "
    )


def test_two_commits_are_compared_where_there_is_a_repository(judged: Case, tmp_path):
    reported = changes.compare_commits(judged.root, "HEAD~1", "HEAD")
    head, first = (judged.git.resolve(rev)[:12] for rev in ("HEAD", "HEAD~1"))
    assert (reported.before, reported.after) == (f"commit {first}", f"commit {head}")
    assert (reported.rules, reported.study) == ([], [])
    assert [line.partition(":")[0] for line in reported.decisions] == [f"Gate {number}" for number in range(1, 6)]
    assert reported.totals == [f"Rung {number}: 6 finished added" for number in range(1, 3)] + reported.totals[2:]
    assert len(reported.evidence) == len(judged.get(Ledger).runs)
    with pytest.raises(GitRefused) as error:
        changes.compare_commits(tmp_path, "a", "b")
    assert str(error.value).startswith(f"{tmp_path.resolve().as_posix()}: no git repository; run this in a clone")


def test_gates_and_rungs_stand_in_the_order_of_their_numbers(snapshot):
    assert changes._by_number({"gate10": 1, "gate2": 1}, {"gate1": 1, "gate2": 2}) == ["gate1", "gate2", "gate10"]
    (record, _) = next(iter(snapshot.runs.values()))
    runs = dict.fromkeys(("rung10/a", "rung2/b", "rung2/a", "rung1/longest"), (record, "1"))
    added = compare_snapshots(replace(snapshot, runs={}), replace(snapshot, runs=runs)).evidence
    assert [line.partition(":")[0] for line in added] == ["rung1/longest", "rung2/a", "rung2/b", "rung10/a"]


def test_a_decision_is_told_by_whom_it_stopped_promoted_or_saw_first(snapshot):
    last, third = snapshot.decisions["gate5"], snapshot.decisions["gate3"]
    assert changes._outcome(None) == "nothing"
    assert changes._outcome(last) == f"decided, {last.ranking[0].config} leads"
    assert changes._outcome(last.model_copy(update={"ranking": []})) == "decided, nobody has a full set of cells"
    many = [f"c{number:02d}" for number in range(14)]
    text = changes._outcome(third.model_copy(update={"promoted": many[:12]}))
    assert text == f"decided, promoted {', '.join(many[:11])} and c11"
    text = changes._outcome(third.model_copy(update={"promoted": many}))
    assert text == f"decided, promoted {', '.join(many[:12])} and 2 more"
    blocked = third.model_copy(update={"outcome": "blocked", "blocked_by": ["R1"]})
    assert changes._outcome(blocked) == "blocked by R1"
    none = with_decision(snapshot, "gate5", ranking=[])
    leads = f"Gate 5: nobody leads, before it was {last.ranking[0].config}"
    assert compare_snapshots(snapshot, none).decisions == [leads]


def test_what_a_lock_says_otherwise_and_each_new_amendment_is_a_line(snapshot):
    was = snapshot.locks["gate2"]
    reported = [Amendment(reason=reason, replaces="0" * 64, changed={}) for reason in ("first", "second", "third")]

    def amended(*amendments: Amendment, **changed: Any) -> Snapshot:
        frozen = was.frozen.model_copy(update={"amendments": list(amendments), **changed})
        return replace(snapshot, locks={**snapshot.locks, "gate2": was.model_copy(update={"frozen": frozen})})

    before, after = amended(reported[0]), amended(*reported, budget_seconds=9.5, previous="1" * 64)
    assert compare_snapshots(before, after).rules == [
        f"Gate 2: budget_seconds was {was.frozen.budget_seconds}, is 9.5",
        "Gate 2: amended: second",
        "Gate 2: amended: third",
    ]


def test_a_list_of_params_yaml_is_told_as_a_whole_and_a_section_by_its_path(snapshot):
    rungs = snapshot.params["rungs"]
    assert isinstance(rungs, dict)
    other = {**rungs, "rung1": {**rungs["rung1"], "seeds": [7]}}
    assert compare_snapshots(snapshot, replace(snapshot, params={**snapshot.params, "rungs": other})).study == [
        "rungs.rung1.seeds: was [1000], is [7]"
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[1]",
        decision_line(gate=1),
        decision_line(outcome=None),
        decision_line(verdicts=None),
        decision_line(promoted={}),
        decision_line(promoted=["a", 1]),
        decision_line(promoted="a"),
    ],
)
def test_a_line_that_says_no_outcome_is_no_decision_of_any_version(line):
    assert changes._past_decision(line.rstrip(b"\n")) is None


@pytest.mark.parametrize(
    ("candidates", "read"), [(["a", 1], ["a", "1"]), (None, []), ({"a": 1}, []), ("ab", []), ([], [])]
)
def test_the_candidates_of_a_decision_are_read_where_there_is_a_list_of_them(candidates, read):
    decision = changes._past_decision(decision_line(candidates=candidates, lock=7).rstrip(b"\n"))
    assert decision is not None
    assert (decision.candidates, decision.lock, decision.promoted) == (read, 7, ["a", "b", "c"])
    assert str(decision) == "decided: promotes a, b, c"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("README.md", "README.md"),
        ("dvc.lock", "dvc.lock"),
        ("stages/ladder/rung1/dvc.lock", "dvc.lock"),
        ("stages/ladder/rung1/dvc.yaml", "dvc.yaml"),
        ("stages/ladder/x.py", "stages/"),
        ("docs/a/dvc.md", "docs/"),
    ],
)
def test_a_file_is_called_by_its_own_name_or_its_folder(path, kind):
    assert changes._kind(path) == kind


def test_a_commit_is_told_gate_after_gate_and_without_the_folders_of_locks_and_ledger(study):
    lock = (study / "locks" / "gate1.yaml").read_bytes()
    after = {"locks/gate10.yaml": lock, "locks/gate2.yaml": lock, "locks/README.md": b"x", "ledger/README.md": b"x"}
    assert [line.partition(" ")[0] for line in describe({}, after)] == ["gate2", "gate10"]
    assert describe(None, {"README.md": b"a"}) == []
    assert describe({}, {"a/b": b"a", "b": b""}) == ["a/, b"]


def test_an_amendment_is_told_with_three_of_its_changes(snapshot):
    changed = {key: {"was": 1, "is": 2} for key in ("a", "b", "c", "d")}
    amendment = Amendment(reason="why", replaces="0" * 64, changed=changed)
    lock = locks.dumps(snapshot.locks["gate2"].frozen.model_copy(update={"amendments": [amendment]}))
    line = changes._describe_lock("gate2", None, Files({"locks/gate2.yaml": lock}))  # type: ignore[arg-type]
    assert line == f"gate2 amended: why; {changes.describe_change('gate2', changed, 3)}"
    assert line != f"gate2 amended: why; {changes.describe_change('gate2', changed, 4)}"
    frozen = Files({"locks/gate2.yaml": lock_of(snapshot)})
    assert (
        changes._describe_lock("gate2", None, frozen)
        == (  # type: ignore[arg-type]
            f"gate2 frozen ({snapshot.locks['gate2'].digest[:12]})"
        )
    )
