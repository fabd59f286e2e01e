"""How fast the runner is: tokens/s, the parts of a start, and what 60 seconds of training reach.

    python -m bench trainer       # some 4 minutes, on artifacts/corpus

Every figure comes from a process of its own, as a study starts its runs. Nothing else should want the processor.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RUNNER = {"sequence_length": 256, "head_dim": 32, "eval_tokens": 20480}
RATES = {"matrix_lr": 0.02, "embedding_lr": 0.3, "head_lr": 0.004}
#: (depth, aspect, batch_tokens): from the smallest model of the default study to larger than its largest.
SIZES = ((1, 64, 1024), (2, 64, 1024), (2, 48, 4096), (4, 48, 2048), (4, 64, 4096))
#: What 60 seconds are measured with; found by a small search on the default text.
MINUTE = {"depth": 3, "aspect": 64, "batch_tokens": 2048, "weight_decay": 0.1}


def spec(config: dict[str, Any], precision: str, threads: int, seconds: float) -> dict[str, Any]:
    """A specification on the wall clock."""
    return {
        "schema": 1,
        "config": {**RATES, **config},
        "runner": RUNNER,
        "host": {"device": "cpu", "precision": precision, "threads": threads},
        "clock": {"kind": "wall", "seconds": seconds},
        "seed": 1,
    }


def run(value: dict[str, Any], corpus: Path) -> dict[str, Any]:
    """Runs one specification in a process of its own; its facts, its telemetry and the whole process's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        command = [sys.executable, "-m", "trainer", "--spec", str(path), "--corpus", str(corpus), "--out", folder]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process = time.perf_counter() - began
        facts, telemetry = (
            json.loads((Path(folder) / f"{name}.json").read_text(encoding="utf-8")) for name in ("facts", "telemetry")
        )
    return {"facts": facts, "telemetry": telemetry, "process_seconds": process}


def throughput(corpus: Path, threads: int) -> list[dict[str, Any]]:
    """Tokens/s and effective FLOP/s of every size in both precisions, over 3 seconds of steady steps."""
    rows = []
    for depth, aspect, batch in SIZES:
        for precision in ("fp32", "bf16"):
            config = {"depth": depth, "aspect": aspect, "batch_tokens": batch}
            found = run(spec(config, precision, threads, 3.0), corpus)
            model, told = found["facts"]["model"], found["telemetry"]
            rows.append(
                {
                    "config": f"d{depth}-ar{aspect}-b{batch}",
                    "precision": precision,
                    "parameters": model["parameters"],
                    "tokens_per_second": round(told["tokens_per_second"]),
                    "gflops_per_second": round(told["model_flops_per_second"] / 1e9, 1),
                    "evaluation_seconds": round(told["evaluation_seconds"], 3),
                    "setup_seconds": round(told["setup_seconds"], 3),
                    "start_seconds": round(
                        found["process_seconds"] - told["train_seconds"] - told["evaluation_seconds"], 3
                    ),
                }
            )
    return rows


def import_seconds(module: str) -> float:
    """Seconds of a process that only imports `module`, the best of three."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        times.append(time.perf_counter() - began)
    return round(min(times), 3)


def minute(corpus: Path, threads: int) -> list[dict[str, Any]]:
    """val_bpb after 60 seconds of wall time, both precisions."""
    rows = []
    for precision in ("fp32", "bf16"):
        found = run(spec(MINUTE, precision, threads, 60.0), corpus)
        facts, told = found["facts"], found["telemetry"]
        rows.append(
            {
                "precision": precision,
                "val_bpb": facts["val_bpb"],
                "steps": facts["steps"],
                "tokens": facts["tokens"],
                "train_seconds": round(told["train_seconds"], 2),
                "process_seconds": round(found["process_seconds"], 2),
            }
        )
    return rows


def measure(corpus: Path = Path("artifacts/corpus"), threads: int = 2) -> dict[str, Any]:
    """The runner's figures on this machine, now."""
    return {
        "threads": threads,
        "import_seconds": {name: import_seconds(name) for name in ("trainer.spec", "torch", "trainer.loop")},
        "throughput": throughput(corpus, threads),
        "minute": minute(corpus, threads),
    }
