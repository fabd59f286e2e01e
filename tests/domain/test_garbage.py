"""Garbage is looked for less often while much is read, and as before behind it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from stages.domain.garbage import RARE, rare_collections


@pytest.fixture(autouse=True)
def _threshold_as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("before", "inside"),
    [
        ((700, 10, 5), (RARE, 10, 5)),
        ((RARE + 1, 10, 5), (RARE + 1, 10, 5)),
        ((0, 10, 5), (0, 10, 5)),
    ],
)
def test_collections_are_rare_in_the_body_and_as_before_after_it(
    before: tuple[int, int, int], inside: tuple[int, int, int]
) -> None:
    gc.set_threshold(*before)
    usual = gc.get_threshold()  # some versions of Python keep no third number
    with pytest.raises(KeyError), rare_collections():
        assert gc.get_threshold()[:2] == inside[:2]
        assert gc.get_threshold()[2] == usual[2]
        raise KeyError
    assert gc.get_threshold() == usual
