"""Files appear whole or not at all: written beside, flushed to the disk, then renamed over the old one.

A killed process or a full disk therefore leaves the old file or none, and never half of one. So do folders, and from
another file system, from which nothing can be renamed, they are copied beside first. What a killed process was
writing stays behind as `.NAME.PID.part`, until the file is written again or `promotion heal` removes it.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from stages.domain.conflicts import refuse_conflicts
from stages.domain.errors import Invalid

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

    def fill(beside: Path) -> None:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    _put_in_place(path, fill)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file, from whatever file system; the copy appears whole. Raises OSError naming `target`."""

    def fill(beside: Path) -> None:
        with source.open("rb") as old, beside.open("wb") as new:
            shutil.copyfileobj(old, new, CHUNK)
            new.flush()
            os.fsync(new.fileno())

    target.parent.mkdir(parents=True, exist_ok=True)
    _put_in_place(target, fill)


def _put_in_place(path: Path, fill: Callable[[Path], None]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with naming(path):
        try:
            fill(beside)
            beside.replace(path)
            sync_folder(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


def swap_folder(new: Path, target: Path) -> None:
    """Put the folder `new` where `target` is, which goes only when nothing but a rename is left to do.

    A link at `target` is replaced, and not what it points to. Raises OSError naming `target`, which is then as it was.
    """
    old, beside = (target.with_name(f".{target.name}.{name}.{os.getpid()}.part") for name in ("old", "new"))
    target.parent.mkdir(parents=True, exist_ok=True)
    for stale in (old, beside):
        _remove(stale)
    with naming(target):
        try:
            _rename_over(new, target, old)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            try:
                shutil.copytree(new, beside)
                _rename_over(beside, target, old)
            finally:
                _remove(beside)
            _remove(new)
    _remove(old)


def _rename_over(new: Path, target: Path, old: Path) -> None:
    had = os.path.lexists(target)
    if had:
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if had:
            old.rename(target)
        raise


def _remove(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Raise an OSError of the body as one that names `path`, and what helps; one that does already stays."""
    try:
        yield
    except OSError as error:
        if (error.strerror or "").startswith("could not write"):
            raise
        remedy = _REMEDIES.get(error.errno or 0, "")
        text = f"could not write {path}: {error.strerror or error}; nothing was changed{remedy}"
        raise OSError(error.errno, text) from error


#: What helps, by what the system says.
_REMEDIES = {
    errno.ENOSPC: "; make room on that disk, and run it again",
    getattr(errno, "EDQUOT", errno.ENOSPC): "; make room within your quota, and run it again",
    errno.EROFS: "; it is mounted read-only",
    errno.EACCES: "; mend its permissions, and run it again",
    errno.EPERM: "; mend its permissions, and run it again",
    errno.EBUSY: "; is it a mount point? a folder that is replaced whole can be none: mount the one above it",
}


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where a system can: a renamed file then outlives a power cut."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems that know no such thing say EINVAL
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def describe_kind(path: Path) -> str:
    """What stands at a path, in words: `a named pipe`, `a folder`."""
    kinds = {"is_dir": "a folder", "is_fifo": "a named pipe", "is_socket": "a socket"}
    devices = {"is_char_device": "a device", "is_block_device": "a device", "is_file": "a regular file"}
    return next((words for name, words in (kinds | devices).items() if getattr(path, name)()), "no file")


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
    contents = ((name, path.read_bytes()) for name, path in sorted(paths) if "__pycache__" not in path.parts)
    return digest_of(contents, folder.name)


def digest_of(contents: Iterable[tuple[str, bytes]], folder: str = "") -> str:
    """SHA-256 (hex) over names and contents, given in the order of the names; line ends read as LF.

    `Invalid` for a name that is no UTF-8, which no two systems agree on; `folder` is where the names are.
    """
    digest = hashlib.sha256()
    for name, data in contents:
        data = data.replace(b"\r\n", b"\n")
        digest.update(encode_name(name, folder) + f"\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def encode_name(name: str, folder: str = "") -> bytes:
    """The name of a file in UTF-8; `Invalid` for one of other bytes, as systems other than Windows may have."""
    try:
        return name.encode("utf-8")
    except UnicodeEncodeError:
        where = f"{folder}/{name}" if folder else name
        problem = "found a name that is no UTF-8, expected one that is; rename it, or take it away"
        raise Invalid.at(where, problem) from None
