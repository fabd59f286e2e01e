"""The head against torch's own cross-entropy of soft-capped logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.head import loss_and_gradients, lower_at, lower_by_mask, nats, slice_rows


def sample() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(50, 16, generator=draw)
    weight = torch.randn(64, 16, generator=draw) * 2  # logits of several tens: the cap is felt
    return x, weight, torch.randint(0, 64, (50,), generator=draw)


def each_loss(x: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(15 * torch.tanh(x @ weight.T / 15), targets, reduction="none")


@pytest.mark.parametrize("rows", [1, 7, 50, 1000])
def test_loss_and_gradients_equal_automatic_differentiation(rows: int) -> None:
    x, weight, targets = sample()
    a, b = x.clone().requires_grad_(), weight.clone().requires_grad_()
    expected = each_loss(a, b, targets).sum()
    (expected * 0.25).backward()  # type: ignore[no-untyped-call]
    loss, by_x, by_weight = loss_and_gradients(x, weight, targets, 0.25, rows)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert a.grad is not None and b.grad is not None
    assert torch.allclose(by_x, a.grad, atol=1e-5)
    assert torch.allclose(by_weight, b.grad, atol=1e-5)


def test_both_ways_to_lower_the_target_are_one_function() -> None:
    x, _, targets = sample()
    one, other = x.clone(), x.clone()
    lower_at(one, targets[:, None] % 16, 0.3)
    lower_by_mask(other, targets[:, None] % 16, 0.3)
    assert torch.allclose(one, other, atol=1e-6)
    assert not torch.equal(one, x)


def test_only_counted_targets_enter_the_sum() -> None:
    x, weight, targets = sample()
    counted = (torch.arange(50) % 3 > 0).double()
    expected = (each_loss(x, weight, targets).double() * counted).sum()
    assert float(nats(x, weight, targets, counted, 8)) == pytest.approx(float(expected), rel=1e-6)


def test_a_slice_has_a_row_even_for_a_huge_vocabulary() -> None:
    assert slice_rows(1 << 30, torch.device("cpu")) == 1
