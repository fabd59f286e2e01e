"""The report in one file: every section, no request, no dead link, the same words without JavaScript."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pytest

from report import single_file
from report.load import load
from report.single_file import MAX_BYTES, write_single_file
from stages.domain.errors import Refused
from tests.report.conftest import EVIL, Opener, make_study
from tests.report.pages import read
from tests.support import synthetic


@pytest.fixture(scope="module")
def report(default_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("single") / "report.html"
    assert write_single_file(load(default_study), path).endswith(" MB")
    return path


def test_every_page_but_those_of_runs_is_a_section_and_every_link_stays_inside(report: Path, site: Path) -> None:
    seen = read(report)
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    sections = {page for page in pages if not re.fullmatch(r"runs/rung\d+/.+|verify\.html", page)}
    assert sections <= set(seen.ids)
    assert len(seen.ids) == len(set(seen.ids))
    for link in seen.links:
        assert link in {f"#{name}" for name in seen.ids} | {"https://arxiv.org/abs/2606.11387"}, link
    assert seen.sources == []


def test_a_run_is_linked_to_its_row(report: Path) -> None:
    links = read(report).links
    assert "#runs/rung3.html/d8-c007.cpu-fp32.3000" in links


def test_the_words_of_every_page_are_there(report: Path, site: Path) -> None:
    text = " ".join(read(report).text.split())
    for name in ("index.html", "gates/gate3.html", "configs/d8-c007.html", "cost.html", "method.html"):
        main = (site / name).read_text(encoding="utf-8").partition("<h1")[2].partition('<p class="source"')[0]
        for words in re.findall(r"<p[^>]*>([^<>&]{30,})</p>", main):
            assert " ".join(words.split()) in text, (name, words)


def test_the_same_study_gives_the_same_file(report: Path, default_study: Path, tmp_path: Path) -> None:
    write_single_file(load(default_study), tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == report.read_bytes()
    assert report.stat().st_size < MAX_BYTES


def test_a_large_report_goes_without_configurations_and_one_that_is_still_too_large_is_refused(
    default_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Path
) -> None:
    monkeypatch.setattr(single_file, "MAX_BYTES", report.stat().st_size - 1)
    assert write_single_file(load(default_study), tmp_path / "r.html").endswith(", without the pages of configurations")
    seen = read(tmp_path / "r.html")
    assert "configs/d8-c007.html" not in seen.ids
    assert all(link[1:] in seen.ids for link in seen.links if link.startswith("#"))
    monkeypatch.setattr(single_file, "MAX_BYTES", 1_000_000)
    with pytest.raises(Refused, match="send site/ as a whole"):
        write_single_file(load(default_study), tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_hostile_texts_stay_texts_in_one_file(tmp_path: Path) -> None:
    value = synthetic.params(4, 1)
    value["study"] |= {"title": EVIL[:200], "question": EVIL, "note": EVIL}
    for host in value["hosts"].values():
        host["title"] = EVIL
    write_single_file(load(make_study(tmp_path / "study", value)), tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" not in html.partition("<script>")[0] and "<script>window" not in html
    assert EVIL in read(tmp_path / "r.html").text


PAGES = {"index.html", "gates/gate3.html", "configs/a b.html", "runs/rung3.html"}


@pytest.mark.parametrize(
    ("html", "written"),
    [
        ('<p id="R7">a &amp; b &#39;c&#39;</p>', '<p id="gates/gate3.html/R7">a &amp; b &#39;c&#39;</p>'),
        ('<a href="#R7">x</a>', '<a href="#gates/gate3.html/R7">x</a>'),
        ('<a href="../index.html">x</a>', '<a href="#index.html">x</a>'),
        ('<a class="n" href="../configs/a%20b.html#it&#39;s">x</a>', '<a class="n" href="#configs/a b.html/it&#x27;s">x</a>'),
        ('<a href="gate4.html">x</a>', "<a >x</a>"),
        ('<a href="../runs/rung3/a/h/7.html">x</a>', '<a href="#runs/rung3.html/a.h.7">x</a>'),
        ('<a href="../runs/rung4/a/h/7.html">x</a>', "<a >x</a>"),
        ('<a href="https://example.org/a">x</a>', '<a href="https://example.org/a">x</a>'),
        ('<link href="../index.html">', '<link href="../index.html">'),
        ('<div data-figure="f" data-table="t" aria-labelledby="x">', '<div data-figure="gates/gate3.html/f" data-table="gates/gate3.html/t" aria-labelledby="gates/gate3.html/x">'),
        ('a<span class="files">b <span>c</span> &amp; d</span>e', "ae"),
        ('<span class="file">b</span>', '<span class="file">b</span>'),
        ('<br>a<img src="x">b', '<br>a<img src="x">b'),
        ('<script type="application/json">{"a":"<b>"}</script>', '<script type="application/json">{"a":"<b>"}</script>'),
    ],
)  # fmt: skip
def test_ids_and_links_of_a_page_hold_in_the_whole(html: str, written: str) -> None:
    assert single_file._Section("gates/gate3.html", PAGES).rewrite(html) == written


@pytest.mark.parametrize(
    ("sizes", "end"),
    [
        ((3,), "r.html: 0.0 MB"),
        ((4,), "r.html: 0.0 MB"),
        ((5, 4), "r.html: 0.0 MB, without the pages of configurations"),
        ((5, 5), None),
    ],
)
def test_a_report_may_be_as_large_as_its_limit_and_no_larger(
    sizes: tuple[int, ...], end: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, made = list(sizes), []

    def make(view: object, pages: list[SimpleNamespace]) -> bytes:
        made.append([page.path for page in pages])
        return b"x" * left.pop(0)

    paths = ["index.html", "configs.html", "configs/a.html", "runs/rung3.html", "runs/rung3/a/h/7.html"]
    kinds = [SimpleNamespace(pages=lambda view: [SimpleNamespace(path=path) for path in paths]), single_file.verify]
    monkeypatch.setattr(single_file, "KINDS", kinds)
    monkeypatch.setattr(single_file, "StudyView", lambda study: study)
    monkeypatch.setattr(single_file, "make_single_file", make)
    monkeypatch.setattr(single_file, "MAX_BYTES", 4)
    monkeypatch.chdir(tmp_path)
    if end is None:
        with pytest.raises(
            Refused, match=r"^the report would have 0.0 MB, expected 16 at most; send site/ as a whole$"
        ):
            write_single_file(SimpleNamespace(), Path("r.html"))  # type: ignore[arg-type]
    else:
        assert write_single_file(SimpleNamespace(), Path("r.html")) == end  # type: ignore[arg-type]
        assert Path("r.html").read_bytes() == b"x" * sizes[-1]
    assert made[0] == paths[:4] and made[1:] == [["index.html", "configs.html", "runs/rung3.html"]] * (len(sizes) - 1)
    assert MAX_BYTES == 16_000_000


def test_the_policy_names_the_digest_of_every_script_and_they_stand_before_the_end(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    policy = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1))  # type: ignore[union-attr]
    scripts = re.findall(r"<script>(.*?)</script>\n", html.partition("</footer>")[2] or html, re.DOTALL)
    named = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in scripts[-3:]
    )
    assert policy == f"default-src 'none'; script-src {named}; style-src 'unsafe-inline'; img-src data: blob:"
    assert html.rstrip().endswith("</script>\n</body>\n</html>")


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_it_opens_from_a_disk_and_draws_every_figure_under_its_policy(report: Path, page: Opener, width: int) -> None:
    view = page.kept(report, width=width)
    assert len(view.query_selector_all(".plot svg.main-svg")) >= len(view.query_selector_all(".plot")) > 5
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    block = view.locator("[data-table='gates/gate3.html/outcome']")
    block.locator("input").fill("not met")
    assert block.locator("[role=status]").inner_text() == "6 of 10 rows"
    block.locator("input").fill("")


@pytest.mark.browser
def test_it_says_everything_without_javascript(report: Path, page: Opener) -> None:
    view = page(report.as_uri(), java_script_enabled=False)
    assert view.locator("[id='gates/gate3.html/outcome.caption']").is_visible()
    assert "The figure needs JavaScript" in view.inner_text("main")
