"""The errors that this project expects, and how a command ends when it meets one.

    raise Invalid.at("ledger/runs.jsonl, line 7", "found 'x', expected a whole number", place="seed")

An expected error is a ValueError or an OSError whose message names the file, the place, what was found, what was
expected and the remedy: `main_guard` prints it on stderr and ends with status 2. Any other error is a bug and keeps its
traceback. `where` names a file and, where there is one, its line: `file` or `file, line 7` or `file, line 7, column 2`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


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
        message = ": ".join(part for part in (where, place, problem) if part)
        return cls(message, mistake(where, place, actual.removeprefix(", ").removeprefix("found "), expected))


class Unreadable(Invalid):
    """A file that is a link, a folder or a device, or larger than anything that is read here."""


FAILED = 2


class Refused(ValueError):
    """A command that will not go on, for a reason its message states."""


def main_guard(main: Callable[[], int | None]) -> None:
    """Run `main` as a program: its return value is the exit status, expected errors become one message and status 2."""
    try:
        code = main()
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        sys.exit(0)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and type(error).__module__ in ("builtins", "json.decoder"):
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left behind", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
