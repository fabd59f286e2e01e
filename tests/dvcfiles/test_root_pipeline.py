"""The content of the root's dvc.yaml that the program carries, and what another dvc.yaml has otherwise."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from stages.domain import yamlio
from stages.dvcfiles import root_pipeline
from stages.dvcfiles.pipeline import COMMANDS
from stages.dvcfiles.root_pipeline import ROOT_JSON, RootDifference, compare_root, dump_content, installed_bytes
from tests.support.repo import PROJECT

OWN = frozenset(COMMANDS)


@pytest.fixture
def pipeline() -> dict[str, Any]:
    return copy.deepcopy(yamlio.loads((PROJECT / "dvc.yaml").read_bytes(), "dvc.yaml"))


def told(pipeline: dict[str, Any]) -> list[tuple[str, str, bool]]:
    return [(item.pointer, str(item), item.added) for item in compare_root(pipeline, OWN)]


def test_the_program_carries_the_dvc_yaml_of_the_project_and_writes_it_anew():
    assert installed_bytes() == dump_content((PROJECT / "dvc.yaml").read_bytes()) == (PROJECT / ROOT_JSON).read_bytes()
    assert root_pipeline.main.__doc__ == "Write root.json anew."


def test_the_project_s_own_differs_nowhere_and_descriptions_and_plots_do_not_matter(pipeline):
    assert told(pipeline) == []
    pipeline["stages"]["ledger"]["desc"] = "another"
    pipeline["stages"]["own"] = {"cmd": "true"}
    del pipeline["plots"]
    pipeline["stages"]["site"]["deps"].reverse()
    assert told(pipeline) == []


def every_item() -> list[tuple[str, str, Any]]:
    stages = yamlio.loads((PROJECT / "dvc.yaml").read_bytes(), "dvc.yaml")["stages"]
    assert isinstance(stages, dict)
    kinds = ("deps", "params", "outs", "metrics")
    return [(name, kind, item) for name, stage in stages.items() for kind in kinds for item in stage.get(kind, [])]


@pytest.mark.parametrize(("stage", "kind", "item"), every_item())
def test_each_item_taken_away_is_told_with_its_stage(stage, kind, item, pipeline):
    pipeline["stages"][stage][kind].remove(item)
    name = item if isinstance(item, str) else next(iter(item))
    assert told(pipeline) == [(f"/stages/{stage}/{kind}", f"{stage}: {kind} without {name}", False)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s["ledger"]["deps"].append("x"), ("/stages/ledger/deps", "ledger: deps with x", False)),
        (lambda s: s["site"]["params"].append("x"), ("/stages/site/params", "site: params with x", False)),
        (
            lambda s: s["site"]["params"].append({"other.yaml": ["a"]}),
            ("/stages/site/params", "site: params with other.yaml:a", False),
        ),
        (
            lambda s: s["winner"]["outs"].append({"x": {"cache": False}}),
            ("/stages/winner/outs", "winner: outs with x", False),
        ),
        (
            lambda s: s["winner"].update(outs=["artifacts/curves.csv", {"artifacts/winner": {"persist": True}}]),
            ("/stages/winner/outs", "winner: outs artifacts/winner: {'persist': True}", False),
        ),
        (
            lambda s: s["site"].update(outs=["site"]),
            ("/stages/site/outs", "site: outs site: {}", False),
        ),
        (lambda s: s["ledger"].update(meta={"x": 1}), ("/stages/ledger", "ledger: with meta", False)),
        (lambda s: s["ledger"].update(frozen=True), ("/stages/ledger", "ledger: with frozen", False)),
        (lambda s: s["ledger"].update(cmd="true"), ("/stages/ledger", "ledger: cmd: 'true'", False)),
        (lambda s: s["site"].update(plots=["x"]), ("/stages/site/plots", "site: plots with x", False)),
        (lambda s: s.pop("confidence"), ("/stages/confidence", "confidence: no such stage", False)),
    ],
)
def test_what_is_added_or_otherwise_is_told(change, expected, pipeline):
    change(pipeline["stages"])
    assert told(pipeline) == [expected]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda v: v.update(vars=[{"x": 1}]), ("", "a section vars", False)),
        (lambda v: v.update(datasets=[]), ("", "a section datasets", True)),
        (lambda v: v["artifacts"].update(x={"path": "y"}), ("/artifacts", "artifacts with x", True)),
        (lambda v: v.pop("artifacts"), ("/artifacts", "artifacts without winner", False)),
    ],
)
def test_sections_beside_the_stages_are_told(change, expected, pipeline):
    change(pipeline)
    assert told(pipeline) == [expected]


def test_a_winner_that_is_another_folder_is_told(pipeline):
    pipeline["artifacts"]["winner"]["path"] = "x" * 300
    ((pointer, text, added),) = told(pipeline)
    assert (pointer, text.startswith("artifacts winner: {'path': 'xx"), len(text) < 150, added) == (
        "/artifacts", True, True, False)  # fmt: skip


@pytest.mark.parametrize(
    "value", [{}, {"stages": []}, {"stages": {"ledger": 5, "site": {"deps": 7, "params": [{"x": 3}]}}}]
)
def test_a_dvc_yaml_of_any_shape_is_compared(value):
    assert told(value)


def test_a_difference_says_its_stage_key_and_item_what_is_there_and_what_should_be(pipeline):
    stages = pipeline["stages"]
    stages["ledger"].update(cmd="true", deps=[*stages["ledger"]["deps"][:-1], "x" * 130])
    gone = json.loads(installed_bytes())["stages"]["ledger"]["deps"][-1]
    del stages["confidence"]
    pipeline["extra"] = 1
    assert list(compare_root(pipeline, OWN)) == [
        RootDifference("confidence", "", "", "no such stage", "the stage"),
        RootDifference("ledger", "", "cmd", "cmd: 'true'", repr(COMMANDS["ledger"])),
        RootDifference("ledger", "deps", gone, f"deps without {gone}", gone),
        RootDifference("ledger", "deps", "x" * 130, f"deps with {'x' * 120}", "no such item"),
        RootDifference("", "", "extra", "a section extra", "no such section", added=True),
    ]


def test_a_stage_that_this_version_does_not_know_is_not_looked_at(pipeline):
    pipeline["stages"]["mine"] = {"cmd": "x"}
    assert list(compare_root(pipeline, OWN | {"mine", "neither"})) == []


def test_lists_of_another_shape_are_compared_by_what_they_name():
    items = root_pipeline._items
    assert items({}, "deps") == items({"deps": None}, "deps") == {}
    assert items({"deps": 7}, "deps") == {"7": {}}
    assert items({"deps": ["a", {"b": {"cache": False}}]}, "deps") == {"a": {}, "b": {"cache": False}}
    params = ["a", {"params.yaml": ["b", "c"]}, {"o.json": ["d"]}, {"none.json": 5}]
    assert items({"params": params}, "params") == {"a": {}, "b": {}, "c": {}, "o.json:d": {}}


def test_root_json_has_no_descriptions_and_no_plots_and_is_ascii(tmp_path, monkeypatch):
    text = "vars:\n- é: 1\nplots: [p]\nstages:\n  b: {desc: words, cmd: x}\n  a: {cmd: y, plots: [q]}\n"
    content = (
        b'{\n "stages": {\n  "a": {\n   "cmd": "y",\n   "plots": [\n    "q"\n   ]\n  },\n  "b": {\n   "cmd": "x"\n  }\n },\n'
        b' "vars": [\n  {\n   "\\u00e9": 1\n  }\n ]\n}\n'
    )
    assert dump_content(text.encode()) == content
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "stages" / "dvcfiles").mkdir(parents=True)
    root_pipeline.main()
    assert (tmp_path / ROOT_JSON).read_bytes() == content
