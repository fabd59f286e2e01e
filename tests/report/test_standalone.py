"""The program of a page that stands alone: it reads a result from a file or from standard input."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from report.standalone import main_of


def echo(data: bytes, where: str) -> dict[str, bytes]:
    return {"index.html": b"<!doctype html>\n" + data, "where.txt": where.encode()}


@pytest.mark.parametrize("standard", [False, True])
def test_a_result_comes_from_a_file_or_from_standard_input(
    standard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result, folder = tmp_path / "result.json", tmp_path / "page"
    result.write_bytes(b"{}")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    main_of("report.echo", "Echo a result.\n\nMore.", "an echo", echo)(["-" if standard else str(result), str(folder)])
    assert (folder / "index.html").read_bytes() == b"<!doctype html>\n{}"
    assert (folder / "where.txt").read_text(encoding="utf-8") == ("standard input" if standard else str(result))
    assert capsys.readouterr().out == f"wrote {(folder / 'index.html').as_posix()}\n"
