"""The files under verification: those of the workspace, or those of a commit, read in one way.

    open_tree(Path("."), git, rev="v1.0")      the commit, and nothing of the workspace
    open_tree(Path("."), git, rev=None)        the workspace

A path is text relative to the root of the study, with '/'. A symbolic link is never followed: `read` refuses it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

from stages.domain.errors import Unreadable
from stages.domain.files import md5_bytes
from stages.repo.checkout import list_ignored
from stages.repo.folders import list_files
from stages.repo.git import Git
from stages.repo.objects import FILE, LINK, REPOSITORY, GitAbsent

#: Any other file, such as one of a trainer of one's own.
MAX_BYTES = 100 << 20
#: Files that grow with the number of runs, and files that people write.
MAX_LEDGER, MAX_SMALL = 64 << 20, 4 << 20
#: A file of code, and all code of a tree that is read.
MAX_CODE_FILE, MAX_CODE = 16 << 20, 64 << 20
CODE_FOLDERS = ("trainer/", "stages/", "report/")
#: The ends of compiled code that Python imports.
COMPILED = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib")
Answer = TypeVar("Answer")
_OWN = re.compile(
    r"locks/gate[1-9][0-9]?\.yaml(?:\.sig)?|ledger/[a-z]+\.jsonl?|(?:.+/)?(?:dvc\.(?:yaml|lock)|README\.md|\.gitignore)"
)
#: A module that Python compiled for itself, or is about to.
_BYTE_CODE = re.compile(r"[^/]+\.cpython-[0-9]+(?:\.opt-[12]|-pytest-[0-9a-z.]+)*\.pyc(?:\.[0-9]+)?", re.A)


def _is_own(path: str) -> bool:
    """Whether a file is code, or has a name of the study's own."""
    return path.endswith((".py", *COMPILED)) or _OWN.fullmatch(path) is not None


def _entries_of(folder: Path) -> list[tuple[str, bool]]:
    """The names in a folder, and whether each is a folder; a link is none.

    A folder that cannot be read is not an empty one; one that has gone since it was listed is none.
    """
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except FileNotFoundError:
        return []


def limit_of(path: str) -> int:
    """How many bytes a file may have that is read whole."""
    if path.endswith((".jsonl", "dvc.lock")):
        return MAX_LEDGER
    if path.startswith(("locks/", ".")) or path in ("params.yaml", "dvc.yaml") or path.endswith("/dvc.yaml"):
        return MAX_SMALL
    if path.startswith("ledger/"):
        return MAX_LEDGER
    return MAX_CODE_FILE if path.startswith(CODE_FOLDERS) else MAX_BYTES


class _CodeBudget:
    """How many bytes of code were read of a tree; each file counts once, and each name of the same content as well."""

    def __init__(self) -> None:
        self._counted: set[str] = set()
        self._bytes = 0

    def add(self, path: str, size: int) -> None:
        """Count a file that is read; `Unreadable` where it is more than all code may have."""
        if not path.startswith(CODE_FOLDERS) or path.endswith(("/dvc.yaml", "/dvc.lock")) or path in self._counted:
            return
        self._counted.add(path)
        self._bytes += size
        if self._bytes > MAX_CODE:
            folders = ", ".join(CODE_FOLDERS)
            message = f"{self._bytes} bytes of code up to this file, expected at most {MAX_CODE} in {folders}"
            raise Unreadable.at(path, message)


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
        self._entries = list_files(git, commit)
        self._code = _CodeBudget()

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
        data = self._ask(path, self._git.blob)
        if data is not None:
            self._code.add(path, len(data))
        return data

    def md5(self, path: str) -> tuple[str, int] | None:
        """The MD5 and the size of a file of the commit; content that stands under several names is read once."""
        digest = self._ask(path, self._git.md5)
        if digest is not None:
            self._code.add(path, digest[1])
        return digest

    def _ask(self, path: str, question: Callable[[str, int], Answer]) -> Answer | None:
        """What git answers of the content of a file, which may have so many bytes."""
        entry = self._entries.get(path)
        if entry is None:
            return None
        if entry.mode in (LINK, REPOSITORY):
            raise Unreadable.at(path, "a link, expected a file")
        try:
            return question(entry.oid, limit_of(path))
        except GitAbsent as absent:
            raise GitAbsent(f"{path} of {self.title}: {absent.reason}", absent.enable) from None
        except Unreadable as error:
            raise Unreadable.at(path, str(error)) from None


class WorkTree:
    """The files of the workspace. What DVC caches is not listed; `artifacts` and `site` have a check of their own."""

    #: Folders at the root that are not part of what git holds, and large. Below the root the same names are looked at.
    SKIPPED = frozenset({".git", ".dvc", "artifacts", "site", "scratch", ".venv", "node_modules"})
    #: Folders in which a file that git ignores is none of the study's: no commit holds it, and nothing here reads it.
    _KEPT_BY_GIT = ("locks/", "ledger/", "stages/", "trainer/")

    def __init__(self, root: Path, git: Git | None = None) -> None:
        self.root = root
        self.title = "the workspace"
        self._git = git
        self._code = _CodeBudget()

    @cached_property
    def ignored(self) -> frozenset[str]:
        """The files that git ignores in folders that it keeps, such as an editor's copies.

        Code that Python would import and names that the study itself has are not left out, whatever git thinks of them.
        """
        suspects = [path for path in self._present if path.startswith(self._KEPT_BY_GIT) and not _is_own(path)]
        return list_ignored(self._git, suspects) if self._git and suspects else frozenset()

    @cached_property
    def _files(self) -> list[str]:
        return [path for path in self._present if path not in self.ignored]

    @cached_property
    def _present(self) -> list[str]:
        files, waiting = [], [""]
        while waiting:  # `os.walk` calls itself, as deep as folders are nested
            base = waiting.pop()
            compiled = base.endswith("__pycache__/")  # Python writes into it whenever it runs
            for name, is_folder in _entries_of(self.root / base):
                path = f"{base}{name}"
                if is_folder and not self._repository(path):
                    waiting += [f"{path}/"] if path not in self.SKIPPED else []
                elif is_folder or not (compiled and _BYTE_CODE.fullmatch(name)):
                    files.append(path)
        return sorted(files)

    def _repository(self, path: str) -> bool:
        """Whether a folder is a repository of its own, which git would commit as a mere pointer."""
        return path not in self.SKIPPED and os.path.lexists(self.root / path / ".git")

    def paths(self, under: str = "") -> list[str]:
        """The files under a folder, sorted."""
        if under and not os.path.lexists(self.root / under):  # no need to walk through what may be no study at all
            return []
        head = f"{under}/" if under else ""
        return [path for path in self._files if path.startswith(head)]

    def _link(self, path: str) -> bool:
        parts = Path(path).parts
        return any((self.root / Path(*parts[:depth])).is_symlink() for depth in range(1, len(parts) + 1))

    def mode(self, path: str) -> str | None:
        """Git's mode of a file, as `git add` would take it."""
        if self._link(path):
            return LINK
        if self._repository(Path(path).as_posix()):
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
        if status.st_size > limit_of(path):
            raise Unreadable.at(path, f"{status.st_size} bytes, expected at most {limit_of(path)}")
        self._code.add(path, status.st_size)
        try:
            return place.read_bytes()
        except FileNotFoundError:  # it went since
            return None


def open_tree(root: Path, git: Git | None, commit: str | None) -> Tree:
    """The files of `commit` (a full id), or of the workspace."""
    if commit is None or git is None:
        return WorkTree(root, git)
    return CommitTree(git, commit)


def file_md5(tree: Tree, path: str) -> tuple[str, int] | None:
    """The MD5 and the size of a file; None where there is none. `Unreadable` as in `read`."""
    if isinstance(tree, CommitTree):
        return tree.md5(path)
    data = tree.read(path)
    return None if data is None else (md5_bytes(data), len(data))


def contents(tree: Tree, under: str) -> Iterable[tuple[str, bytes]]:
    """Every file under a folder with its bytes, by its path inside that folder, sorted."""
    for path in tree.paths(under):
        data = tree.read(path)
        if data is not None:
            yield path.removeprefix(f"{under}/"), data
