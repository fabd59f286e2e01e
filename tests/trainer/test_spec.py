"""The specification: what is read, what is refused and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.trainer.conftest import spec_json
from trainer.errors import SpecError
from trainer.spec import Spec


def test_a_specification_survives_json_and_keeps_its_digest() -> None:
    spec = Spec.from_json(spec_json())
    again = Spec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert again.digest() == spec.digest()


def test_defaults_are_spelled_out() -> None:
    config = Spec.from_json(spec_json()).to_json()["config"]
    assert config["warmdown"] == 0.5
    assert config["window"] == "SSSL"
    assert config["device_batch_tokens"] is None


def test_any_key_changes_the_digest() -> None:
    digests = {
        Spec.from_json(spec_json(**change)).digest()
        for change in ({}, {"seed": 8}, {"config__depth": 3}, {"host__precision": "bf16"}, {"clock__seconds": 1.0})
    }
    assert len(digests) == 5


def test_the_batch_is_accumulated_from_device_batches() -> None:
    spec = Spec.from_json(spec_json(config__device_batch_tokens=64))
    assert (spec.accumulation, spec.rows) == (2, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "spec.schema is 2; this runner reads schema 1: update the project"),
        ({"config__depht": 2}, "spec.config.depht is not a key of this section"),
        ({"colour": "red"}, "spec.colour is not a key of this section"),
        ({"config__depth": "2"}, "spec.config.depth is '2', expected a whole number"),
        ({"config__depth": True}, "spec.config.depth is True, expected a whole number"),
        ({"config__depth": 0}, "spec.config.depth is 0, expected a value from 1 to 128"),
        ({"config__matrix_lr": float("nan")}, "spec.config.matrix_lr is nan, expected a value from 0 to 10"),
        ({"config": []}, "spec.config is list, expected a mapping"),
        ({"host__precision": "fp64"}, "spec.host.precision is 'fp64', expected one of fp32, bf16"),
        ({"host__compile": 1}, "spec.host.compile is 1, expected true or false"),
        ({"config__batch_tokens": 100}, "spec.config.batch_tokens is 100, which spec.runner.sequence_length 32"),
        (
            {"config__device_batch_tokens": 96},
            "spec.config.batch_tokens is 128, which spec.config.device_batch_tokens 96 does not divide: use 96 or 192",
        ),
        ({"config__window": "SXL"}, "spec.config.window is 'SXL', expected letters S (half) and L (full context)"),
        ({"config__window": ""}, "spec.config.window is ''"),
        ({"config__warmup": 0.6}, "spec.config.warmup 0.6 and warmdown 0.5 overlap"),
        ({"runner__head_dim": 15}, "spec.runner.head_dim is 15, expected an even number"),
        (
            {"runner__max_width": 16},
            "spec.config.depth 2 x aspect 16 makes a width of 32, over spec.runner.max_width 16",
        ),
        ({"host__flops_per_second": None}, "spec.host.flops_per_second is missing: the rated clock"),
    ],
)
def test_what_is_wrong_is_named_with_key_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Spec.from_json(spec_json(**change))
    assert str(caught.value).startswith(message)


def test_a_missing_key_or_section_is_named() -> None:
    value = spec_json()
    del value["config"]["depth"]
    with pytest.raises(SpecError, match=r"^spec\.config\.depth is missing"):
        Spec.from_json(value)
    del value["config"]
    with pytest.raises(SpecError, match=r"^spec\.config is missing"):
        Spec.from_json(value)


def test_what_is_no_mapping_is_no_specification() -> None:
    with pytest.raises(SpecError, match=r"^spec is list, expected a mapping$"):
        Spec.from_json([])  # type: ignore[arg-type]


def test_the_wall_clock_needs_no_rated_speed() -> None:
    assert Spec.from_json(spec_json(clock__kind="wall", host__flops_per_second=None)).host.flops_per_second is None
