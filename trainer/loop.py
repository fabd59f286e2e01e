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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trainer import evaluate, host, muon
from trainer.checkpoint import Checkpoints, run_key
from trainer.clock import Clock, RatedClock, ReplayClock, WallClock
from trainer.memory import is_out_of_memory, largest_batch
from trainer.outcome import Observer, Outcome, Progress, Row, Silent, Status
from trainer.session import Session
from trainer.shape import Shape, rated_steps, realise
from trainer.spec import Spec
from trainer.tokens import Corpus
from trainer.version import source_digest

CURVE_ROWS = 200
REPORT_SECONDS = 0.25
SMOOTHING = 0.95
CHECKPOINT_SHARE = 50  # a checkpoint that took c seconds is followed by at least 50 c without one: 2 % at most

Now = Callable[[], float]


@dataclass
class _Run:
    """What changes from step to step besides the model; `tally` is what a checkpoint keeps of it."""

    step: int = 0
    smooth: float = 0.0
    curve: list[Row] = field(default_factory=list)
    train_seconds: float = 0.0
    segments: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    checkpoints: int = 0
    checkpoint_seconds: float = 0.0

    def train_loss(self) -> float:
        """The exponentially smoothed loss, its start corrected."""
        return self.smooth / (1.0 - SMOOTHING**self.step) if self.step else 0.0

    def tally(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {
            "smooth": self.smooth.hex(),
            "curve": [[row.step, row.tokens, *(number.hex() for number in row[2:])] for row in self.curve],
            "train_seconds": self.train_seconds,
            "segments": self.segments,
        }

    def restore(self, step: int, tally: Mapping[str, Any]) -> None:
        """Takes a tally back."""
        self.step = step
        self.smooth = float.fromhex(tally["smooth"])
        self.curve = [Row(int(row[0]), int(row[1]), *map(float.fromhex, row[2:])) for row in tally["curve"]]
        self.train_seconds = float(tally["train_seconds"])
        self.segments = list(tally["segments"])


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

    `scratch` is a folder for checkpoints (none without it), written every `checkpoint_seconds` of training at
    most; `replay_progress` is the `progress` of a wall-clock run's facts; `now` is the source of time in seconds.
    Raises `TrainerError` for what a person must mend; a run that breaks while training is an `Outcome`.
    """
    started = now()
    device = host.prepare(spec.host)
    corpus = Corpus(corpus_dir)
    shape = realise(spec.config, spec.runner, corpus.vocab_size)
    clock = make_clock(spec, shape, replay_progress)
    loop = _Loop(spec, shape, corpus, device, clock, observer or Silent(), now)
    if scratch is not None:
        key = run_key(spec.to_json(), corpus.digest, source_digest(), replay_progress)
        loop.resume(Checkpoints(scratch, key), checkpoint_seconds)
    return loop.outcome(started)


class _Loop:
    """One call of `train`."""

    def __init__(
        self,
        spec: Spec,
        shape: Shape,
        corpus: Corpus,
        device: torch.device,
        clock: Clock,
        observer: Observer,
        now: Now,
    ) -> None:
        self.spec, self.shape, self.corpus, self.device = spec, shape, corpus, device
        self.clock, self.observer, self.now = clock, observer, now
        self.session = Session(spec, shape, corpus, device)
        self.run = _Run()
        self.store: Checkpoints | None = None
        self.interval = math.inf
        self.out_of_memory = False
        self.saved_at = self.reported_at = now()
        self.reported_step = 0

    def resume(self, store: Checkpoints, interval: float) -> None:
        """Takes up the newest sound checkpoint of `store`, and saves there from now on."""
        self.store, self.interval = store, interval
        found = store.load(self.warn)
        if found is not None:
            step, tensors, rest = found
            self.session.restore(tensors)
            self.run.restore(step, rest["run"])
            self.clock.restore(rest["clock"])

    def warn(self, text: str) -> None:
        """Keeps a warning for the telemetry and passes it on."""
        self.run.warnings.append(text)
        self.observer.warning(text)

    def outcome(self, started: float) -> Outcome:
        """Trains to the end of the budget, scores, and gathers what was found."""
        setup_ended = self.now()
        first_step = self.run.step
        reason = self._train_guarded()
        train_ended = self.now()
        status: Status = "finished" if reason is None else "diverged"
        if self.out_of_memory:
            status = "failed"
        facts = self._facts(scored=status == "finished") if status != "failed" else None
        if facts is not None and status == "finished" and not math.isfinite(facts["val_bpb"]):
            status, reason = "diverged", "val_bpb is not finite"
            facts = self._facts(scored=False)
        if self.store is not None:
            self.store.clear()
        telemetry = self._telemetry(first_step, setup_ended - started, train_ended, self.now())
        kept = self.spec.keep_weights and status == "finished"
        weights = {name: value.detach().cpu() for name, value in self.session.parameters.items()} if kept else None
        curve = [row._asdict() for row in self.run.curve]
        return Outcome(status, reason, facts, curve, telemetry, weights, self.shape.to_json())

    def _train_guarded(self) -> str | None:
        """Trains; the reason where the run broke, None where it reached the end."""
        try:
            return self._train()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        self.out_of_memory = True
        del self.session  # its memory is what the search for a batch that fits needs
        fits = largest_batch(self.spec, self.shape, self.corpus, self.device)
        size = self.spec.device_batch_tokens
        advice = f"{fits} would fit" if fits else "not even one row fits: choose a smaller model"
        return f"out of memory: a device batch of {size} tokens does not fit; {advice} (config.device_batch_tokens)"

    def _train(self) -> str | None:
        gc.collect()
        gc.freeze()  # what setting up made is never garbage: the collector need not look at it in the loop
        while not self.clock.ended(self.run.step):
            began = self.now()
            factors = muon.factors(self.spec.config, self.clock.progress(self.run.step), self.run.step)
            loss = float(self.session.step(factors))  # waits for the device
            host.synchronise(self.device)
            seconds = self.now() - began
            if not math.isfinite(loss):
                return f"the training loss of step {self.run.step + 1} is not finite"
            self._count(loss, factors, seconds)
            self._save_when_due()
        return None

    def _count(self, loss: float, factors: muon.Factors, seconds: float) -> None:
        run, before = self.run, self._share(self.run.step)
        self.clock.stepped(run.step, seconds)
        run.step += 1
        run.train_seconds += seconds
        run.smooth = SMOOTHING * run.smooth + (1.0 - SMOOTHING) * loss
        after = self._share(run.step)
        if int(after * CURVE_ROWS) > int(before * CURVE_ROWS) or run.step == 1 or self.clock.ended(run.step):
            tokens = run.step * self.spec.config.batch_tokens
            elapsed = round(self.clock.elapsed(run.step), 6)
            run.curve.append(Row(run.step, tokens, elapsed, round(run.train_loss(), 6), factors.learning_rate))
            self.observer.row(run.curve[-1])
        self._report(after)

    def _share(self, step: int) -> float:
        return 1.0 if self.clock.ended(step) else self.clock.progress(step)

    def _report(self, share: float) -> None:
        at, run = self.now(), self.run
        passed = at - self.reported_at
        if passed < REPORT_SECONDS and share < 1.0:
            return
        speed = (run.step - self.reported_step) * self.spec.config.batch_tokens / max(passed, 1e-9)
        eta = run.train_seconds * (1.0 - share) / share if share > 0 else None
        steps = self.clock.steps if isinstance(self.clock, RatedClock) else None
        self.observer.progress(Progress(run.step, steps, share, speed, run.train_loss(), eta))
        self.reported_at, self.reported_step = at, run.step

    def _save_when_due(self) -> None:
        began = self.now()
        if self.store is None or began - self.saved_at < self.interval or self.clock.ended(self.run.step):
            return
        try:
            rest = {"run": self.run.tally() | {"segments": self._segments()}, "clock": self.clock.state()}
            self.store.save(self.run.step, self.session.state(), rest)
            self.run.checkpoints += 1
        except OSError as error:
            self.warn(f"checkpoint at step {self.run.step} not written ({error}); training goes on without it")
        self.saved_at = self.now()
        took = self.saved_at - began
        self.run.checkpoint_seconds += took
        self.interval = max(self.interval, CHECKPOINT_SHARE * took)

    def _segments(self) -> list[dict[str, Any]]:
        """Where each process that worked on this run began and got to."""
        before = self.run.segments
        first = before[-1]["to_step"] if before else 0
        return [*before, {"from_step": first, "to_step": self.run.step, "hostname": host.hostname()}]

    def _facts(self, *, scored: bool) -> dict[str, Any]:
        spec, run, shape = self.spec, self.run, self.shape
        weight = self.session.head_weight()
        tokens = run.step * spec.config.batch_tokens
        rated = None
        if isinstance(self.clock, RatedClock):
            rated = round(self.clock.elapsed(run.step), 6)

        def score(split: str) -> float:
            return evaluate.score(spec, shape, self.corpus, split, self.session.trunk, weight)

        return {
            "val_bpb": score("val") if scored else None,
            "locked_bpb": score("locked") if scored and spec.evaluate_locked else None,
            "steps": run.step,
            "tokens": tokens,
            "train_loss": round(run.train_loss(), 6),
            "rated_seconds": rated,
            "progress": self.clock.kept(run.step) if scored else None,
            "model": {**shape.to_json(), "digest": shape.digest()},
        }

    def _telemetry(self, first_step: int, setup: float, train_ended: float, ended: float) -> dict[str, Any]:
        run = self.run
        tokens = run.step * self.spec.config.batch_tokens
        speed = tokens / run.train_seconds if run.train_seconds else 0.0
        peak = host.peak_flops(self.device)
        return {
            **host.describe(self.device),
            "setup_seconds": round(setup, 6),
            "train_seconds": round(run.train_seconds, 6),
            "evaluation_seconds": round(ended - train_ended, 6),
            "checkpoint_seconds": round(run.checkpoint_seconds, 6),
            "checkpoints": run.checkpoints,
            "tokens_per_second": round(speed, 3),
            "model_flops_per_second": round(speed * self.shape.flops_per_token, 3),
            "mfu": None if peak is None else round(speed * self.shape.flops_per_token / peak, 6),
            "peak_memory_bytes": host.peak_memory(self.device),
            "resumed_at_step": first_step or None,
            "segments": self._segments(),
            "warnings": run.warnings,
        }
