"""Locks: the same rules are the same bytes, and an edit is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.domain import locks
from stages.domain.locks import LockRefused
from stages.domain.study import parse_study
from tests.support.synthetic import params


def frozen(gate="gate3", **over):
    study = parse_study({**params(4), **over}, "params.yaml")
    return locks.frozen_of(study, gate, runner="1" * 64, corpus="2" * 64, previous="3" * 64)


def test_a_lock_reads_back_as_what_was_frozen_and_writes_the_same_bytes():
    data = locks.dumps(frozen())
    lock = locks.loads(data, "locks/gate3.yaml")
    assert lock.frozen == frozen()
    assert locks.dumps(lock.frozen) == data


def test_the_order_of_keys_in_params_changes_no_byte_of_the_lock():
    value = params(4)
    turned = {**value, "hosts": dict(reversed(value["hosts"].items())), "roles": dict(reversed(value["roles"].items()))}
    one, two = (parse_study(v, "p") for v in (value, turned))
    made = [
        locks.dumps(locks.frozen_of(s, "gate3", runner="1" * 64, corpus="2" * 64, previous=None)) for s in (one, two)
    ]
    assert made[0] == made[1]


@given(st.data())
def test_any_changed_byte_of_a_lock_is_refused_or_changes_nothing(data):
    whole = locks.dumps(frozen())
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(32, 126))
    edited = whole[:place] + bytes([byte]) + whole[place + 1 :]
    try:
        lock = locks.loads(edited, "locks/gate3.yaml")
    except LockRefused:
        return
    assert lock.frozen == frozen()  # a comment, or a spelling of the same value


def test_an_edited_lock_says_what_was_found_what_was_expected_and_how_to_go_back():
    edited = locks.dumps(frozen()).replace(b"k: 3", b"k: 4")
    with pytest.raises(LockRefused) as caught:
        locks.loads(edited, "locks/gate3.yaml")
    old = locks.digest_of(frozen())
    assert str(caught.value).startswith(f"locks/gate3.yaml: digest: found {old}, expected ")
    assert str(caught.value).endswith("the lock was edited; `git checkout -- locks/gate3.yaml` brings it back")


def test_a_lock_of_a_newer_schema_is_refused_by_name():
    newer = locks.dumps(frozen()).replace(b"schema: 1\n", b"schema: 2\n", 1)
    with pytest.raises(LockRefused) as caught:
        locks.loads(newer, "locks/gate3.yaml")
    assert (
        str(caught.value) == "locks/gate3.yaml: schema: found 2, expected at most 1; update staged-promotion to read it"
    )


def test_a_lock_of_another_gate_in_its_place_is_refused(tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "gate4.yaml").write_bytes(locks.dumps(frozen("gate3")))
    with pytest.raises(LockRefused, match="frozen.gate: found gate3, expected gate4"):
        locks.read("gate4", tmp_path)


def test_a_difference_names_every_path_with_both_values():
    value = params(4)
    value["gates"]["gate3"]["R7"]["k"] = 5
    value["rungs"]["rung3"]["seeds"] = [3000, 3007]
    study = parse_study(value, "params.yaml")
    now = locks.frozen_of(study, "gate3", runner="1" * 64, corpus="2" * 64, previous="3" * 64)
    change = locks.difference(frozen(), now)
    assert change == {"rules.R7.k": {"was": 3, "is": 5}, "seeds": {"was": [3000, 3001], "is": [3000, 3007]}}
    assert locks.tell(change) == "  rules.R7.k: frozen 3, now 5\n  seeds: frozen [3000, 3001], now [3000, 3007]"


def test_a_difference_in_one_line_names_six_places_and_counts_the_rest():
    change = {f"k{n}": {"was": None, "is": n} for n in range(8)}
    assert locks.tell_briefly(change) == ", ".join(f"k{n} none -> {n}" for n in range(6)) + ", 2 places more"
    assert locks.tell_briefly({"k": {"was": "x" * 80, "is": "y" * 58}}) == f"k '{'x' * 56}... -> '{'y' * 58}'"
    assert locks.tell_briefly({}) == "nothing"


def test_what_decides_stands_first_and_is_never_cut():
    knobs = {f"configs.a.k{n}": {"was": n, "is": n + 1} for n in range(20)}
    decisive = {
        "seeds": {"was": [1], "is": [2]},
        "hosts.gpu": {"was": {"device": "cuda"}, "is": None},
        "rules.R2.k": {"was": 1, "is": 2},
        "budget_seconds": {"was": 60.0, "is": 600.0},
        "configs.b": {"was": {"k": 1}, "is": None},
        "roles.reference": {"was": "a", "is": "b"},
        "corpus": {"was": "1" * 64, "is": "2" * 64},
        "floor_seeds": {"was": [], "is": [3]},
    }
    text = locks.tell_briefly(knobs | decisive)
    order = [
        "rules.R2.k",
        "hosts.gpu",
        "seeds",
        "floor_seeds",
        "budget_seconds",
        "roles.reference",
        "corpus",
        "configs.b",
    ]
    assert [place.split(" ", 1)[0] for place in text.split(", ") if place.split(" ", 1)[0] in order] == order
    assert text.endswith("configs.b {'k': 1} -> none, 20 places more")
    many = {f"hosts.h{n}.threads": {"was": 1, "is": 2} for n in range(50)}
    assert locks.tell_briefly(many, 3).count("threads 1 -> 2") == 50
    some = locks.tell_briefly(knobs | {"seeds": {"was": [1], "is": [2]}}, 3)
    assert some == "seeds [1] -> [2], configs.a.k0 0 -> 1, configs.a.k1 1 -> 2, 18 places more"


@pytest.mark.parametrize(
    ("was", "now", "text"),
    [
        (list(range(1000, 1040)), list(range(1000, 1039)), "without 1039"),
        (list(range(1000, 1040)), [*range(1000, 1039), 7], "without 1039, with 7"),
        (list(range(1000, 1040)), [7, *range(1000, 1040), 8], "with 7, 8"),
        ("x" * 80 + "a", "x" * 80 + "b", f"...{'x' * 20}a' -> ...{'x' * 20}b'"),
        ("a" + "x" * 80, "b" + "x" * 80, f"'a{'x' * 55}... -> 'b{'x' * 55}..."),
        (None, "x" * 80, f"none -> '{'x' * 56}..."),
    ],
)
def test_of_a_long_value_the_place_is_shown_where_it_differs(was, now, text):
    assert locks.tell_briefly({"k": {"was": was, "is": now}}) == f"k {text}"


def test_a_long_list_in_another_order_differs_at_a_place():
    was = list(range(1000, 1040))
    text = locks.tell_briefly({"seeds": {"was": was, "is": [*was[:38], was[39], was[38]]}})
    assert "1039, 1038]" in text and "1038, 1039]" in text


def refusal(data: bytes) -> str:
    with pytest.raises(LockRefused) as error:
        locks.loads(data, "locks/gate3.yaml")
    return str(error.value)


def test_a_lock_of_another_schema_is_refused_by_its_number():
    data = locks.dumps(frozen())
    assert locks.loads(data, "locks/gate3.yaml").schema_ == 1
    assert refusal(data.replace(b"schema: 1", b"schema: 2")) == (
        "locks/gate3.yaml: schema: found 2, expected at most 1; update staged-promotion to read it"
    )
    assert refusal(data.replace(b"schema: 1", b"schema: 0")) == "locks/gate3.yaml: schema: found 0, expected 1"


def test_an_edited_lock_says_both_digests_and_what_brings_it_back():
    data = locks.dumps(frozen())
    lock = locks.loads(data, "locks/gate3.yaml")
    edited = data.replace(b"budget_seconds: 10.0", b"budget_seconds: 11.0")
    actual = locks.digest_of(lock.frozen.model_copy(update={"budget_seconds": 11.0}))
    assert refusal(edited) == (
        f"locks/gate3.yaml: digest: found {lock.digest}, expected {actual}, that of `frozen`: the lock was edited; "
        "`git checkout -- locks/gate3.yaml` brings it back"
    )


@pytest.mark.parametrize(("gate", "number"), [("gate1", 1), ("gate3", 3), ("gate5", 5)])
def test_a_lock_freezes_what_its_gate_stands_on(gate, number):
    study = parse_study(params(4), "params.yaml")
    content = frozen(gate).to_json()
    assert {key: content[key] for key in ("gate", "rung", "last", "runner", "corpus", "previous", "amendments")} == {
        "gate": gate,
        "rung": f"rung{number}",
        "last": number == 5,
        "runner": "1" * 64,
        "corpus": "2" * 64,
        "previous": "3" * 64,
        "amendments": [],
    }
    assert (content["configs"] is None) is (number > 1)
    assert content["seeds"] == study.rungs[f"rung{number}"].seeds
    earlier = {1: [], 3: [1000, 2000], 5: [1000, 2000, 3000, 3001, 3900, 3901, 3902, 4000, 4001]}
    assert content["earlier_seeds"] == earlier[number]
    assert not {"with", "from", "factors"} & content.keys()


def test_a_lock_is_written_with_its_head_and_rules_in_the_order_of_their_numbers():
    rules = {f"R{n}": {"kind": "complete_cells"} for n in (1, 2, 10)} | {"R3": {"kind": "top_k", "k": 2}}
    gates = {**params(4)["gates"], "gate3": rules}
    text = locks.dumps(frozen("gate3", gates=gates)).decode()
    assert text.startswith(
        "# The rules of gate3, frozen before the evidence of rung3. Written by `promotion freeze`; an edit is\n"
        "# noticed by every run, gate and `promotion verify`: change params.yaml and freeze again instead.\n"
        "schema: 1\ndigest: "
    )
    assert [line.strip(" :") for line in text.splitlines() if line.startswith("    R")] == ["R1", "R2", "R3", "R10"]
    assert max(map(len, text.splitlines())) < 200
    assert "{" not in text


def test_a_lock_in_the_workspace_is_read_by_its_gate(tmp_path):
    assert locks.read("gate3", tmp_path) is None
    (tmp_path / "locks").mkdir()
    path = tmp_path / "locks" / "gate3.yaml"
    path.write_bytes(locks.dumps(frozen()))
    lock = locks.read("gate3", tmp_path)
    assert lock is not None and lock.frozen == frozen()
    other = locks.dumps(frozen().model_copy(update={"rung": "rung4"}))
    path.write_bytes(other)
    with pytest.raises(LockRefused) as caught:
        locks.read("gate3", tmp_path)
    assert str(caught.value) == "locks/gate3.yaml: frozen.rung: found rung4, expected rung3"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: [1\n", "locks/gate3.yaml, line 1, column 4: the list that begins with '['"),
        (b"schema: true\n", "locks/gate3.yaml: schema: found true, expected a whole number"),
        (b"schema: x\n", "locks/gate3.yaml: schema: found 'x', expected a whole number"),
        (b"schema: 3\n", "locks/gate3.yaml: schema: found 3, expected at most 1; update staged-promotion to read it"),
    ],
)
def test_what_is_no_lock_is_refused_as_such(data, message):
    with pytest.raises(LockRefused) as caught:
        locks.loads(data, "locks/gate3.yaml")
    assert str(caught.value).startswith(message)
    assert caught.value.mistakes


@pytest.mark.parametrize(
    ("was", "now", "change"),
    [
        ({}, {}, {}),
        ({"a": 1, "amendments": [1]}, {"a": 1, "amendments": [2]}, {}),
        ({"a": 1}, {"a": 1.0}, {"a": {"was": 1, "is": 1.0}}),
        ({"a": 1}, {"a": True}, {"a": {"was": 1, "is": True}}),
        ({"a": {"b": 1}}, {"a": {"c": 2}}, {"a.b": {"was": 1, "is": None}, "a.c": {"was": None, "is": 2}}),
        ({"a": {"b": 1}}, {"a": [1]}, {"a": {"was": {"b": 1}, "is": [1]}}),
    ],
)
def test_a_difference_is_one_of_values_and_of_their_types(was, now, change):
    assert locks.difference(was, now) == change
    for side in (was, now):
        assert "amendments" not in side or side["amendments"], "what was compared is left as it was"


@pytest.mark.parametrize(
    ("was", "now", "text"),
    [
        ("x" * 58, "y", f"'{'x' * 58}' -> 'y'"),
        ("x" * 59, "y", f"'{'x' * 56}... -> 'y'"),
        ("y", "x" * 59, f"'y' -> '{'x' * 56}..."),
        # The letters that differ are the 31st and the 32nd: what stands before them is shown, or the last twenty of it.
        ("x" * 29 + "a" + "z" * 40, "x" * 29 + "b" + "z" * 40, "'{0}a{1}... -> '{0}b{1}...".format("x" * 29, "z" * 26)),
        ("x" * 30 + "a" + "z" * 35, "x" * 30 + "b" + "z" * 35, "...{0}a{1}' -> ...{0}b{1}'".format("x" * 20, "z" * 35)),
        ("x" * 30 + "a" + "z" * 36, "x" * 30 + "b" + "z" * 36,
         "...{0}a{1}... -> ...{0}b{1}...".format("x" * 20, "z" * 33)),
        ([1] * 40, [1] * 41, f"...{' 1,' * 6} 1] -> ...{' 1,' * 7} 1]"),
    ],
)  # fmt: skip
def test_a_value_of_sixty_letters_is_shown_whole_and_a_longer_one_where_it_differs(was, now, text):
    assert locks.tell_briefly({"k": {"was": was, "is": now}}) == f"k {text}"


def test_a_configuration_that_came_or_went_decides_and_its_knobs_do_not():
    change = {
        "configs.b.k": {"was": None, "is": 1},
        "configs.a": {"was": None, "is": {"k": 1}},
        "title": {"was": None, "is": 1},
        "study": {"was": "a", "is": "b"},
        "configs": {"was": None, "is": {}},
    }
    assert locks.tell_briefly(change, 0) == (
        "study 'a' -> 'b', configs.a none -> {'k': 1}, configs none -> {}, 2 places more"
    )
