"""The element-wise parts of the model with their backward passes written out.

torch's automatic backward of these takes two to three times the passes over memory, which at the widths of a
CPU study costs as much as the matrix products. Each function is checked against automatic differentiation.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-6  # under a mean square, as in RMSNorm


def _inverse_rms(x: Tensor) -> Tensor:
    """1 / root mean square over the last dimension, which is kept; in the type of `x`."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return norm.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_().to(x.dtype)


class _KnownGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return features.new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient, None


def backpropagate(features: Tensor, gradient: Tensor) -> None:
    """The backward pass from `features`, whose gradient is known.

    The same as `torch.autograd.backward(features, gradient)`, whose check of the two shapes imports torch's symbolic
    shapes and sympy: 0.3 s in the first step of every run (torch 2.13).
    """
    loss: Tensor = _KnownGradient.apply(features, gradient)  # type: ignore[no-untyped-call]
    loss.backward()  # type: ignore[no-untyped-call]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        inverse = _inverse_rms(x)
        out = x * inverse
        ctx.save_for_backward(out, inverse)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        out, inverse = ctx.saved_tensors
        mean = (grad * out).mean(-1, keepdim=True)
        return torch.addcmul(grad, out, mean, value=-1).mul_(inverse)


class _Rotate(torch.autograd.Function):
    """RMSNorm over each head, then rotary positions. x: (..., length, heads, head_dim)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, factor: float) -> Tensor:
        inverse = _inverse_rms(x)
        unit = x * inverse
        ctx.save_for_backward(unit, inverse, cos, sin)
        ctx.factor = factor
        return _turn(unit, cos * factor, sin * factor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        unit, inverse, cos, sin = ctx.saved_tensors
        grad = _turn(grad, cos * ctx.factor, sin * -ctx.factor)
        mean = (grad * unit).mean(-1, keepdim=True)
        return grad.addcmul_(unit, mean, value=-1).mul_(inverse), None, None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (first half, second half) of the last dimension by the angles of `cos` and `sin`."""
    first, second = x.chunk(2, -1)
    left = (first * cos).addcmul_(second, sin)
    right = (second * cos).addcmul_(first, sin, value=-1)
    return torch.cat((left, right), -1)


class _Mlp(torch.autograd.Function):
    """relu(x W1^T)^2 W2 with both matrices (4 width, width). x: (tokens, width)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, into: Tensor, back: Tensor) -> Tensor:
        hidden = torch.mm(x, into.T).relu_()
        square = hidden * hidden
        ctx.save_for_backward(x, into, back, hidden, square)
        return torch.mm(square, back)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, into, back, hidden, square = ctx.saved_tensors
        grad_back = torch.mm(square.T, grad)
        grad_hidden = torch.mm(grad, (back * 2.0).T).mul_(hidden)  # the 2 of the square, where it is cheapest
        return torch.mm(grad_hidden, into), torch.mm(grad_hidden.T, x), grad_back


def rms_norm(x: Tensor) -> Tensor:
    """RMSNorm without weights over the last dimension."""
    out: Tensor = _Norm.apply(x)  # type: ignore[no-untyped-call]
    return out


def rotate(x: Tensor, cos: Tensor, sin: Tensor, factor: float) -> Tensor:
    """QK-norm and rotary positions of x, (batch, length, heads, head_dim), times `factor`."""
    out: Tensor = _Rotate.apply(x, cos, sin, factor)  # type: ignore[no-untyped-call]
    return out


def squared_relu_mlp(x: Tensor, into: Tensor, back: Tensor) -> Tensor:
    """The feed-forward layer; x: (tokens, width), both matrices (4 width, width)."""
    out: Tensor = _Mlp.apply(x, into, back)  # type: ignore[no-untyped-call]
    return out
