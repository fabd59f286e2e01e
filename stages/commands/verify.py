"""Recompute what can be recomputed, and say what could not be checked.

    promotion verify                            the workspace, as deep as what is here allows
    promotion verify --rev v1.0                 a commit, and nothing of the workspace
    promotion verify --history                  every commit that touched rules, evidence or dvc.lock
    promotion verify --range main..HEAD         in CI: every commit of a range that could change a verdict
    promotion verify --pushed                   in a pre-push hook: the commits that are about to go out
    promotion verify --signers FILE             also who signed the locks

Exit status: 0 verified, 1 a check failed, 2 could not run. A skipped check never counts as passed; --require makes it
count as failed. The checks are listed in docs/verification.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.domain.errors import Refused

if TYPE_CHECKING:
    from stages.repo.git import Git
    from stages.verify.changes import Changed, Step
    from stages.verify.result import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion verify`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--rev", metavar="COMMIT", help="verify this commit; default: the workspace, or HEAD if bare")
    what.add_argument("--history", action="store_true", help="verify every commit that touched rules or evidence")
    what.add_argument("--range", metavar="A..B", help="verify the commits of a range that could change a verdict")
    what.add_argument("--pushed", action="store_true", help="in a pre-push hook of pre-commit: what is about to go out")
    parser.add_argument("--repo", metavar="FOLDER", type=Path, default=Path(), help="the study; default: this folder")
    parser.add_argument("--depth", choices=("git", "artifacts"), help="default: artifacts if any are here, else git")
    parser.add_argument("--signers", metavar="FILE", type=Path, help="allowed signers, in OpenSSH's format")
    parser.add_argument(
        "--require", metavar="CHECK,...", default="", help="checks (by id or name) that may not be skipped, or `all`"
    )
    parser.add_argument("--against", metavar="COMMIT", help="also show the decisions that changed since this commit")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="the report as JSON; to stdout without FILE"
    )
    parser.add_argument("--junit", metavar="FILE", type=Path, help="also write JUnit XML")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="also write a comment for a pull request")


class Auditor:
    """Audits trees of one repository with the same options."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from stages.repo.git import open_git
        from stages.verify import signatures

        self.root: Path = arguments.repo
        if not self.root.is_dir():
            raise Refused(f"{self.root}: no such folder; name the study with --repo")
        self.git = open_git(self.root)
        self._signers: Path | None = arguments.signers
        if self._signers is not None:
            signatures.read(self._signers)
        self._depth: str | None = arguments.depth
        self._required = _required(arguments.require)

    def need_git(self) -> Git:
        """The repository, for what cannot be done without."""
        from stages.repo.git import why_no_git

        if self.git is None:
            raise Refused(f"{self.root.as_posix()}: {why_no_git(self.root)}; a commit can only be read with both")
        return self.git

    def audit(self, commit: str | None, *, must: bool = False) -> Report:
        """One audit: of a commit, or of the workspace. `must`: there has to be a study, so that none is a failure."""
        from stages.dvcfiles import cache
        from stages.repo.tree import open_tree
        from stages.verify.check import Case, Options
        from stages.verify.result import Report
        from stages.verify.sequence import audit

        depth: Any = self._depth or ("artifacts" if cache.present(self.root) else "git")
        tree = open_tree(self.root, self.git, commit)
        if not must and tree.mode("params.yaml") is None and not tree.paths("locks"):
            raise Refused(f"{tree.title} of {self.root.as_posix()} holds no study: {_near(self.root)}")
        case = Case(self.root, tree, self.git, commit, Options(depth, self._signers))
        return Report(tree.title, commit, depth, tuple(audit(case)), self._required)


def _near(root: Path) -> str:
    """Where the study may be instead."""
    told = "neither params.yaml nor locks/; go to the root of one, or name it with --repo"
    for up, folder in enumerate(root.resolve().parents, start=1):
        if (folder / "params.yaml").is_file():
            return f"{told}: `promotion verify --repo {'/'.join(['..'] * up)}`"
    return told


def _required(text: str) -> frozenset[str]:
    """The ids of the checks that are named by id or by name."""
    from stages.verify.sequence import SEQUENCE

    known = {check.name: check.id for check in SEQUENCE} | {check.id.lower(): check.id for check in SEQUENCE}
    if text == "all":
        return frozenset(known.values())
    asked = [one.strip().lower() for one in text.split(",") if one.strip()]
    if unknown := sorted(set(asked) - known.keys()):
        ids = [check.id for check in SEQUENCE]
        raise Refused(f"--require {unknown[0]}: no such check; they are {ids[0]} to {ids[-1]}, or their names")
    return frozenset(known[one] for one in asked)


def run(arguments: argparse.Namespace) -> int:
    """Verify, print, and return the exit status."""
    auditor = Auditor(arguments)
    if arguments.pushed:
        _pushed(arguments)
    if arguments.history or arguments.range is not None:
        return _many(auditor, arguments)
    commit = None
    if arguments.rev is not None:
        commit = auditor.need_git().resolve(arguments.rev)
    elif auditor.git is not None and auditor.git.bare:
        commit = auditor.git.resolve("HEAD")
    report = auditor.audit(commit)
    changed = _changed(auditor, arguments.against, commit)
    _write(report, changed, None, arguments)
    if arguments.json != "-":
        _show(report, changed if arguments.against is not None else None, arguments.against)
    return report.exit_status


def _pushed(arguments: argparse.Namespace) -> None:
    """What pre-commit says that is about to be pushed: a range, or one commit where nothing of it is there yet."""
    start, end = (os.environ.get(f"PRE_COMMIT_{side}_REF") for side in ("FROM", "TO"))
    if start and end:
        arguments.range = f"{start}..{end}"
    else:
        arguments.rev = end or "HEAD"


def _show(report: Report, changed: list[Changed] | None, against: str) -> None:
    from stages.verify.formats import output, show, show_changed

    out = output()
    show(report, out)
    if changed is not None:
        out.print()
        show_changed(changed, against, out)


def _changed(auditor: Auditor, against: str | None, commit: str | None) -> list[Changed]:
    from stages.repo.tree import open_tree
    from stages.verify.changes import changed

    if against is None:
        return []
    git = auditor.need_git()
    before = open_tree(auditor.root, git, git.resolve(against))
    return changed(before, open_tree(auditor.root, git, commit))


def _many(auditor: Auditor, arguments: argparse.Namespace) -> int:
    """The history, or a range. What is told in full is the last commit that fails, or the last one."""
    from stages.verify.changes import STORY, WATCHED, commits, walk

    git = auditor.need_git()
    base = None
    if arguments.range is not None:
        start, dots, end = arguments.range.partition("..")
        if not dots or not start or not end or end.startswith("."):
            raise Refused(f"--range {arguments.range!r}: expected A..B, two commits")
        first, last = git.resolve(start), git.resolve(end)
        chosen = commits(git, f"{first}..{last}", WATCHED)
        chosen += [last] if last not in chosen else []
        base = git.merge_base(first, last) or first
    else:
        last = git.resolve("HEAD")
        chosen = commits(git, last, STORY)
    steps = walk(git, _with_study(git, base, chosen), lambda commit: auditor.audit(commit, must=True))
    told = next((step.report for step in reversed(steps) if step.report.exit_status), steps[-1].report)
    changed = _changed(auditor, base, last)
    _write(told, changed, steps, arguments)
    if arguments.json != "-":
        _show_many(steps, told)
    return told.exit_status


def _with_study(git: Git, base: str | None, chosen: list[str]) -> list[str]:
    """The commits from the first one on that holds a study: whoever takes it away afterwards is not let off."""
    if base and git.entry(base, "params.yaml"):
        return chosen
    first = next((at for at, commit in enumerate(chosen) if git.entry(commit, "params.yaml")), None)
    if first is None:
        raise Refused("no commit here holds a study: none has params.yaml")
    return chosen[first:]


def _show_many(steps: list[Step], told: Report) -> None:
    from stages.verify.formats import output, show, show_history

    out = output()
    show_history(steps, out)
    if told.exit_status:
        out.print()
        show(told, out)


def _write(report: Report, changed: list[Changed], steps: list[Step] | None, arguments: argparse.Namespace) -> None:
    """The formats that were asked for."""
    from stages.domain import files

    if arguments.json:
        value = report.to_json()
        value["decisions_changed"] = [one.to_json() for one in changed]
        value["history"] = [step.to_json() for step in steps] if steps is not None else None
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n"
        if arguments.json == "-":
            sys.stdout.write(text)
        else:
            files.write_whole(Path(arguments.json), text.encode("ascii"))
    if arguments.junit:
        from stages.verify.formats import junit

        files.write_whole(arguments.junit, junit([step.report for step in steps] if steps else [report]))
    if arguments.markdown:
        from stages.verify.formats import markdown

        files.write_whole(arguments.markdown, markdown(report, changed, steps).encode("utf-8"))
