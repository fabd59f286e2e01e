"""The generated dvc.yaml files: their words, which of them a study has, and what of earlier forms goes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stages import rungs
from stages.domain import files, names
from stages.domain.errors import Refused
from stages.domain.hindsight import FOLDER
from tests.pipeline.pipeline_texts import STUDIES, describe_files, plain
from tests.support.snapshots import check_snapshots

RUNG_FILES = [
    f"stages/ladder/{rung}/{name}dvc.yaml" for rung in ("rung1", "rung2") for name in ("", "d1-c000/", "d2-c001/")
]
HINDSIGHT_FILES = [f"stages/ladder/hindsight/{name}dvc.yaml" for name in ("", "d1-c000/", "d2-c001/")]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def here() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


def touch(*paths: str) -> None:
    for path in paths:
        files.write_whole(Path(path), b"")


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_the_files_of_a_study_are_those_of_their_snapshots(name: str) -> None:
    study = STUDIES[name]()
    texts = {f"{rung}.txt": describe_files(rungs.pipeline_files(study, rung)) for rung in (*study.rungs, FOLDER)}
    check_snapshots(f"rungs/{name}", texts)


def test_an_axis_without_values_is_an_empty_list_and_names_are_quoted() -> None:
    assert rungs.format_axis([]) == " []"
    assert rungs.format_axis(["on", 7]) == '\n        - "on"\n        - 7'


def test_every_rung_has_its_files_and_hindsight_where_it_is_asked_for_or_has_them_already() -> None:
    study = plain()
    rungs.write_rungs(study)
    assert here() == sorted(RUNG_FILES)
    rungs.write_rungs(study, hindsight=True)
    assert here() == sorted(RUNG_FILES + HINDSIGHT_FILES)
    for path in HINDSIGHT_FILES:
        Path(path).write_bytes(b"old")
    rungs.write_rungs(study)
    assert here() == sorted(RUNG_FILES + HINDSIGHT_FILES)
    written = {
        file.path: file.text for rung in ("rung1", "rung2", FOLDER) for file in rungs.pipeline_files(study, rung)
    }
    assert {path: Path(path).read_text(encoding="utf-8") for path in here()} == written


def test_a_study_of_one_rung_has_no_hindsight() -> None:
    study = plain()
    alone = study.model_copy(update={"rungs": {"rung1": study.rungs["rung1"]}})
    rungs.write_rungs(alone, hindsight=True)
    assert here() == sorted(RUNG_FILES[:3])


def test_files_of_other_rungs_configurations_and_layouts_go_with_their_locks_and_others_stay() -> None:
    gone = [
        "stages/ladder/rung3/dvc.yaml",
        "stages/ladder/rung3/d1-c000/dvc.lock",
        "stages/ladder/rung1/other/dvc.lock",
        "stages/rung1/dvc.yaml",
        "stages/rung12/dvc.lock",
        "stages/hindsight/dvc.yaml",
        "artifacts/gates/gate1/promotions.yaml",
    ]
    kept = [
        "stages/ladder/rung1/dvc.lock",
        "stages/ladder/rung2/d2-c001/dvc.lock",
        "stages/ladder/note.txt",
        "stages/ladder/rung1/note.txt",
        "stages/runners/x.py",
        "artifacts/gates/gate1/promotions.json",
    ]
    root = Path("root")
    touch(*(f"root/{path}" for path in gone + kept))
    rungs.write_rungs(plain(), root)
    assert here() == sorted(f"root/{path}" for path in kept + RUNG_FILES)


def test_an_earlier_layout_is_taken_over_with_its_hindsight() -> None:
    assert rungs.take_over_command() is None
    touch("stages/ladder/rung1/dvc.lock", "stages/hindsight/dvc.lock", "stages/rung1/dvc.yaml", "stages/rungs/dvc.lock")
    assert rungs.take_over_command() is None
    touch("stages/rung2/dvc.lock")
    assert rungs.take_over_command() == (
        "dvc checkout && python -m stages.rungs --hindsight && promotion dispatch"
        " && dvc commit -f -R stages/ladder/hindsight && dvc repro"
    )
    Path("stages/hindsight/dvc.lock").unlink()
    assert rungs.take_over_command() == "dvc checkout && python -m stages.rungs && promotion dispatch && dvc repro"


@pytest.mark.parametrize("words", [["hindsight"], ["--hindsight", "--hindsight"], ["-h"]])
def test_other_words_are_refused(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rungs.py", *words])
    with pytest.raises(Refused) as refused:
        rungs.main()
    assert str(refused.value) == "usage: python -m stages.rungs [--hindsight]"


@pytest.mark.parametrize("words", [[], ["--hindsight"]])
def test_the_rungs_of_params_yaml_are_written(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_whole(names.PARAMS, plain().model_dump_json(by_alias=True, exclude_unset=True).encode())
    monkeypatch.setattr(sys, "argv", ["rungs.py", *words])
    rungs.main()
    assert here() == sorted(["params.yaml", *RUNG_FILES, *(HINDSIGHT_FILES if words else [])])
