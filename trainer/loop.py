"""The training loop: a specification and a corpus in, an outcome out.

    from trainer.loop import train
    outcome = train(spec, Path("artifacts/corpus"))

Fixed for every run: the loop, the model family, the optimiser, the data order and the metric. What a run may
choose stands in its specification. A killed run that is called again with the same `scratch` goes on.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainer import host, muon
from trainer.checkpoint import Checkpoints, run_key
from trainer.clock import FREE_STEPS, Clock, RatedClock, ReplayClock, WallClock
from trainer.errors import HostError
from trainer.evaluate import Scorer
from trainer.keeper import Keeper
from trainer.memory import is_out_of_memory, largest_batch
from trainer.outcome import Observer, Outcome, Progress, Row, Silent, Status
from trainer.session import Session
from trainer.shape import Shape, rated_steps, realise
from trainer.spec import Spec
from trainer.tally import Tally
from trainer.tokens import Corpus
from trainer.version import source_digest

CURVE_ROWS = 200
REPORT_SECONDS = 0.25

Now = Callable[[], float]


def make_clock(spec: Spec, shape: Shape, replay_progress: Mapping[str, Any] | None) -> Clock:
    """The clock that the specification names, or the repetition of a run on the wall clock."""
    if replay_progress is not None:
        return ReplayClock(replay_progress, spec.clock.seconds)
    if spec.clock.kind == "wall":
        return WallClock(spec.clock.seconds)
    rate = spec.host.flops_per_second
    assert rate is not None  # Spec.from_json saw to it
    tokens = spec.config.batch_tokens
    steps = rated_steps(shape.flops_per_token, tokens, spec.clock.seconds, rate)
    return RatedClock(steps, shape.flops_per_token * tokens / rate)


def train(
    spec: Spec,
    corpus_dir: Path,
    *,
    scratch: Path | None = None,
    observer: Observer | None = None,
    replay_progress: Mapping[str, Any] | None = None,
    now: Now = time.perf_counter,
    checkpoint_seconds: float = 60.0,
) -> Outcome:
    """Trains and scores one model.

    `scratch` is a folder for the checkpoints of this one run (none without it), written every `checkpoint_seconds`
    of training at most and there until `Outcome.clear` is called; `replay_progress` is the `progress` of a wall-clock
    run's facts; `now` is the source of time in seconds.
    Raises `TrainerError` for what a person must mend; a run that breaks while training is an `Outcome`.
    """
    started = now()
    device = host.prepare(spec.host)
    corpus = Corpus(corpus_dir)
    shape = realise(spec.config, spec.runner, corpus.vocab_size)
    clock = make_clock(spec, shape, replay_progress)
    scorer = Scorer(spec, corpus)
    store = None
    if scratch is not None:
        store = Checkpoints(scratch, run_key(spec.to_json(), corpus.digest, source_digest(), replay_progress))
    loop = _Loop(spec, shape, corpus, device, clock, scorer, store, observer or Silent(), now)
    return loop.outcome(started, checkpoint_seconds)


class _Loop:
    """One call of `train`."""

    def __init__(
        self,
        spec: Spec,
        shape: Shape,
        corpus: Corpus,
        device: torch.device,
        clock: Clock,
        scorer: Scorer,
        store: Checkpoints | None,
        observer: Observer,
        now: Now,
    ) -> None:
        self.spec, self.shape, self.corpus, self.device = spec, shape, corpus, device
        self.clock, self.scorer, self.store, self.observer, self.now = clock, scorer, store, observer, now
        self.tally = Tally()
        self.keeper: Keeper | None = None
        self.doing = "setting up"
        self.warnings: list[str] = []
        self.first_step = self.reported_step = 0
        self.reported_at = now()

    def outcome(self, started: float, checkpoint_seconds: float) -> Outcome:
        """Sets up, trains to the end of the budget, scores, and gathers the facts."""
        try:
            return self._run(started, checkpoint_seconds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: its error holds on to the memory that the search for a batch needs.
        return self._out_of_memory(started)

    def _run(self, started: float, checkpoint_seconds: float) -> Outcome:
        session = Session(self.spec, self.shape, self.corpus, self.device)
        if self.store is not None:
            self.store.load(partial(self._restore, session), self._warn)
            self.keeper = Keeper(self.store, checkpoint_seconds, self.now, self._warn, self.tally.step)
        self.first_step = self.reported_step = self.tally.step
        setup = self.now() - started
        self.doing = "training"
        reason = self._train(session)
        if self.keeper is not None and reason is None:
            self.keeper.save_when_due(self.tally, session, self.clock, last=True)
        self.doing = "scoring"
        began = self.now()
        facts = self._facts(self.tally.step + (reason is not None))
        if reason is None:
            reason = self._score(session, facts)
        telemetry = self._telemetry(setup, self.now() - began)
        weights = None
        if self.spec.keep_weights and reason is None:
            weights = {name: value.detach().cpu() for name, value in session.parameters.items()}
        return self._end("finished" if reason is None else "diverged", reason, facts, telemetry, weights)

    def _end(
        self,
        status: Status,
        reason: str | None,
        facts: dict[str, Any] | None,
        telemetry: dict[str, Any],
        weights: dict[str, torch.Tensor] | None = None,
    ) -> Outcome:
        curve = [row._asdict() for row in self.tally.curve]
        outcome = Outcome(status, reason, facts, curve, telemetry, weights)
        return outcome if self.store is None else replace(outcome, clear=self.store.clear)

    def _restore(self, session: Session, step: int, tensors: dict[str, torch.Tensor], rest: dict[str, Any]) -> None:
        """Takes up a checkpoint, all of it, or raises and takes nothing."""
        tally, clock = Tally.from_json(step, rest["run"]), copy(self.clock)
        clock.restore(rest["clock"])
        session.restore(tensors)
        self.tally, self.clock = tally, clock

    def _warn(self, text: str) -> None:
        """Keeps a warning for the telemetry and passes it on."""
        self.warnings.append(text)
        self.observer.warning(text)

    def _out_of_memory(self, started: float) -> Outcome:
        """`failed` where no step of this run ever fitted. Else its memory went elsewhere, which a person can mend."""
        kept = self.store is not None and self.store.any()
        if self.tally.step or kept:
            fewer = " or lower runner.eval_batch_rows," if self.doing == "scoring" else ""
            again = "it goes on from its last checkpoint" if kept else "it has no checkpoint and begins anew"
            raise HostError(
                f"out of memory while {self.doing}, after {self.tally.step} steps of this run: perhaps another process "
                f"holds the memory of the {self.device.type}; free it,{fewer} and start the run again: {again}"
            )
        setup = self.now() - started
        fits = largest_batch(self.spec, self.shape, self.corpus, self.device)
        size = self.spec.device_batch_tokens
        advice = f"{fits} would fit" if fits else "not even one row fits: choose a smaller model"
        reason = f"out of memory: a device batch of {size} tokens does not fit; {advice} (config.device_batch_tokens)"
        return self._end("failed", reason, None, self._telemetry(setup, 0.0))

    def _train(self, session: Session) -> str | None:
        """Trains; the reason where the run broke, None where it reached the end."""
        try:
            _freeze()
            while not self.clock.ended(self.tally.step):
                began, step = self.now(), self.tally.step
                factors = muon.factors(self.spec.config, self.clock.progress(step), step)
                loss = float(session.step(factors))  # waits for the device
                host.synchronise(self.device)
                seconds = self.now() - began
                if not math.isfinite(loss):
                    return f"the training loss of step {step + 1} is not finite"
                self._count(loss, factors, seconds)
                if self.spec.host.compile and self.tally.here == FREE_STEPS:
                    _freeze()  # the compiler has left a great deal
                if self.keeper is not None and not self.clock.ended(self.tally.step):
                    self.keeper.save_when_due(self.tally, session, self.clock)
        finally:
            gc.unfreeze()
        return None

    def _count(self, loss: float, factors: muon.Factors, seconds: float) -> None:
        tally, before = self.tally, self._share(self.tally.step)
        self.clock.stepped(tally.step, seconds)
        tally.stepped(loss, seconds)
        after = self._share(tally.step)
        if int(after * CURVE_ROWS) > int(before * CURVE_ROWS) or tally.step == 1 or self.clock.ended(tally.step):
            tokens = tally.step * self.spec.config.batch_tokens
            elapsed = round(self.clock.elapsed(tally.step), 6)
            tally.curve.append(Row(tally.step, tokens, elapsed, round(tally.train_loss, 6), factors.learning_rate))
            self.observer.row(tally.curve[-1])
        self._report(after)

    def _share(self, step: int) -> float:
        return 1.0 if self.clock.ended(step) else self.clock.progress(step)

    def _report(self, share: float) -> None:
        at, tally = self.now(), self.tally
        passed = at - self.reported_at
        if passed < REPORT_SECONDS and share < 1.0:
            return
        speed = (tally.step - self.reported_step) * self.spec.config.batch_tokens / max(passed, 1e-9)
        self.observer.progress(Progress(tally.step, self.clock.steps, share, speed, tally.train_loss, self._eta()))
        self.reported_at, self.reported_step = at, tally.step

    def _eta(self) -> float | None:
        """Seconds that are left: of the budget, or of the steps at their pace so far."""
        step, steps, each = self.tally.step, self.clock.steps, self.tally.seconds_per_step
        if steps is None:
            return max(self.spec.clock.seconds - self.clock.elapsed(step), 0.0)
        return None if each is None else (steps - step) * each

    def _facts(self, begun: int) -> dict[str, Any]:
        """What the run is evidence of, yet unscored; `begun` is its steps, one that broke it counted in."""
        step, shape = self.tally.step, self.shape
        rated = round(self.clock.elapsed(step), 6) if isinstance(self.clock, RatedClock) else None
        return {
            "val_bpb": None,
            "locked_bpb": None,
            "steps": step,
            "tokens": step * self.spec.config.batch_tokens,
            "train_loss": round(self.tally.train_loss, 6) if step else None,
            "rated_seconds": rated,
            "progress": self.clock.kept(begun),
            "model": {**shape.to_json(), "digest": shape.digest()},
        }

    def _score(self, session: Session, facts: dict[str, Any]) -> str | None:
        """Adds the scores to the facts; the reason where the model turns out to be broken."""
        weight = session.head_weight()
        scores = {f"{split}_bpb": self.scorer.score(split, session.trunk, weight) for split in ("val", "locked")}
        for name, value in scores.items():
            if value is not None and not math.isfinite(value):
                return f"{name} is not finite"
        facts.update(scores)
        return None

    def _telemetry(self, setup: float, evaluation: float) -> dict[str, Any]:
        tally = self.tally
        speed = tally.steps_per_second() * self.spec.config.batch_tokens
        return {
            "setup_seconds": round(setup, 6),
            "train_seconds": round(tally.train_seconds, 6),
            "first_steps_seconds": round(tally.first_seconds, 6),
            "evaluation_seconds": round(evaluation, 6),
            "checkpoint_seconds": round(tally.checkpoint_seconds, 6),
            "checkpoints": tally.checkpoints,
            "tokens_per_second": round(speed, 3),
            "model_flops_per_second": round(speed * self.shape.flops_per_token, 3),
            "peak_memory_bytes": host.peak_memory(self.device),
            "resumed_at_step": self.first_step or None,
            "segments": tally.segments_now(host.hostname()),
            "warnings": self.warnings,
        }


def _freeze() -> None:
    """What is here now is never garbage: the collector need not look at it in the loop."""
    gc.collect()
    gc.freeze()
