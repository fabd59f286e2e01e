"""What a command prints: a log of bounded size that holds all that was read from it, and what is read from it.

`OutputLog` takes the output as it comes. Of a long one it keeps the beginning, the end, and of what lies between the
lines that matter: the last one of each template, and the first of each kind of marker. `read_output` on the kept text
therefore says the same as on the whole, so that a reviewer reads the score again from the log in the trace.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from stages.domain.command import CommandSettings, Score
from stages.domain.line_template import (
    MAX_LINE,
    MAX_NUMBER,
    LineTemplate,
    clean_line,
    last_match,
    parse_number,
    split_lines,
)

LOG = "log.txt.gz"
SCORE_FILE = "score.json"
HEAD_CHARACTERS, TAIL_CHARACTERS = 1 << 19, 3 << 19
#: What a reviewer unpacks at most; the log that is kept is smaller.
MAX_LOG_BYTES = 16 << 20
MAX_SCORE_FILE = 1 << 20
SHOWN_LINE = 200
_LINE_END = re.compile(r"[\r\n]")


@dataclass(frozen=True)
class Readings:
    """What the output says: the score and the facts as printed, and the lines that mark a run as diverged or failed."""

    score: str | None
    facts: dict[str, str]
    diverged: str | None
    failed: str | None

    def numbers(self) -> dict[str, float]:
        """The facts as numbers; those that are not finite are left out."""
        numbers = {name: as_number(printed) for name, printed in sorted(self.facts.items())}
        return {name: number for name, number in numbers.items() if number is not None}


def _first_marked(templates: Iterable[str], lines: list[str]) -> str | None:
    parsed = [LineTemplate.parse(text) for text in templates]
    if not parsed:
        return None
    return next((line for line in lines if any(template.match(line) is not None for template in parsed)), None)


def read_output(settings: CommandSettings, text: str) -> Readings:
    """The readings of a log. A score that stands in a JSON file is not among them."""
    lines = split_lines(text)
    facts = {
        name: match["value"]
        for name, template in settings.facts.items()
        if (match := last_match(LineTemplate.parse(template), lines))
    }
    score = last_match(LineTemplate.parse(settings.score.line), lines) if settings.score.line else None
    return Readings(
        score["score"] if score else None,
        facts,
        _first_marked(settings.diverged, lines),
        _first_marked(settings.failed, lines),
    )


def read_score_file(data: bytes, score: Score) -> str | None:
    """The score in a trainer's JSON file as it stands there; None where there is no number at its key."""
    try:
        value = json.loads(data[:MAX_SCORE_FILE], parse_float=_Printed, parse_int=_Printed, parse_constant=_Printed)
    except (ValueError, RecursionError):
        return None
    for key in (score.key or "").split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return str(value) if isinstance(value, _Printed) and len(value) <= MAX_NUMBER else None


class _Printed(str):
    """A number of a JSON file, as its digits."""

    __slots__ = ()


def round_score(printed: str | None) -> Decimal | None:
    """The score to judge by: six places, half-even. None where it is not finite or too large."""
    return None if printed is None else parse_number(printed)


def shorten(line: str) -> str:
    """A line of a stranger's log as a record's reason quotes it."""
    plain = "".join(character if character.isprintable() else "?" for character in line)
    return plain if len(plain) <= SHOWN_LINE else plain[: SHOWN_LINE - 3] + "..."


class OutputLog:
    """Takes output in pieces; `on_progress` hears the numbers of each line that the progress template matches."""

    def __init__(self, settings: CommandSettings, on_progress: Callable[[dict[str, str]], None] | None = None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._partial = ""
        self._head: list[str] = []
        self._head_room = HEAD_CHARACTERS
        self._tail: deque[str] = deque()
        self._tail_room = TAIL_CHARACTERS
        self._left_out = 0
        self._kept: dict[str, str] = {}
        self._on_progress = on_progress
        self._progress = LineTemplate.parse(settings.progress) if settings.progress else None
        last = [*([settings.score.line] if settings.score.line else []), *settings.facts.values()]
        self._last = [LineTemplate.parse(text) for text in last]
        self._markers = {
            kind: [LineTemplate.parse(text) for text in getattr(settings, kind)] for kind in ("diverged", "failed")
        }

    def feed(self, data: bytes) -> None:
        """Take the next piece."""
        self._take(self._decoder.decode(data))

    def _take(self, text: str) -> None:
        lines = _LINE_END.split(self._partial + text)
        self._partial = lines.pop()[:MAX_LINE]  # nothing behind the longest line is read, so nothing of it is kept
        for line in lines:
            if line.strip():
                self._add(line[:MAX_LINE])

    def _add(self, line: str) -> None:
        if self._progress and self._on_progress:
            numbers = self._progress.match(clean_line(line))
            if numbers is not None:
                self._on_progress(numbers)
        if self._head_room > 0:
            self._head.append(line)
            self._head_room -= len(line) + 1
            return
        self._tail.append(line)
        self._tail_room -= len(line) + 1
        while self._tail_room < 0:
            dropped = self._tail.popleft()
            self._tail_room += len(dropped) + 1
            self._left_out += 1
            self._keep(dropped)

    def _keep(self, line: str) -> None:
        """Note a line that is left out, if a template would have read it."""
        clean = clean_line(line)
        for template in self._last:
            if template.match(clean) is not None:
                self._kept[template.text] = line
        for kind, templates in self._markers.items():
            if any(template.match(clean) is not None for template in templates):
                self._kept.setdefault(kind, line)

    def finish(self) -> str:
        """The kept text, every line with its end."""
        self._take(self._decoder.decode(b"", final=True) + "\n")
        middle: list[str] = []
        if self._left_out:
            middle = [
                f"[{self._left_out} lines left out, but for those that were read:]",
                *self._kept.values(),
                "[...]",
            ]
        return "".join(f"{line}\n" for line in (*self._head, *middle, *self._tail))


def compress(text: str) -> bytes:
    """The log as it lies in the trace: the same bytes for the same text."""
    return gzip.compress(text.encode("utf-8", errors="replace"), mtime=0)


def decompress(data: bytes) -> str:
    """A log from a trace, at most MAX_LOG_BYTES of it. ValueError where it is none."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data, MAX_LOG_BYTES).decode("utf-8", errors="replace")
    except zlib.error as error:
        raise ValueError(f"no gzip file: {error}") from None


def read_end(text: str, lines: int = 15) -> str:
    """The last lines of a log, for a message."""
    return "\n".join(f"  {shorten(line)}" for line in split_lines(text)[-lines:]) or "  (it printed nothing)"


def read_bounded(path: Path, limit: int) -> bytes | None:
    """A regular file of at most `limit` bytes, or None."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > limit:
        return None
    return path.read_bytes()


def as_number(printed: str) -> Any:
    """A printed number for a record: six places; None where it is not finite or too large."""
    number = parse_number(printed)
    return None if number is None else float(number)
