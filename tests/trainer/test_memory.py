"""Out of memory is an outcome that names the batch that would fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainer import memory
from trainer.loop import train
from trainer.session import Session
from trainer.spec import Spec


@pytest.mark.parametrize(
    ("limit", "advice"),
    [(96, "a device batch of 256 tokens does not fit; 64 would fit"), (0, "not even one row fits")],
)
def test_a_batch_that_does_not_fit_fails_and_names_one_that_does(
    make_spec: Callable[..., Spec], corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, limit: int, advice: str
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


def test_a_real_failed_allocation_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert memory.is_out_of_memory(caught.value)
    assert not memory.is_out_of_memory(RuntimeError("shapes do not match"))


def test_other_errors_of_the_step_are_not_hidden(
    make_spec: Callable[..., Spec], corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Session, now: object) -> torch.Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Session, "step", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(make_spec(), corpus_dir)
