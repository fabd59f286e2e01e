"""Files that appear whole or not at all, whatever writes them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

PART = ".part"  # what a file is called until it is whole


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Has `write` fill a file beside `path`, brings it to the disk and puts it in place in one move.

    A killed process leaves the old file or none, and perhaps a `.part`. Raises `OSError` that names `path`, also
    where safetensors wraps a full disk in an error of its own; then no `.part` is left.
    """
    part = path.with_name(path.name + PART)
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(error, OSError | SafetensorError):
            raise
        remedy = "make room there, or choose a folder that can be written to"
        raise OSError(f"{path}: could not be written ({error}): {remedy}") from error


def write_utf8(path: Path, text: str) -> None:
    """Writes text as UTF-8, newlines as they are; `OSError` as in `write_whole`."""
    write_whole(path, lambda part: _fill(part, text))


def _fill(part: Path, text: str) -> None:
    part.write_text(text, encoding="utf-8", newline="\n")
