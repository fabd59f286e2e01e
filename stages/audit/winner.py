"""Check V28: the winner's weights are those that its recorded run kept, and what is told of it is the ledger's.

Made by `promotion verify` where artifacts are present, and by `promotion attest` before it names the weights. No text
in git holds weights; but the run that trained them kept its own, and dvc.lock noted those when it ran.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from stages import winner as stage
from stages.audit.cache import Outputs, md5_file
from stages.audit.differences import differences
from stages.audit.digests import other_code
from stages.audit.ledger import Ledger
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.noted import ROOT, Noted
from stages.audit.rules import METRICS
from stages.audit.summary import made_again
from stages.domain import canonical, files, names
from stages.domain.files import md5_bytes
from stages.domain.records import Record

FOLDER = names.WINNER.as_posix()
CURVES = stage.CURVES.as_posix()
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
    runs = stage.last_runs([run.record for run in case.get(Ledger).runs])
    here = Outputs(case)
    found = here.files(FOLDER)
    if found is None:
        raise Skip(f"{FOLDER} is not here as dvc.lock notes it", f"{PULL} winner")
    expected = {"model.json", stage.WEIGHTS} if headline["winner"] else {"model.json"}
    for name in sorted(found.keys() ^ expected):
        told = ("a file", "no such file") if name in found else ("no file", "a file")
        yield Problem(f"{FOLDER}/{name}", *told, "the winner stage would not have left it so")
    if not found.keys() >= expected:
        return
    chosen = next((run for run in runs if run.config == headline["winner"]), None)
    if chosen is not None:
        yield from _weights(here, chosen, found[stage.WEIGHTS])
    model = stage.told(runs, headline, order, lambda _: _described(found[stage.WEIGHTS]))
    problems = [*_model(found["model.json"].read_bytes(), canonical.dumps(model)), *_curves(case, here, runs)]
    if problems and (changed := other_code(case, "winner", ("stages/winner.py", "stages/summary", "stages/domain"))):
        reason = f"{changed} installed here is not the one that described the winner"
        raise Skip(reason, "verify with that commit's own code")
    yield from problems


def _weights(here: Outputs, run: Record, weights: Path) -> Iterator[Problem]:
    trace = here.files(names.trace_path(run.id).as_posix())
    if trace is None:
        raise Skip(f"the trace of {run.id}, whose weights won, is not here as dvc.lock notes it", PULL)
    was, kept = md5_file(weights), trace.get(stage.KEPT)
    if kept is None or md5_file(kept) != was:
        expected = f"MD5 {md5_file(kept)}" if kept else "none: the run kept no weights"
        meaning = f"these are not the weights that {run.id} trained"
        yield Problem(f"{FOLDER}/{stage.WEIGHTS}", f"MD5 {was}", expected, meaning)


def _described(weights: Path) -> dict[str, object]:
    return {"file": stage.WEIGHTS, "sha256": files.sha256_file(weights), "bytes": weights.stat().st_size}


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
        md5 = md5_bytes(stage.curves(runs, lambda run: found[run.id].read_text(encoding="utf-8")))
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        told = f"{type(error).__name__}: {error}"
        yield Problem(CURVES, told, "curves that can be read", "the trace of a run is not what it wrote")
        return
    if item and item.md5 != md5:
        pointer = f"/stages/winner/outs/{item.at}/md5"
        yield Problem(ROOT, str(item.md5), md5, f"{CURVES} does not show the curves in the traces", pointer=pointer)
