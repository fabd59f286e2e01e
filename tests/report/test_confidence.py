"""How sure? and What next? on the pages: the overview's two lines, a gate's section, the page of the whole study."""

from __future__ import annotations

import json
import sys
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report.build import build
from report.confidence import readable
from report.load import load
from report.pages import gate_confidence
from report.pages.confidence import GRADES, RULES
from report.verdict import answers
from report.views import StudyView, view_study
from stages.confidence import __main__ as stage
from stages.confidence import stored
from stages.confidence.results import Change, Deletion
from stages.confidence.study import assess_gates
from stages.domain import canonical, files, formatting
from stages.domain.errors import Invalid
from tests.confidence import cases
from tests.report import broken
from tests.report.conftest import EVIL, copy_of, make_study
from tests.report.pages import read
from tests.support import synthetic
from tests.support.repo import PROJECT


@pytest.fixture(scope="module")
def view(default_study: Path) -> StudyView:
    return view_study(default_study)


@pytest.fixture
def assessed(default_study: Path, tmp_path: Path) -> Path:
    """A copy of the study in which the stage has run."""
    root = copy_of(default_study, tmp_path / "assessed")
    with chdir(root):
        stage.main()
    return root


def change(root: Path, edit: Any) -> None:
    value = json.loads((root / stored.RESULT).read_bytes())
    edit(value)
    files.write_whole(root / stored.RESULT, canonical.dumps(value))


def table(site: Path, page: str, name: str) -> list[dict[str, Any]]:
    value = json.loads((site / f"{page}.{name}.json").read_text(encoding="utf-8"))
    keys = [column["key"] for column in value["columns"]]
    return [dict(zip(keys, row, strict=True)) for row in value["rows"]]


def test_the_overview_answers_how_sure_and_what_next_in_one_line_each_with_links(site: Path, view: StudyView) -> None:
    page, result = read(site / "index.html"), view.confidence.result
    assert f"How sure? {readable(result.how_sure.short)}" in page.text
    assert f"What next? {readable(result.what_next.text)}" in page.text
    assert {"confidence.html", f"confidence.html#next.{result.what_next.rule}"} <= set(page.links)


def test_the_site_is_the_same_whether_the_stage_has_run_or_not(default_study: Path, assessed: Path) -> None:
    build(assessed)
    pages = sorted(path.relative_to(assessed) for path in (assessed / "site").rglob("*.html"))
    differing = [path for path in pages if (assessed / path).read_bytes() != (default_study / path).read_bytes()]
    assert [path.name for path in differing] == ["verify.html"]  # which lists the file that was read


def test_a_gate_shows_noise_redraws_differences_and_thresholds(site: Path, view: StudyView) -> None:
    page = read(site / "gates" / "gate3.html")
    known = view.confidence.gate("gate3")
    assert "Noise of one cell (standard deviation of val_bpb)" in page.text and "measured at rung 3 itself" in page.text
    assert "in 80 % of repetitions" in page.text and "2,000 times more" in page.text
    pairs = table(site, "gates/gate3", "comparisons")
    assert [(row["config"], row["mean"], row["lower"]) for row in pairs] == [
        (pair.config, pair.mean, pair.lower) for pair in known.comparisons
    ]
    assert [row["rule"] for row in table(site, "gates/gate3", "thresholds")] == [row.rule for row in known.thresholds]


def test_the_differences_by_cell_add_up_to_the_mean_of_each_host(site: Path) -> None:
    rows = table(site, "gates/gate3", "cells")
    hosts = [key.removeprefix("host_") for key in rows[0] if key.startswith("host_")]
    assert hosts
    for row in rows:
        for host in hosts:
            cells = [row[key] for key in row if key.startswith(f"cell_{host}_")]
            if row[f"host_{host}"] is None:
                assert set(cells) == {None}
            else:
                assert sum(cells) / len(cells) == pytest.approx(row[f"host_{host}"], abs=1e-9)


def test_a_gate_that_borrows_its_noise_says_from_where(site: Path, view: StudyView) -> None:
    known = view.confidence.gate("gate2")
    assert known.noise.borrowed
    assert "borrowed from the A/A runs of rung" in read(site / "gates" / "gate2.html").text


def test_where_no_noise_was_measured_gate_and_overview_say_so(tmp_path: Path) -> None:
    params = synthetic.params(seeds=1)
    for rung in params["rungs"].values():
        rung["floor_seeds"] = []
    root = make_study(tmp_path / "study", without_floor_rules(params))
    build(root)
    assert "no noise was measured" in read(root / "site" / "index.html").text.lower()
    page = read(root / "site" / "gates" / "gate2.html")
    assert "No noise was measured" in page.text and "2,000 times" not in page.text
    assert all(row["lower"] is None for row in table(root / "site", "gates/gate2", "comparisons"))


def without_floor_rules(params: dict[str, Any]) -> dict[str, Any]:
    for rules in params["gates"].values():
        for name in [name for name, rule in rules.items() if rule["kind"] == "above_noise_floor"]:
            del rules[name]
    return params


def test_what_depends_on_one_seed_is_said_on_the_overview_and_at_its_gate(assessed: Path) -> None:
    def hang(value: dict[str, Any]) -> None:
        value["how_sure"]["hangs_on"] = ["gate3 would decide otherwise without seed 3000"]
        value["gates"]["gate3"]["hangs_on"] = ["seed 3000"]

    change(assessed, hang)
    view = view_study(assessed)
    assert "gate 3 would decide otherwise without seed 3000" in answers(view.confidence)[0].text
    sentences = gate_confidence.section(view.gates["gate3"], view.confidence).sentences
    assert "The decision depends on seed 3000: without it an outcome changes." in sentences


def test_a_candidate_that_carries_most_of_the_noise_is_named_at_its_gate_and_for_the_study(assessed: Path) -> None:
    config = "d2-c009"

    def name(value: dict[str, Any]) -> None:
        value["gates"]["gate3"]["noise"]["noisiest"] = {"config": config, "share": 0.8, "sd_without": {"h": 0.0064}}

    change(assessed, name)
    build(assessed)
    sentence = f"Most of this noise is that of {config}; without it 0.0064 on h."
    assert all(sentence in read(assessed / "site" / page).text for page in ("gates/gate3.html", "confidence.html"))


def test_a_pair_that_cannot_be_paired_says_why_and_no_noise_is_called_unmeasured() -> None:
    rules = {"R8": {"kind": "exceeds_gap", "gap": 0.02, "by": "worst_host"}}
    gate = cases.gate(rules, {"cmp": [1.0, 1.0, 1.1, 1.1], "ref": [1.3, 1.3, 1.2, 1.2]})
    [pair] = assess_gates([gate]).gates["gate3"].comparisons
    why = "their worst hosts differ (h1, h2): no cells to pair"
    outcome, noise = gate_confidence.outcome_cell(pair), gate_confidence._noise(pair)
    assert (outcome.text, outcome.small) == ("not tested", why)
    assert (noise.text, noise.note) == (formatting.DASH, why)


def test_p_values_have_three_digits_and_name_the_smallest_that_so_few_cells_allow() -> None:
    rules = {"R8": {"kind": "mean_gap", "role": "comparator", "to": "reference", "most": 0.02}}
    gate = cases.gate(rules, {"cmp": [1.01, 1.02, 1.04, 1.03], "ref": [1.0, 1.0, 1.0, 1.0]})
    [pair] = assess_gates([gate]).gates["gate3"].comparisons
    shown = gate_confidence._p(replace(pair, p_permutation=0.0625, smallest_p=0.125))
    assert (shown.text, shown.small) == ("0.062", "smallest 0.125")
    assert gate_confidence._p(replace(pair, p_permutation=None)).value is None
    most = gate_confidence.outcome_cell(replace(pair, outcome="worse", p_test=0.9995, margin=0.02, margin_from=None))
    assert most.small.endswith("0.02, p > 0.999")
    least = gate_confidence.outcome_cell(replace(pair, outcome="better", p_test=0.0005, margin=0.02, margin_from=None))
    assert least.small.endswith("0.02, p < 0.001")


@pytest.mark.parametrize(
    ("share", "text", "mark"), [(None, "no noise measured", ""), (0.0, "never", ""), (0.5, "50.0 %", "bad")]
)
def test_how_often_an_outcome_is_another_one_is_a_share_never_or_unknown(
    share: float | None, text: str, mark: str
) -> None:
    shown = gate_confidence._flips(gate_confidence.Fate("a", share, (), verdict=False))
    assert (shown.value, shown.text, shown.mark) == (share, text, mark)


def test_the_outcome_at_the_last_gate_is_the_first_place(view: StudyView) -> None:
    known = view.confidence.gate("gate5")
    leader = view.gates["gate5"].decision.ranking[0].config
    assert known.redraws.flips[leader] == pytest.approx(1 - known.redraws.same_leader)


def test_a_candidate_depends_on_what_changes_the_first_place_at_the_last_gate_alone(view: StudyView) -> None:
    known = view.confidence.gate("gate5")
    ranking = [ranked.config for ranked in view.gates["gate5"].decision.ranking]
    deletion = Deletion("seed", "5000", (Change("leader", "lowest mean", ranking[0], ranking[1]),))
    known = replace(known, deletions=(deletion,))
    depending = {row.name: row.hangs_on for row in gate_confidence.fates(known, final=True) if row.hangs_on}
    assert depending == dict.fromkeys(ranking[:2], ("seed 5000",))
    assert not any(row.hangs_on for row in gate_confidence.fates(known, final=False))


def test_so_much_of_what_a_gate_depends_on_is_named_and_the_rest_is_counted(view: StudyView) -> None:
    seeds = tuple(f"seed {number}" for number in range(1, 8))
    known = replace(view.confidence.gate("gate5"), hangs_on=seeds)
    sentences = list(gate_confidence._sentences(view.gates["gate5"], known))
    assert (
        "The decision depends on seed 1, seed 2, seed 3, seed 4 and 3 more: without it an outcome changes." in sentences
    )
    fate = gate_confidence.Fate("d1-c000", 0.5, seeds, verdict=False)
    (row,) = gate_confidence.fates_table(known, [fate]).rows
    assert row.cells["hangs_on"].text == "seed 1, seed 2, seed 3, seed 4 and 3 more"


def test_an_undecided_gate_has_nothing_to_say_and_the_answer_is_to_wait(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "undecided")
    broken.drop(root, "gate4", "gate5")
    build(root)
    assert "this gate has not decided" in read(root / "site" / "gates" / "gate4.html").text
    assert "What next? Wait" in read(root / "site" / "index.html").text


def test_without_the_libraries_of_statistics_the_pages_say_what_is_missing(
    default_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copy_of(default_study, tmp_path / "bare")
    monkeypatch.setitem(sys.modules, "stages.confidence.study", None)
    build(root)
    remedy = "o artifacts/confidence/confidence.json is here, and it cannot be made without"
    for name in ("index.html", "confidence.html", "gates/gate3.html"):
        assert remedy in read(root / "site" / name).text


def test_a_stored_result_is_shown_without_the_libraries_of_statistics(
    assessed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stages.confidence.study", None)
    assert view_study(assessed).confidence.result is not None


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda value: value.update(schema=9), "schema: found 9, expected 1"),
        (lambda value: value["gates"].update(gate9=value["gates"]["gate1"]), "found gate9, expected gates"),
        (lambda value: value["winner"].update(config="nobody"), "found the configuration 'nobody'"),
        (lambda value: value["gates"]["gate3"]["comparisons"][0].update(against=EVIL), "found the configuration"),
        (
            lambda value: value["gates"]["gate3"]["noise"].update(
                noisiest={"config": EVIL, "share": 1.0, "sd_without": {}}
            ),
            "found the configuration",
        ),
        (lambda value: value["gates"]["gate3"].pop("noise"), "noise"),
    ],
)
def test_a_stored_result_that_does_not_fit_is_refused_by_name(assessed: Path, edit: Any, message: str) -> None:
    change(assessed, edit)
    with pytest.raises(Invalid, match=r"artifacts/confidence/confidence.json") as refused:
        load(assessed)
    assert message in str(refused.value)


def test_text_of_a_stored_result_is_escaped_wherever_it_stands(assessed: Path) -> None:
    def attack(value: dict[str, Any]) -> None:
        value["how_sure"] |= {"short": EVIL, "text": EVIL, "hangs_on": [EVIL]}
        value["what_next"]["text"] = EVIL
        gate = value["gates"]["gate3"]
        gate["noise"] |= {"text": EVIL}
        gate["hangs_on"] = [EVIL]
        gate["deletions"] = [{"kind": "seed", "left_out": EVIL, "changes": [
            {"what": "candidate", "name": EVIL, "was": EVIL, "now": EVIL}]}]  # fmt: skip
        gate["thresholds"] = [{"rule": EVIL, "kind": EVIL, "field": EVIL, "value": 1.0, "lower": None, "upper": None}]
        gate["comparisons"][0] |= {"rule": EVIL, "against_as": EVIL, "margin_from": EVIL, "note": EVIL}

    change(assessed, attack)
    build(assessed)
    for name in ("index.html", "confidence.html", "gates/gate3.html"):
        page = read(assessed / "site" / name)
        assert "<img src=x" not in (assessed / "site" / name).read_text(encoding="utf-8")
        assert page.inline_scripts == [] and page.handlers == []


def test_the_page_names_grades_and_rules_as_the_documentation_does() -> None:
    text = (PROJECT / "docs" / "confidence.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert [row for row in rows if row in RULES] == list(RULES)
    assert [row for row in rows if row in GRADES] == list(GRADES)
    assert all(f"| {rule} | {when}" in text for rule, (when, _) in RULES.items())


def test_rungs_and_gates_are_set_apart_in_a_sentence_but_not_in_a_name() -> None:
    assert (
        readable("rung3, gate2 and gate5.R8 of x-rung1 at rung2.")
        == "rung 3, gate 2 and gate5.R8 of x-rung1 at rung 2."
    )
