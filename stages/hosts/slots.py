"""The slots of a machine: how many runs it can train at a time without one slowing another, and for which host blocks.

One slot a GPU, which it alone sees; on the CPU as many slots as the blocks' threads fit into the usable CPUs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.domain.fail import Refused
from stages.domain.study import Study
from stages.hosts import block


@dataclass(frozen=True)
class Slot:
    """One run at a time, in the name of one of `hosts`; `gpu` is the UUID of the GPU that it sees."""

    hosts: tuple[str, ...]
    gpu: str | None = None


def slots_of(study: Study, only: list[str], count: int | None, machine: dict[str, Any] | None = None) -> list[Slot]:
    """The slots of this machine for the blocks it is; for `only` some of them, and `count` CPU slots, where given."""
    here = machine or block.describe()
    if unknown := [name for name in only if name not in study.hosts]:
        raise Refused(f"{unknown[0]}: no such host; params.yaml has {', '.join(study.hosts)}")
    blocks = {name: host.model_dump() for name, host in study.hosts.items() if not only or name in only}
    fits = {name: value for name, value in blocks.items() if not block.mismatches(value, here)}
    if missing := [name for name in only if name not in fits]:
        told = "; ".join(block.mismatches(blocks[missing[0]], here))
        raise block.WrongHost(f"params.yaml: hosts.{missing[0]}: this machine is not that host: {told}")
    found = []
    for gpu in here["gpus"]:
        alone = {**here, "gpus": [gpu]}
        if names_ := tuple(n for n, v in fits.items() if v["device"] == "cuda" and not block.mismatches(v, alone)):
            found.append(Slot(names_, gpu["uuid"]))
    on_cpu = {name: value for name, value in fits.items() if value["device"] == "cpu"}
    if on_cpu:
        size = max(value["threads"] for value in on_cpu.values())
        found += [Slot(tuple(on_cpu))] * (count if count is not None else max(1, here["threads"] // size))
    return found
