"""The rules under which the evidence here was made, where today's locks are newer (pending states); and check V08.

A rule is committed before its evidence, so between `promotion freeze` and `dvc repro` the locks are newer than the
ledger. dvc.lock records the digest of the folder locks/ with which the ledger was written. If that is not today's, the
evidence is judged by the locks of that digest: today's without the gates that were frozen last, or those of an earlier
commit. They may differ from today's only in this:

* a gate was frozen since (or frozen again), and the ledger has no record of its rung and no decision of it;
* a gate was amended since, and the amendments in its lock name the earlier lock;
* a gate was frozen again, and the ledger has only stopped runs of its rung: after one that was amended, or was blocked.

Such gates are pending. With any other difference nothing is pending: the evidence is then checked against today's
locks, and fails if it was made under other ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from stages.domain import locks, names, yamlio
from stages.domain.errors import Invalid
from stages.domain.locks import Lock
from stages.domain.runs import all_runs, ledger_order
from stages.domain.study import Study, parse_study
from stages.dvcfiles.ignore import IgnoredNames
from stages.repo.git import UNSHALLOW, Git
from stages.repo.objects import GitAbsent
from stages.verify.check import Case, Problem
from stages.verify.folders import LOCKS, digest_folder, digest_inside, ignored_patterns, lock_folders
from stages.verify.ledger import Ledger, RecordLine
from stages.verify.locks import PARAMS, RUNS, Locks, Params, froze

#: What locks of all gates freeze alike: these sections of params.yaml change only where the first gate is amended.
_SHARED = ("data", "runner", "clock", "hosts", "configs", "roles")
#: `frozen`: the ledger has nothing of its rung. `amended`: what it has is the evidence of the rule before.
Pending = Literal["frozen", "amended"]
_LOCK_FILE = re.compile(r"(gate[1-9][0-9]?)\.yaml")


@dataclass(frozen=True)
class EvidenceRules:
    """The locks, the study and the parameters under which the evidence here was made: today's, if nothing is pending.

    `pending`: the gates whose evidence is not made yet, or not made again. `commit`: where the rules of then stood,
    None where they are part of today's.
    """

    locks: Locks
    study: Study
    params: dict[str, object]
    pending: dict[str, Pending] = field(default_factory=dict)
    commit: str | None = None

    def notes(self) -> Iterator[str]:
        """What is pending, in words."""
        for gate, kind in self.pending.items():
            if kind == "frozen":
                yield f"{gate} is frozen; its evidence is not made yet: `dvc repro`"
            else:
                yield f"{gate} was amended; the evidence here is that of the rule before: `dvc repro` makes it anew"

    @property
    def undecided(self) -> list[str]:
        """The gates of which there is no evidence under any lock, so that their sections of params.yaml are free."""
        return [gate for gate in self.study.gates if gate not in self.locks.by_gate]


def evidence_locks(case: Case) -> Locks:
    """The locks that judge the evidence."""
    return case.get(EvidenceRules).locks if case.knows(EvidenceRules) else case.get(Locks)


def evidence_study(case: Case) -> Study:
    """The study that the evidence is of."""
    return case.get(EvidenceRules).study if case.knows(EvidenceRules) else case.get(Study)


def pending_gates(case: Case) -> dict[str, Pending]:
    """The gates whose evidence is not made yet, or not made again."""
    return case.get(EvidenceRules).pending if case.knows(EvidenceRules) else {}


def find_evidence_rules(case: Case) -> EvidenceRules:
    """The rules of the evidence here, from the digest of locks/ that the ledger's stage noted."""
    study, known, params = case.get(Study), case.get(Locks), case.get(Params).value
    today = EvidenceRules(known, study, params)
    noted, patterns = _noted_digest(case), ignored_patterns(case.tree)
    present = digest_inside(case.tree, LOCKS, patterns)
    if noted is None or noted == digest_folder(present.items(), LOCKS).md5:
        return today
    for count in range(len(known.by_gate)):  # without the gates that were frozen last: no history is needed for that
        kept = dict(list(known.by_gate.items())[:count])
        files = [(name, content) for name, content in present.items() if _gate_of(name) in (None, *kept)]
        if digest_folder(files, LOCKS).md5 == noted:
            pending = _compare(Locks(kept), known, case.get(Ledger))
            return today if pending is None else EvidenceRules(Locks(kept), study, params, pending)
    rules = _find_in_history(case, today, noted, patterns)
    digests = {lock.digest for lock in known.by_gate.values()}
    others = [run for run in case.get(Ledger).runs if _names_other(run, digests)]
    if rules is None and others and case.git and case.git.shallow:
        raise GitAbsent("the commit that held the locks of the evidence here is not in this shallow clone", UNSHALLOW)
    return rules or today


def _names_other(run: RecordLine, digests: set[str]) -> bool:
    """Whether a record was made under another lock than those of today."""
    return run.record.executed and run.record.lock not in digests


def _find_in_history(case: Case, today: EvidenceRules, noted: str, patterns: IgnoredNames) -> EvidenceRules | None:
    """The rules of the newest commit that held the noted locks together with the params.yaml that they froze."""
    head = case.git and (case.commit or case.git.head)
    if case.git is None or not head:
        return None
    for commits, files in lock_folders(case.git, head):
        then = _parse_locks(files) if files.digest(patterns).md5 == noted else None
        pending = _compare(then, today.locks, case.get(Ledger)) if then else None
        if then is None or pending is None:
            continue
        for commit in commits:
            params = _params_of_then(case.git, commit, today.params, pending)
            study = _study_of(params, then) if params is not None else None
            if params is not None and study is not None:
                return EvidenceRules(then, study, params, pending, commit)
    return None


def _study_of(params: dict[str, object], known: Locks) -> Study | None:
    """The study in the parameters, if it is what all the locks froze."""
    try:
        study = parse_study(params, PARAMS)
    except Invalid:
        return None
    return study if all(froze(study, lock.frozen) for lock in known.by_gate.values()) else None


def _noted_digest(case: Case) -> str | None:
    """The digest of locks/ on which the ledger's stage ran; None where no dvc.lock says it."""
    try:
        stage = (case.root_lock or {}).get("ledger")
    except Invalid:  # V17 reports it
        return None
    return stage.deps[LOCKS].md5 if stage and LOCKS in stage.deps else None


def _parse_locks(files: Mapping[str, bytes]) -> Locks | None:
    """The locks in a folder of the past, if they are a chain."""
    by_gate: dict[str, Lock] = {}
    previous: str | None = None
    while (data := files.get(f"{(gate := f'gate{len(by_gate) + 1}')}.yaml")) is not None:
        try:
            lock = locks.loads(data, f"{LOCKS}/{gate}.yaml")
        except Invalid:
            return None
        if (lock.frozen.gate, lock.frozen.rung, lock.frozen.previous) != (gate, names.rung_of(gate), previous):
            return None
        by_gate[gate], previous = lock, lock.digest
    complete = len(by_gate) == sum(_gate_of(name) is not None and name.endswith(".yaml") for name in files)
    return Locks(by_gate) if by_gate and complete else None


def _compare(then: Locks, now: Locks, ledger: Ledger) -> dict[str, Pending] | None:
    """The gates that are pending, if the locks of now may follow on those of then; else None."""
    pending: dict[str, Pending] = {}
    for gate in dict.fromkeys([*now.by_gate, *then.by_gate]):
        lock, before = now.by_gate.get(gate), then.by_gate.get(gate)
        if lock is None:
            return None
        if before is not None and before.digest == lock.digest:
            continue
        evidence = names.rung_of(gate) in ledger.by_rung or gate in ledger.decisions
        if not evidence:
            pending[gate] = "frozen"
        elif before is not None and (_replaces(lock, before) or not _has_judged(gate, before, lock, ledger)):
            pending[gate] = "amended"
        else:
            return None
    return pending


def _has_judged(gate: str, before: Lock, lock: Lock, ledger: Ledger) -> bool:
    """Whether a lock judged a run. One that saw stopped runs alone is frozen again without an amendment of its own."""
    runs = ledger.by_rung.get(names.rung_of(gate), ())
    return before.frozen.study != lock.frozen.study or any(run.record.executed for run in runs)


def _replaces(lock: Lock, before: Lock) -> bool:
    """Whether the amendments of a lock name the one before, of the same study."""
    replaced = {amendment.replaces for amendment in lock.frozen.amendments}
    return before.digest in replaced and before.frozen.study == lock.frozen.study


def _params_of_then(
    git: Git, commit: str, now: Mapping[str, object], pending: Mapping[str, Pending]
) -> dict[str, object] | None:
    """params.yaml of now, with the sections of pending gates as a commit had them. None where it cannot be read."""
    entry = git.entry(commit, PARAMS)
    try:
        then = yamlio.loads(git.blob(entry.oid), PARAMS) if entry else None
    except GitAbsent:
        raise
    except Invalid:
        return None
    if then is None:
        return None
    mixed = dict(now)
    if pending.get("gate1") == "amended":
        mixed |= {key: then[key] for key in _SHARED if key in then}
        mixed["study"] = _with_origin(mixed.get("study"), then.get("study"))
    for section, name_of in (("gates", str), ("rungs", names.rung_of)):
        before, after = then.get(section), mixed.get(section)
        if not isinstance(before, dict) or not isinstance(after, dict):
            return None
        keys = {name_of(gate) for gate in pending}
        mixed[section] = {key: before.get(key, value) if key in keys else value for key, value in after.items()}
    return mixed


def _with_origin(study: object, then: object) -> object:
    """The section `study` with the origin that it had then: gate 1 froze it, and the other words decide nothing."""
    if not isinstance(study, dict) or not isinstance(then, dict):
        return study
    origin = {"from": then["from"]} if "from" in then else {}
    return {key: value for key, value in study.items() if key != "from"} | origin


def _gate_of(name: str) -> str | None:
    """The gate of a file in locks/: of a lock or of its signature."""
    match = _LOCK_FILE.match(name)
    return match[1] if match else None


def check_ledger_complete(case: Case) -> Iterator[Problem]:
    """The ledger has one line per run of the study, in order, and no others; none is missing where a gate decided."""
    if case.knows(Locks):
        case.learn(find_evidence_rules(case))
    study, ledger = evidence_study(case), case.get(Ledger)
    for note in case.get(EvidenceRules).notes() if case.knows(EvidenceRules) else ():
        case.note(note)
    yield from _out_of_order(ledger)
    declared = {run.id: run.rung for run in all_runs(study)}
    for line in ledger.runs:
        if line.record.id not in declared:
            undeclared = "a run that params.yaml does not declare"
            yield line.problem("", undeclared, "a declared cell", "evidence from nowhere")
    missing: dict[str, list[str]] = {}
    for run in declared.keys() - ledger.by_id.keys():
        missing.setdefault(declared[run], []).append(run)
    for rung, runs in sorted(missing.items()):
        absent, gate = f"{len(runs)} runs of {rung} are missing, such as {min(runs)}", names.gate_of(rung)
        if gate in ledger.decisions:
            expected = "a line for every run of a rung that was judged"
            yield Problem(RUNS, absent, expected, "the gate judged without seeing all")
        else:
            case.note(f"{absent}; {gate} has not decided")


def _out_of_order(ledger: Ledger) -> Iterator[Problem]:
    expected = "each run once, sorted by rung, purpose, configuration, host, seed"
    for before, after in pairwise(ledger.runs):
        if before.record.id == after.record.id:
            meaning = "a run that counts twice or was moved changes what a gate sees"
            yield after.problem("", "the run a second time", expected, meaning)
        elif ledger_order(before.record) >= ledger_order(after.record):
            yield after.problem("", f"the run after {before.record.id}", expected, "the ledger was edited")
