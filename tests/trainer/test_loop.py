"""Whole runs: the same facts twice, accumulation, divergence, the wall clock and its replay, observers."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer.conftest import BOS
from trainer import evaluate
from trainer.errors import CorpusError, HostError
from trainer.loop import train
from trainer.outcome import Progress, Row
from trainer.packing import Packer
from trainer.session import Session
from trainer.shape import realise
from trainer.spec import Spec
from trainer.tokens import Corpus

Make = Callable[..., Spec]


class Listener:
    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.rows: list[Row] = []
        self.warnings: list[str] = []

    def progress(self, now: Progress) -> None:
        self.seen.append(now)

    def row(self, row: Row) -> None:
        self.rows.append(row)

    def warning(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_specification_gives_the_same_facts_and_curve(
    make_spec: Make, corpus_dir: Path, precision: str, threads: int
) -> None:
    spec = make_spec(host__precision=precision, host__threads=threads, clock__seconds=0.2)
    one, other = train(spec, corpus_dir), train(spec, corpus_dir)
    assert one.status == "finished"
    assert json.dumps(one.facts) == json.dumps(other.facts)
    assert one.curve_csv() == other.curve_csv()


def test_a_run_learns(make_spec: Make, corpus_dir: Path) -> None:
    outcome = train(make_spec(clock__seconds=2.0), corpus_dir)
    assert outcome.facts is not None
    assert outcome.facts["train_loss"] < 3.0 < outcome.curve[0]["train_loss"]
    fresh = train(make_spec(clock__seconds=0.01), corpus_dir).facts
    assert fresh is not None and outcome.facts["val_bpb"] < 0.8 * fresh["val_bpb"]


def test_another_seed_gives_another_run(make_spec: Make, corpus_dir: Path) -> None:
    one, other = train(make_spec(), corpus_dir).facts, train(make_spec(seed=8), corpus_dir).facts
    assert one is not None and other is not None and one["val_bpb"] != other["val_bpb"]


def test_facts_hold_what_the_record_needs(make_spec: Make, corpus_dir: Path) -> None:
    spec = make_spec(evaluate_locked=True)
    facts = train(spec, corpus_dir).facts
    assert facts is not None
    shape = realise(spec.config, spec.runner, 64)
    assert facts["model"] == {**shape.to_json(), "digest": shape.digest()}
    assert facts["tokens"] == facts["steps"] * 128
    assert facts["rated_seconds"] == round(facts["tokens"] * shape.flops_per_token / 1e9, 6)
    assert facts["rated_seconds"] <= 0.4 < facts["rated_seconds"] + 128 * shape.flops_per_token / 1e9
    assert facts["val_bpb"] == round(facts["val_bpb"], 6)
    assert facts["locked_bpb"] not in (None, facts["val_bpb"])
    assert facts["progress"] is None


def first_gradients(spec: Spec, corpus_dir: Path) -> dict[str, torch.Tensor]:
    """Loss and gradients of a first step, from weights in which no part of the model is silent."""
    session = Session(spec, realise(spec.config, spec.runner, 64), Corpus(corpus_dir), torch.device("cpu"))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in session.parameters.values():
            value += 0.1 * torch.empty(value.shape).normal_(generator=draw)
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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_step_has_the_gradients_of_the_plain_one(make_spec: Make, corpus_dir: Path) -> None:
    plain = first_gradients(make_spec(), corpus_dir)
    compiled = first_gradients(make_spec(host__compile=True), corpus_dir)
    for name, value in plain.items():
        assert torch.allclose(compiled[name], value, rtol=1e-3, atol=1e-6), name


def test_a_loss_that_is_not_finite_is_divergence(make_spec: Make, corpus_dir: Path) -> None:
    outcome = train(make_spec(config__matrix_lr=10.0, config__scalar_lr=10.0, clock__seconds=3.0), corpus_dir)
    if outcome.status == "finished":  # soft-capped logits and norms hold a great deal; break it outright
        outcome = _broken(make_spec(), corpus_dir)
    assert outcome.status == "diverged"
    assert outcome.reason is not None and "not finite" in outcome.reason
    assert outcome.facts is not None and outcome.facts["val_bpb"] is None
    json.dumps(outcome.facts, allow_nan=False)


def _broken(spec: Spec, corpus_dir: Path):  # type: ignore[no-untyped-def]
    step = Session.step

    def poisoned(self: Session, now: object) -> torch.Tensor:
        loss = step(self, now)  # type: ignore[arg-type]
        with torch.no_grad():
            self.parameters["first"].fill_(float("nan"))
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "step", poisoned)
        return train(spec, corpus_dir)


def ticking(pace: Iterator[float]) -> Callable[[], float]:
    """A source of time that advances by the next of `pace` at every look."""
    at = 0.0

    def now() -> float:
        nonlocal at
        at += next(pace)
        return at

    return now


def uneven(seed: int) -> Iterator[float]:
    draw = np.random.default_rng(seed)
    while True:
        yield float(draw.uniform(0.001, 0.02))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_wall_clock_run_is_repeated_step_for_step(make_spec: Make, corpus_dir: Path, precision: str) -> None:
    spec = make_spec(clock__kind="wall", clock__seconds=0.6, host__flops_per_second=None, host__precision=precision)
    run = train(spec, corpus_dir, now=ticking(uneven(1)))
    assert run.facts is not None and run.facts["rated_seconds"] is None
    again = train(spec, corpus_dir, replay_progress=run.facts["progress"], now=ticking(uneven(2)))
    assert json.dumps(again.facts) == json.dumps(run.facts)
    assert [row["lr_factor"] for row in again.curve] == [row["lr_factor"] for row in run.curve]
    other = train(spec, corpus_dir, now=ticking(uneven(3)))
    assert other.facts is not None and other.facts["progress"] != run.facts["progress"]


def test_the_wall_clock_stops_when_the_budget_has_passed(make_spec: Make, corpus_dir: Path) -> None:
    spec = make_spec(clock__kind="wall", clock__seconds=0.2)
    outcome = train(spec, corpus_dir, now=ticking(iter(lambda: 0.01, None)))
    assert outcome.facts is not None and outcome.facts["steps"] == 10 + 20
    assert outcome.curve[-1]["seconds"] == pytest.approx(0.2)
    assert outcome.curve[-1]["lr_factor"] == pytest.approx(0.1, abs=0.01)


def test_a_curve_has_two_hundred_rows_however_long_the_run(make_spec: Make, corpus_dir: Path) -> None:
    spec = make_spec(config__batch_tokens=32, config__depth=1, clock__seconds=1.0)
    outcome = train(spec, corpus_dir)
    assert outcome.facts is not None and outcome.facts["steps"] > 500
    assert 150 <= len(outcome.curve) <= 202
    rows = list(csv.reader(io.StringIO(outcome.curve_csv())))
    assert rows[0] == ["step", "tokens", "seconds", "train_loss", "lr_factor"]
    assert int(rows[-1][0]) == outcome.facts["steps"]
    assert len(rows) == len(outcome.curve) + 1


def test_an_observer_hears_every_row_and_progress_at_a_bounded_rate(make_spec: Make, corpus_dir: Path) -> None:
    listener = Listener()
    pace = iter(lambda: 0.01, None)
    outcome = train(make_spec(), corpus_dir, observer=listener, now=ticking(pace))
    assert [row._asdict() for row in listener.rows] == outcome.curve
    assert outcome.facts is not None
    assert 2 <= len(listener.seen) < outcome.facts["steps"] / 2
    last = listener.seen[-1]
    assert (last.step, last.steps, last.share) == (outcome.facts["steps"], outcome.facts["steps"], 1.0)
    assert last.tokens_per_second > 0


def test_kept_weights_give_the_recorded_score_again(make_spec: Make, corpus_dir: Path, tmp_path: Path) -> None:
    spec = make_spec(keep_weights=True)
    outcome = train(spec, corpus_dir)
    outcome.save_weights(tmp_path / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
    corpus, shape = Corpus(corpus_dir), realise(spec.config, spec.runner, 64)
    session = Session(spec, shape, corpus, torch.device("cpu"))
    with torch.no_grad():
        for name, value in load_file(tmp_path / "weights.safetensors").items():
            session.parameters[name].copy_(value)
    found = evaluate.score(spec, shape, corpus, "val", session.trunk, session.head_weight())
    assert outcome.facts is not None and found == outcome.facts["val_bpb"]


def test_weights_that_were_not_kept_cannot_be_saved(make_spec: Make, corpus_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set keep_weights"):
        train(make_spec(clock__seconds=0.01), corpus_dir).save_weights(tmp_path / "w")


def test_telemetry_tells_timings_versions_and_machine(make_spec: Make, corpus_dir: Path) -> None:
    told = train(make_spec(), corpus_dir).telemetry
    assert told["torch"] == str(torch.__version__)
    assert told["threads"] == 1
    assert min(told["setup_seconds"], told["train_seconds"], told["evaluation_seconds"]) > 0
    assert told["tokens_per_second"] > 0
    assert told["segments"][0]["from_step"] == 0
    json.dumps(told, allow_nan=False)


def test_bits_per_byte_leave_out_bos_in_both_sums(make_spec: Make, corpus_dir: Path) -> None:
    corpus, spec = Corpus(corpus_dir), make_spec()
    rows = evaluate.packed_rows(corpus, "val", 512, 32)
    shape = realise(spec.config, spec.runner, 64)
    session = Session(spec, shape, corpus, torch.device("cpu"))
    with torch.no_grad():
        session.parameters["head"].zero_()  # every target costs ln 64
    found = evaluate.score(spec, shape, corpus, "val", session.trunk, session.head_weight())
    targets = rows[:, 1:]
    counted = targets[targets != BOS]
    assert 0 < counted.size < targets.size
    assert found == pytest.approx(6 * counted.size / corpus.token_bytes()[counted].sum(), abs=1e-6)


def test_too_small_a_split_is_refused_with_the_largest_eval_tokens(make_spec: Make, corpus_dir: Path) -> None:
    with pytest.raises(CorpusError, match=r"val\.bin: packs into (\d+) rows .* lower runner\.eval_tokens to \d+"):
        train(make_spec(runner__eval_tokens=10**6, clock__seconds=0.01), corpus_dir)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_gpu_is_named(make_spec: Make, corpus_dir: Path) -> None:
    with pytest.raises(HostError, match=r"spec\.host\.device is cuda, but torch finds no CUDA device here"):
        train(make_spec(host__device="cuda"), corpus_dir)


def test_evaluation_rows_are_the_same_for_every_seed(corpus_dir: Path) -> None:
    corpus = Corpus(corpus_dir)
    one, other = (evaluate.packed_rows(corpus, "val", 512, 32) for _ in range(2))
    assert (one == other).all()
    assert one.shape == (16, 33)
    train_rows = np.empty((16, 33), dtype=np.int64)
    Packer(corpus.split("train"), corpus.bos, 32, 1).fill(train_rows)
    assert (train_rows != one).any()
