"""Checks V01 to V06: the files themselves, the study, the locks, the chain between them, and the seeds.

Made by `promotion verify`; the whole sequence stands in `stages/audit/sequence.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stages.audit.model import Case, CheckFailed, Problem, Skip
from stages.audit.tree import LINK
from stages.domain import locks, names, yamlio
from stages.domain.locks import Lock
from stages.domain.study import Study, parse_study

PARAMS = names.PARAMS.as_posix()
RUNS = f"{names.LEDGER.as_posix()}/runs.jsonl"
DECISIONS = f"{names.LEDGER.as_posix()}/decisions.jsonl"
METRICS = f"{names.LEDGER.as_posix()}/metrics.json"
_PLAIN = re.compile(r"[A-Za-z0-9._@/-]+")
_LOCK = re.compile(r"locks/(gate[1-9][0-9]?)\.yaml")
_LOCK_FILES = re.compile(r"locks/(gate[1-9][0-9]?\.yaml(\.sig)?|README\.md)")
_LEDGER_FILES = re.compile(r"ledger/(runs\.jsonl|decisions\.jsonl|metrics\.json|README\.md|\.gitignore)")


class NotPlainFiles(CheckFailed):
    """V01: a link, a stranger, a look-alike name, or bytes that are not UTF-8 with LF line ends."""


class NotAStudy(CheckFailed):
    """V02: params.yaml is no study, or an exploratory one."""


class LockBroken(CheckFailed):
    """V03: a lock cannot be read, or its digest is not that of its content."""


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


@dataclass(frozen=True)
class PlainFiles:
    """The files of the study, known to be files."""

    paths: tuple[str, ...]


def _studied(case: Case) -> list[str]:
    whole = [PARAMS, "dvc.yaml", "dvc.lock"]
    under = [
        path
        for folder in ("locks", "ledger", "trainer", "stages")
        for path in case.tree.paths(folder)
        if "__pycache__" not in path
    ]
    return [path for path in whole if case.tree.mode(path)] + under


def plain_files(case: Case) -> Iterator[Problem]:
    """V01: what is read here is plain files with plain names, UTF-8 and LF, and no stranger stands among them."""
    paths = _studied(case)
    for path in paths:
        if case.tree.mode(path) == LINK:
            yield Problem(path, "a symbolic link", "a file", "what it points to is not what was committed")
        elif not _PLAIN.fullmatch(path):
            yield Problem(
                path,
                f"the name {path!a}",
                "a name of ASCII letters, digits, '.', '_', '-', '@'",
                "a look-alike name can hide which file is read",
            )
        elif _stranger(path):
            yield Problem(path, "a file that nothing here writes", "no such file", "it may be taken for evidence")
        elif path.startswith(("locks/", "ledger/")) or path.endswith(("dvc.lock", PARAMS)):
            yield from _text(path, case)
    case.learn(PlainFiles(tuple(paths)))


def _stranger(path: str) -> bool:
    return (path.startswith("locks/") and _LOCK_FILES.fullmatch(path) is None) or (
        path.startswith("ledger/") and _LEDGER_FILES.fullmatch(path) is None
    )


def _text(path: str, case: Case) -> Iterator[Problem]:
    data = case.tree.read(path) or b""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield Problem(path, f"no UTF-8 at byte {error.start}", "UTF-8", "the file is not the one that was written")
    if b"\r" in data:
        line = data[: data.index(b"\r")].count(b"\n") + 1
        yield Problem(path, "a carriage return", "LF line ends", "its digest is not the recorded one", line=line)
    if path.endswith((".jsonl", ".json", ".yaml", ".lock")) and data and not data.endswith(b"\n"):
        yield Problem(path, "a last line that does not end", "a whole file", "the end may be missing")


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
    """V03: every lock can be read, stands under its own name, and its digest is that of its content."""
    found: dict[str, Lock] = {}
    for path in case.tree.paths("locks"):
        name = _LOCK.fullmatch(path)
        if name is None:
            continue
        gate = name[1]
        try:
            lock = locks.loads(case.tree.read(path) or b"", path)
        except locks.LockRefused as error:
            yield Problem(
                path, str(error).removeprefix(f"{path}: "), "the lock as it was frozen", "its rule binds nobody"
            )
            continue
        if lock.frozen.gate != gate or lock.frozen.rung != names.rung_of(gate):
            told = f"the lock of {lock.frozen.gate}, {lock.frozen.rung}"
            yield Problem(path, told, f"that of {gate}, {names.rung_of(gate)}", "the rule would judge another rung")
        found[gate] = lock
    if not any(_LOCK.fullmatch(path) for path in case.tree.paths("locks")):
        raise Skip("nothing is frozen yet: locks/ holds no lock", "promotion freeze", applies=False)
    case.learn(Locks(dict(sorted(found.items(), key=lambda item: int(item[0].removeprefix("gate"))))))


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
