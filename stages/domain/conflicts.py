"""Merge conflicts that git left in a file: told as that wherever a file is read, and never written over.

find_conflict(data)                     the line at which one begins
refuse_conflicts([Path("dvc.lock")])    before anything is written that builds on these files
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from stages.domain.errors import Invalid

#: What is said of a conflict, behind the file and its line.
CONFLICT = (
    "found a merge conflict, expected one side of it; keep what should stand and `git add` the file, "
    "or `git merge --abort` (`git rebase --abort`) goes back"
)
#: A larger file is none of those that people merge.
MAX_BYTES = 256 << 20
_SUFFIXES = frozenset({".yaml", ".lock", ".jsonl", ".json"})
_END = re.compile(rb"^>{7}(?: |\r?$)", re.M)
_MARKER = re.compile(rb"[<>]{7}(?: |\r?\n|$)|={7}\r?(?:\n|$)")


def find_conflict(data: bytes) -> int | None:
    """The line, from 1, at which a merge conflict begins; None where there is none."""
    start = 0 if data.startswith(b"<<<<<<<") else data.find(b"\n<<<<<<<") + 1
    if (start == 0 and not data.startswith(b"<<<<<<<")) or _END.search(data, start) is None:
        return None
    return data.count(b"\n", 0, start) + 1


def is_marker(line: bytes) -> bool:
    """Whether a line that was read by itself is one with which git marks a conflict."""
    return _MARKER.match(line) is not None


def refuse_conflicts(paths: Iterable[Path]) -> None:
    """Refuse to go on where one of these files holds a merge conflict."""
    for path in paths:
        if path.suffix not in _SUFFIXES or not path.is_file() or path.stat().st_size > MAX_BYTES:
            continue
        if line := find_conflict(path.read_bytes()):
            raise Invalid.at(f"{path.as_posix()}, line {line}", CONFLICT)
