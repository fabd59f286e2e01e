"""How sure a gate is, in sentences, cells and tables: each state of noise, test, interval, redraw and threshold."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from report.confidence import SOURCE, Confidence
from report.pages import gate_confidence as module
from report.pages.gate_confidence import Fate
from stages.confidence.results import (
    Change,
    Comparison,
    Deletion,
    End,
    GateConfidence,
    Noise,
    NoisiestCandidate,
    Redraws,
    Threshold,
)
from stages.domain import formatting

MINUS, DASH = formatting.MINUS, formatting.DASH
MEASURED = Noise(
    "replication", "rung3", False, ("h", "g"), ((0.0004, 0.0), (0.0, 0.0001)), 4, "measured at rung3 itself"
)
NONE = Noise("none", None, False, (), (), 0, "no noise was measured")
REDRAWS = Redraws(2000, 0.75, 0.5, 0.25, 0.0, {}, {})
PAIR = Comparison(
    "R8", "exceeds_gap", "a", "b", "best", ("h",), 4, 0.03, {"h": 0.03}, -0.01, 0.07, 0.02, 3, "replication", 0.02, None,
    "non-inferiority", 0.04, "not worse", 0.125, 0.0625, 0.05, "",
)  # fmt: skip
KNOWN = GateConfidence("gate3", "rung3", 3, 4, MEASURED, None, (), 0, None, (), (), ())
CHANGE = Change("candidate", "a", "promoted", "stopped")


def gate(**changed: Any) -> Any:
    return SimpleNamespace(**{"name": "gate3", "decision": object(), "what_if": False, "final": False} | changed)


def confidence(known: GateConfidence | None = None, missing: str = "") -> Confidence:
    return Confidence(SimpleNamespace(gates={"gate3": known} if known else {}), missing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("decision", "missing", "text"),
    [
        (object(), "", "Nothing to say: no candidate was judged."),
        (None, "", "Nothing to say: this gate has not decided."),
        (None, "no file is here", "no file is here"),
    ],
)
def test_a_gate_of_which_nothing_is_known_says_why(decision: object, missing: str, text: str) -> None:
    assert module.section(gate(decision=decision), confidence(missing=missing)) == module.Section([], text)
    assert module.confidence_tables(gate(), confidence()) == []


def test_a_section_names_a_threshold_to_try_and_reminds_of_a_what_if() -> None:
    thresholds = (
        Threshold("R7", "top_k", "k", 3.0, None, None),
        Threshold("R8", "exceeds_gap", "gap", 0.5, None, None),
    )
    known = replace(KNOWN, thresholds=thresholds)
    reported = module.section(gate(what_if=True), confidence(known))
    assert (
        reported.try_it
        == "`promotion what-if gate3.R7.k=VALUE` prints whose outcome another value changes, here and at later gates."
    )
    assert (reported.reminder, reported.missing) == ("These figures are of the frozen rules, not of the what-if.", "")
    plain = module.section(gate(), confidence(KNOWN))
    assert (plain.try_it, plain.reminder, len(plain.sentences)) == ("", "", 2)


@pytest.mark.parametrize(
    ("changed", "sentences"),
    [
        ({}, ["With one cell there is nothing that could be left out."]),
        (
            {"deletions": (Deletion("cell", "h 1", ()),)},
            ["No outcome depends on one cell, one seed or one host: each was left out in turn."],
        ),
        (
            {"hangs_on": ("seed 1", "host h"), "deletions": (Deletion("cell", "h 1", ()),)},
            ["The decision depends on seed 1 and host h: without it an outcome changes."],
        ),
        (
            {"detectable": 0.0, "cells": 1},
            [
                "With 1 cell a true difference of 0.0000 shows in 80 % of repetitions; a smaller one is easily missed.",
                "With one cell there is nothing that could be left out.",
            ],
        ),
        (
            {"redraws": REDRAWS},
            [
                "Decided 2,000 times more with fresh seeds of this noise: 75.0 % let the same set go on and 50.0 % have the "
                "same leader.",
                "With one cell there is nothing that could be left out.",
            ],
        ),
    ],
)  # fmt: skip
def test_sentences_say_what_is_known_and_no_more(changed: dict[str, Any], sentences: list[str]) -> None:
    assert list(module._sentences(gate(), replace(KNOWN, **changed)))[1:] == sentences


@pytest.mark.parametrize(
    ("final", "changed", "text"),
    [
        (True, {}, "50.0 % have the same leader."),
        (True, {"verdict_flips": {"R4": 0.0}}, "25.0 % give the same verdicts and 50.0 % have the same leader."),
        (False, {"verdict_flips": {"R4": 0.0}}, "75.0 % let the same set go on, 25.0 % give the same verdicts and 50.0 % have the same leader."),
        (True, {"blocked": 0.125}, "50.0 % have the same leader. 12.5 % block the gate."),
    ],
)  # fmt: skip
def test_redraws_are_told_by_set_verdicts_leader_and_blocks(final: bool, changed: dict[str, Any], text: str) -> None:
    known = replace(KNOWN, redraws=replace(REDRAWS, **changed))
    assert module._redraws_text(known, final) == f"Decided 2,000 times more with fresh seeds of this noise: {text}"


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        (NONE, "No noise was measured: how often this gate would decide otherwise is not known."),
        (MEASURED, "Noise of one cell (standard deviation of val_bpb): 0.0100 on g and 0.0200 on h, measured at rung 3 itself."),
        (
            replace(MEASURED, borrowed=True),
            "Noise of one cell (standard deviation of val_bpb): 0.0100 on g and 0.0200 on h, measured at rung 3 itself. It is "
            "the noise of another budget, so take it as a rough guess.",
        ),
        (
            replace(MEASURED, noisiest=NoisiestCandidate("a", 0.75, {"h": 0.005})),
            "Noise of one cell (standard deviation of val_bpb): 0.0100 on g and 0.0200 on h, measured at rung 3 itself. Most of "
            "this noise is that of a; without it 0.0050 on h.",
        ),
    ],
)  # fmt: skip
def test_noise_is_told_by_host_with_where_it_is_from(noise: Noise, text: str) -> None:
    assert module.noise_text(replace(KNOWN, noise=noise)) == text


@pytest.mark.parametrize(
    ("changed", "ids"),
    [
        ({}, []),
        ({"redraws": replace(REDRAWS, flips={"a": 0.0})}, []),
        ({"redraws": replace(REDRAWS, flips={"a": 0.1})}, ["fates"]),
        ({"comparisons": (PAIR,)}, ["comparisons", "cells"]),
        ({"deletions": (Deletion("cell", "h 1", ()),)}, []),
        ({"deletions": (Deletion("cell", "h 1", (CHANGE,)),)}, ["fates", "without"]),
        ({"thresholds": (Threshold("R7", "top_k", "k", 3.0, None, None),)}, ["thresholds"]),
    ],
)
def test_tables_stand_where_they_have_something_to_say(changed: dict[str, Any], ids: list[str]) -> None:
    view = gate(study=SimpleNamespace(hosts={"h": None}), cells=[])
    assert [table.id for table in module.confidence_tables(view, confidence(replace(KNOWN, **changed)))] == ids


@pytest.mark.parametrize(
    ("changed", "cell"),
    [
        ({}, (0.03, "+0.0300", f"{MINUS}0.0100 to +0.0700", "")),
        ({"mean": None, "note": "why"}, (None, DASH, "", "why")),
        ({"lower": None}, (0.03, "+0.0300", "no interval", "")),
        ({"upper": None, "note": "n"}, (0.03, "+0.0300", "no interval", "n")),
        ({"lower": None, "noise": "none"}, (0.03, "+0.0300", "no interval: no noise was measured", "")),
        ({"noise": "none"}, (0.03, "+0.0300", f"{MINUS}0.0100 to +0.0700", "")),
    ],
)
def test_a_difference_has_its_interval_below_it_or_says_that_it_has_none(
    changed: dict[str, Any], cell: tuple[object, ...]
) -> None:
    shown = module.difference_cell(replace(PAIR, **changed))
    assert (shown.value, shown.text, shown.small, shown.note) == cell


@pytest.mark.parametrize(
    ("changed", "cell"),
    [
        ({}, ("not worse", "✓ not worse", "holds-yes", "0.02, p 0.040")),
        ({"test": "equivalence", "outcome": "equivalent", "p_test": 0.001}, ("equivalent", "≈ equivalent", "holds-yes", "±0.02, p 0.001")),
        ({"margin_from": "gate5.R5", "p_test": 0.0009}, ("not worse", "✓ not worse", "holds-yes", "0.02 of gate5.R5, p < 0.001")),
        ({"outcome": "worse", "p_test": 0.999}, ("worse", "✕ worse", "holds-no", "0.02, p 0.999")),
        ({"outcome": "better", "p_test": None}, ("better", "▲ better", "holds-yes", "0.02")),
        ({"outcome": "inconclusive", "p_test": 0.9991}, ("inconclusive", "? inconclusive", "holds-unknown", "0.02, p > 0.999")),
        ({"outcome": None}, (None, "not tested", "", "0.02")),
        ({"outcome": None, "note": "n"}, (None, "not tested", "", "0.02")),
        ({"outcome": None, "lower": None}, (None, "not tested", "", "0.02")),
        ({"outcome": None, "lower": None, "note": "n"}, (None, "not tested", "", "n")),
        ({"outcome": None, "margin": None}, (None, "not tested", "", "")),
    ],
)  # fmt: skip
def test_a_test_against_the_margin_is_a_word_with_margin_and_p(
    changed: dict[str, Any], cell: tuple[object, ...]
) -> None:
    shown = module.outcome_cell(replace(PAIR, **changed))
    assert (shown.value, shown.text, shown.mark, shown.small) == cell


@pytest.mark.parametrize(
    ("noise", "mean", "text"),
    [
        ("replication", 0.1, "measured"),
        ("floor", 0.1, "borrowed"),
        ("none", 0.1, "not measured"),
        ("floor", None, DASH),
    ],
)
def test_the_noise_of_a_pair_is_a_word(noise: Any, mean: float | None, text: str) -> None:
    shown = module._noise(replace(PAIR, noise=noise, mean=mean, note="why"))
    assert (shown.value, shown.text, shown.note) == (noise, text, "why")


@pytest.mark.parametrize(
    ("other", "words"), [("cut", "across the cut"), ("best", "the best"), ("reference", "reference")]
)
def test_who_a_candidate_is_compared_with_is_named_with_what_it_is(other: str, words: str) -> None:
    shown = module._against(replace(PAIR, against_as=other))
    assert (shown.value, shown.href, shown.small) == ("b", "configs/b.html", words)


@pytest.mark.parametrize(
    ("many", "note"),
    [
        (0, ""),
        (1, " 1 comparison farther from a threshold is left out."),
        (2, " 2 comparisons farther from a threshold are left out."),
    ],
)
def test_comparisons_that_are_left_out_are_counted(many: int, note: str) -> None:
    table = module.comparisons_table(replace(KNOWN, comparisons=(PAIR,), left_out=many))
    assert (
        table.note
        == f"Cells are paired by host and seed; each host has a mean of its own and they are never pooled.{note}"
    )
    assert table.values == [
        ["a", "R8", "b", 0.03, -0.01, 0.07, "not worse", 0.02, None, 0.04, 0.125, 0.0625, 0.05, "replication"]
    ]
    assert [column.key for column in table.columns if column.hidden] == [
        "lower",
        "upper",
        "margin",
        "margin_from",
        "p_test",
        "smallest_p",
    ]
    assert (table.rows[0].id, table.source) == ("comparison.R8.a", SOURCE)


def scores(**values: float | None) -> Any:
    """A gate with the scores of a and b in the cells of one host, by seed."""
    seeds = list(range(1, 1 + len(values) // 2))

    def run(config: str, cell: tuple[str, int]) -> Any:
        name = f"{config}{cell[1]}"
        return (
            SimpleNamespace(record=SimpleNamespace(val_bpb=values[name])) if name in values and cell[0] == "h" else None
        )

    return gate(study=SimpleNamespace(hosts={"g": None, "h": None}), cells=[("h", seed) for seed in seeds], run=run)


@pytest.mark.parametrize(("cells", "hidden"), [(4, False), (5, True)])
def test_differences_of_more_than_four_cells_are_in_the_files_alone(cells: int, hidden: bool) -> None:
    view = scores(**{f"{config}{n}": 1.5 + n * (config == "a") for n in range(1, cells + 1) for config in "ab"})
    table = module.cells_table(view, replace(KNOWN, comparisons=(PAIR,)))
    assert {column.hidden for column in table.columns if column.key.startswith("cell_")} == {hidden}
    assert (
        table.note
        == f"Positive: worse than the one that it is compared with{'; the files beside this page have every cell' if hidden else ''}."
    )
    assert table.values == [["a", "R8", "b", 0.03, *map(float, range(1, cells + 1))]]
    assert [column.group for column in table.columns[3:5]] == ["Mean of each host", "Cell by cell: host and seed"]
    assert [column.key for column in table.columns] == [
        "config",
        "rule",
        "against",
        "host_h",
        *(f"cell_h_{n}" for n in range(1, cells + 1)),
    ]
    assert [column.hidden for column in table.columns[:4]] == [False, False, True, False]


@pytest.mark.parametrize(
    ("values", "hosts", "difference"),
    [
        ({"a1": 2.0, "b1": 1.5}, ("h",), 0.5),
        ({"a1": 2.0, "b1": 1.5}, ("g",), None),
        ({"a1": None, "b1": 1.5}, ("h",), None),
        ({"a1": 2.0, "b1": None}, ("h",), None),
        ({"a1": 2.0}, ("h",), None),
        ({"b1": 2.0}, ("h",), None),
    ],
)
def test_a_cell_has_a_difference_where_both_finished_and_the_rule_looks_at_its_host(
    values: dict[str, float | None], hosts: tuple[str, ...], difference: float | None
) -> None:
    assert module._cell(scores(**values), ("h", 1), replace(PAIR, hosts=hosts)) == difference


def test_fates_are_verdicts_first_and_those_that_flip_most_often() -> None:
    leader = Change("leader", "lowest mean", "a", "c")
    deletions = (
        Deletion("seed", "1", (leader,)),
        Deletion("cell", "h 2", (Change("verdict", "R5", "holds", "fails"), Change("outcome", "gate", "x", "y"))),
    )
    redraws = replace(REDRAWS, flips={"a": 0.1, "b": 0.3}, verdict_flips={"R4": 0.0})
    known = replace(KNOWN, redraws=redraws, deletions=deletions)
    verdicts = [Fate("R4", 0.0, (), True), Fate("R5", None, ("cell h 2",), True)]
    assert module.fates(known, final=False) == [*verdicts, Fate("b", 0.3, (), False), Fate("a", 0.1, (), False)]
    assert module.fates(known, final=True) == [
        *verdicts, Fate("b", 0.3, (), False), Fate("a", 0.1, ("seed 1",), False), Fate("c", None, ("seed 1",), False),
    ]  # fmt: skip
    nobody = replace(known, redraws=None, deletions=(Deletion("host", "h", (replace(leader, now="nobody"),)),))
    assert module.fates(nobody, final=True) == [Fate("a", None, ("host h",), False)]
    table = module.fates_table(known, module.fates(known, final=False))
    assert [(row.id, row.cells["name"].href) for row in table.rows[1:3]] == [
        ("fate.R5", "gates/gate3.html#R5"),
        ("fate.b", "configs/b.html"),
    ]
    assert not table.columns[2].hidden
    assert module.fates_table(known, [Fate("b", 0.3, (), False)]).columns[2].hidden


@pytest.mark.parametrize(("share", "mark"), [(0.2, "bad"), (0.19, "")])
def test_an_outcome_that_changes_in_a_fifth_of_the_redraws_is_marked(share: float, mark: str) -> None:
    assert module._flips(Fate("a", share, (), False)).mark == mark


@pytest.mark.parametrize(
    ("hangs_on", "cell"),
    [((), (None, "nothing", "")), (("seed 1", "seed 2"), ("seed 1 and seed 2", "seed 1 and seed 2", "bad"))],
)
def test_what_an_outcome_depends_on_is_marked_and_nothing_is_said_as_nothing(
    hangs_on: Any, cell: tuple[object, ...]
) -> None:
    shown = module.hanging_cell(hangs_on, 3)
    assert (shown.value, shown.text, shown.mark) == cell


def test_what_changes_nothing_when_left_out_is_counted_and_not_listed() -> None:
    deletions = (Deletion("seed", "1", (CHANGE,)), Deletion("host", "h", ()), Deletion("host", "g", ()))
    table = module.deletions_table(replace(KNOWN, deletions=deletions))
    assert [(row.id, row.cells["left_out"], row.cells["changes"].text) for row in table.rows] == [
        ("without.seed.1", "seed 1", "a is stopped")
    ]
    assert table.note == "2 others left out in turn: nothing changes."
    assert module.deletions_table(replace(KNOWN, deletions=deletions[:1])).note == ""


@pytest.mark.parametrize(
    ("lower", "upper", "text"),
    [
        (None, None, "whatever it is"),
        (End(2.0, True, ()), End(2.0, True, ()), "at 2 alone"),
        (End(2.0, True, ()), End(3.5, False, ()), "from 2 below 3.5"),
        (End(2.0, False, ()), End(3.5, True, ()), "above 2 up to 3.5"),
        (End(2.0, False, ()), None, "above 2"),
        (None, End(3.5, True, ()), "up to 3.5"),
    ],
)
def test_the_interval_of_a_threshold_is_said_in_words(lower: End | None, upper: End | None, text: str) -> None:
    row = Threshold("R7", "top_k", "k", 2.0, lower, upper)
    table = module.thresholds_table(replace(KNOWN, thresholds=(row,)))
    assert table.rows[0].cells["range"].text == text
    ends = [end.value if end else None for end in (lower, upper)]
    assert table.values[0][:5] == ["R7", "k", 2.0, *ends]
    assert [column.key for column in table.shown] == ["rule", "field", "value", "range", "below", "above"]
    assert table.rows[0].id == "threshold.R7.k" and table.rows[0].cells["field"].small == "top_k"


def test_beyond_an_interval_it_is_said_what_changes_three_by_name() -> None:
    words = [
        Change("outcome", "gate", "decided", "blocked"),
        Change("leader", "lowest mean", "a", "b"),
        Change("verdict", "R5", "holds", "fails"),
        CHANGE,
    ]
    assert [module._word(change) for change in words] == [
        "the gate is blocked",
        "b leads instead of a",
        "R5 fails",
        "a is stopped",
    ]
    few, many = module._beyond(End(1.0, True, tuple(words))), module._beyond(End(1.0, True, (*words, CHANGE)))
    assert few.text == "the gate is blocked, b leads instead of a, R5 fails and a is stopped"
    assert (many.text, many.value) == (
        "the gate is blocked, b leads instead of a, R5 fails and 2 more",
        "the gate is blocked; b leads instead of a; R5 fails; a is stopped; a is stopped",
    )
    nothing, empty = module._beyond(None), module._changes([])
    assert (nothing.value, nothing.text, nothing.mark) == (None, "nothing changes", "muted")
    assert (empty.value, empty.text) == (None, "nothing")
