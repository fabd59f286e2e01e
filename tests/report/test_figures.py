"""Figures as specifications: what is drawn, how it is told apart, and that names never take the room of the lines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from report import figures
from report.build import build
from report.figures import MOST_LETTERS, Stars, look_of
from report.pages import agreement
from report.path_figure import path_figure, path_table, step_text
from report.promotion_paths import PathStep, PromotionPath
from report.views import view_study
from tests.report.conftest import make_study
from tests.support import synthetic


def path(config: str, *roles: str) -> PromotionPath:
    return PromotionPath(config, roles, (PathStep("rung1", "promoted", 1, 1.5),))


def test_a_winner_keeps_the_colour_and_the_dash_of_its_role() -> None:
    best = Stars("b", "c")
    reference, comparator = look_of(path("a", "reference"), best), look_of(path("b", "comparator"), best)
    assert (comparator.colour, comparator.dash, comparator.width) == ("@c2", "dash", 4)
    assert (reference.colour, reference.dash, reference.width) == ("@c1", "solid", 2.5)
    assert look_of(path("b"), best).colour == "@ink"
    assert look_of(path("c"), best).colour not in (look_of(path("d"), best).colour, "@ink")
    assert (look_of(path("d"), best).width, look_of(path("c"), best).marked) == (1.5, True)
    assert not look_of(path("d"), best).marked


def of_study(root: Path) -> figures.Figure:
    view = view_study(root)
    return path_figure(list(view.paths.values()), list(view.gates.values()), view.stars, "paths")


def test_only_the_winner_ends_in_a_star(default_study: Path) -> None:
    best = view_study(default_study).stars
    for line in of_study(default_study).data:
        won = line["text"][0].startswith(f"{best.first}<br>")
        assert (line["marker"]["symbol"][-1] == "star") is won
        assert (line["line"]["width"] == 4) is won


def test_a_line_that_ended_before_the_last_rung_bears_the_rule_alone(default_study: Path) -> None:
    figure, view = of_study(default_study), view_study(default_study)
    notes = figure.layout["annotations"]
    inner = [one["text"] for one in notes if one["xanchor"] == "left" and one["x"] < 4]
    assert inner
    rules = {rule for gate in view.study.gates.values() for rule in gate}
    assert set(inner) <= rules
    ends = [one["text"] for one in notes if one["xanchor"] == "left" and one["x"] == 4]
    assert len(ends) == len(view.gates["gate5"].decision.candidates)


def test_every_line_of_the_promotion_path_begins_with_its_name_on_a_phone_too(default_study: Path) -> None:
    figure = of_study(default_study)
    for labels in (figure.layout["annotations"], figure.narrow["annotations"]):
        names = [label["text"].strip("</b>") for label in labels if label["xanchor"] == "right"]
        assert sorted(names) == sorted(line["text"][0].split("<br>")[0] for line in figure.data)
    phone = [label["text"] for label in figure.narrow["annotations"] if label["xanchor"] == "left"]
    assert phone and all(text.startswith("R") for text in phone)


def test_names_of_a_large_study_stand_where_there_is_room_and_the_caption_counts_them(large: Path) -> None:
    figure, view = of_study(large), view_study(large)
    labels = [label for label in figure.layout["annotations"] if label["xanchor"] == "right"]
    assert f" {len(labels)} of them have room for their name." in figure.alt
    assert {*view.study.roles.values()} <= {label["text"].strip("</b>") for label in labels}
    height = figure.height - 74
    bottom, top = figure.layout["yaxis"]["range"]
    places = sorted(height * (label["y"] - top) / (bottom - top) for label in labels)
    assert all(below - above >= figures.LINE - 1e-6 for above, below in pairwise(places))


def test_the_legend_says_in_words_what_the_lines_are(default_study: Path) -> None:
    reported = {text: (colour, dash, mark) for colour, dash, mark, text in of_study(default_study).legend}
    assert reported["reference · winner"] == ("@c1", "solid", "star")
    assert reported["comparator"] == ("@c2", "dash", "square")
    assert "other configurations" in reported
    assert reported["stopped, with the rule"][2] == "x"


def test_the_axis_says_what_it_counts(default_study: Path) -> None:
    figure = of_study(default_study)
    assert figure.layout["xaxis"]["ticktext"][0] == "<b>Rung 1</b><br>2\N{NO-BREAK SPACE}s<br>12 candidates"
    assert figure.narrow["xaxis.ticktext"][0] == "<b>1</b><br>2\N{NO-BREAK SPACE}s<br>12"
    assert figure.layout["xaxis"]["tickangle"] == 0


def renamed(value: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    value["configs"] = {names.get(key, key): one for key, one in value["configs"].items()}
    value["roles"] = {role: names.get(config, config) for role, config in value["roles"].items()}
    return value


def test_names_of_sixty_four_letters_leave_the_lines_their_room(tmp_path: Path) -> None:
    value = synthetic.params(6, 1)
    names = {key: f"a-very-long-name-{n}-{'x' * 64}"[:64] for n, key in enumerate(value["configs"])}
    root = make_study(tmp_path / "study", renamed(value, names))
    figure = of_study(root)
    assert figure.layout["margin"]["l"] <= 180
    assert figure.layout["margin"]["r"] <= 180
    shown = [one["text"].removeprefix("<b>").removesuffix("</b>") for one in figure.layout["annotations"]]
    assert max(map(len, shown)) <= MOST_LETTERS
    assert len({one for one in shown if "xxx" in one}) == 6  # cut, they still differ
    build(root)


@pytest.mark.parametrize(
    ("ranks", "ticks"),
    [
        (1, [1]),
        (15, list(range(1, 16))),
        (16, [1, 5, 10, 15]),
        (figures.LINEAR_RANKS, [1, *range(5, figures.LINEAR_RANKS + 1, 5)]),
    ],
)
def test_few_ranks_have_a_tick_each_and_more_one_in_five(ranks: int, ticks: list[int]) -> None:
    assert figures.rank_axis(ranks) == {"range": [ranks + 0.6, 0.4], "tickvals": ticks, "showgrid": False}


def test_many_ranks_stand_on_a_logarithmic_axis() -> None:
    axis = figures.rank_axis(5000)
    assert axis["tickvals"] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert (axis["type"], axis["showgrid"]) == ("log", False)
    assert axis["range"] == pytest.approx([3.7596678, -0.0705811])
    assert figures.rank_axis(figures.LINEAR_RANKS + 1)["type"] == "log"
    assert figures.rank_axis(99)["tickvals"] == [1, 2, 5, 10, 20, 50]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and twenty configurations."""
    return make_study(tmp_path_factory.mktemp("large") / "work", synthetic.params(120, 1))


def test_slopes_of_a_large_rung_draw_the_best_and_whoever_has_a_name(large: Path) -> None:
    view = view_study(large)
    figure = agreement.slope_figure(view.hosts["rung1"], view.paths, view.stars)
    drawn = {line["text"][0] for line in figure.data}
    best = view.stars
    assert {best.first, best.early, *view.study.roles.values()} <= drawn
    assert figures.MOST_LINES <= len(drawn) < 60
    assert f"{len(drawn)} of 120 drawn; logarithmic axis." in figure.alt
    assert figure.layout["yaxis"]["type"] == "log"


def test_the_promotion_path_of_a_large_study_says_what_it_leaves_out(large: Path) -> None:
    figure = of_study(large)
    assert f"{len(figure.data)} of 120 drawn; logarithmic axis." in figure.alt


def test_named_marks_that_lie_on_each_other_are_all_seen_and_named_beside_the_figure(default_study: Path) -> None:
    view = view_study(default_study)
    hosts = view.hosts["rung3"]
    figure = agreement.scatter_figure(hosts, hosts.pairs[0], view.paths, view.stars)
    marks = figure.data[1]
    named = {*view.study.roles.values(), view.stars.early} & set(marks["text"])
    assert "annotations" not in figure.layout  # a name inside would lie on other marks
    assert {text.split(" · ")[0] for *_, text in figure.legend} == {*named, "other candidates"}
    assert set(marks["text"][-len(named) :]) == named  # drawn over the plain ones
    sizes = marks["marker"]["size"][-len(named) :]
    assert all(below >= above + 2 for below, above in pairwise(sizes))


def test_one_pair_of_candidates_changes_order_and_two_change_it(default_study: Path) -> None:
    view = view_study(default_study)
    hosts = view.hosts["rung1"]
    (pair,) = hosts.summary.pairs
    for many, words in ((1, "1 pair of candidates changes order."), (2, "2 pairs of candidates change order.")):
        pairs = [pair.model_copy(update={"discordant": many})]
        counted = replace(hosts, summary=hosts.summary.model_copy(update={"pairs": pairs}))
        assert words in agreement.slope_figure(counted, view.paths, view.stars).alt


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (PathStep("rung1", "promoted", by=("R2", "R3"), unmet=("R4",)), "promoted by R2, R3"),
        (PathStep("rung1", "stopped", by=("R6", "R7"), unmet=("R2",)), "stopped by R6, R7"),
        (PathStep("rung1", "stopped", unmet=("R2", "R3")), "stopped, R2, R3 not met"),
        (PathStep("rung1", "kept", by=("R4", "R5"), unmet=("R2",)), "kept by role (R4, R5)"),
        (PathStep("rung1", "kept", by=("R5",), against=("R7", "R8")), "kept by role (R5) against R7, R8"),
        (PathStep("rung1", "blocked", by=("R2",)), "gate blocked; R2 would have promoted it"),
        (PathStep("rung1", "blocked", by=("R6",), unmet=("R2",)), "gate blocked"),
        (PathStep("rung1", "missing"), "missing"),
    ],
)
def test_what_became_of_a_configuration_is_told_with_the_rules_that_decided(step: PathStep, text: str) -> None:
    assert step_text(step) == text


def test_the_text_for_who_sees_no_figure_names_the_candidates_the_winner_and_another_first_leader(
    default_study: Path,
) -> None:
    view = view_study(default_study)
    gates, paths = list(view.gates.values()), list(view.paths.values())
    first = view.stars.first
    assert first is not None
    ranks = ", ".join(str(step.rank) for step in view.paths[first].steps if step.rank)
    other = next(path.config for path in paths if path.config != first)
    reported = {
        early: path_figure(paths, gates, Stars(first, early), "paths").alt.split("stopped it. ")
        for early in (None, first, other)
    }
    for begin, _ in reported.values():
        assert begin.startswith("Candidates at each rung: 12 → 12 → 10 → 4 → 2. Each line is a configuration's rank")
    assert reported[None][1] == reported[first][1] == f"The winner, {first}, ranked {ranks}."
    assert reported[other][1] == f"The winner, {first}, ranked {ranks}. {other} led the first rung."


def test_a_cell_of_the_table_holds_the_rank_the_mean_and_the_rule_that_stopped_or_kept(default_study: Path) -> None:
    view = view_study(default_study)
    rows = {row.id: row.cells for row in path_table(view.paths.values(), list(view.gates.values())).rows}
    seen = set()
    for config, way in view.paths.items():
        for step in way.steps:
            cell = rows[f"path.{config}"][step.rung]
            seen.add(step.state)
            if step.state == "absent":
                assert (cell.text, cell.small, cell.href) == ("", "", "")
                continue
            assert cell.text.endswith(f" #{step.rank}")
            mean, *rule = cell.small.split(" · ")
            assert float(mean) == pytest.approx(step.mean, abs=0.0001)
            assert rule == (
                [step.by[0]] if step.state == "kept" else [step.decisive] if step.state == "stopped" else []
            )
            assert cell.note == step_text(step)
    assert {"winner", "finalist", "promoted", "kept", "stopped", "absent"} <= seen


def test_a_stop_rule_that_a_kept_role_overrides_is_told_with_what_merit_would_have_made(tmp_path: Path) -> None:
    value = synthetic.params(6)
    value["gates"]["gate3"]["R8"]["gap"] = 0.012
    root = make_study(tmp_path / "study", value)
    view = view_study(root)
    kept = [
        (path.config, path.steps[2])
        for path in view.paths.values()
        if path.steps[2].state == "kept" and path.steps[2].against
    ]
    assert kept
    for config, step in kept:
        assert step_text(step) == f"kept by role ({step.by[0]}) against R8"
        table = path_table(view.paths.values(), list(view.gates.values()))
        cells = {row.id: row.cells for row in table.rows}
        assert "against R8" in cells[f"path.{config}"]["rung3"].small
    build(root)
    text = (root / "site" / "gates" / "gate3.outcome.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == "config,outcome,by,rank,against,unmet,mean,merit,flips_at,flips_by,in_noise"
    for config, _ in kept:
        (line,) = [line for line in text.splitlines() if line.startswith(f"{config},")]
        assert ",R8,," in line
        assert ",stopped," in line


def ranked(config: str, *roles: str, ranks: tuple[int | None, ...] = (1,)) -> PromotionPath:
    steps = tuple(PathStep(f"rung{n}", "promoted", rank, 1.5) for n, rank in enumerate(ranks, start=1))
    return PromotionPath(config, roles, steps)


@pytest.mark.parametrize(
    ("roles", "first", "early", "look"),
    [
        (("reference",), "", "", ("@c1", "solid", "circle", 2.5)),
        (("comparator", "sentinel"), "", "", ("@c2", "dash", "square", 2.5)),
        (("sentinel",), "", "a", ("@c3", "dot", "diamond", 2.5)),
        (("other",), "a", "", ("@c4", "longdash", "triangle-up", 4)),
        ((), "a", "a", ("@ink", "solid", "circle", 4)),
        ((), "", "a", ("@c4", "dashdot", "triangle-down", 2.5)),
        ((), "", "", ("@c0", "solid", "circle", 1.5)),
    ],
)
def test_a_configuration_has_the_look_of_its_first_role_or_of_its_place(
    roles: tuple[str, ...], first: str, early: str, look: tuple[object, ...]
) -> None:
    drawn, stars = look_of(path("a", *roles), Stars(first or None, early or None)), Stars(first or None, early or None)
    assert (drawn.colour, drawn.dash, drawn.symbol, drawn.width) == look
    assert figures.is_named(path("a", *roles), stars) is bool(roles or first or early)


@pytest.mark.parametrize(("many", "drawn"), [(40, 40), (41, 40), (43, 41)])
def test_a_figure_draws_forty_paths_and_those_behind_them_that_have_a_name(many: int, drawn: int) -> None:
    paths = [path(f"c{n:02}") for n in range(many)]
    chosen = figures.choose_paths(paths, Stars("c42", "c03"))
    assert [way.config for way in chosen] == [f"c{n:02}" for n in range(40)] + ["c42"] * (drawn - 40)


@pytest.mark.parametrize(
    ("drawn", "ranks", "text"),
    [
        (41, 40, " 41 of 42 drawn."),
        (42, 40, ""),
        (42, 41, " Logarithmic axis."),
        (41, 41, " 41 of 42 drawn; logarithmic axis."),
    ],
)
def test_what_a_figure_leaves_out_and_how_it_bends_its_axis_is_one_sentence(drawn: int, ranks: int, text: str) -> None:
    assert figures.left_out(drawn, 42, ranks) == text


def test_names_are_cut_to_twenty_letters_and_their_room_is_that_of_the_longest() -> None:
    name = "abcdefghij<lmnopqrst"
    assert figures.short_labels([name, name + "u"]) == {
        name: name.replace("<", "&lt;"),
        name + "u": "abcdefghij…mnopqrstu",
    }
    assert [figures.label_room(["a" * n]) for n in (1, 20, 21)] == [21, 154, 154]
    assert figures.label_room(["a" * 17, "b"], 16, 6) == 110
    assert figures.label_room([]) == 21


def test_labels_that_would_lie_on_an_earlier_one_on_their_side_of_a_column_go() -> None:
    places = ((0, 1, "left"), (0, 2, "left"), (1, 2, "left"), (0, 3, "left"), (0, 1, "left"), (0, 1, "right"))
    labels = [{"x": x, "y": y, "xanchor": side} for x, y, side in places]
    low, high = figures.rank_axis(10)["range"]
    exact = figures.LINE * (low - high)  # so high an axis sets neighbours apart by just a line
    assert figures.with_room(labels, 10, exact) == [*labels[:4], labels[5]]
    assert figures.with_room(labels, 10, exact - 0.1) == [labels[0], labels[2], labels[3], labels[5]]
    many = [{"x": 0, "y": y, "xanchor": "left"} for y in (1, 2, 20, 21)]
    assert figures.with_room(many, 41, 200.0) == many[:3]


def test_labels_take_the_logarithm_of_their_rank_where_their_axis_does() -> None:
    assert figures.scale_labels([{"x": 1, "y": 10}], 40) == [{"x": 1, "y": 10}]
    assert figures.scale_labels([{"x": 1, "y": 10}], 41) == [{"x": 1, "y": 1.0}]


@pytest.mark.parametrize(
    ("side", "colour", "expected"),
    [("left", "@c0", ("right", -9, "@muted")), ("right", "@c1", ("left", 9, "@c1"))],
)
def test_a_label_stands_beside_its_mark_on_the_ground_of_the_page(
    side: str, colour: str, expected: tuple[str, int, str]
) -> None:
    anchor, shift, font = expected
    assert figures.label_at(1, 2.0, "a", side, colour, more=3) == {
        "x": 1, "y": 2.0, "text": "a", "xanchor": anchor, "xshift": shift, "showarrow": False, "bgcolor": "@bg",
        "borderpad": 1, "font": {"color": font, "size": 11}, "more": 3,
    }  # fmt: skip


def test_marks_say_something_under_the_pointer_or_nothing() -> None:
    common = {"type": "scatter", "showlegend": False, "mode": "lines", "x": [1], "y": [2]}
    assert figures.scatter("lines", [1], [2], "") == common | {"hoverinfo": "skip"}
    assert figures.scatter("lines", [1], [2], "a", size=3) == common | {"hovertemplate": "a<extra></extra>", "size": 3}
    line = figures.rank_line(figures.Look("@c1", "dot", "circle", 4), [0], [1], ["t"], "h", size=8)
    assert line == {
        "type": "scatter", "showlegend": False, "mode": "lines+markers", "x": [0], "y": [1],
        "hovertemplate": "h<extra></extra>", "line": {"color": "@c1", "width": 4, "dash": "dot"},
        "marker": {"color": "@c1", "size": 8}, "text": ["t"],
    }  # fmt: skip


def test_a_specification_is_data_layout_and_what_changes_on_a_phone() -> None:
    figure = figures.Figure("id", "T", "alt", "t", [{"a": 1}], {"b": 2})
    assert figure.spec == {"data": [{"a": 1}], "layout": {"b": 2, "height": 420}, "narrow": {}, "below": 560}
