"""What trained a run of the built-in runner: versions, processor, GPU, driver, and the share of the GPU's peak.

It goes into the telemetry of the run and changes no result, so it is no part of the fixed runner. Torch is imported
where it is asked.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import subprocess
from pathlib import Path
from typing import Any

# Dense peaks in FLOP/s of bf16 and of fp32, whose products run in TF32, from the makers' data sheets, for model FLOPs
# utilisation. The first line counts whose words are all in the device's name; a GPU of no line has no MFU.
PEAKS: tuple[tuple[frozenset[str], dict[str, float]], ...] = (
    (frozenset({"H100", "PCIe"}), {"bf16": 756e12, "fp32": 378e12}),
    (frozenset({"H100", "NVL"}), {"bf16": 835e12, "fp32": 417e12}),
    (frozenset({"H100"}), {"bf16": 989.5e12, "fp32": 494.7e12}),
    (frozenset({"H200", "NVL"}), {"bf16": 835e12, "fp32": 417e12}),
    (frozenset({"H200"}), {"bf16": 989.5e12, "fp32": 494.7e12}),
    (frozenset({"A100"}), {"bf16": 312e12, "fp32": 156e12}),
    (frozenset({"L40S"}), {"bf16": 362e12, "fp32": 183e12}),
)


def describe_device(device: str) -> dict[str, Any]:
    """Versions, processor, device (the GPU, or the processor again), driver and hostname; `device` is cpu or cuda."""
    import torch

    cpu = read_cpu_name()
    on_gpu = device == "cuda"
    return {
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "hostname": socket.gethostname(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "device_name": torch.cuda.get_device_name() if on_gpu else cpu,
        "driver": _read_driver_version() if on_gpu else None,
    }


def compute_mfu(flops_per_second: float, device: str, precision: str) -> float | None:
    """Model FLOPs utilisation: the share of the GPU's peak at `precision`; None where that peak is not known."""
    if device != "cuda":
        return None
    import torch

    peak = find_peak(torch.cuda.get_device_name(), precision)
    return None if peak is None else round(flops_per_second / peak, 6)


def find_peak(name: str, precision: str) -> float | None:
    """The peak of the GPU that calls itself `name`; None for a slice of one (MIG) and for one that is not known."""
    words = set(name.replace("-", " ").split())
    if "MIG" in words:
        return None
    return next((peaks[precision] for known, peaks in PEAKS if known <= words), None)


def read_cpu_name() -> str:
    """The processor's name as its maker gives it, or the kind of machine where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _read_driver_version() -> str | None:
    """The GPU driver's version as nvidia-smi says it, the same way on Linux and Windows."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.split("\n", 1)[0].strip() or None
