"""Audits of many commits: the history of a study, a range for CI, and the decisions that changed between two trees.

promotion verify --history
promotion verify --range main..HEAD
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.domain import canonical, locks
from stages.domain.locks import Lock, LockRefused
from stages.repo.git import Git
from stages.repo.tree import CommitTree, Tree
from stages.verify.locks import DECISIONS, PARAMS, RUNS
from stages.verify.result import Report

#: A commit that touches none of these cannot change a verdict that rests on git alone.
WATCHED = (":(glob)*", ":(glob)*/__init__.*", "locks", "ledger", "trainer", "stages")
STORY = (PARAMS, "locks", "ledger", "dvc.lock", ":(glob)stages/*/dvc.lock")


@dataclass(frozen=True)
class Step:
    """One commit of the history, what it changed, and its audit."""

    commit: str
    who: str
    changes: tuple[str, ...]
    report: Report

    def to_json(self) -> dict[str, Any]:
        """The step as one value; its audit without the text of the checks that passed."""
        return {
            "commit": self.commit,
            "who": self.who,
            "changes": list(self.changes),
            "verdict": self.report.verdict,
            "failed": [one.check.id for one in self.report.results if self.report.refused(one)],
            "report": self.report.to_json(),
        }


@dataclass(frozen=True)
class Changed:
    """A gate that decides otherwise than before. None: it had not decided."""

    gate: str
    before: dict[str, Any] | None
    now: dict[str, Any] | None

    def to_json(self) -> dict[str, Any]:
        """What matters of both decisions."""
        keys = ("outcome", "promoted", "verdicts", "lock")
        sides = {"before": self.before, "now": self.now}
        return {"gate": self.gate, **{s: d and {k: d.get(k) for k in keys} for s, d in sides.items()}}


def decisions(tree: Tree) -> dict[str, dict[str, Any]]:
    """The recorded decisions by gate, as far as their lines can be read: other checks say what is wrong with them."""
    found: dict[str, dict[str, Any]] = {}
    for line in (tree.read(DECISIONS) or b"").splitlines():
        try:
            value = canonical.loads(line)
        except canonical.NotCanonical:
            continue
        if isinstance(value, dict) and isinstance(value.get("gate"), str) and _shaped(value):
            found[value["gate"]] = value
    return found


def _shaped(value: dict[str, Any]) -> bool:
    promoted, verdicts = value.get("promoted"), value.get("verdicts")
    named = isinstance(promoted, list) and all(isinstance(one, str) for one in promoted)
    return named and isinstance(verdicts, dict) and isinstance(value.get("outcome"), str)


def changed(before: Tree, now: Tree) -> list[Changed]:
    """The gates whose recorded decisions differ between two trees."""
    one, two = decisions(before), decisions(now)
    gates = sorted({*one, *two}, key=lambda gate: (len(gate), gate))
    return [Changed(gate, one.get(gate), two.get(gate)) for gate in gates if one.get(gate) != two.get(gate)]


def commits(git: Git, revisions: str, paths: tuple[str, ...]) -> list[str]:
    """The commits of a range that touch any of the paths, oldest first."""
    text = git.ask(
        "rev-list", "--full-history", "--topo-order", "--reverse", "--end-of-options", revisions, "--", *paths
    )
    return text.split()


def walk(git: Git, chosen: list[str], audit: Callable[[str], Report]) -> list[Step]:
    """The audit of each commit, and what each changed against its first parent."""
    steps = []
    for commit in chosen:
        now, parents = CommitTree(git, commit), git.commit(commit).parents
        before = CommitTree(git, parents[0]) if parents and commit not in git.shallow else None
        who = git.ask("log", "-1", "--format=%an, %cs", commit).strip()
        steps.append(Step(commit, who, tuple(_changes(before, now)), audit(commit)))
    return steps


def _changes(before: CommitTree | None, now: CommitTree) -> list[str]:
    told = [text for gate in _gates(before, now) if (text := _lock_change(gate, before, now))]
    old, new = (_lines(tree) for tree in (before, now))
    if old != new:
        told.append(f"evidence: {len(new - old)} lines new, {len(old - new)} gone")
    one, two = (decisions(tree) if tree else {} for tree in (before, now))
    for gate in sorted({*one, *two}, key=lambda gate: (len(gate), gate)):
        if one.get(gate) != two.get(gate):
            told.append(f"{gate} {_fate(one.get(gate), two.get(gate))}")
    kinds = {_kind(path) for path in now.changed(before)} - {"locks/", "ledger/"} if before else set()
    return [*told, ", ".join(sorted(kinds))] if kinds else told


_SAID = {"True": "holds", "False": "fails"}


def _fate(before: dict[str, Any] | None, now: dict[str, Any] | None) -> str:
    """What a decision changed: at first whom it stopped or promoted, whichever is shorter; later who is new in it."""
    if now is None:
        return "undecided again"
    promoted = set(now["promoted"])
    verdicts = now.get("verdicts")
    if before is None and not promoted and isinstance(verdicts, dict) and verdicts:
        return ", ".join(f"{rule} {_SAID.get(str(answer), 'cannot be evaluated')}" for rule, answer in verdicts.items())
    if before is None:
        others = sorted(set(map(str, now.get("candidates") or [])) - promoted)
        told = f"promotes {len(promoted)} of {len(promoted) + len(others)}"
        if others and promoted:
            fewer = len(others) < len(promoted)
            told += f": stops {', '.join(others)}" if fewer else f": {', '.join(sorted(promoted))}"
        return told
    more, less = sorted(promoted - set(before["promoted"])), sorted(set(before["promoted"]) - promoted)
    parts = [f"now promotes {', '.join(more)}"] if more else []
    parts += [f"no longer promotes {', '.join(less)}"] if less else []
    return "; ".join(parts) or "promotes the same, and says something else of it"


def _kind(path: str) -> str:
    """What a file is to a reader of the history."""
    name = path.rsplit("/", 1)[-1]
    return name if name in ("dvc.lock", "dvc.yaml") or "/" not in path else path.split("/", 1)[0] + "/"


def _lines(tree: Tree | None) -> set[bytes]:
    return set((tree.read(RUNS) or b"").splitlines()) if tree else set()


def _gates(before: Tree | None, now: Tree) -> list[str]:
    paths = {path for tree in (before, now) if tree for path in tree.paths("locks") if path.endswith(".yaml")}
    return sorted((path.removeprefix("locks/").removesuffix(".yaml") for path in paths), key=lambda x: (len(x), x))


def _lock(tree: Tree | None, gate: str) -> Lock | str | None:
    data = tree.read(f"locks/{gate}.yaml") if tree else None
    if data is None:
        return None
    try:
        return locks.loads(data, gate)
    except LockRefused:
        return "broken"


def _lock_change(gate: str, before: Tree | None, now: Tree) -> str:
    old, new = _lock(before, gate), _lock(now, gate)
    if old == new:
        return ""
    if new is None or isinstance(new, str):
        return f"{gate} {'lock taken away' if new is None else 'lock broken'}"
    amended = len(new.frozen.amendments) - (len(old.frozen.amendments) if isinstance(old, Lock) else 0)
    if amended > 0:
        return f"{gate} amended: {new.frozen.amendments[-1].reason}"
    return f"{gate} {'frozen anew' if old else 'frozen'} ({new.digest[:12]})"
