"""Files and folders in seldom states: left-over parts, links in the way, renames that fail half-way; and digests."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import stat
from pathlib import Path

import pytest

from stages.domain import files
from stages.domain.errors import Invalid


def test_parts_of_processes_that_ended_go_when_the_file_is_written_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a[1]"
    parts = [".a[1].7.part", ".a[1].8.part", ".a1.7.part", ".b.7.part"]
    for name in parts:
        (tmp_path / name).write_bytes(b"half")
    monkeypatch.setattr(files, "is_abandoned", lambda part: ".7." in part.name)
    files.write_whole(path, b"whole")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([*parts[1:], "a[1]"])


def test_a_file_of_the_same_size_and_other_bytes_is_written(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_copy_has_the_bytes_its_folder_and_nothing_beside_it_and_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"0123456789" * 20
    (tmp_path / "source").write_bytes(data)
    synced: list[int] = []
    monkeypatch.setattr(files, "CHUNK", 7)
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    files.copy_whole(tmp_path / "source", tmp_path / "a" / "b" / "copy")
    assert (tmp_path / "a" / "b" / "copy").read_bytes() == data
    assert synced[0] == len(data)
    assert names_in(tmp_path / "a" / "b") == ["copy"]
    with pytest.raises(OSError, match=r"^\[Errno 2\] could not write .*copy2: No such file or directory; nothing was"):
        files.copy_whole(tmp_path / "none", tmp_path / "a" / "copy2")
    assert names_in(tmp_path / "a") == ["b"]


def names_in(folder_: Path) -> list[str]:
    return sorted(entry.name for entry in folder_.iterdir())


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "x").write_bytes(text.encode())
    return path


def test_left_overs_of_an_earlier_swap_are_removed_and_a_new_folder_takes_an_empty_place(tmp_path: Path) -> None:
    for name in ("old", "new"):
        folder(tmp_path / f".target.{name}.{os.getpid()}.part", "stale")
    files.swap_folder(folder(tmp_path / "new", "new"), tmp_path / "target")
    assert names_in(tmp_path) == ["target"]
    assert (tmp_path / "target" / "x").read_bytes() == b"new"
    files.swap_folder(folder(tmp_path / "next", "next"), tmp_path / "a" / "b" / "target")
    assert (tmp_path / "a" / "b" / "target" / "x").read_bytes() == b"next"


def test_a_link_to_a_folder_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    other = folder(tmp_path / "other", "other")
    (tmp_path / "target").symlink_to(other)
    files.swap_folder(folder(tmp_path / "new", "new"), tmp_path / "target")
    assert not (tmp_path / "target").is_symlink()
    assert ((tmp_path / "target" / "x").read_bytes(), (other / "x").read_bytes()) == (b"new", b"other")
    assert names_in(tmp_path) == ["other", "target"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("code", [errno.EACCES, errno.EXDEV])
def test_a_folder_that_cannot_be_put_in_place_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, code: int
) -> None:
    """Also where it is copied from another file system, and the disk is full meanwhile."""
    new, target = folder(tmp_path / "new", "new"), tmp_path / "target"
    if there:
        folder(target, "old")
    before = names_in(tmp_path)
    rename = Path.rename

    def refuse(path: Path, to: Path) -> Path:
        if path == new:
            raise OSError(code, os.strerror(code))
        return rename(path, to)

    def full(source: Path, to: Path) -> None:
        to.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)
    monkeypatch.setattr(files.shutil, "copytree", full)
    reason = "No space left on device" if code == errno.EXDEV else "Permission denied"
    remedy = "make room on that disk" if code == errno.EXDEV else "mend its permissions"
    message = rf"could not write {re.escape(str(target))}: {reason}; nothing was changed; {remedy}, and run it again$"
    with pytest.raises(OSError, match=message) as raised:
        files.swap_folder(new, target)
    assert raised.value.errno == (errno.ENOSPC if code == errno.EXDEV else code)
    assert names_in(tmp_path) == before
    assert (new / "x").read_bytes() == b"new"
    assert not there or (target / "x").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("odd"), "could not write f: odd; nothing was changed"),
        (OSError(errno.EIO, "Input/output error"), "could not write f: Input/output error; nothing was changed"),
        (OSError(errno.EROFS, "x"), "could not write f: x; nothing was changed; it is mounted read-only"),
        (
            OSError(errno.EPERM, "x"),
            "could not write f: x; nothing was changed; mend its permissions, and run it again",
        ),
    ],
)
def test_an_error_is_told_with_the_name_of_the_file_and_what_helps(error: OSError, message: str) -> None:
    with pytest.raises(OSError) as raised, files.naming(Path("f")):
        raise error
    assert str(raised.value).removeprefix(f"[Errno {error.errno}] ") == message
    assert raised.value.__cause__ is error


def test_a_folder_that_knows_no_sync_is_none_the_worse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[int] = []
    close = os.close

    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "close", lambda descriptor: (closed.append(descriptor), close(descriptor))[1])
    files.sync_folder(tmp_path)
    assert len(closed) == (0 if os.name == "nt" else 1)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_stands_at_a_path_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("file").write_bytes(b"")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        kinds = {path: files.describe_kind(Path(path)) for path in (".", "pipe", "socket", "file", "none", os.devnull)}
    assert list(kinds.values()) == [
        *("a folder", "a named pipe", "a socket", "a regular file", "no file", "a device"),
    ]
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    data = b"some bytes"
    (tmp_path / "f").write_bytes(data)
    sha256, md5 = hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest()
    assert files.sha256_bytes(data) == files.sha256_file(tmp_path / "f") == sha256
    assert files.md5_bytes(data) == files.md5_file(tmp_path / "f") == md5


def test_the_digest_of_a_tree_is_that_of_names_sizes_and_contents_in_order(tmp_path: Path) -> None:
    for name, data in (("b.py", b"2\r\n"), ("a/c.py", b"1"), ("a/d.txt", b"3"), ("__pycache__/x.py", b"4")):
        files.write_whole(tmp_path / name, data)
    expected = hashlib.sha256(b"a/c.py\x001\x001" + b"b.py\x002\x002\n").hexdigest()
    assert files.tree_digest(tmp_path) == expected
    assert files.digest_of([("a/c.py", b"1"), ("b.py", b"2\n")]) == expected
    assert files.tree_digest(tmp_path, "*.txt") == hashlib.sha256(b"a/d.txt\x001\x003").hexdigest()


@pytest.mark.parametrize(("where", "place"), [("", "x"), ("trainer", "trainer/x")])
def test_a_name_is_its_bytes_in_utf8_or_refused_with_its_folder(where: str, place: str) -> None:
    assert files.encode_name("ä", where) == b"\xc3\xa4"
    with pytest.raises(Invalid) as error:
        files.encode_name("x\udcff", where)
    assert str(error.value) == (
        f"{place}\\xff: found a name that is no UTF-8, expected one that is; rename it, or take it away"
    )
