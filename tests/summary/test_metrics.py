"""The headline that DVC shows first."""

import json
from fractions import Fraction
from types import SimpleNamespace

import pytest

from stages.domain import names
from stages.domain.locks import Amendment
from stages.summary import everything
from stages.summary.metrics import _device_hours, _gaps, _lowest_agreement, _mode, path


def headline(case, mode="frozen"):
    made = everything(mode, case.configs, case.locks, case.records, case.decisions)
    return json.loads(made[names.LEDGER / "metrics.json"])


def test_the_headline_is_short_and_begins_with_what_binds_and_who_won(case):
    made = headline(case)
    assert list(made) == [
        "mode", "winner", "winner_val_bpb", "gap", "host_agreement", "device_hours", "path",
    ]  # fmt: skip
    columns = [one for value in made.values() for one in (value if isinstance(value, dict) else [value])]
    assert len(columns) == 12, "a dozen columns of `dvc exp show`, no more"
    assert made["mode"] == "frozen"
    assert (made["winner"], made["path"]) == ("d8-c007", "12-12-10-4-2")


def test_gaps_are_mean_paired_gaps_at_the_last_rung(case):
    made = headline(case)
    last = case.ladder().rungs[-1]
    gap = float(round(last.evidence.mean("d4-c003") - last.evidence.mean("d8-c007"), 9))
    assert made["gap"] == {"comparator": None, "sentinel": gap}  # the comparator did not get that far
    assert case.decisions["gate5"].rule("R6").results[0].observed == gap


def test_host_agreement_is_the_smallest_tau_of_each_rung(case):
    assert headline(case)["host_agreement"]["rung5"] == 1.0
    assert len(headline(case)["host_agreement"]) == 5


def test_agreement_that_one_pair_of_hosts_does_not_have_is_none_and_of_one_host_it_is_absent():
    taus = {"rung1": [0.5, None], "rung2": [0.5, 0.25], "rung3": []}
    pairs = {rung: [SimpleNamespace(tau_b=tau) for tau in values] for rung, values in taus.items()}
    agreement = SimpleNamespace(rungs={rung: SimpleNamespace(pairs=values) for rung, values in pairs.items()})
    assert _lowest_agreement(agreement) == {"rung1": None, "rung2": 0.25}


def test_exploratory_mode_is_the_first_thing_said(case):
    assert headline(case, "exploratory")["mode"] == "exploratory"


@pytest.mark.parametrize(
    ("gates", "mode"),
    [((), "frozen"), (("gate2",), "frozen, 1 amendment"), (("gate2", "gate4"), "frozen, 2 amendments")],
)
def test_amendments_are_counted_beside_the_mode(case, gates, mode):
    once = Amendment(reason="k was wrong", replaces="0" * 64, changed={})
    changed = {}
    for gate, lock in case.locks.items():
        frozen = lock.frozen.model_copy(update={"amendments": [once] if gate in gates else []})
        changed[gate] = lock.model_copy(update={"frozen": frozen})
    assert headline(type(case)(case.root, case.configs, changed, case.records, case.decisions))["mode"] == mode


@pytest.mark.parametrize(("undecided", "shown"), [(("gate5",), "12-12-10-4-2"), (("gate2", "gate3"), "12-12-10-4-2")])
def test_the_path_counts_what_is_known(case, undecided, shown):
    ladder = case.without(*undecided).ladder()
    expected = [str(len(rung.candidates)) for rung in ladder.rungs if rung.candidates is not None]
    assert path(ladder) == "-".join(expected)
    assert len(expected) == (5 if undecided == ("gate5",) else 4)


def test_a_blocked_gate_stands_in_the_path(case):
    changes = {"outcome": "blocked", "blocked_by": ["R4"], "promoted": []}
    decision = case.decisions["gate3"].model_copy(update=changes)
    after = case.without("gate4", "gate5")
    held = {**after.decisions, "gate3": decision}
    ladder = type(case)(case.root, case.configs, case.locks, case.records, held).ladder()
    assert path(ladder) == "12-12-10-0, blocked at gate3"


def test_before_anything_is_frozen_nothing_is_claimed(case):
    made = headline(type(case)(case.root, case.configs, {}, (), {}))
    assert (made["winner"], made["gap"], made["path"]) == (None, {}, "")


def test_device_hours_count_the_noise_floor_as_well(case):
    summary = everything("frozen", case.configs, case.locks, case.records, case.decisions)
    made = json.loads(summary[names.SUMMARY / "accounting.json"])["totals"]
    assert made["floor_hours"] > 0
    assert headline(case)["device_hours"] == round(made["executed_hours"] + made["floor_hours"], 9)


@pytest.mark.parametrize(
    ("executed", "floor", "hours"), [(1.5, 0.25, 1.75), (0.1, 0.2, 0.3), (None, 0.5, None), (0.5, None, None)]
)
def test_device_hours_are_unknown_where_a_part_of_them_is(executed, floor, hours):
    assert _device_hours(SimpleNamespace(executed_hours=executed, floor_hours=floor)) == hours


def ladder_of(mode="frozen", amendments=(), roles=None, means=None, blocked=(), last=True):
    """A ladder of so many amendments by rung; `means` are those of its last rung."""
    rungs = []
    for number, count in enumerate(amendments or (0,), 1):
        decision = SimpleNamespace(blocked=number in blocked)
        frozen = SimpleNamespace(amendments=[None] * count, roles=roles or {})
        evidence = None if means is None else SimpleNamespace(candidates=tuple(means), mean=means.get)
        rungs.append(
            SimpleNamespace(
                frozen=frozen, candidates=("a",) * number, decision=decision, gate=f"gate{number}", evidence=evidence
            )
        )
    return SimpleNamespace(mode=mode, rungs=rungs, last=rungs[-1] if last else None)


@pytest.mark.parametrize(
    ("mode", "amendments", "shown"),
    [
        ("exploratory", (1, 2), "exploratory"),
        ("frozen", (0, 0), "frozen"),
        ("frozen", (0, 1), "frozen, 1 amendment"),
        ("frozen", (1, 2), "frozen, 3 amendments"),
    ],
)
def test_amendments_are_counted_over_all_rungs_of_a_frozen_study(mode, amendments, shown):
    assert _mode(ladder_of(mode, amendments)) == shown


def test_the_path_names_the_first_gate_that_blocked():
    assert path(ladder_of(amendments=(0, 0, 0), blocked=(2, 3))) == "1-2-3, blocked at gate2"
    undecided = ladder_of(amendments=(0, 0))
    undecided.rungs[1].decision, undecided.rungs[1].candidates = None, None
    assert path(undecided) == "1"


ROLES = {"sentinel": "c", "reference": "a", "comparator": "b"}


@pytest.mark.parametrize(
    ("changes", "gaps"),
    [
        ({"roles": ROLES, "means": {"a": Fraction(3), "b": Fraction(7, 2), "c": Fraction(2)}}, {"comparator": 0.5, "sentinel": -1.0}),
        ({"roles": ROLES, "means": {"a": Fraction(3), "b": None, "c": Fraction(2)}}, {"comparator": None, "sentinel": -1.0}),
        ({"roles": ROLES, "means": {"a": None, "b": Fraction(3)}}, {"comparator": None, "sentinel": None}),
        ({"roles": ROLES, "means": {}}, {"comparator": None, "sentinel": None}),
        ({"roles": {"comparator": "b"}, "means": {"b": Fraction(3)}}, {}),
        ({"roles": ROLES, "means": None}, {}),
        ({"roles": ROLES, "means": {"a": Fraction(3)}, "last": False}, {}),
    ],
)  # fmt: skip
def test_gaps_are_of_every_other_role_to_the_reference_where_both_have_a_mean(changes, gaps):
    assert _gaps(ladder_of(**changes)) == gaps
    assert list(_gaps(ladder_of(**changes))) == sorted(gaps)


def test_the_headline_is_indented_by_one_and_ends_with_a_line_end(case):
    made = everything("frozen", case.configs, case.locks, case.records, case.decisions)[names.LEDGER / "metrics.json"]
    assert made.startswith(b'{\n "mode": "frozen",\n "winner": "d8-c007",\n "winner_val_bpb": ')
    assert made.endswith(b',\n "path": "12-12-10-4-2"\n}\n')
