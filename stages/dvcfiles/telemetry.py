"""What a run says of its machine and its clock, apart from the evidence: two repetitions never agree on it.

    store(record, text)            a run keeps what it measured, in DVC's cache beside the run cache
    gather(records)                the stage `ledger` makes artifacts/telemetry/ of what is kept

No stage of a run has it among its outputs: the dvc.lock of a rung that is repeated with the same records then stays the
same to the byte, and the one at the root alone changes (artifacts/telemetry/, and the site that shows it). It is kept
by the MD5 of the record, in a folder of DVC's run cache, because that folder as a whole is what `dvc push --run-cache`,
`dvc pull --run-cache` and `dvc repro --pull` carry between hosts. Tried with DVC 3.67; a test holds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from stages.domain import canonical, files, names
from stages.domain.canonical import JsonObject
from stages.dvcfiles.cache import cache_folder

#: What came from another machine is read no further.
MAX_BYTES = 4 << 20


def stored_path(record: str, root: Path = Path()) -> Path:
    """Where the telemetry of the run with a record of this MD5 is kept."""
    return cache_folder(root).parent.parent / "runs" / "telemetry" / f"{record}.json"


def dumps(run: str, record: str, content: JsonObject) -> bytes:
    """The telemetry of a run, which names its record by MD5."""
    text = json.dumps({**content, "schema": 1, "run": run, "record": record}, indent=1, sort_keys=True)
    return f"{text}\n".encode()


def store(record: str, data: bytes) -> None:
    """Keep the telemetry of a run, in place of that of an earlier run with the very same record."""
    files.write_whole(stored_path(record), data)


def parse(data: bytes | None) -> JsonObject:
    """A telemetry; empty where there is none, or nothing that can be read. It decides nothing.

    What JSON leaves open is not read either (`canonical.loads`): whoever shows a value need not expect a number that is
    none, or one that no float holds, or text that no file can hold.
    """
    try:
        value = canonical.loads(data or b"null")
    except canonical.NotCanonical:
        return {}
    return value if isinstance(value, dict) else {}


def read(run: str, record: str) -> JsonObject:
    """What is known here of a run: kept by it, or gathered in artifacts/telemetry/; empty where neither is here."""
    return parse(_read_bytes(run, record))


def gather(records: Iterable[tuple[str, str]]) -> None:
    """Make artifacts/telemetry/ that of these runs, given as (id, MD5 of the record). What is not here stays absent."""
    kept = {names.telemetry_path(run): data for run, md5 in records if (data := _read_bytes(run, md5)) is not None}
    for path in sorted(names.TELEMETRY.rglob("*.json")):
        if path not in kept:
            path.unlink()
    for path, data in kept.items():
        files.write_whole(path, data)
    names.TELEMETRY.mkdir(parents=True, exist_ok=True)  # an output of its stage, be it empty


def _read_bytes(run: str, record: str) -> bytes | None:
    for path in (stored_path(record), names.telemetry_path(run)):
        if path.is_file() and path.stat().st_size <= MAX_BYTES:
            data = path.read_bytes()
            value = parse(data)
            if (value.get("run"), value.get("record")) == (run, record):
                return data
    return None
