"""What changed between two commits: decisions flipped, rules changed, evidence changed.

    python -m report.compare HEAD~1 HEAD                 (`promotion site --compare` is the same)
    python -m report.compare v1.0 HEAD --html changes.html

Reads params.yaml, locks/ and ledger/ of each commit from git and nothing of the workspace. Exit status 0 whether or not
something changed, 2 if a commit cannot be read.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from report import words
from stages.audit.git import GitRefused, open_git
from stages.audit.tree import Tree, open_tree
from stages.domain import canonical, files, locks, names, yamlio
from stages.domain.fail import main_guard
from stages.domain.records import Record, parse_ledger
from stages.domain.schema import Invalid


@dataclass(frozen=True)
class Snapshot:
    """What one commit says."""

    title: str
    params: dict[str, Any]
    locks: dict[str, locks.Lock]
    runs: dict[str, tuple[Record, str]]
    decisions: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Changes:
    """The differences, each a line of words; `flips` are those of decisions."""

    before: str
    after: str
    flips: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
    study: list[str] = field(default_factory=list)

    @property
    def sections(self) -> list[tuple[str, list[str], str]]:
        """(heading, lines, what an empty one says)."""
        return [
            ("Decisions", self.flips, "No decision flipped."),
            ("Rules", self.rules, "No lock changed."),
            ("Evidence", self.evidence, "No record changed."),
            ("Study", self.study, "params.yaml says the same outside its gates."),
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
            lock = locks.loads(tree.read(path) or b"", f"{path} of {tree.title}")
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
        if not isinstance(value, dict) or "gate" not in value:
            raise Invalid(f"{where}: found no decision")
        found[value["gate"]] = value
    return found


def changes(before: Snapshot, after: Snapshot) -> Changes:
    """Every difference that a reader of decisions cares about."""
    return Changes(
        before.title,
        after.title,
        flips=_flips(before, after),
        rules=_rules(before, after),
        evidence=_evidence(before, after),
        study=_study(before, after),
    )


def _both(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Keys of either, gate2 before gate10."""
    return sorted({*one, *two}, key=lambda key: (len(key), key))


def _flips(before: Snapshot, after: Snapshot) -> list[str]:
    found = []
    for gate in _both(before.decisions, after.decisions):
        was, now, title = before.decisions.get(gate), after.decisions.get(gate), words.gate_title(gate)
        if was is None or now is None:
            found.append(f"{title}: {'decided' if was is None else 'no longer decided'}")
            continue
        for key in ("outcome", "mode"):
            if was[key] != now[key]:
                found.append(f"{title}: {key} was {was[key]}, is {now[key]}")
        found += [f"{title}: {name} is now promoted" for name in sorted({*now["promoted"]} - {*was["promoted"]})]
        found += [f"{title}: {name} is no longer promoted" for name in sorted({*was["promoted"]} - {*now["promoted"]})]
        found += _verdicts(title, was, now)
    return found


def _verdicts(title: str, was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    found = []
    texts = {rule["id"]: rule["text"] for rule in now["rules"]}
    for rule in _both(was["verdicts"], now["verdicts"]):
        one, two = (side["verdicts"].get(rule, "absent") for side in (was, now))
        if one != two:
            said = [words.HOLDS[value][1] if value != "absent" else "absent" for value in (one, two)]
            found.append(f"{title}: {rule} {said[0]} before, {said[1]} now ({texts.get(rule, 'rule taken away')})")
    first = [side["ranking"][0]["config"] if side["ranking"] else "nobody" for side in (was, now)]
    if first[0] != first[1]:
        found.append(f"{title}: {first[1]} leads, before it was {first[0]}")
    return found


def _rules(before: Snapshot, after: Snapshot) -> list[str]:
    found = []
    for gate in _both(before.locks, after.locks):
        was, now, title = before.locks.get(gate), after.locks.get(gate), words.gate_title(gate)
        if was is None or now is None:
            found.append(f"{title}: {'frozen' if was is None else 'lock taken away'}")
            continue
        for path, sides in locks.difference(was.frozen, now.frozen).items():
            if path != "previous":
                found.append(f"{title}: {path} was {sides['was']!r}, is {sides['is']!r}")
        added = len(now.frozen.amendments) - len(was.frozen.amendments)
        found += [f"{title}: amended: {one.reason}" for one in now.frozen.amendments[-added:] if added > 0]
    return found


def _evidence(before: Snapshot, after: Snapshot) -> list[str]:
    found = []
    for run in sorted({*before.runs, *after.runs}):
        was, now = before.runs.get(run), after.runs.get(run)
        if was is None or now is None:
            side = now or was
            assert side is not None
            found.append(f"{run}: {'added' if was is None else 'taken away'}, {_told(side[0])}")
        elif was[1] != now[1]:
            found.append(f"{run}: {_told(was[0])} before, {_told(now[0])} now")
    return found


def _told(record: Record) -> str:
    score = record.val_bpb
    return record.status if score is None else f"{record.status} with val_bpb {score}, lock {record.lock[:12]}"


def _study(before: Snapshot, after: Snapshot) -> list[str]:
    found: list[str] = []
    _compare("", before.params, after.params, found)
    return found


def _compare(path: str, was: Any, now: Any, found: list[str]) -> None:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now} - ({"gates"} if not path else set())):
            _compare(f"{path}.{key}" if path else key, was.get(key), now.get(key), found)
    elif was != now:
        found.append(f"{path}: was {was!r}, is {now!r}")


def as_text(found: Changes) -> str:
    """The changes for a terminal."""
    lines = [f"From {found.before} to {found.after}"]
    for heading, items, none in found.sections:
        lines += ["", f"{heading} ({len(items)})", *(f"  {item}" for item in items or [none])]
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
    if arguments.html:
        files.write_whole(arguments.html, as_html(found))
    print(as_text(found), end="")


if __name__ == "__main__":
    main_guard(main)
