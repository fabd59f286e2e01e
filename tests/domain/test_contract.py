"""Contracts: one file a rung, the same from its lock as from the disk, and light enough for a stopped run."""

import subprocess
import sys

import pytest

from stages.domain import canonical, locks, names
from stages.domain.contract import ClosedContract, Contract, from_lock, read, read_open
from stages.domain.errors import Refused
from tests.domain.test_locks import frozen
from tests.support.contracts import make_contract
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


@pytest.mark.parametrize(
    ("run", "asked"),
    [
        (("a", "h1", 1, "candidate"), True),
        (("ref", "h2", 2, "candidate"), True),
        (("a", "h9", 1, "candidate"), False),
        (("a", "h1", 3, "candidate"), False),
        (("a", "h1", 900, "candidate"), False),
        (("ref", "h1", 900, "floor"), True),
        (("ref", "h9", 900, "floor"), False),
        (("ref", "h1", 1, "floor"), False),
        (("a", "h1", 900, "floor"), False),
        (("a", "h1", 1, "hindsight"), False),
    ],
)
def test_a_contract_asks_for_its_cells_and_for_the_floor_runs_of_its_reference(run, asked):
    hosts = ("h1", "h2")
    contract = make_contract(hosts=hosts, seeds=(1, 2), floor_seeds=(900,), roles={"reference": "ref"})
    assert contract.asks_for(*run) is asked
    assert contract.cells == [("h1", 1), ("h1", 2), ("h2", 1), ("h2", 2)]
    assert make_contract(floor_seeds=(900,)).asks_for("a", "h1", 900, "floor") is False


def test_a_record_is_made_whole():
    contract = make_contract("rung2")
    what = {"config": "a", "host": "h", "seed": 1, "purpose": "floor", "status": "finished", "reason": "r"}
    more = {"environment": {"torch": "x"}, "spec": {"s": 1}, "facts": {"f": 1}}
    assert contract.make_record(**what, **more) == {
        "schema": 1, "rung": "rung2", "gate": "gate2", "lock": "a" * 64, "runner": "b" * 64, "corpus": "c" * 64,
        "budget": {"clock": "rated", "seconds": 10.0}, **what, **more,
    }  # fmt: skip


def test_what_a_command_is_given_at_a_rung_stands_in_its_contract_and_nothing_where_it_is_given_nothing():
    plain, given = make_contract("rung2"), make_contract("rung2", options={"steps": 5})
    assert given.to_json() == plain.to_json() | {"with": {"steps": 5}}
    assert "with" not in plain.to_json()
    for contract in (plain, given):
        write("rung2", contract.to_bytes())
        assert read("rung2") == contract
    assert plain.to_json()["clock"] == {"kind": "rated"}


def test_every_key_of_one_type_is_held_to_it():
    good = make_contract("rung2").to_json()
    write("rung2", good)
    assert isinstance(read("rung2"), Contract)
    for key in ("study", "gate", "lock", "runner", "corpus", "rules", "roles", "clock", "hosts", "settings", "seeds",
                "floor_seeds", "earlier_seeds", "last"):  # fmt: skip
        write("rung2", {**good, key: 7})
        with pytest.raises(Refused, match=f"rung2.json: {key}: found 7, expected "):
            read("rung2")


def test_a_long_value_of_another_type_is_cut():
    write("rung2", {**make_contract("rung2").to_json(), "hosts": "x" * 100})
    with pytest.raises(Refused) as caught:
        read("rung2")
    assert f"hosts: found '{'x' * 79}, expected dict; " in str(caught.value)


@pytest.mark.parametrize("open_", [True, None, 0])
def test_a_contract_is_closed_only_where_it_says_so(open_):
    write("rung2", {**make_contract("rung2").to_json(), "open": open_})
    assert isinstance(read("rung2"), Contract)
    write("rung2", {"schema": 1, "rung": "rung2", "open": False})
    assert read("rung2") == ClosedContract("rung2")
