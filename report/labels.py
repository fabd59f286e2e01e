"""What the keys of records, models and telemetry are called on a page, with their units.

A key that is not listed keeps its own name, since a runner may record more than this module knows. What is empty is
left out; the JSON beside the page holds everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from stages.domain import formatting

#: Last part of a key -> (label, unit).
LABELS: dict[str, tuple[str, str]] = {
    # what came out
    "val_bpb": ("val_bpb", ""),
    "locked_bpb": ("locked_bpb", ""),
    "steps": ("Steps", ""),
    "tokens": ("Tokens trained on", ""),
    "train_loss": ("Last training loss", "nats per token"),
    "rated_seconds": ("Rated time used", "s"),
    # what was built
    "depth": ("Depth", ""),
    "width": ("Width", ""),
    "aspect": ("Aspect", ""),
    "heads": ("Heads", ""),
    "head_dim": ("Width of a head", ""),
    "parameters": ("Parameters", ""),
    "flops_per_token": ("FLOPs per token", ""),
    "embeddings": ("Parameters of the embeddings", ""),
    "value_embeddings": ("Parameters of the value embeddings", ""),
    "matrices": ("Parameters of the matrices", ""),
    "head": ("Parameters of the head", ""),
    "scalars": ("Scalar parameters", ""),
    "gates": ("Parameters of the gates", ""),
    "gate_channels": ("Channels of a gate", ""),
    "value_layers": ("Blocks with value embeddings, counted from 0", ""),
    "windows": ("Attention window of each block", "tokens"),
    "window": ("Window pattern", ""),
    "vocab_size": ("Vocabulary", "tokens"),
    "sequence_length": ("Sequence length", "tokens"),
    "digest": ("Digest of the model", ""),
    "max_width": ("Widest model allowed", ""),
    # how it trains
    "batch_tokens": ("Batch", "tokens"),
    "device_batch_tokens": ("Device batch", "tokens"),
    "matrix_lr": ("Learning rate, matrices", ""),
    "embedding_lr": ("Learning rate, embeddings", ""),
    "head_lr": ("Learning rate, head", ""),
    "scalar_lr": ("Learning rate, scalars", ""),
    "final_lr": ("Final learning-rate factor", ""),
    "weight_decay": ("Weight decay", ""),
    "warmup": ("Warm-up, share of the budget", ""),
    "warmdown": ("Warm-down, share of the budget", ""),
    "seed": ("Seed", ""),
    "eval_tokens": ("Validation", "tokens"),
    "eval_batch_rows": ("Rows of a validation batch", ""),
    "evaluate_locked": ("Scored on the locked split", ""),
    "keep_weights": ("Weights kept", ""),
    # where it ran
    "device": ("Device", ""),
    "device_name": ("Device name", ""),
    "precision": ("Precision", ""),
    "threads": ("Threads", ""),
    "compile": ("Compiled", ""),
    "flops_per_second": ("Declared speed", "FLOP/s"),
    "hostname": ("Machine", ""),
    "system": ("System", ""),
    "cpu": ("Processor", ""),
    "gpu": ("GPU", ""),
    "cores": ("Cores", ""),
    "instructions": ("Instruction set", ""),
    "python": ("Python", ""),
    "torch": ("torch", ""),
    "cuda": ("CUDA", ""),
    "driver": ("Driver", ""),
    "commit": ("Git commit", ""),
    "tokens_per_second": ("Throughput", "tokens/s"),
    "model_flops_per_second": ("Throughput of the model", "FLOP/s"),
    "mfu": ("Share of the peak speed", ""),
    "peak_memory_bytes": ("Peak memory", "bytes"),
    "train_seconds": ("Training took", "s"),
    "first_steps_seconds": ("First steps took", "s"),
    "evaluation_seconds": ("Evaluation took", "s"),
    "setup_seconds": ("Setting up took", "s"),
    "process_seconds": ("The process took", "s"),
    "checkpoint_seconds": ("Checkpoints took", "s"),
    "checkpoints": ("Checkpoints", ""),
    "resumed_at_step": ("Resumed at step", ""),
    "from_step": ("from step", ""),
    "to_step": ("to step", ""),
    "kind": ("Kind", ""),
    "package": ("Package", ""),
    "version": ("Version", ""),
    "file": ("File", ""),
    "sha256": ("SHA-256", ""),
    "text": ("Text stands under", ""),
    "document": ("A document is", ""),
}


_ORDER = {key: place for place, key in enumerate(LABELS)}


def _label(key: str) -> tuple[str, str]:
    return LABELS.get(key, (key.replace("_", " "), ""))


@lru_cache(maxsize=1 << 10)
def name(key: str) -> str:
    """The label of a key: `segments.0.from_step` -> segments 0 from step."""
    before, _, last = key.rpartition(".")
    return f"{before.replace('_', ' ').replace('.', ' ')} {_label(last)[0]}".strip()


def pairs(value: Mapping[str, object]) -> list[tuple[str, str]]:
    """(label, text with its unit) of everything in a nested value that is not empty, in the order of `LABELS`."""
    ordered = dict(sorted(value.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER))))
    return [
        (name(key), _with_unit(key, item) if isinstance(item, list) else _scalar_with_unit(key, item))
        for key, item in formatting.leaves(_full(ordered))
    ]


@lru_cache(maxsize=1 << 11, typed=True)
def _scalar_with_unit(key: str, value: object) -> str:
    """The same as `_with_unit`: runs of one configuration or host share most of their values."""
    return _with_unit(key, value)


def _with_unit(key: str, value: Any) -> str:
    """A value as people read it: seconds to milliseconds, memory in megabytes, speeds in thousands of millions."""
    last = key.rpartition(".")[2]
    unit = _label(last)[1]
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and unit == "s":
        return f"{formatting.number(number, 3)}{formatting.NB}s"
    if number is not None and unit == "bytes" and number >= 1e6:
        return f"{formatting.number(number / 1e6, 1)}{formatting.NB}MB"
    if number is not None and unit == "FLOP/s" and number >= 1e9:
        return f"{formatting.number(number / 1e9, 1).removesuffix('.0')}{formatting.NB}GFLOP/s"
    if number is not None and unit == "tokens/s":
        return f"{formatting.plain(round(number))}{formatting.NB}tokens/s"
    if last == "value_layers" and isinstance(value, list):  # indices, which alone would read as a count
        return f"block{'s' if len(value) > 1 else ''} {formatting.leaf(last, value)}"
    text = formatting.leaf(last, value)
    return f"{text}{formatting.NB}{unit}" if unit else text


def _full(value: Any) -> Any:
    """The value without keys that hold nothing."""
    if not isinstance(value, dict):
        return value
    return {key: _full(item) for key, item in value.items() if item not in (None, "", [], {})}
