"""Check V14: what a record says of its run (status, steps, tokens, time, model) is what its input makes of it.

A score has nothing to be held against but training it again. Everything else in a record follows from what the run was
given: on the rated clock the number of steps is arithmetic, and the model is a function of the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stages.audit.differences import differences
from stages.audit.inputs import Given
from stages.audit.ledger import Ledger, Run
from stages.audit.model import Case, CheckFailed, Problem
from stages.domain.records import Facts
from stages.domain.schema import Invalid, parse
from stages.domain.study import Study
from trainer.errors import SpecError
from trainer.shape import rated_steps, realise
from trainer.spec import Spec

Model = dict[str, Any]


class AnotherStory(CheckFailed):
    """V14: what a record says of its run does not follow from its input, or contradicts its status."""


def follow(case: Case) -> Iterator[Problem]:
    """V14: status, steps, tokens, time and model in every record are what its input makes of them."""
    specs: dict[tuple[str, str, str], Spec | None] = {}
    models: dict[str, tuple[str, Model]] = {}
    twins: dict[tuple[Any, ...], Run] = {}
    for run in case.get(Ledger).runs:
        key = (run.record.rung, run.record.config, run.record.host)
        if not run.record.executed or key not in case.get(Given).specs:
            continue  # V08 told of a run that nobody declared
        yield from _status(run)
        try:
            facts = parse(Facts, run.record.facts, run.record.id) if run.record.facts is not None else None
        except Invalid as error:
            yield from (_untyped(run, one.place, one.found, one.expected) for one in error.mistakes)
            continue
        if facts is None:
            continue
        given, whole = case.get(Given).specs[key]
        if key not in specs:
            specs[key] = _read(given)
        spec = specs[key]
        if whole and spec and run.record.config not in models:
            models[run.record.config] = ("the runner", _built(spec, case.get(Study).data.vocab_size))
        yield from _model(run, facts, models)
        yield from _numbers(run, facts, spec) if spec else ()
        yield from _twin(run, facts, twins)
    if None in specs.values():
        case.note("the runner installed here does not know this study's settings, so steps and time were not counted")


def _read(given: dict[str, Any]) -> Spec | None:
    try:
        return Spec.from_json(given)
    except SpecError:
        return None


def _status(run: Run) -> Iterator[Problem]:
    record = run.record
    if (record.reason is None) != (record.status == "finished"):
        expected = "null" if record.status == "finished" else "why it did not finish"
        yield run.problem("/reason", record.reason, expected, f"its status is {record.status}")
    if (record.facts is None) != (record.status == "failed"):
        found, expected = ("null", "what came of it") if record.facts is None else ("facts", "null")
        yield run.problem("/facts", found, expected, f"its status is {record.status}")


def _untyped(run: Run, place: str, found: str, expected: str) -> Problem:
    pointer = f"/facts/{place.replace('.', '/')}"
    return run.problem(pointer, found or "nothing", expected, "no run of this runner says that")


def _built(spec: Spec, vocab_size: int) -> Model:
    shape = realise(spec.config, spec.runner, vocab_size)
    return {**shape.to_json(), "digest": shape.digest()}


def _model(run: Run, facts: Facts, models: dict[str, tuple[str, Model]]) -> Iterator[Problem]:
    """One model a configuration; where the frozen runner is installed here, the one that it builds."""
    first, model = models.setdefault(run.record.config, (run.record.id, facts.model))
    for pointer, found, expected in differences(facts.model, model, "/facts/model"):
        yield run.problem(pointer, found, f"{expected!r}, as {first} has it", "its configuration builds another model")


def _numbers(run: Run, facts: Facts, spec: Spec) -> Iterator[Problem]:
    finished = run.record.status == "finished"
    for key, expected, meaning in (*_scores(facts, finished, spec), *_time(facts, finished, spec)):
        found = getattr(facts, key)
        if found != expected:
            yield run.problem(f"/facts/{key}", found, expected, meaning)


def _scores(facts: Facts, finished: bool, spec: Spec) -> Iterator[tuple[str, Any, str]]:
    """(key, value, what another one means) for scores, loss and tokens, as far as they follow."""
    yield "tokens", facts.steps * spec.config.batch_tokens, "a step takes one batch"
    locked = finished and spec.evaluate_locked
    if not finished:
        yield "val_bpb", None, "only a finished run has a score"
    if not locked or facts.locked_bpb is None:
        expected = "a score" if locked else None
        yield "locked_bpb", expected, "finished runs of the last rung, and no others, are scored on the locked split"
    if facts.steps and facts.train_loss is None:
        yield "train_loss", "a loss", "steps ended, and each has a loss"


def _time(facts: Facts, finished: bool, spec: Spec) -> Iterator[tuple[str, Any, str]]:
    """The same for steps, seconds and what the clock kept."""
    rate, batch, flops = spec.host.flops_per_second, spec.config.batch_tokens, facts.model.get("flops_per_token")
    if spec.clock.kind == "wall":
        yield "rated_seconds", None, "the wall clock rates nothing"
        if facts.steps != (facts.progress.steps if facts.progress else 0):
            yield "progress", f"that of {facts.steps} steps", "the run could not be repeated"
        return
    yield "progress", None, "the rated clock keeps none"
    if rate is None or not isinstance(flops, int) or flops < 1:
        yield "model", "a model with its flops_per_token", "nobody can count its steps"
        return
    steps = rated_steps(flops, batch, spec.clock.seconds, rate)
    if finished or facts.steps > steps:
        yield "steps", steps, "its budget buys another number of steps"
    yield "rated_seconds", round(facts.steps * (flops * batch / rate), 6), "its steps take another time"


def _twin(run: Run, facts: Facts, twins: dict[tuple[Any, ...], Run]) -> Iterator[Problem]:
    """Two seeds do not end alike to six decimals of two numbers: one of them is a copy."""
    record = run.record
    key = (record.rung, record.config, record.host, facts.val_bpb, facts.train_loss)
    other = twins.setdefault(key, run) if record.status == "finished" else run
    if other is not run:
        yield run.problem("/facts", f"those of {other.record.id}", "its own", "one run stands there under two seeds")
