"""Checks V20 and V21: in git, the rule came before its evidence, and did not change afterwards without an amendment.

Both look at the whole past of the commit under audit (`stages/repo/history.py`) and ask what it means for the rules
that stand there now. What a later amendment owns up to, and the evidence of a study that was left for another one, no
longer decides anything: it is told and is no failure. A shallow clone is told how much deeper it must be.

Check V22: a record that once stood in history under a lock still stands, as it was, while that lock does.

Whoever trains a run again under the same rule has two results and shows one. A repetition that is meant is an amendment
(`promotion freeze GATE --amend --reason "..."`), which gives the evidence made anew a lock of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stages.domain import canonical, locks, names
from stages.domain.diff import differences
from stages.domain.locks import Lock
from stages.domain.study import Study
from stages.repo.history import RUNS, Chronicle, Made, Past, State
from stages.verify.check import Case, Problem, Skip
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import Locks


def whole_past(case: Case) -> Chronicle:
    """The history, unless it is cut off where it matters."""
    found = case.past
    if found.cut:
        reason = (
            f"a shallow clone: evidence stands in its oldest commit {found.cut[:12]}, and what came before is hidden"
        )
        raise Skip(reason, "git fetch --unshallow")
    if case.git is not None and case.git.shallow:
        case.note("the clone is shallow: what came before its oldest commit was not looked at")
    return found


def lineage(lock: Lock | None) -> set[str]:
    """The digests of a lock and of those that its amendments replaced."""
    return {lock.digest, *(one.replaces for one in lock.frozen.amendments)} if lock else set()


def check_rule_first(case: Case) -> Iterator[Problem]:
    """Whenever evidence under a lock first stands in history, an ancestor of that commit held this lock."""
    found, now = whole_past(case), case.get(Locks)
    for state in found.states.values():
        parents = found.before(state)
        earlier: frozenset[tuple[str, str]] = frozenset().union(*(parent.ever for parent in parents))
        for made in sorted(state.made.difference(*(parent.made for parent in parents))):
            if not _known_before(made, earlier, now) and not _settled(made, found, state, now):
                yield _too_early(made, state)


def _known_before(made: Made, earlier: frozenset[tuple[str, str]], now: Locks) -> bool:
    """Whether the rule of this evidence stood in an ancestor. Evidence that names none may be that of any rule here."""
    rung, digest = made
    if digest:
        return (names.gate_of(rung), digest) in earlier
    gates = [names.gate_of(rung)] if rung else list(now.by_gate)
    return all(any((gate, one) in earlier for one in lineage(now.by_gate.get(gate))) for gate in gates)


def _settled(made: Made, found: Chronicle, state: State, now: Locks) -> bool:
    """Whether this evidence decides nothing any more: an amendment replaced its rule, or its study was left."""
    rung, digest = made
    gate = names.gate_of(rung) if rung else ""
    lock = now.by_gate.get(gate)
    if lock and digest in lineage(lock) - {lock.digest}:
        return True
    if digest:
        rules = [found.locks[gate, digest]] if (gate, digest) in found.locks else []
    else:  # what names no lock was made under one of those that stood there
        rules = [one for parent in found.before(state) for one in parent.locks.values()]
    studies = {one.frozen.study for one in now.by_gate.values()}
    return bool(rules) and all(one.study not in studies for one in rules)


def _too_early(made: Made, state: State) -> Problem:
    rung, digest = made
    gate = names.gate_of(rung) if rung else "any gate"
    together = (gate, digest) in state.ever
    if digest:
        told = f"brings evidence of {rung} {'together with' if together else 'without'} lock {digest[:12]}"
    else:
        told = f"brings evidence of {rung or 'nobody knows what'} that names no lock"
    silent = f"stages/{rung}/dvc.lock"  # where there is no ledger yet, it is what speaks of trained runs
    return Problem(
        f"locks/{gate}.yaml" if together else silent if silent in state.held and RUNS not in state.held else RUNS,
        f"{state.title} {told}",
        "the lock in an ancestor of that commit",
        f"nothing shows that the rule of {gate} was fixed before its evidence was seen",
    )


def check_rule_stayed(case: Case) -> Iterator[Problem]:
    """Every lock under which evidence ever stood is the one that stands here, or an amendment names it.

    Each amendment says what it changed.
    """
    found, now, study = whole_past(case), case.get(Locks), case.get(Study).study.name
    for gate, judged in found.judged_of(study).items():
        for old in judged:
            yield from _moved(gate, old, now.by_gate.get(gate), found)
    for lock in now.by_gate.values():
        yield from _amendments(lock, found, case)
    yield from _repath_in_study(case, found, study)


def _moved(gate: str, old: Past, lock: Lock | None, found: Chronicle) -> Iterator[Problem]:
    path = f"locks/{gate}.yaml"
    if lock is None:
        expected = f"lock {old.digest[:12]}, or one with an amendment that replaces it"
        yield Problem(path, "no file", expected, "evidence was made under a rule that is gone")
    elif old.digest not in lineage(lock):
        change = ", ".join(list(locks.difference(old.frozen, lock.frozen.to_json()))[:4])
        rung = names.rung_of(gate)
        where = next(one.title for one in found.states.values() if one.made & {(rung, old.digest), (rung, "")})
        yield Problem(
            path,
            f"another lock than {old.digest[:12]}, of which {where} holds evidence; changed: {change or 'amendments'}",
            f"an amendment that replaces {old.digest[:12]}; `promotion freeze {gate} --amend --reason ...` writes it",
            f"the rule of {gate} was changed after its evidence was seen, and nobody says so",
            pointer="/frozen/amendments",
        )


def _amendments(lock: Lock, found: Chronicle, case: Case) -> Iterator[Problem]:
    """What each amendment says of the lock that it replaced is true, as far as git holds that lock."""
    path, told = f"locks/{lock.frozen.gate}.yaml", lock.frozen.amendments
    held = [found.locks.get((lock.frozen.gate, one.replaces)) for one in told]
    after = [*(past.frozen if past else None for past in held), lock.frozen.to_json()][1:]
    for at, (one, old, new) in enumerate(zip(told, held, after, strict=True)):
        pointer = f"/frozen/amendments/{at}"
        if old is None and case.git and not case.git.shallow:
            meaning = "the amendment speaks of a lock that never stood in history"
            yield Problem(path, one.replaces, "a lock of the history", meaning, pointer=f"{pointer}/replaces")
        change = locks.difference(old.frozen, new) if old and new else one.changed
        if canonical.dumps(one.changed) != canonical.dumps(change):
            was, should = (", ".join(said) or "nothing" for said in (one.changed, change))
            yield Problem(path, was, should, "the amendment hides what it changed", pointer=f"{pointer}/changed")


def _repath_in_study(case: Case, found: Chronicle, study: str) -> Iterator[Problem]:
    """Evidence of a study that was left; unless this study passes it off as its own under another name."""
    others = {lock.digest: lock.study for lock in found.locks.values() if lock.study != study}
    seen: set[str] = set()
    for state in found.states.values() if others else ():
        for data in sorted(found.new_lines(state)):
            line = found.line(data)
            if line is None or line.made[1] not in others:
                continue
            seen.add(others[line.made[1]])
            run = case.get(Ledger).by_id.get(line.run) if case.knows(Ledger) and line.run else None
            if run and run.record.facts and _outcome(canonical.loads(data)) == (run.record.spec, run.record.facts):
                told = f"what {state.title} holds as a run of the study {others[line.made[1]]}"
                meaning = "a new name for the study hides that its rules were chosen after the evidence was seen"
                yield run.problem("/facts", told, "a run of its own, with a seed of its own", meaning)
    for name in sorted(seen):
        case.note(f"evidence of another study, {name}, stands in history; its rules are not looked at here")


def _outcome(record: dict[str, Any]) -> tuple[Any, Any]:
    return record.get("spec"), record.get("facts")


_MEANS = "it is not what was first reported under this rule, and a repetition that is meant is an amendment"


def check_evidence_stayed(case: Case) -> Iterator[Problem]:
    """Every record that ever stood under a lock of today is in the ledger as it was, save those of failed runs."""
    found = whole_past(case)
    standing = {(names.rung_of(gate), lock.digest) for gate, lock in case.get(Locks).by_gate.items()}
    here = case.get(Ledger).by_id if case.knows(Ledger) else {}
    gone: dict[str, list[str]] = {}
    changed: list[Problem] = []
    for state in found.states.values():
        for data in sorted(found.new_lines(state)):
            line = found.line(data)
            if line is None or line.made not in standing or line.failed or not line.run:
                continue
            run = here.get(line.run)
            if run is None:
                gone.setdefault(state.title, []).append(line.run)
            elif run.data != data + b"\n" and not _taken_back(run, state, found):
                changed.append(_changed(run, data, state))
    yield from sorted(changed, key=lambda one: one.line or 0)
    for title, runs in gone.items():
        told = (
            f"{len(runs)} records are gone, such as {min(runs)}"
            if len(runs) > 1
            else f"the record of {runs[0]} is gone"
        )
        yield Problem(RUNS, told, f"what {title} holds", _MEANS)


def _taken_back(run: RecordLine, state: State, found: Chronicle) -> bool:
    """Whether the record that stands here stood before that other one: then it was changed, and changed back."""
    data = run.data.rstrip(b"\n")
    first = (one for one in found.states.values() if data in found.new_lines(one))
    return any(found.precedes(one, state) for one in first)


def _changed(run: RecordLine, old: bytes, state: State) -> Problem:
    was, now = canonical.loads(old), canonical.loads(run.data)
    pointer, found, expected = next(differences(now, was), ("", "other bytes", "the same bytes"))
    return run.problem(pointer, found, f"{expected!r}, as in {state.title}", _MEANS)
