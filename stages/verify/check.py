"""What a check is, what it may find, and why checks cannot run out of order.

A check reads a `Case`: the tree under audit and what earlier checks have learnt from it. It yields `Problem`s; if
there are any, the check ends in its own exception class. What a check proves, it hands on with `case.learn(...)`: a
later check asks with `case.get(Kind)`, and asking for what nobody has learnt is `OutOfOrder`. `Check.needs` and
`Check.gives` say the same beforehand, so that the sequence itself is refused when a check stands before what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from stages.domain.errors import Invalid
from stages.repo.git import Git, why_no_git
from stages.repo.history import Chronicle, Line, chronicle
from stages.repo.tree import Tree

Depth = Literal["git", "artifacts", "replay"]
Status = Literal["passed", "failed", "skipped"]
Kind = TypeVar("Kind")
#: More problems of one check than this say nothing more, and 20,000 of them would fill a screen for an hour.
MAX_PROBLEMS = 200


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


class CheckFailed(Exception):
    """A check found problems. Every check has a subclass of its own."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(one) for one in problems))
        self.problems = problems


class Skip(Exception):
    """A check that cannot be made here: why, and the command that would enable it.

    `applies` is false where the study has not come so far that there is anything to check.
    """

    def __init__(self, reason: str, enable: str, *, applies: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.enable, self.applies = reason, enable, applies


class OutOfOrder(RuntimeError):
    """A check asked for what no earlier check has learnt: a mistake in the sequence, never in the study."""


@dataclass(frozen=True)
class Options:
    """What the person asked for."""

    depth: Depth
    signers: Path | None = None


@dataclass
class Case:
    """The tree under audit and what has been learnt from it. `commit` is None for the workspace."""

    root: Path
    tree: Tree
    git: Git | None
    commit: str | None
    options: Options
    notes: list[str] = field(default_factory=list)
    #: Lines of runs.jsonl that were read already, so that the history need not read them again.
    lines: dict[bytes, Line | None] = field(default_factory=dict)
    _learnt: dict[type, Any] = field(default_factory=dict)

    @cached_property
    def past(self) -> Chronicle:
        """The history up to this tree, read when a check first asks; `Skip` where there is none to read."""
        if self.git is None:
            reason = why_no_git(self.root)
            remedy = "install git" if "installed" in reason else "git clone"
            raise Skip(f"{reason}, so nothing says what came first", remedy)
        here = self.tree if self.commit is None else None
        return chronicle(self.git, self.commit or self.git.head, here, self.lines)

    def learn(self, value: Any) -> None:
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
        found: Kind = self._learnt[kind]
        return found

    def note(self, text: str) -> None:
        """Something that a reader should know and that is no failure."""
        self.notes.append(text)


#: The function of a check. The first line of its docstring, behind the id, says what the check shows when it passes.
Look = Callable[[Case], Iterable[Problem] | None]


@dataclass(frozen=True)
class Check:
    """One step of the sequence."""

    id: str
    name: str
    depth: Depth
    error: type[CheckFailed]
    look: Look
    needs: tuple[type, ...] = ()
    gives: tuple[type, ...] = ()

    @property
    def title(self) -> str:
        """What the check shows when it passes: the first line of its function's docstring, without the id."""
        return (self.look.__doc__ or "").split("\n")[0].partition(": ")[2]


@dataclass(frozen=True)
class Result:
    """What came of a check."""

    check: Check
    status: Status
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    enable: str = ""
    applies: bool = True
    more: int = 0


def perform(check: Check, case: Case) -> list[str]:
    """Make one check. Returns its notes; raises its own exception, `Skip`, or `OutOfOrder` if it is made too early."""
    for kind in check.needs:
        case.get(kind)
    case.notes = []
    problems: list[Problem] = []
    try:
        problems.extend(_looked(check, case))
    except Skip:
        if not problems:  # what was found before it gave up is found
            raise
    if problems:
        raise check.error(problems)
    return case.notes


def _looked(check: Check, case: Case) -> Iterator[Problem]:
    """The problems of a check. What a parser refuses on the way, and a file that cannot be read, is a problem too.

    A library that is missing is no problem of the study: the check is skipped.
    """
    try:
        yield from check.look(case) or ()
    except Invalid as error:
        yield from (replace(one, file=named(one.file, case.root)) for one in told(error))
    except OSError as error:
        file, meaning = named(str(error.filename or "the study"), case.root), "nobody can say what it holds"
        yield Problem(file, error.strerror or type(error).__name__, "a file that can be read", meaning)
    except ImportError as error:
        raise Skip(f"{error.name} is not installed", "pip install staged-promotion") from None
    except ValueError as error:
        if type(error).__module__ == "builtins":
            raise
        yield from told(Invalid(str(error)))


def told(error: Invalid, meaning: str = "nothing that builds on it can be believed") -> Iterator[Problem]:
    """What a parser refused, as problems."""
    expected = "a file that this project wrote"
    for one in error.mistakes:
        found = one.found or "nothing"
        yield Problem(one.file, found, one.expected or expected, meaning, line=one.line, pointer=_pointer(one.place))
    if not error.mistakes:
        yield Problem("the study", str(error), "something that can be verified", meaning)


def _pointer(place: str) -> str | None:
    return "/" + place.replace(".", "/") if place else None


def named(file: str, root: Path) -> str:
    """A file by its path in the study, so that no report names a machine's folders."""
    place = Path(file)
    return (place.relative_to(root) if place.is_relative_to(root) else place).as_posix()


def in_order(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """The checks, if their ids climb and none stands before what it needs; else `OutOfOrder`."""
    given: set[type] = set()
    for number, check in enumerate(checks, start=1):
        if check.id != f"V{number:02d}":
            raise OutOfOrder(f"{check.id} stands at place {number}")
        if missing := [kind.__name__ for kind in check.needs if kind not in given]:
            raise OutOfOrder(f"{check.id} needs {missing[0]}, which no earlier check gives")
        given |= set(check.gives)
    return checks
