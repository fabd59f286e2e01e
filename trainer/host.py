"""The machine, set up for a run: threads, determinism, memory, and what compiles for its device."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import socket
import sys

import torch

from trainer.errors import HostError
from trainer.spec import Host

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def prepare(host: Host) -> torch.device:
    """Threads, determinism and memory for `host`; `HostError` where the device, or what compiles for it, is not here.

    On the CPU every operation of the runner is deterministic at a fixed number of threads (tested), so
    `torch.use_deterministic_algorithms`, which imports the compiler for 1.1 s, is left to CUDA.
    """
    torch.set_num_threads(host.threads)
    if host.device == "cuda" and not torch.cuda.is_available():
        raise HostError(
            "spec.host.device is cuda, but torch finds no CUDA device here: "
            "run this host's cells on its own machine, or pull their artifacts"
        )
    if host.compile:
        _require_compiler(host.device)
    if host.device == "cuda":
        return _prepare_cuda()
    _keep_freed_memory()
    return torch.device("cpu")


def _require_compiler(device: str) -> None:
    """Refuses a host that cannot compile before the first step finds out, in the compiler's own words."""
    if device == "cuda" and not _has_triton():
        raise HostError(
            "spec.host.compile is true, but triton, which torch.compile needs for CUDA, is not installed: install it "
            "(on Windows: the package triton-windows), or set compile to false in the host block"
        )
    if device == "cuda" and sys.platform == "win32":
        return  # triton-windows brings its compiler
    asked = os.environ.get("CC" if device == "cuda" else "CXX")
    usual = ("cc", "gcc", "clang") if device == "cuda" else ("c++", "g++", "clang++", "cl")
    if not any(shutil.which(name) for name in (asked, *usual) if name):
        raise HostError(
            "spec.host.compile is true, but no compiler is found here, which torch.compile needs "
            f"({', '.join(usual)}): install one, or set compile to false in the host block"
        )


def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _prepare_cuda() -> torch.device:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS may add in any order
    # Not with warn_only: then the backward passes of SDPA stay as they are, add in any order, and only warn.
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    return torch.device("cuda")


def _keep_freed_memory() -> None:
    """Tells glibc to keep what is freed: else every large tensor is mapped and page-faulted anew.

    Measured on 2 cores at 4096 tokens: 10 to 20 % of a step. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


def synchronise(device: torch.device) -> None:
    """Waits for the device, so that a measured second is a second of work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def hostname() -> str:
    """This machine's name."""
    return socket.gethostname()


def peak_memory(device: torch.device) -> int | None:
    """Most bytes held: of the GPU, or of the process; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit
