"""Building the site: beside the old one, then swapped whole. A failed build leaves the old site as it was.

It reads no clock, no hostname and no git, so two builds of one study are the same bytes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from jinja2 import Environment

from report import tables
from report.layout import Provenance, shared
from report.load import StudyFiles, load
from report.page import Page
from report.pages import all_pages, count_pages
from report.render import HERE, environment, render
from report.search import index
from report.views import StudyView
from stages.domain import canonical, names
from stages.domain.errors import Invalid
from stages.domain.files import naming, swap_folder
from stages.domain.metric import Metric, metric_of

Progress = Callable[[int, int], None]
#: The kind of a published site, in its manifest.
PUBLISHED = "published site"
ASSETS = ("site.css", "figures.js", "site.js")


def plotly_file() -> Path:
    """The minified Plotly inside the installed package, without importing it."""
    spec = importlib.util.find_spec("plotly")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path
    raise Invalid("plotly: no plotly.min.js in the installed package; `pip install plotly` brings it")


def read_assets() -> dict[str, bytes]:
    """What every page loads, by name: style, scripts, Plotly."""
    own = {name: (HERE / "assets" / name).read_bytes().replace(b"\r\n", b"\n") for name in ASSETS}
    return {f"assets/{name}": data for name, data in {**own, "plotly.min.js": plotly_file().read_bytes()}.items()}


class _Writer:
    """Writes files under a folder and remembers the digest and size of each."""

    def __init__(self, folder: Path, metric: Metric) -> None:
        self.folder = folder
        self.metric = metric
        self.files: dict[str, dict[str, str | int]] = {}
        self._made: set[str] = set()

    def write(self, name: str, data: bytes) -> None:
        """Write one file; the same name twice is a mistake of the generator."""
        if name in self.files:
            raise AssertionError(f"{name} was written twice")
        path, parent = Path(f"{self.folder}/{name}"), name.rpartition("/")[0]
        with naming(path):
            if parent not in self._made:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._made.add(parent)
            path.write_bytes(data)
        self.files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    def write_named(self, name: str, data: bytes) -> None:
        """Write a file that speaks of the metric. Pages say val_bpb; a command's study has a name of its own for it."""
        self.write(name, self.metric.rename(data.decode("utf-8")).encode("utf-8"))


def _write_page(env: Environment, out: _Writer, page: Page, common: dict[str, object], study: str) -> None:
    context = {"figures": [], **common, **page.context, "title": page.title, "tables": {t.id: t for t in page.tables}}
    out.write_named(page.path, render(env, page.template, page.path, context))
    stem = page.path.removesuffix(".html")
    for table in page.tables:
        out.write_named(f"{stem}.{table.id}.csv", tables.as_csv(table))
        out.write_named(f"{stem}.{table.id}.json", tables.as_json(table, study, str(common["clock"])))
    for name, data in page.extra.items():
        out.write(name, data)


def write_site(
    files: StudyFiles,
    folder: Path,
    progress: Progress = lambda done, of: None,
    provenance: Provenance | None = None,
    more: Sequence[Page] = (),
) -> dict[str, object]:
    """Every file of the site into an empty folder; returns the manifest that was written last.

    Pages are made one at a time and forgotten, so memory does not hold the site. `provenance` and `more` pages are
    those of a published site.
    """
    view = StudyView(files)
    env, common, name = environment(), shared(view, provenance), view.study.study.name
    out = _Writer(folder, metric_of(view.study.runner))
    for asset, data in read_assets().items():
        out.write(asset, data)
    total = count_pages(view) + len(more)
    for done, page in enumerate(chain(all_pages(view), more), start=1):
        _write_page(env, out, page, common, name)
        progress(done, total)
    out.write_named("assets/search.js", index(view))
    manifest: dict[str, object] = {"schema": 1, "study": name, "files": out.files}
    if provenance:
        manifest |= {"kind": PUBLISHED, "commit": provenance.commit}
    (folder / "manifest.json").write_bytes(canonical.dumps(manifest))
    return manifest


def build(root: Path, progress: Progress = lambda done, of: None) -> dict[str, object]:
    """Build site/ under `root` from what lies there. Returns the manifest. Raises before the old site is touched."""
    files = load(root)
    new = root / names.SCRATCH / f"site-{os.getpid()}"
    shutil.rmtree(new, ignore_errors=True)
    try:
        with naming(new):
            new.mkdir(parents=True)
        manifest = write_site(files, new, progress)
        swap_folder(new, root / names.SITE)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return manifest
