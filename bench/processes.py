"""What a study in this workspace costs besides training: process starts, gates, DVC with nothing to do.

python -m bench processes        (after `make study`)
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from stages.domain import canonical, names
from stages.domain.canonical import JsonObject

PARTS = ("params.yaml", "stages", "trainer", "locks")


def time_command(command: Sequence[str], cwd: Path, times: int = 5) -> dict[str, float]:
    """Wall seconds of a command as a whole process: minimum and median of `times` runs after one to warm up."""
    durations = []
    for _ in range(times + 1):
        began = time.perf_counter()
        subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        durations.append(time.perf_counter() - began)
    return {"min": round(min(durations[1:]), 3), "median": round(statistics.median(durations[1:]), 3)}


def _find_stopped(root: Path) -> list[str] | None:
    """The command of some run without a ticket, from the ledger."""
    for line in (root / names.LEDGER / "runs.jsonl").read_bytes().splitlines(keepends=True):
        run: JsonObject = canonical.loads(line)
        if run["status"] == "stopped":
            return ["-m", "stages.run", run["rung"], run["config"], run["host"], str(run["seed"])]
    return None


def split_seconds(root: Path) -> dict[str, float]:
    """Where the study's training time went, from the telemetry of its runs: sums in seconds."""
    sums: dict[str, float] = {}
    for path in (root / names.TELEMETRY).glob("rung*/*/*/*.json"):
        telemetry = canonical.loads(path.read_bytes())
        for key in ("train_seconds", "setup_seconds", "evaluation_seconds", "process_seconds"):
            sums[key] = sums.get(key, 0.0) + float(telemetry.get(key) or 0.0)
        sums["runs"] = sums.get("runs", 0) + (1 if telemetry.get("train_seconds") else 0)
    return {key: round(value, 1) for key, value in sorted(sums.items())}


def measure() -> dict[str, object]:
    """Process times in a copy of this workspace's study, so that nothing here is changed."""
    workspace = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for part in PARTS:
            source = workspace / part
            if source.is_dir():
                shutil.copytree(source, root / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root / part)
        for path in (names.PROTOCOL, names.RECORDS, names.GATES, names.LEDGER):
            shutil.copytree(workspace / path, root / path)
        stopped = _find_stopped(root)
        return {
            "stopped_run_seconds": time_command([sys.executable, *stopped], root) if stopped else None,
            "gate_seconds": time_command([sys.executable, "-m", "stages.gate", "rung3"], root),
            "ledger_seconds": time_command([sys.executable, "-m", "stages.ledger"], root, 3),
            "dvc_repro_nothing_to_do_seconds": time_command([sys.executable, "-m", "dvc", "repro"], workspace, 3),
            "verify_seconds": time_command([sys.executable, "-m", "stages.cli", "verify"], workspace, 3),
            "study": split_seconds(workspace),
        }
