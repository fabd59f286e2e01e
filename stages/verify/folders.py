"""What DVC records of files and folders, computed from bytes; and the folders locks/ that a history holds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from stages.domain import names
from stages.domain.files import md5_bytes
from stages.dvcfiles.cache import folder_md5
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


def digest_path(tree: Tree, path: str, patterns: list[str]) -> Content | None:
    """What DVC would record of a file or folder of a tree; None where there is none."""
    data = tree.read(path) if tree.mode(path) else None
    if data is not None:
        return digest_bytes(data, path)
    inside = dict(not_ignored(contents(tree, path), patterns))
    return digest_folder(inside.items(), path) if inside else None


def ignored_patterns(tree: Tree) -> list[str]:
    """The patterns of .dvcignore, which are plain names: what DVC leaves out of a folder's digest."""
    text = (tree.read(".dvcignore") or b"").decode("utf-8", "replace")
    lines = list(io.StringIO(text, newline=None))  # DVC reads it as Python reads a text file
    return [line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")]


def not_ignored(inside: Iterable[tuple[str, bytes]], patterns: list[str]) -> Iterator[tuple[str, Content]]:
    """What DVC records of the files of a folder that it looks at, by their path inside."""
    for name, data in inside:
        if not any(fnmatch(part, pattern) for part in name.split("/") for pattern in patterns):
            yield name, digest_bytes(data, name)


def digest_files(files: Iterable[tuple[str, bytes]], patterns: list[str]) -> Content:
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
