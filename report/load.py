"""What the site is made of: params, locks, ledger, summaries and traces, read once and checked for shape.

    python -c "from pathlib import Path; from report.load import load; print(len(load(Path()).runs))"

The ledger is what git has, so it is the source of every score and decision; artifacts add what git does not have: the
text, curves, telemetry. The summaries are read where they lie and made from the ledger where they do not. What is
absent stays absent here and reads as missing on the pages.

The summaries made from the ledger where their files are absent: git alone is enough for cost, agreement, stability.

    python -m pytest tests/report/test_load.py

The same functions that `python -m stages.ledger` calls, over the same locks, records and decisions, so a page says the
same with the files and without them. Two or more host blocks cost the half second that scipy takes to import.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from report import shapes
from stages.domain import canonical, files, locks, names, study, yamlio
from stages.domain import decision as domain_decision
from stages.domain.decision import decision_from_json
from stages.domain.locks import Lock
from stages.domain.records import Record, parse_ledger
from stages.domain.schema import Invalid, Recorded, RecordedFile, parse_recorded
from stages.domain.study import Study
from stages.summary import Ladder, build
from stages.summary.accounting import Accounting, accounting
from stages.summary.agreement import Agreement, agreement
from stages.summary.stability import Stability, stability

#: By name of the file in artifacts/summary/.
MAKERS: dict[str, Callable[[Ladder], RecordedFile]] = {
    "accounting.json": accounting,
    "agreement.json": agreement,
    "stability.json": stability,
}


class Sums:
    """Locks, records and decisions, added up once somebody asks."""

    def __init__(
        self,
        mode: str,
        configs: Sequence[str],
        locks: Mapping[str, Lock],
        records: Sequence[Record],
        decisions: Mapping[str, domain_decision.Decision],
    ) -> None:
        self._given = (mode, sorted(configs), locks, records, decisions)

    @cached_property
    def ladder(self) -> Ladder:
        """The frozen rungs with their evidence."""
        return build(*self._given)

    def make(self, name: str) -> dict[str, Any]:
        """What artifacts/summary/`name` holds."""
        return MAKERS[name](self.ladder).to_json()


def models(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """By configuration, the model that its runs built, as artifacts/protocol/configs.json has it."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        model = (record.facts or {}).get("model")
        if record.config not in found and isinstance(model, dict):
            found[record.config] = {key: value for key, value in sorted(model.items()) if key != "digest"}
    alike: dict[str, list[str]] = {}
    for name, model in found.items():
        alike.setdefault(repr(model), []).append(name)
    return {
        name: {**model, "same_model_as": sorted(other for other in alike[repr(model)] if other != name)}
        for name, model in found.items()
    }


RUNS = names.LEDGER / "runs.jsonl"
DECISIONS = names.LEDGER / "decisions.jsonl"
LEDGER_REMEDY = "`dvc repro -s ledger` writes it anew"


@dataclass(frozen=True)
class Source:
    """The digests of a file that was read: SHA-256, and the id that git gives a file of these bytes (by SHA-1)."""

    sha256: str
    blob: str


def source_of(data: bytes) -> Source:
    """The digests of a file with this content; `git log --find-object=BLOB` finds the commits that hold it."""
    blob = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    blob.update(data)
    return Source(files.sha256_bytes(data), blob.hexdigest())


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

    @property
    def source(self) -> str:
        """The line with its digest, as a table names its source."""
        return f"{self.line} (md5 {self.line.md5})"


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
    #: By configuration, the model that it builds.
    shapes: dict[str, dict[str, Any]]
    corpus: dict[str, Any] | None
    accounting: dict[str, Any]
    agreement: dict[str, Any]
    stability: dict[str, Any]
    #: Locks, records and decisions as the summaries see them.
    sums: Sums
    #: Every file that was read, by its path, for the page on verification.
    sources: dict[str, Source]

    @property
    def clock(self) -> str:
        """`rated clock` or `wall clock`, as every table says it."""
        return f"{self.study.clock.kind} clock"

    def host_order(self, host: str) -> tuple[int, str]:
        """Sorts host blocks as params.yaml has them; one that it lacks by now comes last."""
        order = list(self.study.hosts)
        return (order.index(host) if host in order else len(order), host)

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


def _checked(model: type[Recorded], value: Any, where: str, remedy: str) -> dict[str, Any]:
    """`value` itself if it is a `model`; else `Invalid` with the first mistakes, their places, and the remedy."""
    parse_recorded(model, value, where, remedy)
    assert isinstance(value, dict)
    return value


class _Reader:
    """Reads files under a root and remembers the digest of each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources: dict[str, Source] = {}

    def bytes(self, path: Path, remedy: str = "") -> bytes | None:
        """The content, or None where there is no file; with a `remedy`, a missing file is an error that ends in it."""
        if not (self.root / path).is_file():
            if remedy:
                raise Invalid(f"{path.as_posix()} is missing; {remedy}")
            return None
        data = (self.root / path).read_bytes()
        self.sources[path.as_posix()] = source_of(data)
        return data

    def json(self, path: Path, shape: type[Recorded], remedy: str) -> dict[str, Any] | None:
        """A JSON object of a shape, or None where there is no file."""
        data = self.bytes(path)
        if data is None:
            return None
        try:
            value = canonical.loads(data)
        except canonical.NotCanonical as error:
            raise Invalid(f"{path.as_posix()}: {error}; {remedy}") from None
        return _checked(shape, value, path.as_posix(), remedy)


def _runs(reader: _Reader, study_: Study) -> dict[str, Run]:
    data = reader.bytes(RUNS, "`dvc repro -s ledger` writes it") or b""
    found: dict[str, Run] = {}
    for number, (record, raw) in enumerate(parse_ledger(data, RUNS.as_posix()), start=1):
        if record.id in found:
            raise Invalid(f"{RUNS.as_posix()}, line {number}: {record.id} stands there twice; {LEDGER_REMEDY}")
        where = f"{RUNS.as_posix()}, line {number}"
        _known(study_, where, [record.config])
        if record.rung not in study_.rungs:
            raise Invalid(f"{where}: rung: found {record.rung}, which params.yaml does not have; {LEDGER_REMEDY}")
        found[record.id] = Run(record, Line(RUNS.as_posix(), number, raw))
    return found


def _decisions(reader: _Reader, study_: Study) -> dict[str, Decision]:
    """The decisions by gate, in the order of the study."""
    data = reader.bytes(DECISIONS, "`dvc repro -s ledger` writes it") or b""
    found: dict[str, Decision] = {}
    for number, raw in enumerate(data.splitlines(keepends=True), start=1):
        where = f"{DECISIONS.as_posix()}, line {number}"
        try:
            value = canonical.loads_canonical(raw)
        except canonical.NotCanonical as error:
            raise Invalid(f"{where}: {error}; {LEDGER_REMEDY}") from None
        decision_from_json(value, where, LEDGER_REMEDY)
        if value["gate"] in found or value["gate"] not in study_.gates:
            told = "a second time" if value["gate"] in found else "which params.yaml does not have"
            raise Invalid(f"{where}: gate: found {value['gate']}, {told}; {LEDGER_REMEDY}")
        _known(study_, where, [*value["candidates"], *value["promoted"], *value["stopped"]])
        found[value["gate"]] = Decision(value, Line(DECISIONS.as_posix(), number, raw))
    return {gate: found[gate] for gate in map(names.gate_of, study_.rungs) if gate in found}


def _known(study_: Study, where: str, configs: Iterable[str]) -> None:
    """Refuse a configuration that params.yaml does not have: no page could say what it is."""
    for config in configs:
        if config not in study_.configs:
            raise Invalid(
                f"{where}: found the configuration {config!r}, expected one of configs in {names.PARAMS.as_posix()}; "
                f"if it was renamed there, `git checkout -- {names.PARAMS.as_posix()}` brings the name back, and "
                "`dvc repro` makes the evidence anew under the new one"
            )


def _locks(reader: _Reader, study_: Study) -> dict[str, LockFile]:
    found: dict[str, LockFile] = {}
    for gate in map(names.gate_of, study_.rungs):
        path = names.lock_path(gate)
        data = reader.bytes(path)
        if data is not None:
            lock = locks.loads(data, path.as_posix())
            if lock.frozen.gate != gate:
                told = f"found {lock.frozen.gate}, expected {gate}; `git checkout -- {path.as_posix()}` brings it back"
                raise Invalid(f"{path.as_posix()}: frozen.gate: {told}")
            found[gate] = LockFile(lock, data.decode("utf-8"))
    return found


def _study(reader: _Reader) -> Study:
    data = reader.bytes(names.PARAMS, "run this in the root of a study")
    return study.parse_study(yamlio.loads(data or b"", names.PARAMS.as_posix()), names.PARAMS.as_posix())


def _summary(reader: _Reader, sums: Sums, name: str, shape: type[Recorded]) -> dict[str, Any]:
    return reader.json(names.SUMMARY / name, shape, LEDGER_REMEDY) or sums.make(name)


def load(root: Path) -> Audit:
    """Everything under `root`. Raises `Invalid`, `LockRefused` or `BadYaml`, whose messages stand alone."""
    reader = _Reader(root)
    study_ = _study(reader)
    locks_, runs, decisions = _locks(reader, study_), _runs(reader, study_), _decisions(reader, study_)
    records = [run.record for run in runs.values()]
    sums = Sums(
        study_.study.mode,
        list(study_.configs),
        {gate: one.lock for gate, one in locks_.items()},
        records,
        {gate: decision_from_json(one.value, gate, "") for gate, one in decisions.items()},
    )
    built = reader.json(names.PROTOCOL / "configs.json", shapes.ModelFile, "`dvc repro protocol` writes it anew")
    agreement = _summary(reader, sums, "agreement.json", Agreement)
    stability = _summary(reader, sums, "stability.json", Stability)
    for rung, told in agreement["rungs"].items():
        _known(study_, f"{(names.SUMMARY / 'agreement.json').as_posix()}: rungs.{rung}.means", told["means"])
    led = [one["config"] for one in stability["leader_fate"]]
    _known(study_, f"{(names.SUMMARY / 'stability.json').as_posix()}: leader_fate", led)
    return Audit(
        root=root,
        study=study_,
        locks=locks_,
        runs=runs,
        decisions=decisions,
        shapes=built["configs"] if built else models(records),
        corpus=reader.json(names.CORPUS / "manifest.json", shapes.CorpusManifest, "`dvc repro corpus` writes it anew"),
        accounting=_summary(reader, sums, "accounting.json", Accounting),
        agreement=agreement,
        stability=stability,
        sums=sums,
        sources=reader.sources,
    )
