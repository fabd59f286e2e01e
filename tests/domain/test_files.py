"""Files appear whole or not at all."""

import errno
import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from stages.domain import files
from stages.domain.errors import Invalid


def test_a_file_appears_with_its_folder_and_leaves_nothing_beside_it(tmp_path):
    files.write_whole(tmp_path / "a" / "b.txt", b"x")
    assert (tmp_path / "a" / "b.txt").read_bytes() == b"x"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_the_same_bytes_again_leave_the_file_untouched(tmp_path):
    path = tmp_path / "f"
    files.write_whole(path, b"x")
    os.utime(path, (1, 1))
    files.write_whole(path, b"x")
    assert path.stat().st_mtime == 1


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="could not write .*f: No space left on device; nothing was changed"):
        files.write_whole(path, b"new and longer")
    assert path.read_bytes() == b"old"
    assert [one.name for one in tmp_path.iterdir()] == ["f"]


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_before_anything_follows(tmp_path, monkeypatch):
    """A power cut at any moment leaves the old file or the new one: sync the bytes, rename, sync the folder."""
    path, events = tmp_path / "f", []
    path.write_bytes(b"old")

    def fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(status.st_mode)
        events.append(("folder" if is_folder else "bytes", None if is_folder else status.st_size, path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_whole(path, b"new and longer")
    expected = [("bytes", 14, b"old"), ("folder", None, b"new and longer")]
    assert events == (expected if os.name != "nt" else expected[:1])


def _folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "index.html").write_text(text, encoding="utf-8")
    return path


def _refuse_renames_from(monkeypatch: pytest.MonkeyPatch, folder: Path, code: int) -> None:
    """Let a folder lie on another file system, as far as renames can tell."""
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == folder:
            raise OSError(code, os.strerror(code), str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)


def test_a_folder_of_another_file_system_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    new, site = _folder(tmp_path / "new", "new"), _folder(tmp_path / "site", "old")
    _refuse_renames_from(monkeypatch, new, errno.EXDEV)
    files.swap_folder(new, site)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert (site / "index.html").read_text(encoding="utf-8") == "new"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no second file system here")
def test_a_folder_and_a_file_come_from_a_real_second_file_system(tmp_path):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if Path(other).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("no second file system here")
        new = _folder(Path(other) / "new", "new")
        files.copy_whole(new / "index.html", tmp_path / "copy.html")
        files.swap_folder(new, tmp_path / "site")
        assert not new.exists()
    assert (tmp_path / "copy.html").read_bytes() == (tmp_path / "site" / "index.html").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "make room on that disk, and run it again"),
        (errno.EBUSY, "is it a mount point?"),
        (errno.EACCES, "mend its permissions"),
    ],
)
def test_a_folder_that_cannot_be_replaced_stays_and_is_named_with_what_helps(tmp_path, monkeypatch, code, remedy):
    new, site = _folder(tmp_path / "new", "new"), _folder(tmp_path / "site", "old")
    _refuse_renames_from(monkeypatch, new, code)
    with pytest.raises(OSError, match="could not write .*site: .*; nothing was changed; ") as raised:
        files.swap_folder(new, site)
    assert remedy in str(raised.value)
    assert (site / "index.html").read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "site"]


def test_a_symlink_in_the_way_is_replaced_and_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"keep")
    link = tmp_path / "link"
    link.symlink_to(target)
    files.write_whole(link, b"keep")
    assert not link.is_symlink()
    assert target.read_bytes() == b"keep"


def _tree(root: Path) -> Path:
    (root / "sub").mkdir(parents=True)
    (root / "a.py").write_bytes(b"x = 1\n")
    (root / "sub" / "b.py").write_bytes(b"y = 2\n")
    return root


def test_the_runner_digest_changes_with_a_byte_a_name_or_a_file(tmp_path):
    first = files.tree_digest(_tree(tmp_path / "1"))
    changed, renamed, added = (_tree(tmp_path / n) for n in "234")
    (changed / "a.py").write_bytes(b"x = 2\n")
    (renamed / "a.py").rename(renamed / "c.py")
    (added / "d.py").write_bytes(b"")
    assert len({first, *(files.tree_digest(one) for one in (changed, renamed, added))}) == 4


def test_the_runner_digest_does_not_see_line_ends_or_caches(tmp_path):
    one, two = _tree(tmp_path / "1"), _tree(tmp_path / "2")
    (two / "a.py").write_bytes(b"x = 1\r\n")
    (two / "__pycache__").mkdir()
    (two / "__pycache__" / "a.py").write_bytes(b"junk")
    assert files.tree_digest(one) == files.tree_digest(two)


def test_an_error_that_names_its_file_already_is_raised_as_it_is(tmp_path):
    reported = OSError(errno.ENOSPC, "could not write x: full; nothing was changed")
    with pytest.raises(OSError) as error, files.naming(tmp_path / "f"):
        raise reported
    assert error.value is reported


def test_a_part_file_is_abandoned_where_its_process_has_ended(tmp_path, monkeypatch):
    import psutil

    path = tmp_path / ".f.123.part"
    path.write_bytes(b"")
    changed = path.stat().st_mtime

    class Process:
        def __init__(self, number: int) -> None:
            assert number == 123
            if isinstance(state, BaseException):
                raise state

        def create_time(self) -> float:
            return state[0]

        def status(self) -> str:
            return state[1]

    monkeypatch.setattr(psutil, "Process", Process)
    for state, abandoned in (
        ((changed - 10, psutil.STATUS_RUNNING), False),
        ((changed + files.CLOCK_SECONDS, psutil.STATUS_RUNNING), False),
        ((changed + files.CLOCK_SECONDS + 0.5, psutil.STATUS_RUNNING), True),
        ((changed - 10, psutil.STATUS_ZOMBIE), True),
        (psutil.NoSuchProcess(123), True),
        (FileNotFoundError(), True),
        (psutil.AccessDenied(123), False),
    ):
        assert files.is_abandoned(path) is abandoned, state
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert files.is_abandoned(path) is False
    assert files.is_abandoned(tmp_path / "f.txt") is False


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such a name")
def test_a_name_that_is_no_utf8_is_refused_by_name_and_has_no_digest(tmp_path):
    folder = tmp_path / "trainer"
    folder.mkdir()
    (folder / os.fsdecode(b"b\xff.py")).write_bytes(b"")
    with pytest.raises(Invalid, match=r"trainer/b\\xff\.py: found a name that is no UTF-8"):
        files.tree_digest(folder)
    with pytest.raises(Invalid, match=r"^b\\xff\.py: found a name"):
        files.digest_of([("b\udcff.py", b"")])
