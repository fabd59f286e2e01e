"""Paths as people type them on a command line, and files that a command is to write."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from stages.domain.errors import Refused


def user_path(text: str) -> Path:
    """A path in which a leading `~` or `~name` is a home folder, behind `--option=` too, which shells pass over."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text}: this machine knows no home folder of that name") from None


def refuse_unwritable(outputs: Iterable[tuple[str, Path | None]]) -> None:
    """Refuse what cannot be written, by option, before the work whose result it is to hold."""
    for option, path in outputs:
        if path is None:
            continue
        if path.is_dir():
            raise Refused(f"{option} {path}: found a folder, expected the name of a file to write")
        folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise Refused(f"{option} {path}: nothing can be written into {folder}; name another place")
