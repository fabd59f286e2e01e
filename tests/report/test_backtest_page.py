"""Pages that stand alone, of a backtest and of a simulation: whole, escaped, without inline scripts, replacing nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from report import simulation
from report.backtest import build_page, main
from report.render import CSP
from report.standalone import write_page
from stages.backtest.backtest_result import Backtest, loads
from stages.backtest.simulation_result import Simulation
from stages.backtest.simulation_result import loads as simulated_of
from stages.cli import main as promotion
from stages.domain import canonical
from stages.domain.errors import Refused
from stages.domain.formatting import plain
from tests.report.conftest import EVIL, Opener
from tests.support.page_text import describe_page
from tests.support.repo import PROJECT
from tests.support.snapshots import check_snapshots, cut_numbers

FOLDER = PROJECT / "studies" / "backtest"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("backtest") / "result.json"
    words = ["backtest", str(FOLDER / "modded_nanogpt_track3.csv"), "--map", str(FOLDER / "map.yaml")]
    with pytest.raises(SystemExit):
        promotion([*words, "--rules", str(FOLDER / "rules.yaml"), "--ladders", "2000", "--json", str(file)])
    return file.read_bytes()


@pytest.fixture
def result(data: bytes) -> Backtest:
    return loads(data, "result.json")


def test_the_page_holds_every_method_gate_and_limit_with_its_basis(result: Backtest) -> None:
    text = build_page(result)["index.html"].decode("utf-8")
    for row in result.methods:
        assert row.title.replace("'", "&#x27;") in text
    for line in result.statements:
        assert line in text
    assert text.count(f"prefixes of one long run; {plain(2000)} resampled ladders, fresh seeds at every rung") == 4
    assert 'id="gates.1"' in text


def test_the_pages_of_a_backtest_and_of_a_simulation_say_what_their_snapshots_do(
    result: Backtest, simulated: Simulation
) -> None:
    """The model of a simulation is fitted, so its page is of numbers that are cut before."""
    cut = simulated_of(canonical.dumps(cut_numbers(canonical.loads(simulated.dumps()), 3)), "result.json")
    pages = {"backtest.txt": build_page(result), "simulation.txt": simulation.build_page(cut)}
    check_snapshots("standalone", {name: describe_page(page["index.html"]) for name, page in pages.items()})


def test_figures_are_json_in_a_block_and_no_script_is_inline(result: Backtest) -> None:
    text = build_page(result)["index.html"].decode("utf-8")
    assert f'content="{CSP.replace(chr(39), "&#39;")}"' in text
    blocks = re.findall(r'<script type="application/json" data-figure="([\w.]+)">(.*?)</script>', text, re.S)
    assert [name for name, _ in blocks] == ["figure.cost", "figure.gates"]
    assert all(json.loads(spec)["data"] for _, spec in blocks)
    others = [tag for tag in re.findall(r"<script[^>]*>", text) if "data-figure" not in tag]
    assert len(others) == 3 and all(" src=" in tag for tag in others)


def test_text_of_others_stays_text(data: bytes) -> None:
    value = canonical.loads(data)
    value["curves"]["source"] = value["rules"]["name"] = value["final"]["unit"] = EVIL
    value["statements"][0] = value["truth"][0]["config"] = EVIL
    value["methods"][0]["title"] = value["methods"][0]["method"] = EVIL
    value["gates"][0]["rules"][0]["text"] = value["gates"][0]["gate"] = EVIL
    files = build_page(loads(canonical.dumps(value), "evil.json"))
    text = files["index.html"].decode("utf-8")
    assert "<script>window" not in text and "<img" not in text
    assert text.count("</script>") == 3 + 2


def test_the_same_result_gives_the_same_bytes(result: Backtest) -> None:
    assert build_page(result) == build_page(result)


def test_a_page_is_swapped_in_whole_and_nothing_else_is_replaced(data: bytes, result: Backtest, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(data)
    page = tmp_path / "page"
    main([str(tmp_path / "result.json"), str(page)])
    (page / "stray").touch()
    main([str(tmp_path / "result.json"), str(page)])
    assert not (page / "stray").exists()
    manifest = canonical.loads((page / "manifest.json").read_bytes())
    held = {path.relative_to(page).as_posix() for path in page.rglob("*") if path.is_file()}
    assert held == {*manifest["files"], "manifest.json"}
    assert (page / "result.json").read_bytes() == data
    site = tmp_path / "site"
    site.mkdir()
    (site / "manifest.json").write_bytes(canonical.dumps({"schema": 1, "study": "x", "files": {}}))
    with pytest.raises(Refused, match="holds no page of a backtest"):
        write_page(build_page(result), site, "backtest")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    file = tmp_path_factory.mktemp("simulation") / "result.json"
    words = ["simulate", "--from", str(PROJECT / "ledger" / "runs.jsonl"), "--rules", str(PROJECT / "params.yaml")]
    with pytest.raises(SystemExit):
        promotion([*words, "--configs", "12,50", "--ladders", "50", "--json", str(file)])
    return simulated_of(file.read_bytes(), "result.json")


def test_every_table_and_figure_of_a_simulation_says_so(simulated: Simulation) -> None:
    text = simulation.build_page(simulated)["index.html"].decode("utf-8")
    captions = re.findall(r'<p class="caption"[^>]*>(.*?)</p>', text)
    assert len(captions) == 3 and all(caption.endswith("(simulation)") for caption in captions)
    assert text.count("simulation, no evidence") == 4
    assert "Dropped winners against cost (simulation)." in text
    assert text.index(simulated.statements[0]) < text.index("<h1>")
    value = canonical.loads(simulated.dumps())
    value["source"]["name"] = value["unit"] = value["sizes"][0]["designs"][0]["name"] = value["statements"][0] = EVIL
    evil = simulation.build_page(simulated_of(canonical.dumps(value), "evil"))["index.html"].decode("utf-8")
    assert "<script>window" not in evil and "<img" not in evil


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_of_a_simulation_is_drawn(simulated: Simulation, tmp_path: Path, page: Opener, width: int) -> None:
    write_page(simulation.build_page(simulated), tmp_path / "page", "simulation")
    one = page.kept(tmp_path / "page" / "index.html", width=width)
    assert len(one.query_selector_all(".plot .main-svg")) >= 1
    assert one.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1200])
def test_the_figures_are_drawn_from_the_disk(result: Backtest, tmp_path: Path, page: Opener, width: int) -> None:
    write_page(build_page(result), tmp_path / "page", "backtest")
    one = page.kept(tmp_path / "page" / "index.html", width=width)
    assert len(one.query_selector_all(".plot .main-svg")) >= 2
    assert one.evaluate("document.documentElement.scrollWidth") <= width
