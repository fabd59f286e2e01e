"""Checks V02 to V06: the study, the locks, the chain between them, and the seeds."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from stages.domain import locks, names, yamlio
from stages.domain.corpus import Data
from stages.domain.errors import Invalid
from stages.domain.locks import Lock
from stages.domain.schema import parse
from stages.domain.study import Study, parse_study
from stages.repo import history
from stages.repo.git import Git
from stages.repo.objects import GitAbsent
from stages.verify import files
from stages.verify.check import Case, Problem, Skip, problems_of

PARAMS = files.PARAMS
RUNS, DECISIONS, HINDSIGHT = history.RUNS, history.DECISIONS, history.HINDSIGHT
METRICS = f"{names.LEDGER.as_posix()}/metrics.json"
#: More runs in a rung than DVC itself could handle, and few enough to count.
MAX_RUNS = 200_000
_LOCK = re.compile(r"locks/(gate[1-9][0-9]?)\.yaml")


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


def check_study(case: Case) -> Iterator[Problem]:
    """params.yaml is a valid study with rules, and its mode is not exploratory."""
    data = case.tree.read(PARAMS)
    if data is None:
        yield Problem(PARAMS, "no file", "the study", "there is nothing to verify")
        return
    value = yamlio.loads(data, PARAMS)
    study = parse_study(value, PARAMS)
    largest = max(len(study.configs) * len(study.cells(rung)) for rung in study.rungs)
    if largest > MAX_RUNS:
        yield Problem(PARAMS, f"{largest} runs in a rung", f"at most {MAX_RUNS}", "DVC could not run it either")
        return
    case.learn(Params(value))
    case.learn(study)
    if study.study.mode != "frozen":
        meaning = "an exploratory decision follows rules that nobody froze, and is never verified"
        yield Problem(PARAMS, study.study.mode, "frozen", meaning, pointer="/study/mode")


def check_lock_digests(case: Case) -> Iterator[Problem]:
    """Every lock is byte for byte what `promotion freeze` writes, under its own name, with its own digest.

    No lock was removed.
    """
    by_gate: dict[str, Lock] = {}
    paths = {path: name[1] for path in case.tree.paths("locks") if (name := _LOCK.fullmatch(path))}
    for path, gate in paths.items():
        data = case.tree.read(path) or b""
        try:
            lock = locks.loads(data, path)
        except locks.LockRefused as error:
            yield from problems_of(error, "its rule binds nobody")
            continue
        if lock.frozen.gate != gate or lock.frozen.rung != names.rung_of(gate):
            content = f"the lock of {lock.frozen.gate}, {lock.frozen.rung}"
            yield Problem(path, content, f"that of {gate}, {names.rung_of(gate)}", "the rule would judge another rung")
        elif (written := locks.dumps(lock.frozen)) != data:
            yield _other_text(path, data, written)
        by_gate[gate] = lock
    if not paths:
        yield from _no_lock(case)
        return
    case.learn(Locks(dict(sorted(by_gate.items(), key=lambda item: int(item[0].removeprefix("gate"))))))


def _other_text(path: str, data: bytes, written: bytes) -> Problem:
    """The first line of a lock that is not the one that `freeze` writes: a comment there would read like a rule."""
    lines = zip_longest(data.decode("utf-8", "replace").split("\n"), written.decode("utf-8").split("\n"))
    line, (text, expected) = next((n, pair) for n, pair in enumerate(lines, start=1) if pair[0] != pair[1])
    meaning = "a text that nobody froze stands in the lock, and its digest leaves it out"
    return Problem(path, repr(text)[:120], repr(expected)[:120], meaning, line=line)


def _no_lock(case: Case) -> Iterator[Problem]:
    """Nothing is frozen: as it should be only where nothing was made, and nothing was ever frozen for this study."""
    dvc_locks = [path for path in case.tree.paths("stages") if path.endswith("/dvc.lock")]
    if evidence := [path for path in (RUNS, DECISIONS, METRICS, *dvc_locks) if case.tree.mode(path)]:
        expected = f"the locks that judge {evidence[0]}"
        yield Problem("locks", "no lock", expected, "evidence without a rule decides nothing")
        return
    name = case.get(Study).study.name if case.knows(Study) else None
    with contextlib.suppress(Skip):
        for (gate, digest), lock in case.history.locks.items():
            if name in (None, lock.study):
                meaning = "the rules that this study froze were taken away"
                yield Problem(f"locks/{gate}.yaml", "no file", f"lock {digest[:12]}, which stood in history", meaning)
                return
    case.refuse_hidden()
    raise Skip("nothing is frozen yet: locks/ holds no lock", "promotion freeze", applies=False)


def describe_change(gate: str, changed: locks.Change, most: int = 6) -> str:
    """What an amendment changed, in a line. A lock holds the digest of the one before: it follows where that goes."""
    before = names.gate_before(gate)
    if "previous" not in changed or before is None:
        return f"changed: {locks.tell_briefly(changed, most)}"
    own = {path: both for path, both in changed.items() if path != "previous"}
    follows = f"follows the amendment of {before}"
    return f"changed: {locks.tell_briefly(own, most)}; {follows}" if own else follows


def check_lock_chain(case: Case) -> Iterator[Problem]:
    """Each lock has the digest of the one before, none is missing, and amendments follow one from the other."""
    previous: str | None = None
    for number, (gate, lock) in enumerate(case.get(Locks).by_gate.items(), start=1):
        path = f"locks/{gate}.yaml"
        if gate != f"gate{number}":
            yield Problem(path, gate, f"gate{number}", "a gate before it is not frozen")
            return
        if lock.frozen.previous != previous:
            meaning = "it was frozen on top of another lock than the one that stands here"
            yield Problem(path, str(lock.frozen.previous), str(previous), meaning, pointer="/frozen/previous")
        replaced: set[str] = set()
        for at, amendment in enumerate(lock.frozen.amendments):
            change = describe_change(gate, amendment.changed)
            case.note(f"{gate} was amended after its evidence existed: {amendment.reason}; {change}")
            if amendment.replaces == lock.digest or amendment.replaces in replaced:
                expected, pointer = "the digest of an earlier lock", f"/frozen/amendments/{at}/replaces"
                yield Problem(path, amendment.replaces, expected, "the amendment is made up", pointer=pointer)
            replaced.add(amendment.replaces)
        previous = lock.digest


def check_locks_match(case: Case) -> Iterator[Problem]:
    """params.yaml agrees with what the locks froze.

    This covers rules, roles, budgets, seeds, clock, hosts, settings, configurations and factors.
    """
    study, known = case.get(Study), case.get(Locks).by_gate
    for gate, lock in known.items():
        path, frozen = f"locks/{gate}.yaml", lock.frozen
        if gate not in study.gates:
            yield Problem(path, gate, ", ".join(study.gates), "a rule for a gate that is not there")
            continue
        now = locks.frozen_of(study, gate, runner=frozen.runner, corpus=frozen.corpus, previous=frozen.previous)
        for place, both in locks.difference(frozen, now).items():
            value, expected = f"{both['is']!r} in params.yaml", f"{both['was']!r}, as frozen"
            if place.partition(".")[0] == "factors":  # no gate reads them
                meaning = "the effects of the screen would now be those of other factors than the frozen ones"
            else:
                meaning = f"{gate} would now be decided by another rule than the frozen one"
            yield Problem(path, value, expected, meaning, pointer=f"/frozen/{place.replace('.', '/')}")
    waiting = [gate for gate in study.gates if gate not in known]
    if waiting:
        case.note(f"not frozen yet: {', '.join(waiting)}")


def froze(study: Study, frozen: locks.Frozen) -> bool:
    """Whether a lock says what a study says."""
    if frozen.gate not in study.gates:
        return False
    same = locks.frozen_of(study, frozen.gate, runner=frozen.runner, corpus=frozen.corpus, previous=frozen.previous)
    return not {path for path in locks.difference(frozen, same) if path != "last"}


@dataclass(frozen=True)
class Freeze:
    """A commit that brings a lock of gate 1 which judges this study, and what params.yaml says in that commit.

    `data` and `study` are None where that params.yaml does not say them, which `problem` then tells: the commit of
    today's lock has a params.yaml that agrees with it; that of a lock which was amended since declares a text.
    """

    title: str
    data: Data | None = None
    study: Study | None = None
    problem: str = ""


def freezes(case: Case) -> Iterator[Freeze]:
    """Every commit that brought today's lock of gate 1, or one on the same corpus that amendments replaced.

    The earliest stands first; none without git. A commit that holds the lock from before brings none.
    """
    lock = case.get(Locks).by_gate.get("gate1")
    if lock is None or case.git is None:
        return
    lineage = {lock.digest, *(amendment.replaces for amendment in lock.frozen.amendments)}
    parsed: dict[bytes, Study | Invalid] = {}
    for state in case.history.states.values():
        past = state.locks.get("gate1")
        if past is None or past.digest not in lineage or past.frozen.get("corpus") != lock.frozen.corpus:
            continue
        stood = [parent.locks["gate1"].digest for parent in case.history.parents(state) if "gate1" in parent.locks]
        if past.digest not in stood and state.commit != history.WORKSPACE:
            yield _read_freeze(case, case.git, state, lock if past.digest == lock.digest else None, parsed)


def _read_freeze(
    case: Case, git: Git, state: history.HistoryState, lock: Lock | None, parsed: dict[bytes, Study | Invalid]
) -> Freeze:
    """What the params.yaml of a commit says; `lock` is the one that it must agree with.

    `parsed`: each different params.yaml that was read so far, or what is wrong with it.
    """
    try:
        entry = git.entry(state.commit, PARAMS)
        if entry is None:
            return Freeze(state.title, problem="no params.yaml")
        data = git.blob(entry.oid)
    except GitAbsent as absent:
        raise Skip(absent.reason, absent.enable) from None
    except Invalid as error:
        return Freeze(state.title, problem=str(error))
    try:
        is_now = case.knows(Study) and data == case.tree.read(PARAMS)  # the usual case: read already
        study = case.get(Study) if is_now else _parse_params(data, parsed)
        if lock is not None and not froze(study, lock.frozen):
            return Freeze(state.title, problem="a params.yaml with which that lock does not agree")
        return Freeze(state.title, study.data, study)
    except Invalid as error:
        problem = str(error)
    with contextlib.suppress(Invalid):  # another version's, under a lock that was replaced: the text can be read
        if lock is None:
            return Freeze(state.title, parse(Data, yamlio.loads(data, PARAMS).get("data"), PARAMS))
    return Freeze(state.title, problem=problem)


def _parse_params(data: bytes, parsed: dict[bytes, Study | Invalid]) -> Study:
    if data not in parsed:
        try:
            parsed[data] = parse_study(yamlio.loads(data, PARAMS), PARAMS)
        except Invalid as error:
            parsed[data] = error
    study = parsed[data]
    if isinstance(study, Invalid):
        raise study.with_traceback(None)
    return study


def study_when_frozen(case: Case) -> tuple[str, Study] | None:
    """The study as params.yaml said it when gate 1 was first frozen on today's corpus, and what that commit is called.

    None where git holds no such commit, or it has no params.yaml that agrees.
    """
    return next(((freeze.title, freeze.study) for freeze in freezes(case) if freeze.study), None)


def check_fresh_seeds(case: Case) -> Iterator[Problem]:
    """No seed is used at two rungs, and each lock lists the seeds of the rungs before it."""
    used: dict[int, str] = {}
    for gate, lock in case.get(Locks).by_gate.items():
        frozen, path = lock.frozen, f"locks/{gate}.yaml"
        if sorted(used) != sorted(frozen.earlier_seeds):
            seeds, expected = f"{len(frozen.earlier_seeds)} earlier seeds", f"the {len(used)} of the locks before it"
            meaning = "the rule about fresh seeds would look at others"
            yield Problem(path, seeds, expected, meaning, pointer="/frozen/earlier_seeds")
        for key in ("seeds", "floor_seeds"):
            for at, seed in enumerate(getattr(frozen, key)):
                if seed in used:
                    repeated, pointer = f"seed {seed}, used by {used[seed]}", f"/frozen/{key}/{at}"
                    meaning = "a seed that helped to choose a configuration flatters it here"
                    yield Problem(path, repeated, "a fresh seed", meaning, pointer=pointer)
                used[seed] = gate
