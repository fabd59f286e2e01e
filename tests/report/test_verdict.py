"""The verdict: a headline, one point a rule, and whether the first look would have told."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from report.build import build
from report.gates import Lead
from report.verdict import early_leader, reach_verdict
from report.views import view_study
from tests.report import broken
from tests.report.conftest import copy_of
from tests.report.pages import read


def test_the_overview_shows_the_headline_and_a_line_for_every_final_rule_with_its_proof(site: Path) -> None:
    text = " ".join(read(site / "index.html").text.split())
    assert "0.0433 ahead of d4-c003 (9.1 × the A/A noise of rung 3). Gate 5" in text
    assert "✓The reference is first in all 4 cells.R4" in text
    assert "Would the first look have told? No: " in text
    assert "What did the ladder cost? " in text
    assert "(accounting of unrun work, no evidence)." in text
    found = read(site / "index.html").links
    assert {"gates/gate5.html#R4", "gates/gate5.html#R5", "gates/gate5.html#R6", "stability.html"} <= set(found)


def test_the_first_leader_is_told_with_its_end_and_with_the_winners_place(default_study: Path) -> None:
    view = view_study(default_study)
    assert early_leader(view, view.lead) == (
        "d2-c009 led rung 1 and was stopped by gate 3 at rank 6. The winner was twelfth at rung 1."
    )
    assert early_leader(view, Lead("d2-c009", 1.5)) == (
        "d2-c009 led rung 1 and won: the cheapest rung would have picked the same."
    )


def test_the_end_of_a_first_leader_that_reached_the_last_rung_is_its_place_there(default_study: Path) -> None:
    view = view_study(default_study)
    last = view.paths[view.lead.first].steps[-1]
    for state, rank, end in (
        ("finalist", 2, "finished second at rung 5."),
        ("tied", 2, "tied for the first place at rung 5."),
        ("missing", None, "came to rung 5, where not every run of it finished."),
    ):
        path = view.paths["d2-c009"]
        steps = (*path.steps[:-1], replace(last, state=state, rank=rank))
        paths = {**view.paths, "d2-c009": replace(path, steps=steps)}
        changed = view_study(default_study)
        changed.__dict__["paths"] = paths
        assert early_leader(changed, None) == f"d2-c009 led rung 1 and {end}"


def test_the_first_leader_of_a_study_on_its_way_is_not_said_to_have_lost(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    broken.drop(root, "gate3", "gate4", "gate5")
    assert early_leader(view_study(root), None) == "d2-c009 led rung 1, and is still on its way."
    broken.drop(root, "gate1", "gate2")
    assert early_leader(view_study(root), None) == "The first rung has no leader yet."


#: What the published case study says of itself, on the page of the method.
PUBLISHED = "the winner at 12 h is not the mean-best at 10 min"


def closer(default_study: Path, root: Path, gap: float) -> Path:
    """The study with the second of the last rung so far behind the first."""
    copy_of(default_study, root)
    ranking = [row.model_dump() for row in view_study(root).gates["gate5"].decision.ranking]
    ranking[1]["mean"] = ranking[0]["mean"] + gap
    broken.decision(root, "gate5", ranking=ranking)
    return root


def test_a_lead_that_is_smaller_than_the_noise_is_not_called_a_win(default_study: Path, tmp_path: Path) -> None:
    root = closer(default_study, tmp_path / "study", 0.005)
    reported = reach_verdict(view_study(root))
    assert "d8-c007, leads, within noise: the lowest mean val_bpb" in reported.headline.text
    assert "0.0050 ahead of d4-c003 (1.1 × the A/A noise of rung 3)" in reported.headline.text
    assert reported.notes[0].text == (
        "cannot be said: d2-c009 led rung 1 and was stopped by gate 3 at rank 6. d8-c007, which leads within noise at "
        "rung 5, was twelfth at rung 1"
    )
    assert early_leader(view_study(root), Lead("d2-c009", 1.5, "d4-c003", 0.005, noise=1.0)) == (
        "d2-c009 led rung 1 and leads within noise at rung 5."
    )
    build(root)
    for path in sorted((root / "site").rglob("*.html")):
        text = read(path).text.replace("The winner's curse", "").replace("might have won", "")
        text = text.replace("could not have won", "").replace(PUBLISHED, "")
        text = text.replace("artifacts/winner/", "").replace("dvc pull winner", "").replace("dvc repro winner", "")
        assert not re.search(r"\b(wins|won|[Ww]inner)\b", text), path
    assert "☆ leader #1" in read(root / "site" / "index.html").text
    assert "It leads, within noise: the lowest mean val_bpb of gate 5." in read(
        root / "site" / "configs" / "d8-c007.html"
    ).text.replace("\n", " ")


def test_two_with_the_same_mean_tie_and_neither_is_ahead(default_study: Path, tmp_path: Path) -> None:
    reported = reach_verdict(view_study(closer(default_study, tmp_path / "study", 0.0)))
    assert "d8-c007, ties with d4-c003: the lowest mean val_bpb" in reported.headline.text
    assert "ahead" not in reported.headline.text
    assert "won" not in reported.notes[0].text
    assert reported.final


def test_a_tie_has_no_leader_and_no_winner(default_study: Path, tmp_path: Path) -> None:
    view = view_study(closer(default_study, tmp_path / "study", 0.0))
    assert [path.steps[-1].state for path in view.paths.values()][:3] == ["tied", "tied", "absent"]


def test_first_in_no_cell_is_said_as_none(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    rules = [row.model_dump() for row in view_study(root).gates["gate5"].decision.rules]
    for rule in rules:
        if rule["id"] == "R4":
            rule["results"][0] |= {"observed": 0.0, "margin": -4.0, "holds": False}
    broken.decision(root, "gate5", rules=rules)
    assert "the reference is first in none of 4 cells" in reach_verdict(view_study(root)).sentence
