"""Hindsight, sentence by sentence and figure by figure, on ladders that no whole study comes to."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, cast

import pytest

from stages.confidence import hindsight
from stages.confidence.hindsight import _Assessment, _dropped_text, assess_hindsight
from tests.confidence import cases

CUT = {"R1": {"kind": "top_k", "k": 1}}
#: Means of 1.0, 1.1 and 1.2; the last finished in no cell, and the one before it in some.
SCORES: dict[str, list[Any]] = {
    "a": [1.0] * 4,
    "b": [1.1] * 4,
    "c": [1.2] * 4,
    "d": [1.3, 1.3, 1.3, None],
    "e": [..., ..., ..., ...],
}


def assessment(**over: Any) -> Any:
    """An assessment of such scores at the last rung, to which the ladder took a and c."""
    made: Any = object.__new__(_Assessment)
    made.evidence = cases.evidence(CUT, SCORES)
    made.means = {name: mean for name in SCORES if (mean := made.evidence.mean(name)) is not None}
    made.ranking = made.evidence.ranking()
    made.last = SimpleNamespace(name="rung5", cells=4, candidates=("a", "c"))
    made.near, made.noise = None, SimpleNamespace(known=False, text="none")
    made.ladder = SimpleNamespace(rungs=[], configs=tuple(SCORES))
    for name, value in over.items():
        setattr(made, name, value)
    return made


def gate(name: str = "gate1", better: Any = (), dropped: int = 3) -> Any:
    return SimpleNamespace(gate=name, better=better, dropped=dropped)


def row(by_role: bool) -> Any:
    return SimpleNamespace(by_role=by_role)


NOBODY = "the ladder chose nobody, so nothing can be regretted"


@pytest.mark.parametrize(
    ("choice", "best", "regret", "unknown", "text"),
    [
        (None, "a", Fraction(0), (), NOBODY), ("a", None, Fraction(0), (), NOBODY), ("a", "a", None, (), NOBODY),
        ("a", "a", Fraction(0), (), "the ladder chose the best of 3 configurations at rung5; no gate dropped a better one"),
        ("a", "a", Fraction(0), ("d",),
         "the ladder chose the best of 3 configurations at rung5; 1 other not known; no gate dropped a better one"),
        ("c", "a", Fraction(1, 5), (), "of 3 configurations at rung5, a is better than the ladder's choice by 0.2000"),
        ("c", "a", Fraction(1, 30000), ("d", "e"),
         "of 3 configurations at rung5, a is better than the ladder's choice by 0.0000; 2 others not known"),
    ],
)  # fmt: skip
def test_hindsight_is_one_line(choice, best, regret, unknown, text):
    assert assessment()._text(choice, best, regret, unknown, [gate()]) == text


@pytest.mark.parametrize(
    ("better", "text"),
    [
        ([[]], "no gate dropped a better one"),
        ([[row(False)], []], "of the 6 it stopped, 1 was better than what it kept on merit"),
        ([[row(False)], [row(False)]], "of the 6 it stopped, 2 were better than what it kept on merit"),
        ([[row(True)]], "of the 3 it stopped, none was better than what it kept on merit; 1 beat only what a role kept"),
        ([[row(True), row(True)]], "of the 3 it stopped, none was better than what it kept on merit; 2 beat only what a role kept"),
        ([[row(True), row(False)]], "of the 3 it stopped, 1 was better than what it kept on merit; 1 other beat only what a role kept"),
        ([[row(True), row(True)], [row(False), row(False)]],
         "of the 6 it stopped, 2 were better than what it kept on merit; 2 others beat only what a role kept"),
    ],
)  # fmt: skip
def test_who_beat_what_was_kept_on_merit_is_set_apart_from_who_beat_what_a_role_kept(better, text):
    assert _dropped_text([gate(f"gate{n}", rows) for n, rows in enumerate(better)]) == text


def decided(name: str, candidates: list[str], promoted: list[str], by: dict[str, list[str]] | None = None) -> Any:
    rules = [SimpleNamespace(id="R1", kind="top_k"), SimpleNamespace(id="R2", kind="keep_role")]
    decision = SimpleNamespace(
        candidates=candidates, promoted=promoted, rules=rules, promoted_by=by or {}, blocked=False
    )
    return SimpleNamespace(gate=name, name=name.replace("gate", "rung"), decision=decision)


@pytest.mark.parametrize(
    ("config", "source", "mean", "rank", "stopped"),
    [
        ("a", "ladder", 1.0, 1, None), ("b", "hindsight", pytest.approx(1.1), 2, "gate2"), ("c", "ladder", pytest.approx(1.2), 3, None),
        ("d", "unfinished", None, None, "gate1"), ("e", "missing", None, None, None),
    ],
)  # fmt: skip
def test_a_standing_says_where_its_runs_are_from(config, source, mean, rank, stopped):
    rungs = [
        decided("gate1", ["a", "b", "c", "d"], []),
        decided("gate2", ["a", "b", "c"], []),
        SimpleNamespace(decision=None),
    ]
    made = assessment(ladder=SimpleNamespace(rungs=rungs, configs=tuple(SCORES)))
    standing = made._standing(config)
    assert (standing.config, standing.source, standing.mean, standing.rank, standing.stopped_at) == (
        config,
        source,
        mean,
        rank,
        stopped,
    )
    host = None if config == "e" else pytest.approx({"a": 1.0, "b": 1.1, "c": 1.2, "d": 1.3}[config])
    assert standing.hosts == {"h1": host, "h2": None if config in "de" else host}


def test_a_gate_that_kept_nobody_who_is_known_has_no_regret():
    one = assessment()._gate(decided("gate1", ["a", "b", "d"], ["d"]))
    assert (one.gate, one.rung, one.dropped, one.kept, one.pairs, one.inversions) == ("gate1", "rung1", 2, 1, 0, 0)
    assert (one.best_kept, one.best_dropped, one.regret, one.better) == (None, "a", None, ())
    all_kept = assessment()._gate(decided("gate1", ["a", "b"], ["a", "b"]))
    assert (all_kept.best_kept, all_kept.best_dropped, all_kept.regret, all_kept.dropped) == ("a", None, 0.0, 0)


def test_a_gate_is_told_its_inversions_and_by_whom(monkeypatch):
    compared: list[tuple[str, str, str]] = []
    made = assessment()
    monkeypatch.setattr(made, "_compare", lambda *words: compared.append(words) or words, raising=False)
    by = {"b": ["R2"], "c": ["R1", "R2"]}
    one = made._gate(decided("gate2", ["a", "b", "c", "d", "e"], ["b", "c"], by))
    assert (one.pairs, one.inversions, one.best_kept, one.best_dropped, one.regret) == (
        2,
        2,
        "b",
        "a",
        pytest.approx(0.1),
    )
    assert [(row.config, row.kept, row.by_role) for row in one.better] == [("a", ("b", "c"), False)]
    assert compared == [("a", "b", "kept"), ("a", "b", "kept")]
    compared.clear()
    role = made._gate(decided("gate2", ["a", "b", "c"], ["a", "c"], {"c": ["R2"]}))
    assert [(row.config, row.kept, row.by_role) for row in role.better] == [("b", ("c",), True)]
    assert compared == [("b", "c", "kept"), ("b", "a", "kept")]
    assert (role.inversions, role.regret) == (1, 0.0)
    silent = made._gate(decided("gate2", ["b", "c"], ["c"], {}))
    assert [row.by_role for row in silent.better] == [True], "of whom no rule is told, none was kept on merit"


@pytest.mark.parametrize(
    ("first", "second", "tau", "ends"),
    [
        ([1.0], [1.0], None, False), ([1.0, 2.0], [1.0, 2.0], 1.0, False), ([1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0], -1.0, False),
        ([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 2.0, 3.0, 4.0, 5.0], 1.0, True), ([1.0, 1.0], [1.0, 2.0], None, False),
    ],
)  # fmt: skip
def test_an_order_of_five_has_an_interval(first, second, tau, ends):
    found, interval = hindsight._tau(first, second)
    assert found == tau
    assert interval == ((1.0, 1.0) if ends else None)


def ranked(ranking: list[str], means: dict[str, float] | None = None, name: str = "rung1") -> Any:
    evidence = None if means is None else SimpleNamespace(mean=lambda config: means.get(config))
    return SimpleNamespace(ranking=ranking, evidence=evidence, name=name)


def test_those_who_were_stopped_stand_behind_those_who_went_on():
    rungs = [ranked(["c", "b", "a", "d"]), ranked(["a", "c"]), ranked(["c"])]
    made = assessment(ladder=SimpleNamespace(rungs=rungs, configs=tuple(SCORES)))
    assert [made._order_after(place) for place in range(3)] == [
        ["c", "b", "a", "d"],
        ["a", "c", "b", "d"],
        ["c", "a", "b", "d"],
    ]


def test_a_rung_foretells_over_those_who_ran_and_have_a_mean_in_the_end():
    rungs = [
        ranked(["c", "b", "a", "d"], {"a": 3.0, "b": 2.0, "c": 1.0, "d": 9.0}),
        ranked(["a", "c"], {"a": 1.0, "c": 2.0}, "rung2"),
    ]
    made = assessment(ladder=SimpleNamespace(rungs=rungs, configs=tuple(SCORES)))
    first, second = made._foretold(0), made._foretold(1)
    assert (first.rung, first.candidates, first.tau_b, first.configs, first.ladder_tau_b) == ("rung1", 3, -1.0, 3, -1.0)
    assert (second.rung, second.candidates, second.tau_b, second.configs) == ("rung2", 2, 1.0, 3)
    assert second.ladder_tau_b == pytest.approx(1 / 3, abs=1e-8)  # a, c, b in place of a, b, c
    assert (first.interval, first.ladder_interval) == (None, None)


@pytest.mark.parametrize("lost", ["last", "evidence", "decision"])
def test_without_a_last_decision_nothing_is_said(monkeypatch, lost):
    whole = SimpleNamespace(evidence="evidence", decision=SimpleNamespace(to_bytes=lambda: b"x"))
    last = None if lost == "last" else SimpleNamespace(**{**vars(whole), lost: None})
    monkeypatch.setattr(hindsight, "build", lambda *words: SimpleNamespace(last=last))
    records = cast("Any", [SimpleNamespace(decision="x")])
    assert assess_hindsight([], {}, [], {}, records) == "the last gate has not decided"
    monkeypatch.setattr(hindsight, "build", lambda *words: SimpleNamespace(last=whole))
    assert assess_hindsight([], {}, [], {}, records) == hindsight.OTHER_DECISION
    nothing = "nothing was trained in hindsight; `make hindsight` does once the last gate has decided"
    assert assess_hindsight([], {}, [], {}, []) == nothing


@pytest.mark.parametrize(
    ("choice", "lost", "regret", "compared", "alternatives"),
    [
        ("a", (), 0.0, None, ("a",)), ("c", (), pytest.approx(0.2), ("c", "a", "best"), ("c",)), (None, (), None, None, ()),
        ("c", ("d",), pytest.approx(0.2), ("c", "a", "best"), ()),
    ],
)  # fmt: skip
def test_the_choice_is_held_against_the_best(monkeypatch, choice, lost, regret, compared, alternatives):
    records = [SimpleNamespace(executed=True, purpose="candidate")] * 3
    frozen = SimpleNamespace(budget_seconds=1200.0)
    undecided, blocked = (
        SimpleNamespace(**{**vars(ranked([])), "records": records, "frozen": frozen, "decision": decision})
        for decision in (None, SimpleNamespace(blocked=True, candidates=()))
    )
    ladder = SimpleNamespace(rungs=[undecided, blocked, undecided], configs=("a", "b", "c", *lost), winner=choice)
    made = assessment(ladder=ladder, extra_hours=Fraction(1, 4))
    made.last.gate = "gate5"
    made._compare = lambda *words: words
    monkeypatch.setattr(hindsight, "list_alternatives", lambda ladder, evidence, choice: [choice])
    result = made.result("digest")
    assert (result.choice, result.best, result.regret, result.regret_interval) == (choice, "a", regret, compared)
    assert (result.unknown, result.alternatives, result.gates, result.decision) == (lost, alternatives, (), "digest")
    assert [row.config for row in result.standings] == ["a", "b", "c", *lost]
    assert (result.rung, result.gate, result.cells, result.ladder_hours, result.hindsight_hours) == (
        "rung5",
        "gate5",
        4,
        3.0,
        0.25,
    )
    assert [row.rung for row in result.foretold] == ["rung1", "rung1"]


def test_two_are_compared_over_the_declared_cells_within_the_margin_of_the_study(monkeypatch):
    asked: list[Any] = []
    monkeypatch.setattr(hindsight.comparisons, "compare", lambda *words: asked.append(words))
    near = hindsight.Margin(0.01, "gate5.R1")
    made = assessment(near=near)
    made._compare("b", "a", "kept")
    [(pair, evidence, noise)] = asked
    assert (pair.config, pair.against, pair.against_as, pair.hosts, pair.margin) == (
        "b",
        "a",
        "kept",
        ("h1", "h2"),
        near,
    )
    assert (pair.rule, pair.kind, pair.two_sided, pair.distance) == ("hindsight", "hindsight", True, Fraction(1, 10))
    assert evidence is made.evidence and noise is made.noise
