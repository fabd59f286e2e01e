"""What .dvcignore leaves out of the folders that DVC digests, read as DVC reads it.

    parse_ignore(data).match("trainer/__pycache__/x.pyc")

The lines are those of .gitignore with three differences of DVC's: white space at both ends goes, a line that takes a
folder back takes back what is in it, and `*/` and `**/` mean nothing. Source: `dvc.ignore.DvcIgnorePatterns` of DVC
3.67 and the patterns of pathspec 1; a test compares both (tests/dvcfiles/test_ignore.py). DVC itself is not imported:
a reviewer's install has none.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from stages.domain.errors import Invalid

#: There may be as many plain names as people like; any other pattern costs time at every file.
MOST_PATTERNS = 1000
#: Each `**` multiplies the ways in which a path can match.
MOST_DEEP = 2
_PLAIN = re.compile(r"[^/*?\[\\!#\s](?:[^/*?\[\\]*[^/*?\[\\\s])?")
#: What Python's sets of letters read in a way of their own, or will.
_SIGN, _ESCAPED = re.compile(r"[\\\[&|~]"), r"\\\g<0>"
_SET = re.compile(r"\[[!^]?\]?[^\]]*\]")


class BadIgnore(Invalid):
    """A .dvcignore that DVC does not read, or with more patterns than anybody writes."""


@dataclass(frozen=True)
class IgnorePattern:
    """A line: what it matches, whether it leaves that out or takes it back, and whether folders alone are meant."""

    regex: re.Pattern[str]
    ignores: bool
    folders_only: bool

    def match(self, place: str, is_folder: bool) -> bool:
        """Whether the line speaks of a place, given from the root."""
        if self.folders_only and not is_folder:
            return False
        return bool(self.regex.match(place) or (is_folder and self.regex.match(f"{place}/")))


@dataclass(frozen=True)
class IgnoredNames:
    """What is left out: files and folders with one of these names, and what the patterns say, the last one first."""

    names: frozenset[str] = frozenset()
    patterns: tuple[IgnorePattern, ...] = ()

    def match(self, path: str) -> bool:
        """Whether a file, by its path from the root, is left out: itself, or a folder that it lies in."""
        parts = path.split("/")
        return any(
            self._ignores(parts[depth], "/".join(parts[: depth + 1]), depth + 1 < len(parts))
            for depth in range(len(parts))
        )

    def _ignores(self, name: str, place: str, is_folder: bool) -> bool:
        if name in self.names:
            return True
        return next((pattern.ignores for pattern in self.patterns if pattern.match(place, is_folder)), False)


def parse_ignore(data: bytes) -> IgnoredNames:
    """The lines of a .dvcignore; `BadIgnore` for one that DVC refuses, or for more than anybody writes."""
    text = io.StringIO(data.decode("utf-8", "replace"), newline=None)  # DVC reads it as Python reads a text file
    stripped = [line for line in map(str.strip, text) if line and not line.startswith("#") and line != "/"]
    lines = dict.fromkeys(reversed(stripped))  # of a line that stands twice the last one counts
    plain = frozenset(filter(_PLAIN.fullmatch, lines))
    if any(line.startswith("!") for line in lines):
        plain = frozenset()  # their order matters
    rest = [line for line in lines if line not in plain]
    if len(rest) > MOST_PATTERNS:
        raise BadIgnore.at(".dvcignore", f"found {len(rest)} patterns, expected at most {MOST_PATTERNS}")
    patterns = [pattern for line in rest if (pattern := _parse_line(line)) is not None]
    return IgnoredNames(plain, tuple(patterns))


def _parse_line(line: str) -> IgnorePattern | None:
    """The pattern of a line; None where it means nothing."""
    text = line.removeprefix("!")
    segments = text.split("/")
    folders_only = not segments[-1]
    if not segments[0]:
        segments = segments[1:]
    elif len(segments) == 1 or segments[1:] == [""]:
        segments = ["**", *segments]  # at any depth
    if not segments:
        raise BadIgnore.at(".dvcignore", f"found the pattern {line!r}, expected a name behind the '!'")
    if folders_only:
        segments = [*segments[:-1], "**"]
    segments = [name for at, name in enumerate(segments) if name != "**" or segments[at - 1 : at] != ["**"]]
    if text.split("/").count("**") > MOST_DEEP:
        raise BadIgnore.at(".dvcignore", f"found the pattern {line!r}, expected at most {MOST_DEEP} times `**`")
    if folders_only and segments in (["**"], ["**", "*", "**"]):
        return None  # DVC looks for what they say at the beginning of a path, where it never stands
    try:
        source = _translate(segments)
        return None if source is None else IgnorePattern(re.compile(source, re.S), text == line, folders_only)
    except (re.error, IndexError):
        raise BadIgnore.at(".dvcignore", f"found the pattern {line!r}, which DVC does not read") from None


def _translate(segments: list[str]) -> str | None:
    """The expression for a path that a pattern speaks of; None where git discards it."""
    if segments in (["**"], ["**", "*"]):
        return "."
    parts: list[str] = []
    for at, name in enumerate(segments):
        last = at == len(segments) - 1
        if name == "**":
            parts.append(r"(?:[^\n]+/)?" if at == 0 else "/" if last else r"(?:/[^\n]+)?")
            continue
        if (translated := "[^/]+" if name == "*" else _translate_name(name)) is None:
            return None
        slash = "/" if at and not (at == 1 and segments[0] == "**") else ""
        parts.append(slash + translated + ("(?:/|$)" if last else ""))
    return "".join(parts)


def _translate_name(name: str) -> str | None:
    """The expression for one name; None where a `[` is not closed. `IndexError` for a backslash with nothing behind."""
    pieces = [""]  # what stands between stars; each is taken where it stands first, so nothing is tried twice
    at = 0
    while at < len(name):
        sign = name[at]
        at += 1
        if sign == "*":
            pieces.append("")
        elif sign == "?":
            pieces[-1] += "[^/]"
        elif sign == "\\":
            pieces[-1] += re.escape(name[at])
            at += 1
        elif sign != "[":
            pieces[-1] += re.escape(sign)
        elif found := _SET.match(name, at - 1):
            inside = found[0][1:-1]
            negated = inside[:1] in ("!", "^") and inside[:1] != ""
            pieces[-1] += f"[{'^' if negated else ''}{_SIGN.sub(_ESCAPED, inside[negated:])}]"
            at = found.end()
        else:
            return None
    head, *middle = pieces
    if not middle:
        return head
    return head + "".join(f"(?>[^/]*?{piece})" for piece in middle[:-1]) + f"[^/]*{middle[-1]}"
