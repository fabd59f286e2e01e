"""The Dask workers of this machine: how many runs it can train at a time, and one worker process for each.

    promotion dispatch                                              starts them beside its scheduler
    promotion dispatch --join tls://10.0.0.5:8786 --cluster DIR     starts them for a scheduler elsewhere

A slot trains one run at a time without slowing another. It has as many GPUs as a run of its blocks uses, which it alone
sees; on the CPU there are as many slots as the blocks' threads fit into the usable CPUs. Each worker has a log of its
own under scratch/dispatch/.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stages.domain import names
from stages.domain.errors import Refused
from stages.domain.formatting import count
from stages.domain.study import Host, Study
from stages.hosts import processes
from stages.hosts.cluster import Cluster, find_own_address
from stages.hosts.job import LOGS, read_log_end
from stages.hosts.machine import (
    MachineDescription,
    WrongHost,
    describe_machine,
    find_mismatches,
    select_gpus,
    uses_gpus,
)

#: How long a machine that joins waits for the scheduler; the two may be started in either order.
JOIN_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.2
#: Settings of Dask for which `dask worker` has no option.
_WORKER_SETTINGS = {
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]",
}


@dataclass(frozen=True)
class Slot:
    """Room for one run at a time, of one of `hosts`; `gpus` are the UUIDs of the GPUs that it sees."""

    hosts: tuple[str, ...]
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True)
class WorkerProcess:
    """The process of one worker."""

    slot: Slot
    process: subprocess.Popen[bytes]
    log: Path

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def describe_end(self) -> str:
        """How it ended, and the end of its log."""
        status = self.process.returncode
        return f"exit status {status}; the end of {self.log.as_posix()}:\n{read_log_end(self.log)}"


def find_slots(
    study: Study, only: list[str], cpu_slots: int | None, machine: MachineDescription | None = None
) -> list[Slot]:
    """The slots of `machine` (this one unless given) for the host blocks that it matches.

    `only` names the blocks that may be used (all where empty), `cpu_slots` sets the number of CPU slots. Raises
    `Refused` for an unknown block and for one that matches but has no GPUs left beside the others, `WrongHost` for a
    named one that does not match.
    """
    machine = machine or describe_machine()
    if unknown := [name for name in only if name not in study.hosts]:
        raise Refused(f"{unknown[0]}: no such host; params.yaml has {', '.join(study.hosts)}")
    blocks = {name: block for name, block in study.hosts.items() if not only or name in only}
    matching = {name: block for name, block in blocks.items() if not find_mismatches(block, machine)}
    if missing := [name for name in only if name not in matching]:
        problems = "; ".join(find_mismatches(blocks[missing[0]], machine))
        raise WrongHost(f"params.yaml: hosts.{missing[0]}: this machine is not that host: {problems}")
    on_gpu = {name: block for name, block in matching.items() if uses_gpus(block)}
    slots = _find_gpu_slots(on_gpu, machine)
    if on_cpu := {name: block for name, block in matching.items() if name not in on_gpu}:
        slots += [Slot(tuple(on_cpu))] * (_count_cpu_slots(on_cpu, machine) if cpu_slots is None else cpu_slots)
    return slots


def explain_mismatches(study: Study, only: list[str], machine: MachineDescription | None = None) -> list[str]:
    """Why this machine has no slots for a block that `find_slots` was not told to leave out, a sentence for each."""
    machine = machine or describe_machine()
    blocks = {name: block for name, block in study.hosts.items() if not only or name in only}
    problems = {name: find_mismatches(block, machine) for name, block in blocks.items()}
    return [f"no slot for hosts.{name}: {'; '.join(reasons)}" for name, reasons in problems.items() if reasons]


def _count_cpu_slots(blocks: dict[str, Host], machine: MachineDescription) -> int:
    """As many as fit by threads; one where a block may train on any device, since nobody knows what its runs share."""
    if any(block.device == "any" for block in blocks.values()):
        return 1
    return max(1, machine.threads // max(block.threads for block in blocks.values()))


def _find_gpu_slots(blocks: dict[str, Host], machine: MachineDescription) -> list[Slot]:
    """Slots of the block that uses most GPUs as long as there are enough, then of the next one from those left.

    A slot serves every block that its GPUs match, so that blocks which use fewer never wait for GPUs of their own. Of
    blocks that use as many, the one that fewer GPUs match comes first.
    """
    slots: list[Slot] = []
    left = list(machine.gpus)
    order = sorted(blocks, key=lambda name: (-(blocks[name].gpus or 1), len(select_gpus(blocks[name], machine.gpus))))
    for name in order:
        number = blocks[name].gpus or 1
        while len(chosen := select_gpus(blocks[name], left)[:number]) == number:
            left = [gpu for gpu in left if gpu not in chosen]
            seen = replace(machine, gpus=chosen)
            hosts = tuple(host for host, block in blocks.items() if not find_mismatches(block, seen))
            slots.append(Slot(hosts, tuple(gpu.uuid for gpu in chosen)))
    served = {host for slot in slots for host in slot.hosts}
    if starved := [name for name in order if name not in served]:
        others = " ".join(f"--host {name}" for name in blocks if name != starved[0])
        raise Refused(
            f"params.yaml: hosts.{starved[0]}: its {count(blocks[starved[0]].gpus or 1, 'GPU')} would be shared with a "
            f"run of another block; use this machine for some of the blocks: `--host {starved[0]}`, or `{others}`"
        )
    return slots


def start_workers(slots: Sequence[Slot], scheduler: str, cluster: Cluster) -> list[WorkerProcess]:
    """Start a Dask worker in every slot, each with a nanny that restarts it if it dies.

    Worker and nanny listen on the one address of this machine that reaches the scheduler, and accept only what has a
    certificate of `cluster`; the worker's HTTP server listens on the loopback and has no page.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    own_address = find_own_address(*parse_scheduler(scheduler))
    started = []
    for number, slot in enumerate(slots, start=1):
        resources = " ".join(f"{host}=1" for host in slot.hosts)
        arguments = ["-m", "stages.hosts.processes", "-m", "distributed.cli.dask_worker", scheduler]
        arguments += ["--nworkers", "1", "--nthreads", "1", "--resources", resources, "--memory-limit", "0"]
        arguments += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--host", own_address]
        arguments += [*cluster.make_arguments(), "--local-directory", f"{names.SCRATCH.as_posix()}/dask"]
        log = LOGS / f"worker-{os.getpid()}-{number}.log"
        environment = _WORKER_SETTINGS | ({"CUDA_VISIBLE_DEVICES": ",".join(slot.gpus)} if slot.gpus else {})
        with log.open("wb") as output:
            process = processes.start_child(arguments, output.fileno(), environment)
        started.append(WorkerProcess(slot, process, log))
    return started


def stop_workers(workers: Sequence[WorkerProcess]) -> None:
    """End the workers; their runs end with them and resume from their checkpoints another time."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        try:
            worker.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


def parse_scheduler(address: str) -> tuple[str, int]:
    """Host and port of tls://HOST:PORT; `Refused` where it is anything else."""
    match = re.fullmatch(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})", address)
    if match is None or not 0 < int(match[3]) < 65536:
        raise Refused(f"--join: found {address!r}, expected tls://HOST:PORT, as the dispatcher tells it when it starts")
    if match[1] == "tcp":
        raise Refused(
            f"--join: found {address!r}, but a dispatcher accepts TLS alone; expected tls://{match[2]}:{match[3]}, and "
            "--cluster DIR with the certificates, as the dispatcher tells it when it starts"
        )
    return match[2].strip("[]"), int(match[3])


def wait_for_scheduler(address: str, patience: float = JOIN_SECONDS) -> None:
    """Wait until a scheduler listens at tls://HOST:PORT; `Refused` if none does within `patience` seconds."""
    host, port = parse_scheduler(address)
    end = time.monotonic() + patience
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


def wait_for_workers(workers: Sequence[WorkerProcess], say: Callable[[str], None]) -> None:
    """Wait until the workers of a machine that joined have ended, as they do when the dispatcher is done.

    `say` is told of one that failed at once; `Refused` when all have ended, if one failed.
    """
    running, failed = list(workers), 0
    try:
        while running:
            for worker in [worker for worker in running if not worker.is_running()]:
                running.remove(worker)
                if worker.process.returncode:
                    failed += 1
                    say(f"a worker ended badly: {worker.describe_end()}")
            time.sleep(POLL_SECONDS)
    finally:
        stop_workers(workers)
    if failed:
        raise Refused(
            f"{failed} of {len(workers)} workers ended badly, see above; is this clone at the dispatcher's commit, "
            "with the packages of its constraints.txt? then start it again"
        )
