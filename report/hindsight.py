"""Hindsight as the pages tell it, made from the ledger: no stage of the study waits for it, so none could store it.

view = find_hindsight(files)        .result is None where nothing can be said; .missing says why
"""

from __future__ import annotations

from dataclasses import dataclass

from report.load import StudyFiles
from stages.confidence.hindsight_results import Hindsight, from_bytes, to_bytes
from stages.domain.hindsight import LEDGER

PAGE = "hindsight.html"
SOURCE = f"locks/, ledger/runs.jsonl, ledger/decisions.jsonl and {LEDGER.as_posix()}"


@dataclass(frozen=True)
class HindsightView:
    """What hindsight says. `missing` says why it says nothing, and is empty otherwise."""

    result: Hindsight | None
    missing: str = ""


def find_hindsight(files: StudyFiles) -> HindsightView:
    """What the records in hindsight say of the decisions of the ledger."""
    if not files.hindsight:
        return HindsightView(
            None,
            "nothing was trained in hindsight. Once the last gate has decided, `make hindsight` trains at the budget "
            "of the last rung what was stopped before it, in records that no gate reads",
        )
    try:
        from stages.confidence.hindsight import assess_hindsight

        result = assess_hindsight(
            sorted(files.study.configs),
            {gate: file.lock for gate, file in files.locks.items()},
            [run.record for run in files.runs.values()],
            {gate: entry.decision for gate, entry in files.decisions.items()},
            [record for record, _ in files.hindsight],
        )
    except ImportError as error:
        return HindsightView(None, f"what {LEDGER.as_posix()} says cannot be told without {error.name}")
    if isinstance(result, str):
        return HindsightView(None, result)
    return HindsightView(from_bytes(to_bytes(result)))
