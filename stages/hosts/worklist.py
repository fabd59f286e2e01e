"""The runs of a study as work: which are done, which can be done now, and which wait, by the files of this clone alone.

    promotion pending

A run is done when its record is what the open contract of its rung asks for: under the same lock, runner, corpus,
budget and specification. Anything else in its place is a leftover of other rules, and the run is to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.domain import canonical, locks, names, promotions, records
from stages.domain.contract import Contract, read
from stages.domain.decision import Decision, parse_decision
from stages.domain.files import md5_bytes
from stages.domain.records import Record
from stages.domain.schema import Invalid
from stages.domain.study import Study
from stages.runners import assign, runner_of

__all__ = ["Run", "Rung", "decided", "look", "read_current_contract", "runs_of", "tickets_of", "trains"]


@dataclass(frozen=True, order=True)
class Run:
    """One run of a study. The order is that of `study_runs`."""

    rung: str
    config: str
    host: str
    seed: int
    purpose: str

    @property
    def id(self) -> str:
        """Its one name: rung/config/host/seed."""
        return names.run_id(self.rung, self.config, self.host, self.seed, self.purpose)

    @property
    def stage(self) -> str:
        """Its address in DVC."""
        item = f"floor@{self.host}-{self.seed}" if self.purpose == "floor" else self._candidate
        return f"stages/{self.rung}/dvc.yaml:{item}"

    @property
    def _candidate(self) -> str:
        return f"run@{self.config}-{self.host}-{self.seed}"

    @property
    def command(self) -> list[str]:
        """The words after `python` that DVC and `promotion dispatch` run it with."""
        words = ["-m", "stages.run", self.rung, self.config, self.host, str(self.seed)]
        return [*words, "--floor"] if self.purpose == "floor" else words


def runs_of(study: Study, rung: str) -> list[Run]:
    """Every run of a rung: each configuration in each cell, then the A/A runs of the reference."""
    here = study.rungs[rung]
    found = [Run(rung, c, h, seed, "candidate") for c in study.configs for h, seed in study.cells(rung)]
    return found + [Run(rung, study.roles["reference"], h, s, "floor") for h in study.hosts for s in here.floor_seeds]


def gate_stage(rung: str) -> str:
    """The address in DVC of the gate that judges a rung."""
    return f"stages/{rung}/dvc.yaml:gate"


def read_current_contract(rung: str) -> Contract | None:
    """The open contract of a rung, made from the lock that stands in locks/; None where there is none."""
    contract = read(rung)
    if not isinstance(contract, Contract):
        return None
    lock = locks.read(names.gate_of(rung))
    return contract if lock is not None and lock.digest == contract.lock else None


def _why_closed(rung: str) -> str:
    """Why a rung has no open contract, and what opens it."""
    gate = names.gate_of(rung)
    if read(rung) is None:
        if locks.read("gate1") is None:
            return "no rule is frozen yet: `promotion status` says what comes first"
        return "`dvc repro protocol` first"
    if locks.read(gate) is not None:
        return f"{gate} was frozen after the protocol looked: `dvc repro protocol` first"
    return f"{gate} is not frozen: `promotion freeze {gate}`"


def tickets_of(rung: str) -> dict[str, promotions.Ticket] | None:
    """The tickets for a rung: an empty mapping at the first one, None while the gate before has not decided."""
    number = int(rung.removeprefix("rung"))
    if number == 1:
        return {}
    path = names.GATES / f"gate{number - 1}" / "promotions.yaml"
    return promotions.read(path) if path.is_file() else None


def trains(run: Run, held: dict[str, promotions.Ticket]) -> bool:
    """Whether a run trains; without a ticket its record is written at once, the same on every machine."""
    return run.purpose == "floor" or held.get(run.config, "true") == "true"


def expected_spec(study: Study, contract: Contract, run: Run) -> dict[str, Any]:
    """The runner's whole input for a run under its contract."""
    assignment = assign(contract, study.configs[run.config], run.config, run.host, run.seed)
    return runner_of(contract.settings).make_spec(assignment)


def differs(record: Record, study: Study, contract: Contract, run: Run, trained: bool) -> str | None:
    """Why a record is not that of `run` under `contract`, or None where it is."""
    if record.id != run.id:
        return f"found the record of {record.id}, expected that of {run.id}"
    for key in ("lock", "runner", "corpus"):
        if getattr(record, key) != getattr(contract, key):
            return f"{key}: found {getattr(record, key)}, expected {getattr(contract, key)}"
    budget = {"clock": contract.clock, "seconds": contract.budget_seconds}
    if record.budget.model_dump() != budget:
        return f"budget: found {record.budget.model_dump()}, expected {budget}"
    if record.executed != trained:
        return f"status: found {record.status}, expected that of a run {'with' if trained else 'without'} a ticket"
    if trained and canonical.dumps(record.spec) != canonical.dumps(expected_spec(study, contract, run)):
        return "spec: found that of other settings, expected those of params.yaml"
    return None


def parse_record(data: bytes, study: Study, contract: Contract, run: Run, *, trained: bool, where: str) -> Record:
    """A record that came from elsewhere, refused with `Invalid` unless it is that of `run` under `contract`."""
    record = records.parse_line(data, where)
    if told := differs(record, study, contract, run, trained):
        raise Invalid(f"{where}: {told}")
    return record


@dataclass(frozen=True)
class Rung:
    """A rung as work. `closed` is why nothing of it can be done yet; the lists are empty then.

    `done` holds every run whose record lies here, `trained` those of them that had a ticket.
    """

    name: str
    closed: str | None
    to_train: tuple[Run, ...] = ()
    to_stop: tuple[Run, ...] = ()
    done: tuple[Run, ...] = ()
    trained: tuple[Run, ...] = ()

    def waits_for(self) -> dict[str, int]:
        """How many runs are still to be trained, by host."""
        found: dict[str, int] = {}
        for run in self.to_train:
            found[run.host] = found.get(run.host, 0) + 1
        return found


def look(study: Study, rung: str) -> Rung:
    """What is done and what is to do at a rung."""
    contract, held = read_current_contract(rung), tickets_of(rung)
    if contract is None:
        return Rung(rung, _why_closed(rung))
    before = f"rung{int(rung.removeprefix('rung')) - 1}"
    if held is None or (before != "rung0" and not decided(before)):
        return Rung(rung, f"{names.gate_of(before)} has not decided")
    found: dict[str, list[Run]] = {"train": [], "stop": [], "done": [], "trained": []}
    for run in runs_of(study, rung):
        trained = trains(run, held)
        record = records.read(run.id)
        done = record is not None and differs(record, study, contract, run, trained) is None
        found["done" if done else "train" if trained else "stop"].append(run)
        if done and trained:
            found["trained"].append(run)
    return Rung(rung, None, *(tuple(found[kind]) for kind in ("train", "stop", "done", "trained")))


def read_decision(rung: str) -> Decision | None:
    """The decision of a rung's gate that lies in the workspace, or None where there is none."""
    path = names.GATES / names.gate_of(rung) / "decision.json"
    if not path.is_file():
        return None
    return parse_decision(path.read_bytes(), path.as_posix(), f"`dvc repro stages/{rung}/dvc.yaml:gate` judges anew")


def decided(rung: str) -> bool:
    """Whether the gate of a rung has decided under the lock that its contract names, on the records that lie here."""
    contract, decision = read_current_contract(rung), read_decision(rung)
    if contract is None or decision is None or decision.lock != contract.lock:
        return False
    for run, md5 in decision.evidence.items():
        record = names.record_path(run)
        if not record.is_file() or md5_bytes(record.read_bytes()) != md5:
            return False
    return True
