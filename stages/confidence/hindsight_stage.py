"""What was trained in hindsight, as a stage of stages/ladder/hindsight/dvc.yaml.

    python -m stages.confidence.hindsight_stage        (run by `dvc repro stages/ladder/hindsight/dvc.yaml`)

Reads the records of artifacts/hindsight/ beside locks/ and ledger/. Writes git's copy of the records,
ledger/hindsight.jsonl, and what they say, artifacts/hindsight/hindsight.json and metrics.json.
"""

from __future__ import annotations

from pathlib import Path

from stages.confidence import hindsight_results
from stages.confidence.__main__ import RUNS, read_decisions, read_ledger_file, read_locks
from stages.confidence.hindsight import assess_hindsight
from stages.domain import files, hindsight, names
from stages.domain.errors import Refused, main_guard
from stages.domain.records import HindsightRecord, parse_hindsight, parse_ledger
from stages.domain.runs import hindsight_runs
from stages.domain.study import load


def read_records(path: Path) -> list[tuple[HindsightRecord, bytes]]:
    """The record in a file of artifacts/hindsight/ with its bytes; none where there is no file."""
    return parse_hindsight(path.read_bytes(), path.as_posix()) if path.is_file() else []


def main() -> None:
    """Bring the workspace's runs in hindsight into the ledger, and assess them."""
    study = load()
    lines = [line for run in hindsight_runs(study) for line in read_records(names.record_path(run.id))]
    records = [record for record, _ in parse_ledger(read_ledger_file(RUNS), RUNS.as_posix())]
    extra = [record for record, _ in lines]
    result = assess_hindsight(sorted(study.configs), read_locks(), records, read_decisions(), extra)
    if isinstance(result, str):
        raise Refused(f"{hindsight.LEDGER.as_posix()}: {result}")
    files.write_whole(hindsight.LEDGER, b"".join(data for _, data in lines))
    hindsight_results.write(Path(), result)
    print(f"Hindsight: {result.text}")


if __name__ == "__main__":
    main_guard(main)
