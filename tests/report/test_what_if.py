"""A what-if: rules that are not frozen decided. It is marked, claims no order, and what it only promotes was not run."""

from __future__ import annotations

import re
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from report.build import build
from report.layout import warnings
from report.verdict import reach_verdict
from report.views import view_study
from stages import gate as gate_stage
from stages import ledger
from stages.domain import canonical, files, names, yamlio
from stages.domain.contract import read_open
from tests.report import broken
from tests.report.conftest import copy_of
from tests.report.pages import read


@pytest.fixture(scope="module")
def what_if(default_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gate 3 judged anew with one more place, as `dvc exp run -S study.mode=exploratory` does; its site is built."""
    root = copy_of(default_study, tmp_path_factory.mktemp("what-if") / "study")

    def change(value: dict[str, dict[str, object]]) -> None:
        value["study"]["mode"] = "exploratory"
        value["gates"]["gate3"]["R7"]["k"] = 4  # type: ignore[index]

    broken.params(root, change)
    with chdir(root):
        made, held = gate_stage.judge("rung3", yamlio.read(names.PARAMS, ""))
        files.write_whole(names.GATES / "gate3" / "decision.json", made.to_bytes())
        contract = read_open("rung4")
        for config in (name for name, ticket in held.items() if ticket == "what-if"):
            for host in contract.hosts:
                for seed in contract.seeds:
                    one = contract.make_record(
                        config=config,
                        host=host,
                        seed=seed,
                        purpose="candidate",
                        status="unrun",
                        reason="a what-if",
                    )
                    run = names.run_id("rung4", config, host, seed)
                    files.write_whole(names.record_path(run), canonical.dumps(one))
        ledger.main()
    build(root)
    return root


def only_there(root: Path) -> list[str]:
    decision = view_study(root).gates["gate3"].decision
    return sorted({*decision.promoted} - {*decision.frozen_promoted})


def test_what_only_a_what_if_promotes_reads_as_promoted_and_not_run(what_if: Path) -> None:
    (name,) = only_there(what_if)
    steps = view_study(what_if).paths[name].steps
    assert [step.state for step in steps[2:]] == ["promoted", "unrun", "absent"]
    assert "○ not run" in read(what_if / "site" / "index.html").text
    assert view_study(what_if).gates["gate4"].missing == []


def test_a_what_if_is_told_in_the_band_the_heading_and_the_verdict(what_if: Path) -> None:
    assert [(one.kind, one.text) for one in warnings(view_study(what_if))] == [
        (
            "exploratory",
            "A what-if: rules that are not frozen decided here (Gate 3). Nothing on these pages is a result.",
        )
    ]
    found = reach_verdict(view_study(what_if))
    assert not found.sure
    assert found.sentence.startswith("What-if: The reference, d8-c007, wins")
    for page in (what_if / "site").rglob("*.html"):
        assert "A what-if: rules that are not frozen decided here" in read(page).text, page


def test_the_gate_of_a_what_if_claims_no_order_and_shows_what_differs_from_its_lock(what_if: Path) -> None:
    text = " ".join(read(what_if / "site" / "gates" / "gate3.html").text.split())
    assert re.search(r"Gate 3: 10 → \d What-if 10 candidates were judged", text)
    assert "They differ from the lock in rules.R7.k (frozen 3, now 4)." in text
    assert "The frozen rules promote " in text
    assert "Frozen in locks/gate3.yaml" not in text
    assert "Decision— names this lock, and decided by other rules than it holds" in text
    assert "Not shown in a what-if: the summary judges each host block by the frozen rules." in text
    assert "Had each host block decided alone" not in text
    assert view_study(what_if).hosts["rung3"].same_alone is None


def test_method_names_the_gates_that_were_not_declared_beforehand(what_if: Path, site: Path) -> None:
    assert "Exceptions: gate 3: what-if." in read(what_if / "site" / "method.html").text
    assert "Exceptions" not in read(site / "method.html").text


ASKED = (
    "params.yaml asks for a what-if (study.mode: exploratory), and the ledger was not made again since: every decision "
    "here is by the frozen rules. `dvc repro` makes it."
)


def test_asking_for_a_what_if_that_has_not_decided_yet_is_another_warning(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    broken.params(root, lambda value: value["study"].update(mode="exploratory"))
    assert [one.text for one in warnings(view_study(root))] == [ASKED]
    assert reach_verdict(view_study(root)).sentence.startswith("Before the what-if that params.yaml asks for: ")


def test_a_rule_tried_at_one_gate_before_the_ledger_is_made_again_breaks_nothing(
    default_study: Path, tmp_path: Path
) -> None:
    """What `dvc exp run -S ... stages/ladder/rung3/dvc.yaml:gate` leaves: params.yaml says it, and the ledger does not yet."""
    root = copy_of(default_study, tmp_path / "study")

    def change(value: dict[str, Any]) -> None:
        value["study"]["mode"] = "exploratory"
        value["gates"]["gate3"]["R7"]["k"] = 5

    broken.params(root, change)
    assert [(one.kind, one.text) for one in warnings(view_study(root))] == [
        ("exploratory", ASKED),
        ("moved on", "Gate 3: params.yaml has moved on from its lock: rules.R7.k (frozen 3, now 5)."),
    ]
    assert reach_verdict(view_study(root)).doubt == "params.yaml has moved on from the lock"
    assert not reach_verdict(view_study(root)).sure
