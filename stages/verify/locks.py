"""Checks V02 to V06: the study, the locks, the chain between them, and the seeds.

Made by `promotion verify`; the whole sequence stands in `stages/verify/sequence.py`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from stages.domain import locks, names, yamlio
from stages.domain.locks import Lock
from stages.domain.study import Study, parse_study
from stages.repo import history
from stages.verify import files
from stages.verify.check import Case, CheckFailed, Problem, Skip, told

PARAMS = files.PARAMS
RUNS, DECISIONS = history.RUNS, history.DECISIONS
METRICS = f"{names.LEDGER.as_posix()}/metrics.json"
_LOCK = re.compile(r"locks/(gate[1-9][0-9]?)\.yaml")


class NotAStudy(CheckFailed):
    """V02: params.yaml is no study, or an exploratory one."""


class LockBroken(CheckFailed):
    """V03: a lock is missing, cannot be read, holds what nobody froze, or its digest is not that of its content."""


class ChainBroken(CheckFailed):
    """V04: the locks do not build on each other."""


class LockDiffers(CheckFailed):
    """V05: params.yaml is not what the locks froze."""


class SeedReused(CheckFailed):
    """V06: a seed serves twice."""


@dataclass(frozen=True)
class Locks:
    """The locks by gate, each one's digest that of its content, in the order of the gates."""

    by_gate: dict[str, Lock]

    def of(self, rung: str) -> Lock | None:
        """The lock that judges a rung."""
        return self.by_gate.get(names.gate_of(rung))


@dataclass(frozen=True)
class Params:
    """params.yaml as plain values, as DVC copies them into its locks."""

    value: dict[str, object]


def study(case: Case) -> Iterator[Problem]:
    """V02: params.yaml is a study whose rules bind."""
    data = case.tree.read(PARAMS)
    if data is None:
        yield Problem(PARAMS, "no file", "the study", "there is nothing to verify")
        return
    value = yamlio.loads(data, PARAMS)
    found = parse_study(value, PARAMS)
    case.learn(Params(value))
    case.learn(found)
    if found.study.mode != "frozen":
        yield Problem(
            PARAMS,
            found.study.mode,
            "frozen",
            "an exploratory decision follows rules that nobody froze, and is never verified",
            pointer="/study/mode",
        )


def lock_digests(case: Case) -> Iterator[Problem]:
    """V03: every lock can be read, holds what `promotion freeze` writes and nothing else, under its own name."""
    found: dict[str, Lock] = {}
    paths = {path: name[1] for path in case.tree.paths("locks") if (name := _LOCK.fullmatch(path))}
    for path, gate in paths.items():
        data = case.tree.read(path) or b""
        try:
            lock = locks.loads(data, path)
        except locks.LockRefused as error:
            yield from told(error, "its rule binds nobody")
            continue
        if lock.frozen.gate != gate or lock.frozen.rung != names.rung_of(gate):
            held = f"the lock of {lock.frozen.gate}, {lock.frozen.rung}"
            yield Problem(path, held, f"that of {gate}, {names.rung_of(gate)}", "the rule would judge another rung")
        elif (written := locks.dumps(lock.frozen)) != data:
            yield _other_text(path, data, written)
        found[gate] = lock
    if not paths:
        yield from _no_lock(case)
        return
    case.learn(Locks(dict(sorted(found.items(), key=lambda item: int(item[0].removeprefix("gate"))))))


def _other_text(path: str, data: bytes, written: bytes) -> Problem:
    """The first line of a lock that is not the one that `freeze` writes: a comment there would read like a rule."""
    lines = zip_longest(data.decode("utf-8", "replace").split("\n"), written.decode("utf-8").split("\n"))
    line, (found, expected) = next((n, pair) for n, pair in enumerate(lines, start=1) if pair[0] != pair[1])
    meaning = "a text that nobody froze stands in the lock, and its digest leaves it out"
    return Problem(path, repr(found)[:120], repr(expected)[:120], meaning, line=line)


def _no_lock(case: Case) -> Iterator[Problem]:
    """Nothing is frozen: as it should be only where nothing was made, and nothing was ever frozen for this study."""
    noted = [path for path in case.tree.paths("stages") if path.endswith("/dvc.lock")]
    if left := [path for path in (RUNS, DECISIONS, METRICS, *noted) if case.tree.mode(path)]:
        yield Problem("locks", "no lock", f"the locks that judge {left[0]}", "evidence without a rule decides nothing")
        return
    name = case.get(Study).study.name if case.knows(Study) else None
    with contextlib.suppress(Skip):
        for (gate, digest), lock in case.past.locks.items():
            if name in (None, lock.study):
                meaning = "the rules that this study froze were taken away"
                yield Problem(f"locks/{gate}.yaml", "no file", f"lock {digest[:12]}, which stood in history", meaning)
                return
    raise Skip("nothing is frozen yet: locks/ holds no lock", "promotion freeze", applies=False)


def lock_chain(case: Case) -> Iterator[Problem]:
    """V04: each lock holds the digest of the one before, none is left out, and amendments follow one from the other."""
    known = case.get(Locks).by_gate
    previous: str | None = None
    for number, (gate, lock) in enumerate(known.items(), start=1):
        path = f"locks/{gate}.yaml"
        if gate != f"gate{number}":
            yield Problem(path, gate, f"gate{number}", "a gate before it is not frozen")
            return
        if lock.frozen.previous != previous:
            yield Problem(
                path,
                str(lock.frozen.previous),
                str(previous),
                "it was frozen on top of another lock than the one that stands here",
                pointer="/frozen/previous",
            )
        for at, amendment in enumerate(lock.frozen.amendments):
            case.note(f"{gate} was amended after its evidence existed: {amendment.reason}")
            if amendment.replaces == lock.digest or amendment.replaces in {
                one.replaces for one in lock.frozen.amendments[:at]
            }:
                yield Problem(
                    path,
                    amendment.replaces,
                    "the digest of an earlier lock",
                    "the amendment is made up",
                    pointer=f"/frozen/amendments/{at}/replaces",
                )
        previous = lock.digest


def locks_match(case: Case) -> Iterator[Problem]:
    """V05: params.yaml says today what the locks froze: rules, roles, budgets, seeds, clock, hosts, settings."""
    study_, known = case.get(Study), case.get(Locks).by_gate
    for gate, lock in known.items():
        if gate not in study_.gates:
            yield Problem(f"locks/{gate}.yaml", gate, ", ".join(study_.gates), "a rule for a gate that is not there")
            continue
        now = locks.frozen_of(
            study_, gate, runner=lock.frozen.runner, corpus=lock.frozen.corpus, previous=lock.frozen.previous
        )
        for path, both in locks.difference(lock.frozen, now).items():
            yield Problem(
                f"locks/{gate}.yaml",
                f"{both['is']!r} in params.yaml",
                f"{both['was']!r}, as frozen",
                f"{gate} would now be decided by another rule than the frozen one",
                pointer=f"/frozen/{path.replace('.', '/')}",
            )
    waiting = [gate for gate in study_.gates if gate not in known]
    if waiting:
        case.note(f"not frozen yet: {', '.join(waiting)}")


def fresh_seeds(case: Case) -> Iterator[Problem]:
    """V06: no seed serves two rungs, and each lock knows the seeds of the rungs before it."""
    used: dict[int, str] = {}
    for gate, lock in case.get(Locks).by_gate.items():
        frozen, path = lock.frozen, f"locks/{gate}.yaml"
        if sorted(used) != sorted(frozen.earlier_seeds):
            yield Problem(
                path,
                f"{len(frozen.earlier_seeds)} earlier seeds",
                f"the {len(used)} of the locks before it",
                "the rule about fresh seeds would look at others",
                pointer="/frozen/earlier_seeds",
            )
        for key in ("seeds", "floor_seeds"):
            for at, seed in enumerate(getattr(frozen, key)):
                if seed in used:
                    yield Problem(
                        path,
                        f"seed {seed}, used by {used[seed]}",
                        "a fresh seed",
                        "a seed that helped to choose a configuration flatters it here",
                        pointer=f"/frozen/{key}/{at}",
                    )
                used[seed] = gate
