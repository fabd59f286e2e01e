"""Bits per byte over a fixed number of tokens of a split, the same rows for every configuration.

bpb = nats of the target tokens / (ln 2 x their UTF-8 bytes); tokens of zero bytes (BOS) are in neither sum.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer import head
from trainer.errors import CorpusError
from trainer.model import Trunk
from trainer.packing import Packer
from trainer.spec import Spec
from trainer.tokens import Corpus, Tokens

DECIMALS = 6


def packed_rows(corpus: Corpus, name: str, tokens: int, length: int) -> Tokens:
    """The evaluation rows of a split, (rows, length + 1), in file order; `CorpusError` where it is too small."""
    rows = np.empty((max(1, tokens // length), length + 1), dtype=np.uint16)
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
    run: Trunk, weight: Tensor, rows: Tokens, token_bytes: Tensor, *, batch: int, slice_rows: int
) -> float:
    """Bits per byte of the model `run` with head `weight` on `rows` (n, length + 1), `batch` rows at a time."""
    nats = torch.zeros((), dtype=torch.float64, device=weight.device)
    count = torch.zeros((), dtype=torch.int64, device=weight.device)
    for at in range(0, len(rows), batch):
        part = torch.from_numpy(rows[at : at + batch].astype(np.int64)).to(weight.device)
        targets = part[:, 1:].reshape(-1)
        size = token_bytes[targets]
        nats += head.nats(run(part[:, :-1]), weight, targets, (size > 0).double(), slice_rows)
        count += size.sum()
    return float(nats) / (math.log(2.0) * int(count))


class Scorer:
    """Scores a run on val, and on locked where its specification asks for it.

    The rows are packed when it is made, so that a corpus that cannot score a run is refused before the first step.
    """

    def __init__(self, spec: Spec, corpus: Corpus) -> None:
        splits = ("val", "locked") if spec.evaluate_locked else ("val",)
        tokens, length = spec.runner.eval_tokens, spec.runner.sequence_length
        self._rows = {split: packed_rows(corpus, split, tokens, length) for split in splits}
        self._sizes: NDArray[np.int64] = corpus.token_bytes().astype(np.int64)
        self._batch = spec.runner.eval_batch_rows

    def score(self, split: str, run: Trunk, weight: Tensor) -> float | None:
        """Bits per byte as recorded, None for a split that was not asked for; not finite where the model broke."""
        rows = self._rows.get(split)
        if rows is None:
            return None
        sizes = torch.from_numpy(self._sizes).to(weight.device)
        slices = head.slice_rows(weight.shape[0], weight.device)
        return round(bits_per_byte(run, weight, rows, sizes, batch=self._batch, slice_rows=slices), DECIMALS)
