"""What DVC records of files and folders, computed from bytes; and the folders locks/ that a history holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stages.domain import names
from stages.domain.files import md5_bytes
from stages.dvcfiles.cache import folder_md5
from stages.dvcfiles.ignore import IgnoredNames, parse_ignore
from stages.repo.git import Git
from stages.repo.objects import FOLDER
from stages.repo.tree import Tree, contents

LOCKS = names.LOCKS.as_posix()


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
    data = tree.read(path) if tree.mode(path) else None
    if data is not None:
        return digest_bytes(data, path)
    inside = dict(not_ignored(path, contents(tree, path), patterns))
    return digest_folder(inside.items(), path) if inside else None


def ignored_patterns(tree: Tree) -> IgnoredNames:
    """What .dvcignore leaves out; `Invalid` where DVC does not read it, or it is longer than anybody writes."""
    return parse_ignore(tree.read(".dvcignore") or b"")


def not_ignored(
    folder: str, inside: Iterable[tuple[str, bytes]], patterns: IgnoredNames
) -> Iterator[tuple[str, Content]]:
    """What DVC records of the files of a folder that it looks at, by their path inside."""
    for name, data in inside:
        if not patterns.match(f"{folder}/{name}"):
            yield name, digest_bytes(data, name)


def digest_files(files: Iterable[tuple[str, bytes]], patterns: IgnoredNames) -> Content:
    """What DVC records of the folder locks/, from the bytes of its files by their path inside."""
    return digest_folder(not_ignored(LOCKS, files, patterns), LOCKS)


def lock_folders(git: Git, commit: str) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """Every content that the folder locks/ had up to a commit, the newest first, with the commits that held it."""
    commits: dict[str, list[str]] = {}
    for ancestor in reversed(git.ancestry(commit)):
        folder = git.entry(ancestor, LOCKS)
        if folder and folder.mode == FOLDER:
            commits.setdefault(folder.oid, []).append(ancestor)
    for oid, holding in commits.items():
        yield holding, {name: git.blob(file.oid) for name, file in git.inside(oid).items()}
