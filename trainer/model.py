"""The GPT of the fixed runner, its parameters kept in a few banks.

RMSNorm without weights, rotary positions, QK-norm, squared-ReLU MLP, value embeddings on alternating layers mixed
in by a gate per head, a residual and a first-input scalar per layer, an untied head (see `trainer.head`).
Matrices of one shape share one tensor, so the optimiser works on stacks without copying, and every embedding table
is a column block of one table, so a batch is looked up once. Parameters are fp32; products run in the host's
precision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trainer import attention
from trainer.ops import rms_norm, rotate, squared_relu_mlp
from trainer.shape import Shape

ROTARY_BASE = 10_000.0
FIRST_INPUT = 0.1  # what a layer mixes in of the first input, to begin with
HEAD_SPREAD = 0.001

Parameters = dict[str, Tensor]
Trunk = Callable[[Tensor], Tensor]


def initialise(shape: Shape, seed: int, device: torch.device) -> Parameters:
    """Fresh fp32 parameters, drawn on the CPU, so that a seed means one start on every device.

    square (depth, 4, w, w): q, k, v and the way back. wide (depth, 2, 4w, w): into the MLP and, transposed, back.
    gates (value layers, heads, channels). tables (vocabulary, (1 + value layers) w): tokens, then one block for
    each value layer. head (vocabulary, w). residual, first (depth,).
    """
    draw = torch.Generator().manual_seed(seed % 2**63)
    width, depth, values = shape.width, shape.depth, len(shape.value_layers)
    bound = (3.0 / width) ** 0.5  # of a uniform distribution with deviation 1 / sqrt(width)

    def uniform(*size: int) -> Tensor:
        return torch.empty(size).uniform_(-bound, bound, generator=draw)

    square = uniform(depth, 4, width, width)
    square[:, 3] = 0.0
    wide = uniform(depth, 2, 4 * width, width)
    wide[:, 1] = 0.0
    tables = uniform(shape.vocab_size, (1 + values) * width)
    tables[:, :width] = torch.empty(shape.vocab_size, width).normal_(generator=draw)
    drawn = {
        "square": square,
        "wide": wide,
        "gates": torch.zeros(values, shape.heads, shape.gate_channels),
        "tables": tables,
        "head": torch.empty(shape.vocab_size, width).normal_(0.0, HEAD_SPREAD, generator=draw),
        "residual": torch.ones(depth),
        "first": torch.full((depth,), FIRST_INPUT),
    }
    return {name: value.to(device).requires_grad_() for name, value in drawn.items()}


def _angles(shape: Shape, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, (length, 1, head_dim / 2)."""
    pairs = torch.arange(0, shape.head_dim, 2, dtype=torch.float64) / shape.head_dim
    angles = torch.outer(torch.arange(shape.sequence_length, dtype=torch.float64), ROTARY_BASE**-pairs)[:, None, :]
    return angles.cos().to(device, dtype), angles.sin().to(device, dtype)


def trunk(
    shape: Shape, parameters: Parameters, device: torch.device, dtype: torch.dtype, compiled: bool = False
) -> Trunk:
    """The model up to the head: token ids (rows, length) to normalised features (rows x length, width).

    `compiled` tells whether the host compiles, which decides what attention may use; the caller compiles.
    """
    width, heads, dim = shape.width, shape.heads, shape.head_dim
    cos, sin = _angles(shape, device, dtype)
    length = shape.sequence_length
    attends = {window: attention.choose(length, window, device, dtype, compiled) for window in set(shape.windows)}
    block_of = {layer: block for block, layer in enumerate(shape.value_layers)}

    def attend(x: Tensor, weights: Tensor, value: tuple[Tensor, Tensor] | None, window: int) -> Tensor:
        rows = x.shape[0]
        mixed = (x @ weights[:3].reshape(3 * width, width).T).view(rows, -1, 3, heads, dim)
        q = rotate(mixed[:, :, 0], cos, sin, dim**-0.5)
        k = rotate(mixed[:, :, 1], cos, sin, 1.0)
        v = mixed[:, :, 2]
        if value is not None:
            table, gate = value
            opened = 2.0 * torch.sigmoid(x[..., : shape.gate_channels] @ gate.T)
            v = v + opened.unsqueeze(-1) * table.view(rows, -1, heads, dim)
        out = attends[window](q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return out.reshape(rows, -1, width) @ weights[3].T

    def run(ids: Tensor) -> Tensor:
        square = parameters["square"].to(dtype).unbind(0)
        wide = parameters["wide"].to(dtype).flatten(0, 1).unbind(0)
        gates = parameters["gates"].to(dtype).unbind(0)
        residual, first = (parameters[name].to(dtype).unbind(0) for name in ("residual", "first"))
        looked_up = torch.split(torch.nn.functional.embedding(ids, parameters["tables"]).to(dtype), width, -1)
        x = start = rms_norm(looked_up[0])
        for layer in range(shape.depth):
            block = block_of.get(layer)
            value = None if block is None else (looked_up[1 + block], gates[block])
            x = residual[layer] * x + first[layer] * start
            x = x + attend(rms_norm(x), square[layer], value, shape.windows[layer])
            flat = rms_norm(x).view(-1, width)
            x = x + squared_relu_mlp(flat, wide[2 * layer], wide[2 * layer + 1]).view_as(x)
        return rms_norm(x).view(-1, width)

    return run
