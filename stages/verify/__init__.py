"""Verification of a study: everything that follows from the evidence is computed again and compared with the files.

    report = verify(Path("."), "v1.0", Options(depth="git"))
    report.verdict                  "verified", "undecided" or "failed"
    report.exit_status              0, or 1 if a check failed or a required one was skipped

No file is trusted. `verify` makes the checks of `sequence.SEQUENCE` in their order, each with what the checks before it
have proved:

1. Files (V01): all files that are read are plain files, and no unexpected file is among them.
2. Study and locks (V02 to V06): params.yaml is a study and agrees with the chain of locks.
3. Ledger (V07, V08): its lines are canonical, in order, and complete.
4. Records (V09 to V14): each names the rule, runner, corpus and machine that the locks froze, and its numbers follow
   from what its run was given.
5. Decisions (V15, V16): each is made again by the frozen rules; runs were trained if and only if they had a ticket.
6. DVC's locks (V17 to V19): stages, digests and parameters are those of the study and of the bytes in git.
7. History (V20 to V22): in git, each rule came before its evidence, and neither changed afterwards without saying so.
8. Summaries (V23): the published numbers are those computed from the evidence.
9. Signatures (V24, V25): of locks and commits, where a file of allowed signers says who may sign.
10. Artifacts (V26 to V29), if there are any here: outputs, corpus, winner and site, hashed or built again.
11. Replay (V30): never made by reading; `replay_run` trains a run again.
12. Origin (V31): what a study goes on from is a decision of this history, and its candidates are those of that gate.
13. Hindsight (V32): runs after the last decision are checked like those of the ladder, and came after it.

What is wrong with a study is a `Problem` in the report and never an exception. A check that cannot be made here is
skipped, with the reason and the command that would enable it, and never counts as passed. `Refused` and other
ValueErrors say that nothing could be verified: no such commit, no study. A command then ends with exit status 2.

This package is all that others import; its modules are its own affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stages.domain.errors import Refused
from stages.domain.garbage import rare_collections
from stages.domain.locks import Lock
from stages.domain.study import Study
from stages.dvcfiles.cache import artifacts_present
from stages.repo.checkout import list_left_out
from stages.repo.folders import NamedFiles
from stages.repo.git import Git, open_git, why_no_git
from stages.repo.history_reader import find_ledgers
from stages.repo.objects import GitAbsent
from stages.repo.past_studies import PastStudy, read_past_studies
from stages.repo.tree import CommitTree, Tree, open_tree
from stages.verify.attestation import (
    Attestation,
    BadAttestation,
    CheckedAttestation,
    attest_decision,
    check_attestation,
    dump_statement,
)
from stages.verify.changes import (
    ChangedDecision,
    Changes,
    changed_decisions,
    compare_commits,
    compare_snapshots,
    describe_commit,
    read_snapshot,
)
from stages.verify.check import Case, Check, Depth, Options, Problem, Skip
from stages.verify.commits import (
    find_bounds,
    find_first_study,
    from_first_study,
    list_candidates,
    list_history,
    refuse_cut,
)
from stages.verify.formats import junit, markdown, print_changed_decisions, print_history, print_report
from stages.verify.locks import PARAMS, Locks
from stages.verify.origin import check_origin
from stages.verify.replay import Replayed, choose_runs, read_ledger, replay_run
from stages.verify.result import CheckResult, Report
from stages.verify.sequence import SEQUENCE, required_checks, run_checks
from stages.verify.signatures import (
    BadSignature,
    BadSigners,
    make_signature,
    require_signers,
    sign,
    verify_signature,
)

__all__ = [
    "SEQUENCE",
    "Attestation",
    "BadAttestation",
    "BadSignature",
    "BadSigners",
    "ChangedDecision",
    "Changes",
    "Check",
    "CheckResult",
    "CheckedAttestation",
    "CommitStep",
    "Options",
    "PastStudy",
    "Problem",
    "Replayed",
    "Report",
    "attest_decision",
    "check_attestation",
    "choose_runs",
    "compare_commits",
    "compare_snapshots",
    "decisions_changed_since",
    "dump_statement",
    "find_origin_problems",
    "junit",
    "make_signature",
    "markdown",
    "print_changed_decisions",
    "print_history",
    "print_report",
    "range_base",
    "read_ledger",
    "read_past_studies",
    "read_snapshot",
    "replay_run",
    "required_checks",
    "sign",
    "verify",
    "verify_history",
    "verify_push",
    "verify_range",
    "verify_signature",
]

#: What is read of a workspace.
_STUDY_PATHS = (PARAMS, "dvc.yaml", "dvc.lock", "locks", "ledger", "trainer", "stages")


DEFAULTS = Options()


@dataclass(frozen=True)
class CommitStep:
    """One commit of a history or range: who made it, what it changed against its first parent, and its verification."""

    commit: str
    author: str
    changes: tuple[str, ...]
    report: Report

    def to_json(self) -> dict[str, object]:
        """The step as one JSON value."""
        return {
            "commit": self.commit,
            "who": self.author,
            "changes": list(self.changes),
            "verdict": self.report.verdict,
            "failed": [result.check.id for result in self.report.results if self.report.refused(result)],
            "report": self.report.to_json(),
        }


def verify(root: Path, rev: str | None = None, options: Options = DEFAULTS) -> Report:
    """Verify a commit, or the workspace of `root` where `rev` is None; HEAD where the repository has no workspace."""
    with _repository(root, options) as git:
        if rev is None and git is not None and git.bare:
            rev = "HEAD"
        commit = None if rev is None else _need(git, root).resolve(rev)
        tree = open_tree(root, git, commit)
        if tree.mode(PARAMS) is None and not tree.paths("locks"):
            raise Refused(f"{tree.title} of {root.as_posix()} holds no study: {_nearby_study(root)}")
        return _verify_tree(root, git, tree, commit, options)


def verify_history(root: Path, options: Options = DEFAULTS) -> list[CommitStep]:
    """Verify every commit up to HEAD that touched rules, evidence, decisions or dvc.lock, oldest first."""
    with _repository(root, options) as repository:
        git = _need(repository, root)
        last = git.resolve("HEAD")
        refuse_cut(git, ["--end-of-options", last], "--history")
        commits = list_history(git, last)
        return _verify_commits(root, git, from_first_study(git, commits), options)


def verify_range(
    root: Path, revisions: str, options: Options = DEFAULTS, known: Sequence[str] = ()
) -> list[CommitStep]:
    """Verify the last commit of a range `A..B`, and every other one that could change a verdict, oldest first.

    If A is empty, all zeros (the value of CI systems and hooks for a missing commit) or not here (replaced by a forced
    push), the range is every commit up to B that is in none of the revisions `known`. Commits before the first one with
    a study are left out, unless the base of the range has a study: a commit that removes it must fail.
    """
    with _repository(root, options) as repository:
        git = _need(repository, root)
        bounds = find_bounds(git, revisions, known)
        refuse_cut(git, bounds.arguments, f"--range {revisions}")
        commits = list_candidates(git, bounds.arguments)
        commits += [bounds.last] if bounds.last not in commits else []
        if bounds.base is None or git.entry(bounds.base, PARAMS) is None:
            commits = from_first_study(git, commits)
        return _verify_commits(root, git, commits, options)


def find_origin_problems(root: Path, study: Study, known: dict[str, Lock]) -> list[Problem]:
    """What is wrong with the `study.from` of a study whose locks are about to be written (check V31)."""
    with _repository(root) as git:
        case = Case(root, open_tree(root, git, None), git, None, DEFAULTS)
        case.learn(study)
        case.learn(Locks(known))
        try:
            return list(check_origin(case))
        except Skip as skip:
            raise Refused(f"{PARAMS}: study.from: {skip.reason}; {skip.enable}") from None


def verify_push(root: Path, old: str, new: str, options: Options = DEFAULTS) -> list[CommitStep]:
    """Verify the new commits of a push, in a hook that runs before the push is accepted: those that no reference has.

    `old` is all zeros for a new reference, `new` for a removed one. Empty if no new commit belongs to a study.
    """
    with _repository(root, options) as repository:
        git = _need(repository, root)
        if not new.strip("0") or not git.holds(new):  # a reference may also name a file or a folder
            return []
        last = git.resolve(new)
        revisions = ["--not", "--all", "--not", "--end-of-options", last]
        refuse_cut(git, revisions, f"the push of {last[:12]}")
        commits = list_candidates(git, revisions)
        commits += [last] if last not in commits else []
        before = old if old.strip("0") else git.head
        base = git.merge_base(before, last) if before else None
        if base is None or git.entry(base, PARAMS) is None:
            first = find_first_study(git, commits)
            commits = [] if first is None else commits[first:]
        return _verify_commits(root, git, commits, options)


def range_base(root: Path, revisions: str, known: Sequence[str] = ()) -> str | None:
    """The commit that a range `A..B` is to be compared with: the merge base of its ends, else A; None if A is not here.

    If A is not here, the merge base of B and a revision of `known` takes its place.
    """
    with _repository(root) as repository:
        return find_bounds(_need(repository, root), revisions, known).base


def decisions_changed_since(root: Path, before: str, rev: str | None = None) -> list[ChangedDecision]:
    """The gates that decide otherwise than at the commit `before`, at another commit or (None) in the workspace."""
    with _repository(root) as repository:
        git = _need(repository, root)
        if rev is None and git.bare:
            rev = "HEAD"
        now = open_tree(root, git, git.resolve(rev) if rev is not None else None)
        return changed_decisions(open_tree(root, git, git.resolve(before)), now)


@contextmanager
def _repository(root: Path, options: Options = DEFAULTS) -> Iterator[Git | None]:
    """The repository around a folder, None where there is none. Refuses a folder or a file of signers that is none."""
    if not root.is_dir():
        raise Refused(f"{root}: no such folder; name the study with --repo")
    if options.signers is not None:
        require_signers(options.signers)
    git = open_git(root)
    try:
        yield git
    finally:
        if git is not None:
            git.close()


def _need(git: Git | None, root: Path) -> Git:
    if git is None:
        raise Refused(f"{root.as_posix()}: {why_no_git(root)}; a commit can only be read with both")
    return git


def _verify_tree(
    root: Path,
    git: Git | None,
    tree: Tree,
    commit: str | None,
    options: Options,
    ledgers: NamedFiles | None = None,
) -> Report:
    if commit is None and git is not None and (files := list_left_out(git, *_STUDY_PATHS)):
        message = f"{files[0]} is not in the workspace: a sparse checkout leaves it out"
        raise GitAbsent(message, "git sparse-checkout disable")
    depth: Depth = options.depth or ("artifacts" if artifacts_present(root) else "git")
    case = Case(root, tree, git, commit, replace(options, depth=depth), ledgers=ledgers)
    with rare_collections():
        return Report(tree.title, commit, depth, run_checks(case), options.required)


def _verify_commits(root: Path, git: Git, commits: Sequence[str], options: Options) -> list[CommitStep]:
    steps = []
    ledgers = find_ledgers(git, commits[-1]) if commits else None
    for commit in commits:
        tree, parents = CommitTree(git, commit), git.commit(commit).parents
        before = CommitTree(git, parents[0]) if parents and commit not in git.shallow else None
        author = git.ask("log", "-1", "--format=%an, %cs", commit).strip()
        report = _verify_tree(root, git, tree, commit, options, ledgers)
        steps.append(CommitStep(commit, author, tuple(describe_commit(before, tree)), report))
    return steps


def _nearby_study(root: Path) -> str:
    """Where the study may be instead."""
    message = "neither params.yaml nor locks/; go to the root of one, or name it with --repo"
    for up, folder in enumerate(root.resolve().parents, start=1):
        if (folder / PARAMS).is_file():
            return f"{message}: `promotion verify --repo {'/'.join(['..'] * up)}`"
    return message
