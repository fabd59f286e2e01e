"""The dvc.yaml files under stages/ladder/ and what params.yaml asks for, before and after anything is frozen."""

from __future__ import annotations

from typing import Any

import pytest

from tests.verify.forger import DECISIONS, METRICS, RUNS, Forger, failed


@pytest.fixture
def unfrozen(clone: Forger, request: pytest.FixtureRequest) -> Forger:
    """A study that nobody has frozen or trained, in a history of its own."""
    clone.git("checkout", "-q", "--orphan", request.node.name)
    locks = [f"locks/gate{number}.yaml" for number in (1, 2, 3)]
    for path in (RUNS, DECISIONS, METRICS, *locks, *clone.dvc_locks()):
        clone.delete(path)
    return clone


def rename(value: dict[str, Any]) -> None:
    value["configs"]["d1-z"] = value["configs"].pop("d1-a")
    value["roles"] = {role: "d1-z" if name == "d1-a" else name for role, name in value["roles"].items()}


def test_a_configuration_renamed_before_anything_is_frozen_is_noted_and_no_failure(unfrozen: Forger) -> None:
    unfrozen.params(rename)
    results = unfrozen.verify(unfrozen.commit("Renamed"))
    assert failed(results) == []
    notes = [note for result in results for note in result.notes]
    assert any("stages/ladder/rung1/d1-a/dvc.yaml" in note and "`promotion freeze`" in note for note in notes)


def test_a_lock_of_a_configuration_that_nobody_has_fails_frozen_or_not(unfrozen: Forger) -> None:
    unfrozen.params(rename)
    unfrozen.write("stages/ladder/rung1/d1-a/dvc.lock", b"schema: '2.0'\nstages: {}\n")
    assert "dvc-locks" in failed(unfrozen.verify(unfrozen.commit("Renamed")))
