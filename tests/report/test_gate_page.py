"""The page of a gate: which tables it has, host blocks alone, the A/A floor, the locked split and amendments."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report.gates import NoiseScale
from report.pages import gate as module
from stages.domain.locks import Amendment
from stages.summary.agreement import HostAlone

ALONE = {
    "x": HostAlone(outcome="decided", promoted=["c", "a"], verdicts={"R4": True, "R5": None}, first="a"),
    "y": HostAlone(outcome="blocked", promoted=[], verdicts={"R4": False}, first=None),
}


def hosts(final: bool, same: dict[str, bool] | None) -> Any:
    return SimpleNamespace(
        same_alone=same, summary=SimpleNamespace(host_alone=ALONE), gate=SimpleNamespace(final=final)
    )


def decision(*rules: Any) -> Any:
    by_id = {rule.id: rule for rule in rules}
    return SimpleNamespace(promoted=["a", "b"], verdicts={"R4": True, "R5": None}, rule=by_id.get)


@pytest.mark.parametrize("told", [None, hosts(False, None), hosts(False, {"x": True})])
def test_one_block_alone_or_a_what_if_has_nothing_to_compare(told: Any) -> None:
    assert module.alone_tables(decision(), told) == []


def test_each_block_alone_is_told_by_whom_it_would_have_promoted() -> None:
    (table,) = module.alone_tables(decision(), hosts(False, {"x": True, "y": False}))
    assert table.values == [["x", True, "decided", "a, c", "c", "b"], ["y", False, "blocked", None, None, "a, b"]]
    assert [[row.cells[key].text for key in ("same", "promoted")] for row in table.rows] == [
        ["✓ the same", "a, c"],
        ["✕ differs", "none"],
    ]
    assert [(row.id, row.cells["same"].mark) for row in table.rows] == [
        ("alone.x", "holds-yes"),
        ("alone.y", "holds-no"),
    ]


def test_at_the_last_gate_each_block_alone_is_told_by_its_first_and_its_verdicts() -> None:
    rule = SimpleNamespace(id="R4", text="It is first.")
    (table,) = module.alone_tables(decision(rule), hosts(True, {"x": True, "y": False}))
    assert table.values == [["x", True, "decided", "a", True, None], ["y", False, "blocked", None, False, None]]
    assert [(column.label, column.hint) for column in table.columns[3:]] == [
        ("Lowest mean", ""),
        ("R4", "It is first"),
        ("R5", ""),
    ]
    assert table.rows[0].cells["winner"].href == "configs/a.html"


def run(host: str, seed: int, score: float | None, **facts: Any) -> Any:
    record = SimpleNamespace(
        id=f"{host}/{seed}",
        host=host,
        seed=seed,
        purpose="floor",
        val_bpb=score,
        status="failed",
        reason=None,
        facts=facts,
    )
    return SimpleNamespace(record=record)


def test_the_floor_is_a_row_a_host_with_a_column_a_seed() -> None:
    floor = {"y": SimpleNamespace(runs=1, variance=0.25), "x": SimpleNamespace(runs=2, variance=0.0625)}
    candidate = SimpleNamespace(record=SimpleNamespace(host="x", seed=7, purpose="candidate"))
    view: Any = SimpleNamespace(
        entry=SimpleNamespace(decision=SimpleNamespace(floor=floor), source="line 3"), study=SimpleNamespace(hosts={"x": 0, "y": 0}),
        executed=[run("x", 2, 1.5), run("x", 1, 2.0), run("y", 2, None), candidate],
    )  # fmt: skip
    (table,) = module.floor_tables(view)
    assert table.values == [["x", 2, 0.25, 2.0, 1.5], ["y", 1, 0.5, None, None]]
    assert ([row.id for row in table.rows], table.source) == (["floor.x", "floor.y"], "line 3; ledger/runs.jsonl")
    assert (table.rows[1].cells["seed_1"], table.rows[1].cells["seed_2"].text) == (None, "failed")
    assert [column.label for column in table.columns] == [
        "Host block",
        "Runs",
        "Standard deviation of val_bpb",
        "Seed 1",
        "Seed 2",
    ]
    view.entry.decision.floor = {}
    assert module.floor_tables(view) == []
    view.entry = None
    assert module.floor_tables(view) == []


def locked(scores: dict[str, list[float | None]]) -> Any:
    cells = [("h", 1), ("h", 2)]
    ranking = [SimpleNamespace(config=name, mean=1.0 + place) for place, name in enumerate(scores)]
    runs = {
        name: [None if score is None else run("h", 1, 1.0, locked_bpb=score) for score in each]
        for name, each in scores.items()
    }
    return SimpleNamespace(ranking=ranking, cells=cells, run=lambda name, cell: runs[name][cells.index(cell)])


def test_the_locked_split_ranks_those_that_every_cell_was_scored_of() -> None:
    (table,) = module.locked_tables(locked({"a": [1.5, 2.0], "gone": [1.0, None], "b": [1.25, 1.25]}))
    assert table.values == [["a", 1.0, 1, 1.75, 2, 0.75], ["b", 3.0, 2, 1.25, 1, -1.75]]
    assert [row.id for row in table.rows] == ["locked.a", "locked.b"]
    assert module.locked_tables(locked({"a": [1.5, None]})) == []


def test_runs_without_a_score_of_the_locked_split_give_none() -> None:
    view = locked({"a": [1.5, 2.0]})
    view.run = lambda name, cell: SimpleNamespace(record=SimpleNamespace(facts=None))
    assert module._locked_mean(view, view.ranking[0]) is None
    view.run = lambda name, cell: SimpleNamespace(record=SimpleNamespace(facts={"locked_bpb": 0.0}))
    assert module._locked_mean(view, view.ranking[0]) == 0.0


def test_amendments_are_numbered_with_every_change_in_its_order() -> None:
    changed = {"seeds": {"was": [1, 2], "is": []}, "rules.R7": {"is": True}}
    amendments = [
        Amendment.model_validate({"reason": reason, "replaces": "0" * 64, "changed": changed})
        for reason in ("first", "second")
    ]
    table = module.amendments_table("gate3", amendments)
    assert table.values == [
        [1, "first", "rules.R7", "nothing", "true", "0" * 64], [1, "first", "seeds", "1, 2", "nothing", "0" * 64],
        [2, "second", "rules.R7", "nothing", "true", "0" * 64], [2, "second", "seeds", "1, 2", "nothing", "0" * 64],
    ]  # fmt: skip
    assert [row.id for row in table.rows] == [
        "amendment.1.rules.R7",
        "amendment.1.seeds",
        "amendment.2.rules.R7",
        "amendment.2.seeds",
    ]
    assert table.source == "locks/gate3.yaml"


@pytest.mark.parametrize(
    ("entry", "candidates", "ids"),
    [
        (None, ["a"], ["evidence", "planned"]),
        ("", [], ["evidence", "planned"]),
        ("line", ["a"], ["evidence", "outcome", "rules", "verdicts", "matrix", "findings", "alone", "floor", "locked"]),
    ],
)
def test_a_gate_that_judged_nobody_shows_its_rules_alone(
    entry: str | None, candidates: list[str], ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {"verdict_tables": "verdicts", "alone_tables": "alone", "floor_tables": "floor", "locked_tables": "locked"}
    for place, names in (
        (module.gate_evidence, ["evidence"]),
        (module.gate_outcome, ["outcome"]),
        (module.gate_rules, ["planned", "rules", "matrix", "findings"]),
    ):
        for name in names:
            monkeypatch.setattr(place, f"{name}_table", lambda *_, name=name: name)
    for name, id_ in many.items():
        monkeypatch.setattr(module.gate_rules if name == "verdict_tables" else module, name, lambda *_, id_=id_: [id_])
    monkeypatch.setattr(module.gate_confidence, "confidence_tables", lambda *_: [])
    reported = None if entry is None else SimpleNamespace(decision=SimpleNamespace(candidates=candidates))
    view: Any = SimpleNamespace(
        gates={"gate2": 0, "gate3": 0},
        paths={"a": SimpleNamespace(steps=[1, 2])},
        hosts={},
        confidence=None,
        noise=lambda _: None,
    )
    gate: Any = SimpleNamespace(name="gate3", rung="rung3", candidates=candidates or None, entry=reported, lock=None)
    assert module._tables(view, gate) == ids


@pytest.mark.parametrize(
    ("signed", "noise", "decision"), [(True, None, None), (False, NoiseScale("gate3", "rung3", 0.5), SimpleNamespace())]
)
def test_a_page_knows_its_neighbours_its_signature_and_its_noise(
    signed: bool, noise: NoiseScale | None, decision: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "locks").mkdir()
    if signed:
        (tmp_path / "locks" / "gate3.yaml.sig").touch()
    for name in ("heading", "lead", "chain_items"):
        monkeypatch.setattr(module.gate_text, name, lambda *_, name=name: name)
    monkeypatch.setattr(module.gate_text, "noise_note", lambda scale, known: (scale, known))
    monkeypatch.setattr(module.gate_confidence, "section", lambda *_: "sure")
    monkeypatch.setattr(module, "why_blocked", lambda _: ["tau is -1"])
    monkeypatch.setattr(module, "_tables", lambda *_: [])
    gate: Any = SimpleNamespace(name="gate3", rung="rung3", page="gates/gate3.html", title="Gate 3", decision=decision)
    known = SimpleNamespace(noise="redraws")
    view: Any = SimpleNamespace(
        gates={"gate2": gate, "gate3": gate, "gate4": gate}, chains={"gate3": "chain"}, noise=lambda _: noise, files=SimpleNamespace(root=tmp_path),
        confidence=SimpleNamespace(gate=lambda _: known if decision else None),
    )  # fmt: skip
    page = list(module.pages(view))[1]
    assert (page.path, page.title, page.template) == ("gates/gate3.html", "Gate 3", "gate.html")
    assert page.context == {
        "gate": gate, "before": "gate2", "after": "gate4", "heading": "heading", "lead": "lead",
        "noise_note": (noise, "redraws") if noise else None, "chain_items": "chain_items",
        "why_blocked": ["tau is \N{MINUS SIGN}1"] if decision else [], "rung_page": "runs/rung3.html", "chain": "chain", "sure": "sure",
        "signature": signed,
    }  # fmt: skip
    ends = [(page.context["before"], page.context["after"]) for page in module.pages(view)]
    assert ends == [(None, "gate3"), ("gate2", "gate4"), ("gate3", None)]
