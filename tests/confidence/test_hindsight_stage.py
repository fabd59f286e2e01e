"""The stage of what was trained in hindsight: what it reads and writes, and what reads that again."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages import ledger
from stages.confidence import hindsight_results, hindsight_stage
from stages.confidence.hindsight_results import Hindsight, from_bytes, read, to_bytes, write
from stages.domain import canonical, files, hindsight, names
from stages.domain.errors import Invalid, Refused
from stages.domain.records import parse_hindsight
from tests.support import synthetic


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judged study of four configurations, with records in hindsight where DVC leaves them and not in the ledger."""
    root = tmp_path_factory.mktemp("hindsight") / "study"
    synthetic.build(root, synthetic.params(4))
    with chdir(root):
        ledger.main()
    synthetic.look_back(root)
    with chdir(root):
        for record, line in parse_hindsight(hindsight.LEDGER.read_bytes(), "hindsight.jsonl"):
            files.write_whole(names.record_path(record.id), line)
        hindsight.LEDGER.unlink()
    return root


@pytest.fixture(scope="module")
def result(study: Path) -> Hindsight:
    with chdir(study):
        hindsight_stage.main()
    found = read(study)
    assert found is not None
    return found


def test_the_stage_brings_the_records_into_the_ledger_and_says_what_they_say(study, result, capsys):
    with chdir(study):
        hindsight_stage.main()
    assert capsys.readouterr().out == f"Hindsight: {result.text}\n"
    records = parse_hindsight((study / hindsight.LEDGER).read_bytes(), "hindsight.jsonl")
    assert len(records) == 4 * 4 and (study / hindsight_results.RESULT).read_bytes() == to_bytes(result)
    metrics = (study / hindsight_results.METRICS).read_bytes()
    assert metrics.endswith(b"\n}\n") and metrics.startswith(b'{\n "choice": ')
    assert json.loads(metrics) == {
        "choice": result.choice,
        "best": result.best,
        "regret": result.regret,
        "unknown": 0,
        "dropped_better": {gate.gate: len(gate.better) for gate in result.gates},
        "foretold": {step.rung: step.ladder_tau_b for step in result.foretold},
    }


def test_nothing_trained_is_refused_and_nothing_is_written(study, tmp_path):
    shutil.copytree(study, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("hindsight*"))
    with chdir(tmp_path):
        with pytest.raises(
            Refused, match=r"^ledger/hindsight\.jsonl: nothing was trained in hindsight; `make hindsight`"
        ):
            hindsight_stage.main()
        assert not hindsight.LEDGER.exists() and not hindsight_results.RESULT.exists()
    assert read(tmp_path) is None
    assert hindsight_stage.read_records(tmp_path / "none.json") == []


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"{", "artifacts/hindsight/hindsight.json: "),
        (b"[]\n", "artifacts/hindsight/hindsight.json: schema: found None, expected 1; "),
        (b'{"schema":2}\n', "artifacts/hindsight/hindsight.json: schema: found 2, expected 1; "),
    ],
)
def test_what_is_no_result_is_refused_with_who_writes_it_anew(data, told):
    with pytest.raises(Invalid) as caught:
        from_bytes(data)
    assert str(caught.value).startswith(told)
    assert str(caught.value).endswith("; `dvc repro -s stages/ladder/hindsight/dvc.yaml:summary` writes it anew")


def test_a_result_of_another_shape_is_refused_by_its_place(result):
    value: dict[str, Any] = {**canonical.loads(to_bytes(result)), "cells": "four"}
    with pytest.raises(Invalid, match=r"hindsight\.json: cells: found 'four', expected a whole number"):
        from_bytes(canonical.dumps(value))


def test_what_is_not_known_is_null_in_the_metrics(result, tmp_path):
    unknown = replace(
        result,
        regret=None,
        unknown=("a", "b"),
        foretold=tuple(replace(row, ladder_tau_b=None) for row in result.foretold),
    )
    write(tmp_path, unknown)
    metrics = json.loads((tmp_path / hindsight_results.METRICS).read_bytes())
    assert (metrics["regret"], metrics["unknown"], set(metrics["foretold"].values())) == (None, 2, {None})
    assert read(tmp_path).unknown == ("a", "b")
