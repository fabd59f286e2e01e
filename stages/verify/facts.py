"""Checks V13 and V14: what a run was given, and what a record says came of it.

A score has nothing to be compared with but training again. Everything else in a record follows from what the run was
given: on the rated clock the number of steps is arithmetic, and the model is a function of the configuration.

The frozen runner spells out its defaults in each record. Where the runner that is installed here is the frozen one, its
own `Spec` says what they are; else what the study leaves open must at least be the same in every record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.domain import canonical, files
from stages.domain.diff import ABSENT, differences, equal
from stages.domain.locks import Lock
from stages.domain.records import Facts
from stages.domain.schema import Invalid, parse
from stages.domain.study import Study
from stages.runners.builtin import parse_spec, spec_of
from stages.verify.check import Case, Problem
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import Locks
from trainer.errors import SpecError
from trainer.shape import rated_steps, realise
from trainer.spec import Spec

#: A runner's specification or model as JSON: which keys it has is the runner's own affair.
RunnerJson = dict[str, Any]
#: (rung, configuration, host): what runs share that differ in their seed alone.
Cell = tuple[str, str, str]


@dataclass(frozen=True)
class ExpectedSpec:
    """What the study gives a run, without its seed. `whole`: the runner's defaults are spelled out."""

    value: RunnerJson
    whole: bool


@dataclass(frozen=True)
class Specifications:
    """What the study gives the runs of each cell that was trained."""

    by_cell: dict[Cell, ExpectedSpec]


def check_input_of_record(case: Case) -> Iterator[Problem]:
    """The specification in every executed record is what the study gives it."""
    study, known = case.get(Study), case.get(Locks)
    installed = _installed_runner()
    expected: dict[Cell, ExpectedSpec] = {}
    case.learn(Specifications(expected))
    first_seen: dict[str, tuple[Any, str]] = {}
    for run in case.get(Ledger).runs:
        record, lock = run.record, known.of(run.record.rung)
        if not record.executed or lock is None:
            continue
        if record.config not in study.configs or record.host not in lock.frozen.hosts:
            continue  # V08 reports a run that nobody declared
        if run.cell not in expected:
            expected[run.cell] = _expected_spec(study, lock, record.config, record.host, installed)
        yield from _compare_spec(run, expected[run.cell], first_seen)
    if any(not spec.whole for spec in expected.values()):
        case.note(
            "the runner installed here is not the frozen one, so its defaults were compared between records only; "
            "install this commit to compare them with the runner's own"
        )


def _installed_runner() -> str:
    """The digest of the runner that this Python would import."""
    import trainer

    return files.tree_digest(Path(trainer.__file__ or "").parent)


def _expected_spec(study: Study, lock: Lock, config: str, host: str, installed: str) -> ExpectedSpec:
    frozen = lock.frozen
    spec = spec_of(
        dict(frozen.settings),
        dict(study.configs[config]),
        frozen.hosts[host].model_dump(),
        frozen.clock.kind,
        frozen.budget_seconds,
        0,
        frozen.last,
    )
    whole = installed == lock.frozen.runner
    if whole:
        spec = parse_spec(spec, config).to_json()
    return ExpectedSpec(canonical.loads(canonical.dumps(spec)), whole)


def _compare_spec(run: RecordLine, expected: ExpectedSpec, first_seen: dict[str, tuple[Any, str]]) -> Iterator[Problem]:
    """`first_seen`: what the first record held at a pointer that the study leaves open, and which record that was."""
    recorded = run.record.spec or {}
    given = {**expected.value, "seed": run.record.seed}
    if expected.whole and repr(recorded) == repr(dict(sorted(given.items()))):
        return
    for pointer, was, should in differences(recorded, given, "/spec"):
        if not expected.whole and should is ABSENT:
            value, run_id = first_seen.setdefault(pointer, (was, run.record.id))
            if equal(value, was):
                continue
            should = f"{value!r}, as in {run_id}"
        yield run.problem(pointer, was, should, "it was given something else than the study says")


def check_facts_of_record(case: Case) -> Iterator[Problem]:
    """Status, steps, tokens, time and model in every record are what its input makes of them.

    No two seeds end alike.
    """
    expected, vocab_size = case.get(Specifications).by_cell, case.get(Study).data.vocab_size
    specs = {cell: _runner_spec(spec.value) for cell, spec in expected.items()}
    models: dict[str, tuple[str, RunnerJson]] = {}
    finished: dict[tuple[Any, ...], RecordLine] = {}
    for run in case.get(Ledger).runs:
        if not run.record.executed or run.cell not in expected:
            continue  # V08 reports a run that nobody declared
        yield from _status_problems(run)
        try:
            facts = parse(Facts, run.record.facts, run.record.id) if run.record.facts is not None else None
        except Invalid as error:
            yield from (_untyped(run, mistake.place, mistake.found, mistake.expected) for mistake in error.mistakes)
            continue
        if facts is None:
            continue
        spec = specs[run.cell]
        if expected[run.cell].whole and spec and run.record.config not in models:
            models[run.record.config] = ("the runner", _built_model(spec, vocab_size))
        yield from _model_problems(run, facts, models)
        yield from _number_problems(run, facts, spec) if spec else ()
        yield from _copied_facts(run, facts, finished)
    if None in specs.values():
        case.note("the runner installed here does not know this study's settings, so steps and time were not counted")


def _runner_spec(value: RunnerJson) -> Spec | None:
    try:
        return Spec.from_json(value)
    except SpecError:
        return None


def _status_problems(run: RecordLine) -> Iterator[Problem]:
    record = run.record
    if (record.reason is None) != (record.status == "finished"):
        expected = "null" if record.status == "finished" else "why it did not finish"
        yield run.problem("/reason", record.reason, expected, f"its status is {record.status}")
    if (record.facts is None) != (record.status == "failed"):
        recorded, expected = ("null", "what came of it") if record.facts is None else ("facts", "null")
        yield run.problem("/facts", recorded, expected, f"its status is {record.status}")


def _untyped(run: RecordLine, place: str, recorded: str, expected: str) -> Problem:
    pointer = f"/facts/{place.replace('.', '/')}"
    return run.problem(pointer, recorded or "nothing", expected, "no run of this runner says that")


def _built_model(spec: Spec, vocab_size: int) -> RunnerJson:
    shape = realise(spec.config, spec.runner, vocab_size)
    return {**shape.to_json(), "digest": shape.digest()}


def _model_problems(run: RecordLine, facts: Facts, models: dict[str, tuple[str, RunnerJson]]) -> Iterator[Problem]:
    """One model a configuration; where the frozen runner is installed here, the one that it builds."""
    source, model = models.setdefault(run.record.config, (run.record.id, facts.model))
    for pointer, recorded, expected in differences(facts.model, model, "/facts/model"):
        meaning = "its configuration builds another model"
        yield run.problem(pointer, recorded, f"{expected!r}, as {source} has it", meaning)


def _number_problems(run: RecordLine, facts: Facts, spec: Spec) -> Iterator[Problem]:
    finished = run.record.status == "finished"
    for key, expected, meaning in (*_expected_scores(facts, finished, spec), *_expected_time(facts, finished, spec)):
        recorded = getattr(facts, key)
        if recorded != expected:
            yield run.problem(f"/facts/{key}", recorded, expected, meaning)


def _expected_scores(facts: Facts, finished: bool, spec: Spec) -> Iterator[tuple[str, Any, str]]:
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


def _expected_time(facts: Facts, finished: bool, spec: Spec) -> Iterator[tuple[str, Any, str]]:
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


def _copied_facts(run: RecordLine, facts: Facts, finished: dict[tuple[Any, ...], RecordLine]) -> Iterator[Problem]:
    """Two seeds do not end alike to six decimals of two numbers: one of them is a copy."""
    key = (*run.cell, facts.val_bpb, facts.train_loss)
    other = finished.setdefault(key, run) if run.record.status == "finished" else run
    if other is not run:
        yield run.problem("/facts", f"those of {other.record.id}", "its own", "one run stands there under two seeds")
