"""The report as one file, to be sent: the pages of the site as sections of one, with style, scripts and Plotly inside.

    promotion site --single-file report.html      (`python -m report --single-file report.html` is the same)

It opens from a disk and says everything without JavaScript, as the site does. Pages of runs and the files of the tables
are left out, and so are the pages of configurations where the whole would be larger than `MAX_BYTES`; a link to what is
left out leads to the row of a run, or nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

from report.build import read_assets
from report.layout import shared
from report.load import StudyFiles
from report.page import Page
from report.pages import KINDS, verify
from report.render import environment, render
from report.views import StudyView
from stages.domain import files
from stages.domain.errors import Refused
from stages.domain.foreign_text import visible
from stages.domain.metric import metric_of

#: What a mail with an attachment may weigh is less than 25 MB in most places, a third more than the file itself.
MAX_BYTES = 16_000_000
#: Attributes that name an element of the page, and those that lead somewhere.
_IDS = re.compile(r'\b(id|aria-labelledby|data-figure|data-table)="([^"]*)"')
_LINK = re.compile(r'\bhref="([^"]*)"')
_RUN = re.compile(r"runs/(rung\d+)/(.+)\.html")


def write_single_file(study: StudyFiles, path: Path) -> str:
    """Write the report; what was written, in words. `Refused` where even the least of it is too large."""
    view = StudyView(study)
    kinds = [kind for kind in KINDS if kind is not verify]
    pages = [page for kind in kinds for page in kind.pages(view) if not _RUN.fullmatch(page.path)]
    data, left_out = make_single_file(view, pages), ""
    if len(data) > MAX_BYTES:
        data = make_single_file(view, [page for page in pages if not page.path.startswith("configs/")])
        left_out = ", without the pages of configurations"
    if len(data) > MAX_BYTES:
        raise Refused(f"the report would have {len(data) / 1e6:.1f} MB, expected 16 at most; send site/ as a whole")
    files.write_whole(path, data)
    return f"{path.as_posix()}: {len(data) / 1e6:.1f} MB{left_out}"


def make_single_file(view: StudyView, pages: list[Page]) -> bytes:
    """The bytes of the report with these pages."""
    env, common = environment(), {**shared(view), "figures": []}
    assets = {name.removeprefix("assets/"): data.decode("utf-8") for name, data in read_assets().items()}
    scripts = [assets[name] for name in ("site.js", "plotly.min.js", "figures.js")]
    known = {page.path for page in pages}
    sections = []
    for page in pages:
        context = {**common, **page.context, "title": page.title, "tables": {table.id: table for table in page.tables}}
        html = render(env, page.template, page.path, context).decode("utf-8")
        main = html.partition('<main id="Main" class="wrap">')[2].rpartition("</main>")[0]
        sections.append((page.path, page.title, _Section(page.path, known).rewrite(main)))
    policy = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    html = env.get_template("single_file.html").render(
        **common,
        title="Report",
        sections=sections,
        css=assets["site.css"],
        csp=f"default-src 'none'; script-src {policy}; style-src 'unsafe-inline'; img-src data: blob:",
    )
    head, end, tail = visible(metric_of(view.study.runner).rename(html)).rpartition("</body>")
    # The scripts stand in it as they are, since the policy names their digests.
    inline = "".join(f"<script>{script}</script>\n" for script in scripts)
    return f"{head}{inline}{end}{tail}".encode()


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


class _Section(HTMLParser):
    """The content of one page with ids and links that hold in the whole: `gates/gate3.html/R7` and `#` before it."""

    def __init__(self, path: str, known: set[str]) -> None:
        super().__init__(convert_charrefs=False)
        self._path, self._known = path, known
        self._parts: list[str] = []
        self._hidden = 0

    def rewrite(self, html: str) -> str:
        """The content rewritten."""
        self.feed(html)
        self.close()
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag as it stands, with other names; a span of links to files goes."""
        if self._hidden or ("class", "files") in attrs:
            self._hidden += 1
            return
        text = _IDS.sub(self._name, self.get_starttag_text() or "")
        self._parts.append(_LINK.sub(self._link, text) if tag == "a" else text)

    def handle_endtag(self, tag: str) -> None:
        """The end of a tag, unless the tag went."""
        if self._hidden:
            self._hidden -= 1
        else:
            self._parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Text and the content of scripts, as it stands."""
        self._put(data)

    def handle_entityref(self, name: str) -> None:
        """A reference such as &amp;."""
        self._put(f"&{name};")

    def handle_charref(self, name: str) -> None:
        """A reference such as &#39;."""
        self._put(f"&#{name};")

    def _put(self, text: str) -> None:
        if not self._hidden:
            self._parts.append(text)

    def _name(self, match: re.Match[str]) -> str:
        return f'{match[1]}="{self._path}/{match[2]}"'

    def _link(self, match: re.Match[str]) -> str:
        parts = urlsplit(unescape(match[1]))
        if parts.scheme:
            return match[0]
        target = normpath(join(dirname(self._path), unquote(parts.path))) if parts.path else self._path
        fragment = f"/{unquote(parts.fragment)}" if parts.fragment else ""
        if run := _RUN.fullmatch(target):
            target, fragment = f"runs/{run[1]}.html", f"/{run[2].replace('/', '.')}"
        return f'href="#{escape(target + fragment)}"' if target in self._known else ""
