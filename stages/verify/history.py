"""Checks V20 to V22: in git, the rule came before its evidence, and neither changed afterwards without saying so.

All read the whole history of the commit under verification (`stages/repo/history.py`) and compare it with the locks in
that commit. Changes that a later amendment declares, and the evidence of a study that was replaced by another one, are
noted and are no failure. If a shallow clone lacks the history, the checks are skipped.

A run that was trained again under the same rule has two results, of which one is shown. A repetition on purpose needs
an amendment (`promotion freeze GATE --amend --reason "..."`), which gives the new evidence a lock of its own. A run
that failed before it reported anything may be repeated without an amendment, `MOST_FAILURES` times.

So no line of a past ledger may be one that nobody can compare with those of today: each is a proper record. Facts are
compared with those of every ledger of the history: that of hindsight, and those of other folders, in which the study
may have stood before it was moved.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping

from stages.domain import canonical, formatting, locks, names
from stages.domain.diff import differences, equal
from stages.domain.locks import Lock
from stages.domain.study import Study
from stages.repo.history import HINDSIGHT, RUNS, WORKSPACE, History, HistoryState
from stages.repo.past_files import DECIMALS, Commitment, PastLock, find_record_problem
from stages.runners import runner_of
from stages.verify.check import Case, Problem
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import Locks, study_when_frozen
from stages.verify.pending import evidence_locks

#: How often a run may fail under one rule. Locks have no field for it, so that it is the same in every study.
MOST_FAILURES = 5
_OWN_SEED = "a run of its own, with a seed of its own"
_REPLACED = "it is not what was first reported under this rule, and a repetition that is meant is an amendment"


def lineage(lock: Lock | None) -> set[str]:
    """The digests of a lock and of those that its amendments replaced."""
    return {lock.digest, *(amendment.replaces for amendment in lock.frozen.amendments)} if lock else set()


def check_rule_first(case: Case) -> Iterator[Problem]:
    """Where evidence under a lock first appears in history, an ancestor of that commit already has this lock."""
    history, now = case.whole_history, case.get(Locks)
    for state in history.states.values():
        earlier = frozenset().union(*(parent.locks_so_far for parent in history.parents(state)))
        early = [
            commitment
            for commitment in history.new_commitments(state)
            if not _was_known(commitment, earlier, now) and not _decides_nothing(commitment, history, state, now)
        ]
        together = [(rung, digest) for rung, digest in early if (names.gate_of(rung), digest) in state.locks_so_far]
        if len(together) > 1:  # one cause, told once
            yield _squashed(together, state)
            early = [commitment for commitment in early if commitment not in together]
        yield from (_too_early(commitment, state) for commitment in early)


def _squashed(commitments: list[Commitment], state: HistoryState) -> Problem:
    rungs = formatting.listed([rung for rung, _ in commitments])
    return Problem(
        names.LOCKS.as_posix(),
        f"a squash merge or an import? {state.title} brings evidence of {rungs} together with the locks that judge it",
        "each lock in an ancestor of that commit",
        "nothing shows any more which came first: merge the branch as it is (`git merge --no-ff`), without squashing",
    )


def _was_known(commitment: Commitment, earlier: frozenset[tuple[str, str]], now: Locks) -> bool:
    """Whether the rule of this evidence stood in an ancestor. Evidence that names none may be that of any rule here."""
    rung, digest = commitment
    if digest:
        return (names.gate_of(rung), digest) in earlier
    gates = [names.gate_of(rung)] if rung else list(now.by_gate)
    return all(any((gate, digest) in earlier for digest in lineage(now.by_gate.get(gate))) for gate in gates)


def _decides_nothing(commitment: Commitment, history: History, state: HistoryState, now: Locks) -> bool:
    """Whether this evidence decides nothing any more: an amendment replaced its rule, or its study was left."""
    rung, digest = commitment
    gate = names.gate_of(rung) if rung else ""
    lock = now.by_gate.get(gate)
    if lock and digest in lineage(lock) - {lock.digest}:
        return True
    if digest:
        rules = [history.locks[gate, digest]] if (gate, digest) in history.locks else []
    else:  # what names no lock was made under one of those that stood there
        rules = [past for parent in history.parents(state) for past in parent.locks.values()]
    studies = {lock.frozen.study for lock in now.by_gate.values()}
    return bool(rules) and all(rule.study not in studies for rule in rules)


def _too_early(commitment: Commitment, state: HistoryState) -> Problem:
    rung, digest = commitment
    gate = names.gate_of(rung) if rung else "any gate"
    together = (gate, digest) in state.locks_so_far
    if digest:
        text = f"brings evidence of {rung} {'together with' if together else 'without'} lock {digest[:12]}"
    else:
        text = f"brings evidence of {rung or 'an unknown rung'} that names no lock"
    # Where there is no ledger yet, the dvc.lock files of the rung are what speaks of trained runs.
    dvc_locks = [] if RUNS in state.oids else [path for path in sorted(state.oids) if f"/{rung}/" in path]
    return Problem(
        f"locks/{gate}.yaml" if together else next(iter(dvc_locks), RUNS),
        f"{state.title} {text}",
        "the lock in an ancestor of that commit",
        f"nothing shows that the rule of {gate} was fixed before its evidence was seen",
    )


def check_rule_stayed(case: Case) -> Iterator[Problem]:
    """Every lock that ever had evidence is the lock of today, or an amendment names it.

    Each amendment says what it changed.
    """
    history, now, study = case.whole_history, case.get(Locks), case.get(Study).study.name
    for gate, judged in history.locks_with_evidence_of(study).items():
        for past in judged:
            yield from _compare_lock(gate, past, now.by_gate.get(gate), history)
    for lock in now.by_gate.values():
        yield from _compare_amendments(lock, history, case)
    yield from _evidence_seen_before(case, history, study)
    _note_words(case)


def _compare_lock(gate: str, past: PastLock, lock: Lock | None, history: History) -> Iterator[Problem]:
    """A lock of today with one under which evidence stood."""
    path = f"locks/{gate}.yaml"
    if lock is None:
        expected = f"lock {past.digest[:12]}, or one with an amendment that replaces it"
        yield Problem(path, "no file", expected, "evidence was made under a rule that is gone")
    elif past.digest not in lineage(lock):
        change = ", ".join(list(locks.difference(past.frozen, lock.frozen.to_json()))[:4]) or "amendments"
        evidence = {(names.rung_of(gate), past.digest), (names.rung_of(gate), "")}
        where = next(state.title for state in history.states.values() if state.commitments & evidence)
        remedy = f"`promotion freeze {gate} --amend --reason ...` writes it"
        yield Problem(
            path,
            f"another lock than {past.digest[:12]}, of which {where} holds evidence; changed: {change}",
            f"an amendment that replaces {past.digest[:12]}; {remedy}",
            f"the rule of {gate} was changed after its evidence was seen, and nobody says so",
            pointer="/frozen/amendments",
        )


def _compare_amendments(lock: Lock, history: History, case: Case) -> Iterator[Problem]:
    """What each amendment says of the lock that it replaced is true, as far as git holds that lock."""
    path, amendments = f"locks/{lock.frozen.gate}.yaml", lock.frozen.amendments
    replaced = [history.locks.get((lock.frozen.gate, amendment.replaces)) for amendment in amendments]
    replacing = [*(past.frozen if past else None for past in replaced), lock.frozen.to_json()][1:]
    for at, (amendment, old, new) in enumerate(zip(amendments, replaced, replacing, strict=True)):
        pointer = f"/frozen/amendments/{at}"
        if old is None and case.git and not case.git.shallow:
            meaning = "the amendment speaks of a lock that never stood in history"
            yield Problem(path, amendment.replaces, "a lock of the history", meaning, pointer=f"{pointer}/replaces")
        change = locks.difference(old.frozen, new) if old and new else amendment.changed
        if canonical.dumps(amendment.changed) != canonical.dumps(change):
            was, should = (", ".join(paths) or "nothing" for paths in (amendment.changed, change))
            yield Problem(path, was, should, "the amendment hides what it changed", pointer=f"{pointer}/changed")


def _note_words(case: Case) -> None:
    """What the study is called and asks may be put otherwise after its verdict: a reader is told what it was."""
    if case.git is None or (frozen := study_when_frozen(case)) is None:
        return
    title, then = frozen
    for word in ("title", "question", "note"):
        was, now = (formatting.shortened(getattr(side.study, word), 120) for side in (then, case.get(Study)))
        if was != now:
            case.note(f"study.{word} was put otherwise when gate 1 was frozen: {was!r} in {title}, {now!r} now")


def _evidence_seen_before(case: Case, history: History, study: str) -> Iterator[Problem]:
    """No run here is one that was reported before as another: of another study, or of another seed under an old rule.

    Facts are compared whatever their record is called. Evidence of a study that was left is noted.
    """
    others = {lock.digest: lock.study for lock in history.locks.values() if lock.study != study}
    own = {digest for lock in case.get(Locks).by_gate.values() for digest in lineage(lock)}
    fingerprints = _Fingerprints(case)
    seen: set[str] = set()
    compared: set[tuple[bytes, bool]] = set()
    for state in history.states.values():
        for path, lines in history.new_ledger_lines(state):
            is_own = path in (RUNS, HINDSIGHT)
            fresh = {data for data in lines - fingerprints.present if is_own or (data, False) not in compared}
            compared |= {(data, is_own) for data in fresh}
            for data in sorted(fresh):
                line = history.line(data)
                if line is None or not line.run:
                    continue
                name = others.get(line.commitment[1])
                seen |= {name} if name is not None else set()
                foreign = name is not None or (not is_own and line.commitment[1] not in own)
                run = fingerprints.find_twin(data, other_study=foreign)
                if run is None or (is_own and _was_restored(run, state, history)):
                    continue  # it stood here first: the other one is the copy
                source = f"what {state.title} holds" + ("" if path == RUNS else f" in {path}")
                if name is not None:
                    meaning = "a new name for the study hides that its rules were chosen after the evidence was seen"
                    yield run.problem("/facts", f"{source} as a run of the study {name}", _OWN_SEED, meaning)
                elif foreign:
                    meaning = (
                        "another folder for the study hides that its rules were chosen after the evidence was seen"
                    )
                    yield run.problem("/facts", f"{source} under another lock", _OWN_SEED, meaning)
                else:
                    meaning = "an old run stands there under another seed"
                    yield run.problem("/facts", f"{source} as {line.run}", "a run of its own", meaning)
    for name in sorted(seen):
        case.note(f"evidence of another study, {name}, stands in history; its rules are not looked at here")


class _Fingerprints:
    """The runs of the ledger by what no other run ends with."""

    def __init__(self, case: Case) -> None:
        ledger = case.get(Ledger) if case.knows(Ledger) else Ledger((), {})
        runs = (*ledger.hindsight, *ledger.runs)
        study = case.get(Study)
        self._check = runner_of(study.runner).make_facts_check(study)
        self.present = {run.data for run in runs}
        self._runs = {
            numbers: run
            for run in runs
            if run.record.status == "finished" and (numbers := self._check.make_fingerprint(run.record.facts or {}))
        }

    def find_twin(self, data: bytes, *, other_study: bool) -> RecordLine | None:
        """The run here that ended as this past line says, where that has no honest cause.

        In this study the same seed may be trained again; in another one its rules were chosen with the score known.
        """
        past = canonical.loads(data)
        facts = past.get("facts")
        numbers = self._check.make_fingerprint(facts) if isinstance(facts, dict) else ()
        run = self._runs.get(numbers)
        if run is None:
            return None
        same_cell = (past.get("config"), past.get("host")) == (run.record.config, run.record.host)
        if len(numbers) < 2 and not (same_cell and facts == run.record.facts):
            return None
        return run if other_study or past.get("seed") != run.record.seed else None


def check_evidence_stayed(case: Case) -> Iterator[Problem]:
    """Every record that ever had a lock of today is in the ledger unchanged, except those of failed runs.

    No run failed more than a few times before it finished. No line of a past ledger is one that nobody can compare.
    """
    history = case.whole_history
    rules = (case.get(Locks), evidence_locks(case))  # what a pending amendment replaces still judges what is here
    standing = {(names.rung_of(gate), lock.digest) for known in rules for gate, lock in known.by_gate.items()}
    runs = case.get(Ledger).by_id if case.knows(Ledger) else {}
    gone: dict[str, list[str]] = {}
    failures: Counter[str] = Counter()
    changed: list[Problem] = []
    for state in history.states.values():
        for data in sorted(history.new_lines(state)):
            line = history.line(data)
            if line is None or line.commitment not in standing or not line.run:
                continue
            run = runs.get(line.run)
            if line.failed and not (run and run.data != data and reports_result(data, run, case)):
                failures[line.run] += 1
                continue
            if run is None:
                gone.setdefault(state.title, []).append(line.run)
            elif run.data != data and not (
                run.record.lock == line.commitment[1] and _was_restored(run, state, history)
            ):
                changed.append(_changed_record(run, data, state))
    yield from sorted(changed, key=lambda problem: problem.line or 0)
    for title, missing in gone.items():
        several = f"{len(missing)} records are gone, such as {min(missing)}"
        text = several if len(missing) > 1 else f"the record of {missing[0]} is gone"
        yield Problem(RUNS, text, f"what {title} holds", _REPLACED)
    yield from _compare_failures(case, failures, runs)
    yield from _find_broken_lines(case, history)


def reports_result(data: bytes, run: RecordLine, case: Case) -> bool:
    """Whether the record of a failed run says what came of it all the same, in a field that holds no facts.

    The built-in runner gives no reason with a fraction. A command's reason quotes what it printed, such as a loss,
    which is told as a note. The specification follows from the rule: a repetition has the same.
    """
    value = canonical.loads(data)
    if run.record.spec is not None and not equal(value.get("spec"), run.record.spec):
        return True
    reason = str(value.get("reason"))
    if not DECIMALS.search(reason):
        return False
    lock = evidence_locks(case).of(run.record.rung)
    if lock is None or lock.frozen.settings.get("kind") != "command":
        return True
    quoted = formatting.shortened(reason, 120)
    case.note(f"{run.record.id} was repeated after a failure whose reason holds a number: {quoted!r}")
    return False


def _find_broken_lines(case: Case, history: History) -> Iterator[Problem]:
    """The lines of past ledgers that are no proper records, once for each ledger and commit that brings them."""
    ledger = case.get(Ledger) if case.knows(Ledger) else Ledger((), {})
    sound = {
        False: {run.data for run in ledger.runs},
        True: {run.data for run in ledger.hindsight},
    }
    broken: dict[bool, dict[bytes, str]] = {False: {}, True: {}}
    for state in history.states.values():
        for path, lines in history.new_ledger_lines(state):
            if path not in (RUNS, HINDSIGHT) and path not in history.studies_elsewhere:
                continue
            hindsight = path.endswith(HINDSIGHT)
            known, wrong = sound[hindsight], broken[hindsight]
            fresh = lines - known
            for data in fresh - wrong.keys():
                if problem := find_record_problem(data, hindsight=hindsight):
                    wrong[data] = problem
                else:
                    known.add(data)
            if refused := {data: wrong[data] for data in fresh if data in wrong}:
                yield _broken_line(case, state, path, refused)


def _broken_line(case: Case, state: HistoryState, path: str, wrong: Mapping[bytes, str]) -> Problem:
    """The first of the lines that a commit brings and that are no records."""
    lines = (line if line.endswith(b"\n") else line + b"\n" for line in io.BytesIO(_read(case, state, path)))
    number, data = next(((n, line) for n, line in enumerate(lines, start=1) if line in wrong), (None, min(wrong)))
    others = f", and {len(wrong) - 1} more lines of it" if len(wrong) > 1 else ""
    return Problem(
        path,
        f"a line that is no record, in {state.title}{others}: {formatting.shortened(wrong[data], 160)}",
        "a record in each line of every ledger that was ever committed",
        "what was reported in it cannot be compared with what stands there now",
        line=number,
    )


def _read(case: Case, state: HistoryState, path: str) -> bytes:
    """A ledger as a state holds it."""
    data = case.tree.read(path) if state.commit == WORKSPACE and path in (RUNS, HINDSIGHT) else None
    if data is not None or case.git is None:
        return data or b""
    return case.git.blob(state.oids[path])


def _compare_failures(case: Case, failures: Counter[str], runs: Mapping[str, RecordLine]) -> Iterator[Problem]:
    """Repeats of failed runs are noted; too many of one run ask for an amendment."""
    repeated = {
        name: count
        for name, count in sorted(failures.items())
        if count > 1 or name not in runs or runs[name].record.status != "failed"
    }
    for name, count in repeated.items():
        if count > MOST_FAILURES:
            expected = f"at most {MOST_FAILURES} failures of one run under one rule, or an amendment"
            meaning = "whoever repeats a run until it suits calls the others failed"
            text = f"{name} failed {count} times under the rule that judges it"
            line = runs[name].line if name in runs else None
            yield Problem(RUNS, text, expected, meaning, line=line)
    if repeated:
        most = max(repeated, key=lambda name: repeated[name])
        counted = f"{len(repeated)} runs were" if len(repeated) > 1 else "one run was"
        times = f"{repeated[most]} times" if repeated[most] > 1 else "once"
        case.note(f"{counted} repeated after a failure, such as {most}, which failed {times}")


def _was_restored(run: RecordLine, state: HistoryState, history: History) -> bool:
    """Whether the record that stands here stood before that other one: then it was changed, and changed back."""
    return any(history.precedes(first, state) for first in history.states_of_lines.get(run.data, ()))


def _changed_record(run: RecordLine, old: bytes, state: HistoryState) -> Problem:
    was, now = canonical.loads(old), canonical.loads(run.data)
    pointer, value, expected = next(differences(now, was), ("", "other bytes", "the same bytes"))
    return run.problem(pointer, value, f"{expected!r}, as in {state.title}", _REPLACED)
