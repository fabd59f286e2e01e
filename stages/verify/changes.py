"""What changed between two commits: decisions, rules, evidence and the study.

    compare_commits(Path("."), "v1.0", "HEAD")       every change as a line of words (`promotion site --compare`)
    describe_commit(before, after)                   the same in a few words, for a line of the history
    changed_decisions(before, after)                 the gates that decide otherwise (`promotion verify --against`)

`compare_commits` refuses a commit that this version cannot read. The other two look at any commit of a history: what
cannot be read in it is left out, because other checks say what is wrong with it.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, formatting, locks, names, yamlio
from stages.domain.decision import Decision, decision_from_json
from stages.domain.diff import differences
from stages.domain.errors import Invalid
from stages.domain.locks import Lock, LockRefused
from stages.domain.records import Record, parse_ledger
from stages.repo.git import open_git
from stages.repo.objects import GitRefused
from stages.repo.tree import CommitTree, Tree, open_tree
from stages.verify.locks import DECISIONS, HINDSIGHT, PARAMS, RUNS, describe_change

_BROKEN = "broken"
_ANSWERS = {"True": "holds", "False": "fails"}


def _by_number(*sides: Mapping[str, object]) -> list[str]:
    """The keys of all sides, gate2 before gate10."""
    return sorted(set().union(*sides), key=lambda key: (len(key), key))


# Every change between two commits that this version can read


@dataclass(frozen=True)
class Snapshot:
    """What one commit says; runs with the MD5 of their lines."""

    title: str
    params: dict[str, object]
    locks: dict[str, Lock]
    runs: dict[str, tuple[Record, str]]
    decisions: dict[str, Decision]


@dataclass(frozen=True)
class Changes:
    """The differences between two commits, each a line of words.

    `totals` is what the changes of evidence come to, by rung.
    """

    before: str
    after: str
    decisions: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    study: list[str] = field(default_factory=list)
    totals: list[str] = field(default_factory=list)


def compare_commits(root: Path, before: str, after: str) -> Changes:
    """The changes between two revisions of the repository around `root`."""
    git = open_git(root)
    if git is None:
        raise GitRefused(f"{root.resolve().as_posix()}: no git repository; run this in a clone of the study")
    try:
        snapshots = [read_snapshot(open_tree(root, git, git.resolve(rev))) for rev in (before, after)]
    finally:
        git.close()
    return compare_snapshots(*snapshots)


def read_snapshot(tree: Tree) -> Snapshot:
    """What a tree of files says. What is absent in it is absent here."""
    data = tree.read(PARAMS)
    where = f"{PARAMS} of {tree.title}"
    if data is None:
        raise Invalid(f"{where} is missing; name a commit that holds a study")
    records = parse_ledger(tree.read(RUNS) or b"", f"{RUNS} of {tree.title}")
    return Snapshot(
        title=tree.title,
        params=yamlio.loads(data, where),
        locks=_read_locks(tree),
        runs={record.id: (record, files.md5_bytes(line)) for record, line in records},
        decisions=_read_decisions(tree),
    )


def _read_locks(tree: Tree) -> dict[str, Lock]:
    by_gate = {}
    for path in tree.paths(names.LOCKS.as_posix()):
        if path.endswith(".yaml"):
            try:
                lock = locks.loads(tree.read(path) or b"", f"{path} of {tree.title}")
            except LockRefused as error:
                raise Invalid(f"{error}; if another version of this package wrote it, compare with that one") from None
            by_gate[lock.frozen.gate] = lock
    return by_gate


def _read_decisions(tree: Tree) -> dict[str, Decision]:
    by_gate = {}
    for number, line in enumerate(io.BytesIO(tree.read(DECISIONS) or b""), start=1):
        where = f"{DECISIONS} of {tree.title}, line {number}"
        try:
            value = canonical.loads_canonical(line)
        except canonical.NotCanonical as error:
            raise Invalid(f"{where}: {error}") from None
        decision = decision_from_json(value, where, "name a commit that `promotion verify --rev` accepts")
        by_gate[decision.gate] = decision
    return by_gate


def compare_snapshots(before: Snapshot, after: Snapshot) -> Changes:
    """Every difference that a reader of decisions cares about."""
    evidence = list(_compare_evidence(before, after))
    by_rung: dict[str, Counter[str]] = {}
    for _, rung, event in evidence:
        by_rung.setdefault(rung, Counter())[event] += 1
    return Changes(
        before.title,
        after.title,
        decisions=list(_compare_decisions(before, after)),
        rules=list(_compare_rules(before, after)),
        evidence=[line for line, _, _ in evidence],
        study=list(_compare_params(before.params, after.params)),
        totals=[_total(rung, events) for rung, events in by_rung.items()],
    )


def _total(rung: str, events: Counter[str]) -> str:
    counts = ", ".join(f"{formatting.plain(count)} {event}" for event, count in sorted(events.items()))
    return f"{formatting.rung_title(rung)}: {counts}"


def _compare_decisions(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for gate in _by_number(before.decisions, after.decisions):
        was, now, title = before.decisions.get(gate), after.decisions.get(gate), formatting.gate_title(gate)
        if was is None or now is None:
            yield f"{title}: {_outcome(now)}" if now else f"{title}: no longer decided; it was {_outcome(was)}"
            continue
        for key in ("outcome", "mode"):
            if getattr(was, key) != getattr(now, key):
                yield f"{title}: {key} was {getattr(was, key)}, is {getattr(now, key)}"
        yield from (f"{title}: {name} is now promoted" for name in sorted({*now.promoted} - {*was.promoted}))
        yield from (f"{title}: {name} is no longer promoted" for name in sorted({*was.promoted} - {*now.promoted}))
        yield from _compare_verdicts(title, was, now)


def _outcome(decision: Decision | None) -> str:
    """A decision that only one side has: its outcome, and whom it promoted or who won."""
    if decision is None:
        return "nothing"
    if decision.blocked:
        return f"blocked by {formatting.listed(decision.blocked_by)}"
    if decision.promoted:
        return f"decided, promoted {formatting.listed(decision.promoted, 12)}"
    return f"decided, {_leader(decision)} leads" if decision.ranking else "decided, nobody has a full set of cells"


def _leader(decision: Decision) -> str:
    return decision.ranking[0].config if decision.ranking else "nobody"


def _compare_verdicts(title: str, was: Decision, now: Decision) -> Iterator[str]:
    for rule_id in _by_number(was.verdicts, now.verdicts):
        answers = [
            formatting.HOLDS[decision.verdicts[rule_id]][1] if rule_id in decision.verdicts else "absent"
            for decision in (was, now)
        ]
        if answers[0] != answers[1]:
            rule = now.rule(rule_id)
            text = formatting.typeset(rule.text) if rule else "rule taken away"
            yield f"{title}: {rule_id} {answers[0]} before, {answers[1]} now ({text})"
    if _leader(was) != _leader(now):
        yield f"{title}: {_leader(now)} leads, before it was {_leader(was)}"


def _compare_rules(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for gate in _by_number(before.locks, after.locks):
        was, now, title = before.locks.get(gate), after.locks.get(gate), formatting.gate_title(gate)
        if was is None or now is None:
            yield f"{title}: {'frozen' if was is None else 'lock taken away'}"
            continue
        for path, sides in locks.difference(was.frozen, now.frozen).items():
            if path != "previous":
                yield f"{title}: {path} was {sides['was']!r}, is {sides['is']!r}"
        new = now.frozen.amendments[len(was.frozen.amendments) :]
        yield from (f"{title}: amended: {amendment.reason}" for amendment in new)


def _compare_evidence(before: Snapshot, after: Snapshot) -> Iterator[tuple[str, str, str]]:
    """(line, rung, what happened) of every run that differs, in the order of the study."""
    for run in sorted({*before.runs, *after.runs}, key=lambda run: (len(run.partition("/")[0]), run)):
        was, now = before.runs.get(run), after.runs.get(run)
        if was is None or now is None:
            record, event = (now[0], "added") if now else (before.runs[run][0], "taken away")
            yield f"{run}: {event}, {_score(record)}", record.rung, f"{record.status} {event}"
        elif was[1] != now[1]:
            same = was[0].val_bpb == now[0].val_bpb and was[0].status == now[0].status
            event = f"{now[0].status} with the same score, otherwise changed" if same else f"{now[0].status} changed"
            yield f"{run}: {_score(was[0])} before, {_score(now[0])} now", now[0].rung, event


def _score(record: Record) -> str:
    score = record.val_bpb
    return record.status if score is None else f"{record.status} with {record.metric} {score}, lock {record.lock[:12]}"


def _compare_params(was: dict[str, object], now: dict[str, object]) -> Iterator[str]:
    """What params.yaml says otherwise, except the rules, which are compared as locks."""
    left, right = ({key: value for key, value in params.items() if key != "gates"} for params in (was, now))
    for pointer, before, after in differences(left, right, into_lists=False):
        yield f"{pointer[1:].replace('/', '.')}: was {before!r}, is {after!r}"


# Changes in a history of which this version may not be able to read everything


@dataclass(frozen=True)
class PastDecision:
    """What decisions of every version say. Two are equal if their lines are."""

    gate: str = field(compare=False)
    outcome: str = field(compare=False)
    promoted: list[str] = field(compare=False)
    candidates: list[str] = field(compare=False)
    verdicts: dict[str, object] = field(compare=False)
    lock: object = field(compare=False)
    line: bytes

    def to_json(self) -> dict[str, object]:
        """What matters of it as a JSON value."""
        return {key: getattr(self, key) for key in ("outcome", "promoted", "verdicts", "lock")}

    def __str__(self) -> str:
        promoted = ", ".join(self.promoted) or "nobody"
        verdicts = ", ".join(f"{rule} {value}" for rule, value in sorted(self.verdicts.items()))
        return f"{self.outcome}: promotes {promoted}" + (f"; {verdicts}" if verdicts else "")


@dataclass(frozen=True)
class ChangedDecision:
    """A gate that decides otherwise than before. None: it had not decided, or its decision cannot be read."""

    gate: str
    before: PastDecision | None
    after: PastDecision | None

    def to_json(self) -> dict[str, object]:
        """What matters of both decisions as a JSON value."""
        before, after = (decision and decision.to_json() for decision in (self.before, self.after))
        return {"gate": self.gate, "before": before, "now": after}


def changed_decisions(before: Tree | None, after: Tree) -> list[ChangedDecision]:
    """The gates whose recorded decisions differ between two trees."""
    was, now = (_past_decisions(tree) if tree else {} for tree in (before, after))
    gates = _by_number(was, now)
    return [ChangedDecision(gate, was.get(gate), now.get(gate)) for gate in gates if was.get(gate) != now.get(gate)]


def _past_decisions(tree: Tree) -> dict[str, PastDecision]:
    decisions = (_past_decision(line.rstrip(b"\n")) for line in io.BytesIO(tree.read(DECISIONS) or b""))
    return {decision.gate: decision for decision in decisions if decision}


def _past_decision(line: bytes) -> PastDecision | None:
    """A line of decisions.jsonl of any version; None where it says no outcome."""
    try:
        value: Any = canonical.loads(line)
    except canonical.NotCanonical:
        return None
    if not isinstance(value, dict):
        return None
    gate, outcome, promoted, verdicts = (value.get(key) for key in ("gate", "outcome", "promoted", "verdicts"))
    if not isinstance(gate, str) or not isinstance(outcome, str) or not isinstance(verdicts, dict):
        return None
    if not isinstance(promoted, list) or not all(isinstance(name, str) for name in promoted):
        return None
    candidates = value.get("candidates")
    others = list(map(str, candidates)) if isinstance(candidates, list) else []
    return PastDecision(gate, outcome, promoted, others, verdicts, value.get("lock"), line)


def describe_commit(before: CommitTree | None, after: CommitTree) -> list[str]:
    """What a commit changed against its parent, a few words for each lock, decision and kind of file."""
    gates = _by_number(*(_lock_gates(tree) for tree in (before, after)))
    lines = [line for gate in gates if (line := _describe_lock(gate, before, after))]
    for path, name in ((RUNS, "evidence"), (HINDSIGHT, "hindsight")):
        old, new = (set(io.BytesIO(tree.read(path) or b"")) if tree else set() for tree in (before, after))
        if old != new:
            lines.append(f"{name}: {len(new - old)} lines new, {len(old - new)} gone")
    for change in changed_decisions(before, after):
        lines.append(f"{change.gate} {_describe_decision(change.before, change.after)}")
    kinds = {_kind(path) for path in after.changed(before)} - {"locks/", "ledger/"} if before else set()
    return [*lines, ", ".join(sorted(kinds))] if kinds else lines


def _describe_decision(before: PastDecision | None, after: PastDecision | None) -> str:
    """What a decision changed: at first whom it stopped or promoted, whichever is shorter; later who is new in it."""
    if after is None:
        return "undecided again"
    promoted = set(after.promoted)
    if before is not None:
        more, less = sorted(promoted - {*before.promoted}), sorted({*before.promoted} - promoted)
        parts = [f"now promotes {', '.join(more)}"] if more else []
        parts += [f"no longer promotes {', '.join(less)}"] if less else []
        return "; ".join(parts) or "promotes the same, and says something else of it"
    if not promoted and after.verdicts:
        answers = ((rule, _ANSWERS.get(str(value), "cannot be evaluated")) for rule, value in after.verdicts.items())
        return ", ".join(f"{rule} {answer}" for rule, answer in answers)
    stopped = sorted({*after.candidates} - promoted)
    text = f"promotes {len(promoted)} of {len(promoted) + len(stopped)}"
    if stopped and promoted:
        fewer = len(stopped) < len(promoted)
        text += f": stops {', '.join(stopped)}" if fewer else f": {', '.join(sorted(promoted))}"
    return text


def _kind(path: str) -> str:
    """What a file is to a reader of the history."""
    name = path.rsplit("/", 1)[-1]
    return name if name in ("dvc.lock", "dvc.yaml") or "/" not in path else path.split("/", 1)[0] + "/"


def _lock_gates(tree: Tree | None) -> dict[str, str]:
    """The paths of the locks of a tree by gate."""
    paths = tree.paths("locks") if tree else []
    return {path.removeprefix("locks/").removesuffix(".yaml"): path for path in paths if path.endswith(".yaml")}


def _past_lock(tree: Tree | None, gate: str) -> Lock | str | None:
    data = tree.read(f"locks/{gate}.yaml") if tree else None
    if data is None:
        return None
    try:
        return locks.loads(data, gate)
    except LockRefused:
        return _BROKEN


def _describe_lock(gate: str, before: Tree | None, after: Tree) -> str:
    old, new = _past_lock(before, gate), _past_lock(after, gate)
    if old == new:
        return ""
    if new is None or isinstance(new, str):
        return f"{gate} {'lock taken away' if new is None else 'lock broken'}"
    amended = len(new.frozen.amendments) - (len(old.frozen.amendments) if isinstance(old, Lock) else 0)
    if amended > 0:
        amendment = new.frozen.amendments[-1]
        return f"{gate} amended: {amendment.reason}; {describe_change(gate, amendment.changed, 3)}"
    return f"{gate} {'frozen anew' if old else 'frozen'} ({new.digest[:12]})"
