"""Every way to attend against the textbook formula."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trainer import attention
from trainer.model import initialise, trunk
from trainer.shape import realise
from trainer.spec import Spec

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


@pytest.mark.parametrize("window", [1, 7, 12, LENGTH])
@pytest.mark.parametrize("kind", ["short", "blocks", "sdpa"])
def test_values_and_gradients_equal_the_reference(monkeypatch: pytest.MonkeyPatch, kind: str, window: int) -> None:
    if kind == "blocks":  # of 7 queries, the last one shorter, and of 4 of the 6 heads at a time
        monkeypatch.setattr(attention, "BLOCK", 7)
        monkeypatch.setattr(attention, "CACHED", 4 * 7 * LENGTH)
    attend = (
        attention.sdpa_attend(LENGTH, window, CPU)
        if kind == "sdpa"
        else attention.short_attend(LENGTH, window, CPU, torch.float32)
    )
    results = []
    for function in (attend, lambda q, k, v: reference(q, k, v, window)):
        leaves = [part.clone().requires_grad_() for part in sample()]
        out = function(*leaves)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append([out, *(leaf.grad for leaf in leaves)])
    for computed, expected in zip(*results, strict=True):
        assert torch.allclose(computed, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("device", "length", "window", "compiled", "kind"),
    [
        ("cpu", LENGTH, 12, False, "short"),
        ("cpu", LENGTH, 12, True, "short"),
        ("cpu", attention.SHORT * 2, 12, False, "sdpa"),
        ("cuda", LENGTH, 12, True, "flex"),
        ("cuda", LENGTH, LENGTH, True, "sdpa"),
        ("cuda", LENGTH, 12, False, "sdpa"),  # flex would need the compiler, and triton
    ],
)
def test_device_window_and_compiler_choose_the_attention(
    device: str, length: int, window: int, compiled: bool, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("short", "sdpa", "flex"):
        monkeypatch.setattr(attention, f"{name}_attend", lambda *_, name=name: name)
    assert attention.choose(length, window, torch.device(device), torch.float32, compiled) == kind  # type: ignore[comparison-overlap]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="flex attention compiles with a C++ compiler")
def test_flex_attention_inside_the_compiled_model_is_the_same_window(
    make_spec: Callable[..., Spec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA: compiled into one graph with the model, its values a view into the joint product (forward only)."""
    spec = make_spec(config__window="SL", runner__sequence_length=128, config__batch_tokens=128, runner__head_dim=16)
    shape = realise(spec.config, spec.runner, 64)
    parameters = initialise(shape, 1, CPU)
    draw = torch.Generator().manual_seed(2)
    ids = torch.randint(0, 64, (2, 128), generator=draw)
    with torch.no_grad():
        for value in parameters.values():
            value += 0.1 * torch.empty(value.shape).normal_(generator=draw)
        expected = trunk(shape, parameters, CPU, torch.float32)(ids)
        plain = attention.choose

        def choose(length: int, window: int, *rest: Any) -> attention.Attend:
            return attention.flex_attend(length, window, CPU) if window < length else plain(length, window, *rest)

        monkeypatch.setattr(attention, "choose", choose)
        torch._dynamo.reset()
        run = torch.compile(trunk(shape, parameters, CPU, torch.float32), dynamic=False, fullgraph=True)
        assert torch.allclose(run(ids), expected, atol=1e-5)
