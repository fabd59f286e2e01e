"""Bits per byte over a fixed number of tokens of a split, the same rows for every configuration.

bpb = nats of the target tokens / (ln 2 x their UTF-8 bytes); tokens of zero bytes (BOS) are in neither sum.

    python -m pytest tests/trainer/test_evaluate.py
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from trainer import head
from trainer.errors import CorpusError
from trainer.model import Trunk
from trainer.packing import Packer
from trainer.shape import Shape
from trainer.spec import Spec
from trainer.tokens import Corpus

DECIMALS = 6


def packed_rows(corpus: Corpus, name: str, tokens: int, length: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """The evaluation rows of a split, (rows, length + 1), in file order; `CorpusError` where it is too small."""
    rows = np.empty((max(1, tokens // length), length + 1), dtype=np.int64)
    split = corpus.split(name)
    full = Packer(split, corpus.bos, length, seed=None).fill(rows)
    if full < len(rows):
        raise CorpusError(
            f"{split.path}: packs into {full} rows of {length} tokens, runner.eval_tokens {tokens} asks for "
            f"{len(rows)}: lower runner.eval_tokens to {full * length} or enlarge the split"
        )
    return rows


@torch.no_grad()
def bits_per_byte(
    run: Trunk, weight: Tensor, rows: Tensor, token_bytes: Tensor, *, batch: int, slice_rows: int
) -> float:
    """Bits per byte of the model `run` with head `weight` on `rows` (n, length + 1), `batch` rows at a time."""
    nats = torch.zeros((), dtype=torch.float64, device=weight.device)
    count = torch.zeros((), dtype=torch.int64, device=weight.device)
    for at in range(0, rows.shape[0], batch):
        part = rows[at : at + batch].to(weight.device)
        targets = part[:, 1:].reshape(-1)
        size = token_bytes[targets]
        nats += head.nats(run(part[:, :-1]), weight, targets, (size > 0).double(), slice_rows)
        count += size.sum()
    return float(nats) / (math.log(2.0) * int(count))


def score(spec: Spec, shape: Shape, corpus: Corpus, split: str, run: Trunk, weight: Tensor) -> float:
    """val_bpb (or the locked split's), rounded as it is recorded; not finite where the model broke."""
    rows = torch.from_numpy(packed_rows(corpus, split, spec.runner.eval_tokens, spec.runner.sequence_length))
    sizes = torch.from_numpy(corpus.token_bytes().astype(np.int64)).to(weight.device)
    slices = head.slice_rows(shape.vocab_size, weight.device)
    found = bits_per_byte(run, weight, rows, sizes, batch=spec.runner.eval_batch_rows, slice_rows=slices)
    return round(found, DECIMALS)
