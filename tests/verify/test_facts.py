"""What a record says of its run on the wall clock, where no number of steps follows from the budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stages.domain import canonical
from stages.domain.records import parse_line
from stages.domain.study import parse_study
from stages.repo.tree import WorkTree
from stages.verify import facts
from stages.verify.check import Case, Options
from stages.verify.facts import ExpectedSpec, Specifications
from stages.verify.ledger import Ledger, RecordLine
from tests.support import synthetic
from tests.support.contracts import make_contract

PROGRESS = {"ticks": 4096, "steps": 70, "data": ""}


def wall(tmp_path, change: dict[str, Any], **record: Any) -> list[str]:
    """The pointers of the problems of one run on the wall clock."""
    value = synthetic.params(3)
    value["clock"] = {"kind": "wall"}
    study = parse_study(value, "params.yaml")
    contract = replace(
        make_contract(clock="wall", budget_seconds=2.0, settings=value["runner"]),
        hosts={name: host.model_dump() for name, host in study.hosts.items()},
    )
    config = next(iter(study.configs))
    made = synthetic._executed(contract, study, config, "cpu-fp32", 1000, "candidate")
    made["facts"] |= {"steps": 70, "tokens": 70 * 4096, "progress": PROGRESS}
    made["facts"] |= change
    made |= record
    line = canonical.dumps(made)
    case = Case(tmp_path, WorkTree(tmp_path), None, None, Options("git"))
    case.learn(study)
    case.learn(Ledger((RecordLine(1, parse_line(line, "x"), line),), {}))
    case.learn(Specifications({("rung1", config, "cpu-fp32"): ExpectedSpec(made["spec"], True)}))
    return [str(one.pointer) for one in facts.check_facts_of_record(case)]


def test_a_run_on_the_wall_clock_may_take_any_number_of_steps_that_its_clock_kept(tmp_path):
    assert wall(tmp_path, {}) == []
    assert wall(tmp_path, {"steps": 71, "tokens": 71 * 4096}) == ["/facts/progress"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"progress": None}, "/facts/progress"),
        ({"progress": {**PROGRESS, "steps": 69}}, "/facts/progress"),
        ({"progress": {**PROGRESS, "more": 1}}, "/facts/progress/more"),
        ({"rated_seconds": 2.0}, "/facts/rated_seconds"),
        ({"tokens": 1}, "/facts/tokens"),
        ({"train_loss": None}, "/facts/train_loss"),
        ({"train_loss": "3"}, "/facts/train_loss"),
    ],
)
def test_what_its_clock_cannot_have_kept_is_told(change, pointer, tmp_path):
    assert wall(tmp_path, change) == [pointer]


def test_a_run_that_broke_keeps_its_progress_and_has_no_score(tmp_path):
    broke = {"status": "diverged", "reason": "the training loss of step 71 is not finite"}
    assert wall(tmp_path, {"val_bpb": None}, **broke) == []
    assert wall(tmp_path, {}, **broke) == ["/facts/val_bpb"]
    at_once = {"val_bpb": None, "steps": 0, "tokens": 0, "train_loss": None}
    assert wall(tmp_path, {**at_once, "progress": None}, **broke) == []
    assert wall(tmp_path, {**at_once, "progress": {**PROGRESS, "steps": 0}}, **broke) == []


def test_a_run_that_failed_says_why_and_nothing_else(tmp_path):
    out_of_memory = {"status": "failed", "reason": "out of memory"}
    assert wall(tmp_path, {}, **out_of_memory, facts=None) == []
    assert wall(tmp_path, {"val_bpb": None}, **out_of_memory)[0] == "/facts"
