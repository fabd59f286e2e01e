"""Building the site: beside the old one, then swapped whole. A failed build leaves the old site as it was.

It reads no clock, no hostname and no git, so two builds of one study are the same bytes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from report.layout import Provenance, shared
from report.load import StudyFiles, load
from report.page import Page
from report.render import HERE
from report.search import index
from report.views import StudyView
from report.writer import Progress, SiteWriter
from stages.domain import canonical, names
from stages.domain.errors import Invalid
from stages.domain.files import naming, swap_folder

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
    out = SiteWriter(folder, view, shared(view, provenance))
    for asset, data in read_assets().items():
        out.write(asset, data)
    out.write_pages(more, progress)
    out.write_named("assets/search.js", index(view))
    manifest: dict[str, object] = {"schema": 1, "study": view.study.study.name, "files": out.files}
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
