"""Where a study stands, read from the workspace alone: what `promotion status` and `promotion dag` show.

One row a rung: its lock and whether params.yaml still says the same, the runs done and to do, who went on. What is not
known yet is None.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from stages.domain import locks, names
from stages.domain.canonical import JsonObject
from stages.domain.decision import Decision
from stages.domain.locks import Lock
from stages.domain.study import Study
from stages.hosts.worklist import is_decided, read_decision, read_rung_work
from stages.protocol import corpus_digest, executed_runs
from stages.runners import Folder, runner_of
from stages.summary.plan import most_candidates

#: A live curve gets a point every few seconds; one older than this was left behind by a killed run.
HEARD_SECONDS = 600
#: Writes down what was decided so far, where a gate that is not frozen stops `dvc repro`.
WRITE_LEDGER = "dvc repro -s ledger confidence site"


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


def list_training() -> list[tuple[str, float]]:
    """Runs that train now in this workspace, by their live curves, with the seconds since each was last heard of."""
    now = time.time()
    curves = names.LIVE.rglob("*.csv") if names.LIVE.is_dir() else []
    heard = ((path.relative_to(names.LIVE).with_suffix("").as_posix(), now - path.stat().st_mtime) for path in curves)
    return sorted((run, max(0.0, seconds)) for run, seconds in heard if seconds < HEARD_SECONDS)


def find_next_step(study: Study, rungs: list[RungStatus]) -> tuple[str, str]:
    """(why, command): what to do next."""
    if lost := _find_lost_lock(rungs):
        path = names.lock_path(lost).as_posix()
        return f"{path} is missing, and what was built on it is not", f"git checkout -- {path}"
    if names.LEDGER.is_dir() and not names.RECORDS.is_dir() and _has_decisions():
        why = "the ledger holds a study whose artifacts are not here (`dvc pull` fetches them, `dvc repro` trains anew)"
        return why, "promotion verify"
    if all(row.lock is None for row in rungs):
        if not (names.CORPUS / "manifest.json").is_file():
            return "the rules name the text by its digest, so the text comes first", "dvc repro corpus"
        return "no rule is frozen yet", "promotion freeze"
    if study.study.mode == "exploratory":
        return "this is a what-if; back to what was decided leads", "git checkout . && dvc checkout"
    if changed := next((row for row in rungs if row.changed), None):
        return _explain_change(changed)
    for row in rungs:
        if row.decision is None:
            if row.lock is None:
                if not _is_in_ledger(rungs):
                    return "what was decided so far is not in the ledger yet", WRITE_LEDGER
                return f"{row.gate} is not frozen, so {row.rung} may not start", f"promotion freeze {row.gate}"
            return f"{row.rung}: {row.closed or row.outcome}", "dvc repro"
        if row.blocked_by:
            return f"{row.gate} is blocked and promotes nobody: see what its rules observed", "promotion serve"
    if not _is_in_ledger(rungs):
        return "every gate has decided, but the ledger does not hold it yet", "dvc repro"
    return "the study is complete", "promotion verify"


def _explain_change(row: RungStatus) -> tuple[str, str]:
    amend = ' --amend --reason "..."' if executed_runs(row.rung) else ""
    what = ", ".join(row.changed[:3]) + (" and more" if len(row.changed) > 3 else "")
    return f"{row.gate} was frozen otherwise ({what}): take it back, or", f"promotion freeze {row.gate}{amend}"


def _find_lost_lock(rungs: list[RungStatus]) -> str | None:
    """The first gate without a lock although a later gate has one or evidence of its rung exists."""
    for number, row in enumerate(rungs):
        later = any(other.lock is not None for other in rungs[number + 1 :])
        if row.lock is None and (later or executed_runs(row.rung)):
            return row.gate
    return None


def _has_decisions() -> bool:
    path = names.LEDGER / "decisions.jsonl"
    return path.is_file() and path.stat().st_size > 0


def _is_in_ledger(rungs: list[RungStatus]) -> bool:
    path = names.LEDGER / "decisions.jsonl"
    lines = b"".join(row.decision.to_bytes() for row in rungs if row.decision is not None)
    return lines == (path.read_bytes() if path.is_file() else b"")
