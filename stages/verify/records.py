"""Checks V09 to V12: what each record says of the rule, the runner, the corpus and the machine.

Made by `promotion verify`; the whole sequence stands in `stages/verify/sequence.py`.

Check V13: every run was given exactly what params.yaml and its lock say, and nothing else.

The frozen runner spells out its defaults in each record. Where the runner that is installed here is the frozen one, its
own `Spec` says what they are; else what the study leaves open must at least be the same in every record.

Check V14: what a record says of its run (status, steps, tokens, time, model) is what its input makes of it.

A score has nothing to be held against but training it again. Everything else in a record follows from what the run was
given: on the rated clock the number of steps is arithmetic, and the model is a function of the configuration.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, rules, yamlio
from stages.domain.corpus import Data
from stages.domain.diff import ABSENT, differences, equal
from stages.domain.errors import Invalid
from stages.domain.locks import Lock
from stages.domain.records import Facts
from stages.domain.schema import parse
from stages.domain.study import Study
from stages.repo.git import Git
from stages.repo.history import WORKSPACE
from stages.runners.builtin import parse_spec, spec_of
from stages.verify.check import Case, CheckFailed, Problem
from stages.verify.ledger import Ledger, Run
from stages.verify.locks import DECISIONS, PARAMS, Locks
from trainer.errors import SpecError
from trainer.shape import rated_steps, realise
from trainer.spec import Spec


class AnotherRule(CheckFailed):
    """V09: a record commits to another lock or budget than the one that judges it."""


class AnotherRunner(CheckFailed):
    """V10: a record, a lock and the code at this commit do not name one runner."""


class AnotherCorpus(CheckFailed):
    """V11: records and locks do not name one corpus."""


class AnotherMachine(CheckFailed):
    """V12: a record does not report what its host block asks for, or reports a drift that the rules forbid."""


def commits_to_rule(case: Case) -> Iterator[Problem]:
    """V09: every record carries the digest of the lock that judges it and the budget that this lock froze."""
    known, ledger = case.get(Locks), case.get(Ledger)
    for rung, runs in ledger.by_rung.items():
        lock = known.of(rung)
        if lock is None:
            yield runs[0].problem("/lock", runs[0].record.lock, "a lock that exists", "evidence without a rule")
            continue
        clock, seconds = lock.frozen.clock.kind, lock.frozen.budget_seconds
        for run in runs:
            if run.record.lock != lock.digest:
                meaning = f"it was made under another rule than locks/{lock.frozen.gate}.yaml"
                yield run.problem("/lock", run.record.lock, lock.digest, meaning)
            if (run.record.budget.clock, run.record.budget.seconds) != (clock, seconds):
                found = f"{run.record.budget.seconds:g} s, {run.record.budget.clock}"
                yield run.problem("/budget", found, f"{seconds:g} s, {clock}", "it had another budget than its rivals")
    for gate, (line, value, _) in ledger.decisions.items():
        held = known.by_gate.get(gate)
        if held is None or value.get("lock") != held.digest:
            expected = held.digest if held else "a lock that exists"
            yield Problem(
                DECISIONS,
                str(value.get("lock")),
                expected,
                f"{gate} decided by another rule than the frozen one",
                line=line,
                pointer="/lock",
            )


def one_runner(case: Case) -> Iterator[Problem]:
    """V10: locks, records and the trainer/ of this very commit are one runner."""
    from stages.repo.tree import runner_digest

    here = runner_digest(case.tree)
    for gate, lock in case.get(Locks).by_gate.items():
        if lock.frozen.runner != here:
            yield Problem(
                f"locks/{gate}.yaml",
                lock.frozen.runner,
                f"{here}, the digest of trainer/ at this commit",
                "the code here is not the code that was frozen",
                pointer="/frozen/runner",
            )
    yield from _same(case, "runner", "another runner made it")


def one_corpus(case: Case) -> Iterator[Problem]:
    """V11: all locks and all records are of one corpus."""
    known = list(case.get(Locks).by_gate.items())
    for gate, lock in known:
        if lock.frozen.corpus != known[0][1].frozen.corpus:
            expected = f"{known[0][1].frozen.corpus}, that of {known[0][0]}"
            meaning = "two gates look at different texts"
            yield Problem(f"locks/{gate}.yaml", lock.frozen.corpus, expected, meaning, pointer="/frozen/corpus")
    yield from _same(case, "corpus", "it was trained or scored on another text")
    yield from _declared_text(case)


def _declared_text(case: Case) -> Iterator[Problem]:
    """params.yaml says what the corpus is made of; git holds what it said when the evidence came."""
    lock = case.get(Locks).by_gate.get("gate1")
    if lock is None or case.git is None or not case.knows(Study):
        return
    now = _textual(case.get(Study).data)
    states = (one for one in case.past.states.values() if ("rung1", lock.digest) in one.made)
    first = next(states, None)
    then = _data_at(case.git, first.commit) if first and first.commit != WORKSPACE else None
    if first is None or then is None:
        return
    for pointer, found, expected in differences(now, _textual(then), "/data"):
        meaning = "the evidence was made on the corpus of that time, and params.yaml says that it is another text"
        yield Problem(PARAMS, repr(found), f"{expected!r}, as in {first.title}", meaning, pointer=pointer)


def _data_at(git: Git, commit: str) -> Data | None:
    """The `data` section of params.yaml at a commit, or None where it cannot be read any more."""
    entry = git.entry(commit, PARAMS)
    with contextlib.suppress(Invalid):
        return parse(Data, yamlio.loads(git.blob(entry.oid), PARAMS).get("data"), PARAMS) if entry else None
    return None


def _textual(data: Data) -> dict[str, Any]:
    """What decides the text, its splits and its tokens."""
    return data.model_dump(mode="json", exclude={"min_split_tokens"})


def _same(case: Case, key: str, meaning: str) -> Iterator[Problem]:
    if not case.knows(Ledger):
        return
    known = case.get(Locks)
    for rung, runs in case.get(Ledger).by_rung.items():
        lock = known.of(rung)
        frozen = getattr(lock.frozen, key) if lock else None
        for run in runs:
            found = getattr(run.record, key)
            if lock and found != frozen:
                yield run.problem(f"/{key}", found, frozen, meaning)


def one_environment(case: Case) -> Iterator[Problem]:
    """V12: executed runs report exactly what their host block asks for; it is constant where a rule asks for that."""
    known, ledger = case.get(Locks), case.get(Ledger)
    for rung, runs in ledger.by_rung.items():
        lock = known.of(rung)
        if lock is None:
            continue
        bound = any(isinstance(rule, rules.FixedEnvironment) for rule in lock.frozen.rules.values())
        first: dict[str, Run] = {}
        for run in runs:
            host = lock.frozen.hosts.get(run.record.host)
            asked = sorted(host.report) if host else []
            seen = run.record.environment
            if sorted(seen or {}) != (asked if run.record.executed else []):
                yield run.problem("/environment", seen, asked or None, "the block's machine cannot be compared")
            elif seen and seen != first.setdefault(run.record.host, run).record.environment:
                if bound:
                    expected = first[run.record.host].record.environment
                    yield run.problem("/environment", seen, expected, "the machine changed inside its block")
                else:
                    case.note(f"{run.record.id} ran in another environment than the first of its block: {seen}")


class AnotherInput(CheckFailed):
    """V13: a run's specification is not the one that the study gives it."""


@dataclass(frozen=True)
class Given:
    """By (rung, configuration, host): what the study gives a run there, without its seed, and whether that is whole.

    It is whole where the frozen runner is the one that is installed here, which spells out its defaults.
    """

    specs: dict[tuple[str, str, str], tuple[dict[str, Any], bool]]


def installed_runner() -> str:
    """The digest of the runner that this Python would import."""
    import trainer

    return files.tree_digest(Path(trainer.__file__ or "").parent)


def given(study: Study, lock: Lock, config: str, host: str) -> dict[str, Any]:
    """What the study gives a run, without its seed."""
    frozen = lock.frozen
    return spec_of(
        dict(frozen.settings),
        dict(study.configs[config]),
        frozen.hosts[host].model_dump(),
        frozen.clock.kind,
        frozen.budget_seconds,
        0,
        frozen.last,
    )


def as_given(case: Case) -> Iterator[Problem]:
    """V13: the specification in every executed record is what the study gives it."""
    study, known, ledger = case.get(Study), case.get(Locks), case.get(Ledger)
    installed = installed_runner()
    expected: dict[tuple[str, str, str], tuple[dict[str, Any], bool]] = {}
    case.learn(Given(expected))
    open_: dict[str, Any] = {}
    for run in ledger.runs:
        record, lock = run.record, known.of(run.record.rung)
        if not record.executed or lock is None:
            continue
        if record.config not in study.configs or record.host not in lock.frozen.hosts:
            continue  # V08 told that
        key = (record.rung, record.config, record.host)
        if key not in expected:
            expected[key] = _expected(study, lock, record.config, record.host, installed)
        spec, whole = expected[key]
        yield from _compare(run, {**spec, "seed": record.seed}, whole, open_)
    if any(not whole for _, whole in expected.values()):
        case.note(
            "the runner installed here is not the frozen one, so its defaults were compared between records only; "
            "install this commit to compare them with the runner's own"
        )


def _expected(study: Study, lock: Lock, config: str, host: str, installed: str) -> tuple[dict[str, Any], bool]:
    spec = given(study, lock, config, host)
    whole = installed == lock.frozen.runner
    if whole:
        spec = parse_spec(spec, config).to_json()
    sorted_: dict[str, Any] = canonical.loads(canonical.dumps(spec))
    return sorted_, whole


def _compare(run: Run, expected: dict[str, Any], whole: bool, open_: dict[str, Any]) -> Iterator[Problem]:
    found = run.record.spec or {}
    if whole and repr(found) == repr(dict(sorted(expected.items()))):
        return
    for pointer, was, should in differences(found, expected, "/spec"):
        if not whole and should is ABSENT:
            first = open_.setdefault(pointer, (was, run.record.id))
            if equal(first[0], was):
                continue
            should = f"{first[0]!r}, as in {first[1]}"
        yield run.problem(pointer, was, should, "it was given something else than the study says")


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
