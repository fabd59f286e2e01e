"""promotion status: the ladder, what blocks, what to do next."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from types import SimpleNamespace

import pytest

from stages import gate, ledger
from stages.commands import status as status_command
from stages.confidence import __main__ as confidence
from stages.confidence import hindsight_results, stored
from stages.domain import files, names, study, yamlio
from stages.domain.errors import Invalid, Refused
from stages.domain.names import LIVE
from stages.domain.records import read_rung
from stages.domain.study import load
from stages.dvcfiles import telemetry
from stages.status import read_status
from tests.support.repo import PROJECT, environment


def rung(shown, number):
    return shown["rungs"][number - 1]


def change_params(root, change):
    params = json.loads((root / "params.yaml").read_bytes())
    change(params)
    (root / "params.yaml").write_text(json.dumps(params), encoding="utf-8")


def judge_again(root, *rungs):
    for name in rungs:
        made, _ = gate.judge(name, yamlio.read(names.PARAMS, ""))
        files.write_whole(names.GATES / made.gate / "decision.json", made.to_bytes())


def test_a_whole_study_is_shown_with_its_counts_and_verdicts(workspace, promotion):
    shown = promotion.json("status")
    assert [len(one["candidates"]) for one in shown["rungs"]] == [12, 12, 10, 4, 2]
    assert [one["outcome"] for one in shown["rungs"]] == ["decided"] * 5
    assert rung(shown, 3)["runs"] == {"done": 40, "declared": 40}
    assert rung(shown, 3)["floor_runs"] == {"done": 6, "declared": 6}
    assert rung(shown, 4)["promoted"] == ["d4-c003", "d8-c007"]
    assert shown["next"] == {"why": "the study is complete", "command": "promotion verify"}


def test_the_table_reads_as_a_ladder(workspace, promotion):
    reported = promotion("status")
    assert reported.startswith("A synthetic study (rated clock)")
    row = next(line for line in reported.splitlines() if "rung4" in line)
    assert [cell.strip() for cell in row.split("│")[2:-1]][0::3] == ["1 min", "16/16", "2"]
    assert "gate4 promoted d4-c003, d8-c007" in reported
    assert "gate5 R4 holds: the reference is first in 4 of 4 cells" in reported
    assert (
        "gate5 R5 cannot be evaluated: the comparator is within 0.01 of the reference, by mean paired gap\n" in reported
    )
    assert "lowest mean at rung5: d8-c007, val_bpb 1.351025" in reported
    assert "next: the study is complete: promotion verify" in reported


def amended(workspace, promotion):
    change_params(workspace, lambda params: params["gates"]["gate3"]["R7"].update(k=4))
    promotion("freeze", "gate3", "--amend", "--reason", "four were meant")


def exploratory(workspace, promotion):
    change_params(workspace, lambda params: params["study"].update(mode="exploratory"))
    judge_again(workspace, "rung4")


@pytest.mark.parametrize("state", [lambda *_: None, amended, exploratory], ids=["complete", "amended", "exploratory"])
def test_every_cell_of_the_table_is_whole_on_eighty_columns(workspace, promotion, monkeypatch, state):
    state(workspace, promotion)
    monkeypatch.setenv("COLUMNS", "80")
    table = [line for line in promotion("status").splitlines() if line[:1] in "┃│"]
    assert all(len(line) <= 80 and "…" not in line for line in table)
    locks = [yamlio.read(names.lock_path(f"gate{number}"), "") for number in range(1, 6)]
    assert [line.split("│")[3].strip() for line in table[1:]] == [lock["digest"][:10] for lock in locks]


def test_a_fresh_clone_is_told_to_build_the_text_then_to_freeze(workspace, promotion):
    manifest = (names.CORPUS / "manifest.json").read_bytes()
    for folder in ("locks", "artifacts", "ledger"):
        shutil.rmtree(workspace / folder)
    shown = promotion.json("status")
    assert shown["next"]["command"] == "dvc repro corpus"
    assert [one["outcome"] for one in shown["rungs"]] == ["not frozen"] * 5
    assert rung(shown, 1)["runs"] == {"done": 0, "declared": 24}
    assert rung(shown, 2)["runs"] == {"done": 0, "declared": None}
    files.write_whole(names.CORPUS / "manifest.json", b"{}\n")
    assert "`dvc repro corpus` builds it" in promotion.json("status")["next"]["why"]  # `promotion freeze` would refuse
    files.write_whole(names.CORPUS / "manifest.json", manifest)
    assert promotion.json("status")["next"] == {"why": "no rule is frozen yet", "command": "promotion freeze"}


def test_missing_runs_are_counted_and_the_next_step_is_to_run_them(workspace, promotion):
    shutil.rmtree(workspace / names.GATES / "gate5")
    (workspace / names.record_path("rung5/d8-c007/cpu-fp32/5001")).unlink()
    shown = promotion.json("status")
    assert rung(shown, 5)["runs"] == {"done": 7, "declared": 8}
    assert rung(shown, 5)["outcome"] == "1 runs to do"
    assert shown["next"]["command"] == "dvc repro"


def test_a_decision_on_other_records_is_no_decision(workspace, promotion):
    path = workspace / names.record_path("rung4/d8-c007/cpu-fp32/4001")
    path.write_bytes(path.read_bytes().replace(b'"reason":null', b'"reason":"x"'))
    shown = promotion.json("status")
    assert rung(shown, 4)["outcome"] == "ready to judge"
    assert rung(shown, 5)["candidates"] is None


def test_a_gate_that_is_not_frozen_says_so_and_how_to(workspace, promotion):
    (workspace / "locks" / "gate5.yaml").unlink()
    shutil.rmtree(workspace / names.LEDGER)
    shutil.rmtree(workspace / names.GATES / "gate5")
    shutil.rmtree(workspace / names.RECORDS / "rung5")
    shown = promotion.json("status")
    assert (rung(shown, 5)["lock"], rung(shown, 5)["outcome"]) == (None, "not frozen")
    assert shown["next"]["command"] == "dvc repro -s ledger confidence site"  # a lock comes after what was decided
    rows = (names.decision_path(f"gate{number}").read_bytes() for number in range(1, 5))
    files.write_whole(names.LEDGER / "decisions.jsonl", b"".join(rows))
    assert promotion.json("status")["next"]["command"] == "promotion freeze gate5"


def test_a_lock_that_is_gone_is_to_be_brought_back_and_nothing_frozen_over_it(workspace, promotion):
    (workspace / "locks" / "gate1.yaml").unlink()
    assert promotion.json("status")["next"]["command"] == "git checkout -- locks/gate1.yaml"


def test_a_lock_that_was_amended_leaves_its_rung_to_be_run_again(workspace, promotion):
    change_params(workspace, lambda params: params["gates"]["gate3"]["R7"].update(k=4))
    promotion("freeze", "gate3", "--amend", "--reason", "four were meant")
    shown = promotion.json("status")
    assert rung(shown, 3)["runs"]["done"] == 0
    assert rung(shown, 3)["outcome"] != "decided"
    assert shown["next"]["command"] == "dvc repro"
    assert "\ngate3 was amended: four were meant\n" in promotion("status")


def test_a_clone_without_artifacts_is_told_that_git_holds_the_study(workspace, promotion):
    shutil.rmtree(workspace / "artifacts")
    shown = promotion.json("status")["next"]
    assert shown["why"].startswith("the ledger holds a study whose artifacts are not here")
    assert shown["command"] == "promotion verify"


def test_a_clone_without_artifacts_shows_what_the_ledger_holds_and_says_so(workspace, promotion):
    before = promotion("status").splitlines()
    shutil.rmtree(workspace / "artifacts")
    shown = promotion("status").splitlines()
    assert "from the ledger: the artifacts are not here" in shown
    kept = [line for line in before if line.startswith(("│", "gate", "lowest mean"))]
    assert [line for line in shown if line.startswith(("│", "gate", "lowest mean"))] == kept


def test_what_the_ledger_holds_of_other_rules_or_other_records_is_not_shown(workspace, promotion):
    shutil.rmtree(workspace / "artifacts")
    path = workspace / names.LEDGER / "runs.jsonl"
    whole = path.read_bytes()
    lines = [line for line in whole.splitlines(keepends=True) if b'"rung":"rung4"' not in line]
    path.write_bytes(b"".join(lines))
    row = next(line for line in promotion("status").splitlines() if "rung4" in line)
    assert "16/16" not in row and "decided" not in row
    path.write_bytes(b"{\n")
    assert "from the ledger" not in promotion("status")
    path.write_bytes(whole)
    decisions = workspace / names.LEDGER / "decisions.jsonl"
    decisions.write_bytes(decisions.read_bytes().replace(b'"lock":"', b'"lock":"0'))
    assert "from the ledger" not in promotion("status")


def test_freeze_and_status_print_the_same_command_to_commit_the_rules(workspace, promotion):
    def git(*words):
        subprocess.run(["git", *words], check=True, env=environment(), capture_output=True)

    git("init", "-q")
    git("add", "params.yaml")
    git("commit", "-q", "-m", "The study")
    change_params(workspace, lambda params: params["gates"]["gate3"]["R7"].update(k=4))
    printed = promotion("freeze", "gate3", "--amend", "--reason", "four were meant")
    shown = promotion.json("status")["next"]["command"]
    assert shown.startswith("git add locks params.yaml 'stages/ladder/rung1/*dvc.yaml'")
    assert f"commit this before the evidence: `{shown}`" in printed


def test_without_a_remote_nobody_is_told_to_pull(workspace, promotion):
    shutil.rmtree(workspace / "artifacts")
    assert "dvc pull" not in promotion("status")
    files.write_whole(workspace / ".dvc/config", b"[core]\n    remote = store\n['remote \"store\"']\n    url = /x\n")
    assert "`dvc pull` fetches them" in promotion("status")


def test_a_rule_that_params_yaml_has_changed_since_is_shown(workspace, promotion):
    change_params(workspace, lambda params: params["gates"]["gate3"]["R7"].update(k=5))
    shown = promotion.json("status")
    assert rung(shown, 3)["changed_since_frozen"] == ["rules.R7.k"]
    assert rung(shown, 2)["changed_since_frozen"] == []
    assert shown["next"] == {
        "why": "gate3 was frozen otherwise (rules.R7.k): take it back, or",
        "command": 'promotion freeze gate3 --amend --reason "..."',
    }
    assert "\ngate3 was frozen otherwise: rules.R7.k\n" in promotion("status")


def test_what_blocks_a_gate_is_said_with_the_rules_text(workspace, promotion):
    (workspace / names.record_path("rung3/d8-c007/cpu-fp32/3001")).unlink()
    judge_again(workspace, "rung3")
    shown = promotion.json("status")
    assert rung(shown, 3)["outcome"] == "blocked"
    assert rung(shown, 3)["blocked_by"] == {"R1": "Every candidate has a run in every cell."}
    reported = promotion("status")
    assert (
        "gate3 is blocked and promotes nobody:\n  R1 must hold: Every candidate has a run in every cell.\n" in reported
    )
    assert "d8-c007: does not hold, observed 3 against 4 (missing: cpu-fp32/3001)" in reported
    assert shown["next"]["command"] == "dvc repro"  # what it blocks is written down first, and the site shows it
    ledger.main()
    assert promotion.json("status")["next"]["command"] == "promotion serve"


def test_an_exploratory_study_is_marked(workspace, promotion):
    change_params(workspace, lambda params: params["study"].update(mode="exploratory"))
    change_params(workspace, lambda params: params["gates"]["gate4"]["R6"].update(k=2))
    judge_again(workspace, "rung4")
    reported = promotion("status")
    assert "study.mode is exploratory" in reported
    assert "│ what-if │" in reported
    assert "gate4 decided by rules that nobody froze: a what-if" in reported
    assert rung(promotion.json("status"), 4)["mode"] == "exploratory"


def test_a_ledger_that_lags_behind_is_the_next_step(workspace, promotion):
    (workspace / "ledger" / "decisions.jsonl").unlink()
    assert promotion.json("status")["next"]["command"] == "dvc repro"
    ledger.main()
    assert promotion.json("status")["next"]["command"] == "promotion verify"


def test_the_study_is_not_complete_before_its_site_is_built(workspace, promotion):
    shutil.rmtree(workspace / "site")
    assert promotion.json("status")["next"] == {
        "why": "the ledger is written, and the site that shows it is not built yet",
        "command": "dvc repro",
    }


def test_the_time_left_rests_on_finished_runs_of_the_same_rung_and_host(workspace, promotion):
    shutil.rmtree(workspace / names.GATES / "gate5")
    for run in ("rung5/d8-c007/cpu-fp32/5001", "rung5/d8-c007/cpu-bf16/5001"):
        (workspace / names.record_path(run)).unlink()
    assert promotion.json("status")["time_left"]["seconds"] is None
    assert "time left at rung5: no estimate for 2 runs: " in promotion("status")
    for record, _ in read_rung("rung5").values():
        took = 60.0 if record.host == "cpu-fp32" else 90.0
        telemetry.store(record.md5, telemetry.dumps(record.id, record.md5, {"process_seconds": took}))
    reported = promotion("status")
    assert re.search(r"time left at rung5: about .+ for 2 runs, one after another, by 6 finished runs", reported), (
        reported
    )
    assert promotion.json("status")["time_left"]["seconds"] == 150.0


def test_what_trains_now_is_named_and_what_was_killed_long_ago_is_not(workspace, promotion):
    for run, age in (("rung5/d8-c007/cpu-fp32/5001", 3), ("rung5/d4-c003/cpu-fp32/5000", 86400)):
        path = LIVE / f"{run}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("step\n", encoding="utf-8")
        when = path.stat().st_mtime - age
        os.utime(path, (when, when))
    assert [one["run"] for one in promotion.json("status")["training_now"]] == ["rung5/d8-c007/cpu-fp32/5001"]
    assert re.search(r"trains now: rung5/d8-c007/cpu-fp32/5001, last heard of \d+ s ago", promotion("status"))


def test_a_title_with_brackets_is_shown_as_written(workspace, promotion):
    change_params(workspace, lambda params: params["study"].update(title="A [red]study[/red]"))
    assert promotion("status").startswith("A [red]study[/red] (rated clock)")


@pytest.mark.parametrize("command", ["status", "plan", "dag"])
def test_it_changes_no_file(workspace, promotion, command):
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*")}
    promotion(command)
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("*")} == before


@pytest.mark.parametrize("command", ["status", "plan", "dag"])
def test_it_starts_fast_because_it_imports_nothing_heavy(judged, command):
    code = (
        "import sys; from stages.cli import main\n"
        f"try: main(['{command}'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'scipy', 'numpy', 'dvc', 'plotly', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    with chdir(judged):
        environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": "utf-8"}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)


def test_how_sure_and_what_next_are_told_in_a_line_each_where_the_stage_has_run(workspace, promotion, capsys):
    assert "How sure?" not in promotion("status")
    confidence.main()
    capsys.readouterr()
    shown = promotion("status").splitlines()
    result = stored.read(workspace)
    assert f"How sure? {result.how_sure.short}" in " ".join(shown)
    assert f"What next? {result.what_next.text}" in shown


def test_a_result_of_other_decisions_is_not_told_as_if_it_were_of_these(workspace, promotion, capsys):
    confidence.main()
    capsys.readouterr()
    shutil.rmtree(workspace / names.GATES / "gate5")
    shown = promotion("status")
    assert "is of other decisions; `dvc repro confidence`" in shown and "What next?" not in shown


def test_where_git_alone_holds_the_study_the_result_of_its_ledger_is_told(workspace, promotion, capsys):
    confidence.main()
    capsys.readouterr()
    for folder in (names.GATES, names.RECORDS):
        shutil.rmtree(workspace / folder)
    assert f"What next? {stored.read(workspace).what_next.text}" in promotion("status").splitlines()


def test_a_broken_result_is_named_and_the_ladder_is_still_shown(workspace, promotion):
    files.write_whole(workspace / stored.RESULT, b"{")
    shown = promotion("status")
    assert "rung5" in shown and "How sure? artifacts/confidence/confidence.json" in shown


def test_an_earlier_layout_is_taken_over_before_anything_is_frozen(workspace, promotion):
    lock = workspace / "stages" / "rung1" / "dvc.lock"
    lock.parent.mkdir(parents=True)
    lock.write_bytes(b"schema: '2.0'\n")
    take_over = "dvc checkout && python -m stages.rungs && promotion dispatch && dvc repro"
    assert promotion.json("status")["next"]["command"] == take_over
    hindsight = workspace / "stages" / "hindsight" / "dvc.lock"
    hindsight.parent.mkdir()
    hindsight.write_bytes(lock.read_bytes())
    assert promotion.json("status")["next"]["command"] == (
        "dvc checkout && python -m stages.rungs --hindsight && promotion dispatch && "
        "dvc commit -f -R stages/ladder/hindsight && dvc repro"
    )
    with pytest.raises(Refused, match="take it over first: `dvc checkout"):
        promotion("freeze")


def test_what_hindsight_says_is_told_of_this_decision_alone(workspace, monkeypatch):
    rows = read_status(load())
    reported = status_command._list_hindsight
    assert reported(rows) == []
    digest = files.sha256_bytes(rows[-1].decision.to_bytes())
    result = SimpleNamespace(decision=digest, text="The best was found.")
    monkeypatch.setattr(hindsight_results, "read", lambda root: result)
    assert reported(rows) == ["Hindsight: The best was found."]
    path = hindsight_results.RESULT.as_posix()
    other = [f"Hindsight: {path} is of another decision; `make hindsight`"]
    undecided = dataclasses.replace(rows[-1], decision=None)
    assert reported([*rows[:-1], undecided]) == other
    result.decision = "0" * 64
    assert reported(rows) == other

    def fail(root):
        raise Invalid(f"{path}: broken")

    monkeypatch.setattr(hindsight_results, "read", fail)
    assert reported(rows) == [f"Hindsight: {path}: broken"]


def test_where_a_study_goes_on_from_is_told(workspace, promotion):
    origin = {"study": "before", "commit": "0123456789abcdef" + "0" * 24, "gate": "gate3", "decision": "0" * 64}
    change_params(workspace, lambda params: params["study"].update({"from": origin}))
    shown = promotion("status").splitlines()
    assert "goes on from gate3 of before, commit 0123456789ab" in shown
    assert promotion.json("status")["from"] == origin


def test_who_was_promoted_is_told_in_a_word(workspace):
    row = read_status(load())[3]
    decision = row.decision
    some, last = list(decision.promoted), read_status(load())[4]

    def shown(row, **changes):
        return status_command._format_promoted(dataclasses.replace(row, decision=decision.model_copy(update=changes)))

    assert shown(row) == str(len(some)) == "2"
    assert shown(dataclasses.replace(row, candidates=tuple(some))) == "all 2"
    assert status_command._format_promoted(dataclasses.replace(row, decision=None)) == ""
    assert shown(row, promoted=[]) == "nobody"
    assert shown(row, promoted=[], verdicts={"R1": True}) == "verdicts"
    assert shown(last, promoted=[]) == "the last gate"
    assert shown(last, promoted=[], blocked_by=["R1"], outcome="blocked") == "nobody"
    assert status_command._format_promoted(last) == "verdicts"


def test_a_rung_tells_what_it_lacks_and_reads_as_json(workspace):
    row = read_status(study.load())[2]
    assert (row.outcome, row.to_json()["candidates"]) == ("decided", list(row.candidates or ()))
    assert row.to_json()["amendments"] == 0
    waits = replace(row, decision=None, declared=10, done=7, floor_declared=6, floor_done=4)
    assert waits.outcome == "5 runs to do"
    assert replace(waits, done=10, floor_done=6).outcome == "ready to judge"
    assert replace(waits, closed="why").outcome == "waiting"
    unfrozen = replace(waits, closed="why", lock=None, candidates=None, declared=None)
    assert unfrozen.outcome == "not frozen"
    assert (waits.blocked_by, unfrozen.blocked_by) == ({}, {})
    value = unfrozen.to_json()
    assert [value[key] for key in ("candidates", "lock", "amendments", "mode", "promoted")] == [
        None,
        None,
        0,
        None,
        None,
    ]
    assert value["runs"] == {"done": 7, "declared": None}
    assert value["floor_runs"] == {"done": 4, "declared": 6}
