"""What DVC records of files and folders, computed from bytes; and the folders locks/ that a history holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from stages.domain import names
from stages.domain.files import md5_bytes
from stages.dvcfiles.cache import folder_md5
from stages.dvcfiles.ignore import IgnoredNames, parse_ignore
from stages.repo.folders import list_inside
from stages.repo.git import Git
from stages.repo.objects import FOLDER, REPOSITORY
from stages.repo.tree import MAX_SMALL, Tree, file_md5

LOCKS = names.LOCKS.as_posix()
#: What the paths of one past locks/ may take in memory: every different one of a history is listed.
MAX_LOCKS_LISTED = 1 << 20


@dataclass(frozen=True)
class Content:
    """What DVC records of bytes that git holds or that can be made again; `source` is what says so."""

    md5: str
    size: int
    nfiles: int | None
    source: str


def digest_bytes(data: bytes, source: str) -> Content:
    """What DVC records of a file with these bytes."""
    return Content(md5_bytes(data), len(data), None, source)


def digest_folder(inside: Iterable[tuple[str, Content]], source: str) -> Content:
    """What DVC records of a folder, from the paths inside it."""
    files = dict(inside)
    md5 = folder_md5((path, content.md5) for path, content in files.items())
    return Content(md5, sum(content.size for content in files.values()), len(files), source)


def digest_path(tree: Tree, path: str, patterns: IgnoredNames) -> Content | None:
    """What DVC would record of a file or folder of a tree; None where there is none."""
    if tree.mode(path) and (own := digest_file(tree, path)):
        return own
    inside = digest_inside(tree, path, patterns)
    return digest_folder(inside.items(), path) if inside else None


def digest_inside(tree: Tree, folder: str, patterns: IgnoredNames) -> dict[str, Content]:
    """What DVC records of the files of a folder that it looks at, by their path inside."""
    files = {path: content for path in tree.paths(folder) if (content := digest_file(tree, path))}
    return {path.removeprefix(f"{folder}/"): file for path, file in files.items() if not patterns.match(path)}


def digest_file(tree: Tree, path: str) -> Content | None:
    """What DVC would record of a file of a tree; its bytes are not kept."""
    digest = file_md5(tree, path)
    return Content(*digest, None, path) if digest else None


def ignored_patterns(tree: Tree) -> IgnoredNames:
    """What .dvcignore leaves out; `Invalid` where DVC does not read it, or it is longer than anybody writes."""
    return parse_ignore(tree.read(".dvcignore") or b"")


class LockFolder(Mapping[str, bytes]):
    """The files of a past locks/ by their path inside. Each is read when it is asked for: git may hold any content."""

    def __init__(self, git: Git, oid: str) -> None:
        self._git = git
        inside = list_inside(git, oid, MAX_LOCKS_LISTED)
        self._entries = {name: entry for name, entry in inside.items() if entry.mode != REPOSITORY}

    def __getitem__(self, name: str) -> bytes:
        return self._git.blob(self._entries[name].oid, MAX_SMALL)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def digest(self, patterns: IgnoredNames) -> Content:
        """What DVC records of the folder."""
        files = ((name, self._git.md5(entry.oid)) for name, entry in self._entries.items())
        inside = ((name, Content(*digest, None, name)) for name, digest in files)
        return digest_folder(((name, file) for name, file in inside if not patterns.match(f"{LOCKS}/{name}")), LOCKS)


def lock_folders(git: Git, commit: str) -> Iterator[tuple[list[str], LockFolder]]:
    """Every content that the folder locks/ had up to a commit, the newest first, with the commits that held it."""
    commits: dict[str, list[str]] = {}
    for ancestor in reversed(git.ancestry(commit)):
        folder = git.entry(ancestor, LOCKS)
        if folder and folder.mode == FOLDER:
            commits.setdefault(folder.oid, []).append(ancestor)
    for oid, holding in commits.items():
        yield holding, LockFolder(git, oid)
