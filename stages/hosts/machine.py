"""Host blocks: what this machine is, and whether it is what a block of params.yaml declares.

    promotion host                   this machine, and each block of params.yaml with what does not fit

A run in the name of a block on a machine that is not one is refused before it trains. Nothing here can be overridden
by an argument or an environment variable: what a block may not say, the machine may not pretend.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from stages.domain.errors import Refused

GPU_QUERY = ("index", "uuid", "name", "driver_version", "memory.total", "compute_cap")
BF16_CAPABILITY = (8, 0)
COMPILERS = ("c++", "g++", "clang++", "cl")
ANSWER_SECONDS = 20


class WrongHost(Refused):
    """A run in the name of a host block on a machine that is not that host."""


def system() -> str:
    """This system as host blocks call it: linux, windows, darwin."""
    return platform.system().lower()


def threads() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe() -> dict[str, Any]:
    """What this machine is: system, cpu, threads, gpus. Imports no torch and takes milliseconds without a GPU."""
    return {
        "system": system(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "threads": threads(),
        "gpus": gpus(),
        "compiler": next((name for name in COMPILERS if shutil.which(name)), None),
        "triton": importlib.util.find_spec("triton") is not None,
    }


def _cpu() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpus() -> list[dict[str, Any]]:
    """The GPUs that a run would see, as nvidia-smi tells them on every system.

    CUDA_VISIBLE_DEVICES is heeded, since CUDA heeds it: `promotion dispatch` gives each run one GPU with it.
    """
    found = [dict(zip(GPU_QUERY, row, strict=True)) for row in _nvidia_smi()]
    return [
        {
            "name": gpu["name"],
            "uuid": gpu["uuid"],
            "driver": gpu["driver_version"],
            "memory_mib": int(gpu["memory.total"]) if gpu["memory.total"].isdigit() else None,
            "capability": gpu["compute_cap"],
        }
        for gpu in _visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))
    ]


@cache
def _nvidia_smi() -> tuple[tuple[str, ...], ...]:
    """One row a GPU, in the order of GPU_QUERY; none where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = csv.reader(answer.stdout.splitlines(), skipinitialspace=True)
    return tuple(tuple(cell.strip() for cell in row) for row in rows if len(row) == len(GPU_QUERY))


def _visible(found: list[dict[str, str]], setting: str | None) -> list[dict[str, str]]:
    """What CUDA_VISIBLE_DEVICES leaves of the GPUs: by index or by UUID, in its order, up to the first unknown one."""
    if setting is None:
        return found
    seen: list[dict[str, str]] = []
    for word in (part.strip() for part in setting.split(",")):
        gpu = next(
            (one for one in found if word == one["index"] or (len(word) > 4 and one["uuid"].startswith(word))), None
        )
        if gpu is None:
            break
        seen.append(gpu)
    return seen


def mismatches(block: Mapping[str, Any], machine: dict[str, Any] | None = None) -> list[str]:
    """Why `machine` (this one, if none is given) is not what `block` declares; empty where it is."""
    here = describe() if machine is None else machine
    found = []
    if block["system"] not in ("any", here["system"]):
        found.append(f"system: found {here['system']}, expected {block['system']}")
    if block["threads"] > here["threads"]:
        found.append(f"threads: found {count(here['threads'], 'usable CPU')}, expected at least {block['threads']}")
    if block["device"] == "cuda":
        found += _gpu_mismatches(block, here["gpus"])
    if block["compile"]:
        found += _compile_mismatches(block["device"], here)
    return found


def _gpu_mismatches(block: Mapping[str, Any], seen: list[dict[str, Any]]) -> list[str]:
    wanted = block["device_name"]
    if not seen:
        return [f"device: found no CUDA GPU, expected one{f' named {wanted}' if wanted else ''}"]
    named = [gpu for gpu in seen if wanted in gpu["name"]]
    if not named:
        here = ", ".join(gpu["name"] for gpu in seen)
        return [f"device_name: found {here}, expected a GPU whose name contains {wanted!r}"]
    if block["precision"] == "bf16" and not any(_capability(gpu["capability"]) >= BF16_CAPABILITY for gpu in named):
        return [f"precision: found compute capability {named[0]['capability']}, expected 8.0 or more for bf16"]
    return []


def _capability(text: str) -> tuple[int, ...]:
    parts = text.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (0,)


def _compile_mismatches(device: str, here: dict[str, Any]) -> list[str]:
    if device == "cuda" and not here["triton"]:
        return ["compile: found no triton, which torch.compile needs for CUDA (on Windows: the package triton-windows)"]
    if device == "cpu" and here["compiler"] is None:
        return [f"compile: found no C++ compiler, which torch.compile needs on a CPU: {', '.join(COMPILERS)}"]
    return []


def count(number: int, what: str) -> str:
    """So many of a thing, in words: 1 run, 2 runs."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def say(machine: dict[str, Any]) -> str:
    """A machine in one line, as errors and `promotion host` name it."""
    gpus_here = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no GPU"
    return f"{machine['system']}, {machine['cpu']}, {count(machine['threads'], 'CPU')}, {gpus_here}"


def say_block(block: Mapping[str, Any]) -> str:
    """A host block in one line."""
    device = f"{block['device']} {block['device_name']}".strip()
    compiled = ", compiled" if block["compile"] else ""
    return f"system {block['system']}, {device}, {block['precision']}, {count(block['threads'], 'thread')}{compiled}"


def require(name: str, block: Mapping[str, Any]) -> None:
    """Refuse with `WrongHost` unless this machine is what the block `name` declares."""
    here = describe()
    if found := [*mismatches(block, here), *used_mismatches(block)]:
        reasons = "\n".join(f"  {one}" for one in found)
        raise WrongHost(
            f"params.yaml: hosts.{name}: this machine is not that host:\n{reasons}\n"
            f"  the block: {say_block(block)}\n"
            f"  this machine: {say(here)}\n"
            f"  run {name}'s cells there (`promotion work --host {name}`), "
            "or take what it has pushed: `dvc pull --run-cache`, then `dvc repro --pull`"
        )


def used_mismatches(block: Mapping[str, Any]) -> list[str]:
    """What nvidia-smi cannot know of a GPU: whether torch can use it, and which of several it uses.

    Only a process that trains has imported torch; in any other there is nothing to say.
    """
    torch = sys.modules.get("torch")
    if torch is None or block["device"] != "cuda":
        return []
    if not torch.cuda.is_available():
        return [f"device: found torch {torch.__version__}, which sees no GPU, expected one that does: {_remedy(torch)}"]
    used = torch.cuda.get_device_name()
    if block["device_name"] not in used:
        wanted = block["device_name"]
        return [f"device_name: torch uses {used}, expected a GPU whose name contains {wanted!r} (CUDA_VISIBLE_DEVICES)"]
    return []


def _remedy(torch: Any) -> str:
    """What makes a torch see the GPU that nvidia-smi shows."""
    if torch.version.cuda is None:
        release = torch.__version__.partition("+")[0]
        return (
            f"it is a build without CUDA; install the CUDA build of {release} in its place (docs/hosts.md, A GPU host)"
        )
    return f"it was built for CUDA {torch.version.cuda}; update the driver, and look at CUDA_VISIBLE_DEVICES"


@cache
def git_commit() -> str | None:
    """The commit that is checked out, or None outside git. Telemetry alone holds it."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        answer = subprocess.run(
            [git, "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", timeout=ANSWER_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
