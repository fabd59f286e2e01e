"""Whole runs: the same facts twice, divergence, speed and time left, the wall clock and its replay, observers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trainer.errors import HostError
from trainer.evaluate import Scorer
from trainer.loop import train
from trainer.muon import Factors
from trainer.outcome import Progress, Row
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


def poisoned(at: int) -> Callable[[Session, Factors], torch.Tensor]:
    """A step like any other, save that the loss of number `at` is not finite."""
    step, done = Session.step, 0

    def one(self: Session, now: Factors) -> torch.Tensor:
        nonlocal done
        done += 1
        return step(self, now) * (float("nan") if done == at else 1.0)

    return one


@pytest.mark.parametrize("at", [1, 8, 40])
@pytest.mark.parametrize("clock", ["rated", "wall"])
def test_a_loss_that_is_not_finite_is_divergence_and_can_be_repeated(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, clock: str, at: int
) -> None:
    spec = make_spec(clock__kind=clock, clock__seconds=3.0)
    whole = poisoned(at)
    monkeypatch.setattr(Session, "step", whole)
    outcome = train(spec, corpus_dir, now=ticking(uneven(1)))
    assert (outcome.status, outcome.reason) == ("diverged", f"the training loss of step {at} is not finite")
    facts = outcome.facts
    assert facts is not None
    assert (facts["val_bpb"], facts["steps"]) == (None, at - 1)
    assert (facts["train_loss"] is None) is (at == 1), "no step, no loss"
    assert (facts["progress"] is None) is (clock == "rated")
    json.dumps(facts, allow_nan=False)
    monkeypatch.undo()
    monkeypatch.setattr(Session, "step", poisoned(at))
    again = train(spec, corpus_dir, replay_progress=facts["progress"], now=ticking(uneven(2)))
    assert (again.status, again.reason, again.facts) == (outcome.status, outcome.reason, facts)


@pytest.mark.parametrize("split", ["val", "locked"])
def test_a_score_that_is_not_finite_is_divergence(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, split: str
) -> None:
    score = Scorer.score
    monkeypatch.setattr(
        Scorer, "score", lambda self, name, *a: float("nan") if name == split else score(self, name, *a)
    )
    outcome = train(make_spec(evaluate_locked=True, clock__kind="wall", clock__seconds=0.1), corpus_dir)
    assert (outcome.status, outcome.reason) == ("diverged", f"{split}_bpb is not finite")
    assert outcome.facts is not None
    assert (outcome.facts["val_bpb"], outcome.facts["locked_bpb"]) == (None, None)
    assert outcome.facts["progress"]["steps"] == outcome.facts["steps"]


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


def compiling(patch: pytest.MonkeyPatch, first: float, each: float) -> Callable[[], float]:
    """A time in which a step takes `each` seconds, save the first, which takes `first`."""
    at, step, cost = 0.0, Session.step, [first]

    def one(self: Session, factors: Factors) -> torch.Tensor:
        nonlocal at
        at += cost.pop() if cost else each
        return step(self, factors)

    patch.setattr(Session, "step", one)
    return lambda: at


@pytest.mark.parametrize("clock", ["rated", "wall"])
def test_speed_and_time_left_leave_out_the_compilation(
    make_spec: Make, corpus_dir: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    spec = make_spec(clock__kind=clock, clock__seconds=20.0 if clock == "wall" else 0.6)
    listener = Listener()
    reported = train(spec, corpus_dir, observer=listener, now=compiling(monkeypatch, 1000.0, 0.5)).telemetry
    steps = reported["segments"][0]["to_step"]
    assert reported["tokens_per_second"] == pytest.approx(128 / 0.5)
    assert reported["model_flops_per_second"] == pytest.approx(
        256 * realise(spec.config, spec.runner, 64).flops_per_token
    )
    assert reported["first_steps_seconds"] == pytest.approx(1000.0 + 9 * 0.5)
    assert reported["train_seconds"] == pytest.approx(1000.0 + (steps - 1) * 0.5)
    for seen in listener.seen:
        left = min(steps - seen.step, steps - 10) * 0.5
        assert seen.eta == (None if clock == "rated" and seen.step <= 10 else pytest.approx(left))


def test_a_replay_knows_its_steps_and_tells_the_time_left(make_spec: Make, corpus_dir: Path) -> None:
    spec, listener = make_spec(clock__kind="wall", clock__seconds=0.6), Listener()
    run = train(spec, corpus_dir, now=ticking(uneven(1)))
    assert run.facts is not None
    train(spec, corpus_dir, replay_progress=run.facts["progress"], observer=listener, now=ticking(uneven(1)))
    assert {seen.steps for seen in listener.seen} == {run.facts["steps"]}
    assert listener.seen[-1].eta == 0.0


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
    before = listener.seen[-2]
    looks = 2 * (last.step - before.step)  # a step looks at its start and at its end
    assert last.tokens_per_second == pytest.approx((last.step - before.step) * 128 / (looks * 0.01), rel=0.5)


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
    found = Scorer(spec, corpus).score("val", session.trunk, session.head_weight())
    assert outcome.facts is not None and found == outcome.facts["val_bpb"]


def test_weights_that_were_not_kept_cannot_be_saved(make_spec: Make, corpus_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set keep_weights"):
        train(make_spec(clock__seconds=0.01), corpus_dir).save_weights(tmp_path / "w")


def test_telemetry_tells_timings_speed_and_processes(make_spec: Make, corpus_dir: Path) -> None:
    outcome = train(make_spec(), corpus_dir)
    telemetry = outcome.telemetry
    assert min(telemetry["setup_seconds"], telemetry["train_seconds"], telemetry["evaluation_seconds"]) > 0
    assert telemetry["tokens_per_second"] > 0
    flops = telemetry["tokens_per_second"] * outcome.facts["model"]["flops_per_token"]
    assert telemetry["model_flops_per_second"] == pytest.approx(flops)
    assert telemetry["segments"][0]["from_step"] == 0
    json.dumps(telemetry, allow_nan=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_missing_gpu_is_named(make_spec: Make, corpus_dir: Path) -> None:
    with pytest.raises(HostError, match=r"spec\.host\.device is cuda, but torch finds no CUDA device here"):
        train(make_spec(host__device="cuda"), corpus_dir)
