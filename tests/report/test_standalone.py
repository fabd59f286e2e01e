"""The program of a page that stands alone: it reads a result from a file or from standard input."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from report.standalone import fill_numbered, main_of, percent, replace_folder, share_column, write_page
from report.tables import Table
from stages.domain import files
from stages.domain.errors import Refused


def write_new(new: Path) -> None:
    (new / "index.html").write_bytes(b"new")


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


@pytest.mark.parametrize(("share", "value"), [(None, None), (0.0, 0.0), (0.123456789, 12.3457), (1.0, 100.0)])
def test_a_share_is_shown_in_per_cent_to_four_digits(share: float | None, value: float | None) -> None:
    assert percent(share) == value


def test_columns_of_shares_and_numbered_rows() -> None:
    column = share_column("x", "X, %", "hint", 1)
    reported = (column.key, column.label, column.kind, column.hint, column.digits)
    assert (reported, share_column("x", "X, %").digits) == (("x", "X, %", "number", "hint", 1), 2)
    table = fill_numbered(Table("t", "T", "s"), [column], [SimpleNamespace(x=0.5), SimpleNamespace(x=None)])
    assert ([row.id for row in table.rows], table.values) == (["t.1", "t.2"], [[50.0], [None]])


@pytest.mark.parametrize(
    ("content", "replaceable"),
    [
        (None, True),
        ({}, True),
        ({"manifest.json": b'{"kind":"echo"}\n'}, True),
        ({"manifest.json": b'{"kind":"echo"}\n', "other": b"x"}, True),
        ({"manifest.json": b'{"kind":"another"}\n'}, False),
        ({"manifest.json": b'{"study":"x"}\n'}, False),
        ({"manifest.json": b'["kind"]\n'}, False),
        ({"manifest.json": b"nonsense"}, False),
        ({"notes.txt": b"mine"}, False),
    ],
)
def test_a_folder_is_replaced_where_it_is_empty_or_holds_a_page_of_the_kind(
    content: dict[str, bytes] | None, replaceable: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "page"
    for name, data in (content or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    if content == {}:
        folder.mkdir()
    before = {path.name: path.read_bytes() for path in folder.glob("*")}
    if replaceable:
        replace_folder(folder, "echo", write_new)
        assert {path.name: path.read_bytes() for path in folder.glob("*")} == {"index.html": b"new"}
    else:
        with pytest.raises(Refused) as refused:
            replace_folder(folder, "echo", lambda new: None)
        assert str(refused.value) == (
            f"{folder.as_posix()} holds no page of a echo, expected one or an empty folder; name another"
        )
        assert {path.name: path.read_bytes() for path in folder.glob("*")} == before
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_a_file_is_no_folder_to_replace_and_a_page_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(Refused, match="holds no page of a echo"):
        replace_folder(tmp_path / "file", "echo", lambda new: None)
    (tmp_path / "page").mkdir()
    (tmp_path / ".page.new").mkdir()
    (tmp_path / ".page.new" / "left").touch()

    def fail(new: Path) -> None:
        assert list(new.iterdir()) == []
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replace_folder(tmp_path / "page", "echo", fail)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "page"]


def test_a_page_is_written_with_its_assets_and_a_manifest_of_all(tmp_path: Path) -> None:
    write_page({"index.html": b"x", "deep/er/file": b"yz"}, tmp_path / "deep" / "page", "echo")
    manifest = json.loads((tmp_path / "deep" / "page" / "manifest.json").read_bytes())
    assert (manifest["schema"], manifest["kind"]) == (1, "echo")
    assert sorted(manifest["files"]) == [
        "assets/figures.js", "assets/plotly.min.js", "assets/site.css", "assets/site.js", "deep/er/file", "index.html",
    ]  # fmt: skip
    assert manifest["files"]["deep/er/file"] == {"sha256": files.sha256_bytes(b"yz"), "bytes": 2}


def test_the_help_of_a_page_is_what_its_module_says(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main_of("report.echo", "Echo a result.\n\n  More\n  of it.", "echo", echo)(["--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: python -m report.echo [-h] result folder\n\nEcho a result.\n")
    assert printed.endswith("\n  More\n  of it.\n")
    assert "a result as JSON; `-`: standard input" in printed and "where the page goes" in printed
