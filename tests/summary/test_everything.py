"""The one function that the ledger writes with and the audit compares with."""

import csv
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.domain import canonical, names
from stages.domain.contract import from_lock, read_open
from stages.domain.records import parse_ledger
from stages.domain.runs import ledger_order
from stages.summary import everything


def files_of(case, records=None):
    return everything("frozen", case.configs, case.locks, records or case.records, case.decisions)


def rows(data):
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"))))


def test_every_file_is_the_same_bytes_again(case):
    assert files_of(case) == files_of(case)
    for path, data in files_of(case).items():
        if path.suffix == ".json" and path.parent == names.SUMMARY:
            assert canonical.dumps(canonical.loads_canonical(data)) == data


@settings(max_examples=5, deadline=None)
@given(seed=st.integers())
def test_the_order_of_the_records_does_not_matter(case, seed):
    shuffled = list(case.records)
    random.Random(seed).shuffle(shuffled)
    assert files_of(case, shuffled) == files_of(case)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_whatever_is_missing_the_summaries_can_be_written(case, data):
    records = [run for run in case.records if data.draw(st.integers(0, 9)) > 0] if data.draw(st.booleans()) else []
    decided = data.draw(st.integers(0, 5))
    frozen = data.draw(st.integers(decided, 5))
    locks = {f"gate{n}": case.locks[f"gate{n}"] for n in range(1, frozen + 1)}
    decisions = {f"gate{n}": case.decisions[f"gate{n}"] for n in range(1, decided + 1)}
    made = everything("frozen", case.configs, locks, records, decisions)
    cost = canonical.loads(made[names.SUMMARY / "accounting.json"])
    assert len(cost["rungs"]) == frozen
    for rung in cost["rungs"].values():
        assert rung["missing_runs"] is None or rung["missing_runs"] >= 0


def test_paths_tell_rank_and_fate_of_every_configuration(case):
    found = rows(files_of(case)[names.SUMMARY / "paths.csv"])
    assert len(found) == 12 + 12 + 10 + 4 + 2
    fates = {row["config"]: row["fate"] for row in found}
    assert fates["d8-c007"] == "winner"
    assert fates["d4-c003"] == "last rung"
    assert fates["d2-c009"] == "stopped at gate3"
    first = [row for row in found if row["rung"] == "rung1" and row["rank"] == "1"]
    assert first[0]["config"] == "d2-c009" and first[0]["budget_seconds"] == "2.0"


def test_paths_of_an_unfinished_study_go_on(case):
    made = files_of(case.without("gate3", "gate4", "gate5", records=True))
    fates = {row["config"]: row["fate"] for row in rows(made[names.SUMMARY / "paths.csv"])}
    assert set(fates.values()) == {"going on", "stopped at gate2"}


def test_the_agreement_table_has_a_point_for_every_candidate_on_both_hosts(case):
    found = rows(files_of(case)[names.SUMMARY / "agreement.csv"])
    assert len(found) == 12 + 12 + 10 + 4 + 2
    assert {row["hosts"] for row in found} == {"cpu-bf16 and cpu-fp32"}


def test_a_gate_judges_by_the_same_contract_from_its_lock_and_from_the_file(case, monkeypatch):
    monkeypatch.chdir(case.root)
    for gate, lock in case.locks.items():
        assert from_lock(lock) == read_open(names.rung_of(gate))


def test_lines_stand_by_rung_number_then_candidates_before_floor(case):
    ordered = sorted(case.records, key=ledger_order)
    assert list(case.records) == ordered
    rung3 = [run.purpose for run in ordered if run.rung == "rung3"]
    assert rung3 == ["candidate"] * 48 + ["floor"] * 6


@pytest.mark.parametrize(("first", "second"), [("rung9", "rung10"), ("rung2", "rung10")])
def test_rung10_comes_after_rung9(case, first, second):
    line = case.records[0]
    lower = line.model_copy(update={"rung": first})
    assert ledger_order(lower) < ledger_order(line.model_copy(update={"rung": second}))


def test_the_ledger_of_a_study_reads_back_to_the_same_summaries(case):
    data = b"".join((case.root / names.record_path(run.id)).read_bytes() for run in case.records)
    records = [record for record, _ in parse_ledger(data, "runs.jsonl")]
    assert files_of(case, records) == files_of(case)
