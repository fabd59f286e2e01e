"""What DVC made that is here: in the workspace or in its cache, trusted in nothing and hashed again.

Outputs(root, recorded, workspace=True).files("artifacts/winner")      the files whose content is the recorded one
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, names
from stages.domain.errors import Unreadable
from stages.dvcfiles.config import BadConfig, read_config
from stages.dvcfiles.lockfile import LockedFile

MAX_LISTING = 256 << 20
_MD5 = re.compile(r"[0-9a-f]{32}")


def cache_folder(root: Path) -> Path:
    """Where DVC keeps files by digest: `.dvc/cache/files/md5`, or what `dvc cache dir` was set to."""
    try:
        configured = read_config(root / ".dvc").get("cache", {}).get("dir", "")
    except BadConfig:
        configured = ""
    folder = root / ".dvc" / (configured or "cache")
    return folder / "files" / "md5"


def artifacts_present(root: Path) -> bool:
    """Whether there is anything to check at the depth `artifacts`."""
    cache = cache_folder(root)
    return (root / names.RECORDS).is_dir() or (cache.is_dir() and any(cache.iterdir()))


def md5_file(path: Path) -> str:
    """MD5 (hex) of a regular file. DVC may have linked it; a device or a pipe behind a link would never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise Unreadable.at(path.as_posix(), "no regular file, expected one")
    return files.md5_file(path)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def is_here(path: Path) -> bool:
    """Whether something has this path. `OSError` where nobody can tell, which is not the same as nothing."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def files_in(folder: Path) -> dict[str, Path]:
    """The files of a folder on this disk, by their paths inside it; empty where there is none.

    `OSError` for one that cannot be read, which is not an empty one.
    """
    inside: dict[str, Path] = {}
    for place, folders, file_names in os.walk(folder, onerror=_raise_unless_missing):
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise Unreadable.at((Path(place) / name).as_posix(), "a link to a folder, expected the folder")
        for name in file_names:
            file = Path(place) / name
            inside[file.relative_to(folder).as_posix()] = file
    return inside


def folder_md5(contents: Iterable[tuple[str, str]]) -> str:
    """The digest that DVC gives a folder, from the relative paths and MD5 of its files."""
    listed = [{"md5": md5, "relpath": path} for path, md5 in sorted(contents)]
    return files.md5_bytes(json.dumps(listed, sort_keys=True).encode("utf-8")) + ".dir"


def md5_folder(folder: Path) -> str:
    """The digest that DVC would give a folder on this disk."""
    return folder_md5((name, md5_file(file)) for name, file in files_in(folder).items())


def md5_path(path: Path) -> str:
    """The digest that DVC would give a file or a folder on this disk."""
    return md5_folder(path) if path.is_dir() else md5_file(path)


class Cache:
    """DVC's cache: every object is hashed again, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, str | None] = {}

    def path(self, md5: str) -> Path:
        """Where the object of a digest lies."""
        return self._folder / md5[:2] / md5[2:]

    def digest(self, md5: str) -> str | None:
        """The real digest of the object that is stored under `md5`; None where there is none."""
        if md5 not in self._digests:
            path = self.path(md5)
            self._digests[md5] = md5_file(path) if is_here(path) else None
        return self._digests[md5]

    def listing(self, md5: str) -> dict[str, str]:
        """The MD5 of every file in a stored folder, by path. `Unreadable` where the listing is none, or too large."""
        path = self.path(md5)
        if (size := path.stat().st_size) > MAX_LISTING:
            raise Unreadable.at(path.as_posix(), f"{size} bytes, expected the listing of a folder")
        try:
            value: Any = canonical.loads(path.read_bytes())
            listed = {str(item["relpath"]): str(item["md5"]) for item in value}
        except (canonical.NotCanonical, TypeError, KeyError):
            raise Unreadable.at(path.as_posix(), "no listing of a folder, which its name says that it is") from None
        if wrong := [name for name, digest in listed.items() if not _MD5.fullmatch(digest)]:
            raise Unreadable.at(path.as_posix(), f"no digest for {wrong[0]!r}")
        return listed


class Outputs:
    """Recorded outputs (by path) whose very content is here: in the workspace, where it counts, or in the cache."""

    def __init__(self, root: Path, recorded: Mapping[str, LockedFile]) -> None:
        self._root = root
        self.recorded = recorded
        self.cache = Cache(cache_folder(root))

    def files(self, path: str) -> dict[str, Path] | None:
        """The files of a folder that some stage wrote, by their paths inside it; None where they are not here."""
        output = self.recorded.get(path)
        if output is None or output.md5 is None:
            return None
        folder = self._root / path
        if folder.is_dir() and md5_folder(folder) == output.md5:  # good for any commit that records this digest
            return files_in(folder)
        if self.cache.digest(output.md5) != output.md5.removesuffix(".dir"):
            return None
        listed = self.cache.listing(output.md5)
        complete = all(self.cache.digest(md5) == md5 for md5 in listed.values())
        return {name: self.cache.path(md5) for name, md5 in listed.items()} if complete else None
