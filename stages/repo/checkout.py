"""What git says of the files of the workspace: which it ignores, and which a sparse checkout leaves out."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from stages.domain.errors import Unreadable
from stages.repo.git import Git

#: How many bytes a .gitignore may have.
MAX_GITIGNORE = 4 << 20


def list_ignored(git: Git, paths: Iterable[str]) -> frozenset[str]:
    """Those of the paths of the workspace that git ignores and does not hold."""
    asked = list(paths)
    _refuse_long_gitignores(git.root, asked)
    text = b"".join(os.fsencode(path) + b"\0" for path in asked)
    done = git.run("check-ignore", "-z", "--stdin", stdin=text) if text else None
    if done is None or done.returncode > 1:
        return frozenset()
    return frozenset(map(os.fsdecode, filter(None, done.stdout.split(b"\0"))))


def _refuse_long_gitignores(root: Path, paths: list[str]) -> None:
    """`Unreadable` for a .gitignore that is longer than anybody writes: git itself takes gigabytes for one."""
    folders = {parent for path in paths for parent in Path(path).parents}
    for place in sorted(folder / ".gitignore" for folder in folders):
        with contextlib.suppress(OSError):
            size = (root / place).stat().st_size
            if size > MAX_GITIGNORE:
                raise Unreadable.at(place.as_posix(), f"{size} bytes, expected at most {MAX_GITIGNORE}")


def list_left_out(git: Git, *paths: str) -> list[str]:
    """The files under some paths that a sparse checkout leaves out of the workspace."""
    if git.run("config", "--type=bool", "--get", "core.sparseCheckout").stdout.strip() != b"true":
        return []
    listed = git.run("ls-files", "-t", "-z", "--", *paths).stdout.split(b"\0")
    files = [os.fsdecode(line[2:]) for line in listed if line.startswith(b"S ")]
    return [file for file in files if not os.path.lexists(git.root / file)]
