"""Checks V26 and V27: what lies in the workspace and in DVC's cache, against dvc.lock and the locks.

Made by `promotion verify` where artifacts are present; the whole sequence stands in `stages/verify/sequence.py`.

Check V23: what the evidence adds up to, made again: metrics, agreement, stability, cost.

Made by `promotion verify`; the whole sequence stands in `stages/verify/sequence.py`.

Check V28: the winner's weights are those that its recorded run kept, and what is told of it is the ledger's.

Made by `promotion verify` where artifacts are present, and by `promotion attest` before it names the weights. No text
in git holds weights; but the run that trained them kept its own, and dvc.lock noted those when it ran.

Check V29: the audit site built again from what lies here equals the site that dvc.lock notes.

Made by `promotion verify` where artifacts are present; the whole sequence stands in `stages/verify/sequence.py`.
"""

from __future__ import annotations

import csv
import importlib
import os
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from stages import winner as winner_stage
from stages.domain import canonical, files, names
from stages.domain.diff import differences
from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes
from stages.domain.records import Record
from stages.domain.study import Study
from stages.dvcfiles.cache import Cache, Outputs, cache_folder, digest_here, files_here, folder_here, md5_file
from stages.dvcfiles.lockfile import Item
from stages.dvcfiles.pipeline import folder_md5
from stages.verify.check import Case, CheckFailed, Problem, Skip, named
from stages.verify.decisions import Recomputed
from stages.verify.dvc_locks import ROOT, Noted, other_code
from stages.verify.ledger import Ledger
from stages.verify.locks import METRICS, Locks

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


class SummaryDiffers(CheckFailed):
    """V23: a published number is not what the evidence adds up to."""


def made_again(case: Case) -> dict[Path, bytes]:
    """Every file of artifacts/summary and the metrics, by path, from the evidence."""
    from stages.summary import everything

    study, known, ledger, made = case.get(Study), case.get(Locks), case.get(Ledger), case.get(Recomputed)
    records = [run.record for run in ledger.runs]
    return everything(study.study.mode, sorted(study.configs), known.by_gate, records, made.decisions)


def summary(case: Case) -> Iterator[Problem]:
    """V23: ledger/metrics.json and artifacts/summary are what the evidence adds up to: agreement, stability, cost."""
    problems = list(_compared(case))
    if problems and (changed := other_code(case, "ledger", ("stages/summary", "stages/domain"))):
        raise Skip(
            f"{changed} installed here is not the one that made the summary", "verify with that commit's own code"
        )
    yield from problems


def _compared(case: Case) -> Iterator[Problem]:
    data = case.tree.read(METRICS)
    made = {path.as_posix(): content for path, content in made_again(case).items()}
    if data != made[METRICS]:
        yield from _metrics(data, made[METRICS])
    folder = names.SUMMARY.as_posix()
    inside = [(path.removeprefix(f"{folder}/"), md5_bytes(one)) for path, one in made.items() if _in(path, folder)]
    md5 = folder_md5(inside)
    for path, name, stage in case.get(Noted).stages():
        for kind, items in (("deps", stage.deps), ("outs", stage.outs)):
            if folder in items and items[folder].md5 != md5:
                meaning = "the tables of agreement, stability or cost are not what the evidence adds up to"
                pointer = f"/stages/{name}/{kind}/{items[folder].at}/md5"
                yield Problem(path, str(items[folder].md5), md5, meaning, pointer=pointer)


def _in(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def _metrics(data: bytes | None, expected: bytes) -> Iterator[Problem]:
    meaning = "a published number is not what the evidence adds up to"
    if data is None:
        yield Problem(METRICS, "no file", "the metrics of the ledger", meaning)
        return
    try:
        pairs = list(islice(differences(canonical.loads(data), canonical.loads(expected)), 5))
    except canonical.NotCanonical as error:
        raise Invalid.at(METRICS, f"{error}; the ledger stage writes it") from None
    for pointer, was, should in pairs:
        yield Problem(METRICS, repr(was), repr(should), meaning, pointer=pointer)
    if not pairs:
        yield Problem(METRICS, "the same values in other bytes", "the bytes that the ledger stage writes", meaning)


FOLDER = names.WINNER.as_posix()
CURVES = winner_stage.CURVES.as_posix()
PULL = "dvc pull"


class WinnerDiffers(CheckFailed):
    """V28: the winning weights are not those of the recorded run, or what is told of them is not the ledger's."""


def winner(case: Case) -> Iterator[Problem]:
    """V28: the winner's weights are those of its run, and its description and curves are made of ledger and traces."""
    if "winner" not in case.get(Noted).locks.get(ROOT, {}):
        raise Skip("dvc.lock notes no winner", "dvc repro winner", applies=False)
    again = {path.as_posix(): data for path, data in made_again(case).items()}
    headline = canonical.loads(again[METRICS])
    order = canonical.loads(again[f"{names.SUMMARY.as_posix()}/stability.json"])
    runs = winner_stage.last_runs([run.record for run in case.get(Ledger).runs])
    here = Outputs(case)
    found = here.files(FOLDER)
    if found is None:
        raise Skip(f"{FOLDER} is not here as dvc.lock notes it", f"{PULL} winner")
    expected = {"model.json", winner_stage.WEIGHTS} if headline["winner"] else {"model.json"}
    for name in sorted(found.keys() ^ expected):
        told = ("a file", "no such file") if name in found else ("no file", "a file")
        yield Problem(f"{FOLDER}/{name}", *told, "the winner stage would not have left it so")
    if not found.keys() >= expected:
        return
    chosen = next((run for run in runs if run.config == headline["winner"]), None)
    if chosen is not None:
        yield from _weights(here, chosen, found[winner_stage.WEIGHTS])
    model = winner_stage.told(runs, headline, order, lambda _: _described(found[winner_stage.WEIGHTS]))
    problems = [*_model(found["model.json"].read_bytes(), canonical.dumps(model)), *_curves(case, here, runs)]
    if problems and (changed := other_code(case, "winner", ("stages/winner.py", "stages/summary", "stages/domain"))):
        reason = f"{changed} installed here is not the one that described the winner"
        raise Skip(reason, "verify with that commit's own code")
    yield from problems


def _weights(here: Outputs, run: Record, weights: Path) -> Iterator[Problem]:
    trace = here.files(names.trace_path(run.id).as_posix())
    if trace is None:
        raise Skip(f"the trace of {run.id}, whose weights won, is not here as dvc.lock notes it", PULL)
    was, kept = md5_file(weights), trace.get(winner_stage.KEPT)
    if kept is None or md5_file(kept) != was:
        expected = f"MD5 {md5_file(kept)}" if kept else "none: the run kept no weights"
        meaning = f"these are not the weights that {run.id} trained"
        yield Problem(f"{FOLDER}/{winner_stage.WEIGHTS}", f"MD5 {was}", expected, meaning)


def _described(weights: Path) -> dict[str, object]:
    return {"file": winner_stage.WEIGHTS, "sha256": files.sha256_file(weights), "bytes": weights.stat().st_size}


def _model(data: bytes, expected: bytes) -> Iterator[Problem]:
    path, meaning = f"{FOLDER}/model.json", "what is told of the winner is not what the ledger says"
    if data == expected:
        return
    try:
        pairs = list(differences(canonical.loads(data), canonical.loads(expected)))
    except canonical.NotCanonical as error:
        pairs = [("", str(error), "canonical JSON")]
    for pointer, was, should in pairs or [("", "the same values in other bytes", "the bytes of the winner stage")]:
        yield Problem(path, repr(was)[:200], repr(should)[:200], meaning, pointer=pointer or None)


def _curves(case: Case, here: Outputs, runs: list[Record]) -> Iterator[Problem]:
    """curves.csv made again from the traces of the last rung, where they are all here."""
    found: dict[str, Path] = {}
    for run in runs:
        trace = here.files(names.trace_path(run.id).as_posix())
        if trace is None or "curve.csv" not in trace:
            case.note(f"{CURVES} was not made again: the trace of {run.id} is not here; `{PULL}` brings it")
            return
        found[run.id] = trace["curve.csv"]
    item = here.items.get(CURVES)
    try:
        md5 = md5_bytes(winner_stage.curves(runs, lambda run: found[run.id].read_text(encoding="utf-8")))
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        told = f"{type(error).__name__}: {error}"
        yield Problem(CURVES, told, "curves that can be read", "the trace of a run is not what it wrote")
        return
    if item and item.md5 != md5:
        pointer = f"/stages/winner/outs/{item.at}/md5"
        yield Problem(ROOT, str(item.md5), md5, f"{CURVES} does not show the curves in the traces", pointer=pointer)


SITE = names.SITE.as_posix()


class SiteDiffers(CheckFailed):
    """V29: the site is not what the evidence and the report make."""


def site(case: Case) -> Iterator[Problem]:
    """V29: the site built again, into a temporary folder, has the digest that dvc.lock notes for it."""
    noted = case.get(Noted)
    recorded = [(p, n, item) for p, n, stage in noted.stages() for item in stage.outs.values() if item.path == SITE]
    if not recorded:
        raise Skip("no dvc.lock notes a site", "dvc repro site")
    if case.commit is not None:
        raise Skip("the site of a commit is built from its artifacts", "git checkout COMMIT && dvc pull")
    if other_code(case, "site", ("report",)):
        raise Skip("report/ installed here is not the one that built the site", "verify with that commit's own code")
    needed = (names.TRACES, names.SUMMARY, names.PROTOCOL, names.CORPUS / "manifest.json")
    if missing := [path for path in needed if not (case.root / path).exists()]:
        raise Skip(f"{missing[0].as_posix()} is not here, and the site is built from it", "dvc pull")
    try:
        md5 = _built(case.root)
    except Skip:
        raise
    except Exception as error:  # whatever lies here may be anything, and the report was written for a whole study
        found = f"{type(error).__name__}: {error}"[:300]
        yield Problem(SITE, found, "pages", "the site cannot be built from what lies here; V26 tells what was changed")
        return
    for path, name, item in recorded:
        if item.md5 != md5:
            meaning = "the pages do not show what the evidence says"
            yield Problem(path, str(item.md5), md5, meaning, pointer=f"/stages/{name}/outs/{item.at}/md5")


def _built(root: Path) -> str:
    """The digest of the site built again. The report is the leaf of all imports, so it is loaded by name."""
    try:
        build, load = importlib.import_module("report.build"), importlib.import_module("report.load")
    except ImportError as error:
        raise Skip(f"the report cannot be imported: {error}", "pip install staged-promotion") from None
    with tempfile.TemporaryDirectory() as folder:
        build.write_site(load.load(root), Path(folder))
        return folder_here(Path(folder))
