"""What single files of a past commit hold: a lock, a line of a ledger, a decision, a dvc.lock.

    parse_past_lock(data, "gate1")
    parse_evidence_line(line)

A past commit may be broken, or of another version of this program, so nothing here insists on today's schemas: a lock
is whatever states the digest of its own content, and evidence is whatever is not plainly the record of something that
was never trained. What nobody can read may be evidence of anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stages.domain import canonical, names, yamlio
from stages.domain.canonical import JsonObject
from stages.domain.conflicts import is_marker
from stages.domain.errors import Invalid
from stages.domain.records import EXECUTED, Record, parse_hindsight, parse_ledger
from stages.dvcfiles import lockfile

#: Why a run was never trained, as any version of this program says it.
_UNTRAINED = re.compile(
    r"gate[1-9][0-9]? did not promote it|it ran at rung[1-9][0-9]? itself"
    r"|only an exploratory (?:gate[1-9][0-9]? promotes it|study asks for it: .*)"
)
#: A number with decimals, as a score is.
DECIMALS = re.compile(r"\d[.,]\d")
_RUNG = re.compile(r"rung[1-9][0-9]?")
#: A past dvc.lock that DVC did not write itself takes a slow parser: a longer one counts as one that nobody can read.
MAX_OTHER_FORM = 256 << 10
_GATE = re.compile(r"gate[1-9][0-9]?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

#: What evidence commits to: (rung, digest of the lock that judges it). Empty where the evidence does not say.
Commitment = tuple[str, str]
UNKNOWN: Commitment = ("", "")


@dataclass(frozen=True)
class PastLock:
    """A lock as some commit held it. Its digest is that of what it froze; more is not known of it."""

    gate: str
    digest: str
    #: JSON that any version of this program may have written.
    frozen: JsonObject

    @property
    def study(self) -> str:
        """The study that froze it."""
        return str(self.frozen.get("study", ""))


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """A line of runs.jsonl that is evidence. `run` is empty where it names none; a `failed` one may be repeated.

    One that is called failed and holds facts all the same is what a run reported: it may not.
    """

    commitment: Commitment
    run: str = ""
    failed: bool = False


def parse_past_lock(data: bytes, gate: str) -> PastLock | None:
    """The lock in a file of any version of this program, or None where its digest is not that of its content."""
    try:
        value = yamlio.loads(data, gate)
        frozen, digest = value.get("frozen"), value.get("digest")
        if isinstance(frozen, dict) and canonical.sha256(frozen) == digest:
            return PastLock(gate, str(digest), frozen)
    except (yamlio.BadYaml, canonical.NotCanonical):
        pass
    return None


def _matching(value: object, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def parse_evidence_line(data: bytes) -> EvidenceLine | None:
    """A line of runs.jsonl as evidence; None for an empty one and for a record of a run that was never trained."""
    if not data.rstrip(b"\n"):
        return None
    try:
        value: Any = canonical.loads(data)
    except canonical.NotCanonical:
        return EvidenceLine(UNKNOWN)
    if not isinstance(value, dict):
        return EvidenceLine(UNKNOWN)
    status = value.get("status")
    if status in ("stopped", "unrun") and value.get("facts") is None and value.get("spec") is None:
        return None
    rung, lock = _matching(value.get("rung"), _RUNG), _matching(value.get("lock"), _SHA256)
    if not isinstance(status, str) or status not in EXECUTED or not rung or not lock:
        return EvidenceLine((rung, ""))
    config, host, seed, purpose = (str(value.get(key)) for key in ("config", "host", "seed", "purpose"))
    run = names.run_id(rung, config, host, seed, purpose)  # type: ignore[arg-type]  # a seed that may be no number
    return EvidenceLine((rung, lock), run, status == "failed" and value.get("facts") is None)


def find_record_problem(line: bytes, *, hindsight: bool) -> str:
    """What keeps a line of a past ledger from being a record as this program writes it; empty where nothing does.

    What was reported stays, so no line may be one that nobody can compare. A line that git leaves in a merge conflict
    reports nothing, nor does an empty one.
    """
    if not line.strip() or (is_marker(line) and not DECIMALS.search(line.decode("utf-8", "replace"))):
        return ""
    try:
        ((record, _),) = parse_hindsight(line, "it") if hindsight else parse_ledger(line, "it")
    except Invalid as error:
        return str(error).removeprefix("it, line 1: ")
    if not record.executed and record.environment is not None:
        return f"environment: {record.environment!r} of a run that was never trained"
    reason = record.reason or ""
    known = record.executed or (_UNTRAINED.fullmatch(reason) and not DECIMALS.search(reason))
    return "" if known else f"reason: {reason!r} of a run that was never trained"


def evidence_of_record(record: Record) -> EvidenceLine | None:
    """The same, of a record that was read already."""
    failed = record.status == "failed" and record.facts is None
    return EvidenceLine((record.rung, record.lock), record.id, failed) if record.executed else None


def parse_decision_commitment(data: bytes) -> Commitment | None:
    """What a line of decisions.jsonl commits to; None for a gate that saw no run, since one before it is blocked."""
    try:
        value: Any = canonical.loads(data) if data else None
    except canonical.NotCanonical:
        return UNKNOWN
    if value is None or (isinstance(value, dict) and value.get("evidence") == {}):
        return None
    gate = _matching(value.get("gate"), _GATE) if isinstance(value, dict) else ""
    return (names.rung_of(gate), _matching(value.get("lock"), _SHA256)) if gate else UNKNOWN


def holds_trained_run(data: bytes, where: str) -> bool:
    """Whether a dvc.lock of a rung speaks of a run that was trained. Yes, if nobody can read it."""
    try:
        stages = lockfile.parse(data, where, MAX_OTHER_FORM)
    except Invalid:
        return True
    return any(_had_ticket(stage) for name, stage in stages.items() if name != "gate")


def _had_ticket(stage: lockfile.LockedStage) -> bool:
    tickets = [
        ticket
        for file, values in stage.params.items()
        if file.endswith(("/promotions.json", "/promotions.yaml"))  # the latter in the earlier layout
        for ticket in values.values()
    ]
    return not tickets or any(ticket is not False for ticket in tickets)
