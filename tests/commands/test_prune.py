"""What `promotion freeze` takes away after a change of the study: the outputs and entries of runs that nobody asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from stages.domain import files, names
from stages.domain.study import Study, parse_study
from stages.dvcfiles import lockfile
from stages.prune import prune
from tests.support import dvclock, synthetic

GONE, SEED = "d2-c001", 3000


def params(**changes: Any) -> dict[str, Any]:
    return synthetic.params(4, 1) | changes


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A finished study of four configurations."""
    dvclock.build_study(tmp_path / "study", params())
    with chdir(tmp_path / "study"):
        yield Path()


def parse(value: dict[str, Any]) -> Study:
    return parse_study(value, "params.yaml")


def outputs() -> dict[str, bytes]:
    tops = (names.RECORDS, names.TRACES, names.HINDSIGHT)
    return {path.as_posix(): path.read_bytes() for top in tops for path in sorted(top.rglob("*")) if path.is_file()}


def entries() -> dict[str, dict[str, str]]:
    """The stages of every dvc.lock of the ladder, as DVC wrote them."""
    locks = {path.as_posix(): dict(lockfile.read(path)[1]) for path in sorted(names.LADDER.rglob("dvc.lock"))}
    return {path: stages for path, stages in locks.items() if stages}


def test_nothing_of_an_unchanged_study_is_taken_away(root: Path) -> None:
    before = outputs(), entries()
    assert prune(parse(params())) == []
    assert (outputs(), entries()) == before


def test_a_configuration_that_is_gone_takes_its_outputs_and_entries_and_nothing_else_along(root: Path) -> None:
    value, before, recorded = params(), outputs(), entries()
    of_it = {path for path in before if f"/{GONE}/" in path}
    stages = {(path, name) for path, lock in recorded.items() for name in lock if f"/{GONE}/" in path}
    assert of_it
    assert stages
    del value["configs"][GONE]
    removed = prune(parse(value))
    assert outputs() == {path: data for path, data in before.items() if path not in of_it}
    assert entries() == {path: lock for path, lock in recorded.items() if f"/{GONE}/" not in path}
    assert {f"{path}: {name}" for path, name in stages} <= set(removed)
    records = {path for path in of_it if path.endswith(".json") and "/records/" in f"/{path}"}
    assert records <= set(removed)
    assert all(path in removed or any(path.startswith(f"{folder}/") for folder in removed) for path in of_it)
    empty = [path for top in (names.RECORDS, names.TRACES) for path in top.rglob("*") if path.is_dir()]
    assert all(any(path.iterdir()) for path in empty), "no folder stays empty"


def test_a_seed_that_is_gone_takes_the_runs_of_its_rung_alone_along(root: Path) -> None:
    value, before = params(), outputs()
    value["rungs"]["rung3"]["seeds"] = [SEED + 50]
    gone = {path for path in before if f"/{SEED}" in path}
    assert gone
    assert all("/rung3/" in path for path in gone)
    prune(parse(value))
    assert outputs() == {path: data for path, data in before.items() if path not in gone}


def test_what_no_run_writes_there_stays_but_a_record_and_a_trace_of_nobody(root: Path) -> None:
    notes = names.RECORDS / "rung1" / "notes.txt"
    record = names.RECORDS / "rung1" / "nobody" / "cpu-fp32" / "1.json"
    trace = names.TRACES / "rung1" / "nobody" / "cpu-fp32" / "1" / "curve.csv"
    hindsight = names.HINDSIGHT / "records" / "nobody" / "cpu-fp32" / "1.json"
    for path in (notes, record, trace, hindsight):
        files.write_whole(path, b"{}\n")
    assert set(prune(parse(params()))) == {record.as_posix(), trace.parent.as_posix(), hindsight.as_posix()}
    assert notes.is_file()
    assert not (names.RECORDS / "rung1" / "nobody").exists()
    assert not trace.parents[2].exists()


def test_a_lock_of_which_nothing_goes_is_not_written_and_the_folders_of_outputs_stay(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write_whole(names.HINDSIGHT / "records" / "nobody" / "cpu-fp32" / "1.json", b"{}\n")
    monkeypatch.setattr(lockfile, "write", lambda *words: pytest.fail("written"))
    assert prune(parse(params())) == ["artifacts/hindsight/records/nobody/cpu-fp32/1.json"]
    assert list(names.HINDSIGHT.iterdir()) == []


def test_what_goes_is_named_in_order_outputs_first_and_then_the_entries_of_each_lock(root: Path) -> None:
    value = params()
    value["rungs"]["rung2"]["seeds"] = [SEED + 50]
    stages = ("run@cpu-bf16-2000", "run@cpu-fp32-2000")
    configs = ("d1-c000", "d2-c001", "d3-c002", "d4-c003")
    cells = [f"{config}/{host}/2000" for config in configs for host in ("cpu-bf16", "cpu-fp32")]
    removed = prune(parse(value))
    assert removed[:16] == [
        *(f"artifacts/records/rung2/{cell}.json" for cell in cells), *(f"artifacts/traces/rung2/{cell}" for cell in cells)
    ]  # fmt: skip
    assert sorted(removed[16:]) == [
        f"stages/ladder/rung2/{config}/dvc.lock: {stage}" for config in configs for stage in stages
    ]
