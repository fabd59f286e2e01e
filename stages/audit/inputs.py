"""Check V13: every run was given exactly what params.yaml and its lock say, and nothing else.

The frozen runner spells out its defaults in each record. Where the runner that is installed here is the frozen one, its
own `Spec` says what they are; else what the study leaves open must at least be the same in every record.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.audit.evidence import Ledger, Run
from stages.audit.model import Case, CheckFailed, Problem
from stages.audit.rules import Locks
from stages.domain import canonical, files
from stages.domain.locks import Lock
from stages.domain.study import Study
from stages.realise import parse_spec, spec_of


class AnotherInput(CheckFailed):
    """V13: a run's specification is not the one that the study gives it."""


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
            if _equal(first[0], was):
                continue
            should = f"{first[0]!r}, as in {first[1]}"
        yield run.problem(pointer, was, should, "it was given something else than the study says")


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


ABSENT = _Absent()


def _equal(one: Any, two: Any) -> bool:
    return isinstance(one, bool) == isinstance(two, bool) and bool(one == two)


def differences(found: Any, expected: Any, pointer: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(JSON pointer, found, expected) wherever two JSON values differ; `ABSENT` where one of them has nothing."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            at = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            yield from differences(found.get(key, ABSENT), expected.get(key, ABSENT), at)
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for place, (one, two) in enumerate(zip(found, expected, strict=True)):
            yield from differences(one, two, f"{pointer}/{place}")
    elif not _equal(found, expected):
        yield pointer, found, expected
