"""What is planned for each dvc.lock: by the rules of today, by those of then, and without what has not run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stages.domain import yamlio
from stages.domain.names import CONFIDENCE
from stages.domain.study import Study, parse_study
from stages.dvcfiles.pipeline import COMMANDS, NEEDED_DEPS, NEEDED_OUTS, NEEDED_PARAMS, PlannedStage
from stages.dvcfiles.root_pipeline import RootDifference
from stages.earlier_layout import earlier_file
from stages.verify import dvc_locks, parameters
from stages.verify.check import Case, Problem
from stages.verify.dvc_locks import DvcLocks
from stages.verify.pending import EvidenceRules
from tests.support import synthetic
from tests.verify.cases import alter
from tests.verify.test_dvc_locks import RUN2, RUNG2, check
from tests.verify.test_parameters import LOCKED, check_values, edited_file, pipelines

RESULT = (CONFIDENCE / "confidence.json").as_posix()


def test_a_generated_file_that_is_not_as_it_is_generated_is_kept_with_what_it_says(judged):
    assert check(judged)[1].get(DvcLocks).edited == []
    path = f"{RUN2}/dvc.yaml"
    value = yamlio.loads(judged.tree.read(path) or b"", path)
    value["stages"]["run"]["cmd"] = "other"
    problems, case = check(judged, **{path: json.dumps(value).encode()})
    ((file, kept),) = case.get(DvcLocks).edited
    assert (problems, file.path, kept) == ([], path, value)
    assert case.get(DvcLocks).planned == judged.get(DvcLocks).planned, "what is planned follows from the study"
    with pytest.raises(ValueError, match="dvc.yaml"):
        check(judged, **{path: b"stages: 1\n"})


def test_a_lock_at_the_root_is_recorded_where_it_stands(judged):
    assert check(judged)[1].get(DvcLocks).root == yamlio.loads(judged.tree.read("dvc.yaml") or b"", "dvc.yaml")
    _, case = check(judged, **{"dvc.lock": b"schema: '2.0'\nstages: {}\n"})
    assert case.get(DvcLocks).recorded["dvc.lock"] == {}
    _, case = check(judged, **{"dvc.lock": None})
    assert "dvc.lock" not in case.get(DvcLocks).recorded
    _, case = check(judged, **{"dvc.yaml": None, "dvc.lock": None})
    locks = case.get(DvcLocks)
    assert ("dvc.lock" in locks.planned, locks.root, locks.added) == (False, {}, [])


def today_with(judged: Case, change: Any) -> tuple[Study, EvidenceRules]:
    """Another study of today, where the evidence is that of the study here."""
    value = synthetic.params(3, 1)
    change(value)
    return parse_study(value, "params.yaml"), judged.get(EvidenceRules)


def test_where_the_evidence_is_of_earlier_rules_both_are_planned(judged):
    def other_seed(value: dict[str, Any]) -> None:
        value["rungs"]["rung2"]["seeds"] = [2001]

    today, rules = today_with(judged, other_seed)
    case = alter(judged, today, rules, without=(DvcLocks,))
    assert list(dvc_locks.check_dvc_locks(case)) == []
    locks, lock = case.get(DvcLocks), f"{RUN2}/dvc.lock"
    assert judged.get(DvcLocks).renewed == {}
    assert {path: stages for path, stages in locks.planned.items() if path != "dvc.lock"} == {
        path: stages for path, stages in judged.get(DvcLocks).planned.items() if path != "dvc.lock"
    }
    assert (set(locks.planned[lock]), set(locks.renewed[lock])) == (
        {"run@cpu-fp32-2000", "run@cpu-bf16-2000"},
        {"run@cpu-fp32-2001", "run@cpu-bf16-2001"},
    )
    assert [file.path for file, _ in locks.edited] == [f"{RUNG2}/{name}/dvc.yaml" for name in sorted(today.configs)]
    assert locks.expected(lock, "run@cpu-fp32-2000")
    assert locks.expected(lock, "run@cpu-fp32-2001")


def test_the_files_of_a_configuration_that_is_asked_for_no_longer_are_read_while_its_evidence_stands(judged):
    def fewer(value: dict[str, Any]) -> None:
        gone = next(name for name in value["configs"] if name not in value["roles"].values())
        del value["configs"][gone]

    value = synthetic.params(3, 1)
    value["roles"] = {"reference": "d2-c001", "comparator": "d1-c000", "sentinel": "d1-c000"}
    today, rules = today_with(judged, lambda given: (given.update(roles=value["roles"]), fewer(given)))
    (gone,) = set(judged.get(Study).configs) - set(today.configs)
    case = alter(judged, today, rules, without=(DvcLocks,))
    list(dvc_locks.check_dvc_locks(case))
    lock = f"{RUNG2}/{gone}/dvc.lock"
    assert (lock in case.get(DvcLocks).recorded, lock in case.get(DvcLocks).renewed) == (True, False)
    files = {f"{RUNG2}/{gone}/dvc.yaml": None}
    case = alter(judged, today, rules, without=(DvcLocks,), files=files)
    assert Problem(
        f"{RUNG2}/{gone}/dvc.yaml", "no file", f"the pipeline of {lock}", "nobody knows what was run"
    ) in list(dvc_locks.check_dvc_locks(case))


# Files of DVC that are none of the study's


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("stages/DVC.yaml", "pipeline"),
        ("locks/dvc.lock", "pipeline"),
        ("report/x.dvc", "own"),
        ("ledger/x.DVC", "own"),
        ("ledger/.dvc", "none"),
        ("trainer/.dvcignore", "ignore"),
        ("trainer/.DVC/config", "ignore"),
        ("site/.dvc/x.dvc", "ignore"),
        (".dvcignore", "none"),
        (".dvc/config", "none"),
        ("mine/.dvcignore", "noted"),
        ("mine/.dvc/config", "noted"),
        ("mine/dvc.yaml", "noted"),
        ("stages2/x.dvc", "noted"),
        ("mine/x.dvcs", "none"),
    ],
)
def test_a_file_of_dvc_is_told_by_what_it_would_do(path, kind, judged):
    reported = {
        "pipeline": Problem(
            path,
            "a file of nothing in params.yaml",
            "no such file",
            "evidence of a rung or configuration that the study does not have",
        ),
        "own": Problem(
            path,
            "a file of DVC that nothing here writes",
            "no such file",
            "DVC would bring files of its own among those of the study",
        ),
        "ignore": Problem(
            path,
            "a file of DVC that nothing here writes",
            "none below the root",
            "DVC would pass over what stands there, and record something else than git holds",
        ),
    }
    problems, case = check(judged, **{path: b""})
    noted = [f"files of DVC that are none of the study's, which nothing here looks at: {path}"]
    assert problems == ([reported[kind]] if kind in reported else [])
    assert case.notes == (noted if kind == "noted" else [])


# What has not run


def test_a_stage_does_not_wait_for_an_optional_one_that_has_not_run(judged):
    locks = judged.get(DvcLocks)
    site = locks.planned["dvc.lock"]["site"]
    assert {RESULT, "stages/confidence"} <= set(site.deps)
    recorded = {name: stage for name, stage in locks.recorded["dvc.lock"].items() if name != "confidence"}
    unrun = replace(locks, recorded={**locks.recorded, "dvc.lock": recorded})
    nothing = replace(locks, recorded={})
    without = tuple(path for path in site.deps if path not in (RESULT, "stages/confidence"))
    assert parameters._without_unrun(site, locks) == site
    assert (
        parameters._without_unrun(site, unrun)
        == parameters._without_unrun(site, nothing)
        == replace(site, deps=without)
    )
    planned = {name: stage for name, stage in locks.planned["dvc.lock"].items() if name != "confidence"}
    unknown = replace(unrun, planned={**locks.planned, "dvc.lock": planned})
    assert parameters._without_unrun(site, unknown) == site
    # a stage that every study has is waited for
    fewer = replace(locks, recorded={**locks.recorded, "dvc.lock": {}})
    assert "artifacts/summary" in parameters._without_unrun(site, fewer).deps
    assert parameters._without_unrun(site, replace(locks, planned={})) == site


def test_a_site_that_was_built_before_the_optional_stage_ran_has_no_problem(judged):
    locks = judged.get(DvcLocks)
    recorded = dict(locks.recorded["dvc.lock"])
    site = recorded.pop("confidence") and recorded["site"]
    deps = {path: file for path, file in site.deps.items() if path not in (RESULT, "stages/confidence")}
    recorded["site"] = replace(site, deps=deps)
    assert check_values(pipelines(judged, recorded={**locks.recorded, "dvc.lock": recorded})) == ([], [])
    kept = {**locks.recorded, "dvc.lock": {**recorded, "site": site}}
    (problem,) = check_values(pipelines(judged, recorded=kept))[0]
    assert (problem.found, problem.pointer) == (f"{RESULT} on one side", "/stages/site/deps")


def test_while_rules_are_pending_what_ran_may_be_what_is_planned_today(judged):
    locks, lock, name = judged.get(DvcLocks), f"{RUN2}/dvc.lock", "run@cpu-fp32-2000"
    ran = replace(locks.recorded[lock][name], cmd="today's")
    recorded = {**locks.recorded, lock: {**locks.recorded[lock], name: ran}}
    today = {lock: {name: replace(locks.planned[lock][name], cmd="today's")}}
    rules = judged.get(EvidenceRules)
    pending = replace(rules, pending={"gate5": "amended"})
    case = pipelines(judged, recorded=recorded, renewed=today)
    then = locks.planned[lock][name].cmd
    reported = [Problem(lock, "today's", then, "something else was run", pointer=f"/stages/{name}/cmd")]
    assert check_values(case, pending) == ([], [])
    assert check_values(case, rules) == (reported, [])
    assert check_values(pipelines(judged, recorded=recorded), pending) == (reported, [])
    other = {lock: {name: replace(locks.planned[lock][name], cmd="another")}}
    assert check_values(pipelines(judged, recorded=recorded, renewed=other), pending) == (reported, [])
    alone = alter(case, without=(EvidenceRules,))
    assert list(parameters.check_parameters(alone)) == reported


# The dvc.yaml of the root


def difference(stage: str, key: str, item: str, actual: str = "", added: bool = False) -> RootDifference:
    return RootDifference(stage, key, item, actual or f"{key} without {item}", "x", added)


def root_stages(*without: str, **outs: tuple[str, ...]) -> DvcLocks:
    stages = {
        name: PlannedStage(command, NEEDED_DEPS[name], outs.get(name, NEEDED_OUTS[name]), {})
        for name, command in COMMANDS.items()
        if name not in without
    }
    return DvcLocks({}, {"dvc.lock": stages}, [], [])


@pytest.mark.parametrize(
    ("given", "locks", "told"),
    [
        (difference("winner", "", ""), root_stages("winner"), True),
        (difference("confidence", "", ""), root_stages("confidence"), False),
        (difference("ledger", "outs", "artifacts/summary"), root_stages(ledger=()), True),
        (difference("ledger", "metrics", "ledger/metrics.json"), root_stages(ledger=()), True),
        (difference("ledger", "outs", "ledger/metrics.json"), root_stages(), False),  # it moved to the metrics
        (difference("ledger", "outs", "other"), root_stages(ledger=()), False),
        (difference("ledger", "deps", "locks"), root_stages(), True),
        (difference("ledger", "deps", "locks", "deps with locks"), root_stages(), False),
        (difference("ledger", "deps", "stages/summary"), root_stages(), False),
        (difference("protocol", "params", NEEDED_PARAMS["protocol"][0]), root_stages(), True),
        (difference("winner", "params", "study"), root_stages(), False),
        (difference("ledger", "plots", "locks"), root_stages(), False),
        (difference("ledger", "", "cmd", "cmd: 'x'"), root_stages(), True),
        (difference("ledger", "", "meta", "with meta"), root_stages(), False),
        (difference("ledger", "deps", "cmd", "deps cmd: x"), root_stages(), False),
        (difference("", "", "cmd", "a section cmd"), root_stages(), False),
        (difference("", "artifacts", "winner"), root_stages(), False),
        (difference("", "artifacts", "winner"), DvcLocks({}, {}, [], []), False),
    ],
)
def test_a_difference_at_the_root_that_another_problem_tells_is_told_once(given, locks, told):
    assert bool(parameters._fails_anyway(given, locks)) is told


@pytest.mark.parametrize(
    ("given", "locks", "optional"),
    [
        (difference("confidence", "", ""), root_stages("confidence"), True),
        (difference("confidence", "deps", "locks"), root_stages(), False),
        (difference("site", "deps", "stages/confidence"), root_stages("confidence"), True),
        (difference("site", "deps", NEEDED_OUTS["confidence"][0]), root_stages("confidence"), True),
        (difference("site", "deps", "stages/confidence"), root_stages(), False),
        (difference("site", "outs", "stages/confidence"), root_stages("confidence"), False),
        (difference("site", "deps", "stages/winner"), root_stages("confidence", "winner"), False),
        (difference("winner", "", ""), root_stages("winner", "confidence"), False),
        (difference("site", "deps", "stages/confidence"), DvcLocks({}, {}, [], []), True),
    ],
)
def test_what_follows_from_an_optional_stage_that_is_absent_is_no_failure(given, locks, optional):
    assert parameters._is_of_optional(given, locks) is optional


@pytest.mark.parametrize(("count", "rest"), [(200, ""), (201, ""), (202, "; and 2 more")])
def test_so_many_differences_at_the_root_are_named(count, rest, judged, monkeypatch):
    found = [difference("", "", str(number), f"a section {number}", added=True) for number in range(count)]
    monkeypatch.setattr(parameters, "compare_root", lambda value, own: found)
    case = alter(judged)
    assert list(parameters._compare_root(case, case.get(DvcLocks))) == []
    shown = "; ".join(str(each) for each in found[: 200 if rest else count])
    assert case.notes == [f"dvc.yaml is not that of this version: {shown}{rest}"]
    nothing = alter(judged)
    assert list(parameters._compare_root(nothing, replace(case.get(DvcLocks), root={}))) == []
    assert nothing.notes == []


def test_an_optional_stage_may_be_absent_and_no_other(judged):
    planned = judged.get(DvcLocks).planned["dvc.lock"]

    def told(*without: str) -> list[str]:
        kept = {name: stage for name, stage in planned.items() if name not in without}
        case = pipelines(judged, planned={**judged.get(DvcLocks).planned, "dvc.lock": kept}, root={})
        return [problem.found for problem in parameters._compare_pipelines(case, case.get(DvcLocks))]

    assert told("confidence") == []
    assert told("confidence", "winner") == ["no such stage"]


# The earliest layout


def test_a_file_of_the_earliest_commits_is_held_against_its_form_of_then(judged, monkeypatch):
    study = judged.get(Study)
    file = earlier_file(study, "rung2")
    text = earlier_file(study, "rung2", variables=True).text
    assert parameters._with_variables(judged, file) == text != file.text
    elsewhere = replace(file, folder="stages/rung9")
    assert parameters._with_variables(judged, elsewhere) == file.text
    value = yamlio.loads(text.encode(), file.path)
    assert "vars" in value
    case = pipelines(judged, edited=[(file, value)])
    assert check_values(case) == ([], [])
    plain = {key: item for key, item in value.items() if key != "vars"}
    assert check_values(pipelines(judged, edited=[(file, plain)]))[0] != []
    ((ladder, _),) = edited_file(judged, f"{RUN2}/dvc.yaml", lambda _: None)
    new = yamlio.loads(ladder.text.encode(), ladder.path)
    (problem,) = check_values(pipelines(judged, edited=[(ladder, {**new, "vars": [1]})]))[0]
    assert problem.pointer == "/vars"


def test_what_a_stage_was_given_is_told_up_to_a_length():
    stage = replace(LOCKED, params={"params.yaml": {"a": "x" * 300}})
    planned = PlannedStage(LOCKED.cmd, ("x",), ("y",), {"params.yaml": ("a",)})
    (problem,) = parameters._compare_stage("dvc.lock", "run", stage, planned, {"params.yaml": {"a": "y" * 300}})
    assert (problem.found, problem.expected) == (repr("x" * 300)[:200], repr("y" * 300)[:200])


def test_the_outputs_of_all_locks_are_known_by_path(judged):
    locks = judged.get(DvcLocks)
    outputs = locks.outputs()
    stages = [stage for path in locks.recorded for stage in locks.recorded[path].values()]
    assert outputs == {path: file for stage in stages for path, file in stage.outs.items()}
    assert [name for path, name, _ in locks.stages() if path == "dvc.lock"] == list(locks.recorded["dvc.lock"])
