"""How sure the decisions of the ledger are, as a stage of dvc.yaml.

    python -m stages.confidence        (run by `dvc repro`)

Reads locks/ and ledger/ and writes artifacts/confidence/. It stands apart from the ledger's own summaries, which
`promotion verify` makes again: nothing that verifies may need the libraries of statistics.
"""

from __future__ import annotations

import io
from pathlib import Path

from stages.confidence import stored
from stages.confidence.study import assess
from stages.domain import locks, names
from stages.domain.decision import Decision, parse_decision
from stages.domain.errors import Refused, main_guard
from stages.domain.locks import Lock
from stages.domain.records import parse_ledger

RUNS, DECISIONS = names.LEDGER / "runs.jsonl", names.LEDGER / "decisions.jsonl"
REMEDY = "`dvc repro -s ledger` writes it anew"


def read_locks() -> dict[str, Lock]:
    """The frozen gates of the workspace, from gate1 on."""
    frozen: dict[str, Lock] = {}
    while (lock := locks.read(gate := f"gate{len(frozen) + 1}")) is not None:
        frozen[gate] = lock
    return frozen


def read_decisions() -> dict[str, Decision]:
    """The decisions of the ledger by gate."""
    lines = io.BytesIO(read_ledger_file(DECISIONS))
    numbered = ((f"{DECISIONS.as_posix()}, line {number}", line) for number, line in enumerate(lines, start=1))
    decisions = (parse_decision(line, where, REMEDY) for where, line in numbered)
    return {decision.gate: decision for decision in decisions}


def read_ledger_file(path: Path) -> bytes:
    """The bytes of a file of the ledger; `Refused` where it is missing."""
    if not path.is_file():
        raise Refused(f"{path.as_posix()} is missing; {REMEDY}")
    return path.read_bytes()


def main() -> None:
    """Assess the ledger of the workspace."""
    records = [record for record, _ in parse_ledger(read_ledger_file(RUNS), RUNS.as_posix())]
    result = assess(read_locks(), records, read_decisions())
    stored.write(Path(), result)
    print(f"How sure? {result.how_sure.short}\nWhat next? {result.what_next.text}")


if __name__ == "__main__":
    main_guard(main)
