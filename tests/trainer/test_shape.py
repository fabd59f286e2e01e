"""What a configuration builds, and how rated seconds become steps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.model import initialise
from trainer.shape import Shape, rated_steps, realise
from trainer.spec import Spec

Make = Callable[..., Spec]


def shape_of(spec: Spec, vocabulary: int = 64) -> Shape:
    return realise(spec.config, spec.runner, vocabulary)


def test_width_is_depth_times_aspect_in_whole_heads(make_spec: Make) -> None:
    shape = shape_of(make_spec(config__depth=3, config__aspect=11))
    assert (shape.width, shape.heads) == (48, 3)


def test_the_published_sentinel_is_384_wide(make_spec: Make) -> None:
    spec = make_spec(config__depth=8, config__aspect=48, runner__head_dim=128)
    assert shape_of(spec).width == 384


def test_windows_follow_the_pattern_and_the_last_layer_sees_all(make_spec: Make) -> None:
    assert shape_of(make_spec(config__depth=6)).windows == (16, 16, 16, 32, 16, 32)
    assert shape_of(make_spec(config__depth=1)).windows == (32,)


def test_value_embeddings_alternate_and_end_on_the_last_layer(make_spec: Make) -> None:
    assert shape_of(make_spec(config__depth=4)).value_layers == (1, 3)
    assert shape_of(make_spec(config__depth=5)).value_layers == (0, 2, 4)


def test_flops_per_token_are_those_of_the_formula(make_spec: Make) -> None:
    # width 32, 2 heads of 16, windows 16 and 32, one value layer, vocabulary 64
    matrices, gates, head = 2 * 12 * 32 * 32, 2 * 32, 64 * 32
    assert shape_of(make_spec()).flops_per_token == 6 * (matrices + gates + head) + 12 * 32 * (16 + 32)


def test_the_count_of_parameters_is_that_of_the_model_built(make_spec: Make) -> None:
    for depth in (1, 2, 3):
        shape = shape_of(make_spec(config__depth=depth))
        built = initialise(shape, 0, torch.device("cpu"))
        assert sum(value.numel() for value in built.values()) == shape.parameters


def test_two_settings_that_build_one_model_have_one_digest(make_spec: Make) -> None:
    one, other = make_spec(config__aspect=16), make_spec(config__aspect=13, config__matrix_lr=0.1)
    assert shape_of(one).digest() == shape_of(other).digest()
    assert shape_of(one).digest() != shape_of(make_spec(config__aspect=17)).digest()


@given(st.integers(1, 10**12), st.integers(1, 10**7), st.floats(1e-3, 1e6), st.integers(1, 10**16))
def test_rated_steps_are_the_most_whole_steps_that_fit(flops: int, batch: int, seconds: float, rate: int) -> None:
    steps = rated_steps(flops, batch, seconds, rate)
    budget = Fraction(repr(seconds)) * rate
    assert steps >= 1
    assert steps == 1 or steps * flops * batch <= budget
    assert (steps + 1) * flops * batch > budget


def test_a_budget_of_exactly_n_steps_gives_n_steps() -> None:
    assert rated_steps(10, 10, 0.7, 1000) == 7  # 0.7 * 1000 is 700 exactly, though not in binary


def test_shape_and_specification_import_no_torch() -> None:
    code = "import sys, trainer, trainer.shape, trainer.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_loop_does_not_import_the_compiler() -> None:
    code = (
        "import sys, trainer.loop; from trainer.spec import Host; "
        "trainer.loop.host.prepare(Host(device='cpu', precision='fp32', threads=1)); "
        "sys.exit(any(name in sys.modules for name in ('torch._dynamo', 'torch._inductor')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
