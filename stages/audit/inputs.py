"""Check V13: every run was given exactly what params.yaml and its lock say, and nothing else.

The frozen runner spells out its defaults in each record. Where the runner that is installed here is the frozen one, its
own `Spec` says what they are; else what the study leaves open must at least be the same in every record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.audit.differences import ABSENT, differences, equal
from stages.audit.ledger import Ledger, Run
from stages.audit.model import Case, CheckFailed, Problem
from stages.audit.rules import Locks
from stages.domain import canonical, files
from stages.domain.locks import Lock
from stages.domain.study import Study
from stages.realise import parse_spec, spec_of


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
