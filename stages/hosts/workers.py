"""The workers of this machine: a Dask worker in every slot, with a log of its own under scratch/dispatch/.

promotion dispatch                                starts them beside its scheduler
promotion dispatch --join tcp://10.0.0.5:8786     starts them for a scheduler elsewhere

The slots of a machine: how many runs it can train at a time without one slowing another, and for which host blocks.

One slot a GPU, which it alone sees; on the CPU as many slots as the blocks' threads fit into the usable CPUs.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.domain import names
from stages.domain.errors import Refused
from stages.domain.study import Study
from stages.hosts import processes
from stages.hosts.job import LOGS, tail
from stages.hosts.machine import WrongHost, describe, mismatches


@dataclass(frozen=True)
class Slot:
    """One run at a time, in the name of one of `hosts`; `gpu` is the UUID of the GPU that it sees."""

    hosts: tuple[str, ...]
    gpu: str | None = None


def slots_of(study: Study, only: list[str], count: int | None, machine: dict[str, Any] | None = None) -> list[Slot]:
    """The slots of this machine for the blocks it is; for `only` some of them, and `count` CPU slots, where given."""
    here = machine or describe()
    if unknown := [name for name in only if name not in study.hosts]:
        raise Refused(f"{unknown[0]}: no such host; params.yaml has {', '.join(study.hosts)}")
    blocks = {name: host.model_dump() for name, host in study.hosts.items() if not only or name in only}
    fits = {name: value for name, value in blocks.items() if not mismatches(value, here)}
    if missing := [name for name in only if name not in fits]:
        told = "; ".join(mismatches(blocks[missing[0]], here))
        raise WrongHost(f"params.yaml: hosts.{missing[0]}: this machine is not that host: {told}")
    found = []
    for gpu in here["gpus"]:
        alone = {**here, "gpus": [gpu]}
        if names_ := tuple(n for n, v in fits.items() if v["device"] == "cuda" and not mismatches(v, alone)):
            found.append(Slot(names_, gpu["uuid"]))
    on_cpu = {name: value for name, value in fits.items() if value["device"] == "cpu"}
    if on_cpu:
        size = max(value["threads"] for value in on_cpu.values())
        found += [Slot(tuple(on_cpu))] * (count if count is not None else max(1, here["threads"] // size))
    return found


#: How long a machine that joins waits for somebody to listen; the two may be started in either order.
JOIN_SECONDS = 30.0
STOP_SECONDS = 10.0
LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Member:
    """One worker process, on a leash."""

    slot: Slot
    process: subprocess.Popen[bytes]
    log: Path

    def works(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def told(self) -> str:
        """How it ended, and the last words of its log."""
        return f"exit status {self.process.returncode}; the end of {self.log.as_posix()}:\n{tail(self.log)}"


def start(slots: list[Slot], scheduler: str) -> list[Member]:
    """Start a Dask worker in every slot, each with a nanny that starts it anew should it die."""
    LOGS.mkdir(parents=True, exist_ok=True)
    logs = [LOGS / f"worker-{os.getpid()}-{number}.log" for number in range(1, len(slots) + 1)]
    return [Member(slot, _start(slot, scheduler, log), log) for slot, log in zip(slots, logs, strict=True)]


def _start(slot: Slot, scheduler: str, log: Path) -> subprocess.Popen[bytes]:
    resources = " ".join(f"{host}=1" for host in slot.hosts)
    words = ["-m", "stages.hosts.processes", "-m", "distributed.cli.dask_worker", scheduler]
    words += ["--nworkers", "1", "--nthreads", "1", "--resources", resources, "--memory-limit", "0"]
    words += ["--no-dashboard", "--local-directory", f"{names.SCRATCH.as_posix()}/dask"]
    environment = {"CUDA_VISIBLE_DEVICES": slot.gpu} if slot.gpu else {}
    with log.open("wb") as output:
        return processes.start(words, output.fileno(), environment)


def stop(crew: list[Member]) -> None:
    """End the workers; their runs end with them and go on from their checkpoints another time."""
    for member in crew:
        member.process.terminate()
    for member in crew:
        try:
            member.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            member.process.kill()
            member.process.wait()


def reach(address: str, patience: float = JOIN_SECONDS) -> None:
    """Wait until somebody listens at tcp://HOST:PORT; `Refused` if nobody does for so many seconds."""
    found = re.fullmatch(r"tcp://(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})", address)
    if found is None or not 0 < int(found[2]) < 65536:
        raise Refused(f"--join: found {address!r}, expected tcp://HOST:PORT, as the dispatcher tells it when it starts")
    host, port, end = found[1].strip("[]"), int(found[2]), time.monotonic() + patience
    while True:
        try:
            socket.create_connection((host, port), timeout=max(1.0, patience)).close()
        except OSError as error:
            if time.monotonic() > end:
                raise Refused(
                    f"--join: nobody listens at {address} ({error}); start `promotion dispatch --listen {host}:{port}` "
                    "there first, and let this machine through its firewall"
                ) from None
            time.sleep(0.5)
        else:
            return


def work(crew: list[Member], say: Callable[[str], None]) -> None:
    """Let the workers of a machine that joined work until the dispatcher is done.

    One that ends badly is told at once; `Refused` when all have ended, if one did.
    """
    left, bad = list(crew), 0
    try:
        while left:
            for member in [one for one in left if not one.works()]:
                left.remove(member)
                if member.process.returncode:
                    bad += 1
                    say(f"a worker ended badly: {member.told()}")
            time.sleep(LOOK_SECONDS)
    finally:
        stop(crew)
    if bad:
        raise Refused(
            f"{bad} of {len(crew)} workers ended badly, see above; is this clone at the dispatcher's commit, "
            "with the packages of its constraints.txt? then start it again"
        )
