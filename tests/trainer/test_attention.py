"""Every way to attend against the textbook formula."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor

from trainer import attention

CPU = torch.device("cpu")
LENGTH = 24


def sample() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, LENGTH, 8, generator=draw) for _ in range(3))
    return q / 8**0.5, k, v


def reference(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    scores = q @ k.mT
    for query in range(LENGTH):
        for key in range(LENGTH):
            if key > query or query - key >= window:
                scores[..., query, key] = float("-inf")
    return (scores.softmax(-1) @ v).transpose(1, 2)


@pytest.mark.parametrize("window", [1, 12, LENGTH])
@pytest.mark.parametrize("kind", ["short", "sdpa"])
def test_values_and_gradients_equal_the_reference(kind: str, window: int) -> None:
    attend = (
        attention.short_attend(LENGTH, window, CPU, torch.float32)
        if kind == "short"
        else attention.sdpa_attend(LENGTH, window, CPU)
    )
    results = []
    for function in (attend, lambda q, k, v: reference(q, k, v, window)):
        leaves = [part.clone().requires_grad_() for part in sample()]
        out = function(*leaves)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append([out, *(leaf.grad for leaf in leaves)])
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


def test_long_rows_on_the_cpu_go_to_torch() -> None:
    long = attention.SHORT * 2
    assert "sdpa" in attention.choose(long, long, CPU, torch.float32).__qualname__  # type: ignore[attr-defined]
    assert "short" in attention.choose(LENGTH, 12, CPU, torch.float32).__qualname__  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="flex attention compiles with a C++ compiler")
def test_the_block_mask_of_flex_attention_is_the_same_window() -> None:
    q, k, v = (part.repeat(1, 1, 1, 2) for part in sample())
    with torch.no_grad():  # on the CPU flex attention has no backward pass
        found = attention.flex_attend(LENGTH, 12, CPU)(q, k, v)
    assert torch.allclose(found, reference(q, k, v, 12), atol=1e-5)
