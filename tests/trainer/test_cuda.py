"""The runner on a real GPU; every test is skipped where torch finds none."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.runners.device import compute_mfu, describe_device
from trainer import attention, keeper, session
from trainer.loop import train
from trainer.muon import Factors
from trainer.outcome import Outcome
from trainer.spec import Spec

Make = Callable[..., Spec]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here"),
]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

ROW, DIM = 256, 32
GPU = {"host__device": "cuda", "runner__sequence_length": 128, "config__batch_tokens": 1024}


@pytest.fixture(autouse=True)
def released() -> Any:
    """What prepares a run for CUDA does not stay on for other tests."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.cuda.empty_cache()


def reference(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    behind = torch.arange(ROW, device=q.device)[:, None] - torch.arange(ROW, device=q.device)
    scores = (q @ k.mT).masked_fill((behind < 0) | (behind >= window), float("-inf"))
    return (scores.softmax(-1) @ v).transpose(1, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("window", "compiled"), [(ROW, False), (128, False), pytest.param(128, True, marks=needs_triton)]
)
def test_attention_and_its_gradients_equal_the_reference_on_the_gpu(
    window: int, compiled: bool, dtype: torch.dtype
) -> None:
    device = torch.device("cuda")
    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, ROW, DIM, generator=draw) for _ in range(3))
    attend = attention.choose(ROW, window, device, dtype, compiled)
    results = []
    for function, kind in ((attend, dtype), (lambda q, k, v: reference(q, k, v, window), torch.float64)):
        leaves = [part.to(device, kind).requires_grad_() for part in (q / DIM**0.5, k, v)]
        out = function(*leaves)
        weights = torch.linspace(-1, 1, out.numel(), device=device, dtype=kind).view(out.shape)
        (out * weights).sum().backward()
        results.append([out, *(leaf.grad for leaf in leaves)])
    most = 2e-2 if dtype == torch.bfloat16 else 3e-3  # TF32
    for computed, expected in zip(*results, strict=True):
        assert computed is not None and expected is not None
        assert (computed.double() - expected).norm() < most * expected.norm()


def run(make_spec: Make, corpus_dir: Path, **changes: Any) -> Outcome:
    outcome = train(make_spec(**{**GPU, **changes}), corpus_dir)
    assert outcome.status == "finished", outcome.reason
    return outcome


@pytest.mark.parametrize(
    ("precision", "compiled"), [("fp32", False), ("bf16", False), pytest.param("bf16", True, marks=needs_triton)]
)
def test_a_run_on_the_gpu_repeats_byte_for_byte(
    make_spec: Make, corpus_dir: Path, precision: str, compiled: bool
) -> None:
    changes = {"host__precision": precision, "host__compile": compiled, "clock__seconds": 1.0}
    runs = [run(make_spec, corpus_dir, **changes) for _ in range(2)]
    assert json.dumps(runs[0].facts) == json.dumps(runs[1].facts)
    assert runs[0].curve_csv() == runs[1].curve_csv()


def test_the_gpu_learns_what_the_processor_learns(make_spec: Make, corpus_dir: Path) -> None:
    changes: dict[str, Any] = {"clock__seconds": 4.0}
    scores = []
    for device in ("cpu", "cuda"):
        facts = run(make_spec, corpus_dir, **{**changes, "host__device": device}).facts
        assert facts is not None
        scores.append(facts["val_bpb"])
    assert scores[0] == pytest.approx(scores[1], rel=0.02)


def test_a_wall_clock_run_on_the_gpu_is_replayed_to_the_same_scores(make_spec: Make, corpus_dir: Path) -> None:
    spec = make_spec(**GPU, clock={"kind": "wall", "seconds": 1.0}, host__precision="bf16")
    first = train(spec, corpus_dir)
    assert first.facts is not None and first.facts["steps"] > 10
    again = train(spec, corpus_dir, replay_progress=first.facts["progress"])
    assert json.dumps(again.facts) == json.dumps(first.facts)


def test_a_run_that_stopped_goes_on_from_its_checkpoint_on_the_gpu(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(**GPU, clock__seconds=4.0)
    expected = train(spec, corpus_dir)
    monkeypatch.setattr(keeper, "SHARE", 0)
    step, done = session.Session.step, 0

    def stop_at_the_sixth(self: session.Session, now: Factors) -> Tensor:
        nonlocal done
        done += 1
        if done == 6:
            raise KeyboardInterrupt
        return step(self, now)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(session.Session, "step", stop_at_the_sixth)
        train(spec, corpus_dir, scratch=tmp_path, checkpoint_seconds=0.0)
    again = train(spec, corpus_dir, scratch=tmp_path)
    assert again.telemetry["resumed_at_step"] == 5
    assert json.dumps(again.facts) == json.dumps(expected.facts)


def test_a_batch_that_the_gpu_cannot_hold_fails_and_names_one_that_fits(make_spec: Make, corpus_dir: Path) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, (400 << 20) / total))
    try:
        spec = make_spec(**{**GPU, "config__batch_tokens": 1 << 20}, config__depth=4, config__aspect=32)
        outcome = train(spec, corpus_dir)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert outcome.status == "failed"
    assert outcome.reason is not None
    fits = int(outcome.reason.split("does not fit; ")[1].split(" ")[0])
    assert 128 <= fits < 1 << 20


def test_telemetry_names_the_gpu_its_driver_and_its_memory(make_spec: Make, corpus_dir: Path) -> None:
    outcome = run(make_spec, corpus_dir)
    assert outcome.telemetry["peak_memory_bytes"] < torch.cuda.get_device_properties(0).total_memory
    described = describe_device("cuda")
    assert described["device_name"] == torch.cuda.get_device_name()
    assert described["driver"]
    share = compute_mfu(outcome.telemetry["model_flops_per_second"], "cuda", "fp32")
    assert share is None or 0 < share < 1
