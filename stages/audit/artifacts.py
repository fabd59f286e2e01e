"""Checks V26 and V27: what lies in the workspace and in DVC's cache, against dvc.lock and the locks.

Made by `promotion verify` where artifacts are present; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from stages.audit.cache import Cache, cache_folder, digest_here, files_here
from stages.audit.differences import differences
from stages.audit.dvclock import Item
from stages.audit.model import Case, CheckFailed, Problem, Skip, named
from stages.audit.noted import Noted
from stages.audit.rules import Locks
from stages.domain import canonical, files, names
from stages.domain.schema import Invalid
from stages.domain.study import Study

PULL = "dvc pull"
MANIFEST = (names.CORPUS / "manifest.json").as_posix()
_ONLY_CODE = ("stages/", "ledger/")


class ArtifactDiffers(CheckFailed):
    """V26: a file in the workspace or the cache is not the one that dvc.lock notes, or one that no stage writes."""


class CorpusDiffers(CheckFailed):
    """V27: the corpus is not the frozen one, or not the one that params.yaml declares."""


def artifacts(case: Case) -> Iterator[Problem]:
    """V26: every output that is here, in the cache or in the workspace, is the one that dvc.lock notes."""
    outs = [
        (path, f"/stages/{name}/outs/{item.at}/md5", item)
        for path, name, stage in case.get(Noted).stages()
        for item in stage.outs.values()
        if item.md5 and not item.path.startswith(_ONLY_CODE)
    ]
    cache, seen, absent = Cache(cache_folder(case.root)), 0, 0
    for path, at, item in outs:
        cached = list(_cached(cache, item))
        here = case.commit is None and os.path.lexists(case.root / item.path)
        seen += bool(here or cached)
        absent += not (here or cached)
        for object_, was in cached:
            if was != object_:
                place = named(str(cache.path(object_)), case.root)
                yield Problem(place, f"content of digest {was}", object_, "the cache was changed")
        if here and (was := digest_here(case.root / item.path)) != item.md5:
            yield Problem(item.path, was, f"{item.md5}, as in {path}, {at}", "the file was changed")
    if case.commit is None:
        yield from _strangers(case)
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
    for inside in cache.listing(md5).values():
        real = cache.found(inside)
        if real is not None:
            yield inside, real


def _strangers(case: Case) -> Iterator[Problem]:
    """Gates and the ledger read whole folders: a file in them that no stage writes would be taken for evidence."""
    planned = {out for stages in case.get(Noted).planned.values() for plan in stages.values() for out in plan.outs}
    for folder in (names.RECORDS, names.GATES):
        for name in sorted(files_here(case.root / folder)):
            path = (folder / name).as_posix()
            if path not in planned and not _beside(name):
                meaning = "whoever reads the folder takes it for evidence; `promotion freeze` tidies"
                yield Problem(path, "a file that no stage of this study writes", "no such file", meaning)


def _beside(name: str) -> bool:
    """Whether it is a file that is being written (`stages.domain.files`), which nobody reads."""
    return name.rpartition("/")[2].startswith(".") and name.endswith(".part")


def corpus(case: Case) -> Iterator[Problem]:
    """V27: the manifest here is the one that the locks froze and params.yaml declares, and its files are as it says."""
    data = _manifest(case)
    if data is None:
        raise Skip("the corpus is not here", f"{PULL} corpus")
    found = files.sha256_bytes(data)
    for gate, lock in case.get(Locks).by_gate.items():
        if lock.frozen.corpus != found:
            meaning = f"{gate} was frozen for another text"
            yield Problem(MANIFEST, found, f"{lock.frozen.corpus}, as locks/{gate}.yaml froze it", meaning)
    value, parts = _read(data)
    declared = case.get(Study).data.source.model_dump(mode="json")
    for pointer, was, should in differences(value["source"], declared, "/source"):
        meaning = "the corpus was built from another text than params.yaml says"
        yield Problem(MANIFEST, repr(was), f"{should!r}, as data.source in params.yaml", meaning, pointer=pointer)
    for part in parts if case.commit is None else ():
        file = case.root / names.CORPUS / part["file"]
        if not file.is_file():
            case.note(f"{part['file']} of the corpus is not here; `{PULL} corpus` brings it")
        elif (was := files.sha256_file(file)) != part["sha256"]:
            where = f"{names.CORPUS.as_posix()}/{part['file']}"
            yield Problem(where, was, part["sha256"], "runs were not made on this text")


def _read(data: bytes) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The manifest, and each of its files with its digest; `Invalid` where it is none."""
    try:
        value = canonical.loads(data)
        parts = [value["tokenizer"], value["token_bytes"], *value["splits"].values()]
        listed = [{"file": str(part["file"]), "sha256": str(part["sha256"])} for part in parts]
        if not isinstance(value["source"], dict) or any("/" in part["file"] or "\\" in part["file"] for part in listed):
            raise TypeError("source or files")
    except canonical.NotCanonical as error:
        raise Invalid.at(MANIFEST, str(error)) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid.at(MANIFEST, f"found no {error}, expected the manifest of a corpus") from None
    return value, listed


def _manifest(case: Case) -> bytes | None:
    """The manifest in the workspace, or the one in the cache that dvc.lock notes."""
    if case.commit is None and (case.root / MANIFEST).is_file():
        return (case.root / MANIFEST).read_bytes()
    noted = {stage.deps[MANIFEST].md5 for _, _, stage in case.get(Noted).stages() if MANIFEST in stage.deps}
    cache = Cache(cache_folder(case.root))
    for md5 in noted:
        if md5 and cache.found(md5) == md5:
            return cache.path(md5).read_bytes()
    return None
