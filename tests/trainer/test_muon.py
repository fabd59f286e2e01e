"""The optimiser: orthogonality, equality with a matrix-by-matrix Muon and with torch's AdamW, the schedule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainer.model import initialise
from trainer.muon import POLAR, SAFETY, Factors, Optimiser, factors, orthogonalise
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
