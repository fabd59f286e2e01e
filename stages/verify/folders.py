"""What DVC records of files and folders, computed from bytes; and the folders locks/ that a history holds."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from stages.domain import names
from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes
from stages.dvcfiles.cache import folder_md5
from stages.repo.git import Git
from stages.repo.objects import FOLDER
from stages.repo.tree import Tree, contents

LOCKS = names.LOCKS.as_posix()
MOST_WILDCARDS = 1000


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
    inside = dict(not_ignored(contents(tree, path), patterns))
    return digest_folder(inside.items(), path) if inside else None


@dataclass(frozen=True)
class IgnoredNames:
    """The patterns of .dvcignore, each for the name of a file or folder: what DVC leaves out of a folder's digest.

    There may be as many names as people like; a pattern with a wildcard costs time at every file.
    """

    names: frozenset[str]
    wildcards: tuple[str, ...]

    def match(self, path: str) -> bool:
        """Whether a file, by its path inside a folder, is left out."""
        return any(
            os.path.normcase(part) in self.names or any(fnmatch(part, pattern) for pattern in self.wildcards)
            for part in path.split("/")
        )


def ignored_patterns(tree: Tree) -> IgnoredNames:
    """The patterns of .dvcignore; `Invalid` where there are more wildcards than anybody writes."""
    text = (tree.read(".dvcignore") or b"").decode("utf-8", "replace")
    lines = list(io.StringIO(text, newline=None))  # DVC reads it as Python reads a text file
    patterns = {line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")}
    wildcards = tuple(sorted(pattern for pattern in patterns if any(sign in pattern for sign in "*?[")))
    if len(wildcards) > MOST_WILDCARDS:
        raise Invalid.at(
            ".dvcignore", f"found {len(wildcards)} patterns with wildcards, expected at most {MOST_WILDCARDS}"
        )
    return IgnoredNames(frozenset(map(os.path.normcase, patterns.difference(wildcards))), wildcards)


def not_ignored(inside: Iterable[tuple[str, bytes]], patterns: IgnoredNames) -> Iterator[tuple[str, Content]]:
    """What DVC records of the files of a folder that it looks at, by their path inside."""
    for name, data in inside:
        if not patterns.match(name):
            yield name, digest_bytes(data, name)


def digest_files(files: Iterable[tuple[str, bytes]], patterns: IgnoredNames) -> Content:
    """What DVC records of a folder, from the bytes of its files by their path inside."""
    return digest_folder(not_ignored(files, patterns), LOCKS)


def lock_folders(git: Git, commit: str) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """Every content that the folder locks/ had up to a commit, the newest first, with the commits that held it."""
    commits: dict[str, list[str]] = {}
    for ancestor in reversed(git.ancestry(commit)):
        folder = git.entry(ancestor, LOCKS)
        if folder and folder.mode == FOLDER:
            commits.setdefault(folder.oid, []).append(ancestor)
    for oid, holding in commits.items():
        yield holding, {name: git.blob(file.oid) for name, file in git.inside(oid).items()}
