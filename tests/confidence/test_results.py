"""Results as they are written and read: rounding, order, and what is known of a gate."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from stages.confidence import stored
from stages.confidence.results import Noise, NoisiestCandidate, Winner, from_json, rounded, to_json, weakest_gate
from stages.confidence.study import assess_gates
from stages.domain import canonical
from stages.domain.errors import Invalid
from tests.confidence.test_answers_table import gate, of

NOISE = Noise("floor", "rung3", True, ("h1", "h2"), ((1 / 3e6, 0.0), (0.0, 4e-6)), 2, "borrowed")


@pytest.mark.parametrize(
    ("value", "written"),
    [(1 / 3, 0.333333333), (Fraction(2, 3), 0.666666667), (-1e-12, 0.0), (4e-10, 0.0), (6e-10, 1e-09), (1.0, 1.0)],
)
def test_numbers_have_nine_decimals_and_no_negative_zero(value, written):
    assert rounded(value) == written
    assert str(rounded(-1e-12)) == "0.0"


def test_a_noise_is_written_with_its_deviations_and_ten_digits_of_its_covariance():
    assert to_json(NOISE) == {
        "source": "floor", "rung": "rung3", "borrowed": True, "hosts": ["h1", "h2"],
        "covariance": [[3.333333333e-07, 0.0], [0.0, 4e-06]], "df": 2, "text": "borrowed", "noisiest": None,
        "sd": {"h1": 0.00057735, "h2": 0.002},
    }  # fmt: skip
    none = Noise("none", None, False, ("h1",), (), 0, "none")
    assert (none.known, none.sd, to_json(none)["sd"], to_json(none)["covariance"]) == (False, {}, {}, [])
    assert (NOISE.known, replace(NOISE, source="replication").known) == (True, True)


def test_values_of_every_kind_become_json():
    value = {"2": (Fraction(1, 3), None), "1": {"b": True, "a": NoisiestCandidate("c", 2 / 3, {"h": 0.1})}}
    assert to_json(value) == {
        "2": [0.333333333, None],
        "1": {"a": {"config": "c", "share": 0.666666667, "sd_without": {"h": 0.1}}, "b": True},
    }
    assert list(to_json({"b": 1, "a": 2})) == ["a", "b"]
    assert to_json(Noise) is Noise, "a class is no result"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"schema": 2}, "c.json: schema: found 2, expected 1; update staged-promotion to read it"),
        ({"schema": 0}, "c.json: schema: found 0, expected 1; `dvc repro -s confidence` writes it anew"),
        ({"schema": "2"}, "c.json: schema: found '2', expected 1; `dvc repro -s confidence` writes it anew"),
        ({}, "c.json: schema: found None, expected 1; `dvc repro -s confidence` writes it anew"),
        ([1], "c.json: schema: found None, expected 1; `dvc repro -s confidence` writes it anew"),
    ],
)
def test_what_is_no_result_of_this_schema_names_the_remedy(value, told):
    with pytest.raises(Invalid) as caught:
        from_json(value, "c.json")
    assert str(caught.value) == told


@pytest.mark.parametrize(
    ("shares", "weakest"),
    [
        ([1.0, 1.0], None),
        ([0.9, 1.0], "gate1"),
        ([0.9, 0.8], "gate2"),
        ([0.8, 0.8], "gate1"),
        ([None, 0.9], "gate2"),
        ([None], None),
    ],
)
def test_the_weakest_gate_is_the_one_that_is_repeated_least_often(shares, weakest):
    gates = [
        gate(f"gate{n}", redraws=None) if share is None else gate(f"gate{n}", same=share)
        for n, share in enumerate(shares, 1)
    ]
    found = weakest_gate(of(*gates))
    assert (found.gate if found else None) == weakest
    assert [one.kept for one in gates] == [1.0 if share is None else share for share in shares]
    assert gate(same=0.9, verdicts=0.7).kept == 0.7


@pytest.mark.parametrize(
    ("winner", "gates", "expected"),
    [
        (Winner("ref", 2 / 3, 0.0, 0.25, 0.25, 0.0, {}, ()), [gate(same=1 / 3, hangs_on=("seed 1", "host h"))],
         {"same_winner": 0.666666667, "same_winner_at_most": 0.916666667, "weakest_gate": "gate1", "weakest_gate_same": 0.333333333,
          "hangs_on": 2}),
        (None, [gate()], {"same_winner": None, "same_winner_at_most": None, "weakest_gate": None, "weakest_gate_same": None, "hangs_on": 0}),
    ],
)  # fmt: skip
def test_the_metrics_are_what_is_read_first(winner, gates, expected):
    made = assess_gates([])
    data = stored.metrics_bytes(replace(made, winner=winner, gates=of(*gates)))
    assert json.loads(data) == {"how_sure": "unknown", **expected, "what_next": "wait"}
    assert data.startswith(b'{\n "how_sure": "unknown",\n "same_winner"') and data.endswith(b"\n}\n")


def test_a_result_that_is_not_canonical_names_its_file_and_the_remedy(tmp_path):
    with pytest.raises(Invalid) as caught:
        stored.from_bytes(b"{")
    assert str(caught.value).startswith("artifacts/confidence/confidence.json: ")
    assert str(caught.value).endswith("; `dvc repro -s confidence` writes it anew")
    made = assess_gates([])
    stored.write(tmp_path, made)
    assert stored.read(tmp_path) == made
    assert (tmp_path / stored.RESULT).read_bytes() == stored.to_bytes(made) == canonical.dumps(to_json(made))
    assert made.flattery is None and made.weakest_gate is None


def test_a_shape_that_is_none_is_told_by_its_place():
    value: dict[str, Any] = {**to_json(assess_gates([])), "what_next": {"action": "sleep"}}
    with pytest.raises(Invalid) as caught:
        from_json(value, "c.json")
    assert "c.json: what_next.action: found 'sleep', expected " in str(caught.value)
