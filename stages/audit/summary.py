"""Check V23: what the evidence adds up to, made again: metrics, agreement, stability, cost.

Made by `promotion verify`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from stages.audit.decisions import Recomputed
from stages.audit.differences import differences
from stages.audit.digests import other_code
from stages.audit.ledger import Ledger
from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.noted import Noted
from stages.audit.pipeline import folder_md5
from stages.audit.rules import METRICS, Locks
from stages.domain import canonical, names
from stages.domain.files import md5_bytes
from stages.domain.schema import Invalid
from stages.domain.study import Study


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
