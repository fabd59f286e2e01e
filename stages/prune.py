"""Remove what an earlier form of the study left behind: records, traces and dvc.lock entries of runs that it no longer
asks for.

DVC keeps the entries of a matrix cell that is gone, and the files of that cell stay in folders on which gates depend;
`promotion verify` takes both for runs from nowhere. `promotion freeze` prunes after a change of seeds, hosts or
configurations. The DVC cache and git keep what is removed; `stages/repo/dvc_entries.py` brings
back what git keeps, where a change is taken back before its evidence was made.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from stages.domain import names
from stages.domain.hindsight import FOLDER
from stages.domain.runs import all_runs, hindsight_runs
from stages.domain.study import Study
from stages.dvcfiles import lockfile
from stages.rungs import pipeline_files


def prune(study: Study) -> list[str]:
    """Remove what no run of the study accounts for; returns the paths and stages that are gone."""
    declared = {
        Path(file.lock): {*file.runs, *file.others}
        for rung in (*study.rungs, FOLDER)
        for file in pipeline_files(study, rung)
    }
    present = sorted([*names.LADDER.glob("*/dvc.lock"), *names.LADDER.glob("*/*/dvc.lock")])
    return [
        *_remove_outputs(study),
        *(entry for path in present for entry in _remove_entries(path, declared.get(path, set()))),
    ]


def _remove_outputs(study: Study) -> Iterator[str]:
    declared = [*all_runs(study), *hindsight_runs(study)]
    kept = {path for run in declared for path in (names.record_path(run.id), names.trace_path(run.id))}
    for folder, pattern in (
        (names.RECORDS, "rung*/*/*/*.json"),
        (names.TRACES, "rung*/*/*/*"),
        (names.HINDSIGHT, "records/*/*/*.json"),
        (names.HINDSIGHT, "traces/*/*/*"),
    ):
        for path in sorted(folder.glob(pattern)):
            if path in kept:
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            _drop_empty(path.parent, folder)
            yield path.as_posix()


def _drop_empty(folder: Path, top: Path) -> None:
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _remove_entries(path: Path, declared: set[str]) -> Iterator[str]:
    """Entries of a dvc.lock that its dvc.yaml no longer stands for. The others stay as DVC wrote them."""
    head, stages = lockfile.read(path)
    kept = {name: text for name, text in stages.items() if name in declared}
    if len(kept) < len(stages):
        lockfile.write(path, head, kept)
    yield from (f"{path.as_posix()}: {name}" for name in stages if name not in declared)
