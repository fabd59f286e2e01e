"""The site as people meet it: in a real headless Chromium, from the disk and from a web server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import Opener
from tests.report.pages import KINDS, kinds

pytestmark = pytest.mark.browser
AXE = Path(__file__).parent / "vendor" / "axe.min.js"
every_kind = pytest.mark.parametrize("place", range(len(KINDS)), ids=[kind.replace("/", "_") for kind in KINDS])
both_schemes = pytest.mark.parametrize("scheme", ["light", "dark"])


def address(site: Path, name: str) -> str:
    return (site / name).as_uri()


def violations(one: Any) -> list[str]:
    if not one.evaluate("'axe' in window"):
        one.evaluate(AXE.read_text(encoding="utf-8"))
    found = one.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [
        f"{item['id']}: {item['nodes'][0]['html'][:160]} {item['nodes'][0].get('failureSummary', '')[:200]}"
        for item in found["violations"]
    ]


@both_schemes
@every_kind
def test_axe_finds_no_violation_on_any_kind_of_page(site: Path, page: Opener, place: int, scheme: str) -> None:
    one = page.kept(site / kinds(site)[place], scheme=scheme)
    one.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert violations(one) == []


@both_schemes
@pytest.mark.parametrize("name", ["index.html", "gates/gate2.html"])
def test_axe_finds_no_violation_on_pages_with_warnings_and_amendments(
    hostile: Path, page: Opener, name: str, scheme: str
) -> None:
    assert violations(page.kept(hostile / name, scheme=scheme)) == []


@every_kind
def test_no_page_is_wider_than_a_phone(site: Path, hostile: Path, page: Opener, place: int) -> None:
    for root in (site, hostile):
        one = page.kept(root / kinds(root)[place], width=390)
        assert one.evaluate("document.documentElement.scrollWidth") <= 390, root


@every_kind
def test_figures_are_drawn_from_the_disk_and_told_in_words(site: Path, page: Opener, place: int) -> None:
    path = site / kinds(site)[place]
    one = page.kept(path)
    plots = one.query_selector_all(".plot")
    assert bool(plots) is ("data-figure=" in path.read_text(encoding="utf-8"))
    for plot in plots:
        assert plot.query_selector("svg.main-svg")
        assert len(plot.get_attribute("aria-label")) > 40
        assert one.query_selector_all("table")


def test_a_figure_follows_the_colour_scheme(site: Path, page: Opener) -> None:
    read_colour = "document.querySelector('.js-line').style.stroke"
    seen = []
    for scheme in ("light", "dark"):
        one = page.kept(site / "index.html", scheme=scheme)
        one.wait_for_timeout(300)
        seen.append(one.evaluate(read_colour))
    assert seen[0] != seen[1]


def test_the_site_works_under_a_sub_path_of_a_server(subpath: str, page: Opener) -> None:
    one = page(subpath, figures=True)
    one.click("nav.main a:has-text('Agreement')")
    one.wait_for_selector("html[data-figures=drawn]", state="attached", timeout=30000)
    assert one.url == subpath + "agreement.html"
    one.fill("#Search", "rung5 d8-c007 5001")
    one.wait_for_selector("#Found a")
    one.press("#Search", "Enter")
    one.wait_for_selector("h1:has-text('rung5/d8-c007')")
    assert "/team/study/runs/rung5/d8-c007/" in one.url


@every_kind
def test_without_javascript_everything_but_the_figures_is_there(site: Path, page: Opener, place: int) -> None:
    path = site / kinds(site)[place]
    with_script, without = page.kept(path), page(path.as_uri(), java_script_enabled=False)
    with_script.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = false; })")
    drawn = with_script.evaluate("[...document.querySelectorAll('.plot')].map((one) => one.innerText)")
    texts = [one.inner_text("main") for one in (with_script, without)]
    for text in drawn:
        texts[0] = texts[0].replace(text, "")
    rows = [len(one.query_selector_all("tbody tr")) for one in (with_script, without)]
    assert rows[0] == rows[1]
    assert without.query_selector("h1")
    for line in (line.strip() for line in texts[0].splitlines()):
        words = line.replace("↕", "").strip()
        if len(words) > 30 and "Filter" not in words and "\t" not in words:
            assert words in texts[1], words
    assert not any(plot.is_visible() for plot in without.query_selector_all(".plot"))
    if drawn:
        assert "The figure needs JavaScript" in texts[1]


def test_tables_sort_and_filter_and_the_address_keeps_it(site: Path, page: Opener) -> None:
    one = page(address(site, "gates/gate3.html"))
    block = one.locator("[data-table=outcome]")
    block.locator("th[data-key=mean] button").click()
    block.locator("th[data-key=mean] button").click()
    block.locator("input").fill("not met")
    means = [float(text) for text in block.locator("tbody tr:visible td:nth-child(5)").all_inner_texts()]
    assert means == sorted(means, reverse=True)
    assert len(means) == 6
    assert block.locator("th[data-key=mean]").get_attribute("aria-sort") == "descending"
    assert block.locator("[role=status]").inner_text() == "6 of 10 rows"
    assert "outcome.sort=-mean" in one.url
    assert "outcome.q=not+met" in one.url
    again = page(one.url)
    assert (
        again.locator("[data-table=outcome] tbody tr:visible td:nth-child(5)").all_inner_texts()
        == block.locator("tbody tr:visible td:nth-child(5)").all_inner_texts()
    )
    assert again.locator("[data-table=outcome] input").input_value() == "not met"


def cells(one: Any, table: str, column: str) -> list[str]:
    """The texts of a column, as they stand after sorting; a cell's small line is left out."""
    place = one.evaluate(
        f"[...document.querySelectorAll('[data-table={table}] thead tr:last-child th')].findIndex("
        f"(e) => e.dataset.key === '{column}') + 1"
    )
    return [
        text.splitlines()[0] if text else ""
        for text in one.locator(f"[data-table={table}] tbody tr > :nth-child({place})").all_inner_texts()
    ]


def test_the_matrix_of_rules_sorts_by_margin_and_not_by_sign(site: Path, page: Opener) -> None:
    one = page(address(site, "gates/gate3.html") + "?matrix.sort=R7")
    margins = one.evaluate(
        "[...document.querySelectorAll('[data-table=matrix] tbody tr')].map((r) => r.cells[7].dataset.v ?? null)"
    )
    known = [float(margin) for margin in margins if margin is not None]
    assert known == sorted(known)
    assert len(set(known)) > 5
    assert margins[-1] is None  # the whole gate, of which this rule does not speak


def test_the_ladder_sorts_by_rank_with_blanks_last_in_both_directions(site: Path, page: Opener) -> None:
    for sign in ("", "-"):
        one = page(address(site, "index.html") + f"?paths.sort={sign}rung3")
        ranks = [text.partition("#")[2] for text in cells(one, "paths", "rung3")]
        known = [int(rank) for rank in ranks if rank]
        assert known == sorted(known, reverse=bool(sign))
        assert len(known) == 10
        assert ranks[len(known) :] == ["", ""]


def test_an_address_that_filters_a_folded_table_unfolds_it(site: Path, page: Opener) -> None:
    one = page(address(site, "gates/gate3.html") + "?findings.q=R8")
    shown = one.locator("[data-table=findings] tbody tr:visible")
    assert shown.count() == 10
    assert all(text.startswith("R8") for text in shown.all_inner_texts())


def test_a_filter_takes_no_word_from_the_seam_of_two_cells(site: Path, page: Opener) -> None:
    one = page(address(site, "gates/gate3.html"))
    block = one.locator("[data-table=findings]")
    one.locator("summary").first.click()
    block.locator("input").fill("R1d")  # R1 in one cell, d1-c000 in the next
    assert block.locator("tbody tr:visible").count() == 0


def test_a_deep_link_to_a_finding_opens_the_part_that_hides_it(site: Path, page: Opener) -> None:
    one = page(address(site, "gates/gate3.html") + "#R7.d3-c010")
    assert one.locator("[id='R7.d3-c010']").is_visible()
    assert one.evaluate("document.querySelector(':target').id") == "R7.d3-c010"


def test_an_address_with_a_malformed_fragment_still_gets_its_search_box(site: Path, page: Opener) -> None:
    assert page(address(site, "gates/gate3.html") + "#100%").query_selector("#Search")


def test_search_finds_configurations_and_runs_by_keyboard_alone(site: Path, page: Opener) -> None:
    one = page(address(site, "configs/d8-c007.html"))
    one.keyboard.press("/")
    one.keyboard.type("d4-c003")
    one.wait_for_selector("#Found li:first-child a:has-text('d4-c003: sentinel, finalist at gate 5')")
    one.keyboard.press("ArrowDown")
    one.keyboard.press("Enter")
    one.wait_for_selector("h1:has-text('d4-c003')")
    one.fill("#Search", "no such thing")
    one.wait_for_selector("#Found li:text-is('nothing found')")


def test_search_puts_what_begins_with_the_words_first_and_knows_rules_by_their_sentence(
    site: Path, page: Opener
) -> None:
    one = page(address(site, "index.html"))

    def hits(text: str) -> list[str]:
        one.fill("#Search", text)
        one.wait_for_function("document.querySelector('.search [role=status]').textContent")
        one.wait_for_timeout(100)
        return list(one.locator("#Found a").all_inner_texts())

    assert hits("gate 3")[0] == "Gate 3"
    assert hits("gate3")[0] == "Gate 3"
    assert hits("ver")[:2] == ["Verify", "Overview"]
    assert hits("rung 2")[0] == "Runs of rung 2"
    assert "R7 of gate 3: Promote the best 3 by mean over cells." in hits("best 3")
    assert "R8 of gate 3: Stop what is more than 0.5 above the best by mean over cells." in hits("exceeds_gap")
    assert any(text.startswith("d1-c008") for text in hits("stopped at gate 3"))


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(site: Path, page: Opener) -> None:
    one = page(address(site, "gates/gate3.html"))
    wanted = one.evaluate(
        """[...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')].filter(
            (e) => e.checkVisibility() && !e.closest('details:not([open]) > :not(summary)')).length"""
    )
    focused = """(() => {
        const e = document.activeElement;
        if (!e || e === document.body) return null;
        e.dataset.n ??= String(Math.random());
        return [e.dataset.n, getComputedStyle(e).outlineStyle];
    })()"""
    reached = set()
    for _ in range(wanted + 3):
        one.keyboard.press("Tab")
        reported = one.evaluate(focused)
        if reported:
            assert reported[1] != "none"
            reached.add(reported[0])
    assert len(reached) >= wanted


def test_print_shows_the_evidence_and_hides_the_controls(site: Path, page: Opener) -> None:
    one = page(address(site, "gates/gate3.html"), color_scheme="dark")
    one.emulate_media(media="print")
    assert not one.locator("nav.main").is_visible()
    assert not one.locator(".tools").first.is_visible()
    assert one.locator("[id='outcome.caption']").is_visible()
    assert one.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    one.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert one.locator("#Lock pre").is_visible()


#: What a sheet of A4 leaves between its margins, in pixels: 210 mm less twice 12.
SHEET = (210 - 24) / 25.4 * 96
MEASURE = """window.paper = matchMedia('print');
window.paper.addEventListener('change', (e) => {
    if (!e.matches) return;
    const wide = (one) => [one.tagName + ' ' + (one.id || one.className || one.textContent.slice(0, 40)), one.getBoundingClientRect().right];
    window.printed = {
        width: document.documentElement.clientWidth,
        right: [...document.querySelectorAll('table, pre, svg, dl, ul, figure')].filter((one) => one.checkVisibility()).map(wide),
        cut: [...document.querySelectorAll('pre, .scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1).map(wide),
    };
})"""


@every_kind
def test_everything_that_is_printed_fits_a_sheet_of_a4(site: Path, page: Opener, place: int) -> None:
    one = page.kept(site / kinds(site)[place])
    one.emulate_media(media="null")
    one.evaluate(MEASURE)
    pdf = one.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert b"/MediaBox [0 0 595" in pdf or b"/MediaBox [0 0 594" in pdf
    reported = one.evaluate("window.printed")
    assert reported["width"] == pytest.approx(SHEET, abs=2)  # wider content would have made Chromium shrink the page
    assert [[name, right] for name, right in reported["right"] if right > reported["width"] + 1] == []
    assert reported["cut"] == []


@pytest.mark.parametrize("name", ["index.html", "gates/gate3.html", "configs.html"])
def test_a_table_that_is_cut_off_keeps_its_title_and_its_first_column_in_sight(
    site: Path, page: Opener, name: str
) -> None:
    one = page.kept(site / name, width=390)
    reported = one.evaluate(
        """[...document.querySelectorAll('.scroll')].filter((s) => s.scrollWidth > s.clientWidth + 40).map((s) => {
            s.scrollLeft = 10000;
            const box = s.getBoundingClientRect();
            const first = s.querySelector('tbody tr > :first-child').getBoundingClientRect();
            const title = s.parentElement.querySelector('.caption').getBoundingClientRect();
            return [s.scrollLeft > 0, Math.abs(first.left - box.left) < 2, first.width < box.width / 2,
                    title.left >= 0 && title.right <= 390, getComputedStyle(s).backgroundImage.includes('gradient')];
        })"""
    )
    assert reported
    assert all(all(one) for one in reported), reported


def test_hostile_texts_run_nowhere(hostile: Path, page: Opener) -> None:
    for name in [*kinds(hostile), "gates/gate2.html"]:
        one = page.kept(hostile / name)
        assert one.evaluate("window.pwned") is None, name
        assert one.evaluate("document.querySelectorAll('main img').length") == 0, name


def test_the_policy_forbids_inline_scripts_and_eval(site: Path, page: Opener) -> None:
    one = page(address(site, "index.html"))
    reported = one.evaluate(
        """new Promise((done) => {
            const seen = [];
            document.addEventListener('securitypolicyviolation', (e) => { seen.push(e.violatedDirective); });
            const script = document.createElement('script');
            script.textContent = 'window.inlined = 1';
            document.head.append(script);
            setTimeout(() => done([seen, window.inlined ?? null]), 200);
        })"""
    )
    assert reported == [["script-src-elem"], None]
    page.troubles.clear()  # the refusal is told on the console, which is trouble in every other test


def test_the_winner_and_every_state_are_told_by_words_and_signs_not_by_colour_alone(site: Path, page: Opener) -> None:
    one = page(address(site, "index.html"))
    cells = one.locator(".ladder tbody td[class*=state-]").all_inner_texts()
    assert all(not text.strip() or text[0] in "★●▲◆✕■?…" for text in cells)
    signs = one.locator("[aria-label='Signs of the table']").inner_text()
    assert all(word in signs for word in ("winner", "finalist", "promoted", "kept by role", "stopped"))
    lines = one.locator("[aria-label='Lines and marks']").inner_text()
    assert all(word in lines for word in ("reference · winner", "comparator", "sentinel", "stopped, with the rule"))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_of_figures_stand_out_from_the_page_in_both_schemes(site: Path, page: Opener, scheme: str) -> None:
    one = page(address(site, "index.html"), color_scheme=scheme)
    read_variable = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    colours = [one.evaluate(read_variable, f"--{name}") for name in ("bg", "c0", "c1", "c2", "c3", "c4")]
    ground = luminance(colours[0])
    for colour in colours[1:]:
        light, dark = max(luminance(colour), ground), min(luminance(colour), ground)
        assert (light + 0.05) / (dark + 0.05) >= 3, colour
