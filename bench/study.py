"""The default study from a clean clone: how long it takes, and which part of that is training, starting and DVC.

    python -m bench study         (some 10 minutes; what is not committed is not measured)

A `python` that comes first on DVC's PATH writes down how long every stage's process took, so DVC's own share is the
rest of the wall time. `same_ledger` is whether records and decisions are those that are committed, byte for byte.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.processes import split_seconds
from stages.domain import names

_SHIM = """#!{python} -IS
import subprocess, sys, time
began = time.perf_counter()
status = subprocess.call([{python!r}, *sys.argv[1:]])
with open({log!r}, "a", encoding="utf-8") as log:
    log.write(f"{{time.perf_counter() - began}}\\n")
sys.exit(status)
"""


def _make_timing_python(folder: Path, log: Path) -> dict[str, str]:
    """An environment in which `python` is this interpreter, and writes the seconds of every process to `log`."""
    shim = folder / "python"
    shim.write_text(_SHIM.format(python=sys.executable, log=str(log)), encoding="utf-8")
    shim.chmod(0o755)
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path}


def measure() -> dict[str, float]:
    """Wall seconds of `dvc repro` in a clone of HEAD, and their split."""
    with tempfile.TemporaryDirectory() as folder:
        root, log, tools = Path(folder) / "study", Path(folder) / "log", Path(folder) / "bin"
        tools.mkdir()
        subprocess.run(["git", "clone", "-q", str(Path.cwd()), str(root)], check=True)
        environment = _make_timing_python(tools, log)
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "dvc", "repro"], cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL
        )
        wall = time.perf_counter() - began
        processes = [float(line) for line in log.read_text(encoding="utf-8").split()]
        parts = split_seconds(root)
        trained = parts["train_seconds"] + parts["evaluation_seconds"]
        ledgers = [names.LEDGER / "runs.jsonl", names.LEDGER / "decisions.jsonl"]
        return {
            "wall_seconds": round(wall, 1),
            "stages": len(processes),
            "trained_runs": parts["runs"],
            "training_seconds": round(trained, 1),
            "start_seconds": round(sum(processes) - trained, 1),
            "dvc_seconds": round(wall - sum(processes), 1),
            "same_ledger": all((root / path).read_bytes() == path.read_bytes() for path in ledgers),
        }
