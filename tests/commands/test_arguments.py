"""Paths as people type them, and refusals of what cannot be written before any work is done."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from stages.commands import arguments
from stages.commands.arguments import refuse_unwritable, user_path
from stages.domain.errors import Refused


def test_a_leading_tilde_is_a_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert user_path("~/key") == tmp_path / "key"
    assert user_path("a/~b") == Path("a/~b")
    with pytest.raises(argparse.ArgumentTypeError, match="^~nobody-of-that-name/x: this machine knows no home folder"):
        user_path("~nobody-of-that-name/x")


def test_files_in_folders_that_are_there_or_can_be_made_are_not_refused(tmp_path: Path) -> None:
    there = tmp_path / "there.json"
    there.write_bytes(b"{}")
    refuse_unwritable([("--json", None), ("--json", there), ("--out", tmp_path / "new" / "deep" / "a.json")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.json"]


@pytest.mark.parametrize("options", [["--a", "--b"], ["--b", "--a"]])
def test_the_option_whose_place_is_a_folder_or_below_a_file_is_named(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "file").write_bytes(b"x")
    places = {"--a": tmp_path / "good.json", "--b": tmp_path}
    message = rf"^--b {tmp_path}: found a folder, expected the name of a file to write$"
    with pytest.raises(Refused, match=message):
        refuse_unwritable((option, places[option]) for option in options)
    below = tmp_path / "file" / "deep" / "a.json"
    message = rf"^--b {below}: nothing can be written into {tmp_path / 'file'}; name another place$"
    with pytest.raises(Refused, match=message):
        refuse_unwritable((option, {"--a": None, "--b": below}[option]) for option in options)


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path, int]] = []
    monkeypatch.setattr(arguments.os, "access", lambda path, mode: asked.append((path, mode)))
    with pytest.raises(Refused, match=rf"nothing can be written into {tmp_path}; name another place$"):
        refuse_unwritable([("--out", tmp_path / "new" / "a.json")])
    assert asked == [(tmp_path, os.W_OK)]


@pytest.mark.skipif(os.name != "posix", reason="Windows asks for a privilege to make links")
def test_a_link_that_leads_nowhere_is_no_folder_to_write_into(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(Refused, match=rf"nothing can be written into {tmp_path / 'link'}; name another place$"):
        refuse_unwritable([("--out", tmp_path / "link" / "a.json")])
