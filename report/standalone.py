"""A page that stands alone in a folder, outside the audit site: written beside an old one and swapped in whole.

    python -m report.backtest result.json DIR
    python -m report.simulation result.json DIR

It keeps the safety rules of the site (docs/site.md): no inline script, one vendored Plotly, every text escaped.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from pathlib import Path

from report import tables
from report.build import read_assets
from report.render import environment, render
from report.tables import Column, Item, Table
from stages.domain import canonical
from stages.domain.errors import Refused
from stages.domain.files import swap_folder

MANIFEST = "manifest.json"
INDEX = "index.html"


def percent(share: float | None) -> float | None:
    """A share as tables and figures show it."""
    return None if share is None else round(100 * share, 4)


def share_column(key: str, label: str, hint: str = "", digits: int = 2) -> Column:
    """A column of a share, in per cent."""
    return Column(key, label, "number", hint, get=lambda row: percent(getattr(row, key)), digits=digits)


def fill_numbered(table: Table, columns: list[Column], items: Iterable[Item]) -> Table:
    """The table with a row for every item; rows are numbered from 1, since no name of others is fit for an id."""
    numbers = count(1)
    return table.fill(columns, items, lambda _: f"{table.id}.{next(numbers)}")


def render_page(
    template: str, context: Mapping[str, object], listed: Iterable[Table], result: bytes, source: str
) -> dict[str, bytes]:
    """Every file of a page but the vendored ones, by name; its tables name their `source`."""
    files = {INDEX: render(environment(), template, INDEX, context), "result.json": result}
    for table in listed:
        files[f"index.{table.id}.csv"] = tables.as_csv(table)
        files[f"index.{table.id}.json"] = tables.as_json(table, source)
    return files


def _replaceable(folder: Path, kind: str) -> bool:
    """Whether a folder is empty or holds a page of this kind."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return folder.is_dir()
    try:
        manifest = canonical.loads((folder / MANIFEST).read_bytes())
    except (OSError, canonical.NotCanonical):
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == kind


def write_page(page: dict[str, bytes], folder: Path, kind: str) -> None:
    """Write the files of a page and its assets."""
    files = {**page, **read_assets()}
    listed = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    files[MANIFEST] = canonical.dumps({"schema": 1, "kind": kind, "files": listed})

    def write(new: Path) -> None:
        for name, data in files.items():
            path = new / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    replace_folder(folder, kind, write)


def replace_folder(folder: Path, kind: str, write: Callable[[Path], None]) -> None:
    """Put what `write` writes in the place of a folder, whole; one that holds no page of this kind is left alone."""
    if folder.exists() and not _replaceable(folder, kind):
        raise Refused(f"{folder.as_posix()} holds no page of a {kind}, expected one or an empty folder; name another")
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        write(new)
        swap_folder(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def main_of(module: str, about: str, kind: str, build: Callable[[bytes, str], dict[str, bytes]]) -> Callable[..., None]:
    """The `main` of a page: read a result, build its files with `build(data, where)`, write them."""

    def main(arguments: list[str] | None = None) -> None:
        head, _, rest = about.partition("\n")
        form = argparse.RawDescriptionHelpFormatter
        parser = argparse.ArgumentParser(
            prog=f"python -m {module}", description=head, epilog=rest, formatter_class=form
        )
        parser.add_argument("result", help="a result as JSON; `-`: standard input")
        parser.add_argument("folder", type=Path, help="where the page goes")
        chosen = parser.parse_args(arguments)
        standard = chosen.result == "-"
        data = sys.stdin.buffer.read() if standard else Path(chosen.result).read_bytes()
        files = build(data, "standard input" if standard else chosen.result)
        write_page(files, chosen.folder.resolve(), kind)
        print(f"wrote {(chosen.folder / INDEX).as_posix()}")

    return main
