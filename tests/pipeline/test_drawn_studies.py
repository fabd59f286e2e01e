"""What the schema accepts runs and verifies: drawn studies through the generated pipeline, the judge and verification.

Their runs are not trained but made up by a formula, and their dvc.locks are written as DVC would. DVC itself reads every
generated dvc.yaml. The way through the real `dvc repro` is that of tests/pipeline/test_smoke.py.
"""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages import verify
from stages.domain.errors import Invalid
from stages.domain.runs import all_runs
from stages.domain.study import parse_bytes
from stages.rungs import pipeline_files, write_rungs
from stages.study_check import check_study
from tests.support import dvclock, synthetic
from tests.support.repo import PROJECT

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
ROLES = ("reference", "comparator", "champion")
Params = dict[str, Any]  # a params.yaml as it is drawn


@st.composite
def drawn_rules(draw: st.DrawFn, roles: list[str], hosts: int, floor_seeds: int, last: bool) -> Params:
    """The rules of a gate: any that could be answered."""
    kinds: list[Params] = [{"kind": kind} for kind in ("complete_cells", "fixed_runner", "fixed_data", "fresh_seeds")]
    kinds += [{"kind": "diverged"}, {"kind": "failed"}, {"kind": "top_k", "k": draw(st.integers(1, 4))}]
    kinds += [{"kind": "within_gap", "gap": draw(st.sampled_from([0.01, 0.5]))}]
    kinds += [{"kind": "exceeds_gap", "gap": 0.3, "by": "worst_host"}]
    if hosts > 1:
        kinds += [{"kind": "min_host_agreement", "tau": -1}]
    if floor_seeds > 1:
        kinds += [{"kind": "above_noise_floor"}]
    for role in roles:
        kinds += [{"kind": "keep_role", "role": role}, {"kind": "first_in_all_cells", "role": role}]
        kinds += [{"kind": "within_gap", "gap": 0.1, "of": role}]
    if len(roles) > 1:
        kinds += [{"kind": "near_equivalent", "role": roles[0], "to": roles[1], "margin": 0.01}]
        kinds += [{"kind": "mean_gap", "role": roles[1], "to": roles[0], "most": 0.02}]
    rules = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=6))
    if not last:
        rules.append(
            {"kind": "top_k", "k": draw(st.integers(1, 3)), "by": draw(st.sampled_from(["mean", "each_host"]))}
        )
    return {f"R{number}": rule for number, rule in enumerate(rules, start=1)}


@st.composite
def drawn_studies(draw: st.DrawFn) -> Params:
    """A study of 1 to 6 rungs on 1 to 4 hosts, with any roles or none, and with or without each optional key."""
    value = synthetic.params()
    configs = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    hosts = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    knobs = next(iter(value["configs"].values()))
    value["configs"] = {name: {**knobs, "depth": 1 + at} for at, name in enumerate(configs)}
    roles = draw(st.lists(st.sampled_from(ROLES), max_size=3, unique=True))
    value["roles"] = {role: draw(st.sampled_from(configs)) for role in roles}
    clock = value["clock"]["kind"] = draw(st.sampled_from(["rated", "wall"]))
    block = {"system": "any", "device": "cpu", "precision": "fp32", "threads": 1, "compile": False}
    optional = {"title": "A host", "device_name": "", "report": [], "flops_per_second": synthetic.FLOPS_PER_SECOND}
    for key in list(optional):
        if (key != "flops_per_second" or clock == "wall") and draw(st.booleans()):
            del optional[key]
    value["hosts"] = {name: {**block, **optional} for name in hosts}
    if draw(st.booleans()):
        del value["study"]["note"]
    rungs = draw(st.integers(1, 6))
    value["rungs"], value["gates"] = {}, {}
    for number in range(1, rungs + 1):
        rung: Params = {"budget_seconds": draw(st.sampled_from([1, 2.5])) * number * 3}
        rung["seeds"] = [100 * number + at for at in range(draw(st.integers(1, 2)))]
        floor_seeds = draw(st.integers(0, 2)) if "reference" in roles else 0
        if floor_seeds or draw(st.booleans()):
            rung["floor_seeds"] = [100 * number + 50 + at for at in range(floor_seeds)]
        value["rungs"][f"rung{number}"] = rung
        rules = drawn_rules(roles, len(hosts), floor_seeds, number == rungs)
        value["gates"][f"gate{number}"] = draw(rules)
    budgets = sorted(rung["budget_seconds"] for rung in value["rungs"].values())
    for rung, budget in zip(value["rungs"].values(), budgets, strict=True):
        rung["budget_seconds"] = budget
    return value


def accepted(value: Params) -> bool:
    try:
        check_study(json.dumps(value).encode(), "params.yaml")
    except Invalid:
        return False
    return True


def dvc_stages(root: Path) -> dict[str, set[str]]:
    """The stages that DVC itself makes of every generated dvc.yaml, by its path."""
    from dvc.repo import Repo

    with chdir(root), Repo.init(str(root), no_scm=True, force=True) as repo:
        return {
            path.relative_to(root).as_posix(): {str(stage.name) for stage in repo.stage.load_file(str(path))}
            for path in sorted((root / "stages").rglob("dvc.yaml"))
        }


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=drawn_studies().filter(accepted))
def test_dvc_reads_the_pipeline_of_every_study_that_is_accepted(value: Params, tmp_path_factory: Any) -> None:
    root = tmp_path_factory.mktemp("drawn")
    (root / "params.yaml").write_text(json.dumps(value), encoding="utf-8")
    study = parse_bytes(json.dumps(value).encode(), "params.yaml")
    write_rungs(study, root)
    files = [file for rung in study.rungs for file in pipeline_files(study, rung)]
    expected = {file.path: {*file.runs, *file.others} for file in files}
    assert sum(len(file.runs) for file in files) == len(all_runs(study))
    assert dvc_stages(root) == expected


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=drawn_studies().filter(accepted))
def test_what_the_schema_accepts_runs_and_verifies(value: Params, tmp_path_factory: Any) -> None:
    root = tmp_path_factory.mktemp("drawn") / "study"
    dvclock.build_study(root, value)
    report = verify.verify(root, "HEAD")
    assert [result for result in report.results if result.status == "failed"] == []
    assert report.verdict == "verified"


@pytest.mark.parametrize("name", ["123", "0x1f", "1e3", "2024-01-01", "null", "true", "false", "1_000"])
@pytest.mark.parametrize("section", ["configs", "hosts", "roles"])
def test_a_name_that_dvc_would_read_as_something_else_is_refused(name: str, section: str) -> None:
    value = synthetic.params()
    value[section][name] = next(iter(value[section].values()))
    with pytest.raises(Invalid, match=f"found '{name}', expected another name: YAML, and so DVC, reads this one as"):
        parse_bytes(json.dumps(value).encode(), "params.yaml")


def test_the_default_study_has_a_stage_of_repetitions_at_every_rung() -> None:
    for folder in (PROJECT / "stages").glob("rung[0-9]*"):
        assert "\n  floor:\n" in (folder / "dvc.yaml").read_text(encoding="utf-8")
