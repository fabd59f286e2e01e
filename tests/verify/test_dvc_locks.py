"""What DVC recorded of a study, check by check: each file that is missing, foreign or edited is told in its words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stages.domain import yamlio
from stages.domain.canonical import JsonObject
from stages.domain.errors import Unreadable
from stages.domain.study import Study
from stages.dvcfiles.pipeline import PlannedStage
from stages.verify import dvc_locks
from stages.verify.check import Case, Problem, Skip
from stages.verify.dvc_locks import DvcLocks
from stages.verify.ledger import Ledger
from tests.support.dvclock import _yaml
from tests.verify.cases import alter

RUNG2 = "stages/ladder/rung2"
RUN2 = f"{RUNG2}/d1-c000"


def check(case: Case, **files: bytes | None) -> tuple[list[Problem], Case]:
    """V17 on the case with other files; a path is a name with `__` for '/'."""
    altered = alter(case, files=files, without=(DvcLocks,))
    return list(dvc_locks.check_dvc_locks(altered)), altered


def as_yaml(value: dict[str, Any]) -> bytes:
    return ("\n".join(_yaml(value, 0)) + "\n").encode()


def edited(case: Case, path: str, change: Any) -> bytes:
    """A YAML file of the study with something changed."""
    value = yamlio.loads(case.tree.read(path) or b"", path)
    change(value["stages"])
    return as_yaml(value)


def test_the_untouched_study_has_no_problem_and_no_note(judged):
    problems, case = check(judged)
    assert (problems, case.notes) == ([], [])
    assert case.get(DvcLocks).recorded.keys() == judged.get(DvcLocks).recorded.keys()


@pytest.mark.parametrize(("gone", "told"), [("dvc.yaml", "dvc.lock"), (f"{RUN2}/dvc.yaml", f"{RUN2}/dvc.lock")])
def test_a_pipeline_that_is_gone_beside_its_lock_is_told(gone, told, judged):
    problems, _ = check(judged, **{gone: None})
    assert problems[0] == Problem(gone, "no file", f"the pipeline of {told}", "nobody knows what was run")
    problems, _ = check(judged, **{gone: None, told: None})
    assert [problem for problem in problems if problem.file == gone] == []


def test_a_lock_that_is_gone_while_its_evidence_stands_is_told(judged):
    problems, _ = check(judged, **{f"{RUN2}/dvc.lock": None})
    assert problems == [
        Problem(f"{RUN2}/dvc.lock", "no file", "what DVC recorded of rung2", "its evidence has no second witness")
    ]
    altered = alter(judged, files={f"{RUN2}/dvc.lock": None}, without=(DvcLocks, Ledger))
    assert list(dvc_locks.check_dvc_locks(altered)) == []


def test_files_of_dvc_that_are_none_of_the_study_fail_in_its_folders_and_are_noted_elsewhere(judged):
    problems, case = check(
        judged,
        **{
            "other/dvc.yaml": b"",
            "data/x.dvc": b"",
            "data/.dvc": b"",
            "stages/ladder/rung9/dvc.lock": b"",
            "stages/y.dvc": b"",
            "stages/not-dvc.yaml": b"",
        },
    )
    assert problems == [
        Problem(
            "stages/ladder/rung9/dvc.lock",
            "a file of nothing in params.yaml",
            "no such file",
            "evidence of a rung or configuration that the study does not have",
        ),
        Problem(
            "stages/y.dvc",
            "a file of DVC that nothing here writes",
            "no such file",
            "DVC would bring files of its own among those of the study",
        ),
    ]
    assert case.notes == [
        "files of DVC that are none of the study's, which nothing here looks at: data/x.dvc and other/dvc.yaml"
    ]


def test_while_nothing_is_frozen_the_pipeline_of_a_configuration_that_went_is_only_noted(judged):
    locks = {path: None for path in judged.tree.paths("locks") if path.startswith("locks/gate")}
    problems, case = check(judged, **locks, **{"stages/ladder/rung1/gone/dvc.yaml": b""})
    assert problems == []
    assert case.notes == [
        "stages/ladder/rung1/gone/dvc.yaml: of nothing in params.yaml; `promotion freeze` takes away what is not asked for"
    ]
    stale = {"stages/ladder/rung1/gone/dvc.yaml": b"", "stages/ladder/rung1/gone/dvc.lock": b""}
    problems, case = check(judged, **locks, **stale)
    assert sorted(problem.file for problem in problems) == sorted(stale)
    problems, _ = check(judged, **{"stages/ladder/rung1/gone/dvc.yaml": b""})
    assert [problem.file for problem in problems] == ["stages/ladder/rung1/gone/dvc.yaml"]


def test_stages_before_the_runs_are_missed_and_after_the_last_gate_all_are(judged):
    over = "every gate has decided, and DVC never saw what follows"
    problems, _ = check(judged, **{"dvc.lock": None})
    assert problems[:1] == [
        Problem("dvc.lock", "no file", "stages.corpus, as `dvc repro` records it", over, pointer="/stages/corpus")
    ]
    assert [problem.pointer for problem in problems] == [
        f"/stages/{name}" for name in ("corpus", "protocol", "ledger", "winner", "site")
    ]
    ledger = judged.get(Ledger)
    undecided = Ledger(ledger.runs, {gate: line for gate, line in ledger.decisions.items() if gate != "gate5"})
    lock = edited(judged, "dvc.lock", lambda stages: [stages.pop(name) for name in ("protocol", "winner", "site")])
    altered = alter(judged, undecided, files={"dvc.lock": lock}, without=(DvcLocks,))
    assert list(dvc_locks.check_dvc_locks(altered)) == [
        Problem(
            "dvc.lock",
            "no such stage",
            "stages.protocol, as `dvc repro` records it",
            "runs stand on it",
            pointer="/stages/protocol",
        )
    ]
    altered = alter(judged, Ledger((), {}), files={"dvc.lock": lock}, without=(DvcLocks,))
    assert list(dvc_locks.check_dvc_locks(altered)) == []


def test_a_recorded_stage_that_no_pipeline_has_is_from_nowhere(judged):
    def more(stages: JsonObject) -> None:
        stages["run@cpu-fp32-9"] = stages["run@cpu-fp32-2000"]

    problems, _ = check(judged, **{f"{RUN2}/dvc.lock": edited(judged, f"{RUN2}/dvc.lock", more)})
    assert problems == [
        Problem(
            f"{RUN2}/dvc.lock",
            "run@cpu-fp32-9",
            "a stage of its dvc.yaml",
            "a run from nowhere",
            pointer="/stages/run@cpu-fp32-9",
        )
    ]


def test_a_stage_that_a_team_added_may_stand_in_the_lock_at_the_root_alone(judged):
    locks = DvcLocks({}, {}, [], ["theirs"])
    assert locks.expected("dvc.lock", "theirs")
    assert locks.expected("dvc.lock", "theirs@a")
    assert not locks.expected("dvc.lock", "other")
    assert not locks.expected(f"{RUN2}/dvc.lock", "theirs")
    stage = PlannedStage("x", (), (), {})
    for place in ("planned", "renewed"):
        assert replace(locks, **{place: {"a": {"b": stage}}}).expected("a", "b")


def test_where_dvc_has_recorded_nothing_there_is_nothing_to_check(judged):
    gone = {path: None for path in judged.tree.paths() if path.rpartition("/")[2] == "dvc.lock"}
    altered = alter(judged, files=gone, without=(DvcLocks, Ledger))
    with pytest.raises(Skip) as skip:
        list(dvc_locks.check_dvc_locks(altered))
    assert (skip.value.reason, skip.value.enable, skip.value.applies) == (
        "DVC has recorded nothing yet",
        "dvc repro",
        False,
    )
    problems, _ = check(judged, **gone)
    assert problems[0].meaning == "its evidence has no second witness"


@pytest.mark.parametrize("name", ["dvc.yaml", "dvc.lock"])
def test_generated_files_may_be_as_large_as_what_they_say_could_be(judged, name):
    """Sixteen times the text that the study generates, for dvc.lock as often again as it has runs and two more."""
    text, runs = len(judged.tree.read(f"{RUN2}/dvc.yaml")), len(judged.get(Study).hosts)
    most = (64 << 10) + 16 * text * (runs + 2 if name == "dvc.lock" else 1)
    data = judged.tree.read(f"{RUN2}/{name}")

    def padded(size: int) -> bytes:
        return data + b"#" * (size - len(data) - 1) + b"\n"

    check(judged, **{f"{RUN2}/{name}": padded(most)})
    with pytest.raises(Unreadable, match=f"{RUN2}/{name}: {most + 1} bytes, expected at most {most} for what it has"):
        check(judged, **{f"{RUN2}/{name}": padded(most + 1)})
