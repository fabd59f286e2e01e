"""How much a fuzzer tries: the same few examples on every machine, or with FUZZ=n so many times as many, and new ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: How many times as many examples as usual.
TIMES = int(os.environ.get("FUZZ", "1"))


def budget(examples: int) -> settings:
    """The settings of a fuzzer that usually tries so many examples."""
    return settings(
        max_examples=examples * TIMES,
        deadline=None,
        derandomize="FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
