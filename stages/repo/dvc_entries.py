"""What git holds of the dvc.lock files, beside what stands here: what is new in them, and what can be brought back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from stages.domain import locks, names
from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes
from stages.domain.records import Record, parse_hindsight, parse_ledger
from stages.domain.runs import Run, all_runs, hindsight_runs
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


def find_committed_evidence(git: Git, changed: Iterable[str]) -> list[str]:
    """Those of the changed files that are a dvc.lock whose records are all in HEAD's ledger.

    Entries that `restore_entries` brought back: evidence that git holds already, and not what was just trained.
    """
    dvc_locks = [path for path in changed if path.endswith("/dvc.lock")]
    committed = {md5_bytes(line) for name in ("runs.jsonl", "hindsight.jsonl") for line in _lines_at_head(git, name)}
    return [path for path in dvc_locks if (records := _recorded(Path(path))) and records <= committed]


def _lines_at_head(git: Git, name: str) -> list[bytes]:
    entry = git.entry(git.head, f"{names.LEDGER.as_posix()}/{name}") if git.head else None
    return [line + b"\n" for line in git.blob(entry.oid).split(b"\n")] if entry else []


def _recorded(path: Path) -> set[str | None]:
    """The MD5 of the records in a dvc.lock; none where it is gone or cannot be read."""
    try:
        stages = lockfile.parse(path.read_bytes(), path.as_posix()) if path.is_file() else {}
    except Invalid:
        return set()
    return {file.md5 for stage in stages.values() for file in stage.outs.values() if file.path.endswith(".json")}


def restore_entries(study: Study) -> list[str]:
    """Bring back, from git, the dvc.lock entries of runs whose records the ledger holds under the locks of today.

    Returns the stages that are back. Only an entry that names the very bytes of the record is taken.
    """
    records = [*_read_records("runs.jsonl", parse_ledger), *_read_records("hindsight.jsonl", parse_hindsight)]
    git = open_git(Path()) if records else None
    if git is None:
        return []
    digests = {rung: lock.digest for rung in study.rungs if (lock := locks.read(names.gate_of(rung)))}
    recorded = {record.id: record.md5 for record in records if record.lock == digests.get(record.rung)}
    declared: dict[Path, list[Run]] = {}
    for run in (*all_runs(study), *hindsight_runs(study)):
        declared.setdefault(run.lock_path, []).append(run)
    try:
        return [entry for path, runs in declared.items() for entry in _restore_file(path, runs, recorded, git)]
    finally:
        git.close()


def _read_records(name: str, parse: Callable[[bytes, str], Iterable[tuple[Record, bytes]]]) -> list[Record]:
    """The records of a ledger; none where it is not there or cannot be read, which `promotion verify` reports."""
    path = names.LEDGER / name
    try:
        return [record for record, _ in parse(path.read_bytes(), path.as_posix())] if path.is_file() else []
    except Invalid:
        return []


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
