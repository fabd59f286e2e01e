"""What DVC made that is here: nothing is trusted, and what cannot be read is not called absent."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stages.domain.errors import Unreadable
from stages.domain.files import md5_bytes
from stages.dvcfiles.cache import (
    MAX_LISTING,
    Cache,
    Outputs,
    _raise_unless_missing,
    artifacts_present,
    cache_folder,
    files_in,
    folder_md5,
    is_here,
    md5_path,
)
from stages.dvcfiles.lockfile import LockedFile

LISTING = [{"md5": md5_bytes(b"x"), "relpath": "a/b"}]


def put(cache: Cache, md5: str, data: bytes) -> Path:
    path = cache.path(md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / ".dvc" / "cache" / "files" / "md5")


def test_a_path_is_here_whatever_stands_there_and_absent_where_nothing_or_a_file_is_above(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("nowhere")
    assert is_here(tmp_path / "file") and is_here(tmp_path) and is_here(tmp_path / "link")
    assert not is_here(tmp_path / "none") and not is_here(tmp_path / "file" / "below")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_entered_is_not_called_absent(tmp_path):
    (tmp_path / "shut").mkdir(mode=0)
    with pytest.raises(PermissionError):
        is_here(tmp_path / "shut" / "file")


def test_artifacts_are_present_where_records_or_anything_in_the_cache_is(tmp_path, cache):
    assert not artifacts_present(tmp_path)
    cache.path("0" * 32).parent.mkdir(parents=True)
    assert artifacts_present(tmp_path)
    (tmp_path / "other" / "artifacts" / "records").mkdir(parents=True)
    assert artifacts_present(tmp_path / "other")


def test_an_object_has_the_digest_of_its_bytes_whatever_its_name_says(cache):
    md5 = md5_bytes(b"x")
    put(cache, md5, b"y")
    assert cache.digest(md5) == md5_bytes(b"y")
    assert cache.digest("0" * 32) is None


@pytest.mark.parametrize("data", [b"{", b"[1]", b'[{"md5":"0"}]', b"1", b'[{"md5":"../../x","relpath":"a"}]', b"\xff"])
def test_a_listing_that_is_none_is_unreadable(cache, data):
    put(cache, "0" * 32 + ".dir", data)
    with pytest.raises(Unreadable):
        cache.listing("0" * 32 + ".dir")


def test_a_listing_as_large_as_one_may_be_is_read_and_a_larger_one_not(cache, monkeypatch):
    data = json.dumps(LISTING).encode()
    md5 = folder_md5([("a/b", LISTING[0]["md5"])])
    put(cache, md5, data)
    monkeypatch.setattr("stages.dvcfiles.cache.MAX_LISTING", len(data))
    assert cache.listing(md5) == {"a/b": LISTING[0]["md5"]}
    monkeypatch.setattr("stages.dvcfiles.cache.MAX_LISTING", len(data) - 1)
    with pytest.raises(Unreadable, match=f"{len(data)} bytes, expected the listing of a folder"):
        cache.listing(md5)
    assert MAX_LISTING == 256 << 20


def test_the_files_of_a_folder_are_named_by_their_path_in_it_and_a_linked_folder_is_refused(tmp_path):
    (tmp_path / "f" / "a").mkdir(parents=True)
    (tmp_path / "f" / "a" / "b").write_bytes(b"x")
    assert files_in(tmp_path / "f") == {"a/b": tmp_path / "f" / "a" / "b"}
    assert files_in(tmp_path / "none") == {}
    (tmp_path / "f" / "c").symlink_to("a")
    with pytest.raises(Unreadable, match="a link to a folder, expected the folder"):
        files_in(tmp_path / "f")


def test_a_device_is_no_file_to_hash():
    with pytest.raises(Unreadable, match="no regular file, expected one"):
        md5_path(Path(os.devnull))


def test_an_output_is_taken_from_the_workspace_or_whole_from_the_cache_or_not_at_all(tmp_path, cache):
    md5 = folder_md5([("a/b", LISTING[0]["md5"])])
    outputs = Outputs(tmp_path, {"out": LockedFile("out", md5, 1, 1, 0)})
    assert outputs.files("out") is None and outputs.files("unknown") is None
    put(cache, md5, json.dumps(LISTING).encode())
    assert Outputs(tmp_path, outputs.recorded).files("out") is None, "a file of it is not in the cache"
    inside = put(cache, LISTING[0]["md5"], b"x")
    assert Outputs(tmp_path, outputs.recorded).files("out") == {"a/b": inside}
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "b").write_bytes(b"x")
    assert outputs.files("out") == {"a/b": tmp_path / "out" / "a" / "b"}
    (tmp_path / "out" / "a" / "b").write_bytes(b"y")
    assert Outputs(tmp_path, outputs.recorded).files("out") == {"a/b": inside}


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        (None, ".dvc/cache/files/md5"),
        ("[core]\nremote = a\n", ".dvc/cache/files/md5"),
        ("[cache]\ntype = copy\ndir =\n", ".dvc/cache/files/md5"),
        ("[cache]\ndir = ../elsewhere\n", ".dvc/../elsewhere/files/md5"),
        ("[cache\n", ".dvc/cache/files/md5"),
    ],
)
def test_the_cache_is_where_the_settings_say_or_where_dvc_puts_it(tmp_path, config, folder):
    if config is not None:
        (tmp_path / ".dvc").mkdir()
        (tmp_path / ".dvc" / "config").write_text(config, encoding="utf-8")
    assert cache_folder(tmp_path) == tmp_path / folder
    (tmp_path / ".dvc").mkdir(exist_ok=True)
    (tmp_path / folder).mkdir(parents=True)
    assert not artifacts_present(tmp_path), "an empty cache is none"


def test_an_error_that_is_not_absence_goes_through():
    assert _raise_unless_missing(FileNotFoundError()) is _raise_unless_missing(NotADirectoryError()) is None
    with pytest.raises(PermissionError):
        _raise_unless_missing(PermissionError())


def test_digests_are_those_of_the_bytes_and_of_a_folders_listing(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "b").write_bytes(b"x")
    (tmp_path / "f" / "a").write_bytes(b"")
    listing = b'[{"md5": "d41d8cd98f00b204e9800998ecf8427e", "relpath": "a"}, {"md5": "9dd4e461268c8034f5c8564e155c67a6", "relpath": "b"}]'
    assert md5_path(tmp_path / "f" / "b") == "9dd4e461268c8034f5c8564e155c67a6"
    assert md5_path(tmp_path / "f") == f"{md5_bytes(listing)}.dir"


def test_an_object_lies_under_the_first_two_digits_and_is_hashed_once(cache):
    md5 = md5_bytes(b"x")
    path = put(cache, md5, b"x")
    assert path.parts[-3:] == ("md5", md5[:2], md5[2:])
    assert cache.digest(md5) == md5
    path.write_bytes(b"y")
    assert cache.digest(md5) == md5


def test_a_listing_without_a_digest_names_the_first_file_that_has_none(cache):
    listed = [{"md5": "0" * 32, "relpath": "a"}, {"md5": "no", "relpath": "b"}, {"md5": "none", "relpath": "c"}]
    path = put(cache, "0" * 32 + ".dir", json.dumps(listed).encode())
    with pytest.raises(Unreadable) as caught:
        cache.listing("0" * 32 + ".dir")
    assert str(caught.value) == f"{path.as_posix()}: no digest for 'b'"
    path.write_bytes(b"{")
    with pytest.raises(Unreadable) as caught:
        cache.listing("0" * 32 + ".dir")
    assert str(caught.value) == f"{path.as_posix()}: no listing of a folder, which its name says that it is"


def test_an_output_without_a_digest_is_not_here_and_one_whose_object_is_another_neither(tmp_path, cache):
    (tmp_path / "out").mkdir()
    assert Outputs(tmp_path, {"out": LockedFile("out", None, None, None, 0)}).files("out") is None
    put(cache, "0" * 32 + ".dir", json.dumps(LISTING).encode())
    put(cache, LISTING[0]["md5"], b"x")
    assert Outputs(tmp_path, {"out": LockedFile("out", "0" * 32 + ".dir", 1, 1, 0)}).files("out") is None
