"""Files appear whole or not at all, and a disk that is full is told with the file's name."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import SafetensorError

from trainer.whole import write_utf8, write_whole


def full(error: Exception, part: Path) -> None:
    part.write_bytes(b"half")
    raise error


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_an_os_error_with_path_and_remedy_and_leaves_the_old_file(
    tmp_path: Path, error: Exception
) -> None:
    path = tmp_path / "model.safetensors"
    write_utf8(path, "old")
    with pytest.raises(OSError) as caught:
        write_whole(path, lambda part: full(error, part))
    assert str(caught.value).startswith(f"{path}: could not be written (")
    assert "No space left on device" in str(caught.value)
    assert "make room there" in str(caught.value)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("model.safetensors", b"old")]


def test_an_error_of_another_kind_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a", lambda part: full(KeyboardInterrupt(), part))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_text_is_utf8_with_the_line_ends_it_has(tmp_path: Path) -> None:
    write_utf8(tmp_path / "a.csv", "é,1\n")
    assert (tmp_path / "a.csv").read_bytes() == "é,1\n".encode()
