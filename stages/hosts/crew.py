"""The workers of this machine: a Dask worker in every slot, with a log of its own under scratch/dispatch/.

promotion dispatch                                starts them beside its scheduler
promotion dispatch --join tcp://10.0.0.5:8786     starts them for a scheduler elsewhere
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

from stages.domain import names
from stages.domain.fail import Refused
from stages.hosts import leash
from stages.hosts.slots import Slot
from stages.hosts.worker import LOGS, tail

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
    words = ["-m", "stages.hosts.leash", "-m", "distributed.cli.dask_worker", scheduler]
    words += ["--nworkers", "1", "--nthreads", "1", "--resources", resources, "--memory-limit", "0"]
    words += ["--no-dashboard", "--local-directory", f"{names.SCRATCH.as_posix()}/dask"]
    environment = {"CUDA_VISIBLE_DEVICES": slot.gpu} if slot.gpu else {}
    with log.open("wb") as output:
        return leash.start(words, output.fileno(), environment)


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
