"""Stages that earlier studies do not have: a commit without one verifies, and one that ran is held like any other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.domain import names
from stages.verify import verify
from tests.support import dvclock

RESULT = (names.CONFIDENCE / "confidence.json").as_posix()
Stages = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("optional") / "study"
    dvclock.build(root)
    return root


@pytest.fixture
def study(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "study"))


def edit(study: Path, name: str, change: Callable[[Stages], object]) -> None:
    yaml = YAML()
    value = yaml.load(study / name)
    change(value["stages"])
    yaml.dump(value, study / name)


def problems(study: Path) -> list[str]:
    """What V17 and V19 say of the workspace, as `place: found`."""
    results = {result.check.id: result for result in verify(study).results}
    return [f"{p.pointer}: {p.found}" for check in ("V17", "V19") for p in results[check].problems]


def without_result(stages: Stages) -> None:
    del stages["confidence"]
    deps = stages["site"]["deps"]
    deps[:] = [dep for dep in deps if dep["path"] not in (RESULT, "stages/confidence")]


def test_a_study_whose_stages_all_ran_passes(study):
    assert "confidence" in YAML(typ="safe").load(study / "dvc.lock")["stages"]
    assert problems(study) == []


def test_a_committed_study_passes_before_the_optional_stage_has_run(study):
    edit(study, "dvc.lock", without_result)
    assert problems(study) == []


def test_a_commit_whose_dvc_yaml_does_not_know_the_stage_passes(study):
    def without(stages: Stages) -> None:
        del stages["confidence"]
        stages["site"]["deps"] = [dep for dep in stages["site"]["deps"] if dep not in (RESULT, "stages/confidence")]

    edit(study, "dvc.lock", without_result)
    edit(study, "dvc.yaml", without)
    assert problems(study) == []


def test_a_site_that_read_a_result_which_nobody_recorded_fails(study):
    edit(study, "dvc.lock", lambda stages: stages.pop("confidence"))
    assert problems(study) == [f"/stages/site/deps: {RESULT} on one side"]


def test_a_site_that_did_not_read_the_recorded_result_fails(study):
    def without(stages: Stages) -> None:
        deps = stages["site"]["deps"]
        deps[:] = [dep for dep in deps if dep["path"] != RESULT]

    edit(study, "dvc.lock", without)
    assert problems(study) == [f"/stages/site/deps: {RESULT} on one side"]


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock"])
def test_an_optional_stage_that_runs_something_else_fails(study, name):
    edit(study, name, lambda stages: stages["confidence"].update(cmd="python -m other"))
    assert "/stages/confidence/cmd: python -m other" in problems(study)


def test_a_stage_that_every_study_has_is_still_missed(study):
    edit(study, "dvc.lock", lambda stages: stages.pop("winner"))
    assert problems(study) == ["/stages/winner: no such stage"]
