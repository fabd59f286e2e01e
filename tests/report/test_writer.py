"""Writing a site: each file once with its digest, pages with their tables, progress, and shares of runs."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report import build, writer
from report.page import Page
from report.tables import Column, Table, TableRow
from report.writer import SiteWriter
from stages.domain import files
from stages.domain.errors import Invalid


def view(runs: int = 0, **runner: Any) -> Any:
    return SimpleNamespace(
        study=SimpleNamespace(runner=runner, study=SimpleNamespace(name="s")), executed=list(range(runs))
    )


def make(folder: Path, told: Any = None) -> SiteWriter:
    return SiteWriter(folder, told or view(), {"clock": "wall clock", "figures": []})


def entry(data: bytes) -> dict[str, Any]:
    return {"sha256": files.sha256_bytes(data), "bytes": len(data)}


def test_a_file_is_written_once_into_its_folder(tmp_path: Path) -> None:
    out = make(tmp_path / "site")
    out.write("a/b.txt", b"x")
    out.write("a/c.txt", b"yz")
    out.write("top.txt", b"")
    assert out.files == {"a/b.txt": entry(b"x"), "a/c.txt": entry(b"yz"), "top.txt": entry(b"")}
    assert (tmp_path / "site" / "a" / "c.txt").read_bytes() == b"yz"
    with pytest.raises(AssertionError, match=r"^a/b\.txt was written twice$"):
        out.write("a/b.txt", b"x")


def test_the_metric_of_a_command_has_its_own_name(tmp_path: Path) -> None:
    score = {"name": "val_loss", "unit": "nats"}
    make(tmp_path, view(kind="command", score=score)).write_named("a", b"mean val_bpb")
    make(tmp_path).write_named("b", b"mean val_bpb")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"mean val_loss", b"mean val_bpb")


def test_a_page_is_written_with_the_files_of_its_tables_and_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[dict[str, object]] = []

    def render(env: object, template: str, path: str, context: dict[str, object]) -> bytes:
        contexts.append({"template": template, "path": path, **context})
        return b"page"

    monkeypatch.setattr(writer, "render", render)
    table = Table("t", "T", "src", columns=[Column("x", "X")], rows=[TableRow("r", {"x": 1})])
    out = make(tmp_path)
    out._write_page(
        Page("gates/g.html", "gate.html", "Gate", {"clock": "other", "y": 2}, [table], {"gates/more.json": b"{}"})
    )
    assert list(out.files) == ["gates/g.html", "gates/g.t.csv", "gates/g.t.json", "gates/more.json"]
    reported = {
        "template": "gate.html",
        "path": "gates/g.html",
        "figures": [],
        "clock": "other",
        "y": 2,
        "title": "Gate",
        "tables": {"t": table},
    }
    assert contexts == [reported]
    value = json.loads((tmp_path / "gates" / "g.t.json").read_bytes())
    assert (value["study"], value["clock"]) == ("s", "wall clock")


def test_progress_counts_pages_first_and_then_runs_by_shares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SHARE", 2)
    monkeypatch.setattr(writer, "count_processes", lambda runs: 1)
    monkeypatch.setattr(writer, "count_pages", lambda view: 7)
    monkeypatch.setattr(writer, "main_pages", lambda view: iter(["p1", "p2"]))
    monkeypatch.setattr(writer, "run_pages", lambda view, runs: (f"r{run}" for run in runs))
    out = make(tmp_path, view(5))
    monkeypatch.setattr(out, "_write_page", lambda page: out.write(page, b""))
    seen: list[tuple[int, int]] = []
    out.write_pages(["more"], lambda done, of: seen.append((done, of)))  # type: ignore[list-item]
    assert list(out.files) == ["p1", "p2", "more", *(f"r{n}" for n in range(5))]
    assert seen == [(1, 8), (2, 8), (3, 8), (5, 8), (7, 8), (8, 8)]


def test_a_share_of_runs_gives_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SHARE", 2)
    monkeypatch.setattr(writer, "run_pages", lambda view, runs: (f"r{run}" for run in runs))
    out = make(tmp_path, view(5))
    monkeypatch.setattr(out, "_write_page", lambda page: out.write(page, b""))
    out.write("before", b"")
    assert list(out.write_runs(2)) == ["r2", "r3"]
    assert list(out.write_runs(4)) == ["r4"]


def test_plotly_is_taken_from_its_package_or_the_remedy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build.plotly_file().name == "plotly.min.js"
    for spec in (
        None,
        SimpleNamespace(submodule_search_locations=None),
        SimpleNamespace(submodule_search_locations=[str(tmp_path)]),
    ):
        monkeypatch.setattr(build.importlib.util, "find_spec", lambda name, spec=spec: spec)
        with pytest.raises(
            Invalid, match=r"^plotly: no plotly\.min\.js in the installed package; `pip install plotly` brings it$"
        ):
            build.plotly_file()
    second = tmp_path / "second"
    (second / "package_data").mkdir(parents=True)
    (second / "package_data" / "plotly.min.js").touch()
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path), str(second)])
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: spec)
    assert build.plotly_file() == second / "package_data" / "plotly.min.js"


def test_assets_have_the_line_ends_of_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "assets").mkdir()
    for name in build.ASSETS:
        (tmp_path / "assets" / name).write_bytes(b"a\r\nb\n")
    (tmp_path / "plotly.min.js").write_bytes(b"x\r\n")
    monkeypatch.setattr(build, "HERE", tmp_path)
    monkeypatch.setattr(build, "plotly_file", lambda: tmp_path / "plotly.min.js")
    assert build.read_assets() == {
        "assets/site.css": b"a\nb\n", "assets/figures.js": b"a\nb\n", "assets/site.js": b"a\nb\n", "assets/plotly.min.js": b"x\r\n",
    }  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="pages are shared between processes on Linux alone")
def test_memory_is_frozen_while_processes_share_it(tmp_path: Path) -> None:
    with writer.share_work(make(tmp_path), 2):
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    with writer.share_work(make(tmp_path), 1):
        assert gc.get_freeze_count() == 0


def test_what_a_build_of_this_process_left_behind_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "scratch" / f"site-{os.getpid()}"
    left.mkdir(parents=True)
    (left / "old").touch()

    def write(study: object, folder: Path, progress: object) -> dict[str, object]:
        (folder / "index.html").touch()
        return {"schema": 1}

    monkeypatch.setattr(build, "load", lambda root: None)
    monkeypatch.setattr(build, "write_site", write)
    assert build.build(tmp_path) == {"schema": 1}
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize("provenance", [None, SimpleNamespace(commit="c")])
def test_a_site_is_its_assets_its_pages_its_index_and_a_manifest(
    provenance: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reported = view()
    asked: list[object] = []
    monkeypatch.setattr(build, "StudyView", lambda files: reported)
    monkeypatch.setattr(build, "shared", lambda made, given: {"clock": "c", "given": given})
    monkeypatch.setattr(build, "read_assets", lambda: {"assets/site.css": b"x"})
    monkeypatch.setattr(build, "index", lambda made: b"index of val_bpb")
    monkeypatch.setattr(SiteWriter, "write_pages", lambda self, more, progress: asked.append((more, progress)))
    manifest = build.write_site(None, tmp_path, print, provenance, ["page"])  # type: ignore[arg-type, list-item]
    more = {} if provenance is None else {"kind": "published site", "commit": "c"}
    assert manifest == {
        "schema": 1, "study": "s", "files": {"assets/site.css": entry(b"x"), "assets/search.js": entry(b"index of val_bpb")}, **more,
    }  # fmt: skip
    assert asked == [(["page"], print)]
    assert json.loads((tmp_path / "manifest.json").read_bytes()) == manifest
