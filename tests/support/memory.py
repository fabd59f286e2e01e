"""The peak memory of a program, told by itself.

Not `getrusage`: on Linux a child begins with the maximum of its parent, so whoever is started by a large process looks
large.
"""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_bytes() -> int | None:
    """The most memory that this program ever held, in bytes; None where the system does not tell."""
    if not STATUS.is_file():
        return None
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
