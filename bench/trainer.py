"""How fast the runner is: tokens/s, the parts of a start, and what 60 seconds of training reach.

    python -m bench trainer                   # some 8 minutes, on artifacts/corpus
    python -m bench trainer --device cuda     # on a GPU: tokens/s, MFU, peak memory of models as in the paper study

Every figure comes from a process of its own, as a study starts its runs. Nothing else should want the device. Tokens/s
are of steady steps: the first ten, which compile, are left out and reported apart.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from stages.domain import names, study
from stages.domain.canonical import JsonObject
from stages.domain.contract import HostBlock
from stages.domain.errors import Refused
from stages.hosts.machine import describe_machine, find_mismatches
from stages.runners import Assignment
from stages.runners.builtin import BuiltinRunner

RUNNER = {"sequence_length": 256, "head_dim": 32, "eval_tokens": 20480}
RATES = {"matrix_lr": 0.02, "embedding_lr": 0.3, "head_lr": 0.004}
#: (depth, aspect, batch_tokens): from the smallest model of the default study to larger than its largest.
SIZES = ((1, 64, 1024), (2, 64, 1024), (2, 48, 4096), (4, 48, 2048), (4, 64, 4096))
#: What 60 seconds are measured with; found by a small search on the default text.
MINUTE = {"depth": 3, "aspect": 64, "batch_tokens": 2048, "weight_decay": 0.1}
STUDY_SECONDS = 2.0

#: As in studies/paper.yaml, whatever the corpus: (depth, aspect) of the models, rows, and tokens at once.
CUDA_SIZES = ((8, 48), (8, 64), (12, 48), (12, 64))
CUDA_RUNNER = {"sequence_length": 2048, "head_dim": 128, "eval_tokens": 20480, "eval_batch_rows": 8}
CUDA_BATCH = {"batch_tokens": 262144, "device_batch_tokens": 65536}
CUDA_HOST = {"device": "cuda", "precision": "bf16", "threads": 4, "compile": True}
CUDA_SECONDS = 20.0

#: One line of the figures, as it is printed in JSON.
Row = dict[str, object]


@dataclass(frozen=True)
class TrainedRun:
    """What the trainer wrote of a run, as its own JSON, and how long the whole process took."""

    facts: JsonObject
    telemetry: JsonObject
    process_seconds: float


def make_spec(config: Mapping[str, float], precision: str, threads: int, seconds: float) -> JsonObject:
    """A specification on the wall clock."""
    return {
        "schema": 1,
        "config": {**RATES, **config},
        "runner": RUNNER,
        "host": {"device": "cpu", "precision": precision, "threads": threads},
        "clock": {"kind": "wall", "seconds": seconds},
        "seed": 1,
    }


def run_spec(value: Mapping[str, object], corpus: Path) -> TrainedRun:
    """Run one specification in a process of its own; its facts, its telemetry and the whole process's seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spec.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "stages.cli",
            "train",
            "--spec",
            str(path),
            "--corpus",
            str(corpus),
            "--out",
            folder,
        ]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # stderr says what went wrong
        process = time.perf_counter() - began
        facts, telemetry = (
            json.loads((Path(folder) / f"{name}.json").read_text(encoding="utf-8")) for name in ("facts", "telemetry")
        )
    return TrainedRun(facts, telemetry, process)


def measure_study(corpus: Path, params: Path = names.PARAMS) -> list[Row]:
    """Tokens/s of every configuration of params.yaml on each of its host blocks that this machine is."""
    loaded = study.load(params)
    rows: list[Row] = []
    for host, declared in loaded.hosts.items():
        block = cast(HostBlock, declared.model_dump())
        if why := find_mismatches(declared, describe_machine()):
            rows.append({"host": host, "not_measured": "; ".join(why)})
            continue
        for name, config in loaded.configs.items():
            assignment = Assignment("", name, host, 1, loaded.runner, config, block, "wall", STUDY_SECONDS, last=False)
            value = BuiltinRunner().make_given(assignment)
            speed = run_spec(value, corpus).telemetry["tokens_per_second"]
            rows.append({"host": host, "config": name, "tokens_per_second": round(speed)})
    return rows


def measure_throughput(corpus: Path, threads: int) -> list[Row]:
    """Tokens/s and effective FLOP/s of every size in both precisions, over 3 seconds of steady steps."""
    rows = []
    for depth, aspect, batch in SIZES:
        for precision in ("fp32", "bf16"):
            config = {"depth": depth, "aspect": aspect, "batch_tokens": batch}
            result = run_spec(make_spec(config, precision, threads, 3.0), corpus)
            model, telemetry = result.facts["model"], result.telemetry
            rows.append(
                {
                    "config": f"d{depth}-ar{aspect}-b{batch}",
                    "precision": precision,
                    "parameters": model["parameters"],
                    "tokens_per_second": round(telemetry["tokens_per_second"]),
                    "gflops_per_second": round(telemetry["model_flops_per_second"] / 1e9, 1),
                    "evaluation_seconds": round(telemetry["evaluation_seconds"], 3),
                    "setup_seconds": round(telemetry["setup_seconds"], 3),
                    "start_seconds": round(
                        result.process_seconds - telemetry["train_seconds"] - telemetry["evaluation_seconds"], 3
                    ),
                }
            )
    return rows


def time_import(module: str) -> float:
    """Seconds of a process that only imports `module`, the best of three."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        times.append(time.perf_counter() - began)
    return round(min(times), 3)


def measure_minute(corpus: Path, threads: int) -> list[Row]:
    """val_bpb after 60 seconds of wall time, both precisions."""
    rows = []
    for precision in ("fp32", "bf16"):
        result = run_spec(make_spec(MINUTE, precision, threads, 60.0), corpus)
        facts, telemetry = result.facts, result.telemetry
        rows.append(
            {
                "precision": precision,
                "val_bpb": facts["val_bpb"],
                "steps": facts["steps"],
                "tokens": facts["tokens"],
                "train_seconds": round(telemetry["train_seconds"], 2),
                "process_seconds": round(result.process_seconds, 2),
            }
        )
    return rows


def measure_cuda(corpus: Path) -> list[Row]:
    """Tokens/s, MFU, peak memory and the seconds of the compiled first steps, of models as in the paper study."""
    rows = []
    for depth, aspect in CUDA_SIZES:
        value = make_spec({"depth": depth, "aspect": aspect, **CUDA_BATCH}, "bf16", 4, CUDA_SECONDS)
        result = run_spec({**value, "runner": CUDA_RUNNER, "host": CUDA_HOST}, corpus)
        telemetry = result.telemetry
        keys = (
            "tokens_per_second",
            "mfu",
            "peak_memory_bytes",
            "first_steps_seconds",
            "device_name",
            "torch",
            "driver",
        )
        model = result.facts["model"]
        rows.append(
            {
                "config": f"d{depth}-ar{aspect}",
                "parameters": model["parameters"],
                "vocab_size": model["vocab_size"],
                **{key: telemetry[key] for key in keys},
            }
        )
    return rows


def measure(corpus: Path = names.CORPUS, threads: int = 2, device: str = "cpu") -> Row:
    """The runner's figures on this machine, now. `Refused` where the device is not here."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise Refused(f"--device cuda: torch {torch.__version__} finds no CUDA device here; use a machine with one")
        return {"cuda": measure_cuda(corpus)}
    return {
        "threads": threads,
        "import_seconds": {name: time_import(name) for name in ("trainer.spec", "torch", "trainer.loop")},
        "study": measure_study(corpus),
        "throughput": measure_throughput(corpus, threads),
        "minute": measure_minute(corpus, threads),
    }
