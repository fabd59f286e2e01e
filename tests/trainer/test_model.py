"""The model against a naive one written the textbook way, and what it may not see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainer.model import Parameters, initialise, trunk
from trainer.shape import Shape, realise
from trainer.spec import Spec

CPU = torch.device("cpu")
Make = Callable[..., Spec]


def disturbed(shape: Shape, seed: int = 3) -> Parameters:
    """Parameters in which nothing is zero, so that no part of the model is silent."""
    parameters = initialise(shape, seed, CPU)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in parameters.values():
            value += 0.2 * torch.empty(value.shape).normal_(generator=draw)
    return parameters


def naive(shape: Shape, p: Parameters, ids: Tensor) -> Tensor:
    """The same function, layer by layer, head by head, in plain differentiable operations."""
    w, d, length = shape.width, shape.head_dim, shape.sequence_length

    def norm(x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    angle = torch.outer(
        torch.arange(length, dtype=torch.float64), 10_000.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    )
    cos, sin = angle.cos().float(), angle.sin().float()

    def rope(x: Tensor) -> Tensor:
        a, b = x[..., : d // 2], x[..., d // 2 :]
        return torch.cat((a * cos + b * sin, b * cos - a * sin), -1)

    behind = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    x = start = norm(p["tables"][ids][..., :w])
    for layer in range(shape.depth):
        x = p["residual"][layer] * x + p["first"][layer] * start
        n = norm(x)
        q, k, v = (n @ p["square"][layer, part].T for part in range(3))
        heads = []
        for head in range(shape.heads):
            part = slice(head * d, head * d + d)
            value = v[..., part]
            if layer in shape.value_layers:
                block = shape.value_layers.index(layer)
                gate = 2 * torch.sigmoid(n[..., : shape.gate_channels] @ p["gates"][block, head])
                table = p["tables"][ids][..., (1 + block) * w :][..., part]
                value = value + gate[..., None] * table
            scores = rope(norm(q[..., part])) @ rope(norm(k[..., part])).mT / d**0.5
            seen = (behind >= 0) & (behind < shape.windows[layer])
            heads.append(scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value)
        x = x + torch.cat(heads, -1) @ p["square"][layer, 3].T
        x = x + F.relu(norm(x) @ p["wide"][layer, 0].T).square() @ p["wide"][layer, 1]
    return norm(x).reshape(-1, w)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_features_and_every_gradient_equal_those_of_the_naive_model(make_spec: Make, depth: int) -> None:
    spec = make_spec(config__depth=depth)
    shape = realise(spec.config, spec.runner, 64)
    ids = torch.randint(0, 64, (3, 32), generator=torch.Generator().manual_seed(1))
    weight = torch.randn(96, shape.width, generator=torch.Generator().manual_seed(2))
    found = []
    for build in ("ours", "naive"):
        parameters = disturbed(shape)
        run = trunk(shape, parameters, CPU, torch.float32)
        out = run(ids) if build == "ours" else naive(shape, parameters, ids)
        (out * weight).sum().backward()  # type: ignore[no-untyped-call]
        found.append({"out": out, **{name: value.grad for name, value in parameters.items() if name != "head"}})
    for name, expected in found[1].items():
        assert expected is not None
        assert torch.allclose(found[0][name], expected, rtol=1e-3, atol=1e-4), name


def test_a_token_sees_nothing_that_comes_after_it(make_spec: Make) -> None:
    spec = make_spec(config__depth=3)
    shape = realise(spec.config, spec.runner, 64)
    run = trunk(shape, disturbed(shape), CPU, torch.float32)
    ids = torch.randint(0, 63, (1, 32), generator=torch.Generator().manual_seed(1))
    other = ids.clone()
    other[0, 20] += 1
    difference = (run(ids) - run(other)).abs().sum(-1)
    assert float(difference[:20].max()) == 0.0
    assert float(difference[20:].min()) > 0.0


def test_a_short_window_hides_what_is_further_back(make_spec: Make) -> None:
    spec = make_spec(config__depth=1, config__window="S")
    shape = realise(spec.config, spec.runner, 64)
    short = Shape(**{**shape.__dict__, "windows": (16,)})  # the last layer's window is full, so set it by hand
    run = trunk(short, disturbed(shape), CPU, torch.float32)
    ids = torch.randint(0, 63, (1, 32), generator=torch.Generator().manual_seed(1))
    other = ids.clone()
    other[0, 4] += 1
    difference = (run(ids) - run(other)).abs().sum(-1)
    assert float(difference[4 : 4 + 16].min()) > 0.0
    assert float(difference[4 + 16 :].max()) == 0.0


def test_bf16_stays_near_fp32(make_spec: Make) -> None:
    spec = make_spec(config__depth=2)
    shape = realise(spec.config, spec.runner, 64)
    parameters = disturbed(shape)
    ids = torch.randint(0, 64, (2, 32), generator=torch.Generator().manual_seed(1))
    exact, rough = (trunk(shape, parameters, CPU, dtype)(ids).float() for dtype in (torch.float32, torch.bfloat16))
    assert float((exact - rough).abs().mean()) < 0.03


def test_one_seed_is_one_start_and_another_seed_another(make_spec: Make) -> None:
    spec = make_spec()
    shape = realise(spec.config, spec.runner, 64)
    one, same, other = (initialise(shape, seed, CPU) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["square"], other["square"])
