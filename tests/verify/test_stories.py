"""What has an honest cause is a note that says what was seen; and what tests of manipulations do not show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.records import parse_line
from stages.domain.study import parse_study
from stages.dvcfiles import lockfile
from stages.repo.tree import WorkTree
from stages.verify import digests, facts
from stages.verify.check import Case, Options
from stages.verify.facts import ExpectedSpec, Specifications
from stages.verify.history import MOST_FAILURES
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import describe_change
from stages.verify.result import CheckResult
from tests.support import synthetic
from tests.support.contracts import make_contract
from tests.support.repo import Repo
from tests.verify.forger import METRICS, Forger, failed
from tests.verify.tamper_artifacts import MODEL, mend, put
from tests.verify.tamper_past import _amend, _digest
from tests.verify.tamper_stories import fail, failed_first


def head(f: Forger) -> dict[str, CheckResult]:
    f.commit()
    return {result.check.name: result for result in f.verify(f.git("rev-parse", "HEAD"))}


# Two runs that end alike


def two_runs(
    tmp_path: Path, second: dict[str, Any], hosts: dict[str, Any] | None = None
) -> tuple[list[str], list[str]]:
    """(meanings of the problems, notes) of a run and of another one with the same outcome."""
    value = synthetic.params(3)
    for name, change in (hosts or {}).items():
        value["hosts"][name].update(change)
    study = parse_study(value, "params.yaml")
    blocks = {name: host.model_dump() for name, host in study.hosts.items()}
    contract = replace(make_contract(budget_seconds=2.0, settings=value["runner"]), hosts=blocks)
    names = {"config": next(iter(study.configs)), "host": "cpu-fp32", "seed": 1000, "purpose": "candidate"}
    runs = [
        synthetic._executed(contract, study, **names),
        synthetic._executed(contract, study, **{**names, **second}),
    ]
    runs[1]["facts"].update({key: runs[0]["facts"][key] for key in ("val_bpb", "train_loss")})
    lines = [canonical.dumps(run) for run in runs]
    case = Case(tmp_path, WorkTree(tmp_path), None, None, Options("git"))
    case.learn(study)
    case.learn(Ledger(tuple(RecordLine(n, parse_line(line, "x"), line) for n, line in enumerate(lines, 1)), {}))
    cells = {(run["rung"], run["config"], run["host"]): ExpectedSpec(run["spec"], True) for run in runs}
    case.learn(Specifications(cells))
    problems = [problem.meaning for problem in facts.check_facts_of_record(case) if problem.pointer == "/facts"]
    return problems, case.notes


def test_one_seed_on_two_hosts_of_one_numeric_mode_may_end_alike(tmp_path):
    problems, notes = two_runs(tmp_path, {"host": "cpu-bf16"}, {"cpu-bf16": {"precision": "fp32"}})
    assert problems == []
    assert len(notes) == 1
    assert notes[0].startswith("one pair of runs of one seed ends alike, such as rung1/")
    assert "one is a copy" in notes[0]


def test_one_seed_on_hosts_of_other_numerics_does_not(tmp_path):
    problems, notes = two_runs(tmp_path, {"host": "cpu-bf16"})
    assert len(problems) == 1
    assert problems[0].endswith("under two hosts: cpu-bf16 computes in bf16, cpu-fp32 in fp32")
    assert notes == []


def test_two_seeds_do_not_end_alike_on_any_host(tmp_path):
    problems, _ = two_runs(tmp_path, {"host": "cpu-bf16", "seed": 1001}, {"cpu-bf16": {"precision": "fp32"}})
    assert len(problems) == 1
    assert "under two seeds" in problems[0]


# What is noted


def test_an_amendment_is_told_with_what_it_changed(clone: Forger):
    change = {"hosts.cpu-bf16": {"was": {"threads": 1}, "is": None}, "rules.R3.k": {"was": 1, "is": 2}}
    _amend(clone, "gate3", _digest(clone, "gate3"), change)
    note = head(clone)["lock-chain"].notes
    expected = "spelling; changed: rules.R3.k 1 -> 2, hosts.cpu-bf16 {'threads': 1} -> none"
    assert note == (f"gate3 was amended after its evidence existed: {expected}",)


def test_a_gate_that_was_amended_with_the_one_before_is_told_to_follow_it_without_digests():
    moved = {"previous": {"was": "0" * 64, "is": "1" * 64}}
    k = {"rules.R3.k": {"was": 1, "is": 2}}
    assert describe_change("gate3", moved) == "follows the amendment of gate2"
    assert describe_change("gate3", {**moved, **k}) == "changed: rules.R3.k 1 -> 2; follows the amendment of gate2"
    assert describe_change("gate3", k) == "changed: rules.R3.k 1 -> 2"
    assert describe_change("gate1", moved).startswith("changed: previous")  # it follows none: as it stands there


@pytest.mark.parametrize("word", ["title", "question", "note"])
def test_words_that_are_put_otherwise_after_the_freeze_are_told_with_what_they_were(word: str, clone: Forger):
    clone.params(lambda value: value["study"].update({word: "We knew it all along."}))
    notes = head(clone)["rule-stayed"].notes
    assert len(notes) == 1
    assert notes[0].startswith(f"study.{word} was put otherwise when gate 1 was frozen: ")
    assert notes[0].endswith("'We knew it all along.' now")


def test_files_of_dvc_elsewhere_are_named(clone: Forger):
    clone.write("data/raw.dvc", b"outs: []\n")
    clone.write("own/dvc.yaml", b"stages: {}\n")
    result = head(clone)["dvc-locks"]
    assert result.status == "passed"
    assert result.notes == (
        "files of DVC that are none of the study's, which nothing here looks at: data/raw.dvc and own/dvc.yaml",
    )


@pytest.mark.parametrize(("times", "status"), [(1, "passed"), (MOST_FAILURES, "passed"), (MOST_FAILURES + 1, "failed")])
def test_failures_of_a_run_are_counted_shown_and_limited(times: int, status: str, clone: Forger):
    failed_first(clone, *(fail(number, facts=None) for number in range(times)))
    result = head(clone)["evidence-stayed"]
    assert result.status == status
    counted = "once" if times == 1 else f"{times} times"
    assert any(
        note.startswith("one run was repeated after a failure") and note.endswith(counted) for note in result.notes
    )


# What is never executed otherwise


def test_a_dvc_lock_over_its_limit_is_a_problem_with_its_size(clone: Forger, monkeypatch: pytest.MonkeyPatch):
    *_, (limit, _), (size, largest) = sorted((len(clone.read(path)), path) for path in clone.dvc_locks())
    assert limit < size
    monkeypatch.setattr(lockfile, "MAX_BYTES", limit)
    problems = head(clone)["dvc-locks"].problems
    assert [problem.file for problem in problems] == [largest]
    assert (problems[0].found, problems[0].expected) == (f"{size} bytes", f"at most {limit}")


def forge_summary(f: Forger) -> None:
    f.replace(METRICS, '"winner":', '"loser":')


def forge_winner(f: Forger) -> None:
    put(f, MODEL, canonical.dumps({**canonical.loads(f.read(MODEL)), "config": "d9-z"}))
    mend(f, "artifacts/winner")


@pytest.mark.parametrize(
    ("check", "forge", "reason"),
    [
        ("summary", forge_summary, "stages/summary installed here is not the one that made the summary"),
        ("winner", forge_winner, "stages/winner.py installed here is not the one that described the winner"),
        ("site", lambda f: None, "report/ installed here is not the one that built the site"),
    ],
)
def test_a_difference_that_may_be_the_codes_is_skipped_with_the_code_that_differs(
    check: str,
    forge: Callable[[Forger], Any],
    reason: str,
    smoke: Repo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    f = Forger(smoke.copy(tmp_path / "study").root)
    forge(f)
    (tmp_path / "installed").mkdir()
    monkeypatch.setattr(digests, "installed_root", lambda: tmp_path / "installed")
    result = next(one for one in f.verify(None, "artifacts") if one.check.name == check)
    assert (result.status, result.reason) == ("skipped", reason)
    assert result.enable == "verify with that commit's own code"


def test_the_same_forgeries_fail_where_the_code_is_the_same(smoke: Repo, tmp_path: Path):
    f = Forger(smoke.copy(tmp_path / "study").root)
    forge_summary(f)
    forge_winner(f)
    assert {"summary", "winner"} <= set(failed(f.verify(None, "artifacts")))


def test_the_order_of_names_in_params_yaml_changes_nothing(clone: Forger):
    clone.params(lambda value: value.update(hosts=dict(reversed(value["hosts"].items()))))
    assert [name for name, result in head(clone).items() if result.status == "failed"] == []
