"""What this machine is, and whether it is what a host block of params.yaml declares.

    promotion host                   this machine, and each block of params.yaml with what does not fit

A run in the name of a block is refused before it trains where the machine does not match the block. No argument and no
environment variable overrides what is read from the machine here.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stages.domain.errors import Invalid, Refused
from stages.domain.formatting import count
from stages.domain.study import Host
from stages.repo.dvc_remote import has_remote
from stages.repo.git import Git
from stages.runners.device import read_cpu_name

GPU_QUERY = ("index", "uuid", "name", "driver_version", "memory.total", "compute_cap")
BF16_CAPABILITY = (8, 0)
COMPILERS = ("c++", "g++", "clang++", "cl")
ANSWER_SECONDS = 20


class WrongHost(Refused):
    """A run in the name of a host block on a machine that does not match it."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi reports it; `capability` is the compute capability, such as 8.0."""

    name: str
    uuid: str
    driver: str
    memory_mib: int | None
    capability: str


@dataclass(frozen=True)
class MachineDescription:
    """The machine as host blocks see it: `system` is linux, windows or darwin, `threads` the CPUs that may be used."""

    system: str
    machine: str
    cpu: str
    threads: int
    gpus: tuple[Gpu, ...]
    compiler: str | None
    triton: bool


def describe_machine() -> MachineDescription:
    """This machine. Imports no torch and takes milliseconds without a GPU."""
    return MachineDescription(
        system=platform.system().lower(),
        machine=platform.machine(),
        cpu=read_cpu_name(),
        threads=count_usable_cpus(),
        gpus=list_gpus(),
        compiler=next((name for name in COMPILERS if shutil.which(name)), None),
        triton=importlib.util.find_spec("triton") is not None,
    )


def count_usable_cpus() -> int:
    """The number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def list_gpus() -> tuple[Gpu, ...]:
    """The GPUs that a run would see, as nvidia-smi reports them on every system.

    CUDA_VISIBLE_DEVICES is applied, since CUDA applies it: `promotion dispatch` gives each run its GPUs with it.
    """
    rows = [dict(zip(GPU_QUERY, row, strict=True)) for row in _query_nvidia_smi()]
    return tuple(
        Gpu(
            name=row["name"],
            uuid=row["uuid"],
            driver=row["driver_version"],
            memory_mib=int(row["memory.total"]) if row["memory.total"].isdigit() else None,
            capability=row["compute_cap"],
        )
        for row in _select_visible(rows, os.environ.get("CUDA_VISIBLE_DEVICES"))
    )


@cache
def _query_nvidia_smi() -> tuple[tuple[str, ...], ...]:
    """One row a GPU, in the order of GPU_QUERY; none where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = csv.reader(answer.stdout.split("\n"), skipinitialspace=True)
    return tuple(tuple(cell.strip() for cell in row) for row in rows if len(row) == len(GPU_QUERY))


def _select_visible(rows: list[dict[str, str]], setting: str | None) -> list[dict[str, str]]:
    """The GPUs that CUDA_VISIBLE_DEVICES names, by index or UUID, in its order; it ends at the first unknown one."""
    if setting is None:
        return rows
    visible: list[dict[str, str]] = []
    for word in (part.strip() for part in setting.split(",")):
        matching = (row for row in rows if word == row["index"] or (len(word) > 4 and row["uuid"].startswith(word)))
        gpu = next(matching, None)
        if gpu is None:
            break
        visible.append(gpu)
    return visible


def find_mismatches(block: Host, machine: MachineDescription) -> list[str]:
    """Why `machine` does not match `block`, one sentence each; empty where it does."""
    problems = []
    if block.system not in ("any", machine.system):
        problems.append(f"system: found {machine.system}, expected {block.system}")
    if block.threads > machine.threads:
        problems.append(f"threads: found {count(machine.threads, 'usable CPU')}, expected at least {block.threads}")
    if uses_gpus(block):
        problems += _find_gpu_mismatches(block, machine.gpus)
    if block.compile:
        problems += _find_compile_mismatches(block.device, machine)
    return problems


def uses_gpus(block: Host) -> bool:
    """Whether runs of a block use GPUs that nvidia-smi lists; they use one where the block gives no number."""
    return block.device == "cuda" or block.gpus is not None


def select_gpus(block: Host, gpus: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """Those of `gpus` that a run of the block may use, by name and precision."""
    needs_bf16 = block.device == "cuda" and block.precision == "bf16"
    return tuple(
        gpu
        for gpu in gpus
        if block.device_name in gpu.name and (not needs_bf16 or _parse_capability(gpu.capability) >= BF16_CAPABILITY)
    )


def _find_gpu_mismatches(block: Host, gpus: tuple[Gpu, ...]) -> list[str]:
    wanted = block.device_name
    if not gpus:
        return [f"device: found no CUDA GPU, expected one{f' named {wanted}' if wanted else ''}"]
    named = [gpu for gpu in gpus if wanted in gpu.name]
    if not named:
        present = ", ".join(gpu.name for gpu in gpus)
        return [f"device_name: found {present}, expected a GPU whose name contains {wanted!r}"]
    which = f" whose name contains {wanted!r}" if wanted else ""
    needed = block.gpus or 1
    if len(named) < needed:
        return [f"gpus: found {count(len(named), 'visible GPU')}{which}, expected at least {needed}"]
    if (capable := len(select_gpus(block, gpus))) < needed:
        other = min(named, key=lambda gpu: _parse_capability(gpu.capability)).capability
        several = f" on {len(named) - capable} of {count(len(named), 'GPU')}" if needed > 1 else ""
        return [f"precision: found compute capability {other}{several}, expected 8.0 or more for bf16"]
    return []


def show_gpus(block: Host) -> None:
    """Let programs that this process starts see as many GPUs as the block asks for, and no others.

    UUIDs mean the same GPU to every program. Where the block asks for no number, nothing changes.
    """
    if block.gpus is not None:
        chosen = select_gpus(block, list_gpus())[: block.gpus]
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in chosen)


def _parse_capability(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (0,)


def _find_compile_mismatches(device: str, machine: MachineDescription) -> list[str]:
    if device == "cuda" and not machine.triton:
        return ["compile: found no triton, which torch.compile needs for CUDA (on Windows: the package triton-windows)"]
    if device == "cpu" and machine.compiler is None:
        return [f"compile: found no C++ compiler, which torch.compile needs on a CPU: {', '.join(COMPILERS)}"]
    return []


def format_machine(machine: MachineDescription) -> str:
    """A machine in one line, as errors and `promotion host` show it."""
    gpus = ", ".join(gpu.name for gpu in machine.gpus) or "no GPU"
    return f"{machine.system}, {machine.cpu}, {count(machine.threads, 'CPU')}, {gpus}"


def format_block(block: Host) -> str:
    """A host block in one line."""
    device = f"{block.device} {block.device_name}".strip()
    compiled = ", compiled" if block.compile else ""
    return f"system {block.system}, {device}, {block.precision}, {count(block.threads, 'thread')}{compiled}"


def _take_pushed() -> str:
    """How to take what another host has done, which travels through a DVC remote."""
    if has_remote(Path()):
        return "or take what it has pushed: `dvc pull --run-cache`, then `dvc repro --pull`"
    return "and take it from there through a DVC remote: `dvc remote add -d team PATH-OR-URL` in both"


def require_host(name: str, block: Host) -> None:
    """Refuse with `WrongHost` unless this machine matches the block called `name`."""
    machine = describe_machine()
    if problems := [*find_mismatches(block, machine), *find_torch_mismatches(block)]:
        reasons = "\n".join(f"  {problem}" for problem in problems)
        raise WrongHost(
            f"params.yaml: hosts.{name}: this machine is not that host:\n{reasons}\n"
            f"  the block: {format_block(block)}\n"
            f"  this machine: {format_machine(machine)}\n"
            f"  run {name}'s cells there (`promotion work --host {name}`), {_take_pushed()}"
        )


def find_torch_mismatches(block: Host) -> list[str]:
    """What nvidia-smi cannot know of a GPU: whether torch can use it, and which of several it uses.

    Empty in a process that has not imported torch, since only one that trains has.
    """
    torch = sys.modules.get("torch")
    if torch is None or block.device != "cuda":
        return []
    if not torch.cuda.is_available():
        remedy = _find_torch_remedy(torch)
        return [f"device: found torch {torch.__version__}, which sees no GPU, expected one that does: {remedy}"]
    used = torch.cuda.get_device_name()
    if block.device_name not in used:
        wanted = f"a GPU whose name contains {block.device_name!r}"
        return [f"device_name: torch uses {used}, expected {wanted} (CUDA_VISIBLE_DEVICES)"]
    return []


def _find_torch_remedy(torch: Any) -> str:
    """What makes a torch see the GPU that nvidia-smi shows."""
    if torch.version.cuda is None:
        release = torch.__version__.partition("+")[0]
        return (
            f"it is a build without CUDA; install the CUDA build of {release} in its place (docs/hosts.md, A GPU host)"
        )
    return f"it was built for CUDA {torch.version.cuda}; update the driver, and look at CUDA_VISIBLE_DEVICES"


@cache
def git_commit() -> str | None:
    """The commit that is checked out, or None where git does not say. Only telemetry holds it."""
    try:
        return Git(Path()).head
    except Invalid:
        return None
