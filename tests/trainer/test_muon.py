"""The optimiser: orthogonality, equality with a matrix-by-matrix Muon and with torch's AdamW, the schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainer import muon
from trainer.head import loss_of_slice
from trainer.model import initialise
from trainer.muon import POLAR, SAFETY, Factors, Optimiser, factors, iterate, iterate_gram, orthogonalise
from trainer.shape import realise
from trainer.spec import Spec

Make = Callable[..., Spec]
CPU = torch.device("cpu")


def draw(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(3, 32, 32), (3, 128, 32), (3, 4, 32)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_singular_values_become_about_one(size: tuple[int, ...], dtype: torch.dtype) -> None:
    values = torch.linalg.svdvals(orthogonalise(draw(*size), dtype).float())
    assert float(values.max()) < 1.3
    assert float(values.median()) > 0.7


def direct(g: Tensor) -> Tensor:
    """Polar express on the matrix itself, in float64."""
    x = g.double() / (g.double().norm() * SAFETY + 1e-6)
    for a, b, c in POLAR:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


@pytest.mark.parametrize("size", [(32, 32), (128, 32), (4, 32)])
def test_the_gram_iteration_equals_the_direct_one(size: tuple[int, int]) -> None:
    g = draw(*size)
    assert torch.allclose(orthogonalise(g[None], torch.float32)[0].double(), direct(g), atol=2e-4)


class Tf32(TorchFunctionMode):
    """Products as the tensor cores of CUDA make them of fp32: of factors with ten bits of mantissa."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        product = func in (torch.Tensor.matmul, torch.Tensor.__matmul__)
        first = 0 if product else 1
        if product or func is torch.baddbmm:
            args = (*args[:first], *(_tf32(factor) for factor in args[first:]))
        return func(*args, **(kwargs or {}))


def _tf32(x: Tensor) -> Tensor:
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def spread(decades: int) -> Tensor:
    """A tall matrix whose singular values fall evenly over `decades`, of norm below 1."""
    u, _, v = torch.linalg.svd(draw(256, 64), full_matrices=False)
    x = u @ torch.diag(torch.logspace(0, -decades, 64)) @ v
    return x[None] / (x.norm() * SAFETY)


@pytest.mark.parametrize("decades", [1, 2, 3, 4])
def test_the_iteration_that_cuda_takes_bears_tf32(decades: int) -> None:
    x = spread(decades)
    with Tf32():
        found = torch.linalg.svdvals(iterate(x))
    assert float(found.max()) < 1.2


def test_the_gram_iteration_does_not_bear_tf32() -> None:
    with Tf32():
        found = torch.linalg.svdvals(iterate_gram(spread(4)))
    assert float(found.max()) > 1.3, "if it does, CUDA may take it, which has half the operations"


class Copies(TorchDispatchMode):
    """Notes every operation whose tensors are on more than one device, and every value that is read back."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [value for value in tree_leaves((args, kwargs, out)) if isinstance(value, Tensor)]
        if len({value.device.type for value in tensors}) > 1 or "_local_scalar_dense" in str(func):
            self.found.append(str(func))
        return out


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_step_on_cuda_waits_for_nothing_and_iterates_on_the_matrices(
    make_spec: Make, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype
) -> None:
    """On tensors that are nowhere, so no GPU is needed: they have a device and a shape, and no values."""
    spec = make_spec(config__weight_decay=0.1)
    shape = realise(spec.config, spec.runner, 64)
    sizes = {name: value.shape for name, value in initialise(shape, 0, CPU).items()}
    monkeypatch.setattr(muon, "iterate_gram", None)
    with FakeTensorMode():
        parameters = {name: torch.empty(size, device="cuda") for name, size in sizes.items()}
        optimiser = Optimiser(parameters, shape, spec.config, precision)
        for value in parameters.values():
            value.grad = torch.empty_like(value)
        weight, features = parameters["head"].to(precision), torch.empty(50, shape.width, device="cuda").to(precision)
        targets = torch.zeros(50, dtype=torch.int64, device="cuda")
        with Copies() as copies, torch.no_grad():
            optimiser.step(Factors(0.5, 0.9, 0.05))
            loss_of_slice(features, weight, targets, 0.25)
    assert copies.found == []


def one_muon(w: Tensor, g: Tensor, buffer: Tensor, second: Tensor, rate: float, momentum: float, decay: float) -> None:
    """Muon with NorMuon and cautious decay on one (rows, columns) matrix, as published, in place."""
    buffer.lerp_(g, 1 - momentum)
    x = direct(g.lerp(buffer, momentum)).float()
    dim = -1 if w.shape[0] >= w.shape[1] else -2
    mean = x.square().mean(dim, keepdim=True)
    norm = x.norm()
    second.lerp_(mean, 0.05)
    scaled = x * second.clamp_min(1e-10).rsqrt()
    update = scaled * (norm / scaled.norm())
    keep = (update * w >= 0).float()
    factor = rate * max(1.0, w.shape[0] / w.shape[1]) ** 0.5
    w.sub_(factor * (update + decay * w * keep))


def test_a_bank_is_updated_as_its_matrices_would_be_one_by_one(make_spec: Make) -> None:
    spec = make_spec(config__weight_decay=0.1)
    shape = realise(spec.config, spec.runner, 64)
    parameters = initialise(shape, 0, CPU)
    with torch.no_grad():
        for value in parameters.values():
            value += 0.1 * draw(*value.shape, seed=9)
    optimiser = Optimiser(parameters, shape, spec.config, torch.float32)
    matrices = {("square", at): parameters["square"][at].detach().clone() for at in [(0, 0), (1, 3)]}
    matrices |= {("wide", at): parameters["wide"][at].detach().clone() for at in [(0, 0), (1, 1)]}
    matrices[("wide", (1, 1))] = matrices[("wide", (1, 1))].T.contiguous()  # the way back, as a layer holds it
    matrices |= {("gates", (0,)): parameters["gates"][0].detach().clone()}
    state = {}
    for key, w in matrices.items():
        size = (w.shape[0], 1) if w.shape[0] >= w.shape[1] else (1, w.shape[1])
        state[key] = (torch.zeros_like(w), torch.zeros(size))
    for step in range(3):
        for name, value in parameters.items():
            value.grad = draw(*value.shape, seed=step + len(name))
        for (name, at), w in matrices.items():
            grad = parameters[name].grad
            assert grad is not None
            g = grad[at].T if (name, at) == ("wide", (1, 1)) else grad[at]
            one_muon(w, g, *state[(name, at)], rate=0.02 * 0.5, momentum=0.9, decay=0.05)
        optimiser.step(Factors(0.5, 0.9, 0.05))
    for (name, at), w in matrices.items():
        found = parameters[name].detach()[at]
        found = found.T if (name, at) == ("wide", (1, 1)) else found
        assert torch.allclose(found, w, atol=2e-4), (name, at)


def test_tables_head_and_scalars_follow_torchs_adamw(make_spec: Make) -> None:
    spec = make_spec()
    shape = realise(spec.config, spec.runner, 64)
    parameters = initialise(shape, 0, CPU)
    optimiser = Optimiser(parameters, shape, spec.config, torch.float32)
    scale = (32 / 768) ** -0.5
    rates = {"tables": 0.3 * scale, "head": 0.004 * scale, "residual": 0.005, "first": 0.5}
    copies = {name: parameters[name].detach().clone().requires_grad_() for name in rates}
    groups = [
        {"params": [copies[name]], "lr": rate, "betas": (0.96 if name == "first" else 0.8, 0.95)}
        for name, rate in rates.items()
    ]
    adam = torch.optim.AdamW(groups, eps=1e-10, weight_decay=0.0)
    for step in range(3):
        for name, value in parameters.items():
            value.grad = draw(*value.shape, seed=step + len(name))
            if name in copies:
                copies[name].grad = value.grad.clone()
        optimiser.step(Factors(1.0, 0.9, 0.0))
        adam.step()
    for name, copy in copies.items():
        assert torch.allclose(parameters[name], copy, atol=1e-5), name
        assert parameters[name].grad is None


def test_the_schedule_warms_up_holds_and_warms_down(make_spec: Make) -> None:
    config = make_spec(config__warmup=0.1, config__warmdown=0.4, config__final_lr=0.2, config__weight_decay=0.1).config
    found = [factors(config, progress, 0).learning_rate for progress in (0.0, 0.05, 0.1, 0.59, 0.8, 1.0)]
    assert found == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.6, 0.2])
    assert factors(config, 0.25, 0).weight_decay == pytest.approx(0.075)


def test_without_warm_up_or_warm_down_the_rate_is_constant(make_spec: Make) -> None:
    config = make_spec(config__warmdown=0.0).config
    assert [factors(config, progress, 0).learning_rate for progress in (0.0, 0.5, 0.999)] == [1.0, 1.0, 1.0]


def test_momentum_rises_over_the_first_300_steps(make_spec: Make) -> None:
    config = make_spec().config
    assert [factors(config, 0.0, step).momentum for step in (0, 150, 300, 900)] == pytest.approx(
        [0.85, 0.9, 0.95, 0.95]
    )
