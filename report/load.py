"""What the site is made of: params, locks, ledger, summaries and traces, read once and checked for shape.

    python -c "from pathlib import Path; from report.load import load; print(len(load(Path()).runs))"

The ledger is what git has, so it is the source of every score and decision; artifacts add what git does not have
(curves, telemetry, summaries). What is absent stays absent here and reads as missing on the pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, locks, names, study, yamlio
from stages.domain.records import Record, parse_ledger
from stages.domain.schema import Invalid
from stages.domain.study import Study

RUNS = names.LEDGER / "runs.jsonl"
DECISIONS = names.LEDGER / "decisions.jsonl"
METRICS = names.LEDGER / "metrics.json"
MAX_TRACE = 16 << 20


@dataclass(frozen=True)
class Line:
    """Where a piece of evidence stands: file, line (from 1), its bytes."""

    path: str
    number: int
    raw: bytes

    @property
    def md5(self) -> str:
        """MD5 of the line: what dvc.lock holds for the file of the record or decision."""
        return files.md5_bytes(self.raw)

    @property
    def sha256(self) -> str:
        """SHA-256 of the line."""
        return files.sha256_bytes(self.raw)

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"


@dataclass(frozen=True)
class Run:
    """One line of the ledger as a record."""

    record: Record
    line: Line


@dataclass(frozen=True)
class Decision:
    """One line of ledger/decisions.jsonl."""

    value: dict[str, Any]
    line: Line


@dataclass(frozen=True)
class LockFile:
    """A lock with the text that people see in the repository."""

    lock: locks.Lock
    text: str


@dataclass(frozen=True, eq=False)
class Audit:
    """Everything the pages say, in one place. Absent parts are None or empty."""

    root: Path
    study: Study
    locks: dict[str, LockFile]
    runs: dict[str, Run]
    decisions: dict[str, Decision]
    doors: dict[str, dict[str, Any]]
    shapes: dict[str, dict[str, Any]]
    corpus: dict[str, Any] | None
    accounting: dict[str, Any] | None
    agreement: dict[str, Any] | None
    stability: dict[str, Any] | None
    #: Path -> SHA-256 of every file that was read, for the page on verification.
    sources: dict[str, str]

    @property
    def clock(self) -> str:
        """`rated clock` or `wall clock`, as every table says it."""
        return f"{self.study.clock.kind} clock"

    @cached_property
    def by_rung(self) -> dict[str, list[Run]]:
        """The runs of each rung in the order of the ledger."""
        found: dict[str, list[Run]] = {rung: [] for rung in self.study.rungs}
        for run in self.runs.values():
            found.setdefault(run.record.rung, []).append(run)
        return found

    @cached_property
    def by_config(self) -> dict[str, list[Run]]:
        """The executed runs of each configuration in the order of the ledger."""
        found: dict[str, list[Run]] = {config: [] for config in self.study.configs}
        for run in self.runs.values():
            if run.record.executed:
                found.setdefault(run.record.config, []).append(run)
        return found

    @cached_property
    def executed(self) -> list[Run]:
        """Every run that trained something: these have a page."""
        return [run for run in self.runs.values() if run.record.executed]


class _Reader:
    """Reads files under a root and remembers the digest of each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources: dict[str, str] = {}

    def bytes(self, path: Path, remedy: str = "") -> bytes | None:
        """The content, or None where there is no file; with a `remedy`, a missing file is an error that ends in it."""
        if not (self.root / path).is_file():
            if remedy:
                raise Invalid(f"{path.as_posix()} is missing; {remedy}")
            return None
        data = (self.root / path).read_bytes()
        self.sources[path.as_posix()] = files.sha256_bytes(data)
        return data

    def json(self, path: Path) -> dict[str, Any] | None:
        """A JSON object, or None where there is no file."""
        data = self.bytes(path)
        if data is None:
            return None
        try:
            value = canonical.loads(data)
        except canonical.NotCanonical as error:
            raise Invalid(f"{path.as_posix()}: {error}; `dvc repro` writes it anew") from None
        if not isinstance(value, dict) or value.get("schema") != 1:
            raise Invalid(f"{path.as_posix()}: found another shape, expected an object with schema 1; `dvc repro`")
        return value


def _runs(reader: _Reader) -> dict[str, Run]:
    data = reader.bytes(RUNS, "`dvc repro ledger` writes it") or b""
    found: dict[str, Run] = {}
    for number, (record, raw) in enumerate(parse_ledger(data, RUNS.as_posix()), start=1):
        if record.id in found:
            raise Invalid(f"{RUNS.as_posix()}, line {number}: {record.id} stands there twice; `dvc repro ledger`")
        found[record.id] = Run(record, Line(RUNS.as_posix(), number, raw))
    return found


def _decisions(reader: _Reader) -> dict[str, Decision]:
    data = reader.bytes(DECISIONS, "`dvc repro ledger` writes it") or b""
    found: dict[str, Decision] = {}
    for number, raw in enumerate(data.splitlines(keepends=True), start=1):
        where = f"{DECISIONS.as_posix()}, line {number}"
        try:
            value = canonical.loads_canonical(raw)
        except canonical.NotCanonical as error:
            raise Invalid(f"{where}: {error}; `dvc repro ledger` writes it anew") from None
        if not isinstance(value, dict) or value.get("schema") != 1 or not isinstance(value.get("gate"), str):
            raise Invalid(f"{where}: found no decision of schema 1; `dvc repro ledger` writes it anew")
        found[value["gate"]] = Decision(value, Line(DECISIONS.as_posix(), number, raw))
    return found


def _locks(reader: _Reader, study_: Study) -> dict[str, LockFile]:
    found: dict[str, LockFile] = {}
    for rung in study_.rungs:
        gate = names.gate_of(rung)
        data = reader.bytes(names.lock_path(gate))
        if data is not None:
            lock = locks.loads(data, names.lock_path(gate).as_posix())
            found[gate] = LockFile(lock, data.decode("utf-8"))
    return found


def _study(reader: _Reader) -> Study:
    data = reader.bytes(names.PARAMS, "run this in the root of a study")
    return study.parse_study(yamlio.loads(data or b"", names.PARAMS.as_posix()), names.PARAMS.as_posix())


def load(root: Path) -> Audit:
    """Everything under `root`. Raises `Invalid`, `LockRefused` or `BadYaml`, whose messages stand alone."""
    reader = _Reader(root)
    study_ = _study(reader)
    doors = {rung: reader.json(names.PROTOCOL / f"{rung}.json") for rung in study_.rungs}
    shapes = reader.json(names.PROTOCOL / "configs.json") or {"configs": {}}
    return Audit(
        root=root,
        study=study_,
        locks=_locks(reader, study_),
        runs=_runs(reader),
        decisions=_decisions(reader),
        doors={rung: door for rung, door in doors.items() if door is not None},
        shapes=shapes["configs"],
        corpus=reader.json(names.CORPUS / "manifest.json"),
        accounting=reader.json(names.SUMMARY / "accounting.json"),
        agreement=reader.json(names.SUMMARY / "agreement.json"),
        stability=reader.json(names.SUMMARY / "stability.json"),
        sources=reader.sources,
    )
