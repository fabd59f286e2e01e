"""Contracts: one file a rung, the same from its lock as from the disk, and light enough for a stopped run."""

import subprocess
import sys

import pytest

from stages.domain import canonical, locks, names
from stages.domain.contract import ClosedContract, from_lock, read, read_open
from stages.domain.errors import Refused
from tests.domain.test_locks import frozen
from tests.support.repo import PROJECT


def lock_of(gate):
    return locks.loads(locks.dumps(frozen(gate)), f"locks/{gate}.yaml")


def write(rung, value):
    names.PROTOCOL.mkdir(parents=True, exist_ok=True)
    (names.PROTOCOL / f"{rung}.json").write_bytes(value if isinstance(value, bytes) else canonical.dumps(value))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("gate", ["gate1", "gate3", "gate5"])
def test_a_contract_is_what_the_lock_froze_flat_without_its_amendments(gate):
    lock = lock_of(gate)
    content = lock.frozen.to_json()
    del content["amendments"]
    expected = canonical.dumps({"schema": 1, "open": True, "lock": lock.digest, **content})
    assert from_lock(lock).to_bytes() == expected
    assert from_lock(lock).to_json() == canonical.loads(expected)


@pytest.mark.parametrize("gate", ["gate1", "gate3", "gate5"])
def test_a_contract_reads_back_as_it_was_written(gate):
    contract = from_lock(lock_of(gate))
    write(contract.rung, contract.to_bytes())
    assert read_open(contract.rung) == read(contract.rung) == contract


def test_only_the_first_contract_names_who_may_enter():
    assert from_lock(lock_of("gate1")).entrants == sorted(frozen("gate1").configs)
    assert from_lock(lock_of("gate2")).entrants is None


def test_a_closed_contract_names_the_gate_to_freeze_first():
    contract = ClosedContract("rung3")
    assert contract.to_bytes() == b'{"gate":"gate3","open":false,"rung":"rung3","schema":1}\n'
    write("rung3", contract.to_bytes())
    assert read("rung3") == contract
    with pytest.raises(
        Refused, match=r"locks/gate3.yaml is missing, so rung3 may not start: .*`promotion freeze gate3`"
    ):
        read_open("rung3")


def test_a_contract_that_nobody_wrote_yet_is_none_and_may_not_be_relied_on():
    assert read("rung3") is None
    with pytest.raises(Refused, match=r"artifacts/protocol/rung3.json is missing; `dvc repro protocol` writes it"):
        read_open("rung3")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"xx", "rung3.json: not JSON at line 1"),
        (b"[]", "rung3.json: found no contract of rung3, schema 1; `dvc repro --force protocol` writes it anew"),
        ({"schema": 1, "rung": "rung2"}, "found no contract of rung3"),
        ({"schema": 2, "rung": "rung3"}, "found no contract of rung3"),
        ({"schema": 1, "rung": "rung3", "open": True}, "budget_seconds is missing; another version wrote it"),
    ],
)
def test_a_file_that_is_no_contract_is_refused_with_its_remedy(data, message):
    write("rung3", data)
    with pytest.raises(Refused) as caught:
        read("rung3")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hosts", [], "hosts: found [], expected dict"),
        ("seeds", 7, "seeds: found 7, expected list"),
        ("last", "no", "last: found 'no', expected bool"),
        ("clock", "rated", "clock: found 'rated', expected dict"),
        ("lock", None, "lock: found None, expected str"),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_key(key, value, message):
    write("rung3", {**from_lock(lock_of("gate3")).to_json(), key: value})
    with pytest.raises(Refused) as caught:
        read("rung3")
    assert f"artifacts/protocol/rung3.json: {message}; `dvc repro --force protocol`" in str(caught.value)


def test_a_record_commits_to_the_digests_of_its_contract():
    contract = from_lock(lock_of("gate3"))
    record = contract.make_record(
        config="a", host="h", seed=1, purpose="candidate", status="stopped", reason="gate2 did not promote it"
    )
    assert {key: record[key] for key in ("rung", "gate", "lock", "runner", "corpus")} == {
        "rung": "rung3", "gate": "gate3", "lock": contract.lock, "runner": "1" * 64, "corpus": "2" * 64,
    }  # fmt: skip
    assert record["budget"] == {"clock": "rated", "seconds": contract.budget_seconds}
    assert (record["environment"], record["spec"], record["facts"]) == (None, None, None)


def test_contracts_and_promotions_import_the_standard_library_alone():
    code = (
        "import sys, stages.domain.contract, stages.domain.promotions\n"
        "print(sorted({'pydantic', 'ruamel', 'ruamel.yaml', 'numpy', 'torch'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=PROJECT)
    assert printed.stdout.strip() == "[]"
