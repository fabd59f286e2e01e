"""What to say when a batch does not fit: the largest device batch that would, found by halving.

python -m pytest tests/trainer/test_memory.py
"""

from __future__ import annotations

import gc
from dataclasses import replace

import torch

from trainer.muon import Factors
from trainer.session import Session
from trainer.shape import Shape
from trainer.spec import Spec
from trainer.tokens import Corpus


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch reports, on the GPU or on the CPU, that an allocation failed."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return "DefaultCPUAllocator" in text or "not enough memory" in text


def largest_batch(spec: Spec, shape: Shape, corpus: Corpus, device: torch.device) -> int | None:
    """Tokens of the largest device batch below the spec's that trains one step here; None where none does."""
    rows = spec.rows
    while rows > 1:
        rows = next(size for size in range(rows // 2, 0, -1) if spec.rows % size == 0)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        tokens = rows * spec.runner.sequence_length
        config = replace(spec.config, device_batch_tokens=tokens, batch_tokens=tokens)
        try:
            Session(replace(spec, config=config), shape, corpus, device).step(Factors(0.0, 0.0, 0.0))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        else:
            return tokens
    return None
