"""The stored result: artifacts/confidence/confidence.json and the headline figures beside it, written and read.

    write(Path(), assess(locks, records, decisions))       what `python -m stages.confidence` does
    read(Path())                                           the same again, or None where the stage has not run

Reading imports none of the libraries of statistics.
"""

from __future__ import annotations

import json
from pathlib import Path

from stages.confidence.results import StudyConfidence, from_json, to_json
from stages.domain import canonical, files, names
from stages.domain.errors import Invalid

RESULT = names.CONFIDENCE / "confidence.json"
METRICS = names.CONFIDENCE / "metrics.json"
REMEDY = "`dvc repro -s confidence` writes it anew"


def write(root: Path, result: StudyConfidence) -> None:
    """Both files of the stage under `root`."""
    files.write_whole(root / RESULT, to_bytes(result))
    files.write_whole(root / METRICS, metrics_bytes(result))


def to_bytes(result: StudyConfidence) -> bytes:
    """A result in its canonical form."""
    return canonical.dumps(to_json(result))


def from_bytes(data: bytes) -> StudyConfidence:
    """The result in these bytes of `RESULT`; `Invalid` where it is none."""
    try:
        value = canonical.loads(data)
    except canonical.NotCanonical as error:
        raise Invalid(f"{RESULT.as_posix()}: {error}; {REMEDY}") from None
    return from_json(value, RESULT.as_posix())


def read(root: Path) -> StudyConfidence | None:
    """The result under `root`; None where there is none."""
    path = root / RESULT
    return from_bytes(path.read_bytes()) if path.is_file() else None


def metrics_bytes(result: StudyConfidence) -> bytes:
    """What `dvc metrics show` prints, in the order in which it should be read; what is not known is null."""
    winner, weakest = result.winner, result.weakest_gate
    figures = {
        "how_sure": result.how_sure.grade,
        "same_winner": to_json(winner.same) if winner else None,
        "same_winner_at_most": to_json(winner.same + winner.unless) if winner else None,
        "weakest_gate": weakest.gate if weakest else None,
        "weakest_gate_same": to_json(weakest.kept) if weakest else None,
        "hangs_on": sum(len(gate.hangs_on) for gate in result.gates.values()),
        "what_next": result.what_next.action,
    }
    return json.dumps(figures, indent=1).encode("utf-8") + b"\n"
