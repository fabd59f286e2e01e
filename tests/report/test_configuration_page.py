"""The pages of configurations: how a way ended in words, which knobs stand in the list, and its steps as a table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from report.decisions import Flip
from report.gates import Lead
from report.page import config_page
from report.pages import configuration as module
from report.promotion_paths import PathStep, PromotionPath
from stages.domain import formatting

MINUS = formatting.MINUS


def words(parts: Any) -> str:
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def way(*steps: PathStep, config: str = "a", roles: tuple[str, ...] = ()) -> PromotionPath:
    return PromotionPath(config, roles, steps)


def gate(shift: float | None = None, **rules: str) -> Any:
    outcomes = {name: SimpleNamespace(text=text) for name, text in rules.items()}
    return SimpleNamespace(
        page="gates/gate3.html", title="Gate 3", name="gate3", decision=SimpleNamespace(rule=outcomes.get),
        flips=SimpleNamespace(flip=lambda config: Flip(config, False, shift, None)),
    )  # fmt: skip


CLEAR, CLOSE = Lead("a", 1.0, "b", 0.5), Lead("a", 1.0, "b", 0.5, noise=1.0)
TIED = Lead("a", 1.0, "b", 0.0, ("b",))


@pytest.mark.parametrize(
    ("state", "lead", "config", "text"),
    [
        ("winner", CLEAR, "a", "It won: the lowest mean val_bpb of gate 3."),
        ("winner", None, "a", "It won: the lowest mean val_bpb of gate 3."),
        ("leader", CLOSE, "a", "It leads, within noise: the lowest mean val_bpb of gate 3."),
        ("tied", TIED, "a", "It ties with b: the lowest mean val_bpb of gate 3."),
        ("tied", TIED, "b", "It ties for the first place of gate 3."),
        ("tied", None, "a", "It ties for the first place of gate 3."),
        ("finalist", CLEAR, "b", "It was a finalist: third at gate 3."),
        ("blocked", None, "a", "Its way ends at gate 3, which is blocked."),
        ("missing", None, "a", "It has no full set of finished cells at gate 3."),
        ("promoted", None, "a", "It was promoted by gate 3; the next gate has not decided."),
        ("kept", None, "a", "It was promoted by gate 3; the next gate has not decided."),
    ],
)
def test_how_a_way_ended_is_one_sentence_with_its_evidence(
    state: str, lead: Lead | None, config: str, text: str
) -> None:
    parts = module.ending(way(PathStep("rung3", state, 3), config=config), gate(), lead)
    assert words(parts) == f"{text} The evidence."
    assert parts[-2].href == f"gates/gate3.html#{config}"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("step", "shift", "text"),
    [
        (
            PathStep("rung3", "stopped", 2, by=("R8", "R9"), unmet=("R7",)),
            -0.25,
            f"It was stopped at gate 3. It was second there. It met the stop rule R8 “Below {MINUS}1.”, R9 It would have needed "
            f"{MINUS}0.2500 to go on. The evidence.",
        ),
        (
            PathStep("rung3", "stopped", None, unmet=("R7", "R8")),
            None,
            f"It was stopped at gate 3. It did not meet R7, R8 “Below {MINUS}1.” The evidence.",
        ),
        (PathStep("rung3", "stopped", 1), 0.0, "It was stopped at gate 3. It was first there. It would have needed 0.0000 to go on. The evidence."),
    ],
)  # fmt: skip
def test_a_stopped_one_is_told_by_which_rules_and_by_how_much_it_missed(
    step: PathStep, shift: float | None, text: str
) -> None:
    assert words(module.ending(way(step), gate(shift, R8="Below -1."), None)) == text


def test_one_that_was_never_judged_says_so() -> None:
    assert module.ending(way(PathStep("rung1", "waiting")), gate(), None) == ["It has not been judged yet."]
    assert module.ending(way(PathStep("rung1", "promoted")), None, None) == ["It has not been judged yet."]


def view(configs: dict[str, dict[str, Any]], builtin: bool = True, **runner: Any) -> Any:
    paths = {
        name: way(PathStep("rung1", "winner", 1), config=name, roles=("reference",) if name == "a" else ())
        for name in configs
    }
    return SimpleNamespace(
        files=SimpleNamespace(models={"a": {"parameters": 7, "flops_per_token": 8, "width": 9}}), paths=paths, has_builtin_runner=builtin,
        study=SimpleNamespace(configs=configs, runner=runner),
    )  # fmt: skip


def test_knobs_that_differ_stand_in_the_list_and_the_built_model_beside_them() -> None:
    configs = {
        "a": {"depth": 1, "lr": 0.1, "mode": "x", "flag": True, "same": 5},
        "b": {"depth": 2, "lr": None, "mode": 3, "flag": False, "same": 5},
    }
    table = module.models_table(view(configs))
    assert table.values == [
        ["a", "reference", "winner", 1, 7, 8, 9, 1, 0.1, "x", True], ["b", "", "winner", 1, None, None, None, 2, None, 3, False],
    ]  # fmt: skip
    kinds = {column.key: (column.label, column.kind) for column in table.columns[7:]}
    assert kinds == {
        "depth": ("Depth", "number"),
        "lr": ("lr", "number"),
        "mode": ("mode", "text"),
        "flag": ("flag", "text"),
    }
    assert table.rows[0].cells["config"].tags == ("reference",)
    assert [column.key for column in table.columns if column.hidden] == ["roles"]


@pytest.mark.parametrize(("runner", "keys"), [({}, ["depth", "sha256"]), ({"candidate": "c.py"}, ["depth"])])
def test_digests_of_candidates_are_no_knobs_where_the_study_has_candidates(
    runner: dict[str, Any], keys: list[str]
) -> None:
    configs = {"a": {"depth": 1, "sha256": "0"}, "b": {"depth": 2, "sha256": "1"}}
    table = module.models_table(view(configs, False, **runner))
    assert [column.key for column in table.columns] == ["config", "roles", "fate", "reached", *keys]


def test_one_without_a_judged_step_has_no_end() -> None:
    reported = view({"a": {}})
    reported.paths = {"a": way(PathStep("rung1", "waiting"))}
    (row,) = module.models_table(reported).rows
    assert (row.cells["fate"], row.cells["reached"]) == (None, 0)


def ladder() -> dict[str, Any]:
    ranking = [SimpleNamespace(mean=1.0), SimpleNamespace(mean=1.5)]
    common = {"title": "Gate", "budget": 60.0, "host_ranks": {"h": {"a": 2}, "g": {"a": 1}}}
    first = SimpleNamespace(rung_title="Rung 1", page="gates/gate1.html", ranking=ranking, decision=None, **common)
    return {
        "gate1": first,
        "gate2": SimpleNamespace(rung_title="Rung 2", page="gates/gate2.html", ranking=[], decision=None, **common),
    }


def test_its_way_up_is_a_row_a_rung_with_its_distance_to_the_best() -> None:
    steps = (PathStep("rung1", "promoted", 2, 1.5, {"h": 1.25}, by=("R7",)), PathStep("rung2", "waiting"))
    table = module.steps_table(way(*steps), ladder())
    budget = "60\N{NO-BREAK SPACE}s"
    assert table.values == [
        ["rung1", budget, "promoted", 2, 2, 1.5, 0.5, "R7"],
        ["rung2", budget, "waiting", None, None, None, None, None],
    ]
    shown = [(row.cells["evidence"].text, row.cells["evidence"].href) for row in table.rows]
    assert shown == [("its line", "gates/gate1.html#a"), ("", "")]
    assert [column.key for column in table.columns if column.page_only] == ["evidence"]
    best = module.steps_table(way(PathStep("rung1", "promoted", 1, 1.0), steps[1]), ladder())
    assert [(row.cells["behind"].value, row.cells["behind"].text) for row in best.rows] == [
        (0.0, "the best"),
        (None, None),
    ]


def test_its_ranks_on_each_host_are_of_the_rungs_that_ranked_it() -> None:
    steps = (PathStep("rung1", "promoted", 2, 1.5, {"h": 1.25}), PathStep("rung2", "missing"))
    table = module.ranks_table(way(*steps), ladder(), ["h", "g"])
    assert table.values == [["rung1", 2, 2, 1.25, 1, None]]
    bare = module.ranks_table(way(PathStep("rung1", "promoted", 2, 1.5)), ladder(), ["h"])
    assert (bare.values, bare.rows[0].id) == ([["rung1", 2, 2, None]], "ranks.rung1")


@pytest.mark.parametrize("diff", [None, "text", ["- a", 3]])
def test_a_page_shows_what_was_built_its_twins_and_how_its_files_differ(diff: Any) -> None:
    reported = view({"a": {"depth": 2}})
    reported.files.models = {"a": {"width": 9, "same_model_as": ["b"], "diff": diff}}
    reported.gates, reported.lead, reported.study.hosts = ladder(), None, {"h": 0}
    path = way(PathStep("rung1", "promoted", 2, 1.5, {}), PathStep("rung2", "waiting"))
    page = module._page(reported, path, [])
    shown = {key: page.context[key] for key in ("built", "diff", "twins", "knobs")}
    assert shown == {
        "built": [("Width", "9")],
        "diff": ["- a", "3"] if isinstance(diff, list) else [],
        "twins": ["b"],
        "knobs": [("Depth", "2")],
    }
    assert (page.path, page.title, [table.id for table in page.tables]) == (
        config_page("a"),
        "a",
        ["path", "ranks", "runs"],
    )


def test_a_run_of_a_configuration_is_named_without_it() -> None:
    record = SimpleNamespace(
        id="rung3/a/h/7", val_bpb=None, status="failed", host="h", seed=7, purpose="candidate", rung="rung3"
    )
    table = module.runs_table("a", [SimpleNamespace(record=record, line=SimpleNamespace(number=4, md5="m"))])  # type: ignore[list-item]
    assert table.values == [["rung3/a/h/7", None, "failed", "rung3", "h", 7, "candidate", 4, "m"]]
    assert (table.rows[0].cells["run"].text, table.rows[0].id) == ("rung3/h/7", "run.rung3.a.h.7")
    assert [column.key for column in table.columns if column.hidden] == ["rung"]
