"""What the scores of a study are called and counted in."""

from __future__ import annotations

from typing import Any

import pytest

from stages.domain.metric import BUILTIN_NAME, Metric, metric_of

SCORE = {"name": "nats", "unit": "nats a token", "resolution": 0.0001}


@pytest.mark.parametrize(
    ("score", "metric"),
    [
        (
            SCORE,
            Metric(
                "nats",
                "nats a token",
                "what the trainer reports as its score, in nats a token (values closer than 0.0001 are ties)",
                0.0001,
            ),
        ),
        ({"name": "loss", "unit": "nats"}, Metric("loss", "nats", "what the trainer reports as its score, in nats")),
        ({"name": "loss"}, Metric("loss", "", "what the trainer reports as its score")),
        ({}, Metric(BUILTIN_NAME, "", "what the trainer reports as its score")),
    ],
)
def test_a_commands_score_has_the_name_the_unit_and_the_resolution_that_it_declares(
    score: dict[str, Any], metric: Metric
) -> None:
    assert metric_of({"kind": "command", "score": score}) == metric


@pytest.mark.parametrize("settings", [{"score": SCORE}, {"kind": "command"}, {"kind": "command", "score": "x"}])
def test_the_built_in_runner_and_a_score_that_is_none_mean_validation_bits_per_byte(settings: dict[str, Any]) -> None:
    assert metric_of(settings) == Metric("val_bpb", "bits per byte", "validation bits per byte", None)


def test_a_text_takes_on_the_name_of_the_metric() -> None:
    text = "the lowest mean val_bpb"
    assert Metric("loss", "", "").rename(text) == "the lowest mean loss"
    assert Metric().rename(text) == text
