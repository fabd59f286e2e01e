"""Recompute what can be recomputed, and say what could not be checked.

    promotion verify                            the workspace, to the depth that the artifacts here allow
    promotion verify --rev v1.0                 a commit, without the workspace
    promotion verify --history                  every commit that touched rules, evidence or dvc.lock
    promotion verify --range main..HEAD         in CI: every commit of a range that could change a verdict
    promotion verify --pushed                   in a pre-push hook: the commits to be pushed
    promotion verify --received                 in a server's pre-receive hook: the commits of the push
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
from typing import TYPE_CHECKING

from stages.commands.arguments import refuse_unwritable, user_path
from stages.domain.errors import Refused

if TYPE_CHECKING:
    from stages.verify import ChangedDecision, CommitStep, Options, Report

#: What `--json` without a file stands for.
_STDOUT = Path("-")
#: DVC writes a few lines into its rwlock.
_MAX_RWLOCK = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `promotion verify`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--rev", metavar="COMMIT", help="verify this commit; default: the workspace, or HEAD if bare")
    what.add_argument("--history", action="store_true", help="verify every commit that touched rules or evidence")
    what.add_argument("--range", metavar="A..B", help="verify the commits of a range that could change a verdict")
    what.add_argument("--pushed", action="store_true", help="in a pre-push hook of pre-commit: what is about to go out")
    what.add_argument("--received", action="store_true", help="in a pre-receive hook: what a push brings (stdin)")
    parser.add_argument(
        "--known",
        metavar="COMMIT",
        action="append",
        default=[],
        help="with --range, where A is all zeros or not here: a branch whose commits were verified before",
    )
    parser.add_argument(
        "--repo", metavar="FOLDER", type=user_path, default=Path(), help="the study; default: this folder"
    )
    parser.add_argument("--depth", choices=("git", "artifacts"), help="default: artifacts if any are here, else git")
    parser.add_argument("--signers", metavar="FILE", type=user_path, help="allowed signers, in OpenSSH's format")
    parser.add_argument(
        "--require", metavar="CHECK,...", default="", help="checks (by id or name) that may not be skipped, or `all`"
    )
    parser.add_argument("--against", metavar="COMMIT", help="also show the decisions that changed since this commit")
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=user_path,
        nargs="?",
        const=_STDOUT,
        help="the report as JSON; to stdout without FILE",
    )
    parser.add_argument("--junit", metavar="FILE", type=user_path, help="also write JUnit XML")
    parser.add_argument("--markdown", metavar="FILE", type=user_path, help="also write a comment for a pull request")


def run(arguments: argparse.Namespace) -> int:
    """Verify, print, and return the exit status."""
    from stages.verify import Options, decisions_changed_since, required_checks, verify

    root: Path = arguments.repo
    written = {name: getattr(arguments, name) for name in ("json", "junit", "markdown")}
    refuse_unwritable((f"--{name}", path) for name, path in written.items() if path != _STDOUT)
    options = Options(arguments.depth, arguments.signers, required_checks(arguments.require))
    if arguments.pushed:
        _take_pushed_commits(arguments)
    if arguments.known and arguments.range is None:
        raise Refused("--known goes with --range")
    if arguments.history or arguments.received or arguments.range is not None:
        return _verify_many(root, options, arguments)
    report = verify(root, arguments.rev, options)
    changed = None
    if arguments.against is not None:
        changed = decisions_changed_since(root, arguments.against, arguments.rev)
    if arguments.rev is None:
        _name_broken_rwlock(root)
    _write(arguments, report, changed or [], None)
    if arguments.json != _STDOUT:
        _print(report, changed, arguments.against)
    return report.exit_status


def _name_broken_rwlock(root: Path) -> None:
    """Say that DVC will not start, on stderr: verification changes nothing, and what it reads is whole all the same."""
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        if not path.is_file() or path.stat().st_size > _MAX_RWLOCK or isinstance(json.loads(path.read_bytes()), dict):
            return
    except OSError:
        return
    except (ValueError, RecursionError):
        pass
    message = "left half-written by a killed process, so that DVC refuses to start; `promotion heal` removes it"
    print(f"{path.as_posix()}: {message}", file=sys.stderr)


def _take_pushed_commits(arguments: argparse.Namespace) -> None:
    """Verify what pre-commit says is about to be pushed: a range, or all up to a commit where nothing is there yet."""
    start, end = (os.environ.get(f"PRE_COMMIT_{side}_REF", "") for side in ("FROM", "TO"))
    arguments.range = f"{start if end else ''}..{end or 'HEAD'}"


def _print(report: Report, changed: list[ChangedDecision] | None, against: str) -> None:
    from stages.verify import print_changed_decisions, print_report

    print_report(report)
    if changed is not None:
        print()
        print_changed_decisions(changed, against)


def _verify_many(root: Path, options: Options, arguments: argparse.Namespace) -> int:
    """The history, a range or a push. What is reported in full is the last commit that fails, or the last one."""
    from stages.verify import (
        decisions_changed_since,
        print_history,
        print_report,
        range_base,
        verify_history,
        verify_push,
        verify_range,
    )

    changed: list[ChangedDecision] = []
    if arguments.received:
        pushed = [words for line in sys.stdin if len(words := line.split(maxsplit=2)) == 3]
        steps = [step for old, new, _ in pushed for step in verify_push(root, old, new, options)]
        if not steps:
            print("nothing that comes in belongs to a study")
            return 0
    elif arguments.range is None:
        steps = verify_history(root, options)
    else:
        steps = verify_range(root, arguments.range, options, arguments.known)
        base = range_base(root, arguments.range, arguments.known)
        if base is not None:
            changed = decisions_changed_since(root, base, steps[-1].commit)
    report = next((step.report for step in reversed(steps) if step.report.exit_status), steps[-1].report)
    _write(arguments, report, changed, steps)
    if arguments.json != _STDOUT:
        print_history(steps)
        if report.exit_status:
            print()
            print_report(report)
    return report.exit_status


def _write(
    arguments: argparse.Namespace, report: Report, changed: list[ChangedDecision], steps: list[CommitStep] | None
) -> None:
    """Write the formats that were asked for."""
    from stages.domain import files
    from stages.verify import junit, markdown

    if arguments.json:
        value = report.to_json()
        value["decisions_changed"] = [change.to_json() for change in changed]
        value["history"] = [step.to_json() for step in steps] if steps is not None else None
        text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n"
        if arguments.json == _STDOUT:
            sys.stdout.write(text)
        else:
            files.write_whole(arguments.json, text.encode("ascii"))
    if arguments.junit:
        files.write_whole(arguments.junit, junit([step.report for step in steps] if steps else [report]))
    if arguments.markdown:
        files.write_whole(arguments.markdown, markdown(report, changed, steps or []).encode("utf-8"))
