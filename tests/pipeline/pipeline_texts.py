"""Two small studies whose dvc.yaml files are kept word by word: of a command with a reference, and without either."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stages.domain.study import Study, parse_study
from stages.rungs import PipelineFile
from tests.runners.foreign_study import make_params
from tests.support import synthetic


def command() -> Study:
    """Three rungs of a command with two files; the second rung has A/A runs, the first and third none."""
    value = make_params()
    value["runner"]["files"] = ["small/train.py", "small/data.py"]
    value["configs"] = {name: value["configs"][name] for name in ("small", "middle")}
    del value["rungs"]["rung3"]["floor_seeds"]
    return parse_study(value, "params.yaml")


def plain() -> Study:
    """Two rungs of the built-in runner on two hosts, with nobody to compare to."""
    value: dict[str, Any] = synthetic.params(2)
    value["roles"] = {}
    value["rungs"] = {rung: value["rungs"][rung] for rung in ("rung1", "rung2")}
    value["gates"] = {
        "gate1": value["gates"]["gate1"],
        "gate2": value["gates"]["gate1"] | {"R4": {"kind": "top_k", "k": 1, "by": "mean"}},
    }
    return parse_study(value, "params.yaml")


STUDIES = {"command": command, "plain": plain}


def describe_files(files: Iterable[PipelineFile]) -> str:
    """All that the files are: where they stand, the runs of their stages, and their texts."""
    parts = []
    for file in files:
        parts += [f"==== {file.path}, {file.lock}", *(f"{name}: {run.id}" for name, run in file.runs.items())]
        parts += [f"others: {file.others}", "---- text", file.text, "---- template", file.template]
    return "\n".join(parts) + "\n"
