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

from stages.domain import canonical, files, names, promotions, yamlio
from stages.domain.contract import Contract, read_open
from stages.domain.errors import Invalid, Refused, main_guard

CURVE_HEADER = b"step,tokens,seconds,train_loss,lr_factor\n"


def undeclared(contract: Contract, config: str, host: str, seed: int, purpose: str) -> str | None:
    """What of a run the frozen rules do not ask for, or None where they ask for all of it."""
    seeds, reference = contract.floor_seeds if purpose == "floor" else contract.seeds, contract.roles.get("reference")
    if host not in contract.hosts:
        return f"host {host} is not among {', '.join(contract.hosts)}"
    if seed not in seeds:
        return f"seed {seed} is not among {', '.join(map(str, seeds)) or 'none'}"
    if purpose == "floor" and config != reference:
        return f"{config} is not the reference, {reference}"
    if contract.configs is not None and config not in contract.configs:
        return f"configuration {config} is not among those that {contract.gate} froze"
    return None


def ticket(rung: str, config: str) -> promotions.Ticket:
    """The configuration's ticket for a rung. At the first rung everybody has one."""
    number = int(rung.removeprefix("rung"))
    if number == 1:
        return "true"
    path = names.GATES / f"gate{number - 1}" / "promotions.yaml"
    held = promotions.read(path)
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


def knobs_of(config: str) -> dict[str, Any]:
    """The configuration's knobs from params.yaml."""
    knobs = _params("configs").get(config)
    if not isinstance(knobs, dict):
        raise Invalid(f"params.yaml: configs.{config}: missing, but {config} is to be trained")
    return knobs


def altered(config: str) -> str | None:
    """Which knobs of a configuration are not those that the first gate froze, or None where all are.

    The contract of a later rung holds them through the chain of locks alone, so they are read from the first one.
    """
    frozen = (read_open("rung1").configs or {}).get(config, {})
    now = knobs_of(config)
    differ = sorted(key for key in {*frozen, *now} if repr(frozen.get(key)) != repr(now.get(key)))
    if not differ:
        return None
    key = differ[0]
    return f"configs.{config}.{key}: found {now.get(key)!r}, but gate1 froze {frozen.get(key)!r}"


def _params(section: str) -> dict[str, Any]:
    value = yamlio.read(names.PARAMS, "run this in the root of a study").get(section)
    return value if isinstance(value, dict) else {}


def _unasked(gate: str, told: str) -> tuple[str, str]:
    """The standing of a run that no lock asks for: refused, save in an exploratory study, which asks what if."""
    if _params("study").get("mode") != "exploratory":
        lock = names.lock_path(gate).as_posix()
        raise Refused(f"{lock}: {told}: no rule asks for this run; look at params.yaml, then `promotion freeze`")
    return "unrun", f"only an exploratory study asks for it: {told}"


def standing(contract: Contract, config: str, host: str, seed: int, purpose: str) -> tuple[str, str]:
    """(status, reason) of a run that trains nothing; the status of one that trains is empty.

    What nobody froze is refused, or, in an exploratory study, recorded as unrun.
    """
    before = f"gate{int(contract.rung.removeprefix('rung')) - 1}"
    if told := undeclared(contract, config, host, seed, purpose):
        return _unasked(contract.gate, told)
    held = "true" if purpose == "floor" else ticket(contract.rung, config)
    if held == "what-if":
        return "unrun", f"only an exploratory {before} promotes it"
    if held != "true":
        return "stopped", f"{before} did not promote it"
    told = altered(config)
    return _unasked("gate1", told) if told else ("", "")


def main() -> None:
    """Parse the command line, look at the ticket, and train or record that nothing was trained."""
    arguments = [one for one in sys.argv[1:] if one != "--floor"]
    purpose = "floor" if "--floor" in sys.argv[1:] else "candidate"
    if len(arguments) != 4 or not arguments[3].isdigit() or not all(names.is_name(one) for one in arguments[:3]):
        raise Refused("usage: python -m stages.run RUNG CONFIG HOST SEED [--floor]")
    rung, config, host, seed = arguments[0], arguments[1], arguments[2], int(arguments[3])
    contract = read_open(rung)
    status, reason = standing(contract, config, host, seed, purpose)
    if not status:
        from stages.runners.builtin import train  # imports torch: only a run that trains pays for it

        train(contract, config=config, host=host, seed=seed, purpose=purpose)
        return
    record = contract.make_record(config=config, host=host, seed=seed, purpose=purpose, status=status, reason=reason)
    write(
        record,
        {"curve.csv": CURVE_HEADER, "telemetry.json": canonical.dumps({"schema": 1, "status": status})},
    )


if __name__ == "__main__":
    main_guard(main)
