"""Locks are written together or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.commands import freeze


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("no such folder")])
def test_where_one_lock_cannot_be_written_all_are_as_they_were_and_the_error_is_told(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, new, full, signature = (
        tmp_path / name for name in ("gate1.yaml", "gate2.yaml", "gate3.yaml", "gate1.yaml.sig")
    )
    there.write_bytes(b"old")
    signature.write_bytes(b"signed")
    write = freeze.files.write_whole

    def fail_at_the_third(path: Path, data: bytes) -> None:
        if path == full and data == b"new":
            raise error
        write(path, data)

    monkeypatch.setattr(freeze.files, "write_whole", fail_at_the_third)
    with pytest.raises(type(error), match=str(error.args[-1])):
        freeze._write_together(dict.fromkeys((there, new, full), b"new"), [signature])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "gate1.yaml": b"old",
        "gate1.yaml.sig": b"signed",
    }
