"""Checks V24 and V25: what lies in the workspace and in DVC's cache, against dvc.lock and the locks.

Made by `promotion verify` where artifacts are present; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

import configparser
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.audit.digests import Noted
from stages.audit.dvclock import Item
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.pipeline import folder_md5
from stages.audit.rules import Locks
from stages.domain import canonical, files, names

PULL = "dvc pull"
MAX_LISTING = 256 << 20
_ONLY_CODE = ("stages/", "ledger/")


class ArtifactDiffers(CheckFailed):
    """V24: a file in the workspace or in the cache is not the one that dvc.lock notes."""


class CorpusDiffers(CheckFailed):
    """V25: the corpus is not the frozen one."""


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
    """MD5 (hex) of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class Cache:
    """DVC's cache, believed in nothing: every object is hashed again, once."""

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

    def listing(self, md5: str) -> list[tuple[str, str]]:
        """(path, MD5) of the files in a stored folder; empty where the listing is not one."""
        path = self.path(md5)
        if path.stat().st_size > MAX_LISTING:
            return []
        try:
            value: Any = canonical.loads(path.read_bytes())
            return [(str(one["relpath"]), str(one["md5"])) for one in value]
        except (canonical.NotCanonical, TypeError, KeyError):
            return []


def artifacts(case: Case) -> Iterator[Problem]:
    """V24: every output that is here, in the cache or in the workspace, is the one that dvc.lock notes."""
    outs = [
        (path, name, item)
        for path, name, stage in case.get(Noted).stages()
        for item in stage.outs.values()
        if item.md5 and not item.path.startswith(_ONLY_CODE)
    ]
    cache, seen, absent = Cache(cache_folder(case.root)), 0, 0
    for path, name, item in outs:
        cached = list(_cached(cache, item))
        here = case.commit is None and os.path.lexists(case.root / item.path)
        seen += bool(here or cached)
        absent += not (here or cached)
        at = f"/stages/{name}/outs/{item.path.replace('/', '~1')}/md5"
        for object_, was in cached:
            if was != object_:
                found = f"content of digest {was}"
                yield Problem(str(cache.path(object_)), found, object_, "the cache was changed", pointer=None)
        if here and (was := _here(case.root / item.path)) != item.md5:
            yield Problem(path, f"{was} at {item.path}", str(item.md5), "the file was changed", pointer=at)
    if not seen:
        raise Skip("no output is here", PULL)
    if absent:
        case.note(f"{absent} of {len(outs)} outputs are not here; `{PULL}` brings them")


def _cached(cache: Cache, item: Item) -> Iterator[tuple[str, str]]:
    """(digest, real digest) of the objects of an output that the cache holds."""
    md5 = str(item.md5)
    found = cache.found(md5)
    if found is None:
        return
    if not md5.endswith(".dir"):
        yield md5, found
        return
    yield md5, f"{found}.dir"
    for _, inside in cache.listing(md5):
        real = cache.found(inside)
        if real is not None:
            yield inside, real


def _here(path: Path) -> str:
    if path.is_dir():
        return folder_here(path)
    return md5_file(path) if path.is_file() else "no file"


def folder_here(path: Path) -> str:
    """The digest that DVC would give a folder on this disk."""
    found = []
    for folder, _, inside in os.walk(path):
        for name in inside:
            file = Path(folder) / name
            found.append((file.relative_to(path).as_posix(), md5_file(file)))
    return folder_md5(found)


def corpus(case: Case) -> Iterator[Problem]:
    """V25: the manifest here is the one that the locks froze, and every file of the corpus is the manifest's."""
    folder, path = case.root / names.CORPUS, (names.CORPUS / "manifest.json").as_posix()
    data = _manifest(case, path)
    if data is None:
        raise Skip("the corpus is not here", f"{PULL} corpus")
    found = files.sha256_bytes(data)
    for gate, lock in case.get(Locks).by_gate.items():
        if lock.frozen.corpus != found:
            meaning = f"{gate} was frozen for another text"
            yield Problem(f"locks/{gate}.yaml", lock.frozen.corpus, found, meaning, pointer="/frozen/corpus")
    value = canonical.loads(data)
    parts = [value["tokenizer"], value["token_bytes"], *value["splits"].values()]
    for part in parts if case.commit is None else ():
        file = folder / part["file"]
        if file.parent != folder or not file.is_file():
            case.note(f"{part['file']} of the corpus is not here; `{PULL} corpus` brings it")
        elif (was := files.sha256_file(file)) != part["sha256"]:
            where = f"{names.CORPUS.as_posix()}/{part['file']}"
            yield Problem(where, was, part["sha256"], "runs were not made on this text")


def _manifest(case: Case, path: str) -> bytes | None:
    if case.commit is None and (case.root / path).is_file():
        return (case.root / path).read_bytes()
    noted = {item.md5 for _, _, stage in case.get(Noted).stages() for item in stage.deps.values() if item.path == path}
    cache = Cache(cache_folder(case.root))
    for md5 in noted:
        if md5 and cache.found(md5) == md5:
            return cache.path(md5).read_bytes()
    return None
