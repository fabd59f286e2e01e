"""How long a million resampled ladders take, and ladders of 100,000 simulated configurations.

    python -m bench backtest

The backtest is the documented example (docs/backtest.md), as a process from start to end; the simulation is of one
design with five rungs, fitted to the committed ledger. On a busy machine compare the processor's seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LADDERS = 1_000_000
CONFIGS, SIMULATED = 100_000, 50
EXAMPLE = Path("studies/backtest")
_PROBE = """
import json, sys, time
from stages.cli import main
from tests.support.memory import peak_bytes
try:
    main(sys.argv[1:])
except SystemExit as end:
    probe = {"status": end.code, "peak_mb": round((peak_bytes() or 0) / 1e6), "processor": time.process_time()}
    print(json.dumps(probe), file=sys.stderr)
"""


def _backtest() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        words = ["backtest", str(EXAMPLE / "modded_nanogpt_track3.csv"), "--map", str(EXAMPLE / "map.yaml")]
        words += ["--rules", str(EXAMPLE / "rules.yaml"), "--ladders", str(LADDERS), "--json", f"{folder}/result.json"]
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, *words], capture_output=True, encoding="utf-8", check=False
        )
        seconds = time.perf_counter() - started
    probe = json.loads(done.stderr.strip().splitlines()[-1])
    if probe["status"]:
        raise RuntimeError(f"the backtest failed:\n{done.stderr[-2000:]}")
    figures = {"seconds": round(seconds, 1), "processor_seconds": round(probe["processor"], 1)}
    return {"ladders": LADDERS, "peak_mb": probe["peak_mb"], **figures}


def _simulation() -> dict[str, float]:
    from stages.backtest.model import fit
    from stages.backtest.samples import from_ledger
    from stages.backtest.simulation import halving_design, simulate

    samples = from_ledger(Path("ledger/runs.jsonl"))
    started = time.perf_counter()
    model = fit(samples)
    fitted = time.perf_counter() - started
    design = halving_design(model, samples.budgets, CONFIGS, 3, [1] * len(samples.budgets), 0)
    started, used = time.perf_counter(), time.process_time()
    simulate(model, [design], CONFIGS, SIMULATED, 1)
    scale = 1000 / SIMULATED
    return {
        "configs": CONFIGS,
        "rungs": len(samples.budgets),
        "fit_seconds": round(fitted, 2),
        "seconds_of_1000": round(scale * (time.perf_counter() - started), 1),
        "processor_seconds_of_1000": round(scale * (time.process_time() - used), 1),
    }


def measure() -> dict[str, dict[str, float]]:
    """Seconds and peak memory of the backtest, seconds of a thousand ladders of the simulation."""
    return {"backtest": _backtest(), "simulation": _simulation()}
