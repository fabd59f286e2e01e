"""Files appear whole or not at all: written beside, flushed to the disk, then renamed over the old one.

A killed process or a full disk therefore leaves the old file or none, and never half of one. What a killed process was
writing stays behind as `.NAME.PID.part`, until the file is written again or `promotion heal` removes it.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from stages.domain.conflicts import refuse_conflicts

#: How much of a large file is copied at once.
CHUNK = 1 << 20
#: How far the clock of a file system and that of the processes may lie apart.
CLOCK_SECONDS = 60.0
_PART = re.compile(r"\..+\.(\d{1,9})\.part")


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically; the same bytes again leave it untouched. Raises OSError naming `path`.

    A file with a merge conflict in it is refused (`Invalid`): whoever merges has not decided yet.
    """
    if path.is_file() and not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return
    refuse_conflicts([path])
    path.parent.mkdir(parents=True, exist_ok=True)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        if is_abandoned(part):
            part.unlink(missing_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise OSError(error.errno, f"could not write {path}: {error.strerror}; nothing was changed") from error


def is_abandoned(path: Path) -> bool:
    """Whether a path is a `.part` file of a process that has ended, whoever has its id now."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return False
    try:
        import psutil
    except ImportError:  # a reviewer's install, which starts no process
        return False
    try:
        process = psutil.Process(int(match[1]))
        is_another = process.create_time() > path.stat().st_mtime + CLOCK_SECONDS
        return bool(is_another or process.status() == psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True
    except psutil.AccessDenied:
        return False


def sha256_bytes(data: bytes) -> str:
    """SHA-256 (hex) of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_bytes(data: bytes) -> str:
    """MD5 (hex) of `data`: what DVC writes into a dvc.lock."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def md5_file(path: Path) -> str:
    """MD5 (hex) of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def tree_digest(folder: Path, pattern: str = "*.py") -> str:
    """SHA-256 (hex) over the names and contents of the files in `folder` that match, line ends read as LF.

    This is the digest of the fixed runner: a name, a byte or a file more or less changes it; a checkout with
    other line ends, `__pycache__` and the clock do not.
    """
    paths = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob(pattern)]
    return digest_of((name, path.read_bytes()) for name, path in sorted(paths) if "__pycache__" not in path.parts)


def digest_of(contents: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 (hex) over names and contents, given in the order of the names; line ends read as LF."""
    digest = hashlib.sha256()
    for name, data in contents:
        data = data.replace(b"\r\n", b"\n")
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()
