"""Records: what one run is evidence of, as one line of canonical JSON.

A record holds deterministic facts alone, and commits to the lock of the gate that will judge it, to the runner
and to the corpus: it proves that its rule was there first. What differs from run to run lives in telemetry.
"""

from __future__ import annotations

import hashlib
import io
import sys
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from stages.domain import canonical, names
from stages.domain.canonical import JsonObject
from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes
from stages.domain.metric import metric_of
from stages.domain.names import ClockKind
from stages.domain.schema import GateName, Key, RungName, Sha256, Strict, Text, parse

Status = Literal["finished", "diverged", "failed", "stopped", "unrun"]
EXECUTED: frozenset[str] = frozenset({"finished", "diverged", "failed"})
MAX_LINE = 1 << 20
#: The largest score of a command, on either side of zero: domain/line_template.py reads no larger number.
MAX_SCORE = 1_000_000
Bpb = Annotated[float, Field(ge=0, le=1000)]
#: A whole number that every reader of JSON takes exactly.
Count = Annotated[int, Field(ge=0, le=2**53)]
AnyRecord = TypeVar("AnyRecord", bound="Record")


class Budget(Strict):
    """What a run was given: the clock and its seconds."""

    clock: ClockKind
    seconds: Annotated[float, Field(gt=0)]


@lru_cache(maxsize=256)
def _share_budget(budget: Budget) -> Budget:
    """The first budget that was equal: the runs of a rung have one."""
    return budget


class Progress(Strict):
    """What a run on the wall clock keeps of its clock, so that it can be repeated step for step (trainer/clock.py)."""

    ticks: Annotated[int, Field(ge=1, le=1 << 20)]
    steps: Count
    data: Annotated[str, Field(max_length=1 << 20)]


class Facts(Strict):
    """What came of a run that was trained. A score is null unless the run finished, a loss unless a step ended."""

    val_bpb: Bpb | None
    locked_bpb: Bpb | None
    steps: Count
    tokens: Count
    train_loss: Annotated[float, Field(ge=0)] | None
    rated_seconds: Annotated[float, Field(ge=0)] | None
    progress: Progress | None
    model: dict[Key, Any]


class CommandFacts(Strict):
    """What came of a run of a command. `printed` is the score as the trainer wrote it, `score` what was made of it.

    Both are null unless the run finished. `reported` holds what `runner.facts` names, as far as the trainer said it.
    """

    score: Annotated[float, Field(ge=-MAX_SCORE, le=MAX_SCORE)] | None
    printed: Annotated[str, Field(max_length=64)] | None
    reported: dict[Key, float]


class Record(Strict):
    """One line of ledger/runs.jsonl."""

    __slots__ = ("_md5",)

    schema_: Annotated[Literal[1], Field(alias="schema")]
    rung: RungName
    config: Key
    host: Key
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)]
    purpose: Literal["candidate", "floor"]
    status: Status
    reason: Text | None
    gate: GateName
    lock: Sha256
    runner: Sha256
    corpus: Sha256
    budget: Annotated[Budget, AfterValidator(_share_budget)]
    environment: dict[Key, str] | None
    spec: dict[str, Any] | None
    facts: dict[str, Any] | None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.status == "finished":
            facts = self.facts or {}
            key, low, high = ("score", -MAX_SCORE, MAX_SCORE) if "score" in facts else ("val_bpb", 0, 1000)
            value = facts.get(key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f"facts.{key} of a finished run: a number from {low} to {high}, not {value!r}")
            if canonical.exact(value).quantize(Decimal("0.000001")) != canonical.exact(value):
                raise ValueError(f"facts.{key}: at most six decimals, not {value!r}")
        if self.status in EXECUTED and self.spec is None:
            raise ValueError(f"spec: that of the run, since its status is {self.status}")
        if self.status not in EXECUTED and (self.spec is not None or self.facts is not None):
            raise ValueError(f"spec and facts: null, since its status is {self.status}")
        if names.gate_of(self.rung) != self.gate:
            raise ValueError(f"gate: {names.gate_of(self.rung)}, since its rung is {self.rung}")
        return self

    @property
    def id(self) -> str:
        """The run's one name: rung/config/host/seed."""
        return names.run_id(self.rung, self.config, self.host, self.seed, self.purpose)

    @property
    def md5(self) -> str:
        """MD5 of the line that the record was read from: what DVC holds for its file."""
        return getattr(self, "_md5", "")

    @property
    def executed(self) -> bool:
        """Whether something was trained: finished, diverged or failed."""
        return self.status in EXECUTED

    @property
    def metric(self) -> str:
        """What the score is called; a run that was not trained says val_bpb."""
        name: str = metric_of(self.spec or {}).name
        return name

    @property
    def reported_seconds(self) -> float | None:
        """The seconds that a command reports of its training; None where it reports none."""
        reported = (self.facts or {}).get("reported")
        seconds = reported.get("seconds") if isinstance(reported, dict) else None
        return seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None

    @property
    def val_bpb(self) -> Decimal | None:
        """The score, exactly as recorded; None unless the run finished. A command's score has a name of its own."""
        if self.status != "finished":
            return None
        facts = self.facts or {}
        return canonical.exact(facts["score"] if "score" in facts else facts["val_bpb"])


class HindsightRecord(Record):
    """One line of ledger/hindsight.jsonl: a run after the last gate has decided, at the budget of the last rung.

    `decision` is the SHA-256 of the line of that decision in ledger/decisions.jsonl: nobody knows it before it is made,
    so no run in hindsight can have been there for a gate to see.
    """

    purpose: Literal["hindsight"]  # type: ignore[assignment]  # no gate takes it for a candidate
    decision: Sha256


def parse_line(line: bytes, where: str) -> Record:
    """A record from its canonical line; `Invalid` says what is wrong at `where`."""
    return _parse(Record, line, where, {})


def _parse(model: type[AnyRecord], line: bytes, where: str, shared: dict[bytes, JsonObject]) -> AnyRecord:
    if len(line) > MAX_LINE:
        raise Invalid.at(where, f"{len(line)} bytes, expected a record of at most {MAX_LINE}")
    try:
        value = canonical.loads_canonical(line)
    except canonical.NotCanonical as error:
        raise Invalid.at(where, f"{error}; a record is one line of canonical JSON") from None
    record = parse(model, _share(value, shared), where)
    object.__setattr__(record, "_md5", md5_bytes(line))
    object.__setattr__(record, "__pydantic_fields_set__", _fields_of(model))
    return record


@cache
def _fields_of(model: type[Record]) -> set[str]:
    """The names of the fields, each of which every record sets: one set for all of them."""
    return set(model.model_fields)


def _share(value: Any, shared: dict[bytes, JsonObject], depth: int = 0) -> Any:
    """The value of a record with one object for what many records say alike: names, digests, the model, the host.

    A ledger then takes a third of the memory. `shared` are the objects inside spec and facts by their digest.
    """
    if isinstance(value, str):
        return sys.intern(value)
    if not isinstance(value, dict):
        return value
    if depth == 2:
        return shared.setdefault(hashlib.sha256(repr(value).encode("utf-8")).digest(), value)
    return {sys.intern(key): _share(item, shared, depth + 1) for key, item in value.items()}


def read(run: str) -> Record | None:
    """The record of a run in the workspace, or None where there is none. Its content must match its place."""
    path = names.record_path(run)
    if not path.is_file():
        return None
    record = parse_line(path.read_bytes(), path.as_posix())
    if record.id != run:
        raise Invalid.at(path.as_posix(), f"found the record of {record.id}, expected that of {run}")
    return record


def read_rung(rung: str, root: Path = Path()) -> dict[str, tuple[Record, bytes]]:
    """Every record of a rung in the workspace with its bytes, by run id, sorted. No folder: no records."""
    folder = root / names.RECORDS / rung
    records: dict[str, tuple[Record, bytes]] = {}
    for path in sorted(folder.glob("*/*/*.json")) if folder.is_dir() else []:
        run = path.relative_to(root / names.RECORDS).with_suffix("").as_posix()
        data = path.read_bytes()
        record = parse_line(data, path.as_posix())
        if record.id != run:
            raise Invalid.at(path.as_posix(), f"found the record of {record.id}, expected that of {run}")
        records[run] = (record, data)
    return records


def parse_ledger(data: bytes, where: str) -> list[tuple[Record, bytes]]:
    """The lines of runs.jsonl as records with their bytes; `Invalid` names the line that is none."""
    return _parse_lines(Record, data, where)


def parse_hindsight(data: bytes, where: str) -> list[tuple[HindsightRecord, bytes]]:
    """The same of hindsight.jsonl."""
    return _parse_lines(HindsightRecord, data, where)


def _parse_lines(model: type[AnyRecord], data: bytes, where: str) -> list[tuple[AnyRecord, bytes]]:
    if data and not data.endswith(b"\n"):
        raise Invalid.at(where, "the last line does not end; is the file whole?")
    lines = enumerate(io.BytesIO(data), start=1)  # one at a time: of a file of empty lines the first is refused
    shared: dict[bytes, JsonObject] = {}
    return [(_parse(model, line, f"{where}, line {number}", shared), line) for number, line in lines]
