"""How sure the decisions are, as the pages tell it: the stored result, or one made from the ledger where there is none.

confidence = find_confidence(files)        .result is None where nothing can be said; .missing says why
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from report.load import StudyFiles
from stages.confidence import stored
from stages.confidence.results import GateConfidence, StudyConfidence
from stages.domain import formatting

#: The page that says it of the whole study, and the section that says it on a gate's page.
PAGE, SECTION = "confidence.html", "#Sure"
#: Where every figure comes from, whether the file lay there or was made from the ledger.
SOURCE = f"locks/ and ledger/, as in {stored.RESULT.as_posix()}"
#: A gate or a rung in a sentence; no part of a configuration's name, and not gate5.R8.
_PLACE = re.compile(r"(?<![\w.-])(gate|rung)(\d+)(?![\w-]|\.\w)")


@dataclass(frozen=True)
class Confidence:
    """What is known of how sure the decisions are. `missing` says why nothing is, and is empty otherwise."""

    result: StudyConfidence | None
    missing: str = ""

    def gate(self, gate: str) -> GateConfidence | None:
        """What is said of one gate; None where it has not decided."""
        return self.result.gates.get(gate) if self.result else None


def readable(text: str) -> str:
    """A sentence of the result as pages set it: Rung 3 is `rung 3` there and not `rung3`, and minus signs are true."""
    return formatting.typeset(_PLACE.sub(r"\1 \2", text))


def find_confidence(files: StudyFiles) -> Confidence:
    """The stored result; where the stage has not run, the same bytes made from locks, records and decisions."""
    if files.confidence is not None:
        return Confidence(files.confidence)
    try:
        from stages.confidence.study import assess

        result = assess(
            {gate: file.lock for gate, file in files.locks.items()},
            [run.record for run in files.runs.values()],
            {gate: entry.decision for gate, entry in files.decisions.items()},
        )
    except ImportError as error:
        path = stored.RESULT.as_posix()
        return Confidence(None, f"no {path} is here, and it cannot be made without {error.name}; {stored.REMEDY}")
    return Confidence(stored.from_bytes(stored.to_bytes(result)))
