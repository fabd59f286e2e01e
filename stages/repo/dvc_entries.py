"""What git holds of the dvc.lock files, beside what stands here: what is new in them, and what can be brought back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from stages.domain import locks, names
from stages.domain.errors import Invalid
from stages.domain.records import Record, parse_ledger
from stages.domain.runs import Run, runs_of
from stages.domain.study import Study
from stages.dvcfiles import lockfile
from stages.dvcfiles.lockfile import LockedFile, LockedStage
from stages.repo.git import Git, open_git


def differs_by_repetition(git: Git, path: Path) -> bool:
    """Whether a dvc.lock differs from HEAD's only in what a repetition with the same records leaves.

    That is another clock, and perhaps another machine: telemetry, the seconds in the curves of a trainer that measures
    them, and the site, which shows both. None of it is evidence.
    """
    entry = git.entry(git.head, path.as_posix()) if git.head and path.is_file() else None
    if entry is None:
        return False
    try:
        past, present = (lockfile.parse(data, path.as_posix()) for data in (git.blob(entry.oid), path.read_bytes()))
    except Invalid:
        return False
    return past != present and _without_clock(past) == _without_clock(present)


def _without_clock(stages: Mapping[str, LockedStage]) -> dict[str, LockedStage]:
    clocked = (names.TELEMETRY, names.SITE, names.TRACES, names.HINDSIGHT / "traces", names.CURVES)
    shown = tuple(path.as_posix() for path in clocked)

    def without(files: Mapping[str, LockedFile]) -> dict[str, LockedFile]:
        return {path: file for path, file in files.items() if not path.startswith(shown)}

    return {name: replace(stage, deps=without(stage.deps), outs=without(stage.outs)) for name, stage in stages.items()}


def restore_entries(study: Study) -> list[str]:
    """Bring back, from git, the dvc.lock entries of runs whose records the ledger holds under the locks of today.

    Returns the stages that are back. Only an entry that names the very bytes of the record is taken.
    """
    path = names.LEDGER / "runs.jsonl"
    try:
        records = [record for record, _ in parse_ledger(path.read_bytes(), path.as_posix())] if path.is_file() else []
    except Invalid:  # `promotion verify` reports it
        return []
    git = open_git(Path()) if records else None
    if git is None:
        return []
    try:
        return [entry for rung in study.rungs for entry in _restore_rung(study, rung, records, git)]
    finally:
        git.close()


def _restore_rung(study: Study, rung: str, records: list[Record], git: Git) -> list[str]:
    lock = locks.read(names.gate_of(rung))
    recorded = {record.id: record.md5 for record in records if lock and record.lock == lock.digest}
    declared: dict[Path, list[Run]] = {}
    for run in runs_of(study, rung):
        declared.setdefault(run.lock_path, []).append(run)
    return [entry for path, runs in declared.items() for entry in _restore_file(path, runs, recorded, git)]


def _restore_file(path: Path, runs: list[Run], recorded: Mapping[str, str], git: Git) -> list[str]:
    """`recorded` has the MD5 of records by run."""
    head, stages = lockfile.read(path)
    missing = {run.stage_name: recorded[run.id] for run in runs if run.id in recorded and run.stage_name not in stages}
    restored: dict[str, str] = {}
    for head_then, stages_then in _past_locks(path.as_posix(), git) if missing else ():
        head = head or head_then
        fitting = {name: stages_then[name] for name in missing if missing[name] in stages_then.get(name, "")}
        restored = {**fitting, **restored}
        if len(restored) == len(missing):
            break
    if restored:
        lockfile.write(path, head, stages | restored)
        lockfile.put_in_order(path, [run.stage_name for run in runs])
    return [f"{path.as_posix()}: {name}" for name in restored]


def _past_locks(path: str, git: Git) -> Iterator[tuple[str, dict[str, str]]]:
    """Every content of a dvc.lock up to HEAD, the newest first."""
    seen: set[str] = set()
    for commit in reversed(git.ancestry(git.head)) if git.head else ():
        entry = git.entry(commit, path)
        if entry and entry.oid not in seen:
            seen.add(entry.oid)
            yield lockfile.split(git.blob(entry.oid).decode("utf-8", "replace"))
