"""Configurations that are versions of a file in git, as people and agents make them who edit their trainer.

    runner: {candidate: [nano/train.py], files: [nano/prepare.py], ...}
    configs: {a1b2c3d: {commit: "a1b2c3d...", sha256: "..."}}

A run gets a checkout of its own: the fixed files as they lie in the study, and the candidate's files as the commit has
them. The digest in params.yaml is frozen with the configuration, so that a commit cannot come to mean other files.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from stages.domain import files
from stages.domain.command import CommandSettings, Scalar
from stages.domain.errors import Invalid, Refused, Unreadable
from stages.domain.study import Study
from stages.repo.git import Git, open_git
from stages.repo.objects import EXECUTABLE, FILE, GitRefused
from stages.runners import RunnerJson

#: A larger file is no program that somebody wrote.
MAX_FILE = 1 << 20
SHOWN_LINES, SHOWN_COLUMNS = 400, 200
#: The same diff on every machine, whatever its user has configured.
_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-indent-heuristic", "--diff-algorithm=myers", "-U3")


@dataclass(frozen=True)
class CandidateFiles:
    """A candidate: the full id of its commit; path and bytes of each file, sorted by path; the ids of their blobs."""

    commit: str
    contents: tuple[tuple[str, bytes], ...]
    blobs: tuple[str, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents, line ends read as LF."""
        return files.digest_of(self.contents)


def read_candidate(git: Git, settings: CommandSettings, commit: str) -> CandidateFiles:
    """A candidate's files at a commit. `GitRefused` where the commit, or a file in it, is not there.

    A commit of the trainer's own repository, fetched into that of the study, has the files without `runner.folder`.
    """
    full = git.resolve(commit)
    head = f"{settings.folder}/" if settings.folder else ""
    contents: list[tuple[str, bytes]] = []
    blobs: list[str] = []
    for path in sorted(settings.candidate or []):
        entry = git.entry(full, path) or (git.entry(full, path.removeprefix(head)) if head else None)
        if entry is None or entry.mode not in (FILE, EXECUTABLE):
            raise GitRefused(f"commit {full[:12]} has no file {path}")
        try:
            contents.append((path, git.blob(entry.oid, MAX_FILE)))
        except Unreadable as error:
            raise GitRefused(f"commit {full[:12]}: {path} has {str(error).partition(': ')[2]}") from None
        blobs.append(entry.oid)
    return CandidateFiles(full, tuple(contents), tuple(blobs))


def find_candidate_mismatch(git: Git, settings: CommandSettings, knobs: Mapping[str, Scalar]) -> tuple[str, str] | None:
    """(found, expected) where git does not hold the files that a configuration names; None where it does."""
    try:
        digest = read_candidate(git, settings, str(knobs.get("commit"))).digest
    except GitRefused as error:
        return str(error), "the files of runner.candidate at that commit"
    return (digest, str(knobs.get("sha256"))) if digest != knobs.get("sha256") else None


def describe_candidates(study: Study, settings: CommandSettings) -> dict[str, RunnerJson]:
    """By configuration: its commit, and how its files differ from the reference's. `Invalid` as in `check_out`."""
    reference = study.roles.get("reference")
    with closing(_open_git()) as git:
        versions = {name: _read_checked(git, settings, name, knobs) for name, knobs in study.configs.items()}
        base = versions.get(reference or "")
        return {
            name: {"commit": version.commit, "diff": _compare(git, base, version) if base else []}
            for name, version in versions.items()
        }


def check_out(settings: CommandSettings, knobs: Mapping[str, Scalar], folder: Path) -> None:
    """Make `folder` anew: the fixed files and the candidate's. `Invalid` where git does not hold what was frozen."""
    with closing(_open_git()) as git:
        version = _read_checked(git, settings, str(knobs.get("commit"))[:12], knobs)
    if folder.exists():
        shutil.rmtree(folder)
    for path, data in (*((path, Path(path).read_bytes()) for path in settings.files), *version.contents):
        files.write_whole(folder / path, data)


def _open_git() -> Git:
    git = open_git(Path())
    if git is None:
        raise Refused("runner.candidate: a configuration is a version in git, but there is no git repository here")
    return git


def _read_checked(git: Git, settings: CommandSettings, config: str, knobs: Mapping[str, Scalar]) -> CandidateFiles:
    try:
        version = read_candidate(git, settings, str(knobs.get("commit")))
    except GitRefused as error:
        raise Invalid(f"params.yaml: configs.{config}.commit: {error}") from None
    if knobs.get("sha256") != version.digest:
        was = knobs.get("sha256") or "nothing"
        raise Invalid(
            f"params.yaml: configs.{config}.sha256: found {was}, expected {version.digest}, the digest of "
            f"{', '.join(settings.candidate or [])} at {version.commit[:12]}"
        )
    return version


def _compare(git: Git, base: CandidateFiles, version: CandidateFiles) -> list[str]:
    """The lines of a unified diff from the reference to a candidate, at most SHOWN_LINES of them."""
    lines: list[str] = []
    for (path, _), before, after in zip(base.contents, base.blobs, version.blobs, strict=True):
        if before != after:
            shown = git.run("diff", *_DIFF, before, after).stdout.decode("utf-8", "replace").split("\n")[:-1]
            start = next((place for place, line in enumerate(shown) if line.startswith("@@")), len(shown))
            lines += [path, *(line[:SHOWN_COLUMNS] for line in shown[start:])]
    return lines if len(lines) <= SHOWN_LINES else [*lines[:SHOWN_LINES], f"... and {len(lines) - SHOWN_LINES} more"]
