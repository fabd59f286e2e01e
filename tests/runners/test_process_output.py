"""What a program prints is read to its end by a thread that neither blocks the program nor waits for ever."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest

from stages.runners import process_tree


class Pipe:
    """The output of a program, read through a file descriptor."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.closed = False

    def fileno(self) -> int:
        return self.read

    def close(self) -> None:
        self.closed = True


def test_the_reader_ends_with_the_output_and_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, seen = Pipe(), list[bytes]()
    reader = process_tree._Reader(SimpleNamespace(stdout=pipe), seen.append)  # type: ignore[arg-type]
    assert reader._thread.daemon is True
    os.write(pipe.write, b"said")
    os.close(pipe.write)
    reader.finish()
    assert (seen, pipe.closed) == ([b"said"], True)
    os.close(pipe.read)


def test_an_output_that_somebody_else_holds_open_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tree, "DRAIN_SECONDS", 0.01)
    pipe = Pipe()
    reader = process_tree._Reader(SimpleNamespace(stdout=pipe), lambda data: None)  # type: ignore[arg-type]
    reader.finish()
    assert (reader._thread.is_alive(), pipe.closed) == (True, False)
    os.close(pipe.write)
    reader._thread.join(20)
    os.close(pipe.read)


def test_after_an_error_the_rest_of_the_output_is_read_and_thrown_away() -> None:
    pipe, seen = Pipe(), list[bytes]()

    def receive(data: bytes) -> None:
        seen.append(data)
        raise ValueError(f"unreadable {len(seen)}")

    reader = process_tree._Reader(SimpleNamespace(stdout=pipe), receive)  # type: ignore[arg-type]
    os.write(pipe.write, b"x" * (process_tree.CHUNK // 2))
    while not seen:
        time.sleep(0.01)
    os.write(pipe.write, b"x")
    os.close(pipe.write)
    with pytest.raises(ValueError, match=r"^unreadable 1$"):
        reader.finish()
    assert len(seen) == 1
    os.close(pipe.read)
