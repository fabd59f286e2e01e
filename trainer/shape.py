"""What a configuration builds: width, heads, windows, parameters, FLOPs. Arithmetic only, no torch.

Two settings of the knobs can build one model; `Shape.digest` tells. FLOPs per token count forward and backward
of every matrix that a token meets and of attention: 6 x (matrices + gates + head) + the sum over layers of
12 x heads x head_dim x window (Chowdhery et al. 2022, PaLM, appendix B, with each layer's own window; the same
count as nanochat's and autoresearch's). Embedding look-ups and the optimiser count nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from trainer.spec import Config, Runner, width_of

GATE_CHANNELS = 32  # the gate of a value embedding reads the first channels of its token


@dataclass(frozen=True)
class Shape:
    """The model that is built. Windows and sequence length are in tokens, `parameters` counts numbers."""

    depth: int
    width: int
    heads: int
    head_dim: int
    sequence_length: int
    vocab_size: int
    windows: tuple[int, ...]
    value_layers: tuple[int, ...]
    gate_channels: int
    matrices: int
    gates: int
    embeddings: int
    value_embeddings: int
    head: int
    scalars: int

    @property
    def parameters(self) -> int:
        """All trained numbers."""
        return self.matrices + self.gates + self.embeddings + self.value_embeddings + self.head + self.scalars

    @property
    def flops_per_token(self) -> int:
        """Forward and backward FLOPs of one training token; see the module's formula."""
        attention = sum(12 * self.heads * self.head_dim * window for window in self.windows)
        return 6 * (self.matrices + self.gates + self.head) + attention

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the totals included."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {**plain, "parameters": self.parameters, "flops_per_token": self.flops_per_token}

    def digest(self) -> str:
        """SHA-256 (hex) of what was built: equal for two configurations that build one model."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


def realise(config: Config, runner: Runner, vocab_size: int) -> Shape:
    """The model that `config` builds under `runner` for a vocabulary of `vocab_size`."""
    width = width_of(config, runner)
    depth, heads = config.depth, width // runner.head_dim
    length = runner.sequence_length
    half = {"S": length // 2, "L": length}
    windows = [half[config.window[layer % len(config.window)]] for layer in range(depth)]
    windows[-1] = length
    value_layers = tuple(layer for layer in range(depth) if layer % 2 == (depth - 1) % 2)
    channels = min(GATE_CHANNELS, width)
    return Shape(
        depth=depth,
        width=width,
        heads=heads,
        head_dim=runner.head_dim,
        sequence_length=length,
        vocab_size=vocab_size,
        windows=tuple(windows),
        value_layers=value_layers,
        gate_channels=channels,
        matrices=12 * depth * width * width,
        gates=len(value_layers) * heads * channels,
        embeddings=vocab_size * width,
        value_embeddings=len(value_layers) * vocab_size * width,
        head=vocab_size * width,
        scalars=2 * depth,
    )


def rated_steps(flops_per_token: int, batch_tokens: int, seconds: float, flops_per_second: int | float) -> int:
    """Whole steps that fit into `seconds` at `flops_per_second`, at least one; exact, so the same everywhere."""
    budget = Fraction(repr(seconds)) * Fraction(repr(flops_per_second))
    return max(1, int(budget // (flops_per_token * batch_tokens)))
