"""The errors that this project expects, and how a command ends when it meets one.

    raise Invalid.at("ledger/runs.jsonl, line 7", "found 'x', expected a whole number", place="seed")

An expected error is a ValueError or an OSError whose message names the file, the place, what was found, what was
expected and the remedy: `main_guard` prints it on stderr and ends with status 2. Any other error is a bug and keeps its
traceback. `where` names a file and, where there is one, its line: `file` or `file, line 7` or `file, line 7, column 2`.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TextIO, cast

from stages.domain.foreign_text import OutputStream, one_line, visible


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: file, line, dotted path inside, what was found, what was expected (or nothing)."""

    file: str
    line: int | None
    place: str
    found: str
    expected: str


def mistake(where: str, place: str, actual: str, expected: str) -> Mistake:
    """A mistake at `where`."""
    file, _, rest = where.partition(", line ")
    number = rest.partition(",")[0]
    return Mistake(file, int(number) if number.isdecimal() else None, place, actual, expected)


class Invalid(ValueError):
    """A file that is not what is read here. The message stands alone: file, place, found, expected, remedy."""

    def __init__(self, message: str, *mistakes: Mistake) -> None:
        super().__init__(message)
        self.mistakes = mistakes

    @classmethod
    def at(cls, where: str, problem: str, place: str = "") -> Self:
        """The error that `where` is wrong at `place`; `problem` is `found X, expected Y`, or any other sentence."""
        actual, _, expected = f", {problem}".partition(", expected ")
        message = ": ".join(one_line(part) for part in (where, place, problem) if part)
        return cls(message, mistake(where, place, actual.removeprefix(", ").removeprefix("found "), expected))


class Unreadable(Invalid):
    """A file that is a link, a folder or a device, or larger than anything that is read here."""


FAILED = 2
#: The packages of this project: that a module of theirs is missing is a bug.
_OWN = ("stages", "trainer", "report", "bench")


class Refused(ValueError):
    """A command that will not go on, for a reason its message states."""


def main_guard(main: Callable[[], int | None]) -> None:
    """Run `main` as a program: its return value is the exit status, expected errors become one message and status 2.

    The status is that of the work, whoever reads the output: a reader that goes away changes nothing, and output that
    cannot be written (a full disk) is an error like any other.
    """
    former = sys.stdout, sys.stderr
    sys.stdout = _open_output(sys.stdout, "standard output", quiet=False)
    sys.stderr = _open_output(sys.stderr, "standard error", quiet=True)
    sys.excepthook = _print_bug
    try:
        status = _run(main)
        sys.exit(status if status == FAILED else _run(sys.stdout.flush) or status)
    finally:
        sys.stderr.flush()
        sys.stdout, sys.stderr = former


def _run(main: Callable[[], int | None]) -> int:
    """The exit status of `main`."""
    try:
        return main() or 0
    except SystemExit as ending:
        if isinstance(ending.code, int | None):  # of argparse, which has printed what it had to say
            return ending.code or 0
        print(ending.code, file=sys.stderr)  # what is no number is a message, as the interpreter takes it
        return 1
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and type(error).__module__ in ("builtins", "json.decoder"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except ModuleNotFoundError as error:  # a reviewer's install, which holds what reading and verifying need
        if (error.name or "").partition(".")[0] in _OWN:
            raise
        print(f"error: {error.name} is not installed; `pip install 'staged-promotion[study]'`", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left behind", file=sys.stderr)
        return 130


def _open_output(stream: TextIO | None, name: str, *, quiet: bool) -> TextIO:
    """A stream of this process as the door that all text passes; nowhere, if whoever started us closed it."""
    if stream is None:
        stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # for as long as the process lives
    if isinstance(stream, io.TextIOWrapper):
        # Through a pipe Windows would take its code page, which lacks "≥".
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    return cast(TextIO, OutputStream(stream, name, quiet=quiet))


def _print_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback, with the foreign text in it visible."""
    sys.stderr.write(visible("".join(traceback.format_exception(kind, error, trace))))
