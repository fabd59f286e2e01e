"""What changed between two commits: decisions flipped, rules changed, evidence changed.

    python -m report.compare HEAD~1 HEAD                 (`promotion site --compare` is the same)
    python -m report.compare v1.0 HEAD --html changes.html

Reads params.yaml, locks/ and ledger/ of each commit from git and nothing of the workspace. Exit status 0 whether or not
something changed, 2 if a commit cannot be read.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.domain import canonical, files, formatting, locks, names, yamlio
from stages.domain.decision import decision_from_json
from stages.domain.errors import Invalid, main_guard
from stages.domain.records import Record, parse_ledger
from stages.repo.git import GitRefused, open_git
from stages.repo.tree import Tree, open_tree

#: Lines of evidence that are listed; the summary above them counts them all.
MOST_LISTED = 40


@dataclass(frozen=True)
class Snapshot:
    """What one commit says."""

    title: str
    params: dict[str, Any]
    locks: dict[str, locks.Lock]
    runs: dict[str, tuple[Record, str]]
    decisions: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Section:
    """One kind of change: what it comes to, and each change on a line of its own, as many as are listed."""

    heading: str
    count: int
    lines: list[str]
    none: str
    summary: list[str] = field(default_factory=list)

    @property
    def more(self) -> str:
        """How many lines are left out, in words; empty where none is."""
        left = self.count - len(self.lines)
        return f"and {formatting.plain(left)} more" if left else ""


@dataclass(frozen=True)
class Changes:
    """The differences, each a line of words; `flips` are those of decisions."""

    before: str
    after: str
    flips: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    study: list[str] = field(default_factory=list)
    #: What the changes of evidence come to, by rung.
    totals: list[str] = field(default_factory=list)

    @property
    def sections(self) -> list[Section]:
        """What a report shows, in its order."""
        listed = self.evidence[:MOST_LISTED]
        return [
            Section("Decisions", len(self.flips), self.flips, "No decision flipped."),
            Section("Rules", len(self.rules), self.rules, "No lock changed."),
            Section("Evidence", len(self.evidence), listed, "No record changed.", self.totals),
            Section("Study", len(self.study), self.study, "params.yaml says the same outside its gates."),
        ]


def snapshot(tree: Tree) -> Snapshot:
    """What a tree of files says. What is absent in it is absent here."""
    data = tree.read(names.PARAMS.as_posix())
    where = f"{names.PARAMS.as_posix()} of {tree.title}"
    if data is None:
        raise Invalid(f"{where} is missing; name a commit that holds a study")
    ledger = tree.read("ledger/runs.jsonl") or b""
    records = parse_ledger(ledger, f"ledger/runs.jsonl of {tree.title}")
    return Snapshot(
        title=tree.title,
        params=yamlio.loads(data, where),
        locks=_locks(tree),
        runs={record.id: (record, files.md5_bytes(raw)) for record, raw in records},
        decisions=_decisions(tree),
    )


def _locks(tree: Tree) -> dict[str, locks.Lock]:
    found = {}
    for path in tree.paths(names.LOCKS.as_posix()):
        if path.endswith(".yaml"):
            try:
                lock = locks.loads(tree.read(path) or b"", f"{path} of {tree.title}")
            except locks.LockRefused as error:
                raise Invalid(f"{error}; if another version of this package wrote it, compare with that one") from None
            found[lock.frozen.gate] = lock
    return found


def _decisions(tree: Tree) -> dict[str, dict[str, Any]]:
    found = {}
    lines = (tree.read("ledger/decisions.jsonl") or b"").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        where = f"ledger/decisions.jsonl of {tree.title}, line {number}"
        try:
            value = canonical.loads_canonical(line)
        except canonical.NotCanonical as error:
            raise Invalid(f"{where}: {error}") from None
        decision_from_json(value, where, "name a commit that `promotion verify --rev` accepts")
        found[value["gate"]] = value
    return found


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """Every difference that a reader of decisions cares about."""
    return Changes(
        before.title,
        after.title,
        flips=list(_flips(before, after)),
        rules=list(_rules(before, after)),
        evidence=[line for line, _ in _evidence(before, after)],
        study=list(_study(before, after)),
        totals=_totals(before, after),
    )


def _both(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Keys of either, gate2 before gate10."""
    return sorted({*one, *two}, key=lambda key: (len(key), key))


def _flips(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for gate in _both(before.decisions, after.decisions):
        was, now, title = before.decisions.get(gate), after.decisions.get(gate), formatting.gate_title(gate)
        if was is None or now is None:
            yield f"{title}: {_whole(now)}" if now else f"{title}: no longer decided; it was {_whole(was or {})}"
            continue
        for key in ("outcome", "mode"):
            if was[key] != now[key]:
                yield f"{title}: {key} was {was[key]}, is {now[key]}"
        yield from (f"{title}: {name} is now promoted" for name in sorted({*now["promoted"]} - {*was["promoted"]}))
        yield from (
            f"{title}: {name} is no longer promoted" for name in sorted({*was["promoted"]} - {*now["promoted"]})
        )
        yield from _verdicts(title, was, now)


def _whole(decision: dict[str, Any]) -> str:
    """A decision that only one side has: its outcome, and whom it promoted or who won."""
    if decision["outcome"] == "blocked":
        return f"blocked by {formatting.listed(decision['blocked_by'])}"
    if decision["promoted"]:
        return f"decided, promoted {formatting.listed(decision['promoted'], 12)}"
    first = decision["ranking"][0]["config"] if decision["ranking"] else None
    return f"decided, {first} leads" if first else "decided, nobody has a full set of cells"


def _verdicts(title: str, was: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    texts = {rule["id"]: formatting.typeset(rule["text"]) for rule in now["rules"]}
    for rule in _both(was["verdicts"], now["verdicts"]):
        one, two = (side["verdicts"].get(rule, "absent") for side in (was, now))
        if one != two:
            said = [formatting.HOLDS[value][1] if value != "absent" else "absent" for value in (one, two)]
            yield f"{title}: {rule} {said[0]} before, {said[1]} now ({texts.get(rule, 'rule taken away')})"
    first = [side["ranking"][0]["config"] if side["ranking"] else "nobody" for side in (was, now)]
    if first[0] != first[1]:
        yield f"{title}: {first[1]} leads, before it was {first[0]}"


def _rules(before: Snapshot, after: Snapshot) -> Iterator[str]:
    for gate in _both(before.locks, after.locks):
        was, now, title = before.locks.get(gate), after.locks.get(gate), formatting.gate_title(gate)
        if was is None or now is None:
            yield f"{title}: {'frozen' if was is None else 'lock taken away'}"
            continue
        for path, sides in locks.difference(was.frozen, now.frozen).items():
            if path != "previous":
                yield f"{title}: {path} was {sides['was']!r}, is {sides['is']!r}"
        added = len(now.frozen.amendments) - len(was.frozen.amendments)
        yield from (f"{title}: amended: {one.reason}" for one in now.frozen.amendments[-added:] if added > 0)


def _evidence(before: Snapshot, after: Snapshot) -> Iterator[tuple[str, tuple[str, str]]]:
    """(line, (rung, what happened)) of every run that differs, in the order of the study."""
    for run in sorted({*before.runs, *after.runs}, key=_run_order):
        was, now = before.runs.get(run), after.runs.get(run)
        if was is None or now is None:
            side = now or was
            assert side is not None
            what = "added" if was is None else "taken away"
            yield f"{run}: {what}, {_told(side[0])}", (side[0].rung, f"{side[0].status} {what}")
        elif was[1] != now[1]:
            same = was[0].val_bpb == now[0].val_bpb and was[0].status == now[0].status
            what = f"{now[0].status} with the same score, otherwise changed" if same else f"{now[0].status} changed"
            yield f"{run}: {_told(was[0])} before, {_told(now[0])} now", (now[0].rung, what)


def _run_order(run: str) -> tuple[int, str]:
    return len(run.partition("/")[0]), run


def _totals(before: Snapshot, after: Snapshot) -> list[str]:
    """How many runs of each rung changed, and how."""
    seen: dict[str, Counter[str]] = {}
    for _, (rung, what) in _evidence(before, after):
        seen.setdefault(rung, Counter())[what] += 1
    return [
        f"{formatting.rung_title(rung)}: "
        + ", ".join(f"{formatting.plain(many)} {what}" for what, many in sorted(counts.items()))
        for rung, counts in seen.items()
    ]


def _told(record: Record) -> str:
    score = record.val_bpb
    return record.status if score is None else f"{record.status} with val_bpb {score}, lock {record.lock[:12]}"


def _study(before: Snapshot, after: Snapshot) -> Iterator[str]:
    yield from _compare("", before.params, after.params)


def _compare(path: str, was: Any, now: Any) -> Iterator[str]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now} - ({"gates"} if not path else set())):
            yield from _compare(f"{path}.{key}" if path else key, was.get(key), now.get(key))
    elif was != now:
        yield f"{path}: was {was!r}, is {now!r}"


def as_text(found: Changes) -> str:
    """The changes for a terminal."""
    lines = [f"From {found.before} to {found.after}"]
    for one in found.sections:
        lines += ["", f"{one.heading} ({one.count})", *(f"  {total}" for total in one.summary)]
        lines += [f"  {item}" for item in (*one.lines, *filter(None, [one.more]))] or [f"  {one.none}"]
    return "\n".join(lines) + "\n"


def as_html(found: Changes) -> bytes:
    """The changes as one page that stands alone."""
    from report.render import HERE, environment

    css = (HERE / "assets" / "site.css").read_text(encoding="utf-8")
    page = environment().get_template("compare.html").render(found=found, css=css)
    return page.encode("utf-8")


def compare(root: Path, before: str, after: str) -> Changes:
    """The changes between two revisions of the repository around `root`."""
    git = open_git(root)
    if git is None:
        raise GitRefused(f"{root.resolve().as_posix()}: no git repository; run this in a clone of the study")
    try:
        one, two = (snapshot(open_tree(root, git, git.resolve(rev))) for rev in (before, after))
    finally:
        git.close()
    return changes(one, two)


def main() -> None:
    """Compare, print, and write the page that was asked for."""
    parser = argparse.ArgumentParser(prog="promotion site --compare", description="What changed between two commits.")
    parser.add_argument("before", metavar="REV")
    parser.add_argument("after", metavar="REV2", nargs="?", default="HEAD")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write the changes as a page")
    arguments = parser.parse_args()
    found = compare(Path(), arguments.before, arguments.after)
    print(as_text(found), end="")
    if arguments.html:
        files.write_whole(arguments.html, as_html(found))
        print(f"\nwrote {arguments.html.as_posix()}")


if __name__ == "__main__":
    main_guard(main)
