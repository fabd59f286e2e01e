"""Which commits of a history, of a range or of a push could change a verdict, and what is to be compared with what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stages.domain.errors import Refused
from stages.repo.folders import scan_folder
from stages.repo.git import UNSHALLOW, Git
from stages.repo.objects import GitAbsent
from stages.repo.touching import digest_parts, is_folder, list_touching, scan_root, watch_paths
from stages.verify.locks import PARAMS

#: A commit that touches none of these cannot change a verdict that rests on git alone.
_VERDICT_FOLDERS = (b"locks", b"ledger", b"trainer", b"stages")
#: What a commit of the study's history touches, beside every dvc.lock in stages/.
_HISTORY_PATHS = (PARAMS, "locks", "ledger", "dvc.lock")
_COMMIT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True)
class RangeBounds:
    """A range of commits: its last one, those whose ancestors are left out, and the one to compare with."""

    last: str
    excluded: tuple[str, ...]
    base: str | None

    @property
    def arguments(self) -> list[str]:
        """The range as `git rev-list` takes it."""
        return ["--end-of-options", self.last, *(f"^{commit}" for commit in self.excluded)]


def find_bounds(git: Git, revisions: str, known: Sequence[str]) -> RangeBounds:
    """The bounds of `A..B`. Where A is all zeros or not here, `known` says what was verified before."""
    start, dots, end = revisions.partition("..")
    if not dots or not end or end.startswith("."):
        raise Refused(f"--range {revisions!r}: expected A..B, two commits")
    last = git.resolve(end)
    if start and (git.holds(start) or not _COMMIT_ID.fullmatch(start)):
        first = git.resolve(start)
        return RangeBounds(last, (first,), git.merge_base(first, last) or first)
    excluded = [git.resolve(rev) for rev in known if git.holds(rev)]
    bases = {commit: git.merge_base(commit, last) for commit in excluded}
    # A revision that holds B itself, such as the branch that was pushed, says nothing of what was there before.
    older = [commit for commit in excluded if bases[commit] not in (None, last)]
    return RangeBounds(last, tuple(older), next((bases[commit] for commit in older), None))


def refuse_cut(git: Git, revisions: list[str], what: str) -> None:
    """Refuse to answer for commits of which a shallow clone hides some."""
    if not git.shallow:
        return
    listed = set(git.ask("rev-list", *revisions, "--").split())
    if hidden := sorted(oid for oid in git.shallow & listed if git.commit(oid).parents):
        message = f"{what}: this shallow clone is cut off at commit {hidden[0][:12]}, and what came before is hidden"
        raise GitAbsent(message, UNSHALLOW)


def list_history(git: Git, commit: str) -> list[str]:
    """The commits up to one that touched rules, evidence, decisions or a dvc.lock, oldest first."""
    state_of = watch_paths(git, _HISTORY_PATHS, ("dvc.lock",))
    return list_touching(git, ["--end-of-options", commit], state_of)[::-1]


def list_candidates(git: Git, revisions: list[str]) -> list[str]:
    """The commits of a range that could change a verdict, oldest first: files at the root, and what Python imports."""
    packages: dict[bytes, bytes] = {}

    def package_files(folder: bytes) -> bytes:
        if folder not in packages:
            files = [entry for entry in scan_folder(git, folder.hex()) if entry[1].startswith(b"__init__.")]
            packages[folder] = digest_parts(files)
        return packages[folder]

    def state_of(commit: str) -> bytes:
        parts = []
        for mode, name, content in scan_root(git, commit):
            if not is_folder(mode) or name in _VERDICT_FOLDERS:
                parts.append((mode, name, content))
            elif inside := package_files(content):
                parts.append((mode, name, inside))
        return digest_parts(parts)

    return list_touching(git, revisions, state_of)[::-1]


def from_first_study(git: Git, commits: list[str]) -> list[str]:
    """The commits from the first one on that holds a study."""
    first = find_first_study(git, commits)
    if first is None:
        raise Refused("no commit here holds a study: none has params.yaml")
    return commits[first:]


def find_first_study(git: Git, commits: list[str]) -> int | None:
    """The place of the first commit that holds a study."""
    return next((at for at, commit in enumerate(commits) if git.entry(commit, PARAMS)), None)
