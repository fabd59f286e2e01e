"""Checks V26 and V27: what lies in the workspace and in DVC's cache, against dvc.lock and the locks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from stages.domain import canonical, files, names
from stages.domain.corpus import DataFiles
from stages.domain.data_files import check_files, find_root
from stages.domain.diff import differences
from stages.domain.errors import Invalid, Refused
from stages.domain.study import Study
from stages.dvcfiles.cache import Cache, Outputs, cache_folder, files_in, is_here, md5_path
from stages.dvcfiles.lockfile import LockedFile
from stages.repo.dvc_remote import restore_command
from stages.runners import runner_of
from stages.runners.output import MAX_LOG_BYTES
from stages.verify.check import Case, Problem, Skip, path_in_study
from stages.verify.dvc_locks import DvcLocks
from stages.verify.ledger import Ledger
from stages.verify.locks import Locks

MANIFEST = (names.CORPUS / "manifest.json").as_posix()
#: Outputs that git holds.
_IN_GIT = ("stages/", "ledger/")


def check_artifacts(case: Case) -> Iterator[Problem]:
    """Every output in the cache or in the workspace is the one that dvc.lock records.

    Among records and decisions there is no file that no stage writes.
    """
    outputs = [
        (path, f"/stages/{name}/outs/{file.at}/md5", file)
        for path, name, stage in case.get(DvcLocks).stages()
        for file in stage.outs.values()
        if file.md5 and not file.path.startswith(_IN_GIT)
    ]
    cache, absent = Cache(cache_folder(case.root)), 0
    for path, at, file in outputs:
        cached = list(_cached_objects(cache, file))
        in_workspace = case.commit is None and is_here(case.root / file.path)
        absent += not (in_workspace or cached)
        for name, digest in cached:
            if digest != name:
                place = path_in_study(str(cache.path(name)), case.root)
                yield Problem(place, f"content of digest {digest}", name, "the cache was changed")
        if in_workspace and (digest := md5_path(case.root / file.path)) != file.md5:
            yield Problem(file.path, digest, f"{file.md5}, as in {path}, {at}", "the file was changed")
    if case.commit is None:
        yield from _unexpected_files(case)
    if case.knows(Study) and case.knows(Ledger) and case.get(Study).command is not None:
        yield from _check_logs(case)
    if absent == len(outputs):
        raise Skip("no output is here", restore_command(case.root))
    if absent:
        case.note(f"{absent} of {len(outputs)} outputs are not here; `{restore_command(case.root)}` brings them")


def _check_logs(case: Case) -> Iterator[Problem]:
    """The score of a command is read again from the log of its run, where the trace is here."""
    runner, absent = runner_of(case.get(Study).runner), 0
    outputs = Outputs(case.root, case.get(DvcLocks).outputs())
    for run in (*case.get(Ledger).runs, *case.get(Ledger).hindsight):
        if not run.record.executed:
            continue
        trace = outputs.files(names.trace_path(run.record.id).as_posix())
        if trace is None:
            absent += 1
            continue
        small = {name: path.read_bytes() for name, path in trace.items() if path.stat().st_size <= MAX_LOG_BYTES}
        for mismatch in runner.check_trace(run.record, small):
            yield run.problem(mismatch.pointer, mismatch.recorded, mismatch.expected, mismatch.meaning)
    if absent:
        bring = restore_command(case.root)
        case.note(f"the logs of {absent} runs are not here, so their scores were not read again; `{bring}` brings them")


def _cached_objects(cache: Cache, file: LockedFile) -> Iterator[tuple[str, str]]:
    """(digest, real digest) of the objects of an output that the cache holds."""
    md5 = str(file.md5)
    digest = cache.digest(md5)
    if digest is None:
        return
    if not md5.endswith(".dir"):
        yield md5, digest
        return
    yield md5, f"{digest}.dir"
    for inside in cache.listing(md5).values():
        real = cache.digest(inside)
        if real is not None:
            yield inside, real


def _unexpected_files(case: Case) -> Iterator[Problem]:
    """Gates and the ledger read whole folders: a file in them that no stage writes would be taken for evidence."""
    planned = {out for stages in case.get(DvcLocks).planned.values() for stage in stages.values() for out in stage.outs}
    for folder in (names.RECORDS, names.GATES, names.HINDSIGHT / "records"):
        for name in sorted(files_in(case.root / folder)):
            path = (folder / name).as_posix()
            if path not in planned and not _is_partial(name):
                meaning = "whoever reads the folder takes it for evidence; `promotion freeze` tidies"
                yield Problem(path, "a file that no stage of this study writes", "no such file", meaning)


def _is_partial(name: str) -> bool:
    """Whether it is a file that is being written (`stages.domain.files`), which nobody reads."""
    return name.rpartition("/")[2].startswith(".") and name.endswith(".part")


def check_corpus(case: Case) -> Iterator[Problem]:
    """The manifest is the one that the locks froze and params.yaml declares, and the files of the corpus match it."""
    data = _manifest_bytes(case)
    if data is None:
        raise Skip("the corpus is not here", restore_command(case.root, "corpus"))
    digest = files.sha256_bytes(data)
    for gate, lock in case.get(Locks).by_gate.items():
        if lock.frozen.corpus != digest:
            meaning = f"{gate} was frozen for another text"
            yield Problem(MANIFEST, digest, f"{lock.frozen.corpus}, as locks/{gate}.yaml froze it", meaning)
    manifest = parse_manifest(data)
    declared = case.get(Study).data.source.model_dump(mode="json")
    for pointer, was, should in differences(manifest.source, declared, "/source"):
        meaning = "the corpus was built from another text than params.yaml says"
        yield Problem(MANIFEST, repr(was), f"{should!r}, as data.source in params.yaml", meaning, pointer=pointer)
    if case.commit is None:
        yield from _check_data_files(case)
    for name, sha256 in manifest.files.items() if case.commit is None else ():
        file = case.root / names.CORPUS / name
        if not file.is_file():
            case.note(f"{name} of the corpus is not here; `{restore_command(case.root, 'corpus')}` brings it")
        elif (digest := files.sha256_file(file)) != sha256:
            yield Problem(f"{names.CORPUS.as_posix()}/{name}", digest, sha256, "runs were not made on this text")


def _check_data_files(case: Case) -> Iterator[Problem]:
    """The files that a command reads, where they are here, digested again whatever was remembered of them."""
    source = case.get(Study).data.source
    if not isinstance(source, DataFiles):
        return
    try:
        check_files(source, case.root, forget=True)
    except Refused as error:
        root = find_root(source, case.root)
        if all((root / file.path).is_file() for file in source.files):
            yield Problem(root.as_posix(), str(error), "the files that params.yaml pins", "runs were not made on them")
        else:
            case.note(f"the data is not here: {error}")


@dataclass(frozen=True)
class ManifestDigests:
    """What the manifest of a corpus says that can be compared: its source as JSON, and the SHA-256 of each file."""

    source: dict[str, object]
    files: dict[str, str]


def parse_manifest(data: bytes) -> ManifestDigests:
    """The manifest in these bytes; `Invalid` where it is none."""
    try:
        value: Any = canonical.loads(data)
        if value["source"]["kind"] == "files":
            return ManifestDigests(value["source"], {})
        parts = [value["tokenizer"], value["token_bytes"], *value["splits"].values()]
        listed = {str(part["file"]): str(part["sha256"]) for part in parts}
        if not isinstance(value["source"], dict) or any("/" in name or "\\" in name for name in listed):
            raise TypeError("source or files")
    except canonical.NotCanonical as error:
        raise Invalid.at(MANIFEST, str(error)) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Invalid.at(MANIFEST, f"found no {error}, expected the manifest of a corpus") from None
    return ManifestDigests(value["source"], listed)


def _manifest_bytes(case: Case) -> bytes | None:
    """The manifest in the workspace, or the one in the cache that dvc.lock records."""
    if case.commit is None and (case.root / MANIFEST).is_file():
        return (case.root / MANIFEST).read_bytes()
    recorded = {stage.deps[MANIFEST].md5 for _, _, stage in case.get(DvcLocks).stages() if MANIFEST in stage.deps}
    cache = Cache(cache_folder(case.root))
    for md5 in sorted(filter(None, recorded)):
        if cache.digest(md5) == md5:
            return cache.path(md5).read_bytes()
    return None
