"""Python's garbage collector, for work that reads much and keeps it: what is searched again and again holds none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

#: New objects between two collections: Python's 700 would spend a fifth of the verification of 20,000 runs.
RARE = 20_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Look for garbage less often while the body runs; `gc.get_threshold` is then as it was."""
    first, *older = before = gc.get_threshold()
    gc.set_threshold(max(first, RARE) if first else 0, *older)
    try:
        yield
    finally:
        gc.set_threshold(*before)
