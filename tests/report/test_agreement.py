"""The page of agreement: sentences, figures and cells of three host blocks, where candidates lack a mean on one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.figures import Stars
from report.host_agreement import RungHosts, compare_hosts, host_order
from report.pages import agreement
from report.promotion_paths import PathStep, PromotionPath
from stages.domain import formatting
from stages.summary.agreement import HostAlone, HostPairAgreement, Overlap, RungAgreement

GATE: Any = SimpleNamespace(
    rung="rung2", name="gate2", rung_title="Rung 2", page="gates/gate2.html", what_if=False, last=False, leader="a",
    decision=SimpleNamespace(outcome="decided", promoted=["a"], verdicts={}), study=SimpleNamespace(hosts={"x": 0, "y": 0, "z": 0}),
)  # fmt: skip
ALONE = HostAlone(outcome="decided", promoted=["a"], verdicts={}, first="a")
MEANS: dict[str, dict[str, float | None]] = {
    "a": {"x": 1.0, "y": 1.5, "z": 2.0},
    "b": {"x": 2.0, "y": 1.0, "z": None},
    "c": {"x": 3.0, "y": 3.0, "z": 1.0},
}
RANKS: dict[str, dict[str, int | None]] = {
    "a": {"x": 1, "y": 2, "z": 2},
    "b": {"x": 2, "y": 1, "z": None},
    "c": {"x": 3, "y": 3, "z": 1},
}


def pair(first: str, second: str, inversions: int, tau: float | None = 0.5) -> HostPairAgreement:
    names = [["a", f"b{n}"] for n in range(inversions)]
    return HostPairAgreement(
        hosts=[first, second], candidates=3, tau_b=tau, interval=[-0.25, 1.0] if tau else None, discordant=inversions, inversions=names,
    )  # fmt: skip


def blocks(*pairs: HostPairAgreement, gate: Any = GATE, **alone: HostAlone) -> RungHosts:
    summary = RungAgreement(
        hosts=["z", "y", "x"], candidates=3, leaders={"z": "c", "y": "b", "x": "a"}, means=MEANS, ranks=RANKS, pairs=list(pairs),
        host_alone=dict.fromkeys("xyz", ALONE) | alone, overlap=Overlap(common=["a"], any=["a", "b"], jaccard=0.5),
    )  # fmt: skip
    return RungHosts(gate, summary, ["x", "y", "z"])


PATHS = {
    name: PromotionPath(name, roles, (PathStep("rung2", "promoted", 1, 1.5),))
    for name, roles in (("a", ("reference",)), ("b", ()), ("c", ()))
}


def test_pairs_stand_in_the_order_of_params_yaml_with_their_inversions_turned() -> None:
    hosts = blocks(pair("z", "y", 1), pair("x", "z", 2), pair("y", "x", 0))
    assert [(each.first, each.second, each.inversions) for each in hosts.pairs] == [
        ("x", "y", []), ("x", "z", [("a", "b0"), ("a", "b1")]), ("y", "z", [("b0", "a")]),
    ]  # fmt: skip
    assert (hosts.discordant, hosts.leaders, hosts.alone_page) == (3, ["a", "b", "c"], "gates/gate2.html#Hosts")
    assert hosts.ranks("b") == [2, 1, None]


def test_a_leader_is_named_once_and_a_block_without_one_is_left_out() -> None:
    hosts = blocks()
    summary = hosts.summary.model_copy(update={"leaders": {"x": "b", "y": None, "z": "b"}})
    assert RungHosts(GATE, summary, ["x", "y", "z", "w"]).leaders == ["b"]


def test_blocks_that_params_yaml_lacks_by_now_come_last_by_name() -> None:
    order = host_order({"x": 0, "y": 0})
    assert sorted(["b", "y", "a", "x"], key=order) == ["x", "y", "a", "b"]
    assert [order("y"), order("b")] == [(1, "y"), (2, "b")]
    summaries: Any = SimpleNamespace(rungs={"rung2": blocks().summary})
    other = SimpleNamespace(rung="rung1")
    compared = compare_hosts(summaries, {"gate1": other, "gate2": GATE})  # type: ignore[dict-item]
    assert {rung: hosts.hosts for rung, hosts in compared.items()} == {"rung2": ["x", "y", "z"]}


@pytest.mark.parametrize(
    ("alone", "last", "same"),
    [
        ({}, False, True),
        ({"outcome": "blocked"}, False, False),
        ({"promoted": []}, False, False),
        ({"verdicts": {"R4": None}}, False, False),
        ({"first": "b"}, False, True),
        ({"first": "b"}, True, False),
        ({}, True, True),
    ],
)
def test_a_block_decides_the_same_where_outcome_promoted_and_verdicts_are(
    alone: dict[str, Any], last: bool, same: bool
) -> None:
    gate = SimpleNamespace(**vars(GATE) | {"last": last})
    hosts = blocks(gate=gate, y=ALONE.model_copy(update=alone))
    assert hosts.same_alone == {"x": True, "y": same, "z": True}


@pytest.mark.parametrize("changed", [{"decision": None}, {"what_if": True}])
def test_no_block_is_held_against_a_what_if_or_no_decision(changed: dict[str, Any]) -> None:
    hosts = blocks(gate=SimpleNamespace(**vars(GATE) | changed))
    assert hosts.same_alone is None
    cell = agreement.alone_cell(hosts)
    assert (cell.value, cell.text, cell.href) == (None, formatting.DASH, "gates/gate2.html#Hosts")
    whole = agreement.alone_cell(blocks(y=ALONE.model_copy(update={"promoted": []})))
    assert (whole.value, whole.text) == (2, "2 of 3")


@pytest.mark.parametrize(
    ("many", "words"),
    [
        (0, "x and y order all candidates alike."),
        (1, "x and y order 1 pair of candidates differently: a and b0."),
        (4, "x and y order 4 pairs of candidates differently: a and b0; a and b1; a and b2; a and b3."),
        (5, "x and y order 5 pairs of candidates differently: a and b0; a and b1; a and b2; and 2 more."),
    ],
)
def test_inversions_are_named_up_to_three_and_counted(many: int, words: str) -> None:
    assert agreement._pair_text(blocks(pair("x", "y", many)).pairs[0]) == words


@pytest.mark.parametrize(
    ("same", "words"),
    [
        (None, ""),
        ({"x": True}, ""),
        ({"x": True, "y": True}, "Both alone would have decided the same."),
        ({"x": True, "y": True, "z": True}, "All 3 alone would have decided the same."),
        ({"x": False, "y": True}, "x alone would have decided otherwise."),
        ({"x": False, "y": True, "z": False}, "x and z alone would have decided otherwise."),
    ],
)
def test_a_sentence_says_which_blocks_alone_would_have_decided_otherwise(
    same: dict[str, bool] | None, words: str
) -> None:
    assert agreement._alone_text(same) == words


def test_a_candidate_without_a_mean_on_one_block_is_no_mark() -> None:
    hosts = blocks(pair("x", "z", 1, None))
    figure = agreement.scatter_figure(hosts, hosts.pairs[0], PATHS, Stars("c", "a"))
    diagonal, marks = figure.data
    assert (diagonal["x"], diagonal["y"], diagonal["hoverinfo"]) == ([1.0, 3.0], [1.0, 3.0], "skip")
    assert (marks["text"], marks["x"], marks["y"]) == (["a", "c"], [1.0, 3.0], [2.0, 1.0])
    assert marks["marker"] == {
        "color": ["@c1", "@ink"], "symbol": ["circle", "circle"], "size": [15, 12], "line": {"width": 1, "color": "@bg"}, "opacity": 1,
    }  # fmt: skip
    assert figure.legend == (("@c1", "", "circle", "a · reference · led the first rung"), ("@ink", "", "circle", "c"))
    assert figure.alt.endswith("τ-b not defined over 2 candidates.") and figure.id == "figure.scatter.rung2.x.z"
    assert (figure.height, figure.narrow) == (360, {"margin": {"l": 56, "r": 12, "t": 12, "b": 56}})


def test_marks_without_a_name_are_drawn_first_and_small_and_named_ones_never_smaller_than_seven() -> None:
    points = [
        (PromotionPath(name, roles, ()), 1.0, 1.0)
        for name, roles in (("a", ("r",)), ("b", ()), *((f"n{n}", ("r",)) for n in range(4)))
    ]
    drawn = agreement._named_last(points, Stars(None, None))
    assert [(point[0].config, size) for point, size in drawn] == [
        ("b", 8),
        ("a", 15),
        ("n0", 12),
        ("n1", 9),
        ("n2", 7),
        ("n3", 7),
    ]
    legend = agreement._legend(points[:2], Stars(None, None))
    assert legend == (("@c4", "", "triangle-up", "a · r"), ("@c0", "", "circle", "other candidates"))


def test_slopes_are_of_candidates_that_every_block_ranks() -> None:
    hosts = blocks(pair("x", "z", 1))
    assert agreement._full_ranks(hosts) == {"a": [1, 2, 2], "c": [3, 3, 1]}
    figure = agreement.slope_figure(hosts, PATHS, Stars(None, None))
    assert [(line["x"], line["y"], line["text"], line["marker"]["size"]) for line in figure.data] == [
        ([0, 1, 2], [1, 2, 2], ["a"] * 3, 8), ([0, 1, 2], [3, 3, 1], ["c"] * 3, 8),
    ]  # fmt: skip
    assert figure.layout["xaxis"] == {
        "tickvals": [0, 1, 2], "ticktext": ["x", "y", "z"], "range": [-0.06, 2.06], "side": "top", "tickangle": 0,
    }  # fmt: skip
    assert [(label["x"], label["y"], label["text"]) for label in figure.layout["annotations"]] == [
        (2, 2, "a"),
        (2, 1, "c"),
    ]
    assert figure.layout["yaxis"]["range"] == [3.6, 0.4] and figure.layout["margin"]["r"] == 21
    assert figure.narrow == {"yaxis.title.text": "", "margin": {"l": 32, "r": 21, "t": 36, "b": 12}}
    assert figure.alt == "A line that slopes changes rank; 1 pair of candidates changes order."


@pytest.mark.parametrize(("many", "named"), [(20, 20), (21, 1)])
def test_more_than_twenty_slopes_name_those_that_a_reader_looks_for(many: int, named: int) -> None:
    drawn = [PromotionPath(f"c{n}", (), ()) for n in range(many)]
    labels = agreement._slope_labels(drawn, {path.config: [1, 2] for path in drawn}, Stars("c3", None))
    assert len(labels) == named and "c3" in [label["text"] for label in labels]


def test_means_stand_by_rank_and_a_candidate_without_one_has_no_distance() -> None:
    table = agreement.means_table(blocks())
    assert [(row.id, row.cells["moves"]) for row in table.rows] == [("rung2.a", 1), ("rung2.b", None), ("rung2.c", 2)]
    assert [column.group for column in table.columns] == ["", "x", "x", "y", "y", "z", "z", ""]


@pytest.mark.parametrize(("listed", "of", "note"), [(2, 2, ""), (2, 5, "The 2 with the widest gaps of 5.")])
def test_a_list_of_inversions_says_of_how_many_it_is(listed: int, of: int, note: str) -> None:
    both = pair("x", "y", listed).model_copy(update={"discordant": of})
    table = agreement.inversions_table(blocks(both))
    assert (table.note, [row.id for row in table.rows]) == (
        note,
        [f"inversion.rung2.x.y.a.b{n}" for n in range(listed)],
    )


@pytest.mark.parametrize(
    ("hosts", "title", "hidden"),
    [("xy", "Agreement of x and y, rung by rung", True), ("xyz", "Agreement of the host blocks, rung by rung", False)],
)
def test_the_table_of_pairs_names_two_blocks_in_its_heads_and_more_in_its_rows(
    hosts: str, title: str, hidden: bool
) -> None:
    view: Any = SimpleNamespace(
        study=SimpleNamespace(hosts=dict.fromkeys(hosts)), hosts={"rung2": blocks(pair("x", "y", 1), pair("y", "z", 0, None))},
        files=SimpleNamespace(agreement=SimpleNamespace(level=0.95)),
    )  # fmt: skip
    table = agreement.pairs_table(view)
    heads = ("x", "y") if hidden else ("the first", "the second")
    assert [column.label for column in table.shown if column.label.startswith("Leader")] == [
        f"Leader on {head}" for head in heads
    ]
    assert (table.title, next(column.hidden for column in table.columns if column.key == "hosts")) == (title, hidden)
    assert table.values == [
        ["rung2", "x, y", 3, 0.5, -0.25, 1.0, 1, "a", "b", 3, 0.5], ["rung2", "y, z", 3, None, None, None, 0, "b", "c", 3, 0.5],
    ]  # fmt: skip
    shown = [row.cells["interval"].text for row in table.rows]
    assert shown == [f"{formatting.MINUS}0.25 to 1.00", formatting.DASH]
    assert [column.label for column in table.columns if "interval" in column.key] == [
        "95 % interval",
        "95 % interval, low",
        "95 % interval, high",
    ]
