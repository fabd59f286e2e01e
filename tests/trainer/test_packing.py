"""Packing: every token once, every row full and begun by BOS, the order a function of seed and epoch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.packing import POOL, Packer, document_order
from trainer.tokens import Split

BOS = 999


def split_of(lengths: list[int]) -> Split:
    """Documents of distinct tokens, so that each can be recognised."""
    tokens: list[int] = []
    starts: list[int] = []
    at = 0
    for length in lengths:
        starts.append(len(tokens))
        tokens.append(BOS)
        tokens.extend(range(at, at + length))
        at += length
    data = np.array([token if token == BOS else token + 1000 for token in tokens], dtype=np.uint16)
    return Split(Path("test.bin"), data, np.array(starts, dtype=np.int64))


def drain(packer: Packer, rows: int, length: int) -> np.ndarray:
    out = np.full((rows, length + 1), -1, dtype=np.int64)
    return out[: packer.fill(out)]


LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=40)


@given(LENGTHS, st.integers(2, 40))
def test_one_pass_uses_every_token_once_at_most_and_leaves_less_than_a_row(lengths: list[int], length: int) -> None:
    rows = drain(Packer(split_of(lengths), BOS, length, None), 4000, length)
    used = rows[rows != BOS]
    assert len(set(used)) == used.size
    assert sum(lengths) - used.size <= length
    assert (rows[:, 0] == BOS).all()
    assert (rows >= 0).all()


@given(LENGTHS, st.integers(2, 40), st.integers(0, 2**63 - 1))
def test_an_endless_stream_uses_every_token_equally_often(lengths: list[int], length: int, seed: int) -> None:
    packer = Packer(split_of(lengths), BOS, length, seed)
    rows = drain(packer, 200, length)
    assert len(rows) == 200
    counts = np.unique(rows[rows != BOS], return_counts=True)[1]
    assert counts.max() - counts.min() <= POOL + 2  # sizes that fit badly may fill the pool, and no more


@given(LENGTHS, st.integers(2, 30))
def test_a_piece_continues_its_document_after_a_bos(lengths: list[int], length: int) -> None:
    rows = drain(Packer(split_of(lengths), BOS, length, 3), 50, length)
    for row in rows:
        for before, after in pairwise(row):
            assert BOS in (before, after) or after == before + 1


def test_the_largest_piece_that_fits_comes_first() -> None:
    row = drain(Packer(split_of([3, 5, 2]), BOS, 12, None), 1, 12)[0]
    assert list(row - 1000) == [-1, 3, 4, 5, 6, 7, -1, 0, 1, 2, -1, 8, 9]


def test_a_long_document_is_cut_and_its_rest_waits_behind_the_others() -> None:
    rows = drain(Packer(split_of([9, 9]), BOS, 4, None), 4, 4)
    assert [list(row[1:] - 1000) for row in rows[:2]] == [[0, 1, 2, 3], [9, 10, 11, 12]]


def test_the_order_is_a_permutation_set_by_seed_and_epoch() -> None:
    one = document_order(500, 1, 0)
    assert sorted(one) == list(range(500))
    assert list(one) == list(document_order(500, 1, 0))
    assert list(one) != list(document_order(500, 2, 0))
    assert list(one) != list(document_order(500, 1, 1))
    assert list(document_order(8, 42, 0)) == ORDER_8_42


ORDER_8_42 = [5, 6, 4, 0, 7, 3, 1, 2]  # what seed 42 gave when this was written: a run must not change


def test_the_passes_over_the_documents_follow_the_orders_of_the_epochs_one_after_another() -> None:
    documents, length = 50, 8
    rows = drain(Packer(split_of([length] * documents), BOS, length, 42), 4 * documents, length)
    orders = [list(document_order(documents, 42, epoch)) for epoch in range(4)]
    assert [list((passed[:, 1] - 1000) // length) for passed in rows.reshape(4, documents, length + 1)] == orders


@given(LENGTHS, st.integers(2, 30), st.integers(0, 60))
def test_a_restored_stream_goes_on_as_if_never_interrupted(lengths: list[int], length: int, before: int) -> None:
    packer = Packer(split_of(lengths), BOS, length, 5)
    drain(packer, before, length)
    state = packer.state()
    expected = drain(packer, 40, length)
    other = Packer(split_of(lengths), BOS, length, 5)
    other.restore(state)
    assert (drain(other, 40, length) == expected).all()
