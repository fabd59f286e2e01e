"""V19: what every stage ran with agrees with the project, params.yaml and the tickets, and each difference is told."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from stages.domain import yamlio
from stages.domain.study import Study, parse_study
from stages.dvcfiles.lockfile import LockedFile, LockedStage
from stages.dvcfiles.pipeline import PlannedStage
from stages.dvcfiles.root_pipeline import ROOT_JSON
from stages.verify import dvc_locks, parameters
from stages.verify.check import Case, Problem
from stages.verify.dvc_locks import DvcLocks
from stages.verify.locks import Params
from stages.verify.pending import EvidenceRules
from tests.support import synthetic
from tests.verify.cases import alter
from tests.verify.test_dvc_locks import RUN2, RUNG2


def check_values(case: Case, *values: object, files: dict[str, bytes] | None = None) -> tuple[list[Problem], list[str]]:
    """The problems and the notes of V19."""
    altered = alter(case, *values, files=files)
    return list(parameters.check_parameters(altered)), altered.notes


def test_the_untouched_study_was_given_what_it_should_and_nothing_is_noted(judged):
    assert check_values(judged) == ([], [])


def pipelines(case: Case, **changes: Any) -> Case:
    return alter(case, replace(case.get(DvcLocks), **changes))


def edited_file(case: Case, path: str, change: Any) -> list[tuple[Any, dict[str, Any]]]:
    """A generated dvc.yaml as V17 keeps one that is not the generated one."""
    study = case.get(Study)
    file = dvc_locks._generated_files(dvc_locks.read_layout(case), study)[path]
    value = yamlio.loads(file.text.encode(), path)
    change(value)
    return [(file, value)]


def test_an_edited_pipeline_of_a_rung_is_told_where_it_differs(judged):
    path = f"{RUN2}/dvc.yaml"

    def change(value: dict[str, Any]) -> None:
        value["stages"]["run"]["cmd"] = "x" * 300
        value["stages"]["run"]["desc"] = "said otherwise"

    files = edited_file(judged, path, change)
    problems, notes = check_values(pipelines(judged, edited=files))
    cmd = yamlio.loads(files[0][0].text.encode(), path)["stages"]["run"]["cmd"]
    assert (problems, notes) == (
        [
            Problem(
                path,
                repr("x" * 300)[:200],
                repr(cmd),
                "its runs or its gate are not those of this project (`python -m stages.rungs` writes it)",
                pointer="/stages/run/cmd",
            )
        ],
        [],
    )


def test_other_seeds_of_a_rung_that_has_not_run_are_noted_and_of_one_that_ran_are_told(judged):
    path = f"{RUN2}/dvc.yaml"

    def change(value: dict[str, Any]) -> None:
        value["stages"]["run"]["matrix"]["seed"] = [7]

    files = edited_file(judged, path, change)
    problems, notes = check_values(pipelines(judged, edited=files))
    assert [(problem.pointer, problem.found, problem.expected) for problem in problems] == [
        ("/stages/run/matrix/seed/0", "7", "2000")
    ]
    assert notes == []
    recorded = {lock: stages for lock, stages in judged.get(DvcLocks).recorded.items() if lock != f"{RUN2}/dvc.lock"}
    problems, notes = check_values(pipelines(judged, edited=[*files, *files], recorded=recorded))
    assert problems == []
    assert notes == [f"{path} lists other runs than params.yaml asks for now; `promotion freeze` writes it anew"]


def test_the_order_of_a_matrix_and_a_matrix_that_is_none_are_compared_as_they_are():
    assert parameters._sorted_axes("text") == "text"
    assert parameters._sorted_axes({"seed": [10, 9], "host": "b"}) == {"seed": [10, 9], "host": "b"}
    assert parameters._sorted_axes({"host": ["b", "a"]}) == {"host": ["a", "b"]}
    assert parameters._comparable({"stages": {"a": 1, "b": {"desc": "x", "cmd": "y"}}, "vars": 2}) == {
        "stages": {"a": 1, "b": {"cmd": "y"}},
        "vars": 2,
    }
    assert parameters._comparable({"stages": [1]}) == {"stages": {}}


def test_stages_at_the_root_with_another_command_or_less_to_read_are_told(judged):
    planned = dict(judged.get(DvcLocks).planned["dvc.lock"])
    ledger, corpus = planned["ledger"], planned["corpus"]
    deps = tuple(path for path in ledger.deps if path not in ("locks", "stages/domain"))
    planned["ledger"] = replace(ledger, cmd="true", deps=deps, outs=ledger.outs[1:])
    planned["corpus"] = replace(corpus, params={})
    protocol = planned.pop("protocol").cmd
    del planned["confidence"]
    case = pipelines(judged, planned={**judged.get(DvcLocks).planned, "dvc.lock": planned}, added=["b", "c"])
    altered = alter(case)
    unnoticed, made = "DVC would not notice when it changes", "it makes what this project's stage should"
    assert list(parameters._compare_pipelines(altered, altered.get(DvcLocks))) == [
        Problem("dvc.yaml", "params without data", "data", unnoticed, pointer="/stages/corpus/params"),
        Problem("dvc.yaml", "no such stage", protocol, made, pointer="/stages/protocol/cmd"),
        Problem("dvc.yaml", "true", ledger.cmd, made, pointer="/stages/ledger/cmd"),
        Problem("dvc.yaml", "deps without locks", "locks", unnoticed, pointer="/stages/ledger/deps"),
        Problem(
            "dvc.yaml",
            "outs without artifacts/summary",
            "artifacts/summary",
            "nobody would hold what it makes against a digest",
            pointer="/stages/ledger/outs",
        ),
    ]
    assert altered.notes == ["dvc.yaml has stages of its own, which nothing here looks at: b, c"]
    assert list(parameters._compare_pipelines(altered, replace(altered.get(DvcLocks), planned={}, added=[]))) == []


# One stage


LOCKED = LockedStage(
    "run a",
    {"x": LockedFile("x", "1" * 32, None, None, 0)},
    {"y": LockedFile("y", "2" * 32, None, None, 0)},
    {"params.yaml": {"gates.gate1": 1}, "artifacts/gates/gate1/promotions.json": {"promotions.a": True}},
)
PLANNED = PlannedStage(
    "run a",
    ("x",),
    ("y",),
    {"params.yaml": ("gates.gate1",), "artifacts/gates/gate1/promotions.json": ("promotions.a",)},
)
VALUES: dict[str, dict[str, object]] = {
    "params.yaml": {"gates": {"gate1": 1}},
    "artifacts/gates/gate1/promotions.json": {"promotions": {"a": True}},
}


def compare(stage: LockedStage, values: Any = VALUES, planned: PlannedStage = PLANNED) -> list[Problem]:
    return list(parameters._compare_stage("dvc.lock", "run", stage, planned, values))


def test_a_stage_as_it_was_planned_has_no_problem():
    assert compare(LOCKED) == []


def test_each_thing_that_a_stage_ran_with_otherwise_is_told_in_its_words():
    ticket = "artifacts/gates/gate1/promotions.json"
    at = "/stages/run"
    assert compare(replace(LOCKED, cmd="other")) == [
        Problem("dvc.lock", "other", "run a", "something else was run", pointer=f"{at}/cmd")
    ]
    other = "DVC recorded other files than the stage has"
    assert compare(replace(LOCKED, deps={})) == [
        Problem("dvc.lock", "x on one side", "the deps of its dvc.yaml", other, pointer=f"{at}/deps")
    ]
    more = {**LOCKED.outs, "b": LOCKED.outs["y"], "a": LOCKED.outs["y"]}
    assert compare(replace(LOCKED, outs=more)) == [
        Problem("dvc.lock", "a on one side", "the outs of its dvc.yaml", other, pointer=f"{at}/outs")
    ]
    for given, found, meaning, file, key in (
        ({"gates.gate1": 2}, "2", "it ran with another value", "params.yaml", "gates.gate1"),
        ({"promotions.a": False}, "False", "it ran on a ticket that its gate did not give", ticket, "promotions.a"),
    ):
        (problem,) = compare(replace(LOCKED, params={**LOCKED.params, file: given}))
        expected = "1" if file == "params.yaml" else "True"
        pointer = f"{at}/params/{file.replace('/', '~1')}/{key}"
        assert problem == Problem("dvc.lock", found, expected, meaning, pointer=pointer)


def test_a_parameter_more_or_less_than_the_stage_has_is_told():
    more = {"gates.gate1": 1, "gates.gate2": "x" * 300}
    (problem,) = compare(replace(LOCKED, params={**LOCKED.params, "params.yaml": more}))
    assert (problem.found, problem.meaning) == (repr("x" * 300)[:200], "a parameter that the stage does not have")
    (problem,) = compare(replace(LOCKED, params={**LOCKED.params, "params.yaml": {}}))
    assert (problem.expected, problem.meaning) == ("1", "it ran with another value")
    tickets = {"promotions.a": True, "promotions.b": True}
    (problem,) = compare(replace(LOCKED, params={**LOCKED.params, "artifacts/gates/gate1/promotions.json": tickets}))
    assert problem.meaning == "it ran on a ticket that its gate did not give"


def test_parameters_of_a_file_that_nobody_knows_are_compared_only_where_the_stage_has_none():
    unknown = {**LOCKED.params, "other.json": {"a": 1}}
    known = {file: value for file, value in VALUES.items() if file == "params.yaml"}
    assert compare(LOCKED, known) == []
    (problem,) = compare(replace(LOCKED, params=unknown))
    assert problem.pointer == "/stages/run/params/other.json"
    planned = replace(PLANNED, params={**PLANNED.params, "other.json": ("a",)})
    assert compare(replace(LOCKED, params=unknown), VALUES, planned) == []


def test_a_value_is_found_by_its_dotted_key_or_absent():
    assert parameters._value({"a": {"b": 3}}, "a.b") == 3
    for values in ({"a": {"c": 3}}, {"a": 3}, {}):
        assert parameters._value(values, "a.b") is parameters.ABSENT


# V19: rules that are pending


def test_parameters_of_a_gate_without_evidence_are_free_and_no_others(judged):
    rules = EvidenceRules(
        replace(judged.get(EvidenceRules).locks, by_gate={}), judged.get(Study), judged.get(Params).value
    )
    assert rules.undecided == list(judged.get(Study).gates)
    head = "/stages/site/params/params.yaml"

    def free(pointer: str | None, name: str = "site") -> bool:
        problem = Problem("dvc.lock", "", "", "", pointer=pointer)
        return parameters._is_undecided(problem, "dvc.lock", name, rules)

    assert free(f"{head}/gates.gate1")
    assert free(f"{head}/gates/gate1/R5/k")
    assert free(f"{head}/rungs/rung2/seeds/0")
    assert not free(f"{head}/gates/gate9/R5")
    assert not free(f"{head}/gates/gate11")
    assert not free(f"{head}/configs/gate1")
    assert not free(f"{head}/gates/gate1", name="ledger")
    assert not free("/stages/site/params/other.json/gates/gate1")
    assert not free(None)
    assert parameters._sections_of("gate3") == (("gates", "gate3"), ("rungs", "rung3"))


def test_what_ran_under_rules_that_are_pending_may_have_the_values_of_today(judged):
    value = synthetic.params(3, 1)
    value["study"]["title"] = "Another title"
    today = parse_study(value, "params.yaml")
    rules = judged.get(EvidenceRules)
    pending = replace(rules, pending={"gate5": "amended"})
    problems, _ = check_values(judged, Params(value), today, pending)
    assert problems == []
    problems, _ = check_values(judged, Params(value), replace(rules, params=value))
    assert {(problem.file, problem.expected) for problem in problems} == {("dvc.lock", "'Another title'")}
    # evidence of neither: told as what the evidence's rules expect
    value_then = synthetic.params(3, 1)
    value_then["study"]["title"] = "A title of then"
    problems, _ = check_values(judged, Params(value), today, replace(pending, params=value_then))
    assert {problem.expected for problem in problems} == {"'A title of then'"}
    problems, _ = check_values(judged, Params(judged.get(Params).value), replace(pending, params=value_then))
    assert problems == []


def test_a_stage_that_nobody_planned_is_compared_with_nothing(judged):
    planned = {path: stages for path, stages in judged.get(DvcLocks).planned.items() if not path.startswith(RUNG2)}
    recorded = judged.get(DvcLocks).recorded
    changed = {name: replace(stage, cmd="other") for name, stage in recorded[f"{RUN2}/dvc.lock"].items()}
    case = pipelines(judged, recorded={**recorded, f"{RUN2}/dvc.lock": changed})
    assert [problem.pointer for problem in check_values(case)[0]] == [f"/stages/{name}/cmd" for name in changed]
    assert check_values(pipelines(case, planned=planned))[0] == []


# The root's dvc.yaml and that of the project


def compare_root(judged: Case, change: Any, *, same: bool) -> tuple[list[Problem], list[str]]:
    """What V17 and V19 say of a changed dvc.yaml, where the tree's code expects the same as this program, or another."""
    value = yamlio.loads(judged.tree.read("dvc.yaml") or b"", "dvc.yaml")
    change(value)
    files: dict[str, bytes | None] = {"dvc.yaml": json.dumps(value).encode()}
    files |= {} if same else {ROOT_JSON: b"{}\n"}
    case = alter(judged, files=files, without=(DvcLocks,))
    with suppress(Exception):
        list(dvc_locks.check_dvc_locks(case))
    case.notes = []
    return list(parameters._compare_pipelines(case, case.get(DvcLocks))), case.notes


def without(stage: str, kind: str, item: str) -> Any:
    return lambda value: value["stages"][stage][kind].remove(item)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (without("ledger", "deps", "stages/summary"), "ledger: deps without stages/summary"),
        (without("ledger", "deps", "stages/domain"), "ledger: deps without stages/domain"),
        (without("winner", "deps", "artifacts/summary/stability.json"), "winner: deps without artifacts/summary/stability.json"),
        (without("site", "deps", "artifacts/summary"), "site: deps without artifacts/summary"),
        (without("site", "params", "gates"), "site: params without gates"),
        (without("protocol", "deps", "stages/runners"), "protocol: deps without stages/runners"),
        (without("winner", "outs", "artifacts/curves.csv"), "winner: outs without artifacts/curves.csv"),
        (lambda v: v["stages"]["ledger"].update(meta={"x": 1}), "ledger: with meta"),
        (lambda v: v["stages"]["site"].update(outs=["site"]), "site: outs site: {}"),
        (lambda v: v["stages"]["corpus"]["deps"].append("mine"), "corpus: deps with mine"),
        (lambda v: v.update(vars=[{"x": 1}]), "a section vars"),
        (lambda v: v["artifacts"].pop("winner"), "artifacts without winner"),
    ],
)  # fmt: skip
def test_a_root_that_is_not_the_project_s_fails_and_is_noted_in_a_commit_of_another_version(change, text, judged):
    problems, notes = compare_root(judged, change, same=True)
    assert [problem.found for problem in problems] == [text.partition(": ")[2] or text]
    assert notes == []
    problems, notes = compare_root(judged, change, same=False)
    assert problems == []
    assert notes == [f"dvc.yaml is not that of this version: {text}"]


@pytest.mark.parametrize("same", [True, False])
def test_what_failed_without_the_comparison_fails_whatever_the_version_and_is_told_once(same, judged):
    def change(value: dict[str, Any]) -> None:
        value["stages"]["ledger"]["deps"].remove("locks")
        value["stages"]["ledger"]["outs"].pop()
        value["stages"]["corpus"].update(cmd="true", params=[])

    problems, notes = compare_root(judged, change, same=same)
    assert [(problem.pointer, problem.found) for problem in problems] == [
        ("/stages/corpus/cmd", "true"),
        ("/stages/corpus/params", "params without data"),
        ("/stages/ledger/deps", "deps without locks"),
        ("/stages/ledger/outs", "outs without ledger/runs.jsonl"),
    ]
    assert notes == []


def test_what_a_team_adds_beside_the_stages_is_noted(judged):
    def change(value: dict[str, Any]) -> None:
        value["artifacts"]["mine"] = {"path": "x"}
        value["datasets"] = []

    assert compare_root(judged, change, same=True) == (
        [],
        ["dvc.yaml is not that of this version: artifacts with mine; a section datasets"],
    )


def test_every_difference_of_another_version_is_named(judged):
    def change(value: dict[str, Any]) -> None:
        for stage in value["stages"].values():
            stage.update(meta=1)
            stage["deps"] += [f"more{n}" for n in range(20)]

    problems, notes = compare_root(judged, change, same=False)
    assert problems == []
    assert notes[0].count("with meta") == 6
    assert all(notes[0].count(f"deps with more{n};") + notes[0].endswith(f"deps with more{n}") == 6 for n in range(20))
