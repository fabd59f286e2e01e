"""The promotion path as a figure and as a table: sizes, heads, labels, legend and cells, path by path."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report import path_figure as module
from report.figures import Stars
from report.path_figure import path_figure, path_table
from report.promotion_paths import PathStep, PromotionPath
from stages.domain import formatting

NB = formatting.NB


def gates(many: int, last: int | None = 3) -> list[Any]:
    """So many gates; `last` is how many candidates come to the last one."""
    counts = [12] * (many - 1) + [last]
    return [
        SimpleNamespace(
            rung=f"rung{n}",
            rung_title=f"Rung {n}",
            budget=60.0 * n,
            candidates=None if count is None else [str(each) for each in range(count)],
        )
        for n, count in enumerate(counts, start=1)
    ]


def way(
    config: str, *ranks: int | None, roles: tuple[str, ...] = (), state: str = "promoted", **end: Any
) -> PromotionPath:
    """A path with these ranks; `end` is what the step of the last of them holds besides."""
    steps = [PathStep(f"rung{n}", "promoted" if rank else "absent", rank, 1.5) for n, rank in enumerate(ranks, start=1)]
    place = max(n for n, rank in enumerate(ranks) if rank)
    steps[place] = PathStep(f"rung{place + 1}", state, ranks[place], 1.5, **end)
    return PromotionPath(config, roles, tuple(steps))


def test_the_lines_of_a_small_study_are_drawn_and_named_whole() -> None:
    paths = [
        way("first", 2, 1, roles=("reference",), state="winner"),
        way("early", 1, 2, state="finalist"),
        way("third", 3, None, state="stopped", decisive="R7"),
    ]
    figure = path_figure(paths, gates(2, 2), Stars("first", "early"), "paths")
    texts = [(label["x"], label["y"], label["text"], label["xanchor"]) for label in figure.layout["annotations"]]
    assert texts == [
        (0, 2.0, "<b>first</b>", "right"), (1, 1.0, "<b>first</b>", "left"), (0, 1.0, "<b>early</b>", "right"),
        (1, 2.0, "<b>early</b>", "left"), (0, 3.0, "third", "right"), (0, 3.0, "R7", "left"),
    ]  # fmt: skip
    phone = [(label["text"], label["font"]["size"], label["xshift"]) for label in figure.narrow["annotations"]]
    assert phone == [("<b>first</b>", 10, -6), ("<b>early</b>", 10, -6), ("third", 10, -6), ("R7", 10, 6)]
    assert [line["text"][0].split("<br>")[0] for line in figure.data] == ["third", "early", "first"]
    assert [line["marker"]["symbol"] for line in figure.data] == [["x"], ["triangle-down"] * 2, ["circle", "star"]]
    assert [line["marker"]["size"] for line in figure.data] == [[10], [9, 9], [9, 16]]
    assert [(line["x"], line["y"]) for line in figure.data] == [([0], [3]), ([0, 1], [1, 2]), ([0, 1], [2, 1])]
    assert figure.data[0]["text"] == ["third<br>Rung 1: stopped<br>mean val_bpb 1.500000"]
    assert figure.legend == (
        ("@c1", "solid", "star", "reference · winner"),
        ("@c4", "dashdot", "triangle-down", "led the first rung"),
        ("@c0", "solid", "circle", "other configurations"),
        ("@muted", "", "x", "stopped, with the rule"),
    )
    assert (figure.height, figure.below, figure.table, figure.id) == (300, 520, "paths", "figure.promotion-path")
    assert figure.layout["margin"] == {"l": 75, "r": 67, "t": 62, "b": 12}
    assert figure.narrow["margin"] == {"l": 74, "r": 40, "t": 62, "b": 8}
    assert (figure.layout["yaxis"]["ticklabelstandoff"], figure.narrow["yaxis.ticklabelstandoff"]) == (49, 44)
    assert figure.alt.endswith("The winner, first, ranked 2, 1. early led the first rung.")


@pytest.mark.parametrize(
    ("state", "words"),
    [("winner", "The winner"), ("leader", "The first of the last rung"), ("tied", "The first of the last rung")],
)
def test_the_first_of_the_last_rung_is_the_winner_only_where_it_is_one(state: str, words: str) -> None:
    figure = path_figure([way("a", 1, 1, state=state)], gates(2), Stars("a", "a"), "t")
    assert f" {words}, a, ranked 1, 1." in figure.alt and "led the first rung" not in figure.alt
    assert figure.legend == (("@ink", "solid", "star", f"{state} · led the first rung"),)


@pytest.mark.parametrize(("ranks", "height"), [(6, 300), (7, 330), (22, 780), (23, 780)])
def test_a_figure_is_as_high_as_its_ranks_need_within_bounds(ranks: int, height: int) -> None:
    assert path_figure([way("a", ranks)], gates(1), Stars(None, None), "t").height == height


@pytest.mark.parametrize(
    ("many", "first"), [(7, f"<b>Rung 1</b><br>60{NB}s<br>12 candidates"), (8, f"<b>1</b><br>60{NB}s<br>12")]
)
def test_more_than_seven_rungs_have_short_heads(many: int, first: str) -> None:
    figure = path_figure([way("a", *[1] * many)], gates(many), Stars(None, None), "t")
    assert figure.layout["xaxis"] == {
        "tickvals": list(range(many)), "ticktext": figure.layout["xaxis"]["ticktext"], "range": [-0.08, many - 1 + 0.08],
        "showgrid": True, "side": "top", "tickangle": 0,
    }  # fmt: skip
    assert figure.layout["xaxis"]["ticktext"][0] == first
    assert figure.narrow["xaxis.ticktext"][0] == f"<b>1</b><br>60{NB}s<br>12"
    assert (figure.below, figure.narrow["font.size"]) == (400 + 60 * many, 10)


def test_candidates_that_are_not_known_yet_are_no_number() -> None:
    figure = path_figure([way("a", 1, None)], gates(2, None), Stars(None, None), "t")
    assert figure.layout["xaxis"]["ticktext"][1] == f"<b>Rung 2</b><br>2{NB}min<br>not known"
    assert figure.narrow["xaxis.ticktext"][1] == f"<b>2</b><br>2{NB}min<br>{formatting.DASH}"
    assert figure.alt.startswith("Candidates at each rung: 12 → ?. ")


def test_a_configuration_without_a_rank_has_no_line() -> None:
    never = PromotionPath("b", (), (PathStep("rung1", "missing"),))
    figure = path_figure([way("a", 1), never], gates(1), Stars(None, None), "t")
    assert [line["text"][0].split("<br>")[0] for line in figure.data] == ["a"]
    empty = path_figure([never], gates(1), Stars(None, None), "t")
    assert (empty.data, empty.layout["annotations"], empty.layout["yaxis"]["range"]) == ([], [], [1.6, 0.4])


def test_names_without_room_are_counted() -> None:
    paths = [way(f"c{n}", n, None) for n in range(1, 61)]
    figure = path_figure(paths, gates(2), Stars(None, "c60"), "t")
    named = sum(label["xanchor"] == "right" for label in figure.layout["annotations"])
    assert 0 < named < 41 and figure.alt.endswith(
        f" 41 of 60 drawn; logarithmic axis. {named} of them have room for their name."
    )


@pytest.mark.parametrize(
    ("step", "cell"),
    [
        (PathStep("rung1", "winner", 1, 1.5), ("winner", "★ winner #1", "state-winner", "winner", "1.5000", 1.0)),
        (
            PathStep("rung1", "kept", 3, 1.5, by=("R5", "R6"), against=("R8", "R9")),
            ("kept", "◆ kept #3", "state-kept", "kept by role (R5, R6) against R8, R9", "1.5000 · R5 · against R8, R9", 3.0),
        ),
        (PathStep("rung1", "promoted", 2, 1.5, by=("R7",)), ("promoted", "▲ promoted #2", "state-promoted", "promoted by R7", "1.5000", 2.0)),
        (PathStep("rung1", "stopped", by=("R8",), decisive="R8"), ("stopped", "✕ stopped", "state-stopped", "stopped by R8", "R8", None)),
        (PathStep("rung1", "blocked", 1, 1.5), ("blocked", "■ blocked #1", "state-blocked", "gate blocked", "1.5000", 1.0)),
    ],
)  # fmt: skip
def test_a_judged_step_is_a_cell_with_a_link_to_its_gate(step: PathStep, cell: tuple[Any, ...]) -> None:
    (row,) = path_table([PromotionPath("a", ("reference",), (step,))], gates(1)).rows
    shown = row.cells["rung1"]
    assert (shown.value, shown.text, shown.mark, shown.note, shown.small, shown.sort) == cell
    assert shown.href == "gates/gate1.html#a"
    assert (row.id, row.cells["config"].tags, row.cells["roles"]) == ("path.a", ("reference",), "reference")


@pytest.mark.parametrize(("state", "text"), [("absent", ""), ("waiting", "… undecided"), ("unrun", "○ not run")])
def test_a_step_that_was_not_judged_leads_nowhere(state: str, text: str) -> None:
    (row,) = path_table([PromotionPath("a", (), (PathStep("rung1", state, unmet=("R2",)),))], gates(1)).rows
    shown = row.cells["rung1"]
    assert (shown.text, shown.href, shown.note, shown.small, shown.sort) == (text, "", "", "", None)


def test_the_files_hold_rank_mean_and_rules_that_the_page_shows_inside_a_cell() -> None:
    step = PathStep("rung1", "stopped", 2, 1.5, unmet=("R2", "R3"))
    table = path_table(
        [
            PromotionPath("a", (), (step,)),
            PromotionPath("b", (), (PathStep("rung1", "promoted", 1, 1.25, by=("R2",)),)),
        ],
        gates(1),
    )
    assert table.values == [["a", "", "stopped", 2, 1.5, "R2 R3"], ["b", "", "promoted", 1, 1.25, "R2"]]
    assert [column.label for column in table.shown] == ["Configuration", f"Rung 1 · 60{NB}s"]
    assert [(column.key, column.kind) for column in table.kept] == [
        ("config", "text"), ("roles", "text"), ("rung1", "text"), ("rung1_rank", "count"), ("rung1_mean", "mean"), ("rung1_rules", "text"),
    ]  # fmt: skip


def test_blocked_candidates_name_the_rules_that_would_have_promoted_them() -> None:
    assert (
        module.step_text(PathStep("rung1", "blocked", by=("R2", "R3"))) == "gate blocked; R2, R3 would have promoted it"
    )
    assert module.step_text(PathStep("rung1", "blocked", by=("R2",), unmet=("R3",))) == "gate blocked"
    assert module.step_text(PathStep("rung1", "stopped", by=("R8",), unmet=("R3",))) == "stopped by R8"
    assert module.step_text(PathStep("rung1", "promoted", by=("R2",), unmet=("R3",))) == "promoted by R2"
