"""What DVC made that is here: in the workspace or in its cache, believed in nothing and hashed again.

Outputs(case).files("artifacts/winner")      the files of an output whose content is the noted one
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Any

from stages.domain import canonical, names
from stages.dvcfiles.lockfile import Item
from stages.dvcfiles.pipeline import folder_md5
from stages.repo.tree import Unreadable
from stages.verify.check import Case
from stages.verify.dvc_locks import Noted

MAX_LISTING = 256 << 20
_MD5 = re.compile(r"[0-9a-f]{32}")


def cache_folder(root: Path) -> Path:
    """Where DVC keeps files by digest: `.dvc/cache/files/md5`, or what `dvc cache dir` was set to."""
    place = root / ".dvc" / "cache"
    for name in ("config", "config.local"):
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(root / ".dvc" / name, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            continue
        if told := parser.get("cache", "dir", fallback=""):
            place = root / ".dvc" / told
    return place / "files" / "md5"


def present(root: Path) -> bool:
    """Whether there is anything to check at the depth `artifacts`."""
    cache = cache_folder(root)
    return (root / names.RECORDS).is_dir() or (cache.is_dir() and any(cache.iterdir()))


def md5_file(path: Path) -> str:
    """MD5 (hex) of a file, read in pieces. DVC may have linked it; a device or a pipe behind a link would never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise Unreadable.at(path.as_posix(), "no regular file, expected one")
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def files_here(folder: Path) -> dict[str, Path]:
    """The files of a folder on this disk, by their paths inside it."""
    found: dict[str, Path] = {}
    for place, folders, inside in os.walk(folder):
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise Unreadable.at((Path(place) / name).as_posix(), "a link to a folder, expected the folder")
        for name in inside:
            file = Path(place) / name
            found[file.relative_to(folder).as_posix()] = file
    return found


def folder_here(folder: Path) -> str:
    """The digest that DVC would give a folder on this disk."""
    return folder_md5((name, md5_file(file)) for name, file in files_here(folder).items())


def digest_here(path: Path) -> str:
    """The digest that DVC would give a file or a folder on this disk."""
    return folder_here(path) if path.is_dir() else md5_file(path)


class Cache:
    """DVC's cache: every object is hashed again, once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._good: dict[str, str | None] = {}

    def path(self, md5: str) -> Path:
        """Where the object of a digest lies."""
        return self._folder / md5[:2] / md5[2:]

    def found(self, md5: str) -> str | None:
        """The real digest of the object that is stored under `md5`; None where there is none."""
        if md5 not in self._good:
            path = self.path(md5)
            self._good[md5] = md5_file(path) if path.is_file() else None
        return self._good[md5]

    def listing(self, md5: str) -> dict[str, str]:
        """The MD5 of every file in a stored folder, by path; empty where the listing is not one."""
        path = self.path(md5)
        if path.stat().st_size > MAX_LISTING:
            return {}
        try:
            value: Any = canonical.loads(path.read_bytes())
            listed = {str(one["relpath"]): str(one["md5"]) for one in value}
        except (canonical.NotCanonical, TypeError, KeyError):
            return {}
        return {name: one for name, one in listed.items() if _MD5.fullmatch(one)}


class Outputs:
    """The outputs that dvc.lock notes, where their very content is here: in the workspace or in the cache."""

    def __init__(self, case: Case) -> None:
        self._root, self._workspace = case.root, case.commit is None
        self.cache = Cache(cache_folder(case.root))
        self.items: dict[str, Item] = {
            item.path: item for _, _, stage in case.get(Noted).stages() for item in stage.outs.values()
        }

    def files(self, path: str) -> dict[str, Path] | None:
        """The files of a folder that some stage wrote, by their paths inside it; None where they are not here."""
        item = self.items.get(path)
        if item is None or item.md5 is None:
            return None
        place = self._root / path
        if place.is_dir() and folder_here(place) == item.md5:  # good for any commit that notes this digest
            return files_here(place)
        if self.cache.found(item.md5) != item.md5.removesuffix(".dir"):
            return None
        listed = self.cache.listing(item.md5)
        whole = all(self.cache.found(md5) == md5 for md5 in listed.values())
        return {name: self.cache.path(md5) for name, md5 in listed.items()} if whole else None
