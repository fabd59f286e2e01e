"""One step of a model: accumulation, compilation, and the state that a checkpoint holds of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from trainer.muon import Factors
from trainer.session import Session
from trainer.shape import realise
from trainer.spec import Spec
from trainer.tokens import Corpus

Make = Callable[..., Spec]
FACTORS = Factors(1.0, 0.9, 0.1)
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")


def session_of(spec: Spec, corpus_dir: Path) -> Session:
    return Session(spec, realise(spec.config, spec.runner, 64), Corpus(corpus_dir), torch.device("cpu"))


def disturbed(spec: Spec, corpus_dir: Path) -> Session:
    """A session with weights in which no part of the model is silent."""
    session = session_of(spec, corpus_dir)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in session.parameters.values():
            value += 0.1 * torch.empty(value.shape).normal_(generator=draw)
    return session


def first_gradients(spec: Spec, corpus_dir: Path) -> dict[str, torch.Tensor]:
    """Loss and gradients of a first step."""
    session = disturbed(spec, corpus_dir)
    found: dict[str, torch.Tensor] = {}

    def keep(_now: object) -> None:
        found.update({n: v.grad.clone() for n, v in session.parameters.items() if v.grad is not None})

    session.optimiser.step = keep  # type: ignore[method-assign]
    found["loss"] = session.step(None)  # type: ignore[arg-type]
    assert found.keys() == {*session.parameters, "loss"}
    return found


@pytest.mark.parametrize("device_batch", [64, 32])
def test_accumulated_device_batches_are_the_whole_batch(make_spec: Make, corpus_dir: Path, device_batch: int) -> None:
    whole = first_gradients(make_spec(), corpus_dir)
    parts = first_gradients(make_spec(config__device_batch_tokens=device_batch), corpus_dir)
    for name, value in whole.items():
        assert torch.allclose(parts[name], value, rtol=1e-3, atol=1e-6), name


@pytest.mark.parametrize("device_batch", [128, 64, 32])
def test_the_gradients_of_a_step_are_those_of_the_mean_loss_of_its_tokens(
    make_spec: Make, corpus_dir: Path, device_batch: int
) -> None:
    found = first_gradients(make_spec(config__device_batch_tokens=device_batch), corpus_dir)
    session = disturbed(make_spec(), corpus_dir)
    ids, targets = session._next_batch()
    logits = 15 * torch.tanh(session.trunk(ids) @ session.parameters["head"].T / 15)
    loss = cross_entropy(logits, targets.reshape(-1))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(found["loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, value in session.parameters.items():
        assert value.grad is not None
        assert torch.allclose(found[name], value.grad, rtol=1e-3, atol=1e-6), name


@pytest.mark.slow
@needs_compiler
def test_a_compiled_step_has_the_gradients_of_the_plain_one(make_spec: Make, corpus_dir: Path) -> None:
    plain = first_gradients(make_spec(), corpus_dir)
    compiled = first_gradients(make_spec(host__compile=True), corpus_dir)
    for name, value in plain.items():
        assert torch.allclose(compiled[name], value, rtol=1e-3, atol=1e-6), name


@pytest.mark.slow
@needs_compiler
def test_more_models_than_dynamo_keeps_are_compiled_all_the_same(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = 0
    compile_it = torch.compile

    def counting(graph: torch.fx.GraphModule, _inputs: object) -> Callable[..., object]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    monkeypatch.setattr(torch, "compile", lambda f, **how: compile_it(f, backend=counting, **how))
    for rows in range(1, 11):
        before = graphs
        session_of(make_spec(host__compile=True, config__batch_tokens=32 * rows, config__depth=1), corpus_dir).step(
            FACTORS
        )
        assert graphs > before, f"model {rows} was not compiled"


def test_a_restored_session_goes_on_as_if_never_interrupted(make_spec: Make, corpus_dir: Path) -> None:
    one, other = (session_of(make_spec(), corpus_dir) for _ in range(2))
    for _ in range(3):
        one.step(FACTORS)
    other.step(FACTORS)
    other.restore({name: value.clone() for name, value in one.state().items()})
    assert [float(one.step(FACTORS)) for _ in range(3)] == [float(other.step(FACTORS)) for _ in range(3)]


@pytest.mark.parametrize("compiled", [False, True])
def test_where_it_is_asked_for_model_and_loss_are_compiled_whole_for_one_shape_and_else_nothing_is(
    make_spec: Make, corpus_dir: Path, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: asked.append(options) or function)
    session_of(make_spec(host__compile=compiled), corpus_dir)
    assert asked == [{"dynamic": False, "fullgraph": True}] * 2 * compiled


def test_a_prefetched_batch_counts_as_not_yet_drawn(make_spec: Make, corpus_dir: Path) -> None:
    one, other = (session_of(make_spec(), corpus_dir) for _ in range(2))
    one._prefetch()
    state = one.state()
    other.restore(state)
    assert (state["packer"] != torch.from_numpy(one._packer.state())).any()
    assert float(other.step(FACTORS)) == float(one.step(FACTORS))


@pytest.mark.parametrize("change", ["missing", "shape", "packer"])
def test_a_state_of_another_model_is_refused_and_nothing_of_it_is_taken(
    make_spec: Make, corpus_dir: Path, change: str
) -> None:
    one, other = session_of(make_spec(), corpus_dir), session_of(make_spec(seed=9), corpus_dir)
    state = {name: value.clone() for name, value in other.state().items()}
    if change == "missing":
        del state["moment.head.mean"]
    elif change == "shape":
        state["moment.head.mean"] = torch.zeros(1)
    else:
        state["packer"] = torch.zeros(3)
    before = {name: value.clone() for name, value in one.state().items()}
    with pytest.raises((KeyError, ValueError, TypeError)):
        one.restore(state)
    assert all(torch.equal(value, before[name]) for name, value in one.state().items())
