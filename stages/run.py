"""One run: a configuration on a host with a seed, at a rung. Or, without a ticket, the record that it was stopped.

    python -m stages.run rung3 d2-ar64 cpu-fp32 301            (run by `dvc repro`)
    python -m stages.run rung3 d2-ar64 cpu-fp32 901 --floor    an A/A run of the reference, which needs no ticket

Reads artifacts/protocol/rungN.json, its line of the previous gate's promotions.yaml and its own configuration.
Writes artifacts/records/.../SEED.json (the evidence) and artifacts/traces/.../SEED/ (curve and telemetry). The record
is written last and whole, so a run that is killed leaves no evidence. Torch is imported only if something trains.
"""

from __future__ import annotations

import sys
from typing import Any

from stages.domain import canonical, files, names, tickets
from stages.fail import Refused, main_guard

CURVE_HEADER = b"step,tokens,seconds,train_loss,lr_factor\n"


def open_door(rung: str) -> dict[str, Any]:
    """The content of rungN.json; refuses when the rung's gate is not frozen."""
    path = names.PROTOCOL / f"{rung}.json"
    if not path.is_file():
        raise Refused(f"{path.as_posix()} is missing; `dvc repro protocol` writes it")
    door: dict[str, Any] = canonical.loads(path.read_bytes())
    if not door["open"]:
        gate = door["gate"]
        raise Refused(
            f"{names.lock_path(gate).as_posix()} is missing, so {rung} may not start: "
            "a rule comes before its evidence; "
            f"look at gates.{gate} in params.yaml, then `promotion freeze {gate}` and `dvc repro`"
        )
    return door


def ticket(rung: str, config: str) -> tickets.Ticket:
    """The configuration's ticket for a rung. At the first rung everybody has one."""
    number = int(rung.removeprefix("rung"))
    if number == 1:
        return "true"
    path = names.GATES / f"gate{number - 1}" / "promotions.yaml"
    held = tickets.read(path)
    if config not in held:
        raise Refused(
            f"{path.as_posix()}: no line for {config}; was it added to params.yaml after gate{number - 1} decided?"
        )
    return held[config]


def write(record: dict[str, Any], trace: dict[str, bytes]) -> None:
    """Write a run's outputs: the trace first, the record last."""
    run = names.run_id(record["rung"], record["config"], record["host"], record["seed"], record["purpose"])
    for name, data in trace.items():
        files.write_whole(names.trace_path(run) / name, data)
    files.write_whole(names.record_path(run), canonical.dumps(record))


def main() -> None:
    """Parse the command line, look at the ticket, and train or record that nothing was trained."""
    arguments = [one for one in sys.argv[1:] if one != "--floor"]
    purpose = "floor" if "--floor" in sys.argv[1:] else "candidate"
    if len(arguments) != 4 or not arguments[3].isdigit() or not all(names.is_name(one) for one in arguments[:3]):
        raise Refused("usage: python -m stages.run RUNG CONFIG HOST SEED [--floor]")
    rung, config, host, seed = arguments[0], arguments[1], arguments[2], int(arguments[3])
    door = open_door(rung)
    held = "true" if purpose == "floor" else ticket(rung, config)
    if held == "true":
        from stages.training import train  # imports torch: only a run that trains pays for it

        train(door, config=config, host=host, seed=seed, purpose=purpose)
        return
    before = f"gate{int(rung.removeprefix('rung')) - 1}"
    status, reason = ("stopped", f"{before} did not promote it")
    if held == "what-if":
        status, reason = ("unrun", f"only an exploratory {before} promotes it")
    record = tickets.record(door, config=config, host=host, seed=seed, purpose=purpose, status=status, reason=reason)
    write(
        record,
        {"curve.csv": CURVE_HEADER, "telemetry.json": canonical.dumps({"schema": 1, "status": status})},
    )


if __name__ == "__main__":
    main_guard(main)
