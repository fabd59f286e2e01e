"""The tokenizer: byte-pair encoding learnt with rustbpe, applied with tiktoken, kept as JSON.

    python -m stages.corpus

rustbpe counts in parallel but breaks ties by the pair's ids, so the ranks depend on the text alone: not on
threads, not on the order of documents. The special token that begins every document is the last id.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import rustbpe
import tiktoken

from stages.corpora.inputs import CorpusError
from stages.domain.canonical import dumps

BOS = "<|bos|>"
MAX_TOKEN_BYTES = 65535  # token_bytes.bin is 16 bits wide
TRAINING_BUFFER = 1024  # documents that rustbpe holds at once

# Pieces that no token crosses, as in GPT-4's tokenizer but with at most two digits (a small vocabulary has no
# room for a thousand numbers) and at most 256 white-space characters: unbounded, a megabyte of blanks takes
# 16 s in one place and overflows the regular expression's stack in the other.
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)"
    r"|[^\r\n\p{L}\p{N}]?+\p{L}+"
    r"|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s{0,255}[\r\n]"
    r"|\s{1,256}(?!\S)"
    r"|\s{1,256}"
)


@dataclass(frozen=True)
class Tokenizer:
    """`ranks`: the bytes of token 0, 1, 2, ...; the special token comes after them."""

    ranks: tuple[bytes, ...]

    @property
    def vocab_size(self) -> int:
        """Number of token ids, the special one included."""
        return len(self.ranks) + 1

    @property
    def bos(self) -> int:
        """The id that begins every document."""
        return len(self.ranks)

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        ranks = {token: rank for rank, token in enumerate(self.ranks)}
        return tiktoken.Encoding("corpus", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={BOS: self.bos})

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """One array a text, little-endian uint16: BOS, then its tokens. `<|bos|>` in a text is text."""
        encoded = self._encoding.encode_ordinary_batch(texts)
        return [np.array([self.bos, *ids], dtype="<u2") for ids in encoded]

    def token_bytes(self) -> bytes:
        """token_bytes.bin: little-endian uint16, UTF-8 bytes of every token, 0 for the special one."""
        return np.array([*map(len, self.ranks), 0], dtype="<u2").tobytes()

    def to_json(self) -> bytes:
        """tokenizer.json: canonical JSON, ranks in base64."""
        ranks = [base64.b64encode(token).decode("ascii") for token in self.ranks]
        return dumps({"schema": 1, "pattern": PATTERN, "ranks": ranks, "special": {BOS: self.bos}})


def learn(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of `vocab_size` ids learnt from `texts`; `CorpusError` where they yield fewer."""
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(texts), vocab_size - 1, buffer_size=TRAINING_BUFFER, pattern=PATTERN)
    ranks = tuple(bytes(token) for token, _ in trainer.get_mergeable_ranks())
    if len(ranks) + 1 < vocab_size:
        raise CorpusError(
            f"params.yaml: data.vocab_size: {vocab_size} is more than the {len(ranks) + 1} tokens that the "
            f"training text yields; lower it to {len(ranks) + 1} or less, or give more text"
        )
    longest = max(map(len, ranks))
    if longest > MAX_TOKEN_BYTES:
        raise CorpusError(
            f"the training text yields a token of {longest} bytes, at most {MAX_TOKEN_BYTES} are kept; "
            "take the endless repetition out of the text"
        )
    return Tokenizer(ranks)
