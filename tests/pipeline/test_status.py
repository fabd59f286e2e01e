"""Where a study stands, row by row: from its artifacts, from the ledger alone, what trains now and the time left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import status
from stages.domain import files, names
from stages.domain.records import read_rung
from stages.domain.study import load
from stages.dvcfiles import telemetry
from stages.status import TimeLeft, estimate_time_left, fill_from_ledger, list_training, read_status
from tests.report import broken

EVERYBODY = ["d1-c000", "d2-c001", "d3-c002", "d4-c003"]


def test_a_row_holds_all_that_is_known_of_its_rung(judged: Path) -> None:
    rows = read_status(load())
    assert [(row.rung, row.gate, row.budget_seconds, row.cells, row.done, row.declared) for row in rows] == [
        ("rung1", "gate1", 2.0, 2, 8, 8),
        ("rung2", "gate2", 5.0, 2, 8, 8),
        ("rung3", "gate3", 10.0, 4, 16, 16),
        ("rung4", "gate4", 60.0, 4, 12, 12),
        ("rung5", "gate5", 720.0, 4, 8, 8),
    ]
    assert [(row.floor_done, row.floor_declared) for row in rows] == [(0, 0), (0, 0), (6, 6), (0, 0), (0, 0)]
    assert [list(row.candidates or ()) for row in rows] == [EVERYBODY] * 3 + [EVERYBODY[1:], EVERYBODY[2:]]
    assert [(row.closed, row.outcome, row.blocked_by) for row in rows] == [(None, "decided", {})] * 5
    lock = rows[3].lock
    assert lock is not None
    assert rows[3].to_json() == {
        "rung": "rung4", "gate": "gate4", "budget_seconds": 60.0, "cells": 4, "candidates": EVERYBODY[1:],
        "candidates_at_most": rows[3].most, "runs": {"done": 12, "declared": 12},
        "floor_runs": {"done": 0, "declared": 0}, "lock": lock.digest, "amendments": 0,
        "changed_since_frozen": list(rows[3].changed), "outcome": "decided", "mode": "frozen", "blocked_by": {},
        "promoted": ["d3-c002", "d4-c003"],
    }  # fmt: skip


def test_before_a_gate_has_decided_the_rungs_behind_it_have_no_candidates(judged: Path) -> None:
    for gate in ("gate3", "gate4", "gate5"):
        shutil.rmtree(names.GATES / gate)
    rows = read_status(load())
    assert [(row.candidates is None, row.declared) for row in rows] == [
        (False, 8), (False, 8), (False, 16), (True, None), (True, None)
    ]  # fmt: skip
    assert [row.decision is None for row in rows] == [False, False, True, True, True]


Change = Callable[[], object]


def test_from_the_ledger_alone_the_rows_say_what_they_said_with_the_artifacts(judged: Path) -> None:
    study = load()
    whole = read_status(study)
    assert fill_from_ledger(study, whole) is whole
    shutil.rmtree("artifacts")
    rows = read_status(study)
    assert {(row.done, row.decision) for row in rows} == {(0, None)}
    filled = fill_from_ledger(study, rows)
    seen = [(row.candidates, row.done, row.declared, row.floor_done, row.closed, row.decision) for row in filled]
    assert seen == [(row.candidates, row.done, row.declared, row.floor_done, row.closed, row.decision) for row in whole]


def drop_last(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


DECISIONS, RUNS = names.LEDGER / "decisions.jsonl", names.LEDGER / "runs.jsonl"


@pytest.mark.parametrize(
    ("change", "known"),
    [
        (lambda: DECISIONS.unlink(), 0),
        (lambda: RUNS.unlink(), 0),
        (lambda: RUNS.write_bytes(b"{\n"), 0),
        (lambda: DECISIONS.write_bytes(b"{\n"), 0),
        (lambda: drop_last(DECISIONS), 4),
        (lambda: drop_last(RUNS), 4),
        (lambda: broken.score(Path(), ("rung3", "d1-c000", "cpu-fp32", 3000), 2.5), 2),
        (lambda: broken.lock(Path(), "gate2", budget_seconds=6.0), 1),
        (lambda: names.lock_path("gate4").unlink(), 3),
        (lambda: names.RECORDS.mkdir(parents=True), 0),
    ],
)
def test_the_ledger_counts_up_to_the_first_gate_that_it_does_not_hold_under_the_present_locks(
    judged: Path, change: Change, known: int
) -> None:
    study = load()
    shutil.rmtree("artifacts")
    change()
    rows = read_status(study)
    filled = fill_from_ledger(study, rows)
    assert [row.decision is not None for row in filled] == [True] * known + [False] * (5 - known)
    assert filled[known:] == rows[known:]


def test_a_run_under_another_lock_was_not_trained_for_this_rung(judged: Path) -> None:
    row = read_status(load())[2]
    assert row.lock is not None
    record: Any = SimpleNamespace(rung="rung3", executed=True, lock=row.lock.digest)
    assert status._was_trained(record, row) is True
    for change in ({"rung": "rung2"}, {"executed": False}, {"lock": "0" * 64}):
        assert not status._was_trained(SimpleNamespace(**{**vars(record), **change}), row)  # type: ignore[arg-type]


def test_what_trains_now_was_heard_of_within_ten_minutes(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list_training() == []
    now = 1_700_000_000
    for name, age in (("rung2/b", 0), ("rung1/a", 599), ("rung1/c", 600), ("rung3/later", -5)):
        path = names.LIVE / f"{name}.csv"
        files.write_whole(path, b"")
        os.utime(path, (now - age, now - age))
    files.write_whole(names.LIVE / "note.txt", b"")
    monkeypatch.setattr(status, "time", SimpleNamespace(time=lambda: float(now)))
    assert list_training() == [("rung1/a", 599.0), ("rung2/b", 0.0), ("rung3/later", 0.0)]


def test_the_time_left_is_told_with_what_it_rests_on() -> None:
    assert str(TimeLeft("rung2", 1, 75.0, 1, ())) == (
        "time left at rung2: about 1 min 15 s for 1 run, one after another, by 1 finished run of the same rung and hosts"
    )
    assert str(TimeLeft("rung2", 3, None, 2, ("a", "b"))) == (
        "time left at rung2: no estimate for 3 runs: a and b has finished none of this rung here"
    )


def take(*runs: tuple[str, str, int]) -> None:
    shutil.rmtree(names.GATES / "gate5")
    for config, host, seed in runs:
        names.record_path(f"rung5/{config}/{host}/{seed}").unlink()


def keep_times(**seconds: float | str) -> None:
    """Telemetry of the runs of rung 5 that are left: these seconds of each process, by the precision of the host."""
    for record, _ in read_rung("rung5").values():
        if (took := seconds.get(record.host.removeprefix("cpu-"))) is not None:
            telemetry.store(record.md5, telemetry.dumps(record.id, record.md5, {"process_seconds": took}))


def test_the_time_left_adds_the_mean_of_each_host_for_each_of_its_runs(judged: Path) -> None:
    assert estimate_time_left(load(), read_status(load())) is None
    take(("d3-c002", "cpu-fp32", 5000), ("d3-c002", "cpu-fp32", 5001), ("d4-c003", "cpu-bf16", 5001))
    keep_times(fp32=60, bf16=90.5)
    record = next(record for record, _ in read_rung("rung5").values() if record.executed and record.host == "cpu-fp32")
    telemetry.store(record.md5, telemetry.dumps(record.id, record.md5, {"process_seconds": 80.0}))
    rows = read_status(load())
    assert estimate_time_left(load(), rows) == TimeLeft("rung5", 3, 2 * 70.0 + 90.5, 5, ())


@pytest.mark.parametrize(
    ("took", "unknown"), [({"fp32": 60}, ("cpu-bf16",)), ({"fp32": 0, "bf16": "x"}, None), ({}, None)]
)
def test_a_host_of_which_no_time_is_known_leaves_the_time_left_unknown(
    judged: Path, took: dict[str, Any], unknown: tuple[str, ...] | None
) -> None:
    take(("d3-c002", "cpu-fp32", 5000), ("d4-c003", "cpu-bf16", 5001))
    for path in names.TELEMETRY.rglob("*.json"):
        path.unlink()
    keep_times(**took)
    left = estimate_time_left(load(), read_status(load()))
    assert left is not None
    assert (left.runs, left.seconds, sorted(left.unknown)) == (2, None, list(unknown or ("cpu-bf16", "cpu-fp32")))
    assert left.rests_on == (3 if unknown else 0)


def test_no_run_to_do_and_no_open_rung_have_no_time_left(judged: Path) -> None:
    shutil.rmtree(names.GATES / "gate5")
    assert estimate_time_left(load(), read_status(load())) is None


def test_nothing_declared_leaves_nothing_to_do(judged: Path) -> None:
    row = replace(read_status(load())[2], decision=None, declared=None, done=0)
    assert row.outcome == "ready to judge"
    assert [replace(row, floor_done=done).outcome for done in (5, 0)] == ["1 runs to do", "6 runs to do"]
    assert list(row.changed) == []
