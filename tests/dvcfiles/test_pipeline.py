"""The stages that a dvc.yaml plans: what each says, filled in for a run, and what is refused by its place."""

from __future__ import annotations

import pytest

from stages.domain.runs import Run
from stages.dvcfiles.pipeline import (
    BadPipeline,
    PlannedStage,
    added_stages,
    fill_templates,
    parse_templates,
    root_stages,
)


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ([], "x: stages: found list, expected a mapping"),
        ({"site": {}}, "x: stages.site: expected a mapping with a `cmd` of one line"),
        ({"site": {"cmd": "b", "matrix": {"c": [3]}}}, "x: stages.site.matrix: no such key in a stage at the root"),
        ({"site": {"cmd": "b", "wdir": ".."}}, "x: stages.site.wdir: no such key in a stage at the root"),
        ({"site": {"cmd": "b", "foreach": [3]}}, "x: stages.site.foreach: no such key in a stage of the study"),
        ({"site": {"cmd": "b", "deps": "c"}}, "x: stages.site.deps: found 'c', expected a list"),
        ({"site": {"cmd": "b", "outs": [3]}}, "x: stages.site.outs.0: found 3, expected a path"),
        ({"site": {"cmd": "b", "params": [3]}}, "x: stages.site.params.0: found 3, expected a key, or keys by file"),
    ],
)
def test_a_pipeline_that_is_not_understood_is_refused_by_name(stages, message):
    with pytest.raises(BadPipeline) as caught:
        root_stages({"stages": stages}, "x")
    assert str(caught.value) == message


def test_stages_that_a_team_added_are_named_and_not_read():
    value = {"stages": {"site": {"cmd": "python -m report"}, "mine": {"foreach": [1], "do": {"cmd": "x"}}}}
    assert list(root_stages(value, "x")) == ["site"]
    assert added_stages(value, "x") == ["mine"]


@pytest.mark.parametrize("stages", [None, [], "a"])
def test_stages_that_are_no_mapping_are_refused_whoever_asks(stages):
    for read in (parse_templates, root_stages, added_stages):
        with pytest.raises(BadPipeline, match=r"^x: stages: found \w+, expected a mapping$"):
            read({"stages": stages}, "x")


@pytest.mark.parametrize("key", ["wdir", "matrix", "frozen", "always_changed"])
def test_what_changes_the_meaning_of_a_stage_at_the_root_is_refused_there_alone(key):
    stage = {"cmd": "b", key: {"config": ["a"]} if key == "matrix" else "a"}
    with pytest.raises(BadPipeline, match=rf"^x: stages\.site\.{key}: no such key in a stage at the root$"):
        root_stages({"stages": {"site": stage}}, "x")
    assert parse_templates({"stages": {"run": stage}}, "x") == {"run": PlannedStage("b", (), (), {})}


def test_the_first_of_several_keys_is_named():
    with pytest.raises(BadPipeline, match=r"^x: stages\.site\.frozen: no such key in a stage at the root$"):
        root_stages({"stages": {"site": {"cmd": "b", "wdir": ".", "frozen": True}}}, "x")
    with pytest.raises(BadPipeline, match=r"^x: stages\.run\.do: no such key in a stage of the study$"):
        parse_templates({"stages": {"run": {"cmd": "b", "foreach": 1, "do": 1}}}, "x")


@pytest.mark.parametrize("stage", [None, [], "cmd", {}, {"cmd": None}, {"cmd": ["a", "b"]}])
def test_a_stage_without_a_command_of_one_line_is_refused(stage):
    for name, read in (("site", root_stages), ("run", parse_templates)):
        with pytest.raises(BadPipeline) as caught:
            read({"stages": {name: stage}}, "x")
        assert str(caught.value) == f"x: stages.{name}: expected a mapping with a `cmd` of one line"


@pytest.mark.parametrize(
    ("matrix", "valid"),
    [
        ({}, True),
        ({"config": ["a"], "host": ["b"], "seed": [1, 2]}, True),
        ({"config": "${configs}", "seed": []}, True),
        ({"config": "configs"}, False),
        ({"config": ["a", 1.5]}, False),
        ({"config": ["a"], "other": ["b"]}, False),
        ({"config": {"a": 1}}, False),
        ({"config": 5}, False),
        (["config"], False),
        (None, False),
    ],
)
def test_a_matrix_is_of_names_and_numbers_by_config_host_and_seed(matrix, valid):
    value = {"stages": {"run": {"cmd": "b", "matrix": matrix}}}
    if valid:
        assert list(parse_templates(value, "x")) == ["run"]
        return
    with pytest.raises(BadPipeline) as caught:
        parse_templates(value, "x")
    assert str(caught.value) == "x: stages.run.matrix: expected names and numbers by config, host and seed"


STAGE = {
    "desc": "words",
    "cmd": "python -m stages.run ${item.host} ${item.seed}",
    "deps": ["a/${item.config}", {"b": {"cache": False}}],
    "params": ["key", {"other.json": ["x.${item.config}", "y"]}, {"params.yaml": ["more"]}, "last"],
    "outs": ["o/${roles.reference}"],
    "metrics": [{"m": {"cache": False}}],
    "plots": None,
}


def test_a_stage_has_its_paths_and_its_parameters_by_file():
    assert parse_templates({"stages": {"run": STAGE}}, "x") == {
        "run": PlannedStage(
            "python -m stages.run ${item.host} ${item.seed}",
            ("a/${item.config}", "b"),
            ("o/${roles.reference}", "m"),
            {"params.yaml": ("key", "more", "last"), "other.json": ("x.${item.config}", "y")},
        )
    }


def test_a_template_is_filled_in_for_each_run_and_other_stages_stand_behind():
    templates = parse_templates(
        {"stages": {"run": STAGE, "floor": {"cmd": "f ${item.seed}"}, "gate": {"cmd": "g"}}}, "x"
    )
    runs = [Run("rung1", "c", "h", 7, "candidate"), Run("rung1", "c", "h", 9, "floor")]
    stages = fill_templates(templates, {run.stage_name: run for run in runs})
    assert dict(stages) == {
        "run@h-7": PlannedStage(
            "python -m stages.run h 7", ("a/c", "b"), ("o/c", "m"),
            {"params.yaml": ("key", "more", "last"), "other.json": ("x.c", "y")},
        ),
        "floor@h-9": PlannedStage("f 9", (), (), {}),
        "gate": PlannedStage("g", (), (), {}),
    }  # fmt: skip
    assert (len(stages), list(stages)) == (3, ["run@h-7", "floor@h-9", "gate"])
    assert [name in stages for name in ("run@h-7", "gate", "run", "floor", "run@h-8")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    with pytest.raises(KeyError):
        stages["run"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("deps", {"a": 1}, "deps: found {'a': 1}, expected a list"),
        ("deps", "x" * 200, f"deps: found '{'x' * 79}, expected a list"),
        ("outs", ["a", {"b": 1, "c": 2}], "outs.1: found {'b': 1, 'c': 2}, expected a path"),
        ("metrics", [{}], "metrics.0: found {}, expected a path"),
        ("plots", [None], "plots.0: found None, expected a path"),
        ("params", [{"f": "key"}], "params.0: found {'f': 'key'}, expected a key, or keys by file"),
        ("params", ["a", {"f": ["key", 5]}], "params.1: found {'f': ['key', 5]}, expected a key, or keys by file"),
        ("params", [{5: ["key"]}], "params.0: found {5: ['key']}, expected a key, or keys by file"),
    ],
)
def test_a_list_of_another_kind_is_refused_at_its_place(key, value, message):
    with pytest.raises(BadPipeline) as caught:
        parse_templates({"stages": {"run": {"cmd": "b", key: value}}}, "x")
    assert str(caught.value) == f"x: stages.run.{message}"
