"""The runs of a study as work: which are done, which can be done now, and which wait, by the files of this clone alone.

    promotion pending

A run is done when its record is what the open contract of its rung asks for: under the same lock, runner, corpus,
budget and specification. Any other record in its place was made under other rules, and the run is to do.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from stages.domain import canonical, locks, names, promotions, records
from stages.domain.contract import Contract, read
from stages.domain.decision import Decision, parse_decision
from stages.domain.errors import Invalid
from stages.domain.files import md5_bytes
from stages.domain.records import Record
from stages.domain.runs import Run, gate_stage, runs_of
from stages.domain.study import Study
from stages.runners import assign, runner_of


def read_current_contract(rung: str) -> Contract | None:
    """The open contract of a rung, made from the lock that stands in locks/; None where there is none."""
    contract = read(rung)
    if not isinstance(contract, Contract):
        return None
    lock = locks.read(names.gate_of(rung))
    return contract if lock is not None and lock.digest == contract.lock else None


def _explain_closed(rung: str) -> str:
    """Why a rung has no open contract, and what opens it."""
    gate = names.gate_of(rung)
    if read(rung) is None:
        if locks.read("gate1") is None:
            return "no rule is frozen yet: `promotion status` says what comes first"
        return "`dvc repro protocol` first"
    if locks.read(gate) is not None:
        return f"{gate} was frozen after the protocol looked: `dvc repro protocol` first"
    return f"{gate} is not frozen: `promotion freeze {gate}`"


def read_tickets(rung: str) -> dict[str, promotions.Ticket] | None:
    """The tickets for a rung: an empty mapping at the first one, None while the gate before has not decided."""
    gate = names.gate_before(rung)
    if gate is None:
        return {}
    path = names.promotions_path(gate)
    return promotions.read(path) if path.is_file() else None


def will_train(run: Run, tickets: dict[str, promotions.Ticket]) -> bool:
    """Whether a run trains; without a ticket its record is written at once, the same on every machine."""
    return run.purpose == "floor" or tickets.get(run.config, "true") == "true"


def make_expected_spec(study: Study, contract: Contract, run: Run) -> dict[str, Any]:
    """The runner's whole input for a run under its contract, as JSON of the runner."""
    assignment = assign(contract, study.configs[run.config], run.config, run.host, run.seed)
    return runner_of(contract.settings).make_spec(assignment)


def explain_difference(record: Record, study: Study, contract: Contract, run: Run, trained: bool) -> str | None:
    """Why a record is not that of `run` under `contract`, or None where it is; `trained` if it has a ticket."""
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
    if trained and canonical.dumps(record.spec) != canonical.dumps(make_expected_spec(study, contract, run)):
        return "spec: found that of other settings, expected those of params.yaml"
    return None


def parse_record(data: bytes, study: Study, contract: Contract, run: Run, *, trained: bool, where: str) -> Record:
    """A record that came from elsewhere, refused with `Invalid` unless it is that of `run` under `contract`."""
    record = records.parse_line(data, where)
    if difference := explain_difference(record, study, contract, run, trained):
        raise Invalid(f"{where}: {difference}")
    return record


@dataclass(frozen=True)
class RungWork:
    """The work of a rung. `closed` is why nothing of it can be done yet; the runs are empty then.

    `done` are the runs whose record lies in the workspace, `trained` those of them that had a ticket.
    """

    name: str
    closed: str | None
    to_train: tuple[Run, ...] = ()
    to_stop: tuple[Run, ...] = ()
    done: tuple[Run, ...] = ()
    trained: tuple[Run, ...] = ()

    def waits_for(self) -> dict[str, int]:
        """How many runs are still to be trained, by host."""
        return dict(Counter(run.host for run in self.to_train))


def read_rung_work(study: Study, rung: str) -> RungWork:
    """What is done and what is to do at a rung, from the workspace."""
    contract, tickets = read_current_contract(rung), read_tickets(rung)
    if contract is None:
        return RungWork(rung, _explain_closed(rung))
    gate = names.gate_before(rung)
    if tickets is None or (gate is not None and not is_decided(names.rung_of(gate))):
        return RungWork(rung, f"{gate} has not decided")
    to_train: list[Run] = []
    to_stop: list[Run] = []
    done: list[Run] = []
    trained: list[Run] = []
    for run in runs_of(study, rung):
        trains = will_train(run, tickets)
        record = records.read(run.id)
        if record is None or explain_difference(record, study, contract, run, trains) is not None:
            (to_train if trains else to_stop).append(run)
            continue
        done.append(run)
        if trains:
            trained.append(run)
    return RungWork(rung, None, tuple(to_train), tuple(to_stop), tuple(done), tuple(trained))


def read_decision(rung: str) -> Decision | None:
    """The decision of a rung's gate that lies in the workspace, or None where there is none."""
    path = names.decision_path(names.gate_of(rung))
    if not path.is_file():
        return None
    return parse_decision(path.read_bytes(), path.as_posix(), f"`dvc repro {gate_stage(rung)}` judges anew")


def is_decided(rung: str) -> bool:
    """Whether the gate of a rung has decided under the lock of its contract, on the records in the workspace."""
    contract, decision = read_current_contract(rung), read_decision(rung)
    if contract is None or decision is None or decision.lock != contract.lock:
        return False
    for run, md5 in decision.evidence.items():
        record = names.record_path(run)
        if not record.is_file() or md5_bytes(record.read_bytes()) != md5:
            return False
    return True
