"""What history may hold without an alarm: another study, halves that meet, a failed run repeated, a change owned up to."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from stages.commands import freeze as freezing
from stages.commands import study as switching
from stages.domain import canonical, files, locks, names
from stages.domain.locks import Frozen, Lock, LockRefused
from stages.domain.study import load
from tests.support.repo import PROJECT
from tests.verify.forger import RUNS, Forger, failed
from tests.verify.tamper_past import GATES, loosen_in_two_commits

REASON = "a disk was failing"


def notes(f: Forger, check: str) -> list[str]:
    return next(list(one.notes) for one in f.verify(f.git("rev-parse", "HEAD")) if one.check.name == check)


def head(f: Forger) -> list[str]:
    """The checks that fail at HEAD."""
    return failed(f.verify(f.git("rev-parse", "HEAD")))


def locks_of(f: Forger) -> dict[str, Lock]:
    return {gate: locks.loads(f.read(f"locks/{gate}.yaml"), gate) for gate in GATES}


# Another study


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="the history of this repository is not here")
def test_a_study_that_is_left_for_another_one_raises_no_alarm(tmp_path):
    f = Forger(tmp_path / "project")
    f.root.mkdir()
    f.git("clone", "-q", str(PROJECT), ".")
    with chdir(f.root):
        shutil.rmtree(names.LEDGER, ignore_errors=True)
        f.commit("Whatever stands there")
        switching.use(switching.find_study("smoke"), yes=True, force=False)
        f.commit("Another study")
        assert head(f) == []
        manifest = {"splits": {key: {"tokens": 9999} for key in ("val", "locked")}, "tokenizer": {"vocab_size": 300}}
        files.write_whole(names.CORPUS / "manifest.json", canonical.dumps(manifest))  # all that freezing looks at
        done = freezing.freeze(load(), [], None)
    assert done == dict.fromkeys(GATES, "frozen")
    f.commit("Freeze")
    assert head(f) == []
    study = f.verify(f.git("rev-parse", "HEAD"))
    assert {one.status for one in study if one.check.name.startswith("rule-")} <= {"passed", "skipped"}


def test_evidence_of_a_study_that_was_left_is_noted_and_does_not_count(clone: Forger):
    clone.params(lambda value: value["study"].update(name="next"))
    for path in (RUNS, "ledger/decisions.jsonl", "ledger/metrics.json", *clone.dvc_locks()):
        clone.delete(path)
    previous = None
    for gate in GATES:
        change: dict[str, Any] = {"study": "next", "previous": previous}
        previous = clone.lock(gate, lambda frozen, new=change: frozen.update(new))
    clone.commit("Another study")
    assert head(clone) == []
    message = "evidence of another study, smoke, stands in history; its rules are not looked at here"
    assert notes(clone, "rule-stayed") == [message]


# Another folder


def test_a_study_that_is_moved_as_it_is_raises_no_alarm_and_with_another_rule_it_does(clone: Forger):
    (clone.root / "sub dir").mkdir()
    for name in sorted({path.partition("/")[0] for path in clone.git("ls-files").splitlines()}):
        clone.git("mv", name, f"sub dir/{name}")
    clone.commit("Move")
    moved = Forger(clone.root / "sub dir")
    assert {"rule-first", "rule-stayed", "evidence-stayed"} & set(head(moved)) == {"rule-first"}, "an import"
    moved.lock("gate3", lambda frozen: frozen.update(study="smoke", last=not frozen["last"]))
    moved.relabel()
    moved.commit("Another rule")
    result = next(one for one in moved.verify(clone.git("rev-parse", "HEAD")) if one.check.name == "rule-stayed")
    assert any("in ../ledger/runs.jsonl under another lock" in problem.found for problem in result.problems)


def test_a_ledger_of_something_else_in_another_folder_raises_no_alarm(clone: Forger):
    clone.write("finance/ledger/runs.jsonl", b"marathon,42.195\n")
    clone.commit("Another team's ledger")
    clone.write("finance/ledger/runs.jsonl", b"marathon,42.2\n")
    clone.commit("And another line of it")
    assert head(clone) == []


def test_a_merge_conflict_that_was_committed_and_mended_since_raises_no_alarm(clone: Forger):
    whole = clone.read(RUNS)
    clone.write(RUNS, b"<<<<<<< HEAD\n" + whole + b"=======\n>>>>>>> two\n\n")
    clone.commit("A merge")
    assert head(clone) != []
    clone.write(RUNS, whole)
    clone.commit("Mended")
    assert head(clone) == []


# Merges


def halves(f: Forger) -> None:
    """Two branches, each with the evidence of one host; checked out is the second."""
    runs = f.runs()
    for branch, host in (("one", "cpu-fp32"), ("two", "cpu-bf16")):
        f.git("checkout", "-q", "-B", branch, "origin/main~1")
        f.path("ledger").mkdir(exist_ok=True)
        f.save_runs([run for run in runs if run["host"] == host])
        f.commit(f"What {host} found")


@pytest.fixture
def branches(clone: Forger):
    yield clone
    clone.git("checkout", "-q", "-f", "main")
    clone.git("branch", "-q", "-D", "one", "two")


def test_two_hosts_that_commit_halves_and_merge_them_raise_no_alarm(branches: Forger):
    f = branches
    halves(f)
    f.git("merge", "-q", "-s", "ours", "--no-commit", "one")
    f.git("checkout", "origin/main", "--", ".")
    f.commit("Both halves, judged")
    assert head(f) == []


def test_a_merge_that_drops_a_half_is_told_until_the_half_is_back(branches: Forger):
    f = branches
    halves(f)
    f.git("merge", "-q", "-s", "ours", "-m", "One half", "one")
    result = next(one for one in f.verify(f.git("rev-parse", "HEAD")) if one.check.name == "evidence-stayed")
    assert [one.found for one in result.problems] == ["12 records are gone, such as rung1/d1-a/cpu-fp32/1"]
    f.git("checkout", "origin/main", "--", ".")
    f.commit("Both halves, judged")
    assert head(f) == []


# Repetitions


def test_a_failed_run_may_be_repeated_and_another_one_may_not(clone: Forger):
    for status, expected in (("failed", []), ("diverged", ["evidence-stayed"])):
        clone.git("checkout", "-q", "-f", "-B", "main", "origin/main")
        whole = {path: clone.read(path) for path in clone.git("ls-files", "ledger", "stages/*/dvc.lock").split()}
        clone.git("reset", "-q", "--hard", "origin/main~1")
        for path, data in whole.items():
            clone.write(path, data)
        clone.run(lambda run, now=status: run.update(status=now, facts=None, reason="the first attempt"))
        clone.commit("The first attempt")
        clone.git("checkout", "origin/main", "--", ".")
        clone.commit("The second")
        assert head(clone) == expected


def test_a_change_that_nobody_owned_up_to_is_mended_by_an_amendment_that_does(clone: Forger):
    old = locks_of(clone)
    loosen_in_two_commits(clone)
    clone.commit("Loosened")
    assert "rule-stayed" in head(clone)
    new = locks_of(clone)
    for gate in ("gate2", "gate3"):
        changes = [locks.difference(old[gate].frozen, new[gate].frozen), {}]
        told = [
            {"reason": REASON, "replaces": lock.digest, "changed": change}
            for lock, change in zip((old[gate], new[gate]), changes, strict=True)
        ]
        clone.lock(gate, lambda frozen, told=told: frozen.update(amendments=told))
    gate2 = locks_of(clone)["gate2"].digest
    clone.lock("gate3", lambda frozen: frozen.update(previous=gate2))
    changed = {"previous": {"was": new["gate3"].frozen.previous, "is": gate2}}
    clone.lock("gate3", lambda frozen: frozen["amendments"][1].update(changed=changed))
    clone.commit("Own up")
    assert "rule-stayed" not in head(clone)
    clone.relabel()
    clone.judge()
    clone.commit("The evidence made anew")
    assert head(clone) == []


# Freezing, with git's history in view


@pytest.fixture
def whole(study) -> Forger:
    """A copy of the smoke study with everything that it built."""
    return Forger(study.root)


def freeze(f: Forger, *gates: str, reason: str | None = None) -> dict[str, Frozen]:
    with chdir(f.root):
        freezing.freeze(load(), list(gates), reason)
    return {gate: lock.frozen for gate, lock in locks_of(f).items()}


def test_a_gate_that_is_named_is_amended_without_a_changed_rule_so_that_a_repetition_shows(whole: Forger):
    old = locks_of(whole)
    assert freeze(whole, reason=REASON) == {gate: lock.frozen for gate, lock in old.items()}
    assert freeze(whole, "gate2") == {gate: lock.frozen for gate, lock in old.items()}
    new = freeze(whole, "gate2", reason=REASON)
    assert new["gate1"] == old["gate1"].frozen
    reported = new["gate2"].amendments
    assert [(one.reason, one.replaces, one.changed) for one in reported] == [(REASON, old["gate2"].digest, {})]
    assert locks.digest_of(new["gate2"]) != old["gate2"].digest
    assert [list(one.changed) for one in new["gate3"].amendments] == [["previous"]]
    whole.commit("Amend")
    assert set(head(whole)) & {"lock-digests", "lock-chain", "rule-first", "rule-stayed", "evidence-stayed"} == set()


def test_an_amendment_that_judged_nothing_yet_is_replaced_by_the_next_one(whole: Forger):
    old = locks_of(whole)
    freeze(whole, "gate3", reason="a first thought")
    new = freeze(whole, "gate3", reason=REASON)
    assert [(one.reason, one.replaces) for one in new["gate3"].amendments] == [(REASON, old["gate3"].digest)]


def test_evidence_that_only_git_still_holds_binds_the_rule_all_the_same(whole: Forger):
    old = locks_of(whole)
    for gone in ("ledger", "locks", "artifacts/records"):
        shutil.rmtree(whole.path(gone))
    with pytest.raises(LockRefused) as caught:
        freeze(whole)
    assert f"git holds evidence of rung1 under lock {old['gate1'].digest[:12]} of this study" in str(caught.value)
    assert 'promotion freeze gate1 --amend --reason "..."' in str(caught.value)
    new = freeze(whole, reason=REASON)
    assert [one.replaces for one in new["gate1"].amendments] == [old["gate1"].digest]
    for path in whole.dvc_locks():
        whole.delete(path)
    whole.commit("Start afresh")
    assert head(whole) == []


def test_a_study_with_another_name_is_free_of_that_evidence(whole: Forger):
    for gone in ("ledger", "locks", "artifacts/records"):
        shutil.rmtree(whole.path(gone))
    whole.params(lambda value: value["study"].update(name="next"))
    with pytest.raises(
        LockRefused, match=r"rungs.rung1.seeds: found 1, with which git holds evidence of the study smoke"
    ):
        freeze(whole)

    def fresh(value: dict[str, Any]) -> None:
        for rung in value["rungs"].values():
            for key in ("seeds", "floor_seeds"):
                rung[key] = [seed + 9000 for seed in rung.get(key, [])]

    whole.params(fresh)
    assert all(not frozen.amendments for frozen in freeze(whole).values())


def test_evidence_that_a_rungs_dvc_lock_alone_tells_of_binds_the_rule(whole: Forger):
    """A team that freezes late has no ledger yet when its first rung has run."""
    lock = whole.lock_of("rung1")
    kept = whole.read(lock)
    whole.git("checkout", "-q", "--orphan", "late")
    old = locks_of(whole)["gate1"]
    for path in ("ledger/runs.jsonl", "ledger/decisions.jsonl", "ledger/metrics.json", *whole.dvc_locks()):
        whole.delete(path)
    whole.commit("Freeze")
    whole.write(lock, kept)
    whole.commit("The first rung has run")
    shutil.rmtree(whole.path("artifacts/records"), ignore_errors=True)
    whole.params(lambda value: value["gates"]["gate1"]["R2"].update(k=2))
    with pytest.raises(LockRefused, match="evidence of rung1"):
        freeze(whole)
    assert [one.replaces for one in freeze(whole, reason=REASON)["gate1"].amendments] == [old.digest]


def test_a_lock_of_an_earlier_form_of_this_program_still_binds(whole: Forger):
    value = canonical.loads(canonical.dumps(locks_of(whole)["gate1"].frozen.to_json()))
    del value["configs"]
    digest = canonical.sha256(value)
    whole.git("checkout", "-q", "--orphan", "old")
    kept = {path: whole.read(path) for path in whole.git("ls-files", "locks", "ledger", "stages/*/dvc.lock").split()}
    for path in kept:
        whole.delete(path)
    whole.yaml("locks/gate1.yaml", {"schema": 1, "digest": digest, "frozen": value})
    whole.commit("Freeze, in the old form")
    whole.write(RUNS, kept[RUNS])
    whole.save_runs([{**run, "lock": digest} for run in whole.runs() if run["rung"] == "rung1"])
    whole.commit("Evidence, in the old form")
    whole.delete(RUNS)
    for path in kept:
        whole.write(path, kept[path]) if path.startswith("locks") else None
    whole.commit("Freeze anew, without a word")
    assert "rule-stayed" in head(whole)
    new = freeze(whole, reason=REASON)
    assert new["gate1"].amendments[0].replaces == digest
    assert list(new["gate1"].amendments[0].changed) == ["configs"]


def test_the_freeze_command_says_what_a_reason_is_for(whole: Forger, monkeypatch, capsys):
    from stages.cli import build_parser

    monkeypatch.chdir(whole.root)
    freezing.run(build_parser("freeze").parse_args(["freeze", "gate3", "--amend", "--reason", REASON]))
    assert "gate3: frozen anew" in capsys.readouterr().out
    assert Path("locks/gate3.yaml").read_text(encoding="utf-8").count(REASON) == 1
