"""Recompute what can be recomputed, and say what could not be checked.

    promotion verify                            the workspace, as deep as what is here allows
    promotion verify --rev v1.0                 a commit, and nothing of the workspace
    promotion verify --history                  every commit that touched rules, evidence or dvc.lock
    promotion verify --range main..HEAD         in CI: every commit of a range that could change a verdict
    promotion verify --signers FILE             also who signed the locks

Exit status: 0 verified, 1 a check failed, 2 could not run. A skipped check never counts as passed; --require makes it
count as failed. The checks are listed in docs/verification.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.domain.fail import Refused

if TYPE_CHECKING:
    from stages.audit.git import Git
    from stages.audit.past import Changed, Step
    from stages.audit.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion verify`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--rev", metavar="COMMIT", help="verify this commit; default: the workspace, or HEAD if bare")
    what.add_argument("--history", action="store_true", help="verify every commit that touched rules or evidence")
    what.add_argument("--range", metavar="A..B", help="verify the commits of a range that could change a verdict")
    parser.add_argument("--repo", metavar="FOLDER", type=Path, default=Path(), help="the study; default: this folder")
    parser.add_argument("--depth", choices=("git", "artifacts"), help="default: artifacts if any are here, else git")
    parser.add_argument("--signers", metavar="FILE", type=Path, help="allowed signers, in OpenSSH's format")
    parser.add_argument("--require", metavar="ID,...", default="", help="checks that may not be skipped, or `all`")
    parser.add_argument("--against", metavar="COMMIT", help="also show the decisions that changed since this commit")
    parser.add_argument(
        "--json", metavar="FILE", nargs="?", const="-", help="the report as JSON; to stdout without FILE"
    )
    parser.add_argument("--junit", metavar="FILE", type=Path, help="also write JUnit XML")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="also write a comment for a pull request")


class Auditor:
    """Audits trees of one repository with the same options."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from stages.audit.git import open_git

        self.root: Path = arguments.repo
        if not self.root.is_dir():
            raise Refused(f"{self.root}: no such folder; name the study with --repo")
        self.git = open_git(self.root)
        self._signers: Path | None = arguments.signers
        if self._signers is not None and not self._signers.is_file():
            raise Refused(
                f"{self._signers}: no such file; it holds a line `NAME KEYTYPE KEY` for everybody who may sign"
            )
        self._depth: str | None = arguments.depth
        self._required = _required(arguments.require)

    def need_git(self) -> Git:
        """The repository, for what cannot be done without."""
        if self.git is None:
            raise Refused(f"{self.root}: not a git repository, or git is not installed; clone the study")
        return self.git

    def audit(self, commit: str | None) -> Report:
        """One audit: of a commit, or of the workspace."""
        from stages.audit import artifacts
        from stages.audit.model import Case, Options
        from stages.audit.report import Report
        from stages.audit.sequence import audit
        from stages.audit.tree import open_tree

        depth: Any = self._depth or ("artifacts" if artifacts.present(self.root) else "git")
        tree = open_tree(self.root, self.git, commit)
        if tree.mode("params.yaml") is None and not tree.paths("locks"):
            raise Refused(f"{tree.title} of {self.root} holds no study: neither params.yaml nor locks/")
        case = Case(self.root, tree, self.git, commit, Options(depth, self._signers))
        return Report(tree.title, commit, depth, tuple(audit(case)), self._required)


def _required(text: str) -> frozenset[str]:
    from stages.audit.sequence import SEQUENCE

    known = [check.id for check in SEQUENCE]
    if text == "all":
        return frozenset(known)
    asked = [one.strip().upper() for one in text.split(",") if one.strip()]
    if unknown := sorted(set(asked) - set(known)):
        raise Refused(f"--require {unknown[0]}: no such check; they are {known[0]} to {known[-1]}")
    return frozenset(asked)


def run(arguments: argparse.Namespace) -> int:
    """Verify, print, and return the exit status."""
    auditor = Auditor(arguments)
    if arguments.history or arguments.range:
        return _many(auditor, arguments)
    commit = None
    if arguments.rev:
        commit = auditor.need_git().resolve(arguments.rev)
    elif auditor.git is not None and auditor.git.bare:
        commit = auditor.git.resolve("HEAD")
    report = auditor.audit(commit)
    _write(report, _changed(auditor, arguments.against, commit), None, arguments)
    if arguments.json != "-":
        from stages.audit.tables import output, show

        show(report, output())
    return report.exit_status


def _changed(auditor: Auditor, against: str | None, commit: str | None) -> list[Changed]:
    from stages.audit.past import changed
    from stages.audit.tree import open_tree

    if against is None:
        return []
    git = auditor.need_git()
    before = open_tree(auditor.root, git, git.resolve(against))
    return changed(before, open_tree(auditor.root, git, commit))


def _many(auditor: Auditor, arguments: argparse.Namespace) -> int:
    """The history, or a range: the last commit is the one that is reported in full."""
    from stages.audit.past import STORY, WATCHED, commits, walk

    git = auditor.need_git()
    if arguments.range:
        start, dots, end = arguments.range.partition("..")
        if not dots or not start or not end or end.startswith("."):
            raise Refused(f"--range {arguments.range}: expected A..B, two commits")
        first, last = git.resolve(start), git.resolve(end)
        chosen = commits(git, f"{first}..{last}", WATCHED)
        chosen += [last] if last not in chosen else []
    else:
        first, last = None, git.resolve("HEAD")
        chosen = commits(git, last, STORY)
    params = git.lookup([f"{commit}:{git.prefix}params.yaml" for commit in chosen])
    holding = [commit for commit, found in zip(chosen, params, strict=True) if found]
    if not holding:
        raise Refused("no commit here holds a study: none has params.yaml")
    steps = walk(git, holding, auditor.audit)
    _write(steps[-1].report, _changed(auditor, first, last), steps, arguments)
    if arguments.json != "-":
        _show_many(steps)
    return max(step.report.exit_status for step in steps)


def _show_many(steps: list[Step]) -> None:
    from stages.audit.tables import output, show, show_history

    out = output()
    show_history(steps, out)
    bad = [step for step in steps if step.report.exit_status]
    if bad:
        out.print()
        show(bad[-1].report, out)


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
        from stages.audit.junit import junit

        files.write_whole(arguments.junit, junit(report))
    if arguments.markdown:
        from stages.audit.tables import markdown

        files.write_whole(arguments.markdown, markdown(report, changed).encode("utf-8"))
