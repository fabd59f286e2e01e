"""A leash: a process that ends when the one that started it does, however that one ended.

    python -m stages.hosts.leash -m dvc repro        DVC on a leash, and every run that it starts

The parent holds the other end of a pipe that is the standard input here, and writes nothing; the system closes it when
the parent dies, on Windows as on Linux. A run must not outlive `promotion work` or a worker of `promotion dispatch`: it
would train beside the run that is started in its place. Files appear whole and checkpoints stay, so nothing is lost.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import threading

ORPHANED = 75
#: Set for the children of a parent that holds a leash; they inherit its pipe, through DVC and its shell as well.
VARIABLE = "STAGED_PROMOTION_LEASH"


def _watch() -> None:
    while os.read(0, 1):  # blocks until the parent is gone
        pass
    os._exit(ORPHANED)


def heed() -> None:
    """If this process is on a leash, end with the parent from now on."""
    if os.environ.get(VARIABLE):
        threading.Thread(target=_watch, daemon=True).start()


def start(
    words: list[str], output: int | None = None, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `python WORDS` on a leash that this process holds, with these variables besides its own.

    `output` is where all that it prints goes, as `subprocess` takes it.
    """
    variables = os.environ | (environment or {}) | {VARIABLE: "1"}
    return subprocess.Popen(
        [sys.executable, *words], env=variables, stdin=subprocess.PIPE, stdout=output, stderr=output
    )


def main() -> None:
    """Heed the leash and become the module that is asked for, as `python -m` would."""
    heed()
    del sys.argv[0:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
