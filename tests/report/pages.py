"""Reading pages in tests: ids, links, tables and text, with the standard library's parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

KINDS = (
    "index.html",
    "gates/gate3.html",
    "gates/gate5.html",
    "configs.html",
    "configs/{config}.html",
    "runs.html",
    "runs/rung3.html",
    "runs/{run}.html",
    "agreement.html",
    "stability.html",
    "confidence.html",
    "hindsight.html",
    "cost.html",
    "method.html",
    "verify.html",
)


@dataclass
class Seen(HTMLParser):
    """What a page holds."""

    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    inline_scripts: list[str] = field(default_factory=list)
    tables: int = 0
    text: str = ""
    handlers: list[str] = field(default_factory=list)
    _script: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        reported = {name: value or "" for name, value in attrs}
        self.handlers += [name for name in reported if name.startswith("on")]
        if "id" in reported:
            self.ids.append(reported["id"])
        if tag == "a" and "href" in reported:
            self.links.append(reported["href"])
        if tag == "link" and reported.get("rel") == "stylesheet":
            self.sources.append(reported["href"])
        if "src" in reported:
            self.sources.append(reported["src"])
        self.tables += tag == "table"
        self._script = tag == "script"
        if tag == "script" and "src" not in reported and reported.get("type") != "application/json":
            self.inline_scripts.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._script = False
        if tag in ("td", "th", "dt", "dd"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        if not self._script:
            self.text += data


def read(path: Path) -> Seen:
    """A parsed page."""
    seen = Seen()
    seen.feed(path.read_text(encoding="utf-8"))
    seen.close()
    return seen


def target(page: Path, link: str) -> tuple[Path, str] | None:
    """The file and fragment that a link leads to, or None where it leaves the site."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    return (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve(), unquote(parts.fragment)


def kinds(site: Path) -> list[str]:
    """One page of every kind."""
    run = sorted(
        path.relative_to(site / "runs").with_suffix("").as_posix() for path in (site / "runs").glob("rung5/*/*/*.html")
    )[0]
    return [kind.format(config=run.split("/")[1], run=run) for kind in KINDS]


def dead_links(site: Path) -> list[str]:
    """Links inside a site that lead to no file, or to no id of it."""
    seen = {path.resolve(): read(path) for path in site.rglob("*.html")}
    dead = []
    for page, content in seen.items():
        for link in content.links:
            place = target(page, link)
            known = place is None or (place[0].is_file() and (not place[1] or place[1] in seen[place[0]].ids))
            dead += [] if known else [f"{page.relative_to(site.resolve()).as_posix()}: {link}"]
    return dead
