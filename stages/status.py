"""Where a study stands, read from the workspace alone: what `promotion status` and `promotion dag` show.

One row a rung: its lock and whether params.yaml still says the same, the runs done and to do, who went on. What is not
known yet is None.
"""

from __future__ import annotations

import io
import statistics
import time
from dataclasses import dataclass, replace

from stages.domain import locks, names, records
from stages.domain.canonical import JsonObject
from stages.domain.decision import Decision, parse_decision
from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes
from stages.domain.formatting import count, elapsed
from stages.domain.locks import Lock
from stages.domain.records import Record
from stages.domain.study import Study
from stages.dvcfiles import telemetry
from stages.hosts.worklist import is_decided, read_decision, read_rung_work
from stages.protocol import corpus_digest
from stages.runners import Folder, runner_of
from stages.summary.plan import most_candidates

#: A live curve gets a point every few seconds; one older than this was left behind by a killed run.
HEARD_SECONDS = 600


@dataclass(frozen=True)
class RungStatus:
    """One rung. `candidates` is None until the gate before has decided; `decision` is that of these very records."""

    rung: str
    gate: str
    budget_seconds: float
    cells: int
    candidates: tuple[str, ...] | None
    most: int
    done: int
    declared: int | None
    floor_done: int
    floor_declared: int
    closed: str | None
    lock: Lock | None
    changed: tuple[str, ...]
    decision: Decision | None

    @property
    def blocked_by(self) -> dict[str, str]:
        """The rules that block the gate, with their text; empty where none does."""
        if self.decision is None:
            return {}
        return {rule.id: rule.text for rule in self.decision.rules if rule.id in self.decision.blocked_by}

    @property
    def outcome(self) -> str:
        """blocked, decided, or why there is no decision: not frozen, waiting, ready, running short of so many runs."""
        if self.decision is not None:
            return self.decision.outcome
        if self.lock is None:
            return "not frozen"
        if self.closed is not None:
            return "waiting"
        left = (self.declared or 0) - self.done + self.floor_declared - self.floor_done
        return f"{left} runs to do" if left else "ready to judge"

    def to_json(self) -> JsonObject:
        """As `promotion status --json` has it."""
        decision = self.decision
        frozen = self.lock.frozen if self.lock else None
        return {
            "rung": self.rung,
            "gate": self.gate,
            "budget_seconds": self.budget_seconds,
            "cells": self.cells,
            "candidates": None if self.candidates is None else list(self.candidates),
            "candidates_at_most": self.most,
            "runs": {"done": self.done, "declared": self.declared},
            "floor_runs": {"done": self.floor_done, "declared": self.floor_declared},
            "lock": self.lock.digest if self.lock else None,
            "amendments": len(frozen.amendments) if frozen else 0,
            "changed_since_frozen": list(self.changed),
            "outcome": self.outcome,
            "mode": decision.mode if decision else None,
            "blocked_by": self.blocked_by,
            "promoted": decision.promoted if decision else None,
        }


def find_changes(study: Study, gate: str, lock: Lock, previous: str | None) -> tuple[str, ...]:
    """What params.yaml, the runner or the corpus of this workspace say otherwise than the lock, as dotted paths."""
    frozen = lock.frozen
    runner = runner_of(study.runner).digest(Folder()) or frozen.runner
    corpus = corpus_digest() if (names.CORPUS / "manifest.json").is_file() else frozen.corpus
    now = locks.frozen_of(study, gate, runner=runner, corpus=corpus, previous=previous)
    return tuple(locks.difference(frozen, now))


def _read_current_decision(rung: str) -> Decision | None:
    """The decision of a rung's gate, if it is about the lock and the records in the workspace."""
    if not is_decided(rung):
        return None
    return read_decision(rung)


def _list_candidates(study: Study, before: RungStatus | None) -> tuple[str, ...] | None:
    if before is None:
        return tuple(sorted(study.configs))
    return None if before.decision is None else tuple(before.decision.promoted)


def read_status(study: Study) -> list[RungStatus]:
    """Every rung of the study, in order."""
    rows: list[RungStatus] = []
    most = most_candidates(study)
    for rung, declared in study.rungs.items():
        gate, before = names.gate_of(rung), rows[-1] if rows else None
        lock = locks.read(gate)
        previous = before.lock.digest if before and before.lock else None
        work = read_rung_work(study, rung)
        candidates = _list_candidates(study, before)
        cells = len(study.cells(rung))
        rows.append(
            RungStatus(
                rung=rung,
                gate=gate,
                budget_seconds=declared.budget_seconds,
                cells=cells,
                candidates=candidates,
                most=most[rung],
                done=sum(run.purpose == "candidate" for run in work.trained),
                declared=None if candidates is None else len(candidates) * cells,
                floor_done=sum(run.purpose == "floor" for run in work.trained),
                floor_declared=len(study.hosts) * len(declared.floor_seeds),
                closed=work.closed,
                lock=lock,
                changed=find_changes(study, gate, lock, previous) if lock else (),
                decision=_read_current_decision(rung),
            )
        )
    return rows


def fill_from_ledger(study: Study, rungs: list[RungStatus]) -> list[RungStatus]:
    """The rows of a clone without artifacts, by the ledger as far as it holds decisions under the present locks.

    The same rows where artifacts are here, or where the ledger holds none or cannot be read (`promotion verify`).
    """
    runs, decisions = names.LEDGER / "runs.jsonl", names.LEDGER / "decisions.jsonl"
    if names.RECORDS.is_dir() or not (runs.is_file() and decisions.is_file()):
        return rungs
    try:
        recorded = records.parse_ledger(runs.read_bytes(), runs.as_posix())
        lines = io.BytesIO(decisions.read_bytes())
        decided = [parse_decision(line, decisions.as_posix(), "`promotion verify`") for line in lines]
    except Invalid:
        return rungs
    by_gate = {decision.gate: decision for decision in decided}
    filled: list[RungStatus] = []
    for row in rungs:
        digests = {record.id: md5_bytes(line) for record, line in recorded if record.rung == row.rung}
        decision = by_gate.get(row.gate)
        if row.lock is None or decision is None or decision.lock != row.lock.digest:
            break
        if any(digests.get(run) != md5 for run, md5 in decision.evidence.items()):
            break
        candidates = _list_candidates(study, filled[-1] if filled else None) or ()
        trained = [record for record, _ in recorded if _was_trained(record, row)]
        filled.append(
            replace(
                row,
                candidates=candidates,
                done=sum(record.purpose == "candidate" for record in trained),
                declared=len(candidates) * row.cells,
                floor_done=sum(record.purpose == "floor" for record in trained),
                closed=None,
                decision=decision,
            )
        )
    return filled + rungs[len(filled) :]


def _was_trained(record: Record, row: RungStatus) -> bool:
    return record.rung == row.rung and record.executed and row.lock is not None and record.lock == row.lock.digest


def list_training() -> list[tuple[str, float]]:
    """Runs that train now in this workspace, by their live curves, with the seconds since each was last heard of."""
    now = time.time()
    curves = names.LIVE.rglob("*.csv") if names.LIVE.is_dir() else []
    heard = ((path.relative_to(names.LIVE).with_suffix("").as_posix(), now - path.stat().st_mtime) for path in curves)
    return sorted((run, max(0.0, seconds)) for run, seconds in heard if seconds < HEARD_SECONDS)


@dataclass(frozen=True)
class TimeLeft:
    """How long the runs that a rung lacks will take, one after another, by those of the same rung and host that ended.

    `seconds` is None, and `unknown` names the hosts, where a host with runs to do has finished none.
    """

    rung: str
    runs: int
    seconds: float | None
    rests_on: int
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        runs = count(self.runs, "run")
        if self.seconds is None:
            hosts = " and ".join(self.unknown)
            return f"time left at {self.rung}: no estimate for {runs}: {hosts} has finished none of this rung here"
        basis = f"by {count(self.rests_on, 'finished run')} of the same rung and hosts"
        return f"time left at {self.rung}: about {elapsed(self.seconds)} for {runs}, one after another, {basis}"


def estimate_time_left(study: Study, rungs: list[RungStatus]) -> TimeLeft | None:
    """The time left at the rung that is at work; None where no run is to do. By telemetry: whole processes."""
    row = next((row for row in rungs if row.decision is None and row.closed is None), None)
    if row is None:
        return None
    work = read_rung_work(study, row.rung)
    took: dict[str, list[float]] = {}
    for run in work.trained:
        record = records.read(run.id)
        seconds = telemetry.read(run.id, record.md5).get("process_seconds") if record else None
        if isinstance(seconds, int | float) and seconds > 0:
            took.setdefault(run.host, []).append(float(seconds))
    left = work.waits_for()
    if not left:
        return None
    unknown = tuple(host for host in left if host not in took)
    total = None if unknown else sum(runs * statistics.fmean(took[host]) for host, runs in left.items())
    return TimeLeft(row.rung, sum(left.values()), total, sum(len(took.get(host, ())) for host in left), unknown)
