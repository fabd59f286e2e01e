"""The optimiser: Muon for stacks of matrices, AdamW for tables, head and scalars.

Muon is momentum, orthogonalised by polar express (Amsel et al. 2025), with NorMuon's variance reduction and
cautious weight decay, on whole banks at once. Its schedule and constants are those of autoresearch and are the
same for every run. AdamW is torch's fused kernel, called without torch.optim, whose first step imports the
compiler for a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.model import Parameters
from trainer.shape import Shape
from trainer.spec import Config

# Polar express, five steps, as (a, b, c) of a x + b x^3 + c x^5 on the singular values, safety factor 1.02.
POLAR = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
SAFETY = 1.02
MATRICES = ("square", "wide", "gates")
BETA1, BETA2, FIRST_BETA1, EPSILON = 0.8, 0.95, 0.96, 1e-10
SECOND_BETA = 0.95
MOMENTUM_FROM, MOMENTUM_TO, MOMENTUM_STEPS = 0.85, 0.95, 300
TUNED_WIDTH = 768


def orthogonalise(g: Tensor, dtype: torch.dtype) -> Tensor:
    """The nearest (semi-)orthogonal matrices to g, (..., rows, columns), computed in `dtype`, approximately.

    Tall or wide stacks in fp32 on the CPU iterate on the small Gram matrix (half the operations). Its square condition
    number is too much for the products of bf16 and of TF32, which is what CUDA makes of fp32 here (singular values of
    1.7 to 6.1 instead of 1.14): there the matrices themselves are iterated on.
    """
    x: Tensor = g.to(dtype)
    x = x / (torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True) * SAFETY + 1e-6)
    rows, columns = x.shape[-2:]
    if rows == columns or dtype != torch.float32 or x.device.type == "cuda":
        return iterate(x)
    return iterate_gram(x)


def iterate(x: Tensor) -> Tensor:
    """Polar express on the matrices x, (..., rows, columns), whose norm is below 1."""
    tall = x.shape[-2] > x.shape[-1]
    for a, b, c in POLAR:
        gram = x.mT @ x if tall else x @ x.mT
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, poly, beta=a) if tall else torch.baddbmm(x, poly, x, beta=a)
    return x


def iterate_gram(x: Tensor) -> Tensor:
    """The same on the smaller Gram matrix of x: the product of its polynomials, which commute, times x."""
    tall = x.shape[-2] > x.shape[-1]
    gram = x.mT @ x if tall else x @ x.mT
    product = None
    for last, (a, b, c) in zip((False, False, False, False, True), POLAR, strict=True):
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        poly.diagonal(dim1=-2, dim2=-1).add_(a)
        product = poly if product is None else product @ poly
        if not last:
            gram = poly @ (gram @ poly)
    assert product is not None
    return x @ product if tall else product @ x


@dataclass(frozen=True)
class Factors:
    """What the schedule sets for one step: factor of all learning rates, Muon's momentum, its weight decay."""

    learning_rate: float
    momentum: float
    weight_decay: float


def factors(config: Config, progress: float, step: int) -> Factors:
    """The schedule at `progress` (elapsed / budget, 0 to 1): warm-up, constant, linear warm-down."""
    if progress < config.warmup:
        rate = progress / config.warmup
    elif progress < 1.0 - config.warmdown:
        rate = 1.0
    else:
        left = (1.0 - progress) / config.warmdown if config.warmdown else 0.0
        rate = left + (1.0 - left) * config.final_lr
    ramp = min(step / MOMENTUM_STEPS, 1.0)
    momentum = MOMENTUM_FROM + (MOMENTUM_TO - MOMENTUM_FROM) * ramp
    return Factors(rate, momentum, config.weight_decay * (1.0 - progress))


class Optimiser:
    """Updates `parameters` in place from their gradients and clears those."""

    def __init__(self, parameters: Parameters, shape: Shape, config: Config, dtype: torch.dtype) -> None:
        self._parameters = parameters
        self._dtype = dtype
        self._matrix_lr = config.matrix_lr
        scale = (shape.width / TUNED_WIDTH) ** -0.5
        self._adam = (
            (("tables",), config.embedding_lr * scale, BETA1),
            (("head",), config.head_lr * scale, BETA1),
            (("residual",), config.scalar_lr * 0.01, BETA1),
            (("first",), config.scalar_lr, FIRST_BETA1),
        )
        self._stacks = {name: parameters[name].detach() for name in MATRICES}
        # Transposed in the bank, the way back of an MLP is a wide matrix: only the way in gets Muon's factor. They are
        # on the device from the start: one made in a step would be sent there, and the device waited for.
        gates = max(1.0, shape.heads / shape.gate_channels) ** 0.5
        aspect = {
            "square": torch.tensor(1.0),
            "wide": torch.tensor([2.0, 1.0]).view(1, 2, 1, 1),
            "gates": torch.tensor(gates),
        }
        self._aspect = {name: value.to(parameters[name].device) for name, value in aspect.items()}
        self.state: dict[str, Tensor] = {}
        for name, value in parameters.items():
            if name in MATRICES:
                self.state[f"{name}.momentum"] = torch.zeros_like(value, requires_grad=False)
                dim = -1 if value.shape[-2] >= value.shape[-1] else -2
                self.state[f"{name}.second"] = torch.zeros_like(value.detach().mean(dim, keepdim=True))
            else:
                self.state[f"{name}.mean"] = torch.zeros_like(value, requires_grad=False)
                self.state[f"{name}.square"] = torch.zeros_like(value, requires_grad=False)
                self.state[f"{name}.step"] = torch.zeros((), device=value.device)

    @torch.no_grad()
    def step(self, now: Factors) -> None:
        """One update with the factors of the schedule."""
        for names, rate, beta in self._adam:
            self._adamw(names[0], rate * now.learning_rate, beta)
        for name, stack in self._stacks.items():
            self._muon(name, stack, now)
        for value in self._parameters.values():
            value.grad = None

    def _adamw(self, name: str, rate: float, beta1: float) -> None:
        value, state = self._parameters[name], self.state
        assert value.grad is not None
        state[f"{name}.step"] += 1
        torch._fused_adamw_(
            [value], [value.grad], [state[f"{name}.mean"]], [state[f"{name}.square"]], [], [state[f"{name}.step"]],
            lr=rate, beta1=beta1, beta2=BETA2, weight_decay=0.0, eps=EPSILON, amsgrad=False, maximize=False,
        )  # fmt: skip

    def _muon(self, name: str, stack: Tensor, now: Factors) -> None:
        grad = self._parameters[name].grad
        if grad is None:  # a model without value layers has no gates
            return
        buffer, second = self.state[f"{name}.momentum"], self.state[f"{name}.second"]
        buffer.lerp_(grad, 1.0 - now.momentum)
        nesterov = torch.lerp(grad, buffer, now.momentum)
        flat = orthogonalise(nesterov.view(-1, *stack.shape[-2:]), self._dtype)
        update = _reduce_variance(flat.to(stack.dtype).view_as(stack), second)
        rate = self._matrix_lr * now.learning_rate
        if now.weight_decay:
            agree = (update * stack) >= 0
            update.addcmul_(stack, agree, value=now.weight_decay)
        stack.addcmul_(update, self._aspect[name], value=-rate)


def _reduce_variance(update: Tensor, second: Tensor) -> Tensor:
    """NorMuon: each output's rows scaled by their running second moment, the matrix's norm kept."""
    dim = -1 if update.shape[-2] >= update.shape[-1] else -2
    size = update.shape[dim]
    mean = update.square().mean(dim, keepdim=True)
    norm = mean.sum((-2, -1), keepdim=True).mul_(size).sqrt_()
    second.lerp_(mean, 1.0 - SECOND_BETA)
    scale = second.clamp_min(1e-10).rsqrt_()
    scaled = (mean * size).mul_(scale.square()).sum((-2, -1), keepdim=True).sqrt_()
    return update.mul_(scale.mul_(norm / scaled.clamp_min_(1e-10)))
