"""Check V30, and training a recorded run again: what the comparison with its record says.

    promotion replay rung5/d8-ar48/cpu-fp32/501
    promotion replay --sample 3

`promotion verify` never trains; V30 says what would. A run is given exactly what its record says it was given (on the
wall clock also the recorded progress, step for step); neither record nor trace is touched, and a replay that was killed
goes on where it was. On the same kind of machine the record must come out the same, byte for byte. On another kind,
sums are rounded elsewhere and the last digits grow: then val_bpb must agree within a tolerance, which is half the
smallest difference that a rule of the default study looks at.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stages.domain import canonical, names
from stages.domain.canonical import JsonObject
from stages.domain.diff import differences
from stages.domain.errors import Refused
from stages.domain.locks import Lock, read
from stages.domain.metric import BUILTIN_NAME
from stages.domain.records import Record, parse_ledger, parse_line
from stages.dvcfiles import lockfile, telemetry
from stages.dvcfiles.cache import md5_folder
from stages.progress import ProgressLine
from stages.runners import Folder, report_environment, runner_of
from stages.verify.check import Case, Problem, Skip
from stages.verify.ledger import Ledger

#: What makes two machines one kind: the arithmetic library, and the unit that does the arithmetic.
KIND = ("torch", "cpu", "instructions", "threads", "device_name", "driver")
#: A machine may be busy; one that needs this many times the budget for a run's steps says that the run had more time.
LONG = 1.5
Outcome = Literal["identical", "within", "differs"]


@dataclass(frozen=True)
class Replayed:
    """What came of one run. `same_kind` is None where the record's telemetry is not here to say."""

    run: str
    outcome: Outcome
    same_kind: bool | None
    recorded: float | None
    again: float | None
    changed: tuple[str, ...]
    #: Seconds on the wall clock that the run's steps took here, and the budget that they had there; else None.
    seconds: float | None = None
    budget: float | None = None
    metric: str = BUILTIN_NAME

    @property
    def long(self) -> bool:
        """Whether a machine of the same kind needs much longer for these steps than their budget allowed."""
        if self.same_kind is not True or self.seconds is None or self.budget is None:
            return False
        return self.seconds > LONG * self.budget

    @property
    def difference(self) -> float | None:
        """val_bpb now less val_bpb recorded, in six decimals."""
        if self.recorded is None or self.again is None:
            return None
        return round(self.again - self.recorded, 6)

    def to_json(self) -> JsonObject:
        """The comparison as one value."""
        return {
            "run": self.run,
            "outcome": self.outcome,
            "same_kind_of_machine": self.same_kind,
            "recorded": self.recorded,
            "again": self.again,
            "difference": self.difference,
            "changed": list(self.changed),
            "seconds": self.seconds,
            "budget_seconds": self.budget,
        }


def read_ledger(root: Path) -> dict[str, tuple[Record, bytes]]:
    """The executed runs of the ledger by name."""
    path = root / names.LEDGER / "runs.jsonl"
    if not path.is_file():
        raise Refused(f"{path.as_posix()} is missing; `dvc repro -s ledger` writes it")
    return {record.id: (record, data) for record, data in parse_ledger(path.read_bytes(), "ledger/runs.jsonl")}


def choose_runs(runs: Mapping[str, tuple[Record, bytes]], asked: Iterable[str], sample: int, seed: int) -> list[str]:
    """The runs to repeat: those asked for, or a sample that everybody with the same seed draws."""
    executed = sorted(run for run, (record, _) in runs.items() if record.executed)
    wanted = list(asked)
    for run in wanted:
        if run not in executed:
            near = f"; executed runs look like {executed[0]}" if executed else ""
            raise Refused(f"{run}: {'was not executed' if run in runs else 'is not in the ledger'}{near}")
    if sample > len(executed):
        raise Refused(f"--sample {sample}: found {len(executed)} executed runs, expected at least as many")
    return wanted or random.Random(seed).sample(executed, sample)


def _check_place(record: Record, lock: Lock, root: Path) -> None:
    """Refuse where the run cannot be repeated: no progress on the wall clock, another runner, corpus or host block."""
    from stages.hosts.machine import describe_machine, find_mismatches

    is_command = lock.frozen.settings.get("kind") == "command"
    if not is_command and record.budget.clock == "wall" and (record.facts or {}).get("progress") is None:
        raise Refused(
            f"{record.id}: its facts hold no progress; a run on the wall clock is repeated by it, step for step"
        )
    runner = runner_of(lock.frozen.settings)
    digest = runner.digest(Folder(root))
    if digest != record.runner:
        raise Refused(
            f"{runner.title}: found sha256 {digest}, expected {record.runner}; check out the commit of {record.id}"
        )
    runner.check_corpus(record.corpus, root / names.CORPUS)
    if why := find_mismatches(lock.frozen.hosts[record.host], describe_machine()):
        raise Refused(f"{record.id} needs a machine like hosts.{record.host}: {'; '.join(why)}")


def replay_run(record: Record, data: bytes, root: Path, tolerance: float, same_kind: bool = False) -> Replayed:
    """Train a run again and compare. Raises `Refused` where this machine cannot.

    `same_kind`: the reviewer says that this machine is of the kind that made a record whose telemetry is not here.
    """
    lock = read(record.gate, root)
    if lock is None:
        raise Refused(f"locks/{record.gate}.yaml is missing; `git checkout -- locks`")
    _check_place(record, lock, root)
    machine = recorded_machine(record, root)
    scratch = root / names.SCRATCH / "replay" / record.id
    with ProgressLine(record.id, record.budget.seconds, record.budget.clock, sys.stderr) as line:
        result = runner_of(lock.frozen.settings).repeat(record, root / names.CORPUS, scratch, line)
    result.clear()
    repeated = canonical.loads(data)
    repeated.update(status=result.status, reason=result.reason, facts=result.facts)
    repeated["environment"] = report_environment(list(lock.frozen.hosts[record.host].report), result.telemetry)
    alike = is_same_kind(machine, result.telemetry)
    replayed = compare_records(data, repeated, True if alike is None and same_kind else alike, tolerance)
    if record.budget.clock != "wall" or lock.frozen.settings.get("kind") == "command":
        return replayed
    seconds = result.telemetry["train_seconds"] - result.telemetry["first_steps_seconds"]
    return replace(replayed, seconds=round(seconds, 3), budget=record.budget.seconds)


def compare_records(data: bytes, repeated: JsonObject, same_kind: bool | None, tolerance: float) -> Replayed:
    """What the record of a repeated run says of the recorded line `data`."""
    recorded = canonical.loads(data)
    changed = tuple(pointer for pointer, _, _ in differences(repeated, recorded))
    was, now = (_score(record["facts"] or {}) for record in (recorded, repeated))
    outcome: Outcome = "identical" if canonical.dumps(repeated) == data else "differs"
    if outcome == "differs" and same_kind is not True and repeated["status"] == recorded["status"]:
        close = was is not None and now is not None and abs(now - was) <= tolerance
        outcome = "within" if close else "differs"
    record = parse_line(data, "the ledger")
    return Replayed(record.id, outcome, same_kind, was, now, changed, metric=record.metric)


def _score(facts: JsonObject) -> float | None:
    value: float | None = facts["score"] if "score" in facts else facts.get("val_bpb")
    return value


def recorded_machine(record: Record, root: Path) -> JsonObject | None:
    """The telemetry of a recorded run, as dvc.lock records it; None where it is not here. Refuses a changed one.

    It decides how much a repetition may differ, so it is believed no more than anything else.
    """
    path, folder, lock = root / names.telemetry_path(record.id), names.TELEMETRY, Path("dvc.lock")
    if not path.is_file():
        return None
    stages = lockfile.parse((root / lock).read_bytes(), lock.as_posix()) if (root / lock).is_file() else {}
    recorded = {out.md5 for stage in stages.values() for out in stage.outs.values() if out.path == folder.as_posix()}
    if (md5 := md5_folder(root / folder)) not in recorded:
        expected = ", ".join(map(str, recorded)) or "an entry of its own"
        raise Refused(
            f"{folder.as_posix()}: found {md5}, expected {expected}, as in {lock.as_posix()}; `dvc checkout` mends it"
        )
    return telemetry.parse(path.read_bytes())


def is_same_kind(recorded: JsonObject | None, present: JsonObject) -> bool | None:
    """Whether two machines are of one kind, by their telemetry; None where nothing is known of the recorded one."""
    return None if recorded is None else all(recorded.get(key) == present.get(key) for key in KIND)


def check_replay(case: Case) -> Iterable[Problem]:
    """Only training a run again shows that its score was reached."""
    executed = sum(1 for run in case.get(Ledger).runs if run.record.executed)
    raise Skip(f"{executed} runs were trained, and reading does not train", "promotion replay --sample 3")
