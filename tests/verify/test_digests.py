"""Digests in the dvc.lock files, each changed alone: V18 word by word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stages.domain.files import md5_bytes
from stages.domain.study import Study
from stages.dvcfiles.lockfile import LockedFile
from stages.repo.objects import GitAbsent
from stages.verify import digests
from stages.verify.check import Case, Problem
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import DvcLocks
from stages.verify.folders import Content, digest_folder
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks
from stages.verify.pending import EvidenceRules
from tests.verify.cases import alter, change_runs, told

RUN = "artifacts/records/rung1/d1-c000/cpu-bf16/1000.json"
LOCK = "stages/ladder/rung1/d1-c000/dvc.lock"
GATE = "stages/ladder/rung1/dvc.lock"


def check(case: Case, *values: object, **fields: Any) -> tuple[list[Problem], list[str]]:
    altered = alter(case, *values, **fields)
    return list(digests.check_digests(altered)), altered.notes


def edit(
    case: Case, lock: str, name: str, kind: str, path: str, change: Callable[[LockedFile], LockedFile | None]
) -> DvcLocks:
    """What DVC recorded, with one file of one stage changed or, with None, gone."""
    locks = case.get(DvcLocks)
    stage = locks.recorded[lock][name]
    files = {key: change(file) if key == path else file for key, file in getattr(stage, kind).items()}
    stage = replace(stage, **{kind: {key: file for key, file in files.items() if file is not None}})
    return replace(locks, recorded={**locks.recorded, lock: {**locks.recorded[lock], name: stage}})


def test_the_untouched_study_has_the_digests_of_its_bytes(judged):
    assert check(judged) == ([], [])


def test_a_file_without_a_digest_is_told(judged):
    locks = edit(judged, LOCK, "run@cpu-bf16-1000", "outs", RUN, lambda file: replace(file, md5=None))
    at = judged.get(DvcLocks).recorded[LOCK]["run@cpu-bf16-1000"].outs[RUN].at
    pointer = f"/stages/run@cpu-bf16-1000/outs/{at}"
    assert check(judged, locks)[0] == [
        Problem(LOCK, f"no digest of {RUN}", "its md5", "nothing says what it was", pointer=pointer)
    ]


def test_a_record_that_is_not_what_its_run_wrote_is_told_at_its_line(judged):
    ledger = change_runs(judged, lambda run: run["facts"].update(train_loss=1.5), at=0)
    out = judged.get(DvcLocks).recorded[LOCK]["run@cpu-bf16-1000"].outs[RUN]
    problems, _ = check(judged, ledger)
    line = ledger.runs[0]
    expected = told(
        judged, 1, "", f"MD5 {line.record.md5}",
        f"{out.md5}, as in {LOCK}, /stages/run@cpu-bf16-1000/outs/{out.at}/md5",
        "this line is not the record that DVC saw the run write",
    )  # fmt: skip
    assert [problem for problem in problems if problem.line] == [expected]
    assert {problem.meaning for problem in problems if not problem.line} == {
        "artifacts/records/rung1 is not what ledger/runs.jsonl says",
        "artifacts/records is not what ledger/runs.jsonl says",
    }


def test_a_size_or_a_count_beside_the_right_digest_is_told(judged):
    meaning = f"{RUN} is recorded otherwise"
    out = judged.get(DvcLocks).recorded[LOCK]["run@cpu-bf16-1000"].outs[RUN]
    for key, value, expected in (("size", 7, out.size), ("nfiles", 3, None)):
        locks = edit(judged, LOCK, "run@cpu-bf16-1000", "outs", RUN, lambda f, k=key, v=value: replace(f, **{k: v}))
        assert check(judged, locks)[0] == [
            Problem(
                LOCK,
                str(value),
                f"{expected}, by ledger/runs.jsonl",
                meaning,
                pointer=f"/stages/run@cpu-bf16-1000/outs/{out.at}/{key}",
            )
        ]


def test_a_file_in_git_that_changed_since_is_told_by_its_own_path(judged):
    data = judged.tree.read("ledger/metrics.json") + b"\n"
    out = judged.get(DvcLocks).recorded["dvc.lock"]["ledger"].outs["ledger/metrics.json"]
    problems, _ = check(judged, files={"ledger/metrics.json": data})
    place = f"dvc.lock, /stages/ledger/outs/{out.at}/md5"
    changed = "it was changed after its stage wrote it"
    expected = Problem("ledger/metrics.json", f"MD5 {md5_bytes(data)}", f"{out.md5}, as in {place}", changed)
    assert problems[0] == expected


def test_what_is_made_again_and_comes_out_otherwise_is_told_with_its_source(judged):
    path = "artifacts/gates/gate1/promotions.json"
    locks = edit(judged, GATE, "gate", "outs", path, lambda file: replace(file, md5="0" * 32))
    out = judged.get(DvcLocks).recorded[GATE]["gate"].outs[path]
    assert check(judged, locks)[0] == [
        Problem(
            GATE,
            "0" * 32,
            str(out.md5),
            f"{path} is not what the decision made again says",
            pointer=f"/stages/gate/outs/{out.at}/md5",
        )
    ]


def test_records_and_decisions_that_the_ledger_leaves_out_are_told(judged):
    ledger = judged.get(Ledger)
    problems, _ = check(judged, replace(ledger, runs=ledger.runs[1:]))
    out = judged.get(DvcLocks).recorded[LOCK]["run@cpu-bf16-1000"].outs[RUN]
    assert next(problem for problem in problems if problem.file == LOCK) == Problem(
        LOCK,
        f"the record {RUN}",
        "its line in ledger/runs.jsonl",
        "a run that was left out of the ledger",
        pointer=f"/stages/run@cpu-bf16-1000/outs/{out.at}",
    )
    path = "artifacts/gates/gate9/decision.json"
    locks = edit(judged, GATE, "gate", "outs", "artifacts/gates/gate1/decision.json", lambda f: replace(f, path=path))
    (problem,) = check(judged, locks)[0]
    assert (problem.found, problem.expected, problem.meaning) == (
        f"the decision {path}",
        "its line in ledger/decisions.jsonl",
        "a decision that was left out of the ledger",
    )
    path = "artifacts/hindsight/records/x.json"
    locks = edit(judged, LOCK, "run@cpu-bf16-1000", "outs", RUN, lambda f: replace(f, path=path))
    problem = next(problem for problem in check(judged, locks)[0] if problem.file == LOCK)
    assert (problem.found, problem.expected) == (f"the record {path}", "its line in ledger/hindsight.jsonl")


def test_a_run_or_a_decision_that_no_dvc_lock_has_is_told(judged):
    locks = edit(judged, LOCK, "run@cpu-bf16-1000", "outs", RUN, lambda _: None)
    unseen = told(
        judged, 1, "", "a run that no dvc.lock has", f"an out {RUN} in a dvc.lock",
        "a record that DVC never saw any run write",
    )  # fmt: skip
    assert check(judged, locks)[0] == [unseen]
    path = "artifacts/gates/gate1/decision.json"
    locks = edit(judged, GATE, "gate", "outs", path, lambda _: None)
    assert check(judged, locks)[0] == [
        Problem(
            "ledger/decisions.jsonl",
            "gate1",
            "the stage gate in the dvc.lock of rung1",
            "DVC never saw that gate decide",
            line=1,
        )
    ]


def test_two_digests_of_one_file_are_told_with_the_first_place(judged):
    recorded = judged.get(DvcLocks).recorded
    path = "artifacts/telemetry"
    first, second = recorded["dvc.lock"]["ledger"].outs[path], recorded["dvc.lock"]["site"].deps[path]
    locks = edit(judged, "dvc.lock", "site", "deps", path, lambda file: replace(file, md5="0.dir", size=1))
    assert check(judged, locks)[0] == [
        Problem(
            "dvc.lock",
            "0.dir",
            f"{first.md5}, as in dvc.lock, /stages/ledger/outs/{first.at}",
            f"{path} is recorded otherwise",
            pointer=f"/stages/site/deps/{second.at}/md5",
        )
    ]


def test_stages_that_ran_on_locks_that_nobody_committed_are_told(judged):
    dep = judged.get(DvcLocks).recorded["dvc.lock"]["ledger"].deps["locks"]
    locks = edit(judged, "dvc.lock", "ledger", "deps", "locks", lambda file: replace(file, md5="0.dir"))
    pointer = f"/stages/ledger/deps/{dep.at}"
    expected = Problem(
        "dvc.lock",
        "0.dir",
        "the digest of locks/ here or in a commit before",
        "its stage ran on rules that nobody froze",
        pointer=f"{pointer}/md5",
    )
    assert check(judged, locks) == ([expected], [])
    note = f"dvc.lock, {pointer}: nothing here says whether a commit before had these locks"
    assert check(judged, locks, git=None) == ([], [note])


def test_locks_of_an_earlier_commit_are_believed(judged):
    """What is here is another folder than the one that stages ran on, which a commit holds."""
    files = {"locks/README.md": b"written anew\n"}
    assert check(judged, files=files) == ([], [])
    problems, notes = check(judged, files=files, git=None)
    assert problems == []
    assert len(notes) > 1


def test_code_that_changed_since_is_noted_by_its_stages(judged):
    files = {"stages/winner.py": b"# other\n"}
    assert check(judged, files=files) == (
        [],
        ["stages/winner.py changed since winner ran; `dvc repro` brings the locks up to date"],
    )
    files = {"stages/domain/canonical.py": b"# other\n", "report/pages.py": b"# new\n"}
    ran = sum(
        any(file.path == "stages/domain" for file in stage.deps.values())
        for _, _, stage in judged.get(DvcLocks).stages()
    )
    assert check(judged, files=files)[1] == [
        "report changed since site ran; `dvc repro` brings the locks up to date",
        f"stages/domain changed since {ran} stages ran; `dvc repro` brings the locks up to date",
    ]
    gone = dict.fromkeys(judged.tree.paths("report"))
    assert digests.changed_code(alter(judged, files=gone)) == {"report": ["site"]}


def test_code_with_which_a_stage_ran_and_which_is_another_here_is_named(judged, monkeypatch, tmp_path):
    paths = ("stages/summary", "report")
    assert digests.other_code(judged, "site", paths) == ""
    monkeypatch.setattr(digests, "installed_root", lambda: tmp_path)
    assert digests.other_code(judged, "site", paths) == "stages/summary"
    assert digests.other_code(judged, "site", ("report",)) == "report"
    assert digests.other_code(judged, "winner", ("report",)) == ""
    changed = alter(judged, files={"report/pages.py": b"# new\n"})  # then V29 would be of other code anyway
    assert digests.other_code(changed, "site", ("report",)) == ""
    gone = alter(judged, files=dict.fromkeys(judged.tree.paths("report")))
    assert digests.other_code(gone, "site", ("report",)) == ""


def test_a_run_that_an_amendment_no_longer_asks_for_was_dropped_only_where_a_commit_holds_it(judged):
    pending = replace(judged.get(EvidenceRules), pending={"gate1": "amended"})
    ledger = judged.get(Ledger)
    run = ledger.runs[0]
    assert not digests._was_dropped(alter(judged, pending), run)  # it is asked for still
    study = judged.get(Study)
    rungs = {**study.rungs, "rung1": study.rungs["rung1"].model_copy(update={"seeds": [7]})}
    other = study.model_copy(update={"rungs": rungs})
    dropped = alter(judged, pending, other)
    assert digests._was_dropped(dropped, run)
    assert not digests._was_dropped(alter(dropped, git=None), run)
    assert not digests._was_dropped(alter(judged, other), run)
    frozen = replace(pending, pending={"gate1": "frozen"})
    assert not digests._was_dropped(alter(dropped, frozen), run)
    changed = change_runs(judged, lambda value: value["facts"].update(train_loss=1.5), at=0).runs[0]
    assert not digests._was_dropped(dropped, changed)


def test_the_runner_of_evidence_that_is_to_be_made_anew_is_that_of_the_commit_of_its_rules(judged):
    head = judged.git.head
    files = {"trainer/more.py": b"# another runner\n"}
    ran = digests.known_contents(judged)["trainer"].md5
    now = digests.known_contents(alter(judged, files=files))["trainer"].md5
    assert ran != now
    rules = replace(judged.get(EvidenceRules), pending={"gate1": "amended"}, commit=head)

    def then(*values: object, **fields: Any) -> str | None:
        return digests._DigestComparison(alter(judged, *values, **fields))._runner_of_then

    assert then(rules) == then(rules, files=files) == ran
    assert then(replace(rules, commit=None)) is None
    assert then(replace(rules, pending={"gate1": "frozen"})) is None
    assert then(replace(rules, pending={"gate2": "amended"})) is None
    assert then(rules, git=None) is None
    assert then(without=(EvidenceRules,)) is None
    assert [problem.file for problem in check(judged, rules, files=files)[0]] == []
    reported = check(judged, files=files)[0]
    assert {problem.file for problem in reported} == {"trainer"}
    problem = reported[0]
    assert (problem.found, problem.meaning) == (f"MD5 {now}", "it was changed after its stage wrote it")


def test_what_nothing_here_says_of_past_locks_is_noted_and_is_no_failure(judged, monkeypatch):
    locks = edit(judged, "dvc.lock", "ledger", "deps", "locks", lambda file: replace(file, md5="0.dir"))

    def absent(*_: object) -> Any:
        raise GitAbsent("a folder is absent", "git fetch")

    def notes() -> list[str]:
        problems, noted = check(judged, locks)
        assert problems == []
        return noted

    monkeypatch.setattr(digests, "lock_folders", absent)
    with pytest.raises(GitAbsent):
        check(judged, locks)
    monkeypatch.setattr(judged.git, "partial", True)
    assert len(notes()) == 1
    monkeypatch.setattr(digests, "lock_folders", lambda *_: [])
    monkeypatch.setattr(judged.git, "shallow", frozenset({"a" * 40}))
    assert len(notes()) == 1
    monkeypatch.setattr(judged.git, "shallow", frozenset())
    assert len(check(judged, locks)[0]) == 1
    monkeypatch.setattr(digests, "lock_folders", absent)
    monkeypatch.setattr(type(judged.git), "head", None)
    assert digests._DigestComparison(alter(judged))._past_locks == set()
    asked: list[str] = []
    monkeypatch.setattr(digests, "lock_folders", lambda git, head: (asked.append(head), [])[1])
    assert digests._DigestComparison(alter(judged, commit="c" * 40))._past_locks == set()
    assert asked == ["c" * 40]


def test_records_in_hindsight_are_known_by_their_lines(judged):
    assert "artifacts/hindsight/records" not in digests.known_contents(judged)
    run = judged.get(Ledger).runs[0]
    record = run.record.model_copy(update={"purpose": "hindsight"})
    path = replace(run, record=record, file="ledger/hindsight.jsonl").path
    ledger = replace(judged.get(Ledger), hindsight=(replace(run, record=record, file="ledger/hindsight.jsonl"),))
    known = digests.known_contents(alter(judged, ledger))
    assert path.startswith("artifacts/hindsight/records/")
    assert known[path] == Content(record.md5, len(run.data), None, "ledger/hindsight.jsonl")
    inside = path.removeprefix("artifacts/hindsight/records/")
    folder = digest_folder([(inside, known[path])], "ledger/hindsight.jsonl")
    assert known["artifacts/hindsight/records"] == folder
    assert known["artifacts/records"] == digests.known_contents(judged)["artifacts/records"]


def test_the_folders_of_all_records_and_decisions_are_known_once_every_gate_has_decided(judged):
    recomputed = judged.get(Recomputed)
    known = digests.known_contents(judged)
    assert {"artifacts/records", "artifacts/gates", "ledger", "trainer"} <= known.keys()
    assert (known["artifacts/gates"].source, known["artifacts/records"].source) == (
        "ledger/decisions.jsonl",
        "ledger/runs.jsonl",
    )
    some = {gate: decision for gate, decision in recomputed.decisions.items() if gate != "gate5"}
    fewer = digests.known_contents(alter(judged, replace(recomputed, decisions=some)))
    assert known.keys() - fewer.keys() == {"artifacts/records", "artifacts/gates"}
    gone = digests.known_contents(alter(judged, files=dict.fromkeys(judged.tree.paths("trainer"))))
    assert "trainer" not in gone
    closed = digests.known_contents(alter(judged, replace(judged.get(EvidenceRules), locks=Locks({}))))
    assert closed["artifacts/protocol/rung1.json"] == digests.digest_bytes(
        digests.ClosedContract("rung1").to_bytes(), "locks/gate1.yaml"
    )
