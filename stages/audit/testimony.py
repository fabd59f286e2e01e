"""What single files of a past commit testify: which rule was frozen, and evidence of what.

A past commit may be broken, or of another form of this program, so nothing here insists on today's schema: a lock is
whatever states the digest of its own content, and evidence is whatever is not plainly the record of something that was
never trained. What nobody can read counts as evidence of anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from stages.audit import dvclock
from stages.domain import canonical, names, yamlio
from stages.domain.records import EXECUTED, Record
from stages.domain.schema import Invalid

_RUNG = re.compile(r"rung[1-9][0-9]?")
_GATE = re.compile(r"gate[1-9][0-9]?")
_SHA256 = re.compile(r"[0-9a-f]{64}")

#: (rung, digest of the lock): evidence of a rung, made under a lock. Empty where the evidence does not say.
Made = tuple[str, str]
UNKNOWN: Made = ("", "")


@dataclass(frozen=True)
class Past:
    """A lock as some commit held it. Its digest is that of what it froze; more is not known of it."""

    gate: str
    digest: str
    frozen: dict[str, Any]

    @property
    def study(self) -> str:
        """The study that froze it."""
        return str(self.frozen.get("study", ""))


@dataclass(frozen=True)
class Line:
    """A line of runs.jsonl that is evidence. `run` is empty where it names none; a `failed` one may be repeated."""

    made: Made
    run: str = ""
    failed: bool = False


def past_lock(data: bytes, gate: str) -> Past | None:
    """The lock in a file of any form of this program, or None where its digest is not that of its content."""
    try:
        value = yamlio.loads(data, gate)
        frozen, digest = value.get("frozen"), value.get("digest")
        if isinstance(frozen, dict) and canonical.sha256(frozen) == digest:
            return Past(gate, str(digest), frozen)
    except (yamlio.BadYaml, canonical.NotCanonical):
        pass
    return None


def _text(value: Any, pattern: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""


def line_of(data: bytes) -> Line | None:
    """A line of runs.jsonl as evidence; None for an empty one and for a record of a run that was never trained."""
    if not data:
        return None
    try:
        value = canonical.loads(data)
    except canonical.NotCanonical:
        return Line(UNKNOWN)
    if not isinstance(value, dict):
        return Line(UNKNOWN)
    status = value.get("status")
    if status in ("stopped", "unrun") and value.get("facts") is None and value.get("spec") is None:
        return None
    made = (_text(value.get("rung"), _RUNG), _text(value.get("lock"), _SHA256))
    if not isinstance(status, str) or status not in EXECUTED or not all(made):
        return Line((made[0], ""))
    told = [value.get(key) for key in ("config", "host", "seed", "purpose")]
    return Line(made, names.run_id(made[0], *map(str, told)), status == "failed")  # type: ignore[arg-type]


def line_of_record(record: Record) -> Line | None:
    """The same, of a record that was read already."""
    return Line((record.rung, record.lock), record.id, record.status == "failed") if record.executed else None


def decision_of(data: bytes) -> Made | None:
    """A line of decisions.jsonl as evidence; None for one of a gate that saw no run, since one before it is blocked."""
    try:
        value = canonical.loads(data) if data else None
    except canonical.NotCanonical:
        return UNKNOWN
    if value is None or (isinstance(value, dict) and value.get("evidence") == {}):
        return None
    gate = _text(value.get("gate"), _GATE) if isinstance(value, dict) else ""
    return (names.rung_of(gate), _text(value.get("lock"), _SHA256)) if gate else UNKNOWN


def trained(data: bytes, where: str) -> bool:
    """Whether a rung's dvc.lock speaks of a run that was trained. Yes, if nobody can read it."""
    try:
        stages = dvclock.parse(data, where)
    except Invalid:
        return True
    return any(_had_ticket(stage) for name, stage in stages.items() if name != "gate")


def _had_ticket(stage: dvclock.Stage) -> bool:
    held = [
        value for file, told in stage.params.items() if file.endswith("/promotions.yaml") for value in told.values()
    ]
    return not held or any(value is not False for value in held)
