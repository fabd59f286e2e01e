"""What to say when a batch does not fit: the largest device batch that would, found by halving."""

from __future__ import annotations

import gc
from dataclasses import replace

import torch

from trainer import host
from trainer.muon import Factors
from trainer.session import Session
from trainer.shape import Shape
from trainer.spec import Spec
from trainer.tokens import Corpus

# How the allocators of torch, the CUDA driver and its libraries say it; the compiler passes such a text on in an error
# of its own. (A kernel that needs too much shared memory is "out of resource", and another matter.)
TEXTS = ("out of memory", "not enough memory", "can't allocate memory", "unable to allocate", "_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the GPU or on the CPU, in `error` or in what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen).lower()
        if isinstance(seen, torch.OutOfMemoryError | MemoryError) or any(part.lower() in text for part in TEXTS):
            return True
        seen = seen.__cause__
    return False


def largest_batch(spec: Spec, shape: Shape, corpus: Corpus, device: torch.device) -> int | None:
    """Tokens of the largest device batch below the spec's that trains here; None where none does.

    Two device batches are tried: from the second on, activations share the memory with the gradients so far.
    """
    rows = spec.rows
    while rows > 1:
        rows = next(size for size in range(rows // 2, 0, -1) if spec.rows % size == 0)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        tokens = rows * spec.runner.sequence_length
        config = replace(spec.config, device_batch_tokens=tokens, batch_tokens=2 * tokens)
        try:
            Session(replace(spec, config=config), shape, corpus, device).step(Factors(0.0, 0.0, 0.0))
            host.synchronise(device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return tokens
    return None
