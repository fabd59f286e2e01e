"""Every manipulation of the tamper suite is caught by the check that is named for it, at its place, in its words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stages.domain import names
from stages.domain.hindsight import LEDGER
from tests.support.repo import Repo
from tests.verify.forger import Forger, failed
from tests.verify.suite import MANIPULATIONS, Manipulation
from tests.verify.tamper import describe_problems, read_places
from tests.verify.tamper_hindsight import honest, save, trained

PLACES = read_places()


def test_the_suite_holds_more_than_three_hundred_distinct_manipulations():
    texts, ids = ({getattr(one, key) for one in MANIPULATIONS} for key in ("text", "id"))
    assert len(texts) == len(ids) == len(MANIPULATIONS) > 325


def test_the_untouched_study_verifies_in_git_alone(clone: Forger):
    assert failed(clone.verify(clone.git("rev-parse", "HEAD"))) == []


def test_the_untouched_study_verifies_with_its_artifacts(smoke: Repo):
    results = Forger(smoke.root).verify(None, "artifacts")
    assert failed(results) == []
    skipped = [one.check.name for one in results if one.status == "skipped"]
    assert skipped == ["lock-signatures", "commit-signatures", "replay", "hindsight"]


@pytest.mark.parametrize("one", MANIPULATIONS, ids=lambda one: one.id)
def test_a_manipulation_is_caught_by_its_check(one: Manipulation, smoke: Repo, shared_clone: Path, tmp_path: Path):
    results = one.attempt(smoke.root, shared_clone, tmp_path)
    assert one.check in failed(results)
    assert describe_problems(results, one.check) == PLACES[one.id]


def test_the_list_of_places_names_each_manipulation_once():
    assert list(PLACES) == sorted(one.id for one in MANIPULATIONS)


def test_honest_hindsight_verifies_and_so_does_the_study_before_it(clone: Forger):
    before = clone.git("rev-parse", "HEAD")
    honest(clone)
    results = clone.verify(clone.git("rev-parse", "HEAD"))
    assert failed(results) == []
    assert [one.status for one in results if one.check.name == "hindsight"] == ["passed"]
    assert [one.status for one in clone.verify(before) if one.check.name == "hindsight"] == ["skipped"]


def test_hindsight_of_another_study_in_history_is_not_missed_here_and_own_is(clone: Forger):
    before = clone.git("rev-parse", "HEAD")
    records = honest(clone, commit=False)
    text = clone.read(LEDGER.as_posix())
    for change in (lambda data: data.replace(records[0]["lock"].encode(), b"0" * 64), lambda data: data):
        clone.git("checkout", "-q", "--force", before)
        data = change(text)
        other = data if data == text else data.replace(records[0]["decision"].encode(), b"1" * 64)
        clone.write(LEDGER.as_posix(), other)
        clone.commit("Hindsight")
        clone.delete(LEDGER.as_posix())
        (hindsight,) = (one for one in clone.verify(clone.commit("Gone")) if one.check.name == "hindsight")
        if data == text:
            assert hindsight.status == "failed"
        else:
            assert (hindsight.status, hindsight.reason) == ("skipped", "nothing was trained in hindsight")


def test_a_part_of_hindsight_verifies_and_the_rest_is_told_as_missing(clone: Forger):
    records = honest(clone, commit=False)
    run = trained(records)
    records.remove(run)
    clone.rung("hindsight", lambda stages: stages.pop(f"run@{run['config']}-{run['host']}-{run['seed']}"))
    save(clone, records)
    results = clone.verify(clone.commit())
    assert failed(results) == []
    (hindsight,) = (one for one in results if one.check.name == "hindsight")
    assert hindsight.notes == (f"missing, such as {run_id(run)}: 1 in all; `make hindsight` trains them",)


def run_id(run: dict[str, Any]) -> str:
    return names.run_id(run["rung"], run["config"], run["host"], run["seed"], run["purpose"])
