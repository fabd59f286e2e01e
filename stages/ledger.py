"""The ledger: git's copy of all evidence and decisions, and what they add up to.

    python -m stages.ledger        (run by `dvc repro`)

Writes ledger/runs.jsonl and decisions.jsonl, whose lines are the very bytes of the records and decisions (so their MD5
is what the dvc.lock files hold), ledger/metrics.json, artifacts/summary/ and artifacts/telemetry/. A rung whose gate is
not frozen yet, or has not decided, is left out.
"""

from __future__ import annotations

import sys

from stages.domain import canonical, files, locks, names, yamlio
from stages.domain.contract import Contract, from_lock, path_of, read
from stages.domain.decision import Decision, parse_decision
from stages.domain.errors import Refused, main_guard
from stages.domain.locks import Lock
from stages.domain.records import Record, read_rung
from stages.domain.runs import ledger_order
from stages.dvcfiles import telemetry
from stages.summary import everything

Lines = list[tuple[Record, bytes]]


def read_frozen_gates() -> dict[str, Lock]:
    """The locks by gate, each the one that artifacts/protocol was made from."""
    gates: dict[str, Lock] = {}
    while (lock := locks.read(gate := f"gate{len(gates) + 1}")) is not None:
        contract = read(names.rung_of(gate))
        followed = contract.lock if isinstance(contract, Contract) else None
        if followed != lock.digest:
            raise Refused(
                f"{path_of(names.rung_of(gate))}: found lock {followed}, expected {lock.digest}, "
                f"that of {names.lock_path(gate).as_posix()}; `dvc repro` brings it up to date"
            )
        gates[gate] = lock
    return gates


def read_records(gates: dict[str, Lock], configs: set[str]) -> Lines:
    """The records of the study's own runs at every frozen rung, with their bytes, in the order of the ledger.

    What an earlier form of the study left in the folder is no evidence of this one.
    """
    kept: Lines = []
    left: list[str] = []
    for lock in gates.values():
        contract = from_lock(lock)
        for run, (record, data) in read_rung(contract.rung).items():
            asked = contract.asks_for(record.config, record.host, record.seed, record.purpose)
            if asked and record.config in configs:
                kept.append((record, data))
            else:
                left.append(run)
    if left:
        print(
            f"note: {len(left)} records in {names.RECORDS.as_posix()} are not of this study, such as {left[0]}; "
            "they stay out of the ledger",
            file=sys.stderr,
        )
    return sorted(kept, key=lambda line: ledger_order(line[0]))


def read_decisions(gates: dict[str, Lock]) -> dict[str, Decision]:
    """The decisions by gate, up to the first gate that has not decided."""
    decisions: dict[str, Decision] = {}
    for gate, lock in gates.items():
        path = names.decision_path(gate)
        if not path.is_file():
            break
        decision = parse_decision(path.read_bytes(), path.as_posix(), "`dvc repro` judges anew")
        if decision.gate != gate or decision.lock != lock.digest:
            raise Refused(f"{path.as_posix()}: is not a decision by {names.lock_path(gate).as_posix()}; `dvc repro`")
        decisions[gate] = decision
    return decisions


def main() -> None:
    """Write the ledger and the summaries of the workspace."""
    params = yamlio.read(names.PARAMS, "run this in the root of a study")
    shapes = canonical.loads((names.PROTOCOL / "configs.json").read_bytes())
    configs = sorted(shapes["configs"])
    gates = read_frozen_gates()
    lines = read_records(gates, set(configs))
    decisions = read_decisions(gates)
    summaries = everything(
        params["study"]["mode"],
        configs,
        gates,
        [record for record, _ in lines],
        decisions,
    )
    files.write_whole(names.LEDGER / "runs.jsonl", b"".join(data for _, data in lines))
    files.write_whole(
        names.LEDGER / "decisions.jsonl", b"".join(decision.to_bytes() for decision in decisions.values())
    )
    for path, data in summaries.items():
        files.write_whole(path, data)
    telemetry.gather((record.id, record.md5) for record, _ in lines if record.executed)


if __name__ == "__main__":
    main_guard(main)
