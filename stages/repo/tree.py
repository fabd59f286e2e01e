"""The files under verification: those of the workspace, or those of a commit, read in one way.

    open_tree(Path("."), git, rev="v1.0")      the commit, and nothing of the workspace
    open_tree(Path("."), git, rev=None)        the workspace

A path is text relative to the root of the study, with '/'. A symbolic link is never followed: `read` refuses it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Protocol

from stages.domain.errors import Unreadable
from stages.repo.git import Git
from stages.repo.objects import FILE, LINK, REPOSITORY

MAX_BYTES = 256 << 20


class Tree(Protocol):
    """Read-only files."""

    #: What a person calls this tree: `the workspace`, or `commit 0123456789ab`.
    title: str

    def paths(self, under: str = "") -> list[str]:
        """The files under a folder, sorted, with '/'."""
        ...

    def mode(self, path: str) -> str | None:
        """Git's mode of what stands at a path (see `objects`), or None where nothing or a folder does."""
        ...

    def read(self, path: str) -> bytes | None:
        """The bytes of a file, or None where there is none; `Unreadable` for a link or a file that is too large."""
        ...


class CommitTree:
    """The files of one commit."""

    def __init__(self, git: Git, commit: str) -> None:
        self._git = git
        self.commit = commit
        self.title = f"commit {commit[:12]}"
        self._entries = git.files(commit)

    def paths(self, under: str = "") -> list[str]:
        """The files under a folder, sorted."""
        head = f"{under}/" if under else ""
        return sorted(path for path in self._entries if path.startswith(head))

    def mode(self, path: str) -> str | None:
        """Git's mode of what stands at a path."""
        entry = self._entries.get(path)
        return entry.mode if entry else None

    def changed(self, before: CommitTree | None) -> list[str]:
        """The files that another commit does not have, or has otherwise, sorted."""
        theirs = before._entries if before else {}
        both = self._entries.keys() | theirs.keys()
        return sorted(path for path in both if self._entries.get(path) != theirs.get(path))

    def read(self, path: str) -> bytes | None:
        """The bytes of a file of the commit."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        if entry.mode in (LINK, REPOSITORY):
            raise Unreadable.at(path, "a link, expected a file")
        return self._git.blob(entry.oid)


class WorkTree:
    """The files of the workspace. What DVC caches is not listed; `artifacts` and `site` have a check of their own."""

    #: Not part of what git holds, and large.
    SKIPPED = frozenset({".git", ".dvc", "artifacts", "site", "scratch", ".venv", "__pycache__", "node_modules"})

    def __init__(self, root: Path) -> None:
        self.root = root
        self.title = "the workspace"

    @cached_property
    def _files(self) -> list[str]:
        files = []
        for folder, folders, names in os.walk(self.root):
            base = Path(folder).relative_to(self.root)
            links = [name for name in folders if (Path(folder) / name).is_symlink() or self._repository(base / name)]
            folders[:] = [name for name in folders if name not in self.SKIPPED and name not in links]
            files += [(base / name).as_posix() for name in (*names, *links)]
        return sorted(files)

    def _repository(self, path: Path) -> bool:
        """Whether a folder is a repository of its own, which git would commit as a mere pointer."""
        return path.name not in self.SKIPPED and (self.root / path / ".git").exists()

    def paths(self, under: str = "") -> list[str]:
        """The files under a folder, sorted."""
        head = f"{under}/" if under else ""
        return [path for path in self._files if path.startswith(head)]

    def _link(self, path: str) -> bool:
        parts = Path(path).parts
        return any((self.root / Path(*parts[:depth])).is_symlink() for depth in range(1, len(parts) + 1))

    def mode(self, path: str) -> str | None:
        """Git's mode of a file, as `git add` would take it."""
        if self._link(path):
            return LINK
        if self._repository(Path(path)):
            return REPOSITORY
        return FILE if (self.root / path).is_file() else None

    def read(self, path: str) -> bytes | None:
        """The bytes of a file of the workspace."""
        if self._link(path):
            raise Unreadable.at(path, "a link, expected a file")
        place = self.root / path
        try:
            status = place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable.at(path, "not a regular file")
        if status.st_size > MAX_BYTES:
            raise Unreadable.at(path, f"{status.st_size} bytes, expected at most {MAX_BYTES}")
        return place.read_bytes()


def open_tree(root: Path, git: Git | None, commit: str | None) -> Tree:
    """The files of `commit` (a full id), or of the workspace."""
    if commit is None or git is None:
        return WorkTree(root)
    return CommitTree(git, commit)


def contents(tree: Tree, under: str) -> Iterable[tuple[str, bytes]]:
    """Every file under a folder with its bytes, by its path inside that folder, sorted."""
    for path in tree.paths(under):
        data = tree.read(path)
        if data is not None:
            yield path.removeprefix(f"{under}/"), data
