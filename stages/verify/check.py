"""A check, the problems that it can find, and the order of checks.

A check reads a `Case`: the tree under verification and the values that earlier checks have learnt from it. It yields
`Problem`s; if there are any, it ends with `CheckFailed`. A check passes a value on with `case.learn(value)`, and a
later check gets it with `case.get(Kind)`, which raises `OutOfOrder` if no check has learnt it. `Check.needs` and
`Check.gives` declare these types, so that a sequence in the wrong order is refused before it runs.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

from stages.domain.errors import Invalid, Unreadable
from stages.dvcfiles import lockfile
from stages.dvcfiles.lockfile import LockedStage
from stages.repo.folders import NamedFiles
from stages.repo.git import UNSHALLOW, Git, why_no_git
from stages.repo.history import History
from stages.repo.history_reader import find_ledgers, read_history
from stages.repo.objects import GitAbsent
from stages.repo.past_files import EvidenceLine
from stages.repo.tree import Tree

Depth = Literal["git", "artifacts", "replay"]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it should be: where, what was expected, what was found, what that means."""

    file: str
    found: str
    expected: str
    meaning: str
    line: int | None = None
    pointer: str | None = None

    @property
    def place(self) -> str:
        """`ledger/runs.jsonl, line 12, /facts/val_bpb`."""
        line = f", line {self.line}" if self.line is not None else ""
        return f"{self.file}{line}{f', {self.pointer}' if self.pointer else ''}"

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}, expected {self.expected}; {self.meaning}"


#: More problems of one check than this say nothing more, and 20,000 of them would fill a screen for an hour.
MAX_PROBLEMS = 200


class CheckFailed(Exception):
    """A check found problems; of more than MAX_PROBLEMS the first, and how many `more` there are."""

    def __init__(self, check: Check, problems: list[Problem], more: int = 0) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.check, self.problems, self.more = check, problems, more


class Skip(Exception):
    """A check that cannot be made on this machine or tree: why, and the command that would enable it.

    `applies` is false where the study has not come so far that there is anything to check.
    """

    def __init__(self, reason: str, enable: str, *, applies: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.enable, self.applies = reason, enable, applies


class OutOfOrder(RuntimeError):
    """A check asked for what no earlier check has learnt: a mistake in the sequence, never in the study."""


@dataclass(frozen=True)
class Options:
    """What a verification is asked for.

    `depth`: None is `artifacts` where some are here, else `git`. `signers`: a file of allowed signers in OpenSSH's
    format. `required`: ids of checks that may not be skipped where there is something to check (`required_checks`).
    """

    depth: Depth | None = None
    signers: Path | None = None
    required: frozenset[str] = frozenset()


def refuse_cut_history(history: History) -> None:
    """`Skip` where a shallow clone hides what came first: nobody can say what stood there."""
    if history.cut:
        where = "evidence stands in" if history.cut_after_evidence else "it is cut off at"
        reason = f"a shallow clone: {where} its oldest commit {history.cut[:12]}, and what came before is hidden"
        raise Skip(reason, UNSHALLOW)


@dataclass
class Case:
    """The tree under verification and what has been learnt from it. `commit` is None for the workspace.

    `later`: where it is verified for studies that go on from it, their commits (empty for the workspace).
    """

    root: Path
    tree: Tree
    git: Git | None
    commit: str | None
    options: Options
    notes: list[str] = field(default_factory=list)
    #: Lines of runs.jsonl that were read already, so that the history need not read them again.
    lines: dict[bytes, EvidenceLine | None] = field(default_factory=dict)
    later: tuple[str, ...] = ()
    #: The search for ledgers in the folders of the repository, where other commits of it are verified as well.
    ledgers: NamedFiles | None = None
    _learnt: dict[type, object] = field(default_factory=dict)

    @property
    def history(self) -> History:
        """The history up to this tree, read when a check first asks; `Skip` where there is none to read.

        `GitAbsent` where an object of it is missing and this is no partial clone, `Unreadable` where it is too large.
        """
        if isinstance(self._history, Unreadable):
            raise self._history.with_traceback(None)
        return self._history

    @cached_property
    def _history(self) -> History | Unreadable:
        """The history, or why it is too large: that is read once, and not by every check again."""
        if self.git is None:
            reason = why_no_git(self.root)
            remedy = "install git" if "installed" in reason else "git clone"
            raise Skip(f"{reason}, so nothing says what came first", remedy)
        workspace = self.tree if self.commit is None else None
        try:
            commit = self.commit or self.git.head
            if self.ledgers is None:
                self.ledgers = find_ledgers(self.git, commit)
            return read_history(self.git, commit, workspace, self.lines, self.ledgers)
        except GitAbsent as absent:
            if not self.git.partial:  # nobody left it out on purpose: whoever took it away hides what it says
                raise
            raise Skip(f"the history is not all here: {absent.reason}", absent.enable) from None
        except Unreadable as error:
            return error.with_traceback(None)

    @property
    def whole_history(self) -> History:
        """The history up to this tree; `Skip` also where a shallow clone hides a part of it."""
        history = self.history
        refuse_cut_history(history)
        return history

    def refuse_hidden(self) -> None:
        """`Skip` where a shallow clone hides a part of the history; nothing where there is no history to read."""
        try:
            history = self.history
        except Skip:
            return
        refuse_cut_history(history)

    @cached_property
    def root_lock(self) -> dict[str, LockedStage] | None:
        """The stages in the dvc.lock at the root; None where there is none."""
        data = self.tree.read("dvc.lock")
        return None if data is None else lockfile.parse(data, "dvc.lock")

    def learn(self, value: object) -> None:
        """Hand on a fact to later checks, once."""
        if type(value) in self._learnt:
            raise OutOfOrder(f"{type(value).__name__} was learnt already")
        self._learnt[type(value)] = value

    def knows(self, kind: type) -> bool:
        """Whether an earlier check has learnt this."""
        return kind in self._learnt

    def get(self, kind: type[Kind]) -> Kind:
        """What an earlier check has learnt; `OutOfOrder` if none has."""
        if kind not in self._learnt:
            raise OutOfOrder(f"no check has learnt {kind.__name__} yet")
        value = self._learnt[kind]
        assert isinstance(value, kind)
        return value

    def note(self, text: str) -> None:
        """Something that a reader should know and that is no failure."""
        self.notes.append(text)


#: The function of a check. Its docstring says what the check shows when it passes.
CheckFunction = Callable[[Case], Iterable[Problem] | None]


@dataclass(frozen=True)
class Check:
    """One step of the sequence. `needs` and `gives` are the types that its function gets and learns."""

    id: str
    name: str
    depth: Depth
    function: CheckFunction
    needs: tuple[type, ...] = ()
    gives: tuple[type, ...] = ()

    @property
    def title(self) -> str:
        """What the check shows when it passes: the first line of its function's docstring."""
        return (self.function.__doc__ or "").split("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        """The same in full: the docstring as one line."""
        return " ".join((self.function.__doc__ or "").split())

    def __str__(self) -> str:
        return f"{self.id} {self.name}"


def perform(check: Check, case: Case) -> list[str]:
    """Make one check and return its notes. Raises `CheckFailed`, `Skip`, or `OutOfOrder` if it is made too early."""
    for kind in check.needs:
        case.get(kind)
    case.notes = []
    problems: list[Problem] = []
    more = 0
    try:
        for problem in _problems(check, case):
            if len(problems) < MAX_PROBLEMS:
                problems.append(problem)
            else:
                more += 1
    except Skip:
        if not problems:  # what was found before it gave up is found
            raise
    if problems:
        raise CheckFailed(check, problems, more)
    return case.notes


def _problems(check: Check, case: Case) -> Iterator[Problem]:
    """The problems of a check. What a parser refuses on the way, and a file that cannot be read, is a problem too.

    A library that is missing is no problem of the study, nor is a file elsewhere, such as a full folder for temporary
    files: the check is skipped. `GitAbsent` where a clone lacks what is to be verified.
    """
    try:
        yield from check.function(case) or ()
    except GitAbsent:  # of the tree under verification: nothing is wrong with it that shows here
        raise
    except Invalid as error:
        for problem in problems_of(error):
            yield replace(problem, file=path_in_study(problem.file, case.root))
    except OSError as error:
        if _is_of_machine(error, case.root):
            text = f"{error.filename or 'this machine'}: {error.strerror or type(error).__name__}"
            raise Skip(text, "promotion verify, when that is mended (TMPDIR names another temporary folder)") from None
        file = path_in_study(str(error.filename or "the study"), case.root)
        meaning = "nobody can say what it holds"
        yield Problem(file, error.strerror or type(error).__name__, "a file that can be read", meaning)
    except ImportError as error:
        raise Skip(f"{error.name} is not installed", "pip install 'staged-promotion[study]'") from None
    except ValueError as error:
        if type(error).__module__ == "builtins":
            raise
        yield from problems_of(Invalid(str(error)))


#: A full disk, a read-only one, no more memory or open files.
_OF_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


def _is_of_machine(error: OSError, root: Path) -> bool:
    """Whether an error says something of this machine and nothing of the study: a check only reads what lies there."""
    name = error.filename
    elsewhere = isinstance(name, str) and Path(name).is_absolute() and not Path(name).is_relative_to(root.absolute())
    return elsewhere or error.errno in _OF_MACHINE


def problems_of(error: Invalid, meaning: str = "nothing that builds on it can be believed") -> Iterator[Problem]:
    """What a parser refused, as problems."""
    for mistake in error.mistakes:
        expected = mistake.expected or "a file that this project wrote"
        pointer = "/" + mistake.place.replace(".", "/") if mistake.place else None
        yield Problem(mistake.file, mistake.found or "nothing", expected, meaning, mistake.line, pointer)
    if not error.mistakes:
        yield Problem("the study", str(error), "something that can be verified", meaning)


def path_in_study(file: str, root: Path) -> str:
    """A file by its path in the study, so that no report names a machine's folders."""
    path = Path(file)
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def check_order(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The checks, if their ids climb and none stands before what it needs; else `OutOfOrder`."""
    given: set[type] = set()
    for number, check in enumerate(checks, start=1):
        if check.id != f"V{number:02d}":
            raise OutOfOrder(f"{check.id} stands at place {number}")
        if missing := [kind.__name__ for kind in check.needs if kind not in given]:
            raise OutOfOrder(f"{check.id} needs {missing[0]}, which no earlier check gives")
        given |= set(check.gives)
    return checks
