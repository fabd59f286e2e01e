"""The written-out backward passes against automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainer.ops import rms_norm, rotate, squared_relu_mlp


def plain_norm(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def plain_rotate(x: Tensor, cos: Tensor, sin: Tensor, factor: float) -> Tensor:
    a, b = plain_norm(x).chunk(2, -1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), -1) * factor


def plain_mlp(x: Tensor, into: Tensor, back: Tensor) -> Tensor:
    return torch.relu(x @ into.T).square() @ back


def gradients(function: Callable[..., Tensor], inputs: list[Tensor], *rest: object) -> list[Tensor]:
    leaves = [value.clone().requires_grad_() for value in inputs]
    out = function(*leaves, *rest)
    (out * torch.linspace(-1, 2, out.numel()).view_as(out)).sum().backward()  # type: ignore[no-untyped-call]
    found = [leaf.grad for leaf in leaves]
    assert all(grad is not None for grad in found)
    return [out, *found]  # type: ignore[list-item]


def draw(*size: int) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(len(size)))


ANGLES = torch.linspace(0, 6, 5 * 4).view(5, 1, 4)


@pytest.mark.parametrize(
    ("ours", "plain", "inputs", "rest"),
    [
        (rms_norm, plain_norm, [draw(6, 8)], ()),
        (rotate, plain_rotate, [draw(3, 5, 2, 8)], (ANGLES.cos(), ANGLES.sin(), 0.35)),
        (squared_relu_mlp, plain_mlp, [draw(6, 8), draw(32, 8), draw(32, 8) * 0.5], ()),
    ],
    ids=["rms_norm", "rotate", "squared_relu_mlp"],
)
def test_value_and_gradients_equal_the_plain_formula(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], inputs: list[Tensor], rest: tuple[object, ...]
) -> None:
    for found, expected in zip(gradients(ours, inputs, *rest), gradients(plain, inputs, *rest), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_row_of_zeros_is_normalised_to_zeros() -> None:
    assert torch.equal(rms_norm(torch.zeros(2, 8)), torch.zeros(2, 8))
