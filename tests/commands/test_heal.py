"""`promotion heal` says what it removed, or that there was nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.cli import build_parser
from stages.commands import heal
from stages.domain.errors import Refused


@pytest.fixture
def waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """An empty study as the working directory; how long dying processes were waited for."""
    waits: list[float] = []
    original = heal.heal
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(heal, "heal", lambda wait: waits.append(wait) or original(wait))
    Path("params.yaml").write_bytes(b"")
    return waits


def run() -> int:
    return heal.run(build_parser("heal").parse_args(["heal"]))


def test_what_was_left_half_written_is_removed_and_named(waited, capsys) -> None:
    Path("dvc.lock").write_bytes(b"schema: '2.0'\nsta")
    assert run() == 0
    shown = capsys.readouterr()
    assert shown.err == "dvc.lock: left half-written by a process that was killed; removed\n"
    assert (shown.out, Path("dvc.lock").exists(), waited) == ("", False, [5.0])


def test_where_nothing_is_left_it_says_so(waited, capsys) -> None:
    assert run() == 0
    assert capsys.readouterr() == ("nothing was left half-written\n", "")


def test_other_commands_do_not_wait_and_touch_no_folder_that_is_no_study(waited, capsys) -> None:
    Path("dvc.lock").write_bytes(b"schema: '2.0'\nsta")
    assert heal.heal_workspace() == [Path("dvc.lock")]
    assert waited == [0.0]
    Path("dvc.lock").write_bytes(b"schema: '2.0'\nsta")
    Path("params.yaml").unlink()
    assert heal.heal_workspace() == []
    assert Path("dvc.lock").exists()
    with pytest.raises(Refused, match=r"^params\.yaml is missing; run this in the root of a study$"):
        run()
