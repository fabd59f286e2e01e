"""Reading a study: params, locks, ledger, summaries and manifests, each once and checked for its shape.

    python -c "from pathlib import Path; from report.load import load; print(len(load(Path()).runs))"

The ledger is what git holds, so every score and decision comes from it. Artifacts add what git does not hold: the text,
curves and telemetry. A summary whose file is absent is computed from locks, records and decisions by the functions that
`python -m stages.ledger` calls, so git alone is enough for the pages on cost, agreement and stability. Whatever is
absent stays absent and reads as missing on the pages.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from stages.confidence import stored
from stages.confidence.results import StudyConfidence
from stages.domain import canonical, files, hindsight, locks, names, study, yamlio
from stages.domain.decision import Decision, parse_decision
from stages.domain.errors import Invalid
from stages.domain.locks import Lock
from stages.domain.records import HindsightRecord, Record, parse_hindsight, parse_ledger
from stages.domain.schema import Key, Recorded, parse_recorded
from stages.domain.study import Study
from stages.summary import Ladder, build
from stages.summary.accounting import Accounting, accounting
from stages.summary.agreement import Agreement, agreement
from stages.summary.stability import Stability, stability

RUNS = names.LEDGER / "runs.jsonl"
DECISIONS = names.LEDGER / "decisions.jsonl"
LEDGER_REMEDY = "`dvc repro -s ledger` writes it anew"

Shape = TypeVar("Shape", bound=Recorded)
#: What a runner says of a model that it built: foreign JSON, shown as it is.
ModelFacts = dict[str, Any]


class CorpusManifest(Recorded):
    """artifacts/corpus/manifest.json, as far as the page on method shows it."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    source: dict[str, object]
    splits: dict[str, dict[str, object]]


class ModelFile(Recorded):
    """artifacts/protocol/configs.json: the model that each configuration builds."""

    schema_: Annotated[Literal[1], Field(alias="schema")]
    configs: dict[Key, ModelFacts]


@dataclass(frozen=True)
class FileDigests:
    """The digests of a file that was read: SHA-256, and the id that git gives a file of these bytes (by SHA-1).

    params.yaml has the SHA-256 of what it says, as canonical JSON, and no id: comments and layout change nothing.
    """

    sha256: str
    blob: str | None


def digest_file(data: bytes) -> FileDigests:
    """The digests of a file with this content; `git log --find-object=BLOB` finds the commits that hold it."""
    blob = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    blob.update(data)
    return FileDigests(files.sha256_bytes(data), blob.hexdigest())


@dataclass(frozen=True)
class LedgerLine:
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
class LedgerRun:
    """A record with the line of the ledger that holds it."""

    record: Record
    line: LedgerLine


@dataclass(frozen=True)
class LedgerDecision:
    """A decision with the line of the ledger that holds it."""

    decision: Decision
    line: LedgerLine

    @property
    def source(self) -> str:
        """The line with its digest, as a table names its source."""
        return f"{self.line} (md5 {self.line.md5})"


@dataclass(frozen=True)
class LockFile:
    """A lock with the text that people see in the repository."""

    lock: Lock
    text: str


@dataclass(frozen=True, eq=False)
class StudyFiles:
    """What the files of a study say: locks and decisions by gate, runs by id. What is absent is None or empty."""

    root: Path
    study: Study
    locks: dict[str, LockFile]
    runs: dict[str, LedgerRun]
    decisions: dict[str, LedgerDecision]
    #: By configuration, the model that it builds.
    models: dict[str, ModelFacts]
    corpus: CorpusManifest | None
    accounting: Accounting
    agreement: Agreement
    stability: Stability
    #: What was trained after the last decision, with its line of ledger/hindsight.jsonl; empty where nothing was.
    hindsight: list[tuple[HindsightRecord, LedgerLine]]
    #: How sure the decisions are, where the stage has written it.
    confidence: StudyConfidence | None
    #: The digests of every file that was read, by its path.
    sources: dict[str, FileDigests]

    @cached_property
    def executed(self) -> list[LedgerRun]:
        """Every run that trained something: these have a page."""
        return [run for run in self.runs.values() if run.record.executed]

    def runs_of(self, rung: str) -> list[LedgerRun]:
        """The runs of a rung in the order of the ledger."""
        return [run for run in self.runs.values() if run.record.rung == rung]


def load(root: Path, params: Path | None = None) -> StudyFiles:
    """Read the study in the folder `root`. Raises `Invalid`, `LockRefused` or `BadYaml`, whose messages stand alone.

    `params` is a file to read in the place of its params.yaml.
    """
    reader, where = _Reader(root), names.PARAMS.as_posix()
    said = yamlio.loads(yamlio.read_bytes(params or root / names.PARAMS, "run this in the root of a study"), where)
    reader.sources[where] = FileDigests(canonical.sha256(said), None)
    study_ = study.parse_study(said, where)
    locks_, runs, decisions = _read_locks(reader, study_), _read_runs(reader, study_), _read_decisions(reader, study_)
    records = [run.record for run in runs.values()]

    @cache
    def ladder() -> Ladder:
        frozen = {gate: file.lock for gate, file in locks_.items()}
        decided = {gate: entry.decision for gate, entry in decisions.items()}
        return build(study_.study.mode, sorted(study_.configs), frozen, records, decided)

    def summarise(name: str, shape: type[Shape], compute: Callable[[Ladder], Shape]) -> Shape:
        return reader.json(names.SUMMARY / name, shape, LEDGER_REMEDY) or compute(ladder())

    built = reader.json(names.PROTOCOL / "configs.json", ModelFile, "`dvc repro protocol` writes it anew")
    hosts = summarise("agreement.json", Agreement, agreement)
    order = summarise("stability.json", Stability, stability)
    _refuse_unknown_in_summaries(study_, hosts, order)
    return StudyFiles(
        root=root,
        study=study_,
        locks=locks_,
        runs=runs,
        decisions=decisions,
        models=built.configs if built else collect_models(records),
        corpus=reader.json(names.CORPUS / "manifest.json", CorpusManifest, "`dvc repro corpus` writes it anew"),
        accounting=summarise("accounting.json", Accounting, accounting),
        agreement=hosts,
        stability=order,
        hindsight=_read_hindsight(reader, study_),
        confidence=_read_confidence(reader, study_),
        sources=reader.sources,
    )


def collect_models(records: Sequence[Record]) -> dict[str, ModelFacts]:
    """By configuration, the model that its runs built, as artifacts/protocol/configs.json has it."""
    models: dict[str, ModelFacts] = {}
    for record in records:
        model = (record.facts or {}).get("model")
        if record.config not in models and isinstance(model, dict):
            models[record.config] = {key: value for key, value in sorted(model.items()) if key != "digest"}
    alike: dict[str, list[str]] = {}
    for name, model in models.items():
        alike.setdefault(repr(model), []).append(name)
    return {
        name: {**model, "same_model_as": sorted(other for other in alike[repr(model)] if other != name)}
        for name, model in models.items()
    }


class _Reader:
    """Reads files under a root and remembers the digests of each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sources: dict[str, FileDigests] = {}

    def bytes(self, path: Path, remedy: str = "") -> bytes | None:
        """The content, or None where there is no file; with a `remedy`, a missing file is an error that ends in it."""
        if not (self.root / path).is_file():
            if remedy:
                raise Invalid(f"{path.as_posix()} is missing; {remedy}")
            return None
        data = (self.root / path).read_bytes()
        self.sources[path.as_posix()] = digest_file(data)
        return data

    def json(self, path: Path, shape: type[Shape], remedy: str) -> Shape | None:
        """A JSON object of a shape, or None where there is no file."""
        data = self.bytes(path)
        if data is None:
            return None
        try:
            value = canonical.loads(data)
        except canonical.NotCanonical as error:
            raise Invalid(f"{path.as_posix()}: {error}; {remedy}") from None
        return parse_recorded(shape, value, path.as_posix(), remedy)


def _read_locks(reader: _Reader, study_: Study) -> dict[str, LockFile]:
    lock_files: dict[str, LockFile] = {}
    for gate in map(names.gate_of, study_.rungs):
        path = names.lock_path(gate)
        data = reader.bytes(path)
        if data is not None:
            lock = locks.loads(data, path.as_posix())
            if lock.frozen.gate != gate:
                remedy = f"`git checkout -- {path.as_posix()}` brings it back"
                raise Invalid(f"{path.as_posix()}: frozen.gate: found {lock.frozen.gate}, expected {gate}; {remedy}")
            lock_files[gate] = LockFile(lock, data.decode("utf-8"))
    return lock_files


def _read_runs(reader: _Reader, study_: Study) -> dict[str, LedgerRun]:
    data = reader.bytes(RUNS, "`dvc repro -s ledger` writes it") or b""
    runs: dict[str, LedgerRun] = {}
    for number, (record, raw) in enumerate(parse_ledger(data, RUNS.as_posix()), start=1):
        line = LedgerLine(RUNS.as_posix(), number, raw)
        if record.id in runs:
            raise Invalid(f"{line}: {record.id} stands there twice; {LEDGER_REMEDY}")
        _refuse_unknown(study_, str(line), [record.config])
        if record.rung not in study_.rungs:
            raise Invalid(f"{line}: rung: found {record.rung}, which params.yaml does not have; {LEDGER_REMEDY}")
        runs[record.id] = LedgerRun(record, line)
    return runs


def _read_decisions(reader: _Reader, study_: Study) -> dict[str, LedgerDecision]:
    """The decisions by gate, in the order of the study."""
    data = reader.bytes(DECISIONS, "`dvc repro -s ledger` writes it") or b""
    entries: dict[str, LedgerDecision] = {}
    for number, raw in enumerate(io.BytesIO(data), start=1):
        line = LedgerLine(DECISIONS.as_posix(), number, raw)
        decision = parse_decision(raw, str(line), LEDGER_REMEDY)
        gate = decision.gate
        if gate in entries or gate not in study_.gates:
            problem = "a second time" if gate in entries else "which params.yaml does not have"
            raise Invalid(f"{line}: gate: found {gate}, {problem}; {LEDGER_REMEDY}")
        _refuse_unknown(study_, str(line), [*decision.candidates, *decision.promoted, *decision.stopped])
        entries[gate] = LedgerDecision(decision, line)
    return {gate: entries[gate] for gate in map(names.gate_of, study_.rungs) if gate in entries}


def _read_hindsight(reader: _Reader, study_: Study) -> list[tuple[HindsightRecord, LedgerLine]]:
    path = hindsight.LEDGER.as_posix()
    parsed = parse_hindsight(reader.bytes(hindsight.LEDGER) or b"", path)
    lines = [(record, LedgerLine(path, number, raw)) for number, (record, raw) in enumerate(parsed, start=1)]
    for record, line in lines:
        _refuse_unknown(study_, str(line), [record.config])
    return lines


def _read_confidence(reader: _Reader, study_: Study) -> StudyConfidence | None:
    data = reader.bytes(stored.RESULT)
    if data is None:
        return None
    result, where = stored.from_bytes(data), stored.RESULT.as_posix()
    for name, gate in result.gates.items():
        if name not in study_.gates or gate.gate != name:
            raise Invalid(f"{where}: gates: found {name}, expected gates of params.yaml; {stored.REMEDY}")
        pairs = {config for pair in gate.comparisons for config in (pair.config, pair.against)}
        noisiest = {gate.noise.noisiest.config} if gate.noise.noisiest else set()
        redrawn = gate.redraws.flips if gate.redraws else ()
        _refuse_unknown(study_, f"{where}: gates.{name}", sorted({*pairs, *noisiest, *redrawn}))
    _refuse_unknown(study_, f"{where}: winner", [result.winner.config, *result.winner.others] if result.winner else [])
    return result


def _refuse_unknown(study_: Study, where: str, configs: Iterable[str]) -> None:
    """Refuse a configuration that params.yaml does not have: no page could say what it is."""
    for config in configs:
        if config not in study_.configs:
            raise Invalid(
                f"{where}: found the configuration {config!r}, expected one of configs in {names.PARAMS.as_posix()}; "
                f"if it was renamed there, `git checkout -- {names.PARAMS.as_posix()}` brings the name back, and "
                "`dvc repro` makes the evidence anew under the new one"
            )


def _refuse_unknown_in_summaries(study_: Study, hosts: Agreement, order: Stability) -> None:
    for rung, summary in hosts.rungs.items():
        _refuse_unknown(study_, f"{(names.SUMMARY / 'agreement.json').as_posix()}: rungs.{rung}.means", summary.means)
    leaders: Mapping[str, None] = dict.fromkeys(fate.config for fate in order.leader_fate)
    _refuse_unknown(study_, f"{(names.SUMMARY / 'stability.json').as_posix()}: leader_fate", leaders)
