"""The promotion path, the verdict and the warnings, read from decisions; missing evidence reads as missing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from report.build import build
from report.gates import GateView
from report.layout import warnings
from report.load import LedgerDecision, LedgerLine
from report.path_figure import candidate_counts
from report.promotion_paths import PathStep, build_paths
from report.verdict import reach_verdict
from report.views import view_study
from stages.domain import canonical, names
from stages.domain.decision import decision_from_json
from stages.domain.study import parse_study
from tests.report.conftest import copy_of, make_study
from tests.report.pages import read
from tests.support import synthetic


def change_decision(root: Path, gate: str, **changed: Any) -> None:
    path = root / "ledger" / "decisions.jsonl"
    values = [json.loads(line) for line in path.read_bytes().splitlines()]
    for value in values:
        if value["gate"] == gate:
            value |= changed
    path.write_bytes(b"".join(canonical.dumps(value) for value in values))


def drop(root: Path, *gates: str) -> None:
    path = root / "ledger" / "decisions.jsonl"
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if json.loads(line)["gate"] not in gates]
    path.write_bytes(b"".join(kept))


@pytest.fixture
def copied(default_study: Path, tmp_path: Path) -> Path:
    return copy_of(default_study, tmp_path / "study")


def test_the_path_agrees_with_every_decision(default_study: Path) -> None:
    view = view_study(default_study)
    paths = view.paths
    for number, gate in enumerate(view.gates.values()):
        decision = gate.decision
        for name, path in paths.items():
            step = path.steps[number]
            assert (step.state != "absent") is (name in decision.candidates)
            if number < 4:
                assert (step.state in ("promoted", "kept")) is (name in decision.promoted)
            if step.rank:
                assert decision.ranking[step.rank - 1].config == name
    gates = list(view.gates.values())
    assert candidate_counts(gates) == [len(gate.decision.candidates) for gate in gates]


def test_the_verdict_is_one_sentence_with_winner_lead_and_every_final_rule(default_study: Path) -> None:
    found = reach_verdict(view_study(default_study))
    assert found.sure
    assert found.sentence == (
        "The reference, d8-c007, wins: the lowest mean val_bpb (1.3510) at 12\N{NO-BREAK SPACE}min, "
        "0.0433 ahead of d4-c003 (9.1 × the A/A noise of rung 3); "
        "the reference is first in all 4 cells; "
        "whether the comparator (d1-c000) is within 0.010 of the reference is not evaluable, "
        "since d1-c000 was stopped at gate 2; "
        "the sentinel (d4-c003) is more than 0.020 above the reference (+0.0433)."
    )


def test_an_undecided_ladder_has_no_verdict_and_says_what_is_missing(copied: Path) -> None:
    drop(copied, "gate4", "gate5")
    ledger = copied / "ledger" / "runs.jsonl"
    lines = [one for one in ledger.read_bytes().splitlines(keepends=True) if b'"rung":"rung5"' not in one]
    ledger.write_bytes(
        b"".join(one for one in lines if b'"config":"d3-c002","corpus"' not in one or b"rung4" not in one)
    )
    view = view_study(copied)
    assert reach_verdict(view).sentence == "No verdict yet: gate 4 has not decided; 4 runs of rung 4 are missing."
    assert len(view.gates["gate4"].missing) == 4
    build(copied)
    text = read(copied / "site" / "index.html").text
    assert "Gate 4 has not decided yet." in text
    assert "4 runs missing from the ledger" in text
    assert "missing" in read(copied / "site" / "gates" / "gate4.html").text
    assert "wins" not in text


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose third gate is blocked, so that the two after it have no candidate to judge. Its site is built."""
    value = synthetic.params(6)
    value["gates"]["gate3"]["R4"] = {"kind": "min_host_agreement", "tau": 1.0}
    value["gates"]["gate4"]["R4"] = {"kind": "min_host_agreement", "tau": -1.0}
    root = make_study(tmp_path_factory.mktemp("blocked") / "work", value)
    build(root)
    return root


def test_a_blocked_gate_is_the_verdict_and_one_line_of_the_band(blocked: Path) -> None:
    view = view_study(blocked)
    message = "gate 3 is blocked by R4 (Kendall's tau-b between any two hosts is at least 1)"
    assert reach_verdict(view).sentence == f"No verdict: {message}."
    assert [(one.kind, one.text) for one in warnings(view)] == [
        ("blocked", "Gate 3 is blocked by R4 and promotes no candidate; gate 4 and gate 5 have no candidates.")
    ]
    assert view.lead is None
    assert {path.steps[2].state for path in view.paths.values()} == {"blocked", "absent"}
    assert {path.steps[3].state for path in view.paths.values()} == {"absent"}


def test_a_blocked_gate_says_what_blocks_it_and_whom_its_rules_would_have_promoted(blocked: Path) -> None:
    text = read(blocked / "site" / "gates" / "gate3.html").text
    assert "R4 must hold: Kendall's tau-b between any two hosts is at least 1." in text
    assert re.search(r"R\d( R\d)* would have", text)
    assert "Outcome changes at" not in text
    assert "Distance / noise" not in text


def test_a_gate_without_candidates_says_why_and_no_more(blocked: Path) -> None:
    for gate in ("gate4", "gate5"):
        seen = read(blocked / "site" / "gates" / f"{gate}.html")
        assert "has no candidates: gate 3 is blocked." in seen.text
        assert "0 → 0" not in seen.text
        assert "Outcome of" not in seen.text


def test_where_a_gate_has_not_decided_only_those_that_may_come_to_it_wait(copied: Path) -> None:
    drop(copied, "gate4", "gate5")
    view = view_study(copied)
    promoted = set(view.gates["gate3"].decision.promoted)
    for name, path in view.paths.items():
        assert [step.state for step in path.steps[3:]] == ["waiting" if name in promoted else "absent"] * 2


def judged(config: str, promoted: str, holds: dict[str, str], unknown: str = "") -> PathStep:
    """The step of a candidate of a first gate; `holds` says of whom each rule holds, `unknown` which rule does not say."""

    def finding(rule: str, name: str) -> dict[str, Any]:
        answer = None if rule == unknown else name in holds[rule]
        return {"candidate": name, "observed": None, "threshold": None, "margin": None, "holds": answer, "note": ""}

    def outcome(rule: str, kind: str, effect: str) -> dict[str, Any]:
        results = [finding(rule, name) for name in "abc"]
        return {"id": rule, "kind": kind, "effect": effect, "text": "", "results": results}

    study = parse_study(synthetic.params(), "params.yaml")
    decision = {
        "schema": 1,
        "gate": "gate1",
        "rung": "rung1",
        "mode": "frozen",
        "lock": "",
        "outcome": "decided",
        "blocked_by": [],
        "candidates": list("abc"),
        "promoted": list(promoted),
        "stopped": {},
        "promoted_by": {},
        "verdicts": {},
        "ranking": [],
        "floor": {},
        "evidence": {},
        "rules": [
            outcome("R1", "keep_role", "promote"),
            outcome("R2", "top_k", "promote"),
            outcome("R3", "exceeds_gap", "stop"),
        ],
    }
    entry = LedgerDecision(decision_from_json(decision, "a test", ""), LedgerLine("", 1, b""))
    gate = GateView(study, "rung1", None, None, entry, [], {})
    study = study.model_copy(update={"configs": {name: {} for name in "abc"}, "roles": {}})
    return build_paths(study, [gate], None)[config].steps[0]


def test_a_kept_role_that_merit_would_have_stopped_is_kept_whatever_else_promotes_it() -> None:
    holds = {"R1": "abc", "R2": "ab", "R3": "a"}
    assert [judged(name, "abc", holds).state for name in "abc"] == ["kept", "promoted", "kept"]
    assert judged("a", "abc", holds).against == ("R3",)


def test_a_stop_rule_that_cannot_be_evaluated_is_what_stopped_a_candidate() -> None:
    step = judged("a", "", {"R1": "", "R2": "a", "R3": ""}, unknown="R3")
    assert (step.state, step.by, step.decisive) == ("stopped", ("R3",), "R3")


def test_a_what_if_is_marked_on_every_page(copied: Path) -> None:
    path = copied / "params.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"mode": "frozen"', '"mode": "exploratory"'), encoding="utf-8"
    )
    change_decision(copied, "gate3", mode="exploratory")
    assert not reach_verdict(view_study(copied)).sure
    build(copied)
    for page in (copied / "site").rglob("*.html"):
        assert "A what-if: rules that are not frozen decided here" in read(page).text, page


def test_nothing_to_warn_of_shows_no_band(site: Path) -> None:
    assert 'class="band"' not in (site / "index.html").read_text(encoding="utf-8")


def test_git_alone_builds_a_site_whose_gaps_read_as_missing(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    shutil.rmtree(root / "artifacts")
    build(root)
    assert "Missing: artifacts/corpus/manifest.json" in read(root / "site" / "method.html").text
    run = next((root / "site" / "runs" / "rung5").glob("*/*/*.html"))
    assert "curve.csv is missing; dvc pull (where a DVC remote is set up) or dvc repro brings it" in read(run).text
    assert "wins" in read(root / "site" / "index.html").text
    assert not [
        path for path in (root / "site").rglob("*.html") if " 0.000000" in read(path).text and "cost" in path.name
    ]


def test_a_ledger_with_no_decision_and_no_run_still_builds(default_study: Path, tmp_path: Path) -> None:
    root = copy_of(default_study, tmp_path / "study")
    (root / "ledger" / "runs.jsonl").write_bytes(b"")
    (root / "ledger" / "decisions.jsonl").write_bytes(b"")
    build(root)
    assert (
        "No verdict yet: gate 1 has not decided; 24 runs of rung 1 are missing."
        in read(root / "site" / "index.html").text
    )


def test_one_host_one_rung_and_no_roles_are_a_study_too(tmp_path: Path) -> None:
    value = synthetic.params(3, 1)
    value["hosts"] = {"only": value["hosts"]["cpu-fp32"]}
    value["rungs"] = {"rung1": value["rungs"]["rung1"]}
    value["gates"] = {"gate1": {"R1": {"kind": "complete_cells"}, "R2": {"kind": "top_k", "k": 1}}}
    value["roles"] = {}
    build(make_study(tmp_path / "study", value))
    assert "wins: the lowest mean val_bpb" in read(tmp_path / "study" / "site" / "index.html").text


def test_a_telemetry_that_is_no_json_and_a_curve_that_is_no_csv_are_said_and_stop_nothing(copied: Path) -> None:
    folder = copied / "artifacts" / "traces" / "rung5" / "d8-c007" / "cpu-fp32" / "5001"
    run = folder.relative_to(copied / "artifacts" / "traces").as_posix()
    (copied / names.telemetry_path(run)).write_text("{not json", encoding="utf-8")
    (folder / "curve.csv").write_bytes(b"\xff\xfe\x00broken")
    build(copied)
    text = read(copied / "site" / "runs" / f"{run}.html").text
    assert "curve.csv is no curve" in text
    assert f"Missing: artifacts/telemetry/{run}.json" in text


def test_a_loss_that_is_not_finite_is_a_gap_in_the_curve(copied: Path) -> None:
    path = copied / "artifacts" / "traces" / "rung5" / "d8-c007" / "cpu-fp32" / "5001" / "curve.csv"
    path.write_text(
        "step,tokens,seconds,train_loss,lr_factor\n1,4096,0.1,nan,1.0\n2,8192,0.2,inf,1.0\n", encoding="utf-8"
    )
    build(copied)
    run = path.parent.relative_to(copied / "artifacts" / "traces").as_posix()
    rows = json.loads((copied / "site" / "runs" / f"{run}.curve.json").read_bytes())["rows"]
    assert [row[3] for row in rows] == [None, None]
