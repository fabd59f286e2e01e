"""Out of memory is an outcome that names the batch that would fit."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer import keeper, memory
from trainer.errors import HostError
from trainer.evaluate import Scorer
from trainer.loop import train
from trainer.muon import Factors, Optimiser
from trainer.session import Session
from trainer.spec import Spec

Make = Callable[..., Spec]


@pytest.mark.parametrize(
    ("limit", "advice"),
    [(96, "a device batch of 256 tokens does not fit; 64 would fit"), (0, "not even one row fits")],
)
def test_a_batch_that_does_not_fit_fails_and_names_one_that_does(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, limit: int, advice: str
) -> None:
    step = Session.step

    def limited(self: Session, now: object) -> torch.Tensor:
        if self._spec.device_batch_tokens > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, now)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "step", limited)
    outcome = train(make_spec(config__batch_tokens=256), corpus_dir)
    assert outcome.status == "failed"
    assert outcome.facts is None
    assert outcome.reason is not None and advice in outcome.reason


def test_the_batch_that_is_named_fits_beside_the_gradients_of_the_one_before(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Session.step

    def limited(self: Session, now: Factors) -> torch.Tensor:
        gradients = 50 if self._spec.accumulation > 1 else 0
        if self._spec.device_batch_tokens + gradients > 150:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(self, now)

    monkeypatch.setattr(Session, "step", limited)
    outcome = train(make_spec(config__batch_tokens=256), corpus_dir)
    assert outcome.reason is not None and "64 would fit" in outcome.reason  # 128 would, once


def chained(text: str) -> RuntimeError:
    """As a compiler passes on what it met."""
    error = RuntimeError("backend failed")
    error.__cause__ = RuntimeError(text)
    return error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB"),
        chained("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
        MemoryError("Unable to allocate 7.45 GiB for an array"),
    ],
)
def test_a_failed_allocation_is_recognised_however_it_is_told(error: BaseException) -> None:
    assert memory.is_out_of_memory(error)


@pytest.mark.parametrize(
    "text", ["shapes do not match", "out of resource: shared memory", "CUDA error: an illegal access"]
)
def test_other_errors_are_not_taken_for_one(text: str) -> None:
    assert not memory.is_out_of_memory(RuntimeError(text))


def test_a_real_failed_allocation_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert memory.is_out_of_memory(caught.value)


def full(*_: object, **__: object) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_model_that_does_not_even_fit_is_a_failed_run(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Optimiser, "__init__", full)
    outcome = train(make_spec(), corpus_dir)
    assert (outcome.status, outcome.facts, outcome.curve) == ("failed", None, [])
    assert outcome.reason is not None and "not even one row fits: choose a smaller model" in outcome.reason


def full_at(number: int) -> Callable[[Session, Factors], torch.Tensor]:
    step, done = Session.step, 0

    def one(self: Session, now: Factors) -> torch.Tensor:
        nonlocal done
        done += 1
        return full() if done == number else step(self, now)  # type: ignore[return-value]

    return one


@pytest.mark.parametrize("where", ["training", "scoring", "setting up"])
def test_memory_that_runs_out_after_good_steps_is_told_and_the_run_goes_on_from_its_checkpoint(
    make_spec: Make, corpus_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    spec = make_spec()
    expected = train(spec, corpus_dir)
    monkeypatch.setattr(keeper, "SHARE", 0)
    with monkeypatch.context() as patch, pytest.raises(HostError) as caught:
        if where == "scoring":
            patch.setattr(Scorer, "score", full)
        else:
            patch.setattr(Session, "step", full_at(12))
        train(spec, corpus_dir, scratch=tmp_path, checkpoint_seconds=0.0)
    if where == "setting up":
        with monkeypatch.context() as patch, pytest.raises(HostError) as caught:
            patch.setattr(Optimiser, "__init__", full)
            train(spec, corpus_dir, scratch=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"out of memory while {where}, after ")
    assert message.endswith("start the run again: it goes on from its last checkpoint")
    assert ("or lower runner.eval_batch_rows" in message) is (where == "scoring")
    again = train(spec, corpus_dir, scratch=tmp_path)
    assert (again.facts, again.curve) == (expected.facts, expected.curve)
    assert again.telemetry["resumed_at_step"] > 1


def test_without_a_checkpoint_it_is_told_that_the_run_begins_anew(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "step", full_at(12))
    with pytest.raises(HostError, match=r"after 11 steps of this run: .* it has no checkpoint and begins anew"):
        train(make_spec(), corpus_dir)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_memory_of_the_run_is_free_when_the_search_for_a_batch_begins(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    alive: list[bool] = []

    def failing(self: Session, now: Factors) -> None:
        held.extend(weakref.ref(value) for value in self.parameters.values())
        self._train(self._next_batch()[0])
        full()

    def tried(*_: object) -> None:
        alive.append(any(one() is not None for one in held))
        full()

    compile_it = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **how: compile_it(f, backend="aot_eager", **how))
    monkeypatch.setattr(Session, "step", failing)
    monkeypatch.setattr(memory, "Session", tried)
    assert train(make_spec(host__compile=compiled), corpus_dir).status == "failed"
    assert held and alive == [False, False]  # 64 and 32 tokens


def test_other_errors_of_the_step_are_not_hidden(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Session, now: object) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Session, "step", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(make_spec(), corpus_dir)


def test_other_errors_of_the_search_for_a_batch_are_not_hidden(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Session, now: object) -> torch.Tensor:
        whole = self._spec.device_batch_tokens == 256
        raise torch.OutOfMemoryError("CUDA out of memory") if whole else RuntimeError("shapes do not match")

    monkeypatch.setattr(Session, "step", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(make_spec(config__batch_tokens=256), corpus_dir)
